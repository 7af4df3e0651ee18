//! `resolve` as a user runs it, beside `getent`.

use std::process::{Command, Output};

use testkit::has_peer;

fn resolve(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_resolve")).args(args).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the fields of each line that `getent ahosts` has: the address, the type of the socket and
/// the canonical name.
fn getent(database: &str, name: &str) -> Vec<String> {
    let output = Command::new("getent").args([database, name]).output().expect("it runs");
    let lines = text(&output.stdout);
    let join = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    lines.lines().map(join).collect()
}

/// Returns the same fields of the output of `resolve`.
fn ours(args: &[&str]) -> Vec<String> {
    let output = resolve(args);
    let lines = text(&output.stdout);
    let fields = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kind = match words[3] {
            "stream" => "STREAM",
            "datagram" => "DGRAM",
            "raw" => "RAW",
            other => other,
        };
        let mut kept = vec![words[0], kind];
        kept.extend(words.get(5));
        kept.join(" ")
    };
    lines.lines().map(fields).collect()
}

#[test]
fn it_prints_what_getent_finds() {
    if !has_peer("getent") {
        return;
    }
    let hints = ["--canonical", "--address-config", "--v4-mapped"];
    let this_host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    for name in ["localhost", "127.0.0.1", "::1", "127.1", "192.0.2.1", this_host.trim()] {
        for (database, family) in
            [("ahosts", None), ("ahostsv4", Some("-4")), ("ahostsv6", Some("-6"))]
        {
            let args: Vec<&str> = hints.into_iter().chain(family).chain([name]).collect();
            let expected = getent(database, name);
            assert_eq!(ours(&args), expected, "{database} {name}");
            assert_eq!(resolve(&args).status.success(), !expected.is_empty(), "{args:?}");
        }
    }
}

#[test]
fn a_service_and_the_hints_show_in_every_line() {
    let output = resolve(&["127.0.0.1", "http"]);
    let expected = "127.0.0.1    80 IPv4 stream   tcp\n";
    assert!(text(&output.stdout).starts_with(expected), "{output:?}");
    let output = resolve(&["--socket-type", "datagram", "::1", "53"]);
    assert_eq!(text(&output.stdout), "::1    53 IPv6 datagram udp\n");
    let output = resolve(&["--protocol", "tcp", "--passive", "-4", "", "8080"]);
    assert_eq!(text(&output.stdout), "0.0.0.0  8080 IPv4 stream   tcp\n");
    let output =
        resolve(&["-6", "--v4-mapped", "--all", "--socket-type", "stream", "127.0.0.1", "1"]);
    assert_eq!(text(&output.stdout), "::ffff:127.0.0.1     1 IPv6 stream   tcp\n");
    let output = resolve(&["--json", "--canonical", "--socket-type", "stream", "127.0.0.1", "80"]);
    assert_eq!(
        text(&output.stdout),
        "{\"canonical_name\":\"127.0.0.1\",\"entries\":[{\"address\":\"127.0.0.1\",\"port\":80,\
         \"family\":4,\"socket_type\":\"stream\",\"socket_type_number\":1,\"protocol\":\"tcp\",\
         \"protocol_number\":6}]}\n"
    );
}

#[test]
fn a_failure_is_one_sentence_and_an_exit_code() {
    for (args, expected) in [
        (
            &["--numeric-host", "db"][..],
            "resolve: db: unknown name (Name or service not known); an IP address is expected\n",
        ),
        (
            &["127.0.0.1", "no-such-service"],
            "resolve: 127.0.0.1:no-such-service: unknown service (",
        ),
        (
            &["--socket-type", "77", "::1"],
            "resolve: ::1: the system does not support these hints (",
        ),
        (&["-4", "::1"], "resolve: ::1: the name has no address ("),
    ] {
        let output = resolve(args);
        let said = text(&output.stderr);
        assert!(said.starts_with(expected) && said.lines().count() == 1, "{said}");
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true));
    }
    for args in
        [&["-4", "-6", "x"][..], &[], &["--timeout", "0", "x"], &["--socket-type", "x", "x"]]
    {
        assert_eq!(resolve(args).status.code(), Some(2), "{args:?}");
    }
}
