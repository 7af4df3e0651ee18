//! WebSocket (RFC 6455) with compression (permessage-deflate, RFC 7692), for servers and clients.
//!
//! A [`Connection`] is the session after the handshake. The application is a [`Service`], which gets
//! each [`Message`] and sends through a [`Sender`]. [`Options`] has the limits, the times and the
//! compression.
//!
//! The handshake is that of [`http`](crate::http). [`server`] is the session of a server that speaks
//! nothing else, [`accept`] the answer of a service of HTTP that has other paths too, and [`Client`]
//! the session of a client. A [`Broadcast`] is a message for many connections, encoded once.
//!
//! The chapter "WebSocket" of the book (`docs/src/websocket.md`) describes the parts together.

mod broadcast;
mod close;
mod connection;
mod deflate;
mod error;
mod extension;
mod frame;
mod handshake;
mod mask;
mod message;
mod options;
mod reader;
mod service;
mod utf8;
mod writer;

pub use broadcast::Broadcast;
pub use close::{CLOSE_REASON_MAX, CloseCode};
pub use connection::Connection;
pub use error::Error;
pub use handshake::{
    Accepted, Agreement, Client, ClientHandshake, HandshakeError, accept, is_upgrade, server,
};
pub use message::{Kind, Message, Piece};
pub use options::{Deflate, Options, Origins};
pub use service::Service;
pub use writer::Sender;
