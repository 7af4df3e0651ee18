//! Thousands of questions from one loop.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use testkit::Folder;

use crate::server::{Server, good, silent};
use crate::{command, expect, lookup, text};

/// Writes a file that asks for the addresses of this many hosts, and returns its path.
fn file(folder: &Folder, count: usize) -> String {
    let path = folder.file("questions");
    let lines: String = (0..count).map(|number| format!("host{number}.example A\n")).collect();
    std::fs::write(&path, lines).expect("the folder is writable");
    path
}

#[test]
fn every_question_of_a_file_has_one_line() {
    const COUNT: usize = 5000;
    let server = Server::start(good, silent, 1);
    let folder = Folder::new("lookup");
    let output = lookup(&[&server.word(), "-f", &file(&folder, COUNT)]);
    let found = expect(0, &output);
    let names: BTreeSet<&str> = found
        .lines()
        .filter_map(|line| line.split_once(" IN A\tNOERROR\t"))
        .map(|it| it.0)
        .collect();
    assert_eq!((found.lines().count(), names.len()), (COUNT, COUNT));
    assert!(found.lines().all(|line| line.ends_with(" ms\tA 192.0.2.1")), "{found}");
    let summary = text(&output.stderr);
    assert!(summary.contains(&format!("answered     {COUNT}: NOERROR {COUNT}\n")), "{summary}");
    assert!(summary.contains("no reply     0\n"), "{summary}");
}

#[test]
fn as_many_questions_are_in_flight_as_may_be() {
    let server = Server::start(silent, silent, 1);
    let folder = Folder::new("lookup");
    let path = file(&folder, 20);
    let args = ["+timeout=1", "+tries=1", "--in-flight", "7", "-f", &path];
    let begun = Instant::now();
    let output = lookup(&[&[server.word().as_str()][..], &args].concat());
    // Three times seven: no deadline comes early.
    assert!(begun.elapsed() >= Duration::from_secs(3));
    let found = expect(9, &output);
    assert_eq!(found.matches("\tno reply\t").count(), 20, "{found}");
    assert_eq!(server.names().len(), 20);
    assert!(text(&output.stderr).contains("20 of 20 questions were not answered"));
}

#[test]
fn questions_are_begun_at_a_rate() {
    let server = Server::start(good, silent, 1);
    let folder = Folder::new("lookup");
    let path = file(&folder, 10);
    let begun = Instant::now();
    let output = lookup(&[&server.word(), "--rate", "20", "-f", &path, "--no-summary"]);
    // The first one is begun at once. A tool that is held up catches up with two at most.
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(expect(0, &output).lines().count(), 10);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn questions_come_from_standard_input_and_answers_are_json() {
    let server = Server::start(good, silent, 1);
    let mut child = command(&[&server.word(), "-f", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(b"# comment\n\nhost.example\n-x 192.0.2.9\n").expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let found = expect(0, &output);
    let objects: Vec<serde_json::Value> =
        found.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(objects.len(), 2);
    let first = objects.iter().find(|it| it["name"] == "host.example.").expect("it is asked");
    assert_eq!(first["type"], "A");
    assert_eq!(first["error"], serde_json::Value::Null);
    assert_eq!(first["code"], "NOERROR");
    assert_eq!(first["flags"], serde_json::json!(["qr", "rd", "ra"]));
    assert_eq!(first["server"]["port"], server.address.port());
    assert_eq!(first["server"]["transport"], "udp");
    assert_eq!(first["answer"][0]["data"], "192.0.2.1");
    assert_eq!(first["answer"][0]["ttl"], 60);
    assert_eq!((&first["attempts"], &first["edns"]), (&1.into(), &serde_json::Value::Null));
    let summary: serde_json::Value =
        serde_json::from_str(&text(&output.stderr)).expect("it is an object");
    assert_eq!((&summary["asked"], &summary["codes"]["NOERROR"]), (&2.into(), &2.into()));
}

#[test]
fn an_object_without_an_answer_has_the_same_fields() {
    let server = Server::start(silent, silent, 1);
    let output = lookup(&[&server.word(), "+timeout=1", "+tries=1", "--json", "host.example"]);
    let found = expect(9, &output);
    let object: serde_json::Value = serde_json::from_str(&found).expect("it is an object");
    let answered = Server::start(good, silent, 1);
    let other = expect(0, &lookup(&[&answered.word(), "--json", "host.example"]));
    let other: serde_json::Value = serde_json::from_str(&other).expect("it is an object");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("it is an object").keys().cloned().collect()
    };
    assert_eq!(keys(&object), keys(&other));
    assert!(object["error"].as_str().is_some_and(|error| error.contains("timed out")), "{object}");
}

#[test]
fn a_signal_ends_the_tool_with_what_it_has_found() {
    let server = Server::start(good, silent, 1);
    let folder = Folder::new("lookup");
    let path = file(&folder, 1000);
    let child = command(&[&server.word(), "--rate", "20", "-f", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    testkit::wait_until("a question", || !server.names().is_empty());
    testkit::process::signal(child.id(), "INT");
    let output = child.wait_with_output().expect("it ends");
    let found = expect(1, &output);
    assert!((1..1000).contains(&found.lines().count()), "{found}");
    let errors = text(&output.stderr);
    assert!(errors.contains("answered ") && errors.contains("ended by a signal"), "{errors}");
}

#[test]
fn every_backend_asks_over_both_transports() {
    let server = Server::start(good, good, 50);
    let folder = Folder::new("lookup");
    let path = file(&folder, 300);
    for backend in ["epoll", "epoll-lt", "poll", "select", "uring"] {
        for more in [&[][..], &["+tcp"]] {
            let output = command(&[&[server.word().as_str(), "-f", &path][..], more].concat())
                .env("REACTOR_BACKEND", backend)
                .output()
                .expect("it runs");
            let found = expect(0, &output);
            assert_eq!(found.matches("\tNOERROR\t").count(), 300, "{backend} {more:?}");
        }
    }
}

/// Waits until the server is asked nothing more.
fn wait_for_rest(server: &Server) -> usize {
    let count = || server.asked.lock().expect("no thread panics").len();
    let (mut last, mut since) = (count(), Instant::now());
    testkit::wait_until("a rest", || {
        if count() != last {
            (last, since) = (count(), Instant::now());
        }
        last > 0 && since.elapsed() > Duration::from_secs(1)
    });
    last
}

/// With 3,000 questions, everything is asked before standard output is full. With 20,000, it is not.
#[test]
fn a_slow_output_pauses_the_questions_and_takes_no_time() {
    for (count, rate) in [(3000, 1_000_000), (20_000, 1_000_000), (20_000, 5000)] {
        let server = Server::start(good, silent, 1);
        let folder = Folder::new("lookup");
        let (path, rate) = (file(&folder, count), rate.to_string());
        let mut child = command(&[&server.word(), "--rate", &rate, "-f", &path])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let asked = wait_for_rest(&server);
        assert!(asked <= 15_000, "{asked} of {count}");
        let before = testkit::process::cpu_nanoseconds(child.id()).expect("it runs");
        std::thread::sleep(Duration::from_secs(1));
        let used = testkit::process::cpu_nanoseconds(child.id()).expect("it runs") - before;
        assert!(used < 200_000_000, "{used} ns in a second of {count}");
        let mut found = String::new();
        let mut output = child.stdout.take().expect("it is piped");
        output.read_to_string(&mut found).expect("it is text");
        assert_eq!(found.lines().count(), count);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

#[test]
fn answers_of_a_file_have_the_form_that_is_wanted() {
    let server = Server::start(good, silent, 1);
    let folder = Folder::new("lookup");
    let path = file(&folder, 3);
    let found = expect(0, &lookup(&[&server.word(), "--full", "-f", &path]));
    assert_eq!(found.matches(";; Got answer:\n").count(), 3, "{found}");
    assert!(!found.contains("<<>>"), "{found}");
    let found = expect(0, &lookup(&[&server.word(), "+short", "-f", &path]));
    assert_eq!(found, "192.0.2.1\n".repeat(3));
}
