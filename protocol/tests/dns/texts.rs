//! The text form of each record type, and its bytes.

use protocol::dns::{
    Class, Name, Record, RecordData, RecordType, TextError, address_of, reverse_name,
};

/// Records of all types that are known, in the form in which they are written.
pub(crate) const RECORDS: &[&str] = &[
    "a.example. 60 IN A 192.0.2.1",
    "a.example. 60 IN AAAA 2001:db8::1",
    "example. 60 IN NS ns1.example.",
    "example. 60 IN SOA ns1.example. host\\.master.example. 2026112801 7200 900 1209600 300",
    "www.example. 60 IN CNAME example.",
    "1.2.0.192.in-addr.arpa. 60 IN PTR a.example.",
    "example. 60 IN MX 10 mail.example.",
    "example. 60 IN MX 0 .",
    "example. 60 IN TXT \"v=spf1 -all\"",
    "example. 60 IN TXT \"a \\\"quoted\\\" one\" \"back\\\\slash\" \"\" \"\\000\\255\"",
    "example. 60 IN HINFO \"RFC8482\" \"\"",
    "_sip._tcp.example. 60 IN SRV 1 2 5060 sip.example.",
    "example. 60 IN NAPTR 100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example.com!\" .",
    "example. 60 IN DNAME other.example.",
    "example. 60 IN MD mail.example.",
    "example. 60 IN MF mail.example.",
    "user.example. 60 IN MB mail.example.",
    "users.example. 60 IN MG user.example.",
    "old.example. 60 IN MR user.example.",
    "users.example. 60 IN MINFO owner.example. errors.example.",
    "example. 60 IN RP admin.example. texts.example.",
    "example. 60 IN AFSDB 1 afs.example.",
    "example. 60 IN RT 10 relay.example.",
    "example. 60 IN PX 10 map822.example. mapx400.example.",
    "example. 60 IN KX 10 kx.example.",
    "example. 60 IN SIG A 5 3 86400 20030322173103 20030220173103 2642 example.com. b2theCFUqA==",
    "example. 60 IN NXT a.example. A MX SIG NXT",
    "example. 60 IN NXT a.example. TYPE127",
    "example. 60 IN NXT a.example.",
    "example. 60 IN DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118",
    "example. 60 IN CDS 0 0 0 00",
    "example. 60 IN SSHFP 1 1 AABBCCDDEEFF00112233445566778899AABBCCDD",
    "example. 60 IN RRSIG A 5 3 86400 20030322173103 20030220173103 2642 example.com. b2theCFUqA==",
    "alfa.example. 60 IN NSEC host.example. A MX RRSIG NSEC TYPE1234",
    "example. 60 IN DNSKEY 256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3",
    "example. 60 IN CDNSKEY 0 3 0 AA==",
    "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. 60 IN NSEC3 1 1 12 AABBCCDD \
     2VPTU5TIMAMQTTGL4LUU9KG21E0AOR3S A RRSIG",
    "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. 60 IN NSEC3 1 0 0 - 2VPTU5TIMAMQTTGL4LUU9KG21E0AOR3S",
    "example. 60 IN NSEC3PARAM 1 0 0 -",
    "_443._tcp.example. 60 IN TLSA 3 1 1 D2ABDE240D7CD3EE6B4B28C54DF034B9",
    "example. 60 IN SPF \"v=spf1 -all\"",
    "example. 60 IN URI 10 1 \"ftp://ftp1.example.com/public\"",
    "example. 60 IN CAA 0 issue \"ca.example; account=230123\"",
    "example. 60 IN SVCB 0 foo.example.",
    "example. 60 IN HTTPS 1 . alpn=\"h2,h3\" port=8443 ipv4hint=192.0.2.1,192.0.2.2 ech=AAEC \
     ipv6hint=2001:db8::1 key667=\"hello\\210qoo\"",
    "example. 60 IN SVCB 16 foo.example. mandatory=alpn,ipv4hint alpn=\"f\\\\\\\\oo\\\\,bar,h2\" \
     ipv4hint=192.0.2.1",
    "example. 60 IN SVCB 1 . alpn=\"h2\" no-default-alpn",
    "example. 60 IN TYPE65280 \\# 4 0A000001",
    "example. 60 IN TYPE65280 \\# 0",
    "version.bind. 0 CH TXT \"none\"",
    "example. 60 CLASS32 A \\# 4 0A000001",
];

#[test]
fn each_record_is_written_as_it_was_read() {
    for text in RECORDS {
        let record: Record = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(record.to_string(), *text);
        let again: Record = record.to_string().parse().expect(text);
        assert_eq!(again, record);
    }
}

#[test]
fn the_form_of_an_unknown_type_is_read_for_known_ones_too() {
    let record: Record = "a.example. 60 IN A \\# 4 C0000201".parse().expect("it is a record");
    assert_eq!(record.to_string(), RECORDS[0]);
    let wrong = "a.example. 60 IN A \\# 3 C00002".parse::<Record>();
    assert!(matches!(wrong, Err(TextError::Invalid { .. })), "{wrong:?}");
}

#[test]
fn other_spellings_are_read() {
    for (text, read) in [
        ("example IN 60 a 192.0.2.1", "example. 60 IN A 192.0.2.1"),
        ("example. 1h30m A 192.0.2.1 ; a comment", "example. 5400 IN A 192.0.2.1"),
        ("example. A 192.0.2.1\n\n; the end\n", "example. 0 IN A 192.0.2.1"),
        (
            "example. 60 IN SOA ns. h. (\n 1 ; serial\n 1d 2h 4w 5m )",
            "example. 60 IN SOA ns. h. 1 86400 7200 2419200 300",
        ),
        (
            "example. 60 IN TXT word \"two\"\"three\"",
            "example. 60 IN TXT \"word\" \"two\" \"three\"",
        ),
        ("example. 60 IN TXT \"; no comment (\"", "example. 60 IN TXT \"; no comment (\""),
        ("ex\\097mple. 60 IN NS a\\.b.", "example. 60 IN NS a\\.b."),
        ("example. 60 IN DS 1 2 3 aa BB", "example. 60 IN DS 1 2 3 AABB"),
        (
            "example. 60 IN SVCB 1 . port=\"53\" alpn=h2 mandatory=port,alpn",
            "example. 60 IN SVCB 1 . mandatory=alpn,port alpn=\"h2\" port=53",
        ),
        ("example. 60 IN NSEC x. MX A A", "example. 60 IN NSEC x. A MX"),
    ] {
        let record: Record = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(record.to_string(), read, "{text}");
    }
}

#[test]
fn an_error_names_the_part_and_what_is_expected() {
    for (text, expected) in [
        ("", "the record ends where the name of a record is expected"),
        ("example.", "a TTL, a class or a record type"),
        ("example. 60 IN", "a TTL, a class or a record type"),
        ("example. 60 IN FOO bar", "\"FOO\" stands where"),
        ("example. 60 60 A 192.0.2.1", "\"60\" stands where"),
        ("example. 99999999999 A 192.0.2.1", "a TTL of at most 2147483647 seconds"),
        ("example. 60 IN ANY", "a record type that a zone can have"),
        ("example. 60 IN OPT", "a record type that a zone can have"),
        ("example. 60 IN A 192.0.2", "\"192.0.2\" stands where an IPv4 address"),
        ("example. 60 IN A 2001:db8::1", "an IPv4 address"),
        ("example. 60 IN A 192.0.2.1 192.0.2.2", "\"192.0.2.2\" follows the end"),
        ("example. 60 IN MX mail.example.", "\"mail.example.\" stands where a number up to 65535"),
        ("example. 60 IN NXT x. A TYPE128", "\"TYPE128\" stands where record types with numbers"),
        ("example. 60 IN MX 65536 mail.", "a number up to 65535"),
        ("example. 60 IN MX -1 mail.", "a number up to 65535"),
        ("example. 60 IN MX 10", "the record ends where a domain name"),
        ("example. 60 IN NS a..b", "\"a..b\" stands where a domain name"),
        ("example. 60 IN TXT", "the record ends where a text"),
        ("example. 60 IN TXT \"open", "a quotation mark is missing"),
        ("example. 60 IN TXT \\", "a backslash needs"),
        ("example. 60 IN TXT \\256", "a backslash needs"),
        ("example. 60 IN TXT ( a", "parentheses"),
        ("example. 60 IN TXT a )", "parentheses"),
        ("example. 60 IN TXT a\nb", "a second line"),
        ("example. 60 IN DS 1 2 3 ABC", "bytes in hexadecimal"),
        ("example. 60 IN DNSKEY 1 3 5 ?", "bytes in Base64"),
        ("example. 60 IN RRSIG A 5 3 1 20261301000000 1 1 x. AA==", "YYYYMMDDHHmmSS"),
        ("example. 60 IN RRSIG A 5 3 1 20260229000000 1 1 x. AA==", "YYYYMMDDHHmmSS"),
        ("example. 60 IN NSEC x. WHAT", "record types"),
        ("example. 60 IN CAA 0 is-sue \"x\"", "valid data of this type"),
        ("example. 60 IN HTTPS 1 . port=x", "a parameter such as port=443"),
        ("example. 60 IN HTTPS 1 . key65535=x", "a parameter such as port=443"),
        ("example. 60 IN HTTPS 1 . port=1 port=2", "valid data of this type"),
        ("example. 60 IN TYPE65280 x", "\\# (data of a type"),
        ("example. 60 IN TYPE65280 \\# 2 00", "as many bytes in hexadecimal"),
        ("example. 60 IN TYPE65280 \\#", "the length of the data"),
    ] {
        let error = text.parse::<Record>().expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let long = format!("example. 60 IN TXT \"{}\"", "x".repeat(256));
    assert!(long.parse::<Record>().expect_err("too long").to_string().contains("at most 255"));
    let longer = format!("example. 60 IN TXT {}", "\"xxxxxxxxxxxxxxx\" ".repeat(4097));
    assert_eq!(longer.parse::<Record>(), Err(TextError::TooLong));
}

#[test]
fn names_have_limits() {
    let label = "x".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "y".repeat(61));
    let name: Name = longest.parse().expect("it is as long as can be");
    assert_eq!(name.as_bytes().len(), 255);
    for wrong in [
        format!("{label}.{label}.{label}.{}", "y".repeat(62)),
        format!("{label}x."),
        ".example.".to_owned(),
        "a..".to_owned(),
        "..".to_owned(),
        String::new(),
        "\\".to_owned(),
        "\\25".to_owned(),
        "\\256.".to_owned(),
    ] {
        assert!(wrong.parse::<Name>().is_err(), "{wrong}");
    }
    assert_eq!(".".parse::<Name>(), Ok(Name::root()));
    assert!(Name::root().view().is_root());
}

#[test]
fn names_are_compared_without_case_and_within_others() {
    let name = |text: &str| -> Name { text.parse().expect(text) };
    assert_eq!(name("WwW.Example"), name("www.example."));
    assert!(!name("WwW.Example").view().is_spelled_like(name("www.example").view()));
    // A length of 1 and 2 and a letter are no case of each other.
    assert_ne!(name("a.b"), name("ab"));
    for (child, parent, is_within) in [
        ("a.b.example", "B.example", true),
        ("b.example", "b.example", true),
        ("b.example", ".", true),
        ("xb.example", "b.example", false),
        ("example", "b.example", false),
    ] {
        assert_eq!(
            name(child).view().is_within(name(parent).view()),
            is_within,
            "{child} {parent}"
        );
    }
}

#[test]
fn addresses_have_names_and_back() {
    for (address, text) in [
        ("192.0.2.7", "7.2.0.192.in-addr.arpa."),
        (
            "2001:db8::567:89ab",
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.",
        ),
    ] {
        let address = address.parse().expect(address);
        let name = reverse_name(address);
        assert_eq!(name.to_string(), text);
        assert_eq!(address_of(name.view()), Some(address));
    }
    for wrong in ["2.0.192.in-addr.arpa", "x.2.0.192.in-addr.arpa", "a.ip6.arpa", "arpa", "."] {
        let name: Name = wrong.parse().expect(wrong);
        assert_eq!(address_of(name.view()), None, "{wrong}");
    }
}

#[test]
fn data_of_their_own_are_made_of_values() {
    let data = RecordData::address([192, 0, 2, 1].into());
    assert_eq!((data.to_string(), data.size()), ("192.0.2.1".to_owned(), 4));
    let name: Name = "a.example".parse().expect("it is a name");
    assert_eq!(RecordData::pointer(&name).to_string(), "a.example.");
    assert_eq!(RecordData::alias(&name).view().kind(), RecordType::CNAME);
    let from_text = RecordData::from_text(RecordType::MX, "10 a.example.").expect("it is data");
    let bytes = [&[0, 10][..], name.as_bytes()].concat();
    assert_eq!(RecordData::from_bytes(RecordType::MX, &bytes), Ok(from_text));
    assert!(RecordData::from_bytes(RecordType::MX, &bytes[..5]).is_err());
    assert_eq!("CLASS7".parse(), Ok(Class(7)));
}
