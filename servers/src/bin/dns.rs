//! A DNS forwarder.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use servers::dns;

fn main() -> ExitCode {
    servers::run_with(dns::SERVER, dns::application)
}
