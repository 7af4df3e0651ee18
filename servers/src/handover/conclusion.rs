//! How an attempt to hand over ends, and what waits for that.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use log::{error, info, warn};
use reactor::{LoopCx, Token};

use super::attempt::Stage;
use super::old::{Handover, Progress};
use crate::run::STOP_TIMEOUT;

/// How long connections that stay may go on, before the old program ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(300);

/// What waits for the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Postponed {
    /// A graceful stop.
    Stop,
    /// The start of a new program.
    Start,
}

impl<B: 'static> Handover<B> {
    /// Notes that connections of the program that this one replaces are coming.
    pub(super) fn arrivals_begin(&self) {
        self.is_arriving.set(true);
    }

    /// Notes that all connections have come that the replaced program gives away.
    pub(super) fn arrivals_end(self: &Rc<Self>, cx: &mut LoopCx<'_, B>) {
        self.is_arriving.set(false);
        match self.postponed.take() {
            Some(Postponed::Stop) => self.stop_at_last(cx),
            Some(Postponed::Start) => self.start(cx),
            None => {}
        }
    }

    /// Postpones a graceful stop, which was asked for, while connections are on their way from one
    /// program to another: they are frozen, and could not finish. Returns whether it is postponed.
    pub(crate) fn postpones_stop(&self, why: &dyn fmt::Display) -> bool {
        let is_leaving = match &*self.progress.borrow() {
            Progress::Going(attempt) => attempt.has_released(),
            Progress::Idle | Progress::Resuming(..) | Progress::Done => false,
        };
        let postpones = is_leaving || self.is_arriving.get();
        if postpones {
            info!("{why}: stopping when no connection is on its way from one program to another");
            self.postponed.set(Some(Postponed::Stop));
        }
        postpones
    }

    /// Stops gracefully, which was postponed.
    fn stop_at_last(&self, cx: &mut LoopCx<'_, B>) {
        self.manager.stopping("connections finish");
        info!("stopping, connections have {STOP_TIMEOUT:?} to finish");
        self.whole.stop_gracefully(STOP_TIMEOUT, cx);
    }

    /// Ends an attempt that has failed if all loops have taken their sockets back.
    pub(super) fn end_resuming(&self, cx: &mut LoopCx<'_, B>) {
        let mut progress = self.progress.borrow_mut();
        if let Progress::Resuming(0, listening) = *progress {
            *progress = Progress::Idle;
            cx.close(listening);
            match self.postponed.take() {
                Some(_) => self.stop_at_last(cx),
                None => self.whole.resumed(cx),
            }
        }
    }

    /// Waits no more for loops that are blocked. They take their sockets back when they go on.
    fn give_up_resuming(&self, waits: Token, cx: &mut LoopCx<'_, B>) {
        if let Progress::Resuming(left, listening) = &mut *self.progress.borrow_mut()
            && *listening == waits
        {
            warn!("{left} loops do not answer, and have not taken their sockets back");
            *left = 0;
        }
        self.end_resuming(cx);
    }

    /// Ends this program, since the new one has everything.
    pub(super) fn finish(&self, cx: &mut LoopCx<'_, B>) {
        let progress = self.progress.replace(Progress::Done);
        if let Progress::Going(attempt) = progress {
            if let Stage::Together(it) = &attempt.stage {
                it.finish(cx.now(), &attempt.channel.borrow(), &self.loops, &attempt.reports);
            }
            self.loops.forget(&attempt.reports);
            info!("process {} has taken over", attempt.child.id());
        }
        let patience = self.postponed.take().map_or(DRAIN_TIMEOUT, |_| STOP_TIMEOUT);
        self.whole.stop_gracefully(patience, cx);
    }

    /// Leaves everything to the new program, since this one stops at once.
    pub(super) fn abandon(&self) {
        if let Progress::Going(attempt) = self.progress.replace(Progress::Done) {
            info!("process {} goes on alone", attempt.child.id());
        }
    }

    /// Goes on as if no new program had been started.
    pub(super) fn fail(self: &Rc<Self>, why: &dyn fmt::Display, cx: &mut LoopCx<'_, B>) {
        let mut attempt = match self.progress.replace(Progress::Idle) {
            Progress::Going(attempt) => attempt,
            other => {
                *self.progress.borrow_mut() = other;
                return;
            }
        };
        attempt.end_child();
        match self.is_stopping(cx) {
            true => info!("the new program is ended too: {why}"),
            false => error!("the new program does not take over, and this one goes on: {why}"),
        }
        cx.close(attempt.door);
        attempt.successor.into_iter().for_each(|successor| cx.close(successor));
        if attempt.has_released() {
            let left = self.loops.resume(&attempt.reports);
            *self.progress.borrow_mut() = Progress::Resuming(left, attempt.listening);
            self.end_resuming(cx);
            let (handover, listening) = (Rc::clone(self), attempt.listening);
            let give_up = move |cx: &mut LoopCx<'_, B>| handover.give_up_resuming(listening, cx);
            if let Err(error) = cx.after(self.launch.timeout, give_up) {
                warn!("loops that are blocked are waited for: {error}");
            }
        } else {
            cx.close(attempt.listening);
        }
        if !self.is_stopping(cx) {
            self.manager.ready();
        }
    }
}
