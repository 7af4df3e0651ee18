//! The file of a Unix socket: which server may create it, and when it is removed.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::UNIX_EPOCH;

use log::{info, warn};

use crate::{ListenOptions, kernel, sys};

/// The file of a Unix socket that listens, or takes datagrams. It is removed on drop, unless another file has replaced it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
    /// The process that created it. A copy made by `fork(2)` does not remove it.
    process: u32,
    /// Another process removes it.
    is_left: AtomicBool,
    /// A duplicate of the socket. While it is open, no other server takes the file for a stale one,
    /// so the file cannot be replaced between the check and the removal.
    _socket: OwnedFd,
}

/// The files that were taken over from another process, and that this one removes.
static TAKEN_OVER: Mutex<Vec<Weak<SocketFile>>> = Mutex::new(Vec::new());

/// Tells the file of a Unix socket apart from another one at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    /// When it was created, in nanoseconds since 1970; 0 if the file system does not say. An inode
    /// number alone is reused as soon as it is free.
    created: u64,
}

impl FileIdentity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        let created = metadata.created().ok().and_then(|it| it.duration_since(UNIX_EPOCH).ok());
        let created = created.and_then(|it| u64::try_from(it.as_nanos()).ok()).unwrap_or_default();
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), created })
    }

    /// Returns the identity as numbers, to be passed on to another process on this machine.
    pub fn to_numbers(self) -> [u64; 3] {
        [self.device, self.inode, self.created]
    }

    /// Returns the identity that another process has passed on.
    pub fn from_numbers([device, inode, created]: [u64; 3]) -> Self {
        Self { device, inode, created }
    }
}

/// The system call that failed while a listener was set up, and its error.
pub(crate) type Failure = (&'static str, io::Error);

/// Adds the name of the system call to an error.
pub(crate) fn named<T>(operation: &'static str, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| (operation, error))
}

impl SocketFile {
    /// Binds `socket` to `path` and listens. A stale file, to which no connection can be made, is
    /// replaced.
    pub(crate) fn listen(
        socket: &OwnedFd,
        path: &Path,
        options: &ListenOptions,
    ) -> Result<Self, Failure> {
        // Until the socket listens, another server would take its file for a stale one.
        let _start = Start::begin(path)?;
        remove_stale(path, kernel::stream_socket)?;
        let file = Self::bind(socket, path)?;
        // No client can connect before `listen(2)`, so none gets in under the wrong mode.
        file.set_mode(options.unix_mode)?;
        named("listen", kernel::listen(socket.as_fd(), options.backlog))?;
        Ok(file)
    }

    /// Binds a datagram socket to `path`. A stale file, which no process has bound, is replaced.
    pub(crate) fn bind_datagrams(
        socket: &OwnedFd,
        path: &Path,
        mode: Option<u32>,
    ) -> Result<Self, Failure> {
        // Of two servers that start at once, one would take the new file of the other for stale.
        let _start = Start::begin(path)?;
        remove_stale(path, kernel::datagram_socket)?;
        // Datagrams arrive as soon as the socket is bound. The file gets no permission that the
        // socket itself lacks (unix(7)).
        if let Some(mode) = mode {
            let socket = File::from(named("dup", socket.try_clone())?);
            named("fchmod", socket.set_permissions(fs::Permissions::from_mode(mode)))?;
        }
        let file = Self::bind(socket, path)?;
        file.set_mode(mode)?;
        Ok(file)
    }

    /// Binds `socket` to `path`. From then on, dropping this removes the file.
    fn bind(socket: &OwnedFd, path: &Path) -> Result<Self, Failure> {
        let again = named("dup", socket.try_clone())?;
        named("bind", kernel::bind(socket.as_fd(), sys::Endpoint::Unix(path)))?;
        Ok(Self {
            path: path.to_owned(),
            identity: named("lstat", FileIdentity::of(path))?,
            process: std::process::id(),
            is_left: AtomicBool::new(false),
            _socket: again,
        })
    }

    /// Takes over the file at `path`, which another process has created for `socket`. Several loops
    /// may take it over: the last of them removes it.
    pub(crate) fn take_over(
        socket: &OwnedFd,
        path: &Path,
        identity: FileIdentity,
    ) -> io::Result<Arc<Self>> {
        if FileIdentity::of(path)? != identity {
            let text = "another file has replaced it";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        let mut files = TAKEN_OVER.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|file| file.strong_count() > 0);
        let is_same = |file: &Arc<Self>| {
            let is_ours = file.process == std::process::id() && !file.is_left();
            is_ours && file.identity == identity && file.path == path
        };
        if let Some(file) = files.iter().filter_map(Weak::upgrade).find(is_same) {
            return Ok(file);
        }
        let file = Arc::new(Self {
            path: path.to_owned(),
            identity,
            process: std::process::id(),
            is_left: AtomicBool::new(false),
            _socket: socket.try_clone()?,
        });
        files.push(Arc::downgrade(&file));
        Ok(file)
    }

    pub(crate) fn identity(&self) -> FileIdentity {
        self.identity
    }

    fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    /// Leaves the file to another process, or takes it back.
    pub(crate) fn set_left(&self, is_left: bool) {
        self.is_left.store(is_left, Ordering::Relaxed);
    }

    pub(crate) fn set_mode(&self, mode: Option<u32>) -> Result<(), Failure> {
        mode.map_or(Ok(()), |mode| {
            named("chmod", fs::set_permissions(&self.path, fs::Permissions::from_mode(mode)))
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = !self.is_left()
            && self.process == std::process::id()
            && FileIdentity::of(&self.path).is_ok_and(|identity| identity == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// A lock that a server holds while it creates the file of its socket. Of several servers that
/// start at the same path at once, one gets it and the others fail, as they would a moment later.
///
/// The lock is an empty file beside the socket, locked with `flock(2)` and removed on drop. Only
/// its owner may open it, so no other user can hold the lock. No process waits for it. If it cannot
/// be locked, because the file is another user's or the file system has no locks, the server goes
/// on without it.
struct Start {
    path: PathBuf,
    /// Is locked as long as it is open.
    _file: File,
}

impl Start {
    fn begin(path: &Path) -> Result<Option<Self>, Failure> {
        let mut name = OsString::from(path);
        name.push(".lock");
        let path = PathBuf::from(name);
        loop {
            // Opening a FIFO does not wait, and a symbolic link is not followed.
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
                    return Err(in_use("another server is starting to listen there"));
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
            // The previous holder may have removed this file before it was locked here. The lock is
            // valid only if the path still names this file.
            let named_now = fs::symlink_metadata(&path).map(|it| (it.dev(), it.ino()));
            if named_now.is_ok_and(|it| it == (metadata.dev(), metadata.ino())) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        // It is removed before it is unlocked, so a process that has opened it meanwhile finds out.
        if let Err(error) = fs::remove_file(&self.path) {
            warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Returns the failure of an address in use, with a message of its own.
fn in_use(words: impl Into<String>) -> Failure {
    ("bind", io::Error::new(io::ErrorKind::AddrInUse, words.into()))
}

/// Removes a stale file: that of a Unix socket which no process has. Any other file is kept. `open`
/// opens a socket of the type that the file should have.
fn remove_stale(
    path: &Path,
    open: fn(sys::Endpoint<'_>) -> io::Result<OwnedFd>,
) -> Result<(), Failure> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(in_use("a file with that name exists and is not a socket"));
    }
    let endpoint = sys::Endpoint::Unix(path);
    let probe = named("socket", open(endpoint))?;
    let error = match kernel::connect(probe.as_fd(), endpoint) {
        Ok(_) => return Err(in_use(whose(&probe))),
        Err(error) => error,
    };
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => {
            info!("removing {}, a socket on which no process listens", path.display());
            named("unlink", fs::remove_file(path))
        }
        // Its backlog is full.
        Some(libc::EAGAIN) => Err(in_use("another process listens there")),
        // It was removed meanwhile.
        Some(libc::ENOENT) => Ok(()),
        Some(libc::EPROTOTYPE) => Err(in_use("a socket of another type has that name")),
        _ => {
            let words =
                "a socket with that name exists, and it is unknown whether a process listens on it";
            Err(in_use(format!("{words} ({error})")))
        }
    }
}

/// Describes the process at the other end of a connected socket.
fn whose(probe: &OwnedFd) -> String {
    match sys::peer_credentials(probe.as_fd()) {
        Ok((process, ..)) if process == std::process::id() => {
            "this process already listens there".into()
        }
        Ok((process, ..)) if process != 0 => format!("process {process} listens there"),
        _ => "another process listens there".into(),
    }
}
