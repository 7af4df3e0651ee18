//! The application's side of a server.

use super::{Fields, Refusal, RequestHead, Response};
use crate::{Context, Flow, Reason};

/// The application's part of a [`Server`](super::Server): it is given requests and writes responses.
/// Each connection has its own value.
///
/// A request is delivered as its head ([`request`](Self::request)), the pieces of its body
/// ([`body`](Self::body)), and its end ([`end`](Self::end)). The response may begin in any of these
/// calls. A service that cannot answer yet leaves the response incomplete. It is called again when
/// it is woken ([`resume`](Self::resume)), when a timeout passes, or when output has been sent
/// ([`drained`](Self::drained)).
///
/// The next request is delivered when the response is complete and the request has been read.
///
/// In every call, [`Flow::Pause`] stops the delivery of the body and of further requests until the
/// service is woken. [`Flow::Close`] closes the connection after a complete response; an incomplete
/// one is cut, so that the client notices. [`Flow::Upgrade`] passes the connection to the next
/// session ([`Upgrade`](crate::Upgrade)), after a complete response that
/// [switches protocols](Response::switch_protocols), or that accepts a `CONNECT`.
///
/// A closure with the arguments of [`request`](Self::request) is a service for requests whose body
/// does not matter.
///
/// ```
/// use protocol::http::{Options, RequestHead, Response, Server, Status};
/// use protocol::{Context, Flow, testing};
///
/// let service = |head: &RequestHead<'_>, response: &mut Response<'_>, _: &mut Context<'_>| {
///     match head.path() {
///         "/" => response.text(Status::OK, "hello"),
///         _ => response.error(Status::NOT_FOUND),
///     }
///     Flow::Continue
/// };
/// let mut server = Server::new(service, Options::default().shared()?);
/// let sent = testing::drive(&mut server, &mut (), &[b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])?;
/// assert!(sent.starts_with(b"HTTP/1.1 200 OK\r\n") && sent.ends_with(b"\r\n\r\nhello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Service<A = ()> {
    /// Handles the head of a request.
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow;

    /// Handles a piece of the body of a request, which is lent as it lies in the input. By default,
    /// it is dropped.
    fn body(
        &mut self,
        piece: &mut [u8],
        response: &mut Response<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (piece, response, context);
        Flow::Continue
    }

    /// Handles the end of a request, after all of its body. Called once for each request, also for
    /// those without a body, unless the connection ends before or is upgraded. `trailers` may follow
    /// a body in chunks.
    fn end(
        &mut self,
        trailers: Fields<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (trailers, response, context);
        Flow::Continue
    }

    /// Handles the output falling to its low mark ([`Limits::output_low`](crate::Limits)) from above
    /// it, while a response is incomplete. A service with a large body appends the next portion here,
    /// up to the high mark each time.
    ///
    /// [`Flow::Continue`] does not end a pause.
    fn drained(&mut self, response: &mut Response<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (response, context);
        Flow::Continue
    }

    /// Handles a wake of this connection ([`Effects::wake`](crate::Effects::wake)). Wakes between
    /// two requests are not reported. [`Flow::Continue`] ends a pause.
    fn resume(&mut self, response: &mut Response<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (response, context);
        Flow::Continue
    }

    /// Handles the timeout of `key` ([`Effects::set_timeout`](crate::Effects::set_timeout)). The key
    /// [`TIMEOUT_KEY`](super::TIMEOUT_KEY) is used by the server itself. Between two requests,
    /// the response is complete. [`Flow::Continue`] ends a pause. The default ends the connection.
    fn timeout(
        &mut self,
        key: u8,
        response: &mut Response<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let _ = (key, response, context);
        Flow::Close
    }

    /// Handles a graceful stop of the loop while a request is in progress. After the response, the
    /// server closes the connection. Connections without a request are closed at once.
    ///
    /// [`Flow::Continue`] does not end a pause.
    fn stopping(&mut self, response: &mut Response<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (response, context);
        Flow::Continue
    }

    /// Handles the end of the client's stream while a response is incomplete. Further requests may
    /// be in the input, and the client may still read, so the default goes on.
    ///
    /// [`Flow::Continue`] does not end a pause.
    fn hung_up(&mut self, response: &mut Response<'_>, context: &mut Context<'_, A>) -> Flow {
        let _ = (response, context);
        Flow::Continue
    }

    /// Answers something that is refused: a head that is none, a body that is too large, or a
    /// request that did not arrive in time. The connection is closed after the response. The default
    /// says in plain text what is wrong.
    fn refused(
        &mut self,
        refusal: Refusal,
        response: &mut Response<'_>,
        context: &mut Context<'_, A>,
    ) {
        let _ = context;
        response.text(refusal.status(), &format!("{refusal}\n"));
    }

    /// Handles the end of the connection. Called exactly once, as the last method.
    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        let _ = (reason, context);
    }
}

impl<A, F> Service<A> for F
where
    F: FnMut(&RequestHead<'_>, &mut Response<'_>, &mut Context<'_, A>) -> Flow,
{
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        self(head, response, context)
    }
}
