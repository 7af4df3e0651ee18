//! The upstreams of the system, which may change while the server runs: another network has other ones.

use std::path::{Path, PathBuf};

use log::{info, warn};
use reactor::LoopCx;
use reactor::watch::{FileOptions, FileWatch};

use super::app::Dns;
use super::front::DEFAULT_GROUP;
use super::upstream::name_servers;

/// Watches the file that names the upstreams, if it does. Where it cannot be watched, the server goes on
/// with what it has read.
pub(super) fn follow(cx: &mut LoopCx<'_, Dns>) {
    let Some(path) = cx.app.resolv_conf.clone() else { return };
    let file = path.clone();
    let changed = move |_: Vec<PathBuf>, cx: &mut LoopCx<'_, Dns>| read_again(&file, cx);
    match FileWatch::register(std::slice::from_ref(&path), FileOptions::DEFAULT, cx, changed) {
        // It may have changed since it was read first.
        Ok(_) => read_again(&path, cx),
        Err(error) => warn!("{} is not watched: {error}", path.display()),
    }
}

/// Reads the file again, and asks the upstreams that it names from now on.
fn read_again(path: &Path, cx: &mut LoopCx<'_, Dns>) {
    let replaced = name_servers(path)
        .map_err(|error| error.to_string())
        .and_then(|addresses| cx.app.engine.replace(DEFAULT_GROUP, &addresses));
    match replaced {
        Ok(true) => {
            info!("{} has changed: the upstreams are those that it names now", path.display());
            Dns::settle_outside(cx);
        }
        Ok(false) => {}
        Err(error) => warn!("{error}; the server goes on with the upstreams that it has"),
    }
}
