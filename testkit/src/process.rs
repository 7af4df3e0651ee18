//! Processes that tests and comparisons start: their resource use and their output.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// `ESRCH` of `errno(3)`: a file of a thread was opened, and then the thread ended.
const NO_SUCH_PROCESS: i32 = 3;

/// Returns whether this process belongs to root.
pub fn is_of_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}

/// Returns the processor time that the threads of a process have used so far, in nanoseconds, as
/// counted by the scheduler (`/proc/PID/task/TID/schedstat`, `proc(5)`). For a thread that runs
/// without a break, it is counted up to the last clock tick. A thread that has ended no longer
/// counts, so the sum of a process whose threads end may fall.
///
/// # Errors
/// Fails if there is no such process.
pub fn cpu_nanoseconds(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/task");
    let mut total = None;
    for thread in fs::read_dir(&path)? {
        let text = match fs::read_to_string(thread?.path().join("schedstat")) {
            Err(error) if has_ended(&error) => continue,
            text => text?,
        };
        let first = text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
        let first =
            first.ok_or_else(|| io::Error::other(format!("schedstat contains {text:?}")))?;
        total = Some(total.unwrap_or(0) + first);
    }
    total.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{path} has no thread")))
}

/// Returns whether a file of a thread could not be read because the thread has ended.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(NO_SUCH_PROCESS)
}

/// Returns the private memory of a process, in bytes: heap and stacks, without its program
/// (`RssAnon`, `proc(5)`).
///
/// # Errors
/// Fails if there is no such process.
pub fn memory_bytes(pid: u32) -> io::Result<u64> {
    mapped_bytes(pid, "Anonymous")
}

/// Returns the memory of a process, in bytes. Of what several processes share, each has its part
/// (`Pss`, `proc(5)`), so the sum over all of them counts everything once.
///
/// # Errors
/// Fails if there is no such process.
pub fn proportional_bytes(pid: u32) -> io::Result<u64> {
    mapped_bytes(pid, "Pss")
}

/// Returns a field of the sum over all mappings of a process.
fn mapped_bytes(pid: u32, field: &str) -> io::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path)?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes
        .map(|it| it * 1024)
        .ok_or_else(|| io::Error::other(format!("{path} has no field {field}")))
}

/// Returns the children of a process that still exist.
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

/// Returns whether a process runs. A zombie does not.
pub fn runs(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// Returns whether a process is stopped, as by `SIGSTOP`: all of its threads, some time after the
/// signal was sent.
pub fn is_stopped(pid: u32) -> bool {
    state(pid) == Some('T')
}

/// Returns whether all threads of a process wait for something. One that a tracer has stopped does not.
pub fn sleeps(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| state_in(&thread.path().join("stat")) == Some('S'))
}

/// Returns the letter of the state of a process (`/proc/PID/stat`, `proc(5)`).
fn state(pid: u32) -> Option<char> {
    state_in(format!("/proc/{pid}/stat").as_ref())
}

/// Returns the letter of the state that a file has.
fn state_in(path: &Path) -> Option<char> {
    let text = fs::read_to_string(path).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

/// Sends a signal by its name, such as `TERM`.
///
/// # Panics
/// Panics if the signal cannot be sent.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(status.expect("kill is there").success(), "kill -s {name} {pid} failed");
}

/// Copies a program. `cp` does it: a process that another thread of the test starts meanwhile would
/// inherit a file that is open for writing here, and until it has closed that, the copy cannot be started
/// (`ETXTBSY`, `execve(2)`).
///
/// # Panics
/// Panics if there is no such program, or no space.
pub fn copy_program(from: &str, to: &str) {
    let output = run(Command::new("cp").args([from, to]), &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Writes a program, such as a script, as [`copy_program`] copies one.
///
/// # Panics
/// Panics if it cannot be written.
pub fn write_program(path: &str, content: &str) {
    let script = "cat > \"$0\" && chmod 755 \"$0\"";
    let output = run(Command::new("sh").args(["-c", script, path]), content.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a command to its end with `input` on its standard input. Input and output pass at the same
/// time, so that neither waits for the other. The command may end before it has read all input.
///
/// # Panics
/// Panics if the command does not start.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("its input is piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that stops reading shows that in its output.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("it ends")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn the_time_of_a_process_can_be_read_while_its_threads_end() {
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !ends.load(Ordering::Relaxed) {
                        thread::spawn(|| ()).join().expect("it does nothing");
                    }
                });
            }
            let times: Vec<_> = (0..2000).map(|_| cpu_nanoseconds(std::process::id())).collect();
            ends.store(true, Ordering::Relaxed);
            assert!(times.iter().all(|it| matches!(it, Ok(1..))), "{times:?}");
        });
    }

    #[test]
    fn a_process_that_is_gone_has_no_time() {
        let mut child = Command::new("true").spawn().expect("it starts");
        child.wait().expect("it ends");
        assert!(cpu_nanoseconds(child.id()).is_err());
    }
}
