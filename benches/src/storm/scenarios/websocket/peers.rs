//! Programs with clients of WebSocket, which verify every message.

use std::io;
use std::time::Duration;

use protocol::websocket::{self, Client, CloseCode, Kind, Message, Sender};
use protocol::{Context, Flow, Reason, http};
use reactor::{ConnectOptions, LoopCx, Reactor, Stream, Token};
use testkit::Random;

use super::super::ground::{client_loop, server_at};
use super::messages::{farewell, message, news};
use super::server::{CODE, ECHO, LIMITS, NEWS, deflate, options};

/// How often a program looks for connections to make.
const TENDING: Duration = Duration::from_millis(100);
/// How long the answer to the handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// How many messages of a conversation are under way.
const WINDOW: u64 = 3;
/// How many messages a conversation has at most.
const MESSAGES_MAX: u64 = 8;

/// What the clients of a program do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// So many conversations each, one after the other.
    Converse(u64),
    /// Subscribe, until they are told to end.
    Subscribe,
}

/// A program with clients.
pub(super) struct Peers {
    random: Random,
    duty: Duty,
    slots: Vec<Slot>,
    /// No further connection is made, and subscribers close theirs.
    is_ending: bool,
}

/// The place of one client.
#[derive(Clone, Debug, Default)]
struct Slot {
    token: Option<Token>,
    is_open: bool,
    done: u64,
    /// The last news: the life of the server, and the number.
    last: Option<(u64, u64)>,
}

impl Peers {
    /// Builds the program.
    pub(super) fn start(
        seed: u64,
        duty: Duty,
        slots: usize,
        backend: &str,
    ) -> io::Result<Reactor<Self>> {
        let slots = vec![Slot::default(); slots];
        let app = Self { random: Random::new(seed), duty, slots, is_ending: false };
        let mut reactor = client_loop(backend, app)?;
        reactor.cx().every(TENDING, |_, cx| tend(cx))?;
        Ok(reactor)
    }

    /// Returns whether the clients have done what they were to do. Subscribers always have.
    pub(super) fn is_done(&self) -> bool {
        match self.duty {
            Duty::Converse(wanted) => {
                self.slots.iter().all(|slot| slot.done >= wanted && slot.token.is_none())
            }
            Duty::Subscribe => true,
        }
    }

    /// Returns how many connections are open.
    pub(super) fn open(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_open).count()
    }

    /// Returns whether all subscribers have got everything up to this.
    pub(super) fn have(&self, life: u64, number: u64) -> bool {
        self.slots.iter().all(|slot| slot.is_open && slot.last == Some((life, number)))
    }
}

/// Tells the subscribers of a program to close.
pub(super) fn end(cx: &mut LoopCx<'_, Peers>) {
    cx.app.is_ending = true;
    let tokens: Vec<_> = cx.app.slots.iter().filter_map(|slot| slot.token).collect();
    for token in tokens {
        cx.wake(token);
    }
}

/// Makes the connections that are due.
fn tend(cx: &mut LoopCx<'_, Peers>) {
    for place in 0..cx.app.slots.len() {
        let app = &mut *cx.app;
        let is_done = match app.duty {
            Duty::Converse(wanted) => app.slots[place].done >= wanted,
            Duty::Subscribe => app.is_ending,
        };
        if is_done || app.slots[place].token.is_some() {
            continue;
        }
        let token = match app.duty {
            Duty::Converse(_) => {
                let talk = Talk::new(place, &mut app.random);
                dial(talk, ECHO, cx)
            }
            Duty::Subscribe => dial(Subscriber { place, last: None }, NEWS, cx),
        };
        // One that cannot be made at once is tried again.
        cx.app.slots[place].token = token.ok();
    }
}

/// Connects a client.
fn dial<S>(service: S, subprotocol: &str, cx: &mut LoopCx<'_, Peers>) -> io::Result<Token>
where
    S: websocket::Service<Peers> + 'static,
{
    let random = &mut cx.app.random;
    let compression = random.one_in(2).then(|| deflate(random.one_in(2)));
    let options = options(&[subprotocol], compression).shared()?;
    let http = http::ClientOptions { head_timeout: HANDSHAKE, ..http::ClientOptions::default() };
    let client = Client::new(service, "one.example", "/", options, http.shared()?);
    let connect = ConnectOptions { timeout: HANDSHAKE, ..ConnectOptions::DEFAULT };
    Stream::new(client, LIMITS).connect(server_at(7), &connect, cx)
}

impl Peers {
    fn opened(&mut self, place: usize) {
        self.slots[place].is_open = true;
    }

    fn left(&mut self, place: usize, is_done: bool) {
        let slot = &mut self.slots[place];
        slot.token = None;
        slot.is_open = false;
        slot.done += u64::from(is_done);
    }
}

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The client closes when all messages have come back.
    Closes,
    /// The client closes when all were sent.
    ClosesEarly,
    /// The client asks the server to close, which has a last message.
    Asks,
}

/// A conversation with a server that sends everything back.
struct Talk {
    place: usize,
    seed: u64,
    total: u64,
    ending: Ending,
    sent: u64,
    verified: u64,
    /// The number of the last ping that was answered.
    answered: u64,
    has_ended: bool,
    /// The last message of the server has come.
    has_farewell: bool,
    /// The server has closed as it was asked to.
    is_told: bool,
}

impl Talk {
    fn new(place: usize, random: &mut Random) -> Self {
        let ending = [Ending::Closes, Ending::ClosesEarly, Ending::Asks][random.index(3)];
        Self {
            place,
            seed: random.number(),
            total: 1 + random.below(MESSAGES_MAX),
            ending,
            sent: 0,
            verified: 0,
            answered: 0,
            has_ended: false,
            has_farewell: false,
            is_told: false,
        }
    }

    /// Sends what is due.
    fn go_on(&mut self, sender: &mut Sender<'_>, context: &Context<'_, Peers>) -> Flow {
        let high = context.limits.output_high;
        let is_early = self.ending == Ending::ClosesEarly;
        while self.sent < self.total
            && (is_early || self.sent - self.verified < WINDOW)
            && sender.backlog() < high
        {
            self.send(sender);
        }
        let is_over = if is_early { self.sent } else { self.verified } == self.total;
        if is_over && !self.has_ended {
            self.has_ended = true;
            match self.ending {
                Ending::Asks => sender.text(&format!("bye {}", self.seed)),
                _ => sender.close(self.code(), ""),
            }
        }
        Flow::Continue
    }

    fn code(&self) -> CloseCode {
        CloseCode::new(CODE + self.total as u16).expect("it is a code")
    }

    /// Sends the next message: whole, or in parts with pings between them.
    fn send(&mut self, sender: &mut Sender<'_>) {
        let (kind, bytes) = message(self.seed, self.sent);
        self.sent += 1;
        if bytes.len() > 20 && self.sent.is_multiple_of(2) {
            let size = bytes.len().div_ceil(3);
            let last = bytes.len().div_ceil(size) - 1;
            for (number, part) in bytes.chunks(size).enumerate() {
                sender.part(kind, part, number == last);
                if number == 0 {
                    sender.ping(&self.sent.to_be_bytes());
                }
            }
            return;
        }
        match kind {
            Kind::Text => sender.text(std::str::from_utf8(&bytes).expect("it is text")),
            Kind::Binary => sender.binary(&bytes),
        }
    }
}

impl websocket::Service<Peers> for Talk {
    fn open(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, Peers>) -> Flow {
        context.app.opened(self.place);
        self.go_on(sender, context)
    }

    fn message(
        &mut self,
        got: Message<'_>,
        sender: &mut Sender<'_>,
        context: &mut Context<'_, Peers>,
    ) -> Flow {
        if self.verified < self.total {
            let expected = message(self.seed, self.verified);
            let is_right = expected.0 == got.kind() && expected.1 == got.bytes();
            assert!(is_right, "message {} of {} is another", self.verified, self.total);
            assert!(self.verified < self.sent, "a message comes before it was sent");
            self.verified += 1;
            return self.go_on(sender, context);
        }
        assert!(self.ending == Ending::Asks && !self.has_farewell, "a message too many");
        assert_eq!(got.bytes(), farewell(self.seed).as_bytes(), "the last message");
        self.has_farewell = true;
        Flow::Continue
    }

    fn pong(&mut self, payload: &[u8], _: &mut Sender<'_>, _: &mut Context<'_, Peers>) -> Flow {
        // The connection has pings of its own, which are empty.
        if let Ok(bytes) = payload.try_into() {
            let number = u64::from_be_bytes(bytes);
            let is_next = self.answered < number && number <= self.sent;
            assert!(is_next, "pong {number} after {}, of {}", self.answered, self.sent);
            self.answered = number;
        }
        Flow::Continue
    }

    fn close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        _: &mut Sender<'_>,
        _: &mut Context<'_, Peers>,
    ) {
        if code == Some(CloseCode::GOING_AWAY) {
            return;
        }
        let is_asked = self.ending == Ending::Asks && self.has_ended;
        assert!(is_asked && code == Some(self.code()), "the server closes: {code:?} {reason}");
        assert!(self.has_farewell, "the server closes before its last message");
        self.is_told = true;
    }

    fn drained(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, Peers>) -> Flow {
        self.go_on(sender, context)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Peers>) {
        super::demand_valid(reason);
        let is_done = match self.ending {
            Ending::Asks => self.is_told,
            _ => self.has_ended && reason.is_orderly(),
        };
        context.app.left(self.place, is_done);
    }
}

/// A client that gets news.
struct Subscriber {
    place: usize,
    last: Option<(u64, u64)>,
}

impl websocket::Service<Peers> for Subscriber {
    fn open(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, Peers>) -> Flow {
        context.app.opened(self.place);
        self.resume(sender, context)
    }

    fn message(
        &mut self,
        got: Message<'_>,
        _: &mut Sender<'_>,
        context: &mut Context<'_, Peers>,
    ) -> Flow {
        let text = std::str::from_utf8(got.bytes()).expect("news is text");
        let mut words = text.splitn(3, ' ').map(|it| it.parse().unwrap_or(u64::MAX));
        let here = (words.next().unwrap_or(u64::MAX), words.next().unwrap_or(u64::MAX));
        assert_eq!(text, news(here.0, here.1), "message {here:?}");
        if let Some((life, number)) = self.last {
            assert_eq!(here, (life, number + 1), "the message after {:?}", (life, number));
        }
        self.last = Some(here);
        context.app.slots[self.place].last = self.last;
        Flow::Continue
    }

    fn close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        _: &mut Sender<'_>,
        _: &mut Context<'_, Peers>,
    ) {
        assert_eq!(code, Some(CloseCode::GOING_AWAY), "the server closes: {reason}");
    }

    fn resume(&mut self, sender: &mut Sender<'_>, context: &mut Context<'_, Peers>) -> Flow {
        if context.app.is_ending {
            sender.close(CloseCode::NORMAL, "");
        }
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Peers>) {
        super::demand_valid(reason);
        context.app.left(self.place, true);
    }
}
