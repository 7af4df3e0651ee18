//! Answers that need no upstream: what the server knows of its own, and the cache.

use std::time::Instant;

use protocol::dns::{Header, Message, Question};

use super::answer::{append_edns, edns_for, opt_size, with_own_records};
use super::asked::{
    Arrival, Asked, Options, Transport, answer_size_max, options, understands_authentic,
};
use crate::dns::app::Dns;
use crate::dns::cache::{Cache, Entry, Found, Wants};
use crate::dns::local::Verdict;
use crate::dns::lower_name::LowerName;

/// The size that most answers from the cache have at most, in bytes.
const USUAL_SIZE: usize = 512;

/// What is known about a question.
pub(super) enum Known {
    /// Its answer.
    Answer(Vec<u8>),
    /// Its answer, which ends soon: the upstreams of this group are to be asked for the next one.
    EndingAnswer(Vec<u8>, usize),
    /// Nothing: the upstreams of this group are to be asked.
    Nothing(usize),
}

/// Returns what is known about the question of a message.
pub(super) fn known(
    message: &Message<'_>,
    question: &Question<'_>,
    arrival: Arrival,
    app: &mut Dns,
    now: Instant,
) -> Known {
    let name = LowerName::new(question.name);
    let group = match app.local.look_up(&name, question) {
        Verdict::Answer(answer) => {
            app.counts.own += 1;
            let asked = Asked::new(message, question, arrival);
            return Known::Answer(with_own_records(&asked, question, &answer, app.udp_size));
        }
        Verdict::Forward(group) => group.unwrap_or(DEFAULT_GROUP),
    };
    let client = Client {
        header: message.header(),
        options: message.edns().map(|edns| options(&edns, arrival)),
        transport: arrival.transport,
        udp_size: app.udp_size,
    };
    match app.cache.look_up(&name, question, client.wants(), now) {
        Found::Fresh { entry, prefetch } => {
            app.counts.cached += 1;
            let answer = client.copy(&entry, question, std::mem::take(&mut app.spare));
            if prefetch {
                app.counts.prefetched += 1;
                return Known::EndingAnswer(answer, group);
            }
            Known::Answer(answer)
        }
        Found::Stale(_) | Found::Missing => Known::Nothing(group),
    }
}

/// The group of the upstreams for names that no rule names.
pub(in crate::dns) const DEFAULT_GROUP: usize = 0;

/// Returns the answer from the cache to a question that no upstream has answered. It may be stale (RFC
/// 8767).
pub(in crate::dns) fn stale(
    asked: &Asked,
    cache: &mut Cache,
    udp_size: u16,
    now: Instant,
) -> Option<Vec<u8>> {
    let client = Client {
        header: asked.header,
        options: asked.options,
        transport: asked.transport,
        udp_size,
    };
    let question = asked.question();
    match cache.look_up(&LowerName::new(question.name), &question, client.wants(), now) {
        Found::Fresh { entry, .. } | Found::Stale(entry) => {
            Some(client.copy(&entry, &question, Vec::new()))
        }
        Found::Missing => None,
    }
}

/// What the form of an answer depends on.
struct Client {
    header: Header,
    options: Option<Options>,
    transport: Transport,
    udp_size: u16,
}

impl Client {
    fn wants(&self) -> Wants {
        Wants::of(&self.header, self.options.is_some_and(|options| options.dnssec_ok))
    }

    /// Returns an answer from the cache in the form for this client, in the memory of `answer`, whose
    /// bytes are lost.
    fn copy(&self, entry: &Entry<'_>, question: &Question<'_>, mut answer: Vec<u8>) -> Vec<u8> {
        let Self { header, options, transport, udp_size } = self;
        let size_max = answer_size_max(*transport, *options, *udp_size);
        // The header, the question and the OPT record have room in the smallest datagram.
        let size_max = size_max - options.as_ref().map_or(0, opt_size);
        let is_understood = understands_authentic(header, *options);
        answer.clear();
        answer.reserve(USUAL_SIZE);
        entry.append_to(question, header, is_understood, size_max, &mut answer);
        if let Some(options) = options {
            append_edns(&edns_for(options, *udp_size), &mut answer);
            let count = u16::from_be_bytes([answer[10], answer[11]]).saturating_add(1);
            answer[10..12].copy_from_slice(&count.to_be_bytes());
        }
        answer
    }
}
