//! Odd messages: what `dns` says to them, compared with `dnsmasq`, `unbound` and `named`, which have the
//! same upstream.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use protocol::dns::{Builder, Class, Header, Message, Record, RecordType, ResponseCode, Section};
use testkit::dns::DnsPeer;
use testkit::{receive_udp, tell};

use super::asking::{Server, question};
use super::upstream::Upstream;

/// The number of every odd message. Those of usual questions are smaller.
const ODD: u16 = 0x5555;
/// How long an answer to an odd message may come after that to a usual question that was asked later.
const LATER: Duration = Duration::from_millis(150);
/// The flag of recursion desired.
const RD: u16 = 0x0100;
const A: u16 = 1;
const IN: u16 = 1;

/// Returns a message of these flags, counts and further bytes.
fn message(flags: u16, counts: [u16; 4], body: &[u8]) -> Vec<u8> {
    let numbers = [ODD, flags].into_iter().chain(counts);
    let mut bytes: Vec<u8> = numbers.flat_map(u16::to_be_bytes).collect();
    bytes.extend_from_slice(body);
    bytes
}

/// Returns the bytes of a name of these labels.
fn labels(labels: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in labels {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

fn name(text: &str) -> Vec<u8> {
    labels(&text.split('.').map(str::as_bytes).collect::<Vec<_>>())
}

/// Returns a question as bytes.
fn entry(name: &[u8], kind: u16, class: u16) -> Vec<u8> {
    [name, &kind.to_be_bytes(), &class.to_be_bytes()].concat()
}

/// Returns a usual question for a name of these bytes.
fn about(name: &[u8]) -> Vec<u8> {
    message(RD, [1, 0, 0, 0], &entry(name, A, IN))
}

/// Returns a question of a type and a class.
fn typed(kind: u16, class: u16) -> Vec<u8> {
    message(RD, [1, 0, 0, 0], &entry(&name("www.odd.test"), kind, class))
}

fn flagged(flags: u16) -> Vec<u8> {
    message(flags, [1, 0, 0, 0], &entry(&name("www.odd.test"), A, IN))
}

/// Returns a question with further bytes, which are so many records of each section.
fn with(counts: [u16; 3], more: &[u8]) -> Vec<u8> {
    let [answers, authority, additional] = counts;
    let body = [&entry(&name("www.odd.test"), A, IN), more].concat();
    message(RD, [1, answers, authority, additional], &body)
}

/// Returns an OPT record (RFC 6891 section 6.1.2).
fn opt(size: u16, ttl: u32, options: &[u8]) -> Vec<u8> {
    let mut bytes = entry(&[0], 41, size);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((options.len() as u16).to_be_bytes());
    bytes.extend_from_slice(options);
    bytes
}

/// The odd messages, each with its name.
fn cases() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| all.push((name.to_owned(), bytes));
    for opcode in [1, 2, 3, 4, 5, 6, 15] {
        add(&format!("opcode {opcode}"), flagged(RD | opcode << 11));
    }
    let one = entry(&name("www.odd.test"), A, IN);
    add("no question", message(RD, [0; 4], &[]));
    add("two questions", message(RD, [2, 0, 0, 0], &[&one[..], &one].concat()));
    add("two questions announced, one there", message(RD, [2, 0, 0, 0], &one));
    add("65,535 questions announced", message(RD, [65_535, 0, 0, 0], &one));
    add("a question cut in its name", message(RD, [1, 0, 0, 0], &one[..6]));
    add("a question without a class", message(RD, [1, 0, 0, 0], &one[..one.len() - 2]));
    add("11 bytes", about(&[0])[..11].to_vec());
    add("nothing", Vec::new());
    for (class, text) in [(0, "0"), (2, "2"), (3, "CH"), (4, "HS"), (254, "NONE"), (255, "ANY")] {
        add(&format!("class {text}"), typed(A, class));
    }
    add("class 65535", typed(A, 65_535));
    let version = message(RD, [1, 0, 0, 0], &entry(&name("version.bind"), 16, 3));
    add("version.bind in CH", version);
    for kind in [0, 10, 24, 41, 46, 65, 128, 249, 250, 251, 252, 253, 254, 255, 256, 65_280, 65_535]
    {
        add(&format!("type {kind}"), typed(kind, IN));
    }
    for (flag, text) in [
        (0x8000, "QR"),
        (0x0400, "AA"),
        (0x0200, "TC"),
        (0x0080, "RA"),
        (0x0040, "Z"),
        (0x0020, "AD"),
        (0x0010, "CD"),
        (0x0003, "a code"),
    ] {
        add(&format!("flag {text}"), flagged(RD | flag));
    }
    add("no RD", flagged(0));
    add("one byte after the message", with([0; 3], &[0]));
    add("500 bytes after the message", with([0; 3], &[0; 500]));
    let record =
        [&entry(&name("www.odd.test"), A, IN)[..], &[0, 0, 0, 9, 0, 4, 1, 2, 3, 4]].concat();
    add("an answer in a question", with([1, 0, 0], &record));
    add("an authority in a question", with([0, 1, 0], &record));
    add("an additional record in a question", with([0, 0, 1], &record));
    add("an answer announced, none there", with([1, 0, 0], &[]));
    add("an additional record announced, none there", with([0, 0, 1], &[]));
    for (text, size, ttl) in [
        ("EDNS", 1232, 0),
        ("EDNS of size 0", 0, 0),
        ("EDNS of size 511", 511, 0),
        ("EDNS of size 65535", 65_535, 0),
        ("EDNS version 1", 1232, 1 << 16),
        ("EDNS version 255", 1232, 255 << 16),
        ("EDNS with a code", 1232, 1 << 24),
        ("EDNS with unknown flags", 1232, 0x7fff),
        ("EDNS with DO", 1232, 0x8000),
    ] {
        add(text, with([0, 0, 1], &opt(size, ttl, &[])));
    }
    let plain = opt(1232, 0, &[]);
    add("two OPT records", with([0, 0, 2], &[&plain[..], &plain].concat()));
    add("OPT as an answer", with([1, 0, 0], &plain));
    add("OPT with an unknown option", with([0, 0, 1], &opt(1232, 0, &[0xff, 0xf0, 0, 1, 9])));
    add("OPT with an option cut", with([0, 0, 1], &opt(1232, 0, &[0xff, 0xf0, 0, 9, 9])));
    let named = [&name("x.test")[..], &plain[1..]].concat();
    add("OPT with a name", with([0, 0, 1], &named));
    add("OPT before a record", with([0, 0, 2], &[&plain[..], &record].concat()));

    for text in ["com.com", "test.test", "a.a.a.a.test", "www.www.odd.test", "WWW.Odd.TEST"] {
        add(&format!("name {text}"), about(&name(text)));
    }
    for text in ["*.odd.test", "_sip._udp.odd.test", "-.odd.test", "a b.odd.test", "1.odd.test"] {
        add(&format!("name {text}"), about(&name(text)));
    }
    add("the root", about(&[0]));
    add("the name servers of the root", message(RD, [1, 0, 0, 0], &entry(&[0], 2, IN)));
    for (text, label) in [
        ("NUL", &b"a\0b"[..]),
        ("a dot", b"a.b"),
        ("a backslash", b"a\\b"),
        ("a quote", b"a\"b"),
        ("a newline", b"a\nb"),
        ("byte 255", b"a\xffb"),
        ("63 bytes", &[b'x'; 63]),
    ] {
        add(&format!("a label with {text}"), about(&labels(&[label, b"odd", b"test"])));
    }
    let long: [&[u8]; 4] = [&[b'x'; 63], &[b'y'; 63], &[b'z'; 63], &[b'w'; 61]];
    add("a name of 255 bytes", about(&labels(&long)));
    let longer: [&[u8]; 4] = [&[b'x'; 63], &[b'y'; 63], &[b'z'; 63], &[b'w'; 62]];
    add("a name of 256 bytes", about(&labels(&longer)));
    add("a name of 127 labels", about(&labels(&[&b"x"[..]; 127])));
    add("a label of type 01", about(&[0x41, b'x', 0]));
    add("a label of type 10", about(&[0x81, b'x', 0]));
    add("a pointer to itself", about(&[0xc0, 12]));
    add("a pointer to the header", about(&[0xc0, 4]));
    add("a pointer past the end", about(&[0xc0, 200]));
    add("a pointer into the own labels", about(&[1, b'x', 0xc0, 12]));
    all
}

/// Answers as the upstream of all: with an address for names of `test` or `com`, else that there is none.
fn respond(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Ok(message) = Message::parse(bytes) else { return Vec::new() };
    let Some(asked) = message.question() else { return Vec::new() };
    let header =
        Header { recursion_available: true, ..message.header().response(ResponseCode::NOERROR) };
    let mut builder = Builder::new(header, 1232);
    builder.question(asked.name, asked.kind, asked.class).expect("there is room");
    let (section, line) = match (asked.kind, asked.class) {
        (RecordType::A | RecordType::ANY, Class::IN) => {
            (Section::Answer, format!("{} 600 IN A 192.0.2.1", asked.name))
        }
        _ => (Section::Authority, "test. 600 IN SOA ns.test. admin.test. 1 2 3 4 600".to_owned()),
    };
    if let Ok(record) = line.parse::<Record>() {
        builder.record(section, &record.view()).expect("there is room");
    }
    vec![builder.finish()]
}

/// What a server says to an odd message: its code and its flags. The flags that say where an answer comes
/// from are left out (AA, RA, AD).
fn described(bytes: &[u8]) -> String {
    let Some(header) = Header::parse(bytes) else { return format!("{} bytes", bytes.len()) };
    let message = Message::parse(bytes).ok();
    let code = message.as_ref().map_or(header.code, Message::response_code);
    let mut text = format!("{code}");
    for (is_set, name) in [
        (header.is_truncated, "TC"),
        (header.recursion_desired, "RD"),
        (header.checking_disabled, "CD"),
    ] {
        if is_set {
            text += &format!(" {name}");
        }
    }
    // An error need not repeat the question, or say that the server knows EDNS.
    let is_refused = matches!(code, ResponseCode::FORMERR | ResponseCode::NOTIMP);
    if let Some(message) = message.as_ref().filter(|_| !is_refused) {
        let answers = message.answers().count();
        text += if message.question().is_some() { " question" } else { "" };
        text += &format!(" {answers} answers");
        text += if message.edns().is_some() { " OPT" } else { "" };
    }
    text
}

/// A server that is asked.
struct Asked {
    name: &'static str,
    socket: UdpSocket,
    number: u16,
}

impl Asked {
    fn new(name: &'static str, address: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        socket.connect(address).expect("it is there");
        Self { name, socket, number: 0 }
    }

    /// Waits for the answer of a number, and returns that to an odd message if it comes before.
    fn hear(&self, number: u16) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 65_535];
        loop {
            let (size, _) = receive_udp(&self.socket, &mut bytes).expect("a usual answer comes");
            match bytes.first_chunk().map(|first| u16::from_be_bytes(*first)) {
                Some(ODD) => return Some(bytes[..size].to_vec()),
                Some(other) if other == number => return None,
                _ => {}
            }
        }
    }

    /// Sends an odd message, and returns what the server says to it: nothing, if three questions that are
    /// asked one after the other are answered, and nothing more comes.
    fn say(&mut self, odd: &[u8]) -> String {
        self.socket.set_read_timeout(Some(testkit::PATIENCE)).expect("a timeout");
        self.socket.send(odd).expect("it is sent");
        for _ in 0..3 {
            self.number += 1;
            let usual = question(self.number, &format!("usual-{}.test", self.number));
            self.socket.send(&usual).expect("it is sent");
            if let Some(bytes) = self.hear(self.number) {
                self.hear(self.number);
                return described(&bytes);
            }
        }
        self.socket.set_read_timeout(Some(LATER)).expect("a timeout");
        let mut bytes = vec![0; 65_535];
        match self.socket.recv(&mut bytes) {
            Ok(size) => described(&bytes[..size]),
            Err(_) => "nothing".to_owned(),
        }
    }
}

const DNSMASQ: &str = "dnsmasq";
const UNBOUND: &str = "unbound";
const NAMED: &str = "named";
/// Why answers differ: how the names of the cases begin, the peer, and the reason.
const REASONS: &[(&[&str], &str, &str)] = &[
    (&["opcode"], DNSMASQ, "dnsmasq takes every opcode for that of a query"),
    (
        &["opcode 1", "opcode 2", "opcode 3", "opcode 6"],
        NAMED,
        "named leaves RD out of its answer (RFC 1035 section 4.1.1 copies it)",
    ),
    (&["opcode 4", "opcode 5"], NAMED, "named knows NOTIFY and UPDATE; they are not known here"),
    (&["opcode 4"], UNBOUND, "unbound knows NOTIFY, and refuses it; it is not known here"),
    (
        &["no question", "two questions", "65,535", "a question ", "a label of type"],
        DNSMASQ,
        "dnsmasq drops what it cannot read, or has not one question",
    ),
    (
        &["class "],
        DNSMASQ,
        "dnsmasq forwards all classes; there are no records but those of IN here",
    ),
    (&["class ANY"], UNBOUND, "unbound takes class ANY for IN"),
    (
        &["class 0", "class 2", "class NONE", "class ANY", "class 65535"],
        NAMED,
        "named takes these classes for errors; there are no records of them here",
    ),
    (&["version.bind"], NAMED, "no version is told here"),
    (&["version.bind"], DNSMASQ, "no version is told here"),
    (&["version.bind"], UNBOUND, "no version is told here"),
    (&["type 41"], DNSMASQ, "dnsmasq forwards a question for OPT, which is no record (RFC 6891)"),
    (&["type 251", "type 252"], DNSMASQ, "dnsmasq forwards transfers; there are none here"),
    (&["type 253"], DNSMASQ, "dnsmasq says itself that there is no MAILB"),
    (
        &["type 128", "type 249", "type 250", "type 253", "type 254"],
        UNBOUND,
        "unbound takes a type from 128 to 255 for one that nothing can be asked for; it is forwarded here",
    ),
    (
        &["type 128", "type 249", "type 250", "type 253", "type 254"],
        NAMED,
        "named takes these types for ones that nothing can be asked for; they are forwarded here",
    ),
    (
        &["type 251", "type 252"],
        NAMED,
        "named says that it is not the authority; there are none here",
    ),
    (&["the name servers of the root"], NAMED, "named takes no SOA of another zone in a denial"),
    (&["flag TC"], UNBOUND, "unbound takes no question with TC; the flag says nothing in one"),
    (
        &["no RD"],
        UNBOUND,
        "unbound does not answer from elsewhere without RD; it is forwarded here",
    ),
    (
        &["an answer in", "an authority in", "an additional record in", "OPT before"],
        UNBOUND,
        "unbound takes no question with records; they are not looked at here",
    ),
    (
        &["an answer announced", "an additional record announced"],
        DNSMASQ,
        "dnsmasq does not read what follows the question",
    ),
    (
        &["EDNS version"],
        DNSMASQ,
        "dnsmasq looks at no version (RFC 6891 section 6.1.3 asks for BADVERS)",
    ),
    (&["EDNS with DO"], DNSMASQ, "dnsmasq leaves OPT out if its upstream does"),
    (
        &["two OPT", "OPT as an answer", "OPT with an option cut", "OPT with a name"],
        DNSMASQ,
        "dnsmasq takes any OPT record (RFC 6891 section 6.1.1 asks for FORMERR)",
    ),
    (&["OPT with an option cut"], UNBOUND, "unbound skips an option that is cut"),
    (
        &["a name of 256 bytes"],
        DNSMASQ,
        "dnsmasq forwards it (RFC 1035 section 2.3.4 allows 255 bytes)",
    ),
    (&["a pointer"], DNSMASQ, "dnsmasq refuses what it cannot read"),
    (
        &["a pointer to the header"],
        UNBOUND,
        "unbound takes no pointer in a question; this one leads to a zero byte, and so to the root",
    ),
];

#[test]
fn odd_messages_get_what_other_servers_give_or_there_is_a_reason() {
    let upstream = Upstream::saying(respond);
    let to = format!("--server=127.0.0.1#{}", upstream.address.port());
    let Some(dnsmasq) = DnsPeer::dnsmasq(&[&to]) else { return };
    let Some(unbound) = DnsPeer::unbound_forwarding(upstream.address, "") else { return };
    let Some(named) = DnsPeer::named_forwarding(upstream.address) else { return };
    let server = Server::start(&[upstream.address], &[]);
    let mut ours = Asked::new("dns", server.udp);
    let mut peers = [(DNSMASQ, &dnsmasq), (UNBOUND, &unbound), (NAMED, &named)]
        .map(|(name, peer)| Asked::new(name, peer.address()));
    let (mut unexplained, mut differing, mut used) = (Vec::new(), 0, HashSet::new());
    let cases = cases();
    for (case, odd) in &cases {
        let own = ours.say(odd);
        for peer in &mut peers {
            let theirs = peer.say(odd);
            if own == theirs {
                continue;
            }
            differing += 1;
            let known = REASONS.iter().find_map(|(cases, name, why)| {
                let start = cases.iter().find(|it| *name == peer.name && case.starts_with(**it));
                start.map(|start| (*name, *start, *why))
            });
            let text = format!("{case}: {own}, {} {theirs}", peer.name);
            match known {
                Some((name, start, why)) => {
                    used.insert((name, start));
                    tell("DIFFERS", &format!("{text}: {why}"));
                }
                None => unexplained.push(text),
            }
        }
    }
    assert!(unexplained.is_empty(), "without a reason:\n{}", unexplained.join("\n"));
    let reasons = REASONS.iter().flat_map(|(cases, name, _)| cases.iter().map(|it| (*name, *it)));
    let unused: Vec<_> = reasons.filter(|it| !used.contains(it)).collect();
    assert!(unused.is_empty(), "reasons without a difference: {unused:?}");
    assert!(differing < cases.len(), "{differing} differences in {} cases", cases.len());
}
