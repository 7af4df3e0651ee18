//! Runs a command, once at a time.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use reactor::{Child, ChildOptions, LoopCx, Signal, WhenLeft};

use super::{App, Cli, Task};
use crate::Failure;
use crate::output::complain;

/// The runs of a command.
pub(super) struct Runs {
    command: Vec<OsString>,
    options: ChildOptions,
    /// Whether a change ends a run.
    restarts: bool,
    /// How long after a run changes may be noticed that were made during it.
    quiet: Duration,
    /// How many runs are left, if that is limited.
    left: Option<u64>,
    state: State,
    last: Option<ExitStatus>,
}

/// What the command does.
enum State {
    /// It does not run.
    Idle,
    /// It runs, and nothing has changed since it was started.
    Running(Child),
    /// It runs, and something has changed.
    Outdated(Child),
    /// It has ended, and is started again after a while.
    Pausing,
    /// It runs or has ended, and is not started again.
    Ending(Option<Child>),
}

impl Runs {
    pub(super) fn new(cli: &Cli) -> Self {
        let options = ChildOptions {
            end_signal: cli.signal,
            patience: cli.patience,
            when_left: WhenLeft::Kill,
        };
        Self {
            command: cli.command.clone(),
            options,
            restarts: cli.restart,
            // Longer than the watch waits, so that what it tells of the run comes before.
            quiet: cli.quiet + cli.quiet / 2,
            left: cli.count,
            state: State::Idle,
            last: None,
        }
    }

    /// Returns the exit code of the last run, as a shell has it.
    pub(super) fn code(&self) -> u8 {
        let code = self.last.map_or(Some(0), |status| {
            status.code().or_else(|| status.signal().map(|number| 128 + number))
        });
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }
}

/// Something has changed.
pub(super) fn changed(cx: &mut LoopCx<'_, App>) {
    let Some(runs) = runs(cx.app) else { return };
    match std::mem::replace(&mut runs.state, State::Idle) {
        State::Idle => start(cx),
        State::Running(child) => {
            let ends = runs.restarts;
            let ended = if ends { child.end(cx) } else { Ok(()) };
            if let Some(runs) = self::runs(cx.app) {
                runs.state = State::Outdated(child);
            }
            if let Err(error) = ended {
                complain(format_args!("file-watch: the command cannot be ended: {error}"));
            }
        }
        state => runs.state = state,
    }
}

/// Starts the command.
fn start(cx: &mut LoopCx<'_, App>) {
    let Some(runs) = runs(cx.app) else { return };
    let mut command = Command::new(&runs.command[0]);
    command.args(&runs.command[1..]);
    let options = runs.options;
    match Child::spawn(command, &options, cx, exited) {
        Ok(child) => {
            if let Some(runs) = self::runs(cx.app) {
                runs.state = State::Running(child);
            }
        }
        Err(error) => {
            cx.app.failure = Some(Failure::new(error.to_string()));
            cx.stop();
        }
    }
}

/// A run has ended.
fn exited(status: io::Result<ExitStatus>, cx: &mut LoopCx<'_, App>) {
    let Some(runs) = runs(cx.app) else { return };
    match status {
        Ok(status) => runs.last = Some(status),
        Err(error) => complain(format_args!("file-watch: {error}")),
    }
    runs.left = runs.left.map(|left| left.saturating_sub(1));
    match std::mem::replace(&mut runs.state, State::Idle) {
        State::Ending(_) => cx.stop(),
        _ if runs.left == Some(0) => cx.stop(),
        State::Outdated(_) => {
            runs.state = State::Pausing;
            let quiet = if runs.restarts { Duration::ZERO } else { runs.quiet };
            let resume = |cx: &mut LoopCx<'_, App>| {
                if let Some(Runs { state: State::Pausing, .. }) = self::runs(cx.app) {
                    start(cx);
                }
            };
            if let Err(error) = cx.after(quiet, resume) {
                cx.app.failure = Some(error.into());
                cx.stop();
            }
        }
        _ => {}
    }
}

/// Tells the command that this tool ends, and ends when it has ended. A second signal kills it.
pub(super) fn end(signal: Signal, cx: &mut LoopCx<'_, App>) {
    let Some(runs) = runs(cx.app) else { return };
    let patience = runs.options.patience;
    let is_first = !matches!(runs.state, State::Ending(_));
    let child = match std::mem::replace(&mut runs.state, State::Idle) {
        State::Running(child) | State::Outdated(child) | State::Ending(Some(child)) => child,
        _ => return cx.stop(),
    };
    // A key of the terminal sends its signal to the command too.
    let is_told = signal.last_sender().is_some_and(|sender| sender.pid.is_none());
    let sent = match (is_first, is_told) {
        (false, _) => child.signal(Signal::KILL),
        (true, false) => child.signal(signal),
        (true, true) => Ok(()),
    };
    runs.state = State::Ending(Some(child));
    // If it has ended, that is told next.
    if let Err(error) = sent.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }) {
        complain(format_args!("file-watch: the command cannot be ended: {error}"));
    }
    let kill = |cx: &mut LoopCx<'_, App>| {
        if let Some(Runs { state: State::Ending(Some(child)), .. }) = self::runs(cx.app) {
            // It fails if the command has just ended.
            let _ = child.signal(Signal::KILL);
        }
    };
    if is_first && cx.after(patience, kill).is_err() {
        cx.stop();
    }
}

fn runs(app: &mut App) -> Option<&mut Runs> {
    match &mut app.task {
        Task::Run(runs) => Some(runs),
        Task::Print(..) => None,
    }
}
