//! TLS at the servers, with OpenSSL as the client.

#[path = "../common/mod.rs"]
mod common;
mod costs;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::Daemon;
use testkit::authority::{Authority, Issued};
use testkit::has_peer;

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const UPPERCASE: &str = env!("CARGO_BIN_EXE_uppercase");
const BACKENDS: [&str; 5] = ["epoll", "epoll-lt", "poll", "select", "uring"];

/// The files of an authority, and what the tests do with them.
struct Files(testkit::authority::Files);

impl Files {
    fn new(name: &str) -> Self {
        Self(testkit::authority::Files::new(name))
    }

    fn path(&self, name: &str) -> String {
        self.0.path(name)
    }

    fn write(&self, name: &str, issued: &Issued) {
        self.0.write(name, issued);
    }

    /// Writes a certificate for a server.
    fn issue(&self, name: &str, names: &[&str]) {
        self.write(name, &self.0.issuer().server(names));
    }

    /// Starts a server with the certificates of these names.
    fn start(&self, program: &str, names: &[&str], more: &[&str]) -> Daemon {
        let mut args = vec!["--listen".to_owned(), "tls://127.0.0.1:0".to_owned()];
        for name in names {
            args.extend(["--cert".to_owned(), self.path(&format!("{name}.pem"))]);
            args.extend(["--key".to_owned(), self.path(&format!("{name}.key"))]);
        }
        args.extend(more.iter().map(|it| (*it).to_owned()));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Daemon::start(&[], program, &args)
    }

    /// Starts `openssl s_client`, which fails unless the certificate has this name.
    fn client(&self, server: &Daemon, name: &str, more: &[&str]) -> Client {
        let address = server.addresses[0].strip_prefix("tls://").expect("it is encrypted");
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", address, "-servername", name]);
        command.args(["-verify_hostname", name, "-verify_return_error"]);
        command.args(["-CAfile", &self.path("ca.pem")]).args(more);
        Client(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("openssl starts"),
        )
    }

    /// Exchanges a line with a server. Returns the answer; nothing if there is no connection.
    fn ask(&self, server: &Daemon, name: &str, more: &[&str], line: &str) -> String {
        let more: Vec<&str> = ["-quiet"].into_iter().chain(more.iter().copied()).collect();
        self.client(server, name, &more).ask(line)
    }
}

/// A running `openssl s_client`. It is killed on drop, without an end of its stream.
struct Client(Child);

impl Client {
    fn ask(&mut self, line: &str) -> String {
        // If the handshake fails, it does not read.
        let _ = self.0.stdin.as_mut().expect("it is piped").write_all(line.as_bytes());
        let mut answer = String::new();
        let stdout = self.0.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut answer).expect("it is text");
        answer
    }

    /// Waits until the server ends the connection. Returns the exit code and what it reported.
    fn wait(mut self) -> (Option<i32>, String) {
        let mut errors = String::new();
        let stderr = self.0.stderr.as_mut().expect("it is piped");
        std::io::Read::read_to_string(stderr, &mut errors).expect("it is text");
        (self.0.wait().expect("it ends").code(), errors)
    }

    /// Closes its input, at which it ends the connection, and returns what it printed.
    fn finish(mut self) -> String {
        drop(self.0.stdin.take());
        let mut text = String::new();
        let stdout = self.0.stdout.take().expect("it is piped");
        std::io::Read::read_to_string(&mut BufReader::new(stdout), &mut text).expect("it is text");
        self.0.wait().expect("it ends");
        text
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn openssl_speaks_each_version_on_every_backend() {
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-versions");
    files.issue("one", &["one.example"]);
    for backend in BACKENDS {
        let server = files.start(UPPERCASE, &["one"], &["--backend", backend]);
        for version in ["-tls1_2", "-tls1_3"] {
            assert_eq!(files.ask(&server, "one.example", &[version], "hello\n"), "HELLO\n");
        }
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
    }
    let server = files.start(UPPERCASE, &["one"], &["--tls-min", "1.3"]);
    assert_eq!(files.ask(&server, "one.example", &["-tls1_2"], "hello\n"), "");
    assert_eq!(files.ask(&server, "one.example", &["-tls1_3"], "hello\n"), "HELLO\n");
}

#[test]
fn the_name_chooses_the_certificate_and_a_signal_reads_them_again() {
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-names");
    files.issue("one", &["one.example"]);
    files.issue("two", &["*.two.example"]);
    let server = files.start(ECHO, &["one", "two"], &[]);
    let ask = |name| files.ask(&server, name, &[], "hello\n");
    assert_eq!(ask("one.example"), "hello\n");
    assert_eq!(ask("a.two.example"), "hello\n");
    assert_eq!(ask("new.example"), "");
    let mut old = files.client(&server, "one.example", &["-quiet"]);
    assert_eq!(old.ask("before\n"), "before\n");

    files.issue("one", &["new.example"]);
    server.signal("HUP");
    testkit::wait_until("the certificates are read", || server.log().contains("read again"));
    assert_eq!(ask("new.example"), "hello\n");
    assert_eq!(ask("one.example"), "");
    assert_eq!(old.ask("after\n"), "after\n");

    // What cannot be used changes nothing.
    fs::write(files.path("one.key"), "rubbish").expect("it is written");
    server.signal("HUP");
    testkit::wait_until("the error is logged", || server.log().contains("one.key"));
    assert!(server.log().contains("the certificates stay as they are"), "{}", server.log());

    // A pipe that nothing writes to does not stop the server.
    fs::remove_file(files.path("one.key")).expect("it is there");
    let mode = nix::sys::stat::Mode::S_IRUSR;
    nix::unistd::mkfifo(files.path("one.key").as_str(), mode).expect("it is made");
    server.signal("HUP");
    testkit::wait_until("the error is logged", || server.log().contains("is no regular file"));
    assert_eq!(ask("new.example"), "hello\n");
    assert_eq!(ask("new.example"), "hello\n");
}

#[test]
fn sessions_are_resumed() {
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-sessions");
    files.issue("one", &["one.example"]);
    let server = files.start(ECHO, &["one"], &[]);
    for version in ["-tls1_2", "-tls1_3"] {
        let session = files.path(&format!("session{version}"));
        let mut client = files.client(
            &server,
            "one.example",
            &[version, "-quiet", "-no_ign_eof", "-sess_out", &session],
        );
        // Tickets of TLS 1.3 come after the handshake.
        assert_eq!(client.ask("hello\n"), "hello\n");
        client.finish();
        let text = files.client(&server, "one.example", &[version, "-sess_in", &session]).finish();
        assert!(text.contains("Reused, TLSv1."), "{version}: {text}");
    }
}

#[test]
fn openssl_reconnects_with_its_session() {
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-reconnect");
    files.issue("one", &["one.example"]);
    let server = files.start(ECHO, &["one"], &[]);
    // Without tickets, the server remembers the session by its number.
    for more in [&[][..], &["-no_ticket"]] {
        let args = [&["-tls1_2", "-reconnect"], more].concat();
        let text = files.client(&server, "one.example", &args).finish();
        assert_eq!(text.matches("Reused, TLSv1.2").count(), 5, "{more:?}: {text}");
    }
}

#[test]
fn silent_clients_are_closed_in_order_on_every_backend() {
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-silent");
    files.issue("one", &["one.example"]);
    for backend in BACKENDS {
        for stops in [false, true] {
            let limit = if stops { "60s" } else { "200ms" };
            let args = ["--backend", backend, "--idle-timeout", limit];
            let server = files.start(UPPERCASE, &["one"], &args);
            let mut client = files.client(&server, "one.example", &["-quiet"]);
            assert_eq!(client.ask("hello\n"), "HELLO\n", "{backend}");
            if stops {
                server.signal("TERM");
            }
            // It fails if the stream ends without close_notify.
            let (code, errors) = client.wait();
            assert_eq!(code, Some(0), "{backend}, {stops}: {errors}");
            assert!(!errors.contains("unexpected eof"), "{backend}, {stops}: {errors}");
        }
    }
}

#[test]
fn records_of_any_size_pass_both_ways() {
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-records");
    files.issue("one", &["one.example"]);
    let server = files.start(UPPERCASE, &["one"], &[]);
    let said: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    for version in ["-tls1_2", "-tls1_3"] {
        for size in ["512", "1000", "16384"] {
            let args = [version, "-quiet", "-max_send_frag", size];
            let mut client = files.client(&server, "one.example", &args);
            let mut stdin = client.0.stdin.take().expect("it is piped");
            let mut heard = vec![0; said.len()];
            std::thread::scope(|scope| {
                scope.spawn(|| stdin.write_all(said.as_bytes()).expect("it reads"));
                let stdout = client.0.stdout.as_mut().expect("it is piped");
                std::io::Read::read_exact(stdout, &mut heard).expect("everything comes back");
            });
            assert!(heard == said.to_uppercase().as_bytes(), "{version} {size}");
        }
    }
}

#[test]
fn certificates_are_replaced_under_load_without_a_failed_handshake() {
    const TIMES: usize = 15;
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-replace");
    files.issue("one", &["one.example"]);
    let server = files.start(ECHO, &["one"], &[]);
    let is_over = AtomicBool::new(false);
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for version in ["-tls1_2", "-tls1_3"] {
            let (files, server, is_over, asked) = (&files, &server, &is_over, &asked);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(files.ask(server, "one.example", &[version], "hello\n"), "hello\n");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for time in 1..=TIMES {
            files.issue("one", &["one.example"]);
            server.signal("HUP");
            let read = || server.log().matches("read again").count();
            testkit::wait_until("the certificates are read", || read() == time);
            let before = asked.load(Ordering::Relaxed);
            testkit::wait_until("a handshake", || asked.load(Ordering::Relaxed) > before);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(asked.into_inner() >= TIMES);
}

#[test]
fn clients_show_certificates_if_they_have_to() {
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-clients");
    files.issue("one", &["one.example"]);
    files.write("client", &files.0.issuer().client("client"));
    files.write("stranger", &Authority::new("Other Authority").client("stranger"));
    let ca = files.path("ca.pem");
    for version in ["-tls1_2", "-tls1_3"] {
        let server = files.start(ECHO, &["one"], &["--client-ca", &ca]);
        let ask = |name: &str| {
            let (cert, key) =
                (files.path(&format!("{name}.pem")), files.path(&format!("{name}.key")));
            let args = [version, "-cert", &cert, "-key", &key];
            files.ask(
                &server,
                "one.example",
                if name.is_empty() { &args[..1] } else { &args },
                "hi\n",
            )
        };
        assert_eq!(ask("client"), "hi\n");
        assert_eq!(ask("stranger"), "");
        assert_eq!(ask(""), "");
    }
    let server = files.start(ECHO, &["one"], &["--client-ca", &ca, "--client-auth", "optional"]);
    assert_eq!(files.ask(&server, "one.example", &[], "hi\n"), "hi\n");
}

#[test]
fn clients_that_break_off_or_speak_otherwise_harm_no_other() {
    if !has_peer("openssl") {
        return;
    }
    let files = Files::new("tls-ends");
    files.issue("one", &["one.example"]);
    let server = files.start(ECHO, &["one"], &[]);
    let address = server.addresses[0].strip_prefix("tls://").expect("it is encrypted").to_owned();
    let mut steady = files.client(&server, "one.example", &["-quiet"]);
    assert_eq!(steady.ask("one\n"), "one\n");
    for round in 0..5 {
        // Without close_notify, and without TLS.
        drop(files.client(&server, "one.example", &["-quiet"]));
        // And within the first record, which is then not answered.
        let mut hello = TcpStream::connect(&address).expect("it accepts");
        hello.write_all(&[22, 3, 1, 2, 0, 1, 0]).expect("it takes them");
        hello.shutdown(Shutdown::Write).expect("it is connected");
        std::io::Read::read_to_end(&mut hello, &mut Vec::new()).expect("it ends");
        let mut plain = TcpStream::connect(&address).expect("it accepts");
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it takes them");
        let mut alert = Vec::new();
        std::io::Read::read_to_end(&mut plain, &mut alert).expect("it ends");
        assert_eq!(alert.first(), Some(&21), "an alert: {alert:?}");
        assert_eq!(steady.ask(&format!("{round}\n")), format!("{round}\n"));
    }
    testkit::wait_until("the others are closed", || server.counters()["connections"] == 1);
}

#[test]
fn what_is_wrong_with_certificates_is_said_at_the_start() {
    let files = Files::new("tls-errors");
    files.issue("one", &["one.example"]);
    files.issue("two", &["two.example"]);
    let path = |name: &str| files.path(name);
    let start = |args: &[&str]| {
        let output = Command::new(ECHO).args(args).output().expect("it starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("it is text"))
    };
    let (one, two) = (path("one.pem"), path("two.key"));
    let listen = ["--listen", "tls://127.0.0.1:0"];
    for (args, parts) in [
        (vec![], ["tls://127.0.0.1:0 needs a certificate", "--cert"]),
        (vec!["--cert", "/nonexistent.pem"], ["/nonexistent.pem", "No such file"]),
        (vec!["--cert", &one], ["one.pem: TLS: there is no private key", "--key names"]),
        (vec!["--cert", "/dev/zero"], ["/dev/zero", "more than 16 MiB"]),
        (vec!["--cert", &one, "--key", &two], ["two.key", "does not belong"]),
        (vec!["--cert", &one, "--cert", &one, "--key", &two], ["2 files", "not 1"]),
    ] {
        let all: Vec<&str> = listen.into_iter().chain(args).collect();
        let (code, text) = start(&all);
        assert_eq!(code, Some(1), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} in {text}");
    }
    let (code, text) = start(&["--listen", "tls://127.0.0.1:0", "--key", &two]);
    assert_eq!(code, Some(2), "{text}");
}
