//! Requests and their bodies.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use url::Url;

use super::origin::parse_url;
use super::{Error, ErrorKind};

/// What [`Upload::fill`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// This many bytes were written into the room. There may be more at once.
    Bytes(usize),
    /// There is nothing for now. [`Client::resume`](super::Client::resume) continues the upload.
    Later,
    /// The body is complete.
    End,
}

/// A body that is produced while it is sent. It is asked for more only when there is room, so a slow
/// server slows it down.
pub trait Upload: Send {
    /// Returns the length of the whole body, if it is known. If not, it is sent in chunks (RFC 9112
    /// section 7.1).
    fn length(&self) -> Option<u64> {
        None
    }

    /// Writes the next bytes of the body into `room`, which is not empty.
    ///
    /// # Errors
    /// When the body cannot be produced. The exchange fails, and the server sees that the request is
    /// incomplete.
    fn fill(&mut self, room: &mut [u8]) -> io::Result<Filled>;

    /// Begins anew, for a redirection or another attempt. Returns whether that is possible; by
    /// default it is not.
    fn restart(&mut self) -> bool {
        false
    }
}

/// The body of a request.
#[derive(Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// A range of a file, which the kernel sends (`sendfile(2)`) where there is no TLS.
    File {
        /// The file, open for reading.
        file: Arc<File>,
        /// Where the range begins.
        offset: u64,
        /// How long it is. A file that becomes shorter ends the exchange.
        length: u64,
    },
    /// What an [`Upload`] produces.
    Upload(Box<dyn Upload>),
}

impl Body {
    /// Returns the length, if it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File { length, .. } => Some(*length),
            Self::Upload(upload) => upload.length(),
        }
    }

    /// Begins anew. Returns whether that is possible.
    pub(super) fn restart(&mut self) -> bool {
        match self {
            Self::Upload(upload) => upload.restart(),
            _ => true,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?} bytes)", self.length())
    }
}

/// A request.
///
/// ```
/// use clients::http::Request;
///
/// let request = Request::get("http://127.0.0.1:8080/status")?.field("Accept", "text/plain");
/// assert_eq!(request.method, "GET");
/// assert!(Request::get("ftp://one.example/").is_err());
/// # Ok::<(), clients::http::Error>(())
/// ```
#[derive(Debug)]
pub struct Request {
    /// The method (RFC 9110 section 9), in the case in which it is sent.
    pub method: String,
    /// The URL. Its fragment is not sent. Its user and password are sent as `Authorization: Basic`
    /// (RFC 7617), unless `fields` have that.
    pub url: Url,
    /// The fields of the head, besides those that the client adds: `Host`, unless it is among them,
    /// and what frames the body.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Body,
    /// Names of fields that the client does not add.
    omitted: Vec<String>,
}

impl Request {
    /// Returns a request of `GET`.
    ///
    /// # Errors
    /// When the URL cannot be used.
    pub fn get(url: &str) -> Result<Self, Error> {
        Self::new("GET", url)
    }

    /// Returns a request without fields and body.
    ///
    /// # Errors
    /// When the URL cannot be used, or the method is no token (RFC 9110 section 5.6.2).
    pub fn new(method: &str, url: &str) -> Result<Self, Error> {
        Self::to(method, parse_url(url)?)
    }

    /// Returns a request for a URL that was parsed.
    ///
    /// # Errors
    /// When the method is no token.
    pub fn to(method: &str, url: Url) -> Result<Self, Error> {
        if !is_token(method) {
            let text = format!("{method:?} is no method: one consists of letters");
            return Err(Error::new(ErrorKind::Url, text));
        }
        let (fields, body, omitted) = (Vec::new(), Body::Empty, Vec::new());
        Ok(Self { method: method.to_owned(), url, fields, body, omitted })
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Sets the body to these bytes.
    #[must_use]
    pub fn with_body(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.body = Body::Bytes(bytes.into());
        self
    }

    /// Sets a field, in place of all of its name.
    pub fn set_field(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.remove_field(name);
        self.fields.push((name.to_owned(), value.into()));
    }

    /// Removes all fields of a name.
    pub fn remove_field(&mut self, name: &str) {
        self.fields.retain(|(it, _)| !it.eq_ignore_ascii_case(name));
    }

    /// Leaves out a field that the client would add, such as `User-Agent`.
    pub fn omit_field(&mut self, name: &str) {
        self.remove_field(name);
        self.omitted.push(name.to_owned());
    }

    /// Returns whether the client adds a field of this name.
    pub(super) fn leaves_open(&self, name: &str) -> bool {
        !self.has_field(name) && !self.omitted.iter().any(|it| it.eq_ignore_ascii_case(name))
    }

    /// Returns whether it has a field of this name.
    pub fn has_field(&self, name: &str) -> bool {
        self.fields.iter().any(|(it, _)| it.eq_ignore_ascii_case(name))
    }

    /// Returns whether doing it twice is the same as doing it once (RFC 9110 section 9.2.2). Only
    /// such a request is sent again when it is not known whether the server has carried it out.
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }

    /// Checks the fields.
    ///
    /// # Errors
    /// When a name is no token, or a value has a character that would end it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (name, value) in &self.fields {
            let is_wrong = value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
            if !is_token(name) || is_wrong {
                let value = String::from_utf8_lossy(value);
                let text = format!("{name:?}: {value:?} is no field of a head");
                return Err(Error::new(ErrorKind::Url, text));
            }
            let frames = ["content-length", "transfer-encoding"];
            if frames.iter().any(|it| name.eq_ignore_ascii_case(it)) {
                let text = format!("{name} cannot be set by hand: the body determines it");
                return Err(Error::new(ErrorKind::Url, text));
            }
        }
        Ok(())
    }
}

/// Returns whether a text is a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_would_break_the_head_is_refused() {
        let with = |name: &str, value: &str| {
            Request::get("http://one.example/").expect("it is a URL").field(name, value).check()
        };
        assert!(with("X-Mine", "1").is_ok());
        for (name, value) in [
            ("X Mine", "1"),
            ("", "1"),
            ("X:", "1"),
            ("X", "1\r\nY: 2"),
            ("X", "\0"),
            ("content-length", "1"),
            ("Transfer-Encoding", "chunked"),
        ] {
            assert!(with(name, value).is_err(), "{name}: {value}");
        }
        for method in ["", "GET ", "G\r\nET", "GÉT"] {
            assert!(Request::new(method, "http://one.example/").is_err(), "{method}");
        }
    }

    #[test]
    fn fields_are_replaced_whatever_their_case() {
        let mut request = Request::get("one.example").expect("it is a URL").field("Range", "a");
        request.set_field("range", "b");
        assert_eq!(request.fields, [("range".to_owned(), b"b".to_vec())]);
        assert!(request.has_field("RANGE"));
        request.remove_field("RANGE");
        assert!(!request.has_field("range"));
    }
}
