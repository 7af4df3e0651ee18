//! What the handles of a client, its source and its connection share: the requests that wait, and
//! what each has to tell the others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::{debug, info};
use protocol::Exchange;
use protocol::exchange::{Caller, Left};

use super::aim::Aim;
use super::hooks::Hooks;
use super::options::{ClientOptions, DRAINING_IDLE, WhenIdle};
use super::outcome::{ClientState, Completion, NotSent, Outcomes, Unanswered};
use super::records::{Asked, Call, EndCause, Ended, Ending, Orders, Ticket};
use crate::planted::{self, Planted};
use crate::{Location, Reason, ResolveError, Resolved, Waker, kernel};

/// What the resolver has found.
type Lookup = Result<Arc<Resolved>, ResolveError>;

struct Inner<A, E: Exchange> {
    waiting: VecDeque<(E::Request, Call<A, E>)>,
    waiting_size: usize,
    /// When the source of the client runs at the latest, if it has a deadline.
    armed: Option<Instant>,
    ending: Ending,
    /// The loop winds down, and the client goes on.
    is_draining: bool,
    asked: Asked,
    client: Option<Waker>,
    /// Wakes the connection, while it is open for requests.
    connection: Option<Waker>,
    /// The connection will look at what waits without being woken.
    is_attended: bool,
    /// The exchange, while there is no connection.
    exchange: Option<E>,
    ended: Option<Ended>,
    /// A connection is to be made although no request waits.
    is_probed: bool,
    /// The answer of the resolver, and the number of the question.
    resolved: Option<(u64, Lookup)>,
    failure: Option<Arc<Reason>>,
    /// The last attempt failed, and requests that do not wait are refused.
    is_down: bool,
    last_active: Instant,
}

pub(super) struct Desk<A, E: Exchange> {
    pub(super) aim: Aim,
    pub(super) options: ClientOptions,
    pub(super) hooks: Hooks<A, E>,
    state: AtomicU8,
    /// How many requests were accepted and are not completed.
    pending: AtomicUsize,
    inner: Mutex<Inner<A, E>>,
}

impl<A, E: Exchange> Desk<A, E> {
    pub(super) fn new(target: Option<Location>, exchange: E, options: ClientOptions) -> Self {
        let inner = Inner {
            waiting: VecDeque::new(),
            waiting_size: 0,
            armed: None,
            ending: Ending::Not,
            is_draining: false,
            asked: Asked::Nothing,
            client: None,
            connection: None,
            is_attended: false,
            exchange: Some(exchange),
            ended: None,
            is_probed: false,
            resolved: None,
            failure: None,
            is_down: false,
            last_active: kernel::now(),
        };
        Self {
            aim: Aim::new(target),
            options,
            hooks: Hooks::new(),
            state: AtomicU8::new(ClientState::Idle as u8),
            pending: AtomicUsize::new(0),
            inner: Mutex::new(inner),
        }
    }

    /// Returns the shared part, also after a thread panicked: it is consistent between operations.
    fn lock(&self) -> MutexGuard<'_, Inner<A, E>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_client(&self, waker: Waker) {
        self.lock().client = Some(waker);
    }

    pub(super) fn state(&self) -> ClientState {
        ClientState::of(self.state.load(Ordering::Acquire))
    }

    /// Changes the state. Each change is logged once.
    pub(super) fn set_state(&self, state: ClientState) {
        let before = ClientState::of(self.state.swap(state as u8, Ordering::AcqRel));
        if before == state {
            return;
        }
        match state {
            ClientState::Up | ClientState::Closed => info!("{}: {state}", self.aim),
            _ => debug!("{}: {state}", self.aim),
        }
    }

    /// Changes the server to connect to.
    pub(super) fn set_target(&self, target: Option<Location>) {
        if !self.aim.set_target(target) {
            return;
        }
        let mut inner = self.lock();
        // What waits is not refused because of the other server.
        (inner.failure, inner.is_down) = (None, false);
        let waker = inner.client.clone();
        drop(inner);
        if let Some(waker) = waker {
            // Where the loop is gone, the client has ended.
            let _ = waker.wake();
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::Relaxed)
    }

    /// Counts requests that are completed.
    pub(super) fn count_completed(&self, count: usize) {
        self.pending.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn failure(&self) -> Option<Arc<Reason>> {
        self.lock().failure.clone()
    }

    pub(super) fn ending(&self) -> Ending {
        self.lock().ending
    }

    /// Accepts a request, and wakes what has to look at it.
    pub(super) fn accept(
        &self,
        request: E::Request,
        size: usize,
        after: Duration,
        completion: Completion<A, E>,
    ) -> Result<(), NotSent> {
        let deadline = kernel::now().checked_add(after);
        let mut inner = self.lock();
        self.admit(&inner, size)?;
        inner.waiting_size += size;
        inner.waiting.push_back((request, Call { completion, deadline, after, size }));
        self.pending.fetch_add(1, Ordering::Relaxed);
        let is_early = deadline.is_some_and(|at| inner.armed.is_none_or(|armed| at < armed));
        let client = (is_early || inner.connection.is_none()).then(|| inner.client.clone());
        let connection = inner.connection.clone().filter(|_| !inner.is_attended);
        drop(inner);
        for waker in client.flatten().into_iter().chain(connection) {
            // Where the loop is gone, its sources have completed the request.
            let _ = waker.wake();
        }
        Ok(())
    }

    fn admit(&self, inner: &Inner<A, E>, size: usize) -> Result<(), NotSent> {
        let options = &self.options;
        if inner.ending != Ending::Not {
            return Err(NotSent::Closed);
        }
        if !options.waits && inner.is_down {
            return Err(NotSent::Down(inner.failure.clone()));
        }
        if inner.waiting.len() >= options.waiting_max {
            return Err(NotSent::Full("waiting_max: too many requests wait to be sent"));
        }
        let most = options.waiting_bytes_max;
        if !inner.waiting.is_empty() && inner.waiting_size.saturating_add(size) > most {
            return Err(NotSent::Full("waiting_bytes_max: too many bytes wait to be sent"));
        }
        Ok(())
    }

    /// Makes connections end soon from now on, since the loop waits for their end.
    pub(super) fn drain(&self) {
        self.lock().is_draining = true;
    }

    /// Returns whether a connection ends when no request has used it for some time.
    pub(super) fn lets_go(&self) -> bool {
        self.lock().is_draining || matches!(self.options.when_idle, WhenIdle::LetGo(_))
    }

    /// Ends the client, now or once what it has accepted is done. Wakes its sources.
    pub(super) fn end(&self, ending: Ending) {
        let mut inner = self.lock();
        inner.ending = inner.ending.max(ending);
        let wakers = [inner.client.clone(), inner.connection.clone()];
        drop(inner);
        for waker in wakers.into_iter().flatten() {
            // Where the loop is gone, the client has ended.
            let _ = waker.wake();
        }
    }

    /// Takes the exchange for a new connection.
    pub(super) fn take_exchange(&self) -> Option<E> {
        self.lock().exchange.take()
    }

    /// Returns whether a connection is needed although no request waits. While there is one, it
    /// decides that itself.
    pub(super) fn is_needed(&self) -> bool {
        let is_needed = self.lock().exchange.as_ref().is_some_and(E::is_needed);
        is_needed && !planted::is(Planted::NeedForgotten)
    }

    /// Takes the exchange back from a connection that was not made.
    pub(super) fn return_exchange(&self, exchange: E) {
        self.lock().exchange = Some(exchange);
    }

    /// Records that the connection is open for requests.
    pub(super) fn open(&self, connection: Waker, now: Instant) {
        let mut inner = self.lock();
        inner.connection = Some(connection);
        (inner.failure, inner.is_down) = (None, false);
        inner.asked = Asked::Nothing;
        inner.last_active = now;
        drop(inner);
        self.set_state(ClientState::Up);
    }

    /// Moves requests that wait to the connection, as far as it has room, and returns what else the
    /// connection has to do. If it `attends`, it calls this again before it returns to the loop.
    pub(super) fn hand_over(
        &self,
        caller: &mut Caller<E, Ticket<A, E>>,
        attends: bool,
        now: Instant,
    ) -> Orders {
        let mut inner = self.lock();
        let (mut deadline, mut taken) = (None, 0);
        while caller.room() > 0
            && let Some((request, call)) = inner.waiting.pop_front()
        {
            inner.waiting_size -= call.size;
            deadline = earliest(deadline, call.deadline);
            taken += 1;
            caller.queue(request, Ticket::Call(call));
        }
        if taken > 0 {
            inner.last_active = now;
        }
        inner.is_attended = attends;
        let finishes = inner.ending != Ending::Not && inner.waiting.is_empty();
        let asked = match attends {
            // For the second call.
            true => Asked::Nothing,
            false => std::mem::replace(&mut inner.asked, Asked::Nothing),
        };
        Orders { asked, finishes, deadline, taken }
    }

    /// Records that the server has sent something.
    pub(super) fn touch(&self, now: Instant) {
        self.lock().last_active = now;
    }

    /// Takes back the exchange and the requests of a connection that has ended. A request that was
    /// not sent waits for the next connection.
    pub(super) fn take_back(
        &self,
        exchange: E,
        left: impl Iterator<Item = Left<E::Request, Ticket<A, E>>>,
        ended: Ended,
        outcomes: &mut Outcomes<A, E>,
    ) {
        let mut inner = self.lock();
        let waits = self.options.waits || ended.cause == EndCause::Move;
        let stays = waits && inner.ending == Ending::Not;
        let (mut unsent, mut completed) = (Vec::new(), 0);
        for Left { request, ticket, is_sent } in left {
            let Ticket::Call(call) = ticket else { continue };
            if is_sent && !planted::is(Planted::SentRepeated) {
                completed += 1;
                let why = match planted::is(Planted::SentDenied) {
                    true => NotSent::Down(Some(Arc::clone(&ended.reason))).into(),
                    false => Unanswered::Unknown(Arc::clone(&ended.reason)),
                };
                outcomes.add(call.completion, Err(why));
            } else if planted::is(Planted::UnsentForgotten) {
                completed += 1;
            } else if stays {
                unsent.push((request, call));
            } else {
                completed += 1;
                let why = match inner.ending {
                    Ending::Not => NotSent::Down(Some(Arc::clone(&ended.reason))),
                    _ => NotSent::Closed,
                };
                outcomes.add(call.completion, Err(why.into()));
            }
        }
        for (request, call) in unsent.into_iter().rev() {
            inner.waiting_size += call.size;
            inner.waiting.push_front((request, call));
        }
        inner.exchange = Some(exchange);
        inner.connection = None;
        inner.is_attended = false;
        if ended.cause == EndCause::Failure {
            (inner.failure, inner.is_down) = (Some(Arc::clone(&ended.reason)), true);
        }
        inner.ended = Some(ended);
        drop(inner);
        self.count_completed(completed);
    }

    /// Takes how the connection has ended, if it has.
    pub(super) fn take_ended(&self) -> Option<Ended> {
        self.lock().ended.take()
    }

    /// Records the answer of the resolver to a question.
    pub(super) fn set_resolved(&self, number: u64, answer: Lookup) {
        self.lock().resolved = Some((number, answer));
    }

    /// Takes the answer to the question of a number. One to an earlier question is dropped.
    pub(super) fn take_resolved(&self, number: u64) -> Option<Lookup> {
        let (question, answer) = self.lock().resolved.take()?;
        (question == number).then_some(answer)
    }

    /// Records a failure to connect.
    pub(super) fn fail(&self, reason: Reason) -> Arc<Reason> {
        let reason = Arc::new(reason);
        let mut inner = self.lock();
        (inner.failure, inner.is_down) = (Some(Arc::clone(&reason)), true);
        drop(inner);
        reason
    }

    /// Makes a client that has failed and rests connect again although no request waits.
    pub(super) fn probe(&self) {
        let mut inner = self.lock();
        if inner.failure.is_none() || inner.is_probed {
            return;
        }
        inner.is_probed = true;
        let waker = inner.client.clone();
        drop(inner);
        if let Some(waker) = waker {
            // Where the loop is gone, the client has ended.
            let _ = waker.wake();
        }
    }

    /// Returns whether that was asked for since the last call.
    pub(super) fn take_probe(&self) -> bool {
        std::mem::take(&mut self.lock().is_probed)
    }

    /// Records that the next request makes the client connect.
    pub(super) fn rest(&self) {
        self.lock().is_down = false;
        self.set_state(ClientState::Idle);
    }

    /// Takes the requests that wait and whose deadline has passed. Returns whether others wait.
    pub(super) fn expire(&self, now: Instant, outcomes: &mut Outcomes<A, E>) -> bool {
        let is_due = |call: &Call<A, E>| call.deadline.is_some_and(|at| at <= now);
        let mut inner = self.lock();
        if inner.waiting.iter().any(|(_, call)| is_due(call)) {
            let mut completed = 0;
            for (request, call) in std::mem::take(&mut inner.waiting) {
                if is_due(&call) {
                    inner.waiting_size -= call.size;
                    completed += 1;
                    let timed_out = Unanswered::TimedOut { sent: false, after: call.after };
                    outcomes.add(call.completion, Err(timed_out));
                } else {
                    inner.waiting.push_back((request, call));
                }
            }
            self.count_completed(completed);
        }
        !inner.waiting.is_empty()
    }

    /// Takes all requests that wait: they are not sent.
    pub(super) fn refuse_waiting(&self, why: &NotSent, outcomes: &mut Outcomes<A, E>) {
        let mut inner = self.lock();
        let waiting = std::mem::take(&mut inner.waiting);
        inner.waiting_size = 0;
        drop(inner);
        self.count_completed(waiting.len());
        for (_, call) in waiting {
            outcomes.add(call.completion, Err(why.clone().into()));
        }
    }

    /// Returns when the source has to run next: at `at`, or when the deadline of a request passes.
    pub(super) fn arm(&self, at: Option<Instant>) -> Option<Instant> {
        let mut inner = self.lock();
        let deadlines = inner.waiting.iter().filter_map(|(_, call)| call.deadline);
        let armed = deadlines.chain(at).min();
        inner.armed = armed;
        armed
    }

    /// Asks the connection for what is due when it is idle. Returns when to ask next.
    pub(super) fn look_after(&self, now: Instant) -> Option<Instant> {
        let mut inner = self.lock();
        inner.connection.as_ref()?;
        let (limit, asked) = match self.options.when_idle {
            _ if inner.is_draining => (DRAINING_IDLE, Asked::LetGo),
            WhenIdle::KeepAlive(limit) => (limit, Asked::Health),
            WhenIdle::LetGo(limit) => (limit, Asked::LetGo),
            // The connection sees to that itself.
            WhenIdle::Pulse(_) => return None,
        };
        if now.saturating_duration_since(inner.last_active) >= limit {
            inner.last_active = now;
            if self.pending() == 0 {
                inner.asked = asked;
                // The loop runs this, so it is there.
                let _ = inner.connection.as_ref()?.wake();
            }
        }
        inner.last_active.checked_add(limit)
    }
}

/// Returns the earlier of two times, either of which may be missing.
pub(super) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
