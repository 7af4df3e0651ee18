//! Logs that keep no server waiting.
//!
//! Standard error may block: a pipe that is not read, a terminal that was stopped. So a line is put
//! into a queue, and a thread writes what is in it. Where the queue is full, lines are dropped and
//! counted. A standard error that is closed, or a full disk, costs the lines and nothing else.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use env_logger::{Builder, Env, Target, WriteStyle};
use log::{Level, error, log_enabled};

/// The bytes that may wait to be written: the last few thousand lines, which an operator who comes
/// back to a stopped terminal wants to see.
const QUEUE_MAX: usize = 1 << 20;
/// What a line takes beside its text.
const LINE_OVERHEAD: usize = 48;
/// The end of a server waits so often, and each time for so long, for its last lines. A process that
/// is stopped meanwhile has lost one of these times and no more.
const FLUSH_SLICES: u32 = 20;
const FLUSH_SLICE: Duration = Duration::from_millis(50);
/// How long a standard error is left alone that another program has made non-blocking and that is
/// full.
const RETRY: Duration = Duration::from_millis(10);

/// The queue of this process: there is one standard error, and one logger.
static QUEUE: Queue = Queue::new();

/// Lines on their way to standard error.
struct Queue {
    lines: Mutex<Lines>,
    /// There are lines to be written.
    filled: Condvar,
    /// All lines have been written.
    emptied: Condvar,
}

struct Lines {
    waiting: Vec<Vec<u8>>,
    /// What they take, in bytes.
    size: usize,
    /// The writer waits for lines.
    is_idle: bool,
    /// Lines that were not written, ever and since that was last said.
    dropped: u64,
    to_notify: u64,
}

impl Queue {
    const fn new() -> Self {
        let lines =
            Lines { waiting: Vec::new(), size: 0, is_idle: false, dropped: 0, to_notify: 0 };
        Self { lines: Mutex::new(lines), filled: Condvar::new(), emptied: Condvar::new() }
    }

    /// The lines, also after a panic: they are whole between any two operations.
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a line to the writer, or drops it. Never waits for standard error.
    fn push(&self, line: &[u8]) {
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

    /// Waits for lines, and takes them, and how many were dropped after them.
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

    /// Writes lines to `out`, for ever, and where some are missing, in the name of `name`, how many.
    fn write_to(&self, mut out: impl Write, name: &str) {
        loop {
            let (taken, to_notify) = self.take();
            let (mut failed, mut is_well) = (0, true);
            for line in taken {
                is_well = write_line(&mut out, &line).is_ok();
                failed += u64::from(!is_well);
            }
            let missing = to_notify + failed;
            // Where the last one failed, the next would too.
            let is_told = missing == 0
                || is_well && {
                    let notice = format!("{name}: {missing} lines of this log were dropped here\n");
                    write_line(&mut out, notice.as_bytes()).is_ok()
                };
            let mut lines = self.lock();
            lines.dropped += failed;
            lines.to_notify += if is_told { 0 } else { missing };
        }
    }

    /// Waits until all lines have been written, but not for long.
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

/// `write_all`, but for a descriptor that may not block.
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

/// What the logger writes to: a record is one call.
struct Records;

impl Write for Records {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        QUEUE.push(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The logs of a server. Dropped, they have been written, unless standard error does not take them.
pub(crate) struct Logs {
    name: &'static str,
}

impl Logs {
    /// Has everything that this process logs, `info` and worse unless `RUST_LOG` says otherwise, and
    /// the words of a panic, written to standard error by a thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(name: &'static str) -> io::Result<Self> {
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || QUEUE.write_to(io::stderr(), name))
            .map_err(|error| {
                io::Error::new(error.kind(), format!("cannot start the thread of the log: {error}"))
            })?;
        let is_terminal = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let style = if is_terminal { WriteStyle::Always } else { WriteStyle::Never };
        // The environment has the last word on both.
        Builder::new()
            .write_style(style)
            .parse_env(Env::default().default_filter_or("info"))
            .target(Target::Pipe(Box::new(Records)))
            .init();
        std::panic::set_hook(Box::new(move |panic| say_panic(name, panic)));
        Ok(Self { name })
    }

    /// Says why the server could not go on, whatever `RUST_LOG` hides.
    pub(crate) fn fail(&self, failure: &dyn Display) {
        if log_enabled!(Level::Error) {
            error!("{failure}");
        } else {
            QUEUE.push(format!("{}: {failure}\n", self.name).as_bytes());
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        QUEUE.flush(FLUSH_SLICES);
    }
}

/// How many lines of the log have been dropped.
pub(crate) fn lines_dropped() -> u64 {
    QUEUE.lock().dropped
}

/// Says what a panic says, and where it came from if `RUST_BACKTRACE` asks for it.
fn say_panic(name: &str, panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let backtrace = Backtrace::capture();
    let from = match backtrace.status() {
        BacktraceStatus::Captured => format!("{backtrace}"),
        _ => String::new(),
    };
    // It may be the last there is, if no other line keeps it from being written.
    let slices = u32::from(QUEUE.lock().is_idle);
    QUEUE.push(format!("{name}: thread '{thread}' {panic}\n{from}").as_bytes());
    QUEUE.flush(slices);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::sync::Arc;

    /// A queue whose lines are written to `out`.
    fn writing(out: impl Write + Send + 'static) -> Arc<Queue> {
        let queue = Arc::new(Queue::new());
        let writer = Arc::clone(&queue);
        thread::spawn(move || writer.write_to(out, "test"));
        queue
    }

    fn settle(queue: &Queue) {
        while !queue.lock().is_idle {
            thread::yield_now();
        }
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_hears_how_many_and_where() {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        let queue = writing(writer);
        let line = |number: u64| format!("{number:099}\n");
        let count = 4 * QUEUE_MAX as u64 / 100;
        for number in 0..count {
            queue.push(line(number).as_bytes());
        }
        let dropped = queue.lock().dropped;
        assert!(dropped > 0 && dropped < count, "{dropped} of {count}");
        // What was kept is what came first, whole and in order.
        let mut lines = BufReader::new(reader).lines();
        for number in 0..count - dropped {
            let read = lines.next().expect("it is there").expect("it is text");
            assert_eq!(read, line(number).trim_end());
        }
        let notice = lines.next().expect("it is there").expect("it is text");
        assert_eq!(notice, format!("test: {dropped} lines of this log were dropped here"));
        queue.push(b"and on\n");
        assert_eq!(lines.next().expect("it is there").expect("it is text"), "and on");
    }

    #[test]
    fn a_reader_that_is_gone_costs_lines_and_keeps_no_thread_busy() {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        drop(reader);
        let queue = writing(writer);
        for number in 1..=3 {
            queue.push(b"into the void\n");
            settle(&queue);
            assert_eq!(queue.lock().dropped, number);
        }
    }

    /// Takes a few bytes at a time, would block every second time, and fails at first.
    struct Moody {
        calls: u32,
        fails: u32,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Moody {
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
    fn what_is_written_in_parts_is_whole_and_what_failed_is_told_when_that_is_over() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let queue = writing(Moody { calls: 0, fails: 2, taken: Arc::clone(&taken) });
        for line in ["one\n", "two\n", "three and more\n", "four\n"] {
            queue.push(line.as_bytes());
            settle(&queue);
        }
        let taken = taken.lock().expect("none panics").clone();
        let wanted = "three and more\ntest: 2 lines of this log were dropped here\nfour\n";
        assert_eq!(String::from_utf8(taken).expect("it is text"), wanted);
        assert_eq!(queue.lock().dropped, 2);
    }
}
