//! The side of the clients: their questions, and the answers to them.

mod answer;
mod asked;
mod cookies;
mod datagrams;
mod known;
mod networks;
mod policy;
mod rate;
mod stream;

use std::net::IpAddr;
use std::time::Instant;

use log::warn;
use protocol::dns::{
    Builder, Class, Header, Message, Opcode, Question, Received, RecordType, ResponseCode,
};

use super::app::Dns;
use super::upstream::{Begun, Client, Waiter};
use cookies::Shown;
use known::{Known, known};
use policy::{Admission, Sender};

pub(super) use answer::{for_client, from_upstream, minimal_any, without_records};
pub(super) use asked::{Arrival, Asked, MARKS, Transport};
pub use datagrams::DatagramFront;
pub(super) use known::{DEFAULT_GROUP, stale};
pub(super) use policy::Policy;
pub(super) use policy::PolicyArgs;
pub use stream::StreamFront;

/// What a question gets.
pub(super) enum Outcome {
    /// This answer.
    Answer(Vec<u8>),
    /// This answer, and the upstreams are asked for another one.
    AnswerAndWork(Vec<u8>),
    /// Its answer follows.
    Waits,
    /// Nothing.
    Nothing,
}

/// Decides what a message of a client gets. A client on a Unix socket has no address.
pub(super) fn consider(
    received: &Received<'_>,
    transport: Transport,
    client: Client,
    address: Option<IpAddr>,
    app: &mut Dns,
    now: Instant,
) -> Outcome {
    match transport {
        Transport::Datagram => app.counts.datagrams += 1,
        Transport::Stream => app.counts.over_connections += 1,
    }
    let (header, message) = match received {
        Received::Message(message) => (message.header(), Some(message)),
        Received::Malformed { header, .. } => (*header, None),
    };
    // An answer to an answer would go on for ever.
    if header.is_response {
        app.counts.ignored += 1;
        return Outcome::Nothing;
    }
    let cookie = message.map_or(Shown::Nothing, |it| cookies::shown(it, address, &app.cookies));
    let sender = match (transport, cookie) {
        (Transport::Datagram, Shown::Proven(_)) => {
            app.counts.proven += 1;
            Sender::Proven
        }
        (Transport::Datagram, _) => Sender::Claimed,
        (Transport::Stream, _) => Sender::Proven,
    };
    let arrival = Arrival { transport, cookie: cookie.reply() };
    let admission = app.policy.admit(address, sender, now);
    if admission != Admission::Admitted {
        return refuse(&header, message, admission, arrival, app);
    }
    let Some(message) = message else {
        app.counts.malformed += 1;
        return Outcome::Answer(bare(&header, ResponseCode::FORMERR));
    };
    if cookie == Shown::Malformed {
        app.counts.malformed += 1;
        return Outcome::Answer(match message.question() {
            Some(question) => {
                let asked = Asked::new(message, &question, arrival);
                without_records(&asked, ResponseCode::FORMERR, app.udp_size)
            }
            None => answer::without_question(message, arrival, ResponseCode::FORMERR, app.udp_size),
        });
    }
    consider_message(message, arrival, client, app, now)
}

/// Decides what a client gets that is not answered.
#[cold]
fn refuse(
    header: &Header,
    message: Option<&Message<'_>>,
    admission: Admission,
    arrival: Arrival,
    app: &mut Dns,
) -> Outcome {
    let asked =
        message.and_then(|message| Some(Asked::new(message, &message.question()?, arrival)));
    match (admission, asked) {
        (Admission::Truncated, Some(asked)) => {
            Outcome::Answer(answer::truncated(&asked, app.udp_size))
        }
        (Admission::Truncated | Admission::Nothing, _) => Outcome::Nothing,
        (Admission::Refused | Admission::Admitted, asked) => {
            app.counts.refused += 1;
            let code = ResponseCode::REFUSED;
            Outcome::Answer(match asked {
                Some(asked) => without_records(&asked, code, app.udp_size),
                None => bare(header, code),
            })
        }
    }
}

/// Decides what a message of a client gets that is answered.
fn consider_message(
    message: &Message<'_>,
    arrival: Arrival,
    client: Client,
    app: &mut Dns,
    now: Instant,
) -> Outcome {
    let header = message.header();
    if header.opcode != Opcode::QUERY {
        app.counts.refused += 1;
        let code = ResponseCode::NOTIMP;
        return Outcome::Answer(answer::without_question(message, arrival, code, app.udp_size));
    }
    let Some(question) = message.question() else {
        // Without a question, a client asks for a cookie alone (RFC 7873 section 5.4).
        let code = match arrival.cookie {
            Some(_) if message.questions().next().is_none() => ResponseCode::NOERROR,
            _ => {
                app.counts.malformed += 1;
                ResponseCode::FORMERR
            }
        };
        return Outcome::Answer(answer::without_question(message, arrival, code, app.udp_size));
    };
    let asked = || Asked::new(message, &question, arrival);
    if let Some(code) = refusal(message, &question) {
        app.counts.refused += 1;
        return Outcome::Answer(without_records(&asked(), code, app.udp_size));
    }
    if question.kind == RecordType::ANY {
        return Outcome::Answer(minimal_any(&asked(), app.udp_size));
    }
    match known(message, &question, arrival, app, now) {
        Known::Answer(answer) => Outcome::Answer(answer),
        Known::EndingAnswer(answer, group) => {
            prefetch(asked(), group, app, now);
            Outcome::AnswerAndWork(answer)
        }
        Known::Nothing(group) => forward(Waiter { client, asked: asked() }, group, app, now),
    }
}

/// Asks the upstreams for the next answer to a question. The cache is all that waits for it.
fn prefetch(asked: Asked, group: usize, app: &mut Dns, now: Instant) {
    // The keeper has no mailbox, so no client gets the answer.
    if let Some(source) = app.keeper() {
        let client = Client { source, peer: None };
        app.engine.ask(Waiter { client, asked }, group, now);
    }
}

/// Returns why a question gets no records, if so.
fn refusal(message: &Message<'_>, question: &Question<'_>) -> Option<ResponseCode> {
    if message.edns().is_some_and(|edns| edns.version > 0) {
        return Some(ResponseCode::BADVERS);
    }
    match (question.kind, question.class) {
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
        Begun::Failed(code) => Outcome::Answer(app.failure(&asked, code, now)),
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
