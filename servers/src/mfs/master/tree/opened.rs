//! Files that sessions have open. One without a name stays until no session has it open.

use std::collections::BTreeSet;

use protocol::mfs::{Attributes, Credentials, FileType, Status};

use super::change::Change;
use super::node::{Mask, OPEN_WEIGHT};
use super::{Mismatch, Tree};

impl Tree {
    /// Returns whether a session has the file open.
    pub(super) fn is_open(&self, inode: u32) -> bool {
        self.sessions_of(inode).next().is_some()
    }

    /// Checks whether a file may be opened for the access of `mask`. Returns its attributes.
    ///
    /// # Errors
    /// When it is no file, or the access is not permitted.
    pub(crate) fn check_open(
        &self,
        who: &Credentials<'_>,
        inode: u32,
        mask: Mask,
    ) -> Result<Attributes, Status> {
        let node = self.node(inode)?;
        if node.file_type() != FileType::File {
            return Err(Status::EPERM);
        }
        node.check(who, mask)?;
        Ok(node.shown())
    }

    /// Notes that a session has a file open.
    ///
    /// # Errors
    /// When there is no such file, or too much is open.
    pub(crate) fn acquire(&mut self, time: u32, session: u32, inode: u32) -> Result<(), Status> {
        if self.node(inode)?.file_type() != FileType::File {
            return Err(Status::EPERM);
        }
        if self.open_by_session.contains(&(session, inode)) {
            return Ok(());
        }
        self.check_memory(OPEN_WEIGHT)?;
        self.change(time, &Change::Acquire { session, inode })
    }

    /// Returns the files that a session has open.
    pub(crate) fn opened_by(&self, session: u32) -> impl Iterator<Item = u32> {
        self.open_by_session.range((session, 0)..=(session, u32::MAX)).map(|(_, inode)| *inode)
    }

    /// Returns the sessions that have a file open.
    pub(crate) fn sessions_of(&self, inode: u32) -> impl Iterator<Item = u32> {
        self.open_by_inode.range((inode, 0)..=(inode, u32::MAX)).map(|(_, session)| *session)
    }

    /// Returns the sessions that have files open.
    pub(crate) fn sessions(&self) -> BTreeSet<u32> {
        self.open_by_session.iter().map(|(session, _)| *session).collect()
    }

    /// Notes that a session no longer has a file open.
    ///
    /// # Errors
    /// When it had not.
    pub(crate) fn release(&mut self, time: u32, session: u32, inode: u32) -> Result<(), Status> {
        if !self.open_by_session.contains(&(session, inode)) {
            return Err(Status::NOTOPENED);
        }
        self.change(time, &Change::Release { session, inode })
    }

    pub(super) fn apply_acquire(&mut self, session: u32, inode: u32) -> Result<(), Mismatch> {
        let is_file = self.nodes.get(&inode).is_some_and(|it| it.file_type() == FileType::File);
        if !is_file || !self.open_by_session.insert((session, inode)) {
            return Err(Mismatch("a file that this session has not open"));
        }
        self.open_by_inode.insert((inode, session));
        self.sums.memory += OPEN_WEIGHT;
        Ok(())
    }

    pub(super) fn apply_release(&mut self, session: u32, inode: u32) -> Result<(), Mismatch> {
        if !self.open_by_session.remove(&(session, inode)) {
            return Err(Mismatch("a file that this session has open"));
        }
        self.open_by_inode.remove(&(inode, session));
        self.sums.memory -= OPEN_WEIGHT;
        self.drop_if_unused(inode);
        Ok(())
    }
}
