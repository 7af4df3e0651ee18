//! The tree: what each request does, and random requests against a model.

mod model;
mod random;
mod requests;
mod snapshots;

use protocol::mfs::{Credentials, FileType, SetAttributes, Status, append_all};

use super::*;

pub(super) const NOW: u32 = 1_795_717_895;

/// A user with some groups.
pub(super) struct User {
    uid: u32,
    groups: Vec<u8>,
}

impl User {
    pub(super) fn new(uid: u32, groups: &[u32]) -> Self {
        Self { uid, groups: append_all(groups.iter().copied()) }
    }

    pub(super) fn who(&self) -> Credentials<'_> {
        Credentials::new(self.uid, &self.groups).expect("there is a group")
    }
}

pub(super) fn tree() -> Tree {
    Tree::new(TreeLimits::default(), NOW)
}

pub(super) fn new(file_type: FileType, mode: u16) -> NewNode {
    NewNode { file_type, mode, umask: 0, device: 0 }
}

/// Makes a file of root, and returns its inode.
pub(super) fn file(tree: &mut Tree, parent: u32, name: &str) -> u32 {
    made(tree, parent, name, FileType::File, 0o644)
}

/// Makes a directory of root, and returns its inode.
pub(super) fn directory(tree: &mut Tree, parent: u32, name: &str) -> u32 {
    made(tree, parent, name, FileType::Directory, 0o755)
}

pub(super) fn made(tree: &mut Tree, parent: u32, name: &str, kind: FileType, mode: u16) -> u32 {
    let made = tree.create(NOW, &Credentials::ROOT, parent, name.as_bytes(), new(kind, mode));
    made.expect("it can be made").0
}

pub(super) fn found(tree: &Tree, parent: u32, name: &str) -> Result<u32, Status> {
    tree.lookup(&Credentials::ROOT, parent, name.as_bytes()).map(|(inode, _)| inode)
}

/// Returns a request that sets attributes.
pub(super) fn set(who: Credentials<'_>, inode: u32, mask: u8) -> SetAttributes<'_> {
    SetAttributes { inode, credentials: who, mask, ..SetAttributes::default() }
}
