//! The answers of other servers, beside what `dig` prints of them.

use std::net::SocketAddr;

use testkit::dns::{DnsPeer, dig};
use testkit::has_peer;

use crate::{expect, lookup};

/// The zone: records of every type that has a text form of its own.
pub(super) const RECORDS: [&str; 34] = [
    "$TTL 3600",
    "@ SOA ns admin 2024010101 7200 3600 1209600 300",
    "@ NS ns",
    "ns A 192.0.2.53",
    "www 60 A 192.0.2.1",
    "www 60 A 192.0.2.2",
    "www AAAA 2001:db8::1",
    "alias CNAME www",
    "long.chain CNAME alias",
    "@ MX 10 mail",
    "@ MX 20 backup.mail",
    "mail A 192.0.2.25",
    "text TXT \"v=spf1 -all\" \"a \\\"quoted\\\" text; with \\\\ and \\200\"",
    "_sip._tcp SRV 0 5 5060 sip",
    "sip AAAA 2001:db8::5",
    "@ CAA 0 issue \"ca.example\"",
    "@ DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==",
    "child NS ns.child",
    "child DS 12345 13 2 3A2F4C5D6E7F8091A2B3C4D5E6F708192A3B4C5D6E7F8091A2B3C4D5E6F70819",
    "ns.child A 192.0.2.54",
    "_443._tcp TLSA 3 1 1 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
    "svc HTTPS 1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1",
    "_dns SVCB 1 ns alpn=dot",
    "host HINFO \"RISC-V\" \"Linux 6\"",
    "naptr NAPTR 100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example.test!\" .",
    "dname DNAME other.example.",
    "key SSHFP 4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789",
    "uri URI 10 1 \"https://example.test/\"",
    "odd TYPE65280 \\# 4 0A000001",
    "empty TXT \"\"",
    "*.wild A 192.0.2.77",
    "sub.with\\.dot A 192.0.2.3",
    "a-very-long-name-that-is-wider-than-the-column A 192.0.2.4",
    "ptr PTR www",
];

/// Questions that have an answer, and some that have none.
const QUESTIONS: [&[&str]; 40] = [
    &["example.test", "SOA"],
    &["example.test", "NS"],
    &["example.test", "MX"],
    &["example.test", "CAA"],
    &["example.test", "DNSKEY"],
    &["www.example.test"],
    &["WWW.Example.TEST", "AAAA"],
    &["alias.example.test", "A"],
    &["long.chain.example.test", "A"],
    &["long.chain.example.test", "CNAME"],
    &["text.example.test", "TXT"],
    &["empty.example.test", "TXT"],
    &["_sip._tcp.example.test", "SRV"],
    &["child.example.test", "DS"],
    &["www.child.example.test", "A"],
    &["_443._tcp.example.test", "TLSA"],
    &["svc.example.test", "HTTPS"],
    &["_dns.example.test", "SVCB"],
    &["host.example.test", "HINFO"],
    &["naptr.example.test", "NAPTR"],
    &["dname.example.test", "DNAME"],
    &["x.dname.example.test", "A"],
    &["key.example.test", "SSHFP"],
    &["uri.example.test", "URI"],
    &["odd.example.test", "TYPE65280"],
    &["any.wild.example.test", "A"],
    &["sub.with\\.dot.example.test", "A"],
    &["a-very-long-name-that-is-wider-than-the-column.example.test", "A"],
    &["ptr.example.test", "PTR"],
    &["www.example.test", "MX"],
    &["missing.example.test", "A"],
    &["example.test", "ANY", "+tcp"],
    &["other.example", "A"],
    &["version.bind", "CH", "TXT"],
    &["www.example.test", "A", "+norec", "+cd"],
    &["www.example.test", "A", "+noedns", "+noad"],
    &["www.example.test", "A", "+dnssec", "+bufsize=4096"],
    &["www.example.test", "A", "+nsid"],
    &["www.example.test", "A", "+tcp"],
    &["-x", "192.0.2.1"],
];

/// Returns the lines that both tools print of an answer, without what differs from run to run. Long data are
/// not divided, and the records of a section are in order.
fn normal(text: &str) -> Vec<String> {
    let (mut sections, mut section) = (Vec::new(), Vec::new());
    let unlike = ["; <<>>", "; (", ";; global", ";; Query time", ";; WHEN"];
    for line in text.lines().filter(|line| !unlike.iter().any(|start| line.starts_with(start))) {
        let line = line.split(", id: ").next().unwrap_or_default();
        // Both have others each time.
        let cookie = line.strip_prefix("; COOKIE: ");
        let line =
            cookie.map_or(line, |it| it.trim_start_matches(|it: char| it.is_ascii_hexdigit()));
        if line.is_empty() {
            section.sort_unstable();
            sections.append(&mut section);
            continue;
        }
        // `dig` divides long keys and digests by spaces.
        let is_long = ["DNSKEY", "DS", "TLSA", "SSHFP"].iter().any(|kind| line.contains(kind));
        section.push(match is_long {
            true => line.split_whitespace().collect(),
            false => line.to_owned(),
        });
    }
    section.sort_unstable();
    sections.append(&mut section);
    sections
}

/// Checks that `lookup` prints what `dig` prints, for every question.
pub(super) fn compare(server: SocketAddr) {
    let word = format!("@{}", server.ip());
    let port = server.port().to_string();
    for question in QUESTIONS {
        let args = [&[word.as_str(), "-p", &port][..], question].concat();
        let theirs = dig(server, question).expect("it is there");
        let ours = expect(0, &lookup(&args));
        assert_eq!(normal(&ours), normal(&theirs), "{question:?}\n{ours}\n{theirs}");
        // `named` answers three questions of this class in a second, and drops the others.
        if question.contains(&"CH") {
            continue;
        }
        let short = [question, &["+short"]].concat();
        let theirs = dig(server, &short).expect("it is there");
        let ours = expect(0, &lookup(&[&args[..], &["+short"]].concat()));
        let sorted = |text: &str| {
            let mut lines: Vec<String> =
                text.lines().map(|line| line.split_whitespace().collect()).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&ours), sorted(&theirs), "{question:?} +short");
        let chosen = [question, &["+noall", "+answer"]].concat();
        let theirs = dig(server, &chosen).expect("it is there");
        let ours = expect(0, &lookup(&[&args[..3], &chosen].concat()));
        assert_eq!(sorted(&ours), sorted(&theirs), "{question:?} +noall +answer");
    }
}

#[test]
fn answers_of_named_are_printed_as_dig_prints_them() {
    if !has_peer("dig") {
        return;
    }
    let Some(peer) = DnsPeer::named("example.test", &RECORDS) else { return };
    compare(peer.address());
}

#[test]
fn a_server_that_wants_its_cookie_first_is_asked_again() {
    if !has_peer("dig") {
        return;
    }
    let zone = ["$TTL 60", "@ SOA ns admin 1 60 60 60 60", "@ NS ns", "* A 192.0.2.1"];
    let more = "require-server-cookie yes;";
    let Some(peer) = DnsPeer::named_with("example.test", &zone, more) else { return };
    let (ip, port) = (peer.address().ip(), peer.address().port());
    let word = format!("@{ip}#{port}");
    let theirs = dig(peer.address(), &["www.example.test"]).expect("it is there");
    let ours = expect(0, &lookup(&[&word, "www.example.test"]));
    // `dig` says it before the words that it was given.
    let sorted = |text: &str| {
        let mut lines = normal(text);
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&ours), sorted(&theirs), "{ours}\n{theirs}");
    assert!(ours.contains(";; BADCOOKIE, retrying.") && ours.contains("192.0.2.1"), "{ours}");
    let without = expect(0, &lookup(&[&word, "+nocookie", "www.example.test"]));
    assert!(without.contains("192.0.2.1") && !without.contains("COOKIE"), "{without}");
}

#[test]
fn answers_of_unbound_are_printed_as_dig_prints_them() {
    if !has_peer("dig") {
        return;
    }
    // Its local data have whole names, and no wildcards.
    let records = RECORDS.iter().filter(|it| !it.starts_with(['$', '*']));
    let records: Vec<String> = records.map(|it| whole(it)).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let Some(peer) = DnsPeer::unbound(&records) else { return };
    compare(peer.address());
}

/// Returns a record of the zone with whole names.
fn whole(record: &str) -> String {
    let (name, rest) = record.split_once(' ').expect("a record has a name");
    let name = match name {
        "@" => "example.test.".to_owned(),
        relative => format!("{relative}.example.test."),
    };
    let names = ["SOA", "NS", "CNAME", "MX", "SRV", "SVCB", "PTR"];
    let words: Vec<&str> = rest.split(' ').collect();
    let is_relative = words.iter().any(|word| names.contains(word));
    let is_name = |word: &str| word.starts_with(|it: char| it.is_ascii_lowercase());
    let words: Vec<String> = words
        .iter()
        .map(|word| match is_relative && is_name(word) && !word.contains('=') {
            true => format!("{word}.example.test."),
            false => (*word).to_owned(),
        })
        .collect();
    format!("{name} {}", words.join(" "))
}

#[test]
fn answers_of_dnsmasq_are_printed_as_dig_prints_them() {
    if !has_peer("dig") {
        return;
    }
    let options = [
        "--host-record=www.example.test,192.0.2.1,2001:db8::1,60",
        "--cname=alias.example.test,www.example.test",
        "--mx-host=example.test,mail.example.test,10",
        "--txt-record=text.example.test,v=spf1 -all",
        "--srv-host=_sip._tcp.example.test,sip.example.test,5060,0,5",
        "--caa-record=example.test,0,issue,ca.example",
        "--naptr-record=naptr.example.test,100,10,u,E2U+sip,!^.*$!sip:info@example.test!",
        "--dns-rr=odd.example.test,65280,0A000001",
        "--ptr-record=ptr.example.test,www.example.test",
    ];
    let Some(peer) = DnsPeer::dnsmasq(&options) else { return };
    compare(peer.address());
}

#[test]
fn thousands_of_questions_are_answered_by_each_server() {
    let zone = ["$TTL 60", "@ SOA ns admin 1 60 60 60 60", "@ NS ns", "ns A 192.0.2.53"];
    let named = DnsPeer::named("example.test", &[&zone[..], &["* A 192.0.2.1"]].concat());
    let unbound = DnsPeer::unbound(&["www.example.test. 60 IN A 192.0.2.1"]);
    let dnsmasq = DnsPeer::dnsmasq(&["--address=/example.test/192.0.2.1"]);
    let folder = testkit::Folder::new("lookup");
    let path = folder.file("questions");
    let lines: String = (0..3000).map(|number| format!("host{number}.example.test\n")).collect();
    std::fs::write(&path, lines).expect("the folder is writable");
    for (peer, code) in [(named, "NOERROR"), (unbound, "NXDOMAIN"), (dnsmasq, "NOERROR")] {
        let Some(peer) = peer else { continue };
        let word = format!("@{}#{}", peer.address().ip(), peer.address().port());
        for more in [&["+0x20"][..], &["+tcp"]] {
            let output = lookup(&[&[word.as_str(), "-f", &path][..], more].concat());
            let found = expect(0, &output);
            assert_eq!(
                found.matches(&format!("\t{code}\t")).count(),
                3000,
                "{more:?} {}",
                peer.log()
            );
        }
    }
}
