//! A server of files over HTTP/1.1.
//!
//! A request goes
//!
//! 1. to [`WebService`], the service of one connection (`service`), which reads the path (`path`) and
//!    finds out what it is for,
//! 2. for a file: through the cache (`cache`), which opens it below its root (`root`, `file`), to the
//!    response (`files`), which heeds conditions (`conditions`), ranges (`range`) and encodings
//!    (`encoding`),
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
mod encoding;
mod file;
mod files;
mod journal;
mod listing;
mod path;
mod range;
mod root;
mod service;
mod stamp;

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use protocol::Limits;
use protocol::http::{self, Clock};
use reactor::{LoopLimits, time_of_day};

use crate::{Application, Server, ServerArgs};

pub use app::App;
pub use args::WebArgs;
pub use service::WebService;

const ABOUT: &str = "Serves files over HTTP/1.1";

/// The name, the description and the default address of the server.
pub const SERVER: Server =
    Server { name: "web", about: ABOUT, address: "127.0.0.1:8000", datagram_port: None };

/// The session of one connection.
pub type Session = http::Server<WebService>;

/// Builds the server from its arguments.
///
/// # Errors
/// One sentence that says what is wrong with them: a folder that cannot be served, nothing to serve,
/// a file that cannot be opened, or a limit that cannot be worked with.
pub fn application(_: &ServerArgs, own: &WebArgs) -> io::Result<Application<App, Session>> {
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
    let make = move |peer| http::Server::new(WebService::new(peer), Arc::clone(&options));
    Ok(Application {
        state: App::new(own)?,
        limits: Limits::DEFAULT,
        loop_limits: LoopLimits::DEFAULT,
        session: Rc::new(make),
        datagrams: None,
        start: app::start,
    })
}
