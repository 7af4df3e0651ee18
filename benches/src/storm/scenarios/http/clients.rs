//! Programs with a client of HTTP, which verify every response.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use clients::http::{
    Body, Client, Error, ErrorKind, ExchangeId, Filled, Options, Receiver, Request, Summary, Upload,
};
use protocol::http::ResponseHead;
use protocol::{Context, Flow};
use reactor::{ConnectOptions, LoopCx, Reactor};
use testkit::Random;

use super::super::ground::client_loop;
use super::book::{Kind, Shared, Told};
use super::content::Content;

/// How often a program begins requests.
const TENDING: Duration = Duration::from_millis(40);
/// How long a request may take altogether.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file that a server has.
#[derive(Clone, Debug)]
pub(in super::super) struct File {
    pub(in super::super) url: String,
    pub(in super::super) content: Content,
}

/// What a program does.
#[derive(Clone)]
pub(in super::super) struct Plan {
    pub(in super::super) seed: u64,
    pub(in super::super) backend: &'static str,
    /// The URL that the paths come after.
    pub(in super::super) base: String,
    /// What it asks for.
    pub(in super::super) kinds: &'static [Kind],
    pub(in super::super) files: Rc<[File]>,
    /// How many requests it makes.
    pub(in super::super) wanted: u64,
    pub(in super::super) book: Shared,
}

/// A program with a client of HTTP.
pub(in super::super) struct Requesters {
    plan: Plan,
    random: Random,
    client: Option<Client<Self>>,
    pub(in super::super) life: u64,
    begun: u64,
    /// The requests that are not complete.
    open: Vec<(u64, ExchangeId)>,
    /// How many sources there are without a client.
    pub(in super::super) baseline: u64,
}

impl Requesters {
    /// Builds the program.
    pub(in super::super) fn start(plan: &Plan) -> io::Result<Reactor<Self>> {
        let mut random = Random::new(plan.seed);
        let options = options(&mut random);
        let life = plan.book.borrow_mut().begin_life();
        let (plan, backend) = (plan.clone(), plan.backend);
        let app = Self { plan, random, client: None, life, begun: 0, open: vec![], baseline: 0 };
        let mut reactor = client_loop(backend, app)?;
        reactor.cx().every(TENDING, |_, cx| tend(cx))?;
        reactor.app.baseline = reactor.counters().live();
        reactor.app.client = Some(Client::open(options, &mut reactor.cx())?);
        Ok(reactor)
    }

    /// Returns whether it has made all requests, and all are complete.
    pub(in super::super) fn is_done(&self) -> bool {
        self.begun >= self.plan.wanted && self.open.is_empty()
    }

    /// Releases the client, which ends when it has nothing to do.
    pub(in super::super) fn let_go(&mut self) {
        self.client = None;
    }
}

/// Returns options that the seed decides.
fn options(random: &mut Random) -> Options {
    let mut millis = |least: u64, most: u64| Duration::from_millis(least + random.below(most));
    Options {
        connect: ConnectOptions { timeout: millis(500, 3000), ..ConnectOptions::DEFAULT },
        idle_timeout: millis(50, 5000),
        answer_timeout: millis(1000, 4000),
        stall_timeout: millis(1000, 4000),
        pause_first: millis(10, 500),
        pause_max: Duration::from_secs(2),
        timeout: Some(PATIENCE),
        connections_per_origin_max: 1 + random.index(4),
        attempts_max: 1 + random.index(4) as u32,
        decodes: false,
        seed: Some(random.number()),
        ..Options::default()
    }
}

/// Begins requests, goes on with those that pause, and cancels some.
fn tend(cx: &mut LoopCx<'_, Requesters>) {
    let app = &mut *cx.app;
    if let Some(client) = &app.client {
        for (_, exchange) in &app.open {
            client.resume(*exchange);
        }
        let may_cancel = app.begun < app.plan.wanted && app.random.one_in(40);
        if let Some((_, exchange)) = app.open.first().filter(|_| may_cancel) {
            client.cancel(*exchange);
        }
    }
    let left = app.plan.wanted.saturating_sub(app.begun);
    let count = app.random.below(3).min(left);
    for _ in 0..count {
        let app = &mut *cx.app;
        app.begun += 1;
        let kind = app.plan.kinds[app.random.index(app.plan.kinds.len())];
        request(kind, false, cx);
    }
}

/// Begins a request. If it `is_wanted`, it has to be answered.
/// Returns its number, unless the client is gone.
pub(in super::super) fn request(
    kind: Kind,
    is_wanted: bool,
    cx: &mut LoopCx<'_, Requesters>,
) -> Option<u64> {
    let app = &mut *cx.app;
    let client = app.client.as_ref()?;
    let number = app.plan.book.borrow_mut().begin(kind, app.life, is_wanted);
    let (request, page) = match kind {
        Kind::File => of_file(&app.plan, number, &mut app.random),
        _ => of_page(&app.plan, kind, number, &mut app.random),
    };
    match client.send(request, page) {
        Ok(exchange) => app.open.push((number, exchange)),
        Err(error) => panic!("request {number} is not accepted: {error}"),
    }
    Some(number)
}

/// Returns a request for a page, and what expects the response.
fn of_page(plan: &Plan, kind: Kind, number: u64, random: &mut Random) -> (Request, Page) {
    let url = format!("{}/{}/{number}", plan.base, kind.name());
    let mut request = Request::new(kind.method(), &url).expect("it is a URL");
    if kind.has_body() {
        request.body = body(number, random);
        if random.one_in(if kind == Kind::Refuse { 2 } else { 4 }) {
            request = request.field("Expect", "100-continue");
        }
    }
    let content = match kind {
        Kind::Echo => Content::of_request(number),
        _ => Content::of_response(number),
    };
    let range = (0, content.size);
    let random = Random::new(random.number());
    (request, Page { number, kind, content, range, status: kind.status(), got: None, random })
}

/// Returns a request for a file or a part of one, and what expects the response.
fn of_file(plan: &Plan, number: u64, random: &mut Random) -> (Request, Page) {
    let File { url, content } = &plan.files[random.index(plan.files.len())];
    let mut request = Request::get(url).expect("it is a URL");
    let (mut range, mut status) = ((0, content.size), 200);
    if content.size > 0 && random.one_in(2) {
        let from = random.below(content.size);
        let to = from + 1 + random.below(content.size - from);
        request = request.field("Range", format!("bytes={from}-{}", to - 1));
        (range, status) = ((from, to), 206);
    }
    let random = Random::new(random.number());
    let (kind, content) = (Kind::File, *content);
    (request, Page { number, kind, content, range, status, got: None, random })
}

/// Returns the body of a request.
fn body(number: u64, random: &mut Random) -> Body {
    let content = Content::of_request(number);
    if random.one_in(3) {
        return Body::Bytes(content.bytes(0, u64::MAX).into());
    }
    let is_known = random.one_in(2);
    Body::Upload(Box::new(Pieces { content, at: 0, is_known, random: Random::new(number) }))
}

/// A body that comes in pieces.
struct Pieces {
    content: Content,
    at: u64,
    is_known: bool,
    random: Random,
}

impl Upload for Pieces {
    fn length(&self) -> Option<u64> {
        self.is_known.then_some(self.content.size)
    }

    fn fill(&mut self, room: &mut [u8]) -> io::Result<Filled> {
        if self.random.one_in(6) {
            return Ok(Filled::Later);
        }
        let bytes = self.content.bytes(self.at, 1 + self.random.below(room.len() as u64));
        if bytes.is_empty() {
            return Ok(Filled::End);
        }
        room[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(Filled::Bytes(bytes.len()))
    }

    fn restart(&mut self) -> bool {
        self.at = 0;
        true
    }
}

/// What a response has to be.
struct Page {
    number: u64,
    kind: Kind,
    content: Content,
    /// Which part of the content it has.
    range: (u64, u64),
    status: u16,
    /// The status that has come, and how far the body has.
    got: Option<(u16, u64)>,
    random: Random,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, kind, range, .. } = self;
        write!(f, "the response to request {number}, {kind:?} {range:?}")
    }
}

impl Page {
    /// Returns the number in a field.
    fn number_in(head: &ResponseHead<'_>, name: &str) -> Option<u64> {
        head.fields().get_str(name)?.parse().ok()
    }

    /// Returns what a result tells.
    fn told(&self, result: &Result<Summary, Error>) -> Told {
        match (result, self.got) {
            (Ok(summary), Some((status, at))) => {
                assert_eq!(summary.status, status, "{self} has two statuses");
                let end = if self.kind == Kind::Head { self.range.0 } else { self.range.1 };
                if status != self.status {
                    return Told::Other(status);
                }
                assert_eq!(at, end, "{self} is said to be whole");
                Told::Right
            }
            (Ok(_), None) => panic!("{self} is whole and has no head"),
            (Err(error), _) => Told::Failed { may_be_done: error.may_be_done() },
        }
    }
}

impl Receiver<Requesters> for Page {
    fn head(
        &mut self,
        head: &ResponseHead<'_>,
        _: &mut Context<'_, Requesters>,
    ) -> Result<Flow, Error> {
        let status = head.status().code();
        self.got = Some((status, self.range.0));
        if status != self.status {
            let may_be = [408, 502, 503, 504];
            assert!(may_be.contains(&status), "{self} has the status {status}");
            return Ok(Flow::Continue);
        }
        if self.kind != Kind::File {
            assert_eq!(Self::number_in(head, "x-number"), Some(self.number), "{self} is another's");
        }
        if self.kind == Kind::Head {
            let length = Self::number_in(head, "content-length");
            assert_eq!(length, Some(self.content.size), "{self} has another length");
        }
        Ok(Flow::Continue)
    }

    fn body(&mut self, piece: &[u8], _: &mut Context<'_, Requesters>) -> Result<Flow, Error> {
        let (status, at) = self.got.expect("the head comes first");
        if status == self.status {
            self.content.check(at, piece, self);
            self.got = Some((status, at + piece.len() as u64));
        }
        Ok(if self.random.one_in(8) { Flow::Pause } else { Flow::Continue })
    }

    fn again(&mut self, _: &mut Request, _: &Error) -> bool {
        self.random.one_in(2)
    }

    fn done(self: Box<Self>, result: Result<Summary, Error>, cx: &mut LoopCx<'_, Requesters>) {
        if let Err(error) = &result {
            let is_strange = matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Receiver);
            assert!(!is_strange, "{self}: {error}");
        }
        let app = &mut *cx.app;
        app.open.retain(|(number, _)| *number != self.number);
        app.plan.book.borrow_mut().complete(self.number, self.told(&result));
    }
}
