//! The system calls of a server, as strace counts them: what a loop asks of the kernel for each
//! message. Counts are the same on a busy machine, which times are not.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How many messages the shorter of two runs exchanges; the longer one twice as many.
pub const MESSAGES: u64 = 1000;
/// How long a server is given to close its connections before its calls are counted anyway.
const SETTLE_MAX: Duration = Duration::from_millis(500);
/// How long the wait for it sleeps between looks.
const LOOK: Duration = Duration::from_millis(2);

/// Kinds of calls, as the figures of the `calls` work are named.
const KINDS: [&str; 5] = ["read", "write", "wait", "ctl", "other"];

/// Calls of each kind, in the order of [`KINDS`].
type Calls = [u64; KINDS.len()];

/// What one run of a server came to, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Messages that it answered.
    pub messages: u64,
    calls: Calls,
}

/// Where a system call belongs. `io_uring_enter` waits, and hands over reads and writes by the way.
fn kind(name: &str) -> &'static str {
    match name {
        "read" | "readv" | "recv" | "recvfrom" | "recvmsg" => "read",
        "write" | "writev" | "send" | "sendto" | "sendmsg" => "write",
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "poll" | "ppoll" | "select"
        | "pselect6" | "_newselect" | "io_uring_enter" => "wait",
        "epoll_ctl" => "ctl",
        _ => "other",
    }
}

impl Counted {
    /// Reads the summary that strace prints (`-c`) for a server that has answered `messages`.
    ///
    /// # Errors
    /// When it is no such summary.
    pub fn parse(messages: u64, summary: &[String]) -> io::Result<Self> {
        let mut calls = Calls::default();
        for line in summary {
            // Shares, seconds, microseconds each, calls, errors if there were any, name.
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(count), Some(name)) = (words.get(3), words.last()) else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            let place = KINDS.iter().position(|it| *it == kind(name));
            if let Some(place) = place.filter(|_| *name != "total") {
                calls[place] += count;
            }
        }
        if calls.iter().sum::<u64>() == 0 {
            return Err(io::Error::other(format!("strace counted nothing: {summary:?}")));
        }
        Ok(Self { messages, calls })
    }

    /// The calls for each message, by kind and all together, of which this run made more than a
    /// shorter one: start, connections and end cost both the same.
    ///
    /// # Errors
    /// When this run was not longer.
    pub fn beyond(&self, shorter: &Self) -> io::Result<Vec<(String, f64)>> {
        let messages = self.messages.checked_sub(shorter.messages).filter(|it| *it > 0);
        let messages = messages.ok_or_else(|| {
            io::Error::other(format!("{} messages after {}", self.messages, shorter.messages))
        })?;
        // Either run may have made a few calls more than the other at its start.
        let more = |place: usize| self.calls[place] as f64 - shorter.calls[place] as f64;
        let each = |place: usize| more(place) / messages as f64;
        let mut values: Vec<(String, f64)> = KINDS
            .iter()
            .enumerate()
            .map(|(place, name)| ((*name).to_owned(), each(place)))
            .collect();
        values.push(("calls".to_owned(), (0..KINDS.len()).map(each).sum()));
        Ok(values)
    }
}

/// strace as it is run here: threads too, a summary at the end, nothing about processes that come
/// and go, all to where the server's own lines go.
fn strace(output: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-qq", "-o", output, "--"]);
    command
}

/// Why calls cannot be counted here, if they cannot.
pub fn absent() -> Option<String> {
    let mut command = strace("/dev/null");
    match command.arg("true").stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(format!("strace cannot trace: {}", said.lines().next().unwrap_or("silently")))
        }
        Err(error) => Some(format!("strace cannot be started, its package is strace: {error}")),
    }
}

/// Becomes strace, which starts a command.
///
/// # Errors
/// When there is no strace; it does not return otherwise.
pub fn become_strace(program: &str, arguments: &[String]) -> io::Result<()> {
    Err(strace("/dev/stdout").arg(program).args(arguments).exec())
}

/// The process that a process has started: strace has one only, the server.
///
/// # Errors
/// When it has none.
pub fn child(pid: u32) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let first = text.split_whitespace().next().and_then(|it| it.parse().ok());
    first.ok_or_else(|| io::Error::other(format!("process {pid} has started none")))
}

/// The sockets that a process has open.
///
/// # Errors
/// When there is no such process.
pub fn sockets(pid: u32) -> io::Result<usize> {
    let is_socket = |entry: io::Result<fs::DirEntry>| {
        let target = entry.and_then(|it| fs::read_link(it.path()));
        target.is_ok_and(|it| it.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?;
    Ok(descriptors.map(is_socket).filter(|is_socket| *is_socket).count())
}

/// Waits until a server has closed its connections and has as many sockets as before, so that each
/// run ends with the same calls.
///
/// # Errors
/// When there is no such process any more.
pub fn settle(pid: u32, before: usize) -> io::Result<()> {
    let until = Instant::now() + SETTLE_MAX;
    while sockets(pid)? > before && Instant::now() < until {
        thread::sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(waits: u64) -> Vec<String> {
        let text = format!(
            "% time     seconds  usecs/call     calls    errors syscall\n\
             ------ ----------- ----------- --------- --------- ----------------\n\
             \x2061.18    0.387439           2      2000           sendto\n\
             \x2026.02    0.164785           1      2005         3 recvfrom\n\
             \x2012.67    0.080265           1      {waits}           epoll_pwait\n\
             \x20 0.01    0.000080           1        52           epoll_ctl\n\
             \x20 0.00    0.000000           0        17           mmap\n\
             ------ ----------- ----------- --------- --------- ----------------\n\
             100.00    0.633263           1    335984        52 total\n"
        );
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn calls_are_counted_by_kind_and_the_total_is_not_one_of_them() {
        let counted = Counted::parse(2000, &summary(2001)).expect("it is a summary");
        assert_eq!(counted.calls, [2005, 2000, 2001, 52, 17]);
    }

    #[test]
    fn what_strace_says_instead_of_a_summary_is_an_error() {
        let text = ["strace: ptrace(PTRACE_TRACEME, ...): Operation not permitted".to_owned()];
        assert!(Counted::parse(1, &text).is_err());
        assert!(Counted::parse(1, &[]).is_err());
    }

    #[test]
    fn only_what_a_longer_run_costs_more_counts() {
        let short = Counted { messages: 100, calls: [110, 101, 150, 50, 80] };
        let long = Counted { messages: 200, calls: [210, 201, 250, 50, 80] };
        let values = long.beyond(&short).expect("it is longer");
        let expected = [("read", 1.0), ("write", 1.0), ("wait", 1.0), ("ctl", 0.0), ("other", 0.0)];
        for (name, value) in expected.into_iter().chain([("calls", 3.0)]) {
            assert!(values.contains(&(name.to_owned(), value)), "{name} in {values:?}");
        }
        assert!(short.beyond(&long).is_err());
    }
}
