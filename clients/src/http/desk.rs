//! What a client, its source and its connections share.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use protocol::ConnectionId;
use protocol::http::ClientOptions;
use protocol::tls::TlsClient;
use reactor::Waker;

use super::route::Key;
use super::{Error, Options, Receiver, Request};

/// A time that is longer than any exchange.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A receiver. What takes it completes its exchange, so that it is completed once. The desk has it as
/// well as the job: a connection may end after the source of the client, and has nothing to complete
/// its exchange with. Only the thread of the loop uses it.
pub(super) struct Held<A>(Arc<Mutex<Option<Box<dyn Receiver<A>>>>>);

impl<A> Held<A> {
    pub(super) fn new(receiver: Box<dyn Receiver<A>>) -> Self {
        Self(Arc::new(Mutex::new(Some(receiver))))
    }

    /// Calls the receiver, unless its exchange is complete.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut dyn Receiver<A>) -> T) -> Option<T> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = held.as_deref_mut()?;
        Some(work(receiver))
    }

    /// Takes the receiver, unless its exchange is complete.
    pub(super) fn take(&self) -> Option<Box<dyn Receiver<A>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<A> Clone for Held<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A request, until it is complete.
pub(super) struct Job<A> {
    pub(super) id: u64,
    pub(super) request: Request,
    pub(super) receiver: Held<A>,
    pub(super) accepted: Instant,
    pub(super) deadline: Option<Instant>,
    pub(super) redirects: u32,
    /// How often the present request was tried.
    pub(super) attempts: u32,
    /// Whether a server may have carried out the request, or what it was before a redirection, in an
    /// attempt that has failed.
    pub(super) may_be_done: bool,
    /// Whether the receiver was given the head of a response.
    pub(super) is_delivered: bool,
}

/// What became of a job on one connection.
pub(super) enum Outcome {
    /// Its response was delivered.
    Whole { status: u16, is_reused: bool },
    /// Its response redirects.
    Redirected { status: u16, location: Option<Vec<u8>> },
    /// Its response is a reason for another attempt, perhaps after this time.
    Refused { status: u16, after: Option<Duration> },
    /// There is no whole response.
    Failed {
        error: Error,
        /// The connection had been used before, and the server ended it before it began to answer.
        is_stale: bool,
    },
}

/// One connection.
pub(super) struct Connection<A> {
    pub(super) key: Key,
    pub(super) waker: Waker,
    /// The job that it is to take next.
    pub(super) handed: Option<Job<A>>,
}

/// What is behind the lock.
pub(super) struct State<A> {
    /// Wakes the source of the client.
    pub(super) engine: Option<Waker>,
    pub(super) next_id: u64,
    /// No further request is accepted.
    pub(super) is_closed: bool,
    /// Jobs that need a connection.
    pub(super) arrivals: VecDeque<Job<A>>,
    /// Jobs whose connection has no more to do with them.
    pub(super) ended: VecDeque<(Job<A>, Outcome)>,
    /// Jobs that wait until a connection of their key is free.
    pub(super) waiting: HashMap<Key, VecDeque<Job<A>>>,
    /// Jobs that wait for their next attempt.
    pub(super) later: Vec<(Instant, Job<A>)>,
    pub(super) connections: HashMap<ConnectionId, Connection<A>>,
    /// How many connections there are of each key.
    pub(super) counts: HashMap<Key, usize>,
    /// Connections without a job, the one that was used last at the end.
    pub(super) idle: Vec<(Key, ConnectionId)>,
    /// Which connection has a job.
    pub(super) places: HashMap<u64, ConnectionId>,
    /// Until when each job has to be complete.
    pub(super) deadlines: BTreeSet<(Instant, u64)>,
    /// Jobs to end, and why.
    pub(super) verdicts: HashMap<u64, Error>,
    /// Verdicts that the source has not carried out.
    pub(super) to_end: Vec<u64>,
    /// The receivers of all jobs that are not complete.
    pub(super) held: BTreeMap<u64, Held<A>>,
    pub(super) opened: u64,
    pub(super) reused: u64,
}

/// What a client, its source and its connections share. The lock is held for a few instructions; no
/// code of the application runs under it.
pub(super) struct Desk<A> {
    pub(super) options: Options,
    /// The limits of HTTP of each connection.
    pub(super) http: Arc<ClientOptions>,
    tls: OnceLock<Result<TlsClient, Error>>,
    state: Mutex<State<A>>,
}

impl<A> Desk<A> {
    pub(super) fn new(options: Options) -> io::Result<Self> {
        // The courier watches over times: it knows when a receiver pauses.
        let http =
            ClientOptions { head_timeout: NEVER, body_timeout: NEVER, ..ClientOptions::default() };
        let refuse = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        options.check().map_err(refuse)?;
        let http = http.shared().map_err(|error| refuse(error.to_string()))?;
        let state = State {
            engine: None,
            next_id: 1,
            is_closed: false,
            arrivals: VecDeque::new(),
            ended: VecDeque::new(),
            waiting: HashMap::new(),
            later: Vec::new(),
            connections: HashMap::new(),
            counts: HashMap::new(),
            idle: Vec::new(),
            places: HashMap::new(),
            deadlines: BTreeSet::new(),
            verdicts: HashMap::new(),
            to_end: Vec::new(),
            held: BTreeMap::new(),
            opened: 0,
            reused: 0,
        };
        Ok(Self { options, http, tls: OnceLock::new(), state: Mutex::new(state) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what makes the layers of connections, which is made when it is needed first.
    pub(super) fn tls(&self) -> Result<TlsClient, Error> {
        self.tls.get_or_init(|| self.options.make_tls()).clone()
    }
}

impl<A> State<A> {
    /// Wakes the source of the client. One that is gone has nothing left to do.
    pub(super) fn wake_engine(&self) {
        if let Some(engine) = &self.engine {
            let _ = engine.wake();
        }
    }

    /// Takes the job that was handed to a connection, or one that waits for such a connection.
    pub(super) fn take_job(&mut self, me: ConnectionId) -> Option<Job<A>> {
        let connection = self.connections.get_mut(&me)?;
        let job = match connection.handed.take() {
            Some(job) => job,
            None => {
                let waiting = self.waiting.get_mut(&connection.key)?;
                let job = waiting.pop_front();
                if waiting.is_empty() {
                    self.waiting.remove(&connection.key);
                }
                job?
            }
        };
        self.idle.retain(|(_, id)| *id != me);
        self.places.insert(job.id, me);
        Some(job)
    }

    /// Records that a connection has no job and can take one.
    pub(super) fn rest(&mut self, me: ConnectionId) {
        if let Some(connection) = self.connections.get(&me)
            && !self.idle.iter().any(|(_, id)| *id == me)
        {
            self.idle.push((connection.key.clone(), me));
        }
    }

    /// Gives a job back. A client whose source has ended has completed it.
    pub(super) fn give_back(&mut self, job: Job<A>, outcome: Outcome) {
        self.places.remove(&job.id);
        if self.engine.is_some() {
            self.ended.push_back((job, outcome));
            self.wake_engine();
        }
    }

    /// Accepts no more jobs, and returns those of which nothing is being sent, the oldest first.
    pub(super) fn shut(&mut self) -> Vec<Job<A>> {
        self.is_closed = true;
        self.engine = None;
        let waiting = std::mem::take(&mut self.waiting).into_values().flatten();
        let later = std::mem::take(&mut self.later).into_iter().map(|(_, job)| job);
        let handed = self.connections.values_mut().filter_map(|it| it.handed.take());
        let jobs = std::mem::take(&mut self.arrivals).into_iter().chain(waiting);
        let mut jobs: Vec<_> = jobs.chain(later).chain(handed).collect();
        jobs.sort_by_key(|job| job.id);
        jobs
    }

    /// Forgets a connection that has ended. Returns the job that it has not taken.
    pub(super) fn forget(&mut self, me: ConnectionId) -> Option<Job<A>> {
        self.idle.retain(|(_, id)| *id != me);
        let connection = self.connections.remove(&me)?;
        if let Some(count) = self.counts.get_mut(&connection.key) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&connection.key);
            }
        }
        // There is room for another connection.
        self.wake_engine();
        connection.handed
    }

    /// Takes a connection without a job that suits, the one that was used last: the others become
    /// old.
    pub(super) fn take_idle(&mut self, key: &Key) -> Option<ConnectionId> {
        let place = self.idle.iter().rposition(|(it, _)| it == key)?;
        Some(self.idle.remove(place).1)
    }

    /// Removes a job that waits, wherever it does.
    pub(super) fn remove_waiting(&mut self, id: u64) -> Option<Job<A>> {
        let find = |queue: &mut VecDeque<Job<A>>| {
            let place = queue.iter().position(|job| job.id == id)?;
            queue.remove(place)
        };
        if let Some(job) = find(&mut self.arrivals) {
            return Some(job);
        }
        if let Some(place) = self.later.iter().position(|(_, job)| job.id == id) {
            return Some(self.later.remove(place).1);
        }
        let job = self.waiting.values_mut().find_map(find);
        self.waiting.retain(|_, queue| !queue.is_empty());
        job
    }
}
