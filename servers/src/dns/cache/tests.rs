use std::collections::HashMap;

use protocol::dns::{Builder, Name, Record, ResponseCode, Section};

use super::entry::Part;

use super::*;

const OPTIONS: CacheOptions =
    CacheOptions { size_max: 1 << 20, ttl_max: 86_400, negative_ttl_max: 3600, stale: None };
const PLAIN: Wants = Wants { dnssec_ok: false, checking_disabled: false, authentic: false };
const SOA: &str = "test 900 SOA ns.test admin.test 1 2 3 4 300";

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// Returns a response with these records of the answer section and of the authority section.
fn response(
    of: (&str, RecordType),
    code: ResponseCode,
    answers: &[&str],
    others: &[&str],
) -> Vec<u8> {
    let header = Header { is_authentic: true, ..Header::question(9).response(code) };
    let mut builder = Builder::new(header, 65_535);
    builder.question(name(of.0).view(), of.1, Class::IN).expect("room");
    for (section, lines) in [(Section::Answer, answers), (Section::Authority, others)] {
        for line in lines {
            let record: Record = line.parse().expect("a record");
            builder.record(section, &record.view()).expect("room");
        }
    }
    builder.edns(&protocol::dns::Edns::new(4096)).expect("room");
    builder.finish()
}

/// A cache, and its time.
struct Desk {
    cache: Cache,
    start: Instant,
}

impl Desk {
    fn new(options: CacheOptions) -> Self {
        Self { cache: Cache::new(options), start: Instant::now() }
    }

    fn store(&mut self, of: (&str, RecordType), bytes: &[u8], second: u64) {
        let message = Message::parse(bytes).expect("a message");
        let name = name(of.0);
        let question = Question { name: name.view(), kind: of.1, class: Class::IN };
        self.cache.store(&question, PLAIN, &message, self.start + Duration::from_secs(second));
    }

    fn store_records(&mut self, of: (&str, RecordType), lines: &[&str], second: u64) {
        self.store(of, &response(of, ResponseCode::NOERROR, lines, &[]), second);
    }

    /// Returns what the cache has: in short, and as a message.
    fn look_up(&mut self, of: (&str, RecordType), second: u64) -> (&'static str, Vec<u8>) {
        self.look_up_within(of, second, 65_535)
    }

    fn look_up_within(
        &mut self,
        of: (&str, RecordType),
        second: u64,
        size_max: usize,
    ) -> (&'static str, Vec<u8>) {
        let name = name(of.0);
        let question = Question { name: name.view(), kind: of.1, class: Class::IN };
        let now = self.start + Duration::from_secs(second);
        let (what, entry) =
            match self.cache.look_up(&LowerName::new(question.name), &question, PLAIN, now) {
                Found::Fresh { entry, prefetch: false } => ("fresh", entry),
                Found::Fresh { entry, prefetch: true } => ("prefetch", entry),
                Found::Stale(entry) => ("stale", entry),
                Found::Missing => return ("missing", Vec::new()),
            };
        let mut bytes = vec![1, 2, 3];
        let asked = Header::question(77);
        entry.append_to(&question, &asked, false, size_max, &mut bytes);
        let bytes = bytes.split_off(3);
        let message = Message::parse(&bytes).expect("an answer is a message");
        assert_eq!(message.size(), bytes.len());
        let found = message.question().expect("it has the question");
        assert!(found.name.is_spelled_like(question.name), "{found:?}");
        assert_eq!((found.kind, found.class), (question.kind, question.class));
        let header = message.header();
        assert_eq!(header.id, 77);
        assert!(header.is_response && header.recursion_available && header.recursion_desired);
        assert!(!header.is_authoritative && !header.is_authentic && !header.checking_disabled);
        (what, bytes)
    }
}

/// Returns the records of an answer as text.
fn lines(bytes: &[u8], section: Section) -> Vec<String> {
    let message = Message::parse(bytes).expect("a message");
    message.records(section).map(|record| record.to_string()).collect()
}

#[test]
fn an_answer_is_counted_down_until_it_ends_and_spelled_like_the_question() {
    let mut desk = Desk::new(OPTIONS);
    let records = ["a.test 100 CNAME b.Other.test", "b.Other.test 60 A 192.0.2.1"];
    desk.store_records(("a.test", RecordType::A), &records, 0);
    let (what, bytes) = desk.look_up(("A.tEst", RecordType::A), 59);
    assert_eq!(what, "fresh");
    let found = lines(&bytes, Section::Answer);
    // Names that end like that of the question have its spelling.
    assert_eq!(found, ["A.tEst. 41 IN CNAME b.Other.tEst.", "b.Other.tEst. 1 IN A 192.0.2.1"]);
    assert_eq!(Message::parse(&bytes).expect("a message").edns(), None);
    assert_eq!(desk.look_up(("a.test", RecordType::A), 60).0, "missing");
    assert_eq!(desk.cache.len(), 0);
}

#[test]
fn answers_of_other_questions_are_not_mixed_up() {
    let mut desk = Desk::new(OPTIONS);
    desk.store_records(("a.test", RecordType::A), &["a.test 60 A 192.0.2.1"], 0);
    for (text, kind) in
        [("a.test", RecordType::AAAA), ("b.test", RecordType::A), ("test", RecordType::A)]
    {
        assert_eq!(desk.look_up((text, kind), 1).0, "missing", "{text} {kind}");
    }
    let name = name("a.test");
    let question = Question { name: name.view(), kind: RecordType::A, class: Class::IN };
    for wants in [
        Wants { dnssec_ok: true, ..PLAIN },
        Wants { checking_disabled: true, ..PLAIN },
        Wants { authentic: true, ..PLAIN },
    ] {
        assert!(matches!(
            desk.cache.look_up(&LowerName::new(question.name), &question, wants, desk.start),
            Found::Missing
        ));
    }
    let question = Question { class: Class::CH, ..question };
    assert!(matches!(
        desk.cache.look_up(&LowerName::new(question.name), &question, PLAIN, desk.start),
        Found::Missing
    ));
}

#[test]
fn a_name_that_does_not_exist_has_no_record_of_any_type() {
    let mut desk = Desk::new(OPTIONS);
    let of = ("No.test", RecordType::A);
    desk.store(of, &response(of, ResponseCode::NXDOMAIN, &[], &[SOA]), 0);
    let (what, bytes) = desk.look_up(("no.TEST", RecordType::MX), 100);
    let code = Message::parse(&bytes).expect("a message").response_code();
    assert_eq!((what, code), ("fresh", ResponseCode::NXDOMAIN));
    // The TTL is that of the SOA record or its minimum (RFC 2308 section 5).
    let expected = ["TEST. 200 IN SOA ns.TEST. admin.TEST. 1 2 3 4 300"];
    assert_eq!(lines(&bytes, Section::Authority), expected);
    assert_eq!(desk.look_up(of, 300).0, "missing");
    // Records that appear end that.
    desk.store(of, &response(of, ResponseCode::NXDOMAIN, &[], &[SOA]), 300);
    desk.store_records(of, &["no.test 600 A 192.0.2.1"], 310);
    assert_eq!(desk.look_up(("no.test", RecordType::MX), 311).0, "missing");
    assert_eq!(lines(&desk.look_up(of, 311).1, Section::Answer).len(), 1);
    // And when they disappear, they are gone.
    desk.store(of, &response(of, ResponseCode::NXDOMAIN, &[], &[SOA]), 320);
    assert_eq!(lines(&desk.look_up(of, 321).1, Section::Answer).len(), 0);
}

#[test]
fn a_type_that_is_missing_says_nothing_about_others() {
    let mut desk = Desk::new(OPTIONS);
    let of = ("a.test", RecordType::AAAA);
    desk.store(of, &response(of, ResponseCode::NOERROR, &[], &[SOA]), 0);
    let (what, bytes) = desk.look_up(of, 299);
    assert_eq!((what, lines(&bytes, Section::Answer).len()), ("fresh", 0));
    assert_eq!(desk.look_up(of, 300).0, "missing");
    assert_eq!(desk.look_up(("a.test", RecordType::A), 1).0, "missing");
    // An alias of a name that does not exist does exist.
    let of = ("alias.test", RecordType::A);
    let alias = ["alias.test 60 CNAME no.test"];
    desk.store(of, &response(of, ResponseCode::NXDOMAIN, &alias, &[SOA]), 0);
    assert_eq!(desk.look_up(of, 1).0, "fresh");
    assert_eq!(desk.look_up(("alias.test", RecordType::CNAME), 1).0, "missing");
}

#[test]
fn what_must_not_be_kept_is_not() {
    let mut desk = Desk::new(OPTIONS);
    let of = ("a.test", RecordType::A);
    let record = "a.test 60 A 192.0.2.1";
    let right = response(of, ResponseCode::NOERROR, &[record], &[]);
    let mut truncated = right.clone();
    truncated[2] |= 2;
    let mut question = right.clone();
    question[2] &= 0x7f;
    let wrong = [
        ("truncated", truncated),
        ("no response", question),
        ("no SOA record", response(of, ResponseCode::NXDOMAIN, &[], &[])),
        ("referral", response(of, ResponseCode::NOERROR, &[], &["test 60 NS ns.test"])),
        ("failure", response(of, ResponseCode::SERVFAIL, &[], &[SOA])),
        ("refused", response(of, ResponseCode::REFUSED, &[record], &[])),
        ("no time", response(of, ResponseCode::NOERROR, &["a.test 0 A 192.0.2.1"], &[])),
        ("no time for NS", response(of, ResponseCode::NOERROR, &[record], &["test 0 NS ns.test"])),
    ];
    for (what, bytes) in &wrong {
        desk.store(of, bytes, 0);
        assert_eq!(desk.look_up(of, 0).0, "missing", "{what}");
    }
    let any = ("a.test", RecordType::ANY);
    desk.store_records(any, &[record], 0);
    assert_eq!(desk.look_up(any, 0).0, "missing");
    desk.store(of, &right, 0);
    assert_eq!(desk.look_up(of, 0).0, "fresh");
}

#[test]
fn the_limits_of_time_shorten_ttls() {
    let options = CacheOptions { ttl_max: 100, negative_ttl_max: 50, ..OPTIONS };
    let mut desk = Desk::new(options);
    let of = ("a.test", RecordType::A);
    let records = ["a.test 1 A 192.0.2.1", "a.test 500 A 192.0.2.2"];
    let mut bytes = response(of, ResponseCode::NOERROR, &records, &[]);
    let places = Message::parse(&bytes).expect("a message").ttl_places(Section::Answer);
    let first = places.min().expect("there are two");
    bytes[first] |= 0x80;
    desk.store(of, &bytes, 0);
    // A TTL beyond 2^31 is zero (RFC 2181 section 8), so this answer is not kept.
    assert_eq!(desk.look_up(of, 0).0, "missing");
    desk.store_records(of, &["a.test 500 A 192.0.2.2"], 0);
    assert_eq!(lines(&desk.look_up(of, 10).1, Section::Answer), ["a.test. 90 IN A 192.0.2.2"]);
    assert_eq!(desk.look_up(of, 100).0, "missing");
    let of = ("no.test", RecordType::A);
    desk.store(of, &response(of, ResponseCode::NXDOMAIN, &[], &[SOA]), 0);
    assert!(lines(&desk.look_up(of, 10).1, Section::Authority)[0].starts_with("test. 40 IN SOA"));
    assert_eq!(desk.look_up(of, 50).0, "missing");
}

#[test]
fn a_stale_answer_is_found_for_a_while_with_a_ttl_of_30_seconds() {
    let options = CacheOptions { stale: Some(Duration::from_secs(3600)), ..OPTIONS };
    let mut desk = Desk::new(options);
    let of = ("a.test", RecordType::A);
    desk.store_records(of, &["a.test 60 A 192.0.2.1"], 0);
    assert_eq!(desk.look_up(of, 59).0, "fresh");
    let (what, bytes) = desk.look_up(of, 60);
    assert_eq!(
        (what, &lines(&bytes, Section::Answer)[0][..]),
        ("stale", "a.test. 30 IN A 192.0.2.1")
    );
    assert_eq!(desk.look_up(of, 3659).0, "stale");
    assert_eq!(desk.look_up(of, 3660).0, "missing");
    // Something newer goes first: that the name does not exist.
    desk.store_records(of, &["a.test 60 A 192.0.2.1"], 4000);
    let mx = ("a.test", RecordType::MX);
    desk.store(mx, &response(mx, ResponseCode::NXDOMAIN, &[], &[SOA]), 4070);
    let (what, bytes) = desk.look_up(of, 4071);
    assert_eq!((what, lines(&bytes, Section::Answer).len()), ("fresh", 0));
}

#[test]
fn a_popular_answer_is_prefetched_once_in_the_last_tenth_of_its_time() {
    let mut desk = Desk::new(OPTIONS);
    let of = ("a.test", RecordType::A);
    let record = ["a.test 100 A 192.0.2.1"];
    desk.store_records(of, &record, 0);
    let second = [0, 1, 89, 90, 91, 99];
    let found = second.map(|second| desk.look_up(of, second).0);
    assert_eq!(found, ["fresh", "fresh", "fresh", "prefetch", "fresh", "fresh"]);
    desk.store_records(of, &record, 99);
    // Nothing was asked for it since.
    let found = [189, 190, 191].map(|second| desk.look_up(of, second).0);
    assert_eq!(found, ["fresh", "fresh", "prefetch"]);
}

#[test]
fn an_answer_that_has_no_room_leaves_out_what_adds_to_it_or_is_truncated() {
    let mut desk = Desk::new(OPTIONS);
    let of = ("a.test", RecordType::A);
    let answers = ["a.test 60 A 192.0.2.1", "a.test 60 A 192.0.2.2"];
    let bytes = response(of, ResponseCode::NOERROR, &answers, &["test 60 NS ns.test"]);
    desk.store(of, &bytes, 0);
    let whole = desk.look_up(of, 0).1.len();
    let (_, bytes) = desk.look_up_within(of, 1, whole - 1);
    let message = Message::parse(&bytes).expect("a message");
    assert!(!message.header().is_truncated);
    assert_eq!((message.count(Section::Answer), message.count(Section::Authority)), (2, 0));
    let (_, bytes) = desk.look_up_within(of, 1, bytes.len() - 1);
    let message = Message::parse(&bytes).expect("a message");
    assert!(message.header().is_truncated);
    assert_eq!((message.count(Section::Answer), bytes.len()), (0, 12 + 8 + 4));
    // The records of a negative answer are those that make it one.
    let of = ("no.test", RecordType::A);
    desk.store(of, &response(of, ResponseCode::NXDOMAIN, &[], &[SOA]), 0);
    let whole = desk.look_up(of, 0).1.len();
    let (_, bytes) = desk.look_up_within(of, 1, whole - 1);
    assert!(Message::parse(&bytes).expect("a message").header().is_truncated);
}

#[test]
fn flags_are_those_of_the_client() {
    let mut desk = Desk::new(OPTIONS);
    desk.store_records(("a.test", RecordType::A), &["a.test 60 A 192.0.2.1"], 0);
    let name = name("a.test");
    let question = Question { name: name.view(), kind: RecordType::A, class: Class::IN };
    let Found::Fresh { entry, .. } =
        desk.cache.look_up(&LowerName::new(question.name), &question, PLAIN, desk.start)
    else {
        panic!("it is there");
    };
    let mut bytes = Vec::new();
    let asked = Header { recursion_desired: false, checking_disabled: true, ..Header::question(1) };
    assert_eq!(entry.append_to(&question, &asked, true, 512, &mut bytes), Part::Whole);
    let header = Message::parse(&bytes).expect("a message").header();
    assert!(header.is_authentic && header.checking_disabled && !header.recursion_desired);
}

#[test]
fn memory_is_bounded_and_what_was_used_last_stays() {
    let options = CacheOptions { size_max: 64 * 1024, ..OPTIONS };
    let mut desk = Desk::new(options);
    let used = ("used.test", RecordType::A);
    desk.store_records(used, &["used.test 80000 A 192.0.2.1"], 0);
    let mut most = 0;
    for number in 0..20_000 {
        let text = format!("name{number}.test");
        let record = format!("{text} 80000 TXT {}", "x".repeat(1 + number % 200));
        desk.store_records((&text, RecordType::TXT), &[&record], 0);
        assert!(desk.cache.size() <= options.size_max, "{} bytes", desk.cache.size());
        assert_eq!(desk.look_up((&text, RecordType::TXT), 1).0, "fresh", "{number}");
        assert_eq!(desk.look_up(used, 1).0, "fresh", "{number}");
        most = most.max(desk.cache.len());
    }
    assert_eq!(desk.look_up(("name0.test", RecordType::TXT), 1).0, "missing");
    // The memory is in use: an answer takes some 300 bytes here.
    assert!(most > 150, "{most} answers");
    // An answer that takes much of the cache is left out.
    let texts = format!("{} ", "y".repeat(200)).repeat(50);
    let record = format!("big.test 60 TXT {texts}");
    desk.store_records(("big.test", RecordType::TXT), &[&record], 0);
    assert_eq!(desk.look_up(("big.test", RecordType::TXT), 0).0, "missing");
}

#[test]
fn a_cache_of_any_size_keeps_to_it() {
    for size_max in (0..6000).step_by(37) {
        let mut desk = Desk::new(CacheOptions { size_max, ..OPTIONS });
        for number in 0..40 {
            let text = format!("name{number}.test");
            let record = format!("{text} 60 A 192.0.2.1");
            desk.store_records((&text, RecordType::A), &[&record], 0);
            assert!(desk.cache.size() <= size_max, "{} of {size_max}", desk.cache.size());
        }
        let last = desk.look_up(("name39.test", RecordType::A), 1).0;
        assert!(size_max < 3000 || last == "fresh", "{size_max}");
    }
}

#[test]
fn random_steps_agree_with_a_model() {
    let mut random = fastrand::Rng::with_seed(15);
    for round in 0..20 {
        let size_max = if round % 2 == 0 { 1 << 20 } else { 8192 };
        let mut desk = Desk::new(CacheOptions { size_max, ..OPTIONS });
        // What is known about each name: the end of the answer, and its address.
        let mut model: HashMap<String, (u64, String)> = HashMap::new();
        let mut second = 0;
        for _ in 0..2000 {
            second += random.u64(0..3);
            let text = format!("n{}.test", random.u8(0..100));
            let of = (&text[..], RecordType::A);
            if random.bool() {
                let ttl = random.u64(1..60);
                let address = format!("192.0.2.{}", random.u8(..));
                desk.store_records(of, &[&format!("{text} {ttl} A {address}")], second);
                model.insert(text, (second + ttl, address));
                continue;
            }
            let (_, bytes) = desk.look_up(of, second);
            let known = model.get(&text).filter(|(end, _)| second < *end);
            let expected =
                known.map(|(end, address)| format!("{text}. {} IN A {address}", end - second));
            let found = (!bytes.is_empty()).then(|| lines(&bytes, Section::Answer).remove(0));
            // A small cache forgets, but what it knows is right.
            if size_max > 8192 || found.is_some() {
                assert_eq!(found, expected);
            }
        }
        assert!(desk.cache.size() <= size_max);
    }
}

#[test]
fn names_that_end_like_the_question_have_its_case_whatever_that_of_the_answer_was() {
    let mut desk = Desk::new(OPTIONS);
    let soa = "TeSt 900 SOA ns.TEST Admin.tesT 1 2 3 4 300";
    let asked = ("nOnE.TeSt", RecordType::MX);
    desk.store(asked, &response(asked, ResponseCode::NXDOMAIN, &[], &[soa]), 0);
    let (what, bytes) = desk.look_up(("none.test", RecordType::MX), 1);
    assert_eq!(what, "fresh");
    let message = Message::parse(&bytes).expect("a message");
    let record = message.records(Section::Authority).next().expect("the SOA record");
    let shown = record.to_string();
    assert!(shown.starts_with("test. ") && shown.contains(" ns.test. Admin.test. "), "{shown}");
}
