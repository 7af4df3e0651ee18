//! Local files.

use std::ffi::OsString;
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use protocol::mfs::Attributes;

use crate::mfs::{FileSink, Kept, Sink};

/// A file that is written under another name and renamed when it is complete. It is created when the
/// first byte comes, so that a file which cannot be read leaves none.
pub(super) struct LocalFile {
    path: PathBuf,
    part: PathBuf,
    sink: Option<FileSink>,
}

impl LocalFile {
    pub(super) fn new(path: &Path) -> Self {
        let mut part = OsString::from(path);
        part.push(".part");
        Self { path: path.to_owned(), part: part.into(), sink: None }
    }

    fn open(&mut self) -> io::Result<&mut FileSink> {
        if self.sink.is_none() {
            let mut options = OpenOptions::new();
            let file =
                options.write(true).create(true).truncate(true).mode(0o666).open(&self.part)?;
            self.sink = Some(FileSink::new(file));
        }
        self.sink.as_mut().ok_or_else(|| io::Error::other("the file was just opened"))
    }

    /// Renames the complete file. It gets permissions: all of them, and the times, if they are to be kept,
    /// else those that a copy gets.
    pub(super) fn complete(mut self, attributes: &Attributes, keeps: bool) -> io::Result<()> {
        if keeps {
            let times = FileTimes::new()
                .set_accessed(moment(attributes.atime))
                .set_modified(moment(attributes.mtime));
            File::options().write(true).open(&self.part)?.set_times(times)?;
            let permissions = Permissions::from_mode(attributes.mode.permissions.into());
            fs::set_permissions(&self.part, permissions)?;
        } else if attributes.mode.permissions & 0o111 != 0 {
            // As the umask has it: what may read the file may execute it.
            let now = fs::metadata(&self.part)?.permissions().mode();
            let execute = (now >> 2) & 0o111 & u32::from(attributes.mode.permissions);
            fs::set_permissions(&self.part, Permissions::from_mode(now & 0o7777 | execute))?;
        }
        fs::rename(&self.part, &self.path)?;
        self.sink = None;
        Ok(())
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        if self.sink.is_some() {
            // It is not complete, and there is no place left to report that it stays.
            let _ = fs::remove_file(&self.part);
        }
    }
}

impl Sink for LocalFile {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.open()?.write(offset, bytes)
    }

    fn skip(&mut self, offset: u64, size: u64) -> io::Result<()> {
        self.open()?.skip(offset, size)
    }

    fn finish(&mut self, length: u64) -> io::Result<()> {
        self.open()?.finish(length)
    }
}

fn moment(seconds: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into())
}

/// Returns what of a local file can be kept.
pub(super) fn kept(file: &File) -> io::Result<Kept> {
    let metadata = file.metadata()?;
    let seconds = |time: i64| u32::try_from(time.max(0)).unwrap_or(u32::MAX);
    Ok(Kept {
        permissions: (metadata.mode() & 0o7777) as u16,
        atime: seconds(metadata.atime()),
        mtime: seconds(metadata.mtime()),
    })
}
