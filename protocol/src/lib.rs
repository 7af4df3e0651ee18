//! Network protocols without I/O: bytes in, messages and bytes out.
//!
//! The crate opens no socket, reads no clock and calls no operating system. It has no dependency
//! and no `unsafe` code, and builds for targets without an operating system.
//!
//! A service that answers each line in upper case, driven in memory:
//!
//! ```
//! use protocol::codecs::Lines;
//! use protocol::{Context, Conversation, Flow, Reply, Service, testing};
//!
//! struct Shout;
//!
//! impl<A> Service<Lines, A> for Shout {
//!     fn call(
//!         &mut self,
//!         line: &mut [u8],
//!         reply: &mut Reply<'_, Lines>,
//!         _context: &mut Context<'_, A>,
//!     ) -> Flow {
//!         line.make_ascii_uppercase();
//!         reply.send(line);
//!         Flow::Continue
//!     }
//! }
//!
//! let mut session = Conversation::new(Lines::default(), Shout);
//! // The input arrives in two pieces, which split a line.
//! let output = testing::drive(&mut session, &mut (), &[b"hel", b"lo\nworld\n"])?;
//! assert_eq!(output, b"HELLO\nWORLD\n");
//! # Ok::<(), protocol::Reason>(())
//! ```
//!
//! # Where to look
//!
//! - A [`Codec`] turns bytes into messages and messages into bytes. [`codecs`] has ready ones;
//!   [`resp`] is the protocol of Redis.
//! - A [`Service`] is the application. It gets messages, and replies through a [`Reply`].
//! - A [`Conversation`] combines the two into a [`Session`], which sees only bytes. [`Upgrade`]
//!   changes from one session to another during a connection.
//! - A [`Context`] lends a call the application state, and collects what a session requests besides
//!   bytes ([`Effects`]): timeouts, waking other connections, stopping.
//! - A [`Peer`] is the other side of a datagram, which [`Reply::peer`] returns. An [`Outbox`] has the
//!   datagrams that wait to be sent.
//! - [`Limits`] bounds the cost of a connection. [`Reason`] is the reason for its end.
//! - A [`link::Link`] is a whole connection except for its system calls. Drivers such as
//!   `reactor::Stream` move its bytes; a [`link::Layer`] may be between it and the wire. A session
//!   sees its encryption as [`Secured`].
//! - An [`Exchange`] is the client's side of a protocol: it writes requests, and finds which reply
//!   answers which ([`exchange`]).
//! - [`inotify`] decodes the events of the kernel about files.
//! - [`netlink`] has the messages about links, addresses, routes and neighbours with which Linux tells the state
//!   of its network.
//! - `dns`, `http`, `mfs`, `tls` and `websocket` are protocols with a feature of their name.
//! - [`testing`] checks codecs and drives sessions in memory. [`Random`] has numbers for tests, and
//!   for pauses that must differ.
//!
//! The book describes the parts together: `docs/src/getting-started.md`, `docs/src/link.md`.
//!
//! # The numbers in the comments
//!
//! Comments cite laws ("law 6") and requirements ("P12"). The book explains both: laws in
//! `docs/src/architecture.md`, requirements in `docs/src/requirements.md`.

#![forbid(unsafe_code)]

mod buffer;
mod codec;
pub mod codecs;
mod conversation;
mod copying;
mod datagram;
mod decimal;
#[cfg(feature = "dns")]
pub mod dns;
mod effects;
pub mod exchange;
#[cfg(feature = "http")]
pub mod http;
pub mod inotify;
mod limits;
pub mod link;
#[cfg(feature = "mfs")]
pub mod mfs;
pub mod netlink;
mod output;
#[cfg(all(feature = "http", not(planted)))]
mod planted;
#[cfg(all(feature = "http", planted))]
#[doc(hidden)]
pub mod planted;
mod random;
mod reason;
pub mod resp;
mod search;
mod secured;
mod service;
mod session;
mod state;
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
mod upgrade;
#[cfg(feature = "websocket")]
pub mod websocket;

pub use buffer::Buffer;
pub use codec::{Codec, Decoded};
pub use conversation::Conversation;
pub use datagram::{DatagramFailure, Envelope, Outbox, Peer};
pub use effects::Effects;
pub use exchange::Exchange;
pub use limits::{Limits, LimitsError};
pub use output::{FileRange, Output};
pub use random::Random;
pub use reason::Reason;
pub use secured::Secured;
pub use service::{Flow, Reply, Service};
pub use session::{Cause, ConnectionId, Context, Session};
pub use state::{NotSaved, SavedState, State, StateError};
pub use upgrade::Upgrade;
