//! The shared parts of the servers: arguments, logs, listening, signals, graceful stop.
//!
//! Each server is a sans-IO service and a call of [`run`] or [`run_with`].

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Args;
use protocol::codecs::Bytes;
use protocol::{Codec, Limits, SavedState, Service, Session, State, StateError};
use reactor::{DatagramSocket, Datagrams, LoopCx, LoopLimits, Reactor, Token};

mod args;
mod bound;
pub mod dns;
pub mod echo;
mod ending;
mod handover;
mod inherited;
pub mod kv;
mod listen;
mod listening;
mod logs;
mod loopback;
mod loops;
mod many;
pub mod mfs;
mod models;
mod questions;
mod run;
mod service_manager;
mod serving;
mod shared_state;
mod signals;
mod tls;
pub mod uppercase;
pub mod web;

pub use args::{IdleTimeout, NoArgs, ServerArgs};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use dns::check_local_files;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use handover::handover_frames;
pub use listen::Endpoint;
pub use loopback::Loopback;
pub use loops::{HowToAccept, LoopArgs};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use mfs::master::{check_mfs_log, check_mfs_tree};
pub use models::{Model, ModelArgs};
pub use shared_state::{Progress, SharedState};
pub use tls::TlsArgs;

/// The name, the description and the default address of a server.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// The name, on the command line and in logs.
    pub name: &'static str,
    /// One line that describes the server.
    pub about: &'static str,
    /// The default addresses to listen on, in the syntax of [`Location`](reactor::Location), with spaces
    /// between them.
    pub address: &'static str,
    /// The port of UDP for an address that has none, such as `udp://127.0.0.1`; `None` if the
    /// server does not take datagrams.
    pub datagram_port: Option<u16>,
}

/// Drives a socket of datagrams: see [`Application::datagrams`].
pub type ServeDatagrams<A> =
    Rc<dyn Fn(DatagramSocket, Limits, &mut LoopCx<'_, A>) -> io::Result<Token>>;

/// Returns the part of a state that connections share.
pub type Share<A> = fn(&mut A) -> &mut dyn SharedState;

/// The parts of a server besides the arguments that all servers take: the state that its connections
/// share, their limits, and the constructor of their sessions.
pub struct Application<A, S> {
    /// The state. Every call of a session borrows it.
    pub state: A,
    /// The limits of one connection.
    pub limits: Limits,
    /// The limits of the loop. The command line overrides the number of connections and the idle
    /// timeout.
    pub loop_limits: LoopLimits,
    /// How many descriptors the server opens at most besides those of its connections, such as files
    /// and connections to other servers. The limit of the process is raised to what it takes.
    pub descriptors: usize,
    /// How many connections the server makes itself. They do not count towards the number that the
    /// command line allows.
    pub own_connections: usize,
    /// The part of the state that goes to a new program together with all connections (`SIGUSR2`);
    /// `None` if connections go one by one, and those whose sessions cannot be saved
    /// ([`Session::save`]) finish in the old program. Such a server has one loop.
    pub shared: Option<Share<A>>,
    /// What else goes to a new program (`SIGUSR2`).
    pub legacy: Option<Legacy<A>>,
    /// Makes the session of a connection from the address of its peer; `None` for Unix sockets.
    pub session: Rc<dyn Fn(Option<SocketAddr>) -> S>,
    /// Drives a socket of datagrams, for a server that takes them.
    pub datagrams: Option<ServeDatagrams<A>>,
    /// Called once before the loop runs, to arm timers.
    pub start: fn(&mut LoopCx<'_, A>) -> io::Result<()>,
    /// Reads the files of the application again (`SIGHUP`), for a server that has some; with several
    /// loops, it is called on each. `SIGHUP` stops a server without files and certificates.
    pub reload: Option<ReloadFiles<A>>,
}

/// What a server leaves to a new program that takes over from it, besides sockets and connections: a few
/// bytes that do not change while it runs, such as a secret that clients rely on. With several loops, the
/// states of all have the same.
#[derive(Debug)]
pub struct Legacy<A> {
    /// Writes it.
    pub save: fn(&A, &mut State),
    /// Takes over what `save` of the old program has written. The loop does not run yet. An error is that
    /// of bytes that `save` does not write: then this program does not take over.
    pub restore: fn(&mut A, &mut SavedState<'_>) -> Result<(), StateError>,
}

/// Reads the files of an application again.
pub type ReloadFiles<A> = fn(&mut LoopCx<'_, A>);

impl<A: 'static, S> Application<A, S> {
    /// Takes over what the old program leaves, if there is one. Returns what this one leaves.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub(crate) fn inherit(&mut self, left: Option<&[u8]>) -> io::Result<Vec<u8>> {
        let Some(Legacy { save, restore }) = &self.legacy else { return Ok(Vec::new()) };
        if let Some(bytes) = left {
            let mut saved = SavedState::new(bytes);
            restore(&mut self.state, &mut saved).and_then(|()| saved.end()).map_err(|error| {
                let text = format!("cannot take over what the old program leaves: {error}");
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
        }
        let mut state = State::new();
        save(&self.state, &mut state);
        Ok(state.into_bytes())
    }

    /// Serves datagrams too: each socket with the codec and the service of a call of `make`.
    #[must_use]
    pub fn with_datagrams<C, D>(mut self, make: impl Fn() -> (C, D) + 'static) -> Self
    where
        C: Codec + Clone + 'static,
        D: Service<C, A> + 'static,
    {
        self.datagrams = Some(Rc::new(move |socket, limits, cx| {
            let (codec, service) = make();
            Datagrams::serve(socket, codec, service, limits, cx)
        }));
        self
    }
}

impl<S> Application<(), S> {
    /// Returns a server without state, with a session from `make` for each connection.
    pub fn stateless(make: fn() -> S) -> Self
    where
        S: 'static,
    {
        let session = Rc::new(move |_peer| make());
        let (limits, loop_limits) = (Limits::DEFAULT, LoopLimits::DEFAULT);
        let start = |_: &mut LoopCx<'_, ()>| Ok(());
        Self {
            state: (),
            limits,
            loop_limits,
            descriptors: 0,
            own_connections: 0,
            shared: None,
            legacy: None,
            session,
            datagrams: None,
            start,
            reload: None,
        }
    }
}

/// Runs a server without state until it is told to stop, with a session from `make` for each
/// connection, and one as the service of each socket of datagrams. Its connections may be served
/// without a loop too ([`ModelArgs`]). See [`run_with`].
pub fn run<S>(server: Server, make: fn() -> S) -> ExitCode
where
    S: Session + Service<Bytes> + 'static,
{
    let mut cli: args::Cli<ModelArgs> = args::parse(server, std::env::args_os());
    let plan = models::plan(&mut cli).unwrap_or_else(|text| {
        let error = clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, text + "\n");
        ending::exit_with(server.name, &error)
    });
    logged(server, plan.writing(), || match plan {
        models::Plan::Loops => turn_loops(server, cli, move |_, _| {
            Ok(Application::stateless(make).with_datagrams(move || (Bytes, make())))
        }),
        models::Plan::Other(kind) => models::serve(server, &cli.server, kind, make),
    })
}

/// Builds the loop of a server as [`run_with`] does, from the arguments of its command line without
/// the name of the program. It listens when this returns. Tests run it on a simulated host
/// ([`reactor::sim`]). It has no logger, and its process keeps its limit of descriptors.
///
/// # Errors
/// What is wrong with the arguments, or why the server cannot listen.
pub fn prepare<E, A, S>(
    server: Server,
    arguments: &[&str],
    build: impl FnOnce(&ServerArgs, &E) -> io::Result<Application<A, S>>,
) -> io::Result<Reactor<A>>
where
    E: Args,
    A: 'static,
    S: Session<A> + 'static,
{
    let words = [server.name].into_iter().chain(arguments.iter().copied()).map(OsString::from);
    let cli: args::Cli<E> = args::read(server, words).map_err(io::Error::other)?;
    if cli.server.loops.threads > NonZeroUsize::MIN {
        let text = "--threads is not possible here: this loop runs on the thread that prepares it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    run::prepare(server, &cli.server, build(&cli.server, &cli.own)?)
}

/// Runs a server until it is told to stop. `build` makes the server from the arguments that every
/// server takes and from its own, `E`. Call it from the main function of a program: it installs a
/// logger, a panic hook and signal handlers for the process.
///
/// With `--threads`, `build` is called once on each thread, and each loop has the state that it has
/// made. The number of connections in its arguments is the share of the loop.
///
/// Returns 0 after `SIGTERM`, `SIGINT` or `SIGHUP`, and 1 when the server cannot run or its last
/// listener has ended. Wrong arguments end the process with 2.
pub fn run_with<E, A, S>(
    server: Server,
    build: impl Fn(&ServerArgs, &E) -> io::Result<Application<A, S>> + Send + Sync + 'static,
) -> ExitCode
where
    E: Args + Send + Sync + 'static,
    A: 'static,
    S: Session<A> + 'static,
{
    let cli: args::Cli<E> = args::parse(server, std::env::args_os());
    logged(server, logs::Writing::Thread, || turn_loops(server, cli, build))
}

/// Runs a server with one loop or several.
fn turn_loops<E, A, S>(
    server: Server,
    cli: args::Cli<E>,
    build: impl Fn(&ServerArgs, &E) -> io::Result<Application<A, S>> + Send + Sync + 'static,
) -> io::Result<()>
where
    E: Args + Send + Sync + 'static,
    A: 'static,
    S: Session<A> + 'static,
{
    match cli.server.loops.threads {
        NonZeroUsize::MIN => {
            build(&cli.server, &cli.own).and_then(|it| run::serve(server, &cli.server, it))
        }
        _ => many::serve(server, cli, build),
    }
}

/// Starts the log of a server, and runs it. Returns the code for its exit.
fn logged(
    server: Server,
    writing: logs::Writing,
    serve: impl FnOnce() -> io::Result<()>,
) -> ExitCode {
    let logs = match logs::Logs::start(server.name, writing) {
        Ok(logs) => logs,
        Err(failure) => {
            eprintln!("{}: {failure}", server.name);
            return ExitCode::FAILURE;
        }
    };
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logs.fail(&failure);
            ExitCode::FAILURE
        }
    }
}
