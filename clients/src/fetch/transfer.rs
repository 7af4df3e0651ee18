//! One transfer: what takes the response to one URL.

use std::sync::Arc;
use std::time::Duration;

use protocol::http::ResponseHead;
use protocol::{Context, Flow};
use reactor::LoopCx;

use super::exit::{Failed, INTERRUPTED, PROTOCOL, RANGE, STATUS, TRUNCATED, WRITE};
use super::file::{Sink, Target, existing};
use super::options::Offset;
use super::progress::{size, speed};
use super::run::{Run, Settings};
use super::state::{Range, State};
use crate::http::{Error, ErrorKind, Receiver, Request, Summary};
use crate::output::CLOSED;

/// The transfer of one URL.
pub(super) struct Transfer {
    /// Its place on the command line.
    pub(super) place: usize,
    pub(super) target: Target,
    pub(super) settings: Arc<Settings>,
    /// The byte at which the response has to begin.
    pub(super) from: u64,
    sink: Option<Sink>,
    /// What identifies the state of the resource in later requests.
    state: State,
    /// The user asks for a range, which the transfer does not change.
    has_own_range: bool,
    /// The position after the last byte that the response has.
    end: Option<u64>,
    /// The resource has changed since the beginning was received.
    is_changed: bool,
    /// Whether the body is stored as it was sent, so that a range of it continues it.
    can_continue: bool,
    /// There is nothing to receive: the file is complete.
    is_whole_already: bool,
    failed: Option<Failed>,
}

impl Transfer {
    /// Returns a transfer, and changes its request to ask for what is missing.
    pub(super) fn new(
        place: usize,
        target: Target,
        settings: &Arc<Settings>,
        request: &mut Request,
    ) -> Self {
        let mut this = Self {
            place,
            target,
            settings: Arc::clone(settings),
            from: 0,
            sink: None,
            state: State::default(),
            has_own_range: request.has_field("range"),
            end: None,
            is_changed: false,
            can_continue: false,
            is_whole_already: false,
            failed: None,
        };
        let found = match &this.target {
            Target::File(path) => existing(path),
            Target::Standard => None,
        };
        match settings.continue_at {
            Some(Offset::At(from)) => this.from = from,
            Some(Offset::End) => this.from = found.as_ref().map_or(0, |it| it.size),
            None => {}
        }
        if this.from > 0 {
            request.set_field("Range", format!("bytes={}-", this.from));
            this.has_own_range = false;
            if let Some(time) = found.and_then(|it| it.validator)
                && settings.continue_at == Some(Offset::End)
            {
                this.state = State::of_kept(time);
                if let Some(validator) = this.state.if_range() {
                    // If it has changed since, the server sends it whole.
                    request.set_field("If-Range", validator);
                }
            }
        }
        this
    }

    /// Records why the transfer fails, and ends it.
    fn fail<T>(&mut self, failed: Failed) -> Result<T, Error> {
        let text = failed.text.clone();
        self.failed.get_or_insert(failed);
        Err(Error::new(ErrorKind::Receiver, text))
    }

    fn write_failed<T>(&mut self, error: &std::io::Error) -> Result<T, Error> {
        let is_standard = self.target == Target::Standard;
        match error.kind() {
            std::io::ErrorKind::BrokenPipe if is_standard => self.fail(Failed::new(CLOSED, "")),
            _ if is_standard => self.fail(Failed::new(WRITE, format!("standard output: {error}"))),
            _ => self.fail(Failed::new(WRITE, error.to_string())),
        }
    }

    /// Finds out where the body of this response goes.
    fn place_body(&mut self, head: &ResponseHead<'_>, request_url: &str) -> Result<(), Error> {
        let status = head.status().code();
        let range = head.fields().get_str("content-range").and_then(Range::parse);
        let expected = self.sink.as_ref().map_or(self.from, Sink::position);
        let asked = expected > 0 && (self.settings.continue_at.is_some() || self.sink.is_some());
        self.end = None;
        let begins = match (status, asked) {
            (206, _) if self.has_own_range => 0,
            (206, true) => {
                self.check_range(head, range, expected, request_url)?;
                expected
            }
            (206, false) => {
                let text = format!("{request_url}: the server sends a part, and was asked for all");
                return self.fail(Failed::new(PROTOCOL, text));
            }
            (416, true) if range.is_some_and(|it| it.total == Some(expected)) => {
                self.is_whole_already = true;
                return Ok(());
            }
            (416, true) => {
                let text =
                    format!("{request_url}: the server has no byte {expected} to continue at");
                return self.fail(Failed::new(RANGE, text));
            }
            (200..=299, true) => match self.can_start_over() {
                true => 0,
                false => {
                    let text = format!(
                        "{request_url}: the server does not continue at byte {expected}, and sends \
                         everything instead"
                    );
                    return self.fail(Failed::new(RANGE, text));
                }
            },
            _ => 0,
        };
        if begins == 0 {
            self.from = 0;
        }
        let opened = match &mut self.sink {
            Some(sink) => sink.go_back(begins).or_else(|error| match sink.position() == begins {
                true => Ok(()),
                false => Err(error),
            }),
            None => Sink::open(&self.target, begins).map(|sink| self.sink = Some(sink)),
        };
        opened.or_else(|error| self.write_failed(&error))
    }

    /// Checks that a response with a part of the resource continues the beginning that there is.
    fn check_range(
        &mut self,
        head: &ResponseHead<'_>,
        range: Option<Range>,
        expected: u64,
        url: &str,
    ) -> Result<(), Error> {
        let Some(Range { part: Some((first, last)), total }) =
            range.filter(|it| it.part.is_some_and(|(first, _)| first == expected))
        else {
            let text =
                format!("{url}: the server sends another range than byte {expected} and later");
            return self.fail(Failed::new(RANGE, text));
        };
        if length_of(head).is_some_and(|it| it != last - first + 1) {
            let text = format!("{url}: Content-Range and Content-Length contradict each other");
            return self.fail(Failed::new(PROTOCOL, text));
        }
        if self.state.differs(&State::of(head, total)) {
            let text = format!("{url}: the file has changed since its beginning was received");
            if !self.can_start_over() {
                return self.fail(Failed::new(RANGE, text));
            }
            // Another attempt asks for everything.
            self.is_changed = true;
            return Err(Error::new(ErrorKind::Truncated, text));
        }
        self.end = Some(last + 1);
        Ok(())
    }

    /// Checks that a response that has ended has brought everything that is missing.
    fn check_end(&self) -> Result<(), Failed> {
        let (Some(sink), Some(end)) = (&self.sink, self.end) else { return Ok(()) };
        let url = &self.settings.urls[self.place];
        let missing = match self.state.total() {
            _ if sink.position() < end => end,
            Some(total) if sink.position() < total => total,
            _ => return Ok(()),
        };
        let text = format!("{url}: the server has sent {} of {missing} bytes", sink.position());
        Err(Failed::new(TRUNCATED, text))
    }

    /// Returns whether the whole response can replace the beginning that there is.
    fn can_start_over(&self) -> bool {
        match &self.sink {
            Some(sink) => sink.can_go_back(),
            None => {
                self.target != Target::Standard && self.settings.continue_at == Some(Offset::End)
            }
        }
    }

    fn remember(&mut self, head: &ResponseHead<'_>) {
        let status = head.status().code();
        let is_encoded = head.fields().get("content-encoding").is_some() && self.settings.decodes;
        self.can_continue = !is_encoded && matches!(status, 200 | 206);
        let range = head.fields().get_str("content-range").and_then(Range::parse);
        let total = match status {
            206 => range.and_then(|it| it.total),
            _ => length_of(head).filter(|_| !is_encoded),
        };
        let state = State::of(head, total);
        match self.end.is_some() {
            true => self.state.confirm(state),
            false => self.state = state,
        }
    }

    /// Prints a head to standard error, if the user asked for that.
    fn trace(&self, head: &ResponseHead<'_>, context: &mut Context<'_, Run>) {
        if self.settings.is_verbose {
            context.app.print(text_of(head).lines().map(|line| format!("< {line}")));
        }
    }
}

impl Receiver<Run> for Transfer {
    fn head(
        &mut self,
        head: &ResponseHead<'_>,
        context: &mut Context<'_, Run>,
    ) -> Result<Flow, Error> {
        self.trace(head, context);
        let status = head.status().code();
        let url = self.settings.urls[self.place].clone();
        let is_range = status == 416 && self.from > 0;
        if status >= 400 && !self.settings.any_status && !is_range {
            let text = format!("{url}: the server answers {status} {}", head.reason());
            return self.fail(Failed::new(STATUS, text.trim_end()));
        }
        self.place_body(head, &url)?;
        if self.is_whole_already {
            return Ok(Flow::Continue);
        }
        self.remember(head);
        let is_shown = self.settings.shows_heads;
        if let Some(sink) = self.sink.as_mut().filter(|_| is_shown)
            && let Err(error) = sink.write(text_of(head).as_bytes())
        {
            return self.write_failed(&error);
        }
        let length = length_of(head);
        if let (Some(length), Some(max)) = (length, self.settings.max_filesize)
            && self.from + length > max
        {
            return self.fail(too_large(&url, max));
        }
        let total = length.filter(|_| self.can_continue).map(|it| self.from + it);
        context.app.begin(self.place, self.from, total);
        Ok(Flow::Continue)
    }

    fn body(&mut self, piece: &[u8], context: &mut Context<'_, Run>) -> Result<Flow, Error> {
        if self.is_whole_already {
            return Ok(Flow::Continue);
        }
        context.app.received(self.place, piece.len() as u64);
        let Some(sink) = &mut self.sink else { return Ok(Flow::Continue) };
        let after = sink.position() + piece.len() as u64;
        if self.end.is_some_and(|it| after > it) {
            let url = &self.settings.urls[self.place];
            let text = format!("{url}: the server sends more than its Content-Range says");
            return self.fail(Failed::new(PROTOCOL, text));
        }
        if let Some(max) = self.settings.max_filesize
            && after > max
        {
            let failed = too_large(&self.settings.urls[self.place], max);
            return self.fail(failed);
        }
        match sink.write(piece) {
            Ok(()) => Ok(Flow::Continue),
            Err(error) => self.write_failed(&error),
        }
    }

    fn passed_over(&mut self, head: &ResponseHead<'_>, context: &mut Context<'_, Run>) {
        self.trace(head, context);
        if self.settings.shows_heads && self.target == Target::Standard {
            // A redirection is a part of what was asked for. What fails here fails again at once.
            let _ = crate::output::print(text_of(head).as_bytes());
        }
    }

    fn sent(&mut self, count: u64, context: &mut Context<'_, Run>) {
        context.app.sent(self.place, count);
    }

    fn again(&mut self, request: &mut Request, _error: &Error) -> bool {
        if std::mem::take(&mut self.is_changed) {
            self.state = State::default();
            self.can_continue = false;
            self.from = 0;
        } else if self.sink.is_none() {
            return true;
        }
        if self.settings.shows_heads {
            return false;
        }
        let position = self.sink.as_ref().map_or(0, Sink::position);
        if let Some(validator) = self.state.if_range().filter(|_| self.can_continue)
            && position > 0
            && !self.has_own_range
        {
            request.set_field("Range", format!("bytes={position}-"));
            request.set_field("If-Range", validator);
            self.from = position;
            return true;
        }
        self.begin_again(request)
    }

    fn retrying(&mut self, error: &Error, pause: Duration, cx: &mut LoopCx<'_, Run>) {
        if !self.settings.is_silent {
            let tenths = pause.as_millis() / 100;
            let text = format!("{error}; another attempt in {}.{} s", tenths / 10, tenths % 10);
            cx.app.complain(&text);
        }
    }

    fn done(self: Box<Self>, result: Result<Summary, Error>, cx: &mut LoopCx<'_, Run>) {
        let place = self.place;
        let result = self.conclude(result, cx);
        Run::finished(place, result, cx);
    }
}

impl Transfer {
    /// Changes the request to ask again for everything from `from` on. Returns whether what was
    /// received of that can be removed.
    fn begin_again(&mut self, request: &mut Request) -> bool {
        if self.from == 0 && !self.has_own_range {
            request.remove_field("Range");
            request.remove_field("If-Range");
        }
        match &mut self.sink {
            Some(sink) if sink.position() != self.from => sink.go_back(self.from).is_ok(),
            _ => true,
        }
    }

    /// Completes the file, or keeps what there is of it.
    fn conclude(
        mut self,
        result: Result<Summary, Error>,
        cx: &mut LoopCx<'_, Run>,
    ) -> Result<(), Failed> {
        let unfinished = result.as_ref().ok().and_then(|_| self.check_end().err());
        let sink = self.sink.take();
        let error = match (self.failed.take().or(unfinished), result) {
            (Some(failed), _) => failed,
            (None, Ok(summary)) => {
                if self.settings.is_verbose {
                    cx.app.print([told(&summary, sink.as_ref())].into_iter());
                }
                if self.is_whole_already {
                    cx.app.complain(&format!(
                        "{}: the file is complete",
                        self.settings.urls[self.place]
                    ));
                }
                match sink.map_or(Ok(()), Sink::complete) {
                    Ok(()) => return Ok(()),
                    Err(error) => return Err(Failed::new(WRITE, error.to_string())),
                }
            }
            (None, Err(error)) if cx.app.is_interrupted => {
                let text = if error.kind() == ErrorKind::Cancelled {
                    String::new()
                } else {
                    error.to_string()
                };
                Failed::new(INTERRUPTED, text)
            }
            (None, Err(error)) => Failed::from(&error),
        };
        if let Some(text) =
            sink.and_then(|it| it.keep(self.can_continue, self.state.time_to_keep()))
        {
            cx.app.complain(&text);
        }
        Err(error)
    }
}

/// Returns the length of a body, if the head has it.
fn length_of(head: &ResponseHead<'_>) -> Option<u64> {
    head.fields().get_str("content-length")?.parse().ok()
}

fn too_large(url: &str, max: u64) -> Failed {
    Failed::new(63, format!("{url}: the body is larger than {max} bytes (--max-filesize)"))
}

/// Returns a sentence about a transfer that is complete.
fn told(summary: &Summary, sink: Option<&Sink>) -> String {
    let bytes = sink.map_or(0, Sink::position);
    let connection = if summary.is_reused { "the same connection" } else { "a new connection" };
    format!(
        "* {}: {} in {:.2} s ({}/s) over {connection}, {} redirections, {} attempts",
        summary.url,
        size(bytes),
        summary.took.as_secs_f64(),
        size(speed(bytes, summary.took)),
        summary.redirects,
        summary.attempts,
    )
}

/// Returns a head as it was received, with the line that ends it.
fn text_of(head: &ResponseHead<'_>) -> String {
    let version = match head.version() {
        protocol::http::Version::Http10 => "1.0",
        protocol::http::Version::Http11 => "1.1",
    };
    let mut text = format!("HTTP/{version} {} {}\r\n", head.status().code(), head.reason());
    for field in head.fields().iter() {
        text.push_str(&format!("{}: {}\r\n", field.name, String::from_utf8_lossy(field.value)));
    }
    text.push_str("\r\n");
    text
}
