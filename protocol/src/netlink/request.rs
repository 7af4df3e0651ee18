//! What a program asks the kernel.

use super::message::{Flags, MESSAGE_HEADER_SIZE, MessageKind};

/// The size of the header of a message about links, in bytes (`struct ifinfomsg`, `rtnetlink(7)`). The
/// kernel takes it for addresses and routes too when everything is asked for.
const BODY_SIZE: usize = 16;
/// The attribute that says what links are to be told with (`IFLA_EXT_MASK`).
const EXTENSION_MASK: u16 = 29;
/// Statistics may be left out (`RTEXT_FILTER_SKIP_STATS`).
const SKIP_STATISTICS: u32 = 1 << 3;

/// Requests as bytes, to be sent to the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Request;

impl Request {
    /// Returns a request for everything of a kind: [`GET_LINK`](MessageKind::GET_LINK),
    /// [`GET_ADDRESS`](MessageKind::GET_ADDRESS) or [`GET_ROUTE`](MessageKind::GET_ROUTE). The answers
    /// repeat `sequence`. A socket has one dump at a time.
    pub fn dump(kind: MessageKind, sequence: u32) -> Vec<u8> {
        let mut body = vec![0; BODY_SIZE];
        if kind == MessageKind::GET_LINK {
            body.extend(8_u16.to_ne_bytes());
            body.extend(EXTENSION_MASK.to_ne_bytes());
            body.extend(SKIP_STATISTICS.to_ne_bytes());
        }
        let size = (MESSAGE_HEADER_SIZE + body.len()) as u32;
        let mut bytes = size.to_ne_bytes().to_vec();
        bytes.extend(kind.0.to_ne_bytes());
        bytes.extend((Flags::REQUEST.0 | Flags::DUMP.0).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(body);
        bytes
    }
}
