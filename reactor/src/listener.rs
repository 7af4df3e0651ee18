//! The acceptor.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use log::{debug, info, warn};

use crate::sources::Sharing;
use crate::{
    Address, Cx, Handler, Interest, ListenOptions, Next, Reason, Registration, Role, Timeout,
    Token, sys,
};

/// How long accepting pauses at first when descriptors run out; it doubles from pause to pause.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// How far it doubles.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How many batches are accepted of those who wait when the loop winds down, one a turn.
const BACKLOG_BATCHES: u32 = 64;
/// How often running out is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// A connection that was accepted: a stream socket, non-blocking.
#[derive(Debug)]
pub struct Accepted {
    pub(crate) fd: OwnedFd,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) sharing: Sharing,
}

impl Accepted {
    /// A connection that somebody else accepted: inetd, systemd, or the standard library. It is
    /// made non-blocking.
    ///
    /// # Errors
    /// When it is no stream socket or is not connected.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        if sys::sends_messages(fd.as_fd()) {
            let text = "not a stream socket: it sends messages";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let peer = sys::remote_address(fd.as_fd())?;
        sys::set_nonblocking(fd.as_fd())?;
        Ok(Self { fd, peer, sharing: Sharing::Possible })
    }

    /// The peer's address; `None` for a Unix socket's peer.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The connection itself, for a handler of one's own.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

/// A listening socket, bound and ready to be registered.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    address: Address,
    file: Option<SocketFile>,
}

impl Listener {
    /// Binds `address` and listens, with `SO_REUSEADDR` and, on TCP, `TCP_NODELAY`, which accepted
    /// connections inherit. The file of a Unix socket that nobody listens on any more is replaced,
    /// which is found out by connecting to it.
    ///
    /// # Errors
    /// One sentence saying what is wrong with the address: taken, not this machine's, forbidden.
    pub fn bind(address: &Address, options: &ListenOptions) -> io::Result<Self> {
        Self::try_bind(address, options).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse if is_in_the_way(address) => {
                    ": a file that is no socket is in the way"
                }
                io::ErrorKind::AddrInUse => ": another process listens there",
                io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
                io::ErrorKind::PermissionDenied => {
                    ": this user may not (ports under 1024 take root)"
                }
                _ => "",
            };
            io::Error::new(error.kind(), format!("cannot listen on {address}{hint} ({error})"))
        })
    }

    fn try_bind(address: &Address, options: &ListenOptions) -> io::Result<Self> {
        let fd = sys::stream_socket(address.endpoint())?;
        let file = match address {
            Address::Tcp(_) => {
                sys::set_reuse_address(fd.as_fd())?;
                options.tcp.apply(&fd)?;
                sys::bind(fd.as_fd(), address.endpoint())?;
                sys::listen(fd.as_fd(), options.backlog)?;
                None
            }
            Address::Unix(path) => {
                // Until it listens, nobody else may take its file for one that is left over.
                let _lock = lock_folder(path);
                remove_stale(path)?;
                sys::bind(fd.as_fd(), address.endpoint())?;
                // Nobody can connect before listen, so there is no moment with the wrong mode.
                if let Some(mode) = options.unix_mode {
                    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
                }
                sys::listen(fd.as_fd(), options.backlog)?;
                Some(SocketFile::new(path)?)
            }
        };
        let address = match sys::local_address(fd.as_fd())? {
            Some(bound) => Address::Tcp(bound),
            None => address.clone(),
        };
        Ok(Self { fd, address, file })
    }

    /// The address it listens on: with the port the kernel chose, when that was left to it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Starts accepting: `accept` is called with each connection, and usually registers it. A
    /// bounded number is accepted in a turn; accepting pauses while the loop has as many
    /// connections as it may, or descriptors have run out.
    ///
    /// # Errors
    /// What the kernel said to watching the socket.
    pub fn register<A: 'static>(
        self,
        cx: &mut Cx<'_, A>,
        accept: impl FnMut(Accepted, &mut Cx<'_, A>) -> io::Result<()> + 'static,
    ) -> io::Result<Token> {
        let registration =
            Registration::new(Interest::READ).role(Role::Listener).known_nonblocking();
        let acceptor = Acceptor {
            accept,
            address: self.address,
            file: self.file,
            pause: PAUSE_MIN,
            logged: None,
            last_batches: 0,
        };
        cx.register(self.fd, registration, acceptor)
    }
}

/// The file of a Unix socket, removed when it is dropped, unless another has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
    /// The process that made it: what a fork copies does not remove it.
    process: u32,
}

/// Device, number and time of birth, where the file system knows that: a number alone is used
/// again as soon as it is free.
type FileIdentity = (u64, u64, Option<SystemTime>);

fn identity(path: &Path) -> io::Result<FileIdentity> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let process = std::process::id();
        Ok(Self { path: path.to_owned(), identity: identity(path)?, process })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Whose it is must not change between looking and removing.
        let _lock = lock_folder(&self.path);
        let ours = self.process == std::process::id()
            && identity(&self.path).is_ok_and(|identity| identity == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// How long another's start-up is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Holds the folder of a socket file (`flock(2)`) until what is returned is dropped: of several
/// servers that start at once, each decides alone what is left over. A folder that can not be
/// locked, or that somebody else keeps locked, is done without.
fn lock_folder(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // What is no folder is not opened: a FIFO would be waited for.
    let folder = File::options().read(true).custom_flags(libc::O_DIRECTORY).open(folder).ok()?;
    let start = Instant::now();
    loop {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return None,
        }
    }
}

/// Whether something other than a socket has the place of one.
fn is_in_the_way(address: &Address) -> bool {
    let Address::Unix(path) = address else { return false };
    fs::symlink_metadata(path).is_ok_and(|it| !it.file_type().is_socket())
}

/// Removes the file of a Unix socket that nobody listens on. Any other file is left for `bind` to
/// refuse.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    let probe = sys::stream_socket(sys::Endpoint::Unix(path))?;
    match sys::connect(probe.as_fd(), sys::Endpoint::Unix(path)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            info!("removing {}, a socket that nobody listens on", path.display());
            fs::remove_file(path)
        }
        _ => Ok(()),
    }
}

/// Errors of a connection that died while it waited, or never was any good (`accept(2)`).
fn is_of_the_connection(number: i32) -> bool {
    const ERRORS: [i32; 11] = [
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::ENETDOWN,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
        libc::EPERM,
        libc::ETIMEDOUT,
    ];
    ERRORS.contains(&number)
}

struct Acceptor<F> {
    accept: F,
    address: Address,
    file: Option<SocketFile>,
    /// How long the next pause is.
    pause: Duration,
    logged: Option<Instant>,
    /// How many batches have been accepted since the loop began to wind down.
    last_batches: u32,
}

/// What one attempt to accept came to.
enum Attempt {
    Accepted(Accepted),
    /// Nobody waits.
    Empty,
    /// That connection is gone, or was never any good; the next may be.
    Skipped,
    /// The system has run out of something.
    Exhausted(io::Error),
}

impl<F> Acceptor<F> {
    fn attempt<A>(&self, cx: &mut Cx<'_, A>) -> io::Result<Attempt> {
        match cx.try_io("accept", Interest::READ, sys::accept) {
            Ok(Some((fd, peer))) => {
                Ok(Attempt::Accepted(Accepted { fd, peer, sharing: Sharing::Excluded }))
            }
            Ok(None) => Ok(Attempt::Empty),
            Err(error) => match error.raw_os_error() {
                // The listening socket itself is broken.
                Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT) | None => {
                    Err(error)
                }
                Some(number) if is_of_the_connection(number) => {
                    debug!("{}: accept: {error}", self.address);
                    Ok(Attempt::Skipped)
                }
                // Whatever else the system has against it, asking at once again would not help.
                Some(_) => Ok(Attempt::Exhausted(error)),
            },
        }
    }

    /// Logs something, but no more often than is of use.
    fn complain<A>(&mut self, what: &str, error: &io::Error, cx: &Cx<'_, A>) {
        let now = cx.now();
        if self.logged.is_none_or(|logged| now - logged >= LOG_INTERVAL) {
            self.logged = Some(now);
            warn!("{}: {what}: {error}", self.address);
        }
    }

    /// Stops accepting until something is freed, or for a while that doubles (P8).
    fn pause<A>(&mut self, error: &io::Error, cx: &mut Cx<'_, A>) {
        self.complain("accepting pauses", error, cx);
        self.wait_for_room(cx);
        cx.set_timeout(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Leaves further connections in the backlog until something is freed.
    fn wait_for_room<A>(&self, cx: &mut Cx<'_, A>) {
        cx.set_interest(Interest::NONE);
        let me = cx.me;
        if !cx.core.starved.contains(&me) {
            cx.core.starved.push(me);
        }
    }

    /// Accepts as many as may be in a turn.
    fn accept_batch<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        F: FnMut(Accepted, &mut Cx<'_, A>) -> io::Result<()>,
    {
        cx.set_interest(Interest::READ);
        for _ in 0..cx.limits().accepts_per_turn {
            if cx.connections() >= cx.limits().connections_max {
                debug!("{}: {} connections, accepting pauses", self.address, cx.connections());
                self.wait_for_room(cx);
                break;
            }
            match self.attempt(cx)? {
                Attempt::Accepted(accepted) => {
                    self.pause = PAUSE_MIN;
                    cx.core.counters.accepts += 1;
                    // An error of one connection is not the listener's.
                    if let Err(error) = (self.accept)(accepted, cx) {
                        self.complain("a connection was dropped", &error, cx);
                    }
                }
                Attempt::Skipped => {}
                Attempt::Empty => break,
                Attempt::Exhausted(error) => {
                    self.pause(&error, cx);
                    break;
                }
            }
        }
        Ok(())
    }
}

impl<A, F> Handler<A> for Acceptor<F>
where
    F: FnMut(Accepted, &mut Cx<'_, A>) -> io::Result<()>,
{
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<Next> {
        self.accept_batch(cx)?;
        Ok(Next::Continue)
    }

    /// A pause is over.
    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<Next> {
        cx.set_interest(Interest::READ);
        Ok(Next::Continue)
    }

    fn drain(&mut self, cx: &mut Cx<'_, A>) -> io::Result<Next> {
        // Who has been let in by the kernel already may have sent a request: closing now would
        // reset it. A connection that comes meanwhile is one too many, so this ends somewhere.
        let before = cx.core.counters.accepts;
        self.accept_batch(cx)?;
        let accepted = cx.core.counters.accepts - before;
        debug!("{}: {accepted} from the backlog", self.address);
        self.last_batches += 1;
        if accepted == 0 || self.last_batches == BACKLOG_BATCHES {
            return Ok(Next::Close(Reason::Finished));
        }
        // The others of the loop have their turn before the next batch; it does not end until then.
        cx.core.untold.push_back(cx.me);
        Ok(Next::Continue)
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut Cx<'_, A>) {
        // The file goes with the listener.
        drop(self.file);
        info!("no longer listening on {}: {reason}", self.address);
    }

    fn name(&self) -> &'static str {
        "reactor::Listener"
    }
}
