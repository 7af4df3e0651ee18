//! A logger that never blocks the server.
//!
//! Writing to standard error may block, for example on a pipe that is not read or a stopped
//! terminal. So the logger puts lines into a queue, and a thread writes them. If the queue is full,
//! lines are dropped and counted. If standard error is closed or its disk is full, only the lines
//! are lost.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use env_logger::{Builder, Env, Target, WriteStyle};
use log::{Level, error, log_enabled};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The bytes that may wait to be written: the last few thousand lines, which an operator wants to
/// see after resuming a stopped terminal.
const QUEUE_MAX: usize = 1 << 20;
/// The memory that a line takes besides its text, in bytes.
const LINE_OVERHEAD: usize = 48;
/// At its end, a server waits for its last lines in this many slices of this length. If the process
/// is stopped meanwhile, only one slice is lost.
const FLUSH_SLICES: u32 = 20;
const FLUSH_SLICE: Duration = Duration::from_millis(50);
/// How long to wait before retrying when standard error is non-blocking, because another program
/// has made it so, and full.
const RETRY: Duration = Duration::from_millis(10);

/// The queue of the process, which has one standard error and one logger.
static QUEUE: Queue = Queue::new();

/// Lines that wait to be written, to standard error or a file.
pub(crate) struct Queue {
    lines: Mutex<Lines>,
    /// Notified when there are lines to write.
    filled: Condvar,
    /// Notified when all lines have been written.
    emptied: Condvar,
}

struct Lines {
    waiting: Vec<Vec<u8>>,
    /// The memory of the waiting lines, in bytes.
    size: usize,
    /// Whether the writer waits for lines.
    is_idle: bool,
    /// Lines that were not written: in total, and since the last notice.
    dropped: u64,
    to_notify: u64,
}

impl Queue {
    /// Returns an empty queue.
    pub(crate) const fn new() -> Self {
        let lines =
            Lines { waiting: Vec::new(), size: 0, is_idle: false, dropped: 0, to_notify: 0 };
        Self { lines: Mutex::new(lines), filled: Condvar::new(), emptied: Condvar::new() }
    }

    /// Locks the lines. A panic of another holder does not matter: the lines are consistent between
    /// any two operations.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line for the writer, or drops it. Never waits for the writer.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut lines = self.lock();
        let size = line.len() + LINE_OVERHEAD;
        if lines.size + size > QUEUE_MAX {
            lines.dropped += 1;
            lines.to_notify += 1;
            return;
        }
        lines.size += size;
        lines.waiting.push(line.to_vec());
        if std::mem::take(&mut lines.is_idle) {
            self.filled.notify_one();
        }
    }

    /// Waits for lines. Returns them, and the number of lines that were dropped after them.
    fn take(&self) -> (Vec<Vec<u8>>, u64) {
        let mut lines = self.lock();
        while lines.waiting.is_empty() {
            lines.is_idle = true;
            self.emptied.notify_all();
            lines = self.filled.wait(lines).unwrap_or_else(PoisonError::into_inner);
        }
        lines.is_idle = false;
        lines.size = 0;
        (std::mem::take(&mut lines.waiting), std::mem::take(&mut lines.to_notify))
    }

    /// Writes lines to `out` for ever. Where lines are missing, writes a notice with their number,
    /// which begins with `name`.
    pub(crate) fn write_to(&self, mut out: impl Write, name: &str) {
        loop {
            let (taken, to_notify) = self.take();
            let (mut failed, mut succeeded) = (0, true);
            for line in taken {
                succeeded = write_line(&mut out, &line).is_ok();
                failed += u64::from(!succeeded);
            }
            let missing = to_notify + failed;
            // If the last write has failed, the notice would fail too.
            let is_reported = missing == 0
                || succeeded && {
                    let notice = format!("{name}: {missing} lines of this log were dropped here\n");
                    write_line(&mut out, notice.as_bytes()).is_ok()
                };
            let mut lines = self.lock();
            lines.dropped += failed;
            lines.to_notify += if is_reported { 0 } else { missing };
        }
    }

    /// Waits, for a limited time, until all lines have been written.
    pub(crate) fn finish(&self) {
        self.flush(FLUSH_SLICES);
    }

    /// Waits until all lines have been written, for at most this many slices.
    fn flush(&self, slices: u32) {
        let mut lines = self.lock();
        for _ in 0..slices {
            if lines.is_idle {
                return;
            }
            let waited = self.emptied.wait_timeout(lines, FLUSH_SLICE);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Writes all of a line, like `write_all`, and retries where a non-blocking descriptor is full.
fn write_line(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => line = &line[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How a process writes its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// A thread writes the lines.
    Thread,
    /// Each line is written where it is logged, or dropped if standard error has no room for it: for a
    /// process that forks, which may have one thread only.
    Directly,
}

/// Whether lines are written directly.
static IS_DIRECT: AtomicBool = AtomicBool::new(false);

/// Passes a line on to the writer, or writes it.
fn put(line: &[u8]) {
    if !IS_DIRECT.load(Ordering::Relaxed) {
        return QUEUE.push(line);
    }
    let stderr = io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let has_room = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
    if !has_room || write_line(&mut stderr.lock(), line).is_err() {
        QUEUE.lock().dropped += 1;
    }
}

/// The target of the logger: each record is one call of `write`.
struct Records;

impl Write for Records {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        put(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The logger of a server. Dropping it waits, for a limited time, until all lines have been
/// written.
pub(crate) struct Logs {
    name: &'static str,
}

impl Logs {
    /// Starts what writes to standard error: log records (`info` and worse unless
    /// `RUST_LOG` says otherwise) and panic messages.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(name: &'static str, writing: Writing) -> io::Result<Self> {
        IS_DIRECT.store(writing == Writing::Directly, Ordering::Relaxed);
        if writing == Writing::Thread {
            thread::Builder::new()
                .name("log".to_owned())
                .spawn(move || QUEUE.write_to(io::stderr(), name))
                .map_err(|error| {
                    let text = format!("cannot start the thread of the log: {error}");
                    io::Error::new(error.kind(), text)
                })?;
        }
        let is_terminal = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let style = if is_terminal { WriteStyle::Always } else { WriteStyle::Never };
        // `RUST_LOG` and `RUST_LOG_STYLE` override both.
        Builder::new()
            .write_style(style)
            .parse_env(Env::default().default_filter_or("info"))
            .target(Target::Pipe(Box::new(Records)))
            .init();
        std::panic::set_hook(Box::new(move |panic| log_panic(name, panic)));
        Ok(Self { name })
    }

    /// Logs why the server could not go on, even if `RUST_LOG` filters errors out.
    pub(crate) fn fail(&self, failure: &dyn Display) {
        if log_enabled!(Level::Error) {
            error!("{failure}");
        } else {
            put(format!("{}: {failure}\n", self.name).as_bytes());
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        if IS_DIRECT.load(Ordering::Relaxed) {
            return;
        }
        QUEUE.finish();
    }
}

/// Returns how many lines of the log have been dropped.
pub(crate) fn lines_dropped() -> u64 {
    QUEUE.lock().dropped
}

/// Logs the message of a panic, with a backtrace if `RUST_BACKTRACE` asks for it.
fn log_panic(name: &str, panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let backtrace = Backtrace::capture();
    let from = match backtrace.status() {
        BacktraceStatus::Captured => format!("{backtrace}"),
        _ => String::new(),
    };
    // This may be the last line of the process. Wait for it only if no other line is being written.
    let slices = u32::from(QUEUE.lock().is_idle);
    put(format!("{name}: thread '{thread}' {panic}\n{from}").as_bytes());
    QUEUE.flush(slices);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::sync::Arc;

    /// Returns a queue whose lines are written to `out`.
    fn queue_writing_to(out: impl Write + Send + 'static) -> Arc<Queue> {
        let queue = Arc::new(Queue::new());
        let writer = Arc::clone(&queue);
        thread::spawn(move || writer.write_to(out, "test"));
        queue
    }

    fn wait_until_idle(queue: &Queue) {
        while !queue.lock().is_idle {
            thread::yield_now();
        }
    }

    #[test]
    fn a_slow_reader_causes_dropped_lines_and_a_notice_in_their_place() {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        let queue = queue_writing_to(writer);
        let line = |number: u64| format!("{number:099}\n");
        let count = 4 * QUEUE_MAX as u64 / 100;
        for number in 0..count {
            queue.push(line(number).as_bytes());
        }
        let dropped = queue.lock().dropped;
        assert!(dropped > 0 && dropped < count, "{dropped} of {count}");
        // Those that were kept are whole and in order. A notice stands where others were dropped, which
        // may be in several places: the writer makes room while lines arrive.
        let mut lines = BufReader::new(reader).lines();
        let mut next = 0;
        while next < count {
            let read = lines.next().expect("it is there").expect("it is text");
            match read.strip_prefix("test: ") {
                None => {
                    assert_eq!(read, line(next).trim_end());
                    next += 1;
                }
                Some(notice) => {
                    let (number, rest) = notice.split_once(' ').expect("it names a number");
                    assert_eq!(rest, "lines of this log were dropped here");
                    next += number.parse::<u64>().expect("it is a number");
                }
            }
        }
        assert_eq!(next, count);
        queue.push(b"and on\n");
        assert_eq!(lines.next().expect("it is there").expect("it is text"), "and on");
    }

    #[test]
    fn a_closed_reader_causes_dropped_lines_and_no_busy_loop() {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        drop(reader);
        let queue = queue_writing_to(writer);
        for number in 1..=3 {
            queue.push(b"into the void\n");
            wait_until_idle(&queue);
            assert_eq!(queue.lock().dropped, number);
        }
    }

    /// Accepts a few bytes at a time, would block every second time, and fails at first.
    struct Unreliable {
        calls: u32,
        fails: u32,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Unreliable {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls <= self.fails {
                return Err(ErrorKind::StorageFull.into());
            }
            if self.calls.is_multiple_of(2) {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(9);
            self.taken.lock().expect("none panics").extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn partial_writes_keep_lines_whole_and_failures_are_reported_later() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let queue = queue_writing_to(Unreliable { calls: 0, fails: 2, taken: Arc::clone(&taken) });
        for line in ["one\n", "two\n", "three and more\n", "four\n"] {
            queue.push(line.as_bytes());
            wait_until_idle(&queue);
        }
        let taken = taken.lock().expect("none panics").clone();
        let wanted = "three and more\ntest: 2 lines of this log were dropped here\nfour\n";
        assert_eq!(String::from_utf8(taken).expect("it is text"), wanted);
        assert_eq!(queue.lock().dropped, 2);
    }
}
