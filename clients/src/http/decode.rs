//! Content codings (RFC 9110 section 8.4): gzip, deflate, Brotli and Zstandard.

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation, OutBuffer};

use super::{Error, ErrorKind};

/// What a client that decodes sends as `Accept-Encoding`.
pub(super) const ACCEPTED: &str = "gzip, deflate, br, zstd";

/// How many bytes are decoded at a time. So a small body that decodes to a huge one takes no memory.
const PIECE: usize = 32 * 1024;

/// The largest window of Zstandard, as a power of two: 8 MiB (RFC 9659 section 3).
const ZSTD_WINDOW_MAX: u32 = 23;

/// The window of deflate, as a power of two: the largest (RFC 1951).
const DEFLATE_WINDOW: u8 = 15;

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// Decodes one body. Several codings that were applied one after the other are not supported, since
/// no server uses them.
pub(super) struct Decoder {
    coding: Coding,
    room: Box<[u8]>,
    /// The last frame, or member, was complete.
    is_complete: bool,
}

enum Coding {
    Gzip(Decompress),
    Deflate(Decompress),
    Brotli(Box<Brotli>),
    Zstd(Zstd<'static>),
}

/// What one step has done.
struct Step {
    consumed: usize,
    produced: usize,
    is_complete: bool,
}

impl Decoder {
    /// Returns what decodes a body of this `Content-Encoding`; `None` for one that is not encoded.
    pub(super) fn of(encoding: &str) -> Result<Option<Self>, Error> {
        let coding = match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => return Ok(None),
            "gzip" | "x-gzip" => Coding::Gzip(Decompress::new_gzip(DEFLATE_WINDOW)),
            "deflate" => Coding::Deflate(Decompress::new(true)),
            "br" => {
                let alloc = StandardAlloc::default;
                let mut state = Brotli::new(alloc(), alloc(), alloc());
                // The format of RFC 7932, whose window is at most 16 MiB.
                state.large_window = false;
                Coding::Brotli(Box::new(state))
            }
            "zstd" => Coding::Zstd(zstd()?),
            other => {
                let text = format!("the body has the encoding {other:?}, which is not supported");
                return Err(Error::new(ErrorKind::Encoding, text));
            }
        };
        Ok(Some(Self { coding, room: vec![0; PIECE].into_boxed_slice(), is_complete: true }))
    }

    /// Decodes a piece of the body, and calls `take` with what comes out, in pieces.
    pub(super) fn decode<E: From<Error>>(
        &mut self,
        mut input: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let step = self.coding.step(input, &mut self.room)?;
            input = &input[step.consumed..];
            self.is_complete = step.is_complete && input.is_empty();
            if step.produced > 0 {
                take(&self.room[..step.produced])?;
            }
            if step.is_complete && !input.is_empty() {
                self.coding.begin_next()?;
                continue;
            }
            let is_stuck = step.consumed == 0 && step.produced == 0;
            if input.is_empty() && step.produced < self.room.len() {
                return Ok(());
            }
            if is_stuck {
                return Err(self.coding.broken("it makes no progress").into());
            }
        }
    }

    /// Checks that the body is complete.
    pub(super) fn finish(&self) -> Result<(), Error> {
        match self.is_complete {
            true => Ok(()),
            false => Err(self.coding.broken("it ends too early")),
        }
    }
}

fn zstd() -> Result<Zstd<'static>, Error> {
    let failed = |error| Error::new(ErrorKind::Encoding, format!("zstd: {error}"));
    let mut decoder = Zstd::new().map_err(failed)?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_MAX)).map_err(failed)?;
    Ok(decoder)
}

impl Coding {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, Error> {
        match self {
            Self::Gzip(state) | Self::Deflate(state) => {
                let before = (state.total_in(), state.total_out());
                let status = state.decompress(input, room, FlushDecompress::None);
                let (consumed, produced) = (
                    (state.total_in() - before.0) as usize,
                    (state.total_out() - before.1) as usize,
                );
                let is_complete = match status {
                    Ok(status) => status == Status::StreamEnd,
                    Err(error) => return Err(self.broken(&error.to_string())),
                };
                Ok(Step { consumed, produced, is_complete })
            }
            Self::Brotli(state) => {
                let (mut left, mut free, mut total) = (input.len(), room.len(), 0);
                let (mut consumed, mut produced) = (0, 0);
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut consumed,
                    input,
                    &mut free,
                    &mut produced,
                    room,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => Err(self.broken("it is damaged")),
                    result => {
                        let is_complete = matches!(result, BrotliResult::ResultSuccess);
                        Ok(Step { consumed, produced, is_complete })
                    }
                }
            }
            Self::Zstd(state) => {
                let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(room));
                match state.run(&mut from, &mut to) {
                    Ok(hint) => Ok(Step {
                        consumed: from.pos(),
                        produced: to.pos(),
                        is_complete: hint == 0,
                    }),
                    Err(error) => Err(self.broken(&error.to_string())),
                }
            }
        }
    }

    /// Begins another member of gzip (RFC 1952 section 2.2), or another frame of Zstandard. The other
    /// codings have none.
    fn begin_next(&mut self) -> Result<(), Error> {
        match self {
            Self::Gzip(state) => {
                *state = Decompress::new_gzip(DEFLATE_WINDOW);
                Ok(())
            }
            Self::Zstd(_) => Ok(()),
            _ => Err(self.broken("something follows its end")),
        }
    }

    fn broken(&self, why: &str) -> Error {
        Error::new(ErrorKind::Encoding, format!("the body cannot be decoded as {self}: {why}"))
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "gzip",
            Self::Deflate(_) => "deflate",
            Self::Brotli(_) => "br",
            Self::Zstd(_) => "zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn decoded(encoding: &str, body: &[u8], size: usize) -> Result<Vec<u8>, Error> {
        let mut decoder = Decoder::of(encoding)?.expect("it is encoded");
        let mut all = Vec::new();
        for piece in body.chunks(size) {
            decoder.decode(piece, |bytes| {
                all.extend_from_slice(bytes);
                Ok::<(), Error>(())
            })?;
        }
        decoder.finish().map(|()| all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("memory takes everything");
        encoder.finish().expect("memory takes everything")
    }

    /// The three codings that can be made here; `br` is decoded in the tests of the tool.
    fn encoded(bytes: &[u8]) -> [(&'static str, Vec<u8>); 3] {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(bytes).expect("memory takes everything");
        let zlib = zlib.finish().expect("memory takes everything");
        let zstd = zstd::encode_all(bytes, 3).expect("memory takes everything");
        [("gzip", gzip(bytes)), ("deflate", zlib), ("zstd", zstd)]
    }

    #[test]
    fn bodies_are_decoded_in_pieces_of_any_size() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|it| (it / 7 % 251).to_le_bytes()).collect();
        for (encoding, body) in encoded(&text) {
            for size in [1, 7, 1000, usize::MAX] {
                let back = decoded(encoding, &body, size.min(body.len())).expect(encoding);
                assert!(back == text, "{encoding} in pieces of {size}");
            }
        }
        assert!(decoded("GZIP", &gzip(b""), 1).expect("it is empty").is_empty());
    }

    #[test]
    fn a_body_that_ends_too_early_or_is_damaged_is_an_error() {
        for (encoding, body) in encoded(&b"some text ".repeat(1000)) {
            for cut in 1..body.len() {
                assert!(decoded(encoding, &body[..cut], 16).is_err(), "{encoding} cut at {cut}");
            }
        }
        for (encoding, body) in encoded(&b"some text ".repeat(1000)) {
            let mut body = body;
            body[0] ^= 0xff;
            let error = decoded(encoding, &body, 16).expect_err("the magic number is wrong");
            assert_eq!(error.kind(), ErrorKind::Encoding, "{error}");
        }
        let longer = [gzip(b"a"), b"trailing".to_vec()].concat();
        assert!(decoded("gzip", &longer, 100).is_err());
        assert!(decoded("br", b"\xff\xff\xff\xff", 100).is_err());
    }

    #[test]
    fn several_members_are_one_body() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        for size in 1..two.len() {
            assert_eq!(decoded("gzip", &two, size).expect("it is whole"), b"one two");
        }
    }

    #[test]
    fn a_bomb_comes_out_in_small_pieces() {
        let bomb = gzip(&vec![0; 64 * 1024 * 1024]);
        assert!(bomb.len() < 100_000);
        let mut decoder = Decoder::of("gzip").expect("it is known").expect("it is encoded");
        let (mut total, mut largest) = (0, 0);
        decoder
            .decode(&bomb, |bytes| {
                total += bytes.len();
                largest = largest.max(bytes.len());
                Ok::<(), Error>(())
            })
            .expect("it is whole");
        assert_eq!((total, largest), (64 * 1024 * 1024, PIECE));
    }

    #[test]
    fn unknown_encodings_are_refused_and_none_is_fine() {
        assert!(Decoder::of("identity").expect("it is known").is_none());
        assert!(Decoder::of("").expect("it is known").is_none());
        let error = Decoder::of("compress").err().expect("it is not supported");
        assert!(error.to_string().contains("\"compress\""), "{error}");
        assert!(Decoder::of("gzip, br").is_err());
    }
}
