//! Somebody else on the server's core, who takes half of it: a server that has the other half only is
//! what limits requests, where its client would be otherwise. Two at once would take all of the core
//! between them: one comparison at a time, if its figures are to mean anything.

use std::convert::Infallible;
use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use crate::measure;
use crate::process::{Running, this_program};

/// How long the core is taken, and then left. That is short, so that the server always finds requests
/// that have come meanwhile: with one under way on each of 50 connections, about 20 do.
const SLICE: Duration = Duration::from_micros(100);
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// What has the kernel run it whenever it likes to: the lowest real-time priority (`sched(7)`).
const CHRT: [&str; 3] = ["chrt", "--fifo", "1"];

fn chrt() -> Command {
    let mut command = Command::new(CHRT[0]);
    command.args(&CHRT[1..]);
    command
}

/// Why there can be none here, if there cannot.
pub fn absent() -> Option<String> {
    let output = chrt().arg("true").stdin(Stdio::null()).output();
    let why = match output {
        Ok(output) if output.status.success() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!(
        "`{} true` fails ({why}): it takes chrt (util-linux), and root or `ulimit -r 1`",
        CHRT.join(" ")
    ))
}

/// Starts one that takes half of `core` until it is dropped.
///
/// # Errors
/// When it cannot be started, or `stop` was set.
pub fn start(core: i32, stop: &AtomicBool) -> io::Result<Running> {
    let mut command = chrt();
    command.arg(this_program()?).args(["neighbour", &core.to_string()]);
    let running = Running::start(command)?;
    match running.line(PATIENCE, stop)? {
        Some(_) => Ok(running),
        None => Err(io::Error::other(absent().unwrap_or("the neighbour has ended".to_owned()))),
    }
}

/// Takes half of `core`, for ever.
///
/// # Errors
/// When the core is none that may be used.
pub fn take_half(core: i32) -> io::Result<Infallible> {
    measure::end_with_parent()?;
    measure::pin(core)?;
    println!("half of core {core} is taken");
    loop {
        let start = Instant::now();
        while start.elapsed() < SLICE {
            std::hint::spin_loop();
        }
        thread::sleep(SLICE);
    }
}
