//! Answers compared with those of `dnsmasq`, which has the same files, the same rules and the same upstream.

use std::collections::BTreeMap;

use protocol::dns::{Builder, Header, Message, Record, RecordType, ResponseCode, Section};
use testkit::dns::DnsPeer;
use testkit::{Folder, tell};

use super::asking::{Server, question_for, receive};
use super::upstream::Upstream;

/// How many questions are compared.
const QUESTIONS: usize = 10_000;
/// The hosts of the hosts file, and the names of the upstream.
const HOSTS: u32 = 300;
const NAMES: u32 = 400;

/// The types that are asked for.
const KINDS: [RecordType; 8] = [
    RecordType::A,
    RecordType::A,
    RecordType::A,
    RecordType::AAAA,
    RecordType::MX,
    RecordType::TXT,
    RecordType::PTR,
    RecordType::SRV,
];

/// The contents of the hosts file: an address or two for each host, some with a second name.
fn hosts() -> String {
    let lines = (0..HOSTS).map(|number| {
        let (a, b) = (number / 250, number % 250);
        let alias = if number.is_multiple_of(3) { format!(" h{number}") } else { String::new() };
        let mut lines = format!("10.1.{a}.{b} h{number}.lan{alias}\n");
        if number.is_multiple_of(4) {
            lines += &format!("fd00::{number:x} h{number}.lan\n");
        }
        if number.is_multiple_of(10) {
            lines += &format!("10.2.{a}.{b} h{number}.lan\n");
        }
        lines
    });
    lines.collect()
}

/// An upstream whose answers depend on the question alone. `shift` makes one differ from another.
fn upstream(shift: u8) -> Upstream {
    Upstream::saying(move |bytes| vec![respond(bytes, shift)])
}

fn respond(bytes: &[u8], shift: u8) -> Vec<u8> {
    let message = Message::parse(bytes).expect("the servers ask right");
    let asked = message.question().expect("there is one");
    let text = asked.name.to_string().to_ascii_lowercase();
    let number: u32 = text.bytes().map(u32::from).sum();
    let mut records = Vec::new();
    let has_name = !number.is_multiple_of(5);
    if has_name && number.is_multiple_of(7) {
        records.push(format!("{text} 600 IN CNAME target-{text}"));
    }
    let owner = records.first().map_or(text.clone(), |_| format!("target-{text}"));
    let address = number % 200 + 1;
    match asked.kind {
        _ if !has_name => {}
        RecordType::A => {
            let more = 0..=number % 3;
            records.extend(
                more.map(|it| {
                    format!("{owner} 600 IN A 192.0.{}.{address}", u32::from(shift) + it)
                }),
            );
        }
        RecordType::AAAA if number.is_multiple_of(2) => {
            records.push(format!("{owner} 600 IN AAAA 2001:db8::{shift:x}:{address:x}"));
        }
        RecordType::MX if number.is_multiple_of(3) => {
            records.push(format!("{owner} 600 IN MX 10 mail.{owner}"));
        }
        RecordType::TXT => records.push(format!("{owner} 600 IN TXT \"text {number}\"")),
        RecordType::PTR if number.is_multiple_of(2) => {
            records.push(format!("{owner} 600 IN PTR host{number}.up.test."));
        }
        _ => {}
    }
    let code = if has_name { ResponseCode::NOERROR } else { ResponseCode::NXDOMAIN };
    let header = Header { recursion_available: true, ..message.header().response(code) };
    let mut builder = Builder::new(header, 1232);
    builder.question(asked.name, asked.kind, asked.class).expect("there is room");
    let is_negative = !records.iter().any(|it| !it.contains(" CNAME "));
    let mut add = |section, text: &str| {
        let record: Record = text.parse().expect("it is a record");
        builder.record(section, &record.view()).expect("there is room");
    };
    records.iter().for_each(|record| add(Section::Answer, record));
    if is_negative {
        add(Section::Authority, "up.test. 600 IN SOA ns.up.test. admin.up.test. 1 2 3 4 600");
    }
    builder.finish()
}

/// Returns a name and a type to ask for.
fn draw(random: &mut fastrand::Rng) -> (String, RecordType) {
    let kind = KINDS[random.usize(..KINDS.len())];
    let (host, number) = (random.u32(..HOSTS + 20), random.u32(..NAMES));
    let name = match random.u8(..12) {
        0 | 1 => format!("h{host}.lan"),
        2 => format!("h{host}"),
        3 => {
            let (a, b, net) = (host / 250, host % 250, random.u8(1..=3));
            return (format!("{b}.{a}.{net}.10.in-addr.arpa"), RecordType::PTR);
        }
        4 => format!("n{number}.dev.test"),
        5 => format!("n{number}.null.test"),
        6 => format!("n{number}.no.test"),
        7 => format!("n{number}.corp.test"),
        8 => format!("n{number}.deep.dev.test"),
        9 => [
            "rec.test",
            "txt.test",
            "mail.test",
            "alias.lan",
            "dev.test",
            "corp.test",
            "in.null.test",
        ][random.usize(..7)]
        .to_owned(),
        _ => format!("n{number}.up.test"),
    };
    let vary = |letter: char| match random.bool() {
        true => letter.to_ascii_uppercase(),
        false => letter,
    };
    (name.chars().map(vary).collect(), kind)
}

/// What a server says, up to the order of the records, their TTLs and the case of names.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: ResponseCode,
    records: Vec<String>,
}

fn said(bytes: &[u8], id: u16) -> Said {
    let message = Message::parse(bytes).expect("an answer is a message");
    assert!(message.header().id == id && !message.header().is_truncated);
    let line = |record: protocol::dns::RecordView<'_>| {
        format!("{} {} {}", record.name, record.kind, record.data).to_ascii_lowercase()
    };
    let mut records: Vec<String> = message.answers().map(line).collect();
    records.sort_unstable();
    Said { code: message.response_code(), records }
}

/// Returns why answers to a question may differ.
fn reason(name: &str, kind: RecordType, ours: &Said, theirs: &Said) -> Option<&'static str> {
    let targets = |said: &Said| -> Vec<String> {
        let ends = said.records.iter().filter_map(|record| record.split_once(" ptr "));
        ends.map(|(_, target)| target.to_owned()).collect()
    };
    let has_alias = ours.records.iter().any(|record| record.contains(" cname "));
    if kind == RecordType::PTR && has_alias && targets(ours) == targets(theirs) {
        return Some("dnsmasq leaves the aliases out of a PTR answer from its cache");
    }
    let name = name.to_ascii_lowercase();
    let of_file = |name: &str| {
        let label = name.trim_end_matches(".lan");
        let number = label.strip_prefix('h').and_then(|rest| rest.parse::<u32>().ok());
        number.is_some_and(|number| {
            number < HOSTS && (name.ends_with(".lan") || number.is_multiple_of(3))
        })
    };
    let is_own = of_file(&name)
        || [".dev.test", ".null.test"].iter().any(|domain| name.ends_with(domain))
        || ["rec.test", "txt.test", "mail.test", "alias.lan", "dev.test"].contains(&&name[..]);
    let has_records = !ours.records.is_empty();
    if is_own
        && has_records
        && !has_alias
        && theirs.records.iter().any(|record| record.contains(" cname "))
    {
        return Some(
            "dnsmasq asks an upstream about a type that a name of its own lacks, and then takes the \
             alias that it has heard for the records of that name",
        );
    }
    let has_none = ours.records.iter().all(|record| record.contains(" cname "));
    (is_own && has_none && ours.code == ResponseCode::NOERROR).then_some(
        "a name with records or addresses of its own is never asked of an upstream here; dnsmasq asks for the types that \
         it lacks",
    )
}

#[test]
fn answers_are_those_of_dnsmasq() {
    let folder = Folder::new("dns-dnsmasq");
    let file = folder.file("hosts");
    std::fs::write(&file, hosts()).expect("the folder is writable");
    let (default, corp) = (upstream(2), upstream(100));
    let to = |upstream: &Upstream| format!("127.0.0.1#{}", upstream.address.port());
    let options = [
        format!("--addn-hosts={file}"),
        format!("--server={}", to(&default)),
        format!("--server=/corp.test/{}", to(&corp)),
        "--address=/dev.test/10.9.0.1".to_owned(),
        "--address=/deep.dev.test/10.9.0.2".to_owned(),
        "--address=/deep.dev.test/fd00::2".to_owned(),
        "--address=/null.test/#".to_owned(),
        "--address=/no.test/".to_owned(),
        "--host-record=rec.test,10.9.9.9".to_owned(),
        "--host-record=in.null.test,10.9.9.8".to_owned(),
        "--txt-record=txt.test,hello".to_owned(),
        "--mx-host=mail.test,rec.test,5".to_owned(),
        "--cname=alias.lan,h1.lan".to_owned(),
        "--local-ttl=60".to_owned(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let Some(peer) = DnsPeer::dnsmasq(&options) else { return };
    let corp_rule = format!("/corp.test/{}", corp.address);
    let args = [
        ["--hosts", &file],
        ["--server", &corp_rule],
        ["--address", "/dev.test/10.9.0.1"],
        ["--address", "/deep.dev.test/10.9.0.2"],
        ["--address", "/deep.dev.test/fd00::2"],
        ["--address", "/null.test/#"],
        ["--address", "/no.test/"],
        ["--record", "rec.test 60 A 10.9.9.9"],
        ["--record", "in.null.test 60 A 10.9.9.8"],
        ["--record", "txt.test 60 TXT hello"],
        ["--record", "mail.test 60 MX 5 rec.test"],
        ["--record", "alias.lan 60 CNAME h1.lan"],
        ["--cache-size", "1mb"],
    ];
    let server = Server::start(&[default.address], &args.concat());
    let (own, other) = (server.socket(), server.socket());
    other.connect(peer.address()).expect("it is there");
    let mut random = fastrand::Rng::with_seed(15);
    let mut differences: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    for index in 0..QUESTIONS {
        let ((name, kind), id) = (draw(&mut random), index as u16);
        let question = question_for(id, &name, kind, None);
        let ask = |socket: &std::net::UdpSocket| {
            socket.send(&question).expect("it is sent");
            said(&receive(socket).0, id)
        };
        let (ours, theirs) = (ask(&own), ask(&other));
        if ours == theirs {
            continue;
        }
        let example = format!("{name} {kind}: {ours:?}, with dnsmasq {theirs:?}");
        let why = reason(&name, kind, &ours, &theirs)
            .unwrap_or_else(|| panic!("without a reason: {example}"));
        differences.entry(why).or_insert((0, example)).0 += 1;
    }
    for (why, (count, example)) in &differences {
        tell("DIFFERS", &format!("{count} of {QUESTIONS}: {why}, such as {example}"));
    }
    // Most questions have no reason to be answered differently.
    let count: usize = differences.values().map(|(count, _)| count).sum();
    assert!(count < QUESTIONS / 5, "{count} differ");
}
