//! The types of packets.

use std::fmt;

use super::forms::Form;

/// The type of a packet.
///
/// ```
/// use protocol::mfs::Kind;
///
/// assert_eq!(Kind::READ_CHUNK.to_string(), "READ_CHUNK");
/// assert_eq!(Kind(77).to_string(), "TYPE77");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u32);

impl Kind {
    /// Peers ignore it, and nothing sends it.
    pub const UNKNOWN_COMMAND: Self = Self(1);
    /// Peers ignore it, and nothing sends it.
    pub const BAD_COMMAND_SIZE: Self = Self(2);
    /// A sign of life.
    pub const NOP: Self = Self(0);
    /// Asks a program for its version.
    pub const GET_VERSION: Self = Self(10);
    /// The version of a program.
    pub const VERSION: Self = Self(11);
    /// A metalogger registers with the master.
    pub const METALOGGER_REGISTER: Self = Self(50);
    /// The master tells metaloggers a change of the metadata.
    pub const CHANGES: Self = Self(51);
    /// A metalogger begins to download a file.
    pub const DOWNLOAD_START: Self = Self(60);
    /// The length of the file.
    pub const DOWNLOAD_INFO: Self = Self(61);
    /// A metalogger asks for a part of the file.
    pub const DOWNLOAD_REQUEST: Self = Self(62);
    /// A part of the file.
    pub const DOWNLOAD_DATA: Self = Self(63);
    /// A metalogger has finished a download.
    pub const DOWNLOAD_END: Self = Self(64);
    /// Asks a program for an option of its configuration.
    pub const GET_CONFIG: Self = Self(80);
    /// An option of the configuration.
    pub const CONFIG_VALUE: Self = Self(81);
    /// A chunkserver registers with the master.
    pub const REGISTER: Self = Self(100);
    /// The space of a chunkserver, told whenever it has changed.
    pub const SPACE: Self = Self(101);
    /// Copies of chunks that cannot be read.
    pub const CHUNK_DAMAGED: Self = Self(102);
    /// How much a chunkserver has to do, told every five seconds.
    pub const CURRENT_LOAD: Self = Self(103);
    /// The master answers a registration.
    pub const MASTER_ACK: Self = Self(104);
    /// Chunks that a chunkserver no longer has.
    pub const CHUNK_LOST: Self = Self(105);
    /// A disk of a chunkserver had an error.
    pub const ERROR_OCCURRED: Self = Self(106);
    /// Chunks that a chunkserver has found after it has registered.
    pub const CHUNK_NEW: Self = Self(107);
    /// The labels of a chunkserver.
    pub const LABELS: Self = Self(109);
    /// Orders a chunkserver to create a chunk.
    pub const CREATE: Self = Self(110);
    /// What became of it.
    pub const CREATE_ANSWER: Self = Self(111);
    /// Orders a chunkserver to delete a chunk.
    pub const DELETE: Self = Self(120);
    /// What became of it.
    pub const DELETE_ANSWER: Self = Self(121);
    /// Orders a chunkserver to copy one of its chunks.
    pub const DUPLICATE: Self = Self(130);
    /// What became of it.
    pub const DUPLICATE_ANSWER: Self = Self(131);
    /// Orders a chunkserver to change the version of a chunk.
    pub const SET_VERSION: Self = Self(140);
    /// What became of it.
    pub const SET_VERSION_ANSWER: Self = Self(141);
    /// Orders a chunkserver to copy a chunk from another.
    pub const REPLICATE: Self = Self(150);
    /// What became of it.
    pub const REPLICATE_ANSWER: Self = Self(151);
    /// Orders one of several operations, which the numbers tell apart.
    pub const CHUNK_OPERATION: Self = Self(152);
    /// What became of it.
    pub const CHUNK_OPERATION_ANSWER: Self = Self(153);
    /// Orders a chunkserver to change the length of a chunk.
    pub const TRUNCATE: Self = Self(160);
    /// What became of it.
    pub const TRUNCATE_ANSWER: Self = Self(161);
    /// Orders a chunkserver to copy one of its chunks, with another length.
    pub const DUPLICATE_TRUNCATED: Self = Self(170);
    /// What became of it.
    pub const DUPLICATE_TRUNCATED_ANSWER: Self = Self(171);
    /// Asks for a part of a chunk.
    pub const READ: Self = Self(200);
    /// The end of what was asked for, or why it ends early.
    pub const READ_STATUS: Self = Self(201);
    /// Data of one block, in the order of the chunk.
    pub const READ_DATA: Self = Self(202);
    /// Begins to write to a chunk, through a chain of chunkservers.
    pub const WRITE: Self = Self(210);
    /// All chunkservers of the chain have done a write, or one of them has failed.
    pub const WRITE_STATUS: Self = Self(211);
    /// Data for one block.
    pub const WRITE_DATA: Self = Self(212);
    /// Ends writing.
    pub const WRITE_FINISH: Self = Self(213);
    /// Asks how many blocks a chunk has.
    pub const GET_CHUNK_BLOCKS: Self = Self(250);
    /// How many blocks a chunk has.
    pub const CHUNK_BLOCKS: Self = Self(251);
    /// Asks for the checksum of a chunk.
    pub const GET_CHUNK_CHECKSUM: Self = Self(300);
    /// The checksum of a chunk.
    pub const CHUNK_CHECKSUM: Self = Self(301);
    /// Asks for the CRCs of all blocks of a chunk.
    pub const GET_CHUNK_CHECKSUMS: Self = Self(302);
    /// The CRCs of all blocks of a chunk.
    pub const CHUNK_CHECKSUMS: Self = Self(303);
    /// A client opens, resumes or closes a session.
    pub const CLIENT_REGISTER: Self = Self(400);
    /// What the master answers.
    pub const CLIENT_REGISTER_ANSWER: Self = Self(401);
    /// Asks for the size of the file system.
    pub const STATFS: Self = Self(402);
    /// The size of the file system.
    pub const STATFS_ANSWER: Self = Self(403);
    /// Asks whether a file may be used.
    pub const ACCESS: Self = Self(404);
    /// The answer is a status.
    pub const ACCESS_ANSWER: Self = Self(405);
    /// Asks for a name in a directory.
    pub const LOOKUP: Self = Self(406);
    /// What has the name.
    pub const LOOKUP_ANSWER: Self = Self(407);
    /// Asks for attributes.
    pub const GETATTR: Self = Self(408);
    /// Attributes.
    pub const GETATTR_ANSWER: Self = Self(409);
    /// Changes attributes.
    pub const SETATTR: Self = Self(410);
    /// The attributes after the change.
    pub const SETATTR_ANSWER: Self = Self(411);
    /// Asks where a symbolic link points to.
    pub const READLINK: Self = Self(412);
    /// Where it points to.
    pub const READLINK_ANSWER: Self = Self(413);
    /// Makes a symbolic link.
    pub const SYMLINK: Self = Self(414);
    /// The new link.
    pub const SYMLINK_ANSWER: Self = Self(415);
    /// Makes a file of any type but a directory or a symbolic link.
    pub const MKNOD: Self = Self(416);
    /// The new file.
    pub const MKNOD_ANSWER: Self = Self(417);
    /// Makes a directory.
    pub const MKDIR: Self = Self(418);
    /// The new directory.
    pub const MKDIR_ANSWER: Self = Self(419);
    /// Removes a name of a file.
    pub const UNLINK: Self = Self(420);
    /// What had the name.
    pub const UNLINK_ANSWER: Self = Self(421);
    /// Removes an empty directory.
    pub const RMDIR: Self = Self(422);
    /// What had the name.
    pub const RMDIR_ANSWER: Self = Self(423);
    /// Changes a name.
    pub const RENAME: Self = Self(424);
    /// What has the name.
    pub const RENAME_ANSWER: Self = Self(425);
    /// Gives a file another name.
    pub const LINK: Self = Self(426);
    /// The file.
    pub const LINK_ANSWER: Self = Self(427);
    /// Asks for the names in a directory.
    pub const READDIR: Self = Self(428);
    /// The names in a directory, `.` and `..` first.
    pub const READDIR_ANSWER: Self = Self(429);
    /// Opens a file.
    pub const OPEN: Self = Self(430);
    /// The file is open.
    pub const OPEN_ANSWER: Self = Self(431);
    /// Asks where a chunk is, to read it.
    pub const READ_CHUNK: Self = Self(432);
    /// Where a chunk is.
    pub const READ_CHUNK_ANSWER: Self = Self(433);
    /// Asks where a chunk is, to write to it.
    pub const WRITE_CHUNK: Self = Self(434);
    /// Where a chunk is.
    pub const WRITE_CHUNK_ANSWER: Self = Self(435);
    /// Ends writing to a chunk.
    pub const WRITE_CHUNK_END: Self = Self(436);
    /// The answer is a status.
    pub const WRITE_CHUNK_END_ANSWER: Self = Self(437);
    /// Changes the length of a file.
    pub const TRUNCATE_FILE: Self = Self(464);
    /// The length was changed.
    pub const TRUNCATE_FILE_ANSWER: Self = Self(465);
    /// Asks for an extended attribute.
    pub const GETXATTR: Self = Self(478);
    /// An extended attribute.
    pub const GETXATTR_ANSWER: Self = Self(479);
    /// Changes an extended attribute.
    pub const SETXATTR: Self = Self(480);
    /// The answer is a status.
    pub const SETXATTR_ANSWER: Self = Self(481);
    /// Creates a file and opens it.
    pub const CREATE_FILE: Self = Self(482);
    /// The new file.
    pub const CREATE_FILE_ANSWER: Self = Self(483);
    /// Asks for an access control list.
    pub const GETACL: Self = Self(488);
    /// An access control list.
    pub const GETACL_ANSWER: Self = Self(489);
    /// Asks for the chunkservers.
    pub const LIST_CHUNKSERVERS: Self = Self(500);
    /// The chunkservers.
    pub const CHUNKSERVERS: Self = Self(501);
    /// Asks for the sessions of clients.
    pub const LIST_SESSIONS: Self = Self(508);
    /// The sessions of clients.
    pub const SESSIONS: Self = Self(509);
    /// Asks for the state of the master.
    pub const GET_INFO: Self = Self(510);
    /// The state of the master.
    pub const INFO: Self = Self(511);
    /// Asks for figures of the loop of the checks.
    pub const GET_CHARTS: Self = Self(512);
    /// Figures of the loop of the checks.
    pub const CHARTS: Self = Self(513);
    /// Asks for figures of the loop of the chunks.
    pub const GET_CHUNK_TESTS: Self = Self(514);
    /// Figures of the loop of the chunks.
    pub const CHUNK_TESTS: Self = Self(515);
    /// Asks how many chunks have how many copies.
    pub const GET_CHUNK_MATRIX: Self = Self(516);
    /// How many chunks have how many copies.
    pub const CHUNK_MATRIX: Self = Self(517);
    /// Asks for the quotas.
    pub const LIST_QUOTAS: Self = Self(518);
    /// The quotas.
    pub const QUOTAS: Self = Self(519);
    /// Asks for the exports.
    pub const LIST_EXPORTS: Self = Self(520);
    /// The exports.
    pub const EXPORTS: Self = Self(521);
    /// Asks for the metaloggers.
    pub const LIST_METALOGGERS: Self = Self(522);
    /// The metaloggers.
    pub const METALOGGERS: Self = Self(523);
    /// Asks what the memory is used for.
    pub const GET_MEMORY: Self = Self(528);
    /// What the memory is used for.
    pub const MEMORY: Self = Self(529);
    /// Asks for the files that sessions have open.
    pub const LIST_OPEN_FILES: Self = Self(532);
    /// The files that sessions have open.
    pub const OPEN_FILES: Self = Self(533);
    /// Asks for the locks of files.
    pub const LIST_LOCKS: Self = Self(534);
    /// The locks of files.
    pub const LOCKS: Self = Self(535);
    /// Asks for the storage classes.
    pub const LIST_STORAGE_CLASSES: Self = Self(542);
    /// The storage classes.
    pub const STORAGE_CLASSES: Self = Self(543);
    /// Asks for the chunks without a copy.
    pub const LIST_MISSING_CHUNKS: Self = Self(544);
    /// The chunks without a copy.
    pub const MISSING_CHUNKS: Self = Self(545);
    /// Asks for the disks of a chunkserver.
    pub const LIST_DISKS: Self = Self(600);
    /// The disks of a chunkserver.
    pub const DISKS: Self = Self(601);
    /// The files that a client has open.
    pub const SUSTAINED_INODES: Self = Self(700);
    /// When a client has last used files.
    pub const ACCESS_TIMES: Self = Self(701);
    /// Tells clients that another one has changed a chunk.
    pub const CHUNK_HAS_CHANGED: Self = Self(702);
    /// Tells clients that another one has changed the length of a file.
    pub const LENGTH_HAS_CHANGED: Self = Self(703);
    /// Asks for the time of the master.
    pub const TIME_SYNC: Self = Self(704);
    /// The time of the master.
    pub const TIME_SYNC_ANSWER: Self = Self(705);
    /// Tells clients to forget where chunks are.
    pub const INVALIDATE_CHUNK_CACHE: Self = Self(706);
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Form::of(*self) {
            Some(form) => f.pad(form.name()),
            None => f.pad(&format!("TYPE{}", self.0)),
        }
    }
}
