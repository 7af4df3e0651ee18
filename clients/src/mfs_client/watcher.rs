//! Shows the progress of a transfer on a terminal, and heeds Ctrl-C.

use std::io::{IsTerminal, stderr, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use super::show;
use crate::fetch::progress::Progress;
use crate::mfs::Watch;
use crate::output::progress;

/// How often the progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// What is told of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// Progress on a terminal, and what has failed and was done in another way.
    All,
    /// What has failed: standard output is the terminal too.
    Trouble,
    Nothing,
}

impl Telling {
    /// Returns what is told when the bytes go to a file, or to standard output.
    pub(super) fn of(is_quiet: bool, uses_stdout: bool) -> Self {
        match (is_quiet, stderr().is_terminal() && !(uses_stdout && stdout().is_terminal())) {
            (true, _) => Self::Nothing,
            (false, true) => Self::All,
            (false, false) => Self::Trouble,
        }
    }
}

/// Watches one transfer.
pub(super) struct Watcher {
    interrupt: Interrupt,
    telling: Telling,
    progress: Progress,
    drawn: Option<Instant>,
}

impl Watcher {
    pub(super) fn new(
        interrupt: &Interrupt,
        telling: Telling,
        path: &Path,
        total: Option<u64>,
    ) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let begun = Instant::now();
        let progress = Progress { name, from: 0, received: 0, sent: 0, total, begun };
        Self { interrupt: interrupt.clone(), telling, progress, drawn: None }
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            progress("");
        }
    }
}

impl Watch for Watcher {
    fn moved(&mut self, done: u64) {
        self.progress.received = done;
        let is_time = self.drawn.is_none_or(|drawn| drawn.elapsed() >= DRAW_EVERY);
        if self.telling == Telling::All && is_time {
            let now = Instant::now();
            self.drawn = Some(now);
            progress(&self.progress.line(now));
        }
    }

    fn trouble(&mut self, text: &str) {
        if self.telling != Telling::Nothing {
            self.clear();
            show::complain(text);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.interrupt.has_happened()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.clear();
    }
}
