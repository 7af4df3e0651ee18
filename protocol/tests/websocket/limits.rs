//! Limits, and what a connection costs.

use std::time::{Duration, Instant};

use allocation_counter::measure;

use protocol::link::Link;
use protocol::testing::Wire;
use protocol::websocket::{Connection, Message, Options, Sender, Service};
use protocol::{Buffer, ConnectionId, Context, Effects, Flow, Limits, Output, Session};

use crate::ends::{Heard, KEY, Log, fed, log, masked, options, plain, server, unmasked};

const LARGE: &str = "limit reached: message_size_max: a message is larger";

#[test]
fn a_message_may_be_as_large_as_the_limit_in_one_frame_or_in_many() {
    let options = Options { message_size_max: 1000, ..options() };
    for (size, ended) in [(1000, crate::frames::UNCLOSED), (1001, LARGE)] {
        let payload = vec![1; size];
        let whole = masked(0x82, &payload);
        let (front, back) = payload.split_at(600);
        let parts = [masked(0x02, front), masked(0x80, back)].concat();
        for input in [whole, parts] {
            let outcome = fed(server(Log::default(), options.clone()), &[&input]);
            assert_eq!(outcome.ended.as_deref(), Some(ended));
            assert_eq!(outcome.heard.len(), usize::from(size == 1000));
        }
    }
}

#[test]
fn a_message_that_will_be_too_large_is_refused_with_its_head() {
    let options = Options { message_size_max: 1000, ..options() };
    for first in [&[0x82][..], &[0x02], &[0x81]] {
        let head = [first, &[0xFE], &1001_u16.to_be_bytes(), &KEY].concat();
        let mut end = server(Log::default(), options.clone());
        end.feed(&head, &mut ());
        let sent = end.take_sent();
        assert_eq!(sent[..4], [0x88, sent[1], 0x03, 0xF1]);
    }
}

#[test]
fn a_message_larger_than_what_the_input_may_hold_is_put_together() {
    let limits = Limits { message_size_max: 10_000, ..Limits::DEFAULT };
    let options = Options { message_size_max: 1 << 20, ..options() };
    for size in [9_000, 10_000, 10_001, 200_000, 1 << 20] {
        let connection = Connection::server(Log::echo(), plain(options.clone()));
        let limits = limits.shared().expect("they fit");
        let end = Wire::over(Link::new(connection, limits));
        let payload = vec![7; size];
        let outcome = fed(end, &[&masked(0x82, &payload)]);
        assert_eq!(outcome.sent.len(), unmasked(0x82, &payload).len(), "{:?}", outcome.ended);
        assert_eq!(outcome.heard, [Heard::Binary(payload)]);
    }
}

#[test]
fn fragments_are_counted() {
    let options = Options { fragments_max: 10, ..options() };
    let message = |count: usize| {
        let mut all = masked(0x01, b"");
        (2..count).for_each(|_| all.extend(masked(0x00, b"")));
        all.extend(masked(0x80, b""));
        all
    };
    let outcome = fed(server(Log::default(), options.clone()), &[&message(10), &message(10)]);
    assert_eq!(outcome.heard.len(), 2);
    let outcome = fed(server(Log::default(), options), &[&message(11)]);
    assert_eq!(outcome.sent[2..4], 1008_u16.to_be_bytes());
    let limit = "limit reached: fragments_max: a message has more frames";
    assert_eq!(outcome.ended.as_deref(), Some(limit));
}

#[test]
fn control_frames_are_counted_by_the_second() {
    let options = Options { controls_per_second_max: 10, ..options() };
    let mut end = server(Log::default(), options);
    for _ in 0..5 {
        end.feed(&masked(0x89, b"").repeat(10), &mut ());
        assert_eq!(end.take_sent(), unmasked(0x8A, b"").repeat(10));
        end.pass(Duration::from_secs(1), &mut ());
    }
    end.feed(&masked(0x89, b"").repeat(11), &mut ());
    let sent = end.take_sent();
    assert_eq!(sent[20..24], [0x88, sent[21], 0x03, 0xF0]);
}

#[test]
fn a_peer_that_does_not_read_is_not_read_either() {
    let limits = Limits { output_high: 1000, output_low: 500, ..Limits::DEFAULT };
    let limits = limits.shared().expect("they fit");
    let connection = Connection::server(Log::echo(), plain(options()));
    let mut end = Wire::over(Link::new(connection, limits));
    end.set_room(0, &mut ());
    end.feed(&masked(0x82, &[0; 100]).repeat(1000), &mut ());
    assert_eq!(log(&mut end).heard.len(), 10);
    assert!(end.unread() > 50_000);
    end.set_room(u64::MAX, &mut ());
    assert_eq!(end.take_sent().len(), 102 * 1000);
}

/// A session with its buffers, without a driver.
struct Bare<S> {
    session: Connection<S>,
    input: Buffer,
    output: Output,
    effects: Effects,
}

impl<S: Service> Bare<S> {
    fn new(session: Connection<S>) -> Self {
        let (input, output, effects) = (Buffer::new(), Output::new(), Effects::default());
        Self { session, input, output, effects }
    }

    /// Handles the input.
    fn advance(&mut self) {
        let Self { session, input, output, effects } = self;
        let mut app = ();
        let (now, me) = (Instant::now(), ConnectionId(1));
        let mut context = Context::new(now, me, &mut app, &Limits::DEFAULT, effects);
        assert_eq!(session.advance(input, output, &mut context).ok(), Some(Flow::Continue));
    }
}

/// Answers with what it gets.
#[derive(Debug)]
struct Echo;

impl Service for Echo {
    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        _: &mut Context<'_>,
    ) -> Flow {
        match message {
            Message::Text(text) => sender.text(text),
            Message::Binary(bytes) => sender.binary(bytes),
        }
        Flow::Continue
    }
}

#[test]
fn an_idle_connection_without_compression_takes_little_memory() {
    // A stream takes 172 bytes besides its session, of 600 in all.
    let size = size_of::<Connection<()>>();
    assert!(size <= 256, "a connection has {size} bytes");
    let agreement = plain(options());
    for is_client in [false, true] {
        let make = if is_client { Connection::client } else { Connection::server };
        let frame = if is_client { unmasked } else { masked };
        let mut bare = None;
        let counted = measure(|| bare = Some(Bare::new(make(Echo, agreement.clone()))));
        // A client has its keys.
        assert!(counted.bytes_current <= if is_client { 32 } else { 0 }, "{counted:?}");
        let mut bare = bare.expect("it was made");
        // What a message takes is freed after it, however it came.
        let (front, back) = (frame(0x01, &[b'a'; 9000]), frame(0x80, &[b'b'; 9000]));
        for input in [frame(0x82, &[0; 100]), [front, back].concat()] {
            bare.input.extend_from_slice(&input);
            let counted = measure(|| {
                bare.advance();
                bare.output = Output::new();
            });
            assert!(counted.count_total > 0 && bare.input.is_empty());
            assert_eq!(counted.bytes_current, 0, "{counted:?}");
        }
    }
}

#[test]
fn messages_in_one_frame_are_received_and_sent_without_allocating() {
    let mut bare = Bare::new(Connection::server(Echo, plain(options())));
    let frames = [masked(0x81, &[b'a'; 64]), masked(0x82, &[1; 500]), masked(0x89, b"ping")];
    let frames = frames.concat().repeat(20);
    bare.input.extend_from_slice(&frames);
    bare.advance();
    let counted = measure(|| {
        for _ in 0..10 {
            bare.output.consume(bare.output.len());
            bare.input.extend_from_slice(&frames);
            bare.advance();
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
