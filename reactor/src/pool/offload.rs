//! Work that sources of a loop hand over.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::pool::error::SubmitError;
use crate::pool::job::Job;
use crate::pool::options::ThreadPoolCounts;
use crate::pool::queue::Queue;
use crate::pool::simulated::Workers;
use crate::pool::state::Entrant;
use crate::reactor::notifier::Notifier;
use crate::source::token::Home;
use crate::{Cx, Token, Waker, kernel};

/// Hands work of the connections and other sources of one loop over to a
/// [`ThreadPool`](crate::ThreadPool) ([`ThreadPool::attach`](crate::ThreadPool::attach)). It is a
/// handle: each service has a clone, or the application has one in its state.
///
/// A service hands work over and pauses. It is resumed when the result is there:
///
/// ```
/// use protocol::codecs::Lines;
/// use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
/// use reactor::{
///     Job, ListenOptions, Listener, Offload, Reactor, Stream, ThreadPool, ThreadPoolOptions,
/// };
///
/// /// Answers each line with the sum of its bytes, for which it takes its time.
/// struct Sums {
///     offload: Offload,
///     job: Option<Job<u64>>,
/// }
///
/// impl<A> Service<Lines, A> for Sums {
///     fn call(
///         &mut self,
///         line: &mut [u8],
///         reply: &mut Reply<'_, Lines>,
///         context: &mut Context<'_, A>,
///     ) -> Flow {
///         let bytes = line.to_vec();
///         match self.offload.run(context.me, move || bytes.into_iter().map(u64::from).sum()) {
///             Ok(job) => {
///                 self.job = Some(job);
///                 Flow::Pause
///             }
///             Err(error) => {
///                 reply.send(error.to_string().as_bytes());
///                 Flow::Continue
///             }
///         }
///     }
///
///     fn resume(&mut self, reply: &mut Reply<'_, Lines>, _: &mut Context<'_, A>) -> Flow {
///         let Some(job) = &mut self.job else { return Flow::Continue };
///         match job.take() {
///             // Something else has woken this connection.
///             None => return Flow::Pause,
///             Some(Ok(sum)) => reply.send(sum.to_string().as_bytes()),
///             Some(Err(error)) => reply.send(error.to_string().as_bytes()),
///         }
///         self.job = None;
///         Flow::Continue
///     }
/// }
///
/// let pool = ThreadPool::new(ThreadPoolOptions::DEFAULT)?;
/// let mut reactor = Reactor::new(())?;
/// let offload = pool.attach(&mut reactor.cx())?;
/// let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::DEFAULT)?;
/// Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), move |_peer| {
///     Conversation::new(Lines::default(), Sums { offload: offload.clone(), job: None })
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// When the connection ends, its service is dropped, and the [`Job`] with it: the work is not run, or
/// its result is dropped and counted. A loop that stops gracefully waits for a connection that
/// pauses, so the client still gets its answer.
#[derive(Clone)]
pub struct Offload {
    queue: Arc<Queue>,
    notifier: Arc<Notifier>,
    home: Home,
    /// Wakes what runs the jobs of a simulated host.
    workers: Option<Waker>,
}

impl Offload {
    /// Returns what hands work over for the sources of a loop.
    pub(super) fn new<A: 'static, P>(queue: Arc<Queue>, cx: &mut Cx<'_, A, P>) -> io::Result<Self> {
        let workers = if kernel::is_simulated() {
            let workers = cx.spawn(Workers::new(&queue))?;
            Some(cx.waker_of(workers))
        } else {
            None
        };
        let (notifier, home) = (Arc::clone(&cx.core.notifier), cx.core.home);
        Ok(Self { queue, notifier, home, workers })
    }

    /// Hands work over. `source` is woken when the result is there: the [`Service::resume`] of a
    /// connection is called, or the [`Handler::ready`](crate::Handler::ready) of another source. A
    /// source of another loop is not woken.
    ///
    /// It never blocks. If the queue is full, the work waits in front of it, in the order in which it
    /// came, together with that of other connections and loops. Each connection has one place there.
    /// So a service that pauses until it has its result needs to know nothing of this: its connection
    /// pauses longer.
    ///
    /// [`Service::resume`]: protocol::Service::resume
    ///
    /// # Errors
    /// When work of this connection waits for room already ([`SubmitErrorKind::Full`]): a service with
    /// several jobs at once pauses then, until one of them has its result. When too many connections
    /// wait, and when the pool is shut down or in another process. The error contains the work.
    ///
    /// [`SubmitErrorKind::Full`]: crate::SubmitErrorKind::Full
    pub fn run<T, F>(&self, source: impl Into<Token>, work: F) -> Result<Job<T>, SubmitError<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let source = source.into();
        let waker = Waker::new(Arc::clone(&self.notifier), source.tag_in(self.home));
        let (job, _) = super::enter(&self.queue, Entrant::Source(source), Some(waker), work)?;
        if let Some(workers) = &self.workers {
            // If the loop is gone, so are its connections.
            let _ = workers.wake();
        }
        Ok(job)
    }

    /// Returns what the pool has and has done ([`ThreadPool::counts`](crate::ThreadPool::counts)).
    pub fn counts(&self) -> ThreadPoolCounts {
        self.queue.counts()
    }
}

impl fmt::Debug for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload").field("counts", &self.queue.counts()).finish_non_exhaustive()
    }
}
