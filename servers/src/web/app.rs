//! The state of the server, which all its connections share.

use std::io;
use std::time::{Duration, Instant};

use reactor::{LoopCx, Signal};

use super::args::WebArgs;
use super::cache::{Cache, CacheLimits};
use super::config::Config;
use super::file::Opening;
use super::files::Files;
use super::journal::Journal;

/// How long lines of the access log are collected at most.
const TICK: Duration = Duration::from_millis(500);

/// The state of the server: one value, which is lent to every call, so there are no locks.
pub struct App {
    pub(crate) config: Config,
    pub(crate) cache: Cache,
    pub(crate) journal: Option<Journal>,
}

impl App {
    /// Opens the folders and the access log.
    ///
    /// # Errors
    /// One sentence that says what cannot be opened, and why.
    pub fn new(args: &WebArgs) -> io::Result<Self> {
        let config = Config::new(args)?;
        let limits = CacheLimits {
            entries_max: args.cache_files,
            memory_max: args.cache_memory,
            valid: args.cache_valid,
        };
        let opening = Opening {
            small_max: args.small_file.min(args.cache_memory),
            precompressed: !args.no_precompressed,
            types: args.types.clone(),
        };
        let open = |path| Journal::open(path, args.log_format);
        let journal = args.access_log.as_deref().map(open).transpose()?;
        Ok(Self { config, cache: Cache::new(limits, opening), journal })
    }

    /// Returns what answers with files.
    pub(crate) fn files(&mut self, now: Instant) -> Files<'_> {
        Files { config: &self.config, cache: &mut self.cache, now }
    }
}

/// Arms what the server does from time to time, and at signals.
pub(crate) fn start(cx: &mut LoopCx<'_, App>) -> io::Result<()> {
    if cx.app.journal.is_some() {
        cx.every(TICK, |_, cx| {
            if let Some(journal) = &mut cx.app.journal {
                journal.pass_on();
            }
        })?;
        cx.on_signals(&[Signal::USER_2], |_, cx| {
            if let Some(journal) = &mut cx.app.journal {
                journal.open_again();
            }
        })?;
    }
    Ok(())
}
