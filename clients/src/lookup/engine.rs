//! Questions in flight: which server is asked next, and what follows when no answer comes. No socket is
//! touched here.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use protocol::Buffer;
use protocol::dns::Message;
use reactor::Token;

use super::ask::Ask;
use super::dice::Dice;
use super::flight::{Channel, ChannelId, Flight, Sent, Serial, Trouble};
use super::options::{Form, Options, Transport};
use super::servers::Server;
use super::show::{self, Outcome};
use super::tally::Tally;

/// A tool that was held up catches up with its rate by what it missed in this time at most.
const CATCH_UP_MAX: Duration = Duration::from_millis(100);

/// What is asked, and of which servers.
pub(super) struct Plan {
    pub(super) options: Options,
    pub(super) servers: Vec<Server>,
    /// How many questions wait for answers at most.
    pub(super) in_flight_max: usize,
    /// The time from the start of a question to that of the next one.
    pub(super) interval: Option<Duration>,
    /// The only question is asked. Otherwise there is a file of them.
    pub(super) is_single: bool,
}

/// All questions.
pub(super) struct Lookup {
    pub(super) plan: Plan,
    asks: Box<dyn Iterator<Item = Ask>>,
    /// Nothing more is begun.
    pub(super) is_exhausted: bool,
    /// The user wants the tool to end.
    pub(super) is_interrupted: bool,
    pub(super) flights: HashMap<Serial, Flight>,
    next_serial: Serial,
    /// Questions that are to be sent.
    pub(super) waiting: VecDeque<Serial>,
    /// When the messages that were sent count as lost. All wait equally long, so they are in order.
    deadlines: VecDeque<(Instant, Serial, u64)>,
    pub(super) channels: HashMap<ChannelId, Channel>,
    /// Sockets that are to be closed.
    spent: Vec<Token>,
    next_channel: ChannelId,
    /// The socket that was chosen last for each server.
    chosen: HashMap<(usize, Transport), ChannelId>,
    dice: Dice,
    sent_count: u64,
    next_start: Option<Instant>,
    pub(super) tally: Tally,
}

impl Lookup {
    pub(super) fn new(plan: Plan, asks: Box<dyn Iterator<Item = Ask>>) -> Self {
        Self {
            plan,
            asks,
            is_exhausted: false,
            is_interrupted: false,
            flights: HashMap::new(),
            next_serial: 0,
            waiting: VecDeque::new(),
            deadlines: VecDeque::new(),
            channels: HashMap::new(),
            spent: Vec::new(),
            next_channel: 0,
            chosen: HashMap::new(),
            dice: Dice::default(),
            sent_count: 0,
            next_start: None,
            tally: Tally::new(),
        }
    }

    /// Returns whether every question is over.
    pub(super) fn is_done(&self) -> bool {
        self.is_exhausted && self.flights.is_empty()
    }

    /// Begins questions, as many as may be in flight and as the rate allows.
    pub(super) fn begin(&mut self, now: Instant) {
        self.tally.started.get_or_insert(now);
        while !self.is_exhausted && self.flights.len() < self.plan.in_flight_max {
            if let Some(interval) = self.plan.interval {
                let start = self.next_start.unwrap_or(now);
                if start > now {
                    return;
                }
                let behind = now.checked_sub(CATCH_UP_MAX).unwrap_or(now);
                self.next_start = Some(start.max(behind) + interval);
            }
            let Some(ask) = self.asks.next() else {
                self.is_exhausted = true;
                return;
            };
            let flight = Flight {
                ask,
                begun: now,
                attempts: 0,
                transport: self.plan.options.transport,
                was_truncated: false,
                had_bad_cookie: false,
                troubles: Vec::new(),
                sent: None,
            };
            self.tally.asked += 1;
            self.flights.insert(self.next_serial, flight);
            self.waiting.push_back(self.next_serial);
            self.next_serial += 1;
        }
    }

    /// Returns when there is something to do again, apart from what arrives. While standard output is full,
    /// nothing is begun.
    pub(super) fn next_event(&self, is_full: bool) -> Option<Instant> {
        let has_room = self.flights.len() < self.plan.in_flight_max;
        let may_begin = has_room && !is_full && !self.is_exhausted;
        let start = self.next_start.filter(|_| may_begin);
        let deadline = self.deadlines.front().map(|(at, ..)| *at);
        start.into_iter().chain(deadline).min()
    }

    /// Returns the server and the transport of the next question that is to be sent.
    pub(super) fn next_target(&mut self) -> Option<(usize, Transport)> {
        while let Some(serial) = self.waiting.front() {
            if let Some(flight) = self.flights.get(serial) {
                return Some((self.server_of(flight), flight.transport));
            }
            self.waiting.pop_front();
        }
        None
    }

    /// Returns a socket that can take one more question.
    pub(super) fn channel_for(&mut self, target: (usize, Transport)) -> Option<ChannelId> {
        let has_room = |id: &ChannelId| self.channels.get(id).is_some_and(Channel::has_room);
        if let Some(chosen) = self.chosen.get(&target).copied().filter(has_room) {
            return Some(chosen);
        }
        let mut all = self.channels.iter();
        let found = all.find(|(_, it)| (it.server, it.transport) == target && it.has_room());
        let found = found.map(|(id, _)| *id)?;
        self.chosen.insert(target, found);
        Some(found)
    }

    /// Returns the number of a new socket, which is not open yet.
    pub(super) fn add_channel(&mut self, (server, transport): (usize, Transport)) -> ChannelId {
        let id = self.next_channel;
        self.next_channel += 1;
        let channel = Channel {
            token: Token::NONE,
            server,
            transport,
            cookie: self.dice.number().to_be_bytes(),
            server_cookie: Vec::new(),
            outbox: Vec::new(),
            numbers: HashMap::new(),
            asked: 0,
            answered: 0,
        };
        self.channels.insert(id, channel);
        self.chosen.insert((server, transport), id);
        id
    }

    /// Records that a socket is open.
    pub(super) fn set_token(&mut self, id: ChannelId, token: Token) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.token = token;
        }
    }

    /// Puts the next question into the outbox of a socket. Returns the source of the socket, which is to be
    /// woken.
    pub(super) fn send(&mut self, id: ChannelId, now: Instant) -> Option<Token> {
        let serial = self.waiting.pop_front()?;
        let (flight, channel) = (self.flights.get_mut(&serial)?, self.channels.get_mut(&id)?);
        let options = &self.plan.options;
        let number = loop {
            let number = self.dice.number() as u16;
            if !channel.numbers.contains_key(&number) {
                break number;
            }
        };
        let name = match options.random_case {
            true => self.dice.spell(&flight.ask.name),
            false => flight.ask.name.clone(),
        };
        let cookie = [&channel.cookie[..], &channel.server_cookie].concat();
        let Ok(message) = flight.ask.message(number, &name, options, &cookie) else {
            // Every name fits.
            self.flights.remove(&serial);
            return None;
        };
        channel.outbox.push(message);
        channel.numbers.insert(number, serial);
        channel.asked += 1;
        self.sent_count += 1;
        self.tally.sent += 1;
        let order = self.sent_count;
        flight.sent = Some(Sent { order, channel: id, number, at: now, name });
        self.deadlines.push_back((now + options.timeout, serial, order));
        Some(channel.token)
    }

    /// Gives up the attempts whose time is over.
    pub(super) fn expire(&mut self, now: Instant, down: &mut Buffer) {
        while let Some((at, serial, order)) = self.deadlines.front().copied() {
            let flight = self.flights.get(&serial);
            let is_current = flight
                .is_some_and(|flight| flight.sent.as_ref().is_some_and(|sent| sent.order == order));
            if is_current && at > now {
                return;
            }
            self.deadlines.pop_front();
            if is_current {
                self.abandon_connection(serial);
                self.fail(serial, "timed out", now, down);
            }
        }
    }

    /// Asks nothing more over a connection on which an answer is missing: it may be dead.
    fn abandon_connection(&mut self, serial: Serial) {
        let sent = self.flights.get(&serial).and_then(|flight| flight.sent.as_ref());
        let channel = sent.and_then(|sent| self.channels.get_mut(&sent.channel));
        if let Some(channel) = channel.filter(|channel| channel.transport == Transport::Tcp) {
            channel.retire();
        }
    }

    /// Gives up an attempt of the first question that is to be sent: no socket can be opened for it.
    pub(super) fn fail_next(&mut self, why: &str, now: Instant, down: &mut Buffer) {
        if let Some(serial) = self.waiting.pop_front() {
            self.fail(serial, why, now, down);
        }
    }

    /// Gives up the attempts on a socket whose server does not answer.
    pub(super) fn fail_channel(
        &mut self,
        id: ChannelId,
        why: &str,
        now: Instant,
        down: &mut Buffer,
    ) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.outbox.clear();
        let mut serials: Vec<Serial> = channel.numbers.drain().map(|(_, serial)| serial).collect();
        // In the order of their questions.
        serials.sort_unstable();
        serials.into_iter().for_each(|serial| self.fail(serial, why, now, down));
    }

    /// Removes a socket that has ended. Servers end connections that have answered for a while; what was
    /// still asked over such a connection is asked again without counting as an attempt.
    pub(super) fn remove_channel(
        &mut self,
        id: ChannelId,
        why: &str,
        now: Instant,
        down: &mut Buffer,
    ) {
        if self.channels.get(&id).is_some_and(|channel| channel.answered == 0) {
            self.fail_channel(id, why, now, down);
        }
        let Some(channel) = self.channels.remove(&id) else { return };
        let mut serials: Vec<Serial> = channel.numbers.into_values().collect();
        serials.sort_unstable();
        for serial in serials {
            if let Some(flight) = self.flights.get_mut(&serial) {
                flight.sent = None;
                self.waiting.push_back(serial);
            }
        }
    }

    fn server_of(&self, flight: &Flight) -> usize {
        flight.attempts as usize % self.plan.servers.len()
    }

    /// Frees the message number of a question.
    pub(super) fn forget_number(&mut self, serial: Serial) {
        if let Some(sent) = self.flights.get(&serial).and_then(|flight| flight.sent.as_ref())
            && let Some(channel) = self.channels.get_mut(&sent.channel)
        {
            channel.numbers.remove(&sent.number);
            if channel.is_spent() {
                self.spent.push(channel.token);
            }
        }
    }

    /// Returns a socket that has done its part, and is to be closed.
    pub(super) fn take_spent(&mut self) -> Option<Token> {
        self.spent.pop()
    }

    /// Ends an attempt. The next server is asked, unless each was asked often enough.
    fn fail(&mut self, serial: Serial, why: &str, now: Instant, down: &mut Buffer) {
        self.forget_number(serial);
        let Some(flight) = self.flights.get_mut(&serial) else { return };
        let count = self.plan.servers.len();
        let server = self.plan.servers[flight.attempts as usize % count].address;
        let trouble = Trouble { server, text: why.to_owned() };
        if self.plan.is_single && self.plan.options.form == Form::Full {
            down.extend_from_slice(show::trouble(&trouble).as_bytes());
        }
        flight.troubles.push(trouble);
        flight.attempts += 1;
        flight.sent = None;
        flight.transport = self.plan.options.transport;
        if u64::from(flight.attempts) < u64::from(self.plan.options.tries) * count as u64 {
            self.tally.repeated += 1;
            self.waiting.push_back(serial);
        } else {
            self.finish(serial, None, now, down);
        }
    }

    /// Ends a question, and shows how.
    pub(super) fn finish(
        &mut self,
        serial: Serial,
        message: Option<&Message<'_>>,
        now: Instant,
        down: &mut Buffer,
    ) {
        self.forget_number(serial);
        let Some(flight) = self.flights.remove(&serial) else { return };
        let total = now - flight.begun;
        let server = &self.plan.servers[self.server_of(&flight)];
        let reply = message.map(|message| show::Reply {
            message,
            server,
            transport: flight.transport,
            time: flight.sent.as_ref().map_or(total, |sent| now - sent.at),
        });
        match &reply {
            Some(reply) => self.tally.count_answer(reply.message.response_code(), total),
            None => self.tally.unanswered += 1,
        }
        self.tally.ended = Some(now);
        let outcome = Outcome {
            ask: &flight.ask,
            reply,
            troubles: &flight.troubles,
            was_truncated: flight.was_truncated,
            had_bad_cookie: flight.had_bad_cookie,
            total,
        };
        show::append(&outcome, &self.plan, down);
    }
}
