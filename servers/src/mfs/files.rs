//! Files that several programs keep: logs of changes, and older versions of a file.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The longest line at the end of a log that is looked for, in bytes: longer than any packet.
const LINE_SIZE_MAX: u64 = 2_000_000;

/// Locks a folder for one program, as long as the file is open.
///
/// # Errors
/// One sentence that names the folder: it is not there, or another one of these programs uses it.
pub(super) fn lock(folder: &Path, program: &str) -> io::Result<File> {
    lock_with(&format!(".{program}.lock"), folder, program)
}

/// Locks a folder as [`lock`] does, with a file of this name.
///
/// # Errors
/// As for [`lock`].
pub(super) fn lock_with(name: &str, folder: &Path, program: &str) -> io::Result<File> {
    let explained = |error: io::Error| {
        let text = format!("the folder {} cannot be used: {error}", folder.display());
        io::Error::new(error.kind(), text)
    };
    let path = folder.join(name);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let lock = lock.map_err(explained)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::Error(error) => explained(error),
        TryLockError::WouldBlock => {
            explained(io::Error::other(format!("another {program} uses it")))
        }
    })?;
    Ok(lock)
}

/// Replaces a file, or makes it. A crash or a full disk leaves the old content or the new one.
///
/// # Errors
/// When the disk refuses. The error names the file.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let write = || {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The name has to be on the disk too.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|error| about(path.display(), &error))
}

/// Returns an error with what it is about.
pub(super) fn about(what: impl fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Appends lines to a log, which is opened if it is not open. What was written of them in vain is cut off.
///
/// # Errors
/// When the disk refuses. It can be tried again.
pub(super) fn append(log: &mut Option<File>, path: &Path, lines: &[u8]) -> io::Result<()> {
    let mut file = match log.take() {
        Some(file) => file,
        None => OpenOptions::new().create(true).append(true).open(path)?,
    };
    let size = file.metadata()?.len();
    if let Err(error) = file.write_all(lines) {
        file.set_len(size)?;
        return Err(error);
    }
    *log = Some(file);
    Ok(())
}

/// Gives each file the name of the next one, and removes the last.
///
/// # Errors
/// When the disk refuses.
pub(super) fn rotate(path: impl Fn(u32) -> PathBuf, number_max: u32) -> io::Result<()> {
    remove(&path(number_max))?;
    for number in (0..number_max).rev() {
        match fs::rename(path(number), path(number + 1)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes a file, if it is there.
///
/// # Errors
/// When the disk refuses.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns the version of the last line of a log, if it has one. An incomplete line at the end, which a
/// crash leaves, is cut off.
///
/// # Errors
/// When the file cannot be read or cut.
pub(super) fn last_version(file: &mut File) -> io::Result<Option<u64>> {
    let size = file.metadata()?.len();
    let start = size.saturating_sub(LINE_SIZE_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(LINE_SIZE_MAX).read_to_end(&mut end)?;
    let complete = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
    if complete < end.len() {
        file.set_len(start + complete as u64)?;
    }
    let last = end[..complete].trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    let digits = last.and_then(|line| line.split(|byte| *byte == b':').next());
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    Ok(digits.and_then(|digits| digits.parse().ok()))
}
