//! The source of a connection until it is established.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use log::debug;

use crate::net::connector::attempt::Outcome;
use crate::net::connector::error::{ConnectError, FailedAttempt};
use crate::net::connector::race::{NEXT, Progress, Race, START};
use crate::net::connector::target::Target;
use crate::source::registration::{ExhaustedBy, MovedBy};
use crate::source::table::NEVER;
use crate::{Address, Cx, Expired, Handler, Interest, LoopCx, Readiness, Reason, Timeout};

/// How a connection is being made.
pub(super) enum Stage {
    /// The source has the socket of the only attempt under way, and there is no other address.
    Single(Single),
    /// Attempts are sources of their own.
    Race(Box<Race>),
}

/// The last attempt to connect.
pub(super) struct Single {
    address: Address,
    start: Instant,
    /// The attempts before it, which have failed.
    earlier: Vec<FailedAttempt>,
    /// The attempt ends with the time for all of them, not with its own.
    is_time_for_all: bool,
}

impl Single {
    /// Returns the only attempt, with `address`.
    pub(super) fn new(address: Address, start: Instant) -> Self {
        Self { address, start, earlier: Vec::new(), is_time_for_all: true }
    }

    /// Returns every attempt, as this one has failed too.
    fn all_failed(&mut self, last: FailedAttempt) -> Vec<FailedAttempt> {
        let mut all = std::mem::take(&mut self.earlier);
        all.push(last);
        all
    }
}

/// Waits until a connection is established, and then replaces itself by the handler of the
/// connection.
pub(super) struct Dialling<H> {
    /// `None` after the replacement.
    pub(super) handler: Option<H>,
    pub(super) target: Target,
    pub(super) stage: Stage,
    pub(super) start: Instant,
    /// The source was woken before the connection was established.
    pub(super) woken: bool,
    /// The interest of the handler, set when the connection is established.
    pub(super) interest: Interest,
    /// The idle limit from then on, in nanoseconds.
    pub(super) idle: u64,
    /// What proves that a descriptor that is not that of TCP is exhausted.
    pub(super) exhausted_by: ExhaustedBy,
    pub(super) moved_by: MovedBy,
}

/// Ends the source of a connection that was not made.
fn end<A>(error: ConnectError, cx: &mut Cx<'_, A>) {
    cx.end(Reason::Failed { operation: "connect", error: error.into() });
}

impl<H> Dialling<H> {
    /// Goes on with a race, as far as it has come.
    fn proceed<A: 'static>(&mut self, progress: Progress, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        H: Handler<A> + 'static,
    {
        let took = cx.now() - self.start;
        match progress {
            Progress::Open => Ok(()),
            Progress::Unresolved(error) => {
                end(ConnectError::of_lookup(self.target.clone(), error, took), cx);
                Ok(())
            }
            Progress::Lost => {
                let failed = match &mut self.stage {
                    Stage::Race(race) => std::mem::take(&mut race.failed),
                    Stage::Single(_) => Vec::new(),
                };
                end(ConnectError::of_attempts(self.target.clone(), failed, took), cx);
                Ok(())
            }
            Progress::Established(address, fd) => {
                if let Stage::Race(race) = &mut self.stage {
                    race.close(cx);
                }
                match self.adopt(&address, fd, self.interest, Readiness::WRITABLE, cx) {
                    Ok(()) => self.hand_over(&address, cx),
                    Err(error) => {
                        self.lose(FailedAttempt::of_error(address, "register", error, took), cx);
                        Ok(())
                    }
                }
            }
            Progress::Last(address, fd) => {
                match self.adopt(&address, fd, Interest::WRITE, Readiness::NONE, cx) {
                    Ok(()) => self.run_alone(address, took, cx),
                    Err(error) => {
                        let took = Duration::ZERO;
                        self.lose(FailedAttempt::of_error(address, "register", error, took), cx);
                    }
                }
                Ok(())
            }
        }
    }

    /// Goes on with the last attempt, whose socket this source has.
    fn run_alone<A>(&mut self, address: Address, took: Duration, cx: &mut Cx<'_, A>) {
        let Stage::Race(race) = &mut self.stage else { return };
        let (timeout, left) =
            (race.options.attempt_timeout, race.options.timeout.saturating_sub(took));
        let is_time_for_all = left <= timeout;
        if !is_time_for_all {
            cx.set_timeout(Some(timeout));
        }
        let (start, earlier) = (cx.now(), std::mem::take(&mut race.failed));
        self.stage = Stage::Single(Single { address, start, earlier, is_time_for_all });
    }

    /// Ends the source, since the last of the attempts has failed.
    fn lose<A>(&mut self, last: FailedAttempt, cx: &mut Cx<'_, A>) {
        let took = cx.now() - self.start;
        let failed = match &mut self.stage {
            Stage::Race(race) => {
                race.failed.push(last);
                std::mem::take(&mut race.failed)
            }
            Stage::Single(single) => single.all_failed(last),
        };
        end(ConnectError::of_attempts(self.target.clone(), failed, took), cx);
    }

    /// Makes the socket of an attempt that of this source.
    fn adopt<A>(
        &self,
        address: &Address,
        fd: OwnedFd,
        interest: Interest,
        ready: Readiness,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<()> {
        let exhausted_by = match address {
            Address::Tcp(_) => ExhaustedBy::ShortRead,
            _ => self.exhausted_by,
        };
        cx.adopt_fd(fd, exhausted_by, interest, ready)
    }

    /// The connection is established: makes the first call of its handler, which replaces this one.
    fn hand_over<A: 'static>(&mut self, address: &Address, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        H: Handler<A> + 'static,
    {
        let Some(handler) = &mut self.handler else { return Ok(()) };
        debug!("{} fd {:?}: connected to {address}", cx.me(), cx.raw_fd());
        cx.core.note_peer(cx.me);
        if self.moved_by == MovedBy::Backend {
            cx.complete()?;
        }
        cx.set_interest(self.interest);
        let (idle, charged) = (self.idle, cx.core.charged.cast_signed());
        cx.core.update_limits(cx.me, |source| {
            (source.deadline, source.idle, source.last_active) = (NEVER, idle, charged);
        });
        cx.woken = self.woken;
        // The handler stays here until this has returned: if it panics, `closed` is still called.
        let result = handler.ready(cx);
        if !cx.is_replaced()
            && let Some(handler) = self.handler.take()
        {
            cx.replace_handler(handler);
        }
        result
    }
}

impl<A: 'static, H: Handler<A> + 'static> Handler<A> for Dialling<H> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.woken |= cx.was_woken();
        let Stage::Single(single) = &self.stage else { return Ok(()) };
        match Outcome::of(&single.address, single.start, cx)? {
            Outcome::Open => Ok(()),
            Outcome::Established => {
                let address = single.address.clone();
                self.hand_over(&address, cx)
            }
            Outcome::Failed(failed) => {
                self.lose(failed, cx);
                Ok(())
            }
        }
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let Stage::Race(race) = &mut self.stage else { return Ok(()) };
        let progress = match timer.key {
            START => race.start(&self.target, cx)?,
            NEXT => race.start_next(cx),
            _ => race.advance(&self.target, cx),
        };
        self.proceed(progress, cx)
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let (target, took) = (self.target.clone(), cx.now() - self.start);
        let error = match &mut self.stage {
            Stage::Race(race) => race.timed_out(target, took, cx),
            Stage::Single(single) => {
                let tried = cx.now() - single.start;
                let last = FailedAttempt::without_answer(single.address.clone(), tried);
                let all = single.all_failed(last);
                match single.is_time_for_all {
                    true => ConnectError::timed_out(target, all, took),
                    false => ConnectError::of_attempts(target, all, took),
                }
            }
        };
        end(error, cx);
        Ok(())
    }

    fn closed(mut self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        if let Stage::Race(race) = &mut self.stage {
            race.close(cx);
        }
        debug!("{}: not connected to {}: {reason}", cx.me(), self.target);
        if let Some(handler) = self.handler {
            Box::new(handler).closed(reason, cx);
        }
    }

    fn name(&self) -> &'static str {
        self.handler.as_ref().map_or("reactor::Connector", |handler| handler.name())
    }
}
