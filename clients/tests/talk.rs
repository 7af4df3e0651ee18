//! `talk` as a user runs it, against an echo server in the same process.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use common::Server;
use reactor::BackendKind;

const TALK: &str = env!("CARGO_BIN_EXE_talk");

fn talk(address: &str, backend: &str, input: Stdio) -> Output {
    Command::new(TALK)
        .arg(address)
        .env("REACTOR_BACKEND", backend)
        .stdin(input)
        .output()
        .expect("it runs")
}

#[test]
fn what_is_piped_in_comes_back_whole_on_every_backend() {
    let server = Server::start();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|place| (place / 3) as u8).collect();
    for backend in BackendKind::ALL {
        let mut child = Command::new(TALK)
            .arg(&server.address)
            .env("REACTOR_BACKEND", backend.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("its input is piped");
        let mut stdout = child.stdout.take().expect("its output is piped");
        std::thread::scope(|scope| {
            let sent = &sent;
            scope.spawn(move || stdin.write_all(sent).expect("it reads"));
            let mut back = Vec::new();
            stdout.read_to_end(&mut back).expect("it prints");
            assert!(back == *sent, "{backend}: {} bytes came back, or others", back.len());
        });
        assert!(child.wait().expect("it ends").success());
    }
}

#[test]
fn files_and_dev_null_are_standard_inputs_too() {
    let server = Server::start();
    let path = std::env::temp_dir().join(format!("reactor-talk-{}", std::process::id()));
    std::fs::write(&path, "from a file\n").expect("the folder is writable");
    for backend in BackendKind::ALL {
        let file = File::open(&path).expect("it was just written");
        let output = talk(&server.address, backend.name(), file.into());
        assert_eq!(output.stdout, b"from a file\n", "{backend}: {output:?}");
        let output = talk(&server.address, backend.name(), Stdio::null());
        assert!(output.status.success() && output.stdout.is_empty(), "{backend}: {output:?}");
    }
    std::fs::remove_file(&path).expect("it can be removed");
}

#[test]
fn failures_are_one_sentence_and_exit_with_one() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let refused = free.local_addr().expect("it has an address").to_string();
    drop(free);
    for (address, hint) in [
        (refused.as_str(), "nothing listens there"),
        ("unix:/nowhere/x.sock", "no such socket"),
        ("no-such-host.invalid:80", "unknown name"),
        ("127.0.0.1:70000", "0 to 65535"),
    ] {
        let output = talk(address, "epoll", Stdio::null());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(hint) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_terminal_is_a_standard_input_too() {
    if !testkit::has_peer("script") {
        return;
    }
    let server = Server::start();
    for backend in BackendKind::ALL {
        let mut child = Command::new("script")
            .args(["-qec", &format!("{TALK} {}", server.address), "/dev/null"])
            .env("REACTOR_BACKEND", backend.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut keyboard = child.stdin.take().expect("its input is piped");
        let mut screen = child.stdout.take().expect("its output is piped");
        keyboard.write_all(b"typed\n").expect("it reads");
        // Once by the terminal, which echoes what is typed, and once by the server.
        let mut shown = Vec::new();
        while shown.windows(5).filter(|word| *word == b"typed").count() < 2 {
            let mut some = [0; 100];
            let count = screen.read(&mut some).expect("it shows something");
            assert!(count > 0, "{backend}: it ended: {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&some[..count]);
        }
        // What a terminal makes an end of input of.
        keyboard.write_all(&[4]).expect("it reads");
        assert!(child.wait().expect("it ends").success(), "{backend}");
    }
}

#[test]
fn a_standard_output_that_is_closed_ends_it_silently() {
    let server = Server::start();
    for backend in BackendKind::ALL {
        let mut child = Command::new(TALK)
            .arg(&server.address)
            .env("REACTOR_BACKEND", backend.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("its input is piped");
        let mut stdout = child.stdout.take().expect("its output is piped");
        // More than any pipe holds, until it reads no more.
        let typing = std::thread::spawn(move || while stdin.write_all(&[b'y'; 4096]).is_ok() {});
        stdout.read_exact(&mut [0; 100]).expect("it prints");
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        typing.join().expect("it does not panic");
        assert!(output.stderr.is_empty(), "{backend}: {output:?}");
        assert_eq!(output.status.code(), Some(141), "{backend}");
    }
}

#[test]
fn a_standard_input_or_output_that_fails_is_named_without_a_peer() {
    let server = Server::start();
    for backend in BackendKind::ALL {
        let run = |input: &str, output: &str| {
            let mut child = Command::new(TALK)
                .arg(&server.address)
                .env("REACTOR_BACKEND", backend.name())
                .stdin(File::open(input).expect("it is there"))
                .stdout(File::options().write(true).open(output).expect("it is there"))
                .stderr(Stdio::piped())
                .spawn()
                .expect("it starts");
            let mut told = String::new();
            let mut stderr = child.stderr.take().expect("it is piped");
            stderr.read_to_string(&mut told).expect("it is text");
            assert_eq!(child.wait().expect("it ends").code(), Some(1), "{backend}: {told}");
            assert!(!told.contains("peer") && told.lines().count() == 1, "{backend}: {told}");
            told
        };
        let told = run("/proc/self/status", "/dev/full");
        assert!(told.starts_with("talk: standard output: No space left"), "{backend}: {told}");
        let told = run("/", "/dev/null");
        assert!(told.starts_with("talk: standard input: Is a directory"), "{backend}: {told}");
    }
}
