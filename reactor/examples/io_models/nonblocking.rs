//! Non-blocking I/O alone: a read that finds nothing returns at once, so the program asks all connections
//! again and again. It never sleeps.
//!
//! Try it with `cargo run -p myevent-reactor --example io_nonblocking`, then twice with
//! `nc 127.0.0.1 7000`.

mod echo;

use std::{io, thread};

use echo::{Echo, Step};

fn main() -> io::Result<()> {
    let mut echoes = Vec::new();
    for stream in echo::accept_two()? {
        echoes.push(Echo::new(stream)?);
    }
    while !echoes.is_empty() {
        echoes.retain_mut(|echo| echo.step() != Step::Ended);
        // What else wants to run may.
        thread::yield_now();
    }
    Ok(())
}
