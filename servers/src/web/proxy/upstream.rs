//! The other server's side of an exchange: the requester of a connection to it.

use std::io::ErrorKind;

use log::warn;
use protocol::http::{
    BodyLength, Fields, Refusal, Request, RequestHead, Requester, ResponseHead, Status,
};
use protocol::{Context, Flow, Reason};
use reactor::{Address, Location};

use super::Proxy;
use super::exchange::{Answer, ExchangeId, Pipe};
use super::fields::{self, Origin};
use super::tunnel::{Side, Tunnel};
use crate::web::App;

/// The requester of a connection to another server. It has one exchange after another.
#[derive(Debug)]
pub(crate) struct Upstream {
    route: usize,
    exchange: Option<ExchangeId>,
    /// It has had an exchange before.
    is_kept: bool,
    is_open: bool,
}

impl Upstream {
    /// Returns the requester of a new connection, for this exchange.
    pub(crate) fn new(route: usize, exchange: ExchangeId) -> Self {
        Self { route, exchange: Some(exchange), is_kept: false, is_open: false }
    }

    /// Returns the session that relays bytes.
    pub(crate) fn into_tunnel(self) -> Tunnel {
        Tunnel::new(self.exchange.unwrap_or(ExchangeId::MAX), self.route, Side::Upstream)
    }

    /// Sends what there is of the body.
    fn send_body(&self, request: &mut Request<'_>, context: &mut Context<'_, App>) {
        let high = context.limits.output_high;
        let Some(exchange) = self.exchange.and_then(|id| context.app.proxy.exchange(id)) else {
            return;
        };
        if request.backlog() >= high {
            return;
        }
        if exchange.up.take(|bytes| request.write(bytes)) {
            context.effects.wake(exchange.client);
        }
        if exchange.up.is_done() {
            request.finish();
        }
    }

    /// Ends the exchange, if there is one: sends its request again, or tells the client that it failed.
    fn give_up(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        let assigned = context.app.proxy.forget(self.route, context.me);
        let Some(id) = self.exchange.take().or(assigned) else { return };
        let is_kept = self.is_kept;
        let Some(exchange) = context.app.proxy.exchange(id) else { return };
        // A request that was assigned and not begun was not sent at all.
        let may_repeat = has_not_answered(reason) && exchange.may_repeat();
        if is_kept && (assigned.is_some() || may_repeat) {
            exchange.is_repeated = true;
            exchange.upstream = None;
            return context.app.proxy.order(id, self.route, context.effects);
        }
        let status = status_of(reason);
        if !matches!(reason, Reason::Stopped) {
            let target = &context.app.proxy.routes[self.route].target;
            warn!("{target} has not answered: {reason}");
        }
        context.app.proxy.fail(id, status, context.effects);
    }
}

impl Requester<App> for Upstream {
    fn ready(&mut self, request: &mut Request<'_>, context: &mut Context<'_, App>) -> Flow {
        if !self.is_open {
            self.is_open = true;
            // Its limit of silence is that of the exchange, or of the pool.
            context.effects.allow_silence(true);
        }
        if self.exchange.is_none() {
            self.exchange = context.app.proxy.take_assigned(context.me);
        }
        let Proxy { routes, exchanges, .. } = &mut context.app.proxy;
        let Some(exchange) = self.exchange.and_then(|id| exchanges.get(&id)) else {
            return Flow::Continue;
        };
        let route = &routes[self.route].target;
        write_head(&exchange.request.view(), exchange.origin, route, request);
        self.send_body(request, context);
        Flow::Continue
    }

    fn informational(
        &mut self,
        _: &ResponseHead<'_>,
        _: &mut Request<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        if let Some(exchange) = self.exchange.and_then(|id| context.app.proxy.exchange(id)) {
            exchange.is_answered = true;
        }
        Flow::Continue
    }

    fn response(
        &mut self,
        head: &ResponseHead<'_>,
        _: &mut Request<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let Some(exchange) = self.exchange.and_then(|id| context.app.proxy.exchange(id)) else {
            return Flow::Close;
        };
        let switches = head.status() == Status::SWITCHING_PROTOCOLS;
        if switches {
            if fields::upgrade(&exchange.request.view()).is_none() {
                self.refused(&Reason::refused(Refusal::Unsolicited), context);
                return Flow::Close;
            }
            // The request has ended, and what comes from the client now is of the new protocol.
            exchange.up = Pipe::default();
        }
        let mut answer = Answer::of(head, exchange.request.view().method());
        fields::of_response(head.fields(), |name, value| {
            answer.fields.push((name.into(), value.into()));
        });
        exchange.answer = Some(answer);
        exchange.is_answered = true;
        context.effects.wake(exchange.client);
        if switches { Flow::Upgrade } else { Flow::Continue }
    }

    fn body(
        &mut self,
        piece: &mut [u8],
        _: &mut Request<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let high = context.limits.output_high;
        let Some(exchange) = self.exchange.and_then(|id| context.app.proxy.exchange(id)) else {
            return Flow::Close;
        };
        let has_room = exchange.down.put(piece, high);
        context.effects.wake(exchange.client);
        if has_room { Flow::Continue } else { Flow::Pause }
    }

    fn end(
        &mut self,
        _: Fields<'_>,
        is_kept: bool,
        _: &mut Request<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let id = self.exchange.take();
        if let Some(exchange) = id.and_then(|id| context.app.proxy.exchange(id)) {
            exchange.down.end();
            exchange.upstream = None;
            context.effects.wake(exchange.client);
        }
        if !is_kept {
            return Flow::Close;
        }
        self.is_kept = true;
        context.app.proxy.keep(self.route, context.me, context.now, context.effects);
        Flow::Continue
    }

    fn drained(&mut self, request: &mut Request<'_>, context: &mut Context<'_, App>) -> Flow {
        self.send_body(request, context);
        Flow::Continue
    }

    fn resume(&mut self, request: &mut Request<'_>, context: &mut Context<'_, App>) -> Flow {
        self.send_body(request, context);
        let Some(exchange) = self.exchange.and_then(|id| context.app.proxy.exchange(id)) else {
            return Flow::Continue;
        };
        if exchange.down.is_full() {
            return Flow::Pause;
        }
        Flow::Continue
    }

    fn refused(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        self.give_up(reason, context);
        // The client is not to wait until the other server ends the connection too.
        context.effects.close(context.me);
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, App>) {
        context.app.proxy.count_closed(self.route);
        self.give_up(reason, context);
    }
}

/// Returns whether the other server ended the connection before it sent a part of a response.
fn has_not_answered(reason: &Reason) -> bool {
    match reason {
        Reason::Refused(error) => {
            matches!(error.downcast_ref::<Refusal>(), Some(Refusal::NoResponse))
        }
        _ => reason.is_disconnect(),
    }
}

/// Returns the status for a client whose request was not answered for this reason.
fn status_of(reason: &Reason) -> Status {
    match reason {
        Reason::Refused(error) => match error.downcast_ref::<Refusal>() {
            Some(refusal) if refusal.status().code() == 504 => Status::GATEWAY_TIMEOUT,
            _ => Status::BAD_GATEWAY,
        },
        Reason::Deadline | Reason::Idle => Status::GATEWAY_TIMEOUT,
        Reason::Failed { error, .. } if error.kind() == ErrorKind::TimedOut => {
            Status::GATEWAY_TIMEOUT
        }
        _ => Status::BAD_GATEWAY,
    }
}

/// Writes the head of the request to the other server.
fn write_head(head: &RequestHead<'_>, origin: Origin, route: &Location, request: &mut Request<'_>) {
    // A request of HTTP/1.0 may have no host.
    let host = match (head.host(), route) {
        ("", Location::Address(Address::Tcp(address))) => address.to_string(),
        ("", Location::Host { name, .. }) => name.clone(),
        ("", _) => "localhost".to_owned(),
        (host, _) => host.to_owned(),
    };
    let target = target(head.path(), head.query());
    let mut builder = Some(request.head(head.method(), &target, &host));
    fields::of_request(head, origin, |name, value| {
        builder = builder.take().map(|builder| builder.field(name, value));
    });
    let Some(mut builder) = builder else { return };
    if let Some(protocol) = fields::upgrade(head) {
        builder = builder.upgrade(protocol);
    }
    match head.body() {
        BodyLength::Known(0) | BodyLength::UntilClose => builder.empty(),
        BodyLength::Known(length) => builder.length(length),
        BodyLength::Chunked => builder.streamed(),
    }
}

/// Returns the target as the other server gets it (RFC 9112, section 3.2.1).
fn target(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}
