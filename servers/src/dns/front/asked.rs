//! What a client has asked.

use protocol::dns::{Class, Edns, Header, Message, Name, Question, RecordType, UDP_SIZE_MIN};

use super::cookies::CookieOption;

/// The option with the marks of the servers that have sent a question on. Its number is one for local use (RFC
/// 6891 section 9), and other servers take no notice of it.
pub(in crate::dns) const MARKS: u16 = 65_313;

/// How a question has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Transport {
    /// In a datagram. The answer has to fit into one.
    Datagram,
    /// On a connection.
    Stream,
}

/// How a question has arrived, and the cookie for its answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::dns) struct Arrival {
    pub(in crate::dns) transport: Transport,
    pub(in crate::dns) cookie: Option<CookieOption>,
}

/// The options of a client, without those that are not heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) struct Options {
    /// The largest datagram that the client receives, in bytes.
    pub(in crate::dns) udp_size: usize,
    /// DO: it wants records of DNSSEC.
    pub(in crate::dns) dnssec_ok: bool,
    /// The cookie that the answer has.
    pub(in crate::dns) cookie: Option<CookieOption>,
}

/// A question of a client: what its answer depends on.
#[derive(Clone, Debug)]
pub(in crate::dns) struct Asked {
    pub(in crate::dns) header: Header,
    /// The name as the client spells it.
    pub(in crate::dns) name: Name,
    pub(in crate::dns) kind: RecordType,
    pub(in crate::dns) class: Class,
    /// `None` if the client has sent no OPT record: then it gets none.
    pub(in crate::dns) options: Option<Options>,
    pub(in crate::dns) transport: Transport,
    /// The marks of the servers that have sent the question on, one after the other.
    pub(in crate::dns) marks: Box<[u8]>,
}

impl Asked {
    /// Returns what the only question of a message asks.
    pub(in crate::dns) fn new(
        message: &Message<'_>,
        question: &Question<'_>,
        arrival: Arrival,
    ) -> Self {
        let edns = message.edns();
        let marks = edns.and_then(|edns| edns.option(MARKS)).unwrap_or_default();
        Self {
            header: message.header(),
            name: question.name.to_name(),
            kind: question.kind,
            class: question.class,
            options: edns.map(|edns| options(&edns, arrival)),
            transport: arrival.transport,
            marks: marks.into(),
        }
    }

    pub(in crate::dns) fn dnssec_ok(&self) -> bool {
        self.options.is_some_and(|options| options.dnssec_ok)
    }

    /// Returns whether the client understands AD (RFC 6840 section 5.7).
    pub(in crate::dns) fn understands_authentic(&self) -> bool {
        understands_authentic(&self.header, self.options)
    }

    /// Returns the question.
    pub(in crate::dns) fn question(&self) -> Question<'_> {
        Question { name: self.name.view(), kind: self.kind, class: self.class }
    }

    /// Returns the size of the largest answer, in bytes. This server sends datagrams of `udp_size` bytes
    /// at most.
    pub(in crate::dns) fn answer_size_max(&self, udp_size: u16) -> usize {
        answer_size_max(self.transport, self.options, udp_size)
    }
}

/// Returns whether a client understands AD (RFC 6840 section 5.7).
pub(super) fn understands_authentic(header: &Header, options: Option<Options>) -> bool {
    header.is_authentic || options.is_some_and(|options| options.dnssec_ok)
}

/// Returns the size of the largest answer to a client with these options, in bytes.
pub(super) fn answer_size_max(
    transport: Transport,
    options: Option<Options>,
    udp_size: u16,
) -> usize {
    match (transport, options) {
        (Transport::Stream, _) => u16::MAX.into(),
        (Transport::Datagram, None) => UDP_SIZE_MIN,
        (Transport::Datagram, Some(options)) => options.udp_size.min(udp_size.into()),
    }
}

/// Returns what an OPT record says that is heeded.
pub(super) fn options(edns: &Edns<'_>, arrival: Arrival) -> Options {
    Options { udp_size: edns.udp_size(), dnssec_ok: edns.dnssec_ok, cookie: arrival.cookie }
}
