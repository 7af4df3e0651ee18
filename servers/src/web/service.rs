//! The service of one connection: finds out what a request is for.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use protocol::http::{Fields, Refusal, RequestHead, Response, Service, Status, Target, Version};
use protocol::websocket::{self, Connection};
use protocol::{Context, Flow, Reason};
use reactor::time_of_day;

use super::access_log::Record;
use super::app::App;
use super::echo::Echo;
use super::files::{Sent, options, sent};
use super::next::Next;
use super::path::RequestPath;
use super::proxy::client::{Passing, Step};
use super::proxy::{Origin, ends_here};

/// The service of one connection.
pub struct WebService {
    /// The address of the client; `None` for Unix sockets.
    peer: Option<SocketAddr>,
    /// How long a client may read nothing of a response that is passed on.
    stall: Option<Duration>,
    /// The request that is passed on to another server.
    passing: Option<Box<Passing>>,
    /// The session that follows.
    next: Option<Box<Next>>,
}

/// What became of the head of a request.
enum Begun {
    Sent(Sent),
    /// It is passed on, and answered later.
    Passed,
    /// The protocol has changed.
    Changed(Sent),
}

impl WebService {
    /// Returns the service of a connection from this address. A client that reads nothing of a
    /// response for as long as `stall` is closed.
    pub fn new(peer: Option<SocketAddr>, stall: Option<Duration>) -> Self {
        Self { peer, stall, passing: None, next: None }
    }

    /// Returns the session that follows, once a response has changed the protocol.
    pub(crate) fn into_next(self) -> Next {
        self.next.map_or(Next::Nothing, |next| *next)
    }

    fn begin(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Begun {
        let mut files = context.app.files(context.now);
        if let Target::Asterisk = head.target() {
            return Begun::Sent(options(response));
        }
        let path = match RequestPath::parse(head.path()) {
            Ok(path) => path,
            Err(_) => return Begun::Sent(files.error(Status::BAD_REQUEST, &[], response)),
        };
        if files.config.is_health(&path) {
            response.text(Status::OK, "ok\n");
            return Begun::Sent(sent(Status::OK, 3, response));
        }
        if files.config.is_echo(&path) {
            return self.echo(head, response, context);
        }
        match context.app.proxy.route_of(&path) {
            // It is answered as if it was for a file: with OPTIONS that says what is possible.
            Some(_) if ends_here(head) => {
                Begun::Sent(context.app.files(context.now).answer(head, &path, response))
            }
            Some(route) => self.pass_on(head, route, response, context),
            None => Begun::Sent(context.app.files(context.now).answer(head, &path, response)),
        }
    }

    /// Changes to a WebSocket.
    fn echo(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Begun {
        match websocket::accept(head, &context.app.websocket) {
            Ok(accepted) => {
                accepted.respond(response);
                let connection = Connection::server(Echo, accepted.into_agreement());
                self.next = Some(Box::new(Next::Echo(Box::new(connection))));
                Begun::Changed(Sent { status: Status::SWITCHING_PROTOCOLS, bytes: 0 })
            }
            Err(error) => {
                let status = Status::new(error.status()).unwrap_or(Status::BAD_REQUEST);
                // The body is its text as a line.
                let length = error.to_string().len() as u64 + 1;
                error.respond(response);
                Begun::Sent(sent(status, length, response))
            }
        }
    }

    fn pass_on(
        &mut self,
        head: &RequestHead<'_>,
        route: usize,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Begun {
        let peer = self.peer.map(|peer| peer.ip().to_canonical());
        let origin = Origin { peer, is_encrypted: context.secured.is_some() };
        match Passing::begin(head, route, origin, self.stall, context) {
            Some(passing) => {
                self.passing = Some(Box::new(passing));
                Begun::Passed
            }
            None => {
                let mut files = context.app.files(context.now);
                Begun::Sent(files.error(Status::SERVICE_UNAVAILABLE, &[], response))
            }
        }
    }

    /// Sends what there is of a response that is passed on.
    fn advance(&mut self, response: &mut Response<'_>, context: &mut Context<'_, App>) -> Flow {
        let Some(passing) = &mut self.passing else { return Flow::Continue };
        match passing.advance(response, context) {
            Step::GoesOn(flow) => flow,
            Step::Done => {
                self.finish(context);
                Flow::Continue
            }
            Step::Failed(status) => {
                let sent = context.app.files(context.now).error(status, &[], response);
                (passing.status, passing.bytes) = (status.code(), sent.bytes);
                self.finish(context);
                Flow::Continue
            }
            Step::Cut => Flow::Close,
            Step::Tunnel(tunnel) => {
                self.note_passing(context);
                self.passing = None;
                self.next = Some(Box::new(Next::Tunnel(tunnel)));
                Flow::Upgrade
            }
        }
    }

    /// Ends what is passed on.
    fn finish(&mut self, context: &mut Context<'_, App>) {
        self.note_passing(context);
        if let Some(passing) = self.passing.take() {
            passing.finish(context);
        }
    }

    /// Adds a line to the access log for what is passed on.
    fn note_passing(&self, context: &mut Context<'_, App>) {
        let App { proxy, journal: Some(journal), .. } = &mut *context.app else { return };
        let Some(passing) = &self.passing else { return };
        let Some(exchange) = proxy.exchange(passing.id()) else { return };
        let head = exchange.request.view();
        let record = Record { status: passing.status, bytes: passing.bytes, ..record(&head) };
        journal.add(&self.completed(&record, passing.begun, context.now), time_of_day());
    }

    /// Adds a line to the access log, if there is one.
    fn note(&self, record: &Record<'_>, sent: Sent, context: &mut Context<'_, App>) {
        let Some(journal) = &mut context.app.journal else { return };
        let record = Record { status: sent.status.code(), bytes: sent.bytes, ..record.clone() };
        journal.add(&self.completed(&record, context.now, context.now), time_of_day());
    }

    /// Returns a record with the address of the client, and the time that the request took.
    fn completed<'a>(&self, record: &Record<'a>, begun: Instant, now: Instant) -> Record<'a> {
        let mut peer = String::new();
        if let Some(address) = self.peer {
            // Writing to a string cannot fail.
            let _ = write!(peer, "{}", address.ip().to_canonical());
        }
        Record { peer, took: now.saturating_duration_since(begun), ..record.clone() }
    }
}

/// Returns what the access log says of a request.
fn record<'a>(head: &RequestHead<'a>) -> Record<'a> {
    let fields: Fields<'a> = head.fields();
    Record {
        method: head.method(),
        target: head.target_text(),
        version: match head.version() {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        },
        host: head.host(),
        referer: fields.get("referer").unwrap_or_default(),
        agent: fields.get("user-agent").unwrap_or_default(),
        ..Record::default()
    }
}

impl Service<App> for WebService {
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let (sent, flow) = match self.begin(head, response, context) {
            Begun::Sent(sent) => (sent, Flow::Continue),
            Begun::Changed(sent) => (sent, Flow::Upgrade),
            Begun::Passed => return Flow::Continue,
        };
        if context.app.journal.is_some() {
            self.note(&record(head), sent, context);
        }
        flow
    }

    fn body(
        &mut self,
        piece: &mut [u8],
        _: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        self.passing.as_ref().map_or(Flow::Continue, |passing| passing.body(piece, context))
    }

    fn end(
        &mut self,
        _: Fields<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let Some(passing) = &self.passing else { return Flow::Continue };
        passing.end(context);
        if context.input_ended { self.hung_up(response, context) } else { Flow::Continue }
    }

    fn drained(&mut self, response: &mut Response<'_>, context: &mut Context<'_, App>) -> Flow {
        self.advance(response, context)
    }

    fn resume(&mut self, response: &mut Response<'_>, context: &mut Context<'_, App>) -> Flow {
        self.advance(response, context)
    }

    fn timeout(
        &mut self,
        key: u8,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let Some(passing) = &mut self.passing else { return Flow::Continue };
        if passing.is_stalled(key, response, context) {
            // It reads nothing, so there is no point in sending it what is left.
            context.effects.close(context.me);
            return Flow::Pause;
        }
        self.advance(response, context)
    }

    fn hung_up(&mut self, _: &mut Response<'_>, context: &mut Context<'_, App>) -> Flow {
        let is_given_up = self.passing.as_ref().is_some_and(|it| it.is_given_up(context));
        if !is_given_up {
            return Flow::Continue;
        }
        self.finish(context);
        Flow::Close
    }

    fn refused(
        &mut self,
        refusal: Refusal,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) {
        let sent = context.app.files(context.now).error(refusal.status(), &[], response);
        match &mut self.passing {
            Some(passing) => {
                (passing.status, passing.bytes) = (sent.status.code(), sent.bytes);
                self.finish(context);
            }
            None => self.note(&Record::default(), sent, context),
        }
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, App>) {
        self.finish(context);
    }
}
