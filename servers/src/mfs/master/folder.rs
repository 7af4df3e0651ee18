//! The folder of a master: its files. All of it blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::mfs::files;

/// The name of the metadata.
const METADATA: &str = "metadata.mfs";
/// How many bytes the number of a change has at most, with what ends it.
const LINE_START_SIZE: u64 = 21;

/// What has to be written, in this order.
#[derive(Debug)]
pub(super) enum Write {
    /// Lines for the log.
    Lines(Vec<u8>),
    /// A new log begins.
    Rotate,
    /// The metadata, instead of older ones.
    Metadata(Arc<[u8]>),
}

impl Write {
    /// Returns how many bytes it has.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.len(),
            Self::Metadata(content) => content.len(),
            Self::Rotate => 0,
        }
    }
}

/// The folder of a master, which no other master uses.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    back_logs: u32,
    log: Option<File>,
    /// It is locked as long as it is open.
    _lock: File,
}

impl Folder {
    /// Opens a folder, and keeps so many older logs in it.
    ///
    /// # Errors
    /// One sentence that names the folder: it is not there, or another master uses it.
    pub(super) fn open(path: &Path, back_logs: u32) -> io::Result<Self> {
        let lock = files::lock(path, "mfs-master")?;
        Ok(Self { path: path.to_owned(), back_logs, log: None, _lock: lock })
    }

    fn log_path(&self, number: u32) -> PathBuf {
        self.path.join(format!("changelog.{number}.mfs"))
    }

    /// Returns the metadata, if there are some.
    ///
    /// # Errors
    /// When they cannot be read, or there are logs without them.
    pub(super) fn metadata(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(METADATA)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.check_is_new()?;
                Ok(None)
            }
            Err(error) => Err(files::about(METADATA, &error)),
        }
    }

    /// A folder with logs and without metadata has lost them: a new file system there would hide that.
    fn check_is_new(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("changelog.") && name.ends_with(".mfs") {
                let text = format!(
                    "it has {name} and no {METADATA}: restore that file, or give an empty folder \
                     for a new file system"
                );
                return Err(io::Error::new(ErrorKind::InvalidData, text));
            }
        }
        Ok(())
    }

    /// Calls `take` with the version and the text of each change in the last two logs, and in as many
    /// older ones as have changes after the version `after`. An incomplete line at the end, which a crash
    /// leaves, is cut off.
    ///
    /// # Errors
    /// When a log cannot be read, and those of `take`.
    pub(super) fn read_changes(
        &self,
        after: u64,
        mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        for number in self.logs_after(after)?.into_iter().rev() {
            let path = self.log_path(number);
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            files::last_version(&mut file)?;
            for (place, line) in BufReader::new(File::open(&path)?).split(b'\n').enumerate() {
                let line = line?;
                let Some((version, text)) = read_line(&line) else {
                    let text = format!("{} line {} is no change", path.display(), place + 1);
                    return Err(io::Error::new(ErrorKind::InvalidData, text));
                };
                take(version, text)?;
            }
        }
        Ok(())
    }

    /// Returns the numbers of the logs that [`read_changes`](Self::read_changes) reads, the newest first.
    fn logs_after(&self, after: u64) -> io::Result<Vec<u32>> {
        let (mut logs, mut has_all) = (Vec::new(), false);
        for number in 0..=self.back_logs {
            if has_all && number > 1 {
                break;
            }
            let path = self.log_path(number);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(files::about(path.display(), &error)),
            };
            let mut line = Vec::new();
            BufReader::new(file.take(LINE_START_SIZE)).read_until(b':', &mut line)?;
            let first = std::str::from_utf8(&line).ok().and_then(|it| it.strip_suffix(':'));
            let first = first.and_then(|it| it.parse::<u64>().ok());
            has_all |= first.is_some_and(|first| first <= after.saturating_add(1));
            logs.push(number);
        }
        Ok(logs)
    }

    /// Writes what has to be written.
    ///
    /// # Errors
    /// When the disk refuses. It can be tried again. The error names the file.
    pub(super) fn write(&mut self, write: &Write) -> io::Result<()> {
        let log = self.log_path(0);
        match write {
            Write::Lines(lines) => files::append(&mut self.log, &log, lines)
                .map_err(|error| files::about(log.display(), &error)),
            Write::Rotate => {
                self.log = None;
                files::rotate(|number| self.log_path(number), self.back_logs)
                    .map_err(|error| files::about(log.display(), &error))
            }
            Write::Metadata(content) => files::replace(&self.path.join(METADATA), content),
        }
    }
}

/// Returns the version and the text of a line.
fn read_line(line: &[u8]) -> Option<(u64, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let version = std::str::from_utf8(&line[..colon]).ok()?.parse().ok()?;
    Some((version, line[colon..].strip_prefix(b": ")?))
}
