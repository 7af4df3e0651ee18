//! Tests the program `compare` on little work.

mod common;

use std::process::{Command, Output, Stdio};

use benches::loops::names;
use benches::machine::Machine;
use benches::subject;
use common::{Report, UnderWay};
use testkit::process::{children, runs};
use testkit::{skip, wait_until};

fn command(folder: &Report, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(["--quick", "--out"]).arg(&folder.path).args(arguments).stdin(Stdio::null());
    command
}

fn compare(folder: &Report, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("it runs")
}

/// Returns the medians of a figure in `summary.csv`.
fn medians(folder: &Report, metric: &str) -> Vec<f64> {
    medians_after(folder, &format!(",{metric},"))
}

/// Returns the median of a figure of a loop that has done one work.
fn median_of(folder: &Report, subject: &str, metric: &str) -> f64 {
    let found = medians_after(folder, &format!(",{subject},{metric},"));
    assert_eq!(found.len(), 1, "{subject}, {metric}: {}", folder.read("summary.csv"));
    found[0]
}

fn medians_after(folder: &Report, names: &str) -> Vec<f64> {
    let text = folder.read("summary.csv");
    let of_it = text.lines().filter_map(|line| line.split_once(names));
    of_it
        .map(|(_, rest)| {
            rest.split(',').next().expect("there is a first").parse().expect("it is a number")
        })
        .collect()
}

#[test]
fn every_loop_does_every_work() {
    let folder = Report::new("every-loop");
    let output = compare(&folder, &["--rounds", "1", "--duration", "20"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for expected in ["kernel ", "processor ", "commit ", "pinning ", "command ", "/ raw"] {
        assert!(said.contains(expected), "no {expected}in {said}");
    }
    let machine = format!(" (1 round)\n{}\n", Machine::here());
    let (named, tables) = (said.matches(&machine).count(), said.matches(" (1 round)\n").count());
    assert!(named > 0 && named == tables, "{named} of {tables} tables name {machine}: {said}");
    let page = folder.read("recorded.md");
    assert_eq!(page.matches(&machine).count(), tables, "{page}");
    assert!(said.contains("  unresolved"), "one round has no spread: {said}");
    for name in ["dispatch.svg", "recorded.md", "report.txt", "samples.csv", "summary.csv"] {
        assert!(!folder.read(name).is_empty(), "{name} is empty");
    }
    for peer in ["libevent", "libev", "libuv"] {
        if said.contains(&format!("\n{peer:<12} {peer}  ABSENT")) {
            skip(&format!("{peer} is not installed (its -dev package)"));
        }
    }
    for ring in ["ring", "ring-sends", "uring"] {
        let subject = subject::ALL.into_iter().find(|it| it.name == ring).expect("it is there");
        match subject.absent() {
            None => assert!(said.matches(&format!("\n{ring} ")).count() > 1, "{ring}: {said}"),
            Some(why) => assert!(said.contains(&format!("  ABSENT: {why}")), "{ring}: {said}"),
        }
    }
    match benches::loops::monoio::no_io_uring() {
        None => assert!(said.contains("\nmonoio-uring   "), "it has no row: {said}"),
        Some(why) => {
            assert!(said.contains(&format!("  ABSENT: {why}")), "{said}");
            skip(&why);
        }
    }
}

#[test]
#[ignore = "other work on the machine causes long tails too: .ci/run runs it alone"]
fn a_planted_stall_of_a_second_is_visible_in_the_tail() {
    let folder = Report::new("stall");
    let arguments = ["--only", "echo,schedule", "--loops", "epoll", "--rounds", "1"];
    let planted = [&arguments[..], &["--duration", "1500", "--stall"]].concat();
    let output = compare(&folder, &planted);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let tails = medians(&folder, "p999_us");
    assert_eq!(tails.len(), 4, "{}", folder.read("summary.csv"));
    assert!(tails.iter().all(|tail| *tail > 900_000.0), "p99.9 in us: {tails:?}");

    // Without a stall there is no such tail, so the figure is meaningful.
    let output = compare(&folder, &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let tails = medians(&folder, "p999_us");
    assert!(tails.iter().all(|tail| *tail < 900_000.0), "p99.9 in us: {tails:?}");
}

#[test]
fn our_loop_needs_no_more_system_calls_than_a_bare_one() {
    if let Some(why) = benches::calls::absent() {
        return skip(&why);
    }
    let folder = Report::new("calls");
    let output = compare(&folder, &["--only", "calls", "--loops", "epoll,raw"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // With one connection, a wait never returns several events. A run may have one call more than
    // another at its start or end. One more call for every hundredth message would be found.
    let is_near = |value: f64, expected: f64| (value - expected).abs() < 0.01;
    let of = |subject, metric| median_of(&folder, subject, metric);
    for kind in ["read", "write", "wait"] {
        assert!(is_near(of("raw", kind), 1.0), "{kind}: {}", folder.read("summary.csv"));
    }
    assert!(is_near(of("raw", "calls"), 3.0), "{}", folder.read("summary.csv"));
    let (ours, raw) = (of("epoll", "calls"), of("raw", "calls"));
    assert!(ours < raw + 0.01, "ours {ours}, raw {raw}: {}", folder.read("summary.csv"));
}

#[test]
fn a_loop_with_more_system_calls_has_a_higher_count() {
    if let Some(why) = benches::calls::absent() {
        return skip(&why);
    }
    let folder = Report::new("more-calls");
    // calloop registers again for each message, and reads until the socket is empty.
    let output = compare(&folder, &["--only", "calls", "--loops", "calloop"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(median_of(&folder, "calloop", "calls") > 3.5, "{}", folder.read("summary.csv"));
    assert!(median_of(&folder, "calloop", "ctl") > 0.5, "{}", folder.read("summary.csv"));
}

#[test]
fn a_report_without_strace_names_the_omission_and_has_the_rest() {
    let folder = Report::new("no-strace");
    let arguments = ["--only", "calls,churn", "--loops", "raw", "--rounds", "1"];
    let output = command(&folder, &arguments).env("PATH", "").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("ABSENT: system calls were not counted"), "{said}");
    assert!(said.contains("== churn") && !said.contains("== calls"), "{said}");
}

#[test]
fn groups_of_one_to_four_loops_are_compared() {
    let folder = Report::new("scale");
    let output = compare(&folder, &["--only", "scale", "--rounds", "1", "--duration", "50"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("no target"), "{said}");
    for loops in ["one-loop", "two-loops", "three-loops", "four-loops"] {
        assert!(median_of(&folder, loops, "per_second") > 0.0, "{loops}: {said}");
    }
}

#[test]
fn the_models_are_compared_as_far_as_each_can_go() {
    let folder = Report::new("models");
    let output = compare(&folder, &["--only", "models", "--rounds", "1", "--duration", "50"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let models = medians(&folder, "server_ns");
    // With one connection all seven, and with 50 all but iterative.
    assert_eq!(models.len(), 13, "{said}");
    assert!(models.iter().all(|it| *it > 0.0), "{said}");
    assert!(folder.read("models-cpu.svg").contains("<svg"), "{said}");
}

#[test]
fn datagrams_and_connections_are_compared_and_none_is_lost() {
    let folder = Report::new("datagrams");
    let arguments = ["--only", "udp,dial", "--loops", "epoll,recvmmsg,raw", "--rounds", "1"];
    let output = compare(&folder, &arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("/ recvmmsg") && said.contains("/ raw"), "{said}");
    let lost = medians(&folder, "lost");
    assert!(!lost.is_empty() && lost.iter().all(|it| *it == 0.0), "{said}");
    let rates = medians(&folder, "per_second");
    assert_eq!(rates.len(), lost.len() + 2, "two loops make connections: {said}");
    assert!(rates.iter().all(|it| *it > 0.0), "{said}");
}

#[test]
fn the_web_is_compared_with_its_peers() {
    let folder = Report::new("web");
    let kinds = "files,files-tls,handshakes,resumed,hello,websocket,idle-http,idle-websocket";
    let output = compare(&folder, &["--only", kinds, "--rounds", "1", "--duration", "20"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for peer in ["/ hyper", "/ fastwebsockets", "tungstenite "] {
        assert!(said.contains(peer), "no {peer} in {said}");
    }
    match benches::loops::nginx::absent() {
        None => assert!(
            said.contains("/ nginx") && said.contains("\nnginx        nginx version"),
            "{said}"
        ),
        Some(why) => {
            assert!(said.contains(&format!("  ABSENT: {why}")), "{said}");
            skip(&why);
        }
    }
    let costs = medians(&folder, "server_ns");
    assert!(!costs.is_empty() && costs.iter().all(|it| *it > 0.0), "{said}");
}

#[test]
fn the_forwarder_is_compared_with_its_peers_and_judged() {
    let folder = Report::new("names");
    let output = compare(&folder, &["--only", "dns-cached,dns-forwarded", "--duration", "20"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let costs = medians_after(&folder, ",dns,server_ns,");
    assert!(costs.len() == 2 && costs.iter().all(|it| *it > 0.0), "{said}");
    assert!(medians(&folder, "lost").iter().all(|it| *it == 0.0), "{said}");
    for (peer, absent) in [("dnsmasq", names::no_dnsmasq()), ("unbound", names::no_unbound())] {
        match absent {
            None => assert!(said.contains(&format!(", dns / {peer}: ")), "{peer}: {said}"),
            Some(why) => {
                assert!(said.contains(&format!("  ABSENT: {why}")), "{said}");
                skip(&why);
            }
        }
    }
}

#[test]
fn a_run_is_recorded_as_a_page_or_the_reason_is_reported() {
    let (folder, book) = (Report::new("recorded"), Report::new("book"));
    let record = ["--record", book.path.to_str().expect("it is text")];
    let arguments = ["--only", "dispatch", "--loops", "epoll,raw", "--rounds", "1"];
    let output = compare(&folder, &[&arguments[..], &record[..]].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    // Other work on this machine is not a failure of the test.
    if !output.status.success() {
        assert!(said.contains("NOT RECORDED: others had"), "{said}");
        assert!(!book.path.exists(), "{said}");
        return;
    }
    let page = book.read("recorded.md");
    for expected in ["\ncommand ", "\ncommit ", "\nprocessor ", "](dispatch.svg)", "## dispatch"] {
        assert!(page.contains(expected), "no {expected} in {page}");
    }
    assert!(book.read("dispatch.svg").contains("</svg>"));
}

#[test]
fn invalid_arguments_are_refused() {
    let folder = Report::new("refused");
    for (arguments, hint) in [
        (["--only", "sing"], "dispatch, echo"),
        (["--only", "dials"], "udp, dial"),
        (["--loops", "kqueue"], "libuv"),
        (["--rounds", "0"], "1..=1000"),
    ] {
        let output = compare(&folder, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(hint), "{said}");
    }
}

/// Starts a comparison that takes half a minute.
fn under_way(folder: &Report) -> UnderWay {
    UnderWay::start(command(folder, &["--only", "echo", "--duration", "30000"]))
}

#[test]
fn an_interrupted_comparison_leaves_a_report_and_no_process() {
    let folder = Report::new("interrupted");
    under_way(&folder).interrupt();
}

#[test]
fn a_killed_comparison_leaves_no_process() {
    let folder = Report::new("killed");
    under_way(&folder).kill();
}

#[test]
fn a_comparison_killed_under_strace_leaves_no_processes() {
    if let Some(why) = benches::calls::absent() {
        return skip(&why);
    }
    let folder = Report::new("killed-strace");
    let mut command = command(&folder, &["--only", "calls"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut started = Vec::new();
    wait_until("a server under strace", || {
        let straces = children(child.id());
        let servers: Vec<u32> = straces.iter().flat_map(|pid| children(*pid)).collect();
        started = [straces, servers.clone()].concat();
        !servers.is_empty()
    });
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    wait_until("the end of what it had started", || !started.iter().any(|pid| runs(*pid)));
}
