//! Connections that this side makes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use log::debug;

use crate::planted::{self, Planted};
use crate::source::registration::{ExhaustedBy, Idle, Mode};
use crate::source::table::NEVER;
use crate::{
    Address, ConnectOptions, Cx, Handler, Interest, LoopCx, Readiness, Reason, Registration, Token,
    sys,
};

/// A socket that is connecting, ready to be registered: the counterpart of a
/// [`Listener`](crate::Listener), for handlers that use the descriptor themselves.
///
/// It connects to one address. A program that races several (RFC 8305) registers a connector for
/// each of them. The handler that is called first closes the other attempts ([`Cx::close`]) and
/// replaces itself by the handler of the connection ([`Cx::replace_handler`]).
///
/// ```
/// use reactor::{Address, ConnectOptions, Connector, Cx, Handler, Interest, Reactor};
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
/// let address = Address::from(server.local_addr()?);
/// let mut reactor = Reactor::new(())?;
/// let registration = Registration::new(Interest::WRITE).role(Role::Connection);
/// Connector::dial(&address, &ConnectOptions::DEFAULT)?.register(
///     registration,
///     Greets,
///     &mut reactor.cx(),
/// )?;
/// reactor.run()?;
/// # drop(reactor);
/// # assert_eq!(io::read_to_string(server.accept()?.0)?, "hello");
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct Connector {
    fd: OwnedFd,
    address: Address,
    state: sys::Connecting,
    timeout: Duration,
}

impl Connector {
    /// Creates a non-blocking socket and begins to connect it (`connect(2)`). This does not block.
    ///
    /// # Errors
    /// The error that the kernel returns at once, with the address: the socket cannot be created,
    /// there is no route, or a Unix socket has no listener or a full backlog.
    pub fn dial(address: &Address, options: &ConnectOptions) -> io::Result<Self> {
        let (fd, state) = options.dial(address)?;
        Ok(Self { fd, address: address.clone(), state, timeout: options.timeout })
    }

    /// Returns the address to which it connects.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Registers the connection. `handler` is called for the first time when the connection is
    /// established: [`Handler::ready`] runs once, whatever the interest of `registration` is. Later
    /// calls depend on the interest. If the source is woken or the loop is stopped gracefully
    /// before that, the handler is told right after the first call.
    ///
    /// Connecting may take [`ConnectOptions::timeout`] from this call on. The idle limit does not
    /// apply meanwhile. A connection that fails ends like any other source: [`Handler::closed`]
    /// gets [`Reason::Failed`] with the operation `connect`, or [`Reason::TimedOut`].
    ///
    /// The token, the descriptor and its place in the backend stay the same throughout. A short
    /// read from a TCP connection counts as proof that it is exhausted
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
        let is_established = self.state == sys::Connecting::Done;
        let exhausted_by = match self.address {
            Address::Tcp(_) => ExhaustedBy::ShortRead,
            _ => registration.exhausted_by,
        };
        let while_connecting = Registration {
            interest: Interest::WRITE,
            idle: Idle::Exempt,
            mode: Mode::Nonblocking,
            assumed: if is_established { Readiness::WRITABLE } else { Readiness::NONE },
            exhausted_by,
            ..registration
        };
        let connecting = Connecting {
            handler: Some(handler),
            address: self.address,
            woken: false,
            interest: registration.interest,
            idle: cx.core.idle_of(&registration)?,
        };
        let token = cx.register(self.fd, while_connecting, connecting)?;
        if !is_established {
            cx.set_timeout_of(token, self.timeout);
        }
        Ok(token)
    }
}

/// Waits until a connection is established, and then replaces itself by the handler of the
/// connection.
struct Connecting<H> {
    /// `None` after the replacement.
    handler: Option<H>,
    address: Address,
    /// The source was woken before the connection was established.
    woken: bool,
    /// The interest of the handler, set when the connection is established.
    interest: Interest,
    /// The idle limit from then on, in nanoseconds.
    idle: u64,
}

impl<H> Connecting<H> {
    /// Returns whether the connection is established.
    fn is_established<A>(&self, cx: &mut Cx<'_, A>) -> io::Result<bool> {
        if !cx.readiness().intersects(Readiness::WRITABLE | Readiness::ERROR) {
            return Ok(false);
        }
        if planted::is(Planted::ConnectAssumed) {
            return Ok(true);
        }
        match cx.take_error()? {
            None => Ok(true),
            Some(error) => {
                cx.failed = Some("connect");
                Err(error)
            }
        }
    }
}

impl<A: 'static, H: Handler<A> + 'static> Handler<A> for Connecting<H> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.woken |= cx.was_woken();
        if !self.is_established(cx)? {
            return Ok(());
        }
        let Some(handler) = &mut self.handler else { return Ok(()) };
        debug!("{} fd {:?}: connected to {}", cx.me(), cx.raw_fd(), self.address);
        cx.core.note_peer(cx.me);
        cx.set_interest(self.interest);
        let (idle, charged) = (self.idle, cx.core.charged);
        cx.core.update_limits(cx.me, |source| {
            (source.deadline, source.idle, source.last_active) = (NEVER, idle, charged);
        });
        cx.woken = self.woken;
        // The handler stays here until this has returned: if it panics, `closed` is still called.
        let result = handler.ready(cx);
        if !cx.is_replaced()
            && let Some(handler) = self.handler.take()
        {
            cx.replace_handler(handler);
        }
        result
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        debug!("{}: not connected to {}: {reason}", cx.me(), self.address);
        if let Some(handler) = self.handler {
            Box::new(handler).closed(reason, cx);
        }
    }

    fn name(&self) -> &'static str {
        self.handler.as_ref().map_or("reactor::Connector", |handler| handler.name())
    }
}
