//! Compression of messages (RFC 7692 section 7.2).

use std::cell::Cell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Error;
use super::options::{Deflate, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// What a message in deflate ends with, which is not sent (RFC 7692 section 7.2.1).
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// The room for a flush: zlib repeats its marker if there is too little for it at once.
const FLUSH_ROOM: usize = 64;

/// How many states of each direction a thread keeps for connections without context takeover.
const KEPT_MAX: usize = 4;

/// What both sides have agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) takeover: bool,
    pub(super) bits: u8,
    pub(super) peer_takeover: bool,
    pub(super) peer_bits: u8,
}

impl Agreed {
    /// Returns whether this side compresses. zlib has no window of 8 bits, so messages for a peer
    /// that demands it are sent uncompressed.
    pub(super) fn compresses(self) -> bool {
        self.bits >= WINDOW_BITS_MIN
    }
}

/// States that no message uses at present. Each has several ten kilobytes, so connections that do not
/// take over context share them.
#[derive(Default)]
struct Kept {
    compressors: Vec<(u8, u8, Box<Compress>)>,
    #[allow(clippy::vec_box)] // They go from here to a connection and back as they are.
    decompressors: Vec<Box<Decompress>>,
}

thread_local! {
    static KEPT: Cell<Kept> = Cell::default();
}

/// Calls `act` with the states that this thread keeps.
fn with_kept<T>(act: impl FnOnce(&mut Kept) -> T) -> T {
    // At the end of a thread, nothing is kept.
    let mut kept = KEPT.try_with(Cell::take).unwrap_or_default();
    let result = act(&mut kept);
    let _ = KEPT.try_with(|cell| cell.set(kept));
    result
}

/// Returns a level that zlib knows, and a window.
fn settings(deflate: &Deflate, bits: u8) -> (u8, u8) {
    (deflate.level.clamp(1, 9), bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX))
}

/// Returns a compressor without context.
pub(super) fn compressor(deflate: &Deflate, bits: u8) -> Box<Compress> {
    let (level, bits) = settings(deflate, bits);
    let kept = with_kept(|kept| {
        let mut all = kept.compressors.iter();
        let place =
            all.position(|(its_level, its_bits, _)| (*its_level, *its_bits) == (level, bits));
        place.map(|place| kept.compressors.swap_remove(place).2)
    });
    match kept {
        Some(mut compress) => {
            compress.reset();
            compress
        }
        None => {
            let level = Compression::new(u32::from(level));
            Box::new(Compress::new_with_window_bits(level, false, bits))
        }
    }
}

/// Takes back a compressor for the next message that needs one.
pub(super) fn keep_compressor(compress: Box<Compress>, deflate: &Deflate, bits: u8) {
    let (level, bits) = settings(deflate, bits);
    with_kept(|kept| {
        kept.compressors.push((level, bits, compress));
        if kept.compressors.len() > KEPT_MAX {
            kept.compressors.remove(0);
        }
    });
}

/// Returns a decompressor without context, for the largest window.
pub(super) fn decompressor() -> Box<Decompress> {
    match with_kept(|kept| kept.decompressors.pop()) {
        Some(mut decompress) => {
            decompress.reset(false);
            decompress
        }
        None => Box::new(Decompress::new_with_window_bits(false, WINDOW_BITS_MAX)),
    }
}

/// Takes back a decompressor for the next message that needs one.
pub(super) fn keep_decompressor(decompress: Box<Decompress>) {
    with_kept(|kept| {
        if kept.decompressors.len() < KEPT_MAX {
            kept.decompressors.push(decompress);
        }
    });
}

/// Returns a decompressor for a window of its own size.
pub(super) fn own_decompressor(bits: u8) -> Box<Decompress> {
    let bits = bits.clamp(WINDOW_BITS_MIN, WINDOW_BITS_MAX);
    Box::new(Decompress::new_with_window_bits(false, bits))
}

/// Compresses a payload that is not empty. Returns `None` if zlib refuses, which it does not.
pub(super) fn compress(compress: &mut Compress, payload: &[u8]) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(payload.len() / 2 + FLUSH_ROOM);
    let start = compress.total_in();
    loop {
        let done = (compress.total_in() - start) as usize;
        if output.capacity() - output.len() < FLUSH_ROOM {
            output.reserve(output.len() + FLUSH_ROOM);
        }
        compress.compress_vec(&payload[done..], &mut output, FlushCompress::Sync).ok()?;
        let done = (compress.total_in() - start) as usize;
        if done == payload.len() && output.len() < output.capacity() {
            break;
        }
    }
    let end = output.len().checked_sub(TAIL.len())?;
    if output[end..] != TAIL {
        return None;
    }
    output.truncate(end);
    Some(output)
}

/// Decompresses `input` to the end of `output`, until that has `most` bytes or the input is used up.
/// Returns how many bytes of input were used. If `output` is not full then, nothing is held back.
pub(super) fn decompress(
    decompress: &mut Decompress,
    input: &[u8],
    output: &mut Vec<u8>,
    most: usize,
) -> Result<usize, Error> {
    let mut used = 0;
    while output.len() < most {
        if output.len() == output.capacity() {
            let more = output.len().max(1024).min(most - output.len());
            output.reserve_exact(more);
        }
        let (read, written) = (decompress.total_in(), output.len());
        let status = decompress
            .decompress_vec(&input[used..], output, FlushDecompress::Sync)
            .map_err(|_| Error::Deflate)?;
        let count = (decompress.total_in() - read) as usize;
        used += count;
        if status == Status::StreamEnd {
            // A final block ends the stream of zlib, but not the message (RFC 7692 section 7.2.3.4).
            decompress.reset(false);
            if used == input.len() {
                break;
            }
        } else if output.len() < output.capacity() {
            if used == input.len() {
                break;
            }
            if count == 0 && output.len() == written {
                return Err(Error::Deflate);
            }
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflated(message: &[u8], most: usize) -> Result<Vec<u8>, Error> {
        let (mut state, mut output) = (decompressor(), Vec::new());
        for part in [message, &TAIL] {
            let used = decompress(&mut state, part, &mut output, most)?;
            if used < part.len() {
                break;
            }
        }
        keep_decompressor(state);
        Ok(output)
    }

    #[test]
    fn the_examples_of_the_rfc_are_decompressed() {
        let examples: [&[u8]; 5] = [
            // RFC 7692 sections 7.2.3.1, 7.2.3.3 to 7.2.3.5.
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        ];
        for example in examples {
            assert_eq!(inflated(example, 100), Ok(b"Hello".to_vec()), "{example:x?}");
        }
        assert_eq!(inflated(&[0x00], 100), Ok(Vec::new()));
        assert_eq!(inflated(&[], 100), Ok(Vec::new()));
        assert_eq!(inflated(&[0xFF, 0xFF], 100), Err(Error::Deflate));
    }

    #[test]
    fn the_context_of_the_last_message_is_used() {
        // RFC 7692 section 7.2.3.2.
        let (mut state, mut output) = (own_decompressor(15), Vec::new());
        for message in [&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], &[0xf2, 0x00, 0x11, 0, 0]]
        {
            output.clear();
            for part in [message, &TAIL] {
                assert_eq!(decompress(&mut state, part, &mut output, 100), Ok(part.len()));
            }
            assert_eq!(output, b"Hello");
        }
    }

    #[test]
    fn every_size_is_compressed_and_decompressed() {
        let deflate = Deflate::default();
        let mut random = crate::Random::new(5);
        let noise = random.bytes(70_000);
        for bits in [9, 12, 15] {
            for size in (1..300).chain([1000, 4096, 65_535, 65_536, 70_000]) {
                for payload in [noise[..size].to_vec(), vec![b'a'; size]] {
                    let mut state = compressor(&deflate, bits);
                    let message = compress(&mut state, &payload).expect("it is compressed");
                    keep_compressor(state, &deflate, bits);
                    assert_eq!(inflated(&message, 100_000).as_ref(), Ok(&payload));
                    // A limit holds whatever there is.
                    let part = inflated(&message, 10).expect("it is valid");
                    assert_eq!(part, payload[..size.min(10)]);
                }
            }
        }
    }
}
