//! Mass insertion: sends standard input unchanged and counts the replies.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::resp::{Item, Value};

use super::failure::context;
use super::session::{Session, print_all};
use crate::output::{complain, progress};
use crate::resp::Connection;

/// The maximum number of bytes that are read and sent at once.
const CHUNK_SIZE: usize = 64 * 1024;

/// The interval at which the time limit and the progress are checked.
const TICK: Duration = Duration::from_millis(200);

/// The state that the two threads share. One sends and the other receives, so that neither waits
/// for the other.
#[derive(Default)]
struct Sending {
    bytes: AtomicU64,
    /// Whether all of standard input and the last command have been sent.
    done: AtomicBool,
}

/// The replies so far.
#[derive(Default)]
struct Replies {
    count: u64,
    errors: u64,
    /// Whether the reply to the last command has come.
    is_last: bool,
}

/// Sends standard input and counts the replies. Returns the exit code.
pub(super) fn pipe(mut session: Session) -> u8 {
    let Some(connection) = &mut session.connection else { return 1 };
    let sending = Arc::new(Sending::default());
    let magic = format!("{:020}", RandomState::new().build_hasher().finish());
    match connection.as_fd().try_clone_to_owned() {
        Ok(fd) => {
            let (shared, magic) = (Arc::clone(&sending), magic.clone());
            std::thread::spawn(move || send(&mut File::from(fd), &shared, &magic));
        }
        Err(error) => {
            complain(format_args!("Error writing to the server: {error}"));
            return 1;
        }
    }
    let timeout = session.settings.pipe_timeout;
    let received = receive(connection, &sending, &magic, timeout);
    match received {
        Ok(Replies { count, errors, .. }) => {
            print_all(format!("errors: {errors}, replies: {count}\n").as_bytes());
            u8::from(errors > 0)
        }
        Err(text) => {
            complain(format_args!("{text}"));
            1
        }
    }
}

/// Sends standard input, and then a command whose reply shows that all other replies have come.
fn send(server: &mut File, sending: &Sending, magic: &str) {
    let mut input = io::stdin().lock();
    let mut chunk = vec![0; CHUNK_SIZE];
    loop {
        let count = match input.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                complain(format_args!("Error reading from stdin: {error}"));
                std::process::exit(1);
            }
        };
        if count == 0 {
            break;
        }
        // The receiving thread reports the error, and what the server sent before it closed.
        if server.write_all(&chunk[..count]).is_err() {
            return;
        }
        sending.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }
    // Removes the line of progress.
    progress("");
    print_all(b"All data transferred. Waiting for the last reply...\n");
    // Set before the command is sent, because its reply may come at once.
    sending.done.store(true, Ordering::Release);
    // The empty line ends a command that may be incomplete.
    let last = format!("\r\n*2\r\n$4\r\nECHO\r\n$20\r\n{magic}\r\n");
    let _ = server.write_all(last.as_bytes());
}

fn receive(
    connection: &mut Connection,
    sending: &Sending,
    magic: &str,
    timeout: Option<Duration>,
) -> Result<Replies, String> {
    let mut replies = Replies::default();
    let mut shown = Progress::default();
    let mut last_read = Instant::now();
    while !replies.is_last {
        let next = connection.next_with(Some(TICK), |value| replies.add(value, sending, magic));
        match next {
            Ok(Some(())) => {}
            Ok(None) => {
                let done = sending.done.load(Ordering::Acquire);
                if let Some(timeout) = timeout
                    && done
                    && last_read.elapsed() > timeout
                {
                    shown.clear();
                    complain(format_args!(
                        "No replies for {} seconds: exiting.",
                        timeout.as_secs()
                    ));
                    replies.errors += 1;
                    return Ok(replies);
                }
                shown.show(sending, &replies);
                continue;
            }
            Err(error) => {
                shown.clear();
                let why = context(error.cause());
                return Err(format!("Error reading replies from server: {why}"));
            }
        }
        if replies.count.is_multiple_of(256) {
            shown.show(sending, &replies);
        }
        last_read = Instant::now();
    }
    shown.clear();
    print_all(b"Last reply received from server.\n");
    Ok(replies)
}

impl Replies {
    fn add(&mut self, value: Value<'_>, sending: &Sending, magic: &str) {
        match value.item() {
            Item::Error(words) | Item::BulkError(words) => {
                self.errors += 1;
                complain(format_args!("{}", String::from_utf8_lossy(words)));
            }
            Item::Bulk(bytes)
                if bytes == magic.as_bytes() && sending.done.load(Ordering::Acquire) =>
            {
                self.is_last = true;
                return;
            }
            Item::Push(_) => return,
            _ => {}
        }
        self.count += 1;
    }
}

/// A line of progress on standard error, if that is a terminal.
#[derive(Default)]
struct Progress {
    shown: Option<Instant>,
}

impl Progress {
    fn show(&mut self, sending: &Sending, replies: &Replies) {
        if self.shown.is_some_and(|shown| shown.elapsed() < TICK) {
            return;
        }
        let mebibytes = sending.bytes.load(Ordering::Relaxed) as f64 / f64::from(1 << 20);
        let Replies { count, errors, .. } = replies;
        progress(&format!("sent {mebibytes:.1} MiB, replies: {count}, errors: {errors}"));
        self.shown = Some(Instant::now());
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            progress("");
        }
    }
}
