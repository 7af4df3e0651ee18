//! Where what is read from a file goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Takes what is read from a file. Its parts come in any order, and each byte once.
pub trait Sink {
    /// Takes the bytes from `offset` on.
    ///
    /// # Errors
    /// When they cannot be written. That ends the transfer.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Takes a hole of `size` bytes, which are zeros.
    ///
    /// # Errors
    /// When it cannot be written.
    fn skip(&mut self, offset: u64, size: u64) -> io::Result<()> {
        let zeros = [0; 64 * 1024];
        let mut left = size;
        while left > 0 {
            let now = left.min(zeros.len() as u64);
            self.write(offset + size - left, &zeros[..now as usize])?;
            left -= now;
        }
        Ok(())
    }

    /// Everything was written, and the file has this length.
    ///
    /// # Errors
    /// When that cannot be recorded.
    fn finish(&mut self, length: u64) -> io::Result<()>;

    /// Returns the place up to which everything was written, if parts that come before their turn are
    /// kept in memory. Then reading does not get far ahead of it.
    fn in_order(&self) -> Option<u64> {
        None
    }
}

/// A regular file, which is written at any place. Holes stay holes.
#[derive(Debug)]
pub struct FileSink(File);

impl FileSink {
    /// Returns a sink for a file that is empty.
    pub fn new(file: File) -> Self {
        Self(file)
    }
}

impl Sink for FileSink {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn skip(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

/// A stream, such as standard output. What comes before its turn waits in memory.
#[derive(Debug)]
pub struct StreamSink<W> {
    stream: W,
    position: u64,
    early: BTreeMap<u64, Vec<u8>>,
}

impl<W: Write> StreamSink<W> {
    /// Returns a sink for a stream.
    pub fn new(stream: W) -> Self {
        Self { stream, position: 0, early: BTreeMap::new() }
    }

    /// Returns the stream.
    pub fn into_inner(self) -> W {
        self.stream
    }
}

impl<W: Write> Sink for StreamSink<W> {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset != self.position {
            self.early.insert(offset, bytes.to_vec());
            return Ok(());
        }
        self.stream.write_all(bytes)?;
        self.position += bytes.len() as u64;
        while let Some(next) = self.early.remove(&self.position) {
            self.stream.write_all(&next)?;
            self.position += next.len() as u64;
        }
        Ok(())
    }

    fn finish(&mut self, _: u64) -> io::Result<()> {
        self.stream.flush()
    }

    fn in_order(&self) -> Option<u64> {
        Some(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_gets_everything_in_order() {
        let mut sink = StreamSink::new(Vec::new());
        sink.write(3, b"de").expect("it is memory");
        sink.write(5, b"f").expect("it is memory");
        assert_eq!(sink.in_order(), Some(0));
        sink.write(0, b"abc").expect("it is memory");
        assert_eq!(sink.in_order(), Some(6));
        sink.skip(6, 100_000).expect("it is memory");
        sink.finish(100_006).expect("it is memory");
        let all = sink.into_inner();
        assert_eq!((&all[..7], all.len()), (&b"abcdef\0"[..], 100_006));
    }
}
