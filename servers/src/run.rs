//! The life of a server: it listens, turns until it is told to stop, and winds down.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use protocol::Session;
use reactor::{
    Counters, ListenOptions, LoopCx, LoopLimits, Reactor, Signal, Stream, raise_descriptor_limit,
};

use crate::args::ServerArgs;
use crate::{Application, Server, listen, logs};

/// The loop, its mailbox, signals, listeners, logs: what it opens beside connections.
const DESCRIPTORS_OF_ITS_OWN: usize = 64;
/// How long connections may go on after the first signal to stop.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// What a server does with its application until it is told to stop.
pub(crate) fn serve<A, S>(
    server: Server,
    args: &ServerArgs,
    application: Application<A, S>,
) -> io::Result<()>
where
    A: 'static,
    S: Session<A> + 'static,
{
    let limits = LoopLimits {
        connections_max: args.connections_max(),
        idle_timeout: args.idle_timeout.limit(),
        ..application.loop_limits
    };
    let mut reactor = start(args, limits, application.state)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start the loop: {error}")))?;
    let mut cx = reactor.cx();
    (application.start)(&mut cx)?;
    let options = ListenOptions {
        unix_mode: args.unix_mode,
        dual_stack: args.dual_stack,
        ..ListenOptions::DEFAULT
    };
    let default = [server.address.parse().map_err(io::Error::other)?];
    let locations = if args.listen.is_empty() { &default[..] } else { &args.listen };
    for listener in listen::bind_all(locations, &options)? {
        let bound = listener.address().clone();
        let session = Rc::clone(&application.session);
        Stream::serve(listener, application.limits, &mut cx, move |peer| session(peer))?;
        info!("{} listening on {bound} with {}, {limits}", server.name, args.backend);
    }
    raise_limit(args);
    let result = turn(&mut reactor);
    info!("stopped: {}", Figures(reactor.counters()));
    result
}

/// A loop that listens to signals.
fn start<A: 'static>(args: &ServerArgs, limits: LoopLimits, app: A) -> io::Result<Reactor<A>> {
    let mut reactor = Reactor::with_backend(args.backend.open()?, limits, app)?;
    let mut signals = vec![Signal::INTERRUPT, Signal::TERMINATE, Signal::USER_1];
    // Whoever starts it with nohup wants it to outlive the terminal.
    if !Signal::HANGUP.is_ignored() {
        signals.push(Signal::HANGUP);
    }
    reactor.cx().on_signals(&signals, on_signal)?;
    // None of them ends the process while it ends by itself, when the loop is gone already.
    Signal::outlive(&signals)?;
    Ok(reactor)
}

/// Turns until the server was told to stop and has wound down.
///
/// # Errors
/// When the wait fails, or the last listener has ended: a server that none can reach is to be
/// noticed by whatever watches over it.
fn turn<A: 'static>(reactor: &mut Reactor<A>) -> io::Result<()> {
    let mut is_deserted = false;
    reactor.run_while(|reactor| {
        is_deserted = reactor.listeners() == 0 && !reactor.is_stopping();
        !is_deserted
    })?;
    if is_deserted {
        wind_down(&"the last listener has ended", &mut reactor.cx());
        reactor.run()?;
        return Err(io::Error::other("stopped, since no listener was left"));
    }
    Ok(())
}

/// Makes the system allow as many descriptors as connections may take, or as many as it does.
fn raise_limit(args: &ServerArgs) {
    let connections = args.connections_max();
    let wanted = connections.saturating_add(DESCRIPTORS_OF_ITS_OWN) as u64;
    match raise_descriptor_limit(wanted) {
        // Nothing is promised where nobody asked for so many.
        Ok(limit) if limit < wanted && args.max_connections.is_some() => info!(
            "{connections} connections take more than the {limit} descriptors that ulimit -n allows"
        ),
        Ok(_) => {}
        Err(error) => warn!(
            "the limit of descriptors cannot be raised, and may be too low for {connections} \
             connections: {error}"
        ),
    }
}

/// The first signal winds down, the second stops at once. A terminal that ends may say so twice.
fn on_signal<A>(signal: Signal, cx: &mut LoopCx<'_, A>) {
    if signal == Signal::USER_1 {
        info!("{}", Figures(cx.counters()));
    } else if !cx.is_stopping() {
        wind_down(&signal, cx);
    } else if signal != Signal::HANGUP {
        warn!("{signal} again: stopping at once");
        cx.stop();
    }
}

fn wind_down<A>(why: &dyn fmt::Display, cx: &mut LoopCx<'_, A>) {
    let left = cx.connections();
    info!("{why}: stopping, {left} connections have {DRAIN_PATIENCE:?} to finish");
    cx.stop_gracefully(DRAIN_PATIENCE);
}

/// What is counted, the lines that the log is without among it.
struct Figures(Counters);

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} log_lines_dropped={}", self.0, logs::lines_dropped())
    }
}
