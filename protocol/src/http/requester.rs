//! The application's side of a client.

use super::{Fields, Request, ResponseHead};
use crate::{Context, Flow, Reason};

/// The application's part of a [`Client`](super::Client): it writes requests and is given responses.
/// Each connection has its own value.
///
/// A connection has one request at a time. Its response is delivered as its head
/// ([`response`](Self::response)), the pieces of its body ([`body`](Self::body)), and its end
/// ([`end`](Self::end)). Then [`ready`](Self::ready) may write the next.
///
/// In every call, [`Flow::Pause`] stops the delivery of the response until the requester is woken,
/// so that the server cannot send more than there is room for. [`Flow::Close`] closes the connection.
/// [`Flow::Upgrade`] passes it to the next session ([`Upgrade`](crate::Upgrade)), after the head of
/// a response with the status 101, or with a status of success to a `CONNECT`.
///
/// ```
/// use protocol::http::{Client, ClientOptions, Fields, Request, Requester, ResponseHead};
/// use protocol::{Context, Flow, testing};
///
/// /// Gets one page.
/// #[derive(Default)]
/// struct Get {
///     page: Vec<u8>,
/// }
///
/// impl Requester for Get {
///     fn ready(&mut self, request: &mut Request<'_>, _: &mut Context<'_>) -> Flow {
///         request.head("GET", "/", "example.org").field("Accept", "text/html").empty();
///         Flow::Continue
///     }
///     fn body(&mut self, piece: &mut [u8], _: &mut Request<'_>, _: &mut Context<'_>) -> Flow {
///         self.page.extend_from_slice(piece);
///         Flow::Continue
///     }
///     fn end(&mut self, _: Fields<'_>, _: bool, _: &mut Request<'_>, _: &mut Context<'_>) -> Flow {
///         Flow::Close
///     }
/// }
///
/// let mut client = Client::new(Get::default(), ClientOptions::default().shared()?);
/// let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
/// let sent = testing::drive(&mut client, &mut (), &[response])?;
/// assert_eq!(sent, b"GET / HTTP/1.1\r\nHost: example.org\r\nAccept: text/html\r\n\r\n");
/// assert_eq!(client.requester().page, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Requester<A = ()> {
    /// Handles a connection that can take a request: it has opened, or its last response is complete
    /// and the server keeps it, or it was woken while it had no request. A requester that has none
    /// writes nothing; the connection is idle then.
    fn ready(&mut self, request: &mut Request<'_>, context: &mut Context<'_, A>) -> Flow;

    /// Handles an interim response (1xx, except 101), such as `100 Continue`.
    fn informational(
        &mut self,
        head: &ResponseHead<'_>,
        request: &mut Request<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (head, request, context);
        Flow::Continue
    }

    /// Handles the head of the final response. It may come before the request was written
    /// completely.
    fn response(
        &mut self,
        head: &ResponseHead<'_>,
        request: &mut Request<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (head, request, context);
        Flow::Continue
    }

    /// Handles a piece of the body of the response, which is lent as it lies in the input.
    fn body(
        &mut self,
        piece: &mut [u8],
        request: &mut Request<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (piece, request, context);
        Flow::Continue
    }

    /// Handles the end of the response: its body was complete. `is_kept` says whether the connection
    /// can take another request. If not, it is closed. That is also the case when the request was
    /// not written completely.
    fn end(
        &mut self,
        trailers: Fields<'_>,
        is_kept: bool,
        request: &mut Request<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (trailers, is_kept, request, context);
        Flow::Continue
    }

    /// Handles the output falling to its low mark ([`Limits::output_low`](crate::Limits)) from above
    /// it, while a request is incomplete. A requester with a large body appends the next portion
    /// here, up to the high mark each time.
    ///
    /// [`Flow::Continue`] does not end a pause.
    fn drained(&mut self, request: &mut Request<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (request, context);
        Flow::Continue
    }

    /// Handles a wake while a request is in progress. [`Flow::Continue`] ends a pause.
    fn resume(&mut self, request: &mut Request<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (request, context);
        Flow::Continue
    }

    /// Handles the timeout of `key` ([`Effects::set_timeout`](crate::Effects::set_timeout)). The key
    /// [`TIMEOUT_KEY`](super::TIMEOUT_KEY) is used by the client itself. [`Flow::Continue`] ends a
    /// pause. The default ends the connection.
    fn timeout(
        &mut self,
        key: u8,
        request: &mut Request<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (key, request, context);
        Flow::Close
    }

    /// Handles a graceful stop of the loop while a request is in progress. After the response, the
    /// client closes the connection. Connections without a request are closed at once.
    ///
    /// [`Flow::Continue`] does not end a pause.
    fn stopping(&mut self, request: &mut Request<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (request, context);
        Flow::Continue
    }

    /// Handles that the connection ends in order to refuse what the server did, or did not do in time.
    /// The connection waits for the server to end it too, so [`closed`](Self::closed) may be called
    /// [`Limits::linger`](crate::Limits) later. A requester for which nothing of its output is worth
    /// waiting for closes its own connection ([`Effects::close`](crate::Effects::close)).
    fn refused(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        let _ = (reason, context);
    }

    /// Handles the end of the connection. Called exactly once, as the last method. If a request was
    /// in progress, `reason` says why its response is not complete. A server may close a kept
    /// connection at any time, so a request of a safe method can be repeated if no part of its
    /// response has come ([`Refusal::NoResponse`](super::Refusal::NoResponse) and errors of the
    /// connection, [`Reason::is_disconnect`]). A reset after a part of a head is
    /// [`Refusal::Truncated`](super::Refusal::Truncated).
    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        let _ = (reason, context);
    }
}
