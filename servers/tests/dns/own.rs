//! Answers that need no upstream: of hosts files, options and block lists. Networks and limits of clients.

use std::fmt::Write as _;
use std::process::Command;

use protocol::dns::{Edns, RecordType, ResponseCode};
use testkit::{Folder, wait_until};

use super::DNS;
use super::asking::{Answer, Server, question, question_for, read_message, receive, write_message};
use super::upstream::Upstream;

/// Writes a file. Returns its path.
fn write(folder: &Folder, name: &str, text: &str) -> String {
    let path = folder.file(name);
    std::fs::write(&path, text).expect("the folder is writable");
    path
}

/// Asks for records of a type.
fn ask(server: &Server, name: &str, kind: RecordType) -> Answer {
    let socket = server.socket();
    socket.send(&question_for(7, name, kind, None)).expect("it is sent");
    receive(&socket)
}

/// Returns the code and the data of an answer.
fn said(server: &Server, name: &str, kind: RecordType) -> String {
    let answer = ask(server, name, kind);
    [vec![answer.code().to_string()], answer.texts()].concat().join(" ")
}

#[test]
fn files_and_options_are_answered_without_an_upstream() {
    let (folder, upstream) = (Folder::new("dns-own"), Upstream::honest());
    let hosts = write(&folder, "hosts", "10.0.0.1 nas.lan nas # a comment\nfd00::1 nas.lan\n");
    let block = write(&folder, "block", "ads.example\n0.0.0.0 exact.example\n");
    let args = [
        ["--hosts", &hosts],
        ["--block", &block],
        ["--record", "mail.lan 30 MX 5 nas.lan"],
        ["--record", "files.lan 30 CNAME nas.lan"],
        ["--address", "/dev.example/10.0.0.9"],
        ["--address", "/null.example/#"],
        ["--server", "/here.example/"],
    ];
    let server = Server::start(&[upstream.address], &args.concat());
    for (name, kind, expected) in [
        ("NAS.lan", RecordType::A, "NOERROR 10.0.0.1"),
        ("nas.lan", RecordType::AAAA, "NOERROR fd00::1"),
        ("nas", RecordType::A, "NOERROR 10.0.0.1"),
        ("nas.lan", RecordType::TXT, "NOERROR"),
        ("1.0.0.10.in-addr.arpa", RecordType::PTR, "NOERROR nas.lan."),
        ("mail.lan", RecordType::MX, "NOERROR 5 nas.lan."),
        ("files.lan", RecordType::A, "NOERROR nas.lan. 10.0.0.1"),
        ("www.dev.example", RecordType::A, "NOERROR 10.0.0.9"),
        ("www.dev.example", RecordType::AAAA, "NOERROR"),
        ("null.example", RecordType::A, "NOERROR 0.0.0.0"),
        ("null.example", RecordType::AAAA, "NOERROR ::"),
        ("x.here.example", RecordType::A, "NXDOMAIN"),
        ("x.ads.example", RecordType::A, "NXDOMAIN"),
        ("exact.example", RecordType::A, "NXDOMAIN"),
    ] {
        assert_eq!(said(&server, name, kind), expected, "{name} {kind}");
    }
    assert_eq!(upstream.asked(), 0);
    assert_eq!(said(&server, "x.exact.example", RecordType::A), "NOERROR 192.0.2.1");
    assert_eq!(upstream.asked(), 1);
    let answer = ask(&server, "nas.lan", RecordType::A);
    let header = answer.message().header();
    assert!(header.is_authoritative && header.recursion_available);
    assert_eq!(server.counter("own"), 15);
}

#[test]
fn servers_of_a_domain_are_asked_about_its_names() {
    let (default, other, third) = (Upstream::honest(), Upstream::honest(), Upstream::honest());
    let rule = format!("/corp.example/{}", other.address);
    let deeper = format!("/lab.corp.example/{}", third.address);
    let args = ["--server", &rule, "--server", &deeper, "--server", "/public.corp.example/#"];
    let server = Server::start(&[default.address], &args);
    for name in
        ["example", "corp.example", "a.CORP.example", "x.lab.corp.example", "public.corp.example"]
    {
        assert_eq!(server.ask(name).texts(), ["192.0.2.1"], "{name}");
    }
    assert_eq!((default.asked(), other.asked(), third.asked()), (2, 2, 1));
}

#[test]
fn several_servers_of_a_domain_replace_each_other() {
    let (default, other) = (Upstream::honest(), Upstream::honest());
    let silent = Upstream::saying(|_| Vec::new());
    let rules = [&silent, &other].map(|it| format!("/corp.example/{}", it.address));
    let args = ["--server", &rules[0], "--server", &rules[1]];
    let server = Server::start(&[default.address], &args);
    for number in 0..20 {
        assert_eq!(server.ask(&format!("n{number}.corp.example")).texts(), ["192.0.2.1"]);
    }
    assert_eq!((default.asked(), other.asked() > 0), (0, true));
}

#[test]
fn sighup_reads_files_again_and_an_error_changes_nothing() {
    let (folder, upstream) = (Folder::new("dns-reload"), Upstream::honest());
    let hosts = write(&folder, "hosts", "10.0.0.1 nas.lan\n");
    let block = write(&folder, "block", "ads.example\n");
    let args = ["--hosts", &hosts, "--block", &block];
    let server = Server::start(&[upstream.address], &args);
    assert_eq!(said(&server, "nas.lan", RecordType::A), "NOERROR 10.0.0.1");
    write(&folder, "hosts", "10.0.0.2 nas.lan\n");
    write(&folder, "block", "other.example\n");
    server.daemon.signal("HUP");
    wait_until("the new files", || said(&server, "nas.lan", RecordType::A) == "NOERROR 10.0.0.2");
    assert_eq!(said(&server, "ads.example", RecordType::A), "NOERROR 192.0.2.1");
    assert_eq!(said(&server, "other.example", RecordType::A), "NXDOMAIN");
    write(&folder, "hosts", "10.0.0.3 nas.lan\n10.0.0 x\n");
    server.daemon.signal("HUP");
    let expected =
        format!("{hosts}:2: \"10.0.0\" is no address; a line is an address and its names; the");
    wait_until("a line of the log", || server.daemon.log().contains(&expected));
    assert_eq!(said(&server, "nas.lan", RecordType::A), "NOERROR 10.0.0.2");
    let (code, log) = server.daemon.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn files_are_read_again_when_they_change() {
    let (folder, upstream) = (Folder::new("dns-watch"), Upstream::honest());
    let hosts = write(&folder, "hosts", "10.0.0.1 nas.lan\n");
    let server = Server::start(&[upstream.address], &["--hosts", &hosts]);
    assert_eq!(said(&server, "nas.lan", RecordType::A), "NOERROR 10.0.0.1");
    // As an editor and a package manager do, and then in place.
    std::fs::rename(write(&folder, "new", "10.0.0.2 nas.lan\n"), &hosts).expect("it moves");
    wait_until("the new file", || said(&server, "nas.lan", RecordType::A) == "NOERROR 10.0.0.2");
    write(&folder, "hosts", "10.0.0.3 nas.lan\n");
    wait_until("the new text", || said(&server, "nas.lan", RecordType::A) == "NOERROR 10.0.0.3");
    std::fs::remove_file(&hosts).expect("it is there");
    wait_until("a line of the log", || server.daemon.log().contains("goes on with what it has"));
    assert_eq!(said(&server, "nas.lan", RecordType::A), "NOERROR 10.0.0.3");
}

#[test]
fn what_is_wrong_with_files_and_options_is_said_at_the_start() {
    let folder = Folder::new("dns-wrong-files");
    let hosts = write(&folder, "hosts", "127.0.0.1 localhost\nnas.lan 10.0.0.1\n");
    let missing = folder.file("missing");
    let wrong_hosts =
        format!("{hosts}:2: \"nas.lan\" is no address; a line is an address and its names");
    let no_file = format!("{missing}: cannot be read: No such file or directory");
    let cases: &[(&[&str], &str)] = &[
        (&["--hosts", &hosts], &wrong_hosts),
        (&["--block", &missing], &no_file),
        (
            &["--record", "a.lan CNAME b.lan"],
            "a.lan. is an alias of b.lan., which has no record here",
        ),
        (&["--record", "a.lan A 10.0.0"], "10.0.0"),
        (&["--address", "/a.lan/10.0.0"], "\"10.0.0\" is no address; /DOMAIN/# answers with"),
        (&["--allow", "10.0.0.1/8"], "has bits after its prefix; expected 10.0.0.0/8"),
        (&["--rate-limit", "0"], "0 is not in 1..=1000000"),
        (&["--cache-size", "x"], "expected a positive size such as 100mb or 1gb, or 0"),
        (&["--serve-stale", "8d"], "expected 7d at most"),
    ];
    for (args, expected) in cases {
        let always = ["--listen", "udp://127.0.0.1:0", "--upstream", "127.0.0.1:9"];
        let output = Command::new(DNS).args(always).args(*args).output().expect("it starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{args:?}");
        assert!(errors.contains(expected), "{args:?}: {errors}");
    }
}

#[test]
fn wrong_lines_of_a_block_list_are_left_out_and_named() {
    let (folder, upstream) = (Folder::new("dns-wrong-block"), Upstream::honest());
    let block = write(&folder, "block", "a..b\nads.example\n");
    let server = Server::start(&[upstream.address], &["--block", &block]);
    assert_eq!(said(&server, "ads.example", RecordType::A), "NXDOMAIN");
    let log = &server.daemon.start_log;
    assert!(log.contains(&format!("{block}:1: \"a..b\" is no name: ")), "{log}");
}

#[test]
fn a_block_list_of_a_million_names_takes_less_than_64_megabytes() {
    let (folder, upstream) = (Folder::new("dns-million"), Upstream::honest());
    let mut lines = String::new();
    for number in 0..1_000_000 {
        let _ = writeln!(lines, "host{number}.advertiser{}.example", number % 1000);
    }
    let block = write(&folder, "block", &lines);
    let without = Server::start(&[upstream.address], &[]).daemon.memory();
    let server = Server::start(&[upstream.address], &["--block", &block]);
    let memory = server.daemon.memory().saturating_sub(without);
    assert!(memory < 64 * 1024 * 1024, "{memory} bytes");
    // The numbers of the names and their index, and little else.
    assert!(memory < 16 * 1024 * 1024, "{memory} bytes");
    let log = &server.daemon.start_log;
    assert!(log.contains("1000000 names blocked in 8262148 bytes"), "{log}");
    assert_eq!(said(&server, "host123456.advertiser456.example", RecordType::A), "NXDOMAIN");
    assert_eq!(
        said(&server, "host123456.advertiser457.example", RecordType::A),
        "NOERROR 192.0.2.1"
    );
    // Reading it again takes the memory of both for a moment, and leaves the names.
    server.daemon.signal("HUP");
    wait_until("the new list", || server.daemon.log().contains("files are read again: "));
    let memory = server.daemon.memory().saturating_sub(without);
    assert!(memory < 64 * 1024 * 1024, "{memory} bytes");
}

#[test]
fn clients_of_other_networks_are_refused() {
    let upstream = Upstream::honest();
    let server = Server::start(&[upstream.address], &["--allow", "192.0.2.0/24"]);
    let answer = server.ask("www.example");
    assert_eq!((answer.code(), answer.texts().len()), (ResponseCode::REFUSED, 0));
    assert!(answer.message().question().is_some());
    let mut stream = server.connect();
    write_message(&mut stream, &question(9, "www.example"));
    let answer = Answer(read_message(&mut stream).expect("there is an answer"));
    assert_eq!(answer.code(), ResponseCode::REFUSED);
    assert_eq!((upstream.asked(), server.counter("refused")), (0, 2));
    let server = Server::start(&[upstream.address], &["--allow", "127.0.0.0/8"]);
    assert_eq!(server.ask("www.example").code(), ResponseCode::NOERROR);
}

#[test]
fn beyond_the_limit_answers_are_empty_or_missing_and_tcp_goes_on() {
    let upstream = Upstream::honest();
    // Nothing is paid back while this test runs, since an answer counts for a second.
    let server = Server::start(&[upstream.address], &["--rate-limit", "1"]);
    let socket = server.socket();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).expect("a timeout");
    let mut truncated = 0;
    for number in 0..20 {
        socket.send(&question(number, "www.example")).expect("it is sent");
        let mut bytes = [0; 512];
        let Ok(size) = socket.recv(&mut bytes) else { continue };
        let answer = Answer(bytes[..size].to_vec());
        truncated += u64::from(answer.message().header().is_truncated);
    }
    let limited = server.counter("limited");
    assert!(limited >= 5 && truncated >= limited / 3, "{limited} limited, {truncated} truncated");
    let mut stream = server.connect();
    for number in 0..20 {
        write_message(&mut stream, &question(number, "www.example"));
        let answer = Answer(read_message(&mut stream).expect("there is an answer"));
        assert_eq!(answer.texts(), ["192.0.2.1"]);
    }
}

#[test]
fn an_answer_of_its_own_that_has_no_room_is_truncated() {
    let (folder, upstream) = (Folder::new("dns-own-long"), Upstream::honest());
    let mut lines = String::new();
    for number in 1..=100 {
        let _ = writeln!(lines, "10.0.0.{number} many.lan");
    }
    let hosts = write(&folder, "hosts", &lines);
    let server = Server::start(&[upstream.address], &["--hosts", &hosts]);
    assert!(ask(&server, "many.lan", RecordType::A).message().header().is_truncated);
    let socket = server.socket();
    let edns = Some(Edns::new(4096));
    socket.send(&question_for(7, "many.lan", RecordType::A, edns)).expect("it is sent");
    // This server sends datagrams of 1,232 bytes at most.
    let answer = receive(&socket);
    assert!(answer.message().header().is_truncated && answer.0.len() <= 1232);
    let mut stream = server.connect();
    write_message(&mut stream, &question(9, "many.lan"));
    let answer = Answer(read_message(&mut stream).expect("there is an answer"));
    assert_eq!(answer.texts().len(), 100);
}
