//! The access log: lines are collected, and a thread writes them to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::access_log::{LogFormat, Record};
use super::stamp::Stamp;
use crate::logs::Queue;

/// How many bytes are collected before they go to the thread.
const BATCH: usize = 32 * 1024;

/// The access log of a server. Dropping it waits, for a limited time, until all lines have been
/// written.
pub(crate) struct Journal {
    format: LogFormat,
    lines: String,
    queue: Arc<Queue>,
    opens_again: Arc<AtomicBool>,
    /// The second of the last line, and its text.
    second: (u64, Stamp),
}

impl Journal {
    /// Opens the file, to append to it, and starts the thread that writes to it. `-` is standard
    /// output.
    ///
    /// # Errors
    /// When the file cannot be opened, in one sentence that names it.
    pub(crate) fn open(path: &Path, format: LogFormat) -> io::Result<Self> {
        let (queue, opens_again) = (Arc::new(Queue::new()), Arc::new(AtomicBool::new(false)));
        let sink = Sink::open(path, Arc::clone(&opens_again)).map_err(|error| {
            let text = format!("cannot open the access log {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        })?;
        let writer = Arc::clone(&queue);
        let thread = thread::Builder::new().name("access log".to_owned());
        thread.spawn(move || writer.write_to(sink, "web"))?;
        let second = (0, Stamp::new(0));
        Ok(Self { format, lines: String::new(), queue, opens_again, second })
    }

    /// Adds a line. `time` is the time since 1970.
    pub(crate) fn add(&mut self, record: &Record<'_>, time: Duration) {
        if self.second.0 != time.as_secs() {
            self.second = (time.as_secs(), Stamp::new(time.as_secs()));
        }
        self.format.write(record, &self.second.1, &mut self.lines);
        if self.lines.len() >= BATCH {
            self.pass_on();
        }
    }

    /// Passes the collected lines on to the thread.
    pub(crate) fn pass_on(&mut self) {
        if !self.lines.is_empty() {
            self.queue.push(self.lines.as_bytes());
            self.lines.clear();
        }
    }

    /// Opens the file again before the next lines are written.
    pub(crate) fn open_again(&mut self) {
        self.pass_on();
        self.opens_again.store(true, Ordering::Release);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.pass_on();
        self.queue.finish();
    }
}

/// Where lines are written.
struct Sink {
    path: PathBuf,
    file: Option<File>,
    opens_again: Arc<AtomicBool>,
}

impl Sink {
    fn open(path: &Path, opens_again: Arc<AtomicBool>) -> io::Result<Self> {
        let file = if path == Path::new("-") { None } else { Some(append_to(path)?) };
        Ok(Self { path: path.to_owned(), file, opens_again })
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    // Like those of other servers, the log is for its user and group.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_some() && self.opens_again.swap(false, Ordering::AcqRel) {
            match append_to(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) => {
                    log::error!("cannot open {} again: {error}", self.path.display());
                }
            }
        }
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => {
                let mut output = io::stdout().lock();
                let count = output.write(bytes)?;
                match output.flush() {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
                    _ => Ok(count),
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use testkit::Folder;

    #[test]
    fn lines_are_appended_and_a_moved_file_is_left_alone() {
        let folder = Folder::new("web-journal");
        let path = folder.file("log");
        fs::write(&path, "earlier\n").expect("it is written");
        let read = |name: &str| fs::read_to_string(folder.file(name)).unwrap_or_default();
        let mut journal = Journal::open(Path::new(&path), LogFormat::Common).expect("it opens");
        let record = Record { target: "/first", ..Record::default() };
        journal.add(&record, Duration::from_secs(784_111_777));
        journal.pass_on();
        testkit::wait_until("the line", || read("log").contains("/first"));
        fs::rename(&path, folder.file("old")).expect("it is moved");
        journal.open_again();
        for number in 0..1000 {
            let target = format!("/{number}");
            let record = Record { target: &target, ..Record::default() };
            journal.add(&record, Duration::from_secs(784_111_778));
        }
        drop(journal);
        assert_eq!(read("old").lines().count(), 2);
        assert!(read("old").starts_with("earlier\n"));
        let new = read("log");
        assert_eq!(new.lines().count(), 1000);
        assert!(new.ends_with("- - - [06/Nov/1994:08:49:38 +0000] \" /999 \" 0 0\n"), "{new}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = Journal::open(Path::new("/nowhere/log"), LogFormat::Json);
        let error = error.err().expect("there is no such folder").to_string();
        assert!(error.contains("/nowhere/log"), "{error}");
    }
}
