//! Responses.

use std::sync::Arc;
use std::time::Instant;

use super::head::RequestKind;
use super::outgoing::{Bug, Framing, Outgoing, Stage, append_field, append_number, is_of_session};
use super::{BodyLength, Options, RequestHead, Status, Version};
use crate::{FileRange, Output, decimal};

/// What a server keeps of a request until its response is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) outgoing: Outgoing,
    /// The largest body of the request that the service accepts.
    pub(super) body_max: u64,
    /// The length of the body of the request, if its head says it.
    declared: u64,
    /// How many bytes of the body had been taken when the response was complete.
    pub(super) answered_at: u64,
    kind: RequestKind,
    version: Version,
    /// The connection is closed after the response.
    pub(super) closes: bool,
    /// The client waits for `100 Continue`, or for the response.
    pub(super) expects: bool,
    /// The response lets the client change the protocol.
    pub(super) upgrades: bool,
}

impl Exchange {
    /// Returns the exchange that begins with a request.
    pub(super) fn new(head: &RequestHead<'_>, options: &Options) -> Self {
        let kind = match head.method() {
            "HEAD" => RequestKind::Head,
            "CONNECT" => RequestKind::Connect,
            _ => RequestKind::Other,
        };
        Self {
            kind,
            version: head.version(),
            closes: !head.is_kept(),
            expects: head.expects_continue() && !head.body().is_empty(),
            body_max: options.body_size_max,
            declared: match head.body() {
                BodyLength::Known(length) => length,
                BodyLength::Chunked | BodyLength::UntilClose => 0,
            },
            ..Self::REFUSED
        }
    }

    /// The exchange of something that is no request.
    pub(super) const REFUSED: Self = Self {
        outgoing: Outgoing::NEW,
        body_max: 0,
        declared: 0,
        answered_at: u64::MAX,
        kind: RequestKind::Other,
        version: Version::Http11,
        closes: true,
        expects: false,
        upgrades: false,
    };
}

/// The response to a request, which a service writes: into the output of its connection, at once.
///
/// A response begins with a [`head`](Self::head), which also says how long the body is. The body may
/// come later, part by part. Until the response is complete, no other request of the connection is
/// delivered.
///
/// The session itself writes `Date`, `Server`, `Connection`, and what describes the length of the
/// body. A response to `HEAD`, and one with the status 204 or 304, has no body: what is written is
/// left out, so a service need not distinguish them.
///
/// A mistake, such as a body that is longer than was announced, closes the connection with a reason
/// that begins with `bug in the service`.
#[derive(Debug)]
pub struct Response<'a> {
    output: &'a mut Output,
    exchange: &'a mut Exchange,
    options: &'a Options,
    now: Instant,
}

impl<'a> Response<'a> {
    pub(super) fn new(
        output: &'a mut Output,
        exchange: &'a mut Exchange,
        options: &'a Options,
        now: Instant,
    ) -> Self {
        Self { output, exchange, options, now }
    }

    /// Begins the response. The builder that is returned adds fields and ends the head. The status
    /// is a final one, or 101.
    #[inline]
    pub fn head(&mut self, status: Status) -> Head<'_> {
        let Self { output, exchange, options, now } = self;
        let is_first = exchange.outgoing.stage == Stage::Waiting;
        if is_first {
            exchange.outgoing.stage = Stage::Head;
            append_status(output, status);
        } else {
            exchange.outgoing.bug = Some(Bug::SecondHead);
        }
        Head {
            output,
            exchange,
            options,
            now: *now,
            status,
            is_first,
            has_date: false,
            has_server: false,
        }
    }

    /// Appends a part of the body, after [`Head::length`] or [`Head::streamed`].
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        self.exchange.outgoing.write(self.output, bytes);
    }

    /// Appends a part of the body without copying it ([`Output::share`]).
    pub fn share(&mut self, bytes: Arc<[u8]>) {
        self.exchange.outgoing.share(self.output, bytes);
    }

    /// Appends a range of a file to the body, without reading it ([`Output::file`]).
    pub fn file(&mut self, range: FileRange) {
        self.exchange.outgoing.file(self.output, range);
    }

    /// Ends a body that was begun with [`Head::streamed`]. A body with a length ends when all of it
    /// was written. Does nothing if the response is complete.
    pub fn finish(&mut self) {
        self.finish_with(&[]);
    }

    /// Ends the body with trailer fields (RFC 9110 section 6.5). They are left out where the body
    /// is not sent in chunks.
    pub fn finish_with(&mut self, trailers: &[(&str, &[u8])]) {
        self.exchange.outgoing.finish(self.output, trailers);
    }

    /// Sends an interim response (1xx) before the final one, such as 103 with links to be loaded. It
    /// is left out if the final response has begun, and for clients of HTTP/1.0.
    ///
    /// # Panics
    /// When the status is 101 or not interim.
    pub fn informational(&mut self, status: Status, fields: &[(&str, &[u8])]) {
        let is_interim = status.is_informational() && status != Status::SWITCHING_PROTOCOLS;
        assert!(is_interim, "{status} is no interim status");
        if self.is_begun() || self.exchange.version == Version::Http10 {
            return;
        }
        self.exchange.expects &= status != Status::CONTINUE;
        append_status(self.output, status);
        for (name, value) in fields {
            append_field(self.output, name, value);
        }
        self.output.append(b"\r\n");
    }

    /// Begins a response that changes the protocol (101, RFC 9110 section 7.8). Its head ends with
    /// [`Head::empty`]. The service then returns [`Flow::Upgrade`](crate::Flow::Upgrade).
    pub fn switch_protocols(&mut self, protocol: &str) -> Head<'_> {
        self.head(Status::SWITCHING_PROTOCOLS).field("Upgrade", protocol)
    }

    /// Sends a complete response of plain text.
    #[inline]
    pub fn text(&mut self, status: Status, text: &str) {
        let head = self.head(status).field("Content-Type", "text/plain; charset=utf-8");
        head.body(text.as_bytes());
    }

    /// Sends a complete response of HTML.
    pub fn html(&mut self, status: Status, text: &str) {
        let head = self.head(status).field("Content-Type", "text/html; charset=utf-8");
        head.body(text.as_bytes());
    }

    /// Sends a complete response of JSON, which the caller has encoded.
    pub fn json(&mut self, status: Status, json: impl AsRef<[u8]>) {
        self.head(status).field("Content-Type", "application/json").body(json.as_ref());
    }

    /// Sends a complete response that says in plain text what its status means.
    pub fn error(&mut self, status: Status) {
        let text = format!("{status} {}\n", status.reason());
        self.text(status, &text);
    }

    /// Sends a complete response that refers to another place, with a status such as 301 or 307.
    pub fn redirect(&mut self, status: Status, location: &str) {
        self.head(status).field("Location", location).empty();
    }

    /// Closes the connection after the response, which says so if its head has not ended.
    pub fn close_after(&mut self) {
        self.exchange.closes = true;
    }

    /// Returns whether the final response has begun.
    pub fn is_begun(&self) -> bool {
        self.exchange.outgoing.is_begun()
    }

    /// Returns whether the response is complete.
    pub fn is_finished(&self) -> bool {
        self.exchange.outgoing.is_finished()
    }

    /// Returns whether bytes of the body are sent: false after the head of a response without a
    /// body. Then a service may leave out the work of making them.
    pub fn wants_body(&self) -> bool {
        self.exchange.kind != RequestKind::Head && self.exchange.outgoing.is_heard()
    }

    /// Returns how many bytes of output have not been sent. A service with a large body stops at
    /// [`Limits::output_high`](crate::Limits::output_high) and goes on in
    /// [`Service::drained`](super::Service::drained).
    pub fn backlog(&self) -> u64 {
        self.output.len()
    }

    /// Allows the body of this request another size than
    /// [`Options::body_size_max`](super::Options::body_size_max). To be called in
    /// [`Service::request`](super::Service::request).
    pub fn set_body_max(&mut self, size: u64) {
        self.exchange.body_max = size;
    }
}

/// Appends the first line of a response.
#[inline]
fn append_status(output: &mut Output, status: Status) {
    match status.usual_line() {
        Some(line) => output.append(line.as_bytes()),
        None => {
            let mut line = *b"HTTP/1.1 000 \r\n";
            decimal::write(status.code().into(), &mut line[..12]);
            output.append(&line);
        }
    }
}

/// The head of a response that is being written. One of its methods that take the body ends it:
/// [`body`](Self::body), [`shared`](Self::shared), [`file`](Self::file), [`empty`](Self::empty),
/// [`length`](Self::length) or [`streamed`](Self::streamed).
///
/// Fields that describe the connection or the length of the body are left out, since the session
/// writes them: `Connection`, `Keep-Alive`, `Content-Length`, `Transfer-Encoding`.
#[derive(Debug)]
#[must_use = "a head ends with its body: body(), empty(), streamed() and others"]
pub struct Head<'a> {
    output: &'a mut Output,
    exchange: &'a mut Exchange,
    options: &'a Options,
    now: Instant,
    status: Status,
    /// Whether this is the only head of the response.
    is_first: bool,
    has_date: bool,
    has_server: bool,
}

impl Head<'_> {
    /// Adds a field. Control bytes of the value, such as line ends, become spaces. A name that is
    /// none is left out with its value.
    #[inline]
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add(name, value.as_ref());
        self
    }

    /// Adds a field whose value is a number.
    pub fn number(self, name: &str, value: u64) -> Self {
        let mut room = [0; decimal::SIZE_MAX];
        let at = decimal::write(value, &mut room);
        self.field(name, &room[at..])
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        if !self.is_first || is_of_session(name) {
            return;
        }
        match name.len() {
            4 => self.has_date |= name.eq_ignore_ascii_case("date"),
            6 => self.has_server |= name.eq_ignore_ascii_case("server"),
            _ => {}
        }
        append_field(self.output, name, value);
    }

    /// Ends the head and sends the whole body.
    #[inline]
    pub fn body(self, bytes: &[u8]) {
        if let Some((output, outgoing)) = self.end(Framing::Length, bytes.len() as u64) {
            outgoing.write(output, bytes);
        }
    }

    /// Ends the head and sends the whole body without copying it ([`Output::share`]).
    pub fn shared(self, bytes: Arc<[u8]>) {
        if let Some((output, outgoing)) = self.end(Framing::Length, bytes.len() as u64) {
            outgoing.share(output, bytes);
        }
    }

    /// Ends the head and sends a range of a file as the whole body ([`Output::file`]).
    pub fn file(self, range: FileRange) {
        if let Some((output, outgoing)) = self.end(Framing::Length, range.length) {
            outgoing.file(output, range);
        }
    }

    /// Ends the head of a response with an empty body. This is also how a `CONNECT` is accepted, with
    /// the status 200.
    pub fn empty(self) {
        self.end(Framing::Length, 0);
    }

    /// Ends the head. The body has this many bytes, which [`Response::write`] appends.
    pub fn length(self, length: u64) {
        self.end(Framing::Length, length);
    }

    /// Ends the head. The length of the body is not known: it is sent in chunks, or to a client of
    /// HTTP/1.0 until the connection closes. [`Response::finish`] ends it.
    pub fn streamed(self) {
        let framing = match self.exchange.version {
            Version::Http11 => Framing::Chunked,
            Version::Http10 => Framing::UntilClose,
        };
        self.end(framing, 0);
    }

    /// Writes the fields of the session and the end of the head. Returns where the body goes, unless
    /// this is a second head.
    #[inline]
    fn end<'b>(self, framing: Framing, length: u64) -> Option<(&'b mut Output, &'b mut Outgoing)>
    where
        Self: 'b,
    {
        let Self { output, exchange, options, now, status, .. } = self;
        if !self.is_first {
            return None;
        }
        if let (false, Some(clock)) = (self.has_date, &options.clock) {
            output.append(b"Date: ");
            output.append(&clock.date(now));
            output.append(b"\r\n");
        }
        if let (false, Some(name)) = (self.has_server, &options.server_name) {
            append_field(output, "Server", name.as_bytes());
        }
        exchange.upgrades = match exchange.kind {
            RequestKind::Connect => status.is_success(),
            _ => status == Status::SWITCHING_PROTOCOLS,
        };
        // The client may send the body or not, which cannot be told apart.
        exchange.closes |= exchange.expects;
        // Such a body is not read, so the next request is not found (RFC 9112 section 9.6).
        exchange.closes |= exchange.declared > exchange.body_max;
        if exchange.upgrades {
            let is_switch = status == Status::SWITCHING_PROTOCOLS;
            output.append(if is_switch { b"Connection: Upgrade\r\n\r\n" } else { b"\r\n" });
            exchange.outgoing.finish_bodiless();
            return Some((output, &mut exchange.outgoing));
        }
        let is_silent = exchange.kind == RequestKind::Head || status.has_no_content();
        match framing {
            // An empty 304 does not mean that the content is empty.
            _ if status.has_no_content() && (status != Status::NOT_MODIFIED || length == 0) => {}
            Framing::Length => append_number(output, b"Content-Length: ", length),
            Framing::Chunked => output.append(b"Transfer-Encoding: chunked\r\n"),
            Framing::UntilClose => exchange.closes |= !is_silent,
        }
        if exchange.closes {
            output.append(b"Connection: close\r\n");
        } else if exchange.version == Version::Http10 {
            output.append(b"Connection: keep-alive\r\n");
        }
        output.append(b"\r\n");
        exchange.outgoing.begin_body(framing, length, is_silent);
        Some((output, &mut exchange.outgoing))
    }
}
