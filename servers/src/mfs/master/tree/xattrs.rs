//! Requests about extended attributes.

use protocol::mfs::{Credentials, FileType, Status};

use super::Tree;
use super::change::{Change, REMOVE};
use super::node::{Mask, Node, xattr_weight};

/// How a value is set: as the flags of `setxattr(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetMode {
    /// It is created or replaced.
    Set,
    /// It must not be there.
    Create,
    /// It must be there.
    Replace,
    /// It is removed.
    Remove,
}

impl SetMode {
    /// Returns the mode of a number of a request.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Set, Self::Create, Self::Replace, Self::Remove].get(usize::from(number)).copied()
    }
}

impl Tree {
    /// Returns the value of an extended attribute.
    ///
    /// # Errors
    /// When it is not there, or may not be read.
    pub(crate) fn xattr(
        &self,
        who: &Credentials<'_>,
        inode: u32,
        name: &[u8],
    ) -> Result<&[u8], Status> {
        let node = self.node(inode)?;
        check_space(who, node, name, Mask::READ)?;
        node.xattrs.get(name).map(|value| &**value).ok_or(Status::ENOATTR)
    }

    /// Returns the names of all extended attributes, each with a zero byte at its end. Those that only the
    /// superuser may know are left out for others.
    ///
    /// # Errors
    /// When there is no such inode.
    pub(crate) fn xattr_names(&self, who: &Credentials<'_>, inode: u32) -> Result<Vec<u8>, Status> {
        let node = self.node(inode)?;
        let is_known = |name: &&[u8]| who.uid == 0 || !name.starts_with(b"trusted.");
        let names = node.xattrs.keys().map(|name| &**name).filter(is_known);
        Ok(names.flat_map(|name| [name, b"\0"].concat()).collect())
    }

    /// Changes an extended attribute.
    ///
    /// # Errors
    /// When the user may not, it is there or not there against the mode, or it is too large.
    pub(crate) fn set_xattr(
        &mut self,
        time: u32,
        who: &Credentials<'_>,
        inode: u32,
        (name, value): (&[u8], &[u8]),
        mode: SetMode,
    ) -> Result<(), Status> {
        let node = self.node(inode)?;
        check_space(who, node, name, Mask::WRITE)?;
        match (mode, node.xattrs.contains_key(name)) {
            (SetMode::Create, true) => return Err(Status::EEXIST),
            (SetMode::Replace | SetMode::Remove, false) => return Err(Status::ENOATTR),
            (SetMode::Set | SetMode::Create, false)
                if node.xattrs.len() >= self.limits.xattrs_max =>
            {
                return Err(Status::NOSPACE);
            }
            _ => {}
        }
        if value.len() > self.limits.xattr_size_max {
            return Err(Status::ERANGE);
        }
        let name = name.to_vec();
        if mode == SetMode::Remove {
            let change = Change::Xattr { inode, name, value: Vec::new(), mode: REMOVE };
            return self.change(time, &change);
        }
        self.check_memory(xattr_weight(&name, value))?;
        self.change(time, &Change::Xattr { inode, name, value: value.to_vec(), mode: 0 })
    }
}

/// Checks the access to an extended attribute, which depends on the space of its name (`xattr(7)`).
fn check_space(who: &Credentials<'_>, node: &Node, name: &[u8], mask: Mask) -> Result<(), Status> {
    let is_content = matches!(node.file_type(), FileType::File | FileType::Directory);
    if name.len() <= 1 || name.contains(&0) {
        return Err(Status::EINVAL);
    }
    if name.starts_with(b"user.") {
        return if is_content { node.check(who, mask) } else { Err(Status::EPERM) };
    }
    let is_trusted = name.starts_with(b"trusted.");
    let is_security = name.starts_with(b"security.");
    match (mask, who.uid) {
        (_, 0) if is_trusted || is_security => Ok(()),
        (Mask::READ, _) if is_security => Ok(()),
        (Mask::READ, _) if is_trusted => Err(Status::ENOATTR),
        _ if is_trusted || is_security => Err(Status::EPERM),
        _ => Err(Status::ENOTSUP),
    }
}
