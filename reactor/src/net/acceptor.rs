//! The acceptor: takes in connections, as many and as fast as may be, and says when it does not.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use log::{debug, info, warn};

use crate::net::socket_file::SocketFile;
use crate::reactor::backoff::{Backoff, Folding, LOG_INTERVAL};
use crate::source::handler::exhaustion;
use crate::source::registration::Sharing;
use crate::{Address, Cx, Handler, Interest, LoopCx, Readiness, Reason, Timeout, sys};

/// How many connections in a row may be no good before that is held to be the system's doing.
const SKIPS_MAX: usize = 16;
/// How many batches are accepted of those who wait when the loop winds down, one a context.
const BACKLOG_BATCHES: u32 = 64;

/// A connection that was accepted: a stream socket, non-blocking.
#[derive(Debug)]
pub struct Accepted {
    pub(crate) fd: OwnedFd,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) sharing: Sharing,
}

impl Accepted {
    /// A connection that another program accepted: inetd, systemd, or the standard library. It is
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
pub(crate) struct Acceptor<F> {
    accept: F,
    address: Address,
    file: Option<Arc<SocketFile>>,
    pauses: Backoff,
    /// How many connections in a row were no good.
    skips: usize,
    /// What is said of connections that were dropped, and of the limit of connections.
    drops: Folding,
    limits: Folding,
    full: Option<Full>,
    /// How many batches have been accepted since the loop began to wind down.
    last_batches: u32,
}

/// There are as many connections as may be.
#[derive(Clone, Copy)]
struct Full {
    since: Instant,
    /// It was said, so that its end will be.
    is_said: bool,
}

/// What one attempt to accept came to.
enum Attempt {
    Accepted(Accepted),
    /// None waits.
    Empty,
    /// That connection is gone, or was never any good; the next may be.
    Skipped(io::Error),
    /// The system has run out of something.
    Exhausted(io::Error),
}

impl<F> Acceptor<F> {
    pub(crate) fn new(accept: F, address: Address, file: Option<Arc<SocketFile>>) -> Self {
        Self {
            accept,
            address,
            file,
            pauses: Backoff::default(),
            skips: 0,
            drops: Folding::default(),
            limits: Folding::default(),
            full: None,
            last_batches: 0,
        }
    }

    fn attempt<A>(&self, cx: &mut Cx<'_, A>) -> io::Result<Attempt> {
        match cx.try_io("accept", Interest::READ, |fd| sys::accept(fd).map(Some)) {
            Ok(Some((fd, peer))) => {
                Ok(Attempt::Accepted(Accepted { fd, peer, sharing: Sharing::Excluded }))
            }
            Ok(None) => Ok(Attempt::Empty),
            Err(error) => match error.raw_os_error() {
                // What a socket says that listens no more.
                Some(libc::EINVAL) => Err(listens_no_more()),
                // The listening socket itself is broken.
                Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT) | None => Err(error),
                Some(number) if is_of_the_connection(number) => Ok(Attempt::Skipped(error)),
                // Whatever else the system has against it, asking at once again would not help.
                Some(_) => Ok(Attempt::Exhausted(error)),
            },
        }
    }

    /// Stops accepting until something is freed, or for a while that doubles (P8).
    fn pause<A>(&mut self, error: &io::Error, cx: &mut Cx<'_, A>) {
        if let Some(folded) = self.pauses.log.admit(cx.now()) {
            let hint = exhaustion(error).map(|hint| format!(": {hint}")).unwrap_or_default();
            warn!("{}: accepting pauses: {error}{hint}{folded}", self.address);
        }
        self.wait_for_room(cx);
        cx.set_timeout(Some(self.pauses.next_pause()));
    }

    /// Leaves further connections in the backlog until something is freed.
    fn wait_for_room<A>(&self, cx: &mut Cx<'_, A>) {
        cx.set_interest(Interest::NONE);
        let me = cx.me;
        if !cx.core.starved.contains(&me) {
            cx.core.starved.push(me);
        }
    }

    /// Says that there are as many connections as may be: once, until that has been over.
    fn say_full<A>(&mut self, cx: &mut Cx<'_, A>) {
        let now = cx.now();
        let full = self.full.get_or_insert(Full { since: now, is_said: false });
        if full.is_said {
            return;
        }
        let Some(folded) = self.limits.admit(now) else {
            // If it lasts, it is said then.
            cx.set_timeout(Some(LOG_INTERVAL));
            return;
        };
        full.is_said = true;
        warn!(
            "{}: there are {} connections, as many as may be held: further peers wait until one \
             ends{folded}",
            self.address,
            cx.connections()
        );
    }

    /// Says that none waits any more of those whom the limit of connections kept waiting.
    fn say_room<A>(&mut self, cx: &Cx<'_, A>) {
        if let Some(Full { since, is_said: true }) = self.full.take() {
            let time = cx.now() - since;
            info!("{}: no peer waits any more, after {time:.1?} at the limit", self.address);
        }
    }

    /// Accepts as many as may be in a context.
    fn accept_batch<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        F: FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()>,
    {
        cx.set_interest(Interest::READ);
        for _ in 0..cx.limits().accepts_per_turn {
            if cx.connections() >= cx.limits().connections_max {
                self.say_full(cx);
                self.wait_for_room(cx);
                break;
            }
            match self.attempt(cx)? {
                Attempt::Accepted(accepted) => {
                    self.pauses.reset();
                    self.skips = 0;
                    cx.core.counters.accepts += 1;
                    debug!(
                        "{}: accepted {} as fd {}",
                        self.address,
                        accepted
                            .peer
                            .map_or_else(|| "a local peer".to_owned(), |it| it.to_string()),
                        accepted.fd.as_raw_fd()
                    );
                    self.take_in(accepted, cx);
                }
                Attempt::Skipped(error) => {
                    debug!("{}: accept: {error}", self.address);
                    cx.core.counters.refused += 1;
                    self.skips += 1;
                    // Where each one is no good, and is not taken off the backlog, there is no end.
                    if self.skips == SKIPS_MAX {
                        self.skips = 0;
                        self.pause(&error, cx);
                        break;
                    }
                }
                Attempt::Empty => {
                    self.skips = 0;
                    self.say_room(cx);
                    break;
                }
                Attempt::Exhausted(error) => {
                    self.pause(&error, cx);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Gives a connection to the application. An error of one connection is not the listener's.
    fn take_in<A>(&mut self, accepted: Accepted, cx: &mut Cx<'_, A>)
    where
        F: FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()>,
    {
        let Err(error) = (self.accept)(accepted, &mut cx.outside()) else { return };
        cx.core.counters.refused += 1;
        if let Some(folded) = self.drops.admit(cx.now()) {
            warn!("{}: a connection was dropped: {error}{folded}", self.address);
        }
    }
}

/// What becomes of a listening socket that is shut down, or closed from outside.
fn listens_no_more() -> io::Error {
    let text = "the socket listens no more: it was shut down, or closed from outside (ss -K)";
    io::Error::new(io::ErrorKind::NotConnected, text)
}

impl<A, F> Handler<A> for Acceptor<F>
where
    F: FnMut(Accepted, &mut LoopCx<'_, A>) -> io::Result<()>,
{
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // Where there is no room, accepting would not tell.
        if cx.readiness().intersects(Readiness::ERROR | Readiness::WRITE_CLOSED)
            && cx.try_io("accept", Interest::NONE, |fd| sys::is_listening(fd).map(Some))?
                == Some(false)
        {
            cx.failed = Some("accept");
            return Err(listens_no_more());
        }
        self.accept_batch(cx)?;
        Ok(())
    }

    /// A pause is over.
    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        cx.set_interest(Interest::READ);
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // Who has been let in by the kernel already may have sent a request: closing now would
        // reset it. A connection that comes meanwhile is one too many, so this ends somewhere.
        let before = cx.core.counters.accepts;
        self.accept_batch(cx)?;
        let accepted = cx.core.counters.accepts - before;
        debug!("{}: {accepted} from the backlog", self.address);
        self.last_batches += 1;
        if accepted == 0 || self.last_batches == BACKLOG_BATCHES {
            cx.end(Reason::Finished);
            return Ok(());
        }
        // The others of the loop have their turn before the next batch; it does not end until then.
        cx.core.to_notify.push_back(cx.me);
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_, A>) {
        // The file goes with the last listener.
        drop(self.file);
        match reason {
            Reason::Failed { .. } => warn!("no longer listening on {}: {reason}", self.address),
            _ => info!("no longer listening on {}: {reason}", self.address),
        }
    }

    fn name(&self) -> &'static str {
        "reactor::Listener"
    }
}
