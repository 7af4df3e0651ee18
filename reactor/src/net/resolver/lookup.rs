//! The source that waits for an answer.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::net::resolver::error::{ResolveError, ResolveErrorKind};
use crate::net::resolver::flights::{Answer, Waiter};
use crate::net::resolver::pool::Pool;
use crate::net::resolver::query::Query;
use crate::sim::calls::Simulated;
use crate::{Cx, Handler, LoopCx, Reason, Timeout, kernel};

/// What looks names up: the threads of a pool, or the kernel of a simulated host.
#[derive(Clone)]
pub(super) struct Desk {
    pool: Arc<Pool>,
    simulated: Option<Simulated>,
}

impl Desk {
    /// Returns what looks names up for a program on this thread.
    pub(super) fn new(pool: &Arc<Pool>) -> Self {
        Self { pool: Arc::clone(pool), simulated: kernel::simulated() }
    }

    /// Asks for an answer.
    pub(super) fn join(&self, query: &Query, waiter: Waiter) -> Result<(), ResolveErrorKind> {
        let pool = &self.pool;
        match &self.simulated {
            Some(kernel) => kernel.look_up(pool.number, &pool.options, query, waiter),
            None => pool.join(query, waiter),
        }
    }
}

/// The place of a source that waits for an answer. It is given back when it is dropped.
pub(super) struct Ticket {
    pub(super) desk: Desk,
    pub(super) query: Query,
    pub(super) id: u64,
}

impl Ticket {
    fn error(&self, kind: ResolveErrorKind) -> ResolveError {
        ResolveError::new(self.query.clone(), kind)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Desk { pool, simulated } = &self.desk;
        match simulated {
            Some(kernel) => kernel.stop_looking_up(pool.number, &self.query, self.id),
            None => pool.leave(&self.query, self.id),
        }
    }
}

/// Waits for an answer, and hands it to a closure.
pub(super) struct Lookup<F> {
    pub(super) ticket: Ticket,
    pub(super) answers: Receiver<Answer>,
    /// `None` after it was called.
    pub(super) call: Option<F>,
    pub(super) timeout: Duration,
}

impl<F> Lookup<F> {
    fn finish<A>(&mut self, answer: Answer, cx: &mut Cx<'_, A>)
    where
        F: FnOnce(Answer, &mut LoopCx<'_, A>),
    {
        if let Some(call) = self.call.take() {
            call(answer, &mut cx.outside());
        }
        cx.end(Reason::Finished);
    }
}

impl<A, F: FnOnce(Answer, &mut LoopCx<'_, A>)> Handler<A> for Lookup<F> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        if let Ok(answer) = self.answers.try_recv() {
            self.finish(answer, cx);
        }
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let late = || Err(self.ticket.error(ResolveErrorKind::TimedOut(self.timeout)));
        let answer = self.answers.try_recv().unwrap_or_else(|_| late());
        self.finish(answer, cx);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, A>) {
        if let Some(call) = self.call {
            call(Err(self.ticket.error(ResolveErrorKind::Cancelled)), cx);
        }
    }

    fn name(&self) -> &'static str {
        "reactor::Resolver"
    }
}
