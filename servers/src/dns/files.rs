//! Watches the files that answers come from.

use log::{info, warn};
use reactor::LoopCx;
use reactor::watch::{FileOptions, FileWatch};

use super::app::{self, Dns};

/// Reads hosts files and block lists again when they change. A server that cannot watch its files goes on,
/// and reads them on `SIGHUP`.
pub(super) fn watch(cx: &mut LoopCx<'_, Dns>) {
    let files = cx.app.files();
    if files.is_empty() {
        return;
    }
    let watched = FileWatch::register(&files, FileOptions::DEFAULT, cx, |changed, cx| {
        changed.iter().for_each(|path| info!("{} has changed", path.display()));
        app::reload(cx);
    });
    if let Err(error) = watched {
        warn!("changes of files are not noticed, SIGHUP is needed: {error}");
    }
}
