//! Processes that tests and comparisons start: what they have used, and what they say.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// Processor time that a process has used so far, in nanoseconds: what the scheduler accounted to
/// each of its threads (`/proc/PID/task/TID/schedstat`, `proc(5)`). A thread that has been running
/// without a break is accounted for up to the last clock tick.
///
/// # Errors
/// When there is no such process.
pub fn cpu_nanoseconds(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let first = text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
        total += first.ok_or_else(|| io::Error::other(format!("schedstat says {text:?}")))?;
    }
    Ok(total)
}

/// Memory of a process's own that is in use, in bytes: heap and stacks, not its program
/// (`RssAnon`, `proc(5)`).
///
/// # Errors
/// When there is no such process.
pub fn memory_bytes(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path)?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes
        .map(|it| it * 1024)
        .ok_or_else(|| io::Error::other(format!("{path} does not tell Anonymous")))
}

/// The processes that a process has started and that are still there.
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

/// Whether a process runs; one that has ended and was not waited for yet does not.
pub fn runs(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Sends a signal, by name: `TERM`.
///
/// # Panics
/// When it cannot be sent.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(status.expect("kill is there").success(), "kill -s {name} {pid} failed");
}

/// Runs a command to its end with `input` on its standard input. Input and output pass at the same
/// time, so that neither waits for the other; a command may end without reading all.
///
/// # Panics
/// When it does not start.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its input is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // One that stops reading shows that in what it prints.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("it ends")
    })
}
