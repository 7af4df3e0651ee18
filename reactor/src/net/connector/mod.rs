//! Connections that this side makes.

mod attempt;
mod dialling;
pub(crate) mod error;
mod race;
pub(crate) mod target;

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

use crate::net::connector::dialling::{Dialling, Single, Stage};
use crate::net::connector::error::{ConnectError, FailedAttempt};
use crate::net::connector::race::{Race, START};
use crate::net::connector::target::Target;
use crate::source::registration::{ExhaustedBy, Idle, Mode, MovedBy};
use crate::sys::Connecting;
use crate::{
    Address, ConnectOptions, Cx, Handler, Interest, Readiness, Reason, Registration, Token, kernel,
};

/// Makes a connection: the counterpart of a [`Listener`](crate::Listener), for handlers that use the
/// descriptor themselves. [`Stream::connect`](crate::Stream::connect) does it for sessions.
///
/// The target is an address, several addresses, or the name of a host and a service
/// ([`Location`](crate::Location)), which is resolved off the loop ([`ConnectOptions::resolver`]).
/// Several addresses are raced as RFC 8305 says: the next attempt begins after
/// [`ConnectOptions::attempt_delay`], or at once when one fails. The first connection that is
/// established counts, and the other attempts are closed.
///
/// ```
/// use reactor::{ConnectOptions, Connector, Cx, Handler, Interest, Location, Reactor};
/// use reactor::{Reason, Registration, Role};
/// use std::io::{self, IoSlice};
///
/// /// Says one word.
/// struct Greets;
///
/// impl Handler for Greets {
///     fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
///         // A new connection takes a few bytes at once.
///         cx.write(&[IoSlice::new(b"hello")])?;
///         cx.end(Reason::Finished);
///         cx.stop();
///         Ok(())
///     }
/// }
///
/// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let target = format!("localhost:{}", server.local_addr()?.port());
/// let target: Location = target.parse().expect("it is a location");
/// let mut reactor = Reactor::new(())?;
/// let registration = Registration::new(Interest::WRITE).role(Role::Connection);
/// Connector::new(target, &ConnectOptions::DEFAULT).register(
///     registration,
///     Greets,
///     &mut reactor.cx(),
/// )?;
/// reactor.run()?;
/// # drop(reactor);
/// # assert_eq!(io::read_to_string(server.accept()?.0)?, "hello");
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Connector {
    target: Target,
    options: ConnectOptions,
}

impl Connector {
    /// Returns a connector to `target`. Nothing happens before it is registered.
    pub fn new(target: impl Into<Target>, options: &ConnectOptions) -> Self {
        Self { target: target.into(), options: options.clone() }
    }

    /// Returns what it connects to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Begins to connect. `handler` is called for the first time when the connection is established:
    /// [`Handler::ready`] runs once, whatever the interest of `registration` is. Later calls depend on
    /// the interest. If the source is woken or the loop is stopped gracefully before that, the handler
    /// is told right after the first call.
    ///
    /// The token is that of the connection from the start. Closing it ends whatever is under way.
    /// Resolving and connecting may take [`ConnectOptions::timeout`] from this call on. The idle limit
    /// does not apply meanwhile. A connection that fails, also at once, ends like any other source:
    /// [`Handler::closed`] gets [`Reason::Failed`] with the operation `connect` and a
    /// [`ConnectError`](crate::ConnectError).
    ///
    /// A single address, also one that a name stands for, costs a socket, its options, one call to
    /// connect, one to watch it, and one for its result. A short read from a TCP connection counts as proof that it is exhausted
    /// ([`Registration::short_read_exhausts`]).
    ///
    /// # Errors
    /// As for [`Cx::register`].
    pub fn register<A: 'static, P>(
        self,
        registration: Registration,
        handler: impl Handler<A> + 'static,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Token> {
        let idle = cx.core.idle_of(&registration)?;
        let dialling = |stage| Dialling {
            handler: Some(handler),
            target: self.target.clone(),
            stage,
            start: cx.core.now,
            woken: false,
            interest: registration.interest,
            idle,
            exhausted_by: registration.exhausted_by,
            moved_by: registration.moved_by,
        };
        let without_limit = Registration { idle: Idle::Exempt, ..registration };
        let Some(address) = self.target.single() else {
            let timeout = self.options.timeout;
            let race = Race::new(self.options.clone());
            let dialling = dialling(Stage::Race(Box::new(race)));
            let quiet = Registration { interest: Interest::NONE, ..without_limit };
            let token = cx.register_boxed(None, quiet, Box::new(dialling))?;
            cx.set_timeout_of(token, timeout);
            let (tag, now) = (token.tag(), cx.core.ticks);
            cx.core.set_timer(tag, now, 0, START);
            return Ok(token);
        };
        let dialling = dialling(Stage::Single(Single::new(address.clone(), cx.core.now)));
        let (fd, state) = match self.options.begin(address) {
            Ok(begun) => begun,
            Err((operation, error)) => {
                let token = cx.register_boxed(None, without_limit, Box::new(dialling))?;
                let failed =
                    FailedAttempt::of_error(address.clone(), operation, error, Duration::ZERO);
                let error =
                    ConnectError::of_attempts(self.target.clone(), vec![failed], Duration::ZERO);
                let reason = Reason::Failed { operation: "connect", error: error.into() };
                cx.core.end(token.tag(), reason);
                return Ok(token);
            }
        };
        let is_established = state == Connecting::Done;
        let exhausted_by = match address {
            Address::Tcp(_) => ExhaustedBy::ShortRead,
            _ => registration.exhausted_by,
        };
        let while_connecting = Registration {
            interest: Interest::WRITE,
            mode: Mode::Nonblocking,
            assumed: if is_established { Readiness::WRITABLE } else { Readiness::NONE },
            exhausted_by,
            moved_by: MovedBy::Handler,
            ..without_limit
        };
        let token = cx.register_boxed(Some(fd), while_connecting, Box::new(dialling))?;
        if !is_established {
            cx.set_timeout_of(token, self.options.timeout.min(self.options.attempt_timeout));
        }
        Ok(token)
    }
}

/// Returns the ports that the kernel gives to sockets that connect (`net.ipv4.ip_local_port_range`,
/// `ip(7)`), as they were when this was called first.
fn local_ports() -> RangeInclusive<u16> {
    /// The default of the kernel.
    const DEFAULT: RangeInclusive<u16> = 32_768..=60_999;
    static PORTS: OnceLock<RangeInclusive<u16>> = OnceLock::new();
    if kernel::is_simulated() {
        return DEFAULT;
    }
    let read = || {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut ports = text.split_whitespace().map(|port| port.parse().ok());
        Some(ports.next()??..=ports.next()??)
    };
    PORTS.get_or_init(|| read().unwrap_or(DEFAULT)).clone()
}
