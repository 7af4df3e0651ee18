//! Answers as JSON (RFC 8259).

use std::fmt::Write;

use protocol::dns::{Edns, Message, RecordType, Section};

use super::options::Transport;
use super::show::{Outcome, flags, hex, no_reply};
use crate::output::json_text;

/// The schema of an object, for `--help`.
pub(super) const SCHEMA: &str = "\
name, class, type    the question
error                why there is no answer, or null; then the fields down to additional are null
server               address, port, name (as it was given) and transport (udp or tcp)
time_us              microseconds from the last attempt to the answer
size                 bytes of the message
id, opcode, code     of the header, the last two by name
flags                names among qr, aa, tc, rd, ra, ad, cd
edns                 version, udp_size, dnssec_ok and options (number, hex), or null
answer, authority, additional
                     records: name, ttl, class, type, data (its text form)
attempts             attempts, with the one that was answered
total_us             microseconds from the first attempt to the end";

/// Appends an object in a line.
pub(super) fn append(outcome: &Outcome<'_>, text: &mut String) {
    let ask = outcome.ask;
    text.push_str("{\"name\":");
    text.push_str(&json_text(&ask.name.to_string()));
    // Writing to a text does not fail.
    let _ = write!(text, ",\"class\":\"{}\",\"type\":\"{}\",\"error\":", ask.class, ask.kind);
    let attempts = outcome.troubles.len() + usize::from(outcome.reply.is_some());
    match &outcome.reply {
        Some(reply) => {
            let (address, message) = (reply.server.address, reply.message);
            let _ = write!(text, "null,\"server\":{{\"address\":\"{}\"", address.ip());
            let _ = write!(text, ",\"port\":{},\"name\":", address.port());
            text.push_str(&json_text(&reply.server.name));
            let transport = match reply.transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
            };
            let _ = write!(text, ",\"transport\":\"{transport}\"}}");
            let (time, size) = (reply.time.as_micros(), message.size());
            let _ = write!(text, ",\"time_us\":{time},\"size\":{size}");
            append_message(message, text);
        }
        None => {
            text.push_str(&json_text(&no_reply(outcome)));
            for name in [
                "server",
                "time_us",
                "size",
                "id",
                "opcode",
                "code",
                "flags",
                "edns",
                "answer",
                "authority",
                "additional",
            ] {
                let _ = write!(text, ",\"{name}\":null");
            }
        }
    }
    let total = outcome.total.as_micros();
    let _ = writeln!(text, ",\"attempts\":{attempts},\"total_us\":{total}}}");
}

fn append_message(message: &Message<'_>, text: &mut String) {
    let (header, code) = (message.header(), message.response_code());
    let flags: Vec<String> = flags(&header).iter().map(|flag| format!("\"{flag}\"")).collect();
    let _ = write!(
        text,
        ",\"id\":{},\"opcode\":\"{}\",\"code\":\"{code}\",\"flags\":[{}],\"edns\":",
        header.id,
        header.opcode,
        flags.join(",")
    );
    match message.edns() {
        Some(edns) => append_edns(&edns, text),
        None => text.push_str("null"),
    }
    for (section, name) in [
        (Section::Answer, "answer"),
        (Section::Authority, "authority"),
        (Section::Additional, "additional"),
    ] {
        let _ = write!(text, ",\"{name}\":[");
        let records = message.records(section).filter(|record| record.kind != RecordType::OPT);
        for (place, record) in records.enumerate() {
            text.push_str(if place == 0 { "{\"name\":" } else { ",{\"name\":" });
            text.push_str(&json_text(&record.name.to_string()));
            let (ttl, class, kind) = (record.ttl, record.class, record.kind);
            let _ =
                write!(text, ",\"ttl\":{ttl},\"class\":\"{class}\",\"type\":\"{kind}\",\"data\":");
            text.push_str(&json_text(&record.data.to_string()));
            text.push('}');
        }
        text.push(']');
    }
}

fn append_edns(edns: &Edns<'_>, text: &mut String) {
    let (version, size, is_wanted) = (edns.version, edns.size, edns.dnssec_ok);
    let options = edns.options().map(|(number, content)| {
        format!("{{\"number\":{number},\"hex\":\"{}\"}}", hex(content, ""))
    });
    let options = options.collect::<Vec<_>>().join(",");
    let _ = write!(
        text,
        "{{\"version\":{version},\"udp_size\":{size},\"dnssec_ok\":{is_wanted},\"options\":[{options}]}}"
    );
}
