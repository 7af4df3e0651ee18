//! The exit codes of `ws`, and the messages that come with them.

use protocol::Reason;
use protocol::websocket::{self, CloseCode, HandshakeError};

use crate::fetch::Failed;
use crate::http::{Error, ErrorKind, Progress};

/// The text at the end of the help.
pub(super) const HELP: &str = "\
Messages are text without the newline of their line, unless there is --binary or --whole. Standard input is sent as
fast as the server takes it. When all of it was sent and no message has come for --quiet seconds, ws closes the
connection. With --stay or --messages it does not.

On a terminal, control characters of messages are shown as escapes, and so are the bytes of binary messages.

REACTOR_BACKEND chooses epoll, epoll-lt, poll, select or uring. http_proxy, https_proxy, all_proxy and no_proxy name the
proxies unless there is --proxy.

Exit codes. Where fetch has a code for a case, it is the same:
  0    the connection was closed in order: by ws, or by the server with the code 1000, 1001 or none
  1    another failure; also when the server closes with another code, which the message names
  2    wrong arguments
  6    the name of the host is not known
  7    no connection was established
  8    the server breaks the rules of HTTP or WebSocket
  22   the server refuses: its status was not 101
  26   standard input is not UTF-8 (use --binary)
  28   a limit of time has passed: the server does not answer the handshake, a ping or the close frame
  35   TLS failed
  52   the server has closed before as many messages came as --messages says, or without an answer to the handshake
  56   the connection was lost, without a close frame
  60   the certificate of the server was refused
  63   a message is larger than --message-size-max
  97   the proxy does not connect
  130  interrupted
  141  standard output was closed";

/// The exit code for a status other than 101.
const STATUS: u8 = 22;
/// The exit code for standard input that cannot be sent.
pub(super) const INPUT: u8 = 26;
/// The exit code after a limit of time.
pub(super) const TIME: u8 = 28;
/// The exit code for messages that did not come.
const MISSING: u8 = 52;
/// The exit code for a connection that was lost.
const LOST: u8 = 56;
/// The exit code for a message that is too large.
const TOO_LARGE: u8 = 63;
/// The exit code after Ctrl-C: 128 plus the number of the signal.
pub(super) const INTERRUPTED: u8 = 130;

/// Explains the end of a connection that this side has not closed. `peer` is what messages call the
/// server.
pub(super) fn explain(peer: &str, reason: &Reason, is_open: bool) -> Failed {
    if let Reason::Refused(error) = reason {
        let code = match (error.downcast_ref(), error.downcast_ref()) {
            (Some(HandshakeError::Status(_)), _) => Some(STATUS),
            (_, Some(websocket::Error::Unclosed)) => Some(LOST),
            _ => None,
        };
        if let Some(code) = code {
            return Failed::new(code, format!("{peer}: {error}"));
        }
    }
    if let Reason::Limit(limit) = reason
        && limit.starts_with("message_size_max")
    {
        let text = format!("{peer}: a message is larger than --message-size-max");
        return Failed::new(TOO_LARGE, text);
    }
    let progress = if is_open { Progress::Receiving } else { Progress::Waiting };
    let error = Error::of_connection(peer, reason, progress);
    match error.kind() {
        // A cut of the stream below is the loss of the connection, however it shows.
        ErrorKind::Truncated => Failed::new(LOST, error.to_string()),
        _ => Failed::from(&error),
    }
}

/// Judges the end of a connection that this side has closed, if the server has sent no close frame.
/// Messages that were sent before may not have arrived.
pub(super) fn unanswered(peer: &str, reason: &Reason) -> Failed {
    match reason {
        Reason::Deadline => {
            let text = "the server did not answer the close frame in time: messages may be lost";
            Failed::new(TIME, format!("{peer}: {text}"))
        }
        _ => explain(peer, reason, true),
    }
}

/// Judges the close frame of a server, when `missing` of the messages that were wanted have not come.
pub(super) fn judge(
    peer: &str,
    code: Option<CloseCode>,
    reason: &str,
    missing: Option<u64>,
) -> Option<Failed> {
    let is_fine = [None, Some(CloseCode::NORMAL), Some(CloseCode::GOING_AWAY)].contains(&code);
    let text = format!("{peer}: {}", closing(code, reason));
    match missing {
        _ if !is_fine => Some(Failed::new(1, text)),
        Some(missing) => {
            Some(Failed::new(MISSING, format!("{text}: {missing} messages are missing")))
        }
        None => None,
    }
}

/// Returns what is said of the close frame of a server.
pub(super) fn closing(code: Option<CloseCode>, reason: &str) -> String {
    let code = code.map_or("without a code".to_owned(), |code| format!("with {code}"));
    let colon = if reason.is_empty() { "" } else { ": " };
    // The reason comes from outside, and may have control characters.
    format!("the server closes {code}{colon}{}", reason.escape_debug())
}

#[cfg(test)]
mod tests {
    use protocol::http::Refusal;

    use super::*;

    #[test]
    fn the_help_has_every_code() {
        let others = [1, 2, 6, 7, 8, 35, 60, 97, crate::output::CLOSED];
        let own = [STATUS, INPUT, TIME, MISSING, LOST, TOO_LARGE, INTERRUPTED];
        for code in others.into_iter().chain(own) {
            assert!(HELP.lines().any(|line| line.starts_with(&format!("  {code:<5}"))), "{code}");
        }
    }

    #[test]
    fn ends_have_their_codes() {
        let code = |reason: &Reason| explain("ws://a", reason, true).code;
        assert_eq!(code(&Reason::refused(HandshakeError::Status(403))), 22);
        assert_eq!(code(&Reason::refused(HandshakeError::Accept)), 8);
        assert_eq!(code(&Reason::refused(websocket::Error::Unclosed)), 56);
        assert_eq!(code(&websocket::Error::NotUtf8.into()), 8);
        assert_eq!(code(&websocket::Error::MessageSize.into()), 63);
        assert_eq!(code(&Reason::Idle), 28);
        assert_eq!(code(&Reason::PeerClosed), 56);
        let code = |reason: &Reason| explain("ws://a", reason, false).code;
        assert_eq!(code(&Reason::refused(Refusal::ResponseTimeout)), 28);
        assert_eq!(code(&Reason::refused(Refusal::NoResponse)), 52);
        assert_eq!(code(&Reason::PeerClosed), 52);
        let code = |reason: &Reason| unanswered("ws://a", reason).code;
        assert_eq!((code(&Reason::Deadline), code(&Reason::PeerClosed)), (28, 56));
    }

    #[test]
    fn close_codes_are_judged() {
        let judged = |number, missing| {
            judge("ws://a", CloseCode::new(number), "why\x1b", missing).map(|it| (it.code, it.text))
        };
        assert_eq!((judged(1000, None), judged(1001, None), judged(0, None)), (None, None, None));
        let (code, text) = judged(4000, Some(1)).expect("it is a failure");
        assert_eq!((code, text.as_str()), (1, "ws://a: the server closes with 4000: why\\u{1b}"));
        let (code, text) = judged(1000, Some(2)).expect("it is a failure");
        assert_eq!(code, 52);
        assert!(text.ends_with("2 messages are missing"), "{text}");
    }
}
