//! Prints what happens to files, or runs a command when they change.

mod command;
mod globs;
mod options;
mod show;

use reactor::watch::{Change, Notice, TreeWatch};
use reactor::{BackendKind, LoopCx, LoopLimits, Reactor, Reason};

use crate::output::{complain, print};
use crate::{Failure, signals_to_end};
use command::Runs;
use globs::Globs;
pub use options::Cli;
use show::{Form, Kinds};

/// What is done with changes.
enum Task {
    /// They are printed: how, and how many lines more.
    Print(Form, Option<u64>),
    /// They cause a command to run.
    Run(Runs),
}

/// The exit code after wrong arguments, of which a pattern is one.
const WRONG_ARGUMENTS: u8 = 2;

struct App {
    task: Task,
    globs: Globs,
    failure: Option<Failure>,
}

/// Watches until a signal ends it, or the number of lines or runs is reached. Returns the exit code.
///
/// # Errors
/// Fails if a path does not exist, a limit is reached, standard output fails, or the command cannot be
/// started.
pub fn run(cli: Cli) -> Result<u8, Failure> {
    let globs = match Globs::new(&cli.include, &cli.exclude) {
        Ok(globs) => globs,
        Err(failure) => {
            failure.report("file-watch");
            return Ok(WRONG_ARGUMENTS);
        }
    };
    if cli.command.first().is_some_and(|program| program.is_empty()) {
        Failure::new("the command after -- is empty").report("file-watch");
        return Ok(WRONG_ARGUMENTS);
    }
    let mut watch = TreeWatch::new(cli.tree_options());
    for path in &cli.paths {
        watch = watch.path(path);
    }
    let wanted = globs.clone();
    let watch = watch.filter(move |path, kind| wanted.watches(path, kind));
    let is_command = !cli.command.is_empty();
    let task = match is_command {
        true => Task::Run(Runs::new(&cli)),
        false => {
            let given = cli.paths.iter().map(|path| path.components().collect()).collect();
            let form = Form { is_json: cli.json, kinds: Kinds::union(&cli.event), given };
            Task::Print(form, cli.count)
        }
    };
    let app = App { task, globs, failure: None };
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(BackendKind::from_env()?.open()?, limits, app)?;
    let mut cx = reactor.cx();
    cx.on_signals(&signals_to_end(), |signal, cx| match cx.app.task {
        Task::Print(..) => cx.stop(),
        Task::Run(_) => command::end(signal, cx),
    })?;
    watch.register(&mut cx, move |notice, cx| told(notice, cli.now, cx))?;
    reactor.run()?;
    match (reactor.app.failure.take(), &reactor.app.task) {
        (Some(failure), _) => Err(failure),
        (None, Task::Run(runs)) => Ok(runs.code()),
        (None, Task::Print(..)) => Ok(0),
    }
}

fn told(notice: Notice, runs_now: bool, cx: &mut LoopCx<'_, App>) {
    match notice {
        Notice::Ready { watches, entries } => {
            complain(format_args!(
                "file-watch: watching (directories: {watches}, names: {entries})"
            ));
            if runs_now {
                command::changed(cx);
            }
        }
        Notice::Changes(changes) => changed(&changes, cx),
        Notice::Overrun => {
            complain("file-watch: the kernel has lost events; everything is read again");
        }
        Notice::Skipped { path, error } => {
            complain(format_args!("file-watch: {} is left out: {error}", path.display()));
        }
        Notice::Ended(Reason::Finished) => fail("nothing is left to watch".to_owned(), cx),
        Notice::Ended(Reason::Failed { error, .. }) => fail(error.to_string(), cx),
        // This tool ends.
        Notice::Ended(_) => {}
    }
}

fn changed(changes: &[Change], cx: &mut LoopCx<'_, App>) {
    let App { task, globs, .. } = &mut *cx.app;
    let mut shown = changes.iter().filter(|change| globs.shows(&change.path)).peekable();
    let Task::Print(form, left) = task else {
        if shown.peek().is_some() {
            command::changed(cx);
        }
        return;
    };
    let mut text = Vec::new();
    for change in shown {
        let count = form.append(change, left.unwrap_or(u64::MAX), &mut text);
        *left = left.map(|left| left - count);
    }
    let is_last = *left == Some(0);
    if let Err(failure) = print(&text) {
        cx.app.failure = Some(failure);
        cx.stop();
    } else if is_last {
        cx.stop();
    }
}

/// Ends the tool with a message.
fn fail(text: String, cx: &mut LoopCx<'_, App>) {
    if !cx.is_stopping() {
        cx.app.failure = Some(Failure::new(text));
        match cx.app.task {
            Task::Print(..) => cx.stop(),
            Task::Run(_) => command::end(reactor::Signal::TERMINATE, cx),
        }
    }
}
