//! Autobahn's suite, which `AUTOBAHN` names: the program `wstest` of the package `autobahntestsuite`.
//! `AUTOBAHN_CASES` chooses cases, separated by spaces.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use protocol::websocket::{Message, Sender, Service};
use protocol::{Context, Flow, Reason};
use reactor::BackendKind;
use testkit::{Folder, tell, wait_until};

use crate::client::{App, run};
use crate::echo::{Server, options};

/// Returns the program, or reports that it is missing.
fn suite() -> Option<String> {
    let found = std::env::var("AUTOBAHN").ok();
    if found.is_none() {
        tell("SKIPPED", "AUTOBAHN does not name wstest (docs/src/websocket.md says how to get it)");
    }
    found
}

/// Returns the list of cases for a specification.
fn cases() -> String {
    let cases = std::env::var("AUTOBAHN_CASES").unwrap_or_else(|_| "*".to_owned());
    let quoted: Vec<String> = cases.split_whitespace().map(|it| format!("\"{it}\"")).collect();
    quoted.join(", ")
}

/// Starts the suite in a folder, with a specification.
fn start(program: &str, mode: &str, folder: &Folder, specification: &str) -> Child {
    let path = folder.file("specification.json");
    fs::write(&path, specification).expect("it is written");
    Command::new(program)
        .args(["-m", mode, "-s", &path, "-u", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the suite starts")
}

/// Returns what a line of the report says of a key.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let rest = line.trim().strip_prefix(key)?.strip_prefix(": \"")?;
    rest.split('"').next()
}

/// Checks the report: every case must be right.
fn check(folder: &str) {
    let text = fs::read_to_string(Path::new(folder).join("index.json")).expect("there is a report");
    let (mut case, mut verdicts, mut wrong) = (String::new(), [0; 3], Vec::new());
    for line in text.lines() {
        if let Some((name, _)) = line.trim().strip_prefix('"').and_then(|it| it.split_once("\": {"))
        {
            case = name.to_owned();
        }
        for key in ["\"behavior\"", "\"behaviorClose\""] {
            match value(line, key) {
                None => {}
                Some("OK") => verdicts[0] += 1,
                Some("NON-STRICT") => verdicts[1] += 1,
                Some("INFORMATIONAL") => verdicts[2] += 1,
                Some(other) => wrong.push(format!("{case}: {key} {other}")),
            }
        }
    }
    let [right, not_strict, informational] = verdicts;
    tell("REPORT", &format!("{right} OK, {not_strict} NON-STRICT, {informational} INFORMATIONAL"));
    assert!(wrong.is_empty() && right > 0, "{wrong:#?}");
}

#[test]
#[ignore = "takes minutes, and needs Autobahn's suite"]
fn autobahn_finds_no_fault_in_the_server() {
    let Some(program) = suite() else { return };
    let (folder, server) = (Folder::new("autobahn-server"), Server::start(BackendKind::Epoll));
    let specification = format!(
        "{{\"outdir\": \"{}\", \"servers\": [{{\"agent\": \"myevent\", \"url\": \"ws://{}\"}}], \
         \"cases\": [{}], \"exclude-cases\": [], \"exclude-agent-cases\": {{}}}}",
        folder.file("report"),
        server.address,
        cases(),
    );
    let mut suite = start(&program, "fuzzingclient", &folder, &specification);
    assert!(suite.wait().expect("it ends").success());
    check(&folder.file("report"));
}

/// Answers with what it gets, and remembers the last text.
struct Testee;

impl Service<App> for Testee {
    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        match message {
            Message::Text(text) => {
                text.clone_into(&mut context.app.text);
                sender.text(text);
            }
            Message::Binary(bytes) => sender.binary(bytes),
        }
        Flow::Continue
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, App>) {
        context.app.has_ended = true;
    }
}

/// The suite as a server. It is killed on drop.
struct Suite(Child);

impl Drop for Suite {
    fn drop(&mut self) {
        // Both fail only when it has ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "takes minutes, and needs Autobahn's suite"]
fn autobahn_finds_no_fault_in_the_client() {
    let Some(program) = suite() else { return };
    let folder = Folder::new("autobahn-client");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = free.local_addr().expect("it has one").to_string();
    drop(free);
    let specification = format!(
        "{{\"url\": \"ws://{address}\", \"outdir\": \"{}\", \"cases\": [{}], \
         \"exclude-cases\": [], \"exclude-agent-cases\": {{}}}}",
        folder.file("report"),
        cases(),
    );
    let _suite = Suite(start(&program, "fuzzingserver", &folder, &specification));
    wait_until("the start of the suite", || TcpStream::connect(&address).is_ok());
    let run = |path: &str| run(BackendKind::Epoll, &address, path, Testee, options());
    let count: usize = run("/getCaseCount").text.parse().expect("it is a number");
    assert!(count > 0);
    for case in 1..=count {
        run(&format!("/runCase?case={case}&agent=myevent"));
    }
    run("/updateReports?agent=myevent");
    check(&folder.file("report"));
}
