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
fn piped_input_comes_back_whole_on_every_backend() {
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
            assert!(back == *sent, "{backend}: {} bytes came back, or different ones", back.len());
        });
        assert!(child.wait().expect("it ends").success());
    }
}

#[test]
fn files_and_dev_null_work_as_standard_input() {
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
fn failures_print_one_sentence_and_exit_with_1() {
    let refused = testkit::refusing_address().to_string();
    for (address, hint) in [
        (refused.as_str(), "nothing listens there"),
        ("unix:/nowhere/x.sock", "no such socket"),
        ("no-such-host.invalid:80", "unknown name"),
        ("127.0.0.1:70000", "0 to 65535"),
    ] {
        let output = talk(address, "epoll", Stdio::null());
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(hint) && message.lines().count() == 1, "{message}");
    }
}

#[test]
fn a_terminal_works_as_standard_input() {
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
        // The terminal echoes the text once, and the server once more.
        let mut shown = Vec::new();
        while shown.windows(5).filter(|word| *word == b"typed").count() < 2 {
            let mut some = [0; 100];
            let count = screen.read(&mut some).expect("it shows something");
            assert!(count > 0, "{backend}: it ended: {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&some[..count]);
        }
        // Ctrl-D, which a terminal turns into an end of input.
        keyboard.write_all(&[4]).expect("it reads");
        assert!(child.wait().expect("it ends").success(), "{backend}");
    }
}

#[test]
fn a_closed_standard_output_ends_talk_silently() {
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
        // More than any pipe holds.
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
fn failures_of_standard_input_and_output_are_named() {
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
            let mut message = String::new();
            let mut stderr = child.stderr.take().expect("it is piped");
            stderr.read_to_string(&mut message).expect("it is text");
            assert_eq!(child.wait().expect("it ends").code(), Some(1), "{backend}: {message}");
            assert!(
                !message.contains("peer") && message.lines().count() == 1,
                "{backend}: {message}"
            );
            message
        };
        let message = run("/proc/self/status", "/dev/full");
        assert!(
            message.starts_with("talk: standard output: No space left"),
            "{backend}: {message}"
        );
        let message = run("/", "/dev/null");
        assert!(
            message.starts_with("talk: standard input: Is a directory"),
            "{backend}: {message}"
        );
    }
}
