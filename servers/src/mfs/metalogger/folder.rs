//! The folder of a metalogger: its files, and what they tell after a start. All of it blocks.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::mfs::files;

/// The end of every file of metadata.
const END_MARKER: &[u8] = b"[MFS EOF MARKER]";
/// What a master sends that has never saved its metadata.
const NEW: &[u8] = b"MFSM NEW";
/// The name of a download that is not complete.
const PARTIAL: &str = "metadata_ml.tmp";

/// A file of the master that is downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Download {
    /// The metadata.
    Metadata,
    /// The change log, and the one before.
    ChangeLog(u8),
}

impl Download {
    /// All of them, in the order in which they are downloaded.
    pub(super) const ALL: [Self; 3] = [Self::Metadata, Self::ChangeLog(0), Self::ChangeLog(1)];

    /// Returns its number in the protocol.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Metadata => 1,
            Self::ChangeLog(number) => 11 + number,
        }
    }
}

impl fmt::Display for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata => f.write_str("metadata"),
            Self::ChangeLog(number) => write!(f, "change log {number}"),
        }
    }
}

/// What has to be done in the folder, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Append lines to the log.
    Append(Vec<u8>),
    /// Begin a new log.
    Rotate,
    /// Remove all logs: changes are missing in them.
    Forget,
    /// Begin a download.
    Begin,
    /// Write a part of the download.
    Part(u64, Vec<u8>),
    /// Keep the download.
    Keep(Download),
}

impl Order {
    /// Returns whether it belongs to a download.
    pub(super) const fn is_download(&self) -> bool {
        matches!(self, Self::Begin | Self::Part(..) | Self::Keep(_))
    }

    /// Returns how many bytes it has.
    pub(super) const fn size(&self) -> usize {
        match self {
            Self::Append(bytes) | Self::Part(_, bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// What has come of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It has its name.
    Yes,
    /// The master has never saved its metadata, so there is nothing to keep.
    New,
}

/// The folder of a metalogger, which no other metalogger uses.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    back_logs: u32,
    back_metadata: u32,
    log: Option<File>,
    partial: Option<File>,
    /// It is locked as long as it is open.
    _lock: File,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// One sentence that names the folder: it is not there, or another metalogger uses it.
    pub(super) fn open(path: &Path, back_logs: u32, back_metadata: u32) -> io::Result<Self> {
        let lock = files::lock(path, "mfs-metalogger")?;
        let path = path.to_owned();
        Ok(Self { path, back_logs, back_metadata, log: None, partial: None, _lock: lock })
    }

    fn log_path(&self, number: u32) -> PathBuf {
        self.path.join(format!("changelog_ml.{number}.mfs"))
    }

    fn metadata_path(&self) -> PathBuf {
        self.path.join("metadata_ml.mfs.back")
    }

    /// Returns whether there are metadata.
    pub(super) fn has_metadata(&self) -> bool {
        self.metadata_path().exists()
    }

    /// Returns the version of the last change in the logs, if there is one. An incomplete line at the end,
    /// which a crash leaves, is cut off.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub(super) fn last_version(&self) -> io::Result<Option<u64>> {
        for number in 0..=1 {
            let file = OpenOptions::new().read(true).write(true).open(self.log_path(number));
            match file {
                Ok(mut file) => {
                    if let Some(version) = files::last_version(&mut file)? {
                        return Ok(Some(version));
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Does what an order says.
    ///
    /// # Errors
    /// When the disk refuses. The order can be given again.
    pub(super) fn carry_out(&mut self, order: &Order) -> io::Result<Option<Kept>> {
        match order {
            Order::Append(lines) => {
                let path = self.log_path(0);
                files::append(&mut self.log, &path, lines)?;
            }
            Order::Rotate => {
                self.log = None;
                files::rotate(|number| self.log_path(number), self.back_logs)?;
            }
            Order::Forget => {
                self.log = None;
                for number in 0..=self.back_logs {
                    files::remove(&self.log_path(number))?;
                }
            }
            Order::Begin => self.partial = Some(File::create(self.path.join(PARTIAL))?),
            Order::Part(offset, bytes) => match &self.partial {
                Some(file) => file.write_all_at(bytes, *offset)?,
                None => return Err(io::Error::other("the download has not begun")),
            },
            Order::Keep(download) => return self.keep(*download).map(Some),
        }
        Ok(None)
    }

    /// Gives a complete download its name.
    fn keep(&mut self, download: Download) -> io::Result<Kept> {
        let partial = self.path.join(PARTIAL);
        let Some(file) = self.partial.take() else {
            return Err(io::Error::other("the download has not begun"));
        };
        file.sync_all()?;
        let path = match download {
            Download::Metadata => {
                if check_metadata(&mut File::open(&partial)?)? == Kept::New {
                    files::remove(&partial)?;
                    return Ok(Kept::New);
                }
                let base = self.metadata_path();
                if self.back_metadata > 0 {
                    let older = |number| match number {
                        0 => base.clone(),
                        _ => PathBuf::from(format!("{}.{number}", base.display())),
                    };
                    files::rotate(older, self.back_metadata)?;
                }
                base
            }
            Download::ChangeLog(number) => {
                self.path.join(format!("changelog_ml_back.{number}.mfs"))
            }
        };
        fs::rename(&partial, path)?;
        Ok(Kept::Yes)
    }
}

/// Checks whether a file has metadata.
///
/// # Errors
/// What is wrong with it.
fn check_metadata(file: &mut File) -> io::Result<Kept> {
    let mut start = Vec::new();
    file.take(16).read_to_end(&mut start)?;
    if start == NEW {
        return Ok(Kept::New);
    }
    let mut end = [0; END_MARKER.len()];
    let has_end = file.seek(SeekFrom::End(-(end.len() as i64))).is_ok()
        && file.read_exact(&mut end).is_ok()
        && end == END_MARKER;
    let is_known = start.starts_with(b"MFSM 1.") || start.starts_with(b"MFSM 2.");
    match is_known && has_end {
        true => Ok(Kept::Yes),
        false => Err(io::Error::new(ErrorKind::InvalidData, "the metadata are incomplete")),
    }
}

#[cfg(test)]
mod tests {
    use testkit::Folder as TemporaryFolder;

    use super::*;

    fn open(folder: &TemporaryFolder) -> Folder {
        Folder::open(folder.path(), 2, 2).expect("the folder is there")
    }

    fn read(folder: &TemporaryFolder, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).unwrap_or_default()
    }

    #[test]
    fn a_log_is_rotated_and_its_last_version_is_found_again() {
        let temporary = TemporaryFolder::new("ml-log");
        let mut folder = open(&temporary);
        assert_eq!(folder.last_version().expect("it can be read"), None);
        for round in 1..=4 {
            let lines = format!("{round}: a\n").into_bytes();
            folder.carry_out(&Order::Append(lines)).expect("there is space");
            assert_eq!(folder.last_version().expect("it can be read"), Some(round));
            folder.carry_out(&Order::Rotate).expect("it can be renamed");
            assert_eq!(folder.last_version().expect("it can be read"), Some(round));
        }
        assert_eq!(read(&temporary, "changelog_ml.1.mfs"), "4: a\n");
        assert_eq!(read(&temporary, "changelog_ml.2.mfs"), "3: a\n");
        assert!(!temporary.path().join("changelog_ml.3.mfs").exists());
        folder.carry_out(&Order::Forget).expect("they can be removed");
        assert_eq!(folder.last_version().expect("it can be read"), None);
    }

    #[test]
    fn a_line_that_a_crash_has_cut_is_removed() {
        let temporary = TemporaryFolder::new("ml-cut");
        let mut folder = open(&temporary);
        fs::write(temporary.path().join("changelog_ml.0.mfs"), "7: a\n8: b\n9: c").expect("space");
        assert_eq!(folder.last_version().expect("it can be read"), Some(8));
        folder.carry_out(&Order::Append(b"9: d\n".to_vec())).expect("there is space");
        assert_eq!(read(&temporary, "changelog_ml.0.mfs"), "7: a\n8: b\n9: d\n");
    }

    #[test]
    fn metadata_are_kept_only_when_complete() {
        let temporary = TemporaryFolder::new("ml-meta");
        let mut folder = open(&temporary);
        let mut download = |text: &[u8]| {
            folder.carry_out(&Order::Begin).expect("it can be created");
            let (start, end) = text.split_at(text.len() / 2);
            for (offset, part) in [(start.len(), end), (0, start)] {
                let part = Order::Part(offset as u64, part.to_vec());
                folder.carry_out(&part).expect("there is space");
            }
            folder.carry_out(&Order::Keep(Download::Metadata))
        };
        assert_eq!(download(b"MFSM NEW").expect("it is new"), Some(Kept::New));
        assert!(download(b"MFSM 2.0 no end").is_err() && download(b"").is_err());
        for name in ["one", "two", "three", "four"] {
            let text = format!("MFSM 2.0{name:>16}[MFS EOF MARKER]");
            assert_eq!(download(text.as_bytes()).expect("it is complete"), Some(Kept::Yes));
        }
        assert!(read(&temporary, "metadata_ml.mfs.back").contains("four"));
        assert!(read(&temporary, "metadata_ml.mfs.back.2").contains("two"));
        assert!(!temporary.path().join("metadata_ml.mfs.back.3").exists());
    }

    #[test]
    fn a_folder_has_one_metalogger() {
        let temporary = TemporaryFolder::new("ml-lock");
        let first = open(&temporary);
        let error = Folder::open(temporary.path(), 2, 2).expect_err("it is used");
        assert!(error.to_string().contains("another mfs-metalogger uses it"), "{error}");
        drop(first);
        open(&temporary);
        let error = Folder::open(Path::new("/no/such/folder"), 2, 2).expect_err("there is none");
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }
}
