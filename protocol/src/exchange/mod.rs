//! The client's side of a protocol: how requests are written, and which reply answers which.
//!
//! An [`Exchange`] describes the protocol. A [`Caller`] is the session of one connection: it opens
//! the connection, writes requests, matches replies to them, and knows at the end which requests
//! were certainly not sent. It performs no I/O; `reactor::Client` drives it and outlives its
//! connections.
//!
//! A protocol of lines, in which each line answers the oldest request:
//!
//! ```
//! use protocol::codecs::Lines;
//! use protocol::exchange::{Caller, Exchange, Heard, Said};
//! use protocol::testing::Wire;
//! use protocol::Reply;
//!
//! struct LineCalls;
//!
//! impl Exchange for LineCalls {
//!     type Codec = Lines;
//!     type Request = String;
//!     type Reply = String;
//!     type Push = ();
//!
//!     fn codec(&self) -> Lines {
//!         Lines::default()
//!     }
//!
//!     fn size(request: &String) -> usize {
//!         request.len() + 1
//!     }
//!
//!     fn write(&mut self, request: &String, _number: u64, reply: &mut Reply<'_, Lines>) {
//!         reply.send(request.as_bytes());
//!     }
//!
//!     fn hear(
//!         &mut self,
//!         line: &mut [u8],
//!         _oldest: Option<&String>,
//!         _reply: &mut Reply<'_, Lines>,
//!     ) -> Heard<String, ()> {
//!         Heard::Reply(String::from_utf8_lossy(line).into_owned())
//!     }
//! }
//!
//! let mut wire = Wire::new(Caller::new(LineCalls, 100));
//! wire.run(&mut ());
//! assert!(matches!(wire.session_mut().next_said(), Some(Said::Opened)));
//! wire.session_mut().queue("one".to_owned(), 'a');
//! wire.session_mut().queue("two".to_owned(), 'b');
//! wire.wake(&mut ());
//! assert_eq!(wire.take_sent(), b"one\ntwo\n");
//! wire.feed(b"ONE\nTW", &mut ());
//! let Some(Said::Answered { ticket: 'a', reply }) = wire.session_mut().next_said() else {
//!     panic!("the first request is answered");
//! };
//! assert_eq!(reply, "ONE");
//! // The connection ends: the second request was sent, and its outcome is not known.
//! wire.end_input(&mut ());
//! let left: Vec<_> = wire.into_session().end().1.collect();
//! assert_eq!((left.len(), left[0].ticket, left[0].is_sent), (1, 'b', true));
//! ```

mod caller;

use std::error::Error;

pub use caller::{Caller, Expired, Left, Said};

use crate::{Codec, Reply};

/// Whether a connection is open for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Requests may be written.
    Ready,
    /// The peer has to answer first: [`Exchange::hear`] returns [`Heard::Opened`] once it has.
    Waits,
}

/// What a message of the peer is.
#[derive(Debug)]
pub enum Heard<R, P> {
    /// The reply to the oldest request that has none.
    Reply(R),
    /// The reply to the request of this number.
    Numbered(u64, R),
    /// A message that answers no request.
    Push(P),
    /// The last answer that opening the connection had to wait for ([`Opening::Waits`]).
    Opened,
    /// A part of something else: nothing is delivered.
    Nothing,
    /// A message that ends the connection. Logs and users see the text.
    Refused(Box<dyn Error + Send + Sync>),
}

/// The client's side of a protocol. It lives longer than its connections: what a new connection has
/// to restore, such as subscriptions, is kept in it. Requests, replies and pushes pass between
/// threads, so they are [`Send`].
pub trait Exchange: Send + 'static {
    /// The codec of a connection.
    type Codec: Codec + 'static;
    /// A request.
    type Request: Send + 'static;
    /// A reply to a request.
    type Reply: Send + 'static;
    /// A message that answers no request.
    type Push: Send + 'static;

    /// Whether a server never carries out a request of which it has not received every byte. If so,
    /// a request that was sent in part counts as not sent. The default is false: the outcome of
    /// such a request is not known.
    const WHOLE_ONLY: bool = false;

    /// The largest number of a request, `2^k - 1`. The number after it is zero. The default is for
    /// protocols whose replies come in order, and for those that send numbers of 64 bits.
    const NUMBER_MAX: u64 = u64::MAX;

    /// Returns the codec of a new connection.
    fn codec(&self) -> Self::Codec;

    /// Begins a connection: appends what has to be sent before any request. Whatever an earlier
    /// connection has left half done is void.
    fn open(&mut self, reply: &mut Reply<'_, Self::Codec>) -> Opening {
        let _ = reply;
        Opening::Ready
    }

    /// Returns about how many bytes a request takes, for limits.
    fn size(request: &Self::Request) -> usize;

    /// Appends a request. `number` names it for [`Heard::Numbered`]. A request is written again if
    /// the connection ended before it was sent.
    fn write(&mut self, request: &Self::Request, number: u64, reply: &mut Reply<'_, Self::Codec>);

    /// Returns the reply to a request that the peer does not answer, such as a message to others. Such
    /// a request completes when it is written; whether it arrives is not known. `None`, the default,
    /// is for requests that are answered.
    fn one_way(&self, request: &Self::Request) -> Option<Self::Reply> {
        let _ = request;
        None
    }

    /// Returns what a message is. `oldest` is the oldest request that has no reply, even if nothing
    /// waits for that reply any more. An answer to the peer, if the protocol has one, is appended
    /// to `reply`.
    fn hear(
        &mut self,
        message: <Self::Codec as Codec>::In<'_>,
        oldest: Option<&Self::Request>,
        reply: &mut Reply<'_, Self::Codec>,
    ) -> Heard<Self::Reply, Self::Push>;

    /// Returns a request that changes nothing, whose reply shows that the peer is alive. Protocols
    /// without one return `None`, the default.
    fn health(&self) -> Option<Self::Request> {
        None
    }

    /// Returns a sign of life: a request that has no answer ([`one_way`](Self::one_way)), where the
    /// protocol demands that each side speaks from time to time. Other protocols return `None`, the
    /// default.
    fn sign_of_life(&self) -> Option<Self::Request> {
        None
    }

    /// Returns whether the connection is needed while no request waits, for example since there are
    /// subscriptions. Such a connection is not let go when it is idle, and made again when it has
    /// ended.
    fn is_needed(&self) -> bool {
        false
    }
}
