//! Servers that lie, are silent, or cut their answers.

use std::net::UdpSocket;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use protocol::dns::{Message, Name};
use testkit::{Folder, receive_udp, refusing_address};

use crate::server::{Server, build, good, silent, truncated};
use crate::{command, expect, lookup, text};

/// Writes a file of questions, and returns its path.
fn file(folder: &Folder, lines: &str) -> String {
    let path = folder.file("questions");
    std::fs::write(&path, lines).expect("the folder is writable");
    path
}

/// Every kind of message that is no answer, and then the answer.
fn lies(question: &Message<'_>) -> Vec<Vec<u8>> {
    let name = question.question().expect("it asks").name.to_name();
    let other: Name = "other.example".parse().expect("it is a name");
    let swapped: String = name
        .to_string()
        .chars()
        .map(|letter| match letter.is_ascii_lowercase() {
            true => letter.to_ascii_uppercase(),
            false => letter.to_ascii_lowercase(),
        })
        .collect();
    let wrong_number = build(question, &name, |header| header.id ^= 1);
    let wrong_question = build(question, &other, |_| {});
    let no_response = build(question, &name, |header| header.is_response = false);
    let wrong_case = build(question, &swapped.parse().expect("it is a name"), |_| {});
    // The name of the record points to itself.
    let mut looping = build(question, &name, |_| {});
    let record = looping.len() - 16;
    looping[record..record + 2].copy_from_slice(&(0xc000 | record as u16).to_be_bytes());
    let cut = looping[..20].to_vec();
    let short = looping[..5].to_vec();
    let mut wrong_cookie = build(question, &name, |_| {});
    // An OPT record with a cookie, which is the only record of its section.
    wrong_cookie[11] = 1;
    wrong_cookie.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8]);
    wrong_cookie.extend(b"a guess!");
    let mut all = vec![
        wrong_cookie,
        wrong_number,
        wrong_question,
        no_response,
        wrong_case,
        looping,
        cut,
        short,
    ];
    all.extend(good(question));
    all
}

#[test]
fn what_is_no_answer_is_dropped_and_counted() {
    let server = Server::start(lies, silent, 1);
    let found = expect(0, &lookup(&[&server.word(), "+0x20", "+short", "host.example"]));
    assert_eq!(found, "192.0.2.1\n");
    let folder = Folder::new("lookup");
    let path = file(&folder, "host.example\n");
    let output = lookup(&[&server.word(), "+0x20", "-f", &path, "--json"]);
    assert!(expect(0, &output).contains("\"data\":\"192.0.2.1\""));
    let summary = text(&output.stderr);
    let dropped =
        "\"dropped\":{\"number\":1,\"question\":2,\"case\":1,\"malformed\":3,\"cookie\":1}";
    assert!(summary.contains(dropped), "{summary}");
}

#[test]
fn the_case_of_the_name_is_random_if_it_is_wanted() {
    let server = Server::start(good, silent, 1);
    let name = "a-rather-long-name-with-many-letters.example.";
    expect(0, &lookup(&[&server.word(), "+0x20", name]));
    expect(0, &lookup(&[&server.word(), name]));
    let names = server.names();
    assert_eq!(names[1], name);
    // Two in 10^12 names are spelled like this by chance.
    assert!(names[0] != name && names[0].eq_ignore_ascii_case(name), "{names:?}");
}

#[test]
fn a_silent_server_is_asked_again_and_then_given_up() {
    let server = Server::start(silent, silent, 1);
    let output = lookup(&[&server.word(), "+timeout=1", "+tries=2", "host.example"]);
    let found = expect(9, &output);
    let trouble =
        format!(";; communications error to 127.0.0.1#{}: timed out\n", server.address.port());
    assert_eq!(found.matches(&trouble).count(), 2, "{found}");
    assert!(found.contains(";; no servers could be reached"), "{found}");
    let asked = server.asked.lock().expect("no thread panics").clone();
    assert_eq!(asked.len(), 2);
    assert_ne!(
        asked[0][..2],
        asked[1][..2],
        "the number is another one, in all but 1 of 65536 runs"
    );
    drop(asked);
    let output = lookup(&[&server.word(), "+timeout=1", "+tries=1", "+short", "host.example"]);
    assert_eq!(expect(9, &output), "");
    assert!(text(&output.stderr).contains("1 of 1 questions were not answered"));
}

#[test]
fn the_next_server_is_asked_when_one_is_silent_or_refuses() {
    let (first, second) = (Server::start(silent, silent, 1), Server::start(good, silent, 1));
    let refusing = refusing_address();
    let refusing = format!("@{}#{}", refusing.ip(), refusing.port());
    for (other, why) in [(first.word(), "timed out"), (refusing, "connection refused")] {
        let output = lookup(&[&other, &second.word(), "+timeout=1", "host.example"]);
        let found = expect(0, &output);
        assert!(found.contains(why) && found.contains("192.0.2.1"), "{found}");
        let place = format!(";; SERVER: 127.0.0.1#{}(127.0.0.1) (UDP)", second.address.port());
        assert!(found.contains(&place), "{found}");
    }
}

#[test]
fn servers_come_from_resolv_conf() {
    let server = Server::start(good, silent, 1);
    let folder = Folder::new("lookup");
    let path = folder.file("resolv.conf");
    std::fs::write(&path, "search example\nnameserver 127.0.0.1\n").expect("it is writable");
    let port = server.address.port().to_string();
    let args = ["--resolv-conf", &path, "-p", &port, "+short", "host.example"];
    assert_eq!(expect(0, &lookup(&args)), "192.0.2.1\n");
    let output = lookup(&[&args[..], &["-6"]].concat());
    expect(10, &output);
    assert!(text(&output.stderr).contains("names no server of this family"));
}

/// An answer that is cut within its question.
fn cut(question: &Message<'_>) -> Vec<Vec<u8>> {
    truncated(question).into_iter().map(|answer| answer[..15].to_vec()).collect()
}

#[test]
fn a_truncated_answer_is_asked_for_over_tcp() {
    for behaviour in [truncated, cut] {
        let server = Server::start(behaviour, good, 1);
        let found = expect(0, &lookup(&[&server.word(), "host.example"]));
        assert!(found.contains(";; Truncated, retrying in TCP mode."), "{found}");
        assert!(found.contains("192.0.2.1") && found.contains("(TCP)"), "{found}");
    }
    let server = Server::start(truncated, good, 1);
    let found = expect(0, &lookup(&[&server.word(), "+ignore", "host.example"]));
    assert!(found.contains("flags: qr tc rd ra; QUERY: 1, ANSWER: 0"), "{found}");
}

#[test]
fn a_connection_that_never_answers_is_given_up() {
    let server = Server::start(truncated, truncated, 1);
    // Over TCP nothing is asked again: the answer is shown.
    let found = expect(0, &lookup(&[&server.word(), "host.example"]));
    assert!(found.contains("flags: qr tc") && found.contains("(TCP)"), "{found}");
    let server = Server::start(silent, silent, 0);
    let output = lookup(&[&server.word(), "+tcp", "+tries=2", "host.example"]);
    let found = expect(9, &output);
    let trouble = found.matches("the server ended the connection").count()
        + found.matches("reset by peer").count();
    assert_eq!(trouble, 2, "{found}");
    let refusing = refusing_address();
    let word = format!("@{}#{}", refusing.ip(), refusing.port());
    let found = expect(9, &lookup(&[&word, "+tcp", "+tries=1", "host.example"]));
    assert!(found.contains("refused"), "{found}");
}

#[test]
fn questions_that_a_connection_has_left_are_asked_again() {
    let server = Server::start(silent, good, 3);
    let folder = Folder::new("lookup");
    let lines: String = (0..20).map(|number| format!("host{number}.example\n")).collect();
    let output = lookup(&[&server.word(), "+tcp", "+tries=1", "-f", &file(&folder, &lines)]);
    let found = expect(0, &output);
    assert_eq!(found.matches("\tNOERROR\t").count(), 20, "{found}");
}

#[test]
fn wrong_arguments_and_files_have_codes_of_their_own() {
    let folder = Folder::new("lookup");
    let path = file(&folder, "good.example\n\nbad..example A\n");
    for (code, args, part) in [
        (2, &["a.example", "b.example"][..], "two names"),
        (2, &["a.example", "+nonsense"], "+nonsense"),
        (2, &["--nonsense"], "--nonsense"),
        (8, &["-f", "/nonexistent/file"], "/nonexistent/file"),
        (8, &["-f", &path], "line 3"),
        (10, &["@no-such-host.invalid", "a.example"], "no-such-host.invalid"),
        (10, &["@127.0.0.1", "-6", "a.example"], "no address of this family"),
        (10, &["@[::1]:5300", "a.example"], "a port comes after #"),
        (10, &["--resolv-conf", "/nonexistent/file", "a.example"], "/nonexistent/file"),
    ] {
        let output = lookup(args);
        expect(code, &output);
        let errors = text(&output.stderr);
        assert!(errors.contains(part), "{errors}");
    }
}

#[test]
fn a_closed_output_ends_the_tool_without_a_message() {
    let server = Server::start(good, silent, 1);
    let (reader, writer) = std::io::pipe().expect("there are descriptors");
    drop(reader);
    let child = command(&[&server.word(), "host.example"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    expect(141, &output);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn an_answer_from_another_port_is_not_taken() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let forger = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let port = socket.local_addr().expect("it is bound").port().to_string();
    let child = command(&["@127.0.0.1", "-p", &port, "+short", "host.example"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut buffer = [0; 512];
    socket.set_read_timeout(Some(testkit::PATIENCE)).expect("it is a socket");
    let (size, peer) = receive_udp(&socket, &mut buffer).expect("it asks");
    let question = Message::parse(&buffer[..size]).expect("it asks in order");
    let answer = good(&question).remove(0);
    // All is right but the port, and the address of the record.
    let mut forged = answer.clone();
    *forged.last_mut().expect("it has an address") = 66;
    for _ in 0..100 {
        forger.send_to(&forged, peer).expect("it is sent");
    }
    socket.send_to(&answer, peer).expect("it is sent");
    assert_eq!(expect(0, &child.wait_with_output().expect("it ends")), "192.0.2.1\n");
}

/// Answers the third question and every one after it.
fn silent_twice(question: &Message<'_>) -> Vec<Vec<u8>> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    match ASKED.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Vec::new(),
        _ => good(question),
    }
}

#[test]
fn a_connection_that_is_silent_is_replaced_by_another_one() {
    // The server ends a connection after two questions, and looks at one connection at a time.
    let server = Server::start(silent, silent_twice, 2);
    let output = lookup(&[&server.word(), "+tcp", "+timeout=1", "+tries=9", "host.example"]);
    let found = expect(0, &output);
    assert!(found.contains("192.0.2.1") && found.matches("timed out").count() >= 2, "{found}");
    assert!(!found.contains("ended the connection"), "{found}");
}

#[test]
fn a_server_has_an_ipv6_address() {
    if UdpSocket::bind("[::1]:0").is_err() {
        testkit::tell("SKIPPED", "this host has no IPv6");
        return;
    }
    let server = Server::start_on("::1", good, good, 1);
    for more in [&[][..], &["+tcp"]] {
        let found =
            expect(0, &lookup(&[&[server.word().as_str(), "host.example"][..], more].concat()));
        let place = format!(";; SERVER: ::1#{}(::1)", server.address.port());
        assert!(found.contains(&place) && found.contains("192.0.2.1"), "{found}");
    }
}
