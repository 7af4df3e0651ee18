//! Clients that send several requests before the first response is there. They know every byte that
//! has to come back.

use std::io;
use std::time::Duration;

use protocol::{Buffer, Context, Flow, Limits, Output, Reason, Session};
use reactor::{ConnectOptions, LoopCx, Reactor, Stream};
use testkit::Random;

use super::super::ground::{client_loop, server_at};
use super::book::{Kind, Shared, Told};
use super::content::Content;

/// How often a client looks whether a connection is to be made.
const TENDING: Duration = Duration::from_millis(50);
/// How many requests a connection has at most.
const REQUESTS_MAX: u64 = 6;
/// How many connections a client makes.
const CONNECTIONS: u64 = 5;
/// How many bytes show whether a response is the expected one.
const STATUS_SIZE: usize = b"HTTP/1.1 200".len();
const KINDS: [Kind; 5] = [Kind::Fixed, Kind::Chunked, Kind::Late, Kind::Head, Kind::Take];

/// A program with clients.
pub(in super::super) struct Pipelines {
    random: Random,
    book: Shared,
    pub(in super::super) life: u64,
    begun: u64,
    open: u64,
}

impl Pipelines {
    /// Builds the program.
    pub(in super::super) fn start(
        seed: u64,
        backend: &str,
        book: &Shared,
    ) -> io::Result<Reactor<Self>> {
        let life = book.borrow_mut().begin_life();
        let (random, book) = (Random::new(seed), Shared::clone(book));
        let mut reactor = client_loop(backend, Self { random, book, life, begun: 0, open: 0 })?;
        reactor.cx().every(TENDING, |_, cx| tend(cx))?;
        Ok(reactor)
    }

    /// Returns whether all connections were had.
    pub(in super::super) fn is_done(&self) -> bool {
        self.begun >= CONNECTIONS && self.open == 0
    }
}

/// Makes connections.
fn tend(cx: &mut LoopCx<'_, Pipelines>) {
    let app = &mut *cx.app;
    if app.open > 1 || app.begun >= CONNECTIONS {
        return;
    }
    let count = 1 + app.random.below(REQUESTS_MAX);
    let mut pipeline = Pipeline::default();
    for place in 0..count {
        let kind = KINDS[app.random.index(KINDS.len())];
        let number = app.book.borrow_mut().begin(kind, app.life, false);
        pipeline.add(kind, number, place + 1 == count, &mut app.random);
    }
    let limits = Limits { output_high: 16 * 1024, output_low: 4 * 1024, ..Limits::DEFAULT };
    // A connection that cannot be made ends like any other.
    let options = ConnectOptions::DEFAULT;
    match Stream::new(pipeline, limits).connect(server_at(7), &options, cx) {
        Ok(_) => {
            cx.app.open += 1;
            cx.app.begun += 1;
        }
        // Its session is dropped, and with it the requests, which the next ones replace.
        Err(_) => cx.app.life = cx.app.book.borrow_mut().begin_life(),
    }
}

/// One response: the number of its request, and its bytes.
struct Expected {
    number: u64,
    bytes: Vec<u8>,
}

/// One connection.
#[derive(Default)]
struct Pipeline {
    requests: Vec<u8>,
    expected: Vec<Expected>,
    /// How many responses were whole, and how much of the next has come.
    whole: usize,
    at: usize,
}

impl Pipeline {
    /// Adds a request, and the response that it has to get.
    fn add(&mut self, kind: Kind, number: u64, is_last: bool, random: &mut Random) {
        let close = if is_last { "Connection: close\r\n" } else { "" };
        let (method, name) = (kind.method(), kind.name());
        let head = format!("{method} /{name}/{number} HTTP/1.1\r\nHost: a\r\n{close}");
        self.requests.extend(head.into_bytes());
        if kind.has_body() {
            append_body(&mut self.requests, &Content::of_request(number), random.one_in(2));
        } else {
            self.requests.extend(b"\r\n");
        }
        let content = Content::of_response(number);
        let mut bytes = format!("HTTP/1.1 200 OK\r\nX-Number: {number}\r\n").into_bytes();
        if kind == Kind::Chunked {
            bytes.extend(format!("Transfer-Encoding: chunked\r\n{close}\r\n").into_bytes());
            append_chunks(&mut bytes, &content);
            bytes.extend(format!("0\r\nX-End: {number}\r\n\r\n").into_bytes());
        } else {
            let length = content.size;
            bytes.extend(format!("Content-Length: {length}\r\n{close}\r\n").into_bytes());
            let length = if kind == Kind::Head { 0 } else { length };
            bytes.extend(content.bytes(0, length));
        }
        self.expected.push(Expected { number, bytes });
    }

    /// Checks what has come. Returns whether there may be more.
    fn verify(&mut self, input: &mut Buffer) -> bool {
        while !input.is_empty() {
            let Some(Expected { number, bytes }) = self.expected.get(self.whole) else {
                panic!("{} bytes come after the last response", input.len());
            };
            let here = input.filled();
            if self.at == 0 {
                if here.len() < STATUS_SIZE {
                    return true;
                }
                // A request that has come in part, and whose rest is late, is refused.
                if here.starts_with(b"HTTP/1.1 408") {
                    return false;
                }
            }
            let count = here.len().min(bytes.len() - self.at);
            let expected = &bytes[self.at..self.at + count];
            if let Some(place) = expected.iter().zip(here).position(|(one, other)| one != other) {
                let at = self.at + place;
                let text = String::from_utf8_lossy(&here[..count.min(place + 60)]);
                panic!("byte {at} of the response to request {number} is wrong: {text:?}");
            }
            input.consume(count);
            self.at += count;
            if self.at == bytes.len() {
                (self.whole, self.at) = (self.whole + 1, 0);
            }
        }
        true
    }
}

/// Appends the rest of a head, and the body.
fn append_body(to: &mut Vec<u8>, content: &Content, is_chunked: bool) {
    if is_chunked {
        to.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        append_chunks(to, content);
        to.extend(b"0\r\n\r\n");
    } else {
        to.extend(format!("Content-Length: {}\r\n\r\n", content.size).into_bytes());
        to.extend(content.bytes(0, u64::MAX));
    }
}

fn append_chunks(to: &mut Vec<u8>, content: &Content) {
    let mut at = 0;
    while at < content.size {
        let bytes = content.bytes(at, content.portion(at));
        to.extend(format!("{:x}\r\n", bytes.len()).into_bytes());
        to.extend(&bytes);
        to.extend(b"\r\n");
        at += bytes.len() as u64;
    }
}

impl Session<Pipelines> for Pipeline {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Pipelines>,
    ) -> Result<Flow, Reason> {
        output.append(&std::mem::take(&mut self.requests));
        let may_go_on = self.verify(input) && !context.input_ended;
        Ok(if may_go_on { Flow::Continue } else { Flow::Close })
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, Pipelines>) {
        context.app.open -= 1;
        let mut book = context.app.book.borrow_mut();
        for (place, expected) in self.expected.iter().enumerate() {
            let failed = Told::Failed { may_be_done: true };
            book.complete(expected.number, if place < self.whole { Told::Right } else { failed });
        }
    }
}
