//! Answers for clients: made from those of upstreams, or of nothing but a code.

use protocol::dns::{
    Builder, Edns, HEADER_SIZE, Message, Question, Record, RecordType, ResponseCode, Section,
    UDP_SIZE_MIN,
};

use super::asked::{Arrival, Asked, Options, options};
use super::cookies::CookieOption;
use crate::dns::local::Answer;

/// The flags of a header, in its third and fourth byte (RFC 1035 section 4.1.1).
mod flag {
    pub(super) const RESPONSE: u8 = 0x80;
    pub(super) const AUTHORITATIVE: u8 = 0x04;
    pub(super) const RECURSION_DESIRED: u8 = 0x01;
    pub(super) const RECURSION_AVAILABLE: u8 = 0x80;
    pub(super) const AUTHENTIC_DATA: u8 = 0x20;
    pub(super) const CHECKING_DISABLED: u8 = 0x10;
}

/// The size of an OPT record without options, and of the type and the class of a question.
const OPT_SIZE: usize = 11;
const TYPE_AND_CLASS: usize = 4;
/// The sections that have records.
const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];

/// Returns the answer to a question that has no records.
pub(in crate::dns) fn without_records(asked: &Asked, code: ResponseCode, udp_size: u16) -> Vec<u8> {
    built(asked, code, udp_size, |_| true)
}

/// Returns an answer with records of the server's own. It is responsible for these.
pub(super) fn with_own_records(
    asked: &Asked,
    question: &Question<'_>,
    own: &Answer<'_>,
    udp_size: u16,
) -> Vec<u8> {
    let mut answer =
        built(asked, own.code(), udp_size, |builder| own.append_to(question, builder).is_ok());
    answer[2] |= flag::AUTHORITATIVE;
    answer
}

/// Returns the answer to a message that is no question. It has an OPT record if the message has one (RFC 6891
/// section 6.1.1).
pub(super) fn without_question(
    message: &Message<'_>,
    arrival: Arrival,
    code: ResponseCode,
    udp_size: u16,
) -> Vec<u8> {
    let mut builder = Builder::new(message.header().response(code), UDP_SIZE_MIN);
    if let Some(edns) = message.edns() {
        // There is room.
        let _ = builder.edns(&edns_for(&options(&edns, arrival), udp_size));
    }
    builder.finish()
}

/// Returns an answer that makes a client ask over TCP.
pub(super) fn truncated(asked: &Asked, udp_size: u16) -> Vec<u8> {
    built(asked, ResponseCode::NOERROR, udp_size, |_| false)
}

/// Returns the answer to a question for all types: that there is none, in a record (RFC 8482).
pub(in crate::dns) fn minimal_any(asked: &Asked, udp_size: u16) -> Vec<u8> {
    let record = format!("{} 3600 IN HINFO \"RFC8482\" \"\"", asked.name);
    let record = record.parse::<Record>();
    built(asked, ResponseCode::NOERROR, udp_size, |builder| {
        record.is_ok_and(|it| builder.record(Section::Answer, &it.view()).is_ok())
    })
}

/// Makes an answer with the records that `append` appends. It returns whether all had room.
fn built(
    asked: &Asked,
    code: ResponseCode,
    udp_size: u16,
    append: impl FnOnce(&mut Builder) -> bool,
) -> Vec<u8> {
    let mut header = asked.header.response(code);
    header.recursion_available = true;
    let size_max = asked.answer_size_max(udp_size);
    let mut builder = Builder::new(header, size_max);
    let edns = own_edns(asked, code, udp_size);
    // A question and an OPT record with a cookie are smaller than the smallest limit.
    let mut has_room = builder.question(asked.name.view(), asked.kind, asked.class).is_ok();
    if let Some(edns) = &edns {
        has_room &= builder.reserve(edns).is_ok();
    }
    has_room &= append(&mut builder);
    if !has_room {
        builder.set_truncated();
    }
    if let Some(edns) = &edns {
        let _ = builder.edns(edns);
    }
    builder.finish()
}

/// Returns the OPT record of an answer, if the client has sent one.
fn own_edns(asked: &Asked, code: ResponseCode, udp_size: u16) -> Option<Edns<'_>> {
    let options = asked.options.as_ref()?;
    let mut edns = edns_for(options, udp_size);
    edns.code_upper = (code.0 >> 4) as u8;
    Some(edns)
}

/// Returns the OPT record of an answer to a client that has sent these options.
pub(super) fn edns_for(options: &Options, udp_size: u16) -> Edns<'_> {
    let mut edns = Edns::new(udp_size);
    edns.dnssec_ok = options.dnssec_ok;
    let cookie = options.cookie.as_ref().map(CookieOption::as_bytes);
    cookie.and_then(|cookie| edns.with_options(cookie).ok()).unwrap_or(edns)
}

/// Returns the size of that OPT record.
pub(super) fn opt_size(options: &Options) -> usize {
    OPT_SIZE + options.cookie.as_ref().map_or(0, |cookie| cookie.as_bytes().len())
}

/// Returns the response code of an upstream as the client is to get it. Codes beyond four bits are about EDNS
/// and cookies between this server and the upstream (RFC 6891 section 9, RFC 7873 section 8), and a client without
/// EDNS has no place for their upper bits.
pub(in crate::dns) fn for_client(code: ResponseCode) -> ResponseCode {
    if code.0 > 0xf { ResponseCode::SERVFAIL } else { code }
}

/// Returns the answer of an upstream as the client is to get it: with the number, the spelling and the
/// options of the client, and whole, or else truncated so that the client asks over TCP.
pub(in crate::dns) fn from_upstream(
    asked: &Asked,
    message: &Message<'_>,
    udp_size: u16,
) -> Vec<u8> {
    let code = for_client(message.response_code());
    let copied = copy(asked, message, code, udp_size);
    let mut answer = copied.unwrap_or_else(|| rebuild(asked, message, code, udp_size));
    if answer.len() > asked.answer_size_max(udp_size) {
        return built(asked, code, udp_size, |_| false);
    }
    let header = message.header();
    let is_authentic = header.is_authentic && asked.understands_authentic();
    let set = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    answer[..2].copy_from_slice(&asked.header.id.to_be_bytes());
    answer[2] = flag::RESPONSE
        | set(header.is_authoritative, flag::AUTHORITATIVE)
        | set(asked.header.recursion_desired, flag::RECURSION_DESIRED);
    answer[3] = flag::RECURSION_AVAILABLE
        | set(is_authentic, flag::AUTHENTIC_DATA)
        | set(asked.header.checking_disabled, flag::CHECKING_DISABLED)
        | (code.0 & 0xf) as u8;
    answer
}

/// Copies an answer, and replaces its question and its OPT record. This works if the name of the
/// question is not compressed and the OPT record is the last one, as in all usual answers.
fn copy(
    asked: &Asked,
    message: &Message<'_>,
    code: ResponseCode,
    udp_size: u16,
) -> Option<Vec<u8>> {
    let bytes = message.as_bytes();
    let name = asked.name.as_bytes();
    let named = HEADER_SIZE..HEADER_SIZE + name.len();
    if !bytes.get(named.clone())?.eq_ignore_ascii_case(name)
        || bytes.len() < named.end + TYPE_AND_CLASS
    {
        return None;
    }
    let mut kept = bytes.len();
    let mut additional = u16::try_from(message.count(Section::Additional)).ok()?;
    if let Some(edns) = message.edns() {
        let last = message.records(Section::Additional).last()?;
        if last.kind != RecordType::OPT {
            return None;
        }
        let options: usize = edns.options().map(|(_, content)| 4 + content.len()).sum();
        kept = kept.checked_sub(OPT_SIZE + options)?;
        additional -= 1;
    }
    let mut answer = Vec::with_capacity(kept + OPT_SIZE);
    answer.extend_from_slice(&bytes[..kept]);
    answer[named].copy_from_slice(name);
    for place in SECTIONS.into_iter().flat_map(|section| message.ttl_places(section)) {
        // A TTL beyond 31 bits counts as zero (RFC 2181 section 8).
        if answer[place] & 0x80 != 0 {
            answer[place..place + 4].fill(0);
        }
    }
    if let Some(edns) = own_edns(asked, code, udp_size) {
        append_edns(&edns, &mut answer);
        additional = additional.checked_add(1)?;
    }
    answer[10..12].copy_from_slice(&additional.to_be_bytes());
    Some(answer)
}

/// Appends an OPT record (RFC 6891 section 6.1.2).
pub(super) fn append_edns(edns: &Edns<'_>, answer: &mut Vec<u8>) {
    answer.push(0);
    answer.extend(RecordType::OPT.0.to_be_bytes());
    answer.extend(edns.size.to_be_bytes());
    answer.extend([edns.code_upper, edns.version, if edns.dnssec_ok { 0x80 } else { 0 }, 0]);
    let options = edns.option_bytes();
    answer.extend((options.len() as u16).to_be_bytes());
    answer.extend_from_slice(options);
}

/// Makes an answer of the records of another one.
fn rebuild(asked: &Asked, message: &Message<'_>, code: ResponseCode, udp_size: u16) -> Vec<u8> {
    built(
        &Asked { transport: super::Transport::Stream, ..asked.clone() },
        code,
        udp_size,
        |builder| {
            SECTIONS.into_iter().all(|section| {
                let mut records = message.records(section).filter(|it| it.kind != RecordType::OPT);
                records.all(|record| builder.record(section, &record).is_ok())
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use protocol::dns::{Class, Header, Name, append_option, option};

    use super::super::asked::{Options, Transport};
    use super::*;

    const UDP_SIZE: u16 = 1232;

    fn asked(options: Option<Options>) -> Asked {
        Asked {
            header: Header { id: 7, ..Header::question(7) },
            name: "wWw.example.org".parse().expect("it is a name"),
            kind: RecordType::A,
            class: Class::IN,
            options,
            transport: Transport::Datagram,
            marks: Box::default(),
        }
    }

    /// Returns an answer with `count` records, and an OPT record that is the last one or not.
    fn answer(count: u8, opt_at: Option<usize>) -> Vec<u8> {
        let name: Name = "WwW.example.org".parse().expect("it is a name");
        let header =
            Header { is_authentic: true, ..Header::question(9).response(ResponseCode::NOERROR) };
        let mut builder = Builder::new(header, 65_535);
        builder.question(name.view(), RecordType::A, Class::IN).expect("room");
        for number in 0..count {
            let record = format!("{name} 60 IN A 192.0.2.{number}").parse::<Record>();
            builder.record(Section::Answer, &record.expect("it is right").view()).expect("room");
        }
        let mut options = Vec::new();
        append_option(option::PADDING, &[0; 5], &mut options);
        let edns = Edns::new(4096).with_options(&options).expect("they are whole");
        let other = "other.example. 60 IN A 192.0.2.9".parse::<Record>().expect("it is right");
        for place in 0..2 {
            if opt_at == Some(place) {
                builder.edns(&edns).expect("room");
            }
            if place == 0 {
                builder.record(Section::Additional, &other.view()).expect("room");
            }
        }
        builder.finish()
    }

    #[test]
    fn an_answer_has_the_number_the_spelling_and_the_options_of_the_client() {
        let options = Options { udp_size: 4096, dnssec_ok: true, cookie: None };
        for (opt_at, own) in [
            (None, None),
            (None, Some(options)),
            (Some(1), None),
            (Some(1), Some(options)),
            (Some(0), None),
            (Some(0), Some(options)),
        ] {
            let (bytes, asked) = (answer(3, opt_at), asked(own));
            let upstream = Message::parse(&bytes).expect("it is right");
            let made = from_upstream(&asked, &upstream, UDP_SIZE);
            let message = Message::parse(&made).expect("it is right");
            assert_eq!(message.size(), made.len());
            assert_eq!(message.header().id, 7);
            assert!(message.header().recursion_available && !message.header().is_truncated);
            assert_eq!(message.header().is_authentic, own.is_some(), "{opt_at:?}");
            let question = message.question().expect("there is one");
            assert!(question.name.is_spelled_like(asked.name.view()));
            assert_eq!(message.answers().count(), 3);
            assert_eq!(message.count(Section::Additional), 1 + usize::from(own.is_some()));
            assert_eq!(
                message.edns().map(|it| (it.size, it.dnssec_ok)),
                own.map(|_| (UDP_SIZE, true))
            );
        }
    }

    #[test]
    fn a_ttl_beyond_31_bits_is_zero_for_the_client() {
        let mut bytes = answer(2, Some(1));
        let message = Message::parse(&bytes).expect("it is right");
        let places: Vec<usize> = message.ttl_places(Section::Answer).collect();
        bytes[places[0]..places[0] + 4].copy_from_slice(&0x8000_0000_u32.to_be_bytes());
        bytes[places[1]..places[1] + 4].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
        let upstream = Message::parse(&bytes).expect("it is right");
        let made = from_upstream(&asked(None), &upstream, UDP_SIZE);
        let places = Message::parse(&made).expect("it is right").ttl_places(Section::Answer);
        let ttls: Vec<&[u8]> = places.map(|place| &made[place..place + 4]).collect();
        assert_eq!(ttls, [[0; 4], [0x7f, 0xff, 0xff, 0xff]]);
    }

    #[test]
    fn codes_between_this_server_and_its_upstream_are_failures_for_the_client() {
        for (code, shown) in [(0, 0), (3, 3), (15, 15), (16, 2), (23, 2), (0xfff, 2)] {
            assert_eq!(for_client(ResponseCode(code)), ResponseCode(shown));
        }
    }

    #[test]
    fn an_answer_that_is_too_long_for_a_datagram_is_truncated_as_a_whole() {
        let bytes = answer(60, Some(1));
        let upstream = Message::parse(&bytes).expect("it is right");
        let made = from_upstream(&asked(None), &upstream, UDP_SIZE);
        let message = Message::parse(&made).expect("it is right");
        assert!(message.header().is_truncated && message.answers().count() == 0);
        let over_tcp = Asked { transport: Transport::Stream, ..asked(None) };
        let made = from_upstream(&over_tcp, &upstream, UDP_SIZE);
        assert_eq!(Message::parse(&made).expect("it is right").answers().count(), 60);
    }

    #[test]
    fn a_code_that_needs_options_becomes_a_failure_without_them() {
        let name = asked(None).name;
        let mut builder = Builder::new(Header::question(1).response(ResponseCode(23 & 0xf)), 512);
        builder.question(name.view(), RecordType::A, Class::IN).expect("room");
        let mut edns = Edns::new(512);
        edns.code_upper = 1;
        builder.edns(&edns).expect("room");
        let bytes = builder.finish();
        let upstream = Message::parse(&bytes).expect("it is right");
        assert_eq!(upstream.response_code(), ResponseCode::BADCOOKIE);
        let made = from_upstream(&asked(None), &upstream, UDP_SIZE);
        let code = Message::parse(&made).expect("it is right").response_code();
        assert_eq!(code, ResponseCode::SERVFAIL);
    }

    #[test]
    fn a_question_for_all_types_gets_one_record() {
        let made = minimal_any(&asked(None), UDP_SIZE);
        let message = Message::parse(&made).expect("it is right");
        assert_eq!(message.answers().map(|it| it.kind).collect::<Vec<_>>(), [RecordType::HINFO]);
    }
}
