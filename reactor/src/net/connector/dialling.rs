//! The source of a connection until it is established.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use log::debug;

use crate::net::connector::attempt::Outcome;
use crate::net::connector::error::{ConnectError, FailedAttempt};
use crate::net::connector::race::{NEXT, Progress, Race, START};
use crate::net::connector::target::Target;
use crate::source::registration::ExhaustedBy;
use crate::source::table::NEVER;
use crate::{Address, Cx, Expired, Handler, Interest, LoopCx, Reason, Timeout};

/// How a connection is being made.
pub(super) enum Stage {
    /// The source has the socket of the only address.
    Single(Address),
    /// Attempts are sources of their own.
    Race(Box<Race>),
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
                end(self.lost(took), cx);
                Ok(())
            }
            Progress::Established(address, fd) => {
                if let Stage::Race(race) = &mut self.stage {
                    race.close(cx);
                }
                if let Err(error) = self.adopt(&address, fd, cx) {
                    let failed = FailedAttempt::of_error(address, "register", error, took);
                    end(ConnectError::of_attempts(self.target.clone(), vec![failed], took), cx);
                    return Ok(());
                }
                self.hand_over(&address, cx)
            }
        }
    }

    /// Returns the error of a race in which every attempt has failed.
    fn lost(&mut self, took: std::time::Duration) -> ConnectError {
        let failed = match &mut self.stage {
            Stage::Race(race) => std::mem::take(&mut race.failed),
            Stage::Single(_) => Vec::new(),
        };
        ConnectError::of_attempts(self.target.clone(), failed, took)
    }

    /// Makes the socket of the winner that of this source.
    fn adopt<A>(&self, address: &Address, fd: OwnedFd, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let exhausted_by = match address {
            Address::Tcp(_) => ExhaustedBy::ShortRead,
            _ => self.exhausted_by,
        };
        cx.adopt_fd(fd, exhausted_by, self.interest)
    }

    /// The connection is established: makes the first call of its handler, which replaces this one.
    fn hand_over<A: 'static>(&mut self, address: &Address, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        H: Handler<A> + 'static,
    {
        let Some(handler) = &mut self.handler else { return Ok(()) };
        debug!("{} fd {:?}: connected to {address}", cx.me(), cx.raw_fd());
        cx.core.note_peer(cx.me);
        cx.set_interest(self.interest);
        let (idle, charged) = (self.idle, cx.core.charged);
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
        let Stage::Single(address) = &self.stage else { return Ok(()) };
        match Outcome::of(address, self.start, cx)? {
            Outcome::Open => Ok(()),
            Outcome::Established => {
                let address = address.clone();
                self.hand_over(&address, cx)
            }
            Outcome::Failed(failed) => {
                let took = failed.took;
                end(ConnectError::of_attempts(self.target.clone(), vec![failed], took), cx);
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
        let took = cx.now() - self.start;
        let failed = match &mut self.stage {
            Stage::Single(address) => vec![FailedAttempt::without_answer(address.clone(), took)],
            Stage::Race(race) => {
                race.give_up(cx);
                std::mem::take(&mut race.failed)
            }
        };
        end(ConnectError::timed_out(self.target.clone(), failed, took), cx);
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
