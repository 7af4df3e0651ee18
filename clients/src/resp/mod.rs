//! A client library for servers of RESP: Redis, `kv` and their relatives.
//!
//! A [`Connection`] blocks, and every wait has a limit. [`Options`] configure it. Commands are sent
//! one by one ([`Connection::call`]) or many at once ([`Connection::pipeline`]). Sending and
//! receiving can also be separate ([`Connection::send`], [`Connection::receive`]).
//! [`Connection::subscribe`] and [`Connection::message`] are for channels.
//!
//! A [`Client`] is for programs with a loop: it never blocks, connects again when its connection
//! ends, and completes each [`Command`] exactly once. A [`Pool`] is several of them.
//!
//! The codec is that of [`protocol::resp`]. An answer is decoded in the input and copied only into
//! an [`Answer`]; [`Connection::call_with`] lends a view of it instead.

mod answer;
mod client;
mod command;
mod connection;
mod error;
mod exchange;
mod name;
mod options;
mod pipeline;
mod pool;
mod session;
mod subscribe;

pub use answer::Answer;
pub use client::Client;
pub use command::Command;
pub use connection::Connection;
pub(crate) use error::connect_error;
pub use error::{Cause, Error};
pub use options::{Credentials, Options, Tracking};
pub use pipeline::Pipeline;
pub use pool::Pool;
pub use subscribe::Message;

pub use crate::blocking::Cutter;
