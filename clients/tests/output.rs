//! Tools whose standard output or input fails: each names it, and none panics.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use common::Server;

const TALK: &str = env!("CARGO_BIN_EXE_talk");
const LOAD: &str = env!("CARGO_BIN_EXE_load");
const KV_CLI: &str = env!("CARGO_BIN_EXE_kv-cli");

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("it is there")
}

/// Runs a tool whose standard output is full. Returns its exit code and standard error.
fn fill(tool: &str, args: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(tool)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(full())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut keyboard = child.stdin.take().expect("its input is piped");
    // The tool may exit without reading.
    let _ = keyboard.write_all(input.as_bytes());
    drop(keyboard);
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_failure_to_print_help_is_reported() {
    for (name, tool) in [("talk", TALK), ("load", LOAD), ("kv-cli", KV_CLI)] {
        for option in ["--help", "--version"] {
            let (code, errors) = fill(tool, &[option], "");
            assert_eq!(code, Some(1), "{name} {option}");
            let expected = format!("{name}: standard output: No space left on device");
            assert!(errors.starts_with(&expected) && errors.lines().count() == 1, "{errors}");
        }
        let (reader, writer) = std::io::pipe().expect("descriptors are free");
        drop(reader);
        let output = Command::new(tool).arg("--help").stdout(writer).stderr(Stdio::piped()).spawn();
        let output = output.expect("it starts").wait_with_output().expect("it ends");
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(141), &b""[..]),
            "{name}"
        );
    }
}

#[test]
fn a_failure_to_print_a_report_is_reported() {
    let server = Server::start();
    let args = [server.address.as_str(), "--connections", "1", "--duration", "1"];
    let (code, errors) = fill(LOAD, &args, "");
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("load: standard output: No space left on device"), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn a_failure_to_print_replies_is_reported() {
    let server = Server::start_store("127.0.0.1:0");
    let port = server.address.rsplit(':').next().expect("it has a port");
    let cases: [(&[&str], &str); 7] = [
        (&["ping"], ""),
        (&["-r", "-1", "ping"], ""),
        (&[], "ping\n"),
        (&["--pipe"], "PING\r\n"),
        (&["--latency", "-i", "0.01"], ""),
        (&["help", "get"], ""),
        (&["--quoted-input", "echo", "\"a"], ""),
    ];
    for (args, input) in cases {
        let (code, errors) = fill(KV_CLI, &[&["-p", port], args].concat(), input);
        let expected = "kv-cli: standard output: No space left on device (os error 28)\n";
        assert_eq!((code, errors.as_str()), (Some(1), expected), "{args:?}");
    }
}

#[test]
fn a_failure_to_read_input_is_reported() {
    let server = Server::start_store("127.0.0.1:0");
    let port = server.address.rsplit(':').next().expect("it has a port");
    for args in [&[][..], &["-x", "echo"], &["--askpass", "ping"]] {
        let output = Command::new(KV_CLI)
            .args(["-p", port])
            .args(args)
            .stdin(File::open("/").expect("it is there"))
            .output()
            .expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {errors}");
        assert_eq!(errors, "kv-cli: standard input: Is a directory (os error 21)\n", "{args:?}");
    }
}

#[test]
fn a_closed_or_full_standard_error_causes_no_panic() {
    for (tool, args) in [
        (TALK, &["127.0.0.1:1"][..]),
        (LOAD, &["no-such-host.invalid:1"]),
        (KV_CLI, &["-p", "1", "ping"]),
        (KV_CLI, &["--nonsense"]),
    ] {
        let status = Command::new(tool).args(args).stdin(Stdio::null()).stderr(full()).status();
        assert_eq!(status.expect("it runs").code(), Some(1), "{tool} {args:?}");
        let mut child = Command::new(tool)
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        drop(child.stderr.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(1), "{tool} {args:?}");
    }
    let mut errors = String::new();
    let mut child = Command::new(TALK).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stderr.take().expect("it is piped").read_to_string(&mut errors).expect("it is text");
    assert_eq!(child.wait().expect("it ends").code(), Some(2), "{errors}");
}
