//! Child processes (P16, P17): how they end, their pipes, their signals, and what is refused.

mod common;

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::{on_every_backend, turn_until};
use nix::sys::signal::{SigSet, Signal as Blocked};
use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::sim::Sim;
use reactor::{
    Child, ChildOptions, Interest, LoopLimits, Reactor, Registration, Signal, Stream, WhenLeft,
    fork,
};
use testkit::{PATIENCE, process, wait_until};

/// What a loop of the tests has seen.
#[derive(Default)]
struct Seen {
    exits: Vec<io::Result<ExitStatus>>,
    lines: Vec<String>,
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

/// Starts a child that no loop watches.
fn start(script: &str) -> std::process::Child {
    shell(script).spawn().expect("it starts")
}

fn spawn(reactor: &mut Reactor<Seen>, command: Command) -> Child {
    spawn_with(reactor, command, &ChildOptions::DEFAULT)
}

fn spawn_with(reactor: &mut Reactor<Seen>, command: Command, options: &ChildOptions) -> Child {
    let exited = |status, cx: &mut reactor::LoopCx<'_, Seen>| cx.app.exits.push(status);
    Child::spawn(command, options, &mut reactor.cx(), exited).expect("it starts")
}

/// Turns until this many children have ended. Returns their exit statuses.
fn exits(reactor: &mut Reactor<Seen>, count: usize) -> Vec<ExitStatus> {
    turn_until(reactor, |reactor| reactor.app.exits.len() >= count);
    // Nothing is delivered twice.
    reactor.run_once(Some(Duration::from_millis(5))).expect("it turns");
    let exits = std::mem::take(&mut reactor.app.exits);
    assert_eq!(exits.len(), count);
    exits.into_iter().map(|exit| exit.expect("no other code reaps it")).collect()
}

/// Returns whether nothing is left of a child of this process, not even a zombie.
fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    parent != Some(std::process::id())
}

#[test]
fn the_exit_status_of_a_child_is_delivered_once() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let child = spawn(&mut reactor, shell("exit 7"));
        assert_eq!(exits(&mut reactor, 1)[0].code(), Some(7));
        assert!(is_gone(child.pid()));
        let killed = spawn(&mut reactor, shell("kill -9 $$"));
        let status = exits(&mut reactor, 1)[0];
        assert_eq!((status.code(), status.signal()), (None, Some(9)));
        // Neither has a source any more, and a signal reaches nothing.
        assert_eq!(reactor.counters().live(), 0);
        let error = killed.signal(Signal::TERMINATE).expect_err("it has ended");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        killed.end(&mut reactor.cx()).expect("it has no effect");
    });
}

#[test]
fn a_child_that_ended_before_the_loop_looks_is_reported() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let child = spawn(&mut reactor, shell("exit 3"));
        wait_until("it has ended", || !process::runs(child.pid()));
        assert_eq!(exits(&mut reactor, 1)[0].code(), Some(3));
    });
}

/// Keeps the lines of a child.
struct Keeps;

impl Service<Lines, Seen> for Keeps {
    fn call(
        &mut self,
        line: &mut [u8],
        _reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Seen>,
    ) -> Flow {
        context.app.lines.push(String::from_utf8_lossy(line).into_owned());
        Flow::Continue
    }
}

/// Sends two lines, and ends the stream.
struct Says;

impl Service<Lines, Seen> for Says {
    fn open(&mut self, reply: &mut Reply<'_, Lines>, _context: &mut Context<'_, Seen>) -> Flow {
        reply.send(b"one");
        reply.send(b"two");
        Flow::Close
    }

    fn call(
        &mut self,
        _line: &mut [u8],
        _reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, Seen>,
    ) -> Flow {
        unreachable!("nothing can be read from the writing end of a pipe")
    }
}

#[test]
fn the_pipes_of_a_child_carry_sessions() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let mut command = Command::new("sh");
        command.args(["-c", "tr a-z A-Z; echo problem >&2; exit 4"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut reactor, command);
        let limits = Limits::DEFAULT.shared().expect("they are valid");
        let input = child.stdin.take().expect("it is piped");
        Stream::new(Conversation::new(Lines::default(), Says), limits.clone())
            .register_fd(input, Registration::new(Interest::BOTH), &mut reactor.cx())
            .expect("it registers");
        for output in [child.stdout.take(), child.stderr.take()] {
            Stream::new(Conversation::new(Lines::default(), Keeps), limits.clone())
                .register_fd(
                    output.expect("it is piped"),
                    Registration::new(Interest::READ),
                    &mut reactor.cx(),
                )
                .expect("it registers");
        }
        assert_eq!(exits(&mut reactor, 1)[0].code(), Some(4));
        turn_until(&mut reactor, |reactor| reactor.counters().live() == 0);
        let mut lines = std::mem::take(&mut reactor.app.lines);
        lines.sort_unstable();
        assert_eq!(lines, ["ONE", "TWO", "problem"]);
    });
}

/// Waits until a child has written a line, so that its traps are set.
fn wait_for_line(child: &mut Child) {
    let output = child.stdout.take().expect("it is piped");
    io::BufRead::read_line(&mut io::BufReader::new(fs::File::from(output)), &mut String::new())
        .expect("it is read");
}

fn trapping(trap: &str) -> Command {
    let mut command = shell(&format!("{trap}; echo ready; while :; do sleep 0.01; done"));
    command.stdout(Stdio::piped());
    command
}

#[test]
fn a_child_that_is_asked_to_end_has_its_time() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let mut child = spawn(&mut reactor, trapping("trap 'exit 5' TERM"));
        wait_for_line(&mut child);
        child.end(&mut reactor.cx()).expect("it is asked");
        assert_eq!(exits(&mut reactor, 1)[0].code(), Some(5));

        let options = ChildOptions { end_signal: Signal::HANGUP, ..ChildOptions::DEFAULT };
        let mut child = spawn_with(&mut reactor, trapping("trap 'exit 6' HUP"), &options);
        wait_for_line(&mut child);
        child.end(&mut reactor.cx()).expect("it is asked");
        assert_eq!(exits(&mut reactor, 1)[0].code(), Some(6));
    });
}

#[test]
fn a_child_that_does_not_end_when_asked_is_killed() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let patience = Duration::from_millis(50);
        let options = ChildOptions { patience, ..ChildOptions::DEFAULT };
        let mut child = spawn_with(&mut reactor, trapping("trap '' TERM"), &options);
        wait_for_line(&mut child);
        let start = Instant::now();
        child.end(&mut reactor.cx()).expect("it is asked");
        assert_eq!(exits(&mut reactor, 1)[0].signal(), Some(9));
        assert!(start.elapsed() >= patience, "it was killed too early");
    });
}

#[test]
fn a_child_whose_source_ends_is_killed_or_runs_on_and_is_reaped_either_way() {
    for when_left in [WhenLeft::Kill, WhenLeft::RunOn] {
        on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
            let options = ChildOptions { when_left, ..ChildOptions::DEFAULT };
            // `cat` ends when its input does.
            let cat = || {
                let mut command = Command::new("cat");
                command.stdin(Stdio::piped());
                command
            };
            let (closed, dropped) = (
                spawn_with(&mut reactor, cat(), &options),
                spawn_with(&mut reactor, cat(), &options),
            );
            reactor.cx().close(closed.token());
            turn_until(&mut reactor, |reactor| reactor.counters().live() == 1);
            assert!(reactor.app.exits.is_empty(), "an end was made up");
            drop(reactor);
            for child in [closed, dropped] {
                let pid = child.pid();
                if when_left == WhenLeft::RunOn {
                    std::thread::sleep(Duration::from_millis(20));
                    assert!(process::runs(pid), "it was ended");
                    drop(child);
                    wait_until("it is reaped", || is_gone(pid));
                } else {
                    wait_until("it is reaped", || is_gone(pid));
                    drop(child);
                }
            }
        });
    }
}

#[test]
fn a_child_of_other_code_can_be_watched_and_a_stolen_status_is_told() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let exited = |status, cx: &mut reactor::LoopCx<'_, Seen>| cx.app.exits.push(status);
        let foreign = start("exit 8").id();
        Child::adopt(foreign, &ChildOptions::DEFAULT, &mut reactor.cx(), exited)
            .expect("it is a child");
        assert_eq!(exits(&mut reactor, 1)[0].code(), Some(8));

        let mut foreign = start("exit 9");
        Child::adopt(foreign.id(), &ChildOptions::DEFAULT, &mut reactor.cx(), exited)
            .expect("it is a child");
        assert_eq!(foreign.wait().expect("it ends").code(), Some(9));
        turn_until(&mut reactor, |reactor| !reactor.app.exits.is_empty());
        let error = reactor.app.exits[0].as_ref().expect_err("other code has it").to_string();
        assert!(error.contains("other code of this program has reaped process"), "{error}");
        turn_until(&mut reactor, |reactor| reactor.counters().live() == 0);
    });
}

#[test]
fn what_cannot_be_watched_is_refused_with_a_reason() {
    let mut reactor = Reactor::new(Seen::default()).expect("the reactor opens");
    let options = ChildOptions::DEFAULT;
    let refused =
        Child::spawn(Command::new("no-such-program"), &options, &mut reactor.cx(), |_, _| {});
    let error = refused.expect_err("there is none");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().starts_with("cannot start no-such-program: "), "{error}");
    let error =
        Child::adopt(1, &options, &mut reactor.cx(), |_, _| {}).expect_err("it is not ours");
    assert_eq!(error.to_string(), "process 1 is no child of this process, or was reaped");
    assert_eq!(reactor.counters().live(), 0);

    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    sim.start(host, || {
        let mut reactor = Reactor::new(())?;
        let cx = &mut reactor.cx();
        let refused = Child::spawn(shell(""), &ChildOptions::DEFAULT, cx, |_, _| {});
        assert_eq!(
            refused.expect_err("it cannot").to_string(),
            "a simulated host has no processes"
        );
        let error = fork().expect_err("it cannot").to_string();
        assert_eq!(error, "a simulated host has no processes");
        Ok(reactor)
    })
    .expect("it runs");
}

#[test]
fn a_process_with_threads_is_not_forked() {
    let error = fork().expect_err("this is a thread of a test");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("fork before other threads start"), "{error}");
}

/// Set in a process that ignores signals.
const IGNORING: &str = "REACTOR_TEST_IGNORING";

/// Runs a test of this program in a process that ignores `signals`.
fn run_ignoring(signals: &str, name: &str) {
    let program = std::env::current_exe().expect("this is a program");
    let output = Command::new("env")
        .arg(format!("--ignore-signal={signals}"))
        .arg(program)
        .args([name, "--exact", "--nocapture"])
        .env(IGNORING, "1")
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// P16: ignored and blocked signals are those of this process alone.
#[test]
fn children_start_with_default_actions_and_no_signal_blocked() {
    if std::env::var_os(IGNORING).is_none() {
        let name = "children_start_with_default_actions_and_no_signal_blocked";
        return run_ignoring("HUP,USR1,PIPE", name);
    }
    let own = fs::read_to_string("/proc/self/status").expect("it is there");
    let of = |text: &str, field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        u64::from_str_radix(line.expect("it has the field").trim(), 16).expect("hexadecimal")
    };
    assert_ne!(of(&own, "SigIgn:"), 0, "this process ignores some");
    SigSet::from_iter([Blocked::SIGTERM, Blocked::SIGUSR2]).thread_block().expect("they can be");
    let mut reactor = Reactor::new(Seen::default()).expect("the reactor opens");
    // One that is caught has its default action in the child too.
    reactor.cx().on_signals(&[Signal::INTERRUPT], |_, _| {}).expect("it listens");
    let mut command = Command::new("cat");
    command.arg("/proc/self/status").stdout(Stdio::piped());
    let mut child = spawn(&mut reactor, command);
    let mut text = String::new();
    let mut output = fs::File::from(child.stdout.take().expect("it is piped"));
    output.read_to_string(&mut text).expect("it is read");
    assert_eq!((of(&text, "SigBlk:"), of(&text, "SigIgn:"), of(&text, "SigCgt:")), (0, 0, 0));
    assert_eq!(exits(&mut reactor, 1)[0].code(), Some(0));
}

#[test]
fn a_process_that_ignores_sigchld_is_told_why_it_cannot_watch_children() {
    if std::env::var_os(IGNORING).is_none() {
        let name = "a_process_that_ignores_sigchld_is_told_why_it_cannot_watch_children";
        return run_ignoring("CHLD", name);
    }
    let mut reactor = Reactor::new(Seen::default()).expect("the reactor opens");
    let cx = &mut reactor.cx();
    let refused = Child::spawn(shell("exit 1"), &ChildOptions::DEFAULT, cx, |_, _| {});
    let error = refused.expect_err("nothing could learn how it ended");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("ignores SIGCHLD"), "{error}");
}

#[test]
fn a_child_does_not_keep_a_loop_from_winding_down() {
    let mut reactor = Reactor::new(Seen::default()).expect("the reactor opens");
    let child = spawn(&mut reactor, shell("exec sleep 1000"));
    reactor.cx().stop_gracefully(PATIENCE);
    reactor.run().expect("it runs");
    assert!(process::runs(child.pid()), "the loop has not ended yet");
    let pid = child.pid();
    drop(reactor);
    wait_until("it is killed and reaped", || is_gone(pid));
}
