//! The reason why an exchange failed.

use std::fmt;

use protocol::Reason;
use protocol::http::Refusal;
use protocol::tls::{TlsError, TlsErrorKind};
use reactor::{ConnectError, ConnectErrorKind};

use super::tunnel::TunnelError;

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL cannot be used: it is none, has no host, or has a scheme other than `http` and `https`.
    Url,
    /// The name of the host is not known, or has no address.
    UnknownName,
    /// No connection was established.
    Connect,
    /// The proxy has refused to connect, or has broken its protocol.
    Proxy,
    /// TLS could not be agreed on, or was broken.
    Tls,
    /// The certificate of the server was refused.
    Certificate,
    /// A limit of time has passed. The text says which.
    TimedOut,
    /// The server has ended the connection before it began to answer.
    NoAnswer,
    /// The connection was lost while the request was sent or the response was received.
    Lost,
    /// The response ended before its end: it is incomplete.
    Truncated,
    /// The response breaks the rules of HTTP (RFC 9112), or a limit.
    Protocol,
    /// There were more redirections than are allowed.
    TooManyRedirects,
    /// A redirection leads nowhere: its location is missing or cannot be used, or the body of the
    /// request cannot be sent a second time.
    Redirect,
    /// The body cannot be decoded as its `Content-Encoding` says.
    Encoding,
    /// The body is larger than is allowed.
    TooLarge,
    /// The body of the request could not be read.
    Upload,
    /// The receiver of the response has failed.
    Receiver,
    /// The exchange was cancelled.
    Cancelled,
    /// The client does not take the request: it is closed, or too many requests wait.
    NotAccepted,
}

/// The reason why an exchange failed: one sentence, and a kind for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    text: String,
    may_be_done: bool,
}

/// How far an exchange had come when its connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The connection was being made: nothing of the request was sent.
    Connecting,
    /// The request was being sent, or the response had not begun.
    Waiting,
    /// The response had begun.
    Receiving,
}

impl Error {
    /// Returns an error of this kind.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), may_be_done: false }
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether the server may have carried out the request although it failed, in any of the
    /// attempts. If not, no byte of it has left this process, or the server has said that it did not.
    pub fn may_be_done(&self) -> bool {
        self.may_be_done
    }

    /// Says that the request may have been carried out.
    pub(super) fn after_sending(mut self) -> Self {
        self.may_be_done = true;
        self
    }

    /// Says that the request may have been carried out, if an earlier attempt may have been.
    pub(super) fn of_attempts(mut self, may_be_done: bool) -> Self {
        self.may_be_done |= may_be_done;
        self
    }

    /// Explains the end of the connection to `origin`.
    pub(crate) fn of_connection(origin: &str, reason: &Reason, progress: Progress) -> Self {
        let (kind, text) = explain(reason, progress);
        // The text of a connection that was not made names the address.
        let names_itself = matches!(reason, Reason::Failed { operation: "connect", .. });
        let text = if names_itself { text } else { format!("{origin}: {text}") };
        let error = Self::new(kind, text);
        if progress == Progress::Connecting { error } else { error.after_sending() }
    }
}

fn explain(reason: &Reason, progress: Progress) -> (ErrorKind, String) {
    use ErrorKind as Kind;
    let lost = match progress {
        Progress::Connecting => Kind::Connect,
        Progress::Waiting => Kind::NoAnswer,
        Progress::Receiving => Kind::Lost,
    };
    match reason {
        Reason::Failed { operation: "connect", error, .. } => {
            let known = error.get_ref().and_then(|it| it.downcast_ref::<ConnectError>());
            (known.map_or(Kind::Connect, |it| of_connect(it.kind())), error.to_string())
        }
        Reason::Refused(error) => refused(error.as_ref()),
        Reason::Deadline | Reason::Idle => match progress {
            Progress::Connecting => {
                (Kind::TimedOut, "the server does not answer: connecting took too long".into())
            }
            _ => (Kind::TimedOut, "the server does not answer: it was silent for too long".into()),
        },
        Reason::Finished | Reason::PeerClosed => {
            let text = match progress {
                Progress::Receiving => {
                    return (Kind::Truncated, "the server has cut its response short".into());
                }
                Progress::Connecting => "the server has ended the connection at once",
                Progress::Waiting => "the server has ended the connection without an answer",
            };
            (lost, text.into())
        }
        Reason::Limit(limit) if limit.starts_with("handshake") => (
            Kind::TimedOut,
            "the server does not answer: the handshake of TLS took too long".into(),
        ),
        Reason::Limit(limit) => (Kind::Protocol, format!("limit reached: {limit}")),
        Reason::Cancelled | Reason::Stopped => (Kind::Cancelled, reason.to_string()),
        _ => (lost, reason.to_string()),
    }
}

fn of_connect(kind: ConnectErrorKind) -> ErrorKind {
    match kind {
        ConnectErrorKind::TimedOut => ErrorKind::TimedOut,
        ConnectErrorKind::UnknownName | ConnectErrorKind::NotResolved => ErrorKind::UnknownName,
        _ => ErrorKind::Connect,
    }
}

/// Explains what a session, or the layer below it, has refused.
fn refused(error: &(dyn std::error::Error + Send + Sync + 'static)) -> (ErrorKind, String) {
    let kind = if let Some(tls) = error.downcast_ref::<TlsError>() {
        match tls.kind() {
            TlsErrorKind::Certificate => ErrorKind::Certificate,
            TlsErrorKind::Cut => ErrorKind::Truncated,
            _ => ErrorKind::Tls,
        }
    } else if error.is::<TunnelError>() {
        ErrorKind::Proxy
    } else if let Some(refusal) = error.downcast_ref::<Refusal>() {
        match refusal {
            Refusal::NoResponse => ErrorKind::NoAnswer,
            Refusal::Truncated => ErrorKind::Truncated,
            Refusal::ResponseTimeout | Refusal::ResponseStalled => ErrorKind::TimedOut,
            _ => ErrorKind::Protocol,
        }
    } else if let Some(known) = error.downcast_ref::<Error>() {
        known.kind
    } else {
        ErrorKind::Protocol
    };
    (kind, error.to_string())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
