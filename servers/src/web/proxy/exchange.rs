//! What passes between a client and the server behind the proxy, for one request.

use protocol::ConnectionId;
use protocol::http::{BodyLength, OwnedRequestHead, ResponseHead, Status};

use super::fields::Origin;

/// The name of an exchange. It is never used again for another one.
pub(crate) type ExchangeId = u64;

/// Bytes under way from one connection to the other.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    bytes: Vec<u8>,
    /// There is nothing more to come.
    has_ended: bool,
    /// The connection that the bytes come from pauses until they are taken.
    is_full: bool,
}

impl Pipe {
    /// Adds bytes. Returns whether there is room for more: at `most` bytes there is none.
    pub(crate) fn put(&mut self, bytes: &[u8], most: u64) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.is_full = self.bytes.len() as u64 >= most;
        !self.is_full
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }

    /// Takes all bytes with `take`. Returns whether the other connection waits for that.
    pub(crate) fn take(&mut self, take: impl FnOnce(&[u8])) -> bool {
        if !self.bytes.is_empty() {
            take(&self.bytes);
            self.bytes.clear();
        }
        std::mem::take(&mut self.is_full)
    }

    /// Returns whether the connection that the bytes come from has to pause.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Returns whether nothing more comes, and all was taken.
    pub(crate) fn is_done(&self) -> bool {
        self.has_ended && self.bytes.is_empty()
    }

    /// Returns whether nothing more comes.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// The head of the response of the other server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) fields: Vec<(Box<str>, Box<[u8]>)>,
    pub(crate) body: BodyLength,
    /// The field `Content-Length`, of a response that has no body by its nature.
    pub(crate) length: Option<u64>,
    /// The protocol that is spoken from now on.
    pub(crate) upgrade: Option<Box<str>>,
}

impl Answer {
    /// Returns the answer to a request with this method, without its fields.
    pub(crate) fn of(head: &ResponseHead<'_>, method: &str) -> Self {
        let fields = head.fields();
        // The answer to HEAD says how long that to GET is, or that this is not known.
        let length = fields.get_str("content-length").and_then(|it| it.trim().parse().ok());
        let body = match length {
            None if method == "HEAD" => BodyLength::Chunked,
            _ => head.body(),
        };
        Self {
            status: head.status(),
            fields: Vec::new(),
            body,
            length: length.filter(|_| body.is_empty()),
            upgrade: fields.get_str("upgrade").map(Into::into),
        }
    }
}

/// A request that is passed on, and its response.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) client: ConnectionId,
    /// The connection to the other server. There is none while it is being made.
    pub(crate) upstream: Option<ConnectionId>,
    pub(crate) route: usize,
    pub(crate) request: OwnedRequestHead,
    pub(crate) origin: Origin,
    /// From the client to the other server.
    pub(crate) up: Pipe,
    /// From the other server to the client.
    pub(crate) down: Pipe,
    /// The head of the response, until the client gets it.
    pub(crate) answer: Option<Answer>,
    /// Whether there was a response, also an interim one.
    pub(crate) is_answered: bool,
    /// Why there is no response, or no whole one.
    pub(crate) failure: Option<Status>,
    /// The request was sent a second time.
    pub(crate) is_repeated: bool,
    /// One of the connections of a tunnel has closed.
    pub(crate) is_half_closed: bool,
}

impl Exchange {
    /// Returns whether the request may be sent again when a connection that was kept has ended
    /// without an answer (RFC 9110, section 9.2.2): its method is idempotent, and none of its body
    /// is gone.
    pub(crate) fn may_repeat(&self) -> bool {
        let head = self.request.view();
        let is_idempotent =
            matches!(head.method(), "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE");
        is_idempotent && head.body().is_empty() && !self.is_answered && !self.is_repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_is_full_says_so_until_it_is_taken() {
        let mut pipe = Pipe::default();
        assert!(pipe.put(b"abc", 5));
        assert!(!pipe.put(b"def", 5) && pipe.is_full());
        let mut taken = Vec::new();
        assert!(pipe.take(|bytes| taken.extend_from_slice(bytes)));
        assert_eq!(taken, b"abcdef");
        assert!(!pipe.is_full() && !pipe.take(|_| panic!("nothing is there")));
        assert!(pipe.put(b"g", 5));
        pipe.end();
        assert!(pipe.has_ended() && !pipe.is_done());
        assert!(!pipe.take(|bytes| assert_eq!(bytes, b"g")));
        assert!(pipe.is_done());
    }
}
