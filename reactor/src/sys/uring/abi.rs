//! The interface of io_uring as the kernel defines it (`linux/io_uring.h`, `io_uring(7)`).

use super::pool::Stays;

/// What the kernel is to do: a submission queue entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) opcode: u8,
    pub(super) flags: u8,
    pub(super) priority: u16,
    pub(super) fd: i32,
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) length: u32,
    /// Flags of the operation: of a message, or the events of a poll.
    pub(super) operation_flags: u32,
    pub(super) user_data: u64,
    pub(super) buffer_group: u16,
    pub(super) personality: u16,
    pub(super) file_index: u32,
    pub(super) reserved: [u64; 2],
}

const _: () = assert!(size_of::<Entry>() == 64);

/// What the kernel has done: a completion queue entry.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// What the entry said.
    pub(crate) user_data: u64,
    /// A count, or an error number below zero.
    pub(crate) result: i32,
    pub(super) flags: u32,
}

impl Done {
    /// Returns whether the same request will report again.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.flags & MORE != 0
    }

    /// Returns what becomes of the block.
    #[inline]
    pub(crate) fn stays(&self) -> Stays {
        if self.flags & BUFFER_MORE != 0 { Stays::Open } else { Stays::Closed }
    }

    /// Returns the block of the pool that has what was received.
    #[inline]
    pub(crate) fn block(&self) -> Option<u16> {
        (self.flags & BUFFER != 0).then_some((self.flags >> 16) as u16)
    }
}

/// `struct io_sqring_offsets`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct SubmissionOffsets {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) ring_mask: u32,
    pub(super) ring_entries: u32,
    pub(super) flags: u32,
    pub(super) dropped: u32,
    pub(super) array: u32,
    pub(super) reserved: u32,
    pub(super) user_address: u64,
}

/// `struct io_cqring_offsets`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct CompletionOffsets {
    pub(super) head: u32,
    pub(super) tail: u32,
    pub(super) ring_mask: u32,
    pub(super) ring_entries: u32,
    pub(super) overflow: u32,
    pub(super) entries: u32,
    pub(super) flags: u32,
    pub(super) reserved: u32,
    pub(super) user_address: u64,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) submission_entries: u32,
    pub(super) completion_entries: u32,
    pub(super) flags: u32,
    pub(super) thread_cpu: u32,
    pub(super) thread_idle: u32,
    pub(super) features: u32,
    pub(super) worker_fd: u32,
    pub(super) reserved: [u32; 3],
    pub(super) submission: SubmissionOffsets,
    pub(super) completion: CompletionOffsets,
}

const _: () = assert!(size_of::<Parameters>() == 120);

/// A time as the kernel takes it.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Timespec {
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct WaitArguments {
    pub(super) signal_mask: u64,
    pub(super) signal_mask_size: u32,
    /// In microseconds.
    pub(super) wait_min: u32,
    pub(super) timeout: u64,
}

/// `struct io_uring_sync_cancel_reg`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Cancel {
    pub(super) user_data: u64,
    pub(super) fd: i32,
    pub(super) flags: u32,
    pub(super) timeout: Timespec,
    pub(super) opcode: u8,
    pub(super) padding: [u8; 7],
    pub(super) reserved: [u64; 3],
}

const _: () = assert!(size_of::<Cancel>() == 64);

/// `struct io_uring_buf`. The place of `reserved` in the first of a ring is the tail of the ring.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Provided {
    pub(super) address: u64,
    pub(super) length: u32,
    pub(super) id: u16,
    pub(super) reserved: u16,
}

/// `struct io_uring_buf_reg`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct ProvidedRing {
    pub(super) address: u64,
    pub(super) entries: u32,
    pub(super) group: u16,
    pub(super) flags: u16,
    pub(super) reserved: [u64; 3],
}

/// `struct io_uring_rsrc_update`, as the registration of a ring uses it.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Update {
    pub(super) offset: u32,
    pub(super) reserved: u32,
    pub(super) data: u64,
}

/// How many operations a probe asks about.
pub(super) const PROBED: usize = 48;

/// `struct io_uring_probe`.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) last: u8,
    pub(super) length: u8,
    pub(super) reserved: [u16; 7],
    pub(super) operations: [[u8; 8]; PROBED],
}

impl Probe {
    pub(super) const EMPTY: Self =
        Self { last: 0, length: 0, reserved: [0; 7], operations: [[0; 8]; PROBED] };

    /// Returns whether the kernel knows an operation.
    pub(super) fn knows(&self, opcode: u8) -> bool {
        let place = usize::from(opcode);
        place < usize::from(self.length) && self.operations[place][2] & 1 != 0
    }
}

/// The operations in use, with their names.
pub(super) const OPERATIONS: [(u8, &str); 6] = [
    (POLL_ADD, "IORING_OP_POLL_ADD"),
    (POLL_REMOVE, "IORING_OP_POLL_REMOVE"),
    (ASYNC_CANCEL, "IORING_OP_ASYNC_CANCEL"),
    (SEND, "IORING_OP_SEND"),
    (RECV, "IORING_OP_RECV"),
    (SHUTDOWN, "IORING_OP_SHUTDOWN"),
];

pub(super) const POLL_ADD: u8 = 6;
pub(super) const POLL_REMOVE: u8 = 7;
pub(super) const ASYNC_CANCEL: u8 = 14;
pub(super) const SEND: u8 = 26;
pub(super) const RECV: u8 = 27;
pub(super) const SHUTDOWN: u8 = 34;

// Flags of an entry.
pub(super) const BUFFER_SELECT: u8 = 1 << 5;
pub(super) const SKIP_SUCCESS: u8 = 1 << 6;

// Flags of operations.
pub(super) const POLL_MULTI: u32 = 1;
pub(super) const POLL_UPDATE: u32 = 1 << 1;
pub(super) const RECV_MULTISHOT: u16 = 1 << 1;
pub(super) const CANCEL_ANY: u32 = 1 << 2;

// Flags of a completion.
const BUFFER: u32 = 1;
const MORE: u32 = 1 << 1;
const BUFFER_MORE: u32 = 1 << 4;

// Flags of a ring of provided buffers.
pub(super) const PROVIDED_IN_PIECES: u16 = 1 << 1;

// Flags of a set-up.
pub(super) const SETUP_SIZE: u32 = 1 << 3;
pub(super) const SETUP_CLAMP: u32 = 1 << 4;
pub(super) const SETUP_SUBMIT_ALL: u32 = 1 << 7;
pub(super) const SETUP_WORK_FLAG: u32 = 1 << 9;
pub(super) const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
pub(super) const SETUP_DEFER_WORK: u32 = 1 << 13;
pub(super) const SETUP_NO_ARRAY: u32 = 1 << 16;

// Features of the kernel.
pub(super) const FEATURE_ONE_MAPPING: u32 = 1;
pub(super) const FEATURE_NO_DROP: u32 = 1 << 1;
pub(super) const FEATURE_ARGUMENTS: u32 = 1 << 8;
pub(super) const FEATURE_SKIP: u32 = 1 << 11;
pub(super) const FEATURE_WAIT_MIN: u32 = 1 << 15;

// Flags of the submission queue, which the kernel sets.
pub(super) const QUEUE_OVERFLOW: u32 = 1 << 1;
pub(super) const QUEUE_WORK: u32 = 1 << 2;

// Flags of an entry into the kernel.
pub(super) const ENTER_EVENTS: u32 = 1;
pub(super) const ENTER_ARGUMENTS: u32 = 1 << 3;
pub(super) const ENTER_REGISTERED: u32 = 1 << 4;

// What is registered.
pub(super) const REGISTER_PROBE: u32 = 8;
pub(super) const REGISTER_RING: u32 = 20;
pub(super) const UNREGISTER_RING: u32 = 21;
pub(super) const REGISTER_PROVIDED: u32 = 22;
pub(super) const REGISTER_CANCEL: u32 = 24;

// Where the memory of a ring is mapped from.
pub(super) const AT_RINGS: i64 = 0;
pub(super) const AT_ENTRIES: i64 = 0x1000_0000;
