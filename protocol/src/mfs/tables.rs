//! Tables that `mfscli` asks the master for, on connections that are not registered. The messages have no
//! number.

use super::Kind;
use super::error::Fault;
use super::field::{Pass, Record};
use super::message::Message;
use super::values::{Ip, List, Rest, Version};

/// Asks for the quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListQuotas;

impl<'a> Record<'a> for ListQuotas {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for ListQuotas {
    const KIND: Kind = Kind::LIST_QUOTAS;
}

/// The quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas<'a> {
    /// One entry for each. No quota is an empty body.
    pub quotas: Rest<'a>,
}

impl<'a> Record<'a> for Quotas<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("quotas", &mut self.quotas)
    }
}

impl<'a> Message<'a> for Quotas<'a> {
    const KIND: Kind = Kind::QUOTAS;
}

/// Asks for the exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListExports {
    /// 3.
    pub form: u8,
}

impl<'a> Record<'a> for ListExports {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("form", &mut self.form)
    }
}

impl<'a> Message<'a> for ListExports {
    const KIND: Kind = Kind::LIST_EXPORTS;
}

/// The exports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exports<'a> {
    /// One entry for each.
    pub exports: Rest<'a>,
}

impl<'a> Record<'a> for Exports<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("exports", &mut self.exports)
    }
}

impl<'a> Message<'a> for Exports<'a> {
    const KIND: Kind = Kind::EXPORTS;
}

/// Asks for the metaloggers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListMetaloggers;

impl<'a> Record<'a> for ListMetaloggers {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for ListMetaloggers {
    const KIND: Kind = Kind::LIST_METALOGGERS;
}

/// The metaloggers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metaloggers<'a> {
    /// One entry for each.
    pub metaloggers: List<'a, Metalogger>,
}

impl<'a> Record<'a> for Metaloggers<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("metaloggers", &mut self.metaloggers)
    }
}

impl<'a> Message<'a> for Metaloggers<'a> {
    const KIND: Kind = Kind::METALOGGERS;
}

/// A metalogger that is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metalogger {
    /// Its version.
    pub version: Version,
    /// Its address.
    pub ip: Ip,
}

impl<'a> Record<'a> for Metalogger {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("version", &mut self.version)?;
        pass.field("ip", &mut self.ip)
    }
}

/// Asks what the memory is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetMemory;

impl<'a> Record<'a> for GetMemory {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for GetMemory {
    const KIND: Kind = Kind::GET_MEMORY;
}

/// What the memory is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory<'a> {
    /// 11 pairs of numbers of 64 bits: allocated and used bytes.
    pub figures: Rest<'a>,
}

impl<'a> Record<'a> for Memory<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("figures", &mut self.figures)
    }
}

impl<'a> Message<'a> for Memory<'a> {
    const KIND: Kind = Kind::MEMORY;
}

/// Asks for the files that sessions have open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListOpenFiles {
    /// A session, or 0 for all.
    pub session: u32,
}

impl<'a> Record<'a> for ListOpenFiles {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("session", &mut self.session)
    }
}

impl<'a> Message<'a> for ListOpenFiles {
    const KIND: Kind = Kind::LIST_OPEN_FILES;
}

/// The files that sessions have open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFiles<'a> {
    /// One entry for each.
    pub files: Rest<'a>,
}

impl<'a> Record<'a> for OpenFiles<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("files", &mut self.files)
    }
}

impl<'a> Message<'a> for OpenFiles<'a> {
    const KIND: Kind = Kind::OPEN_FILES;
}

/// Asks for the locks of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListLocks {
    /// A file, or 0 for all.
    pub inode: u32,
}

impl<'a> Record<'a> for ListLocks {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("inode", &mut self.inode)
    }
}

impl<'a> Message<'a> for ListLocks {
    const KIND: Kind = Kind::LIST_LOCKS;
}

/// The locks of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locks<'a> {
    /// One entry for each.
    pub locks: Rest<'a>,
}

impl<'a> Record<'a> for Locks<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("locks", &mut self.locks)
    }
}

impl<'a> Message<'a> for Locks<'a> {
    const KIND: Kind = Kind::LOCKS;
}

/// Asks for the storage classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListStorageClasses;

impl<'a> Record<'a> for ListStorageClasses {
    fn fields(&mut self, _: &mut impl Pass<'a>) -> Result<(), Fault> {
        Ok(())
    }
}

impl<'a> Message<'a> for ListStorageClasses {
    const KIND: Kind = Kind::LIST_STORAGE_CLASSES;
}

/// The storage classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageClasses<'a> {
    /// The number of chunkservers as 16 bits, and one entry for each class.
    pub classes: Rest<'a>,
}

impl<'a> Record<'a> for StorageClasses<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("classes", &mut self.classes)
    }
}

impl<'a> Message<'a> for StorageClasses<'a> {
    const KIND: Kind = Kind::STORAGE_CLASSES;
}

/// Asks for the chunks without a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListMissingChunks {
    /// 1.
    pub form: u8,
}

impl<'a> Record<'a> for ListMissingChunks {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("form", &mut self.form)
    }
}

impl<'a> Message<'a> for ListMissingChunks {
    const KIND: Kind = Kind::LIST_MISSING_CHUNKS;
}

/// The chunks without a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissingChunks<'a> {
    /// One entry for each.
    pub chunks: Rest<'a>,
}

impl<'a> Record<'a> for MissingChunks<'a> {
    fn fields(&mut self, pass: &mut impl Pass<'a>) -> Result<(), Fault> {
        pass.field("chunks", &mut self.chunks)
    }
}

impl<'a> Message<'a> for MissingChunks<'a> {
    const KIND: Kind = Kind::MISSING_CHUNKS;
}
