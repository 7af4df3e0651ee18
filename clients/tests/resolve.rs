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

/// Checks that `getent` and `resolve` print the same for each name.
fn compare_with_getent(names: &[&str]) {
    let hints = ["--canonical", "--address-config", "--v4-mapped"];
    for name in names {
        for (database, family) in
            [("ahosts", None), ("ahostsv4", Some("-4")), ("ahostsv6", Some("-6"))]
        {
            let args: Vec<&str> = hints.into_iter().chain(family).chain([*name]).collect();
            let expected = getent(database, name);
            assert_eq!(ours(&args), expected, "{database} {name}");
            assert_eq!(resolve(&args).status.success(), !expected.is_empty(), "{args:?}");
        }
    }
}

#[test]
fn it_prints_what_getent_finds() {
    if !has_peer("getent") {
        return;
    }
    let this_host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let names = ["localhost", "127.0.0.1", "::1", "127.1", "192.0.2.1", this_host.trim()];
    compare_with_getent(&names);
}

/// A hosts file with names of every kind, on a host with addresses of both families.
const NAMES: &str = "ip link set lo up
ip addr add 192.0.2.9/24 dev lo
ip -6 addr add 2001:db8::9/64 dev lo nodad
printf '%s\\n' '127.0.0.1 localhost' '::1 localhost' '192.0.2.1 both.example both' \\
    '2001:db8::1 both.example both' '2001:db8::2 both.example both' '192.0.2.2 four' \\
    '2001:db8::3 six' '192.0.2.3 many' '192.0.2.4 many' '127.0.0.5 many' >/tmp/hosts.$$
printf 'hosts: files\\nservices: files\\n' >/tmp/nsswitch.conf.$$
for file in hosts nsswitch.conf; do
    mount --bind /tmp/$file.$$ /etc/$file
    rm /tmp/$file.$$ 2>/dev/null || true
done";

#[test]
fn it_prints_what_getent_finds_in_a_hosts_file() {
    let test = "it_prints_what_getent_finds_in_a_hosts_file";
    if !has_peer("getent") || !testkit::in_namespace(test, NAMES) {
        return;
    }
    let names = ["localhost", "both", "both.example", "BOTH.example", "four", "six", "many"];
    assert!(names.iter().all(|name| !getent("ahosts", name).is_empty()), "the file is read");
    compare_with_getent(&names);
    compare_with_getent(&["unknown", "two.words", "both.", "both.example."]);
    // What the hints do to names.
    let streams = |args: &[&str]| {
        let fixed = ["--socket-type", "stream"];
        let output = resolve(&[&fixed[..], args].concat());
        let lines = text(&output.stdout);
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        let mut found: Vec<String> = lines.lines().filter_map(first).collect();
        found.sort();
        found
    };
    assert_eq!(streams(&["-4", "both"]), ["192.0.2.1"]);
    assert_eq!(streams(&["-6", "both"]), ["2001:db8::1", "2001:db8::2"]);
    assert_eq!(streams(&["-6", "four"]), [""; 0]);
    assert_eq!(streams(&["-6", "--v4-mapped", "four"]), ["::ffff:192.0.2.2"]);
    assert_eq!(streams(&["-6", "--v4-mapped", "both"]), ["2001:db8::1", "2001:db8::2"]);
    assert_eq!(
        streams(&["-6", "--v4-mapped", "--all", "both"]),
        ["2001:db8::1", "2001:db8::2", "::ffff:192.0.2.1"]
    );
    assert_eq!(streams(&["--numeric-host", "four"]), [""; 0]);
    assert_eq!(streams(&["--numeric-service", "four", "http"]), [""; 0]);
    let output = resolve(&["--canonical", "-4", "--json", "--protocol", "udp", "both", "domain"]);
    assert_eq!(
        text(&output.stdout),
        "{\"canonical_name\":\"both.example\",\"entries\":[{\"address\":\"192.0.2.1\",\"port\":53,\
         \"family\":4,\"socket_type\":\"datagram\",\"socket_type_number\":2,\"protocol\":\"udp\",\
         \"protocol_number\":17}]}\n"
    );
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
        [&["-4", "-6", "x"][..], &[], &["--timeout", "0", "x"], &["--socket-type", "x", "x"], &[""]]
    {
        assert_eq!(resolve(args).status.code(), Some(2), "{args:?}");
    }
}
