//! Sans-IO protocol codecs and conversations: bytes in, messages and bytes out.
//!
//! Nothing here opens a socket, reads a clock, calls the operating system or knows of a reactor.
//! A [`Codec`] translates between bytes and messages; a [`Service`] is the application; a
//! [`Conversation`] puts the two together into a [`Session`], which any driver can feed from a
//! [`Buffer`] and drain into an [`Output`].
//!
//! The crate has no dependency, no `unsafe`, and builds for targets without an operating system
//! interface.

#![forbid(unsafe_code)]

mod buffer;
mod codec;
pub mod codecs;
mod conversation;
mod effects;
mod limits;
pub mod link;
mod output;
mod reason;
pub mod resp;
mod search;
mod service;
mod session;
pub mod testing;
mod upgrade;

pub use buffer::Buffer;
pub use codec::{Codec, Decoded};
pub use conversation::{Conversation, ConversationError};
pub use effects::Effects;
pub use limits::{Limits, LimitsError};
pub use output::{FileRange, Output};
pub use reason::Reason;
pub use service::{Flow, Reply, Service};
pub use session::{Cause, ConnectionId, Context, Session};
pub use upgrade::Upgrade;
