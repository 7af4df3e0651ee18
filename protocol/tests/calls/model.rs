//! A model of the session of a client, and plays in which the session has to do what it says, against
//! a peer that sends anything. All choices come from bytes: those of a seed (`main.rs`) or of a fuzzer
//! (`protocol/fuzz`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::codecs::Lines;
use protocol::exchange::{Caller, Exchange, Heard, Left, Opening, Said};
use protocol::link::Link;
use protocol::testing::{Choices, Wire};
use protocol::{Limits, Reason, Reply};

/// How many events one play has at most.
const EVENTS_MAX: usize = 150;
/// How many requests are in flight at most.
const IN_FLIGHT_MAX: usize = 12;
/// How long opening the connection may take.
const OPENING_MAX: Duration = Duration::from_millis(100);

/// A request, which is written as `NUMBER KEY PADDING`.
struct Request {
    key: usize,
    padding: usize,
    is_one_way: bool,
}

/// Which request a reply answers, as the exchange was told.
enum Answer {
    OneWay,
    Oldest(usize),
    Numbered(u64),
}

/// Lines whose first byte decides what they are. `WHOLE` is [`Exchange::WHOLE_ONLY`].
#[derive(Default)]
struct Toy<const WHOLE: bool> {
    greets: bool,
    /// The numbers of all requests that were written, by their keys.
    numbers: BTreeMap<usize, u64>,
    /// The keys of the requests in flight.
    in_flight: VecDeque<usize>,
}

impl<const WHOLE: bool> Toy<WHOLE> {
    fn place_of(&self, number: u64) -> Option<usize> {
        self.in_flight.iter().position(|key| self.numbers[key] == number)
    }
}

impl<const WHOLE: bool> Exchange for Toy<WHOLE> {
    type Codec = Lines;
    type Request = Request;
    type Reply = Answer;
    type Push = Vec<u8>;

    const WHOLE_ONLY: bool = WHOLE;
    const NUMBER_MAX: u64 = 7;

    fn codec(&self) -> Lines {
        Lines::with_size_max(40)
    }

    fn open(&mut self, reply: &mut Reply<'_, Lines>) -> Opening {
        if !self.greets {
            return Opening::Ready;
        }
        reply.send(b"hello");
        Opening::Waits
    }

    fn size(request: &Request) -> usize {
        request.padding
    }

    fn write(&mut self, request: &Request, number: u64, reply: &mut Reply<'_, Lines>) {
        let Request { key, padding, is_one_way } = request;
        if !is_one_way {
            assert_eq!(self.place_of(number), None, "two requests in flight have number {number}");
            self.in_flight.push_back(*key);
            assert!(self.in_flight.len() <= IN_FLIGHT_MAX, "too many are in flight");
        }
        assert_eq!(self.numbers.insert(*key, number), None, "{key} is written twice");
        reply.send(format!("{number} {key} {}", "x".repeat(*padding)).as_bytes());
    }

    fn one_way(&self, request: &Request) -> Option<Answer> {
        request.is_one_way.then_some(Answer::OneWay)
    }

    fn hear(
        &mut self,
        line: &mut [u8],
        oldest: Option<&Request>,
        reply: &mut Reply<'_, Lines>,
    ) -> Heard<Answer, Vec<u8>> {
        let expected = self.in_flight.front().copied();
        assert_eq!(oldest.map(|it| it.key), expected, "another request is the oldest");
        match line.first() {
            Some(b'w') => Heard::Opened,
            Some(b'b') => Heard::Refused("it says bye".into()),
            Some(b'p') => Heard::Push(line.to_vec()),
            Some(b'.') => Heard::Nothing,
            Some(b'?') => {
                reply.send(b"pong");
                Heard::Nothing
            }
            Some(digit @ b'0'..=b'9') => {
                let number = u64::from(digit - b'0');
                if let Some(place) = self.place_of(number) {
                    self.in_flight.remove(place);
                }
                Heard::Numbered(number, Answer::Numbered(number))
            }
            _ => Heard::Reply(Answer::Oldest(self.in_flight.pop_front().unwrap_or(usize::MAX))),
        }
    }
}

/// A connection, and what is known of it.
struct Play<const WHOLE: bool> {
    wire: Wire<Caller<Toy<WHOLE>, usize>>,
    /// What the peer has said and not sent yet.
    unfed: Vec<u8>,
    /// How many requests there were. Their keys are the numbers below.
    keys: usize,
    /// The keys of the requests that have not ended.
    open: BTreeSet<usize>,
    one_way: BTreeSet<usize>,
    /// What was sent and is not a whole line.
    partial: Vec<u8>,
    /// The keys of the requests whose bytes have all arrived at the peer.
    arrived: BTreeSet<usize>,
    /// Those that ended before they were written.
    unwritten: BTreeSet<usize>,
    is_opened: bool,
    is_finishing: bool,
    happened: BTreeSet<String>,
}

impl<const WHOLE: bool> Play<WHOLE> {
    fn new(choices: &mut Choices) -> Self {
        let toy = Toy { greets: choices.below(2) == 1, ..Toy::default() };
        let max = [1, 3, IN_FLIGHT_MAX][choices.below(3)];
        let caller = Caller::new(toy, max).open_within(OPENING_MAX);
        let limits =
            Limits { output_low: 20, output_high: 60, message_size_max: 50, ..Limits::DEFAULT };
        Self {
            wire: Wire::over(Link::new(caller, limits.into())),
            unfed: Vec::new(),
            keys: 0,
            open: BTreeSet::new(),
            one_way: BTreeSet::new(),
            partial: Vec::new(),
            arrived: BTreeSet::new(),
            unwritten: BTreeSet::new(),
            is_opened: false,
            is_finishing: false,
            happened: BTreeSet::new(),
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.happened.insert(what.into());
    }

    /// Lets something happen that the bytes choose.
    fn event(&mut self, choices: &mut Choices) {
        match choices.below(32) {
            0..8 => self.ask(choices),
            8..11 => self.wire.wake(&mut ()),
            11..14 => {
                let room = [0, 1, 7, 30, 200, u64::MAX][choices.below(6)];
                self.wire.set_room(room, &mut ());
            }
            14..17 => {
                let count = choices.below(20);
                self.unfed.extend_from_slice(choices.bytes(count));
            }
            17..21 => {
                let line = choices.below(64);
                self.say(line);
            }
            21..25 => {
                let count = choices.below(self.unfed.len().min(1 << 15) + 1);
                let bytes: Vec<u8> = self.unfed.drain(..count).collect();
                self.wire.feed(&bytes, &mut ());
            }
            25..27 => self.expire(choices.below(4)),
            27 => self.wire.pass(Duration::from_millis(choices.below(80) as u64), &mut ()),
            28 => {
                self.wire.session_mut().finish();
                self.is_finishing = true;
                self.wire.wake(&mut ());
            }
            29 => {
                self.is_finishing = true;
                self.wire.stop(&mut ());
            }
            30 => self.wire.end_input(&mut ()),
            _ if choices.below(2) == 0 => self.wire.reset(&mut ()),
            _ => self.wire.close(Reason::Cancelled, &mut ()),
        }
    }

    /// Queues requests. The session may not be woken for them.
    fn ask(&mut self, choices: &mut Choices) {
        for _ in 0..choices.below(5) {
            if self.is_finishing {
                return;
            }
            let key = self.keys;
            self.keys += 1;
            self.open.insert(key);
            let is_one_way = choices.below(6) == 5;
            if is_one_way {
                self.one_way.insert(key);
            }
            let request = Request { key, padding: choices.below(30), is_one_way };
            self.wire.session_mut().queue(request, key);
        }
        if choices.below(4) > 0 {
            self.wire.wake(&mut ());
        }
    }

    /// Sends a line from the peer that has a meaning.
    fn say(&mut self, line: usize) {
        let in_flight = self.wire.session_mut().exchange().in_flight.front().copied();
        let line = match line {
            0..20 if self.is_opened => "reply".to_owned(),
            20..40 => match in_flight {
                Some(key) => self.wire.session_mut().exchange().numbers[&key].to_string(),
                None => "push".to_owned(),
            },
            0..48 if !self.is_opened => "welcome".to_owned(),
            40..50 => "push".to_owned(),
            50..54 => "?".to_owned(),
            54..58 => ".".to_owned(),
            58..61 => "reply".to_owned(),
            61 => "welcome".to_owned(),
            62 => "bye".to_owned(),
            _ => "9".to_owned(),
        };
        self.unfed.extend_from_slice(line.as_bytes());
        self.unfed.push(b'\n');
    }

    /// Ends requests whose time is over: those whose keys have this rest.
    fn expire(&mut self, rest: usize) {
        let mut last = None;
        for expired in self.wire.session_mut().expire(|key| key % 4 == rest) {
            let key = expired.ticket;
            assert!(key % 4 == rest && last < Some(key), "{key} expires after {last:?}");
            last = Some(key);
            self.end(key, if expired.was_written { "expired, written" } else { "expired" });
            let toy = self.wire.session_mut().exchange();
            assert_eq!(expired.was_written, toy.numbers.contains_key(&key), "{key} is written");
            if !expired.was_written {
                self.unwritten.insert(key);
            }
        }
        let is_left = |key: &usize| key % 4 == rest;
        assert!(!self.open.iter().any(is_left), "a request outlives its time");
    }

    /// Records that a request has ended.
    fn end(&mut self, key: usize, how: &str) {
        assert!(self.open.remove(&key), "{key} ends twice, or never began: {how}");
        self.note(how);
    }

    /// Judges what has happened.
    fn settle(&mut self) {
        let sent = self.wire.take_sent();
        self.receive(&sent);
        while let Some(said) = self.wire.session_mut().next_said() {
            match said {
                Said::Opened => {
                    assert!(!std::mem::replace(&mut self.is_opened, true), "it is opened twice");
                    self.note("opened");
                }
                Said::Pushed(line) => {
                    assert_eq!(line[0], b'p', "it is no push");
                    self.note("pushed");
                }
                Said::Answered { ticket, reply } => self.answered(ticket, &reply),
            }
        }
        let caller = self.wire.session_mut();
        assert_eq!(caller.tickets().copied().collect::<BTreeSet<_>>(), self.open);
        assert_eq!(caller.pending(), self.open.len());
        assert!(self.is_opened || caller.room() == 0);
    }

    fn answered(&mut self, ticket: usize, reply: &Answer) {
        let is_one_way = self.one_way.contains(&ticket);
        let numbers = &self.wire.session_mut().exchange().numbers;
        let number = *numbers.get(&ticket).expect("what is answered was written");
        match reply {
            Answer::OneWay => assert!(is_one_way, "{ticket} has no reply"),
            Answer::Oldest(key) => assert!(*key == ticket && !is_one_way, "{ticket}, not {key}"),
            Answer::Numbered(it) => assert!(*it == number && !is_one_way, "{ticket}: {number}"),
        }
        self.end(ticket, if is_one_way { "one way" } else { "answered" });
    }

    /// Judges what arrives at the peer.
    fn receive(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).into_owned();
            let Some(key) = key_of(&line) else {
                let is_other = ["hello\n", "pong\n"].contains(&line.as_str());
                // The codec says why it refuses its input.
                assert!(is_other || line.starts_with("error: "), "{line:?} is no request");
                continue;
            };
            assert!(key < self.keys && !self.unwritten.contains(&key), "{key} is written");
            assert!(self.arrived.last() < Some(&key), "{key} is not in order");
            self.arrived.insert(key);
        }
    }

    /// Judges what is left at the end.
    fn conclude(mut self) -> BTreeSet<String> {
        if self.wire.reason().is_none() {
            self.wire.close(Reason::Cancelled, &mut ());
        }
        self.settle();
        // The first request that was written and whose bytes have not all arrived.
        let begun = self.partial.first().filter(|byte| byte.is_ascii_digit()).and_then(|_| {
            let toy = self.wire.session_mut().exchange();
            toy.numbers.keys().find(|key| !self.arrived.contains(key)).copied()
        });
        let reason = self.wire.reason().expect("it was closed").to_string();
        let reason: String = reason.chars().filter(|it| !it.is_ascii_digit()).collect();
        self.note(format!("closed: {reason}"));
        let wire = std::mem::replace(&mut self.wire, Self::new(&mut Choices::new([])).wire);
        let mut last = None;
        for Left { request, ticket, is_sent } in wire.into_session().end().1 {
            assert!(request.key == ticket && last < Some(ticket), "{ticket} after {last:?}");
            last = Some(ticket);
            let has_arrived = self.arrived.contains(&ticket) || !WHOLE && begun == Some(ticket);
            assert_eq!(is_sent, has_arrived, "{ticket} was sent; begun: {begun:?}");
            self.end(ticket, if is_sent { "left, sent" } else { "left" });
        }
        assert_eq!(self.open, BTreeSet::new(), "these never end");
        self.happened
    }
}

/// Returns the key of the request in a whole line, if it has one.
fn key_of(line: &str) -> Option<usize> {
    let mut words = line.split(' ');
    let _number: u64 = words.next()?.parse().ok()?;
    words.next()?.parse().ok()
}

fn play_with<const WHOLE: bool>(mut choices: Choices) -> BTreeSet<String> {
    let mut play = Play::<WHOLE>::new(&mut choices);
    play.wire.run(&mut ());
    play.settle();
    let mut events = 0;
    while !choices.is_over() && events < EVENTS_MAX && play.wire.reason().is_none() {
        play.event(&mut choices);
        play.settle();
        events += 1;
    }
    play.conclude()
}

/// Plays a connection as `bytes` choose. Returns what has happened, without numbers.
///
/// # Panics
/// When the session does what the model does not say.
pub(crate) fn play(bytes: Vec<u8>) -> BTreeSet<String> {
    let mut choices = Choices::new(bytes);
    match choices.below(2) {
        0 => play_with::<false>(choices),
        _ => play_with::<true>(choices),
    }
}
