//! Where the chunks are, and what is done with them.

mod operations;
mod table;

use protocol::mfs::{ChunkId, Endpoint, Status, Version};

use super::changes::line;

pub(super) use table::{COPIES_MAX, Chunks};

/// Where a chunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its version.
    pub version: u32,
    /// The chunkservers that have it in this version, in random order, so that readers spread over
    /// them.
    pub places: Vec<Place>,
}

/// A chunkserver that has a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the chunkserver.
    pub csid: u16,
    /// Its data port.
    pub endpoint: Endpoint,
    /// Its version.
    pub version: Version,
    /// Its labels: the lowest bit is A.
    pub labels: u32,
}

/// What became of an operation on a chunk: where it is now, or why nothing was done.
pub type Outcome = Result<Located, Status>;

/// The name of a change that gives a chunk a version. Version 0 says that it is deleted.
const CHANGE: &str = "CHUNKVERSION";

/// Returns the text of the change that gives a chunk a version now.
fn change(chunk: ChunkId, version: u32) -> Vec<u8> {
    line(&format_args!("{CHANGE}({},{version})", chunk.0))
}

/// Returns the chunk and the version of such a change: `SECONDS|CHUNKVERSION(CHUNK,VERSION)`.
pub(super) fn read_change(text: &[u8]) -> Option<(ChunkId, u32)> {
    let (_, what) = std::str::from_utf8(text).ok()?.split_once('|')?;
    let arguments = what.strip_prefix(CHANGE)?.strip_prefix('(')?.strip_suffix(')')?;
    let (chunk, version) = arguments.split_once(',')?;
    Some((ChunkId(chunk.parse().ok()?), version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_it_is_written() {
        let text = change(ChunkId(17), 3);
        assert!(text.ends_with(b"|CHUNKVERSION(17,3)"), "{text:?}");
        assert_eq!(read_change(&text), Some((ChunkId(17), 3)));
        for other in ["", "1|", "1|CHUNKVERSION(1)", "1|CHUNKVERSION(1,x)", "1|WRITE(1,0,1,0):2"] {
            assert_eq!(read_change(other.as_bytes()), None, "{other}");
        }
    }
}
