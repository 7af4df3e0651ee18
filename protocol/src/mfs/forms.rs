//! All messages in one table: for logs, and for tests of all of them.

use std::fmt;

use super::*;

/// A type of packets, with what reads their bodies. Requests of clients and their answers are numbered
/// here.
///
/// ```
/// use protocol::mfs::{Form, Kind};
///
/// let form = Form::of(Kind::READ_STATUS).expect("it is known");
/// let body = [0, 0, 0, 0, 0, 0, 0, 0xba, 19];
/// assert_eq!(
///     form.text(&body)?,
///     "READ_STATUS chunk=00000000000000BA status=wrong version of the chunk (19)"
/// );
/// # Ok::<(), protocol::mfs::MessageError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Form {
    kind: Kind,
    name: &'static str,
    look: fn(&[u8], &mut Seen<'_>) -> Result<(), MessageError>,
}

/// What is wanted of a message.
enum Seen<'s> {
    Text(&'s mut String),
    Body(&'s mut Vec<u8>),
}

impl Form {
    /// Returns the form of a type, if it is known.
    pub fn of(kind: Kind) -> Option<&'static Self> {
        let place = FORMS.binary_search_by_key(&kind, |form| form.kind).ok()?;
        Some(&FORMS[place])
    }

    /// Returns all forms, in the order of their types.
    pub const fn all() -> &'static [Self] {
        FORMS
    }

    /// Returns the type.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the name of the type.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Reads a body and returns its text form.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub fn text(&self, body: &[u8]) -> Result<String, MessageError> {
        let mut text = String::new();
        (self.look)(body, &mut Seen::Text(&mut text))?;
        Ok(text)
    }

    /// Reads a body and encodes the message again: the same bytes, if it is a message.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub fn encode_again(&self, body: &[u8]) -> Result<Vec<u8>, MessageError> {
        let mut again = Vec::new();
        (self.look)(body, &mut Seen::Body(&mut again))?;
        Ok(again)
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Form").field(&self.kind).field(&self.name).finish()
    }
}

/// Returns the text form of a packet for a log, or what is wrong with it.
pub fn describe(kind: Kind, body: &[u8]) -> String {
    match Form::of(kind).map(|form| form.text(body)) {
        Some(Ok(text)) => text,
        Some(Err(error)) => error.to_string(),
        None => format!("{kind} with {} bytes", body.len()),
    }
}

/// Reads a message for what is wanted of it.
fn look<'a, M: Message<'a>>(body: &'a [u8], seen: &mut Seen<'_>) -> Result<(), MessageError> {
    let message = M::parse(body)?;
    match seen {
        Seen::Text(text) => **text = message.text().to_string(),
        Seen::Body(body) => message.append(body),
    }
    Ok(())
}

const fn form(
    kind: Kind,
    name: &'static str,
    look: fn(&[u8], &mut Seen<'_>) -> Result<(), MessageError>,
) -> Form {
    Form { kind, name, look }
}

const FORMS: &[Form] = &[
    form(Kind::NOP, "NOP", |body, seen| look::<Nop>(body, seen)),
    form(Kind::GET_VERSION, "GET_VERSION", |body, seen| look::<GetVersion>(body, seen)),
    form(Kind::VERSION, "VERSION", |body, seen| look::<VersionAnswer>(body, seen)),
    form(Kind::METALOGGER_REGISTER, "METALOGGER_REGISTER", |body, seen| {
        look::<MetaloggerRegister>(body, seen)
    }),
    form(Kind::CHANGES, "CHANGES", |body, seen| look::<Changes>(body, seen)),
    form(Kind::DOWNLOAD_START, "DOWNLOAD_START", |body, seen| look::<DownloadStart>(body, seen)),
    form(Kind::DOWNLOAD_INFO, "DOWNLOAD_INFO", |body, seen| look::<DownloadInfo>(body, seen)),
    form(Kind::DOWNLOAD_REQUEST, "DOWNLOAD_REQUEST", |body, seen| {
        look::<DownloadRequest>(body, seen)
    }),
    form(Kind::DOWNLOAD_DATA, "DOWNLOAD_DATA", |body, seen| look::<DownloadData>(body, seen)),
    form(Kind::DOWNLOAD_END, "DOWNLOAD_END", |body, seen| look::<DownloadEnd>(body, seen)),
    form(Kind::GET_CONFIG, "GET_CONFIG", |body, seen| look::<GetConfig>(body, seen)),
    form(Kind::CONFIG_VALUE, "CONFIG_VALUE", |body, seen| look::<ConfigValue>(body, seen)),
    form(Kind::REGISTER, "REGISTER", |body, seen| look::<ChunkserverRegister>(body, seen)),
    form(Kind::SPACE, "SPACE", |body, seen| look::<Space>(body, seen)),
    form(Kind::CHUNK_DAMAGED, "CHUNK_DAMAGED", |body, seen| look::<ChunkDamaged>(body, seen)),
    form(Kind::CURRENT_LOAD, "CURRENT_LOAD", |body, seen| look::<CurrentLoad>(body, seen)),
    form(Kind::MASTER_ACK, "MASTER_ACK", |body, seen| look::<MasterAck>(body, seen)),
    form(Kind::CHUNK_LOST, "CHUNK_LOST", |body, seen| look::<ChunkLost>(body, seen)),
    form(Kind::ERROR_OCCURRED, "ERROR_OCCURRED", |body, seen| look::<ErrorOccurred>(body, seen)),
    form(Kind::CHUNK_NEW, "CHUNK_NEW", |body, seen| look::<ChunkNew>(body, seen)),
    form(Kind::LABELS, "LABELS", |body, seen| look::<Labels>(body, seen)),
    form(Kind::CREATE, "CREATE", |body, seen| look::<Create>(body, seen)),
    form(Kind::CREATE_ANSWER, "CREATE_ANSWER", |body, seen| look::<CreateAnswer>(body, seen)),
    form(Kind::DELETE, "DELETE", |body, seen| look::<Delete>(body, seen)),
    form(Kind::DELETE_ANSWER, "DELETE_ANSWER", |body, seen| look::<DeleteAnswer>(body, seen)),
    form(Kind::DUPLICATE, "DUPLICATE", |body, seen| look::<Duplicate>(body, seen)),
    form(Kind::DUPLICATE_ANSWER, "DUPLICATE_ANSWER", |body, seen| {
        look::<DuplicateAnswer>(body, seen)
    }),
    form(Kind::SET_VERSION, "SET_VERSION", |body, seen| look::<SetVersion>(body, seen)),
    form(Kind::SET_VERSION_ANSWER, "SET_VERSION_ANSWER", |body, seen| {
        look::<SetVersionAnswer>(body, seen)
    }),
    form(Kind::REPLICATE, "REPLICATE", |body, seen| look::<Replicate>(body, seen)),
    form(Kind::REPLICATE_ANSWER, "REPLICATE_ANSWER", |body, seen| {
        look::<ReplicateAnswer>(body, seen)
    }),
    form(Kind::CHUNK_OPERATION, "CHUNK_OPERATION", |body, seen| look::<ChunkOperation>(body, seen)),
    form(Kind::CHUNK_OPERATION_ANSWER, "CHUNK_OPERATION_ANSWER", |body, seen| {
        look::<ChunkOperationAnswer>(body, seen)
    }),
    form(Kind::TRUNCATE, "TRUNCATE", |body, seen| look::<Truncate>(body, seen)),
    form(Kind::TRUNCATE_ANSWER, "TRUNCATE_ANSWER", |body, seen| look::<TruncateAnswer>(body, seen)),
    form(Kind::DUPLICATE_TRUNCATED, "DUPLICATE_TRUNCATED", |body, seen| {
        look::<DuplicateTruncated>(body, seen)
    }),
    form(Kind::DUPLICATE_TRUNCATED_ANSWER, "DUPLICATE_TRUNCATED_ANSWER", |body, seen| {
        look::<DuplicateTruncatedAnswer>(body, seen)
    }),
    form(Kind::READ, "READ", |body, seen| look::<Read>(body, seen)),
    form(Kind::READ_STATUS, "READ_STATUS", |body, seen| look::<ReadStatus>(body, seen)),
    form(Kind::READ_DATA, "READ_DATA", |body, seen| look::<ReadData>(body, seen)),
    form(Kind::WRITE, "WRITE", |body, seen| look::<Write>(body, seen)),
    form(Kind::WRITE_STATUS, "WRITE_STATUS", |body, seen| look::<WriteStatus>(body, seen)),
    form(Kind::WRITE_DATA, "WRITE_DATA", |body, seen| look::<WriteData>(body, seen)),
    form(Kind::WRITE_FINISH, "WRITE_FINISH", |body, seen| look::<WriteFinish>(body, seen)),
    form(Kind::GET_CHUNK_BLOCKS, "GET_CHUNK_BLOCKS", |body, seen| {
        look::<GetChunkBlocks>(body, seen)
    }),
    form(Kind::CHUNK_BLOCKS, "CHUNK_BLOCKS", |body, seen| look::<ChunkBlocks>(body, seen)),
    form(Kind::GET_CHUNK_CHECKSUM, "GET_CHUNK_CHECKSUM", |body, seen| {
        look::<GetChunkChecksum>(body, seen)
    }),
    form(Kind::CHUNK_CHECKSUM, "CHUNK_CHECKSUM", |body, seen| look::<ChunkChecksum>(body, seen)),
    form(Kind::GET_CHUNK_CHECKSUMS, "GET_CHUNK_CHECKSUMS", |body, seen| {
        look::<GetChunkChecksums>(body, seen)
    }),
    form(Kind::CHUNK_CHECKSUMS, "CHUNK_CHECKSUMS", |body, seen| look::<ChunkChecksums>(body, seen)),
    form(Kind::CLIENT_REGISTER, "CLIENT_REGISTER", |body, seen| look::<ClientRegister>(body, seen)),
    form(Kind::CLIENT_REGISTER_ANSWER, "CLIENT_REGISTER_ANSWER", |body, seen| {
        look::<ClientRegisterAnswer>(body, seen)
    }),
    form(Kind::STATFS, "STATFS", |body, seen| look::<Numbered<StatFs>>(body, seen)),
    form(Kind::STATFS_ANSWER, "STATFS_ANSWER", |body, seen| {
        look::<Numbered<Answer<StatFsAnswer>>>(body, seen)
    }),
    form(Kind::ACCESS, "ACCESS", |body, seen| look::<Numbered<Access>>(body, seen)),
    form(Kind::ACCESS_ANSWER, "ACCESS_ANSWER", |body, seen| {
        look::<Numbered<Answer<AccessAnswer>>>(body, seen)
    }),
    form(Kind::LOOKUP, "LOOKUP", |body, seen| look::<Numbered<Lookup>>(body, seen)),
    form(Kind::LOOKUP_ANSWER, "LOOKUP_ANSWER", |body, seen| {
        look::<Numbered<Answer<LookupAnswer>>>(body, seen)
    }),
    form(Kind::GETATTR, "GETATTR", |body, seen| look::<Numbered<GetAttributes>>(body, seen)),
    form(Kind::GETATTR_ANSWER, "GETATTR_ANSWER", |body, seen| {
        look::<Numbered<Answer<GetAttributesAnswer>>>(body, seen)
    }),
    form(Kind::SETATTR, "SETATTR", |body, seen| look::<Numbered<SetAttributes>>(body, seen)),
    form(Kind::SETATTR_ANSWER, "SETATTR_ANSWER", |body, seen| {
        look::<Numbered<Answer<SetAttributesAnswer>>>(body, seen)
    }),
    form(Kind::READLINK, "READLINK", |body, seen| look::<Numbered<ReadLink>>(body, seen)),
    form(Kind::READLINK_ANSWER, "READLINK_ANSWER", |body, seen| {
        look::<Numbered<Answer<ReadLinkAnswer>>>(body, seen)
    }),
    form(Kind::SYMLINK, "SYMLINK", |body, seen| look::<Numbered<Symlink>>(body, seen)),
    form(Kind::SYMLINK_ANSWER, "SYMLINK_ANSWER", |body, seen| {
        look::<Numbered<Answer<SymlinkAnswer>>>(body, seen)
    }),
    form(Kind::MKNOD, "MKNOD", |body, seen| look::<Numbered<MakeNode>>(body, seen)),
    form(Kind::MKNOD_ANSWER, "MKNOD_ANSWER", |body, seen| {
        look::<Numbered<Answer<MakeNodeAnswer>>>(body, seen)
    }),
    form(Kind::MKDIR, "MKDIR", |body, seen| look::<Numbered<MakeDirectory>>(body, seen)),
    form(Kind::MKDIR_ANSWER, "MKDIR_ANSWER", |body, seen| {
        look::<Numbered<Answer<MakeDirectoryAnswer>>>(body, seen)
    }),
    form(Kind::UNLINK, "UNLINK", |body, seen| look::<Numbered<Unlink>>(body, seen)),
    form(Kind::UNLINK_ANSWER, "UNLINK_ANSWER", |body, seen| {
        look::<Numbered<Answer<UnlinkAnswer>>>(body, seen)
    }),
    form(Kind::RMDIR, "RMDIR", |body, seen| look::<Numbered<RemoveDirectory>>(body, seen)),
    form(Kind::RMDIR_ANSWER, "RMDIR_ANSWER", |body, seen| {
        look::<Numbered<Answer<RemoveDirectoryAnswer>>>(body, seen)
    }),
    form(Kind::RENAME, "RENAME", |body, seen| look::<Numbered<Rename>>(body, seen)),
    form(Kind::RENAME_ANSWER, "RENAME_ANSWER", |body, seen| {
        look::<Numbered<Answer<RenameAnswer>>>(body, seen)
    }),
    form(Kind::LINK, "LINK", |body, seen| look::<Numbered<Link>>(body, seen)),
    form(Kind::LINK_ANSWER, "LINK_ANSWER", |body, seen| {
        look::<Numbered<Answer<LinkAnswer>>>(body, seen)
    }),
    form(Kind::READDIR, "READDIR", |body, seen| look::<Numbered<ReadDirectory>>(body, seen)),
    form(Kind::READDIR_ANSWER, "READDIR_ANSWER", |body, seen| {
        look::<Numbered<Answer<ReadDirectoryAnswer>>>(body, seen)
    }),
    form(Kind::OPEN, "OPEN", |body, seen| look::<Numbered<Open>>(body, seen)),
    form(Kind::OPEN_ANSWER, "OPEN_ANSWER", |body, seen| {
        look::<Numbered<Answer<OpenAnswer>>>(body, seen)
    }),
    form(Kind::READ_CHUNK, "READ_CHUNK", |body, seen| look::<Numbered<ReadChunk>>(body, seen)),
    form(Kind::READ_CHUNK_ANSWER, "READ_CHUNK_ANSWER", |body, seen| {
        look::<Numbered<Answer<ReadChunkAnswer>>>(body, seen)
    }),
    form(Kind::WRITE_CHUNK, "WRITE_CHUNK", |body, seen| look::<Numbered<WriteChunk>>(body, seen)),
    form(Kind::WRITE_CHUNK_ANSWER, "WRITE_CHUNK_ANSWER", |body, seen| {
        look::<Numbered<Answer<WriteChunkAnswer>>>(body, seen)
    }),
    form(Kind::WRITE_CHUNK_END, "WRITE_CHUNK_END", |body, seen| {
        look::<Numbered<WriteChunkEnd>>(body, seen)
    }),
    form(Kind::WRITE_CHUNK_END_ANSWER, "WRITE_CHUNK_END_ANSWER", |body, seen| {
        look::<Numbered<Answer<WriteChunkEndAnswer>>>(body, seen)
    }),
    form(Kind::TRUNCATE_FILE, "TRUNCATE_FILE", |body, seen| {
        look::<Numbered<TruncateFile>>(body, seen)
    }),
    form(Kind::TRUNCATE_FILE_ANSWER, "TRUNCATE_FILE_ANSWER", |body, seen| {
        look::<Numbered<Answer<TruncateFileAnswer>>>(body, seen)
    }),
    form(Kind::GETXATTR, "GETXATTR", |body, seen| look::<Numbered<GetXattr>>(body, seen)),
    form(Kind::GETXATTR_ANSWER, "GETXATTR_ANSWER", |body, seen| {
        look::<Numbered<Answer<GetXattrAnswer>>>(body, seen)
    }),
    form(Kind::SETXATTR, "SETXATTR", |body, seen| look::<Numbered<SetXattr>>(body, seen)),
    form(Kind::SETXATTR_ANSWER, "SETXATTR_ANSWER", |body, seen| {
        look::<Numbered<Answer<SetXattrAnswer>>>(body, seen)
    }),
    form(Kind::CREATE_FILE, "CREATE_FILE", |body, seen| look::<Numbered<CreateFile>>(body, seen)),
    form(Kind::CREATE_FILE_ANSWER, "CREATE_FILE_ANSWER", |body, seen| {
        look::<Numbered<Answer<CreateFileAnswer>>>(body, seen)
    }),
    form(Kind::GETACL, "GETACL", |body, seen| look::<Numbered<GetAcl>>(body, seen)),
    form(Kind::GETACL_ANSWER, "GETACL_ANSWER", |body, seen| {
        look::<Numbered<Answer<GetAclAnswer>>>(body, seen)
    }),
    form(Kind::LIST_CHUNKSERVERS, "LIST_CHUNKSERVERS", |body, seen| {
        look::<ListChunkservers>(body, seen)
    }),
    form(Kind::CHUNKSERVERS, "CHUNKSERVERS", |body, seen| look::<Chunkservers>(body, seen)),
    form(Kind::LIST_SESSIONS, "LIST_SESSIONS", |body, seen| look::<ListSessions>(body, seen)),
    form(Kind::SESSIONS, "SESSIONS", |body, seen| look::<Sessions>(body, seen)),
    form(Kind::GET_INFO, "GET_INFO", |body, seen| look::<GetInfo>(body, seen)),
    form(Kind::INFO, "INFO", |body, seen| look::<Info>(body, seen)),
    form(Kind::GET_CHARTS, "GET_CHARTS", |body, seen| look::<GetCharts>(body, seen)),
    form(Kind::CHARTS, "CHARTS", |body, seen| look::<Charts>(body, seen)),
    form(Kind::GET_CHUNK_TESTS, "GET_CHUNK_TESTS", |body, seen| look::<GetChunkTests>(body, seen)),
    form(Kind::CHUNK_TESTS, "CHUNK_TESTS", |body, seen| look::<ChunkTests>(body, seen)),
    form(Kind::GET_CHUNK_MATRIX, "GET_CHUNK_MATRIX", |body, seen| {
        look::<GetChunkMatrix>(body, seen)
    }),
    form(Kind::CHUNK_MATRIX, "CHUNK_MATRIX", |body, seen| look::<ChunkMatrix>(body, seen)),
    form(Kind::LIST_QUOTAS, "LIST_QUOTAS", |body, seen| look::<ListQuotas>(body, seen)),
    form(Kind::QUOTAS, "QUOTAS", |body, seen| look::<Quotas>(body, seen)),
    form(Kind::LIST_EXPORTS, "LIST_EXPORTS", |body, seen| look::<ListExports>(body, seen)),
    form(Kind::EXPORTS, "EXPORTS", |body, seen| look::<Exports>(body, seen)),
    form(Kind::LIST_METALOGGERS, "LIST_METALOGGERS", |body, seen| {
        look::<ListMetaloggers>(body, seen)
    }),
    form(Kind::METALOGGERS, "METALOGGERS", |body, seen| look::<Metaloggers>(body, seen)),
    form(Kind::GET_MEMORY, "GET_MEMORY", |body, seen| look::<GetMemory>(body, seen)),
    form(Kind::MEMORY, "MEMORY", |body, seen| look::<Memory>(body, seen)),
    form(Kind::LIST_OPEN_FILES, "LIST_OPEN_FILES", |body, seen| look::<ListOpenFiles>(body, seen)),
    form(Kind::OPEN_FILES, "OPEN_FILES", |body, seen| look::<OpenFiles>(body, seen)),
    form(Kind::LIST_LOCKS, "LIST_LOCKS", |body, seen| look::<ListLocks>(body, seen)),
    form(Kind::LOCKS, "LOCKS", |body, seen| look::<Locks>(body, seen)),
    form(Kind::LIST_STORAGE_CLASSES, "LIST_STORAGE_CLASSES", |body, seen| {
        look::<ListStorageClasses>(body, seen)
    }),
    form(Kind::STORAGE_CLASSES, "STORAGE_CLASSES", |body, seen| look::<StorageClasses>(body, seen)),
    form(Kind::LIST_MISSING_CHUNKS, "LIST_MISSING_CHUNKS", |body, seen| {
        look::<ListMissingChunks>(body, seen)
    }),
    form(Kind::MISSING_CHUNKS, "MISSING_CHUNKS", |body, seen| look::<MissingChunks>(body, seen)),
    form(Kind::LIST_DISKS, "LIST_DISKS", |body, seen| look::<ListDisks>(body, seen)),
    form(Kind::DISKS, "DISKS", |body, seen| look::<Disks>(body, seen)),
    form(Kind::SUSTAINED_INODES, "SUSTAINED_INODES", |body, seen| {
        look::<SustainedInodes>(body, seen)
    }),
    form(Kind::ACCESS_TIMES, "ACCESS_TIMES", |body, seen| look::<AccessTimes>(body, seen)),
    form(Kind::CHUNK_HAS_CHANGED, "CHUNK_HAS_CHANGED", |body, seen| {
        look::<Numbered<ChunkHasChanged>>(body, seen)
    }),
    form(Kind::LENGTH_HAS_CHANGED, "LENGTH_HAS_CHANGED", |body, seen| {
        look::<Numbered<LengthHasChanged>>(body, seen)
    }),
    form(Kind::TIME_SYNC, "TIME_SYNC", |body, seen| look::<Numbered<TimeSync>>(body, seen)),
    form(Kind::TIME_SYNC_ANSWER, "TIME_SYNC_ANSWER", |body, seen| {
        look::<Numbered<TimeSyncAnswer>>(body, seen)
    }),
    form(Kind::INVALIDATE_CHUNK_CACHE, "INVALIDATE_CHUNK_CACHE", |body, seen| {
        look::<Numbered<InvalidateChunkCache>>(body, seen)
    }),
];
