//! The tree as bytes: a part of the metadata file.
//!
//! They begin with the name of their form, and end with the CRC-32 of all of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use protocol::mfs::{Attributes, ChunkId, Fault, Field, FileType, Mode, Name, Reader, Text, crc32};

use super::contents::ChunkUse;
use super::names::check_name;
use super::node::{CHUNK_WEIGHT, Content, Directory, Node, entry_weight, xattr_weight};
use super::{ROOT, Tree, TreeLimits};

/// What tells our form from others, and its number.
pub(crate) const FORM: &[u8; 8] = b"MYEVENT1";
/// The size of the CRC-32, in bytes.
const CRC_SIZE: usize = 4;

/// Why bytes are no snapshot of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotError {
    /// They are not of this form.
    Foreign,
    /// The CRC-32 is wrong.
    Damaged,
    /// What the CRC-32 covers is no tree: what is wrong.
    Tree(&'static str),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("the tree is not of the form of this program"),
            Self::Damaged => f.write_str("the tree is damaged: its CRC-32 is wrong"),
            Self::Tree(what) => write!(f, "the tree is none: {what}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl From<Fault> for SnapshotError {
    fn from(_: Fault) -> Self {
        Self::Tree("it ends within a field, or a field has an invalid value")
    }
}

impl Tree {
    /// Returns the tree as bytes. One tree always has the same.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(self.sums.memory as usize / 3);
        file.extend_from_slice(FORM);
        self.next_inode.append(&mut file);
        (self.nodes.len() as u32).append(&mut file);
        let nodes: BTreeMap<&u32, &Node> = self.nodes.iter().collect();
        for (inode, node) in nodes {
            inode.append(&mut file);
            self.save_node(node, &mut file);
        }
        (self.open_by_session.len() as u32).append(&mut file);
        for (session, inode) in &self.open_by_session {
            session.append(&mut file);
            inode.append(&mut file);
        }
        crc32(&file).append(&mut file);
        file
    }

    fn save_node(&self, node: &Node, file: &mut Vec<u8>) {
        node.attributes.append(file);
        match &node.content {
            Content::File(chunks) => {
                (chunks.len() as u32).append(file);
                for (index, chunk) in chunks {
                    index.append(file);
                    chunk.append(file);
                }
            }
            Content::Directory(directory) => {
                directory.parent.append(file);
                (directory.entries.len() as u32).append(file);
                for (name, inode) in &directory.entries {
                    // Names are not longer than that.
                    Name::new(name).unwrap_or_default().append(file);
                    inode.append(file);
                }
            }
            Content::Symlink(path) => Text(path).append(file),
            Content::Other => {}
        }
        (node.xattrs.len() as u32).append(file);
        for (name, value) in &node.xattrs {
            Name::new(name).unwrap_or_default().append(file);
            Text(value).append(file);
        }
    }

    /// Loads a tree that [`save`](Self::save) has written.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn load(file: &[u8], limits: TreeLimits) -> Result<Self, SnapshotError> {
        let (content, crc) = file.split_last_chunk::<CRC_SIZE>().ok_or(SnapshotError::Foreign)?;
        let rest = content.strip_prefix(FORM).ok_or(SnapshotError::Foreign)?;
        if crc32(content) != u32::from_be_bytes(*crc) {
            return Err(SnapshotError::Damaged);
        }
        let mut reader = Reader::new(rest);
        let mut tree = Self::without_root(limits);
        tree.load_content(&mut reader)?;
        match reader.left() {
            0 => Ok(tree),
            _ => Err(SnapshotError::Tree("more follows after it")),
        }
    }

    fn load_content(&mut self, reader: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let next_inode = u32::read(reader)?;
        for _ in 0..u32::read(reader)? {
            let inode = u32::read(reader)?;
            let node = self.load_node(inode, reader)?;
            if self.nodes.contains_key(&inode) {
                return Err(SnapshotError::Tree("an inode is there twice"));
            }
            self.add(inode, node);
        }
        for _ in 0..u32::read(reader)? {
            let (session, inode) = (u32::read(reader)?, u32::read(reader)?);
            self.apply_acquire(session, inode)
                .map_err(|_| SnapshotError::Tree("an open file is not there"))?;
        }
        self.next_inode = self.next_inode.max(next_inode);
        self.check_shape()
    }

    fn load_node(&mut self, inode: u32, reader: &mut Reader<'_>) -> Result<Node, SnapshotError> {
        let attributes = Attributes { flags: 0, ..Attributes::read(reader)? };
        let Mode { file_type, .. } = attributes.mode;
        let content = match file_type {
            FileType::File => self.load_chunks(inode, reader)?,
            FileType::Directory => self.load_directory(reader)?,
            FileType::Symlink => Content::Symlink(Text::read(reader)?.0.into()),
            _ => Content::Other,
        };
        let mut xattrs = BTreeMap::new();
        for _ in 0..u32::read(reader)? {
            let (name, value) = (Name::read(reader)?.bytes(), Text::read(reader)?.0);
            self.sums.memory += xattr_weight(name, value);
            if xattrs.insert(name.into(), value.into()).is_some() {
                return Err(SnapshotError::Tree("an attribute is there twice"));
            }
        }
        Ok(Node { attributes, content, xattrs })
    }

    fn load_chunks(
        &mut self,
        inode: u32,
        reader: &mut Reader<'_>,
    ) -> Result<Content, SnapshotError> {
        let mut chunks = BTreeMap::new();
        for _ in 0..u32::read(reader)? {
            let (index, chunk) = (u32::read(reader)?, ChunkId::read(reader)?);
            let used = ChunkUse { inode, index };
            let is_new = chunks.insert(index, chunk).is_none();
            if self.chunks.insert(chunk.0, used).is_some() || !is_new || chunk.0 == 0 {
                return Err(SnapshotError::Tree("a chunk is there twice"));
            }
            self.sums.memory += CHUNK_WEIGHT;
        }
        Ok(Content::File(chunks))
    }

    fn load_directory(&mut self, reader: &mut Reader<'_>) -> Result<Content, SnapshotError> {
        let parent = u32::read(reader)?;
        let (mut entries, mut names_size) = (BTreeMap::new(), 0);
        for _ in 0..u32::read(reader)? {
            let (name, inode) = (Name::read(reader)?.bytes(), u32::read(reader)?);
            check_name(name).map_err(|_| SnapshotError::Tree("a name that no entry can have"))?;
            names_size += name.len();
            self.sums.memory += entry_weight(name);
            if entries.insert(name.into(), inode).is_some() {
                return Err(SnapshotError::Tree("a name is there twice"));
            }
        }
        Ok(Content::Directory(Directory { parent, entries, names_size }))
    }

    /// Checks that all directories hang together, and that the numbers of names are right. Files without a
    /// name that no session has open are removed.
    fn check_shape(&mut self) -> Result<(), SnapshotError> {
        let mut names: HashMap<u32, u32> = HashMap::new();
        let (mut reached, mut places) = (0, vec![ROOT]);
        while let Some(place) = places.pop() {
            let node = self.nodes.get(&place).and_then(|node| node.directory().ok());
            let directory = node.ok_or(SnapshotError::Tree("a directory is missing"))?;
            if place == ROOT && directory.parent != ROOT {
                return Err(SnapshotError::Tree("the root is in a directory"));
            }
            reached += 1;
            for inode in directory.entries.values() {
                let node = self.nodes.get(inode).ok_or(SnapshotError::Tree("a file is missing"))?;
                *names.entry(*inode).or_default() += 1;
                match node.directory() {
                    Ok(below) if below.parent != place || names[inode] > 1 => {
                        return Err(SnapshotError::Tree("a directory has two places"));
                    }
                    Ok(_) if *inode == ROOT => {
                        return Err(SnapshotError::Tree("the root has a name"));
                    }
                    Ok(_) => places.push(*inode),
                    Err(_) => {}
                }
            }
        }
        if reached != self.sums.directories {
            return Err(SnapshotError::Tree("a directory is in no other"));
        }
        self.check_links(&names)
    }

    fn check_links(&mut self, names: &HashMap<u32, u32>) -> Result<(), SnapshotError> {
        let mut nameless = Vec::new();
        for (inode, node) in &self.nodes {
            let links = match node.directory() {
                Ok(directory) => {
                    let is_directory =
                        |it: &&u32| self.nodes.get(it).is_some_and(Node::is_directory);
                    2 + directory.entries.values().filter(is_directory).count() as u32
                }
                Err(_) => names.get(inode).copied().unwrap_or_default(),
            };
            if links != node.attributes.links {
                return Err(SnapshotError::Tree("the number of names of a file is wrong"));
            }
            if links == 0 {
                nameless.push((*inode, node.attributes.length));
            }
        }
        for (inode, length) in nameless {
            self.sums.sustained_files += 1;
            self.sums.sustained_size = self.sums.sustained_size.wrapping_add(length);
            self.drop_if_unused(inode);
        }
        Ok(())
    }
}
