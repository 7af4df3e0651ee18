//! The program of a host.

use std::any::Any;
use std::io;

use crate::Reactor;
use crate::source::table::NEVER;

/// A program, whatever the state of its application.
pub(super) trait Program {
    /// Makes its reactor.
    fn start(&mut self) -> io::Result<()>;
    /// Ends it at once.
    fn end(&mut self);
    /// Turns its loop once.
    fn turn(&mut self) -> io::Result<()>;
    /// Returns how long its next wait lasts without an event, in nanoseconds; `None` if for ever.
    fn waits_for(&self) -> Option<u64>;
    /// Returns whether its loop has ended, or it does not run.
    fn has_ended(&self) -> bool;
    /// Returns a number that grows with everything that its loop gets done.
    fn progress(&self) -> u64;
    fn as_any(&mut self) -> &mut dyn Any;
}

/// A program that was started, with the function that makes its reactor.
pub(super) struct Started<A: 'static> {
    build: Box<dyn FnMut() -> io::Result<Reactor<A>>>,
    pub(super) reactor: Option<Reactor<A>>,
}

impl<A: 'static> Started<A> {
    pub(super) fn new(build: impl FnMut() -> io::Result<Reactor<A>> + 'static) -> Self {
        Self { build: Box::new(build), reactor: None }
    }
}

impl<A: 'static> Program for Started<A> {
    fn start(&mut self) -> io::Result<()> {
        self.reactor = Some((self.build)()?);
        Ok(())
    }

    fn end(&mut self) {
        self.reactor = None;
    }

    fn turn(&mut self) -> io::Result<()> {
        let Some(reactor) = &mut self.reactor else { return Ok(()) };
        reactor.turn(None)?;
        reactor.prepare_host();
        Ok(())
    }

    fn waits_for(&self) -> Option<u64> {
        let core = &self.reactor.as_ref()?.core;
        if !core.arrivals.is_empty() {
            return Some(0);
        }
        let deadline = core.next_deadline().min(core.hooked_until());
        Some(core.timeout(None, deadline)).filter(|time| *time != NEVER)
    }

    fn has_ended(&self) -> bool {
        self.reactor.as_ref().is_none_or(Reactor::has_ended)
    }

    fn progress(&self) -> u64 {
        let Some(reactor) = &self.reactor else { return 0 };
        let counters = reactor.counters();
        let closes: u64 = counters.closes.iter().sum();
        let idle_calls = reactor.core.hooks.as_ref().map_or(0, |hooks| hooks.idle_calls);
        counters.bytes_read
            + counters.bytes_written
            + counters.accepts
            + counters.timers
            + counters.remote_calls
            + counters.registered
            + closes
            + idle_calls
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
