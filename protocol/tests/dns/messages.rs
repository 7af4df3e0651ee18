//! Whole messages: what is built is what is read.

use protocol::dns::{
    Builder, Class, Edns, Full, Header, Message, Name, OverTcp, OverUdp, Received, Record,
    RecordType, ResponseCode, Section, append_option, option,
};
use protocol::testing;
use protocol::{Codec, Decoded, Output};

use crate::texts::RECORDS;

fn record(text: &str) -> Record {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

/// Returns a response with all records that the tests know, in all sections.
pub(crate) fn everything() -> Vec<u8> {
    message_of(RECORDS.iter().copied(), &SECTIONS)
}

/// The sections of records.
pub(crate) const SECTIONS: [Section; 3] =
    [Section::Answer, Section::Authority, Section::Additional];

/// Returns a response with these records in each of the sections, and with options.
pub(crate) fn message_of<'a>(
    records: impl Iterator<Item = &'a str> + Clone,
    sections: &[Section],
) -> Vec<u8> {
    let header = Header::question(7).response(ResponseCode::NOERROR);
    let mut builder = Builder::new(header, 65_535);
    builder.question(name("example").view(), RecordType::ANY, Class::IN).expect("there is room");
    for section in sections {
        for text in records.clone() {
            builder.record(*section, &record(text).view()).expect("there is room");
        }
    }
    let mut options = Vec::new();
    append_option(option::COOKIE, b"12345678", &mut options);
    append_option(option::NSID, b"", &mut options);
    let mut edns = Edns::new(1232).with_options(&options).expect("they are whole");
    (edns.dnssec_ok, edns.code_upper) = (true, 1);
    builder.edns(&edns).expect("there is room");
    builder.finish()
}

#[test]
fn a_message_with_every_type_is_read_as_it_was_built() {
    let bytes = everything();
    let message = Message::parse(&bytes).expect("it is a message");
    for section in [Section::Answer, Section::Authority] {
        let texts: Vec<String> = message.records(section).map(|it| it.to_string()).collect();
        assert_eq!(texts, RECORDS);
        assert_eq!(message.count(section), RECORDS.len());
    }
    assert_eq!(message.count(Section::Additional), RECORDS.len() + 1);
    assert_eq!(message.size(), bytes.len());
    let edns = message.edns().expect("it has options");
    assert_eq!((edns.udp_size(), edns.dnssec_ok, edns.version), (1232, true, 0));
    assert_eq!(edns.option(option::COOKIE), Some(&b"12345678"[..]));
    assert_eq!(edns.option(option::PADDING), None);
    assert_eq!(edns.options().count(), 2);
    // The upper bits of the code are in the options.
    assert_eq!(message.response_code(), ResponseCode(16));
    // A record that was read is the same as one of its own.
    for (view, text) in message.answers().zip(RECORDS) {
        assert_eq!(view.to_record(), record(text));
        assert_eq!(view, record(text).view());
    }
}

#[test]
fn names_are_compressed_where_every_server_expects_it() {
    let header = Header::question(1);
    let built = |text: &str| {
        let mut builder = Builder::new(header, 512);
        builder.question(name("example").view(), RecordType::ANY, Class::IN).expect("it fits");
        let before = builder.size();
        builder.record(Section::Answer, &record(text).view()).expect("it fits");
        builder.size() - before
    };
    // A pointer for the owner, ten bytes, and what the data take.
    assert_eq!(built("example. 60 IN NS ns.example."), 2 + 10 + 3 + 2);
    assert_eq!(built("example. 60 IN MX 10 ns.example."), 2 + 10 + 2 + 3 + 2);
    assert_eq!(built("example. 60 IN MINFO a.example. b.example."), 2 + 10 + 2 + 2 + 2 + 2);
    assert_eq!(built("example. 60 IN AFSDB 1 ns.example."), 2 + 10 + 2 + 12);
    assert_eq!(built("example. 60 IN SRV 1 2 3 ns.example."), 2 + 10 + 6 + 12);
    assert_eq!(built("example. 60 IN DNAME ns.example."), 2 + 10 + 12);
    // The case of a name is kept, so another spelling is another name.
    assert_eq!(built("EXAMPLE. 60 IN NS ns.example."), 9 + 10 + 3 + 2);
}

/// Returns the names that are made of at most five of the labels.
fn names_of(labels: &[&str]) -> Vec<Name> {
    let mut names = vec![String::new()];
    for size in 0..5 {
        let longest: Vec<String> =
            names.iter().filter(|it| it.matches('.').count() == size).cloned().collect();
        for label in labels {
            names.extend(longest.iter().map(|it| format!("{label}.{it}")));
        }
    }
    names.iter().filter(|it| !it.is_empty()).map(|it| name(it)).collect()
}

#[test]
fn names_in_the_data_of_old_types_are_read_although_another_server_has_compressed_them() {
    // RFC 3597 section 4. Such data are not the same bytes in another message.
    for (kind, before, text) in [
        (RecordType::MB, 0, "a.example."),
        (RecordType::RP, 0, "a.example. example."),
        (RecordType::AFSDB, 2, "0 a.example."),
        (RecordType::PX, 2, "0 a.example. example."),
        (RecordType::KX, 2, "0 a.example."),
        (RecordType::NXT, 0, "a.example."),
    ] {
        let mut builder = Builder::new(Header::question(1), 512);
        builder.question(name("example").view(), RecordType::ANY, Class::IN).expect("it fits");
        let mut bytes = builder.finish();
        bytes[7] = 1;
        // The owner is the name of the question, and so is the end of each name in the data.
        let mut data = vec![0; before];
        data.extend(b"\x01a\xc0\x0c");
        if text.ends_with(" example.") {
            data.extend(b"\xc0\x0c");
        }
        bytes.extend(b"\xc0\x0c");
        bytes.extend(kind.0.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        bytes.extend(data);
        let message = Message::parse(&bytes).expect(text);
        let answer = message.answers().next().expect("there is one");
        assert_eq!(answer.to_string(), format!("example. 60 IN {kind} {text}"));
        let kept = answer.to_record();
        assert_eq!(kept, record(&kept.to_string()));
    }
}

#[test]
fn a_name_with_labels_that_repeat_is_not_a_pointer_to_itself() {
    let names = names_of(&["a", "b", "com"]);
    for (own, other) in names.iter().zip(names.iter().rev()) {
        let mut builder = Builder::new(Header::question(1), 512);
        builder.question(own.view(), RecordType::A, Class::IN).expect("it fits");
        for target in [own, other, own] {
            let ns = record(&format!("{other} 60 IN NS {target}"));
            builder.record(Section::Answer, &ns.view()).expect("it fits");
        }
        let bytes = builder.finish();
        let message = Message::parse(&bytes).unwrap_or_else(|error| panic!("{own}: {error}"));
        assert_eq!(message.questions().next().expect("one question").name, own.view());
        for (answer, target) in message.answers().zip([own, other, own]) {
            assert_eq!(answer, record(&format!("{other} 60 IN NS {target}")).view());
        }
    }
}

#[test]
fn what_does_not_fit_is_left_out_as_a_whole() {
    let answer = record("a.very.long.name.example. 60 IN TXT \"0123456789\"");
    let header = Header::question(1).response(ResponseCode::NOERROR);
    for size_max in 0..200 {
        let mut builder = Builder::new(header, size_max);
        let _ = builder.question(answer.name.view(), RecordType::TXT, Class::IN);
        let edns = Edns::new(1232);
        let has_options = builder.reserve(&edns).is_ok();
        let mut count = 0;
        while builder.record(Section::Answer, &answer.view()).is_ok() {
            count += 1;
        }
        builder.set_truncated();
        if has_options {
            builder.edns(&edns).expect("room was kept for it");
        } else {
            assert_eq!(builder.edns(&edns), Err(Full));
        }
        let bytes = builder.finish();
        assert!(bytes.len() <= size_max.max(12), "{} of {size_max}", bytes.len());
        let message = Message::parse(&bytes).expect("it is whole");
        assert_eq!((message.count(Section::Answer), message.size()), (count, bytes.len()));
        assert_eq!(message.edns().is_some(), has_options);
        assert!(message.header().is_truncated);
    }
}

#[test]
fn a_name_that_was_left_out_is_not_pointed_to() {
    let mut builder = Builder::new(Header::question(1), 60);
    let long = record("a.long.name.that.does.not.fit.example. 60 IN TXT \"0123456789012345678\"");
    assert_eq!(builder.record(Section::Answer, &long.view()), Err(Full));
    let short = record("fit.example. 60 IN A 192.0.2.1");
    builder.record(Section::Answer, &short.view()).expect("it fits");
    let bytes = builder.finish();
    let texts: Vec<String> =
        Message::parse(&bytes).expect("it is whole").answers().map(|it| it.to_string()).collect();
    assert_eq!(texts, [short.to_string()]);
}

#[test]
fn a_message_is_never_longer_than_its_length_can_say() {
    let mut builder = Builder::new(Header::question(1), usize::MAX);
    let big =
        record(&format!("example. 60 IN TXT {}", format!("\"{}\" ", "x".repeat(250)).repeat(200)));
    builder.record(Section::Answer, &big.view()).expect("it fits");
    assert_eq!(builder.record(Section::Answer, &big.view()), Err(Full));
    assert!(builder.finish().len() <= 65_535);
}

#[test]
fn a_header_keeps_every_flag() {
    for bit in 0..16 {
        let flags = 1_u16 << bit;
        let mut bytes = [0; 12];
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        let header = Header::parse(&bytes).expect("it is a header");
        let again = Builder::new(header, 512).finish();
        // The bit that has no meaning is not sent (RFC 1035 section 4.1.1).
        let kept = if bit == 6 { 0 } else { flags };
        assert_eq!(again[2..4], kept.to_be_bytes(), "bit {bit}");
    }
    let question = Header { checking_disabled: true, ..Header::question(9) };
    assert_eq!(question.to_string(), "QUERY NOERROR rd cd");
    let response = question.response(ResponseCode::NXDOMAIN);
    assert_eq!(response.to_string(), "QUERY NXDOMAIN qr rd cd");
}

#[test]
fn ttls_beyond_31_bits_count_as_zero() {
    let mut builder = Builder::new(Header::question(1), 512);
    for ttl in [0x7fff_ffff, 0x8000_0000] {
        let record = Record { ttl, ..record("example. 0 IN A 192.0.2.1") };
        builder.record(Section::Answer, &record.view()).expect("it fits");
    }
    let bytes = builder.finish();
    let ttls: Vec<u32> =
        Message::parse(&bytes).expect("it is whole").answers().map(|it| it.ttl).collect();
    assert_eq!(ttls, [0x7fff_ffff, 0]);
}

/// Describes what was received.
fn describe(received: &Received<'_>) -> Vec<u8> {
    match received {
        Received::Message(message) => message.as_bytes().to_vec(),
        Received::Malformed { header, error } => format!("{header}: {error}").into_bytes(),
    }
}

#[test]
fn messages_over_tcp_may_be_split_anywhere() {
    let mut stream = Vec::new();
    let mut small = Builder::new(Header::question(3), 512);
    small.question(name("a.example").view(), RecordType::A, Class::IN).expect("it fits");
    let small = small.finish();
    let broken = [&small[..4], &[0, 2], &small[6..]].concat();
    for message in [&small, &broken, &small] {
        stream.extend((message.len() as u16).to_be_bytes());
        stream.extend_from_slice(message);
    }
    let messages = testing::check_splits(OverTcp::new, &stream, |it| describe(&it));
    assert_eq!((messages.len(), &messages[0], &messages[2]), (3, &small, &small));
    assert!(String::from_utf8_lossy(&messages[1]).contains("ends too early"));
    testing::check_refused(OverTcp::new, &[0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    testing::check_garbage(OverTcp::new, 2000);
    assert!(OverTcp::new().finish(&[0]).is_err() && OverTcp::new().finish(&[]).is_ok());
}

#[test]
fn a_datagram_is_a_message() {
    let mut bytes = everything();
    let size = bytes.len();
    let decoded = OverUdp.decode(&mut bytes, &mut Output::new()).expect("it is a message");
    assert!(matches!(decoded, Decoded::Message { consumed, .. } if consumed == size));
    for short in 0..12 {
        assert!(OverUdp.decode(&mut vec![0; short], &mut Output::new()).is_err(), "{short}");
    }
}

#[test]
fn the_bits_of_nxt_are_types_below_128() {
    // RFC 2535 section 5.2. The first bit would announce another form.
    for (bits, text) in [
        (&b"\x40\x01\0\x02"[..], Some("A MX NXT")),
        (&[0; 0], Some("")),
        (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], Some("TYPE127")),
        (&[0x80], None),
        (&[0x40, 0], None),
        (&[1; 17], None),
    ] {
        let mut data = b"\x01a\0".to_vec();
        data.extend_from_slice(bits);
        let mut bytes = Builder::new(Header::question(1), 512).finish();
        bytes[7] = 1;
        bytes.extend([0, 0, 30, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        bytes.extend(data);
        let read = Message::parse(&bytes).ok();
        let read = read.map(|it| it.answers().next().expect("there is one").to_string());
        let expected = text.map(|text| format!(". 60 IN NXT a. {text}").trim_end().to_owned());
        assert_eq!(read, expected, "{bits:?}");
    }
}
