//! WebSocket (RFC 6455) with compression (permessage-deflate, RFC 7692), for servers and clients.
//!
//! A [`Connection`] is the session after the handshake. The application is a [`Service`], which gets
//! each [`Message`] and sends through a [`Sender`]. [`Options`] has the limits, the times and the
//! compression.

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
    Accepted, Agreement, ClientHandshake, HandshakeError, accept, is_upgrade, server,
};
pub use message::{Kind, Message, Piece};
pub use options::{Deflate, Options, Origins};
pub use service::Service;
pub use writer::Sender;
