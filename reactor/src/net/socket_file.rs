//! The file of a Unix socket: which server may make it, and that it goes with its server.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use log::{info, warn};

use crate::{ListenOptions, sys};

/// The file of a Unix socket that listens, removed when it is dropped, unless another has taken its
/// place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
    /// The process that made it: what a fork copies does not remove it.
    process: u32,
    /// The socket once more: while it listens, no other server takes the file for one that is left
    /// over, so that whose it is cannot change between looking and removing.
    _socket: OwnedFd,
}

/// Device, number and time of birth, where the file system knows that: a number alone is used
/// again as soon as it is free.
type FileIdentity = (u64, u64, Option<SystemTime>);

fn identity(path: &Path) -> io::Result<FileIdentity> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// What failed while listening was begun, and how.
pub(crate) type Failure = (&'static str, io::Error);

/// Names the call that may have failed.
pub(crate) fn named<T>(operation: &'static str, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| (operation, error))
}

impl SocketFile {
    /// Binds `socket` to `path` and listens. A socket's file that no process listens on any more is
    /// replaced, which is found out by connecting to it.
    pub(crate) fn listen(
        socket: &OwnedFd,
        path: &Path,
        options: &ListenOptions,
    ) -> Result<Self, Failure> {
        // Until it listens, no other server may take its file for one that is left over.
        let _start = Start::begin(path)?;
        remove_stale(path)?;
        let again = named("dup", socket.try_clone())?;
        named("bind", sys::bind(socket.as_fd(), sys::Endpoint::Unix(path)))?;
        // From here on it goes with what is returned, or with an error.
        let file = Self {
            path: path.to_owned(),
            identity: named("lstat", identity(path))?,
            process: std::process::id(),
            _socket: again,
        };
        // None can connect before listen, so there is no moment with the wrong mode.
        if let Some(mode) = options.unix_mode {
            named("chmod", fs::set_permissions(path, fs::Permissions::from_mode(mode)))?;
        }
        named("listen", sys::listen(socket.as_fd(), options.backlog))?;
        Ok(file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = self.process == std::process::id()
            && identity(&self.path).is_ok_and(|identity| identity == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The beginning of one server at a path: of several that begin at once, one goes on, and the others
/// are refused as they would be a moment later.
///
/// It is an empty file beside the socket, locked with `flock(2)`, which exists for no longer than
/// this. Only its owner may open it, so that no other user can hold it; no lock is waited for; and
/// what cannot be locked, because the file is another's or the file system knows no locks, is done
/// without.
struct Start {
    path: PathBuf,
    /// Locked for as long as it is open.
    _file: File,
}

impl Start {
    fn begin(path: &Path) -> Result<Option<Self>, Failure> {
        let mut name = OsString::from(path);
        name.push(".lock");
        let path = PathBuf::from(name);
        loop {
            // What is no file is not waited for, as a FIFO would be, and no link is followed.
            let opened = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&path);
            let Ok(file) = opened else { return Ok(None) };
            let metadata = named("fstat", file.metadata())?;
            if !metadata.is_file() || metadata.uid() != sys::effective_user() {
                return Ok(None);
            }
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(in_use("another server begins to listen there"));
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
            // The one that held it before has removed it, unless it is still the one by that name.
            let named_now = fs::symlink_metadata(&path).map(|it| (it.dev(), it.ino()));
            if named_now.is_ok_and(|it| it == (metadata.dev(), metadata.ino())) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        // Removed before it is unlocked: a process that has opened it meanwhile sees that it is gone.
        if let Err(error) = fs::remove_file(&self.path) {
            warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// An address that is taken, in words of its own.
fn in_use(words: impl Into<String>) -> Failure {
    ("bind", io::Error::new(io::ErrorKind::AddrInUse, words.into()))
}

/// Removes the file of a Unix socket that no process listens on. Whatever else has the name is left
/// alone.
fn remove_stale(path: &Path) -> Result<(), Failure> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(in_use("a file that is no socket is in the way"));
    }
    let endpoint = sys::Endpoint::Unix(path);
    let probe = named("socket", sys::stream_socket(endpoint))?;
    let error = match sys::connect(probe.as_fd(), endpoint) {
        Ok(_) => return Err(in_use(whose(&probe))),
        Err(error) => error,
    };
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => {
            info!("removing {}, a socket that no process listens on", path.display());
            named("unlink", fs::remove_file(path))
        }
        // As many wait there as may.
        Some(libc::EAGAIN) => Err(in_use("another process listens there")),
        // Gone since it was looked at.
        Some(libc::ENOENT) => Ok(()),
        Some(libc::EPROTOTYPE) => Err(in_use("a socket of another kind is in the way")),
        _ => {
            let words = "a socket is in the way, and whether a process listens on it is not told";
            Err(in_use(format!("{words} ({error})")))
        }
    }
}

/// The process at the other end of a connected socket, in words.
fn whose(probe: &OwnedFd) -> String {
    match sys::peer_process(probe.as_fd()) {
        Ok(process) if process == std::process::id() => "this process listens there already".into(),
        Ok(process) if process != 0 => format!("another process listens there, number {process}"),
        _ => "another process listens there".into(),
    }
}
