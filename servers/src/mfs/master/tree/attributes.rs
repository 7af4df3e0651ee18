//! Requests about attributes.

use protocol::mfs::{Attributes, Credentials, SetAttributes, Status};

use super::Tree;
use super::change::Change;
use super::node::{Content, Mask, Node, SET_GID, SET_IDS, is_in_group};

/// The bits of [`SetAttributes::mask`].
mod set {
    pub(super) const WINDOWS: u8 = 1;
    pub(super) const MODE: u8 = 2;
    pub(super) const UID: u8 = 4;
    pub(super) const GID: u8 = 8;
    pub(super) const MTIME_NOW: u8 = 0x10;
    pub(super) const MTIME: u8 = 0x20;
    pub(super) const ATIME: u8 = 0x40;
    pub(super) const ATIME_NOW: u8 = 0x80;
    /// What only the owner may set.
    pub(super) const OF_OWNER: u8 = WINDOWS | MODE | UID | GID | MTIME | ATIME;
    /// What the owner may set, and all users that may write.
    pub(super) const OF_WRITER: u8 = MTIME_NOW | ATIME_NOW;
}

impl Tree {
    /// Returns the attributes of an inode.
    ///
    /// # Errors
    /// When there is no such inode.
    pub(crate) fn attributes(&self, inode: u32) -> Result<Attributes, Status> {
        self.node(inode).map(Node::shown)
    }

    /// Checks whether a user has an access.
    ///
    /// # Errors
    /// When not, or there is no such inode.
    pub(crate) fn access(
        &self,
        who: &Credentials<'_>,
        inode: u32,
        mask: Mask,
    ) -> Result<(), Status> {
        self.node(inode)?.check(who, mask)
    }

    /// Returns which accesses a user has: bit i is set if all bits of the mask i are permitted.
    ///
    /// # Errors
    /// When there is no such inode.
    pub(crate) fn accesses(&self, who: &Credentials<'_>, inode: u32) -> Result<u16, Status> {
        let node = self.node(inode)?;
        let bit = |mask: u8| u16::from(node.permits(who, Mask(mask))) << mask;
        Ok((0..8).map(bit).sum())
    }

    /// Returns the path of a symbolic link.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn read_link(&self, inode: u32) -> Result<&[u8], Status> {
        match &self.node(inode)?.content {
            Content::Symlink(path) => Ok(path),
            _ => Err(Status::EINVAL),
        }
    }

    /// Changes attributes.
    ///
    /// # Errors
    /// When the user may not.
    pub(crate) fn set_attributes(
        &mut self,
        time: u32,
        wanted: &SetAttributes<'_>,
    ) -> Result<Attributes, Status> {
        let (who, inode, mask) = (&wanted.credentials, wanted.inode, wanted.mask);
        let node = self.node(inode)?;
        if mask & set::OF_OWNER != 0 && !node.is_owned_by(who) {
            return Err(Status::EPERM);
        }
        if mask & set::OF_WRITER != 0 && !node.is_owned_by(who) {
            node.check(who, Mask::WRITE)?;
        }
        let old = node.attributes;
        let owner = if mask & set::UID != 0 { wanted.uid } else { old.uid };
        let group = if mask & set::GID != 0 { wanted.gid } else { old.gid };
        let may_give = owner == old.uid && (group == old.gid || is_in_group(who, group));
        if who.uid != 0 && !may_give {
            return Err(Status::EPERM);
        }
        let atime = match mask {
            mask if mask & set::ATIME_NOW != 0 => time,
            mask if mask & set::ATIME != 0 => wanted.atime,
            _ => old.atime,
        };
        let mtime = match mask {
            mask if mask & set::MTIME_NOW != 0 => time,
            mask if mask & set::MTIME != 0 => wanted.mtime,
            _ => old.mtime,
        };
        let windows = if mask & set::WINDOWS != 0 { wanted.windows } else { old.windows };
        let mode = new_mode(wanted, node, (owner, group));
        let (uid, gid) = (owner, group);
        if mask != 0 {
            let change = Change::Attributes { inode, mode, uid, gid, atime, mtime, windows };
            self.change(time, &change)?;
        }
        self.attributes(inode)
    }
}

/// Returns the permissions after a change, as chmod(2) and chown(2) say.
fn new_mode(wanted: &SetAttributes<'_>, node: &Node, (uid, gid): (u32, u32)) -> u16 {
    let (who, old) = (&wanted.credentials, node.attributes);
    let mut mode = old.mode.permissions;
    let is_given = wanted.mask & (set::UID | set::GID) != 0 && (uid, gid) != (old.uid, old.gid);
    if is_given && who.uid != 0 && !node.is_directory() {
        mode &= !SET_IDS;
    }
    if wanted.mask & set::MODE != 0 {
        mode = wanted.mode & 0o7777;
        if who.uid != 0 && !is_in_group(who, gid) && !node.is_directory() {
            mode &= !SET_GID;
        }
    }
    mode
}
