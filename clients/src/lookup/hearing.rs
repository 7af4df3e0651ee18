//! Messages that arrive: which question each answers, and what follows. No socket is touched here.

use std::time::Instant;

use protocol::Buffer;
use protocol::dns::{Message, Opcode, Received, ResponseCode};

use super::engine::Lookup;
use super::flight::{Channel, ChannelId, Serial, header_of};
use super::options::{Transport, Truncated};
use super::tally::Dropped;

/// What follows a message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It was dropped: the question still waits.
    Waits,
    /// The question is over, or is asked in another way.
    Moved,
}

impl Lookup {
    /// Handles a message that has arrived on a socket.
    pub(super) fn receive(
        &mut self,
        id: ChannelId,
        received: &Received<'_>,
        now: Instant,
        down: &mut Buffer,
    ) -> Step {
        let serial = match self.question_of(id, received) {
            Ok(serial) => serial,
            Err(dropped) => {
                self.tally.count_dropped(dropped);
                return Step::Waits;
            }
        };
        let Some(transport) = self.channels.get_mut(&id).map(|channel| {
            channel.answered += 1;
            channel.transport
        }) else {
            return Step::Waits;
        };
        if let Received::Message(message) = received
            && self.is_refused_for_cookie(id, serial, message)
        {
            return Step::Moved;
        }
        let is_truncated = header_of(received).is_truncated && transport == Transport::Udp;
        if is_truncated && self.plan.options.truncated == Truncated::AskOverTcp {
            self.forget_number(serial);
            if let Some(flight) = self.flights.get_mut(&serial) {
                (flight.transport, flight.was_truncated, flight.sent) =
                    (Transport::Tcp, true, None);
                self.tally.truncated += 1;
                self.waiting.push_back(serial);
            }
        } else if let Received::Message(message) = received {
            self.finish(serial, Some(message), now, down);
        }
        Step::Moved
    }

    /// Takes the cookie of the server out of an answer. If it wanted this one first (BADCOOKIE), it is asked
    /// again, once.
    fn is_refused_for_cookie(
        &mut self,
        id: ChannelId,
        serial: Serial,
        message: &Message<'_>,
    ) -> bool {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.learn_cookie(message);
        }
        let is_refused = self.plan.options.cookie
            && message.response_code() == ResponseCode::BADCOOKIE
            && self.flights.get(&serial).is_some_and(|flight| !flight.had_bad_cookie);
        if is_refused {
            self.forget_number(serial);
            if let Some(flight) = self.flights.get_mut(&serial) {
                (flight.had_bad_cookie, flight.sent) = (true, None);
                self.tally.repeated += 1;
                self.waiting.push_back(serial);
            }
        }
        is_refused
    }

    /// Returns the question that a message answers.
    fn question_of(&self, id: ChannelId, received: &Received<'_>) -> Result<Serial, Dropped> {
        let header = header_of(received);
        let channel = self.channels.get(&id).ok_or(Dropped::Number)?;
        let serial = channel.numbers.get(&header.id).ok_or(Dropped::Number)?;
        let flight = self.flights.get(serial).ok_or(Dropped::Number)?;
        let sent = flight.sent.as_ref().ok_or(Dropped::Number)?;
        if !header.is_response || header.opcode != Opcode::QUERY {
            return Err(Dropped::Question);
        }
        let message = match received {
            Received::Message(message) => message,
            // An answer may be cut within a record. It is asked for again in any case.
            Received::Malformed { .. } if is_asked_again(header.is_truncated, channel, self) => {
                return Ok(*serial);
            }
            Received::Malformed { .. } => return Err(Dropped::Malformed),
        };
        if self.plan.options.cookie && channel.check_cookie(message).is_err() {
            return Err(Dropped::Cookie);
        }
        let Some(question) = message.question() else {
            // A server that cannot read a question cannot repeat it.
            let is_unread = matches!(header.code, ResponseCode::FORMERR | ResponseCode::NOTIMP);
            let is_empty = message.questions().next().is_none();
            return if is_unread && is_empty { Ok(*serial) } else { Err(Dropped::Question) };
        };
        let ask = &flight.ask;
        let is_same = question.kind == ask.kind && question.class == ask.class;
        if !is_same || question.name != ask.name.view() {
            return Err(Dropped::Question);
        }
        if self.plan.options.random_case && !question.name.is_spelled_like(sent.name.view()) {
            return Err(Dropped::Case);
        }
        Ok(*serial)
    }
}

/// Returns whether a truncated answer of a socket is asked for again over TCP.
fn is_asked_again(is_truncated: bool, channel: &Channel, lookup: &Lookup) -> bool {
    is_truncated
        && channel.transport == Transport::Udp
        && lookup.plan.options.truncated == Truncated::AskOverTcp
}
