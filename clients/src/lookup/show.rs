//! Answers as text: the form of `dig`, the short form, and a line for each question.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use protocol::Buffer;
use protocol::dns::{
    CLIENT_COOKIE_SIZE, Edns, Header, Message, Question, RecordType, RecordView, Section, option,
};
use protocol::http::format_date;

use super::ask::Ask;
use super::engine::Plan;
use super::flight::Trouble;
use super::json;
use super::options::{Form, Shown, Transport};
use super::servers::Server;
use crate::output::complain;

/// The columns of the TTL, the class, the type and the data of a record, as `dig` has them.
const COLUMNS: [usize; 4] = [24, 32, 40, 48];
/// The width of a tab.
const TAB: usize = 8;

/// How a question has ended.
pub(super) struct Outcome<'a> {
    pub(super) ask: &'a Ask,
    /// The answer, if there is one.
    pub(super) reply: Option<Reply<'a>>,
    /// The attempts that have failed.
    pub(super) troubles: &'a [Trouble],
    /// An answer was truncated, and asked for again over TCP.
    pub(super) was_truncated: bool,
    /// The server wanted its own cookie first, and was asked again with it.
    pub(super) had_bad_cookie: bool,
    /// The time from the first attempt to the end.
    pub(super) total: Duration,
}

/// An answer.
pub(super) struct Reply<'a> {
    pub(super) message: &'a Message<'a>,
    pub(super) server: &'a Server,
    pub(super) transport: Transport,
    /// The time of the last attempt.
    pub(super) time: Duration,
}

/// Appends how a question has ended, in the form that the user wants.
pub(super) fn append(outcome: &Outcome<'_>, plan: &Plan, down: &mut Buffer) {
    let mut text = String::new();
    match plan.options.form {
        Form::Full => full(outcome, plan, &mut text),
        Form::Short => short(outcome, plan, &mut text),
        Form::Line => line(outcome, &mut text),
        Form::Json => json::append(outcome, &mut text),
    }
    down.extend_from_slice(text.as_bytes());
}

/// Returns the line about an attempt that has failed.
pub(super) fn trouble(trouble: &Trouble) -> String {
    let (ip, port) = (trouble.server.ip(), trouble.server.port());
    format!(";; communications error to {ip}#{port}: {}\n", trouble.text)
}

/// Returns the lines that precede the first answer: the tool and its arguments.
pub(super) fn heading(arguments: &[String], servers: usize) -> String {
    let (version, words) = (env!("CARGO_PKG_VERSION"), arguments.join(" "));
    let plural = if servers == 1 { "" } else { "s" };
    format!(
        "\n; <<>> lookup {version} <<>> {words}\n; ({servers} server{plural} found)\n;; global options: +cmd\n"
    )
}

/// Writing to a text does not fail, so no result of `write!` is looked at here and below.
fn full(outcome: &Outcome<'_>, plan: &Plan, text: &mut String) {
    if !plan.is_single {
        outcome.troubles.iter().for_each(|it| text.push_str(&trouble(it)));
    }
    let Some(reply) = &outcome.reply else {
        let _ = writeln!(text, ";; no servers could be reached for {}", outcome.ask);
        return;
    };
    let (message, shown) = (reply.message, plan.options.shown);
    if outcome.was_truncated && shown.comments {
        text.push_str(";; Truncated, retrying in TCP mode.\n");
    }
    if outcome.had_bad_cookie && shown.comments {
        text.push_str(";; BADCOOKIE, retrying.\n");
    }
    if shown.comments {
        text.push_str(";; Got answer:\n");
        header(message, text);
        if let Some(edns) = message.edns() {
            options(&edns, plan.options.cookie, text);
        }
    }
    if shown.question && message.questions().next().is_some() {
        title("QUESTION", shown, text);
        message.questions().for_each(|it| question(&it, text));
        end_section(shown, text);
    }
    for (section, name, is_shown) in [
        (Section::Answer, "ANSWER", shown.answer),
        (Section::Authority, "AUTHORITY", shown.authority),
        (Section::Additional, "ADDITIONAL", shown.additional),
    ] {
        let mut records = message.records(section).filter(is_record).peekable();
        if is_shown && records.peek().is_some() {
            title(name, shown, text);
            records.for_each(|it| record(&it, text));
            end_section(shown, text);
        }
    }
    if shown.statistics {
        statistics(reply, text);
    }
}

/// Returns whether a record is one of the zone, and not the options of the message.
fn is_record(record: &RecordView<'_>) -> bool {
    record.kind != RecordType::OPT
}

fn title(name: &str, shown: Shown, text: &mut String) {
    if shown.comments {
        let _ = writeln!(text, ";; {name} SECTION:");
    }
}

fn end_section(shown: Shown, text: &mut String) {
    if shown.comments {
        text.push('\n');
    }
}

/// Returns the flags of a header by their names.
pub(super) fn flags(header: &Header) -> Vec<&'static str> {
    let flags = [
        (header.is_response, "qr"),
        (header.is_authoritative, "aa"),
        (header.is_truncated, "tc"),
        (header.recursion_desired, "rd"),
        (header.recursion_available, "ra"),
        (header.is_authentic, "ad"),
        (header.checking_disabled, "cd"),
    ];
    flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect()
}

fn header(message: &Message<'_>, text: &mut String) {
    let (header, code) = (message.header(), message.response_code());
    let (opcode, id) = (header.opcode, header.id);
    let _ = writeln!(text, ";; ->>HEADER<<- opcode: {opcode}, status: {code}, id: {id}");
    text.push_str(";; flags:");
    for flag in flags(&header) {
        let _ = write!(text, " {flag}");
    }
    let _ = writeln!(
        text,
        "; QUERY: {}, ANSWER: {}, AUTHORITY: {}, ADDITIONAL: {}",
        message.questions().count(),
        message.count(Section::Answer),
        message.count(Section::Authority),
        message.count(Section::Additional),
    );
    if header.recursion_desired && !header.recursion_available {
        text.push_str(";; WARNING: recursion requested but not available\n");
    }
    text.push('\n');
}

/// Appends the OPT record. A cookie was compared if one was sent.
fn options(edns: &Edns<'_>, was_compared: bool, text: &mut String) {
    let flags = if edns.dnssec_ok { " do" } else { "" };
    let (version, size) = (edns.version, edns.size);
    text.push_str(";; OPT PSEUDOSECTION:\n");
    let _ = writeln!(text, "; EDNS: version: {version}, flags:{flags}; udp: {size}");
    for (number, content) in edns.options() {
        match (number, content) {
            (option::NSID, _) => named_bytes("NSID", content, text),
            (option::COOKIE, _) => {
                let verdict = match content.len() {
                    _ if !was_compared => "",
                    // That of this side alone.
                    CLIENT_COOKIE_SIZE => " (echoed)",
                    _ => " (good)",
                };
                let _ = writeln!(text, "; COOKIE: {}{verdict}", hex(content, ""));
            }
            (option::EXTENDED_ERROR, [high, low, why @ ..]) => {
                let number = u16::from_be_bytes([*high, *low]);
                let _ = write!(text, "; EDE: {number}");
                if let Some(name) = extended_error(number) {
                    let _ = write!(text, " ({name})");
                }
                if !why.is_empty() {
                    let _ = write!(text, ": ({})", printable(why));
                }
                text.push('\n');
            }
            _ => named_bytes(&format!("OPT={number}"), content, text),
        }
    }
}

/// Appends bytes in hexadecimal, and as text.
fn named_bytes(name: &str, bytes: &[u8], text: &mut String) {
    let _ = write!(text, "; {name}");
    if !bytes.is_empty() {
        let _ = write!(text, ": {} (\"{}\")", hex(bytes, " "), printable(bytes));
    }
    text.push('\n');
}

/// Returns bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8], separator: &str) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(separator)
}

/// Returns bytes as text. Those that could control a terminal become dots.
fn printable(bytes: &[u8]) -> String {
    let shown = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
    bytes.iter().map(shown).collect()
}

/// Returns the name of an extended error (RFC 8914 section 5.2).
fn extended_error(number: u16) -> Option<&'static str> {
    const NAMES: [&str; 25] = [
        "Other",
        "Unsupported DNSKEY Algorithm",
        "Unsupported DS Digest Type",
        "Stale Answer",
        "Forged Answer",
        "DNSSEC Indeterminate",
        "DNSSEC Bogus",
        "Signature Expired",
        "Signature Not Yet Valid",
        "DNSKEY Missing",
        "RRSIGs Missing",
        "No Zone Key Bit Set",
        "NSEC Missing",
        "Cached Error",
        "Not Ready",
        "Blocked",
        "Censored",
        "Filtered",
        "Prohibited",
        "Stale NXDOMAIN Answer",
        "Not Authoritative",
        "Not Supported",
        "No Reachable Authority",
        "Network Error",
        "Invalid Data",
    ];
    NAMES.get(usize::from(number)).copied()
}

/// Appends tabs and spaces up to a column, at least one, as BIND does.
fn indent(column: &mut usize, to: usize, text: &mut String) {
    let to = to.max(*column + 1);
    let tabs = to / TAB - *column / TAB;
    text.extend(std::iter::repeat_n('\t', tabs));
    let from = if tabs > 0 { to / TAB * TAB } else { *column };
    text.extend(std::iter::repeat_n(' ', to - from));
    *column = to;
}

/// Appends a field, and moves the column behind it.
fn field(value: impl std::fmt::Display, column: &mut usize, text: &mut String) {
    let before = text.len();
    let _ = write!(text, "{value}");
    *column += text.len() - before;
}

fn question(question: &Question<'_>, text: &mut String) {
    let mut column = 0;
    text.push(';');
    field(question.name, &mut column, text);
    indent(&mut column, COLUMNS[1], text);
    field(question.class, &mut column, text);
    indent(&mut column, COLUMNS[2], text);
    let _ = writeln!(text, "{}", question.kind);
}

fn record(record: &RecordView<'_>, text: &mut String) {
    let mut column = 0;
    field(record.name, &mut column, text);
    indent(&mut column, COLUMNS[0], text);
    field(record.ttl, &mut column, text);
    indent(&mut column, COLUMNS[1], text);
    field(record.class, &mut column, text);
    indent(&mut column, COLUMNS[2], text);
    field(record.kind, &mut column, text);
    indent(&mut column, COLUMNS[3], text);
    let _ = writeln!(text, "{}", record.data);
}

fn statistics(reply: &Reply<'_>, text: &mut String) {
    let (address, name) = (reply.server.address, &reply.server.name);
    let (ip, port) = (address.ip(), address.port());
    let transport = match reply.transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
    };
    let name = name.split('#').next().unwrap_or_default();
    let _ = writeln!(text, ";; Query time: {} msec", reply.time.as_millis());
    let _ = writeln!(text, ";; SERVER: {ip}#{port}({name}) ({transport})");
    let _ = writeln!(text, ";; WHEN: {}", moment());
    let _ = writeln!(text, ";; MSG SIZE  rcvd: {}\n", reply.message.size());
}

/// Returns the time of day, as `Sun Nov 06 08:49:37 UTC 1994`.
fn moment() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // As `Sun, 06 Nov 1994 08:49:37 GMT`.
    let date = format_date(since.as_secs());
    let date = String::from_utf8_lossy(&date);
    let words: Vec<&str> = date.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    match words[..] {
        [weekday, day, month, year, time, _] => {
            format!("{weekday} {month} {day} {time} UTC {year}")
        }
        _ => date.into_owned(),
    }
}

fn short(outcome: &Outcome<'_>, plan: &Plan, text: &mut String) {
    match &outcome.reply {
        Some(reply) => reply.message.answers().filter(is_record).for_each(|record| {
            let _ = writeln!(text, "{}", record.data);
        }),
        // Standard output has data alone.
        None if plan.is_single => complain(format_args!("lookup: {}", no_reply(outcome))),
        None => {
            let _ = writeln!(text, ";; {}", no_reply(outcome));
        }
    }
}

/// Returns a sentence about a question that was not answered.
pub(super) fn no_reply(outcome: &Outcome<'_>) -> String {
    let troubles = outcome.troubles;
    let mut text = format!("no reply for {} after {} attempts", outcome.ask, troubles.len());
    if let Some(last) = troubles.last() {
        let (ip, port) = (last.server.ip(), last.server.port());
        let _ = write!(text, ", the last to {ip}#{port}: {}", last.text);
    }
    text
}

/// The question, the response code, the time in milliseconds, and the records of the answer with their
/// types, separated by tabs.
fn line(outcome: &Outcome<'_>, text: &mut String) {
    let millis = outcome.total.as_secs_f64() * 1e3;
    match &outcome.reply {
        Some(reply) => {
            let code = reply.message.response_code();
            let _ = write!(text, "{}\t{code}\t{millis:.3} ms", outcome.ask);
            for record in reply.message.answers().filter(is_record) {
                let _ = write!(text, "\t{} {}", record.kind, record.data);
            }
            text.push('\n');
        }
        None => {
            let last = outcome.troubles.last().map_or("", |last| &last.text);
            let _ = writeln!(text, "{}\tno reply\t{millis:.3} ms\t{last}", outcome.ask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends a record of a line of a zone file.
    fn shown(line: &str) -> String {
        let own: protocol::dns::Record = line.parse().expect(line);
        let mut text = String::new();
        record(&own.view(), &mut text);
        text
    }

    #[test]
    fn records_have_the_columns_of_dig() {
        for (line, expected) in [
            ("a.example. 60 IN A 192.0.2.1", "a.example.\t\t60\tIN\tA\t192.0.2.1\n"),
            (
                "exactly-twenty-four.xyz. 60 IN A 192.0.2.1",
                "exactly-twenty-four.xyz. 60\tIN\tA\t192.0.2.1\n",
            ),
            (
                "a-name-that-is-longer-than-its-column.example. 60 IN A 192.0.2.1",
                "a-name-that-is-longer-than-its-column.example. 60 IN A 192.0.2.1\n",
            ),
        ] {
            assert_eq!(shown(line), expected);
        }
    }

    #[test]
    fn options_are_shown_by_name_and_cannot_control_the_terminal() {
        let mut bytes = Vec::new();
        protocol::dns::append_option(option::NSID, b"a\x1bb", &mut bytes);
        protocol::dns::append_option(option::EXTENDED_ERROR, b"\0\x12no\n", &mut bytes);
        protocol::dns::append_option(65001, b"", &mut bytes);
        let edns = Edns::new(1232).with_options(&bytes).expect("they are whole");
        let mut text = String::new();
        options(&edns, true, &mut text);
        assert_eq!(
            text,
            ";; OPT PSEUDOSECTION:\n; EDNS: version: 0, flags:; udp: 1232\n\
             ; NSID: 61 1b 62 (\"a.b\")\n; EDE: 18 (Prohibited): (no.)\n; OPT=65001\n"
        );
    }
}
