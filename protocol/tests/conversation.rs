//! What a conversation promises its driver.

use std::time::Instant;

use protocol::codecs::Lines;
use protocol::{
    Agenda, Buffer, Cause, Conversation, Flow, Limits, Output, Peer, Refusal, Reply, Service,
    Session, Turn,
};

/// Repeats each line ten times; stops for "pause"; remembers what it was told.
#[derive(Default)]
struct Repeat {
    calls: usize,
    finished: usize,
}

impl Service<Lines> for Repeat {
    fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, turn: &mut Turn<'_>) -> Flow {
        self.calls += 1;
        for _ in 0..10 {
            reply.send(line);
        }
        turn.wake(Peer(7));
        if line == b"pause" { Flow::Pause } else { Flow::Continue }
    }

    fn finish(&mut self, _reply: &mut Reply<'_, Lines>, _turn: &mut Turn<'_>) -> Flow {
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

    fn advance(&mut self, cause: Cause, input: &[u8]) -> Result<Flow, Refusal> {
        self.input.extend_from_slice(input);
        let (mut app, mut agenda) = ((), Agenda::default());
        let mut turn =
            Turn::new(Instant::now(), Peer(1), &mut app, &self.limits, &mut agenda).because(cause);
        turn.input_ended = self.input_ended;
        let flow = self.session.advance(&mut self.input, &mut self.output, &mut turn);
        self.wakes += agenda.wakes.len();
        flow
    }
}

#[test]
fn a_full_output_stops_decoding_and_a_drained_one_resumes_it() {
    let limits = Limits { output_high: 100, output_low: 10, ..Limits::DEFAULT };
    let mut driver = Driver::new(limits);
    let lines = b"0123456789\n".repeat(5);
    let flow = driver.advance(Cause::Input, &lines).expect("they are lines");
    assert_eq!(flow, Flow::Continue);
    assert_eq!(driver.session.service().calls, 1);
    for calls in 2..=5 {
        driver.output.clear();
        let flow = driver.advance(Cause::Drained, b"").expect("they are lines");
        assert_eq!(flow, Flow::Continue);
        assert_eq!(driver.session.service().calls, calls);
    }
    assert!(driver.input.is_empty());
    assert_eq!(driver.wakes, 5);
}

#[test]
fn a_pause_leaves_the_input_until_somebody_wakes_the_conversation() {
    let mut driver = Driver::new(Limits::DEFAULT);
    let flow = driver.advance(Cause::Input, b"pause\nnext\n").expect("they are lines");
    assert_eq!((flow, driver.session.service().calls), (Flow::Pause, 1));
    let flow = driver.advance(Cause::Input, b"more\n").expect("they are lines");
    assert_eq!((flow, driver.session.service().calls), (Flow::Pause, 1));
    let flow = driver.advance(Cause::Woken, b"").expect("they are lines");
    assert_eq!((flow, driver.session.service().calls), (Flow::Continue, 3));
}

#[test]
fn the_end_of_the_input_is_told_once() {
    let mut driver = Driver::new(Limits::DEFAULT);
    driver.input_ended = true;
    for cause in [Cause::Input, Cause::Drained, Cause::Woken] {
        let flow = driver.advance(cause, b"").expect("nothing is refused");
        assert_eq!(flow, Flow::Continue);
    }
    assert_eq!(driver.session.service().finished, 1);
}

#[test]
fn what_is_refused_is_said_to_the_peer_and_to_the_driver() {
    let mut driver = Driver::new(Limits::DEFAULT);
    let error = driver.advance(Cause::Input, &[b'x'; 70_000]).expect_err("it is too long");
    assert_eq!(error.to_string(), "line longer than 65536 bytes");
    assert_eq!(driver.output.to_vec(), b"error: line longer than 65536 bytes\n");
}

#[test]
fn a_message_over_the_limit_of_the_conversation_is_refused() {
    let mut driver = Driver::new(Limits { message_size_max: 50, ..Limits::DEFAULT });
    let error = driver.advance(Cause::Input, &[b'x'; 60]).expect_err("it is too long");
    assert_eq!(error.to_string(), "message larger than the limit of 50 bytes");
}
