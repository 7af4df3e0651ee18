//! Names of hosts and services to addresses, without blocking the loop.

pub(crate) mod error;
pub(crate) mod flights;
pub(crate) mod literal;
mod lookup;
mod pool;
pub(crate) mod query;
pub(crate) mod resolved;

use std::fmt;
use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::net::resolver::error::ResolveError;
use crate::net::resolver::flights::Waiter;
use crate::net::resolver::lookup::{Desk, Lookup, Ticket};
use crate::net::resolver::pool::Pool;
use crate::net::resolver::query::Query;
use crate::net::resolver::resolved::Resolved;
use crate::{Cx, LoopCx, Token};

/// The limits of a [`Resolver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolverOptions {
    /// How many lookups run at once, each on a thread of its own. Threads are started when they are
    /// needed, and end after 5 to 10 s without work. Default 4: a lookup mostly waits for a name server.
    /// When all of them wait for a dead one, other lookups have to wait too.
    pub threads_max: usize,
    /// How many lookups may wait for an answer, those that share one included. Default 1,024.
    pub waiting_max: usize,
    /// How long a lookup may take, with its wait for a thread. Default 10 s: the system asks a name
    /// server that does not answer again after 5 s (`resolv.conf(5)`).
    pub timeout: Duration,
}

impl ResolverOptions {
    /// The defaults.
    pub const DEFAULT: Self =
        Self { threads_max: 4, waiting_max: 1024, timeout: Duration::from_secs(10) };

    fn check(&self) -> io::Result<()> {
        if self.threads_max == 0 || self.waiting_max == 0 || self.timeout.is_zero() {
            let text = "a resolver needs at least one thread, one that may wait, and some time";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }
}

impl Default for ResolverOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Resolves the names of hosts and services without blocking the loop: a handle to a small pool of
/// threads that call `getaddrinfo(3)`. So names come from the hosts file and the name servers, as
/// `nsswitch.conf(5)` says.
///
/// Equal questions at one time are looked up once. IP addresses with a numeric port need no thread.
/// The threads handle no signals.
/// On a simulated host, no thread is used: the names of the simulation count
/// ([`Sim::name`](crate::sim::Sim::name)).
///
/// ```
/// use reactor::{Query, Reactor, Resolver};
///
/// let mut reactor = Reactor::new(Vec::new())?;
/// let query = Query::new("localhost").service("8080");
/// Resolver::shared().resolve(query, &mut reactor.cx(), |answer, cx| {
///     *cx.app = answer.expect("every machine has this name").addresses();
///     cx.stop();
/// })?;
/// reactor.run()?;
/// assert!(reactor.app.iter().any(|address| address.port() == 8080));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It is a handle: clones of it are equal, and share their threads.
#[derive(Clone)]
pub struct Resolver {
    pool: Arc<Pool>,
}

impl Resolver {
    /// Returns a resolver with threads of its own.
    ///
    /// # Errors
    /// When a limit is zero.
    pub fn new(options: ResolverOptions) -> io::Result<Self> {
        Self::with_function(options, Query::ask_system)
    }

    /// Returns a resolver that looks names up with `look_up` instead of `getaddrinfo(3)`. The
    /// function is called on the threads of the resolver, and may block.
    ///
    /// # Errors
    /// When a limit is zero.
    pub fn with_function(
        options: ResolverOptions,
        look_up: impl Fn(&Query) -> Result<Resolved, ResolveError> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        options.check()?;
        Ok(Self { pool: Arc::new(Pool::new(options, Box::new(look_up))) })
    }

    /// Returns the resolver of the process, which has the default options. In a process that was
    /// forked after its first use, each thread has its own.
    pub fn shared() -> Self {
        static SHARED: OnceLock<Resolver> = OnceLock::new();
        thread_local! {
            static OWN: Resolver = Resolver::with_defaults();
        }
        let shared = SHARED.get_or_init(Self::with_defaults);
        if shared.pool.is_copy() { OWN.with(Self::clone) } else { shared.clone() }
    }

    /// Returns a resolver with the default options.
    fn with_defaults() -> Self {
        Self { pool: Arc::new(Pool::new(ResolverOptions::DEFAULT, Box::new(Query::ask_system))) }
    }

    /// Returns the limits.
    pub fn options(&self) -> &ResolverOptions {
        &self.pool.options
    }

    /// Looks `query` up, and calls `done` with the answer: exactly once, on this loop, and not before
    /// this call has returned. Closing the token cancels the lookup; `done` is told that too. A loop
    /// that winds down does not wait for it.
    ///
    /// What went wrong is a [`ResolveError`]: among others, that the answer took longer than
    /// [`ResolverOptions::timeout`], or that too many lookups wait.
    ///
    /// # Errors
    /// A loop that is being dropped refuses; `done` is dropped without being called.
    pub fn resolve<A: 'static, P>(
        &self,
        query: Query,
        cx: &mut Cx<'_, A, P>,
        done: impl FnOnce(Result<Arc<Resolved>, ResolveError>, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        self.resolve_within(self.pool.options.timeout, query, cx, done)
    }

    /// Looks `query` up as [`resolve`](Self::resolve) does. The answer may take `timeout`, and no longer
    /// than [`ResolverOptions::timeout`].
    ///
    /// # Errors
    /// As for [`resolve`](Self::resolve).
    pub fn resolve_within<A: 'static, P>(
        &self,
        timeout: Duration,
        query: Query,
        cx: &mut Cx<'_, A, P>,
        done: impl FnOnce(Result<Arc<Resolved>, ResolveError>, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        let (answers, receiver) = channel();
        let timeout = timeout.min(self.pool.options.timeout);
        let (desk, id) = (Desk::new(&self.pool), self.pool.next_id());
        let ticket = Ticket { desk: desk.clone(), query: query.clone(), id };
        let token = cx.spawn(Lookup { ticket, answers: receiver, call: Some(done), timeout })?;
        cx.set_timeout_of(token, timeout);
        if let Some(found) = literal::of(&query) {
            // The receiver is in the source.
            let _ = answers.send(Ok(Arc::new(found)));
            cx.wake(token);
            return Ok(token);
        }
        let waiter = Waiter { id, answers: answers.clone(), waker: cx.waker_of(token) };
        if let Err(kind) = desk.join(&query, waiter) {
            let _ = answers.send(Err(ResolveError::new(query, kind)));
            cx.wake(token);
        }
        Ok(token)
    }
}

impl PartialEq for Resolver {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pool, &other.pool)
    }
}

impl Eq for Resolver {}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("options", &self.pool.options).finish_non_exhaustive()
    }
}
