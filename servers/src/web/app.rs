//! The state of the server, which all its connections share.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Limits;
use protocol::http::ClientOptions;
use protocol::websocket::{self, Deflate, Origins};
use reactor::{ConnectOptions, LoopCx, Signal};

use super::args::WebArgs;
use super::cache::{Cache, CacheLimits};
use super::config::Config;
use super::file::Opening;
use super::files::Files;
use super::journal::Journal;
use super::proxy::{Dialer, Proxy};

/// How long lines of the access log are collected at most, and how often idle connections to other
/// servers are looked at.
const TICK: Duration = Duration::from_millis(500);

/// The state of the server: one value, which is lent to every call, so there are no locks.
pub struct App {
    pub(crate) config: Config,
    pub(crate) cache: Cache,
    pub(crate) journal: Option<Journal>,
    pub(crate) proxy: Proxy,
    /// What WebSockets may do.
    pub(crate) websocket: Arc<websocket::Options>,
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
        let cache = Cache::new(limits, opening);
        let websocket = websocket::Options {
            deflate: Some(Deflate::default()),
            // It knows no user, so there is nothing that the page of another host could do with it.
            origins: Origins::Any,
            ..websocket::Options::default()
        };
        let websocket = websocket.shared()?;
        Ok(Self { config, cache, journal, proxy: Proxy::new(args), websocket })
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
        cx.on_signals(&[Signal::USER_1], |_, cx| {
            if let Some(journal) = &mut cx.app.journal {
                journal.open_again();
            }
        })?;
    }
    if !cx.app.proxy.routes.is_empty() {
        start_proxy(cx)?;
    }
    Ok(())
}

/// Starts the source that opens connections to other servers, and closes idle ones in time.
fn start_proxy(cx: &mut LoopCx<'_, App>) -> io::Result<()> {
    let silence = cx.app.proxy.timeout;
    let options = ClientOptions {
        // It is passed on, and never in memory as a whole.
        body_size_max: u64::MAX,
        head_timeout: silence,
        body_timeout: silence,
        ..ClientOptions::default()
    };
    let options = options.shared()?;
    let timeout = cx.app.proxy.connect_timeout;
    let connecting = ConnectOptions { timeout, ..ConnectOptions::DEFAULT };
    let dialer = cx.spawn(Dialer::new(options, Arc::new(Limits::DEFAULT), connecting))?;
    cx.app.proxy.set_dialer(dialer.into());
    cx.every(TICK, |_, cx| {
        while let Some(connection) = cx.app.proxy.expire(cx.now()) {
            cx.close(connection);
        }
    })?;
    Ok(())
}
