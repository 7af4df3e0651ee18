//! The engine of forwarding: all questions that are being asked, without I/O.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use log::warn;
use protocol::ConnectionId;
use protocol::dns::ResponseCode;
use reactor::Folding;
use slab::Slab;

use super::failures::Failures;
use super::flight::{Done, Flight, Next, Route, Waiter, key};
use super::ports::Ports;
use super::secrets::Secrets;
use super::server::Server;
use crate::dns::args::PortRange;
use crate::dns::front::Asked;
use crate::dns::process_secrets::{MARK_SIZE, Marks};

/// What the questions of clients add to the budget of hedges, in thousandths, and the most that it has.
/// So one question of ten is asked twice before its answer is late.
const HEDGE_SHARE: u32 = 100;
const HEDGE_BUDGET_MAX: u32 = 20_000;
const HEDGE_COST: u32 = 1000;
/// How many servers may send a question on, one after the other.
const MARKS_MAX: usize = 8;
/// For how long an upstream that refuses EDNS is asked without it.
pub(super) const PLAIN_FOR: Duration = Duration::from_secs(600);

/// The limits of the engine.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct EngineOptions {
    pub(in crate::dns) deadline: Duration,
    pub(in crate::dns) tries: usize,
    /// How many clients may wait.
    pub(in crate::dns) waiting_max: usize,
    /// How many ports each upstream has, and after how many questions one is replaced.
    pub(in crate::dns) ports: usize,
    pub(in crate::dns) port_questions: u32,
    pub(in crate::dns) port_range: PortRange,
    pub(in crate::dns) varies_case: bool,
    pub(in crate::dns) udp_size: u16,
    /// For how long a failure is kept at most; zero keeps none.
    pub(in crate::dns) failure_kept_max: Duration,
}

/// What becomes of a question of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Begun {
    /// Its answer follows.
    Waits,
    /// This client has sent it again. The first one is answered.
    Repeated,
    /// It is one of this server, which has come back.
    Looped,
    /// Too many clients wait, or there is no upstream.
    Full,
    /// It has failed a moment ago, and is not asked again yet.
    Failed(ResponseCode),
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::dns) struct EngineCounts {
    pub(in crate::dns) asked: u64,
    pub(in crate::dns) joined: u64,
    pub(in crate::dns) hedged: u64,
    pub(in crate::dns) retried: u64,
    pub(in crate::dns) failed: u64,
    pub(in crate::dns) refused_full: u64,
    pub(in crate::dns) looped: u64,
    /// Questions that were not asked since they had failed a moment ago.
    pub(in crate::dns) failed_before: u64,
    /// Answers that were dropped, since nothing was asked with their number from their port, or their
    /// question is another one, or is spelled differently.
    pub(in crate::dns) wrong_number: u64,
    pub(in crate::dns) wrong_question: u64,
    pub(in crate::dns) wrong_case: u64,
    /// The same, since their cookie is another one, or is missing although the upstream has sent some before.
    /// For one that is missing, the upstream is asked again over TCP.
    pub(in crate::dns) wrong_cookie: u64,
    pub(in crate::dns) missing_cookie: u64,
    /// Datagrams of upstreams that are no messages.
    pub(in crate::dns) malformed: u64,
}

/// A question that is to be asked over TCP.
#[derive(Debug)]
pub(in crate::dns) struct TcpOrder {
    pub(in crate::dns) upstream: usize,
    pub(in crate::dns) ticket: Ticket,
    pub(in crate::dns) question: Vec<u8>,
}

/// Names an attempt over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct Ticket {
    pub(super) flight: usize,
    pub(super) serial: u64,
    pub(super) attempt: usize,
}

/// All questions that are being asked.
pub(in crate::dns) struct Engine {
    pub(super) options: EngineOptions,
    pub(super) secrets: Secrets,
    pub(super) marks: Marks,
    pub(super) servers: Vec<Server>,
    /// The upstreams of each group. The first group is for questions that no rule names.
    pub(super) groups: Vec<Vec<usize>>,
    pub(super) flights: Slab<Flight>,
    by_key: HashMap<Box<[u8]>, usize>,
    due: BTreeSet<(Instant, usize)>,
    pub(super) failures: Failures,
    waiting: usize,
    next_serial: u64,
    hedge_budget: u32,
    pub(in crate::dns) ports: Ports,
    /// Sockets to wake, and questions to ask over TCP.
    pub(in crate::dns) wakes: Vec<ConnectionId>,
    pub(in crate::dns) tcp: VecDeque<TcpOrder>,
    pub(in crate::dns) counts: EngineCounts,
    pub(super) log: Folding,
}

impl Engine {
    /// Returns an engine. Each group has its upstreams; one that is in several groups is one upstream.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(in crate::dns) fn new(
        groups: &[Vec<SocketAddr>],
        options: EngineOptions,
        marks: Marks,
    ) -> io::Result<Self> {
        let mut servers: Vec<Server> = Vec::new();
        let mut place = |address: &SocketAddr| {
            servers.iter().position(|it| it.address == *address).unwrap_or_else(|| {
                servers.push(Server::new(*address));
                servers.len() - 1
            })
        };
        let groups: Vec<Vec<usize>> = groups
            .iter()
            .map(|group| {
                let mut places: Vec<usize> = group.iter().map(&mut place).collect();
                places.sort_unstable();
                places.dedup();
                places
            })
            .collect();
        let ports = Ports::new(servers.len(), options.ports, options.port_questions);
        Ok(Self {
            options,
            secrets: Secrets::new()?,
            marks,
            servers,
            groups,
            flights: Slab::new(),
            by_key: HashMap::new(),
            due: BTreeSet::new(),
            failures: Failures::new(options.failure_kept_max, Instant::now()),
            waiting: 0,
            next_serial: 0,
            hedge_budget: HEDGE_BUDGET_MAX,
            ports,
            wakes: Vec::new(),
            tcp: VecDeque::new(),
            counts: EngineCounts::default(),
            log: Folding::default(),
        })
    }

    /// Returns the upstreams.
    pub(in crate::dns) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Returns how many clients wait.
    pub(in crate::dns) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns when [`expire`](Self::expire) has something to do.
    pub(in crate::dns) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Asks the upstreams of a group, unless the same question is being asked: then the client waits for
    /// its answer too.
    pub(in crate::dns) fn ask(&mut self, waiter: Waiter, group: usize, now: Instant) -> Begun {
        if self.has_looped(&waiter.asked) {
            self.counts.looped += 1;
            return Begun::Looped;
        }
        let key = key(&waiter.asked);
        if let Some(place) = self.by_key.get(&key) {
            return self.join(*place, waiter);
        }
        if let Some(code) = self.failures.look_up(&key, now) {
            self.counts.failed_before += 1;
            return Begun::Failed(code);
        }
        let is_full = self.waiting >= self.options.waiting_max
            || self.flights.len() >= self.options.waiting_max.saturating_mul(2);
        if is_full || self.groups.get(group).is_none_or(Vec::is_empty) {
            self.counts.refused_full += 1;
            return Begun::Full;
        }
        self.counts.asked += 1;
        self.waiting += 1;
        self.next_serial += 1;
        self.hedge_budget = (self.hedge_budget + HEDGE_SHARE).min(HEDGE_BUDGET_MAX);
        let place = self.flights.insert(Flight {
            serial: self.next_serial,
            key: key.clone(),
            asked: waiter.asked.clone(),
            group,
            waiters: vec![waiter],
            attempts: Vec::with_capacity(2),
            deadline: now + self.options.deadline,
            due: now,
            next: Next::GiveUp,
            retry_at: now,
            pause: Duration::ZERO,
            failure: None,
        });
        self.by_key.insert(key, place);
        self.due.insert((now, place));
        self.begin(place, now);
        Begun::Waits
    }

    /// Returns whether a question was sent by this process before, or by so many servers that it will be.
    fn has_looped(&self, asked: &Asked) -> bool {
        asked.marks.len() >= MARKS_MAX * MARK_SIZE || self.marks.have_made_one_of(&asked.marks)
    }

    /// Waits for the answer to a question that is being asked.
    fn join(&mut self, place: usize, waiter: Waiter) -> Begun {
        let flight = &mut self.flights[place];
        if flight.is_own(&waiter.asked) {
            self.counts.looped += 1;
            return Begun::Looped;
        }
        let is_same = |other: &Waiter| {
            other.client == waiter.client && other.asked.header.id == waiter.asked.header.id
        };
        if waiter.client.peer.is_some() && flight.waiters.iter().any(is_same) {
            return Begun::Repeated;
        }
        if self.waiting >= self.options.waiting_max {
            self.counts.refused_full += 1;
            return Begun::Full;
        }
        self.waiting += 1;
        self.counts.joined += 1;
        flight.waiters.push(waiter);
        Begun::Waits
    }

    /// Plans what comes next for a flight.
    pub(super) fn schedule(&mut self, place: usize, next: Next, at: Instant) {
        let flight = &mut self.flights[place];
        self.due.remove(&(flight.due, place));
        let is_last = at >= flight.deadline;
        (flight.next, flight.due) =
            if is_last { (Next::GiveUp, flight.deadline) } else { (next, at) };
        self.due.insert((flight.due, place));
    }

    /// Does what is due. Returns the questions that will have no answer.
    pub(in crate::dns) fn expire(&mut self, now: Instant) -> Vec<Done> {
        let mut done = Vec::new();
        while let Some((due, place)) = self.due.first().copied()
            && due <= now
        {
            let flight = &self.flights[place];
            match flight.next {
                Next::GiveUp => done.extend(self.give_up(place, now)),
                _ if flight.is_answered() => {
                    let deadline = flight.deadline;
                    self.schedule(place, Next::GiveUp, deadline);
                }
                Next::Hedge => {
                    let retry_at = flight.retry_at;
                    if self.hedge_budget >= HEDGE_COST {
                        self.hedge_budget -= HEDGE_COST;
                        self.counts.hedged += 1;
                        self.send_next(place, now);
                    }
                    self.schedule(place, Next::Retry, retry_at.max(now));
                }
                Next::Retry => self.retry(place, now),
            }
        }
        done
    }

    /// Asks again, and plans the attempt after that.
    pub(super) fn retry(&mut self, place: usize, now: Instant) {
        if self.flights[place].attempts.len() < self.options.tries {
            self.counts.retried += 1;
            self.send_next(place, now);
        }
        let flight = &mut self.flights[place];
        flight.pause = flight.pause.max(Duration::from_millis(50)) * 2;
        let at = now + flight.pause;
        self.schedule(place, Next::Retry, at);
    }

    /// Ends a question at its deadline.
    fn give_up(&mut self, place: usize, now: Instant) -> Option<Done> {
        for number in 0..self.flights[place].attempts.len() {
            let attempt = &self.flights[place].attempts[number];
            if attempt.is_pending {
                self.servers[attempt.upstream].counts.failed += 1;
            }
        }
        let failure = self.flights[place].failure;
        let asked = self.flights[place].asked.clone();
        let code = failure.unwrap_or(ResponseCode::SERVFAIL);
        let done = self.finish(place, Some(code), now);
        if done.is_some() {
            self.counts.failed += 1;
            self.complain_of(&asked, now);
        }
        self.remove(place);
        done
    }

    #[cold]
    fn complain_of(&mut self, asked: &Asked, now: Instant) {
        let text = format!("no upstream has answered {} {} in time", asked.name, asked.kind);
        self.complain(now, &text);
    }

    /// Logs a failure, unless there was one a moment ago.
    #[cold]
    pub(super) fn complain(&mut self, now: Instant, text: &str) {
        if let Some(folded) = self.log.admit(now) {
            warn!("{text}{folded}");
        }
    }

    /// Takes the clients that wait for a flight, with how it ends for them.
    pub(super) fn finish(
        &mut self,
        place: usize,
        failure: Option<ResponseCode>,
        now: Instant,
    ) -> Option<Done> {
        let flight = &mut self.flights[place];
        let waiters = std::mem::take(&mut flight.waiters);
        if waiters.is_empty() {
            return None;
        }
        self.by_key.remove(&flight.key);
        match failure {
            Some(code) => self.failures.failed(&flight.key, code, now),
            None => self.failures.answered(&flight.key),
        }
        self.waiting -= waiters.len();
        Some(Done { waiters, failure })
    }

    /// Removes a flight that is answered, unless an upstream owes an answer that tells its latency.
    pub(super) fn remove_if_settled(&mut self, place: usize) {
        if self.flights[place].is_answered() && !self.flights[place].has_pending() {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: usize) {
        let flight = self.flights.remove(place);
        self.due.remove(&(flight.due, place));
        for attempt in &flight.attempts {
            if let (Route::Datagram { port, number, .. }, true) =
                (&attempt.route, attempt.is_pending)
            {
                self.ports.settled(*port, *number);
            }
        }
    }
}

#[cfg(test)]
mod tests;
