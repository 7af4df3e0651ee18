//! Addresses that cannot be used, and what the servers say about them.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;

use testkit::Folder;

use crate::{ECHO, UPPERCASE};

/// Runs a server that cannot start. Returns its exit code and what it says.
fn explained(program: &str, address: &str) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    let output = command.args(["--listen", address]).env("RUST_LOG", "error").output();
    let output = output.expect("it runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("it is text"))
}

#[test]
fn a_server_without_datagrams_and_a_taken_port_are_explained() {
    let (code, error) = explained(env!("CARGO_BIN_EXE_kv"), "udp://127.0.0.1:7");
    assert!(code == Some(1) && error.contains("this server takes no datagrams"), "{error}");
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("udp://{}", taken.local_addr().expect("it is bound"));
    let (code, error) = explained(ECHO, &address);
    assert!(code == Some(1) && error.contains("another socket has that port"), "{error}");
}

#[test]
fn a_text_that_is_no_address_of_datagrams_is_explained() {
    let long = format!("unix-dgram:/{}", "x".repeat(107));
    for program in [ECHO, UPPERCASE] {
        for (text, hint) in [
            ("udp://", "a port must follow the IP address, as in udp://127.0.0.1:8080"),
            ("udp://:8000", "an IP address must come before the port"),
            ("udp://127.0.0.1:65536", "0 to 65535"),
            ("udp://127.0.0.1:-1", "the name of a service"),
            ("udp://127.0.0.1:", "a port or the name of a service must follow"),
            ("udp://::1", "an IPv6 address needs brackets, as in udp://[::1]:8080"),
            ("udp://[::1]:99999", "0 to 65535"),
            ("udp://a b:8000", "an IP address must come before the port"),
            ("udp://256.0.0.1:8000", "an IP address must come before the port"),
            ("unix-dgram:", "a path must follow \"unix-dgram:\", as in unix-dgram:/run/x.sock"),
            ("unix-dgram://", "a path must follow \"unix-dgram:\""),
            ("unix-dgram:@", "an abstract name must follow \"unix-dgram:@\""),
            (&long, "107 bytes at most"),
        ] {
            let (code, error) = explained(program, text);
            assert_eq!(code, Some(2), "{text}: {error}");
            assert!(error.contains(hint) && error.contains(text), "{text}: {error}");
        }
    }
}

#[test]
fn an_address_that_cannot_be_bound_is_explained() {
    let folder = Folder::new("input");
    let (file, stream, taken) = (folder.file("file"), folder.file("stream"), folder.file("taken"));
    fs::write(&file, "content").expect("the folder is writable");
    let _stream = UnixListener::bind(&stream).expect("it is free");
    let _taken = UnixDatagram::bind(&taken).expect("it is free");
    let inside = folder.file("none/server");
    for (address, hint) in [
        (format!("unix-dgram:{file}"), "a file with that name exists and is not a socket"),
        (format!("unix-dgram:{stream}"), "a socket of another type has that name"),
        (format!("unix:{taken}"), "a socket of another type has that name"),
        (format!("unix-dgram:{taken}"), "another process listens there"),
        (format!("unix-dgram:{inside}"), "No such file or directory"),
        ("udp://10.255.255.1:7".to_owned(), "this machine does not have that address"),
        ("udp://name.invalid:7".to_owned(), "name.invalid"),
        ("udp://127.0.0.1:no-such-service".to_owned(), "no-such-service"),
    ] {
        let (code, error) = explained(ECHO, &address);
        assert_eq!(code, Some(1), "{address}: {error}");
        assert!(error.contains(hint) && error.contains("cannot "), "{address}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert_eq!(fs::read(&file).expect("it was kept"), b"content");
    assert_eq!(fs::read_dir(folder.path()).expect("it can be read").count(), 3);
}
