//! An answer as it is kept, and which answers are.

use std::time::{Duration, Instant};

use protocol::dns::{
    Builder, HEADER_SIZE, Header, Message, Opcode, Question, RecordType, RecordView, ResponseCode,
    Section,
};

use super::{CacheOptions, Key, Wants};

/// An answer of an upstream.
#[derive(Debug)]
pub(super) struct Kept {
    /// The message, and after it the places of its TTLs, in two bytes each.
    bytes: Box<[u8]>,
    /// The size of the message.
    pub(super) message_size: u16,
    /// Where the answer section ends.
    pub(super) answer_end: u16,
    pub(super) wants: Wants,
    pub(super) is_prefetched: bool,
    /// For how many seconds it is true.
    pub(super) ttl: u32,
    /// How often it was used.
    pub(super) uses: u32,
    stored_at: Instant,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// There are records.
    Records,
    /// The name has no record of the type.
    NoRecords,
    /// There is no such name.
    NoName,
}

/// What becomes of a response.
struct Judgement {
    what: What,
    /// For how many seconds it is true.
    ttl: u32,
    /// No record has a longer TTL in answers from the cache.
    shown_max: u32,
}

/// The sections in their order.
const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];
/// The size of the type and the class of a question.
const TYPE_AND_CLASS: usize = 4;

impl Kept {
    /// Returns a response as it is kept, and what it says. Returns `None` if it is not to be kept.
    pub(super) fn new(
        question: &Question<'_>,
        wants: Wants,
        response: &Message<'_>,
        options: &CacheOptions,
        now: Instant,
    ) -> Option<(Self, What)> {
        if question.kind.is_meta() || question.kind == super::ALL_TYPES {
            return None;
        }
        let Judgement { what, ttl, shown_max } = judge(question, response, options)?;
        let (mut bytes, answer_end) = build(question, response, shown_max)?;
        let message = Message::parse(&bytes).ok()?;
        let places = SECTIONS.into_iter().flat_map(|section| message.ttl_places(section));
        // A message is not longer than 65,535 bytes.
        let places: Vec<u8> = places.flat_map(|place| (place as u16).to_be_bytes()).collect();
        let message_size = u16::try_from(bytes.len()).ok()?;
        bytes.extend(places);
        let kept = Self {
            bytes: bytes.into(),
            message_size,
            answer_end,
            wants,
            is_prefetched: false,
            ttl,
            uses: 0,
            stored_at: now,
        };
        Some((kept, what))
    }

    /// Returns it as an answer to questions for a type.
    pub(super) fn of_kind(mut self, kind: RecordType) -> Self {
        let at = self.name_end();
        self.bytes[at..at + 2].copy_from_slice(&kind.0.to_be_bytes());
        self
    }

    /// Returns where the name of the question ends. It is not compressed.
    fn name_end(&self) -> usize {
        let mut at = HEADER_SIZE;
        while self.bytes[at] != 0 {
            at += 1 + usize::from(self.bytes[at]);
        }
        at + 1
    }

    /// Returns whether it is that of a key.
    pub(super) fn has(&self, key: &Key<'_>) -> bool {
        let name_end = HEADER_SIZE + key.name.len();
        let [a, b] = key.kind.0.to_be_bytes();
        let [c, d] = key.class.0.to_be_bytes();
        self.wants == key.wants
            && self.bytes.get(name_end..name_end + TYPE_AND_CLASS) == Some(&[a, b, c, d])
            && self.bytes[HEADER_SIZE..name_end].eq_ignore_ascii_case(key.name)
    }

    /// Returns the message.
    pub(super) fn message(&self) -> &[u8] {
        &self.bytes[..self.message_size.into()]
    }

    /// Returns where the TTLs of the message are, in order.
    pub(super) fn ttl_places(&self) -> impl Iterator<Item = usize> {
        let places = self.bytes[self.message_size.into()..].chunks_exact(2);
        places.map(|place| usize::from(u16::from_be_bytes([place[0], place[1]])))
    }

    /// Returns the memory of its bytes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns its age in whole seconds.
    pub(super) fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.stored_at).as_secs()
    }

    /// Returns for how long its time has been over.
    pub(super) fn time_over(&self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.stored_at);
        age.checked_sub(Duration::from_secs(self.ttl.into()))
    }
}

/// Decides whether a response may be kept, for how long, and what it says.
fn judge(
    question: &Question<'_>,
    response: &Message<'_>,
    options: &CacheOptions,
) -> Option<Judgement> {
    let header = response.header();
    if !header.is_response || header.opcode != Opcode::QUERY || header.is_truncated {
        return None;
    }
    let has_records = response.answers().any(|record| record.kind == question.kind);
    let what = match response.response_code() {
        ResponseCode::NOERROR if has_records => What::Records,
        ResponseCode::NOERROR => What::NoRecords,
        // An alias exists, though what it leads to does not. Only an answer without one says something
        // about all types of the name.
        ResponseCode::NXDOMAIN if response.count(Section::Answer) == 0 => What::NoName,
        ResponseCode::NXDOMAIN => What::NoRecords,
        _ => return None,
    };
    let ttl_max = match what {
        What::Records => options.ttl_max,
        What::NoRecords | What::NoName => options.negative_ttl_max.min(negative_ttl(response)?),
    };
    // An answer is true as long as all of its records are.
    let ttl = records(response).map(|(_, record)| record.ttl).fold(ttl_max, u32::min);
    (ttl > 0).then_some(Judgement { what, ttl, shown_max: ttl_max })
}

/// Returns the records that are kept, with their sections.
fn records<'a>(response: &Message<'a>) -> impl Iterator<Item = (Section, RecordView<'a>)> {
    let all = SECTIONS
        .into_iter()
        .flat_map(|section| response.records(section).map(move |record| (section, record)));
    all.filter(|(_, record)| record.kind != RecordType::OPT)
}

/// Returns for how long a negative answer is true (RFC 2308 section 5). One without a SOA record is not to
/// be kept.
fn negative_ttl(response: &Message<'_>) -> Option<u32> {
    let mut records = response.records(Section::Authority);
    records.find_map(|record| record.data.soa().map(|soa| soa.minimum.min(record.ttl)))
}

/// Makes the message that is kept, without OPT record. Returns where its answer section ends, too.
fn build(
    question: &Question<'_>,
    response: &Message<'_>,
    shown_max: u32,
) -> Option<(Vec<u8>, u16)> {
    let header = Header {
        recursion_desired: false,
        recursion_available: true,
        is_authentic: response.header().is_authentic,
        ..Header::question(0).response(response.response_code())
    };
    let mut builder = Builder::new(header, u16::MAX.into());
    // Names that repeat the question, or end like it, have its case: that of an upstream's answer is random.
    builder.ignore_case();
    builder.question(question.name, question.kind, question.class).ok()?;
    let mut answer_end = builder.size();
    for (section, record) in records(response) {
        let ttl = record.ttl.min(shown_max);
        builder.record(section, &RecordView { ttl, ..record }).ok()?;
        if section == Section::Answer {
            answer_end = builder.size();
        }
    }
    Some((builder.finish(), u16::try_from(answer_end).ok()?))
}
