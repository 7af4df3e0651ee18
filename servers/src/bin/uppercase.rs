//! The uppercase server: sends back what it receives in upper case.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use servers::Server;

fn main() -> ExitCode {
    let server = Server {
        name: "uppercase",
        about: "Sends back what it receives, with ASCII letters in upper case",
        address: "127.0.0.1:9527",
    };
    servers::run(server, servers::uppercase::session)
}
