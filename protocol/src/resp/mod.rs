//! RESP, the protocol of Redis: both versions, both sides.
//!
//! - [`Server`] is the codec of a server: it decodes a [`Request`] (an array of bulk strings or an
//!   inline command) as a view of the input, and encodes replies. A service says them with a
//!   [`Writer`], which [`Reply::writer`](crate::Reply::writer) makes.
//! - [`Client`] is the codec of a client: it encodes commands, and decodes a [`Value`] of any type
//!   as a view of the input.
//! - [`text`] is what people read and write: the quoting and the output of `redis-cli`.
//!
//! Input is validated once, where it stands. A decoder remembers how far it has come, so that what
//! arrives in pieces is not looked at from the start again; nothing is allocated for a message or
//! a part of one.
//!
//! Where the specification leaves a choice, Redis 7.0 is the judge, its error texts included.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

mod client;
mod error;
mod limits;
mod number;
mod quote;
mod request;
mod server;
pub mod text;
mod value;
mod writer;

pub use client::Client;
pub use error::{RequestError, ValueError};
pub use limits::Limits;
pub use request::{Arguments, Request};
pub use server::Server;
pub use value::{Elements, Pairs, Value};
pub use writer::{Item, Writer, shared};

/// The version of RESP that one side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// RESP2: what every connection begins with. What it has no type for is said in the nearest
    /// one, as Redis does: a map as a flat array, a double as a bulk string.
    #[default]
    Resp2,
    /// RESP3, which a client asks for with `HELLO 3`.
    Resp3,
}
