//! Runs a server: it listens, turns the loop until it is told to stop, and stops gracefully.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use protocol::link::Link;
use protocol::tls::TlsServer;
use protocol::{Limits, Session};
use reactor::{
    Accepted, Counters, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Signal, Stream,
    TcpOptions, raise_descriptor_limit,
};

use crate::args::ServerArgs;
use crate::listen::{Endpoint, Socket};
use crate::tls::Tls;
use crate::{Application, Server, listen, logs};

/// Descriptors besides those of connections: the loop, its mailbox, signals, listeners, logs.
const DESCRIPTORS_OF_ITS_OWN: usize = 64;
/// How long connections may go on after the first signal to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a server with its application until it is told to stop.
pub(crate) fn serve<A, S>(
    server: Server,
    args: &ServerArgs,
    application: Application<A, S>,
) -> io::Result<()>
where
    A: 'static,
    S: Session<A> + 'static,
{
    let others = application.descriptors;
    let mut reactor = prepare(server, args, application)?;
    raise_limit(args, others);
    let result = turn(&mut reactor);
    info!("stopped: {}", Figures(reactor.counters()));
    result
}

/// Opens the loop of a server, which handles signals and listens.
pub(crate) fn prepare<A, S>(
    server: Server,
    args: &ServerArgs,
    application: Application<A, S>,
) -> io::Result<Reactor<A>>
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
        tcp: TcpOptions { keepalive: args.keepalive.limit(), ..TcpOptions::default() },
        ..ListenOptions::DEFAULT
    };
    let default = [server.address.parse().map_err(io::Error::other)?];
    let endpoints = if args.listen.is_empty() { &default[..] } else { &args.listen };
    let tls = load_certificates(args, endpoints, &mut cx)?;
    let Application { limits: each, session, datagrams, .. } = application;
    for socket in listen::bind_all(endpoints, &options, datagrams.is_some())? {
        let bound = socket.address().clone();
        let scheme = if matches!(socket, Socket::Encrypted(_)) { "tls://" } else { "" };
        match (socket, &datagrams, &tls) {
            (Socket::Streams(listener), ..) => {
                let session = Rc::clone(&session);
                Stream::serve(listener, each, &mut cx, move |peer| session(peer))?;
            }
            (Socket::Encrypted(listener), _, Some(tls)) => {
                serve_encrypted(
                    listener,
                    Limits { handshake: args.tls.handshake_timeout(), ..each },
                    Rc::clone(&session),
                    tls.server().clone(),
                    &mut cx,
                )?;
            }
            (Socket::Datagrams(socket), Some(serve), _) => _ = serve(socket, each, &mut cx)?,
            (Socket::Encrypted(_), _, None) | (Socket::Datagrams(_), None, _) => {}
        }
        info!("{} listening on {scheme}{bound} with {}, {limits}", server.name, args.backend);
    }
    Ok(reactor)
}

/// Reads the certificates, and reads them again at `SIGUSR2`.
fn load_certificates<A: 'static>(
    args: &ServerArgs,
    endpoints: &[Endpoint],
    cx: &mut LoopCx<'_, A>,
) -> io::Result<Option<Tls>> {
    let tls = Tls::load(&args.tls)?;
    let encrypted = endpoints.iter().find(|it| it.is_encrypted);
    match (&tls, encrypted) {
        (None, Some(endpoint)) => {
            let text = format!("{endpoint} needs a certificate: give its file with --cert");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        (Some(_), None) => {
            warn!("there is a certificate, and no address of tls:// to listen on: nothing uses it");
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let shared = tls.clone();
    cx.on_signals(&[Signal::USER_2], move |_, _| match &shared {
        Some(tls) => tls.reload(),
        None => info!("there are no certificates to read again"),
    })?;
    Ok(tls)
}

/// Accepts connections, each with a session behind TLS.
fn serve_encrypted<A: 'static, S: Session<A> + 'static>(
    listener: Listener,
    limits: Limits,
    session: Rc<dyn Fn(Option<SocketAddr>) -> S>,
    tls: TlsServer,
    cx: &mut LoopCx<'_, A>,
) -> io::Result<()> {
    let limits = limits.shared()?;
    let accept = move |accepted: Accepted, cx: &mut LoopCx<'_, A>| {
        let link = Link::with_layer(session(accepted.peer()), tls.layer()?, Arc::clone(&limits));
        Stream::over(link).register(accepted, cx).map(drop)
    };
    listener.register(cx, accept).map(drop)
}

/// Opens a loop that handles signals.
fn start<A: 'static>(args: &ServerArgs, limits: LoopLimits, app: A) -> io::Result<Reactor<A>> {
    let mut reactor = Reactor::with_backend(args.backend.open()?, limits, app)?;
    let mut signals = vec![Signal::INTERRUPT, Signal::TERMINATE, Signal::USER_1];
    // A process that was started with nohup is meant to outlive the terminal.
    if !Signal::HANGUP.is_ignored() {
        signals.push(Signal::HANGUP);
    }
    reactor.cx().on_signals(&signals, on_signal)?;
    // A signal that comes after the loop has ended must not end the process before it exits by
    // itself.
    Signal::outlive(&signals)?;
    Ok(reactor)
}

/// Turns the loop until the server was told to stop and has stopped gracefully.
///
/// # Errors
/// When the wait fails, or the last listener has ended: a supervisor has to learn that the server
/// cannot be reached any more.
fn turn<A: 'static>(reactor: &mut Reactor<A>) -> io::Result<()> {
    let mut has_no_listener = false;
    reactor.run_while(|reactor| {
        has_no_listener = reactor.listeners() == 0 && !reactor.is_stopping();
        !has_no_listener
    })?;
    if has_no_listener {
        stop_gracefully(&"the last listener has ended", &mut reactor.cx());
        reactor.run()?;
        return Err(io::Error::other("stopped because no listener was left"));
    }
    Ok(())
}

/// Raises the limit of descriptors to what `connections_max` and `others` take, or as far as the system
/// allows.
fn raise_limit(args: &ServerArgs, others: usize) {
    let connections = args.connections_max();
    let wanted = connections.saturating_add(others).saturating_add(DESCRIPTORS_OF_ITS_OWN) as u64;
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

/// Stops gracefully at the first signal and at once at the second. A terminal that ends may send
/// `SIGHUP` twice, so another `SIGHUP` changes nothing.
fn on_signal<A>(signal: Signal, cx: &mut LoopCx<'_, A>) {
    if signal == Signal::USER_1 {
        info!("{}", Figures(cx.counters()));
    } else if !cx.is_stopping() {
        stop_gracefully(&signal, cx);
    } else if signal != Signal::HANGUP {
        warn!("{signal} again: stopping at once");
        cx.stop();
    }
}

fn stop_gracefully<A>(why: &dyn fmt::Display, cx: &mut LoopCx<'_, A>) {
    let left = cx.connections();
    info!("{why}: stopping, {left} connections have {STOP_TIMEOUT:?} to finish");
    cx.stop_gracefully(STOP_TIMEOUT);
}

/// The counters of the loop, and the number of dropped log lines.
struct Figures(Counters);

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} log_lines_dropped={}", self.0, logs::lines_dropped())
    }
}
