//! The session of a client: replies are matched to requests, and each request ends exactly once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use protocol::codecs::Lines;
use protocol::exchange::{Caller, Exchange, Expired, Heard, Left, Opening, Said};
use protocol::link::{IdleLimit, Link};
use protocol::testing::Wire;
use protocol::{Limits, Random, Reason, Reply};

/// Lines in order: `push ...` answers no request, `bye` refuses. With `greets`, the peer has to say
/// `welcome` first.
#[derive(Clone, Default)]
struct InOrder<const WHOLE: bool> {
    greets: bool,
}

impl<const WHOLE: bool> Exchange for InOrder<WHOLE> {
    type Codec = Lines;
    type Request = String;
    type Reply = String;
    type Push = String;

    const WHOLE_ONLY: bool = WHOLE;

    fn codec(&self) -> Lines {
        Lines::default()
    }

    fn open(&mut self, reply: &mut Reply<'_, Lines>) -> Opening {
        if !self.greets {
            return Opening::Ready;
        }
        reply.send(b"hello");
        Opening::Waits
    }

    fn size(request: &String) -> usize {
        request.len()
    }

    fn write(&mut self, request: &String, _number: u64, reply: &mut Reply<'_, Lines>) {
        reply.send(request.as_bytes());
    }

    fn one_way(&self, request: &String) -> Option<String> {
        request.starts_with("tell").then(|| "told".to_owned())
    }

    fn hear(
        &mut self,
        line: &mut [u8],
        oldest: Option<&String>,
        reply: &mut Reply<'_, Lines>,
    ) -> Heard<String, String> {
        let line = String::from_utf8_lossy(line).into_owned();
        match line.split(' ').next() {
            Some("welcome") => Heard::Opened,
            Some("bye") => Heard::Refused("it says bye".into()),
            Some("push") => Heard::Push(line),
            Some("ping") => {
                reply.send(b"pong");
                Heard::Nothing
            }
            _ => {
                let request = oldest.map(String::as_str).unwrap_or_default();
                Heard::Reply(format!("{request}={line}"))
            }
        }
    }
}

/// Lines with numbers from 0 to 7.
struct ByNumber;

impl Exchange for ByNumber {
    type Codec = Lines;
    type Request = String;
    type Reply = String;
    type Push = ();

    const NUMBER_MAX: u64 = 7;

    fn codec(&self) -> Lines {
        Lines::default()
    }

    fn size(request: &String) -> usize {
        request.len()
    }

    fn write(&mut self, request: &String, number: u64, reply: &mut Reply<'_, Lines>) {
        reply.send(format!("{number} {request}").as_bytes());
    }

    fn hear(
        &mut self,
        line: &mut [u8],
        _oldest: Option<&String>,
        _reply: &mut Reply<'_, Lines>,
    ) -> Heard<String, ()> {
        let line = String::from_utf8_lossy(line);
        let (number, text) = line.split_once(' ').expect("a number and a text");
        Heard::Numbered(number.parse().expect("a number"), text.to_owned())
    }
}

type Lined = Wire<Caller<InOrder<true>, u64>>;

fn lined() -> Lined {
    let mut wire = Wire::new(Caller::new(InOrder::default(), 100));
    wire.run(&mut ());
    assert!(matches!(wire.session_mut().next_said(), Some(Said::Opened)));
    wire
}

/// Queues requests whose tickets are their keys.
fn ask<E: Exchange<Request = String>>(wire: &mut Wire<Caller<E, u64>>, keys: &[u64]) {
    for key in keys {
        wire.session_mut().queue(format!("r{key}"), *key);
    }
    wire.wake(&mut ());
}

/// Takes the replies that have come.
fn replies<E: Exchange<Reply = String>>(wire: &mut Wire<Caller<E, u64>>) -> Vec<(u64, String)> {
    let said = std::iter::from_fn(|| wire.session_mut().next_said());
    said.filter_map(|said| match said {
        Said::Answered { ticket, reply } => Some((ticket, reply)),
        _ => None,
    })
    .collect()
}

/// Ends the session. Returns the tickets that are left, and whether their requests were sent.
fn left<E: Exchange>(wire: Wire<Caller<E, u64>>) -> Vec<(u64, bool)> {
    let (_, left) = wire.into_session().end();
    left.map(|Left { ticket, is_sent, .. }| (ticket, is_sent)).collect()
}

#[test]
fn replies_are_matched_in_order_however_they_are_split() {
    let replies_sent = b"one\npush a\ntwo\nthree\n";
    for split in 0..=replies_sent.len() {
        let mut wire = lined();
        ask(&mut wire, &[1, 2, 3]);
        assert_eq!(wire.take_sent(), b"r1\nr2\nr3\n");
        wire.feed(&replies_sent[..split], &mut ());
        wire.feed(&replies_sent[split..], &mut ());
        let mut said = Vec::new();
        while let Some(it) = wire.session_mut().next_said() {
            said.push(match it {
                Said::Answered { ticket, reply } => format!("{ticket}:{reply}"),
                Said::Pushed(push) => push,
                Said::Opened => panic!("it is opened twice"),
            });
        }
        assert_eq!(said, ["1:r1=one", "push a", "2:r2=two", "3:r3=three"]);
        assert!(wire.session_mut().is_idle());
    }
}

#[test]
fn replies_are_matched_by_number_also_when_numbers_wrap() {
    let mut wire = Wire::new(Caller::new(ByNumber, 100));
    wire.run(&mut ());
    // The ninth would get the number of the first, which is in flight, so it waits.
    ask(&mut wire, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(wire.take_sent(), b"0 r0\n1 r1\n2 r2\n3 r3\n4 r4\n5 r5\n6 r6\n7 r7\n");
    wire.feed(b"4 d\n1 c\n", &mut ());
    assert_eq!(replies(&mut wire), [(4, "d".to_owned()), (1, "c".to_owned())]);
    assert_eq!(wire.take_sent(), b"");
    wire.feed(b"0 a\n", &mut ());
    assert_eq!(wire.take_sent(), b"0 r8\n");
    wire.feed(b"0 e\n7 b\n", &mut ());
    assert_eq!(replies(&mut wire), [(0, "a".to_owned()), (8, "e".to_owned()), (7, "b".to_owned())]);
    wire.feed(b"7 b\n", &mut ());
    wire.end_input(&mut ());
    let reason = wire.into_reason().expect("it has ended").to_string();
    assert!(reason.contains("a reply came to number 7"), "{reason}");
}

#[test]
fn requests_wait_until_the_peer_has_opened_the_connection() {
    let mut wire = Wire::new(Caller::new(InOrder::<true> { greets: true }, 100));
    ask(&mut wire, &[1]);
    assert_eq!((wire.take_sent(), wire.session_mut().room()), (b"hello\n".to_vec(), 0));
    assert_eq!(wire.idle_limit(), IdleLimit::Never);
    wire.feed(b"push early\nwelcome\n", &mut ());
    assert_eq!((wire.take_sent(), wire.session_mut().room()), (b"r1\n".to_vec(), 99));
    assert!(matches!(wire.session_mut().next_said(), Some(Said::Pushed(_))));
    assert!(matches!(wire.session_mut().next_said(), Some(Said::Opened)));
}

#[test]
fn a_peer_that_does_not_open_in_time_or_refuses_loses_the_connection() {
    let caller = || Caller::new(InOrder::<true> { greets: true }, 100);
    let mut wire = Wire::new(caller().open_within(Duration::from_secs(3)));
    ask(&mut wire, &[1]);
    wire.pass(Duration::from_secs(2), &mut ());
    assert!(!wire.is_shut_down());
    wire.pass(Duration::from_secs(1), &mut ());
    assert!(wire.is_shut_down());
    wire.end_input(&mut ());
    assert!(matches!(wire.reason(), Some(Reason::Deadline)));
    assert_eq!(left(wire), [(1, false)]);

    let mut wire = Wire::new(caller());
    ask(&mut wire, &[1]);
    wire.feed(b"bye\n", &mut ());
    wire.end_input(&mut ());
    assert!(wire.reason().is_some_and(|reason| reason.to_string().contains("it says bye")));
    assert_eq!(left(wire), [(1, false)]);
}

#[test]
fn no_timeout_is_left_once_the_connection_is_open() {
    let caller = Caller::new(InOrder::<true> { greets: true }, 100);
    let mut wire = Wire::new(caller.open_within(Duration::from_secs(3)));
    ask(&mut wire, &[1]);
    wire.feed(b"welcome\n", &mut ());
    wire.pass(Duration::from_secs(60), &mut ());
    assert!(wire.reason().is_none() && !wire.is_shut_down());
}

#[test]
fn a_late_reply_is_discarded_and_not_matched_to_another_request() {
    let mut wire = lined();
    ask(&mut wire, &[1, 2]);
    let expired = wire.session_mut().expire(|ticket| *ticket == 1);
    assert_eq!(expired, [Expired { ticket: 1, was_written: true }]);
    assert_eq!(wire.session_mut().expire(|ticket| *ticket == 1), []);
    assert_eq!((wire.session_mut().pending(), wire.session_mut().is_idle()), (1, false));
    wire.feed(b"late\ntwo\n", &mut ());
    assert_eq!(replies(&mut wire), [(2, "r2=two".to_owned())]);
    assert_eq!(wire.session_mut().expire(|_| true), []);
}

#[test]
fn a_request_that_expires_before_it_is_written_is_never_sent() {
    let mut wire = lined();
    wire.session_mut().queue("one".to_owned(), 1);
    wire.session_mut().queue("two".to_owned(), 2);
    let expired = wire.session_mut().expire(|ticket| *ticket == 1);
    assert_eq!(expired, [Expired { ticket: 1, was_written: false }]);
    wire.wake(&mut ());
    assert_eq!(wire.take_sent(), b"two\n");
}

#[test]
fn at_most_the_limit_of_requests_is_in_flight() {
    let mut wire = Wire::new(Caller::new(InOrder::<true>::default(), 2));
    wire.run(&mut ());
    assert_eq!(wire.session_mut().room(), 2);
    ask(&mut wire, &[1, 2, 3, 4]);
    assert_eq!((wire.take_sent(), wire.session_mut().room()), (b"r1\nr2\n".to_vec(), 0));
    // A reply that nothing waits for still takes its place.
    wire.session_mut().expire(|ticket| *ticket == 1);
    wire.wake(&mut ());
    assert_eq!(wire.take_sent(), b"");
    wire.feed(b"x\n", &mut ());
    assert_eq!(wire.take_sent(), b"r3\n");
}

#[test]
fn a_peer_that_accepts_nothing_gets_no_more_than_the_high_mark() {
    let mut wire = lined();
    wire.set_room(0, &mut ());
    for key in 0..100 {
        wire.session_mut().queue("x".repeat(64 * 1024), key);
    }
    wire.wake(&mut ());
    let most = Limits::DEFAULT.output_high + 70_000;
    assert!(wire.unsent() >= Limits::DEFAULT.output_high && wire.unsent() < most);
    wire.set_room(u64::MAX, &mut ());
    assert_eq!(wire.take_sent().len(), 100 * (64 * 1024 + 1));
}

#[test]
fn a_reply_without_a_request_ends_the_connection() {
    let mut wire = lined();
    wire.feed(b"what\n", &mut ());
    wire.end_input(&mut ());
    assert!(wire.into_reason().is_some_and(|it| it.to_string().contains("answers no request")));
}

#[test]
fn a_session_that_finishes_waits_for_every_reply() {
    let mut wire = lined();
    ask(&mut wire, &[1, 2]);
    wire.stop(&mut ());
    wire.feed(b"one\n", &mut ());
    assert!(!wire.is_shut_down());
    wire.feed(b"two\n", &mut ());
    assert!(wire.is_shut_down());
    assert_eq!(replies(&mut wire).len(), 2);
}

#[test]
fn an_exchange_can_answer_its_peer() {
    let mut wire = lined();
    wire.feed(b"ping\n", &mut ());
    assert_eq!(wire.take_sent(), b"pong\n");
    assert!(wire.session_mut().take_heard() && !wire.session_mut().take_heard());
}

#[test]
fn a_request_that_is_not_answered_completes_when_it_is_written() {
    let mut wire = lined();
    for (ticket, request) in [(1, "one"), (2, "tell"), (3, "three")] {
        wire.session_mut().queue(request.to_owned(), ticket);
    }
    wire.wake(&mut ());
    assert_eq!(wire.take_sent(), b"one\ntell\nthree\n");
    assert_eq!(replies(&mut wire), [(2, "told".to_owned())]);
    wire.feed(b"1\n3\n", &mut ());
    assert_eq!(replies(&mut wire), [(1, "one=1".to_owned()), (3, "three=3".to_owned())]);
}

/// Whether each of three requests of three bytes was sent, if the peer accepts `room` bytes.
fn fates<const WHOLE: bool>(room: u64) -> Vec<bool> {
    let mut wire = Wire::new(Caller::new(InOrder::<WHOLE>::default(), 100));
    wire.set_room(room, &mut ());
    ask(&mut wire, &[1, 2, 3]);
    assert_eq!(wire.take_sent().len() as u64, room.min(9));
    wire.reset(&mut ());
    left(wire).into_iter().map(|(_, is_sent)| is_sent).collect()
}

#[test]
fn what_was_sent_in_part_is_sent_unless_only_whole_requests_count() {
    for room in 0..=10 {
        let in_part: Vec<bool> = (0..3).map(|it| room > it * 3).collect();
        let whole: Vec<bool> = (0..3).map(|it| room >= it * 3 + 3).collect();
        assert_eq!((fates::<false>(room), fates::<true>(room)), (in_part, whole), "room {room}");
    }
}

/// Plays a connection whose peer accepts `room` bytes of four requests, sends `input`, and ends its
/// stream. The session is woken in the pass in which it learns that. Returns the tickets that were
/// answered, those that are left with whether their requests were sent, and what the peer accepts
/// after the end.
fn play_to_the_end(room: u64, input: &[u8]) -> (Vec<u64>, Vec<(u64, bool)>, Vec<u8>) {
    let mut wire = lined();
    wire.set_room(room, &mut ());
    ask(&mut wire, &[1, 2]);
    assert_eq!(wire.take_sent().len() as u64, room);
    wire.session_mut().queue("r3".to_owned(), 3);
    wire.session_mut().queue("r4".to_owned(), 4);
    wire.arrive(input, true);
    wire.wake(&mut ());
    let answered = replies(&mut wire).into_iter().map(|(ticket, _)| ticket).collect();
    wire.set_room(u64::MAX, &mut ());
    let after = wire.take_sent();
    assert!(wire.reason().is_some(), "nothing is waited for");
    (answered, left(wire), after)
}

#[test]
fn nothing_is_sent_once_the_peer_has_ended_and_what_was_not_is_known() {
    let input = b"push a\none\ntwo\n";
    for split in 0..=input.len() {
        // As many replies as were requested.
        let answers = input[..split].iter().filter(|byte| **byte == b'\n').count() as u64;
        let answers = answers.saturating_sub(1);
        for room in answers * 3..=6 {
            let (answered, left, after) = play_to_the_end(room, &input[..split]);
            let tickets: Vec<u64> = (1..=answers).collect();
            assert_eq!(answered, tickets, "split {split}, room {room}");
            let expected: Vec<_> = (answers + 1..=4).map(|it| (it, room >= it * 3)).collect();
            assert_eq!((left, after), (expected, vec![]), "split {split}, room {room}");
        }
    }
}

#[test]
fn nothing_is_sent_to_a_peer_that_has_broken_the_protocol() {
    for room in 3..=6 {
        let mut wire = lined();
        wire.set_room(room, &mut ());
        ask(&mut wire, &[1, 2]);
        wire.take_sent();
        wire.session_mut().queue("r3".to_owned(), 3);
        wire.arrive(b"one\nbye\n", false);
        wire.wake(&mut ());
        assert_eq!(replies(&mut wire), [(1, "r1=one".to_owned())]);
        wire.set_room(u64::MAX, &mut ());
        assert_eq!(wire.take_sent(), b"", "room {room}");
        wire.end_input(&mut ());
        assert!(wire.reason().is_some_and(|reason| reason.to_string().contains("it says bye")));
        assert_eq!(left(wire), [(2, room == 6), (3, false)], "room {room}");
    }
}

/// One thing that happens to a connection.
#[derive(Clone, Debug)]
enum Event {
    Ask(usize),
    Wake,
    Accept(u64),
    Answer(usize),
    Expire(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..30_usize).prop_map(Event::Ask),
        2 => Just(Event::Wake),
        2 => (0..60_u64).prop_map(Event::Accept),
        3 => (0..40_usize).prop_map(Event::Answer),
        1 => (0..40_u64).prop_map(Event::Expire),
    ];
    proptest::collection::vec(event, 0..60)
}

/// A peer that answers each whole line with the same line.
#[derive(Default)]
struct Peer {
    received: usize,
    partial: Vec<u8>,
    answers: VecDeque<u8>,
}

impl Peer {
    fn receive(&mut self, bytes: &[u8]) {
        self.received += bytes.len();
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            self.answers.extend(self.partial.drain(..=end));
        }
    }
}

/// Plays `events` on a connection that ends as `seed` says, and checks that each request ends once
/// and as the peer has seen it.
fn play<const WHOLE: bool>(events: &[Event], seed: u64) -> Result<(), TestCaseError> {
    let limits = Limits { output_low: 20, output_high: 60, ..Limits::DEFAULT };
    let caller = Caller::new(InOrder::<WHOLE>::default(), 8);
    let mut wire = Wire::over(Link::new(caller, limits.into()));
    wire.set_room(0, &mut ());
    let (mut peer, mut ended, mut key, mut ends) =
        (Peer::default(), BTreeMap::new(), 0, Vec::new());
    for event in events {
        match event {
            Event::Ask(length) => {
                let request = format!("{key}{}", "x".repeat(*length));
                ends.push(request.len() + 1 + ends.last().copied().unwrap_or(0));
                wire.session_mut().queue(request, key);
                key += 1;
            }
            Event::Wake => wire.wake(&mut ()),
            Event::Accept(room) => wire.set_room(*room, &mut ()),
            Event::Answer(count) => {
                let count = (*count).min(peer.answers.len());
                let bytes: Vec<u8> = peer.answers.drain(..count).collect();
                wire.feed(&bytes, &mut ());
            }
            Event::Expire(key) => {
                for expired in wire.session_mut().expire(|ticket| ticket == key) {
                    prop_assert_eq!(expired.ticket, *key);
                    prop_assert!(ended.insert(*key, "expired").is_none());
                    if !expired.was_written {
                        // It leaves no bytes.
                        let place = *key as usize;
                        let before = if place == 0 { 0 } else { ends[place - 1] };
                        let size = ends[place] - before;
                        ends[place..].iter_mut().for_each(|end| *end -= size);
                    }
                }
            }
        }
        peer.receive(&wire.take_sent());
        while let Some(said) = wire.session_mut().next_said() {
            let Said::Answered { ticket, reply } = said else { continue };
            let (request, answer) = reply.split_once('=').expect("it has both");
            prop_assert_eq!(request, answer);
            prop_assert!(ended.insert(ticket, "answered").is_none());
        }
    }
    match Random::new(seed).below(3) {
        0 => wire.reset(&mut ()),
        1 => wire.close(Reason::Cancelled, &mut ()),
        _ => wire.close(Reason::Deadline, &mut ()),
    }
    peer.receive(&wire.take_sent());
    for (ticket, is_sent) in left(wire) {
        let place = ticket as usize;
        let before = if place == 0 { 0 } else { ends[place - 1] };
        let has_arrived = if WHOLE { peer.received >= ends[place] } else { peer.received > before };
        prop_assert_eq!(is_sent, has_arrived, "request {} of {:?}", ticket, ends);
        prop_assert!(ended.insert(ticket, "left").is_none());
    }
    prop_assert_eq!(ended.len() as u64, key);
    Ok(())
}

proptest! {
    #[test]
    fn each_request_ends_once_and_as_the_peer_has_seen_it(events in events(), seed: u64) {
        play::<true>(&events, seed)?;
        play::<false>(&events, seed)?;
    }
}
