//! Runs a server with several loops. The thread of the program has a small loop of its own, for the
//! signals and to watch over the others.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use clap::Args;
use log::{info, warn};
use protocol::Session;
use reactor::{
    Counters, Cx, DatagramSocket, Group, GroupListener, GroupOptions, Handler, LoopCx, LoopLimits,
    Member, Reactor, Remote,
};

use crate::args::{Cli, ServerArgs};
use crate::inherited::Inherited;
use crate::listen::{Kind, Socket};
use crate::run::{Figures, STOP_TIMEOUT, Setting, listen_on, no_listener_left, raise_limit};
use crate::service_manager::ServiceManager;
use crate::serving::Serving;
use crate::signals::{self, Orders};
use crate::tls::Tls;
use crate::{Application, Server};

/// The state of the loop for signals.
struct Owner<A: 'static> {
    group: Option<Group<A>>,
    /// Whether the server could not be reached any more, and was stopped for that.
    has_no_listener: bool,
    tally: Tally,
    manager: ServiceManager,
    /// How many loops have not answered since the last sign of life.
    silent: usize,
}

/// The counters of the loops, which arrive one by one.
#[derive(Default)]
struct Tally {
    /// How often counters were asked for.
    round: u64,
    /// How many loops have not answered in this round.
    left: usize,
    sum: Counters,
}

impl Tally {
    /// Logs the counters of a loop, and the sum after those of the last.
    fn add(&mut self, round: u64, name: &str, counters: Counters) {
        info!("{name}: {counters}");
        if round != self.round {
            return;
        }
        self.left -= 1;
        self.sum = self.sum + counters;
        if self.left == 0 {
            info!("all loops: {}", Figures(self.sum));
        }
    }
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
    args.loops.check(args.connections_max())?;
    let owner = Owner {
        group: None,
        has_no_listener: false,
        tally: Tally::default(),
        manager: ServiceManager::find(),
        silent: 0,
    };
    let backend = args.backend.open()?;
    let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, owner)?;
    let tls = Tls::load(&args.tls)?;
    // Before there are threads: no signal ends the process from here on (P16).
    signals::heed(tls.clone(), AllLoops, &mut reactor.cx())?;
    let sockets = listen_on(
        server,
        &args,
        args.loops.accept(),
        tls.as_ref(),
        Inherited::take(Vec::new())?.0,
    )?;
    let places: Vec<String> = sockets.iter().map(Socket::to_string).collect();
    let (listeners, plan) = Plan::new(sockets, args.loops.threads.get());
    let options = GroupOptions {
        threads: args.loops.threads,
        pinning: args.loops.pinning(),
        name: "loop",
        acceptor: args.backend,
        patience: STOP_TIMEOUT,
        ..GroupOptions::default()
    };
    let make = move |member: &Member<A>| plan.make(member, &cli, tls.clone(), &build);
    let group = Group::start(options, listeners, make, |_| ())?;
    for place in places {
        info!("{} listening on {place} with {}", server.name, Setting(&args));
    }
    reactor.app.manager.ready();
    watch(&mut reactor, group)
}

/// Watches over the loops until all have ended.
fn watch<A: 'static>(reactor: &mut Reactor<Owner<A>>, group: Group<A>) -> io::Result<()> {
    let has_listeners = group.listeners() > 0;
    let observer = reactor.cx().spawn(Observer { has_listeners })?;
    group.set_observer(reactor.cx().waker_of(observer));
    reactor.app.group = Some(group);
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
    let Owner { group: Some(group), manager, silent, .. } = &mut *cx.app else { return };
    if *silent > 0 {
        return;
    }
    manager.alive();
    let ask = |remote: &Remote<A>| {
        let owner = owner.clone();
        let asked = remote.post(move |_| {
            // An owner that is gone gives no sign any more.
            let _ = owner.post(|cx| cx.app.silent -= 1);
        });
        usize::from(asked.is_ok())
    };
    *silent = group.loops().iter().map(ask).sum();
}

/// What each loop serves.
struct Plan {
    /// Whether the connections of each listener are encrypted.
    encrypted: Vec<bool>,
    /// The sockets of datagrams of each loop.
    datagrams: Vec<Mutex<Vec<DatagramSocket>>>,
}

impl Plan {
    /// Divides sockets among `threads` loops. A socket of datagrams that is alone on its address is the
    /// first loop's.
    fn new(sockets: Vec<Socket>, threads: usize) -> (Vec<GroupListener>, Self) {
        let (mut listeners, mut encrypted) = (Vec::new(), Vec::new());
        let mut datagrams: Vec<Vec<DatagramSocket>> = (0..threads).map(|_| Vec::new()).collect();
        for socket in sockets {
            match socket.kind {
                Kind::Streams { listener, is_encrypted } => {
                    listeners.push(listener);
                    encrypted.push(is_encrypted);
                }
                Kind::Datagrams(sockets) => {
                    datagrams.iter_mut().zip(sockets).for_each(|(own, socket)| own.push(socket));
                }
            }
        }
        let datagrams = datagrams.into_iter().map(Mutex::new).collect();
        (listeners, Self { encrypted, datagrams })
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
        if index == 0 {
            raise_limit(&cli.server, application.descriptors, member.count());
        }
        let (mut reactor, serving) = Serving::open(&args, application, tls)?;
        let mut cx = reactor.cx();
        for (listener, is_encrypted) in self.encrypted.iter().enumerate() {
            member.accept(listener, &mut cx, serving.accept(*is_encrypted)?)?;
        }
        let sockets = self
            .datagrams
            .get(index)
            .map(|own| std::mem::take(&mut *own.lock().unwrap_or_else(PoisonError::into_inner)));
        for socket in sockets.into_iter().flatten() {
            serving.serve_datagrams(socket, &mut cx)?;
        }
        Ok(reactor)
    }
}

/// Is woken when a loop or a listener has ended.
struct Observer {
    /// Whether there were listeners at first. A server may serve datagrams alone.
    has_listeners: bool,
}

impl<A: 'static> Handler<Owner<A>> for Observer {
    fn ready(&mut self, cx: &mut Cx<'_, Owner<A>>) -> io::Result<()> {
        let Some(group) = &cx.app.group else { return Ok(()) };
        if group.running() == 0 {
            cx.stop();
        } else if self.has_listeners && group.listeners() == 0 && !group.is_stopping() {
            stop_gracefully(&"the last listener has ended", &mut cx.outside());
            cx.app.has_no_listener = true;
        }
        Ok(())
    }
}

/// Carries out the signals of a server with several loops.
struct AllLoops;

/// Asks a loop for its counters, which the owner gets. Returns how many loops will answer.
fn ask<A: 'static, B: 'static>(
    remote: &Remote<B>,
    name: String,
    round: u64,
    owner: &Remote<Owner<A>>,
) -> usize {
    let owner = owner.clone();
    let asked = remote.post(move |cx| {
        let counters = cx.counters();
        // An owner that is gone asks no more.
        let _ = owner.post(move |cx| cx.app.tally.add(round, &name, counters));
    });
    usize::from(asked.is_ok())
}

impl<A: 'static> Orders<Owner<A>> for AllLoops {
    fn log_counters(&mut self, cx: &mut LoopCx<'_, Owner<A>>) {
        let remote = cx.remote();
        let Owner { group: Some(group), tally, .. } = &mut *cx.app else { return };
        let round = tally.round + 1;
        let loops = group.loops().iter().enumerate();
        let mut left: usize =
            loops.map(|(index, it)| ask(it, format!("loop {index}"), round, &remote)).sum();
        if let Some(acceptor) = group.acceptor() {
            left += ask(acceptor, "the acceptor".to_owned(), round, &remote);
        }
        // Their answers run later, on this thread.
        *tally = Tally { round, left, sum: Counters::default() };
    }

    fn is_stopping(&self, cx: &LoopCx<'_, Owner<A>>) -> bool {
        cx.app.group.as_ref().is_none_or(Group::is_stopping)
    }

    fn stop_gracefully(&mut self, why: &dyn fmt::Display, cx: &mut LoopCx<'_, Owner<A>>) {
        cx.app.manager.stopping("connections finish");
        stop_gracefully(why, cx);
    }

    fn stop(&mut self, cx: &mut LoopCx<'_, Owner<A>>) {
        if let Some(group) = &cx.app.group {
            group.stop();
        }
    }

    fn reload(&mut self, tls: &Tls, cx: &mut LoopCx<'_, Owner<A>>) {
        cx.app.manager.reloading();
        tls.reload();
        cx.app.manager.ready();
    }

    fn hand_over(&mut self, _cx: &mut LoopCx<'_, Owner<A>>) {
        warn!("no new program is started: only a server with --threads 1 hands over");
    }
}

/// Stops all loops gracefully.
fn stop_gracefully<A: 'static>(why: &dyn fmt::Display, cx: &mut LoopCx<'_, Owner<A>>) {
    if let Some(group) = &cx.app.group {
        info!("{why}: stopping, the connections of all loops have {STOP_TIMEOUT:?} to finish");
        group.stop_gracefully(STOP_TIMEOUT);
    }
}
