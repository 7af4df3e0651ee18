//! The state of the metalogger, and its loop.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use log::{info, warn};
use protocol::Limits;
use protocol::mfs::limit;
use reactor::{
    Client, ClientOptions, ClientState, ConnectOptions, Location, LoopCx, LoopLimits, NotSent,
    Reactor, Signal, ThreadPool, ThreadPoolOptions, Unanswered, WhenIdle,
};

use super::args::Args;
use super::disk::{self, Disk, Keeper};
use super::download::{self, Progress};
use super::exchange::{Answer, News, Request, Shared, ToMaster};
use super::folder::{Folder, Order};
use crate::run::{Figures, STOP_TIMEOUT};
use crate::service_manager::ServiceManager;

/// The longest pause between two attempts to connect: that of the real metalogger.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How many signs of life each side gives within the time-out.
const PULSES: u32 = 3;
/// The size of the type and the length of a packet, in bytes.
const HEADER: usize = 8;

/// What the metalogger has done since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) changes: u64,
    pub(super) rotations: u64,
    pub(super) gaps: u64,
    pub(super) connections: u64,
    pub(super) files: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, rotations, gaps, connections, files } = self;
        write!(f, "changes={changes} rotations={rotations} gaps={gaps} ")?;
        write!(f, "connections={connections} files={files}")
    }
}

/// The state of the loop.
pub(super) struct Metalogger {
    /// There is one from the start of the loop on.
    client: Option<Client<Metalogger, ToMaster>>,
    master: Location,
    shared: Shared,
    pub(super) disk: Disk,
    pub(super) download: Option<Progress>,
    /// The folder has metadata that the log continues.
    pub(super) has_metadata: bool,
    /// When the metadata are downloaded next. `None` is at once.
    pub(super) metadata_due: Option<Instant>,
    pub(super) metadata_every: Duration,
    /// The largest file that is downloaded, in bytes.
    pub(super) metadata_max: u64,
    pub(super) counts: Counts,
    /// There is no connection since too much waits for the disk.
    is_held: bool,
    /// Why the program cannot go on.
    pub(super) failure: Option<io::Error>,
}

impl Metalogger {
    fn new(args: &Args, folder: Folder, known: &Start) -> Self {
        Self {
            client: None,
            master: args.master.clone(),
            shared: Shared::new(known.last),
            disk: Disk::new(folder),
            download: None,
            has_metadata: known.has_metadata,
            metadata_due: known.metadata_due,
            metadata_every: args.metadata_every,
            metadata_max: args.metadata_max << 30,
            counts: Counts::default(),
            is_held: false,
            failure: None,
        }
    }

    /// Sends a request to the master.
    ///
    /// # Errors
    /// When it is not accepted.
    pub(super) fn call(
        &self,
        request: Request,
        completion: impl FnOnce(Result<Answer, Unanswered>, &mut LoopCx<'_, Self>) + Send + 'static,
    ) -> Result<(), NotSent> {
        match &self.client {
            Some(client) => client.call(request, completion),
            None => Err(NotSent::Closed),
        }
    }

    fn set_target(&self, target: Option<Location>) {
        if let Some(client) = &self.client {
            client.set_target(target);
        }
    }

    /// Handles what the master tells.
    fn heard(news: News, cx: &mut LoopCx<'_, Self>) {
        match news {
            News::Line(line) => {
                cx.app.counts.changes += 1;
                disk::order(Order::Append(line), cx);
            }
            News::Rotate => {
                cx.app.counts.rotations += 1;
                disk::order(Order::Rotate, cx);
            }
        }
        if cx.app.disk.is_full() && !cx.app.is_held {
            warn!(
                "too many changes wait for the disk: the connection is closed until they are written"
            );
            cx.app.is_held = true;
            cx.app.set_target(None);
        }
    }

    /// Connects again once the disk has caught up.
    pub(super) fn go_on(cx: &mut LoopCx<'_, Self>) {
        if std::mem::take(&mut cx.app.is_held) {
            cx.app.set_target(Some(cx.app.master.clone()));
        }
    }

    /// Ends the connection and makes a new one.
    pub(super) fn reconnect(cx: &mut LoopCx<'_, Self>) {
        cx.app.set_target(None);
        if !cx.app.is_held {
            cx.app.set_target(Some(cx.app.master.clone()));
        }
    }

    fn connected(cx: &mut LoopCx<'_, Self>) {
        cx.app.counts.connections += 1;
        let last = cx.app.shared.lock().last;
        match last {
            Some(last) => info!("registered with {}, after change {last}", cx.app.master),
            None => info!("registered with {}, without a log", cx.app.master),
        }
        if !cx.app.has_metadata || cx.app.metadata_due.is_none() {
            download::begin(cx);
        }
    }

    /// Gives an unfinished download up, and forgets the logs if a change is missing.
    fn disconnected(cx: &mut LoopCx<'_, Self>) {
        if cx.app.download.take().is_some() {
            cx.app.metadata_due = None;
        }
        let is_lost = std::mem::take(&mut cx.app.shared.lock().is_lost);
        if is_lost {
            cx.app.counts.gaps += 1;
            (cx.app.has_metadata, cx.app.metadata_due) = (false, None);
            disk::order(Order::Forget, cx);
        }
    }

    /// Downloads the metadata when it is time.
    fn look_after_metadata(cx: &mut LoopCx<'_, Self>) {
        let is_up = cx.app.client.as_ref().map(Client::state) == Some(ClientState::Up);
        if is_up && cx.app.metadata_due.is_none_or(|due| due <= cx.now()) {
            download::begin(cx);
        }
    }
}

/// Returns the options of the connection to the master.
fn client_options(timeout: Duration) -> ClientOptions {
    ClientOptions {
        connect: ConnectOptions { timeout: Duration::from_secs(1), ..ConnectOptions::DEFAULT },
        limits: Limits {
            message_size_max: HEADER + limit::METALOGGER as usize,
            output_max: u64::MAX,
            ..Limits::DEFAULT
        },
        timeout,
        waiting_max: 100,
        in_flight_max: 100,
        pause_max: PAUSE_MAX,
        when_idle: WhenIdle::Pulse(timeout / PULSES),
        silence_max: timeout / PULSES * PULSES,
        ..ClientOptions::DEFAULT
    }
}

/// Runs the metalogger until it is told to stop.
///
/// # Errors
/// Why it cannot run.
pub(super) fn run(args: &Args) -> io::Result<()> {
    let folder = Folder::open(&args.dir, args.back_logs, args.back_metadata)?;
    let known = Start::of(&folder, args)?;
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let app = Metalogger::new(args, folder, &known);
    let mut reactor = Reactor::with_backend(args.backend.open()?, limits, app)?;
    // One job at a time has the folder.
    let options = ThreadPoolOptions { name: "disk", threads_max: 1, ..ThreadPoolOptions::DEFAULT };
    let pool = ThreadPool::new(options)?;
    let manager = Rc::new(ServiceManager::find());
    begin(args, &pool, &manager, &mut reactor.cx())?;
    manager.ready();
    reactor.run()?;
    let Metalogger { disk, failure, counts, .. } = &mut reactor.app;
    let written = disk.finish(STOP_TIMEOUT);
    info!("stopped: {counts}");
    failure.take().map_or(written, Err)
}

/// Starts the client, its timer, and what writes to the disk.
fn begin(
    args: &Args,
    pool: &ThreadPool,
    manager: &Rc<ServiceManager>,
    cx: &mut LoopCx<'_, Metalogger>,
) -> io::Result<()> {
    let (offload, keeper) = (pool.attach(cx)?, cx.spawn(Keeper)?);
    cx.app.disk.set_hands(offload, keeper);
    heed(manager, cx)?;
    if let Some(interval) = manager.watchdog() {
        let manager = Rc::clone(manager);
        cx.every(interval, move |_, _| manager.alive())?;
    }
    cx.every(args.timeout / PULSES, |_, cx| Metalogger::look_after_metadata(cx))?;
    let exchange = ToMaster::new(cx.app.shared.clone(), args.timeout);
    let options = client_options(args.timeout);
    let client = Client::open(args.master.clone(), exchange, options, cx)?;
    client.on_push(Metalogger::heard);
    client.on_connect(Metalogger::connected);
    client.on_disconnect(|_, cx| Metalogger::disconnected(cx));
    cx.app.client = Some(client);
    Ok(())
}

/// Listens to the signals. The first one to stop stops gracefully, the second one at once.
fn heed(manager: &Rc<ServiceManager>, cx: &mut LoopCx<'_, Metalogger>) -> io::Result<()> {
    let mut signals = vec![Signal::INTERRUPT, Signal::TERMINATE, Signal::USER_1, Signal::USER_2];
    // A process that was started with nohup is meant to outlive the terminal.
    if !Signal::HANGUP.is_ignored() {
        signals.push(Signal::HANGUP);
    }
    let manager = Rc::clone(manager);
    cx.on_signals(&signals, move |signal, cx| {
        if signal == Signal::USER_1 {
            let waiting = cx.app.disk.waiting_size();
            info!("{} waiting_bytes={waiting} {}", cx.app.counts, Figures(cx.counters()));
        } else if signal == Signal::USER_2 {
            warn!("no new program is started: one folder has one metalogger");
        } else if !cx.is_stopping() {
            info!("{signal}: stopping");
            manager.stopping("changes are written");
            cx.stop_gracefully(STOP_TIMEOUT);
        } else if signal != Signal::HANGUP {
            warn!("{signal} again: stopping at once");
            cx.stop();
        }
    })?;
    // A signal that comes after the loop has ended must not end the process before it exits by itself.
    Signal::outlive(&signals)
}

/// What the folder tells at the start.
struct Start {
    last: Option<u64>,
    has_metadata: bool,
    metadata_due: Option<Instant>,
}

impl Start {
    fn of(folder: &Folder, args: &Args) -> io::Result<Self> {
        let last = folder.last_version()?;
        let has_metadata = last.is_some() && folder.has_metadata();
        let metadata_due = Instant::now().checked_add(args.metadata_every).filter(|_| has_metadata);
        Ok(Self { last, has_metadata, metadata_due })
    }
}
