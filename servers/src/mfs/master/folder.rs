//! The folder of a master: its files. All of it blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::mfs::files;

/// The name of the metadata.
const METADATA: &str = "metadata.mfs";

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
    /// When they cannot be read.
    pub(super) fn metadata(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path.join(METADATA)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Calls `take` with the version and the text of each change in the last two logs. An incomplete line
    /// at the end, which a crash leaves, is cut off.
    ///
    /// # Errors
    /// When a log cannot be read, and those of `take`.
    pub(super) fn read_changes(
        &self,
        mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        for number in [1, 0] {
            let path = self.log_path(number);
            let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
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

    /// Writes what has to be written.
    ///
    /// # Errors
    /// When the disk refuses. It can be tried again.
    pub(super) fn write(&mut self, write: &Write) -> io::Result<()> {
        match write {
            Write::Lines(lines) => {
                let path = self.log_path(0);
                files::append(&mut self.log, &path, lines)
            }
            Write::Rotate => {
                self.log = None;
                files::rotate(|number| self.log_path(number), self.back_logs)
            }
            Write::Metadata(content) => {
                let temporary = self.path.join("metadata.mfs.tmp");
                let mut file = File::create(&temporary)?;
                file.write_all(content)?;
                file.sync_all()?;
                fs::rename(temporary, self.path.join(METADATA))
            }
        }
    }
}

/// Returns the version and the text of a line.
fn read_line(line: &[u8]) -> Option<(u64, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let version = std::str::from_utf8(&line[..colon]).ok()?.parse().ok()?;
    Some((version, line[colon..].strip_prefix(b": ")?))
}
