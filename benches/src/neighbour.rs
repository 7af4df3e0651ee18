//! A process that occupies half of the server's core. A server with half a core limits the
//! requests, where otherwise its client would. Two such processes would occupy the whole core, so
//! only one comparison should run at a time.

use std::convert::Infallible;
use std::io;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use crate::measure;
use crate::process::{Running, this_program};

/// The time for which the core is occupied, and then free. It is short, so that the server always
/// finds new requests: about 20 with one request in flight on each of 50 connections.
const SLICE: Duration = Duration::from_micros(100);
/// The time limit for its start.
const PATIENCE: Duration = Duration::from_secs(10);
/// Runs a program before all normal ones, at the lowest real-time priority (`sched(7)`).
const CHRT: [&str; 3] = ["chrt", "--fifo", "1"];

fn chrt() -> Command {
    let mut command = Command::new(CHRT[0]);
    command.args(&CHRT[1..]);
    command
}

/// Returns the reason if there can be no such process on this machine.
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

/// Starts a process that occupies half of `core` until it is dropped.
///
/// # Errors
/// Fails if it cannot be started, or `stop` was set.
pub fn start(core: i32, stop: &AtomicBool) -> io::Result<Running> {
    let mut command = chrt();
    command.arg(this_program()?).args(["neighbour", &core.to_string()]);
    let running = Running::start(command)?;
    match running.line(PATIENCE, stop)? {
        Some(_) => Ok(running),
        None => Err(io::Error::other(absent().unwrap_or("the neighbour has ended".to_owned()))),
    }
}

/// Occupies half of `core` for ever.
///
/// # Errors
/// Fails if this process may not use the core.
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
