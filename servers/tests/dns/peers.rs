//! Clients of others, and servers of others as upstreams.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::process::Command;

use testkit::authority::Files;
use testkit::dns::{DnsPeer, dig};
use testkit::{Folder, has_peer, in_namespace};

use super::DNS;
use super::asking::Server;
use super::common::Daemon;

const ZONE: &str = "example.test";
const RECORDS: [&str; 9] = [
    "$TTL 60",
    "@ SOA ns admin 1 60 60 60 60",
    "@ NS ns",
    "ns A 192.0.2.53",
    "www A 192.0.2.1",
    "www AAAA 2001:db8::1",
    "alias CNAME www",
    "@ MX 10 mail",
    "text TXT \"one\" \"two\"",
];

/// Returns the records with a set that is too long for a datagram.
fn records() -> Vec<String> {
    let long = (0..60).map(|number| format!("long TXT \"{number} {}\"", "x".repeat(60)));
    RECORDS.map(str::to_owned).into_iter().chain(long).collect()
}

fn named() -> Option<DnsPeer> {
    let records = records();
    DnsPeer::named(ZONE, &records.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn dig_gets_through_the_forwarder_what_it_gets_from_the_upstream() {
    let Some(upstream) = named() else { return };
    let server = Server::start_on_one_port(&[upstream.address()]);
    for (name, kind) in [
        ("www", "A"),
        ("www", "AAAA"),
        ("alias", "A"),
        ("alias", "CNAME"),
        ("text", "TXT"),
        ("long", "TXT"),
        ("nothing", "A"),
        ("www", "MX"),
    ] {
        let name = format!("{name}.{ZONE}");
        for more in [&["+noedns"][..], &["+bufsize=4096"], &["+tcp"], &["+dnssec"]] {
            let ask = |address: SocketAddr| {
                let show =
                    ["+noall", "+answer", "+authority", "+comments", "+nottlid", "+nocookie"];
                let args = [&[name.as_str(), kind], &show[..], more].concat();
                let text = dig(address, &args)?;
                // Of the header, the code counts. The order of records is free.
                let code = text.split_once("status: ").and_then(|(_, it)| it.split_once(','));
                let code = code.map(|(code, _)| code.to_owned());
                let mut lines: Vec<String> = text
                    .lines()
                    .filter(|line| !line.is_empty() && !line.starts_with(';'))
                    .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                    .collect();
                lines.sort_unstable();
                Some((code, lines))
            };
            let (Some(through), Some(direct)) = (ask(server.udp), ask(upstream.address())) else {
                return;
            };
            assert!(through.0.is_some(), "{name} {kind} {more:?} has no answer");
            assert_eq!(through, direct, "{name} {kind} {more:?}");
        }
    }
}

#[test]
fn unbound_and_dnsmasq_serve_as_upstreams() {
    let record = "www.example.test. 60 IN A 192.0.2.1";
    let unbound = DnsPeer::unbound(&[record]);
    let dnsmasq = DnsPeer::dnsmasq(&["--host-record=www.example.test,192.0.2.1"]);
    let named = named();
    for upstream in [unbound, dnsmasq, named].into_iter().flatten() {
        let server = Server::start_on_one_port(&[upstream.address()]);
        for more in [&["+noedns"][..], &[], &["+tcp"]] {
            let args = [&["+short", "www.example.test", "A"][..], more].concat();
            let Some(found) = dig(server.udp, &args) else { return };
            assert_eq!(found, "192.0.2.1\n", "{}", upstream.log());
        }
        // It keeps the case, and needs no second question.
        assert_eq!(server.counter("wrong_case"), 0);
        assert_eq!(server.counter("failed"), 0);
    }
}

#[test]
fn host_and_kdig_understand_the_answers() {
    let Some(upstream) = named() else { return };
    let server = Server::start_on_one_port(&[upstream.address()]);
    let port = server.udp.port().to_string();
    if has_peer("host") {
        let host =
            Command::new("host").args(["-p", &port, "alias.example.test", "127.0.0.1"]).output();
        let said = String::from_utf8_lossy(&host.expect("it runs").stdout).into_owned();
        assert!(said.contains("www.example.test has address 192.0.2.1"), "{said}");
        assert!(said.contains("www.example.test has IPv6 address 2001:db8::1"), "{said}");
    }
    if has_peer("kdig") {
        let ask = |more: &[&str]| {
            let mut kdig = Command::new("kdig");
            kdig.args(["@127.0.0.1", "-p", &port, "+short"]).args(more);
            let output = kdig.args(["www.example.test", "A"]).output().expect("it runs");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        for more in [&[][..], &["+edns"], &["+dnssec"], &["+bufsize=512"], &["+padding"]] {
            assert_eq!(ask(more), "192.0.2.1\n", "{more:?}");
        }
    }
}

#[test]
fn kdig_asks_over_tcp_and_tls_several_times_on_a_connection() {
    let Some(upstream) = named() else { return };
    if !has_peer("kdig") {
        return;
    }
    let files = Files::new("dns-tls");
    let issued = files.issuer().server(&["127.0.0.1"]);
    files.write("server", &issued);
    let upstream = upstream.address().to_string();
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "tls://127.0.0.1:0",
        "--upstream",
        &upstream,
        "--cert",
        &files.certificate("server"),
        "--key",
        &files.key("server"),
    ];
    let daemon = Daemon::start(&[], DNS, &args);
    for address in &daemon.addresses {
        let how = if address.starts_with("tls://") { "+tls" } else { "+tcp" };
        let (_, port) = address.rsplit_once(':').expect("it has a port");
        let mut kdig = Command::new("kdig");
        kdig.args(["@127.0.0.1", "-p", port, how, "+short", "+keepopen"]);
        for name in ["www", "long", "alias"] {
            kdig.args([
                format!("{name}.{ZONE}").as_str(),
                if name == "long" { "TXT" } else { "A" },
            ]);
        }
        let output = kdig.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.lines().filter(|it| *it == "192.0.2.1").count(), 2, "{how}: {said}");
        assert_eq!(said.matches("xxxx\"").count(), 60, "{how}: {said}");
    }
}

/// The system asks the name server of the loopback, at port 53.
const NETWORK: &str = "ip link set lo up
printf 'nameserver 127.0.0.1\\noptions timeout:5 attempts:1\\n' >/tmp/resolv.$$
mount --bind /tmp/resolv.$$ /etc/resolv.conf
rm /tmp/resolv.$$ 2>/dev/null || true";

#[test]
fn the_c_library_resolves_names_through_the_forwarder() {
    let test = "peers::the_c_library_resolves_names_through_the_forwarder";
    if !in_namespace(test, NETWORK) {
        return;
    }
    let upstream = DnsPeer::unbound(&[
        "www.example.test. 60 IN A 192.0.2.1",
        "www.example.test. 60 IN AAAA 2001:db8::1",
    ]);
    let Some(unbound) = upstream else { return };
    let upstream = unbound.address().to_string();
    // The port is the default one.
    let args = ["--listen", "udp://127.0.0.1", "--listen", "127.0.0.1:53", "--upstream", &upstream];
    let server = Daemon::start(&[], DNS, &args);
    assert!(server.addresses.contains(&"udp://127.0.0.1:53".to_owned()), "{:?}", server.addresses);
    for name in ["www.example.test", "WWW.Example.Test"] {
        let found = (name, 80).to_socket_addrs().expect("it is known");
        let mut found: Vec<IpAddr> = found.map(|it| it.ip()).collect();
        found.sort_unstable();
        let expected: [IpAddr; 2] =
            [[192, 0, 2, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()];
        assert_eq!(found, expected);
    }
    assert!(("nothing.example.test", 80).to_socket_addrs().is_err());
}

#[test]
fn dnsperf_loses_nothing() {
    let Some(upstream) = DnsPeer::dnsmasq(&["--address=/example.test/192.0.2.1"]) else { return };
    if !has_peer("dnsperf") {
        return;
    }
    let server = Server::start_on_one_port(&[upstream.address()]);
    let folder = Folder::new("dnsperf");
    let questions: String = (0..5000).map(|it| format!("name-{it}.example.test A\n")).collect();
    std::fs::write(folder.file("questions"), questions).expect("it is written");
    let output = Command::new("dnsperf")
        .args(["-s", "127.0.0.1", "-p", &server.udp.port().to_string(), "-q", "50", "-n", "1"])
        .args(["-d", &folder.file("questions")])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Queries completed:    5000 (100.00%)"), "{said}");
    assert!(said.contains("NOERROR 5000 (100.00%)"), "{said}");
}
