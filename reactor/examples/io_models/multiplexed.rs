//! I/O multiplexing: one call waits for all connections and tells which are ready. Then a read does not
//! wait.
//!
//! Try it with `cargo run -p myevent-reactor --example io_multiplexed`, then twice with
//! `nc 127.0.0.1 7000`.

mod echo;

use std::io;
use std::os::fd::AsFd;

use echo::{Echo, Step};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() -> io::Result<()> {
    let mut echoes = Vec::new();
    for stream in echo::accept_two()? {
        echoes.push(Echo::new(stream)?);
    }
    while !echoes.is_empty() {
        let mut asked: Vec<PollFd<'_>> = echoes.iter().map(question).collect();
        poll(&mut asked, PollTimeout::NONE)?;
        let ready: Vec<bool> = asked.iter().map(|it| it.any() == Some(true)).collect();
        let mut ready = ready.into_iter();
        echoes.retain_mut(|echo| ready.next() != Some(true) || echo.step() != Step::Ended);
    }
    Ok(())
}

/// Asks for what the next step of a connection needs.
fn question(echo: &Echo) -> PollFd<'_> {
    let needed = if echo.bytes.is_unsent() { PollFlags::POLLOUT } else { PollFlags::POLLIN };
    PollFd::new(echo.stream.as_fd(), needed)
}
