//! Hearing answers: which of them count, and what they mean.

use std::io;
use std::time::Instant;

use protocol::dns::{Message, ResponseCode};

use super::engine::{Engine, Ticket};
use super::flight::{Done, Next, Route};
use super::jar::Proof;
use super::ports::PortId;
use super::server::Loss;

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// It is the answer.
    Final,
    /// It is cut or not given: it is available over TCP.
    Cut,
    /// The upstream cannot answer, and another one may.
    Failure(ResponseCode),
}

/// Why an answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Question,
    Case,
    Cookie,
    /// It has no cookie, although those of the upstream have one.
    NoCookie,
}

impl Engine {
    /// Takes a message that has arrived at a port. Returns the clients that it answers.
    ///
    /// It counts only if something was asked from this port with its number, in the same spelling.
    pub(in crate::dns) fn hear(
        &mut self,
        port: PortId,
        message: &Message<'_>,
        now: Instant,
    ) -> Option<Done> {
        let number = message.header().id;
        let found = self.ports.expected(port, number);
        let Some((place, attempt)) = found.filter(|_| message.header().is_response) else {
            self.counts.wrong_number += 1;
            self.ports.heard_wrong(port);
            return None;
        };
        let upstream = self.flights[place].attempts[attempt].upstream;
        match self.check(place, attempt, message) {
            Ok(()) => {}
            Err(Wrong::Question) => {
                self.counts.wrong_question += 1;
                self.ports.heard_wrong(port);
                return None;
            }
            Err(Wrong::Cookie) => {
                self.counts.wrong_cookie += 1;
                self.ports.heard_wrong(port);
                return None;
            }
            Err(wrong @ (Wrong::Case | Wrong::NoCookie)) => {
                match wrong {
                    Wrong::NoCookie => self.counts.missing_cookie += 1,
                    _ => self.counts.wrong_case += 1,
                }
                // A server may not keep the case, or send cookies no longer. Over TCP there is nothing to
                // guess.
                if !self.flights[place].is_answered() && !self.is_asked_over_tcp(place, upstream) {
                    self.ask_over_tcp(place, upstream, now);
                }
                return None;
            }
        }
        self.ports.learn(port, message);
        self.settle(place, attempt, now);
        self.ports.settled(port, number);
        self.weigh(place, upstream, message, now)
    }

    /// Takes the answer to a question over TCP, or `None` if there is none.
    pub(in crate::dns) fn hear_over_tcp(
        &mut self,
        ticket: Ticket,
        message: Option<&Message<'_>>,
        now: Instant,
    ) -> Option<Done> {
        let flight = self.flights.get(ticket.flight)?;
        if flight.serial != ticket.serial {
            return None;
        }
        let upstream = flight.attempts.get(ticket.attempt)?.upstream;
        let asked = &flight.asked;
        let is_right = message.filter(|message| {
            message.header().is_response
                && message.question().is_some_and(|it| {
                    it.name == asked.name.view() && it.kind == asked.kind && it.class == asked.class
                })
        });
        self.flights[ticket.flight].attempts[ticket.attempt].is_pending = false;
        let Some(message) = is_right else {
            self.servers[upstream].counts.failed += 1;
            return self.go_on(ticket.flight, now);
        };
        // What a connection takes says nothing about datagrams.
        let change = self.servers[upstream].heard();
        self.note(upstream, change, now);
        if message.header().is_truncated {
            // There is no third way.
            self.servers[upstream].counts.failed += 1;
            self.note_error(upstream, ticket.flight, "a truncated answer over TCP", now);
            self.flights[ticket.flight].failure.get_or_insert(ResponseCode::SERVFAIL);
            return self.go_on(ticket.flight, now);
        }
        self.weigh(ticket.flight, upstream, message, now)
    }

    /// Compares an answer with the question that was sent.
    fn check(&self, place: usize, attempt: usize, message: &Message<'_>) -> Result<(), Wrong> {
        let flight = &self.flights[place];
        let Route::Datagram { port, spelled, has_cookie, .. } = &flight.attempts[attempt].route
        else {
            return Err(Wrong::Question);
        };
        let proof = match has_cookie {
            true => self.ports.proof(*port, message),
            false => Proof::Unknown,
        };
        if proof == Proof::Wrong {
            return Err(Wrong::Cookie);
        }
        let Some(question) = message.question() else {
            // A server that cannot read the question cannot repeat it.
            let is_short = message.questions().next().is_none();
            return match message.header().code {
                ResponseCode::FORMERR | ResponseCode::NOTIMP if is_short => match proof {
                    Proof::Missing => Err(Wrong::NoCookie),
                    _ => Ok(()),
                },
                _ => Err(Wrong::Question),
            };
        };
        if question.kind != flight.asked.kind
            || question.class != flight.asked.class
            || question.name != spelled.view()
        {
            return Err(Wrong::Question);
        }
        match proof {
            // No case is harder to guess than the cookie.
            Proof::Proven => Ok(()),
            Proof::Missing => Err(Wrong::NoCookie),
            _ if question.name.is_spelled_like(spelled.view()) => Ok(()),
            _ => Err(Wrong::Case),
        }
    }

    /// Notes that an attempt has its answer.
    fn settle(&mut self, place: usize, attempt: usize, now: Instant) {
        let attempt = &mut self.flights[place].attempts[attempt];
        attempt.is_pending = false;
        let (upstream, sent) = (attempt.upstream, attempt.sent);
        let change = self.servers[upstream].answered(sent, now);
        self.note(upstream, change, now);
    }

    fn is_asked_over_tcp(&self, place: usize, upstream: usize) -> bool {
        self.flights[place].attempts.iter().any(|attempt| {
            attempt.upstream == upstream && matches!(attempt.route, Route::Connection)
        })
    }

    /// Decides what follows from an answer that counts.
    fn weigh(
        &mut self,
        place: usize,
        upstream: usize,
        message: &Message<'_>,
        now: Instant,
    ) -> Option<Done> {
        if self.flights[place].is_answered() {
            self.remove_if_settled(place);
            return None;
        }
        match worth(message) {
            Worth::Final => {
                let done = self.finish(place, None, now);
                self.remove_if_settled(place);
                done
            }
            Worth::Cut if self.is_asked_over_tcp(place, upstream) => None,
            Worth::Cut => {
                self.ask_over_tcp(place, upstream, now);
                None
            }
            Worth::Failure(code) => {
                self.flights[place].failure = Some(code);
                let has_no_options = message.edns().is_none();
                let may_be_plain = !self.flights[place].asked.dnssec_ok();
                let is_extended = self.servers[upstream].plain_until.is_none_or(|it| it <= now);
                let is_refused = matches!(code, ResponseCode::FORMERR | ResponseCode::NOTIMP);
                if is_refused && has_no_options && may_be_plain && is_extended {
                    // It does not know EDNS (RFC 6891 section 7).
                    self.be_plain(upstream, now);
                    self.send(place, upstream, now);
                    return None;
                }
                self.note_error(upstream, place, &code.to_string(), now);
                self.go_on(place, now)
            }
        }
    }

    /// Goes on after an attempt has failed: with an upstream that was not asked, or not at all if all
    /// have failed.
    fn go_on(&mut self, place: usize, now: Instant) -> Option<Done> {
        let flight = &self.flights[place];
        if flight.is_answered() {
            self.remove_if_settled(place);
            return None;
        }
        let mut group = self.groups[flight.group].iter();
        let may_try = flight.attempts.len() < self.options.tries;
        if may_try && group.any(|upstream| !flight.has_tried(*upstream)) {
            self.retry(place, now);
            return None;
        }
        if flight.has_pending() {
            return None;
        }
        let Some(code) = flight.failure else {
            // A connection has failed, and it may be the only one that has.
            let at = now + flight.pause;
            self.schedule(place, Next::Retry, at);
            return None;
        };
        let done = self.finish(place, Some(code), now);
        self.remove_if_settled(place);
        done
    }

    /// Goes on after the network has refused what was sent from a port, such as because nothing listens
    /// there. Another upstream is asked at once. Returns the clients that have none left.
    pub(in crate::dns) fn refused(
        &mut self,
        port: PortId,
        error: io::ErrorKind,
        now: Instant,
    ) -> Vec<Done> {
        self.give_back(port, Loss::Refused(error), now)
    }

    /// Goes on without a port whose socket has ended. This says nothing about its upstream, which is asked
    /// again after a pause.
    pub(in crate::dns) fn port_closed(&mut self, port: PortId, now: Instant) -> Vec<Done> {
        let done = self.give_back(port, Loss::Silent, now);
        self.ports.closed(port);
        done
    }

    /// Goes on after what was asked from a port has failed.
    fn give_back(&mut self, port: PortId, loss: Loss, now: Instant) -> Vec<Done> {
        let code = matches!(loss, Loss::Refused(_)).then_some(ResponseCode::SERVFAIL);
        let mut done = Vec::new();
        for (number, (place, attempt)) in self.ports.all_expected(port) {
            self.ports.settled(port, number);
            let flight = &mut self.flights[place];
            flight.failure = flight.failure.or(code);
            flight.attempts[attempt].is_pending = false;
            let upstream = flight.attempts[attempt].upstream;
            self.servers[upstream].counts.failed += 1;
            let change = self.servers[upstream].lost(loss, now);
            self.note(upstream, change, now);
            done.extend(self.go_on(place, now));
        }
        done
    }
}

/// Returns what an answer is worth.
fn worth(message: &Message<'_>) -> Worth {
    match message.response_code() {
        ResponseCode::NOERROR | ResponseCode::NXDOMAIN if message.header().is_truncated => {
            Worth::Cut
        }
        ResponseCode::NOERROR | ResponseCode::NXDOMAIN => Worth::Final,
        // It wants a cookie of its own, which it does not need on a connection (RFC 7873 section 5.3). The
        // port has it now for the next question.
        ResponseCode::BADCOOKIE => Worth::Cut,
        code => Worth::Failure(code),
    }
}
