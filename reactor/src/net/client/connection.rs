//! One connection of a client.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Exchange;
use protocol::exchange::{Caller, Said};
use protocol::link::{Layer, Link};

use super::WhenIdle;
use super::desk::{Desk, earliest};
use super::outcome::{ClientState, Outcomes, Unanswered};
use super::records::{Asked, Call, EndCause, Ended, Ending, Orders, Ticket};
use crate::planted::{self, Planted};
use crate::source::registration::Sharing;
use crate::{
    Connector, Cx, Expired, Handler, Location, LoopCx, Reason, Registration, Stream, Timeout,
    TimerId, Token,
};

/// Deadlines that follow one another more closely pass together.
const GRAIN: Duration = Duration::from_millis(1);
/// The keys of the timers: of deadlines, and of signs of life.
const DEADLINE: u64 = 0;
const PULSE: u64 = 1;

/// The stream of a connection, with its session and its layer.
type Wired<A, E, L> = Stream<Caller<E, Ticket<A, E>>, L>;

/// Makes the connections of a client. A closure that returns the layer of each does.
pub(super) trait Dial<A, E: Exchange> {
    /// Registers a connection to `location`, which `connector` makes.
    fn dial(
        &mut self,
        location: &Location,
        connector: Connector,
        desk: &Arc<Desk<A, E>>,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<Token>;
}

impl<A, E, L, M> Dial<A, E> for M
where
    A: 'static,
    E: Exchange,
    L: Layer + 'static,
    M: FnMut(&Location) -> io::Result<L>,
{
    fn dial(
        &mut self,
        location: &Location,
        connector: Connector,
        desk: &Arc<Desk<A, E>>,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<Token> {
        let layer = self(location)?;
        let exchange = desk.take_exchange();
        let exchange = exchange.ok_or_else(|| io::Error::other("another connection is open"))?;
        let connection = Connection::new(desk, exchange, layer, cx.me(), cx.now());
        let registration = Registration::stream(connector.target().is_tcp(), Sharing::Excluded);
        connector.register(registration, connection, cx)
    }
}

/// The handler of a connection of a client: drives its session, calls completions, and gives the
/// requests back that have no reply at the end.
struct Connection<A, E: Exchange, L: Layer + 'static> {
    desk: Arc<Desk<A, E>>,
    /// `None` after the end.
    stream: Option<Wired<A, E, L>>,
    /// The source of the client.
    client: Token,
    up_since: Option<Instant>,
    has_answered: bool,
    is_let_go: bool,
    is_finishing: bool,
    /// Since when the server has sent nothing although it owes replies.
    silent_since: Instant,
    /// Something was heard since the last sign of life, and how many of them were given since.
    is_heard: bool,
    unheard: u32,
    /// The timer of the earliest deadline in flight.
    timer: Option<(TimerId, Instant)>,
}

impl<A: 'static, E: Exchange, L: Layer + 'static> Connection<A, E, L> {
    fn new(desk: &Arc<Desk<A, E>>, exchange: E, layer: L, client: Token, now: Instant) -> Self {
        let options = &desk.options;
        let caller = Caller::new(exchange, options.in_flight_max);
        let caller = caller.open_within(options.connect.timeout);
        Self {
            desk: Arc::clone(desk),
            stream: Some(Stream::over(Link::with_layer(caller, layer, options.limits.into()))),
            client,
            up_since: None,
            has_answered: false,
            is_let_go: false,
            is_finishing: false,
            silent_since: now,
            is_heard: false,
            unheard: 0,
            timer: None,
        }
    }

    /// Takes requests, lets the stream work, and calls what is due. What completions have asked for
    /// is sent at once.
    fn proceed(
        &mut self,
        cx: &mut Cx<'_, A>,
        work: impl FnOnce(&mut Wired<A, E, L>, &mut Cx<'_, A>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.take_requests(true, cx);
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let result = work(stream, cx);
        self.deliver(cx);
        result?;
        let orders = self.take_requests(false, cx);
        if orders.as_ref().is_some_and(|orders| orders.taken > 0) {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            let result = stream.ready(cx);
            self.deliver(cx);
            result?;
        }
        if let Some(orders) = orders {
            self.conclude(&orders, cx);
        }
        Ok(())
    }

    /// Takes requests that wait, unless the connection has ended or is not open.
    fn take_requests(&mut self, attends: bool, cx: &mut Cx<'_, A>) -> Option<Orders> {
        let now = cx.now();
        let stream = self.stream.as_mut().filter(|stream| !stream.is_over())?;
        self.up_since?;
        let was_idle = stream.session().is_idle();
        let orders = self.desk.hand_over(stream.session_mut(), attends, now);
        if orders.taken > 0 {
            cx.woken = true;
            if was_idle {
                self.silent_since = now;
            }
        }
        self.arm(orders.deadline, cx);
        Some(orders)
    }

    /// Calls the closures for what the session has to tell.
    fn deliver(&mut self, cx: &mut Cx<'_, A>) {
        let Some(stream) = &mut self.stream else { return };
        if stream.session_mut().take_heard() {
            (self.silent_since, self.is_heard) = (cx.now(), true);
            self.desk.touch(cx.now());
        }
        if planted::is(Planted::AnswersDropped) && stream.is_over() {
            while stream.session_mut().next_said().is_some() {}
        }
        while let Some(said) = self.stream.as_mut().and_then(|it| it.session_mut().next_said()) {
            match said {
                Said::Opened => self.opened(cx),
                Said::Pushed(push) => {
                    self.desk.hooks.push.with(|hook| hook(push, &mut cx.outside()));
                }
                Said::Answered { ticket: Ticket::Pulse, .. } => {}
                Said::Answered { ticket, reply } => {
                    self.has_answered = true;
                    if let Ticket::Call(Call { completion, .. }) = ticket {
                        self.desk.count_completed(1);
                        completion(Ok(reply), &mut cx.outside());
                    }
                }
            }
        }
        if let Some(stream) = self.stream.as_mut().filter(|_| !self.is_finishing) {
            stream.end_if_over(cx);
        }
    }

    fn opened(&mut self, cx: &mut Cx<'_, A>) {
        self.up_since = Some(cx.now());
        self.desk.open(cx.waker_of(cx.me()), cx.now());
        if let WhenIdle::Pulse(every) = self.desk.options.when_idle {
            cx.set_timer(every, Some(every), PULSE);
        }
        cx.wake(self.client);
        self.desk.hooks.connect.with(|hook| hook(&mut cx.outside()));
    }

    /// Does what the source of the client asks for, and ends if the client does.
    fn conclude(&mut self, orders: &Orders, cx: &mut Cx<'_, A>) {
        let Some(stream) = self.stream.as_mut().filter(|stream| !stream.is_over()) else { return };
        let session = stream.session_mut();
        if orders.finishes && !self.is_finishing {
            // The connection ends in order once every reply is there.
            self.is_finishing = true;
            session.finish();
            cx.wake(cx.me());
        }
        match orders.asked {
            _ if self.is_finishing => {}
            Asked::LetGo if session.is_idle() && !session.exchange().is_needed() => {
                self.is_let_go = true;
                if L::IS_PLAIN {
                    return cx.end(Reason::Finished);
                }
                // The end of the layer's stream is sent, and nothing waits for that of the peer.
                session.finish();
                cx.woken = true;
                _ = stream.ready(cx);
                cx.end(Reason::Finished);
            }
            Asked::Health | Asked::LetGo if session.is_idle() => {
                let Some(request) = session.exchange().health() else { return };
                let deadline = cx.now().checked_add(self.desk.options.silence_max);
                session.queue(request, Ticket::Health(deadline));
                self.silent_since = cx.now();
                self.arm(deadline, cx);
                cx.wake(cx.me());
            }
            // Nothing waits for the replies that are outstanding.
            Asked::Health | Asked::LetGo if session.pending() == 0 => self.cut_if_silent(cx),
            Asked::Nothing | Asked::Health | Asked::LetGo => {}
        }
    }

    /// Gives a sign of life, unless the server has given none for too long: then the connection ends.
    fn pulse(&mut self, cx: &mut Cx<'_, A>) {
        let going = self.stream.as_mut().filter(|stream| !stream.is_over() && !self.is_finishing);
        let Some(stream) = going else { return };
        let WhenIdle::Pulse(every) = self.desk.options.when_idle else { return };
        let is_heard = std::mem::take(&mut self.is_heard);
        self.unheard = if is_heard { 0 } else { self.unheard + 1 };
        if every.saturating_mul(self.unheard) >= self.desk.options.silence_max {
            cx.end(Reason::TimedOut(Timeout::Idle));
        } else if let Some(request) = stream.session().exchange().sign_of_life() {
            stream.session_mut().queue(request, Ticket::Pulse);
            cx.wake(cx.me());
        }
    }

    /// Ends the connection if the server has owed replies in silence for too long.
    fn cut_if_silent(&mut self, cx: &mut Cx<'_, A>) {
        let silence = cx.now().saturating_duration_since(self.silent_since);
        if silence >= self.desk.options.silence_max {
            cx.end(Reason::TimedOut(Timeout::Idle));
        }
    }

    /// Sees to it that the timer fires no later than `deadline`.
    fn arm(&mut self, deadline: Option<Instant>, cx: &mut Cx<'_, A>) {
        let Some(deadline) = deadline else { return };
        let after = deadline.saturating_duration_since(cx.now());
        match &mut self.timer {
            Some((_, at)) if *at <= deadline => {}
            Some((timer, at)) => {
                cx.move_timer(*timer, after);
                *at = deadline;
            }
            None => self.timer = Some((cx.set_timer(after, None, DEADLINE), deadline)),
        }
    }

    /// Completes the requests whose deadline has passed.
    fn expire(&mut self, cx: &mut Cx<'_, A>) {
        let now = cx.now();
        let Some(stream) = &mut self.stream else { return };
        let session = stream.session_mut();
        let expired = session.expire(|ticket| ticket.deadline().is_some_and(|at| at <= now));
        let next = session.tickets().map(Ticket::deadline).fold(None, earliest);
        let (mut outcomes, mut was_written) = (Outcomes::<A, E>::new(), false);
        for it in expired {
            was_written |= it.was_written;
            match it.ticket {
                Ticket::Call(call) => {
                    self.desk.count_completed(1);
                    let sent = it.was_written;
                    let timed_out = Unanswered::TimedOut { sent, after: call.after };
                    outcomes.add(call.completion, Err(timed_out));
                }
                Ticket::Health(_) => cx.end(Reason::TimedOut(Timeout::Idle)),
                // It has no deadline.
                Ticket::Pulse => {}
            }
        }
        if was_written {
            self.cut_if_silent(cx);
        }
        if !planted::is(Planted::DeadlineForgotten) {
            self.arm(next.map(|at| at.max(now + GRAIN)), cx);
        }
        outcomes.call(&mut cx.outside());
    }
}

impl<A: 'static, E: Exchange, L: Layer + 'static> Handler<A> for Connection<A, E, L> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.proceed(cx, |stream, cx| stream.ready(cx))
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.proceed(cx, |stream, cx| stream.timeout(timeout, cx))
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let is_pulse = timer.key == PULSE;
        if !is_pulse {
            self.timer = None;
        }
        // What has come in time is not late.
        self.proceed(cx, |stream, cx| stream.ready(cx))?;
        match is_pulse {
            true => self.pulse(cx),
            false => self.expire(cx),
        }
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // The source of the client is told too. This is for the case that it was told later.
        cx.wake(self.client);
        cx.wake(cx.me());
        Ok(())
    }

    fn closed(mut self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        let Some(stream) = self.stream.take() else { return };
        let (mut session, reason) = stream.into_closed(reason, cx);
        let ending = self.desk.ending();
        let cause = match reason {
            _ if self.is_let_go => EndCause::Idleness,
            // The source of the client closes it for no other reason.
            Reason::Cancelled if ending == Ending::Not => EndCause::Move,
            _ => EndCause::Failure,
        };
        let mut outcomes = Outcomes::new();
        // Replies that were read and not delivered, since a completion before them panicked.
        while let Some(said) = session.next_said() {
            if let Said::Answered { ticket: Ticket::Call(call), reply } = said {
                self.desk.count_completed(1);
                outcomes.add(call.completion, Ok(reply));
            }
        }
        let ended = Ended {
            reason: Arc::new(reason),
            up_since: self.up_since,
            has_answered: self.has_answered,
            cause,
        };
        let (exchange, left) = session.end();
        self.desk.take_back(exchange, left, ended, &mut outcomes);
        self.desk.set_state(match (ending, cause) {
            (Ending::Not, EndCause::Failure) => ClientState::BackingOff,
            (Ending::Not, EndCause::Idleness | EndCause::Move) => ClientState::Idle,
            // There is no further connection.
            _ => ClientState::Closed,
        });
        cx.wake(self.client);
        outcomes.call(cx);
    }

    fn name(&self) -> &'static str {
        "reactor::Client connection"
    }
}

impl<A, E: Exchange, L: Layer + 'static> Drop for Connection<A, E, L> {
    /// Gives back the exchange if the connection could not be registered.
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.desk.return_exchange(stream.into_session().end().0);
        }
    }
}
