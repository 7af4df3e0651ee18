//! Runs every example as a program, and uses it as its documentation says.
//!
//! `cargo test` builds the examples. `cargo test --test examples` alone does not, so that
//! `cargo build --examples` has to come before it.

#[path = "common/program.rs"]
mod program;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;

use program::Program;
use testkit::{Folder, PATIENCE, process, wait_until};

fn connect(address: &str) -> TcpStream {
    let peer = TcpStream::connect(address).expect("the example listens");
    peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
    peer.set_write_timeout(Some(PATIENCE)).expect("it has a timeout");
    peer
}

/// Sends `request`, ends the stream and returns all of the answer.
fn ask(address: &str, request: &str) -> String {
    let mut peer = connect(address);
    peer.write_all(request.as_bytes()).expect("it is sent");
    peer.shutdown(Shutdown::Write).expect("the stream ends");
    let mut answer = String::new();
    peer.read_to_string(&mut answer).expect("the answer is text and ends in order");
    answer
}

fn read_line(peer: &mut impl BufRead) -> String {
    let mut line = String::new();
    peer.read_line(&mut line).expect("a line comes");
    line
}

#[test]
fn tally_counts_one_vote_for_each_sender() {
    let mut example = Program::start("tally", &["127.0.0.1:0"]);
    let address = example.line("receiving on udp://");
    let voters: Vec<UdpSocket> = (0..3)
        .map(|_| {
            let voter = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
            voter.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
            voter.connect(&address).expect("it has a route");
            voter
        })
        .collect();
    let ask = |voter: usize, text: &str| {
        voters[voter].send(text.as_bytes()).expect("it is sent");
        let mut answer = [0; 2000];
        let count = voters[voter].recv(&mut answer).expect("an answer comes");
        String::from_utf8_lossy(&answer[..count]).into_owned()
    };
    assert_eq!(ask(0, "tea\n"), "tea: 1\n");
    assert_eq!(ask(1, "tea"), "tea: 2\n");
    assert_eq!(ask(2, "coffee"), "coffee: 1\n");
    assert_eq!(ask(1, "coffee"), "coffee: 2\n");
    assert_eq!(ask(0, &"x".repeat(101)), "a word has 100 bytes at most\n");
    assert_eq!(ask(0, "\n"), "coffee: 2\ntea: 1\n3 voters\n");
    assert!(example.terminate().success());
}

#[test]
fn chat_sends_a_line_to_all_others() {
    let (_chat, address) = Program::listening("chat", &[]);
    let (first, second) = (connect(&address), connect(&address));
    let (mut first_in, mut second_in) = (BufReader::new(&first), BufReader::new(&second));
    let long = "long ".repeat(100);
    for round in 0..3 {
        // The second connection was accepted last: once its line has arrived, both are members.
        (&second).write_all(b"short\n").expect("it is sent");
        // A member does not receive its own lines, so this one is from the other.
        assert_eq!(read_line(&mut first_in), "short\n");
        let line = format!("{long}{round}\n");
        (&first).write_all(line.as_bytes()).expect("it is sent");
        assert_eq!(read_line(&mut second_in), line);
    }
    second.shutdown(Shutdown::Both).expect("it ends");
    (&first).write_all(b"alone\n").expect("it is sent");
    first.shutdown(Shutdown::Write).expect("it ends");
    assert_eq!(read_line(&mut first_in), "", "a line came back to its sender");
}

#[test]
fn chat_client_survives_the_end_of_the_chat_and_sends_what_was_typed_meanwhile() {
    // No connection takes that port while the chat is away.
    let address = testkit::refusing_address().to_string();
    let mut chat = Program::start("chat", &[&address]);
    chat.line("listening on ");
    let mut member = Program::start_with("chat_client", &[&address], Stdio::piped());
    let mut typed = member.child.stdin.take().expect("its input is piped");
    member.line("connected");
    let other = connect(&address);
    (&other).write_all(b"hello\n").expect("it is sent");
    member.line("hello");
    typed.write_all(b"hello yourself\n").expect("it is read");
    assert_eq!(read_line(&mut BufReader::new(&other)), "hello yourself\n");
    drop(other);
    chat.child.kill().expect("it runs");
    // A process that ends may close its connections before its listener.
    chat.child.wait().expect("it is a child");
    member.line("disconnected");
    typed.write_all(b"is anybody there?\n").expect("it is read");
    // The port may still be that of connections that have ended, which a listener does not mind.
    let listener = TcpListener::bind(&address).expect("the chat has ended");
    let (peer, _) = listener.accept().expect("the client connects again");
    member.line("connected");
    peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
    let mut input = BufReader::new(&peer);
    assert_eq!(read_line(&mut input), "is anybody there?\n");
    typed.write_all(b"bye\n").expect("it is read");
    drop(typed);
    assert_eq!((read_line(&mut input), read_line(&mut input)), ("bye\n".into(), String::new()));
    drop(input);
    drop(peer);
    assert!(member.child.wait().expect("it ends").success());
}

#[test]
fn proxy_relays_both_directions_and_the_end_of_input() {
    const SIZE: usize = 1 << 20;
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let there = upstream.local_addr().expect("it is bound").to_string();
    let echo = thread::spawn(move || {
        let (mut peer, _) = upstream.accept().expect("the proxy connects");
        peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
        // It reads all before it answers, so the answer comes on a half-closed connection.
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("the half-close is passed on");
        peer.write_all(&all).expect("the other way is open");
        all.len()
    });
    let (_proxy, address) = Program::listening("proxy", &[&there]);
    let mut peer = connect(&address);
    let sent: Vec<u8> = (0..SIZE as u32).map(|it| (it ^ it >> 8) as u8).collect();
    peer.write_all(&sent).expect("it is sent");
    peer.shutdown(Shutdown::Write).expect("the stream ends");
    let mut received = Vec::new();
    peer.read_to_end(&mut received).expect("the end is passed on too");
    assert_eq!(echo.join().expect("the upstream ends"), SIZE);
    assert!(received == sent, "{} of {SIZE} bytes came back, or others", received.len());
}

#[test]
fn proxy_stops_reading_one_side_while_the_other_does_not_read() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let there = upstream.local_addr().expect("it is bound").to_string();
    let (proxy, address) = Program::listening("proxy", &[&there]);
    let mut peer = connect(&address);
    let (mut server, _) = upstream.accept().expect("the proxy connects");
    peer.set_nonblocking(true).expect("it is a socket");
    let (block, mut sent) = (vec![7; 1 << 16], 0);
    // Writes until nothing is taken any more. A proxy that kept everything would take without end.
    wait_until("back-pressure", || {
        for _ in 0..100 {
            match peer.write(&block) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        let before = sent;
        thread::sleep(std::time::Duration::from_millis(200));
        sent += peer.write(&block).unwrap_or(0);
        sent == before
    });
    let memory = process::memory_bytes(proxy.child.id()).expect("it runs");
    assert!(memory < 8 << 20, "the proxy keeps {memory} bytes after {sent} were sent");
    // The bytes on the way arrive once the other side reads.
    peer.shutdown(Shutdown::Write).expect("the stream ends");
    server.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
    let mut received = Vec::new();
    server.read_to_end(&mut received).expect("all of it arrives");
    assert_eq!(received.len(), sent);
}

#[test]
fn json_counts_for_clients_that_send_many_requests() {
    let (_json, address) = Program::listening("json", &[]);
    let requests = "GET /counters HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /counters/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n5\
        POST /counters/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n-7\r\n0\r\n\r\n\
        GET /counters HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /counters/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\
        PUT /counters/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n5\
        GET /other HTTP/1.0\r\n\r\n";
    let answer = ask(&address, requests);
    let statuses: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).map(|it| &it[..3]).collect();
    assert_eq!(statuses, ["200", "200", "200", "200", "400", "405", "404"], "{answer}");
    for body in
        ["{}", "{\"name\":\"a\",\"value\":5}", "{\"name\":\"a\",\"value\":-2}", "{\"a\":-2}"]
    {
        assert!(answer.contains(&format!("\r\n\r\n{body}HTTP/1.1 ")), "{body}: {answer}");
    }
    assert_eq!(answer.matches("\r\nDate: ").count(), 7, "{answer}");
}

/// Runs curl, and returns what it prints: the head and the body, or what it reports.
fn curl(args: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"])
        .args(args)
        .output()
        .expect("curl starts");
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}

#[test]
fn json_serves_curl() {
    if !testkit::has_peer("curl") {
        return;
    }
    let (_json, address) = Program::listening("json", &[]);
    let (list, one) =
        (format!("http://{address}/counters"), format!("http://{address}/counters/a"));
    let cases: [(&[&str], &str, &str); 8] = [
        (&["-i", &list], "HTTP/1.1 200 OK", "{}"),
        (&["-i", "--http1.0", &list], "Connection: close", "{}"),
        (&["-I", &list], "Content-Length: 2", ""),
        (&["-i", "-d", "5", &one], "HTTP/1.1 200 OK", "{\"name\":\"a\",\"value\":5}"),
        // In chunks.
        (
            &["-i", "-d", "5", "-H", "Transfer-Encoding: chunked", &one],
            "HTTP/1.1 200 OK",
            "{\"name\":\"a\",\"value\":10}",
        ),
        (
            &["-i", "-d", "5", "-H", "Expect: 100-continue", &one],
            "HTTP/1.1 100 Continue",
            "{\"name\":\"a\",\"value\":15}",
        ),
        (&["-i", "-X", "OPTIONS", &one], "Allow: OPTIONS, POST", ""),
        (&["-i", "--path-as-is", "--request-target", &list, &list], "200 OK", "{\"a\":15}"),
    ];
    for (args, line, body) in cases {
        let answer = curl(args);
        assert!(answer.contains(&format!("{line}\r\n")), "{args:?}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{args:?}: {answer}");
    }
    // A body that is too large is refused before it is sent, and the client says so.
    let large = format!("@{}", std::env::current_exe().expect("this is a file").display());
    let answer = curl(&["-i", "--data-binary", &large, "-H", "Expect: 100-continue", &one]);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // Several requests use one connection.
    let output = Command::new("curl")
        .args(["--silent", "--verbose", "--noproxy", "*", &list, &list, "-d", "1", &one])
        .output()
        .expect("curl starts");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        log.matches("* Connected to ").count() + log.matches("* Established").count(),
        1,
        "{log}"
    );
}

/// Sends a line over TLS, and returns what comes back.
fn s_client(address: &str, authority: &str, line: &str, more: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-connect", address])
        .args(["-CAfile", authority, "-servername", "localhost"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl starts");
    let mut input = client.stdin.take().expect("it is piped");
    writeln!(input, "{line}").expect("it reads");
    let mut answer = String::new();
    let mut output = BufReader::new(client.stdout.take().expect("it is piped"));
    output.read_line(&mut answer).expect("it is text");
    drop(input);
    client.wait().expect("it can be waited for");
    answer
}

#[test]
fn tls_greets_clients_and_reads_its_certificate_again() {
    if !testkit::has_peer("openssl") {
        return;
    }
    let files = testkit::authority::Files::new("tls-example");
    files.write("server", &files.issuer().server(&["localhost"]));
    files.write("client", &files.issuer().client("Ada"));
    let (authority, certificate) = (files.authority(), files.certificate("server"));
    let key = files.key("server");
    let (server, address) = Program::listening("tls", &[&certificate, &key, &authority]);
    assert_eq!(s_client(&address, &authority, "grow", &[]), "GROW\n");
    assert_eq!(s_client(&address, &authority, "hello", &[]), "HELLO\n");
    let own = ["-cert", &files.certificate("client"), "-key", &files.key("client")];
    assert_eq!(s_client(&address, &authority, "hello", &own), "HELLO CN=Ada\n");
    // A file that cannot be read changes nothing.
    let good = std::fs::read(&key).expect("it is there");
    std::fs::write(&key, "nonsense").expect("it is written");
    process::signal(server.child.id(), "HUP");
    assert!(server.line("the old certificate stays: ").contains("private key"));
    assert_eq!(s_client(&address, &authority, "grow", &[]), "GROW\n");
    // Another authority's certificate is used from then on.
    std::fs::write(&key, good).expect("it is written");
    let other = testkit::authority::Authority::new("Other Authority");
    files.write("server", &other.server(&["localhost"]));
    process::signal(server.child.id(), "HUP");
    server.line("the certificate was read again");
    assert_eq!(s_client(&address, &authority, "grow", &[]), "");
    std::fs::write(files.path("other.pem"), other.certificate()).expect("it is written");
    assert_eq!(s_client(&address, &files.path("other.pem"), "grow", &[]), "GROW\n");
}

#[test]
fn reconnect_connects_again_when_its_server_returns() {
    // At an address of its own, no other test takes the port while it is free.
    let [.., high, low] = std::process::id().to_be_bytes();
    let server = TcpListener::bind((Ipv4Addr::new(127, 77, high, low), 0)).expect("a port is free");
    let address = server.local_addr().expect("it is bound");
    let client = Program::start("reconnect", &[&address.to_string(), "10"]);
    let beats = |server: &TcpListener| {
        let (peer, _) = server.accept().expect("the client connects");
        peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
        let mut peer = BufReader::new(peer);
        for _ in 0..3 {
            assert_eq!(read_line(&mut peer), "still here\n");
        }
    };
    beats(&server);
    drop(server);
    client.line("the connection ended: ");
    // The pause doubles while connecting fails.
    client.line("connecting in 200ms");
    client.line("connecting in 400ms");
    let server = TcpListener::bind(address).expect("the port is still free");
    beats(&server);
}

#[test]
fn daemon_checks_files_and_stops_on_a_signal() {
    let folder = Folder::new("watched");
    let mut daemon = Program::start("daemon", &[folder.path().to_str().expect("it is text")]);
    daemon.line("watching ");
    for name in ["first", "-second"] {
        std::fs::write(folder.file(name), "123456789").expect("it is writable");
        // The checksum of these bytes (`cksum(1)`).
        assert_eq!(daemon.line("930766865 9 "), folder.file(name));
        assert_eq!(daemon.line("cksum ended: "), "exit status: 0");
    }
    assert_eq!(daemon.terminate().code(), Some(0));
}

#[test]
fn supervisor_restarts_what_ends_and_ends_what_runs() {
    let scripts = ["exit 3", "exec sleep 1000", "trap '' TERM; exec sleep 1000"];
    let mut supervisor = Program::start("supervisor", &scripts);
    let sleeping: Vec<u32> = ["program 1 runs as process ", "program 2 runs as process "]
        .map(|start| supervisor.line(start).parse().expect("it is a number"))
        .into();
    for pause in ["100ms", "200ms", "400ms"] {
        assert_eq!(supervisor.line("program 0 ended: "), "exit status: 3");
        assert_eq!(supervisor.line("program 0 starts again in "), pause);
    }
    wait_until("the last ignores the signal", || {
        let words = std::fs::read(format!("/proc/{}/cmdline", sleeping[1])).unwrap_or_default();
        words.starts_with(b"sleep")
    });
    // One that was killed is started again.
    process::signal(sleeping[0], "KILL");
    assert_eq!(supervisor.line("program 1 ended: "), "signal: 9 (SIGKILL)");
    let again: u32 = supervisor.line("program 1 runs as process ").parse().expect("a number");
    process::signal(supervisor.child.id(), "TERM");
    assert_eq!(supervisor.line("program 1 ended: "), "signal: 15 (SIGTERM)");
    // The last ignores that, so a second signal kills it.
    process::signal(supervisor.child.id(), "TERM");
    assert_eq!(supervisor.line("program 2 ended: "), "signal: 9 (SIGKILL)");
    supervisor.line("all programs have ended");
    assert_eq!(supervisor.child.wait().expect("it is a child").code(), Some(0));
    assert!(!process::runs(again) && !process::runs(sleeping[1]));
}

#[test]
fn total_adds_the_numbers_of_all_peers_and_stops_on_a_signal() {
    let (mut total, address) = Program::listening("total", &[]);
    assert_eq!(ask(&address, "2\n3\n"), "2\n5\n");
    assert_eq!(ask(&address, "10\n"), "15\n");
    assert_eq!(total.terminate().code(), Some(0));
}

#[test]
fn job_server_computes_beside_its_loop_and_stops_on_a_signal() {
    let (mut server, address) = Program::listening("job_server", &[]);
    let mut slow = BufReader::new(connect(&address));
    slow.get_mut().write_all(b"20000000\n100\nmany\n").expect("it is sent");
    // The loop answers others meanwhile.
    wait_until("the start of the first job", || {
        !ask(&address, "counts\n").ends_with(", 0 busy, 0 queued, 0 done\n")
    });
    // The numbers of primes are those of OEIS A006880.
    assert_eq!(read_line(&mut slow), "1270607\n");
    assert_eq!(read_line(&mut slow), "25\n");
    assert_eq!(read_line(&mut slow), "error: send a number up to 100000000\n");
    assert_eq!(ask(&address, "0\n1\n2\n3\n4\n"), "0\n0\n0\n1\n2\n");
    assert_eq!(server.terminate().code(), Some(0));
    server.line("7 jobs done, 0 cancelled");
}

#[test]
fn raw_fd_counts_the_bytes_of_a_pipe() {
    let mut example = Program::start("raw_fd", &[]);
    let code = example.child.wait().expect("it is a child").code();
    let line = example.next_line().expect("it prints a line");
    assert!(line.contains(" bytes came through the pipe"), "{line:?}");
    assert_eq!(code, Some(0));
}

#[test]
fn storm_finds_the_mistake_and_passes_without_it() {
    let mut example = Program::start("storm", &[]);
    let what = example.line("with the mistake: seed ");
    assert!(what.contains("panicked: assertion `left == right` failed"), "{what}");
    let needed = example.line("needed ");
    let count = needed.split(' ').next().and_then(|it| it.parse::<usize>().ok());
    assert!(count.is_some_and(|it| (1..4).contains(&it)), "{needed}");
    assert!(example.line("to see all of it: SIM_SEED=").contains("SIM_FAULTS="));
    example.line("the end of its trace:");
    assert!(example.line("without it: ").starts_with("100 runs, "));
    assert_eq!(example.child.wait().expect("it is a child").code(), Some(0));
}

#[test]
fn storm_runs_the_same_daemon_on_a_real_kernel() {
    let folder = Folder::new("storm");
    let path = folder.file("socket");
    let example = Program::start("storm", &[&format!("unix:{path}")]);
    example.line("listening on ");
    let mut peer = UnixStream::connect(path).expect("it listens");
    peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
    peer.write_all(b"hello\nseventeen letters\n").expect("it is sent");
    peer.shutdown(Shutdown::Write).expect("the stream ends");
    let mut answer = String::new();
    peer.read_to_string(&mut answer).expect("the answer is text and ends in order");
    assert_eq!(answer, "5\n17\n");
}

#[test]
fn every_example_has_a_test() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    for entry in std::fs::read_dir(folder).expect("the examples are there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            continue; // tests/twins checks those in coming_from, tests/io_models.rs those in io_models.
        }
        let name = path.file_stem().and_then(|it| it.to_str()).expect("it is text");
        assert!(include_str!("examples.rs").contains(&format!("(\"{name}\", ")), "{name}");
    }
}

#[test]
fn two_loops_answer_on_one_port() {
    let (_loops, address) = Program::listening("two_loops", &[]);
    let mut answers: Vec<String> = (0..64).map(|_| ask(&address, "which?\n")).collect();
    answers.sort_unstable();
    answers.dedup();
    assert_eq!(answers, ["loop 1\n", "loop 2\n"], "the kernel spreads connections over both");
}

#[test]
fn websocket_serves_a_page_and_passes_messages_on() {
    let (_example, address) = Program::listening("websocket", &[]);
    let page = ask(&address, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("new WebSocket"), "{page}");
    let join = || {
        let mut member = BufReader::new(connect(&address));
        let request = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        member.get_mut().write_all(request.as_bytes()).expect("it is sent");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push_str(&read_line(&mut member));
        }
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        member
    };
    let mut members = [join(), join()];
    // "Hello" as in RFC 6455 section 5.7, and a ping: its pong shows that both have joined.
    for member in &mut members {
        member.get_mut().write_all(b"\x89\x80\0\0\0\0").expect("it is sent");
        let mut pong = [0; 2];
        member.read_exact(&mut pong).expect("it comes");
        assert_eq!(pong, *b"\x8a\x00");
    }
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    members[0].get_mut().write_all(hello).expect("it is sent");
    for member in &mut members {
        let mut frame = [0; 7];
        member.read_exact(&mut frame).expect("it comes");
        assert_eq!(frame, *b"\x81\x05Hello");
    }
}
