//! Clients of a server that sends back what it receives: as raw handlers and as sessions.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use protocol::link::Link;
use protocol::tls::TlsClient;
use protocol::{Buffer, Context, Flow, Limits, Output, Session};
use reactor::{
    Address, ConnectOptions, Connector, Cx, Handler, Interest, LoopCx, Reactor, Reason,
    Registration, Role, Stream, Timeout, Token,
};
use testkit::Random;

use super::exchange::Exchange;
use super::ground::client_loop;
use super::secure::NAME;

/// How often a client looks for conversations to begin.
const TENDING: Duration = Duration::from_millis(50);
/// The marks of a session's output: it goes on when a part of it has been sent.
const LIMITS: Limits = Limits { output_high: 16 * 1024, output_low: 4 * 1024, ..Limits::DEFAULT };

/// What the clients of one host do.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) address: Address,
    pub(super) backend: &'static str,
    /// What the server makes of a byte.
    pub(super) change: fn(u8) -> u8,
    /// Conversations at a time, and in a row.
    pub(super) slots: usize,
    pub(super) wanted: usize,
    /// Returns whether a stream that ends early, in order, is a mistake of the server.
    pub(super) is_strict: Rc<dyn Fn() -> bool>,
    /// What encrypts the conversations, which are then those of sessions.
    pub(super) tls: Option<TlsClient>,
}

/// The clients of one host.
pub(super) struct Talkers {
    plan: Plan,
    random: Random,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    done: usize,
    is_connected: bool,
}

impl Talkers {
    /// Builds the program.
    pub(super) fn start(plan: &Plan) -> io::Result<Reactor<Self>> {
        let random = Random::new(plan.seed);
        let slots = vec![Slot::default(); plan.slots];
        let app = Self { plan: plan.clone(), random, slots };
        let mut reactor = client_loop(plan.backend, app)?;
        reactor.cx().every(TENDING, |_, cx| tend(cx))?;
        Ok(reactor)
    }

    /// Returns whether all conversations were had.
    pub(super) fn is_done(&self) -> bool {
        self.slots.iter().all(|slot| slot.done >= self.plan.wanted && !slot.is_connected)
    }

    fn left(&mut self, number: usize, is_done: bool) {
        let slot = &mut self.slots[number];
        slot.is_connected = false;
        slot.done += usize::from(is_done);
    }

    fn ended(&self, exchange: &Exchange, now: std::time::Instant) {
        if (self.plan.is_strict)() {
            exchange.demand_whole(now);
        }
    }
}

/// Begins the conversations that are due.
fn tend(cx: &mut LoopCx<'_, Talkers>) {
    for number in 0..cx.app.slots.len() {
        let wanted = cx.app.plan.wanted;
        let slot = &cx.app.slots[number];
        if slot.is_connected || slot.done >= wanted {
            continue;
        }
        let now = cx.now();
        let app = &mut *cx.app;
        let is_raw = app.random.one_in(2);
        let exchange = Exchange::new(&mut app.random, now, app.plan.change);
        let address = app.plan.address.clone();
        // A dial that fails at once is tried again.
        let options = ConnectOptions::DEFAULT;
        let dialled = if let Some(tls) = app.plan.tls.clone() {
            dial_over(&tls, Chat::new(number, exchange), &address, cx)
        } else if is_raw || exchange.laziness().is_some() {
            let registration = Registration::new(Interest::BOTH).role(Role::Connection);
            let raw = Raw::new(number, exchange);
            Connector::new(&address, &options).register(registration, raw, cx)
        } else {
            Stream::new(Chat::new(number, exchange), LIMITS).connect(&address, &options, cx)
        };
        cx.app.slots[number].is_connected = dialled.is_ok();
    }
}

/// Dials for a conversation over TLS.
fn dial_over(
    tls: &TlsClient,
    chat: Chat,
    address: &Address,
    cx: &mut LoopCx<'_, Talkers>,
) -> io::Result<Token> {
    let link = Link::with_layer(chat, tls.layer(NAME)?, LIMITS.into());
    Stream::over(link).connect(address, &ConnectOptions::DEFAULT, cx)
}

/// A conversation of a raw handler.
struct Raw {
    number: usize,
    exchange: Exchange,
    unsent: Vec<u8>,
    is_connected: bool,
    is_lazy: bool,
    is_shut: bool,
    is_over: bool,
}

impl Raw {
    fn new(number: usize, exchange: Exchange) -> Self {
        let is_lazy = exchange.laziness().is_some();
        let (is_connected, is_shut, is_over) = (false, false, false);
        Self { number, exchange, unsent: Vec::new(), is_connected, is_lazy, is_shut, is_over }
    }

    /// Sends as much as it can. Ends the sending side when everything was sent.
    fn send(&mut self, cx: &mut Cx<'_, Talkers>) -> io::Result<()> {
        loop {
            if self.unsent.is_empty() {
                self.unsent = self.exchange.next(cx.now());
            }
            if self.unsent.is_empty() {
                break;
            }
            let Some(count) = cx.write(&[IoSlice::new(&self.unsent)])? else { return Ok(()) };
            self.unsent.drain(..count);
        }
        if self.exchange.is_sent() && !self.is_shut {
            self.is_shut = true;
            cx.shutdown_write()?;
        }
        Ok(())
    }
}

impl Handler<Talkers> for Raw {
    fn ready(&mut self, cx: &mut Cx<'_, Talkers>) -> io::Result<()> {
        if !self.is_connected {
            self.is_connected = true;
            cx.set_timeout(self.exchange.laziness());
        }
        loop {
            self.send(cx)?;
            let reading = if self.is_lazy { Interest::NONE } else { Interest::READ };
            let is_blocked = !self.unsent.is_empty();
            cx.set_interest(if is_blocked { reading | Interest::WRITE } else { reading });
            if self.is_lazy {
                return Ok(());
            }
            let mut bytes = [0; 8192];
            let Some(count) = cx.read(&mut bytes)? else { return Ok(()) };
            if count == 0 {
                self.is_over = self.exchange.is_done();
                cx.app.ended(&self.exchange, cx.now());
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
            self.exchange.verify(&bytes[..count], cx.now());
        }
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, Talkers>) -> io::Result<()> {
        if timeout == Timeout::Idle {
            cx.end(Reason::TimedOut(timeout));
            return Ok(());
        }
        self.is_lazy = false;
        self.exchange.demand_bound(self.unsent.len() as u64);
        self.ready(cx)
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, Talkers>) {
        cx.app.left(self.number, self.is_over);
    }
}

/// A conversation of a session.
struct Chat {
    number: usize,
    exchange: Exchange,
    is_over: bool,
    is_ended: bool,
}

impl Chat {
    fn new(number: usize, exchange: Exchange) -> Self {
        Self { number, exchange, is_over: false, is_ended: false }
    }
}

impl Session<Talkers> for Chat {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Talkers>,
    ) -> Result<Flow, protocol::Reason> {
        self.exchange.verify(input.filled(), context.now);
        input.clear();
        if context.input_ended {
            self.is_over = self.exchange.is_done();
            context.app.ended(&self.exchange, context.now);
            return Ok(Flow::Close);
        }
        while output.len() < LIMITS.output_high {
            let bytes = self.exchange.next(context.now);
            if bytes.is_empty() {
                break;
            }
            output.append(&bytes);
        }
        if self.exchange.is_sent() && !self.is_ended {
            self.is_ended = true;
            context.effects.end_output();
        }
        Ok(Flow::Continue)
    }

    fn closed(&mut self, _reason: &protocol::Reason, context: &mut Context<'_, Talkers>) {
        context.app.left(self.number, self.is_over);
    }
}
