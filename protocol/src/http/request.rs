//! Requests, as a client writes them.

use std::sync::Arc;

use super::fields::{has_control, is_token};
use super::head::RequestKind;
use super::outgoing::{Bug, Framing, Outgoing, Stage, append_field, append_number, is_of_session};
use super::target::is_host;
use crate::{FileRange, Output};

/// What a client keeps of a request until its response is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) outgoing: Outgoing,
    /// The largest body of the response that is accepted.
    pub(super) body_max: u64,
    pub(super) kind: RequestKind,
    /// The connection is not used again.
    pub(super) closes: bool,
}

impl Sending {
    pub(super) fn new(body_max: u64) -> Self {
        Self { outgoing: Outgoing::NEW, body_max, kind: RequestKind::Other, closes: false }
    }
}

/// The request that a [`Requester`](super::Requester) writes: into the output of its connection, at
/// once.
///
/// A request begins with a [`head`](Self::head), which also says how long the body is. The body may
/// come later, part by part. A mistake, such as a body that is longer than was announced, closes the
/// connection with a reason that begins with `bug`.
#[derive(Debug)]
pub struct Request<'a> {
    output: &'a mut Output,
    sending: &'a mut Sending,
}

impl<'a> Request<'a> {
    pub(super) fn new(output: &'a mut Output, sending: &'a mut Sending) -> Self {
        Self { output, sending }
    }

    /// Begins a request of HTTP/1.1. `target` is a path with an optional query; for proxies a whole
    /// URI, for `CONNECT` a host and a port, for `OPTIONS` possibly `*`. Bytes that no target has are
    /// percent-encoded, so that a target never makes another line. `host` is the value of the field
    /// `Host`: the host, and its port unless that is the usual one.
    ///
    /// The builder that is returned adds fields and ends the head.
    pub fn head(&mut self, method: &str, target: &str, host: &str) -> RequestBuilder<'_> {
        let Self { output, sending } = self;
        let is_valid =
            is_token(method.as_bytes()) && !target.is_empty() && is_host(host.as_bytes());
        let is_first = is_valid && sending.outgoing.stage == Stage::Waiting;
        if is_first {
            sending.outgoing.stage = Stage::Head;
            sending.kind = match method {
                "HEAD" => RequestKind::Head,
                "CONNECT" => RequestKind::Connect,
                _ => RequestKind::Other,
            };
            output.append(method.as_bytes());
            output.push(b' ');
            append_target(output, target.as_bytes());
            output.append(b" HTTP/1.1\r\nHost: ");
            output.append(host.as_bytes());
            output.append(b"\r\n");
        } else {
            let bug = if is_valid { Bug::SecondHead } else { Bug::InvalidHead };
            sending.outgoing.bug = Some(bug);
        }
        // A method that defines no meaning for content needs no length if there is none (RFC 9110
        // section 8.6).
        let needs_length =
            !matches!(method, "GET" | "HEAD" | "CONNECT" | "OPTIONS" | "TRACE" | "DELETE");
        RequestBuilder { output, sending, is_first, needs_length }
    }

    /// Appends a part of the body, after [`RequestBuilder::length`] or [`RequestBuilder::streamed`].
    pub fn write(&mut self, bytes: &[u8]) {
        self.sending.outgoing.write(self.output, bytes);
    }

    /// Appends a part of the body without copying it ([`Output::share`]).
    pub fn share(&mut self, bytes: Arc<[u8]>) {
        self.sending.outgoing.share(self.output, bytes);
    }

    /// Appends a range of a file to the body, without reading it ([`Output::file`]).
    pub fn file(&mut self, range: FileRange) {
        self.sending.outgoing.file(self.output, range);
    }

    /// Ends a body that was begun with [`RequestBuilder::streamed`]. A body with a length ends when
    /// all of it was written.
    pub fn finish(&mut self) {
        self.finish_with(&[]);
    }

    /// Ends the body with trailer fields (RFC 9110 section 6.5). They are left out where the body
    /// has a length.
    pub fn finish_with(&mut self, trailers: &[(&str, &[u8])]) {
        self.sending.outgoing.finish(self.output, trailers);
    }

    /// Uses the connection for no other request. The head says so if it has not ended.
    pub fn close_after(&mut self) {
        self.sending.closes = true;
    }

    /// Allows the body of the response another size than
    /// [`ClientOptions::body_size_max`](super::ClientOptions::body_size_max).
    pub fn set_body_max(&mut self, size: u64) {
        self.sending.body_max = size;
    }

    /// Returns whether the request has begun.
    pub fn is_begun(&self) -> bool {
        self.sending.outgoing.is_begun()
    }

    /// Returns whether the request was written completely.
    pub fn is_finished(&self) -> bool {
        self.sending.outgoing.is_finished()
    }

    /// Returns how many bytes of output have not been sent. A requester with a large body stops at
    /// [`Limits::output_high`](crate::Limits::output_high) and goes on in
    /// [`Requester::drained`](super::Requester::drained).
    pub fn backlog(&self) -> u64 {
        self.output.len()
    }
}

/// Appends a target. Bytes that none has are percent-encoded.
fn append_target(output: &mut Output, target: &[u8]) {
    let is_plain = |it: &u8| (0x21..=0x7e).contains(it) && *it != b'#';
    if target.iter().all(is_plain) {
        return output.append(target);
    }
    for byte in target {
        if is_plain(byte) {
            output.push(*byte);
        } else {
            let digit = |it: u8| b"0123456789ABCDEF"[usize::from(it)];
            output.append(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// The head of a request that is being written. One of its methods that take the body ends it:
/// [`empty`](Self::empty), [`body`](Self::body), [`shared`](Self::shared), [`file`](Self::file),
/// [`length`](Self::length) or [`streamed`](Self::streamed).
///
/// Fields that describe the length of the body are left out, since the session writes them:
/// `Content-Length` and `Transfer-Encoding`, and `Keep-Alive`. So is a second `Host`. `Connection`
/// is left out too: [`Request::close_after`] and [`upgrade`](Self::upgrade) write it.
#[derive(Debug)]
#[must_use = "a head ends with its body: empty(), body(), streamed() and others"]
pub struct RequestBuilder<'a> {
    output: &'a mut Output,
    sending: &'a mut Sending,
    is_first: bool,
    needs_length: bool,
}

impl RequestBuilder<'_> {
    /// Adds a field. Control bytes of the value, such as line ends, become spaces. A name that is
    /// none is left out with its value.
    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if self.is_first && !is_of_session(name) && !name.eq_ignore_ascii_case("host") {
            append_field(self.output, name, value.as_ref());
        }
        self
    }

    /// Asks to change the protocol (RFC 9110 section 7.8). If the server agrees, the response has the
    /// status 101, and the requester returns [`Flow::Upgrade`](crate::Flow::Upgrade).
    pub fn upgrade(self, protocol: &str) -> Self {
        if self.is_first && !has_control(protocol.as_bytes()) {
            self.output.append(b"Connection: Upgrade\r\n");
            append_field(self.output, "Upgrade", protocol.as_bytes());
        }
        self
    }

    /// Ends the head of a request without a body.
    pub fn empty(self) {
        self.end(Framing::Length, 0);
    }

    /// Ends the head and sends the whole body.
    pub fn body(mut self, bytes: &[u8]) {
        self.needs_length = true;
        if let Some((output, outgoing)) = self.end(Framing::Length, bytes.len() as u64) {
            outgoing.write(output, bytes);
        }
    }

    /// Ends the head and sends the whole body without copying it ([`Output::share`]).
    pub fn shared(mut self, bytes: Arc<[u8]>) {
        self.needs_length = true;
        if let Some((output, outgoing)) = self.end(Framing::Length, bytes.len() as u64) {
            outgoing.share(output, bytes);
        }
    }

    /// Ends the head and sends a range of a file as the whole body ([`Output::file`]).
    pub fn file(mut self, range: FileRange) {
        self.needs_length = true;
        if let Some((output, outgoing)) = self.end(Framing::Length, range.length) {
            outgoing.file(output, range);
        }
    }

    /// Ends the head. The body has this many bytes, which [`Request::write`] appends.
    pub fn length(mut self, length: u64) {
        self.needs_length = true;
        self.end(Framing::Length, length);
    }

    /// Ends the head. The length of the body is not known: it is sent in chunks, which servers of
    /// HTTP/1.0 do not understand. [`Request::finish`] ends it.
    pub fn streamed(self) {
        self.end(Framing::Chunked, 0);
    }

    fn end<'b>(self, framing: Framing, length: u64) -> Option<(&'b mut Output, &'b mut Outgoing)>
    where
        Self: 'b,
    {
        let Self { output, sending, is_first, needs_length } = self;
        if !is_first {
            return None;
        }
        if framing == Framing::Chunked {
            output.append(b"Transfer-Encoding: chunked\r\n");
        } else if needs_length {
            append_number(output, b"Content-Length: ", length);
        }
        output.append(if sending.closes { b"Connection: close\r\n\r\n" } else { b"\r\n" });
        sending.outgoing.begin_body(framing, length, false);
        Some((output, &mut sending.outgoing))
    }
}
