//! Several attempts to connect, one after another and at once (RFC 8305).

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use log::debug;

use crate::net::connector::attempt::{Attempt, Board, Event};
use crate::net::connector::error::{ConnectError, FailedAttempt};
use crate::net::connector::target::{Target, interleaved};
use crate::planted::{self, Planted};
use crate::source::registration::Sharing;
use crate::sys::Connecting;
use crate::{
    Address, ConnectOptions, Cx, Interest, Location, LoopCx, Query, Readiness, Registration,
    ResolveError, ResolveErrorKind, TimerId, Token,
};

/// The key of the timer that starts the race.
pub(super) const START: u64 = 2;
/// The key of the timer that starts the next attempt.
pub(super) const NEXT: u64 = 3;

/// How a race stands.
pub(super) enum Progress {
    Open,
    Established(Address, OwnedFd),
    /// The last address has a socket that connects, and no other attempt is under way.
    Last(Address, OwnedFd),
    /// Every attempt has failed.
    Lost,
    Unresolved(ResolveError),
}

/// An attempt under way.
struct Running {
    token: Token,
    address: Address,
    start: Instant,
}

/// Several attempts to connect. The first that succeeds wins, and the others are closed.
pub(super) struct Race {
    pub(super) options: ConnectOptions,
    board: Board,
    events: Receiver<Event>,
    /// The addresses that were not tried yet, in order.
    waiting: VecDeque<Address>,
    running: Vec<Running>,
    lookup: Option<(Token, Query)>,
    /// The timer for the next attempt.
    next: Option<TimerId>,
    pub(super) failed: Vec<FailedAttempt>,
}

impl Race {
    pub(super) fn new(options: ConnectOptions) -> Self {
        let (sender, events) = channel();
        let is_notified = Rc::new(Cell::new(false));
        let board = Board { race: Token::NONE, events: sender, is_notified };
        Self {
            options,
            board,
            events,
            waiting: VecDeque::new(),
            running: Vec::new(),
            lookup: None,
            next: None,
            failed: Vec::new(),
        }
    }

    /// Resolves the target, or begins with its first address.
    pub(super) fn start<A: 'static>(
        &mut self,
        target: &Target,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<Progress> {
        self.board.race = cx.me();
        match target {
            Target::Addresses(addresses) => self.waiting.extend(addresses.iter().cloned()),
            Target::Location(Location::Address(address)) => self.waiting.push_back(address.clone()),
            Target::Location(Location::Host { name, service, transport }) => {
                let board = self.board.clone();
                let query = transport.query(name, service);
                let done = move |answer, cx: &mut LoopCx<'_, A>| {
                    board.tell(Event::Resolved(answer), cx);
                };
                let lookup = self.options.resolver_or_shared().resolve(query.clone(), cx, done)?;
                self.lookup = Some((lookup, query));
                return Ok(Progress::Open);
            }
        }
        Ok(self.start_next(cx))
    }

    /// Handles what attempts and the resolver have told.
    pub(super) fn advance<A: 'static>(&mut self, target: &Target, cx: &mut Cx<'_, A>) -> Progress {
        self.board.is_notified.set(false);
        let mut goes_on = false;
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Resolved(Err(error)) => return Progress::Unresolved(error),
                Event::Resolved(Ok(found)) => {
                    self.lookup = None;
                    let ordered = interleaved(&found.addresses());
                    debug!("{}: {target} has {} addresses", cx.me(), ordered.len());
                    self.waiting.extend(ordered.into_iter().map(Address::Tcp));
                    goes_on = true;
                }
                Event::Established { attempt, fd } => {
                    if let Some(address) = self.forget(attempt) {
                        return Progress::Established(address, fd);
                    }
                }
                Event::Failed { attempt, failed } => {
                    self.forget(attempt);
                    if !planted::is(Planted::AttemptsForgotten) {
                        self.failed.push(failed);
                    }
                    goes_on |= self.waiting.is_empty() || !planted::is(Planted::FailureWaits);
                }
            }
        }
        if goes_on { self.start_next(cx) } else { Progress::Open }
    }

    fn forget(&mut self, attempt: Token) -> Option<Address> {
        let place = self.running.iter().position(|running| running.token == attempt)?;
        Some(self.running.swap_remove(place).address)
    }

    /// Starts the next attempt, and the timer for the one after it.
    pub(super) fn start_next<A: 'static>(&mut self, cx: &mut Cx<'_, A>) -> Progress {
        self.stop_timer(cx);
        while let Some(address) = self.waiting.pop_front() {
            let start = cx.now();
            match self.options.begin(&address) {
                Ok((fd, Connecting::Done)) if !matches!(address, Address::Tcp(_)) => {
                    return Progress::Established(address, fd);
                }
                Ok((fd, _)) if self.waiting.is_empty() && self.running.is_empty() => {
                    return Progress::Last(address, fd);
                }
                Ok((fd, _)) => match self.watch(&address, fd, start, cx) {
                    Ok(token) => {
                        self.running.push(Running { token, address, start });
                        if !self.waiting.is_empty() {
                            self.next = Some(cx.set_timer(self.options.attempt_delay, None, NEXT));
                        }
                        return Progress::Open;
                    }
                    Err(error) => self.fail(address, "register", error, start, cx),
                },
                Err((operation, error)) => self.fail(address, operation, error, start, cx),
            }
        }
        if self.running.is_empty() { Progress::Lost } else { Progress::Open }
    }

    fn fail<A>(
        &mut self,
        address: Address,
        operation: &'static str,
        error: io::Error,
        start: Instant,
        cx: &Cx<'_, A>,
    ) {
        let took = cx.now() - start;
        self.failed.push(FailedAttempt::of_error(address, operation, error, took));
    }

    /// Registers an attempt as a source of its own.
    fn watch<A: 'static>(
        &self,
        address: &Address,
        fd: OwnedFd,
        start: Instant,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<Token> {
        let quiet = Registration::new(Interest::WRITE).known_nonblocking().idle_timeout(None);
        let registration =
            Registration { assumed: Readiness::NONE, sharing: Sharing::Excluded, ..quiet };
        let attempt = Attempt { address: address.clone(), start, board: self.board.clone() };
        let token = cx.register(fd, registration, attempt)?;
        cx.set_timeout_of(token, self.options.attempt_timeout);
        Ok(token)
    }

    fn stop_timer<A, P>(&mut self, cx: &mut Cx<'_, A, P>) {
        if let Some(timer) = self.next.take() {
            cx.cancel_timer(timer);
        }
    }

    /// Returns the error for a race that has used up its time.
    pub(super) fn timed_out<A>(
        &mut self,
        target: Target,
        took: Duration,
        cx: &Cx<'_, A>,
    ) -> ConnectError {
        if let Some((_, query)) = &self.lookup {
            let kind = ResolveErrorKind::TimedOut(self.options.timeout);
            return ConnectError::of_lookup(target, ResolveError::new(query.clone(), kind), took);
        }
        let now = cx.now();
        let mut failed = std::mem::take(&mut self.failed);
        failed.extend(self.running.iter().map(|running| {
            FailedAttempt::without_answer(running.address.clone(), now - running.start)
        }));
        ConnectError::timed_out(target, failed, took)
    }

    /// Closes everything that is under way.
    pub(super) fn close<A, P>(&mut self, cx: &mut Cx<'_, A, P>) {
        self.stop_timer(cx);
        for running in self.running.drain(..) {
            if !planted::is(Planted::LosersKept) {
                cx.close(running.token);
            }
        }
        if let Some((lookup, _)) = self.lookup.take() {
            cx.close(lookup);
        }
    }
}
