//! A client on a loop of its own.

use std::sync::Arc;

use protocol::http;
use protocol::websocket::{Client, Options, Service};
use reactor::{BackendKind, ConnectOptions, Location, LoopLimits, Reactor, Stream};

use crate::echo::limits;

/// What a client has come to.
#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) has_ended: bool,
    /// The last text that it was sent, or what went wrong.
    pub(crate) text: String,
}

/// Runs a client until its service has noted that its connection is closed.
pub(crate) fn run(
    backend: BackendKind,
    address: &str,
    path: &str,
    service: impl Service<App> + 'static,
    options: Arc<Options>,
) -> App {
    let backend = backend.open().expect("the backend opens");
    let reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, App::default());
    let mut reactor = reactor.expect("the reactor opens");
    let http = http::ClientOptions::default().shared().expect("they fit");
    let location: Location = address.parse().expect("it is an address");
    Stream::new(Client::new(service, address, path, options, http), limits())
        .connect(location, &ConnectOptions::DEFAULT, &mut reactor.cx())
        .expect("it begins to connect");
    reactor.run_until(|app| app.has_ended).expect("it runs");
    std::mem::take(&mut reactor.app)
}
