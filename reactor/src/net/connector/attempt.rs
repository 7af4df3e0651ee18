//! One of several attempts to connect, as a source of its own.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use crate::net::connector::error::{ConnectErrorKind, FailedAttempt};
use crate::net::connector::local_ports;
use crate::planted::{self, Planted};
use crate::{
    Address, Cx, Handler, Readiness, Reason, ResolveError, Resolved, Timeout, Token, kernel,
};

/// The key of the timer with which a race is told that there are events.
pub(super) const EVENTS: u64 = 1;

/// What a race is told.
pub(super) enum Event {
    Resolved(Result<Arc<Resolved>, ResolveError>),
    Established { attempt: Token, fd: OwnedFd },
    Failed { attempt: Token, failed: FailedAttempt },
}

/// Where a race is told its events. It is called by a timer, since a wake would look like one of the
/// program.
#[derive(Clone)]
pub(super) struct Board {
    pub(super) race: Token,
    pub(super) events: Sender<Event>,
    /// A timer is armed. There is never a second one, which would fire for the next handler.
    pub(super) is_notified: Rc<Cell<bool>>,
}

impl Board {
    pub(super) fn tell<A, P>(&self, event: Event, cx: &mut Cx<'_, A, P>) {
        if self.events.send(event).is_ok() && !self.is_notified.replace(true) {
            let (race, now) = (self.race.tag_in(cx.core.home), cx.core.ticks);
            cx.core.set_timer(race, now, 0, EVENTS);
        }
    }
}

/// What became of a socket that was connecting.
pub(super) enum Outcome {
    /// The kernel has not reported anything.
    Open,
    Established,
    Failed(FailedAttempt),
}

impl Outcome {
    /// Asks the kernel what became of the socket of the source that is being called.
    pub(super) fn of<A>(address: &Address, start: Instant, cx: &mut Cx<'_, A>) -> io::Result<Self> {
        if !cx.readiness().intersects(Readiness::WRITABLE | Readiness::ERROR) {
            return Ok(Self::Open);
        }
        if planted::is(Planted::ConnectAssumed) {
            return Ok(Self::Established);
        }
        let took = cx.now() - start;
        if let Some(error) = cx.take_error()? {
            let failed = FailedAttempt::of_error(address.clone(), "connect", error, took);
            return Ok(Self::Failed(failed));
        }
        if is_own_peer(address, cx)? {
            return Ok(Self::Failed(FailedAttempt {
                address: address.clone(),
                operation: "connect",
                kind: ConnectErrorKind::SelfConnect,
                error: None,
                took,
            }));
        }
        Ok(Self::Established)
    }
}

/// Returns whether the kernel has connected the socket of this source to itself. That happens if
/// nothing listens at a port of this host that is also one for clients (`tcp(7)` allows simultaneous
/// opens). Other ports cost no system call.
fn is_own_peer<A>(address: &Address, cx: &Cx<'_, A>) -> io::Result<bool> {
    let Address::Tcp(peer) = address else { return Ok(false) };
    let Some(fd) = &cx.core.lent.own.fd else { return Ok(false) };
    if !local_ports().contains(&peer.port()) {
        return Ok(false);
    }
    let own = kernel::local_address(fd.as_fd())?;
    let is_own = |ip| ip == peer.ip() || peer.ip().is_unspecified();
    let is_own = own.is_some_and(|own| own.port() == peer.port() && is_own(own.ip()));
    if is_own {
        // Otherwise, its port would be taken for a minute.
        kernel::reset_on_close(fd.as_fd())?;
    }
    Ok(is_own)
}

/// Waits until a socket is connected, and hands it to a race.
pub(super) struct Attempt {
    pub(super) address: Address,
    pub(super) start: Instant,
    pub(super) board: Board,
}

impl Attempt {
    fn fail<A>(&self, failed: FailedAttempt, cx: &mut Cx<'_, A>) {
        self.board.tell(Event::Failed { attempt: cx.me(), failed }, cx);
        cx.end(Reason::Finished);
    }
}

impl<A> Handler<A> for Attempt {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let outcome = Outcome::of(&self.address, self.start, cx);
        let handed = outcome.and_then(|outcome| match outcome {
            Outcome::Open => Ok(()),
            Outcome::Failed(failed) => {
                self.fail(failed, cx);
                Ok(())
            }
            Outcome::Established => {
                let Some(fd) = cx.take_fd()? else { return Ok(()) };
                self.board.tell(Event::Established { attempt: cx.me(), fd }, cx);
                cx.end(Reason::Finished);
                Ok(())
            }
        });
        if let Err(error) = handed {
            let took = cx.now() - self.start;
            let failed = FailedAttempt::of_error(self.address.clone(), "register", error, took);
            self.fail(failed, cx);
        }
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let took = cx.now() - self.start;
        self.fail(FailedAttempt::without_answer(self.address.clone(), took), cx);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "reactor::Connector"
    }
}
