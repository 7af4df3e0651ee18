//! What the ready daemons share: arguments, logs, listening, signals, graceful stop.
//!
//! Each server is a sans-IO service and the few lines that [`run`] it.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Args;
use protocol::{Limits, Session};
use reactor::{LoopCx, LoopLimits};

mod args;
pub mod echo;
mod ending;
pub mod kv;
mod listen;
mod logs;
mod loopback;
mod run;
pub mod uppercase;

pub use args::{IdleTimeout, NoArgs, ServerArgs};
pub use loopback::Loopback;

/// What makes one server different from another.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its name, on the command line and in logs.
    pub name: &'static str,
    /// One line on what it does.
    pub about: &'static str,
    /// Where it listens unless it is told: what [`Location`](reactor::Location) reads.
    pub address: &'static str,
}

/// What a server is made of beside the arguments that all take: the state that its connections
/// share, and what makes each of them.
pub struct Application<A, S> {
    /// The state, which every call of a connection is lent.
    pub state: A,
    /// What one connection may cost.
    pub limits: Limits,
    /// What the loop may cost. The arguments have the last word on connections and silence.
    pub loop_limits: LoopLimits,
    /// Makes the session of a connection from its peer's address, which Unix sockets have none of.
    pub session: Rc<dyn Fn(Option<SocketAddr>) -> S>,
    /// Called once before the loop runs: the place to arm timers.
    pub start: fn(&mut LoopCx<'_, A>) -> io::Result<()>,
}

/// Runs a server without any state until it is told to stop, with a session from `make` for each
/// connection. See [`run_with`].
pub fn run<S>(server: Server, make: fn() -> S) -> ExitCode
where
    S: Session + 'static,
{
    run_with(server, move |_common: &ServerArgs, _own: &NoArgs| {
        let session = Rc::new(move |_peer| make());
        let (limits, loop_limits) = (Limits::DEFAULT, LoopLimits::DEFAULT);
        Ok(Application { state: (), limits, loop_limits, session, start: |_| Ok(()) })
    })
}

/// Runs a server until it is told to stop. `build` makes it of the arguments that every server
/// takes and of its own, `E`. It is for the main function of a program: it takes the process's
/// logger, its panic hook and its signals.
///
/// Exits with 0 after `SIGTERM`, `SIGINT` or `SIGHUP`, with 1 when it cannot run or its last listener
/// has ended, with 2 when the arguments are wrong.
pub fn run_with<E, A, S>(
    server: Server,
    build: impl FnOnce(&ServerArgs, &E) -> io::Result<Application<A, S>>,
) -> ExitCode
where
    E: Args,
    A: 'static,
    S: Session<A> + 'static,
{
    let cli: args::Cli<E> = args::parse(server, std::env::args_os());
    let logs = match logs::Logs::start(server.name) {
        Ok(logs) => logs,
        Err(failure) => {
            eprintln!("{}: {failure}", server.name);
            return ExitCode::FAILURE;
        }
    };
    let result = build(&cli.server, &cli.own).and_then(|it| run::serve(server, &cli.server, it));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            logs.fail(&failure);
            ExitCode::FAILURE
        }
    }
}
