//! A toy layer for tests of layers. It protects nothing.

use std::error::Error;

use crate::link::{Layer, Opened};
use crate::{Buffer, Output};

/// The first bytes of each side.
const HELLO: &[u8; 4] = b"toy1";
/// The last bytes of a side that cannot go on: an alert.
const ALERT: [u8; 2] = [0xff, 0xff];
/// How many bytes one record holds.
const RECORD_MAX: usize = 4096;

/// A toy [`Layer`] for tests. It protects nothing. Each side sends a greeting and then records. A
/// record is a length of two bytes and bytes that are exclusive-ored with a keystream. A record of
/// length zero ends the stream. For a link, it has all parts of TLS: a handshake, alerts, records,
/// and its own end of the stream.
#[derive(Debug, Default)]
pub struct ToyCipher {
    is_ready: bool,
    opened: u64,
    sealed: u64,
}

impl ToyCipher {
    /// Combines `bytes`, which are at `position` of the stream, with the keystream.
    fn mix(bytes: &mut [u8], position: u64) {
        for (byte, position) in bytes.iter_mut().zip(position..) {
            *byte ^= (position.wrapping_mul(167) >> 3) as u8 ^ 0x5a;
        }
    }

    /// Opens the first record in place. Returns the size of its plaintext, or `None` while the
    /// record is incomplete.
    fn open_record(
        &mut self,
        sealed: &mut [u8],
        wire: &mut Output,
    ) -> Result<Option<usize>, Box<dyn Error + Send + Sync>> {
        let [high, low, rest @ ..] = sealed else { return Ok(None) };
        if [*high, *low] == ALERT {
            return Err("the peer cannot open what it was sent".into());
        }
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        if size > RECORD_MAX {
            wire.append(&ALERT);
            return Err(format!("a record of {size} bytes, more than {RECORD_MAX}").into());
        }
        let Some(record) = rest.get_mut(..size) else { return Ok(None) };
        Self::mix(record, self.opened);
        self.opened += size as u64;
        Ok(Some(size))
    }
}

impl Layer for ToyCipher {
    fn start(&mut self, wire: &mut Output) {
        wire.append(HELLO);
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn open(
        &mut self,
        sealed: &mut Buffer,
        plain: &mut Buffer,
        wire: &mut Output,
    ) -> Result<Opened, Box<dyn Error + Send + Sync>> {
        if !self.is_ready {
            let seen = sealed.len().min(HELLO.len());
            if sealed.filled()[..seen] != HELLO[..seen] {
                wire.append(&ALERT);
                return Err("the peer does not greet as this layer does".into());
            }
            if seen < HELLO.len() {
                return Ok(Opened::GoesOn);
            }
            sealed.consume(HELLO.len());
            self.is_ready = true;
        }
        while let Some(size) = self.open_record(sealed.filled_mut(), wire)? {
            plain.extend_from_slice(&sealed.filled()[2..2 + size]);
            sealed.consume(2 + size);
            if size == 0 {
                sealed.clear();
                return Ok(Opened::Ended);
            }
        }
        Ok(Opened::GoesOn)
    }

    fn seal(
        &mut self,
        plain: &[u8],
        wire: &mut Output,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        for piece in plain.chunks(RECORD_MAX) {
            let mut record = piece.to_vec();
            Self::mix(&mut record, self.sealed);
            self.sealed += piece.len() as u64;
            wire.append(&(piece.len() as u16).to_be_bytes());
            wire.append(&record);
        }
        Ok(())
    }

    fn finish(&mut self, wire: &mut Output) {
        wire.append(&[0, 0]);
    }
}
