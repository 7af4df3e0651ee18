//! Runs a server: it listens, turns its loop, or several, until it is told to stop, and stops
//! gracefully.

use std::cell::OnceCell;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use protocol::Session;
use reactor::{
    Accept, Counters, ListenOptions, LoopCx, LoopLimits, Reactor, TcpOptions,
    raise_descriptor_limit,
};

use crate::args::ServerArgs;
use crate::handover::{Handover, Household, Launch, Loops, Manner, Predecessor, Whole, line, obey};
use crate::inherited::Inherited;
use crate::listen::{Endpoint, Socket};
use crate::listening::Listening;
use crate::service_manager::ServiceManager;
use crate::serving::Serving;
use crate::signals::{self, Orders, Reload};
use crate::tls::Tls;
use crate::{Application, ReloadFiles, Server, listen, logs};

/// Descriptors besides those of connections: the loop, its mailbox, signals, listeners, logs.
const DESCRIPTORS_OF_ITS_OWN: usize = 64;
/// How long connections may go on after the first signal to stop.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a server with one loop, on this thread, until it is told to stop.
pub(crate) fn serve<A, S>(
    server: Server,
    args: &ServerArgs,
    mut application: Application<A, S>,
) -> io::Result<()>
where
    A: 'static,
    S: Session<A> + 'static,
{
    let launch = Launch::new(server.name, args.handover_timeout);
    let (others, shared) = (application.descriptors, application.shared);
    let manager = Rc::new(ServiceManager::find());
    let found = Predecessor::find(server.name, args.handover_timeout)?;
    let (predecessor, inheritance) = found.unzip();
    let inheritance = inheritance.unwrap_or_default();
    let legacy = application.inherit(inheritance.legacy.as_deref())?;
    let (inherited, claims) = Inherited::take(inheritance.sockets)?;
    let orders = OneLoop {
        handover: Rc::default(),
        manager: Rc::clone(&manager),
        is_told: false,
        reload: application.reload,
    };
    let handover = Rc::clone(&orders.handover);
    let (mut reactor, listening) = open(server, args, application, orders, inherited)?;
    raise_limit(args, others, 1);
    let mut cx = reactor.cx();
    if let Some(interval) = manager.watchdog() {
        let (manager, handover) = (Rc::clone(&manager), Rc::clone(&handover));
        // Once a new program serves, its signs of life count.
        cx.every(interval, move |_, _| {
            if !handover.get().is_some_and(|it| it.has_begun()) {
                manager.alive();
            }
        })?;
    }
    let (orders, received) = line()?;
    let manner = if shared.is_some() { Manner::Together } else { Manner::Each };
    let loops = Loops { serving: vec![orders.clone()], acceptor: None, manner };
    let successor = Handover::new(launch, ThisLoop, loops, legacy, Rc::clone(&manager));
    match (predecessor, shared) {
        (Some(mut predecessor), Some(shared)) => {
            predecessor.wait_for(&mut Household::new(shared, &listening, &mut cx))?;
            claims.settle();
        }
        (Some(mut predecessor), None) => {
            predecessor.wait()?;
            claims.settle();
            predecessor.replace(vec![orders], &successor, &mut cx)?;
        }
        (None, _) => {}
    }
    obey(received, listening, shared, &mut cx)?;
    let _ = handover.set(Rc::clone(&successor));
    manager.ready();
    let result = turn(&mut reactor, || successor.has_released());
    info!("stopped: {}", Figures(reactor.counters()));
    result
}

/// Opens the loop of a server, which handles signals and listens: for tests.
///
/// # Errors
/// Why the server cannot listen.
pub(crate) fn prepare<A, S>(
    server: Server,
    args: &ServerArgs,
    application: Application<A, S>,
) -> io::Result<Reactor<A>>
where
    A: 'static,
    S: Session<A> + 'static,
{
    let orders = OneLoop::<A> {
        handover: Rc::default(),
        manager: Rc::default(),
        is_told: false,
        reload: application.reload,
    };
    let (reactor, _) = open(server, args, application, orders, Inherited::default())?;
    Ok(reactor)
}

/// The loop of a server, and what it listens on.
type Opened<A, S> = (Reactor<A>, Listening<A, S>);

/// Opens the loop of a server, which handles signals and listens.
fn open<A, S>(
    server: Server,
    args: &ServerArgs,
    application: Application<A, S>,
    orders: OneLoop<A>,
    inherited: Inherited,
) -> io::Result<Opened<A, S>>
where
    A: 'static,
    S: Session<A> + 'static,
{
    let tls = Tls::load(&args.tls)?;
    let (mut reactor, serving) = Serving::open(args, application, tls.clone())?;
    let mut cx = reactor.cx();
    signals::heed(tls.clone(), orders, &mut cx)?;
    let sockets = listen_on(server, args, Accept::default(), tls.as_ref(), inherited)?;
    let places: Vec<String> = sockets.iter().map(Socket::to_string).collect();
    let listening = Listening::open(sockets, serving, &mut cx)?;
    for place in places {
        info!(
            "{} listening on {place} with {}",
            server.name,
            Setting { args, backend: reactor.backend_name() }
        );
    }
    Ok((reactor, listening))
}

/// Binds the sockets of a server: of all of its loops. Every listening socket comes from here.
///
/// # Errors
/// One sentence that says which address cannot be listened on, and why.
pub(crate) fn listen_on(
    server: Server,
    args: &ServerArgs,
    accept: Accept,
    tls: Option<&Tls>,
    inherited: Inherited,
) -> io::Result<Vec<Socket>> {
    let options = ListenOptions {
        unix_mode: args.unix_mode,
        dual_stack: args.dual_stack,
        tcp: TcpOptions { keepalive: args.keepalive.limit(), ..TcpOptions::default() },
        ..ListenOptions::DEFAULT
    };
    let default = server.address.split(' ').map(str::parse).collect::<Result<Vec<_>, _>>();
    let default = default.map_err(io::Error::other)?;
    let endpoints = match args.listen.is_empty() {
        true if inherited.replaces_default() => &[],
        true => &default[..],
        false => &args.listen[..],
    };
    let encrypted = endpoints.iter().find(|it| it.is_encrypted).map(Endpoint::to_string);
    check_certificates(tls, encrypted.or_else(|| Some(inherited.encrypted()?.to_string())))?;
    let sharing = listen::Sharing { accept, threads: args.loops.threads };
    listen::bind_all(endpoints, &options, server.datagram_port.is_some(), sharing, inherited)
}

/// Checks that there are certificates where there is an `encrypted` address.
fn check_certificates(tls: Option<&Tls>, encrypted: Option<String>) -> io::Result<()> {
    match (tls, encrypted) {
        (None, Some(endpoint)) => {
            let text = format!("{endpoint} needs a certificate: give its file with --cert");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        (Some(_), None) => {
            warn!("there is a certificate, and no address of tls:// to listen on: nothing uses it");
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    Ok(())
}

/// Turns the loop until the server was told to stop and has stopped gracefully.
///
/// # Errors
/// When the wait fails, or the last listener has ended: a supervisor has to learn that the server
/// cannot be reached any more. It is reached where `is_replaced` says that a new program serves.
fn turn<A: 'static>(reactor: &mut Reactor<A>, is_replaced: impl Fn() -> bool) -> io::Result<()> {
    let mut has_no_listener = false;
    reactor.run_while(|reactor| {
        has_no_listener = reactor.listeners() == 0 && !reactor.is_stopping() && !is_replaced();
        !has_no_listener
    })?;
    if has_no_listener {
        stop_gracefully(&"the last listener has ended", &mut reactor.cx());
        reactor.run()?;
        return Err(no_listener_left());
    }
    Ok(())
}

/// Returns the error of a server that cannot be reached any more.
pub(crate) fn no_listener_left() -> io::Error {
    io::Error::other("stopped because no listener was left")
}

/// Raises the limit of descriptors to what the connections of all loops and `others`, for each of
/// `loops`, take, or as far as the system allows.
pub(crate) fn raise_limit(args: &ServerArgs, others: usize, loops: usize) {
    let connections = args.connections_max();
    let each = others.saturating_add(DESCRIPTORS_OF_ITS_OWN);
    let wanted = connections.saturating_add(each.saturating_mul(loops)) as u64;
    match raise_descriptor_limit(wanted) {
        // The default number of connections is a cap, not a request, so it needs no notice.
        Ok(limit) if limit < wanted && args.max_connections.is_some() => info!(
            "{connections} connections need more than the {limit} descriptors that ulimit -n allows: \
             {wanted}"
        ),
        Ok(_) => {}
        Err(error) => warn!(
            "cannot raise the limit of descriptors, which may be too low for {connections} \
             connections: {error}"
        ),
    }
}

/// Carries out the signals of a server with one loop, which gets them itself.
struct OneLoop<A: 'static> {
    handover: Rc<OnceCell<Rc<Handover<A>>>>,
    manager: Rc<ServiceManager>,
    /// A signal has told the server to stop. A loop that was handed over winds down by itself.
    is_told: bool,
    /// Reads the files of the application again.
    reload: Option<ReloadFiles<A>>,
}

impl<A: 'static> Orders<A> for OneLoop<A> {
    fn log_counters(&mut self, cx: &mut LoopCx<'_, A>) {
        info!("{}", Figures(cx.counters()));
    }

    fn is_stopping(&self, _cx: &LoopCx<'_, A>) -> bool {
        self.is_told
    }

    fn stop_gracefully(&mut self, why: &dyn fmt::Display, cx: &mut LoopCx<'_, A>) {
        self.is_told = true;
        if self.handover.get().is_some_and(|it| it.postpones_stop(why)) {
            return;
        }
        if !self.handover.get().is_some_and(|it| it.has_begun()) {
            self.manager.stopping("connections finish");
        }
        if cx.is_stopping() {
            // It had more time, for the connections that were not handed over.
            info!("{why}: the connections that are left have {STOP_TIMEOUT:?} to finish");
            if let Err(error) = cx.after(STOP_TIMEOUT, |cx| cx.stop()) {
                warn!("stopping at once: {error}");
                cx.stop();
            }
            return;
        }
        stop_gracefully(why, cx);
    }

    fn reload(&mut self, tls: Option<&Tls>, cx: &mut LoopCx<'_, A>) -> Reload {
        if tls.is_none() && self.reload.is_none() {
            return Reload::NoFiles;
        }
        self.manager.reloading();
        if let Some(tls) = tls {
            tls.reload();
        }
        if let Some(reload) = self.reload {
            reload(cx);
        }
        self.manager.ready();
        Reload::Begun
    }

    fn hand_over(&mut self, cx: &mut LoopCx<'_, A>) {
        match self.handover.get() {
            Some(handover) => handover.start(cx),
            None => warn!("no new program is started: this one has not started itself"),
        }
    }

    fn stop(&mut self, cx: &mut LoopCx<'_, A>) {
        cx.stop();
    }
}

/// A server whose only loop is this one.
struct ThisLoop;

impl<A> Whole<A> for ThisLoop {
    fn is_stopping(&self, cx: &LoopCx<'_, A>) -> bool {
        cx.is_stopping()
    }

    fn stop_gracefully(&self, patience: Duration, cx: &mut LoopCx<'_, A>) {
        cx.stop_gracefully(patience);
    }

    /// The loop looks after each turn whether it has a listener.
    fn resumed(&self, _cx: &mut LoopCx<'_, A>) {}
}

/// Stops a loop gracefully.
pub(crate) fn stop_gracefully<A>(why: &dyn fmt::Display, cx: &mut LoopCx<'_, A>) {
    let left = cx.connections();
    info!("{why}: stopping, {left} connections have {STOP_TIMEOUT:?} to finish");
    cx.stop_gracefully(STOP_TIMEOUT);
}

/// The counters of a loop, or of all, and the number of dropped log lines.
pub(crate) struct Figures(pub(crate) Counters);

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} log_lines_dropped={}", self.0, logs::lines_dropped())
    }
}

/// How a server runs, for its first log lines.
pub(crate) struct Setting<'a> {
    pub(crate) args: &'a ServerArgs,
    /// The name of the backend of its loops, which may not be the one that was asked for.
    pub(crate) backend: &'static str,
}

impl fmt::Display for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { args, backend } = self;
        let limits = LoopLimits {
            connections_max: args.connections_max(),
            idle_timeout: args.idle_timeout.limit(),
            ..LoopLimits::DEFAULT
        };
        write!(f, "{backend}, {limits}")?;
        if args.loops.threads > NonZeroUsize::MIN {
            write!(f, ", {} loops", args.loops.threads)?;
        }
        Ok(())
    }
}
