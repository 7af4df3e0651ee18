//! Uppercase: sends back what it receives, with ASCII letters in upper case.

use crate::{Loopback, Server};

/// The name, the description and the default address of the server.
pub const SERVER: Server = Server {
    name: "uppercase",
    about: "Sends back what it receives, with ASCII letters in upper case",
    address: "127.0.0.1:9527",
    datagram_port: Some(8000),
};

/// Returns the session of one connection, or the service of one socket of datagrams.
pub fn session() -> Loopback {
    Loopback::new(|bytes| bytes.make_ascii_uppercase())
}
