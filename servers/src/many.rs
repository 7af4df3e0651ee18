//! Runs a server with several loops. The thread of the program has a small loop of its own, for the
//! signals and to watch over the others.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use clap::Args;
use log::{info, warn};
use protocol::Session;
use reactor::{
    Accept, Counters, Cx, Group, GroupListener, GroupOptions, Handler, LoopCx, LoopLimits, Member,
    Reactor, Receiver, Sender, Token,
};

use crate::args::{Cli, ServerArgs};
use crate::bound::Bound;
use crate::handover::{
    AcceptorSockets, Handover, Inheritance, Launch, Loops, Manner, Order, Predecessor,
    SocketsOrder, Traits, Whole, line, obey, obey_for_sockets,
};
use crate::inherited::Inherited;
use crate::listen::{Kind, Socket};
use crate::listening::Listening;
use crate::questions::{Question, SignOfLife, Tally};
use crate::run::{Figures, STOP_TIMEOUT, Setting, listen_on, no_listener_left, raise_limit};
use crate::service_manager::ServiceManager;
use crate::serving::Serving;
use crate::signals::{self, Orders, Reload};
use crate::tls::Tls;
use crate::{Application, ReloadFiles, Server};

/// The state of the loop for signals.
pub(crate) struct Owner<A: 'static> {
    pub(crate) group: Option<Group<A>>,
    /// The source that looks after the end of loops and listeners.
    pub(crate) observer: Option<Token>,
    /// Hands the server over, once it runs.
    pub(crate) handover: Option<Rc<Handover<Owner<A>>>>,
    /// Whether the server could not be reached any more, and was stopped for that.
    pub(crate) has_no_listener: bool,
    pub(crate) tally: Tally,
    pub(crate) manager: Rc<ServiceManager>,
    /// How many loops have not answered since the last sign of life.
    pub(crate) silent: usize,
    /// Reads the files of the application again on one loop. It is known once a loop is made.
    pub(crate) reload: Arc<OnceLock<ReloadFiles<A>>>,
}

/// Runs a server with several loops until it is told to stop.
pub(crate) fn serve<E, A, S>(
    server: Server,
    cli: Cli<E>,
    build: impl Fn(&ServerArgs, &E) -> io::Result<Application<A, S>> + Send + Sync + 'static,
) -> io::Result<()>
where
    E: Args + Send + Sync + 'static,
    A: 'static,
    S: Session<A> + 'static,
{
    let args = cli.server.clone();
    let launch = Launch::new(server.name, args.handover_timeout);
    args.loops.check(args.connections_max())?;
    let manager = Rc::new(ServiceManager::find());
    let owner = Owner {
        group: None,
        observer: None,
        handover: None,
        has_no_listener: false,
        tally: Tally::default(),
        manager: Rc::clone(&manager),
        silent: 0,
        reload: Arc::default(),
    };
    let reload = Arc::clone(&owner.reload);
    let backend = args.backend.open()?;
    let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, owner)?;
    let backend = reactor.backend_name();
    let tls = Tls::load(&args.tls)?;
    // Before there are threads: no signal ends the process from here on (P16).
    signals::heed(tls.clone(), AllLoops { is_told: false }, &mut reactor.cx())?;
    let found = Predecessor::find(server.name, args.handover_timeout)?;
    let (mut predecessor, inheritance) = found.unzip();
    let Inheritance { legacy, sockets } = inheritance.unwrap_or_default();
    let (inherited, claims) = Inherited::take(sockets)?;
    let sockets = listen_on(server, &args, args.loops.accept(), tls.as_ref(), inherited)?;
    let mut places: Vec<String> = sockets.iter().map(Socket::to_string).collect();
    // Several sockets may have one address.
    places.dedup();
    let (listeners, serving, plan) = Plan::new(sockets, args.loops.threads.get())?;
    let traits = plan.listeners.iter().map(|(traits, _)| *traits).collect();
    let options = GroupOptions {
        threads: args.loops.threads,
        pinning: args.loops.pinning(),
        name: "loop",
        acceptor: args.backend,
        patience: STOP_TIMEOUT,
        ..GroupOptions::default()
    };
    let passed_on: Arc<OnceLock<Vec<u8>>> = Arc::default();
    let left = Arc::clone(&passed_on);
    let make = move |member: &Member<A>| {
        let build = |args: &ServerArgs, own: &E| {
            let mut application = build(args, own)?;
            // All loops have the same.
            let _ = left.set(application.inherit(legacy.as_deref())?);
            if let Some(it) = application.reload {
                // All loops have the same.
                let _ = reload.set(it);
            }
            Ok(application)
        };
        plan.make(member, &cli, tls.clone(), &build)
    };
    let group = Group::start_when(
        options,
        listeners,
        make,
        |_| (),
        || {
            predecessor.as_mut().map_or(Ok(()), Predecessor::wait)?;
            claims.settle();
            Ok(())
        },
    )?;
    for place in places {
        info!("{} listening on {place} with {}", server.name, Setting { args: &args, backend });
    }
    let acceptor = oblige_acceptor(&group, traits)?;
    let loops = Loops { serving: serving.clone(), acceptor, manner: Manner::Each };
    let legacy = passed_on.get().cloned().unwrap_or_default();
    let handover = Handover::new(launch, WholeGroup, loops, legacy, manager);
    if let Some(predecessor) = predecessor {
        predecessor.replace(serving, &handover, &mut reactor.cx())?;
    }
    reactor.app.handover = Some(handover);
    reactor.app.manager.ready();
    watch(&mut reactor, group)
}

/// Makes the loop that accepts for the others, if there is one, carry out orders about its sockets.
fn oblige_acceptor<A: 'static>(
    group: &Group<A>,
    traits: Vec<Traits>,
) -> io::Result<Option<Sender<SocketsOrder>>> {
    let Some(acceptor) = group.acceptor() else { return Ok(None) };
    let (orders, received) = line()?;
    let entrances = group.entrances();
    acceptor.post(move |cx| {
        let sockets = AcceptorSockets::new(entrances, traits);
        if let Err(error) = obey_for_sockets(received, sockets, cx) {
            warn!("this server cannot be handed over: {error}");
        }
    })?;
    Ok(Some(orders))
}

/// Watches over the loops until all have ended.
fn watch<A: 'static>(reactor: &mut Reactor<Owner<A>>, group: Group<A>) -> io::Result<()> {
    let has_listeners = group.listeners() > 0;
    let observer = reactor.cx().spawn(Observer { has_listeners })?;
    group.set_observer(reactor.cx().waker_of(observer));
    (reactor.app.group, reactor.app.observer) = (Some(group), Some(observer));
    if let Some(interval) = reactor.app.manager.watchdog() {
        reactor.cx().every(interval, |_, cx| show_life(cx))?;
    }
    let result = reactor.run();
    let Some(group) = reactor.app.group.take() else { return result };
    if result.is_err() {
        group.stop();
    }
    let ended = group.join();
    info!("stopped: {}", Figures(ended.counters()));
    result?;
    ended.check()?;
    if reactor.app.has_no_listener { Err(no_listener_left()) } else { Ok(()) }
}

/// Gives the service manager a sign of life if all loops have answered since the last one.
fn show_life<A: 'static>(cx: &mut LoopCx<'_, Owner<A>>) {
    let owner = cx.remote();
    let Owner { group: Some(group), handover, manager, silent, .. } = &mut *cx.app else { return };
    // Once a new program serves, its signs of life count.
    if *silent > 0 || handover.as_ref().is_some_and(|it| it.has_begun()) {
        return;
    }
    manager.alive();
    *silent = group.loops().len();
    for remote in group.loops() {
        let sign = SignOfLife(owner.clone());
        // A loop that is gone is not waited for.
        let _ = remote.post(move |_| drop(sign));
    }
}

/// What each loop serves.
struct Plan {
    /// What is known of each listener, and how its connections reach the loops.
    listeners: Vec<(Traits, Accept)>,
    /// The share of each loop.
    shares: Vec<Mutex<Share>>,
}

/// What one loop gets.
#[derive(Default)]
struct Share {
    /// The sockets of datagrams. Whether the service manager has passed them.
    datagrams: Vec<(Bound, bool)>,
    /// The orders that it carries out.
    orders: Option<Receiver<Order>>,
}

/// The listeners of a group, the lines to its loops, and what each serves.
type Planned = (Vec<GroupListener>, Vec<Sender<Order>>, Plan);

impl Plan {
    /// Divides sockets among `threads` loops. A socket of datagrams that is alone on its address is the
    /// first loop's.
    fn new(sockets: Vec<Socket>, threads: usize) -> io::Result<Planned> {
        let (mut group, mut listeners) = (Vec::new(), Vec::new());
        let mut shares: Vec<Share> = (0..threads).map(|_| Share::default()).collect();
        for Socket { kind, is_passed, .. } in sockets {
            match kind {
                Kind::Streams { listener, is_encrypted } => {
                    let file = listener.owned_file();
                    let traits = Traits { is_encrypted, file, is_passed };
                    listeners.push((traits, listener.accept()));
                    group.push(listener);
                }
                Kind::Datagrams(sockets) => {
                    for (index, socket) in sockets.into_iter().enumerate() {
                        let share = &mut shares[index % threads];
                        share.datagrams.push((Bound::Datagrams(socket), is_passed));
                    }
                }
            }
        }
        let mut lines = Vec::with_capacity(threads);
        for share in &mut shares {
            let (orders, received) = line()?;
            lines.push(orders);
            share.orders = Some(received);
        }
        let shares = shares.into_iter().map(Mutex::new).collect();
        Ok((group, lines, Self { listeners, shares }))
    }

    /// Makes a loop, with a state of its own, which serves its share.
    fn make<E, A, S, F>(
        &self,
        member: &Member<A>,
        cli: &Cli<E>,
        tls: Option<Tls>,
        build: &F,
    ) -> io::Result<Reactor<A>>
    where
        F: Fn(&ServerArgs, &E) -> io::Result<Application<A, S>>,
        E: Args,
        A: 'static,
        S: Session<A> + 'static,
    {
        let index = member.index();
        let share = cli.server.loops.share(cli.server.connections_max(), index);
        let args = ServerArgs { max_connections: Some(share), ..cli.server.clone() };
        let application = build(&args, &cli.own)?;
        if application.shared.is_some() {
            let text = "the connections of this server share a state, which one loop has: leave out \
                        --threads";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if index == 0 {
            raise_limit(&cli.server, application.descriptors, member.count());
        }
        let (mut reactor, serving) = Serving::open(&args, application, tls)?;
        let mut cx = reactor.cx();
        let mut listening = Listening::new(serving, Some(member.clone()));
        for (traits, accept) in &self.listeners {
            listening.take_share(member, *traits, *accept, &mut cx)?;
        }
        let mut share = self.shares[index].lock().unwrap_or_else(PoisonError::into_inner);
        let Share { datagrams, orders } = std::mem::take(&mut *share);
        drop(share);
        for (socket, is_passed) in datagrams {
            listening.serve_datagrams(socket, is_passed, &mut cx)?;
        }
        if let Some(orders) = orders {
            obey(orders, listening, None, &mut cx)?;
        }
        Ok(reactor)
    }
}

/// Is woken when a loop or a listener has ended, and when a new program has failed.
struct Observer {
    /// Whether there were listeners at first. A server may serve datagrams alone.
    has_listeners: bool,
}

impl<A: 'static> Handler<Owner<A>> for Observer {
    fn ready(&mut self, cx: &mut Cx<'_, Owner<A>>) -> io::Result<()> {
        let Owner { group: Some(group), handover, .. } = &*cx.app else { return Ok(()) };
        // A new program may have them.
        let is_intended = handover.as_ref().is_some_and(|it| it.has_released());
        let has_none = self.has_listeners && group.listeners() == 0;
        if group.running() == 0 {
            cx.stop();
        } else if has_none && !is_intended && !group.is_stopping() {
            stop_gracefully(&"the last listener has ended", &mut cx.outside());
            cx.app.has_no_listener = true;
        }
        Ok(())
    }
}

/// Carries out the signals of a server with several loops.
struct AllLoops {
    /// A signal has told the server to stop. Loops that were handed over wind down by themselves.
    is_told: bool,
}

impl<A: 'static> Orders<Owner<A>> for AllLoops {
    fn log_counters(&mut self, cx: &mut LoopCx<'_, Owner<A>>) {
        let remote = cx.remote();
        let Owner { group: Some(group), tally, .. } = &mut *cx.app else { return };
        let round = tally.round + 1;
        let question = |name| Question::new(name, round, &remote);
        for (index, it) in group.loops().iter().enumerate() {
            question(format!("loop {index}")).ask(it);
        }
        let acceptor = group.acceptor();
        acceptor.into_iter().for_each(|it| question("the acceptor".to_owned()).ask(it));
        let left = group.loops().len() + usize::from(acceptor.is_some());
        // Their answers run later, on this thread.
        *tally = Tally { round, left, sum: Counters::default() };
    }

    fn is_stopping(&self, _cx: &LoopCx<'_, Owner<A>>) -> bool {
        self.is_told
    }

    fn stop_gracefully(&mut self, why: &dyn fmt::Display, cx: &mut LoopCx<'_, Owner<A>>) {
        self.is_told = true;
        let handover = cx.app.handover.clone();
        if handover.as_ref().is_some_and(|it| it.postpones_stop(why)) {
            return;
        }
        if !handover.is_some_and(|it| it.has_begun()) {
            cx.app.manager.stopping("connections finish");
        }
        if cx.app.group.as_ref().is_some_and(Group::is_stopping) {
            // They had more time, for the connections that were not handed over.
            info!("{why}: the connections that are left have {STOP_TIMEOUT:?} to finish");
            let stop = |cx: &mut LoopCx<'_, Owner<A>>| {
                cx.app.group.iter().for_each(Group::stop);
            };
            if let Err(error) = cx.after(STOP_TIMEOUT, stop) {
                warn!("stopping at once: {error}");
                stop(cx);
            }
            return;
        }
        stop_gracefully(why, cx);
    }

    fn stop(&mut self, cx: &mut LoopCx<'_, Owner<A>>) {
        if let Some(group) = &cx.app.group {
            group.stop();
        }
    }

    fn reload(&mut self, tls: Option<&Tls>, cx: &mut LoopCx<'_, Owner<A>>) -> Reload {
        let reload = cx.app.reload.get().copied();
        if tls.is_none() && reload.is_none() {
            return Reload::NoFiles;
        }
        cx.app.manager.reloading();
        if let Some(tls) = tls {
            tls.reload();
        }
        if let (Some(reload), Some(group)) = (reload, &cx.app.group) {
            for remote in group.loops() {
                // A loop that is gone needs no files.
                let _ = remote.post(reload);
            }
        }
        cx.app.manager.ready();
        Reload::Begun
    }

    fn hand_over(&mut self, cx: &mut LoopCx<'_, Owner<A>>) {
        match cx.app.handover.clone() {
            Some(handover) => handover.start(cx),
            None => warn!("no new program is started: this one has not started itself"),
        }
    }
}

/// The loops of a group, which are stopped together.
struct WholeGroup;

impl<A: 'static> Whole<Owner<A>> for WholeGroup {
    fn is_stopping(&self, cx: &LoopCx<'_, Owner<A>>) -> bool {
        cx.app.group.as_ref().is_none_or(Group::is_stopping)
    }

    fn stop_gracefully(&self, patience: Duration, cx: &mut LoopCx<'_, Owner<A>>) {
        if let Some(group) = &cx.app.group {
            group.stop_gracefully(patience);
        }
    }

    fn resumed(&self, cx: &mut LoopCx<'_, Owner<A>>) {
        if let Some(observer) = cx.app.observer {
            cx.wake(observer);
        }
    }
}

/// Stops all loops gracefully.
fn stop_gracefully<A: 'static>(why: &dyn fmt::Display, cx: &mut LoopCx<'_, Owner<A>>) {
    if let Some(group) = &cx.app.group {
        info!("{why}: stopping, the connections of all loops have {STOP_TIMEOUT:?} to finish");
        group.stop_gracefully(STOP_TIMEOUT);
    }
}
