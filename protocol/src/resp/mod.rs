//! RESP, the protocol of Redis: both versions, both sides.
//!
//! - [`Server`] is the codec of a server: it decodes a [`Request`] (an array of bulk strings or an
//!   inline command) as a view of the input, and encodes replies. A service writes them with a
//!   [`Writer`], which [`Reply::writer`](crate::Reply::writer) returns.
//! - [`Client`] is the codec of a client: it encodes commands, and decodes a [`Value`] of any type
//!   as a view of the input.
//! - [`text`] is for people: the quoting and the output of `redis-cli`.
//!
//! Input is validated once, in place. A decoder remembers how far it has come, so input that
//! arrives in pieces is not parsed from the start again. Nothing is allocated for a message or a
//! part of one.
//!
//! A whole server, except for its sockets:
//!
//! ```
//! use protocol::resp::{Protocol, Request, Server};
//! use protocol::{Conversation, Flow, Reply, Service, Context, testing};
//! use std::collections::HashMap;
//!
//! type Store = HashMap<Vec<u8>, Vec<u8>>;
//!
//! struct Commands;
//!
//! impl Service<Server, Store> for Commands {
//!     fn call(
//!         &mut self,
//!         request: Request<'_>,
//!         reply: &mut Reply<'_, Server>,
//!         context: &mut Context<'_, Store>,
//!     ) -> Flow {
//!         if request.name().eq_ignore_ascii_case(b"HELLO") {
//!             reply.codec().set_protocol(Protocol::Resp3);
//!         }
//!         let (args, mut out) = (request.args(), reply.writer());
//!         match &*request.name().to_ascii_uppercase() {
//!             b"SET" => match args.exactly() {
//!                 Some([key, value]) => {
//!                     context.app.insert(key.to_vec(), value.to_vec());
//!                     out.ok();
//!                 }
//!                 None => out.error("ERR wrong number of arguments for 'set' command"),
//!             },
//!             b"MGET" => {
//!                 out.array(args.len());
//!                 for key in args {
//!                     match context.app.get(key) {
//!                         Some(value) => out.bulk(value),
//!                         None => out.null(),
//!                     }
//!                 }
//!             }
//!             b"HELLO" => {
//!                 out.map(1);
//!                 out.bulk("proto");
//!                 out.integer(3);
//!             }
//!             _ => out.error_parts(&[b"ERR unknown command '", request.name(), b"'"]),
//!         }
//!         Flow::Continue
//!     }
//! }
//!
//! let mut session = Conversation::new(Server::default(), Commands);
//! let input = b"set k 'a b'\r\n*3\r\n$4\r\nMGET\r\n$1\r\nk\r\n$1\r\nx\r\nhello 3\nmget x\n";
//! let said = testing::drive(&mut session, &mut Store::new(), &[input])?;
//! let expected = b"+OK\r\n*2\r\n$3\r\na b\r\n$-1\r\n%1\r\n$5\r\nproto\r\n:3\r\n*1\r\n_\r\n";
//! assert_eq!(said, expected);
//! # Ok::<(), protocol::Reason>(())
//! ```
//!
//! Where the specification leaves a choice, this module does as Redis 7.0 does, with the same error
//! texts.
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
pub use number::{parse as parse_integer, parse_double};
pub use request::{Arguments, Request};
pub use server::Server;
pub use value::{Elements, Pairs, Value};
pub use writer::{Item, Writer, shared};

/// The version of RESP that one side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// RESP2, in which every connection begins. A value without a type in RESP2 is sent in the
    /// nearest type, as Redis does: a map as a flat array, a double as a bulk string.
    #[default]
    Resp2,
    /// RESP3, which a client requests with `HELLO 3`.
    Resp3,
}
