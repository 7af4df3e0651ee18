//! Processes of a comparison: how one is started, heard and ended.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process};

use crate::measure;
use crate::work::Values;

/// How often a wait looks whether the comparison was interrupted.
const LOOK: Duration = Duration::from_millis(50);

/// This program, which runs the Rust subjects and the client too.
///
/// # Errors
/// When it cannot be told which that is.
pub fn this_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// A process of the comparison. It is killed and waited for when this is dropped, on a panic too;
/// should the comparison itself be killed, the kernel ends it (`measure::end_with_parent`).
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts a process whose lines can be read.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            let program = command.get_program().display();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let (sender, lines) = channel();
        let output = child.stdout.take().map(BufReader::new);
        // Reading in a thread of its own lets the reader give up.
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints; `None` at the end.
    ///
    /// # Errors
    /// When none has come after `patience`, or `stop` was set.
    pub fn line(&self, patience: Duration, stop: &AtomicBool) -> io::Result<Option<String>> {
        let until = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => return Ok(Some(line)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > until => {
                    let text = format!("it has printed nothing for {patience:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// All lines that it prints until it ends.
    ///
    /// # Errors
    /// When it does not end in time, or `stop` was set.
    pub fn rest(&self, patience: Duration, stop: &AtomicBool) -> io::Result<Vec<String>> {
        let (mut lines, until) = (Vec::new(), Instant::now() + patience);
        while let Some(line) = self.line(until.saturating_duration_since(Instant::now()), stop)? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// All lines that it prints until it ends well, and the processor time that it has used, in
    /// nanoseconds.
    ///
    /// # Errors
    /// When it does not end in time, ends with a failure, or `stop` was set.
    pub fn used(mut self, patience: Duration, stop: &AtomicBool) -> io::Result<(Vec<String>, u64)> {
        let lines = self.rest(patience, stop)?;
        // What a process has used is known until it is reaped, so this only waits for its end.
        let pid = WaitId::Pid(Pid::from_child(&self.child));
        rustix::process::waitid(pid, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let nanoseconds = measure::cpu_nanoseconds(self.pid())?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("it ended with {status}: {lines:?}")));
        }
        Ok((lines, nanoseconds))
    }

    /// The address, or the addresses between commas, that a server says it listens on.
    ///
    /// # Errors
    /// When it has not said so in time, has said something else, or `stop` was set.
    pub fn address(&self, patience: Duration, stop: &AtomicBool) -> io::Result<String> {
        let line = self.line(patience, stop)?.unwrap_or_default();
        let address = line.strip_prefix("listening on ").map(str::to_owned);
        address
            .ok_or_else(|| io::Error::other(format!("its first line is {line:?}, not its address")))
    }

    /// All lines that it prints until it ends, as names and values.
    ///
    /// # Errors
    /// When it does not end in time, prints something else, or ends with a failure.
    pub fn values(mut self, patience: Duration, stop: &AtomicBool) -> io::Result<Values> {
        let mut values = Vec::new();
        for line in self.rest(patience, stop)? {
            let value = line.split_once(' ').and_then(|(name, value)| {
                Some((name.to_owned(), value.trim().parse::<f64>().ok()?))
            });
            values.push(
                value.ok_or_else(|| {
                    io::Error::other(format!("{line:?} is not a name and a value"))
                })?,
            );
        }
        let status = self.child.wait()?;
        if !status.success() || values.is_empty() {
            return Err(io::Error::other(format!("it ended with {status}")));
        }
        Ok(values)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// What the kernel said: there may be no such process.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the number of the process is none"))?;
    Ok(kill_process(pid, signal)?)
}
