//! Requests about names: what has them, and new, other, changed and removed ones.

use protocol::mfs::{ATTRIBUTES_SIZE, Attributes, Credentials, FileType, Status};

use super::change::Change;
use super::node::{Mask, Node, SET_GID, STICKY, entry_weight};
use super::{NAME_MAX, ROOT, SYMLINK_MAX, Tree};

/// What an entry takes in a list besides its name, in bytes.
const LISTED_SIZE: usize = 1 + 4 + ATTRIBUTES_SIZE;

/// What a new inode is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewNode {
    /// The type: any but a symbolic link.
    pub(crate) file_type: FileType,
    /// The permissions.
    pub(crate) mode: u16,
    /// Those that are taken away.
    pub(crate) umask: u16,
    /// The number of a device.
    pub(crate) device: u32,
}

impl Tree {
    /// Returns what has a name in a directory. `.` and `..` are names too.
    ///
    /// # Errors
    /// When nothing has it, or the directory may not be searched.
    pub(crate) fn lookup(
        &self,
        who: &Credentials<'_>,
        parent: u32,
        name: &[u8],
    ) -> Result<(u32, Attributes), Status> {
        let node = self.node(parent)?;
        let directory = node.directory()?;
        node.check(who, Mask::EXECUTE)?;
        let inode = match name {
            b"." => parent,
            b".." => directory.parent,
            _ => *directory.entries.get(name).ok_or(Status::ENOENT)?,
        };
        Ok((inode, self.node(inode)?.shown()))
    }

    /// Returns the names in a directory, `.` and `..` first, with their inodes and attributes.
    ///
    /// # Errors
    /// When it is no directory, or may not be read.
    pub(crate) fn list(
        &self,
        who: &Credentials<'_>,
        inode: u32,
    ) -> Result<impl Iterator<Item = (&[u8], u32, Attributes)>, Status> {
        let node = self.node(inode)?;
        let directory = node.directory()?;
        node.check(who, Mask::READ)?;
        let dots = [(&b"."[..], inode), (b"..", directory.parent)];
        let entries = directory.entries.iter().map(|(name, inode)| (&**name, *inode));
        let all = dots.into_iter().chain(entries);
        Ok(all.filter_map(|(name, inode)| Some((name, inode, self.nodes.get(&inode)?.shown()))))
    }

    /// Makes a file, a directory, a device, a FIFO or a socket.
    ///
    /// # Errors
    /// When the name is taken or no name, the directory may not be changed, or a limit is reached.
    pub(crate) fn create(
        &mut self,
        time: u32,
        who: &Credentials<'_>,
        parent: u32,
        name: &[u8],
        new: NewNode,
    ) -> Result<(u32, Attributes), Status> {
        let (gid, sets_gid) = self.new_name(who, parent, name)?;
        self.check_inodes(name.len())?;
        let inherited = if sets_gid && new.file_type == FileType::Directory { SET_GID } else { 0 };
        let inode = self.free_inode()?;
        let NewNode { file_type, mode, umask, device } = new;
        if file_type == FileType::Symlink {
            return Err(Status::EINVAL);
        }
        let change = Change::Create {
            parent,
            name: name.to_vec(),
            file_type: file_type.number(),
            mode: mode & 0o7777 | inherited,
            umask: umask & 0o777,
            uid: who.uid,
            gid,
            device,
            inode,
        };
        self.change(time, &change)?;
        Ok((inode, self.node(inode)?.shown()))
    }

    /// Makes a symbolic link to a path.
    ///
    /// # Errors
    /// As [`create`](Self::create), and when the path is empty or too long.
    pub(crate) fn symlink(
        &mut self,
        time: u32,
        who: &Credentials<'_>,
        parent: u32,
        name: &[u8],
        path: &[u8],
    ) -> Result<(u32, Attributes), Status> {
        if path.is_empty() || path.len() > SYMLINK_MAX || path.contains(&0) {
            return Err(Status::EINVAL);
        }
        let (gid, _) = self.new_name(who, parent, name)?;
        self.check_inodes(name.len() + path.len())?;
        let inode = self.free_inode()?;
        let (name, path) = (name.to_vec(), path.to_vec());
        self.change(time, &Change::Symlink { parent, name, path, uid: who.uid, gid, inode })?;
        Ok((inode, self.node(inode)?.shown()))
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// When it is a directory or has lost all names, or as [`create`](Self::create).
    pub(crate) fn link(
        &mut self,
        time: u32,
        who: &Credentials<'_>,
        inode: u32,
        parent: u32,
        name: &[u8],
    ) -> Result<(u32, Attributes), Status> {
        let node = self.node(inode)?;
        if node.is_directory() {
            return Err(Status::EPERM);
        }
        if node.attributes.links == 0 {
            return Err(Status::ENOENT);
        }
        self.new_name(who, parent, name)?;
        self.check_memory(entry_weight(name))?;
        self.change(time, &Change::Link { inode, parent, name: name.to_vec() })?;
        Ok((inode, self.node(inode)?.shown()))
    }

    /// Removes a name of anything but a directory. Returns its inode.
    ///
    /// # Errors
    /// When nothing has it, a directory has it, or the directory may not be changed.
    pub(crate) fn unlink(
        &mut self,
        time: u32,
        who: &Credentials<'_>,
        parent: u32,
        name: &[u8],
    ) -> Result<u32, Status> {
        let inode = self.named(who, parent, name)?;
        if self.node(inode)?.is_directory() {
            return Err(Status::EPERM);
        }
        self.change(time, &Change::Unlink { parent, name: name.to_vec(), inode })?;
        Ok(inode)
    }

    /// Removes an empty directory. Returns its inode.
    ///
    /// # Errors
    /// When it is not there, is none or not empty, or the directory that it is in may not be changed.
    pub(crate) fn remove_directory(
        &mut self,
        time: u32,
        who: &Credentials<'_>,
        parent: u32,
        name: &[u8],
    ) -> Result<u32, Status> {
        let inode = self.named(who, parent, name)?;
        if !self.node(inode)?.directory()?.entries.is_empty() {
            return Err(Status::ENOTEMPTY);
        }
        self.change(time, &Change::Unlink { parent, name: name.to_vec(), inode })?;
        Ok(inode)
    }

    /// Changes a name, as `rename(2)` does: what had the new name loses it.
    ///
    /// # Errors
    /// When a directory would be within itself ([`Status::EINVAL`]), a directory would replace a file
    /// ([`Status::ENOTDIR`]), a file a directory ([`Status::EPERM`]), or a directory that is not empty
    /// would be replaced; and when one of the directories may not be changed.
    pub(crate) fn rename(
        &mut self,
        time: u32,
        who: &Credentials<'_>,
        (parent, name): (u32, &[u8]),
        (new_parent, new_name): (u32, &[u8]),
    ) -> Result<(u32, Attributes), Status> {
        let inode = self.named(who, parent, name)?;
        check_name(new_name)?;
        let target_directory = self.node(new_parent)?;
        target_directory.directory()?;
        target_directory.check(who, Mask::CHANGE_NAMES)?;
        let node = self.node(inode)?;
        if node.is_directory() {
            if self.is_within(new_parent, inode) {
                return Err(Status::EINVAL);
            }
            if parent != new_parent {
                // Its entry `..` changes.
                node.check(who, Mask::WRITE)?;
            }
        }
        match target_directory.directory()?.entries.get(new_name).copied() {
            // Two names of one file both stay, as in rename(2).
            Some(target) if target == inode => return Ok((inode, node.shown())),
            Some(target) => self.check_replaced(who, target_directory, target, node)?,
            None => {
                self.check_listing(new_parent, new_name)?;
                self.check_memory(entry_weight(new_name))?;
            }
        }
        let (name, new_name) = (name.to_vec(), new_name.to_vec());
        self.change(time, &Change::Move { parent, name, new_parent, new_name, inode })?;
        Ok((inode, self.node(inode)?.shown()))
    }

    /// Checks whether `node` may replace `target`, which is in `directory`.
    fn check_replaced(
        &self,
        who: &Credentials<'_>,
        directory: &Node,
        target: u32,
        node: &Node,
    ) -> Result<(), Status> {
        let target = self.node(target)?;
        check_sticky(who, directory, target)?;
        match (node.is_directory(), target.directory()) {
            (true, Ok(target)) if target.entries.is_empty() => Ok(()),
            (true, Ok(_)) => Err(Status::ENOTEMPTY),
            (true, Err(not_directory)) => Err(not_directory),
            (false, Ok(_)) => Err(Status::EPERM),
            (false, Err(_)) => Ok(()),
        }
    }

    /// Checks whether a user may remove or change a name. Returns what has it.
    fn named(&self, who: &Credentials<'_>, parent: u32, name: &[u8]) -> Result<u32, Status> {
        check_name(name)?;
        let node = self.node(parent)?;
        let directory = node.directory()?;
        node.check(who, Mask::CHANGE_NAMES)?;
        let inode = *directory.entries.get(name).ok_or(Status::ENOENT)?;
        check_sticky(who, node, self.node(inode)?)?;
        Ok(inode)
    }

    /// Checks whether a user may add a name. Returns the group of what gets it, and whether it comes from
    /// the directory.
    fn new_name(
        &self,
        who: &Credentials<'_>,
        parent: u32,
        name: &[u8],
    ) -> Result<(u32, bool), Status> {
        check_name(name)?;
        let node = self.node(parent)?;
        let directory = node.directory()?;
        node.check(who, Mask::CHANGE_NAMES)?;
        if directory.entries.contains_key(name) {
            return Err(Status::EEXIST);
        }
        self.check_listing(parent, name)?;
        let own = who.groups().next().unwrap_or_default();
        let sets_gid = node.attributes.mode.permissions & SET_GID != 0;
        Ok((if sets_gid { node.attributes.gid } else { own }, sets_gid))
    }

    /// Checks whether the list of a directory has room for another name.
    fn check_listing(&self, parent: u32, name: &[u8]) -> Result<(), Status> {
        let directory = self.node(parent)?.directory()?;
        let names = directory.names_size + name.len();
        let size = names + (directory.entries.len() + 3) * LISTED_SIZE;
        if size <= self.limits.listing_max { Ok(()) } else { Err(Status::NOSPACE) }
    }

    /// Returns the number of a new inode: the next one, and after the last one any that is free.
    fn free_inode(&self) -> Result<u32, Status> {
        let later = self.next_inode..u32::MAX;
        let mut all = later.chain(ROOT + 1..self.next_inode);
        all.find(|inode| !self.nodes.contains_key(inode)).ok_or(Status::NOSPACE)
    }
}

/// Checks whether bytes are a name that an entry can have.
pub(super) fn check_name(name: &[u8]) -> Result<(), Status> {
    let is_name = !matches!(name, b"" | b"." | b"..")
        && name.len() <= NAME_MAX
        && !name.contains(&b'/')
        && !name.contains(&0);
    if is_name { Ok(()) } else { Err(Status::EINVAL) }
}

/// In a sticky directory, only owners remove names: of the directory, and of what has the name.
fn check_sticky(who: &Credentials<'_>, directory: &Node, node: &Node) -> Result<(), Status> {
    let is_sticky = directory.attributes.mode.permissions & STICKY != 0;
    if is_sticky && !directory.is_owned_by(who) && !node.is_owned_by(who) {
        return Err(Status::EPERM);
    }
    Ok(())
}
