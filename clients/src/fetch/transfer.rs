//! One transfer: what takes the response to one URL.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::http::{ResponseHead, format_date, parse_date};
use protocol::{Context, Flow};
use reactor::LoopCx;

use super::exit::{Failed, INTERRUPTED, RANGE, STATUS, WRITE};
use super::file::{Sink, Target, existing};
use super::options::Offset;
use super::progress::{size, speed};
use super::run::{Run, Settings};
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
    /// What identifies the state of the resource in later requests (RFC 9110 section 13.1.5).
    validator: Option<String>,
    modified: Option<SystemTime>,
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
            validator: None,
            modified: None,
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
            let validator = found.and_then(|it| it.validator);
            if let Some(time) = validator.filter(|_| settings.continue_at == Some(Offset::End)) {
                // If it has changed since, the server sends it whole.
                request.set_field("If-Range", date_of(time));
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
        let range = head.fields().get_str("content-range").and_then(parse_range);
        let expected = self.sink.as_ref().map_or(self.from, Sink::position);
        let asked = expected > 0 && (self.settings.continue_at.is_some() || self.sink.is_some());
        let begins = match (status, asked) {
            (206, true) => match range {
                Some(Range { first: Some(first), .. }) if first == expected => expected,
                _ => {
                    let text = format!(
                        "{request_url}: the server sends another range than byte {expected} and later"
                    );
                    return self.fail(Failed::new(RANGE, text));
                }
            },
            (416, true) if range.as_ref().is_some_and(|it| it.total == Some(expected)) => {
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
        let fields = head.fields();
        let modified = fields.get_str("last-modified");
        self.modified = modified.and_then(time_of);
        let tag = fields.get_str("etag").filter(|it| !it.starts_with("W/"));
        self.validator = tag.or(modified).map(str::to_owned);
        let is_encoded = fields.get("content-encoding").is_some() && self.settings.decodes;
        self.can_continue = !is_encoded && matches!(head.status().code(), 200 | 206);
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
        let length = head.fields().get_str("content-length").and_then(|it| it.parse::<u64>().ok());
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
        if let Some(max) = self.settings.max_filesize
            && sink.position() + piece.len() as u64 > max
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
        let Some(sink) = &mut self.sink else { return true };
        if self.settings.shows_heads {
            return false;
        }
        if let Some(validator) = self.validator.as_deref().filter(|_| self.can_continue)
            && sink.position() > 0
            && !self.settings.has_range
        {
            request.set_field("Range", format!("bytes={}-", sink.position()));
            request.set_field("If-Range", validator);
            self.from = sink.position();
            return true;
        }
        let position = sink.position();
        if position != self.from && sink.go_back(self.from).is_err() {
            return false;
        }
        true
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
    /// Completes the file, or keeps what there is of it.
    fn conclude(
        mut self,
        result: Result<Summary, Error>,
        cx: &mut LoopCx<'_, Run>,
    ) -> Result<(), Failed> {
        let sink = self.sink.take();
        let error = match (self.failed.take(), result) {
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
                    return Ok(());
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
        if let Some(text) = sink.and_then(|it| it.keep(self.can_continue, self.modified)) {
            cx.app.complain(&text);
        }
        Err(error)
    }
}

/// Returns the time that a date of HTTP names.
fn time_of(date: &str) -> Option<SystemTime> {
    let seconds = parse_date(date.as_bytes())?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Returns the date of a time.
fn date_of(time: SystemTime) -> Vec<u8> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format_date(since.as_secs()).to_vec()
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

/// What a field `Content-Range` says (RFC 9110 section 14.4).
#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: Option<u64>,
    total: Option<u64>,
}

fn parse_range(value: &str) -> Option<Range> {
    let rest = value.trim().strip_prefix("bytes ")?;
    let (range, total) = rest.split_once('/')?;
    let first = match range.trim() {
        "*" => None,
        range => Some(range.split_once('-')?.0.trim().parse().ok()?),
    };
    Some(Range { first, total: total.trim().parse().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_parsed() {
        let range = |first, total| Some(Range { first, total });
        assert_eq!(parse_range("bytes 5-9/10"), range(Some(5), Some(10)));
        assert_eq!(parse_range("bytes 5-9/*"), range(Some(5), None));
        assert_eq!(parse_range("bytes */10"), range(None, Some(10)));
        for text in ["", "bytes", "items 1-2/3", "bytes 1/3", "bytes x-2/3"] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }
}
