//! The echo server (RFC 862): sends back what it receives.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use servers::Server;

fn main() -> ExitCode {
    let server = Server {
        name: "echo-server",
        about: "Sends back what it receives",
        address: "127.0.0.1:8080",
    };
    servers::run(server, servers::echo::session)
}
