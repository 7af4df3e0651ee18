//! The promises of a conversation to its driver.

use std::convert::Infallible;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;

use protocol::codecs::{Lines, Packet, PacketMessage, PacketView};
use protocol::{
    Buffer, Cause, Codec, ConnectionId, Context, Conversation, Decoded, Effects, Flow, Limits,
    Output, Reason, Reply, Service, Session, resp,
};

/// Repeats each line ten times, pauses at "pause", closes at "close", and records its calls.
#[derive(Default)]
struct Repeat {
    calls: usize,
    finished: usize,
    endings: usize,
}

impl Service<Lines> for Repeat {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_>,
    ) -> Flow {
        self.calls += 1;
        for _ in 0..10 {
            reply.send(line);
        }
        context.effects.wake(ConnectionId(7));
        match &*line {
            b"pause" => Flow::Pause,
            b"close" => Flow::Close,
            _ => Flow::Continue,
        }
    }

    fn ending(&mut self, _context: &mut Context<'_>) {
        self.endings += 1;
    }

    fn finish(&mut self, _reply: &mut Reply<'_, Lines>, _context: &mut Context<'_>) -> Flow {
        self.finished += 1;
        Flow::Continue
    }
}

struct Driver {
    session: Conversation<Lines, Repeat>,
    input: Buffer,
    output: Output,
    limits: Limits,
    wakes: usize,
    input_ended: bool,
}

impl Driver {
    fn new(limits: Limits) -> Self {
        Self {
            session: Conversation::new(Lines::default(), Repeat::default()),
            input: Buffer::new(),
            output: Output::new(),
            limits,
            wakes: 0,
            input_ended: false,
        }
    }

    fn advance(&mut self, cause: Cause, input: &[u8]) -> Result<Flow, Reason> {
        self.input.extend_from_slice(input);
        let (mut app, mut effects) = ((), Effects::default());
        let mut context =
            Context::new(Instant::now(), ConnectionId(1), &mut app, &self.limits, &mut effects)
                .because(cause);
        context.input_ended = self.input_ended;
        let flow = self.session.advance(&mut self.input, &mut self.output, &mut context);
        self.wakes += effects.take_wakes().count();
        flow
    }
}

#[test]
fn a_full_output_stops_decoding_until_it_has_drained() {
    let limits = Limits { output_high: 100, output_low: 10, ..Limits::DEFAULT };
    let mut driver = Driver::new(limits);
    let lines = b"0123456789\n".repeat(5);
    let flow = driver.advance(Cause::Input, &lines).expect("they are lines");
    assert_eq!(flow, Flow::Pause);
    assert_eq!(driver.session.service().calls, 1);
    for calls in 2..=5 {
        driver.output.clear();
        let flow = driver.advance(Cause::Drained, b"").expect("they are lines");
        assert_eq!(flow, Flow::Pause);
        assert_eq!(driver.session.service().calls, calls);
    }
    assert!(driver.input.is_empty());
    assert_eq!(driver.wakes, 5);
}

#[test]
fn a_pause_keeps_the_input_until_a_wake() {
    let mut driver = Driver::new(Limits::DEFAULT);
    let flow = driver.advance(Cause::Input, b"pause\nnext\n").expect("they are lines");
    assert_eq!((flow, driver.session.service().calls), (Flow::Pause, 1));
    let flow = driver.advance(Cause::Input, b"more\n").expect("they are lines");
    assert_eq!((flow, driver.session.service().calls), (Flow::Pause, 1));
    let flow = driver.advance(Cause::Woken, b"").expect("they are lines");
    assert_eq!((flow, driver.session.service().calls), (Flow::Continue, 3));
}

#[test]
fn the_end_of_the_input_is_reported_once() {
    let mut driver = Driver::new(Limits::DEFAULT);
    driver.input_ended = true;
    for cause in [Cause::Input, Cause::Drained, Cause::Woken] {
        let flow = driver.advance(cause, b"").expect("nothing is refused");
        assert_eq!(flow, Flow::Continue);
    }
    assert_eq!(driver.session.service().finished, 1);
}

#[test]
fn a_refusal_is_reported_to_the_peer_and_to_the_driver() {
    let mut driver = Driver::new(Limits::DEFAULT);
    let error = driver.advance(Cause::Input, &[b'x'; 70_000]).expect_err("it is too long");
    assert_eq!(error.to_string(), "refused: line longer than 65536 bytes");
    assert_eq!(driver.output.to_vec(), b"error: line longer than 65536 bytes\n");
}

#[test]
fn a_service_is_notified_of_every_end_of_its_conversation() {
    let ends: [&[u8]; 3] = [b"one\nclose\n", &[b'x'; 70_000], b"half"];
    for end in ends {
        let mut driver = Driver::new(Limits::DEFAULT);
        for going_on in [&b"one\npause\n"[..], b"two\n"] {
            assert_eq!(driver.advance(Cause::Input, going_on).expect("lines"), Flow::Pause);
        }
        assert_eq!(driver.advance(Cause::Woken, b"").expect("lines"), Flow::Continue);
        assert_eq!(driver.session.service().endings, 0);
        driver.input_ended = end == b"half";
        let flow = driver.advance(Cause::Input, end);
        assert!(matches!(flow, Ok(Flow::Close) | Err(_)), "{flow:?}");
        assert_eq!(driver.session.service().endings, 1);
    }
}

#[test]
fn a_message_over_the_limit_of_the_conversation_is_refused() {
    let mut driver = Driver::new(Limits { message_size_max: 50, ..Limits::DEFAULT });
    let error = driver.advance(Cause::Input, &[b'x'; 60]).expect_err("it is too long");
    assert_eq!(error.to_string(), "limit reached: message_size_max: a message is larger");
}

#[test]
fn a_message_that_announces_more_than_the_limit_is_refused_at_once() {
    let limits = Limits { message_size_max: 50, ..Limits::DEFAULT };
    let mut session = Conversation::new(Packet::default(), Collect::default());
    let encoded =
        |body| Packet::default().encode_shared(PacketMessage { kind: 1, body: &[0; 43][..body] });
    let header = &encoded(43)[..8];
    let error = advance(&mut session, header, &limits).expect_err("8 and 43 bytes are too many");
    assert_eq!(error.to_string(), "limit reached: message_size_max: a message is larger");
    let mut session = Conversation::new(Packet::default(), Collect::default());
    let header = &encoded(42)[..8];
    assert_eq!(advance(&mut session, header, &limits).expect("50 bytes"), Flow::Continue);
}

#[test]
fn an_end_in_the_middle_of_a_message_is_refused() {
    let mut driver = Driver::new(Limits::DEFAULT);
    driver.input_ended = true;
    let error = driver.advance(Cause::Input, b"whole\nhalf").expect_err("it has no end");
    assert_eq!(error.to_string(), "refused: the stream ended 4 bytes after the last line end");
    let service = driver.session.service();
    assert_eq!((service.calls, service.finished), (1, 0));
}

#[test]
fn all_input_is_answered_before_its_end_is_reported() {
    let limits = Limits { output_high: 20, output_low: 10, ..Limits::DEFAULT };
    let mut driver = Driver::new(limits);
    driver.input_ended = true;
    for calls in 1..=3 {
        let input = if calls == 1 { &b"one\ntwo\nthree\n"[..] } else { b"" };
        let _ = driver.advance(Cause::Drained, input).expect("they are lines");
        let service = driver.session.service();
        assert_eq!((service.calls, service.finished), (calls, 0));
        driver.output.clear();
    }
    let _ = driver.advance(Cause::Drained, b"").expect("nothing is left");
    assert_eq!(driver.session.service().finished, 1);
}

/// Delivers or skips without consuming input, which would never end.
enum Stuck {
    Delivers,
    Skips,
}

impl Codec for Stuck {
    type In<'a> = ();
    type Out<'a> = ();
    type Error = Infallible;

    fn decode(&mut self, _input: &mut [u8], _out: &mut Output) -> Result<Decoded<()>, Infallible> {
        Ok(match self {
            Self::Delivers => Decoded::Message { message: (), consumed: 0 },
            Self::Skips => Decoded::Skip { consumed: 0 },
        })
    }

    fn encode(&mut self, (): (), _output: &mut Output) {}

    fn finish(&mut self, _rest: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Counts requests.
impl Service<resp::Server> for Collect {
    fn call(
        &mut self,
        request: resp::Request<'_>,
        reply: &mut Reply<'_, resp::Server>,
        _context: &mut Context<'_>,
    ) -> Flow {
        self.0.push(request.len() as u32);
        reply.writer().ok();
        Flow::Continue
    }
}

#[test]
fn skipped_bytes_are_consumed_at_once_and_not_delivered() {
    let mut session = Conversation::new(resp::Server::default(), Collect::default());
    let (mut input, mut output) = (Buffer::new(), Output::new());
    let limits = Limits { message_size_max: 100, ..Limits::DEFAULT };
    for _ in 0..1000 {
        input.extend_from_slice(b"\r\n*0\r\n*-1\r\n \n");
        let (mut app, mut effects) = ((), Effects::default());
        let mut context =
            Context::new(Instant::now(), ConnectionId(1), &mut app, &limits, &mut effects);
        let flow = session.advance(&mut input, &mut output, &mut context);
        assert_eq!(flow.expect("nothing is wrong"), Flow::Continue);
        assert!(input.is_empty());
    }
    assert!(session.service().0.is_empty() && output.is_empty());
    let flow = advance(&mut session, b"\r\nPING\r\n", &limits).expect("it is a request");
    assert_eq!(flow, Flow::Continue);
    assert_eq!(session.service().0, [1]);
}

/// Records the types of packets, and counts messages of any kind.
#[derive(Default)]
struct Collect(Vec<u32>);

impl Service<Stuck> for Collect {
    fn call(&mut self, (): (), _reply: &mut Reply<'_, Stuck>, _context: &mut Context<'_>) -> Flow {
        self.0.push(0);
        Flow::Continue
    }
}

impl Service<Packet> for Collect {
    fn call(
        &mut self,
        packet: PacketView<'_>,
        _reply: &mut Reply<'_, Packet>,
        _context: &mut Context<'_>,
    ) -> Flow {
        self.0.push(packet.kind);
        Flow::Continue
    }
}

/// Feeds `bytes` to a new session.
fn advance(session: &mut impl Session, bytes: &[u8], limits: &Limits) -> Result<Flow, Reason> {
    let (mut input, mut output) = (Buffer::new(), Output::new());
    input.extend_from_slice(bytes);
    let (mut app, mut effects) = ((), Effects::default());
    let mut context = Context::new(Instant::now(), ConnectionId(1), &mut app, limits, &mut effects);
    session.advance(&mut input, &mut output, &mut context)
}

#[test]
fn a_codec_that_consumes_nothing_ends_the_conversation() {
    for stuck in [Stuck::Delivers, Stuck::Skips] {
        let mut session = Conversation::new(stuck, Collect::default());
        let error = advance(&mut session, b"x", &Limits::DEFAULT).expect_err("it would not end");
        assert!(error.to_string().contains("without consuming input"), "{error}");
        assert!(session.service().0.is_empty());
    }
}

/// Feeds `lines` in pieces of `size` bytes to a session whose peer accepts `at_once` bytes at a
/// time. As with any driver, a full output stops reading until it has drained. Returns everything
/// that was sent.
fn trickle(lines: &[u8], size: usize, at_once: u64, limits: Limits) -> Vec<u8> {
    let (mut driver, mut sent) = (Driver::new(limits), Vec::new());
    let (mut pieces, mut full) = (lines.chunks(size), false);
    while driver.session.service().finished == 0 || !driver.output.is_empty() {
        if full && driver.output.len() <= limits.output_low {
            let _ = driver.advance(Cause::Drained, b"").expect("they are lines");
            full = false;
        } else if !full && !driver.input_ended {
            let piece = pieces.next();
            driver.input_ended = piece.is_none();
            let _ = driver.advance(Cause::Input, piece.unwrap_or_default()).expect("lines");
        }
        // No message begins once the mark is reached; the last one may have exceeded it.
        assert!(driver.output.len() < limits.output_high + LONGEST_REPLY);
        full = driver.output.len() >= limits.output_high
            || full && driver.output.len() > limits.output_low;
        let count = at_once.min(driver.output.len());
        sent.extend_from_slice(&driver.output.to_vec()[..count as usize]);
        driver.output.consume(count);
    }
    assert!(driver.input.is_empty());
    sent
}

/// The length of ten repetitions of a line of twelve bytes with its end.
const LONGEST_REPLY: u64 = 130;

#[test]
fn a_slow_reader_loses_no_bytes() {
    let lines = vec("[a-z]{0,12}", 0..20);
    proptest!(|(lines in lines, size in 1_usize..30, at_once in 1_u64..300, high in 2_u64..400)| {
        let limits = Limits { output_high: high, output_low: high / 2, ..Limits::DEFAULT };
        let said: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let expected: String = lines.iter().map(|line| format!("{line}\n").repeat(10)).collect();
        let sent = trickle(said.as_bytes(), size, at_once, limits);
        prop_assert_eq!(String::from_utf8(sent).expect("it is text"), expected);
    });
}
