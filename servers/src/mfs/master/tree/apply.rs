//! What a change does to the tree. Nothing else alters it.

use std::collections::BTreeMap;

use protocol::mfs::{Attributes, ChunkId, FileType, Mode, Name};

use super::change::{Change, REMOVE, Writing};
use super::contents::ChunkUse;
use super::names::check_name;
use super::node::{CHUNK_WEIGHT, Content, Node, chunk_count, entry_weight, xattr_weight};
use super::{Mismatch, ROOT, Tree, new_directory};

/// A name that a directory cannot have would be another one in the saved tree.
const NO_NAME: Mismatch = Mismatch("a name that an entry can have");

impl Tree {
    /// Makes a change. It checks what the tree needs to stay a tree, and no permissions.
    pub(super) fn apply(&mut self, time: u32, change: &Change) -> Result<(), Mismatch> {
        match change {
            Change::Used { inode, atime, mtime } => self.apply_used(*inode, *atime, *mtime),
            Change::Acquire { session, inode } => self.apply_acquire(*session, *inode),
            Change::Release { session, inode } => self.apply_release(*session, *inode),
            Change::Attributes { inode, mode, uid, gid, atime, mtime, windows } => {
                let attributes = &mut self.existing(*inode)?.attributes;
                attributes.mode.permissions = mode & 0o7777;
                (attributes.uid, attributes.gid) = (*uid, *gid);
                (attributes.atime, attributes.mtime, attributes.ctime) = (*atime, *mtime, time);
                attributes.windows = *windows;
                Ok(())
            }
            Change::Create { parent, name, file_type, mode, umask, uid, gid, device, inode } => {
                let file_type = FileType::from_number(*file_type)
                    .filter(|it| *it != FileType::Symlink)
                    .ok_or(Mismatch("a type of a file"))?;
                let content = match file_type {
                    FileType::Directory => new_directory(*parent),
                    FileType::File => Content::File(BTreeMap::new()),
                    _ => Content::Other,
                };
                let is_device = matches!(file_type, FileType::Block | FileType::Character);
                let length = if is_device { u64::from(*device) << 32 } else { 0 };
                let permissions = mode & !umask & 0o7777;
                let mode = Mode { file_type, permissions };
                let attributes =
                    Attributes { mode, uid: *uid, gid: *gid, length, ..Attributes::default() };
                self.insert(time, *parent, name, *inode, attributes, content)
            }
            Change::Symlink { parent, name, path, uid, gid, inode } => {
                let mode = Mode { file_type: FileType::Symlink, permissions: 0o777 };
                let length = path.len() as u64;
                let attributes =
                    Attributes { mode, uid: *uid, gid: *gid, length, ..Attributes::default() };
                let content = Content::Symlink(path.as_slice().into());
                self.insert(time, *parent, name, *inode, attributes, content)
            }
            Change::Link { inode, parent, name } => self.apply_link(time, *inode, *parent, name),
            Change::Unlink { parent, name, inode } => {
                self.removable(*parent, name, *inode)?;
                self.remove(time, *parent, name);
                Ok(())
            }
            Change::Move { parent, name, new_parent, new_name, inode } => {
                self.apply_move(time, (*parent, name), (*new_parent, new_name), *inode)
            }
            Change::Length { inode, length } => self.apply_length(time, *inode, *length),
            Change::Truncate { inode, length } => {
                self.apply_length(time, *inode, *length)?;
                self.drop_behind(*inode, *length);
                Ok(())
            }
            Change::Write { inode, index, writing, chunk } => {
                self.apply_write(*inode, *index, *writing, *chunk)
            }
            Change::Unlock { chunk } => match self.chunks.contains_key(&chunk.0) {
                true => Ok(()),
                false => Err(Mismatch("a chunk that exists")),
            },
            Change::Xattr { inode, name, value, mode } => {
                self.apply_xattr(time, *inode, name, value, *mode)
            }
        }
    }

    fn existing(&mut self, inode: u32) -> Result<&mut Node, Mismatch> {
        self.nodes.get_mut(&inode).ok_or(Mismatch("an inode that exists"))
    }

    /// Adds a node without a name.
    pub(super) fn add(&mut self, inode: u32, node: Node) {
        self.sums.inodes += 1;
        match node.content {
            Content::Directory(_) => self.sums.directories += 1,
            Content::File(_) => self.sums.files += 1,
            _ => {}
        }
        self.sums.memory += node.weight();
        self.next_inode = self.next_inode.max(inode.saturating_add(1));
        self.nodes.insert(inode, node);
    }

    /// Removes a node that has no name and is not open.
    fn drop_node(&mut self, inode: u32) {
        let Some(node) = self.nodes.remove(&inode) else { return };
        self.sums.inodes -= 1;
        self.sums.memory -= node.weight();
        for (name, value) in &node.xattrs {
            self.sums.memory -= xattr_weight(name, value);
        }
        match node.content {
            Content::Directory(_) => self.sums.directories -= 1,
            Content::File(chunks) => {
                self.sums.files -= 1;
                chunks.values().for_each(|chunk| self.free(*chunk));
            }
            _ => {}
        }
    }

    fn free(&mut self, chunk: ChunkId) {
        if self.chunks.remove(&chunk.0).is_some() {
            self.sums.memory -= CHUNK_WEIGHT;
            self.freed.push(chunk);
        }
    }

    /// Returns whether a name may be added to a directory.
    fn is_free(&self, parent: u32, name: &[u8]) -> Result<(), Mismatch> {
        check_name(name).map_err(|_| NO_NAME)?;
        let directory = self.nodes.get(&parent).and_then(|node| node.directory().ok());
        let entries = &directory.ok_or(Mismatch("a directory"))?.entries;
        if entries.contains_key(name) { Err(Mismatch("a name that is free")) } else { Ok(()) }
    }

    /// Adds a name, and changes the times of the directory.
    pub(super) fn add_name(&mut self, time: u32, parent: u32, name: &[u8], inode: u32) {
        let is_directory = self.nodes.get(&inode).is_some_and(Node::is_directory);
        let Some(node) = self.nodes.get_mut(&parent) else { return };
        node.attributes.links += u32::from(is_directory);
        (node.attributes.mtime, node.attributes.ctime) = (time, time);
        if let Some(directory) = node.directory_mut() {
            directory.entries.insert(name.into(), inode);
            directory.names_size += name.len();
            self.sums.memory += entry_weight(name);
        }
    }

    /// Takes a name away, and changes the times of the directory.
    fn take_name(&mut self, time: u32, parent: u32, name: &[u8]) -> Option<u32> {
        let node = self.nodes.get_mut(&parent)?;
        (node.attributes.mtime, node.attributes.ctime) = (time, time);
        let directory = node.directory_mut()?;
        let inode = directory.entries.remove(name)?;
        directory.names_size -= name.len();
        self.sums.memory -= entry_weight(name);
        if self.nodes.get(&inode).is_some_and(Node::is_directory)
            && let Some(node) = self.nodes.get_mut(&parent)
        {
            node.attributes.links -= 1;
        }
        Some(inode)
    }

    fn insert(
        &mut self,
        time: u32,
        parent: u32,
        name: &[u8],
        inode: u32,
        attributes: Attributes,
        content: Content,
    ) -> Result<(), Mismatch> {
        self.is_free(parent, name)?;
        if inode <= ROOT || self.nodes.contains_key(&inode) {
            return Err(Mismatch("an inode that is free"));
        }
        let links = if attributes.mode.file_type == FileType::Directory { 2 } else { 1 };
        let (atime, mtime, ctime) = (time, time, time);
        let attributes = Attributes { atime, mtime, ctime, links, ..attributes };
        self.add(inode, Node { attributes, content, xattrs: BTreeMap::new() });
        self.add_name(time, parent, name, inode);
        Ok(())
    }

    fn apply_link(
        &mut self,
        time: u32,
        inode: u32,
        parent: u32,
        name: &[u8],
    ) -> Result<(), Mismatch> {
        self.is_free(parent, name)?;
        let node = self.existing(inode)?;
        if node.is_directory() || node.attributes.links == 0 {
            return Err(Mismatch("a file with a name"));
        }
        node.attributes.links =
            node.attributes.links.checked_add(1).ok_or(Mismatch("fewer names"))?;
        node.attributes.ctime = time;
        self.add_name(time, parent, name, inode);
        Ok(())
    }

    /// Returns whether a name may be removed: an inode has it, and a directory is empty.
    fn removable(&self, parent: u32, name: &[u8], inode: u32) -> Result<(), Mismatch> {
        let directory = self.nodes.get(&parent).and_then(|node| node.directory().ok());
        let found = directory.and_then(|directory| directory.entries.get(name));
        if found != Some(&inode) {
            return Err(Mismatch("the name of this inode"));
        }
        let content = self.nodes.get(&inode).and_then(|node| node.directory().ok());
        match content.is_none_or(|directory| directory.entries.is_empty()) {
            true => Ok(()),
            false => Err(Mismatch("an empty directory")),
        }
    }

    /// Removes a name, and the node with its last name unless it is open.
    fn remove(&mut self, time: u32, parent: u32, name: &[u8]) {
        let Some(inode) = self.take_name(time, parent, name) else { return };
        let Some(node) = self.nodes.get_mut(&inode) else { return };
        let is_directory = node.is_directory();
        node.attributes.links = if is_directory { 0 } else { node.attributes.links - 1 };
        node.attributes.ctime = time;
        if node.attributes.links > 0 {
            return;
        }
        let (length, is_file) = (node.attributes.length, !is_directory);
        if is_file && self.is_open(inode) {
            self.sums.sustained_files += 1;
            self.sums.sustained_size = self.sums.sustained_size.wrapping_add(length);
        } else {
            self.drop_node(inode);
        }
    }

    fn apply_move(
        &mut self,
        time: u32,
        (parent, name): (u32, &[u8]),
        (new_parent, new_name): (u32, &[u8]),
        inode: u32,
    ) -> Result<(), Mismatch> {
        let directory = self.nodes.get(&parent).and_then(|node| node.directory().ok());
        let found = directory.and_then(|directory| directory.entries.get(name));
        if found != Some(&inode) || self.is_within(new_parent, inode) {
            return Err(Mismatch("the name of this inode, and a directory outside of it"));
        }
        check_name(new_name).map_err(|_| NO_NAME)?;
        let target = self.nodes.get(&new_parent).and_then(|node| node.directory().ok());
        let target = target.ok_or(Mismatch("a directory"))?.entries.get(new_name).copied();
        if target == Some(inode) {
            return Err(Mismatch("another inode"));
        }
        if let Some(target) = target {
            self.removable(new_parent, new_name, target)?;
            self.remove(time, new_parent, new_name);
        }
        self.take_name(time, parent, name);
        self.add_name(time, new_parent, new_name, inode);
        let node = self.existing(inode)?;
        node.attributes.ctime = time;
        if let Some(directory) = node.directory_mut() {
            directory.parent = new_parent;
        }
        Ok(())
    }

    /// Returns whether `inode` is `top` or below it.
    pub(super) fn is_within(&self, inode: u32, top: u32) -> bool {
        let mut place = inode;
        // A tree is not deeper than it has directories.
        for _ in 0..=self.sums.directories {
            if place == top {
                return true;
            }
            match self.nodes.get(&place).and_then(|node| node.directory().ok()) {
                Some(directory) if place != ROOT => place = directory.parent,
                _ => return false,
            }
        }
        false
    }

    fn apply_used(&mut self, inode: u32, atime: u32, mtime: u32) -> Result<(), Mismatch> {
        let attributes = &mut self.existing(inode)?.attributes;
        // What was set later stays.
        if atime > attributes.ctime {
            attributes.atime = attributes.atime.max(atime);
        }
        if mtime > attributes.ctime {
            attributes.mtime = attributes.mtime.max(mtime);
        }
        Ok(())
    }

    fn apply_length(&mut self, time: u32, inode: u32, length: u64) -> Result<(), Mismatch> {
        let node = self.existing(inode)?;
        if node.chunks().is_err() {
            return Err(Mismatch("a file"));
        }
        let old = std::mem::replace(&mut node.attributes.length, length);
        (node.attributes.mtime, node.attributes.ctime) = (time, time);
        if node.attributes.links == 0 {
            let size = self.sums.sustained_size.wrapping_sub(old);
            self.sums.sustained_size = size.wrapping_add(length);
        }
        Ok(())
    }

    /// Takes the chunks behind a length from a file.
    fn drop_behind(&mut self, inode: u32, length: u64) {
        let Some(Content::File(chunks)) = self.nodes.get_mut(&inode).map(|it| &mut it.content)
        else {
            return;
        };
        if let Ok(first) = u32::try_from(chunk_count(length)) {
            let behind = chunks.split_off(&first);
            behind.into_values().for_each(|chunk| self.free(chunk));
        }
    }

    fn apply_write(
        &mut self,
        inode: u32,
        index: u32,
        writing: Writing,
        chunk: ChunkId,
    ) -> Result<(), Mismatch> {
        let Some(Content::File(chunks)) = self.nodes.get_mut(&inode).map(|it| &mut it.content)
        else {
            return Err(Mismatch("a file"));
        };
        match (writing, chunks.get(&index)) {
            (Writing::Same, Some(found)) if *found == chunk => return Ok(()),
            (Writing::New, None) if chunk.0 != 0 && !self.chunks.contains_key(&chunk.0) => {}
            _ => return Err(Mismatch("the chunk of the file, or a free place for a new one")),
        }
        chunks.insert(index, chunk);
        self.chunks.insert(chunk.0, ChunkUse { inode, index });
        self.sums.memory += CHUNK_WEIGHT;
        Ok(())
    }

    fn apply_xattr(
        &mut self,
        time: u32,
        inode: u32,
        name: &[u8],
        value: &[u8],
        mode: u8,
    ) -> Result<(), Mismatch> {
        Name::new(name).ok_or(Mismatch("a name that an attribute can have"))?;
        let node = self.existing(inode)?;
        let old = if mode == REMOVE {
            let old = node.xattrs.remove(name);
            Some(old.ok_or(Mismatch("the attribute"))?)
        } else {
            node.xattrs.insert(name.into(), value.into())
        };
        node.attributes.ctime = time;
        if mode != REMOVE {
            self.sums.memory += xattr_weight(name, value);
        }
        self.sums.memory -= old.map_or(0, |old| xattr_weight(name, &old));
        Ok(())
    }

    /// Removes a file without a name that is no longer open.
    pub(super) fn drop_if_unused(&mut self, inode: u32) {
        let Some(node) = self.nodes.get(&inode) else { return };
        let (links, length) = (node.attributes.links, node.attributes.length);
        if links == 0 && !self.is_open(inode) {
            self.sums.sustained_files -= 1;
            self.sums.sustained_size = self.sums.sustained_size.wrapping_sub(length);
            self.drop_node(inode);
        }
    }
}
