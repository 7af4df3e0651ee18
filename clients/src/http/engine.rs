//! The source of a client: it gives jobs to connections, makes connections, and decides what becomes
//! of a job that a connection has given back.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::Random;
use reactor::{Cx, Handler, LoopCx, Reason};

use super::desk::{Connection, Desk, Job, Outcome};
use super::dial::dial;
use super::origin::shown;
use super::redirect::follow;
use super::route::Key;
use super::{Error, ErrorKind, Receiver, Summary};

/// A receiver whose exchange is complete, and the result.
type Done<A> = (Box<dyn Receiver<A>>, Result<Summary, Error>);

/// The source of a client.
pub(super) struct Engine<A> {
    desk: Arc<Desk<A>>,
    random: Option<Random>,
    /// What receivers are still to be told. One that panics leaves the others to be told at the end.
    done: VecDeque<Done<A>>,
}

impl<A: 'static> Engine<A> {
    pub(super) fn new(desk: Arc<Desk<A>>) -> Self {
        Self { desk, random: None, done: VecDeque::new() }
    }

    /// Does everything that is due.
    fn proceed(&mut self, cx: &mut Cx<'_, A>) {
        self.carry_out_verdicts(cx);
        loop {
            let ended = self.desk.lock().ended.pop_front();
            let Some((job, outcome)) = ended else { break };
            self.decide(job, outcome, cx);
        }
        self.take_due(cx.now());
        loop {
            let job = self.desk.lock().arrivals.pop_front();
            let Some(job) = job else { break };
            self.place(job, cx);
        }
        self.place_waiting(cx);
        while let Some((receiver, result)) = self.done.pop_front() {
            receiver.done(result, &mut cx.outside());
        }
        self.arm(cx);
    }

    /// Ends the jobs that were cancelled or whose time is over.
    fn carry_out_verdicts(&mut self, cx: &mut Cx<'_, A>) {
        let now = cx.now();
        let mut state = self.desk.lock();
        while let Some((at, id)) = state.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            state.deadlines.remove(&(at, id));
            let limit = self.desk.options.timeout.unwrap_or_default();
            let text = format!("the request took longer than {limit:?} altogether");
            state.verdicts.entry(id).or_insert(Error::new(ErrorKind::TimedOut, text));
            state.to_end.push(id);
        }
        for id in std::mem::take(&mut state.to_end) {
            if let Some(job) = state.remove_waiting(id) {
                let error = Error::new(ErrorKind::Cancelled, "the request was cancelled");
                state.ended.push_back((job, Outcome::Failed { error, is_stale: false }));
            } else if let Some(connection) = state.places.get(&id).copied() {
                // Its session gives the job back.
                cx.close(connection);
            } else if !state.ended.iter().any(|(job, _)| job.id == id) {
                state.verdicts.remove(&id);
            }
        }
    }

    /// Moves jobs whose pause is over.
    fn take_due(&mut self, now: Instant) {
        let mut state = self.desk.lock();
        while let Some(place) = state.later.iter().position(|(at, _)| *at <= now) {
            let (_, job) = state.later.remove(place);
            state.arrivals.push_back(job);
        }
    }

    /// Gives a job to a connection, or lets it wait for one.
    fn place(&mut self, mut job: Job<A>, cx: &mut Cx<'_, A>) {
        let options = &self.desk.options;
        let key = match Key::of(&job.request.url, options) {
            Ok(key) => key,
            Err(error) => return self.complete(job, Err(error)),
        };
        let mut state = self.desk.lock();
        if let Some(connection) = state.take_idle(&key) {
            let id = job.id;
            if let Some(entry) = state.connections.get_mut(&connection) {
                entry.handed = Some(job);
            }
            state.places.insert(id, connection);
            state.reused += 1;
            cx.wake(connection);
            return;
        }
        let count = state.counts.get(&key).copied().unwrap_or(0);
        let total = state.connections.len();
        if count >= options.connections_per_origin_max || total >= options.connections_max {
            state.waiting.entry(key).or_default().push_back(job);
            return;
        }
        drop(state);
        job.attempts += 1;
        match dial(&self.desk, &key, cx) {
            Ok(token) => {
                let mut state = self.desk.lock();
                let waker = cx.waker_of(token);
                state.opened += 1;
                state.places.insert(job.id, token.into());
                *state.counts.entry(key.clone()).or_insert(0) += 1;
                let handed = Some(job);
                let connection = Connection { key, waker, handed };
                state.connections.insert(token.into(), connection);
            }
            Err(error) => {
                let outcome = Outcome::Failed { error, is_stale: false };
                self.decide(job, outcome, cx);
            }
        }
    }

    /// Makes connections for jobs that wait while there is room for more.
    fn place_waiting(&mut self, cx: &mut Cx<'_, A>) {
        loop {
            let options = &self.desk.options;
            let mut state = self.desk.lock();
            // The one that has waited longest goes first.
            let has_room = |(key, _): &(&Key, &VecDeque<Job<A>>)| {
                let count = state.counts.get(*key).copied().unwrap_or(0);
                count < options.connections_per_origin_max
            };
            let id = |(_, queue): &(&Key, &VecDeque<Job<A>>)| queue.front().map(|job| job.id);
            let first = state.waiting.iter().filter(has_room).min_by_key(id);
            let Some(key) = first.map(|(key, _)| key.clone()) else { return };
            if state.connections.len() >= options.connections_max {
                // One that rests for another server makes room. Its end wakes this source.
                if !state.idle.is_empty() {
                    let (_, connection) = state.idle.remove(0);
                    cx.close(connection);
                }
                return;
            }
            let queue = state.waiting.get_mut(&key);
            let job = queue.and_then(|queue| queue.pop_front());
            state.waiting.retain(|_, queue| !queue.is_empty());
            drop(state);
            let Some(job) = job else { return };
            self.place(job, cx);
        }
    }

    /// Decides what becomes of a job that a connection has given back.
    fn decide(&mut self, mut job: Job<A>, outcome: Outcome, cx: &mut Cx<'_, A>) {
        let verdict = self.desk.lock().verdicts.remove(&job.id);
        if let (Some(verdict), Outcome::Failed { error, .. }) = (verdict, &outcome) {
            let error = if error.may_be_done() { verdict.after_sending() } else { verdict };
            return self.complete(job, Err(error));
        }
        match outcome {
            Outcome::Whole { status, is_reused } => {
                let summary = summary(&job, status, is_reused, cx.now());
                self.complete(job, Ok(summary));
            }
            Outcome::Redirected { status, location } => {
                job.redirects += 1;
                // After these, a POST goes on as a GET: the server has done what it was asked.
                job.may_be_done |= status <= 303;
                let max = self.desk.options.redirects_max;
                if job.redirects > max {
                    let text = format!("{}: more than {max} redirections", shown(&job.request.url));
                    let error = Error::new(ErrorKind::TooManyRedirects, text);
                    return self.complete(job, Err(error));
                }
                match follow(&mut job.request, status, location.as_deref()) {
                    Ok(()) => {
                        job.attempts = 0;
                        self.desk.lock().arrivals.push_back(job);
                    }
                    Err(error) => self.complete(job, Err(error)),
                }
            }
            Outcome::Refused { status, after } => {
                let text = format!("{}: the server answers {status}", shown(&job.request.url));
                let error = Error::new(ErrorKind::NoAnswer, text);
                // These say that the server did not begin. A gateway knows no more than we do.
                job.may_be_done |= !matches!(status, 408 | 429 | 503);
                self.try_again(job, error, after, cx);
            }
            Outcome::Failed { error, is_stale } => self.after_failure(job, error, is_stale, cx),
        }
    }

    /// Makes another attempt where that does no harm.
    fn after_failure(&mut self, mut job: Job<A>, error: Error, is_stale: bool, cx: &mut Cx<'_, A>) {
        use ErrorKind as Kind;
        job.may_be_done |= error.may_be_done();
        let does_no_harm = !error.may_be_done() || job.request.is_idempotent();
        if is_stale && does_no_harm && job.request.body.restart() {
            // The server has ended a connection that rested. That happens to any client.
            job.attempts = job.attempts.saturating_sub(1);
            self.desk.lock().arrivals.push_back(job);
            return;
        }
        let may_pass = matches!(
            error.kind(),
            Kind::Connect
                | Kind::UnknownName
                | Kind::TimedOut
                | Kind::NoAnswer
                | Kind::Lost
                | Kind::Truncated
        );
        let has_more = job.attempts < self.desk.options.attempts_max;
        let may_again = may_pass && has_more && does_no_harm && job.request.body.restart();
        if may_again && (!job.is_delivered || again(&mut job, &error)) {
            return self.try_again(job, error, None, cx);
        }
        self.complete(job, Err(error));
    }

    /// Plans another attempt.
    fn try_again(
        &mut self,
        mut job: Job<A>,
        error: Error,
        after: Option<Duration>,
        cx: &mut Cx<'_, A>,
    ) {
        if !job.request.body.restart() {
            return self.complete(job, Err(error));
        }
        let bound = self.bound(job.attempts);
        let pause = match after {
            Some(after) => after.min(self.desk.options.pause_max),
            None => self.jitter(bound, cx),
        };
        job.receiver.with(|it| it.retrying(&error, pause, &mut cx.outside()));
        self.desk.lock().later.push((cx.now() + pause, job));
    }

    /// Returns the bound of the pause after so many attempts.
    fn bound(&self, attempts: u32) -> Duration {
        let options = &self.desk.options;
        let factor = 2_u32.saturating_pow(attempts.saturating_sub(1));
        options.pause_first.saturating_mul(factor).min(options.pause_max)
    }

    /// Returns a pause between half of the bound and all of it, so that clients that failed together
    /// do not come back together.
    fn jitter(&mut self, bound: Duration, cx: &Cx<'_, A>) -> Duration {
        use std::hash::{BuildHasher, RandomState};
        let seed = || RandomState::new().hash_one(cx.me());
        let given = self.desk.options.seed;
        let random = self.random.get_or_insert_with(|| Random::new(given.unwrap_or_else(seed)));
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos / 2 + random.below(nanos / 2 + 1))
    }

    /// Completes a job.
    fn complete(&mut self, job: Job<A>, result: Result<Summary, Error>) {
        let result = result.map_err(|error| error.of_attempts(job.may_be_done));
        let mut state = self.desk.lock();
        state.held.remove(&job.id);
        state.verdicts.remove(&job.id);
        if let Some(deadline) = job.deadline {
            state.deadlines.remove(&(deadline, job.id));
        }
        drop(state);
        self.done.extend(job.receiver.take().map(|receiver| (receiver, result)));
    }

    /// Sets when the source has to run next, or ends it.
    fn arm(&self, cx: &mut Cx<'_, A>) {
        let mut state = self.desk.lock();
        if state.is_closed && state.held.is_empty() {
            for (_, connection) in std::mem::take(&mut state.idle) {
                cx.close(connection);
            }
            cx.end(Reason::Finished);
            return;
        }
        let later = state.later.iter().map(|(at, _)| *at).min();
        let deadline = state.deadlines.first().map(|(at, _)| *at);
        let next = [later, deadline].into_iter().flatten().min();
        cx.set_timeout(next.map(|at| at.saturating_duration_since(cx.now())));
    }
}

/// Returns what is said of a job whose response was delivered.
fn summary<A>(job: &Job<A>, status: u16, is_reused: bool, now: Instant) -> Summary {
    Summary {
        status,
        url: job.request.url.clone(),
        redirects: job.redirects,
        attempts: job.attempts.max(1),
        is_reused,
        took: now.saturating_duration_since(job.accepted),
    }
}

/// Asks the receiver whether another attempt is made although it has a part of the response.
fn again<A>(job: &mut Job<A>, error: &Error) -> bool {
    let Job { receiver, request, .. } = job;
    receiver.with(|it| it.again(request, error)).unwrap_or(false)
}

impl<A: 'static> Handler<A> for Engine<A> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.proceed(cx);
        Ok(())
    }

    fn timeout(&mut self, _: reactor::Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.proceed(cx);
        Ok(())
    }

    /// Completes everything, also what a connection has that ends after this source.
    fn closed(mut self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        let why = match reason {
            Reason::Panicked => "the receiver of another request has panicked",
            _ => "the loop has stopped",
        };
        let stopped = || Error::new(ErrorKind::Cancelled, why);
        let jobs = self.desk.lock().shut();
        for job in jobs {
            self.complete(job, Err(stopped()));
        }
        let ended = std::mem::take(&mut self.desk.lock().ended);
        for (job, outcome) in ended {
            let result = match outcome {
                Outcome::Whole { status, is_reused } => {
                    Ok(summary(&job, status, is_reused, cx.now()))
                }
                Outcome::Failed { error, .. } => Err(error),
                // Another request would follow.
                Outcome::Redirected { .. } | Outcome::Refused { .. } => {
                    Err(stopped().after_sending())
                }
            };
            self.complete(job, result);
        }
        let held = std::mem::take(&mut self.desk.lock().held).into_values();
        let left = held.filter_map(|it| it.take());
        self.done.extend(left.map(|receiver| (receiver, Err(stopped().after_sending()))));
        while let Some((receiver, result)) = self.done.pop_front() {
            receiver.done(result, cx);
        }
    }

    fn name(&self) -> &'static str {
        "clients::http::Client"
    }
}
