//! Close codes and the payload of close frames (RFC 6455 sections 5.5.1 and 7.4).

use std::fmt;

use super::Error;

/// The longest reason of a close frame in bytes: a control frame has 125, of which the code takes
/// two.
pub const CLOSE_REASON_MAX: usize = 123;

/// Why a side closes (RFC 6455 section 7.4). Only codes that may be in a close frame exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server stops, or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the rules of WebSocket.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The peer sent a kind of data that this side does not accept.
    pub const UNSUPPORTED: Self = Self(1003);
    /// The peer sent data that does not fit their kind, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// The peer broke a rule of the application.
    pub const POLICY: Self = Self(1008);
    /// The message of the peer is too large.
    pub const TOO_LARGE: Self = Self(1009);
    /// The client misses an extension that the server did not agree to.
    pub const EXTENSION_MISSING: Self = Self(1010);
    /// This side met a condition that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The service restarts. Clients connect again after a random pause.
    pub const RESTART: Self = Self(1012);
    /// The service is overloaded. Clients connect again later.
    pub const TRY_LATER: Self = Self(1013);
    /// A gateway got an invalid answer from its upstream.
    pub const BAD_GATEWAY: Self = Self(1014);

    /// Returns the code of a number: 1000 to 1003, 1007 to 1014, or 3000 to 4999, which belong to
    /// libraries and applications. Other numbers are reserved.
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(number)),
            _ => None,
        }
    }

    /// Returns the number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::NORMAL => "normal",
            Self::GOING_AWAY => "going away",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::UNSUPPORTED => "unsupported data",
            Self::INVALID_DATA => "invalid data",
            Self::POLICY => "policy violation",
            Self::TOO_LARGE => "message too large",
            Self::EXTENSION_MISSING => "extension missing",
            Self::INTERNAL_ERROR => "internal error",
            Self::RESTART => "restart",
            Self::TRY_LATER => "try again later",
            Self::BAD_GATEWAY => "bad gateway",
            Self(number) => return write!(f, "{number}"),
        };
        write!(f, "{} ({text})", self.0)
    }
}

/// Reads the payload of a close frame: the code, if there is one, and the reason.
pub(super) fn read(payload: &[u8]) -> Result<(Option<CloseCode>, &str), Error> {
    match payload {
        [] => Ok((None, "")),
        [_] => Err(Error::CloseTooShort),
        [high, low, reason @ ..] => {
            let number = u16::from_be_bytes([*high, *low]);
            let code = CloseCode::new(number).ok_or(Error::CloseCode(number))?;
            let reason = std::str::from_utf8(reason).map_err(|_| Error::CloseReason)?;
            Ok((Some(code), reason))
        }
    }
}

/// Returns the beginning of a reason that fits into a close frame and ends between characters.
pub(super) fn fitted(reason: &str) -> &str {
    let most = reason.len().min(CLOSE_REASON_MAX);
    let end = (0..=most).rev().find(|end| reason.is_char_boundary(*end));
    &reason[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_or_refused_as_the_rfc_says() {
        for number in 0..=u16::MAX {
            let is_allowed = match number {
                // 1004 is reserved; 1005, 1006 and 1015 must not be sent.
                1000..=1014 => ![1004, 1005, 1006].contains(&number),
                3000..=4999 => true,
                _ => false,
            };
            let [high, low] = number.to_be_bytes();
            let payload = [high, low, b'w', b'h', b'y'];
            let found = read(&payload);
            match CloseCode::new(number) {
                Some(code) => {
                    assert!(is_allowed);
                    assert_eq!(found, Ok((Some(code), "why")));
                    assert!(code.to_string().starts_with(&number.to_string()));
                }
                None => {
                    assert!(!is_allowed);
                    assert_eq!(found, Err(Error::CloseCode(number)));
                }
            }
        }
    }

    #[test]
    fn payloads_that_are_no_code_and_text_are_refused() {
        assert_eq!(read(b""), Ok((None, "")));
        assert_eq!(read(b"\x03"), Err(Error::CloseTooShort));
        assert_eq!(read(b"\x03\xe8\xc3"), Err(Error::CloseReason));
    }

    #[test]
    fn a_long_reason_ends_between_characters() {
        let reason = "ä".repeat(100);
        assert_eq!(fitted(&reason).len(), 122);
        assert_eq!(fitted("short"), "short");
    }
}
