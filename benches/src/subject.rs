//! The loops as processes: which there are, what each can do, how one is started and ended.

use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::measure;
use crate::plan::Work;

/// How often a wait looks whether the comparison was interrupted.
const LOOK: Duration = Duration::from_millis(50);

/// How a loop is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// By this program itself.
    Rust,
    /// By a program that the build script compiled, or why it could not.
    C(Result<&'static str, &'static str>),
}

/// A loop that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What it is called in reports and on command lines.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How it is run.
    pub program: Program,
}

const fn rust(name: &'static str, about: &'static str) -> Subject {
    Subject { name, about, program: Program::Rust }
}

const fn c(
    name: &'static str,
    about: &'static str,
    path: Option<&'static str>,
    absent: Option<&'static str>,
) -> Subject {
    let program = match (path, absent) {
        (Some(path), _) => Ok(path),
        (None, Some(why)) => Err(why),
        (None, None) => Err("the build script did not run"),
    };
    Subject { name, about, program: Program::C(program) }
}

/// All of them: ours, the limit, and the peers.
pub const ALL: [Subject; 16] = [
    rust("epoll", "our reactor on edge-triggered epoll, its default"),
    rust("epoll-lt", "our reactor on level-triggered epoll"),
    rust("poll", "our reactor on poll"),
    rust("select", "our reactor on select"),
    rust("raw", "a bare edge-triggered epoll loop: the limit"),
    rust("array", "deadlines in an array, for timers: nobody can be cheaper"),
    rust("harness", "what the comparison of timers itself costs, in every row"),
    rust("mio", "mio with a slab"),
    rust("polling", "polling 2.8 with a slab"),
    rust("async-io", "smol: async-io on polling, with a local executor"),
    rust("calloop", "calloop, on polling"),
    rust("tokio", "tokio, current thread"),
    rust("tokio-util", "tokio-util's LinesCodec and DelayQueue"),
    c("libevent", "libevent", option_env!("COMPARE_LIBEVENT"), option_env!("ABSENT_LIBEVENT")),
    c("libev", "libev", option_env!("COMPARE_LIBEV"), option_env!("ABSENT_LIBEV")),
    c("libuv", "libuv", option_env!("COMPARE_LIBUV"), option_env!("ABSENT_LIBUV")),
];

/// `kv`, what it is compared with, and what bounds both.
pub const AGAINST_REDIS: [Subject; 3] = [
    rust("redis", "redis-server, persistence off, one I/O thread"),
    rust("kv", "our server with its defaults"),
    rust("canned", "a bare epoll loop with canned replies: the limit"),
];

impl Subject {
    /// Whether it has a part in a work. What it is not written for says nothing about it.
    pub fn does(&self, work: &Work) -> bool {
        let is_slow = matches!(self.name, "poll" | "select");
        let is_limit = matches!(self.name, "array" | "harness");
        let is_ours_otherwise = is_slow || self.name == "epoll-lt";
        match work {
            _ if is_limit => matches!(work, Work::Timers { .. }),
            Work::Lines { .. } => ["epoll", "tokio-util", "libevent"].contains(&self.name),
            // There is one wheel, whatever the backend; mio and polling leave timers to their users.
            Work::Timers { .. } if is_ours_otherwise => false,
            Work::Timers { .. } if ["raw", "mio", "polling"].contains(&self.name) => false,
            // Moving one of its timers looks at all: 0.2 ms each at 100,000.
            Work::Timers { count } => self.name != "calloop" || *count <= 1000,
            // What ours are asked: how far a second reactor gets.
            Work::Scale { .. } => self.name == "epoll",
            Work::Keys { .. } => self.name != "canned",
            _ if self.name == "tokio-util" => false,
            // Each wait costs them time in proportion to the connections, which the cells with
            // fewer show well enough.
            Work::Echo { connections, .. } => !is_slow || *connections <= 1000,
            _ => true,
        }
    }

    /// Why it cannot be run here, if it cannot.
    pub fn absent(&self) -> Option<&'static str> {
        match self.program {
            Program::C(Err(why)) => Some(why),
            _ => None,
        }
    }

    /// Starts it on a work, on a core; a negative core is any.
    ///
    /// # Errors
    /// When it is absent or cannot be started.
    pub fn start(&self, work: &Work, core: i32) -> io::Result<Running> {
        Running::start(self.command(work, core, &work.numbers())?)
    }

    /// What starts it on a work, on a core, with what it is told besides.
    ///
    /// # Errors
    /// When it is absent.
    pub fn command(&self, work: &Work, core: i32, numbers: &[String]) -> io::Result<Command> {
        let mut command = match self.program {
            Program::Rust => {
                let mut command = Command::new(this_program()?);
                command.args(["serve", self.name]);
                command
            }
            Program::C(Ok(path)) => Command::new(path),
            Program::C(Err(why)) => return Err(io::Error::other(why)),
        };
        command.arg(work.served_as()).arg(core.to_string()).args(numbers);
        Ok(command)
    }
}

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
        // What it has used is known until somebody waits for it, so this only waits for its end.
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
    pub fn values(
        mut self,
        patience: Duration,
        stop: &AtomicBool,
    ) -> io::Result<Vec<(String, f64)>> {
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
