//! The tool that watches sentinels, with real servers, and its arguments.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use common::tools::{Tool, run};
use reactor::{BACKEND_VARIABLE, BackendKind};
use testkit::cluster::{Cluster, MASTER_NAME, Site};
use testkit::has_peer;

const TOOL: &str = env!("CARGO_BIN_EXE_sentinel-watch");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Shows everything once. One sentinel is given.
fn once(cluster: &Cluster, name: &str, more: &[&str]) -> Output {
    once_on(BackendKind::Epoll, cluster, name, more)
}

fn once_on(kind: BackendKind, cluster: &Cluster, name: &str, more: &[&str]) -> Output {
    let address = cluster.sentinels[0].address.to_string();
    let mut command = Command::new(TOOL);
    command.args([name, address.as_str(), "--once", "--interval", "0.2"]).args(more);
    testkit::process::run(command.env(BACKEND_VARIABLE, kind.to_string()), b"")
}

#[test]
fn one_sentinel_leads_to_everything() {
    let Some(mut cluster) = Cluster::start(2, 3, Site::LOCAL, Site::LOCAL) else { return };
    for (kind, name) in BackendKind::ALL.into_iter().zip([MASTER_NAME, "*"].into_iter().cycle()) {
        let output = once_on(kind, &cluster, name, &[]);
        let shown = text(&output.stdout);
        assert!(output.status.success(), "all is well: {shown}");
        let mut lines = shown.lines();
        let head = lines.next().expect("there is a group");
        assert_eq!(head, format!("{MASTER_NAME}: 2 replicas, 3 sentinels, epoch 0"));
        assert!(lines.next().is_some_and(|line| line.starts_with("ROLE ")), "{shown}");
        let roles: Vec<&str> = lines.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(roles, ["master", "replica", "replica", "sentinel", "sentinel", "sentinel"]);
        for member in
            [&cluster.master].into_iter().chain(&cluster.replicas).chain(&cluster.sentinels)
        {
            assert!(shown.contains(&member.address.to_string()), "{shown}");
        }
    }
    cluster.replicas[0].kill();
    let killed = cluster.replicas[0].address.to_string();
    let output = once(&cluster, MASTER_NAME, &["--json"]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "not all is well: {shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 6, "{shown}");
    let has = |address: &str, what: &str| {
        let mut lines =
            lines.iter().filter(|it| it.contains(&format!("\"address\":\"{address}\"")));
        lines.any(|line| line.contains(what))
    };
    assert!(has(&killed, "\"state\":\"down\",\"why\":\""), "{shown}");
    assert!(has(&cluster.master.address.to_string(), "\"state\":\"up\",\"why\":null"), "{shown}");
    assert!(has(&cluster.master.address.to_string(), "\"role\":\"master\""), "{shown}");
    let unknown = once(&cluster, "unknown", &[]);
    assert_eq!(text(&unknown.stdout), "No sentinel has named a master yet.\n");
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn changes_are_lines_and_an_interrupt_ends_in_order() {
    let Some(mut cluster) = Cluster::start(1, 3, Site::LOCAL, Site::LOCAL) else { return };
    let address = cluster.sentinels[0].address.to_string();
    let mut tool = Tool::start(
        Command::new(TOOL).args([MASTER_NAME, &address, "--interval", "0.2"]).stdin(Stdio::null()),
    );
    let (master, replica) = (cluster.master.address, cluster.replicas[0].address);
    tool.wait_for(&format!(" {MASTER_NAME} replica {replica} up\n"));
    cluster.master.kill();
    tool.wait_for(&format!(" {MASTER_NAME} master {master} down: "));
    tool.wait_for(&format!(" {MASTER_NAME} master {replica} up\n"));
    testkit::process::signal(tool.child.id(), "INT");
    let shown = tool.end();
    assert!(shown.contains(", down for 127.0.0.1:"), "it says in whose eyes: {shown}");
    // Each line is a change, and a reason is not repeated with each.
    let mut last = std::collections::BTreeMap::new();
    for line in shown.lines() {
        let (_, what) = line.split_once(' ').expect("it begins with the time");
        let address = what.split(' ').find(|word| word.contains(':')).expect("it has an address");
        assert_ne!(last.insert(address, what), Some(what), "twice: {shown}");
    }
    let count = |what: &str| shown.matches(&format!("{master} down{what}")).count();
    assert!(count(": ") < count(""), "{shown}");
}

#[test]
fn signals_and_a_closed_output_end_it() {
    let Some(cluster) = Cluster::start(1, 1, Site::LOCAL, Site::LOCAL) else { return };
    let address = cluster.sentinels[0].address.to_string();
    let start = |output: Stdio| {
        let mut command = Command::new(TOOL);
        command.args([MASTER_NAME, &address, "--interval", "0.1"]).stdin(Stdio::null());
        command.stdout(output).spawn().expect("it starts")
    };
    for signal in ["INT", "TERM", "HUP"] {
        let mut tool = start(Stdio::piped());
        let lines = BufReader::new(tool.stdout.take().expect("it is piped")).lines();
        let mut lines = lines.map(|line| line.expect("it is text"));
        let wanted = format!("replica {} up", cluster.replicas[0].address);
        assert!(lines.any(|line| line.ends_with(&wanted)));
        // A change of the size of a terminal does nothing.
        testkit::process::signal(tool.id(), "WINCH");
        testkit::process::signal(tool.id(), signal);
        assert_eq!(tool.wait().expect("it ends").code(), Some(0), "all was well");
    }
    let mut tool = start(Stdio::piped());
    let mut lines = BufReader::new(tool.stdout.take().expect("it is piped")).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok()));
    drop(lines);
    // It finds out when it has something to say.
    let killed = cluster;
    drop(killed);
    assert_eq!(tool.wait().expect("it ends").code(), Some(141));
}

#[test]
fn a_terminal_gets_a_table_that_is_redrawn() {
    if !has_peer("script") {
        return;
    }
    let Some(cluster) = Cluster::start(1, 1, Site::LOCAL, Site::LOCAL) else { return };
    let address = cluster.sentinels[0].address;
    let mut tool = Tool::on_terminal(&format!("{TOOL} {MASTER_NAME} {address} --interval 0.2"));
    for _ in 0..2 {
        tool.wait_for("\x1b[H\x1b[J");
        tool.wait_for(&format!("{MASTER_NAME}: 1 replica, 1 sentinel, epoch "));
        tool.wait_for(" 0 B, ");
    }
    tool.type_in("\u{3}");
    assert!(!tool.end().contains("panicked"));
}

#[test]
fn wrong_arguments_are_explained() {
    let fails = |args: &[&str], hint: &str| {
        let output = run(TOOL, args, b"");
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{shown}");
        assert!(shown.contains(hint), "{shown}");
    };
    fails(&[], "ADDRESS");
    fails(&["m"], "ADDRESS");
    fails(&["m", "127.0.0.1"], "it is HOST:PORT");
    fails(&["m", "::1:1"], "needs brackets");
    fails(&["m", "127.0.0.1:1", "--interval", "0"], "0.1 to 3600");
    let help = run(TOOL, &["--help"], b"");
    assert!(help.status.success() && text(&help.stdout).contains("--once"));
}

#[test]
fn a_sentinel_that_is_not_there_is_reported() {
    let address = testkit::refusing_address().to_string();
    let output = run(TOOL, &["m", &address, "--once", "--interval", "0.1"], b"");
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    assert!(shown.contains(&format!("{address}: ")) && shown.contains("refused"), "{shown}");
    let lines = Command::new(TOOL)
        .args(["m", &address, "--interval", "0.1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = lines.expect("it starts");
    let errors = BufReader::new(tool.stderr.take().expect("it is piped")).lines();
    let mut errors = errors.map(|line| line.expect("it is text"));
    let first = errors.next();
    assert_eq!(first.as_deref(), Some("sentinel-watch: no sentinel has named a master yet"));
    assert!(errors.next().is_some_and(|line| line.contains(&format!("{address}: "))));
    testkit::process::signal(tool.id(), "INT");
    assert_eq!(tool.wait().expect("it ends").code(), Some(1));
}
