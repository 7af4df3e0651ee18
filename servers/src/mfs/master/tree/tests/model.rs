//! A naive tree: a set of names, from which everything else is counted anew each time.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// An inode of the model.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    pub(super) kind: FileType,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) length: u64,
    pub(super) chunks: BTreeSet<u32>,
    pub(super) mtime: u32,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A user of the model, with one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Someone {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) things: BTreeMap<u32, Thing>,
    pub(super) names: BTreeMap<(u32, Vec<u8>), u32>,
    pub(super) open: BTreeSet<(u32, u32)>,
}

type Result<T> = std::result::Result<T, Status>;

impl Model {
    pub(super) fn new() -> Self {
        let root = Thing::new(FileType::Directory, 0o777, Someone { uid: 0, gid: 0 }, NOW);
        Self { things: [(ROOT, root)].into(), names: [].into(), open: [].into() }
    }

    fn thing(&self, inode: u32) -> Result<&Thing> {
        self.things.get(&inode).ok_or(Status::ENOENT)
    }

    pub(super) fn is_directory(&self, inode: u32) -> bool {
        self.things.get(&inode).is_some_and(|it| it.kind == FileType::Directory)
    }

    pub(super) fn children(&self, inode: u32) -> Vec<(Vec<u8>, u32)> {
        let all = self.names.iter().filter(|((parent, _), _)| *parent == inode);
        all.map(|((_, name), child)| (name.clone(), *child)).collect()
    }

    pub(super) fn links(&self, inode: u32) -> u32 {
        if self.is_directory(inode) {
            let children = self.children(inode);
            return 2 + children.iter().filter(|(_, it)| self.is_directory(*it)).count() as u32;
        }
        self.names.values().filter(|it| **it == inode).count() as u32
    }

    /// Returns the inodes from a directory up to the root.
    fn above(&self, inode: u32) -> Vec<u32> {
        match self.names.iter().find(|(_, child)| **child == inode) {
            Some(((parent, _), _)) => [vec![inode], self.above(*parent)].concat(),
            None => vec![inode],
        }
    }

    pub(super) fn may(&self, who: Someone, inode: u32, mask: u16) -> bool {
        let thing = &self.things[&inode];
        let shift = match who {
            Someone { uid: 0, .. } => return true,
            Someone { uid, .. } if uid == thing.uid => 6,
            Someone { gid, .. } if gid == thing.gid => 3,
            _ => 0,
        };
        thing.mode >> shift & mask == mask
    }

    /// Returns the error of a directory in which a name is to be added or removed.
    fn check_parent(&self, who: Someone, parent: u32) -> Result<()> {
        if self.thing(parent)?.kind != FileType::Directory {
            return Err(Status::ENOTDIR);
        }
        if self.may(who, parent, 3) { Ok(()) } else { Err(Status::EACCES) }
    }

    fn check_sticky(&self, who: Someone, parent: u32, inode: u32) -> Result<()> {
        let (directory, thing) = (&self.things[&parent], &self.things[&inode]);
        let is_owner = [0, directory.uid, thing.uid].contains(&who.uid);
        if directory.mode & 0o1000 != 0 && !is_owner { Err(Status::EPERM) } else { Ok(()) }
    }

    fn named(&self, who: Someone, parent: u32, name: &[u8]) -> Result<u32> {
        self.check_parent(who, parent)?;
        let inode = *self.names.get(&(parent, name.to_vec())).ok_or(Status::ENOENT)?;
        self.check_sticky(who, parent, inode)?;
        Ok(inode)
    }

    fn touch(&mut self, inode: u32, time: u32) {
        self.things.get_mut(&inode).expect("it is there").mtime = time;
    }

    pub(super) fn create(
        &mut self,
        time: u32,
        who: Someone,
        (parent, name): (u32, &[u8]),
        (kind, mode, inode): (FileType, u16, Option<u32>),
    ) -> Result<()> {
        self.check_parent(who, parent)?;
        if self.names.contains_key(&(parent, name.to_vec())) {
            return Err(Status::EEXIST);
        }
        let mut thing = Thing::new(kind, mode, who, time);
        let directory = &self.things[&parent];
        if directory.mode & 0o2000 != 0 {
            thing.gid = directory.gid;
            thing.mode |= if kind == FileType::Directory { 0o2000 } else { 0 };
        }
        let inode = inode.expect("the tree refuses what the model takes");
        self.things.insert(inode, thing);
        self.names.insert((parent, name.to_vec()), inode);
        self.touch(parent, time);
        Ok(())
    }

    pub(super) fn link(
        &mut self,
        time: u32,
        who: Someone,
        inode: u32,
        (parent, name): (u32, &[u8]),
    ) -> Result<()> {
        self.thing(inode)?;
        if self.is_directory(inode) {
            return Err(Status::EPERM);
        }
        if self.links(inode) == 0 {
            return Err(Status::ENOENT);
        }
        self.check_parent(who, parent)?;
        if self.names.contains_key(&(parent, name.to_vec())) {
            return Err(Status::EEXIST);
        }
        self.names.insert((parent, name.to_vec()), inode);
        self.touch(parent, time);
        Ok(())
    }

    pub(super) fn remove(
        &mut self,
        time: u32,
        who: Someone,
        (parent, name): (u32, &[u8]),
        of_directory: bool,
    ) -> Result<()> {
        let inode = self.named(who, parent, name)?;
        match (of_directory, self.is_directory(inode)) {
            (false, true) => return Err(Status::EPERM),
            (true, false) => return Err(Status::ENOTDIR),
            (true, true) if !self.children(inode).is_empty() => return Err(Status::ENOTEMPTY),
            _ => {}
        }
        self.names.remove(&(parent, name.to_vec()));
        self.touch(parent, time);
        self.sweep();
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        time: u32,
        who: Someone,
        (parent, name): (u32, &[u8]),
        (new_parent, new_name): (u32, &[u8]),
    ) -> Result<()> {
        let inode = self.named(who, parent, name)?;
        self.check_parent(who, new_parent)?;
        if self.is_directory(inode) {
            if self.above(new_parent).contains(&inode) {
                return Err(Status::EINVAL);
            }
            if parent != new_parent && !self.may(who, inode, 2) {
                return Err(Status::EACCES);
            }
        }
        let place = (new_parent, new_name.to_vec());
        if let Some(target) = self.names.get(&place).copied() {
            if target == inode {
                return Ok(());
            }
            self.check_sticky(who, new_parent, target)?;
            match (self.is_directory(inode), self.is_directory(target)) {
                (true, false) => return Err(Status::ENOTDIR),
                (false, true) => return Err(Status::EPERM),
                (true, true) if !self.children(target).is_empty() => {
                    return Err(Status::ENOTEMPTY);
                }
                _ => {}
            }
        }
        self.names.remove(&(parent, name.to_vec()));
        self.names.insert(place, inode);
        self.touch(parent, time);
        self.touch(new_parent, time);
        self.sweep();
        Ok(())
    }

    pub(super) fn change_mode(&mut self, who: Someone, inode: u32, mode: u16) -> Result<()> {
        let thing = self.thing(inode)?;
        if who.uid != 0 && who.uid != thing.uid {
            return Err(Status::EPERM);
        }
        let loses = who.uid != 0 && who.gid != thing.gid && thing.kind != FileType::Directory;
        let thing = self.things.get_mut(&inode).expect("it is there");
        thing.mode = if loses { mode & !0o2000 } else { mode };
        Ok(())
    }

    pub(super) fn open(&mut self, who: Someone, session: u32, inode: u32) -> Result<()> {
        if self.thing(inode)?.kind != FileType::File {
            return Err(Status::EPERM);
        }
        if !self.may(who, inode, 4) {
            return Err(Status::EACCES);
        }
        self.open.insert((session, inode));
        Ok(())
    }

    pub(super) fn release(&mut self, session: u32, inode: u32) -> Result<()> {
        let was_open = self.open.remove(&(session, inode));
        self.sweep();
        if was_open { Ok(()) } else { Err(Status::NOTOPENED) }
    }

    pub(super) fn set_length(&mut self, time: u32, inode: u32, length: u64) -> Result<()> {
        if self.thing(inode)?.kind != FileType::File {
            return Err(Status::EPERM);
        }
        let thing = self.things.get_mut(&inode).expect("it is there");
        (thing.length, thing.mtime) = (length, time);
        thing.chunks.retain(|index| u64::from(*index) * protocol::mfs::CHUNK_SIZE < length);
        Ok(())
    }

    pub(super) fn written(&mut self, time: u32, inode: u32, length: u64) -> Result<()> {
        if self.thing(inode)?.kind != FileType::File {
            return Err(Status::EPERM);
        }
        let thing = self.things.get_mut(&inode).expect("it is there");
        (thing.length, thing.mtime) = (thing.length.max(length), time);
        Ok(())
    }

    pub(super) fn add_chunk(&mut self, inode: u32, index: u32) -> Result<()> {
        if self.thing(inode)?.kind != FileType::File {
            return Err(Status::EPERM);
        }
        let thing = self.things.get_mut(&inode).expect("it is there");
        if thing.chunks.insert(index) { Ok(()) } else { Err(Status::CHUNKEXIST) }
    }

    pub(super) fn set_xattr(
        &mut self,
        who: Someone,
        inode: u32,
        name: &[u8],
        value: Option<&[u8]>,
    ) -> Result<()> {
        let kind = self.thing(inode)?.kind;
        if !matches!(kind, FileType::File | FileType::Directory) {
            return Err(Status::EPERM);
        }
        if !self.may(who, inode, 2) {
            return Err(Status::EACCES);
        }
        let xattrs = &mut self.things.get_mut(&inode).expect("it is there").xattrs;
        match value {
            Some(value) => {
                xattrs.insert(name.to_vec(), value.to_vec());
                Ok(())
            }
            None => xattrs.remove(name).map(drop).ok_or(Status::ENOATTR),
        }
    }

    /// Removes what has no name and is not open.
    fn sweep(&mut self) {
        let kept: BTreeSet<u32> = self.names.values().copied().collect();
        let open: BTreeSet<u32> = self.open.iter().map(|(_, inode)| *inode).collect();
        self.things
            .retain(|inode, _| *inode == ROOT || kept.contains(inode) || open.contains(inode));
    }
}

impl Thing {
    fn new(kind: FileType, mode: u16, who: Someone, time: u32) -> Self {
        Self {
            kind,
            mode,
            uid: who.uid,
            gid: who.gid,
            length: 0,
            chunks: [].into(),
            mtime: time,
            xattrs: [].into(),
        }
    }
}
