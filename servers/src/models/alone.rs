//! One connection at a time: the iterative model, each worker of prefork, and each child of fork.

use std::io;
use std::time::Duration;

use log::info;
use protocol::Session;
use reactor::blocking::{Orders, Told};
use reactor::{Accepted, BackendKind, Listener, LoopCx, Reactor, Signal, Token};

use super::Serving;
use super::desk::{self, Desk, Stands};
use crate::run::{Figures, STOP_TIMEOUT, no_listener_left};

/// How long a wait for a client takes before the loop turns: a signal that arrives just before a wait
/// begins does not end it.
const TURN_EVERY: Duration = Duration::from_millis(250);
/// After how many messages the loop turns: a client that always sends must not keep signals from being
/// heard.
const MESSAGES_MAX: u32 = 64;

/// The state of a loop that accepts one connection and turns little while that is served.
pub(super) struct Alone {
    /// The connection that was accepted, and what stands for it.
    next: Option<(Accepted, Token)>,
    told: Told,
    /// How often the loop has to turn while a connection waits.
    patience: Duration,
}

impl Alone {
    fn new(patience: Duration) -> Self {
        Self { next: None, told: Told::Nothing, patience }
    }
}

impl Desk for Alone {
    fn report(&self) -> String {
        "iterative".to_owned()
    }

    fn tell(told: Told, cx: &mut LoopCx<'_, Self>) -> io::Result<()> {
        cx.app.told = told;
        Ok(())
    }
}

/// Runs a server that serves one connection at a time.
pub(super) fn run<S: Session + 'static>(
    listeners: Vec<Listener>,
    serving: Serving<S>,
) -> io::Result<()> {
    let mut reactor = desk::open(Alone::new(TURN_EVERY), 1)?;
    accept(listeners, &mut reactor)?;
    let result = turn(&mut reactor, serving);
    info!("stopped: {}", Figures(reactor.counters()));
    result
}

/// Makes the loop of a forked process, which hears the signals that its parent sends. A parent repeats
/// the signal to stop, and ends a process that is late.
pub(super) fn in_child(is_worker: bool) -> io::Result<Reactor<Alone>> {
    // A child of fork is one of many: it does not wake without need, and its parent's signals come
    // again.
    let (kind, patience) = match is_worker {
        true => (BackendKind::default(), TURN_EVERY),
        false => (BackendKind::Poll, Duration::MAX),
    };
    let mut reactor = desk::with_limit(kind.open()?, Alone::new(patience), 1)?;
    let mut signals = vec![Signal::INTERRUPT, Signal::TERMINATE, Signal::USER_1, Signal::USER_2];
    if !Signal::HANGUP.is_ignored() {
        signals.push(Signal::HANGUP);
    }
    reactor.cx().on_signals(&signals, |signal, cx| match signal {
        Signal::USER_1 => info!("process {}: {}", std::process::id(), Figures(cx.counters())),
        Signal::USER_2 => {}
        _ if cx.app.told == Told::Nothing => {
            cx.app.told = Told::Stop;
            cx.stop_gracefully(STOP_TIMEOUT);
        }
        _ => {}
    })?;
    Ok(reactor)
}

/// Runs a worker, which accepts from sockets that others accept from too.
pub(super) fn work<S: Session + 'static>(
    listeners: Vec<Listener>,
    mut reactor: Reactor<Alone>,
    serving: Serving<S>,
) -> io::Result<()> {
    accept(listeners.into_iter().map(Listener::exclusive), &mut reactor)?;
    turn(&mut reactor, serving)
}

/// Serves one connection in a process of its own.
pub(super) fn serve_one<S: Session + 'static>(
    accepted: Accepted,
    mut reactor: Reactor<Alone>,
    serving: Serving<S>,
) {
    serving.serve(accepted, &mut Turns { reactor: &mut reactor, messages: 0 });
}

fn accept(
    listeners: impl IntoIterator<Item = Listener>,
    reactor: &mut Reactor<Alone>,
) -> io::Result<()> {
    for listener in listeners {
        listener.register(&mut reactor.cx(), |accepted, cx| {
            let token = cx.spawn_connection(Stands)?;
            cx.app.next = Some((accepted, token));
            Ok(())
        })?;
    }
    Ok(())
}

/// Serves one connection after the other, until the loop has stopped.
fn turn<S: Session + 'static>(reactor: &mut Reactor<Alone>, serving: Serving<S>) -> io::Result<()> {
    loop {
        let mut is_lost = false;
        reactor.run_while(|reactor| {
            is_lost = reactor.listeners() == 0 && !reactor.is_stopping();
            reactor.app.next.is_none() && !is_lost
        })?;
        let Some((accepted, token)) = reactor.app.next.take() else {
            return if is_lost { Err(no_listener_left()) } else { Ok(()) };
        };
        serving.serve(accepted, &mut Turns { reactor, messages: 0 });
        if reactor.app.told == Told::StopNow {
            return Ok(());
        }
        reactor.cx().close(token);
    }
}

/// Turns the loop while a connection is served, so that signals are heard.
struct Turns<'a> {
    reactor: &'a mut Reactor<Alone>,
    messages: u32,
}

impl Orders for Turns<'_> {
    fn told(&mut self) -> Told {
        self.messages += 1;
        if self.messages >= MESSAGES_MAX { self.interrupted() } else { self.reactor.app.told }
    }

    fn interrupted(&mut self) -> Told {
        self.messages = 0;
        let turned = self.reactor.run_once(Some(Duration::ZERO));
        if turned.is_err() || self.reactor.has_ended() {
            self.reactor.app.told = Told::StopNow;
        }
        self.reactor.app.told
    }

    fn patience(&self) -> Duration {
        self.reactor.app.patience
    }
}
