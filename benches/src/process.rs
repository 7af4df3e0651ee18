//! The processes of a comparison: starting them, reading their output, ending them.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process};

use crate::measure;
use crate::work::Values;

/// The interval at which a wait checks whether the comparison was interrupted.
const LOOK: Duration = Duration::from_millis(50);

/// Returns the path of this program, which also runs the Rust subjects and the client.
///
/// # Errors
/// Fails if the path is unknown.
pub fn this_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// A process of the comparison. It is killed and waited for on drop, also during a panic. If the
/// comparison itself is killed, the kernel ends the process (`measure::end_with_parent`).
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts a process whose output can be read line by line.
    ///
    /// # Errors
    /// Fails if it cannot be started.
    pub fn start(command: Command) -> io::Result<Self> {
        Self::with_input(command, Stdio::null())
    }

    /// Like [`Running::start`], with a standard input.
    ///
    /// # Errors
    /// Fails if it cannot be started.
    pub fn with_input(mut command: Command, input: impl Into<Stdio>) -> io::Result<Self> {
        command.stdin(input).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            let program = command.get_program().display();
            io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let (sender, lines) = channel();
        let output = child.stdout.take().map(BufReader::new);
        // A separate thread reads, so that waiting for a line can time out.
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Returns the process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line that it prints, or `None` at the end.
    ///
    /// # Errors
    /// Fails if there is none within `patience`, or if `stop` was set.
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
                    let text = format!("the process printed nothing for {patience:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Returns all lines that it prints until it ends.
    ///
    /// # Errors
    /// Fails if it does not end in time, or `stop` was set.
    pub fn rest(&self, patience: Duration, stop: &AtomicBool) -> io::Result<Vec<String>> {
        let (mut lines, until) = (Vec::new(), Instant::now() + patience);
        while let Some(line) = self.line(until.saturating_duration_since(Instant::now()), stop)? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// Waits until it ends successfully. Returns its lines and the processor time that it has used,
    /// in nanoseconds.
    ///
    /// # Errors
    /// Fails if it does not end in time, ends with a failure, or `stop` was set.
    pub fn used(mut self, patience: Duration, stop: &AtomicBool) -> io::Result<(Vec<String>, u64)> {
        let lines = self.rest(patience, stop)?;
        // The resource use of a process is available until it is reaped, so this only waits for its
        // end.
        let pid = WaitId::Pid(Pid::from_child(&self.child));
        rustix::process::waitid(pid, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let nanoseconds = measure::cpu_nanoseconds(self.pid())?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("the process ended with {status}: {lines:?}")));
        }
        Ok((lines, nanoseconds))
    }

    /// Returns the address that a server prints, or several separated by commas.
    ///
    /// # Errors
    /// Fails if it does not print an address in time, or if `stop` was set.
    pub fn address(&self, patience: Duration, stop: &AtomicBool) -> io::Result<String> {
        let line = self.line(patience, stop)?.unwrap_or_default();
        let address = line.strip_prefix("listening on ").map(str::to_owned);
        address
            .ok_or_else(|| io::Error::other(format!("its first line is {line:?}, not its address")))
    }

    /// Returns all lines that it prints until it ends, as names and values.
    ///
    /// # Errors
    /// Fails if it does not end in time, prints something else, or ends with a failure.
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
            return Err(io::Error::other(format!("the process ended with {status}")));
        }
        Ok(values)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that has ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// Fails with the error of the system call: there may be no such process.
pub fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the process ID is not valid"))?;
    Ok(kill_process(pid, signal)?)
}
