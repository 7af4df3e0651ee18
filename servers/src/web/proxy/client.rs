//! The client's side of an exchange.

use std::time::{Duration, Instant};

use protocol::http::{BodyLength, RequestHead, Response, Status};
use protocol::{Context, Flow};

use super::exchange::{Answer, Exchange, ExchangeId, Pipe};
use super::fields::Origin;
use super::tunnel::{Side, Tunnel};
use crate::web::App;

/// The key of the timeout that finds clients that do not read.
const STALL_KEY: u8 = 1;

/// The status in the access log of a request whose client did not wait for the response. No response
/// has it; nginx writes the same.
const CLOSED: u16 = 499;

/// An exchange, as the service of the client's connection keeps it.
#[derive(Debug)]
pub(crate) struct Passing {
    id: ExchangeId,
    route: usize,
    /// The status that was sent.
    pub(crate) status: u16,
    /// Bytes of the body that were appended to the output.
    pub(crate) bytes: u64,
    /// How many of them had been sent when that was last checked.
    sent: u64,
    /// How long the client may read nothing.
    stall: Option<Duration>,
    pub(crate) begun: Instant,
}

/// What becomes of an exchange.
#[derive(Debug)]
pub(crate) enum Step {
    /// It goes on. The flow is for the request.
    GoesOn(Flow),
    /// The response is complete.
    Done,
    /// There is no response: this one is to be sent.
    Failed(Status),
    /// The response cannot be completed.
    Cut,
    /// The protocol has changed.
    Tunnel(Tunnel),
}

impl Passing {
    /// Begins to pass a request on. Returns `None` if there are too many connections.
    pub(crate) fn begin(
        head: &RequestHead<'_>,
        route: usize,
        origin: Origin,
        stall: Option<Duration>,
        context: &mut Context<'_, App>,
    ) -> Option<Self> {
        let exchange = Exchange {
            client: context.me,
            upstream: None,
            route,
            request: head.to_owned(),
            origin,
            up: Pipe::default(),
            down: Pipe::default(),
            answer: None,
            is_answered: false,
            failure: None,
            is_repeated: false,
            is_half_closed: false,
        };
        let id = context.app.proxy.begin(exchange, context.now, context.effects)?;
        // While it waits for the other server, the client has nothing to say.
        context.effects.allow_silence(true);
        context.effects.set_timeout(STALL_KEY, stall);
        let begun = context.now;
        Some(Self { id, route, status: CLOSED, bytes: 0, sent: 0, stall, begun })
    }

    /// Passes a piece of the body on.
    pub(crate) fn body(&self, piece: &[u8], context: &mut Context<'_, App>) -> Flow {
        let high = context.limits.output_high;
        let Some(exchange) = context.app.proxy.exchange(self.id) else { return Flow::Continue };
        let has_room = exchange.up.put(piece, high);
        if let Some(upstream) = exchange.upstream {
            context.effects.wake(upstream);
        }
        if has_room { Flow::Continue } else { Flow::Pause }
    }

    /// Passes the end of the body on.
    pub(crate) fn end(&self, context: &mut Context<'_, App>) {
        let Some(exchange) = context.app.proxy.exchange(self.id) else { return };
        exchange.up.end();
        if let Some(upstream) = exchange.upstream {
            context.effects.wake(upstream);
        }
    }

    /// Sends what there is of the response.
    pub(crate) fn advance(
        &mut self,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Step {
        let high = context.limits.output_high;
        let Some(exchange) = context.app.proxy.exchange(self.id) else { return Step::Cut };
        if let Some(answer) = exchange.answer.take() {
            self.status = answer.status.code();
            if answer.status == Status::SWITCHING_PROTOCOLS {
                self.switch(&answer, response);
                return Step::Tunnel(Tunnel::new(self.id, self.route, Side::Client));
            }
            begin_answer(&answer, response);
        }
        if response.is_begun() && response.backlog() < high {
            let bytes = &mut self.bytes;
            let waits = exchange.down.take(|piece| {
                *bytes += piece.len() as u64;
                response.write(piece);
            });
            if let Some(upstream) = exchange.upstream.filter(|_| waits) {
                context.effects.wake(upstream);
            }
        }
        if response.is_begun() && exchange.down.is_done() {
            response.finish();
            return Step::Done;
        }
        match exchange.failure {
            Some(_) if response.is_begun() => Step::Cut,
            Some(status) => Step::Failed(status),
            None if exchange.up.is_full() => Step::GoesOn(Flow::Pause),
            None => Step::GoesOn(Flow::Continue),
        }
    }

    fn switch(&self, answer: &Answer, response: &mut Response<'_>) {
        let protocol = answer.upgrade.as_deref().unwrap_or_default();
        let mut head = response.switch_protocols(protocol);
        for (name, value) in &answer.fields {
            head = head.field(name, value);
        }
        head.empty();
    }

    /// Returns whether a timeout of this key shows that the client reads nothing. If not, sets the
    /// timeout again.
    pub(crate) fn is_stalled(
        &mut self,
        key: u8,
        response: &Response<'_>,
        context: &mut Context<'_, App>,
    ) -> bool {
        let backlog = response.backlog();
        let sent = self.bytes.saturating_sub(backlog);
        let is_stalled = key == STALL_KEY && backlog > 0 && sent == self.sent;
        self.sent = sent;
        if !is_stalled {
            context.effects.set_timeout(STALL_KEY, self.stall);
        }
        is_stalled
    }

    /// Returns whether the exchange is given up, since the client has ended its stream: it counts as
    /// gone, unless nothing more is to come from the other server.
    pub(crate) fn is_given_up(&self, context: &mut Context<'_, App>) -> bool {
        let proxy = &mut context.app.proxy;
        let waits = proxy.exchange(self.id).is_some_and(|it| !it.down.has_ended());
        waits && !proxy.allows_half_close
    }

    pub(crate) fn id(&self) -> ExchangeId {
        self.id
    }

    /// Ends the exchange. A connection to the other server that is not through with it is closed.
    pub(crate) fn finish(self, context: &mut Context<'_, App>) {
        context.app.proxy.end(self.id, context.effects);
        context.effects.allow_silence(false);
        context.effects.set_timeout(STALL_KEY, None);
    }
}

fn begin_answer(answer: &Answer, response: &mut Response<'_>) {
    let mut head = response.head(answer.status);
    for (name, value) in &answer.fields {
        head = head.field(name, value);
    }
    match (answer.body, answer.length) {
        (_, Some(length)) => head.length(length),
        (BodyLength::Known(0), None) => head.empty(),
        (BodyLength::Known(length), None) => head.length(length),
        (BodyLength::Chunked | BodyLength::UntilClose, None) => head.streamed(),
    }
}
