//! The side of the clients: their questions, and the answers to them.

mod answer;
mod asked;
mod datagrams;
mod stream;

use std::time::Instant;

use log::warn;
use protocol::dns::{Builder, Class, Header, Message, Opcode, Received, RecordType, ResponseCode};

use super::app::Dns;
use super::upstream::{Begun, Client, Waiter};

pub(super) use answer::{from_upstream, minimal_any, without_records};
pub(super) use asked::{Asked, Transport};
pub use datagrams::DatagramFront;
pub use stream::StreamFront;

/// What a question gets.
pub(super) enum Outcome {
    /// This answer.
    Answer(Vec<u8>),
    /// Its answer follows.
    Waits,
    /// Nothing.
    Nothing,
}

/// Decides what a message of a client gets.
pub(super) fn consider(
    received: &Received<'_>,
    transport: Transport,
    client: Client,
    app: &mut Dns,
    now: Instant,
) -> Outcome {
    match transport {
        Transport::Datagram => app.counts.datagrams += 1,
        Transport::Stream => app.counts.over_connections += 1,
    }
    let message = match received {
        // An answer to an answer would go on for ever.
        Received::Message(message) if message.header().is_response => {
            app.counts.ignored += 1;
            return Outcome::Nothing;
        }
        Received::Malformed { header, .. } if header.is_response => {
            app.counts.ignored += 1;
            return Outcome::Nothing;
        }
        Received::Malformed { header, .. } => {
            app.counts.malformed += 1;
            return Outcome::Answer(bare(header, ResponseCode::FORMERR));
        }
        Received::Message(message) => message,
    };
    consider_message(message, transport, client, app, now)
}

fn consider_message(
    message: &Message<'_>,
    transport: Transport,
    client: Client,
    app: &mut Dns,
    now: Instant,
) -> Outcome {
    let header = message.header();
    if header.opcode != Opcode::QUERY {
        app.counts.refused += 1;
        return Outcome::Answer(bare(&header, ResponseCode::NOTIMP));
    }
    let Some(question) = message.question() else {
        app.counts.malformed += 1;
        return Outcome::Answer(bare(&header, ResponseCode::FORMERR));
    };
    let asked = Asked::new(message, &question, transport);
    let refused = refusal(message, &asked);
    if let Some(code) = refused {
        app.counts.refused += 1;
        return Outcome::Answer(without_records(&asked, code, app.udp_size));
    }
    if asked.kind == RecordType::ANY {
        return Outcome::Answer(minimal_any(&asked, app.udp_size));
    }
    forward(Waiter { client, asked }, 0, app, now)
}

/// Returns why a question gets no records, if so.
fn refusal(message: &Message<'_>, asked: &Asked) -> Option<ResponseCode> {
    if message.edns().is_some_and(|edns| edns.version > 0) {
        return Some(ResponseCode::BADVERS);
    }
    match (asked.kind, asked.class) {
        // There are no zones to transfer, and a question for options is none.
        (RecordType::AXFR | RecordType::IXFR, _) => Some(ResponseCode::REFUSED),
        (RecordType::OPT, _) => Some(ResponseCode::FORMERR),
        (_, Class::IN) => None,
        _ => Some(ResponseCode::REFUSED),
    }
}

/// Asks the upstreams of a group.
fn forward(waiter: Waiter, group: usize, app: &mut Dns, now: Instant) -> Outcome {
    let asked = waiter.asked.clone();
    match app.engine.ask(waiter, group, now) {
        Begun::Waits => Outcome::Waits,
        Begun::Repeated => Outcome::Nothing,
        Begun::Looped => {
            if let Some(folded) = app.full_log.admit(now) {
                warn!(
                    "a question of this server for {} came back to it in a loop{folded}",
                    asked.name
                );
            }
            Outcome::Answer(without_records(&asked, ResponseCode::SERVFAIL, app.udp_size))
        }
        Begun::Full => {
            if let Some(folded) = app.full_log.admit(now) {
                let count = app.engine.waiting();
                warn!("a question was not forwarded: {count} wait already{folded}");
            }
            Outcome::Answer(without_records(&asked, ResponseCode::SERVFAIL, app.udp_size))
        }
    }
}

/// Returns an answer to a message whose question cannot be read.
fn bare(header: &Header, code: ResponseCode) -> Vec<u8> {
    Builder::new(header.response(code), protocol::dns::UDP_SIZE_MIN).finish()
}
