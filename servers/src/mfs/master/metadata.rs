//! The metadata as a file: what metaloggers download, and what is there after a restart.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use protocol::mfs::{ChunkVersion, List, append_all, crc32};

use super::app::Master;
use super::tree;

/// What a file of metadata begins with.
const MAGIC: &[u8] = b"MFSM 2.0";
/// What it ends with.
const END_MARKER: &[u8] = b"[MFS EOF MARKER]";

/// The metadata of a version, as a file.
///
/// After the version and the id, the form is our own, and the real master cannot read it: the length of
/// the list of the chunks in bytes, that list, the CRC-32 of all so far, and the tree, which has its own.
/// Without the first one, a chunk of a damaged list would be taken for one that was deleted, and its copies
/// would be deleted too.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) version: u64,
    content: Arc<[u8]>,
}

impl Metadata {
    /// Returns the present metadata.
    pub(super) fn of(master: &Master) -> Self {
        let version = master.version();
        let chunks = append_all(master.chunks.iter());
        let mut content = MAGIC.to_vec();
        for number in [version, master.meta_id, chunks.len() as u64] {
            content.extend_from_slice(&number.to_be_bytes());
        }
        content.extend_from_slice(&chunks);
        content.extend_from_slice(&crc32(&content).to_be_bytes());
        content.extend_from_slice(&master.tree.save());
        content.extend_from_slice(END_MARKER);
        Self { version, content: content.into() }
    }

    /// Returns the bytes of the file.
    pub(super) fn content(&self) -> Arc<[u8]> {
        Arc::clone(&self.content)
    }
}

/// What a file of metadata has.
#[derive(Debug)]
pub(super) struct Saved<'a> {
    pub(super) version: u64,
    pub(super) meta_id: u64,
    pub(super) chunks: List<'a, ChunkVersion>,
    /// The tree, which is not read yet.
    pub(super) tree: &'a [u8],
}

impl<'a> Saved<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is incomplete, damaged, or not one of this program.
    pub(super) fn read(content: &'a [u8]) -> io::Result<Self> {
        Self::read_content(content).map_err(|what| {
            io::Error::new(ErrorKind::InvalidData, format!("metadata.mfs is {what}"))
        })
    }

    fn read_content(content: &'a [u8]) -> Result<Self, &'static str> {
        const FOREIGN: &str = "incomplete, or not the one of an mfs-master";
        let whole = content.strip_suffix(END_MARKER).ok_or(FOREIGN)?;
        let rest = whole.strip_prefix(MAGIC).ok_or(FOREIGN)?;
        let (numbers, rest) = rest.split_first_chunk::<24>().ok_or(FOREIGN)?;
        let numbers = numbers.as_chunks::<8>().0;
        let [version, meta_id, size] = [0, 1, 2].map(|place| u64::from_be_bytes(numbers[place]));
        let size = usize::try_from(size).map_err(|_| FOREIGN)?;
        let (chunks, rest) = rest.split_at_checked(size).ok_or(FOREIGN)?;
        let tree = if rest.starts_with(tree::FORM) {
            // Earlier versions of this program wrote no CRC-32 there.
            rest
        } else {
            let (crc, tree) = rest.split_first_chunk().ok_or(FOREIGN)?;
            if crc32(&whole[..whole.len() - rest.len()]) != u32::from_be_bytes(*crc) {
                return Err("damaged: the CRC-32 of the chunks is wrong");
            }
            tree
        };
        let chunks = List::new(chunks).ok_or(FOREIGN)?;
        Ok(Self { version, meta_id, chunks, tree })
    }
}

/// Returns the id of a file system that has none, which no other one has.
///
/// # Errors
/// When the system has no random numbers.
pub(super) fn new_meta_id() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    // Chunkservers take 0 for none.
    Ok(u64::from_be_bytes(bytes).max(1))
}

#[cfg(test)]
mod tests {
    use protocol::mfs::ChunkId;

    use super::*;

    #[test]
    fn what_is_no_file_of_metadata_is_refused() {
        let chunk = ChunkVersion { chunk: ChunkId(5), version: 2 };
        let chunks = append_all([chunk]);
        let numbers = [7, 9, chunks.len() as u64].map(u64::to_be_bytes).concat();
        let head = [MAGIC, &numbers, &chunks].concat();
        let crc = crc32(&head).to_be_bytes();
        let content = [&head, &crc[..], b"tree", END_MARKER].concat();
        let saved = Saved::read(&content).expect("it is whole");
        assert_eq!((saved.version, saved.meta_id, saved.tree), (7, 9, &b"tree"[..]));
        assert_eq!(saved.chunks.iter().collect::<Vec<_>>(), [chunk]);
        for end in 0..content.len() {
            assert!(Saved::read(&content[..end]).is_err(), "{end}");
        }
        for place in 0..content.len() {
            let mut damaged = content.clone();
            damaged[place] ^= 0x10;
            // The tree has a CRC-32 of its own.
            let is_tree =
                (head.len() + crc.len()..content.len() - END_MARKER.len()).contains(&place);
            assert_eq!(Saved::read(&damaged).is_ok(), is_tree, "{place}");
        }
        let long = [MAGIC, &[0xff; 24], END_MARKER].concat();
        assert!(Saved::read(&long).is_err());
        let earlier = [&head, &tree::FORM[..], END_MARKER].concat();
        let saved = Saved::read(&earlier).expect("earlier versions had no CRC-32");
        assert_eq!((saved.version, saved.tree), (7, &tree::FORM[..]));
    }
}
