//! The programs of a course on libevent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use testkit::{Folder, PATIENCE, refusing_address};

use crate::talk::{Talk, Twins, file, make_fifo, writer};

fn connect(address: &str) -> TcpStream {
    let peer = TcpStream::connect(address).expect("the program listens");
    peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
    peer.set_write_timeout(Some(PATIENCE)).expect("it has a timeout");
    peer
}

#[test]
fn a_base_of_each_method_reads_standard_input() {
    let twins = Twins::new("libevent_base");
    for method in ["epoll", "poll", "select"] {
        let lines = twins.agree(|command| {
            let mut talk = Talk::start(command, &[method]);
            talk.write("one\n");
            talk.until("read one");
            talk.write("two\n");
            talk.until("read two");
            talk.end()
        });
        assert_eq!(lines[0], format!("the loop uses {method}"));
        assert_eq!(lines[3..], ["the input has ended", "the loop has ended"]);
    }
}

#[test]
fn a_file_is_always_ready_except_for_a_base_that_uses_epoll() {
    let twins = Twins::new("libevent_base");
    let folder = Folder::new("twins");
    let path = folder.file("input");
    let read = |command, method: &str| {
        Talk::start_with(command, &[method], file(&path, "text\n").into()).end()
    };
    for method in ["poll", "select"] {
        let lines = twins.agree(|command| read(command, method));
        assert_eq!(lines[1..3], ["read text", "the input has ended"]);
    }
    // epoll refuses regular files, and libevent does so with it.
    assert_eq!(read(twins.ours(), "epoll")[1..3], ["read text", "the input has ended"]);
    if let Some(mut c) = twins.in_c() {
        c.arg("epoll").stdin(file(&path, "text\n")).stdout(Stdio::null()).stderr(Stdio::null());
        assert_eq!(c.status().expect("it starts").code(), Some(1));
    }
}

#[test]
fn a_one_shot_event_fires_once_and_a_persistent_one_each_time() {
    let twins = Twins::new("libevent_events");
    let lines = twins.agree(|command| {
        let folder = Folder::new("twins");
        let paths = ["a", "b"].map(|name| folder.file(name));
        paths.iter().for_each(|path| make_fifo(path));
        let mut talk = Talk::start(command, &[&paths[0], &paths[1]]);
        talk.until("both are open");
        let [mut one_shot, mut persistent] = paths.each_ref().map(|path| writer(path));
        let say = |pipe: &mut std::fs::File, text: &str| {
            pipe.write_all(text.as_bytes()).expect("it is read");
        };
        say(&mut one_shot, "first\n");
        talk.until("one-shot: first");
        say(&mut one_shot, "second\n");
        for number in ["1\n", "2\n"] {
            say(&mut persistent, number);
            talk.until(&format!("persistent: {}", number.trim_end()));
        }
        say(&mut persistent, "again\n");
        talk.until("one-shot: second");
        say(&mut one_shot, "third\n");
        say(&mut persistent, "quit\n");
        talk.end()
    });
    let expected = [
        "both are open",
        "one-shot: first",
        "persistent: 1",
        "persistent: 2",
        "persistent: again",
        "one-shot: second",
        "persistent: quit",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_server_answers_every_line_before_it_closes() {
    let twins = Twins::new("libevent_server");
    let lines = twins.agree(|command| {
        let mut talk = Talk::start(command, &["127.0.0.1:0"]);
        let address = talk.address();
        let mut peer = BufReader::new(connect(&address));
        peer.get_mut().write_all(b"hel").expect("it is sent");
        talk.until("accepted");
        peer.get_mut().write_all(b"lo\r\n").expect("it is sent");
        let mut answer = String::new();
        peer.read_line(&mut answer).expect("it answers");
        assert_eq!(answer, "HELLO\n");
        // All of it is sent before the first answer is read.
        let many: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        peer.get_mut().write_all(many.as_bytes()).expect("it is sent");
        peer.get_mut().shutdown(Shutdown::Write).expect("it ends");
        answer.clear();
        peer.read_to_string(&mut answer).expect("it answers");
        assert_eq!(answer, many.to_uppercase());
        talk.until("the peer has ended its stream");
        let mut peer = connect(&address);
        peer.write_all(b"stop\n").expect("it is sent");
        answer.clear();
        peer.read_to_string(&mut answer).expect("it answers");
        assert_eq!(answer, "STOP\n");
        drop(peer);
        talk.end()
    });
    assert_eq!(lines[..2], ["accepted", "line: hello"]);
    assert_eq!(lines.len(), 1006, "{lines:?}");
}

/// Returns what a client has written after its end.
#[track_caller]
fn ask(client: Command, address: &str, words: &[&str]) -> Vec<String> {
    Talk::start(client, &[&[address], words].concat()).end()
}

#[test]
fn each_client_talks_to_each_server() {
    let (servers, clients) = (Twins::new("libevent_server"), Twins::new("libevent_client"));
    for client in clients.both() {
        let lines = servers.agree(|server| {
            let mut talk = Talk::start(server, &["127.0.0.1:0"]);
            let address = talk.address();
            let client = || Command::new(client.get_program());
            let heard = ask(client(), &address, &["one", "two"]);
            assert_eq!(heard, ["connected", "answer: ONE", "answer: TWO", "the loop has ended"]);
            talk.until("the peer has ended its stream");
            let heard = ask(client(), &address, &["stop"]);
            assert_eq!(heard, ["connected", "answer: STOP", "the loop has ended"]);
            talk.end()
        });
        let expected = [
            "accepted",
            "line: one",
            "line: two",
            "the peer has ended its stream",
            "accepted",
            "line: stop",
            "the loop has ended",
        ];
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_client_says_why_it_has_no_answer() {
    let clients = Twins::new("libevent_client");
    let nowhere = refusing_address().to_string();
    let lines = clients.agree(|client| ask(client, &nowhere, &["one"]));
    assert_eq!(lines, ["nothing listens there", "the loop has ended"]);
    let lines = clients.agree(|client| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("it listens");
        let address = listener.local_addr().expect("it has an address").to_string();
        let mut talk = Talk::start(client, &[&address, "one", "two"]);
        let mut peer = BufReader::new(listener.accept().expect("it connects").0);
        peer.read_line(&mut String::new()).expect("it asks");
        peer.read_line(&mut String::new()).expect("it asks");
        peer.get_mut().write_all(b"ONE\n").expect("it is sent");
        talk.until("answer: ONE");
        drop(peer);
        talk.end()
    });
    let rest = ["answer: ONE", "the server has ended the connection", "the loop has ended"];
    assert_eq!(lines[1..], rest);
}

#[test]
fn a_listener_closes_after_three_connections() {
    let twins = Twins::new("libevent_listener");
    let lines = twins.agree(|command| {
        let mut talk = Talk::start(command, &["127.0.0.1:0"]);
        let address = talk.address();
        for number in 1..=3 {
            let mut greeting = String::new();
            connect(&address).read_to_string(&mut greeting).expect("it greets");
            assert_eq!(greeting, format!("hello {number}\n"));
        }
        talk.until("closed");
        assert!(TcpStream::connect(&address).is_err(), "it still listens");
        talk.end()
    });
    assert_eq!(lines, ["connection 1", "connection 2", "connection 3", "closed"]);
}

#[test]
fn a_listener_says_that_its_address_is_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it listens");
    let address = listener.local_addr().expect("it has an address").to_string();
    let lines =
        Twins::new("libevent_listener").agree(|command| Talk::start(command, &[&address]).end());
    assert_eq!(lines, ["the address is in use"]);
}

#[test]
fn a_loop_is_left_at_once_or_after_what_is_ready_or_after_a_time() {
    let lines = Twins::new("libevent_loop").agree(|command| Talk::start(command, &[]).end());
    let expected = [
        "break: 1 of 2 calls",
        "after it: 2 of 2 calls",
        "exit: 2 of 2 calls",
        "exit after 20 ms: not early",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn both_processes_go_on_after_a_fork() {
    let lines = Twins::new("libevent_fork").agree(|command| {
        let folder = Folder::new("twins");
        let paths = ["a", "b"].map(|name| folder.file(name));
        paths.iter().for_each(|path| make_fifo(path));
        let mut talk = Talk::start(command, &[&paths[0], &paths[1]]);
        talk.until("the child has a loop of its own");
        for (name, path) in [("child", 0), ("parent", 1), ("child", 0), ("parent", 1)] {
            writer(&paths[path]).write_all(b"word\n").expect("it is read");
            talk.until(&format!("{name} read word"));
        }
        writer(&paths[0]).write_all(b"quit\n").expect("it is read");
        talk.end()
    });
    assert_eq!(lines[5..], ["child read quit", "the child has ended with 7"]);
}
