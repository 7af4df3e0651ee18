//! Signal-driven I/O: the kernel sends a signal when a connection becomes ready. Then a read does not wait.
//!
//! Try it with `cargo run -p myevent-reactor --example io_signal_driven`, then twice with
//! `nc 127.0.0.1 7000`.

mod echo;

use std::io;

use echo::{Echo, Step};
use reactor::blocking::{IoReport, IoSignals};

fn main() -> io::Result<()> {
    let signals = IoSignals::new()?;
    let mut echoes = Vec::new();
    for stream in echo::accept_two()? {
        signals.watch(&stream)?;
        echoes.push(Echo::new(stream)?);
    }
    // What came before sent no signal, as if one had been lost.
    let mut report = IoReport::Overflow;
    loop {
        echoes.retain_mut(|echo| !report.concerns(&echo.stream) || exhaust(echo) != Step::Ended);
        if echoes.is_empty() {
            return Ok(());
        }
        if let Some(next) = signals.wait(None)? {
            report = next;
        }
    }
}

/// Makes steps until one would block: what is left would send no further signal.
fn exhaust(echo: &mut Echo) -> Step {
    loop {
        let step = echo.step();
        if step != Step::Moved {
            return step;
        }
    }
}
