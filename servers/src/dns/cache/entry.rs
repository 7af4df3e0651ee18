//! An answer from the cache, as it is sent to a client.

use protocol::dns::{HEADER_SIZE, Header, Question};

use super::kept::Kept;

/// The TTL of an answer whose time is over, in seconds (RFC 8767 section 4).
const STALE_TTL: u32 = 30;
/// The size of the type and the class of a question.
const TYPE_AND_CLASS: usize = 4;
/// The flags of a header, in its third and fourth byte (RFC 1035 section 4.1.1, RFC 4035 section 3).
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const AUTHENTIC_DATA: u8 = 0x20;
const CHECKING_DISABLED: u8 = 0x10;

/// An answer from the cache.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Entry<'a> {
    kept: &'a Kept,
    name_end: usize,
    age: u32,
}

/// How much of an answer was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Part {
    /// Everything.
    Whole,
    /// The answer section. What is left out only adds to it (RFC 2181 section 9).
    Answers,
    /// The question, with TC: there was no room.
    Question,
}

impl<'a> Entry<'a> {
    /// Returns the answer to a question whose name has `name_size` bytes. It has this age in seconds.
    pub(super) fn new(kept: &'a Kept, name_size: usize, age: u64) -> Self {
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        Self { kept, name_end: HEADER_SIZE + name_size, age }
    }

    /// Appends the answer to `bytes`, in `size_max` bytes, without an OPT record. `asked` is the header of
    /// the question. AD is kept for a client that understands it only (RFC 6840 section 5.7).
    pub(in crate::dns) fn append_to(
        &self,
        question: &Question<'_>,
        asked: &Header,
        understands_authentic: bool,
        size_max: usize,
        bytes: &mut Vec<u8>,
    ) -> Part {
        let message = self.kept.message();
        let (part, size) = self.part(size_max);
        let start = bytes.len();
        bytes.extend_from_slice(&message[..size]);
        let own = &mut bytes[start..];
        own[..2].copy_from_slice(&asked.id.to_be_bytes());
        own[2] |= if asked.recursion_desired { RECURSION_DESIRED } else { 0 };
        own[3] |= if asked.checking_disabled { CHECKING_DISABLED } else { 0 };
        if !understands_authentic {
            own[3] &= !AUTHENTIC_DATA;
        }
        match part {
            Part::Whole => {}
            Part::Answers => own[8..HEADER_SIZE].fill(0),
            Part::Question => {
                own[2] |= TRUNCATED;
                own[6..HEADER_SIZE].fill(0);
            }
        }
        self.put_question(question, own);
        self.count_down(own);
        part
    }

    /// Returns which part has room, and its size in bytes.
    fn part(&self, size_max: usize) -> (Part, usize) {
        let (whole, answers) = (self.kept.message().len(), usize::from(self.kept.answer_end));
        let question = self.name_end + TYPE_AND_CLASS;
        match size_max {
            _ if whole <= size_max => (Part::Whole, whole),
            _ if answers <= size_max && answers > question => (Part::Answers, answers),
            _ => (Part::Question, question),
        }
    }

    /// Gives the question the case and the type that the client has used: that there is no such name
    /// answers questions for all types. Names of records point to that of the question.
    fn put_question(&self, question: &Question<'_>, own: &mut [u8]) {
        let mut at = HEADER_SIZE;
        for label in question.name.labels() {
            let end = at + 1 + label.len();
            own[at + 1..end].copy_from_slice(label);
            at = end;
        }
        own[self.name_end..self.name_end + 2].copy_from_slice(&question.kind.0.to_be_bytes());
    }

    /// Subtracts the age of the answer from its TTLs.
    fn count_down(&self, own: &mut [u8]) {
        let is_stale = self.age >= self.kept.ttl;
        for place in self.kept.ttl_places() {
            let Some(ttl) = own.get_mut(place..place + 4) else { return };
            let left =
                u32::from_be_bytes([ttl[0], ttl[1], ttl[2], ttl[3]]).saturating_sub(self.age);
            let left = if is_stale { STALE_TTL } else { left };
            ttl.copy_from_slice(&left.to_be_bytes());
        }
    }
}
