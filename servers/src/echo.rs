//! Echo (RFC 862): sends back what it receives.

use crate::{Loopback, Server};

/// The name, the description and the default address of the server.
pub const SERVER: Server = Server {
    name: "echo-server",
    about: "Sends back what it receives",
    address: "127.0.0.1:8080",
    datagram_port: Some(8080),
};

/// Returns the session of one connection, or the service of one socket of datagrams.
pub fn session() -> Loopback {
    Loopback::new(|_| {})
}
