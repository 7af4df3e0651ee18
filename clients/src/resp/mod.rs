//! A client library for servers of RESP: Redis, `kv` and their relatives.
//!
//! [`Connection`] waits for what it asks for, with a limit to every wait; [`Options`] say how it
//! is made. Commands are said one by one ([`Connection::call`]), many at once
//! ([`Connection::pipeline`]), or sent and received as one likes ([`Connection::send`],
//! [`Connection::receive`]). [`Connection::subscribe`] and [`Connection::message`] are for
//! channels.
//!
//! The codec is the one of [`protocol::resp`]: an answer is decoded where it was received, and is
//! copied only for who wants to keep it.

mod answer;
mod connection;
mod driver;
mod error;
mod name;
mod options;
mod pipeline;
mod session;
mod socket;
mod subscribe;

pub use answer::Answer;
pub use connection::Connection;
pub use error::{Cause, Error};
pub use options::{Credentials, Options};
pub use pipeline::Pipeline;
pub use socket::Cutter;
pub use subscribe::Message;
