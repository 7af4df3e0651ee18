//! The application's side of a connection.

use super::{CloseCode, Message, Piece, Sender};
use crate::{Context, Flow, Reason};

/// The application's part of a WebSocket connection, of a server or of a client: it is given messages
/// and sends some. Each connection has its own value.
///
/// Pings are answered without it. What its methods return means the same as for
/// [`protocol::Service`](crate::Service), except that [`Flow::Close`] begins to close as the RFC
/// prescribes, with [`CloseCode::NORMAL`] unless the service has sent another
/// ([`Sender::close`]). From then on the service is not called, except for
/// [`closed`](Self::closed).
///
/// The timeout of key 255 belongs to the connection; a service must not set it.
pub trait Service<A = ()> {
    /// Handles the opening of the connection, after the handshake.
    fn open(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (sender, context);
        Flow::Continue
    }

    /// Handles a message of the peer. With [`Options::in_pieces`](super::Options::in_pieces),
    /// [`piece`](Self::piece) is called instead.
    ///
    /// A message that came in one frame, uncompressed, is a view of the input.
    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow;

    /// Handles a piece of a message, if [`Options::in_pieces`](super::Options::in_pieces) is set.
    /// The default drops it.
    fn piece(
        &mut self,
        piece: Piece<'_>,
        sender: &mut Sender<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (piece, sender, context);
        Flow::Continue
    }

    /// Handles a pong: the answer to [`Sender::ping`] or to a ping of the connection, which is empty,
    /// or one that the peer sent by itself.
    fn pong(
        &mut self,
        payload: &[u8],
        sender: &mut Sender<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (payload, sender, context);
        Flow::Continue
    }

    /// Handles the close frame of the peer, unless this side has sent one first. The service may
    /// send last messages. After that the connection answers with the same code.
    fn close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        sender: &mut Sender<'_>,
        context: &mut Context<'_, A>,
    ) {
        let _ = (code, reason, sender, context);
    }

    /// Handles the output falling to its low mark: see
    /// [`Service::drained`](crate::Service::drained).
    fn drained(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (sender, context);
        Flow::Continue
    }

    /// Handles a wake: see [`Service::resume`](crate::Service::resume). Messages of other connections
    /// are sent here.
    fn resume(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (sender, context);
        Flow::Continue
    }

    /// Handles the timeout of `key`. The default closes.
    fn timeout(&mut self, key: u8, sender: &mut Sender<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (key, sender, context);
        Flow::Close
    }

    /// Handles a graceful stop of the loop. The default closes with [`CloseCode::GOING_AWAY`].
    fn stopping(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = context;
        sender.close(CloseCode::GOING_AWAY, "");
        Flow::Close
    }

    /// Handles the end of the peer's stream while the service pauses: see
    /// [`Service::hung_up`](crate::Service::hung_up).
    fn hung_up(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (sender, context);
        Flow::Continue
    }

    /// Handles the end of the connection. Called exactly once, as the last method.
    ///
    /// [`Reason::is_orderly`] returns whether both sides have sent a close frame.
    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        let _ = (reason, context);
    }
}
