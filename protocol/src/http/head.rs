//! Heads of requests and responses.

use super::fields::{
    FIELDS_MAX, FIELDS_USUAL, Fields, Line, has_control, parse_lines, token_length,
};
use super::framing::Facts;
use super::{Refusal, Status, Target};
use crate::search::find_byte;

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0 (RFC 1945).
    Http10,
    /// HTTP/1.1 (RFC 9112), and later 1.x, which are to be treated alike (RFC 9110 section 2.5).
    Http11,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// The body has this many bytes: zero if there is none.
    Known(u64),
    /// The body is sent in chunks, whose last is empty (RFC 9112 section 7.1).
    Chunked,
    /// The body ends with the connection. Only bodies of responses do.
    UntilClose,
}

impl BodyLength {
    /// Returns whether there is no body, or an empty one.
    pub fn is_empty(self) -> bool {
        self == Self::Known(0)
    }
}

/// The head of a request: a view of the bytes received.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    raw: &'a [u8],
    method: &'a str,
    target_text: &'a str,
    target: Target<'a>,
    fields: Fields<'a>,
    host: &'a [u8],
    version: Version,
    body: BodyLength,
    is_kept: bool,
    expects_continue: bool,
}

impl<'a> RequestHead<'a> {
    /// Returns the method, such as `GET`. It distinguishes upper and lower case.
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// Returns the target.
    pub fn target(&self) -> Target<'a> {
        self.target
    }

    /// Returns the target as it was received.
    pub fn target_text(&self) -> &'a str {
        self.target_text
    }

    /// Returns the path of the target, as [`Target::path`] does.
    pub fn path(&self) -> &'a str {
        self.target.path()
    }

    /// Returns the query of the target, without its `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.target.query()
    }

    /// Returns the version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the fields.
    pub fn fields(&self) -> Fields<'a> {
        self.fields
    }

    /// Returns how the end of the body is found. A request without a body has the length zero.
    pub fn body(&self) -> BodyLength {
        self.body
    }

    /// Returns the host that is meant, with its port if there is one: that of an absolute target,
    /// otherwise that of the field `Host`. It is empty if a request of HTTP/1.0 has none.
    pub fn host(&self) -> &'a str {
        str::from_utf8(self.host).expect("a host is ASCII")
    }

    /// Returns whether the client waits for a `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Returns whether the client keeps the connection after the response.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Returns a copy that owns its bytes.
    pub fn to_owned(&self) -> OwnedRequestHead {
        OwnedRequestHead { raw: self.raw.into(), lines: self.fields.lines().into() }
    }

    /// Parses the beginning of `bytes` as a head. Returns it and its length, or `None` if its end is
    /// not there.
    pub(super) fn parse(
        bytes: &'a [u8],
        lines: &'a mut [Line],
        target_size_max: usize,
    ) -> Result<Option<(Self, usize)>, Refusal> {
        let line_max = Self::line_max(target_size_max).min(bytes.len());
        let Some((line, from)) = first_line(&bytes[..line_max])? else {
            check_beginning(&bytes[..line_max])?;
            return if bytes.len() > line_max { Err(Refusal::TargetTooLong) } else { Ok(None) };
        };
        let first = RequestLine::parse(line)?;
        if first.target.len() > target_size_max {
            return Err(Refusal::TargetTooLong);
        }
        let Some((count, end)) = parse_lines(bytes, from, lines)? else { return Ok(None) };
        let fields = Fields::new(&bytes[..end], &lines[..count]);
        Self::assemble(first, &bytes[..end], fields).map(|head| Some((head, end)))
    }

    /// Returns the greatest length of a first line with its end.
    pub(super) fn line_max(target_size_max: usize) -> usize {
        /// A method, two spaces, the version and the end of the line.
        const REST: usize = 64;
        target_size_max.saturating_add(REST)
    }

    fn assemble(line: RequestLine<'a>, raw: &'a [u8], fields: Fields<'a>) -> Result<Self, Refusal> {
        let facts = Facts::of(&fields, true)?;
        let target = Target::parse(line.target, line.method)?;
        let host = match (target, facts.host) {
            (_, None) if line.version == Version::Http11 => return Err(Refusal::NoHost),
            (Target::Absolute { authority, .. } | Target::Authority(authority), _) => {
                authority.as_bytes()
            }
            (_, host) => host.unwrap_or_default(),
        };
        Ok(Self {
            raw,
            method: line.method,
            target_text: line.target,
            target,
            fields,
            host,
            version: line.version,
            body: facts.body(line.version)?.unwrap_or(BodyLength::Known(0)),
            is_kept: facts.keeps(line.version),
            // A client of HTTP/1.0 would not understand an interim response.
            expects_continue: facts.expects_continue && line.version == Version::Http11,
        })
    }
}

/// Returns the first line, without its end, and where the next line begins.
fn first_line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Refusal> {
    let Some(end) = find_byte(bytes, b'\n') else { return Ok(None) };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(Refusal::LineEnd)?;
    Ok(Some((line, end + 1)))
}

/// Refuses bytes that no request begins with, such as those of TLS.
fn check_beginning(bytes: &[u8]) -> Result<(), Refusal> {
    let method = token_length(bytes);
    let rest = &bytes[method..];
    let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
    let is_possible = match rest {
        [] => method > 0 || bytes.is_empty() || bytes == b"\r",
        [first, ..] => method > 0 && *first == b' ' && !has_control(rest) && !rest.contains(&b'\t'),
    };
    if is_possible { Ok(()) } else { Err(Refusal::RequestLine) }
}

#[derive(Clone, Copy)]
struct RequestLine<'a> {
    method: &'a str,
    target: &'a str,
    version: Version,
}

impl<'a> RequestLine<'a> {
    /// Parses the first line of a request (RFC 9112 section 3).
    fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        let (method, rest) = line.split_at(token_length(line));
        let [b' ', rest @ ..] = rest else { return Err(Refusal::RequestLine) };
        let Some((target, version)) = rest.split_last_chunk::<9>() else {
            return Err(Refusal::RequestLine);
        };
        let version = parse_version(version).ok_or(Refusal::RequestLine)?;
        if method.is_empty() || target.is_empty() || target.contains(&b' ') {
            return Err(Refusal::RequestLine);
        }
        if target.iter().any(|it| !(0x21..=0x7e).contains(it) || *it == b'#') {
            return Err(Refusal::Target);
        }
        // Both are ASCII.
        let method = match method {
            b"GET" => "GET",
            b"POST" => "POST",
            b"HEAD" => "HEAD",
            _ => str::from_utf8(method).map_err(|_| Refusal::RequestLine)?,
        };
        let target = str::from_utf8(target).map_err(|_| Refusal::Target)?;
        Ok(Self { method, target, version: version? })
    }
}

/// Parses a space and a version. Returns `None` if that is none at all.
fn parse_version(bytes: &[u8; 9]) -> Option<Result<Version, Refusal>> {
    let digits = bytes.strip_prefix(b" HTTP/")?;
    match digits {
        b"1.1" => Some(Ok(Version::Http11)),
        b"1.0" => Some(Ok(Version::Http10)),
        [b'1', b'.', b'2'..=b'9'] => Some(Ok(Version::Http11)),
        [b'0'..=b'9', b'.', b'0'..=b'9'] => Some(Err(Refusal::Version)),
        _ => None,
    }
}

/// The head of a request that owns its bytes: for requests that outlive the call they came in.
#[derive(Clone, Debug)]
pub struct OwnedRequestHead {
    raw: Box<[u8]>,
    lines: Box<[Line]>,
}

impl OwnedRequestHead {
    /// Parses the beginning of `bytes` as the head of a request. Returns it and its length, or
    /// `None` if its end is not there.
    ///
    /// # Errors
    /// The rule that the bytes break. Heads have at most 64 KiB and 256 fields.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Refusal> {
        let mut lines = [Line::default(); FIELDS_MAX];
        let head = RequestHead::parse(bytes, &mut lines, usize::MAX)?;
        Ok(head.map(|(head, length)| (head.to_owned(), length)))
    }

    /// Returns the head.
    pub fn view(&self) -> RequestHead<'_> {
        let fields = Fields::new(&self.raw, &self.lines);
        let line = first_line(&self.raw).ok().flatten().map(|(line, _)| RequestLine::parse(line));
        let head = line.and_then(|line| RequestHead::assemble(line.ok()?, &self.raw, fields).ok());
        head.expect("the same bytes were parsed before")
    }
}

/// The head of a response: a view of the bytes received.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    status: Status,
    reason: &'a str,
    version: Version,
    fields: Fields<'a>,
    body: BodyLength,
    is_kept: bool,
}

impl<'a> ResponseHead<'a> {
    /// Returns the status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns the phrase behind the status: empty if there is none, or if it is not UTF-8.
    pub fn reason(&self) -> &'a str {
        self.reason
    }

    /// Returns the version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the fields.
    pub fn fields(&self) -> Fields<'a> {
        self.fields
    }

    /// Returns how the end of the body is found: the length is zero if there is none, as in the
    /// answer to `HEAD`.
    pub fn body(&self) -> BodyLength {
        self.body
    }

    /// Returns whether the server keeps the connection after this response. A body that ends with
    /// the connection does not.
    pub fn is_kept(&self) -> bool {
        self.is_kept && self.body != BodyLength::UntilClose
    }

    /// Parses the beginning of `bytes` as the head of a response to a request of `kind`. Returns it
    /// and its length, or `None` if its end is not there.
    pub(super) fn parse(
        bytes: &'a [u8],
        lines: &'a mut [Line],
        kind: RequestKind,
    ) -> Result<Option<(Self, usize)>, Refusal> {
        let Some((line, from)) = first_line(bytes)? else {
            let length = bytes.len().min(5);
            let is_possible = bytes[..length] == b"HTTP/"[..length];
            return if is_possible { Ok(None) } else { Err(Refusal::StatusLine) };
        };
        let (version, status, reason) = parse_status_line(line)?;
        let Some((count, end)) = parse_lines(bytes, from, lines)? else { return Ok(None) };
        let fields = Fields::new(&bytes[..end], &lines[..count]);
        let facts = Facts::of(&fields, false)?;
        let has_no_body = match kind {
            RequestKind::Head => true,
            RequestKind::Connect => status.is_success() || status.has_no_content(),
            RequestKind::Other => status.has_no_content(),
        };
        let body = match has_no_body {
            true => BodyLength::Known(0),
            false => facts.body(version)?.unwrap_or(BodyLength::UntilClose),
        };
        let is_kept = facts.keeps(version);
        Ok(Some((Self { status, reason, version, fields, body, is_kept }, end)))
    }
}

/// What the meaning of a response depends on (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RequestKind {
    Head,
    Connect,
    #[default]
    Other,
}

/// Parses the first line of a response (RFC 9112 section 4). The space before an empty phrase may be
/// missing, as many servers leave it out.
fn parse_status_line(line: &[u8]) -> Result<(Version, Status, &str), Refusal> {
    let [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b' ', a, b, c, rest @ ..] = line else {
        return Err(Refusal::StatusLine);
    };
    let version = match (major, minor) {
        (b'1', b'0') => Version::Http10,
        (b'1', b'1'..=b'9') => Version::Http11,
        (b'0'..=b'9', b'0'..=b'9') => return Err(Refusal::Version),
        _ => return Err(Refusal::StatusLine),
    };
    let code = [a, b, c].iter().try_fold(0, |code, byte| {
        byte.is_ascii_digit().then(|| code * 10 + u16::from(**byte - b'0'))
    });
    let status = code.and_then(Status::new).ok_or(Refusal::StatusLine)?;
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return Err(Refusal::StatusLine),
    };
    if has_control(reason) {
        return Err(Refusal::Control);
    }
    Ok((version, status, str::from_utf8(reason).unwrap_or_default()))
}

/// Calls `parse` with room for the fields of a head: for the usual number first, and if there are
/// more, for `fields_max`.
#[inline]
pub(super) fn with_room<T>(
    fields_max: usize,
    mut parse: impl FnMut(&mut [Line]) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut lines = [Line::default(); FIELDS_USUAL];
    match parse(&mut lines[..FIELDS_USUAL.min(fields_max)]) {
        Err(Refusal::TooManyFields) if fields_max > FIELDS_USUAL => {
            let mut lines = [Line::default(); FIELDS_MAX];
            parse(&mut lines[..FIELDS_MAX.min(fields_max)])
        }
        result => result,
    }
}
