//! Our services of HTTP and WebSocket, and our server of files, with their default limits.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::http::{self, Clock, RequestHead, Response, Server, Status};
use protocol::websocket::{self, Message, Sender};
use protocol::{Context, Flow};
use reactor::BackendKind;

use super::HELLO;
use super::ours::serve;
use crate::files::{CERTIFICATE, KEY};
use crate::process::this_program;

/// The name of this program when it runs as `web`.
pub const WEB: &str = "web";

/// Replaces this process by `web`, which is this program under another name and serves the files of
/// the current folder. Its log goes to standard output, where addresses are expected. It looks at the
/// file system as rarely as nginx.
///
/// # Errors
/// Fails if this program cannot be started again. Does not return otherwise.
pub fn files(is_tls: bool) -> io::Result<()> {
    let log = io::stdout().as_fd().try_clone_to_owned()?;
    let mut command = Command::new(this_program()?);
    command.arg0(WEB).args(["--root", ".", "--cache-valid", "60s", "--listen"]);
    match is_tls {
        false => command.arg("127.0.0.1:0"),
        true => command.args(["tls://127.0.0.1:0", "--cert", CERTIFICATE, "--key", KEY]),
    };
    Err(command.env("RUST_LOG", "info").stderr(log).exec())
}

/// Serves [`HELLO`] for ever.
///
/// # Errors
/// Fails if the loop cannot run.
pub fn hello(kind: BackendKind) -> io::Result<()> {
    let clock = Some(Clock::new(time_of_day));
    let options = http::Options { clock, ..http::Options::default() };
    let options = options.shared().map_err(io::Error::other)?;
    serve(kind, move || Server::new(answer, Arc::clone(&options)))
}

fn time_of_day() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn answer(head: &RequestHead<'_>, response: &mut Response<'_>, _: &mut Context<'_>) -> Flow {
    let (path, text) = HELLO;
    match head.path() == path {
        true => response.head(Status::OK).field("Content-Type", "text/plain").body(text),
        false => response.error(Status::NOT_FOUND),
    }
    Flow::Continue
}

/// Sends messages back.
struct Echo;

impl<A> websocket::Service<A> for Echo {
    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        _: &mut Context<'_, A>,
    ) -> Flow {
        match message {
            Message::Text(text) => sender.text(text),
            Message::Binary(bytes) => sender.binary(bytes),
        }
        Flow::Continue
    }
}

/// Serves echo of messages of WebSockets for ever.
///
/// # Errors
/// Fails if the loop cannot run.
pub fn websocket(kind: BackendKind) -> io::Result<()> {
    let options = websocket::Options::default().shared().map_err(io::Error::other)?;
    let http = http::Options::default().shared().map_err(io::Error::other)?;
    serve(kind, move || websocket::server(Arc::clone(&options), Arc::clone(&http), |_: &_| Echo))
}
