//! A supervisor: it keeps programs running. One that ends is started again, at first soon, then after a
//! pause that doubles, until it has run for a while. `SIGTERM` and Ctrl-C end the programs and then the
//! supervisor; a second signal kills them.
//!
//! Try it with `cargo run -p myevent-reactor --example supervisor 'sleep 5' 'date; exit 1'`.

use reactor::{Child, ChildOptions, LoopCx, Reactor, Signal};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{io, mem};

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A program that has run for so long has started well.
const SETTLED: Duration = Duration::from_secs(10);

struct Program {
    script: String,
    child: Option<Child>,
    started: Instant,
    /// How long it is waited before the next start.
    pause: Duration,
}

#[derive(Default)]
struct App {
    programs: Vec<Program>,
    is_ending: bool,
}

fn start(number: usize, cx: &mut LoopCx<'_, App>) {
    if cx.app.is_ending {
        return;
    }
    let mut command = Command::new("sh");
    command.args(["-c", &cx.app.programs[number].script]);
    let options = ChildOptions { patience: Duration::from_secs(5), ..ChildOptions::DEFAULT };
    let ended = move |status, cx: &mut LoopCx<'_, App>| ended(number, status, cx);
    match Child::spawn(command, &options, cx, ended) {
        Ok(child) => {
            println!("program {number} runs as process {}", child.pid());
            let now = cx.now();
            let program = &mut cx.app.programs[number];
            (program.child, program.started) = (Some(child), now);
        }
        Err(error) => {
            println!("program {number}: {error}");
            start_later(number, cx);
        }
    }
}

fn ended(number: usize, status: io::Result<ExitStatus>, cx: &mut LoopCx<'_, App>) {
    match status {
        Ok(status) => println!("program {number} ended: {status}"),
        Err(error) => println!("program {number} ended: {error}"),
    }
    let ran = cx.now() - cx.app.programs[number].started;
    let program = &mut cx.app.programs[number];
    program.child = None;
    if ran >= SETTLED {
        program.pause = PAUSE_MIN;
    }
    if !cx.app.is_ending {
        start_later(number, cx);
    } else if cx.app.programs.iter().all(|program| program.child.is_none()) {
        cx.stop();
    }
}

fn start_later(number: usize, cx: &mut LoopCx<'_, App>) {
    let program = &mut cx.app.programs[number];
    let pause = program.pause;
    program.pause = (pause * 2).min(PAUSE_MAX);
    println!("program {number} starts again in {pause:?}");
    cx.after(pause, move |cx| start(number, cx)).expect("a loop that runs takes timers");
}

/// Asks the programs to end, or kills them if they were asked before.
fn end(cx: &mut LoopCx<'_, App>) {
    let was_asked = mem::replace(&mut cx.app.is_ending, true);
    let programs = mem::take(&mut cx.app.programs);
    let mut children = programs.iter().filter_map(|program| program.child.as_ref()).peekable();
    if children.peek().is_none() {
        cx.stop();
    }
    for child in children {
        let result = if was_asked { child.signal(Signal::KILL) } else { child.end(cx) };
        result.unwrap_or_else(|error| println!("process {}: {error}", child.pid()));
    }
    cx.app.programs = programs;
}

fn main() -> io::Result<()> {
    let mut reactor = Reactor::new(App::default())?;
    let mut cx = reactor.cx();
    cx.on_signals(&[Signal::INTERRUPT, Signal::TERMINATE], |_, cx| end(cx))?;
    for (number, script) in std::env::args().skip(1).enumerate() {
        let started = cx.now();
        cx.app.programs.push(Program { script, child: None, started, pause: PAUSE_MIN });
        start(number, &mut cx);
    }
    reactor.run()?;
    println!("all programs have ended");
    Ok(())
}
