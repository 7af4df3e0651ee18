//! The acceptor: the handler of a listener. It accepts connections up to the limits, and logs when
//! it stops accepting.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use log::{debug, info, warn};

use crate::net::socket_file::SocketFile;
use crate::net::taking::{Drops, Room, Shortage, Takes};
use crate::planted::{self, Planted};
use crate::reactor::backoff::{Backoff, Folding, LOG_INTERVAL};
use crate::source::handler::exhaustion;
use crate::source::registration::Sharing;
use crate::{Address, Cx, Handler, Interest, LoopCx, Readiness, Reason, Timeout, kernel};

/// How many connections in a row may fail. After that, the cause is taken to be the system, and
/// accepting pauses.
const SKIPS_MAX: usize = 16;
/// How many batches are accepted from the backlog while the loop winds down, one a turn.
const BACKLOG_BATCHES: u32 = 64;

/// An accepted connection: a non-blocking stream socket.
#[derive(Debug)]
pub struct Accepted {
    pub(crate) fd: OwnedFd,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) sharing: Sharing,
}

impl Accepted {
    /// Takes over a connection that was accepted elsewhere: by inetd, systemd or the standard
    /// library. The socket is made non-blocking.
    ///
    /// # Errors
    /// When it is not a stream socket, or is not connected.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        if kernel::sends_messages(fd.as_fd()) {
            let text = "not a stream socket: it sends messages";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let peer = kernel::remote_address(fd.as_fd())?;
        kernel::set_nonblocking(fd.as_fd())?;
        Ok(Self { fd, peer, sharing: Sharing::Possible })
    }

    /// Returns the address of the peer, or `None` for a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Returns the socket, for a handler that uses it directly.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

/// Returns whether an error of `accept(2)` concerns only the connection that was to be accepted,
/// which failed while it waited.
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

/// Accepts the connections of a listening socket and passes them to `accept`.
pub(crate) struct Acceptor<F> {
    accept: F,
    address: Address,
    file: Option<Arc<SocketFile>>,
    pauses: Backoff,
    /// How many connections in a row have failed.
    skips: usize,
    drops: Drops,
    /// Limits how often the limit of connections is logged.
    limits: Folding,
    full: Option<Full>,
    /// How many batches have been accepted since the loop began to wind down.
    last_batches: u32,
    /// Whether the loop is one of several that accept from the socket.
    sharing: Sharing,
}

/// The limit of connections has been reached.
#[derive(Clone, Copy)]
struct Full {
    since: Instant,
    /// It has been logged, so its end will be logged too.
    is_logged: bool,
}

/// The result of one attempt to accept.
enum Attempt {
    Accepted(Accepted),
    /// No connection waits.
    Empty,
    /// That connection has failed; the next may succeed.
    Skipped(io::Error),
    /// The system has run out of something.
    Exhausted(io::Error),
}

impl<F> Acceptor<F> {
    pub(crate) fn new(
        accept: F,
        address: Address,
        file: Option<Arc<SocketFile>>,
        sharing: Sharing,
    ) -> Self {
        Self {
            accept,
            address,
            file,
            pauses: Backoff::default(),
            skips: 0,
            drops: Drops::default(),
            limits: Folding::default(),
            full: None,
            last_batches: 0,
            sharing,
        }
    }

    fn attempt<A>(&self, cx: &mut Cx<'_, A>) -> io::Result<Attempt> {
        match cx.try_io("accept", Interest::READ, |fd| kernel::accept(fd).map(Some)) {
            Ok(Some((fd, peer))) => {
                Ok(Attempt::Accepted(Accepted { fd, peer, sharing: Sharing::Excluded }))
            }
            Ok(None) => Ok(Attempt::Empty),
            Err(error) => match error.raw_os_error() {
                // The socket no longer listens.
                Some(libc::EINVAL) => Err(no_longer_listens()),
                // The listening socket itself is broken.
                Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT) | None => Err(error),
                Some(number) if is_of_the_connection(number) => Ok(Attempt::Skipped(error)),
                // An immediate retry would not help against any other error.
                Some(_) => Ok(Attempt::Exhausted(error)),
            },
        }
    }

    /// Stops accepting until a source ends, or for a time that doubles with each failure (P8).
    fn pause<A>(&mut self, error: &io::Error, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        F: Takes<A>,
    {
        if let Some(folded) = self.pauses.log.admit(cx.now()) {
            let hint = exhaustion(error).map(|hint| format!(": {hint}")).unwrap_or_default();
            warn!("{}: accepting pauses: {error}{hint}{folded}", self.address);
        }
        if planted::is(Planted::AcceptSpins) {
            return Ok(());
        }
        cx.set_timeout(Some(self.pauses.next_pause()));
        self.wait_for_room(Shortage::System, cx)
    }

    /// Leaves further connections in the backlog until a source, or a handshake, ends.
    ///
    /// # Errors
    /// The error of the backend.
    fn wait_for_room<A>(&mut self, shortage: Shortage, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        F: Takes<A>,
    {
        cx.set_interest(Interest::NONE);
        if self.sharing == Sharing::Competing {
            // Otherwise the kernel could wake this loop for a connection that another one has room
            // for.
            cx.set_watched(false)?;
        }
        let me = cx.me;
        if !cx.core.starved.contains(&me) && !planted::is(Planted::RoomUnannounced) {
            cx.core.starved.push(me);
        }
        let listener = cx.me();
        self.accept.await_room(listener, shortage, &mut cx.outside());
        Ok(())
    }

    /// Accepts connections again.
    ///
    /// # Errors
    /// The error of the backend.
    fn resume<A>(&self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        cx.set_interest(Interest::READ);
        match self.sharing {
            Sharing::Competing => cx.set_watched(true),
            Sharing::Possible | Sharing::Excluded => Ok(()),
        }
    }

    /// Logs that the limit of connections has been reached, and not again until the backlog is
    /// empty.
    fn log_full<A>(&mut self, connections: usize, cx: &mut Cx<'_, A>) {
        let now = cx.now();
        let full = self.full.get_or_insert(Full { since: now, is_logged: false });
        if full.is_logged {
            return;
        }
        let Some(folded) = self.limits.admit(now) else {
            // If it lasts until then, it is logged then.
            cx.set_timeout(Some(LOG_INTERVAL));
            return;
        };
        full.is_logged = true;
        warn!(
            "{}: there are {connections} connections, which is the limit: new connections wait in the \
             backlog until one ends{folded}",
            self.address
        );
    }

    /// Logs that the backlog is empty, if the limit was logged before.
    fn log_room<A>(&mut self, cx: &Cx<'_, A>) {
        if let Some(Full { since, is_logged: true }) = self.full.take() {
            let time = cx.now() - since;
            info!(
                "{}: the backlog is empty after {time:.1?} at the limit of connections",
                self.address
            );
        }
    }

    /// Accepts connections until none waits, or a limit is reached: of connections, or of accepts
    /// in a turn.
    fn accept_batch<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        F: Takes<A>,
    {
        self.resume(cx)?;
        let result = self.accept_some(cx);
        self.accept.end_batch();
        result
    }

    fn accept_some<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        F: Takes<A>,
    {
        let is_bounded = !planted::is(Planted::AcceptsUnbounded);
        let most = if is_bounded { cx.limits().accepts_per_turn } else { usize::MAX };
        for _ in 0..most {
            match self.accept.room(&cx.outside()) {
                Room::Free => {}
                Room::Full(connections) => {
                    self.log_full(connections, cx);
                    return self.wait_for_room(Shortage::Room, cx);
                }
                Room::Handshakes(count) => {
                    debug!("{}: {count} handshakes go on, and are waited for", self.address);
                    return self.wait_for_room(Shortage::Room, cx);
                }
            }
            match self.attempt(cx)? {
                Attempt::Accepted(accepted) => {
                    self.pauses.reset();
                    self.skips = 0;
                    cx.core.counters.accepts += 1;
                    debug!(
                        "{}: accepted {} as fd {}",
                        self.address,
                        peer_name(accepted.peer),
                        accepted.fd.as_raw_fd()
                    );
                    self.take_in(accepted, cx);
                }
                Attempt::Skipped(error) => {
                    debug!("{}: accept: {error}", self.address);
                    cx.core.counters.refused += 1;
                    self.skips += 1;
                    // A failed connection may stay in the backlog, and then this would never end.
                    if self.skips == SKIPS_MAX {
                        self.skips = 0;
                        return self.pause(&error, cx);
                    }
                }
                Attempt::Empty => {
                    self.skips = 0;
                    self.log_room(cx);
                    break;
                }
                Attempt::Exhausted(error) => return self.pause(&error, cx),
            }
        }
        Ok(())
    }

    /// Passes a connection to the application. Its error ends that connection, not the listener.
    fn take_in<A>(&mut self, accepted: Accepted, cx: &mut Cx<'_, A>)
    where
        F: Takes<A>,
    {
        let peer = accepted.peer;
        if let Err(error) = self.accept.take(accepted, &mut cx.outside()) {
            self.drops.note(&self.address, peer, &error, cx);
        }
    }
}

/// Returns how log lines name a peer: by its address, if it has one.
pub(crate) fn peer_name(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "a local peer".to_owned(), |it| it.to_string())
}

/// Returns the error of a listening socket that was shut down, or closed from outside.
fn no_longer_listens() -> io::Error {
    let text = "the socket no longer listens: it was shut down, or closed from outside (ss -K)";
    io::Error::new(io::ErrorKind::NotConnected, text)
}

impl<A, F: Takes<A>> Handler<A> for Acceptor<F> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // At the limit of connections nothing is accepted, so that would not show it.
        if cx.readiness().intersects(Readiness::ERROR | Readiness::WRITE_CLOSED)
            && cx.try_io("accept", Interest::NONE, |fd| kernel::is_listening(fd).map(Some))?
                == Some(false)
        {
            cx.failed = Some("accept");
            return Err(no_longer_listens());
        }
        self.accept_batch(cx)
    }

    /// Ends a pause.
    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        if planted::is(Planted::AcceptStaysPaused) { Ok(()) } else { self.resume(cx) }
    }

    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // Closing the socket would reset the connections in the backlog, which may have sent
        // requests. New ones may arrive all the time, so the number of batches has a limit.
        let before = cx.core.counters.accepts;
        self.accept_batch(cx)?;
        let accepted = cx.core.counters.accepts - before;
        debug!("{}: {accepted} from the backlog", self.address);
        self.last_batches += 1;
        if accepted == 0 || self.last_batches == BACKLOG_BATCHES {
            cx.end(Reason::Finished);
            return Ok(());
        }
        // The next batch is accepted in the next turn, after the other sources.
        cx.core.to_notify.push_back(cx.me);
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_, A>) {
        if let (Reason::HandedOver, Some(file)) = (&reason, &self.file) {
            file.set_left(true);
        }
        // The last listener removes the file.
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
