//! The session of one connection of a client.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::{Exchange, Heard, Opening};
use crate::{Buffer, Cause, Codec, Context, Decoded, Flow, Output, Reason, Reply, Session};

/// The key of the timeout of opening ([`Caller::open_within`]).
const OPENING: u8 = 0;

/// What a [`Caller`] has to tell, in the order in which it happened.
#[derive(Debug)]
pub enum Said<T, R, P> {
    /// The connection is open: requests are written from now on.
    Opened,
    /// A request has its reply.
    Answered {
        /// What its sender gave with the request.
        ticket: T,
        /// The reply.
        reply: R,
    },
    /// The peer has sent a message that answers no request.
    Pushed(P),
}

/// A request whose sender waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired<T> {
    /// What its sender gave with the request.
    pub ticket: T,
    /// Whether the request was written. If not, it is never sent.
    pub was_written: bool,
}

/// A request without a reply at the end of its connection.
#[derive(Debug)]
pub struct Left<R, T> {
    /// The request.
    pub request: R,
    /// What its sender gave with it.
    pub ticket: T,
    /// Whether the request may have reached the peer. If not, it certainly has not, and may be sent
    /// on another connection.
    pub is_sent: bool,
}

/// A request that was written. A reply in order is matched to it even if nothing waits for the reply.
struct Written<R, T> {
    key: u64,
    request: R,
    /// `None` once its sender waits no longer.
    ticket: Option<T>,
    /// Where it begins and ends in all output of the connection, in bytes.
    start: u64,
    end: u64,
}

/// The session of one connection of a client: writes requests, matches replies to them, and knows at
/// the end which of them were not sent. See the [module](super).
///
/// Each request has a ticket of any type `T`, which is returned exactly once: with the reply
/// ([`next_said`](Self::next_said)), by [`expire`](Self::expire), or at the end
/// ([`end`](Self::end)).
///
/// A connection that ends its stream with requests in flight ends with [`Reason::PeerClosed`]: the
/// peer has said all that it wanted to. Requests that the driver has not passed on by then are not
/// sent, since no reply could come.
pub struct Caller<E: Exchange, T> {
    exchange: E,
    codec: E::Codec,
    /// How much input the decoder needs before it is called again.
    need: usize,
    opening: Opening,
    open_timeout: Option<Duration>,
    queue: VecDeque<(E::Request, T)>,
    /// The key of the next request that is written. Its number is the end of its key.
    next_key: u64,
    in_flight: VecDeque<Written<E::Request, T>>,
    in_flight_max: usize,
    /// How many requests in flight still have their ticket.
    awaited: usize,
    said: VecDeque<Said<T, E::Reply, E::Push>>,
    /// How many bytes of output the connection has had.
    written: u64,
    /// How many of them the driver has passed on, known at the end.
    passed_on: Option<u64>,
    is_finishing: bool,
    /// Something was received since that was last asked.
    has_heard: bool,
}

impl<E: Exchange, T> Caller<E, T> {
    /// Returns the session of a new connection. At most `in_flight_max` requests are written before
    /// the oldest of them has its reply.
    pub fn new(exchange: E, in_flight_max: usize) -> Self {
        Self {
            codec: exchange.codec(),
            exchange,
            need: 0,
            opening: Opening::Waits,
            open_timeout: None,
            queue: VecDeque::new(),
            next_key: 0,
            in_flight: VecDeque::new(),
            in_flight_max,
            awaited: 0,
            said: VecDeque::new(),
            written: 0,
            passed_on: None,
            is_finishing: false,
            has_heard: false,
        }
    }

    /// Sets how long opening the connection may take. After that the connection ends with
    /// [`Reason::Deadline`].
    #[must_use]
    pub fn open_within(mut self, timeout: Duration) -> Self {
        self.open_timeout = Some(timeout);
        self
    }

    /// Returns the exchange.
    pub fn exchange(&self) -> &E {
        &self.exchange
    }

    /// Returns the exchange, to change what a later connection restores.
    pub fn exchange_mut(&mut self) -> &mut E {
        &mut self.exchange
    }

    /// Appends a request. It is written when the session is called next, for example because it was
    /// woken.
    pub fn queue(&mut self, request: E::Request, ticket: T) {
        self.queue.push_back((request, ticket));
    }

    /// Returns for how many more requests there is room before the limit of requests in flight. It
    /// is zero before the connection is open.
    pub fn room(&self) -> usize {
        match self.opening {
            Opening::Ready => {
                self.in_flight_max.saturating_sub(self.in_flight.len() + self.queue.len())
            }
            Opening::Waits => 0,
        }
    }

    /// Returns how many requests wait for a reply or to be written.
    pub fn pending(&self) -> usize {
        self.queue.len() + self.awaited
    }

    /// Returns whether no reply is outstanding, including those that nothing waits for.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Gives up waiting for the replies to the requests whose tickets are `due`, and returns those
    /// tickets, the oldest first. A reply that arrives later is discarded.
    pub fn expire(&mut self, mut due: impl FnMut(&T) -> bool) -> Vec<Expired<T>> {
        let mut expired = Vec::new();
        for written in &mut self.in_flight {
            if let Some(ticket) = written.ticket.take_if(|ticket| due(ticket)) {
                expired.push(Expired { ticket, was_written: true });
            }
        }
        self.awaited -= expired.len();
        if self.queue.iter().any(|(_, ticket)| due(ticket)) {
            for (request, ticket) in std::mem::take(&mut self.queue) {
                if due(&ticket) {
                    expired.push(Expired { ticket, was_written: false });
                } else {
                    self.queue.push_back((request, ticket));
                }
            }
        }
        expired
    }

    /// Returns the tickets that were not returned, in the order of their requests.
    pub fn tickets(&self) -> impl Iterator<Item = &T> {
        let written = self.in_flight.iter().filter_map(|written| written.ticket.as_ref());
        written.chain(self.queue.iter().map(|(_, ticket)| ticket))
    }

    /// Takes the next of what there is to tell.
    pub fn next_said(&mut self) -> Option<Said<T, E::Reply, E::Push>> {
        self.said.pop_front()
    }

    /// Returns whether anything was received since the last call.
    pub fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.has_heard)
    }

    /// Ends the connection in order once every request has its reply. No request may be queued
    /// after this.
    pub fn finish(&mut self) {
        self.is_finishing = true;
    }

    /// Ends the session. Returns the exchange, and the requests whose tickets were not returned, the
    /// oldest first. The session must have been told that the connection is closed; otherwise every
    /// request that was written counts as sent.
    pub fn end(self) -> (E, impl Iterator<Item = Left<E::Request, T>>) {
        let passed_on = self.passed_on.unwrap_or(u64::MAX);
        let written = self.in_flight.into_iter().filter_map(move |it| {
            let is_sent = if E::WHOLE_ONLY { it.end <= passed_on } else { it.start < passed_on };
            Some(Left { request: it.request, ticket: it.ticket?, is_sent })
        });
        let queued = self.queue.into_iter();
        let queued = queued.map(|(request, ticket)| Left { request, ticket, is_sent: false });
        (self.exchange, written.chain(queued))
    }

    /// Does what is due when the connection is open.
    fn begin<A>(&mut self, output: &mut Output, context: &mut Context<'_, A>) {
        // A client that only waits for messages sends nothing. Its owner asks whether the peer lives.
        context.effects.allow_silence(true);
        self.opening = self.exchange.open(&mut Reply::new(&mut self.codec, output));
        match self.opening {
            Opening::Ready => self.said.push_back(Said::Opened),
            Opening::Waits => context.effects.set_timeout(OPENING, self.open_timeout),
        }
    }

    /// Handles all messages in the input.
    fn hear<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<(), Reason> {
        while !input.is_empty() && input.len() >= self.need {
            let (waiting, limit) = (input.len(), context.limits.message_size_max);
            let consumed = match self.codec.decode(input.filled_mut(), output) {
                Ok(Decoded::Message { consumed: 0, .. } | Decoded::Skip { consumed: 0 }) => {
                    let text = "bug in the codec: it delivered a message without consuming input";
                    return Err(Reason::refused(text));
                }
                Ok(Decoded::Message { message, consumed }) => {
                    let oldest = self.in_flight.front().map(|written| &written.request);
                    let mut reply = Reply::new(&mut self.codec, output);
                    let heard = self.exchange.hear(message, oldest, &mut reply);
                    self.take(heard, context)?;
                    consumed
                }
                Ok(Decoded::Skip { consumed }) => consumed,
                Ok(Decoded::Incomplete { need }) if need > limit || waiting >= limit => {
                    return Err(Reason::Limit("message_size_max: a message is larger"));
                }
                Ok(Decoded::Incomplete { need }) => {
                    self.need = need.max(waiting + 1);
                    return Ok(());
                }
                Err(error) => {
                    self.codec.reject(&error, output);
                    return Err(Reason::refused(error));
                }
            };
            self.need = 0;
            input.consume(consumed);
        }
        Ok(())
    }

    /// Handles what a message was found to be.
    fn take<A>(
        &mut self,
        heard: Heard<E::Reply, E::Push>,
        context: &mut Context<'_, A>,
    ) -> Result<(), Reason> {
        match heard {
            Heard::Nothing => {}
            Heard::Push(push) => self.said.push_back(Said::Pushed(push)),
            Heard::Opened if self.opening == Opening::Waits => {
                self.opening = Opening::Ready;
                context.effects.set_timeout(OPENING, None);
                self.said.push_back(Said::Opened);
            }
            Heard::Opened => {
                return Err(Reason::refused("bug in the exchange: it is opened twice"));
            }
            Heard::Reply(reply) => match self.in_flight.pop_front() {
                Some(written) => self.answer(written, reply),
                None => return Err(Reason::refused("a reply came that answers no request")),
            },
            Heard::Numbered(number, reply) => {
                match self.place_of(number).and_then(|place| self.in_flight.remove(place)) {
                    Some(written) => self.answer(written, reply),
                    None => {
                        let text = format!("a reply came to number {number}, which is no request");
                        return Err(Reason::refused(text));
                    }
                }
            }
            Heard::Refused(error) => return Err(Reason::Refused(error)),
        }
        Ok(())
    }

    /// Returns the place in flight of the request with a number.
    fn place_of(&self, number: u64) -> Option<usize> {
        if number > E::NUMBER_MAX {
            return None;
        }
        let first = self.in_flight.front()?.key;
        let key = first.checked_add(number.wrapping_sub(first) & E::NUMBER_MAX)?;
        self.in_flight.binary_search_by_key(&key, |written| written.key).ok()
    }

    fn answer(&mut self, written: Written<E::Request, T>, reply: E::Reply) {
        // Otherwise the reply is late, and nothing waits for it.
        if let Some(ticket) = written.ticket {
            self.awaited -= 1;
            self.said.push_back(Said::Answered { ticket, reply });
        }
    }

    /// Writes queued requests as far as the limits allow. `passed_on` is how many bytes of output the
    /// driver has passed on.
    fn write(&mut self, output: &mut Output, output_high: u64, passed_on: u64) {
        while self.opening == Opening::Ready
            && self.in_flight.len() < self.in_flight_max
            && output.len() < output_high
            && self.has_free_number()
            && let Some((request, ticket)) = self.queue.pop_front()
        {
            let key = self.next_key;
            self.next_key += 1;
            let start = passed_on + output.len();
            let mut reply = Reply::new(&mut self.codec, output);
            self.exchange.write(&request, key & E::NUMBER_MAX, &mut reply);
            if let Some(reply) = self.exchange.one_way(&request) {
                self.said.push_back(Said::Answered { ticket, reply });
                continue;
            }
            let end = passed_on + output.len();
            self.awaited += 1;
            self.in_flight.push_back(Written { key, request, ticket: Some(ticket), start, end });
        }
    }

    /// Returns whether no request in flight has the number of the next request.
    fn has_free_number(&self) -> bool {
        let oldest = self.in_flight.front();
        oldest.is_none_or(|oldest| self.next_key - oldest.key <= E::NUMBER_MAX)
    }

    fn go_on<A>(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        if context.cause == Cause::Opened {
            // What an earlier session of the connection has left is sent before.
            self.written = output.len();
        }
        let (waits, passed_on) = (output.len(), self.written.saturating_sub(output.len()));
        match context.cause {
            Cause::Opened => self.begin(output, context),
            Cause::Timeout(OPENING) => return Err(Reason::Deadline),
            Cause::Stopping => self.finish(),
            Cause::Input => self.has_heard = true,
            _ => {}
        }
        let heard = self.hear(input, output, context);
        if heard.is_ok() && !context.input_ended {
            self.write(output, context.limits.output_high, passed_on);
            self.written = passed_on + output.len();
        } else {
            // No request can be answered any more, so those that wait in the output are not sent. Nor
            // is what comes after them: the peer would take it for the rest of the first.
            self.passed_on = Some(passed_on);
            if waits > 0 {
                output.clear();
            }
        }
        heard?;
        if context.input_ended {
            self.codec.finish(input.filled()).map_err(Reason::refused)?;
            return Ok(Flow::Close);
        }
        let is_done = self.is_finishing && self.pending() == 0;
        Ok(if is_done { Flow::Close } else { Flow::Continue })
    }
}

impl<A, E: Exchange, T> Session<A> for Caller<E, T> {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        self.go_on(input, output, context)
    }

    fn closed(&mut self, _reason: &Reason, context: &mut Context<'_, A>) {
        let passed_on = self.written.saturating_sub(context.unsent);
        self.passed_on.get_or_insert(passed_on);
    }
}

impl<E: Exchange, T> fmt::Debug for Caller<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("opening", &self.opening)
            .field("queued", &self.queue.len())
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}
