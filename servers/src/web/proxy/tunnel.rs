//! Bytes between a client and another server after a change of protocol, such as WebSocket.

use protocol::{Buffer, Cause, Context, Flow, Output, Reason, Session};

use super::ExchangeId;
use crate::web::App;

/// Which of the two connections a session is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Upstream,
}

/// The session of one of two connections that relay their bytes.
#[derive(Debug)]
pub struct Tunnel {
    exchange: ExchangeId,
    route: usize,
    side: Side,
}

impl Tunnel {
    pub(crate) fn new(exchange: ExchangeId, route: usize, side: Side) -> Self {
        Self { exchange, route, side }
    }
}

impl Session<App> for Tunnel {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        let Some(exchange) = context.app.proxy.exchange(self.exchange) else {
            return Ok(Flow::Close);
        };
        let (from, to, other) = match self.side {
            Side::Client => (&mut exchange.up, &mut exchange.down, exchange.upstream),
            Side::Upstream => (&mut exchange.down, &mut exchange.up, Some(exchange.client)),
        };
        let high = context.limits.output_high;
        let mut wakes = output.len() < high && to.take(|bytes| output.append(bytes));
        if to.is_done() {
            context.effects.end_output();
        } else if context.cause == Cause::Opened {
            // If the other connection breaks off, this one must not end in order.
            context.effects.set_incomplete(true);
        }
        if !from.is_full() && !input.is_empty() {
            from.put(input.filled(), high);
            input.clear();
            wakes = true;
        }
        if context.input_ended && input.is_empty() && !from.has_ended() {
            from.end();
            wakes = true;
        }
        let is_over = to.is_done() && (from.has_ended() || exchange.is_half_closed);
        let pauses = from.is_full();
        if let Some(other) = other.filter(|_| wakes) {
            context.effects.wake(other);
        }
        Ok(match (is_over, pauses) {
            (true, _) => Flow::Close,
            (false, true) => Flow::Pause,
            (false, false) => Flow::Continue,
        })
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        let proxy = &mut context.app.proxy;
        if self.side == Side::Upstream {
            proxy.count_closed(self.route);
            proxy.forget(self.route, context.me);
        }
        let Some(exchange) = proxy.exchange(self.exchange) else { return };
        let (from, other) = match self.side {
            Side::Client => (&mut exchange.up, exchange.upstream),
            Side::Upstream => (&mut exchange.down, Some(exchange.client)),
        };
        let goes_on = reason.is_orderly() && !exchange.is_half_closed;
        from.end();
        exchange.is_half_closed = true;
        if !goes_on {
            proxy.remove(self.exchange);
        }
        match other {
            Some(other) if reason.is_orderly() => context.effects.wake(other),
            Some(other) => context.effects.close(other),
            None => {}
        }
    }
}
