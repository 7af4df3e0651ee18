//! Where what is written to a file comes from.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use protocol::mfs::BLOCK_SIZE;

/// How many blocks of a stream are read ahead.
const AHEAD: usize = 16;

/// What is written to a file.
#[derive(Debug)]
pub struct Source(From);

#[derive(Debug)]
enum From {
    File { file: File, length: u64 },
    Stream(Stream),
}

#[derive(Debug)]
struct Stream {
    blocks: Receiver<io::Result<Vec<u8>>>,
    /// A block that was received and not taken. An empty one is the end.
    next: Option<Vec<u8>>,
}

/// What a source has for a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// Data: a whole block, or the last one.
    Data(Vec<u8>),
    /// Nothing now.
    Later,
    /// Nothing more.
    End,
}

impl Source {
    /// Returns a source with the content of a regular file, as long as it is now. Several of its chunks
    /// can be written at a time.
    ///
    /// # Errors
    /// When its length is not known.
    pub fn file(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self(From::File { file, length }))
    }

    /// Returns a source with what a stream has up to its end. A thread reads it, a few blocks ahead: it
    /// may wait for ever, while the session is kept alive.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn stream(mut stream: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, blocks) = sync_channel(AHEAD);
        thread::Builder::new().name("input".to_owned()).spawn(move || {
            loop {
                let block = read_block(&mut stream);
                let is_last = block.as_ref().map_or(true, Vec::is_empty);
                if sender.send(block).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self(From::Stream(Stream { blocks, next: None })))
    }

    /// Returns the length, if it is known.
    pub(super) fn length(&self) -> Option<u64> {
        match &self.0 {
            From::File { length, .. } => Some(*length),
            From::Stream(_) => None,
        }
    }

    /// Returns the block at `offset`. A stream has only the next one.
    pub(super) fn block(&mut self, offset: u64) -> io::Result<Filled> {
        match &mut self.0 {
            From::File { length, .. } if offset >= *length => Ok(Filled::End),
            From::File { file, length } => {
                let mut block = vec![0; (*length - offset).min(BLOCK_SIZE as u64) as usize];
                file.read_exact_at(&mut block, offset).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => io::Error::other("it has become shorter"),
                    _ => error,
                })?;
                Ok(Filled::Data(block))
            }
            From::Stream(stream) => {
                stream.wait(Duration::ZERO)?;
                Ok(match stream.next.take_if(|block| !block.is_empty()) {
                    Some(block) => Filled::Data(block),
                    None if stream.next.is_some() => Filled::End,
                    None => Filled::Later,
                })
            }
        }
    }

    /// Returns whether a stream has no further block, as far as that is known.
    pub(super) fn has_ended(&self) -> bool {
        match &self.0 {
            From::File { .. } => false,
            From::Stream(stream) => stream.next.as_ref().is_some_and(Vec::is_empty),
        }
    }

    /// Waits until there is a block, or the end, but no longer than `time`. Returns whether there is a
    /// block at `offset`.
    pub(super) fn has_block(&mut self, offset: u64, time: Duration) -> io::Result<bool> {
        match &mut self.0 {
            From::File { length, .. } => Ok(offset < *length),
            From::Stream(stream) => {
                stream.wait(time)?;
                Ok(stream.next.as_ref().is_some_and(|block| !block.is_empty()))
            }
        }
    }
}

impl Stream {
    fn wait(&mut self, time: Duration) -> io::Result<()> {
        if self.next.is_none() {
            self.next = match self.blocks.recv_timeout(time) {
                Ok(block) => Some(block?),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Vec::new()),
            };
        }
        Ok(())
    }
}

/// Reads a whole block, unless the stream ends before.
fn read_block(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut block = Vec::with_capacity(BLOCK_SIZE);
    stream.by_ref().take(BLOCK_SIZE as u64).read_to_end(&mut block)?;
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_whole_blocks_and_an_end() {
        let bytes = vec![7; BLOCK_SIZE + 3];
        let mut source = Source::stream(io::Cursor::new(bytes)).expect("there is a thread");
        let long = Duration::from_secs(60);
        for size in [BLOCK_SIZE, 3] {
            assert!(source.has_block(0, long).expect("it is memory"));
            assert_eq!(source.block(0).expect("it is memory"), Filled::Data(vec![7; size]));
        }
        assert!(!source.has_block(0, long).expect("it is memory"));
        assert_eq!(source.block(0).expect("it is memory"), Filled::End);
        assert_eq!(source.block(0).expect("it is memory"), Filled::End, "and remains so");
    }
}
