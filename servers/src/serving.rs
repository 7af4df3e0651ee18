//! What one loop serves: its limits, and what it does with each connection and datagram.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use protocol::link::Link;
use protocol::{Limits, Session};
use reactor::{Accepted, DatagramSocket, LoopCx, LoopLimits, Reactor, Stream, Token};

use crate::args::ServerArgs;
use crate::tls::Tls;
use crate::{Application, ServeDatagrams};

/// Passes a connection on to its session.
pub(crate) type Accept<A> = Box<dyn FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()>>;

/// What one loop serves.
pub(crate) struct Serving<A: 'static, S> {
    limits: Limits,
    session: Rc<dyn Fn(Option<SocketAddr>) -> S>,
    datagrams: Option<ServeDatagrams<A>>,
    tls: Option<Tls>,
}

impl<A: 'static, S: Session<A> + 'static> Serving<A, S> {
    /// Makes a loop with the state of the application, and what it serves.
    pub(crate) fn open(
        args: &ServerArgs,
        application: Application<A, S>,
        tls: Option<Tls>,
    ) -> io::Result<(Reactor<A>, Self)> {
        let Application { state, limits, loop_limits, session, datagrams, start, .. } = application;
        let loop_limits = LoopLimits {
            connections_max: args.connections_max().saturating_add(application.own_connections),
            idle_timeout: args.idle_timeout.limit(),
            ..loop_limits
        };
        let backend = args.backend.open();
        let made = backend.and_then(|it| Reactor::with_backend(it, loop_limits, state));
        let mut reactor = made.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start the loop: {error}"))
        })?;
        start(&mut reactor.cx())?;
        Ok((reactor, Self { limits, session, datagrams, tls }))
    }

    /// Returns what passes the connections of a listener on to their sessions: behind TLS, if they are
    /// encrypted.
    pub(crate) fn accept(&self, is_encrypted: bool) -> io::Result<Accept<A>> {
        let session = Rc::clone(&self.session);
        let Some(tls) = self.tls.as_ref().filter(|_| is_encrypted) else {
            let limits = self.limits.shared()?;
            return Ok(Box::new(move |accepted, cx| {
                let stream = Stream::new(session(accepted.peer()), Arc::clone(&limits));
                stream.register(accepted, cx).map(drop)
            }));
        };
        let limits = Limits { handshake: tls.handshake_timeout(), ..self.limits }.shared()?;
        let tls = tls.server().clone();
        Ok(Box::new(move |accepted, cx| {
            let link =
                Link::with_layer(session(accepted.peer()), tls.layer()?, Arc::clone(&limits));
            Stream::over(link).register(accepted, cx).map(drop)
        }))
    }

    /// Goes on with a connection of another process, which has said `state` of it.
    ///
    /// # Errors
    /// When the state cannot be restored.
    pub(crate) fn restore(
        &self,
        accepted: Accepted,
        state: &[u8],
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<Token> {
        let session = (self.session)(accepted.peer());
        Stream::restore(accepted, session, self.limits.shared()?, state, cx)
    }

    /// Serves a socket of datagrams.
    pub(crate) fn serve_datagrams(
        &self,
        socket: DatagramSocket,
        cx: &mut LoopCx<'_, A>,
    ) -> io::Result<Token> {
        match &self.datagrams {
            Some(serve) => serve(socket, self.limits, cx),
            None => Err(io::Error::other("this server takes no datagrams")),
        }
    }
}
