//! The source of a client, which lives across its connections.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{info, warn};
use protocol::Exchange;

use super::WhenStopping;
use super::connection::Dial;
use super::desk::Desk;
use super::outcome::{ClientState, NotSent, Outcomes};
use super::pauses::Pauses;
use super::records::{EndCause, Ended, Ending};
use crate::net::connector::target::interleaved;
use crate::planted::{self, Planted};
use crate::{
    Address, ConnectError, ConnectOptions, Connector, Cx, Handler, Location, LoopCx, Query, Reason,
    ResolveError, Resolved, Target, Timeout, Token,
};

/// What a client is doing.
enum Phase {
    /// There is no connection, and none is being made.
    Off,
    /// The name of the target is being looked up since this time.
    Resolving(Token, Instant),
    /// There is a connection, which may not be established.
    On(Token),
    /// The next attempt is made at this time.
    Pausing(Instant),
}

/// The source of a client: makes connections, waits between attempts, and completes the requests that
/// no connection has taken.
pub(super) struct Life<A, E: Exchange> {
    desk: Arc<Desk<A, E>>,
    maker: Box<dyn Dial<A, E>>,
    pauses: Option<Pauses>,
    phase: Phase,
    /// How many names were looked up. An answer to an earlier question is void.
    lookups: u64,
    /// The connection was closed since the client has another target.
    is_moving: bool,
}

impl<A: 'static, E: Exchange> Life<A, E> {
    /// Returns the source of a client whose connections `maker` makes.
    pub(super) fn new(desk: Arc<Desk<A, E>>, maker: Box<dyn Dial<A, E>>) -> Self {
        Self { desk, maker, pauses: None, phase: Phase::Off, lookups: 0, is_moving: false }
    }

    /// Does what is due, and sets when it has to be called again.
    fn proceed(&mut self, cx: &mut Cx<'_, A>) {
        let (now, mut outcomes) = (cx.now(), Outcomes::new());
        let is_wanted = self.desk.expire(now, &mut outcomes) | self.desk.take_probe();
        if self.desk.aim.take_moved() {
            self.move_on(cx);
        }
        if let Some(ended) = self.desk.take_ended() {
            self.connection_ended(&ended, &mut outcomes, cx);
        }
        if let Some(answer) = self.desk.take_resolved(self.lookups) {
            self.resolved(answer, &mut outcomes, cx);
        }
        match self.desk.ending() {
            Ending::Not => {
                let keeps = !self.desk.lets_go() || self.desk.is_needed();
                let is_possible = self.desk.aim.target().is_some();
                self.connect_if_due((is_wanted || keeps) && is_possible, &mut outcomes, cx);
            }
            Ending::Finishing if self.desk.state() == ClientState::Up => {}
            // What is accepted and not sent can be sent no more.
            Ending::Finishing | Ending::Closing | Ending::Gone => {
                self.desk.refuse_waiting(&NotSent::Closed, &mut outcomes);
                cx.end(Reason::Finished);
            }
        }
        self.arm(cx);
        outcomes.call(&mut cx.outside());
    }

    /// Sets when the source has to run next.
    fn arm(&self, cx: &mut Cx<'_, A>) {
        let at = match self.phase {
            Phase::Off | Phase::Resolving(..) => None,
            Phase::On(_) => self.desk.look_after(cx.now()),
            Phase::Pausing(until) => Some(until),
        };
        let at = self.desk.arm(at);
        cx.set_timeout(at.map(|at| at.saturating_duration_since(cx.now())));
    }

    /// Leaves the connection to the earlier target.
    fn move_on(&mut self, cx: &mut Cx<'_, A>) {
        match self.phase {
            Phase::On(_) if planted::is(Planted::MoveIgnored) => {}
            Phase::On(connection) => {
                self.is_moving = true;
                cx.close(connection);
            }
            Phase::Resolving(lookup, _) => {
                // Its answer is void from now on.
                self.lookups += 1;
                self.phase = Phase::Off;
                cx.close(lookup);
            }
            Phase::Off | Phase::Pausing(_) => self.phase = Phase::Off,
        }
        self.pauses(cx).reset();
    }

    /// Makes a connection if one is wanted, and it is time.
    fn connect_if_due(
        &mut self,
        is_wanted: bool,
        outcomes: &mut Outcomes<A, E>,
        cx: &mut Cx<'_, A>,
    ) {
        let is_due = match self.phase {
            Phase::Off => true,
            Phase::Resolving(..) | Phase::On(_) => false,
            Phase::Pausing(until) => until <= cx.now(),
        };
        if is_due && is_wanted {
            self.connect(outcomes, cx);
        } else if is_due {
            self.phase = Phase::Off;
            self.desk.rest();
        }
    }

    /// Begins to connect: looks up the name of the target if it has one.
    fn connect(&mut self, outcomes: &mut Outcomes<A, E>, cx: &mut Cx<'_, A>) {
        let Some(target) = self.desk.aim.target() else { return };
        let begun = match &*target {
            Location::Address(address) => self.dial(address.into(), Duration::ZERO, cx),
            Location::Host { name, service, transport } => {
                self.look_up(transport.query(name, service), cx)
            }
        };
        self.go_on(begun, outcomes, cx);
    }

    /// Goes on with what has begun, or waits if it could not begin.
    fn go_on(
        &mut self,
        begun: io::Result<Phase>,
        outcomes: &mut Outcomes<A, E>,
        cx: &mut Cx<'_, A>,
    ) {
        match begun {
            Ok(phase) => self.phase = phase,
            Err(error) => {
                let reason = self.desk.fail(Reason::Failed { operation: "connect", error });
                self.back_off(&reason, outcomes, cx);
            }
        }
    }

    fn look_up(&mut self, query: Query, cx: &mut Cx<'_, A>) -> io::Result<Phase> {
        self.desk.set_state(ClientState::Resolving);
        self.lookups += 1;
        let (number, desk, me) = (self.lookups, Arc::clone(&self.desk), cx.me());
        let options = &self.desk.options.connect;
        let done = move |answer, cx: &mut LoopCx<'_, A>| {
            desk.set_resolved(number, answer);
            cx.wake(me);
        };
        let lookup =
            options.resolver_or_shared().resolve_within(options.timeout, query, cx, done)?;
        Ok(Phase::Resolving(lookup, cx.now()))
    }

    /// Connects to the addresses that were found, in the order of RFC 8305, within what is left of the
    /// time.
    fn resolved(
        &mut self,
        answer: Result<Arc<Resolved>, ResolveError>,
        outcomes: &mut Outcomes<A, E>,
        cx: &mut Cx<'_, A>,
    ) {
        let Phase::Resolving(_, since) = self.phase else { return };
        let took = cx.now().saturating_duration_since(since);
        let begun = match answer {
            Ok(found) => {
                let addresses = interleaved(&found.addresses());
                let addresses = addresses.into_iter().map(Address::Tcp).collect();
                self.dial(Target::Addresses(addresses), took, cx)
            }
            Err(error) => {
                let target = self
                    .desk
                    .aim
                    .target()
                    .map_or(Target::Addresses(Vec::new()), |it| (&*it).into());
                Err(ConnectError::of_lookup(target, error, took).into())
            }
        };
        self.go_on(begun, outcomes, cx);
    }

    /// Connects to `target`, within what resolving it has left of the time.
    fn dial(
        &mut self,
        target: Target,
        resolving: Duration,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<Phase> {
        self.desk.set_state(ClientState::Connecting);
        let location = self.desk.aim.target();
        let location = location.ok_or_else(|| io::Error::other("the client has no target"))?;
        let options = &self.desk.options.connect;
        let timeout = options.timeout.saturating_sub(resolving);
        let connector = Connector::new(target, &ConnectOptions { timeout, ..options.clone() });
        self.maker.dial(&location, connector, &self.desk, cx).map(Phase::On)
    }

    /// Tells the application of the end of a connection, and plans the next.
    fn connection_ended(
        &mut self,
        ended: &Ended,
        outcomes: &mut Outcomes<A, E>,
        cx: &mut Cx<'_, A>,
    ) {
        self.phase = Phase::Off;
        if let Some(since) = ended.up_since {
            let lasted = cx.now().saturating_duration_since(since);
            // A server that accepts connections and ends them is not one that works.
            if ended.has_answered || lasted >= self.desk.options.pause_max {
                self.pauses(cx).reset();
            }
            let reason = &ended.reason;
            self.desk.hooks.disconnect.with(|hook| hook(reason, &mut cx.outside()));
        }
        if ended.cause == EndCause::Idleness {
            info!("{}: the idle connection was closed", self.desk.aim);
        } else if std::mem::take(&mut self.is_moving) {
            self.desk.rest();
        } else if self.desk.ending() == Ending::Not {
            self.back_off(&ended.reason, outcomes, cx);
        }
    }

    /// Waits before the next attempt.
    fn back_off(
        &mut self,
        reason: &Arc<Reason>,
        outcomes: &mut Outcomes<A, E>,
        cx: &mut Cx<'_, A>,
    ) {
        let pause = self.pauses(cx).next();
        warn!("{}: {reason}; connecting again in {pause:.1?}", self.desk.aim);
        self.phase = Phase::Pausing(cx.now() + pause);
        self.desk.set_state(ClientState::BackingOff);
        if !self.desk.options.waits {
            self.desk.refuse_waiting(&NotSent::Down(Some(Arc::clone(reason))), outcomes);
        }
    }

    fn pauses(&mut self, cx: &Cx<'_, A>) -> &mut Pauses {
        let desk = &self.desk;
        self.pauses.get_or_insert_with(|| {
            Pauses::new(&desk.options, desk.aim.target().as_deref(), cx.me())
        })
    }
}

impl<A: 'static, E: Exchange> Handler<A> for Life<A, E> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.proceed(cx);
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.proceed(cx);
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        match self.desk.options.when_stopping {
            WhenStopping::Finish => self.desk.end(Ending::Finishing),
            WhenStopping::GoOn => self.desk.drain(),
        }
        self.proceed(cx);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, A>) {
        self.desk.end(Ending::Gone);
        self.desk.set_state(ClientState::Closed);
        if planted::is(Planted::WaitingDropped) {
            self.desk.refuse_waiting(&NotSent::Closed, &mut Outcomes::new());
        }
        if let Phase::Resolving(source, _) | Phase::On(source) = self.phase {
            cx.close(source);
        }
        let mut outcomes = Outcomes::new();
        self.desk.refuse_waiting(&NotSent::Closed, &mut outcomes);
        self.desk.hooks.clear();
        outcomes.call(cx);
    }

    fn name(&self) -> &'static str {
        "reactor::Client"
    }
}
