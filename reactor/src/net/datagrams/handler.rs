//! The calls of the loop: readiness, timers, a graceful stop and the end.

use std::io;

use log::{info, warn};
use protocol::{Cause, Codec, Context, Effects, Flow, Service};

use super::{Datagrams, LAST_BATCHES, timer};
use crate::net::stream::reach_others;
use crate::{Cx, Expired, Handler, LoopCx, Readiness, Reason};

impl<A, C, S> Handler<A> for Datagrams<C, S>
where
    A: 'static,
    C: Codec + Clone + 'static,
    S: Service<C, A> + 'static,
{
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.with_room(cx, |this, room, cx| {
            this.open(room, cx);
            if cx.was_woken() {
                let flow = this.tell(Cause::Woken, None, room, cx, |service, reply, context| {
                    service.resume(reply, context)
                });
                this.state.is_paused = flow == Flow::Pause;
            }
            if cx.readiness().contains(Readiness::ERROR) {
                this.take_refusals(room, cx)?;
            }
            this.flush(room, cx)?;
            this.receive(room, cx)
        })
    }

    fn timer(&mut self, expired: Expired, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.with_room(cx, |this, room, cx| {
            match expired.key {
                timer::SEND => this.sending_pauses = None,
                timer::PARKED => this.retry_parked(room, cx)?,
                timer::RECEIVE => this.reception.resume(),
                timer::REFUSALS => {
                    this.reception.more_refusals = false;
                    this.take_refusals(room, cx)?;
                }
                key => {
                    this.timeouts.retain(|(_, timer)| *timer != expired.id);
                    let key = u8::try_from(key).unwrap_or(u8::MAX);
                    let cause = Cause::Timeout(key);
                    let flow = this.tell(cause, None, room, cx, |service, reply, context| {
                        service.timeout(key, reply, context)
                    });
                    this.state.is_paused |= flow == Flow::Pause;
                }
            }
            this.flush(room, cx)
        })
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // The new backend reports that it is writable unless it is told otherwise.
        cx.core.report_writable(cx.me, self.awaits_room)
    }

    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.with_room(cx, |this, room, cx| {
            this.tell_stopping(room, cx);
            if this.is_connected() {
                // It goes on until it is silent.
                cx.set_idle_timeout(Some(this.limits.stopping_quiet))?;
                return this.flush(room, cx);
            }
            this.flush(room, cx)?;
            if this.last_batches == 0 && !this.state.is_finishing {
                this.leave_port(cx);
            }
            this.receive(room, cx)?;
            this.last_batches += 1;
            let is_exhausted = !cx.readiness().contains(Readiness::READABLE);
            if is_exhausted || !this.may_receive() || this.last_batches == LAST_BATCHES {
                this.take_effects(room, cx);
                this.finish(cx);
            } else {
                // The rest is received in the next turn, after the other sources.
                cx.core.to_notify.push_back(cx.me);
            }
            Ok(())
        })
    }

    fn retired(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.with_room(cx, |this, room, cx| {
            this.state.is_retired = true;
            if let Some(file) = &this.place.file {
                file.set_left(true);
            }
            this.tell_stopping(room, cx);
            this.flush(room, cx)?;
            this.take_effects(room, cx);
            match this.state.is_busy {
                true => this.finish(cx),
                false => cx.end(Reason::HandedOver),
            }
            Ok(())
        })
    }

    fn closed(mut self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        if let (Reason::HandedOver, Some(file)) = (&reason, &self.place.file) {
            file.set_left(true);
        }
        if self.place.peer.is_none() {
            info!("no longer receiving on {}: {reason}", self.place.address);
        }
        let unsent = self.outbox.waiting().len();
        cx.core.counters.datagrams_unsent += unsent as u64;
        if unsent > 0 && matches!(reason, Reason::HandedOver) {
            let address = &self.place.address;
            warn!("{address}: {unsent} datagrams were not sent, and another process goes on");
        }
        let (now, me, mut effects) = (cx.now(), cx.me().into(), Effects::default());
        let mut context = Context::new(now, me, cx.app, &self.limits, &mut effects);
        self.service.closed(&reason.into(), &mut context);
        if effects.take_asked() {
            reach_others(&mut effects, cx);
        }
    }

    fn name(&self) -> &'static str {
        "reactor::Datagrams"
    }
}
