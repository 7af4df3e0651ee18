//! A service with responses of all kinds.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::http::{self, Fields, RequestHead, Response, Status};
use protocol::{Context, Flow, Limits};
use reactor::{LoopLimits, Reactor};
use servers::{Application, NoArgs, Server, ServerArgs};

use super::book::{Kind, Shared};
use super::content::Content;

const SERVER: Server =
    Server { name: "pages", about: "Serves pages", address: "127.0.0.1:7", datagram_port: None };
/// The marks of the output of a connection: a large body takes several portions.
const LIMITS: Limits = Limits { output_high: 16 * 1024, output_low: 4 * 1024, ..Limits::DEFAULT };
/// How much of a body is written at once.
const PORTION: u64 = 4096;
/// The key of the timeout after which a late response begins.
const LATE: u8 = 1;
/// The key of the timeout that ends a pause.
const PAUSE: u8 = 2;
/// How long a pause is.
const PAUSING: Duration = Duration::from_millis(20);

/// The state of the server.
pub(in super::super) struct App {
    book: Shared,
}

/// Builds the server, with everything that `main` of a server has.
pub(in super::super) fn build(
    address: &str,
    backend: &str,
    book: &Shared,
) -> io::Result<Reactor<App>> {
    let words = ["--listen", address, "--backend", backend];
    let options = http::Options::default().shared()?;
    let state = App { book: Rc::clone(book) };
    let application = move |_: &ServerArgs, _: &NoArgs| {
        let session = move |_| http::Server::new(Pages::default(), Arc::clone(&options));
        Ok(Application {
            state,
            limits: LIMITS,
            loop_limits: LoopLimits::DEFAULT,
            session: Rc::new(session),
            datagrams: None,
            descriptors: 0,
            own_connections: 0,
            shared: None,
            legacy: None,
            start: |_| Ok(()),
            reload: None,
        })
    };
    servers::prepare(SERVER, &words, application)
}

/// The service of one connection.
#[derive(Default)]
struct Pages {
    work: Option<Work>,
    /// Pieces of bodies that it has taken.
    pieces: u64,
}

/// A request, until its response is complete.
#[derive(Clone, Copy)]
struct Work {
    number: u64,
    kind: Kind,
    /// How many bytes of the body of the request have come.
    received: u64,
    /// How many bytes of the body of the response were written.
    sent: u64,
    is_begun: bool,
}

impl Work {
    fn response(&self) -> Content {
        Content::of_response(self.number)
    }

    /// Begins the response.
    fn begin(&mut self, response: &mut Response<'_>) {
        self.is_begun = true;
        if self.kind == Kind::Close {
            response.close_after();
        }
        let status = Status::new(self.kind.status()).unwrap_or(Status::OK);
        let head = response.head(status).number("X-Number", self.number);
        match self.kind {
            Kind::Chunked | Kind::Echo => head.streamed(),
            _ => head.length(self.response().size),
        }
    }

    /// Writes more of the response, as there is room.
    fn go_on(&mut self, response: &mut Response<'_>, limits: &Limits) {
        if !self.is_begun || self.kind == Kind::Echo {
            return;
        }
        let content = self.response();
        while self.sent < content.size && response.backlog() < limits.output_high {
            let is_chunked = self.kind == Kind::Chunked;
            let count = if is_chunked { content.portion(self.sent) } else { PORTION };
            let bytes = content.bytes(self.sent, count);
            response.write(&bytes);
            self.sent += bytes.len() as u64;
        }
        if self.sent == content.size && self.kind == Kind::Chunked {
            response.finish_with(&[("X-End", self.number.to_string().as_bytes())]);
        }
    }
}

/// Returns the kind and the number of a path, which may have more before it.
fn parse(path: &str) -> Option<(Kind, u64)> {
    let (rest, number) = path.rsplit_once('/')?;
    let (_, name) = rest.rsplit_once('/')?;
    Some((Kind::named(name)?, number.parse().ok()?))
}

impl http::Service<App> for Pages {
    fn request(
        &mut self,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let Some((kind, number)) = parse(head.path()) else {
            response.error(Status::NOT_FOUND);
            return Flow::Continue;
        };
        let mut work = Work { number, kind, received: 0, sent: 0, is_begun: false };
        match kind {
            Kind::Take => {}
            Kind::Late => {
                let after = Duration::from_millis(number * 37 % 400);
                context.effects.set_timeout(LATE, Some(after));
            }
            _ => {
                work.begin(response);
                work.go_on(response, context.limits);
            }
        }
        self.work = Some(work);
        Flow::Continue
    }

    fn body(
        &mut self,
        piece: &mut [u8],
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let Some(work) = self.work.as_mut().filter(|it| it.kind != Kind::Refuse) else {
            return Flow::Continue;
        };
        let name = format_args!("the body of request {}", work.number);
        Content::of_request(work.number).check(work.received, piece, &name);
        work.received += piece.len() as u64;
        if work.kind == Kind::Echo {
            response.write(piece);
            return Flow::Continue;
        }
        // Now and then it has no use for more at once.
        self.pieces += 1;
        if self.pieces.is_multiple_of(5) {
            context.effects.set_timeout(PAUSE, Some(PAUSING));
            return Flow::Pause;
        }
        Flow::Continue
    }

    fn end(
        &mut self,
        _: Fields<'_>,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        let Some(work) = &mut self.work else { return Flow::Continue };
        if matches!(work.kind, Kind::Take | Kind::Echo) {
            let size = Content::of_request(work.number).size;
            assert_eq!(work.received, size, "the body of request {} is short", work.number);
            context.app.book.borrow_mut().carry_out(work.number);
        }
        match work.kind {
            Kind::Echo => response.finish(),
            Kind::Take => {
                work.begin(response);
                work.go_on(response, context.limits);
            }
            _ => {}
        }
        Flow::Continue
    }

    fn drained(&mut self, response: &mut Response<'_>, context: &mut Context<'_, App>) -> Flow {
        if let Some(work) = &mut self.work {
            work.go_on(response, context.limits);
        }
        Flow::Continue
    }

    fn timeout(
        &mut self,
        key: u8,
        response: &mut Response<'_>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        if let Some(work) = self.work.as_mut().filter(|_| key == LATE) {
            work.begin(response);
            work.go_on(response, context.limits);
        }
        Flow::Continue
    }
}
