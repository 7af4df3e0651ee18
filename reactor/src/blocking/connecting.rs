//! Connecting, as the loop does it: a loop that ends with the connection.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::{
    BackendKind, ConnectOptions, Connector, Cx, Handler, Interest, LoopCx, LoopLimits, Reactor,
    Reason, Registration, Resolver, ResolverOptions, Role, Target, TcpOptions,
};

/// How long a connection is silent before the kernel probes the peer (`TCP_KEEPIDLE`).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What became of a connection, once that is known.
type Outcome = Option<io::Result<OwnedFd>>;

/// Takes its connection out of the loop.
struct Takes;

impl Handler<Outcome> for Takes {
    fn ready(&mut self, cx: &mut Cx<'_, Outcome>) -> io::Result<()> {
        *cx.app = cx.take_fd()?.map(Ok);
        cx.end(Reason::Finished);
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Outcome>) {
        if cx.app.is_none() {
            *cx.app = Some(Err(match reason {
                Reason::Failed { error, .. } => error,
                other => io::Error::other(other.to_string()),
            }));
        }
    }
}

/// Connects to `target` within `timeout`, and returns a blocking socket.
pub(super) fn connect(target: Target, timeout: Option<Duration>) -> io::Result<OwnedFd> {
    let options = options(timeout)?;
    // It has no descriptor of its own, and waits for very few.
    let backend = BackendKind::Poll.open()?;
    let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, None)?;
    let registration = Registration::new(Interest::NONE).role(Role::Connection);
    Connector::new(target, &options).register(registration, Takes, &mut reactor.cx())?;
    reactor.run_until(Option::is_some)?;
    let ended = || Err(io::Error::other("the loop was stopped"));
    let stream = TcpStream::from(reactor.app.take().unwrap_or_else(ended)?);
    stream.set_nonblocking(false)?;
    Ok(stream.into())
}

fn options(timeout: Option<Duration>) -> io::Result<ConnectOptions> {
    let tcp = TcpOptions { keepalive: Some(KEEP_ALIVE), ..TcpOptions::default() };
    let resolver = match timeout {
        Some(_) => None,
        // The shared one has a deadline.
        None => Some(Resolver::new(ResolverOptions {
            threads_max: 1,
            timeout: Duration::MAX,
            ..ResolverOptions::DEFAULT
        })?),
    };
    let timeout = timeout.unwrap_or(Duration::MAX);
    Ok(ConnectOptions {
        timeout,
        attempt_timeout: timeout,
        resolver,
        tcp,
        ..ConnectOptions::DEFAULT
    })
}
