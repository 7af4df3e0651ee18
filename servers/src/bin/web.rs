//! A server of files over HTTP/1.1.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use servers::web;

fn main() -> ExitCode {
    servers::run_with(web::SERVER, web::application)
}
