//! The tool `ws`: against a server of the tests, and those of Python and Node.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use testkit::authority::Files;
use testkit::process;
use testkit::websocket::{Listening, NODE_ECHO, PYTHON_ECHO, node, python};

use super::common::tools::{Tool, script};
use super::peer::{Peer, cut, read_request, status};
use super::proxies::Proxy;
use super::socket::Socket;

const WS: &str = env!("CARGO_BIN_EXE_ws");

/// Returns a command that the environment of the tests does not change.
fn command<T: AsRef<str>>(args: &[T]) -> Command {
    let mut command = Command::new(WS);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.args(args.iter().map(AsRef::as_ref)).env_remove("REACTOR_BACKEND");
    command
}

fn ws<T: AsRef<str>>(args: &[T], input: &[u8]) -> Output {
    process::run(&mut command(args), input)
}

/// Runs it and checks that it succeeds without a message. Returns what it has printed.
fn said<T: AsRef<str>>(args: &[T], input: &[u8]) -> Vec<u8> {
    let output = ws(args, input);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    output.stdout
}

/// Runs it and checks that it fails with this code, and one message, which contains `hint`.
#[track_caller]
fn failed<T: AsRef<str>>(args: &[T], input: &[u8], code: i32, hint: &str) -> Output {
    let output = ws(args, input);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{hint}: {message}");
    assert!(message.contains(hint) && message.lines().count() == 1, "{hint}: {message}");
    output
}

#[test]
fn lines_are_messages_on_every_backend() {
    let server = Socket::start();
    for backend in reactor::BackendKind::ALL {
        let mut ws = command(&[server.url()]);
        let output =
            process::run(ws.env("REACTOR_BACKEND", backend.name()), "one\n\nzwei ä".as_bytes());
        assert_eq!(output.stdout, "one\n\nzwei ä\n".as_bytes(), "{backend}: {output:?}");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn one_message_is_sent_and_one_is_awaited() {
    let server = Socket::start();
    let asked = [&server.url(), "-m", "count 3", "-n", "2"];
    // Of the three that come, two are wanted.
    assert_eq!(said(&asked, b""), b"1\n2\n");
    let output = ws(&[&server.url(), "-v", "-m", "ping", "-n", "1", "--protocol", "v1"], b"");
    assert_eq!(output.stdout, b"pong are you there?\n");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("connected, v1"), "{told}");
}

#[test]
fn a_file_that_is_larger_than_all_queues_comes_back_whole() {
    let server = Socket::start();
    // Lines of all lengths, the last of which is many times what the queue holds.
    let mut text: Vec<u8> =
        (0..400).map(|it| "aä€\u{1f600}".repeat(it) + "\n").collect::<String>().into();
    text.extend("ä€x".repeat(500_000).into_bytes());
    text.push(b'\n');
    let quiet = ["--quiet", "10", "-n", "401"];
    let url = server.url();
    let args = [&[url.as_str()], &quiet[..]].concat();
    assert!(said(&args, &text) == text, "lines come back");
    let whole = [&server.url(), "--whole", "-n", "1"];
    assert!(said(&whole, &text) == [&text[..], b"\n"].concat(), "one message comes back");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|it| (it / 3) as u8).collect();
    assert!(said(&[&server.url(), "--binary", "--whole", "-n", "1"], &bytes) == bytes);
    assert!(said(&[&server.url(), "--binary", "--compress"], &bytes) == bytes);
}

#[test]
fn compression_and_subprotocols_are_agreed_on() {
    let server = Socket::start();
    let args = [&server.url(), "-m", "protocol", "-n", "1"];
    assert_eq!(said(&args, b""), b"none false\n");
    let more = ["--compress", "--protocol", "v1", "--protocol", "v2"];
    assert_eq!(said(&[&args[..], &more].concat(), b""), b"v2 true\n");
}

#[test]
fn input_that_is_no_text_is_refused() {
    let server = Socket::start();
    let output = failed(&[server.url()], b"text\n\xff\n", 26, "use --binary");
    // What came before it was sent. Its answer may come too late.
    assert!(output.stdout.is_empty() || output.stdout == b"text\n", "{output:?}");
    assert_eq!(said(&[&server.url(), "-b"], b"\xff\x00\n"), b"\xff\x00\n");
    assert_eq!(said(&[&server.url(), "-m", "noise", "-n", "1"], b""), b"\x00\x01\xff\n");
}

#[test]
fn the_way_a_server_ends_determines_the_exit_code() {
    let server = Socket::start();
    let url = server.url();
    let peer = url.trim_end_matches("/echo?x=1");
    for (line, code, hint) in [
        ("close 1011 out of order", 1, "closes with 1011 (internal error): out of order"),
        ("close 4321 \u{1b}[2J", 1, "closes with 4321: \\u{1b}[2J"),
        ("vanish", 56, "without a close frame"),
    ] {
        let output = failed(&[&url, "--stay"], format!("{line}\n").as_bytes(), code, hint);
        assert!(String::from_utf8_lossy(&output.stderr).contains(peer), "{output:?}");
    }
    assert_eq!(said(&[&url, "--stay"], b"close 1000 done\n"), b"");
    assert_eq!(said(&[&url, "--stay"], b"close 1001 \n"), b"");
    let output = ws(&[&url, "-v", "--stay"], b"close 1000 done\n");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("closes with 1000 (normal): done"), "{told}");
    failed(&[&url, "-n", "3"], b"x\nclose 1000 \n", 52, "2 messages are missing");
    let large = ["--message-size-max", "10"];
    let args = [&[url.as_str()], &large[..]].concat();
    failed(&args, b"0123456789\n0123456789x\n", 63, "--message-size-max");
}

#[test]
fn limits_of_time_hold() {
    let server = Socket::start();
    let begun = Instant::now();
    failed(&[&server.url(), "--stay", "--max-time", "0.2"], b"", 28, "--max-time");
    assert!(begun.elapsed() >= Duration::from_millis(200));
    // A server that accepts and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("ws://{}", silent.local_addr().expect("it has an address"));
    failed(&[&url, "--connect-timeout", "0.2"], b"", 28, "did not answer in time");
    // One that changes to WebSocket, and reads without an answer to a ping.
    let url = format!("ws://{}", deaf());
    let pings = ["--stay", "--ping-interval", "0.05", "--pong-timeout", "0.2"];
    failed(&[&[url.as_str()], &pings[..]].concat(), b"", 28, "does not answer");
    // One that does not answer the close frame may not have read the messages before it.
    let url = format!("ws://{}", deaf());
    failed(&[&url, "--quiet", "0.05"], b"lost\n", 28, "did not answer the close frame");
}

/// Starts a server for one connection, which changes to WebSocket and then only reads.
fn deaf() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        let (mut writer, _) = listener.accept().expect("it connects");
        let mut reader = BufReader::new(writer.try_clone().expect("it can be shared"));
        let asked = read_request(&mut reader, &mut writer).expect("it asks");
        assert_eq!(asked.field("user-agent"), Some(concat!("ws/", env!("CARGO_PKG_VERSION"))));
        let key = asked.field("sec-websocket-key").expect("it is a WebSocket");
        writer.write_all(agree(key).as_bytes()).expect("it reads");
        // The client ends it.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    address
}

/// Returns an answer to a key, which is that of RFC 6455 if the key is.
fn agree(key: &str) -> String {
    let mut lines = Command::new("openssl");
    lines.args(["dgst", "-sha1", "-binary"]);
    let joined = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = process::run(&mut lines, joined.as_bytes()).stdout;
    let accept = process::run(Command::new("openssl").args(["base64"]), &digest).stdout;
    let accept = String::from_utf8_lossy(&accept);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept.trim()
    )
}

#[test]
fn a_server_that_refuses_is_told_from_one_that_is_not_there() {
    let refusing = Peer::start(|asked| {
        assert_eq!(asked.field("origin"), Some("https://page.example"));
        assert_eq!(asked.field("authorization"), Some("Basic dXNlcjp3b3Jk"));
        match asked.target() {
            "/403" => status("403 Forbidden", ""),
            "/302" => status("302 Found", "Location: /\r\n"),
            "/200" => status("200 OK", ""),
            "/key" => cut(&agree("of another connection")),
            _ => cut(""),
        }
    });
    let url = |path: &str| format!("ws://user:word@{}{path}", refusing.address);
    for (path, code, hint) in [
        ("/403", 22, "answered 403 instead of 101"),
        ("/302", 22, "answered 302 instead of 101"),
        ("/200", 22, "answered 200 instead of 101"),
        ("/key", 8, "Sec-WebSocket-Accept"),
        ("/end", 52, "before it answered"),
    ] {
        let output = failed(&[&url(path), "--origin", "https://page.example"], b"x\n", code, hint);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("word"), "{output:?}");
    }
    let nothing = testkit::refusing_address().to_string();
    failed(&[&nothing], b"", 7, "nothing listens there");
    failed(&["ws://no-such-name.invalid/"], b"", 6, "no-such-name.invalid");
    for (args, hint) in [
        (&["ftp://one.example"][..], "the scheme ftp is not supported"),
        (&["ws://"], "this is no URL"),
        (&["ws://one.example", "-H", "Upgrade: x"], "cannot be set by hand"),
        (&["ws://one.example", "--proxy", "ftp://p"], "no address of a proxy"),
    ] {
        failed(args, b"", 2, hint);
    }
}

#[test]
fn a_terminal_is_protected_and_ctrl_c_closes() {
    if !testkit::has_peer("script") {
        return;
    }
    let server = Socket::start();
    // The shell lives on after Ctrl-C, to print the code.
    let line = format!("trap : INT; {WS} {}; echo code $?", server.url());
    let start = || Tool::start(&mut script(&line));
    let mut tool = start();
    tool.wait_for("connected");
    tool.type_in("hello\n");
    // The terminal echoes what is typed before the message comes back.
    tool.wait_for("hello\r\nhello\r\n");
    tool.type_in("noise\n");
    tool.wait_for("(binary) \\x00\\x01\\xff\r\n");
    tool.type_in("\x03");
    tool.wait_for("code 130");
    tool.end();
    let mut tool = start();
    tool.wait_for("connected");
    tool.type_in("\x04");
    tool.wait_for("code 0");
    tool.end();
}

#[test]
fn a_signal_ends_it_while_it_connects_too() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("ws://{}", silent.local_addr().expect("it has an address"));
    let mut child =
        command(&[&url]).stdin(std::process::Stdio::piped()).spawn().expect("it starts");
    // It has connected, and waits for an answer.
    let _peer = silent.accept().expect("it connects");
    process::signal(child.id(), "INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}

#[test]
fn a_closed_output_ends_it_without_a_message() {
    let server = Socket::start();
    let line = format!("yes | {WS} {} | head -1; echo ${{PIPESTATUS[1]}}", server.url());
    let output = Command::new("bash").args(["-c", &line]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\n141\n", "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// Talks to an echo of another program.
fn talk(url: &str, more: &[&str]) {
    let args = |own: &[&str]| -> Vec<String> {
        [&[url], own, more].concat().into_iter().map(str::to_owned).collect()
    };
    let text = "zwölf\n".repeat(1000) + &"ä".repeat(400_000) + "\n";
    for own in [&["-n", "1001"][..], &["-n", "1001", "--compress"]] {
        assert!(said(&args(own), text.as_bytes()) == text.as_bytes(), "{url} {own:?}");
    }
    let bytes: Vec<u8> = (0..700_000_u32).map(|it| (it / 7) as u8).collect();
    assert!(said(&args(&["--binary"]), &bytes) == bytes, "{url}");
    failed(&args(&["--stay"]), b"close 4001 go away\n", 1, "closes with 4001: go away");
    assert_eq!(said(&args(&["--stay"]), b"close 1000 bye\n"), b"");
}

#[test]
fn servers_of_python_and_node_are_understood() {
    if let Some(mut python) = python(PYTHON_ECHO, &["{}"]) {
        let peer = Listening::start(&mut python);
        talk(&format!("ws://{}/", peer.address), &[]);
    }
    if let Some(mut node) = node(NODE_ECHO, &["{\"threshold\": 0}"]) {
        let peer = Listening::start(&mut node);
        talk(&format!("ws://{}/", peer.address), &[]);
    }
}

#[test]
fn proxies_are_asked_for_a_tunnel() {
    let server = Socket::start();
    let url = server.url().replace("127.0.0.1", "name.test");
    let host = url.trim_start_matches("ws://").trim_end_matches("/echo?x=1");
    let proxy = Proxy::start();
    for scheme in ["http", "socks5"] {
        let address = format!("{scheme}://{}", proxy.address);
        assert_eq!(said(&[&url, "-n", "1", "-x", &address], b"hello\n"), b"hello\n", "{scheme}");
    }
    // The environment names one too. HTTP would send it a request of http, and this has a tunnel.
    let mut ws = command(&[&url, "-n", "1"]);
    let output = process::run(ws.env("http_proxy", proxy.address.to_string()), b"x\n");
    assert_eq!(output.stdout, b"x\n", "{output:?}");
    assert_eq!(proxy.asked(), [host; 3]);
    let nothing = testkit::refusing_address().to_string();
    failed(&[&url, "-x", &nothing], b"", 7, "nothing listens there");
}

#[test]
fn encrypted_connections_check_the_certificate() {
    let files = Files::new("ws-tls");
    files.write("server", &files.issuer().server(&["one.example"]));
    let arguments = ["null", &files.certificate("server"), &files.key("server")];
    let Some(mut python) = python(PYTHON_ECHO, &arguments) else { return };
    let peer = Listening::start(&mut python);
    let port = peer.address.rsplit(':').next().expect("it has a port");
    let (url, resolve) =
        (format!("wss://one.example:{port}/"), format!("one.example:{port}:127.0.0.1"));
    let authority = files.authority();
    talk(&url, &["--resolve", &resolve, "--ca", &authority]);
    failed(&[&url, "--resolve", &resolve], b"x\n", 60, "one.example");
    let by_address = format!("wss://{}/", peer.address);
    failed(&[&by_address, "--ca", &authority], b"x\n", 60, "127.0.0.1");
    let server = Socket::start();
    let plain = server.url().replace("ws://", "wss://");
    failed(&[&plain, "--ca", &authority], b"x\n", 35, "wss://127.0.0.1");
}
