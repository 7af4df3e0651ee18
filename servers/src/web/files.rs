//! Responses with files, lists of folders, and errors.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use log::warn;
use nix::errno::Errno;
use protocol::FileRange;
use protocol::http::{Fields, Head, RequestHead, Response, Status};
use reactor::time_of_day;

use super::cache::Cache;
use super::conditions::{Conditions, Verdict};
use super::config::Config;
use super::encoding::{Accepted, Encoding};
use super::file::{Content, Found, ServedFile};
use super::listing;
use super::path::{RequestPath, encode};
use super::range::{self, Part, Parts};

/// The methods for files.
pub(crate) const METHODS: &str = "GET, HEAD, OPTIONS";

/// Entries that a list of a folder has at most.
const LISTED_MAX: usize = 10_000;

/// What is in memory and at most this long is copied into the output, so that one write without
/// further segments sends it.
const COPIED_MAX: usize = 8 * 1024;

/// What was sent, for the access log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) status: Status,
    /// Bytes of the body.
    pub(crate) bytes: u64,
}

/// What answers with files.
pub(crate) struct Files<'a> {
    pub(crate) config: &'a Config,
    pub(crate) cache: &'a mut Cache,
    pub(crate) now: Instant,
}

impl Files<'_> {
    /// Answers a request to a path below a root.
    pub(crate) fn answer(
        &mut self,
        head: &RequestHead<'_>,
        path: &RequestPath,
        response: &mut Response<'_>,
    ) -> Sent {
        match head.method() {
            "GET" | "HEAD" => {}
            "OPTIONS" => return options(response),
            _ => {
                return self.error(Status::METHOD_NOT_ALLOWED, &[("Allow", METHODS)], response);
            }
        }
        let root = self.config.root_of(head.host());
        let Some(root) = root.filter(|_| self.config.shows(path)) else {
            return self.error(Status::NOT_FOUND, &[], response);
        };
        match self.find(root, path.relative()) {
            Found::File(file) if !path.is_folder() => self.file(&file, head, response),
            Found::Folder if path.is_folder() => self.folder(root, path, head, response),
            Found::Folder => redirect(path, head.query(), response),
            Found::File(_) | Found::Missing => self.error(Status::NOT_FOUND, &[], response),
            Found::Forbidden => self.refuse("open", path, Errno::EACCES, response),
            Found::Failed(errno) => self.refuse("open", path, errno, response),
        }
    }

    /// Answers that something is there that cannot be sent, and logs why.
    fn refuse(
        &mut self,
        operation: &str,
        path: &RequestPath,
        errno: Errno,
        response: &mut Response<'_>,
    ) -> Sent {
        warn!("cannot {operation} {}: {errno}", path.text().escape_debug());
        let status = match errno {
            Errno::EACCES | Errno::EPERM => Status::FORBIDDEN,
            _ => Status::INTERNAL_SERVER_ERROR,
        };
        self.error(status, &[], response)
    }

    fn find(&mut self, root: usize, path: &str) -> Found {
        self.cache.find(root, &self.config.roots[root], path, self.now)
    }

    /// Answers with the index of a folder, or a list of it.
    fn folder(
        &mut self,
        root: usize,
        path: &RequestPath,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
    ) -> Sent {
        let config = self.config;
        for name in &config.index {
            let found = match path.relative() {
                "." => self.find(root, name),
                folder => self.find(root, &format!("{folder}/{name}")),
            };
            match found {
                Found::File(file) => return self.file(&file, head, response),
                Found::Missing | Found::Folder => {}
                // Neither another index nor a list takes its place.
                Found::Forbidden => return self.refuse("open", path, Errno::EACCES, response),
                Found::Failed(errno) => return self.refuse("open", path, errno, response),
            }
        }
        if !config.has_listing {
            return self.error(Status::FORBIDDEN, &[], response);
        }
        let entries =
            config.roots[root].entries(path.relative(), LISTED_MAX, |name| config.lists(name));
        match entries {
            Ok((entries, has_more)) => {
                let page = listing::page(path.text(), &entries, has_more);
                let head = response
                    .head(Status::OK)
                    .field("Content-Type", "text/html; charset=utf-8")
                    .field("Content-Security-Policy", "script-src 'none'; object-src 'none'");
                head.body(page.as_bytes());
                sent(Status::OK, page.len() as u64, response)
            }
            Err(error) => {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
                self.refuse("list", path, errno, response)
            }
        }
    }

    /// Answers with a file, or says that the client has it.
    fn file(
        &mut self,
        file: &Rc<ServedFile>,
        head: &RequestHead<'_>,
        response: &mut Response<'_>,
    ) -> Sent {
        let asked = Asked::of(&head.fields());
        let encoding = if file.has_forms() {
            asked.accepted.choose(|it| file.form(it).is_some())
        } else {
            None
        };
        let form = encoding.and_then(|it| file.form(it)).unwrap_or(file);
        let answer = Answer { file: form, encoding, varies: file.has_forms(), config: self.config };
        match asked.conditions.judge(&form.validators()) {
            Verdict::Failed => return self.error(Status::PRECONDITION_FAILED, &[], response),
            Verdict::NotModified => {
                answer.validators(response.head(Status::NOT_MODIFIED)).empty();
                return sent(Status::NOT_MODIFIED, 0, response);
            }
            Verdict::Proceed => {}
        }
        let parts = match asked.range {
            Some(range) if head.method() == "GET" && asked.range_holds(form) => {
                range::parse(range, form.size)
            }
            _ => Parts::Whole,
        };
        match parts {
            Parts::Whole => answer.whole(response),
            Parts::One(part) => answer.part(part, response),
            Parts::Several(parts) => answer.parts(&parts, response),
            Parts::Unsatisfiable => {
                let range = format!("bytes */{}", form.size);
                let fields = [("Content-Range", range.as_str())];
                self.error(Status::RANGE_NOT_SATISFIABLE, &fields, response)
            }
        }
    }

    /// Answers with an error, whose body is a file if there is one for its status.
    pub(crate) fn error(
        &mut self,
        status: Status,
        fields: &[(&str, &str)],
        response: &mut Response<'_>,
    ) -> Sent {
        let page = self.config.error_page(status.code());
        let page = page.map(|(root, path)| self.find(root, path.relative()));
        let mut head = response.head(status);
        for (name, value) in fields {
            head = head.field(name, value);
        }
        if let Some(Found::File(page)) = page {
            let length = page.size;
            whole_body(&page, head.field("Content-Type", &*page.media_type));
            return sent(status, length, response);
        }
        let text = format!("{} {}\n", status.code(), status.reason());
        head.field("Content-Type", "text/plain; charset=utf-8").body(text.as_bytes());
        sent(status, text.len() as u64, response)
    }
}

/// Answers `OPTIONS` (RFC 9110, section 9.3.7).
pub(crate) fn options(response: &mut Response<'_>) -> Sent {
    response.head(Status::NO_CONTENT).field("Allow", METHODS).empty();
    sent(Status::NO_CONTENT, 0, response)
}

/// Refers to a folder by its path with a slash. Relative links of its page need that.
fn redirect(path: &RequestPath, query: Option<&str>, response: &mut Response<'_>) -> Sent {
    let mut location = String::new();
    encode(path.text().as_bytes(), &mut location);
    location.push('/');
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    response.redirect(Status::MOVED_PERMANENTLY, &location);
    sent(Status::MOVED_PERMANENTLY, 0, response)
}

/// Returns what was sent: without a body if the client has asked for none.
pub(crate) fn sent(status: Status, bytes: u64, response: &Response<'_>) -> Sent {
    Sent { status, bytes: if response.wants_body() { bytes } else { 0 } }
}

/// The fields of a request that decide how a file is sent.
#[derive(Default)]
struct Asked<'a> {
    conditions: Conditions<'a>,
    accepted: Accepted,
    range: Option<&'a [u8]>,
    /// `Range` came more than once, so it is not heeded.
    has_ranges: bool,
}

impl<'a> Asked<'a> {
    fn of(fields: &Fields<'a>) -> Self {
        let mut asked = Self::default();
        for field in fields.iter() {
            let (name, value) = (field.name, field.value);
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            match name.len() {
                5 if is("range") => {
                    asked.has_ranges = asked.range.is_some();
                    asked.range = Some(value);
                }
                8 if is("if-range") => asked.conditions.if_range = Some(value),
                8 if is("if-match") => asked.conditions.if_match.push(value),
                13 if is("if-none-match") => asked.conditions.if_none_match.push(value),
                15 if is("accept-encoding") => asked.accepted.add(value),
                17 if is("if-modified-since") => asked.conditions.if_modified_since = Some(value),
                19 if is("if-unmodified-since") => {
                    asked.conditions.if_unmodified_since = Some(value);
                }
                _ => {}
            }
        }
        asked
    }

    fn range_holds(&self, file: &ServedFile) -> bool {
        let now = time_of_day().as_secs();
        !self.has_ranges && self.conditions.range_holds(&file.validators(), now)
    }
}

/// A file that is sent, in one form.
struct Answer<'a> {
    file: &'a ServedFile,
    encoding: Option<Encoding>,
    /// Whether other clients may get another form.
    varies: bool,
    config: &'a Config,
}

impl Answer<'_> {
    /// Adds the fields that 200, 206 and 304 have.
    fn validators<'h>(&self, head: Head<'h>) -> Head<'h> {
        let mut head = head
            .field("ETag", self.file.validators().tag)
            .field("Last-Modified", &self.file.modified_field);
        if self.varies {
            head = head.field("Vary", "Accept-Encoding");
        }
        for (name, value) in &self.config.fields {
            head = head.field(name, value);
        }
        head
    }

    fn head<'h>(&self, status: Status, response: &'h mut Response<'_>) -> Head<'h> {
        let head = self.validators(response.head(status)).field("Accept-Ranges", "bytes");
        match self.encoding {
            Some(encoding) => head.field("Content-Encoding", encoding.name()),
            None => head,
        }
    }

    fn whole(&self, response: &mut Response<'_>) -> Sent {
        let head = self.head(Status::OK, response);
        whole_body(self.file, head.field("Content-Type", &*self.file.media_type));
        sent(Status::OK, self.file.size, response)
    }

    fn part(&self, part: Part, response: &mut Response<'_>) -> Sent {
        let head = self.head(Status::PARTIAL_CONTENT, response);
        let head = head
            .field("Content-Type", &*self.file.media_type)
            .field("Content-Range", self.content_range(part));
        match &self.file.content {
            Content::Memory(bytes) => head.body(slice(bytes, part)),
            Content::Open(file) => head.file(range_of(file, part)),
        }
        sent(Status::PARTIAL_CONTENT, part.length, response)
    }

    /// Sends several parts (RFC 9110, section 14.6).
    fn parts(&self, parts: &[Part], response: &mut Response<'_>) -> Sent {
        let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let media_type = &self.file.media_type;
        let heads: Vec<String> = parts
            .iter()
            .map(|part| {
                let range = self.content_range(*part);
                format!(
                    "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n"
                )
            })
            .collect();
        let end = format!("\r\n--{boundary}--\r\n");
        let sizes = heads.iter().zip(parts).map(|(head, part)| head.len() as u64 + part.length);
        let length = sizes.sum::<u64>() + end.len() as u64;
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        let head = self.head(Status::PARTIAL_CONTENT, response);
        head.field("Content-Type", &content_type).length(length);
        for (head, part) in heads.iter().zip(parts) {
            response.write(head.as_bytes());
            match &self.file.content {
                Content::Memory(bytes) => response.write(slice(bytes, *part)),
                Content::Open(file) => response.file(range_of(file, *part)),
            }
        }
        response.write(end.as_bytes());
        sent(Status::PARTIAL_CONTENT, length, response)
    }

    fn content_range(&self, part: Part) -> String {
        let last = part.start + part.length - 1;
        format!("bytes {}-{last}/{}", part.start, self.file.size)
    }
}

fn whole_body(file: &ServedFile, head: Head<'_>) {
    match &file.content {
        Content::Memory(bytes) if bytes.len() <= COPIED_MAX => head.body(bytes),
        Content::Memory(bytes) => head.shared(Arc::clone(bytes)),
        Content::Open(open) => head.file(range_of(open, Part { start: 0, length: file.size })),
    }
}

fn slice(bytes: &[u8], part: Part) -> &[u8] {
    &bytes[part.start as usize..(part.start + part.length) as usize]
}

fn range_of(file: &Arc<std::fs::File>, part: Part) -> FileRange {
    FileRange { file: Arc::clone(file), offset: part.start, length: part.length }
}
