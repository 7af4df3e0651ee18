//! What a response is delivered to.

use std::time::Duration;

use protocol::http::ResponseHead;
use protocol::{Context, Flow};
use reactor::LoopCx;
use url::Url;

use super::{Error, Request};

/// What became of an exchange that has a response.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The status of the response.
    pub status: u16,
    /// The URL that the response is from, after all redirections.
    pub url: Url,
    /// How many redirections were followed.
    pub redirects: u32,
    /// How often the last request was sent.
    pub attempts: u32,
    /// Whether its connection had been used before.
    pub is_reused: bool,
    /// How long the exchange took, with its redirections and pauses.
    pub took: Duration,
}

/// What a response is delivered to: first its head, then the pieces of its body, then its end.
/// Responses that redirect, or that are a reason for another attempt, are not delivered.
///
/// The calls before [`done`](Self::done) come from the connection, which lends what a session is
/// lent. They borrow the application state as [`Context::app`].
pub trait Receiver<A>: Send {
    /// Handles the head of the response. [`Flow::Pause`] stops the body until
    /// [`Client::resume`](super::Client::resume).
    ///
    /// # Errors
    /// When the response is not wanted, which ends the exchange and its connection.
    fn head(
        &mut self,
        head: &ResponseHead<'_>,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Error> {
        let _ = (head, context);
        Ok(Flow::Continue)
    }

    /// Handles a piece of the body, decoded. [`Flow::Pause`] stops the body until
    /// [`Client::resume`](super::Client::resume), so that a slow receiver slows the server down.
    ///
    /// # Errors
    /// When the piece cannot be taken, which ends the exchange and its connection.
    fn body(&mut self, piece: &[u8], context: &mut Context<'_, A>) -> Result<Flow, Error>;

    /// Handles a head whose response is not delivered: one of the statuses 1xx, one that redirects,
    /// or one that is a reason for another attempt.
    fn passed_over(&mut self, head: &ResponseHead<'_>, context: &mut Context<'_, A>) {
        let _ = (head, context);
    }

    /// Handles bytes of the request's body that were given to the connection.
    fn sent(&mut self, count: u64, context: &mut Context<'_, A>) {
        let _ = (count, context);
    }

    /// Decides whether another attempt is made although a part of the response was delivered.
    /// `request` may be changed, for example to ask for the rest. The default gives up.
    fn again(&mut self, request: &mut Request, error: &Error) -> bool {
        let _ = (request, error);
        false
    }

    /// Handles a failure after which another attempt is made after this pause.
    fn retrying(&mut self, error: &Error, pause: Duration, cx: &mut LoopCx<'_, A>) {
        let _ = (error, pause, cx);
    }

    /// Handles the end of the exchange. Called exactly once, as the last method. `Ok` means that the
    /// response is complete, whatever its status.
    fn done(self: Box<Self>, result: Result<Summary, Error>, cx: &mut LoopCx<'_, A>);
}
