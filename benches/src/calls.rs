//! Counts the system calls of a server with strace, for each message. Unlike times, counts are the
//! same on a busy machine.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The number of messages of the shorter of two runs. The longer one has twice as many.
pub const MESSAGES: u64 = 1000;
/// The time limit for a server to close its connections before its calls are counted.
const SETTLE_MAX: Duration = Duration::from_millis(500);
/// The interval at which this is checked.
const LOOK: Duration = Duration::from_millis(2);

/// The kinds of calls: the names of the figures of the `calls` work.
const KINDS: [&str; 5] = ["read", "write", "wait", "ctl", "other"];

/// The number of calls of each kind, in the order of [`KINDS`].
type Calls = [u64; KINDS.len()];

/// The counts of one run of a server, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The number of messages that it answered.
    pub messages: u64,
    calls: Calls,
}

/// Returns the kind of a system call. `io_uring_enter` counts as a wait, though it also submits
/// reads and writes.
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
    /// Parses the summary that strace prints (`-c`) for a server that has answered `messages`
    /// messages.
    ///
    /// # Errors
    /// Fails if it is not such a summary.
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
            return Err(io::Error::other(format!("strace printed no counts: {summary:?}")));
        }
        Ok(Self { messages, calls })
    }

    /// Returns the calls for each message, by kind and in total, from the difference of this run
    /// and a shorter one. Start, connections and end are the same in both.
    ///
    /// # Errors
    /// Fails if this run was not longer.
    pub fn beyond(&self, shorter: &Self) -> io::Result<Vec<(String, f64)>> {
        let messages = self.messages.checked_sub(shorter.messages).filter(|it| *it > 0);
        let messages = messages.ok_or_else(|| {
            io::Error::other(format!("{} messages after {}", self.messages, shorter.messages))
        })?;
        // Either run may have made a few more calls at its start.
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

/// Returns the command for strace: with threads, with a summary at the end, without notices about
/// processes. Its output goes to the output of the server.
fn strace(output: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-qq", "-o", output, "--"]);
    command
}

/// Returns the reason if calls cannot be counted on this machine.
pub fn absent() -> Option<String> {
    let mut command = strace("/dev/null");
    match command.arg("true").stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(format!("strace cannot trace: {}", said.lines().next().unwrap_or("silently")))
        }
        Err(error) => Some(format!("strace cannot be started: {error}: apt-get install strace")),
    }
}

/// Replaces this process by strace, which starts a command.
///
/// # Errors
/// Fails if strace cannot be started. Does not return otherwise.
pub fn become_strace(program: &str, arguments: &[String]) -> io::Result<()> {
    Err(strace("/dev/stdout").arg(program).args(arguments).exec())
}

/// Returns the child of a process. strace has only one, the server.
///
/// # Errors
/// Fails if it has none.
pub fn child(pid: u32) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let first = text.split_whitespace().next().and_then(|it| it.parse().ok());
    first.ok_or_else(|| io::Error::other(format!("process {pid} has no child")))
}

/// Returns the number of open sockets of a process.
///
/// # Errors
/// Fails if there is no such process.
pub fn sockets(pid: u32) -> io::Result<usize> {
    let is_socket = |entry: io::Result<fs::DirEntry>| {
        let target = entry.and_then(|it| fs::read_link(it.path()));
        target.is_ok_and(|it| it.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?;
    Ok(descriptors.map(is_socket).filter(|is_socket| *is_socket).count())
}

/// Waits until a server has closed its connections and has as many sockets as before. So each run
/// ends with the same calls.
///
/// # Errors
/// Fails if the process no longer exists.
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
    fn calls_are_counted_by_kind_without_the_total() {
        let counted = Counted::parse(2000, &summary(2001)).expect("it is a summary");
        assert_eq!(counted.calls, [2005, 2000, 2001, 52, 17]);
    }

    #[test]
    fn other_output_of_strace_is_an_error() {
        let text = ["strace: ptrace(PTRACE_TRACEME, ...): Operation not permitted".to_owned()];
        assert!(Counted::parse(1, &text).is_err());
        assert!(Counted::parse(1, &[]).is_err());
    }

    #[test]
    fn only_the_additional_calls_of_a_longer_run_count() {
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
