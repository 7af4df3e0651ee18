//! Several loops on threads of their own: one for each processor, for example.
//!
//! [`Group`] starts the threads and stops them. A connection goes from a [`GroupListener`] through an
//! `Entrance` to a loop: directly, or through the acceptor (`hand_over`), which chooses the loop by its
//! `Seat` and puts the connection into its `Inbox`, from which the loop takes it.

mod entrance;
mod hand_over;
mod inbox;
mod listener;
mod member;
mod options;
mod outcome;
pub(crate) mod seat;
mod shared;
mod threads;
mod watch;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::group::entrance::Entrance;
use crate::group::shared::Shared;
use crate::group::threads::{Made, Start, run_acceptor, run_member};
use crate::sys::{self, Process};
use crate::{Counters, Reactor, Remote, Waker, kernel};

pub use entrance::Entrances;
pub use listener::GroupListener;
pub use member::Member;
pub use options::{Accept, Balance, GroupOptions, Pinning, WhenOneFails};
pub use outcome::{Ended, Outcome};

/// Several loops on threads of their own, which share the work of a program.
///
/// Each loop has its own state, `A`, so no handler waits for a lock. What loops have to share, the
/// application shares by means of its own, such as an [`Arc`]; a message to another loop is a closure
/// that is posted to it ([`Member::loops`]).
///
/// ```
/// use protocol::codecs::Bytes;
/// use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
/// use reactor::{Accept, Group, GroupListener, GroupOptions, ListenOptions, Reactor, Stream};
/// use std::io::{Read, Write};
/// use std::num::NonZeroUsize;
/// use std::time::Duration;
///
/// /// Sends back what it receives, and counts it.
/// struct Echo;
///
/// impl Service<Bytes, usize> for Echo {
///     fn call(
///         &mut self,
///         bytes: &mut [u8],
///         reply: &mut Reply<'_, Bytes>,
///         context: &mut Context<'_, usize>,
///     ) -> Flow {
///         *context.app += bytes.len();
///         reply.send(bytes);
///         Flow::Continue
///     }
/// }
///
/// let threads = NonZeroUsize::new(2).expect("it is not zero");
/// let any = "127.0.0.1:0".parse()?;
/// let options = ListenOptions::default();
/// let listener = GroupListener::bind(&any, &options, Accept::default(), threads)?;
/// let address = listener.address().expect("it is bound").to_string();
///
/// let options = GroupOptions { threads, ..GroupOptions::default() };
/// let group = Group::start(
///     options,
///     vec![listener],
///     |member| {
///         let mut reactor = Reactor::new(0)?;
///         member.accept(0, &mut reactor.cx(), |accepted, cx| {
///             let session = Conversation::new(Bytes, Echo);
///             Stream::new(session, Limits::DEFAULT).register(accepted, cx).map(drop)
///         })?;
///         Ok(reactor)
///     },
///     |count| *count,
/// )?;
///
/// for _ in 0..4 {
///     let mut client = std::net::TcpStream::connect(&address)?;
///     client.write_all(b"hello")?;
///     client.read_exact(&mut [0; 5])?;
/// }
/// group.stop_gracefully(Duration::from_secs(5));
/// let ended = group.join();
/// ended.check()?;
/// assert_eq!(ended.loops.iter().filter_map(|it| it.state).sum::<usize>(), 20);
/// assert_eq!(ended.counters().accepts, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping a group stops its loops at once and waits for them.
pub struct Group<A: 'static, R = ()> {
    shared: Arc<Shared<A>>,
    loops: Vec<JoinHandle<Option<Outcome<R>>>>,
    acceptor: Option<JoinHandle<Outcome<()>>>,
    /// The process that has the threads.
    process: Process,
}

/// A thread that waits until the group has come about.
struct Waiting<T> {
    gate: Sender<()>,
    thread: JoinHandle<T>,
}

impl<A: 'static, R: Send + 'static> Group<A, R> {
    /// Starts the loops. `make` is called on the thread of each of them: it makes the loop with its
    /// state, and registers what it has. No loop runs before all are made. When a loop has ended,
    /// `finish` is called on its thread, and makes of the state what [`join`](Self::join) returns, so
    /// the state itself need not be [`Send`].
    ///
    /// The threads block all signals, so other threads of the program handle them. A loop of the group
    /// gets those that it listens to all the same ([`Cx::on_signals`](crate::Cx::on_signals)).
    ///
    /// # Errors
    /// The first error of `make`, or its panic; then no loop runs. When a listener has not the sockets
    /// that it needs ([`GroupListener::from_listeners`]), or the system gives no thread or descriptor.
    /// A simulated host ([`sim`](crate::sim)) has no threads, and refuses.
    pub fn start<F, G>(
        options: GroupOptions,
        listeners: Vec<GroupListener>,
        make: F,
        finish: G,
    ) -> io::Result<Self>
    where
        F: Fn(&Member<A>) -> io::Result<Reactor<A>> + Send + Sync + 'static,
        G: Fn(&mut A) -> R + Send + Sync + 'static,
    {
        Self::start_when(options, listeners, make, finish, || Ok(()))
    }

    /// Starts the loops as [`start`](Self::start) does, once `ready` returns. It is called on this
    /// thread when all loops are made and before any runs, so nothing is accepted yet. A program that
    /// takes over from another one waits there until that accepts nothing more.
    ///
    /// # Errors
    /// As for [`start`](Self::start), and the error of `ready`; then no loop runs.
    pub fn start_when<F, G>(
        options: GroupOptions,
        listeners: Vec<GroupListener>,
        make: F,
        finish: G,
        ready: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Self>
    where
        F: Fn(&Member<A>) -> io::Result<Reactor<A>> + Send + Sync + 'static,
        G: Fn(&mut A) -> R + Send + Sync + 'static,
    {
        if kernel::is_simulated() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a simulated host has no threads, so it cannot run a group of loops; give each loop a \
                 host of its own",
            ));
        }
        options.check()?;
        let threads = options.threads.get();
        let entrance = |listener| Entrance::new(listener, threads);
        let entrances = listeners.into_iter().map(entrance).collect::<io::Result<Vec<_>>>()?;
        let shared = Arc::new(Shared::new(options, entrances));
        let mut loops = Vec::with_capacity(threads);
        let begun = begin(&shared, Arc::new((make, finish)), &mut loops);
        let result = begun.and_then(|acceptor| match ready() {
            Ok(()) => Ok(acceptor),
            Err(error) => {
                if let Some(Waiting { gate, thread }) = acceptor {
                    drop(gate);
                    // It has not run.
                    let _ = thread.join();
                }
                Err(error)
            }
        });
        let acceptor = match result {
            Ok(acceptor) => acceptor,
            Err(error) => {
                // Without their gates, the threads end.
                let threads: Vec<_> = loops.into_iter().map(|it| it.thread).collect();
                for thread in threads {
                    // It says what it has to say through the channel.
                    let _ = thread.join();
                }
                return Err(error);
            }
        };
        shared.all_made();
        let open = |waiting: Waiting<_>| {
            // It waits for this.
            let _ = waiting.gate.send(());
            waiting.thread
        };
        let acceptor = acceptor.map(|waiting| {
            let _ = waiting.gate.send(());
            waiting.thread
        });
        let loops = loops.into_iter().map(open).collect();
        Ok(Self { shared, loops, acceptor, process: Process::this() })
    }

    /// Waits until all loops have ended, and returns what is left of them. Something has to stop them:
    /// [`stop_gracefully`](Self::stop_gracefully), before this call or from another loop
    /// ([`Member::stop_gracefully`]), or each itself ([`Cx::stop`](crate::Cx::stop)).
    pub fn join(mut self) -> Ended<R> {
        let lost = |index| Outcome {
            index,
            state: None,
            counters: Counters::default(),
            result: Err(io::Error::other("its thread has panicked")),
        };
        let loops = std::mem::take(&mut self.loops).into_iter().enumerate();
        let loops = loops
            .map(|(index, thread)| thread.join().ok().flatten().unwrap_or_else(|| lost(index)));
        Ended {
            loops: loops.collect(),
            acceptor: self.acceptor.take().and_then(|thread| thread.join().ok()),
        }
    }
}

impl<A: 'static, R> Group<A, R> {
    /// Returns the loops, in the order of their numbers.
    pub fn loops(&self) -> &[Remote<A>] {
        self.shared.remotes()
    }

    /// Returns the loop that hands connections over, if there is one: its counters have what was
    /// accepted and refused.
    pub fn acceptor(&self) -> Option<&Remote> {
        self.shared.acceptor.get()
    }

    /// Returns the listeners that the acceptor has.
    pub fn entrances(&self) -> Entrances<A> {
        Entrances::new(&self.shared)
    }

    /// Returns how many loops run.
    pub fn running(&self) -> usize {
        self.shared.watch.running()
    }

    /// Returns how many listeners are open, on all threads. A server without one gets no new
    /// connections.
    pub fn listeners(&self) -> usize {
        self.shared.watch.listeners()
    }

    /// Wakes `observer` whenever a loop or a listener of the group has ended, and once at first. Its
    /// handler can ask then how many there still are: [`running`](Self::running) and
    /// [`listeners`](Self::listeners). So a loop that is not of the group, for signals for example,
    /// can watch over it.
    pub fn set_observer(&self, observer: Waker) {
        self.shared.watch.set_observer(observer);
    }

    /// Stops all loops gracefully ([`Cx::stop_gracefully`](crate::Cx::stop_gracefully)), within
    /// `patience` for all of them. First the listeners are closed by the loop that hands connections
    /// over; what waits there is handed over before, as far as the loops have room. A second call has no
    /// effect.
    pub fn stop_gracefully(&self, patience: Duration) {
        self.shared.stop_gracefully(patience);
    }

    /// Stops all loops at once ([`Cx::stop`](crate::Cx::stop)). A loop whose handler blocks stops when
    /// that returns.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Returns whether the group was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }
}

impl<A: 'static, R> Drop for Group<A, R> {
    fn drop(&mut self) {
        // A forked copy has no threads.
        if self.process.is_another() || self.loops.is_empty() {
            return;
        }
        self.shared.stop();
        for thread in self.loops.drain(..) {
            // What it has to say, it has logged.
            let _ = thread.join();
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl<A: 'static, R> fmt::Debug for Group<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("running", &self.running())
            .field("listeners", &self.listeners())
            .finish_non_exhaustive()
    }
}

/// Starts the threads of the loops, which are added to `loops`, and that of the acceptor if there is
/// one. All wait at their gates when this returns.
fn begin<A, R, F, G>(
    shared: &Arc<Shared<A>>,
    program: Arc<(F, G)>,
    loops: &mut Vec<Waiting<Option<Outcome<R>>>>,
) -> io::Result<Option<Waiting<Outcome<()>>>>
where
    A: 'static,
    R: Send + 'static,
    F: Fn(&Member<A>) -> io::Result<Reactor<A>> + Send + Sync + 'static,
    G: Fn(&mut A) -> R + Send + Sync + 'static,
{
    let (made, results) = channel();
    let name = shared.options.name;
    for index in 0..shared.options.threads.get() {
        let (gate, closed) = channel();
        let (member, made) = (Member::new(index, shared), made.clone());
        let program = Arc::clone(&program);
        let start = Start { member, made, gate: closed };
        let run = move || run_member(start, &program.0, &program.1);
        loops.push(Waiting { gate, thread: spawn(format!("{name}-{index}"), run)? });
    }
    drop(made);
    // Each is set once, here.
    let _ = shared.remotes.set(collect(&results, loops.len())?);
    if !shared.entrances.iter().any(|it| matches!(it, Entrance::HandedOver { .. })) {
        return Ok(None);
    }
    let (gate, closed) = channel();
    let (made, result) = channel();
    let copy = Arc::clone(shared);
    let run = move || run_acceptor(&copy, &made, &closed);
    let thread = spawn("acceptor".to_owned(), run)?;
    let remote = result.recv().unwrap_or_else(|_| Err(io::Error::other("the acceptor is gone")))?;
    let _ = shared.acceptor.set(remote);
    Ok(Some(Waiting { gate, thread }))
}

/// Starts a thread that handles no signals.
fn spawn<T: Send + 'static>(
    name: String,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    sys::with_signals_blocked(|| thread::Builder::new().name(name).spawn(run))
}

/// Waits until all loops are made, and returns them in the order of their numbers.
fn collect<A: 'static>(results: &Receiver<Made<A>>, count: usize) -> io::Result<Vec<Remote<A>>> {
    let mut made = Vec::with_capacity(count);
    while made.len() < count {
        // A thread that ends without a word leaves the channel closed.
        let lost = |_| io::Error::other("a thread has ended before it made its loop");
        let Made { index, result } = results.recv().map_err(lost)?;
        made.push((index, result?));
    }
    made.sort_unstable_by_key(|(index, _)| *index);
    Ok(made.into_iter().map(|(_, remote)| remote).collect())
}
