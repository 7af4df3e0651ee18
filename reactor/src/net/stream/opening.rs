//! How connections come to be: accepted, handed in, or dialled.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use protocol::{Limits, Session};

use super::Stream;
use super::stage::Stage;
use crate::source::registration::Sharing;
use crate::{Accepted, Address, ConnectOptions, Cx, Listener, Registration, Token, sys};

impl<S> Stream<S> {
    /// Accepts connections on `listener` and drives each with the session that `make` makes of
    /// its peer's address (`None` for Unix sockets).
    ///
    /// # Errors
    /// When `limits` cannot be worked with, or the kernel refuses to watch the socket.
    pub fn serve<A: 'static, P>(
        listener: Listener,
        limits: Limits,
        cx: &mut Cx<'_, A, P>,
        mut make: impl FnMut(Option<SocketAddr>) -> S + 'static,
    ) -> io::Result<Token>
    where
        S: Session<A> + 'static,
    {
        let limits = limits.shared()?;
        listener.register(cx, move |accepted, cx| {
            let session = make(accepted.peer);
            Self::register(accepted, Arc::clone(&limits), session, cx).map(drop)
        })
    }

    /// Drives `session` over a connection that was accepted.
    ///
    /// # Errors
    /// What the kernel said to watching it.
    pub fn register<A: 'static, P>(
        connection: Accepted,
        limits: Arc<Limits>,
        session: S,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Token>
    where
        S: Session<A> + 'static,
    {
        let stream = Self::new(session, limits, Stage::Opening);
        let registration = Registration::stream(connection.peer.is_some(), connection.sharing);
        cx.register(connection.fd, registration, stream)
    }

    /// Connects to `address` and drives `session` over the connection once it stands. A connection
    /// that cannot be made ends like any other: with `closed`, which says why.
    ///
    /// # Errors
    /// When `limits` cannot be worked with, or connecting fails at once.
    pub fn connect<A: 'static, P>(
        address: &Address,
        options: &ConnectOptions,
        limits: Limits,
        session: S,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Token>
    where
        S: Session<A> + 'static,
    {
        let limits = limits.shared()?;
        let (fd, connecting) = options.dial(address)?;
        let is_tcp = matches!(address, Address::Tcp(_));
        let registration = Registration::stream(is_tcp, Sharing::Excluded);
        let (stage, registration) = match connecting {
            sys::Connecting::Done => (Stage::Opening, registration),
            // Until it stands, the time that connecting may take is the only limit.
            sys::Connecting::InProgress => {
                (Stage::Connecting, registration.connecting().idle_timeout(None))
            }
        };
        let token = cx.register(fd, registration, Self::new(session, limits, stage))?;
        if connecting == sys::Connecting::InProgress {
            cx.set_timeout_of(token, options.timeout);
        }
        Ok(token)
    }
}
