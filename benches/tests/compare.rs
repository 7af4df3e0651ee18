//! The comparison as a user runs it, on little work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder for a report, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // What an earlier run left.
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("the comparison writes it")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(["--quick", "--out"]).arg(&folder.0).args(arguments).stdin(Stdio::null());
    command
}

fn compare(folder: &Folder, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("it runs")
}

/// The medians of a figure in `summary.csv`.
fn medians(folder: &Folder, metric: &str) -> Vec<f64> {
    let text = folder.read("summary.csv");
    let of_it = text.lines().filter(|line| line.contains(&format!(",{metric},")));
    of_it
        .map(|line| {
            let rest = line.split(&format!(",{metric},")).nth(1).expect("it was found");
            rest.split(',').next().expect("there is a first").parse().expect("it is a number")
        })
        .collect()
}

#[test]
fn every_loop_does_every_work() {
    let folder = Folder::new("every-loop");
    let output = compare(&folder, &["--rounds", "1", "--duration", "20"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for expected in ["kernel ", "processor ", "commit ", "pinning ", "command ", "/ raw"] {
        assert!(said.contains(expected), "no {expected}in {said}");
    }
    for name in ["dispatch.svg", "report.txt", "samples.csv", "summary.csv"] {
        assert!(!folder.read(name).is_empty(), "{name} is empty");
    }
    for peer in ["libevent", "libev", "libuv"] {
        if said.contains(&format!("\n{peer:<12} {peer}  ABSENT")) {
            let required = std::env::var("REQUIRE_PEERS").is_ok_and(|it| it == "1");
            assert!(!required, "{peer} is required and absent: {said}");
            println!("SKIPPED: {peer} is absent, see the head of the report");
        }
    }
}

#[test]
fn a_planted_stall_of_a_second_shows_in_the_tail() {
    let folder = Folder::new("stall");
    let arguments = ["--only", "echo,schedule", "--loops", "epoll", "--rounds", "1"];
    let planted = [&arguments[..], &["--duration", "1500", "--stall"]].concat();
    let output = compare(&folder, &planted);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let tails = medians(&folder, "p999_us");
    assert_eq!(tails.len(), 4, "{}", folder.read("summary.csv"));
    assert!(tails.iter().all(|tail| *tail > 900_000.0), "p99.9 in us: {tails:?}");

    // Without one there is no such tail: the figure means something.
    let output = compare(&folder, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let tails = medians(&folder, "p999_us");
    assert!(tails.iter().all(|tail| *tail < 900_000.0), "p99.9 in us: {tails:?}");
}

#[test]
fn what_does_not_make_sense_is_refused() {
    let folder = Folder::new("refused");
    for (arguments, hint) in [
        (["--only", "sing"], "dispatch, echo"),
        (["--loops", "kqueue"], "libuv"),
        (["--rounds", "0"], "1..=1000"),
    ] {
        let output = compare(&folder, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(hint), "{said}");
    }
}

/// The processes that a process has started and that are still there.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

/// Whether a process runs; one that nobody has waited for yet does not.
fn runs(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A comparison under way, with its server and its client.
fn under_way(folder: &Folder) -> (Child, Vec<u32>) {
    let mut command = command(folder, &["--only", "echo", "--duration", "30000"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut found = Vec::new();
    wait_until("a server and a client", || {
        found = children(child.id());
        found.len() == 2
    });
    (child, found)
}

#[test]
fn an_interrupted_comparison_leaves_a_report_and_no_process() {
    let folder = Folder::new("interrupted");
    let (child, started) = under_way(&folder);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it can be told");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("INTERRUPTED"), "{said}");
    assert!(!started.iter().any(|pid| runs(*pid)), "{started:?} are left");
}

#[test]
fn a_killed_comparison_leaves_no_process() {
    let folder = Folder::new("killed");
    let (mut child, started) = under_way(&folder);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    wait_until("the end of what it had started", || !started.iter().any(|pid| runs(*pid)));
}
