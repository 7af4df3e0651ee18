//! A server of files over HTTP/1.1, which also passes requests on to other servers.
//!
//! A request goes
//!
//! 1. to [`WebService`], the service of one connection (`service`), which reads the path (`path`) and
//!    finds out what it is for,
//! 2. for a file: through the cache (`cache`), which opens it below its root (`root`, `file`), to the
//!    response (`files`), which heeds conditions (`conditions`), ranges (`range`) and encodings
//!    (`encoding`),
//!    or for a path of another server: to the proxy (`proxy`), or to a WebSocket (`echo`),
//! 3. to the access log (`journal`, `access_log`).
//!
//! The state is one value, [`App`] (`app`), which the loop lends to every call. `args` and `config`
//! have what the operator has said.

mod access_log;
mod app;
mod args;
mod cache;
mod conditions;
mod config;
mod echo;
mod encoding;
mod file;
mod files;
mod journal;
mod listing;
mod next;
mod path;
mod proxy;
mod range;
mod root;
mod service;
mod stamp;

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use protocol::http::{self, Clock};
use protocol::{Limits, Upgrade};
use reactor::{LoopLimits, time_of_day};

use crate::{Application, Server, ServerArgs};

pub use app::App;
pub use args::WebArgs;
pub use echo::Echo;
pub use next::Next;
pub use proxy::Tunnel;
pub use service::WebService;

const ABOUT: &str = "Serves files over HTTP/1.1, and passes requests on to other servers";

/// The name, the description and the default address of the server.
pub const SERVER: Server =
    Server { name: "web", about: ABOUT, address: "127.0.0.1:8000", datagram_port: None };

/// The session of one connection.
pub type Session = Upgrade<http::Server<WebService>, Next, fn(http::Server<WebService>) -> Next>;

/// Builds the server from its arguments.
///
/// # Errors
/// One sentence that says what is wrong with them: a folder that cannot be served, nothing to serve,
/// a file that cannot be opened, or a limit that cannot be worked with.
pub fn application(common: &ServerArgs, own: &WebArgs) -> io::Result<Application<App, Session>> {
    let options = http::Options {
        head_size_max: own.head_max as usize,
        body_size_max: own.body_max,
        requests_max: own.requests_max,
        head_timeout: own.head_timeout,
        body_timeout: own.body_timeout,
        clock: Some(Clock::new(time_of_day)),
        ..http::Options::default()
    };
    let options = options.shared()?;
    let stall = common.idle_timeout.limit();
    let descriptors = own.descriptors(common.connections_max());
    let make = move |peer| {
        let server = http::Server::new(WebService::new(peer, stall), Arc::clone(&options));
        let next: fn(http::Server<WebService>) -> Next = |server| server.into_service().into_next();
        Upgrade::new(server, next)
    };
    Ok(Application {
        state: App::new(own)?,
        limits: Limits::DEFAULT,
        loop_limits: LoopLimits::DEFAULT,
        descriptors,
        own_connections: 0,
        shared: None,
        legacy: None,
        session: Rc::new(make),
        datagrams: None,
        start: app::start,
        reload: None,
    })
}
