//! Connections that this side begins.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use log::debug;

use crate::source::registration::{ExhaustedBy, Idle, Mode};
use crate::source::table::NEVER;
use crate::{
    Address, ConnectOptions, Cx, Handler, Interest, LoopCx, Readiness, Reason, Registration, Token,
    sys,
};

/// A socket that is connecting, ready to be registered: the counterpart of a
/// [`Listener`](crate::Listener), for handlers that use the descriptor themselves.
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
    /// Makes a non-blocking socket and begins to connect it (`connect(2)`). Nothing is waited for.
    ///
    /// # Errors
    /// What the kernel says at once, with the address: the socket cannot be made, there is no
    /// route, a Unix socket has no listener or a full backlog.
    pub fn dial(address: &Address, options: &ConnectOptions) -> io::Result<Self> {
        let (fd, state) = options.dial(address)?;
        Ok(Self { fd, address: address.clone(), state, timeout: options.timeout })
    }

    /// The address that is dialled.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Registers the connection. `handler` is called for the first time once the connection stands:
    /// [`Handler::ready`] runs once then, whatever `registration` is interested in, and from there
    /// on as the interest says. A wake and a graceful stop of the loop that come before are not
    /// lost: the handler is told of them right after.
    ///
    /// Connecting may take [`ConnectOptions::timeout`], counted from this call; meanwhile the idle
    /// limit does not count. A connection that fails ends like any other source:
    /// [`Handler::closed`] gets [`Reason::Failed`] of the operation `connect`, or
    /// [`Reason::TimedOut`].
    ///
    /// The token, the descriptor and its place in the backend stay the same throughout. Of a TCP
    /// connection a short read counts as the proof that there is no more, as
    /// [`Registration::short_read_exhausts`] says.
    ///
    /// # Errors
    /// As for [`Cx::register`].
    pub fn register<A: 'static, P>(
        self,
        registration: Registration,
        handler: impl Handler<A> + 'static,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Token> {
        let stands = self.state == sys::Connecting::Done;
        let exhausted_by = match self.address {
            Address::Tcp(_) => ExhaustedBy::ShortRead,
            Address::Unix(_) => registration.exhausted_by,
        };
        let while_connecting = Registration {
            interest: Interest::WRITE,
            idle: Idle::Exempt,
            mode: Mode::Nonblocking,
            assumed: if stands { Readiness::WRITABLE } else { Readiness::NONE },
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
        if !stands {
            cx.set_timeout_of(token, self.timeout);
        }
        Ok(token)
    }
}

/// Waits until a connection stands, and then makes room for the handler that it is for.
struct Connecting<H> {
    /// There until it takes over.
    handler: Option<H>,
    address: Address,
    /// The source was woken before the connection stood.
    woken: bool,
    /// What the handler wants from then on,
    interest: Interest,
    /// and for how many nanoseconds it may be silent.
    idle: u64,
}

impl<H> Connecting<H> {
    /// Whether the connection stands.
    fn stands<A>(&self, cx: &mut Cx<'_, A>) -> io::Result<bool> {
        if !cx.readiness().intersects(Readiness::WRITABLE | Readiness::ERROR) {
            return Ok(false);
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
        if !self.stands(cx)? {
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
        // Until this has returned, the handler stays here: if it panics, it is still told its end.
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
