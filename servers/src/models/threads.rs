//! A thread for each connection, and a pool of threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};
use protocol::Session;
use reactor::blocking::{Cutter, Orders, Socket, Told};
use reactor::{
    Accepted, Cx, Handler, Listener, LoopCx, Reason, Shutdown, ThreadPool, ThreadPoolOptions,
    Timeout, Waker,
};

use super::Serving;
use super::desk::{self, Desk};
use crate::run::{Figures, no_listener_left};

/// The stack of a thread, of which it touches a few pages.
const STACK: usize = 256 << 10;
/// How long the last threads have to end after their connections were cut.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// How long a connection waits for its place in the queue of a pool. There is always one: the thread
/// that has just ended a connection is about to take the next.
const PLACE_PATIENCE: Duration = Duration::from_secs(1);

/// What the threads share with the loop.
#[derive(Default)]
struct Shared {
    told: AtomicU8,
    /// How many connections are being served, or wait for a thread.
    live: AtomicUsize,
}

/// The state of the loop.
struct Threads {
    shared: Arc<Shared>,
    pool: Option<ThreadPool>,
}

impl Desk for Threads {
    fn report(&self) -> String {
        let live = self.shared.live.load(Ordering::Relaxed);
        match &self.pool {
            Some(pool) => format!("pool, {live} connections, {:?}", pool.counts()),
            None => format!("thread, {live} connections"),
        }
    }

    fn tell(told: Told, cx: &mut LoopCx<'_, Self>) -> io::Result<()> {
        cx.app.shared.told.store(told as u8, Ordering::SeqCst);
        Ok(())
    }
}

/// Runs a server with a thread for each connection, or with a pool.
pub(super) fn run<S: Session + 'static>(
    listeners: Vec<Listener>,
    connections_max: usize,
    pool: Option<ThreadPoolOptions>,
    serving: Serving<S>,
) -> io::Result<()> {
    let shared = Arc::new(Shared::default());
    let pool = pool.map(ThreadPool::new).transpose()?;
    let desk = Threads { shared: Arc::clone(&shared), pool };
    let mut reactor = desk::open(desk, connections_max)?;
    for listener in listeners {
        listener.register(&mut reactor.cx(), move |accepted, cx| hand(accepted, serving, cx))?;
    }
    let mut is_lost = false;
    reactor.run_while(|reactor| {
        is_lost = reactor.listeners() == 0 && !reactor.is_stopping();
        !is_lost
    })?;
    info!("stopped: {}", Figures(reactor.counters()));
    let pool = reactor.app.pool.take();
    // What is left is cut: it had its time.
    shared.told.store(Told::StopNow as u8, Ordering::SeqCst);
    drop(reactor);
    wait_for_threads(&shared, pool.as_ref());
    if is_lost { Err(no_listener_left()) } else { Ok(()) }
}

/// Waits for the last threads, for a limited time.
fn wait_for_threads(shared: &Shared, pool: Option<&ThreadPool>) {
    if let Some(pool) = pool
        && let Err(error) = pool.shut_down(Shutdown::Finish, LAST_PATIENCE)
    {
        warn!("{error}");
    }
    let until = Instant::now() + LAST_PATIENCE;
    while shared.live.load(Ordering::SeqCst) > 0 && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Gives a connection to a thread.
fn hand<S: Session + 'static>(
    accepted: Accepted,
    serving: Serving<S>,
    cx: &mut LoopCx<'_, Threads>,
) -> io::Result<()> {
    let peer = accepted.peer().map_or_else(|| "a local peer".to_owned(), |it| it.to_string());
    let socket = Socket::accepted(accepted)?;
    let is_aware = Arc::new(AtomicBool::new(false));
    let quiet = serving.limits.stopping_quiet;
    let served = Served { cutter: socket.cutter(), is_aware: Arc::clone(&is_aware), quiet };
    let token = cx.spawn_connection(served)?;
    let shared = Arc::clone(&cx.app.shared);
    shared.live.fetch_add(1, Ordering::SeqCst);
    let over = Over { shared: Arc::clone(&shared), waker: cx.waker_of(token) };
    let work = move || {
        // Also after a panic.
        let _over = over;
        serving.serve_socket(socket, &peer, &mut Flags { shared: &shared, is_aware: &is_aware });
    };
    // If there is no thread, the work is dropped, and with it the connection and its source.
    match &cx.app.pool {
        Some(pool) => pool.submit_timeout(PLACE_PATIENCE, work)?.detach(),
        None => {
            let builder = thread::Builder::new().name("connection".to_owned()).stack_size(STACK);
            builder.spawn(work)?;
        }
    }
    Ok(())
}

/// Tells the loop that a connection has ended, when it is dropped.
struct Over {
    shared: Arc<Shared>,
    waker: Waker,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.shared.live.fetch_sub(1, Ordering::SeqCst);
        // A loop that is gone does not count any more.
        let _ = self.waker.wake();
    }
}

/// What a thread is told.
struct Flags<'a> {
    shared: &'a Shared,
    /// Whether the thread knows that the server stops.
    is_aware: &'a AtomicBool,
}

impl Orders for Flags<'_> {
    fn told(&mut self) -> Told {
        const STOP: u8 = Told::Stop as u8;
        const STOP_NOW: u8 = Told::StopNow as u8;
        let told = match self.shared.told.load(Ordering::SeqCst) {
            STOP => Told::Stop,
            STOP_NOW => Told::StopNow,
            _ => return Told::Nothing,
        };
        self.is_aware.store(true, Ordering::SeqCst);
        told
    }
}

/// Stands for a connection that a thread serves.
struct Served {
    cutter: Cutter,
    is_aware: Arc<AtomicBool>,
    /// How long a connection may be silent while the server stops.
    quiet: Duration,
}

impl Handler<Threads> for Served {
    fn ready(&mut self, cx: &mut Cx<'_, Threads>) -> io::Result<()> {
        if cx.was_woken() {
            cx.end(Reason::Finished);
        }
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_, Threads>) -> io::Result<()> {
        cx.set_timeout(Some(self.quiet));
        Ok(())
    }

    /// A thread that still does not know that the server stops has waited for input all the time: its
    /// peer is silent.
    fn timeout(&mut self, _timeout: Timeout, _cx: &mut Cx<'_, Threads>) -> io::Result<()> {
        if !self.is_aware.load(Ordering::SeqCst) {
            self.cutter.end_input();
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_, Threads>) {
        if matches!(reason, Reason::Stopped) {
            self.cutter.cut();
        }
    }
}
