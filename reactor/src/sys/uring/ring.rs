//! A ring: its set-up, its two queues, and the entry into the kernel (`io_uring_setup(2)`,
//! `io_uring_enter(2)`, `io_uring_register(2)`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::abi::{self, Cancel, Done, Entry, Parameters, Timespec, Update, WaitArguments};
use super::mapping::Mapping;
use super::pool::Fills;
use crate::source::handler::explained;
use crate::sys::check;

/// The sizes of the queues of a ring, and how its memory is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// How many operations are told to the kernel at once. More cost one more entry.
    pub(crate) submissions: u32,
    /// How many completions there is room for. The kernel keeps what exceeds it.
    pub(crate) completions: u32,
    /// How small receives fill blocks, if the kernel can.
    pub(crate) fills: Fills,
}

impl Sizes {
    pub(crate) const DEFAULT: Self =
        Self { submissions: 1024, completions: 4096, fills: Fills::Pieces };
}

/// One thread submits, and the kernel works for the ring only while that thread is in it: nothing
/// interrupts the loop.
const SETUP: u32 = abi::SETUP_SIZE
    | abi::SETUP_CLAMP
    | abi::SETUP_SUBMIT_ALL
    | abi::SETUP_WORK_FLAG
    | abi::SETUP_SINGLE_ISSUER
    | abi::SETUP_DEFER_WORK;

/// What the ring needs of the kernel besides.
const NEEDED: [(u32, &str); 4] = [
    (abi::FEATURE_ONE_MAPPING, "IORING_FEAT_SINGLE_MMAP"),
    (abi::FEATURE_NO_DROP, "IORING_FEAT_NODROP"),
    (abi::FEATURE_ARGUMENTS, "IORING_FEAT_EXT_ARG"),
    (abi::FEATURE_SKIP, "IORING_FEAT_CQE_SKIP"),
];

/// How long an entry into the kernel waits for completions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WaitFor {
    /// How many are waited for; 0 does not wait.
    pub(crate) wanted: u32,
    /// How long all of those are waited for, in microseconds. After that, one is enough.
    pub(crate) wait_min: u32,
    /// The limit of the wait; `None` is none.
    pub(crate) timeout: Option<Duration>,
}

impl WaitFor {
    /// Everything that is there now. Without it, the kernel works off a few dozen completions at a time.
    pub(crate) const ALL_NOW: Self =
        Self { wanted: 1024, wait_min: 0, timeout: Some(Duration::ZERO) };
}

/// A ring of the kernel, without the memory that its operations work on.
#[derive(Debug)]
pub(super) struct Ring {
    fd: OwnedFd,
    /// What entries name the ring by: its descriptor, or its registration with the thread.
    name: i32,
    enter_flags: u32,
    rings: Mapping,
    entries: Mapping,
    offsets: Offsets,
    submissions: u32,
    completions: u32,
    /// The end of the submission queue, of which the kernel is told at the next entry.
    tail: u32,
    can_wait_min: bool,
}

/// Where the shared numbers are.
#[derive(Debug)]
struct Offsets {
    submission_head: usize,
    submission_tail: usize,
    submission_flags: usize,
    completion_head: usize,
    completion_tail: usize,
    done: usize,
}

impl Ring {
    /// Sets a ring up.
    ///
    /// # Errors
    /// When the kernel, or a filter of system calls, refuses it or lacks what it needs. The error names
    /// what.
    pub(super) fn new(sizes: Sizes) -> io::Result<Self> {
        let (fd, parameters, has_array) = set_up(sizes)?;
        for (feature, name) in NEEDED {
            if parameters.features & feature == 0 {
                return Err(lacks(name));
            }
        }
        probe(&fd)?;
        let Parameters { submission, completion, .. } = &parameters;
        let (submissions, completions) =
            (parameters.submission_entries, parameters.completion_entries);
        let array_end =
            if has_array { submission.array as usize + submissions as usize * 4 } else { 0 };
        let done_end = completion.entries as usize + completions as usize * size_of::<Done>();
        let named = |error| explained("mmap of io_uring", error);
        let rings =
            Mapping::of(fd.as_fd(), array_end.max(done_end), abi::AT_RINGS).map_err(named)?;
        let size = submissions as usize * size_of::<Entry>();
        let entries = Mapping::of(fd.as_fd(), size, abi::AT_ENTRIES).map_err(named)?;
        if has_array {
            // Each place of the queue has the entry of the same number, for ever.
            for place in 0..submissions {
                rings.write(submission.array as usize + place as usize * 4, place);
            }
        }
        let offsets = Offsets {
            submission_head: submission.head as usize,
            submission_tail: submission.tail as usize,
            submission_flags: submission.flags as usize,
            completion_head: completion.head as usize,
            completion_tail: completion.tail as usize,
            done: completion.entries as usize,
        };
        let tail = rings.shared(offsets.submission_tail).load(Ordering::Relaxed);
        let mut ring = Self {
            name: fd.as_raw_fd(),
            fd,
            enter_flags: 0,
            rings,
            entries,
            offsets,
            submissions,
            completions,
            tail,
            can_wait_min: parameters.features & abi::FEATURE_WAIT_MIN != 0,
        };
        ring.register_with_thread();
        Ok(ring)
    }

    /// Registers the ring with its thread, which makes entries cheaper. A thread has few places for
    /// that. Without one, entries name the descriptor.
    fn register_with_thread(&mut self) {
        let fd = self.fd.as_raw_fd() as u64;
        let mut update = Update { offset: u32::MAX, reserved: 0, data: fd };
        // SAFETY: `update` is one item, which the kernel fills in, and outlives the call.
        let result = unsafe { register(&self.fd, abi::REGISTER_RING, (&raw mut update).cast(), 1) };
        if matches!(result, Ok(1)) {
            self.name = update.offset.cast_signed();
            self.enter_flags = abi::ENTER_REGISTERED;
        }
    }

    /// Returns how many operations wait for the next entry.
    #[inline]
    pub(super) fn waiting(&self) -> u32 {
        self.tail
            .wrapping_sub(self.rings.shared(self.offsets.submission_head).load(Ordering::Acquire))
    }

    /// Returns whether there is no room for another operation.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.waiting() == self.submissions
    }

    /// Queues an operation. The memory that it names has to live until it is done.
    ///
    /// # Panics
    /// When the queue is full.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        assert!(!self.is_full(), "the caller enters when the queue is full");
        let place = (self.tail & (self.submissions - 1)) as usize;
        self.entries.write(place * size_of::<Entry>(), entry);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Tells the kernel what is queued, lets it work for the ring, and waits.
    ///
    /// # Errors
    /// The error of the kernel, except for a timeout. What it has not taken remains queued.
    pub(super) fn enter(&mut self, patience: WaitFor) -> io::Result<()> {
        let to_submit = self.waiting();
        self.rings.shared(self.offsets.submission_tail).store(self.tail, Ordering::Release);
        let timeout = patience.timeout.map(|timeout| Timespec {
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        });
        let arguments = WaitArguments {
            wait_min: if self.can_wait_min { patience.wait_min } else { 0 },
            timeout: timeout.as_ref().map_or(0, |timeout| std::ptr::from_ref(timeout) as u64),
            ..WaitArguments::default()
        };
        let wanted = if self.can_wait_min || patience.wait_min == 0 {
            patience.wanted
        } else {
            patience.wanted.min(1)
        };
        let flags = self.enter_flags | abi::ENTER_EVENTS | abi::ENTER_ARGUMENTS;
        // SAFETY: the arguments and the time live until the call returns. The owner of the ring keeps
        // the memory that its operations name.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.name,
                to_submit,
                wanted,
                flags,
                &raw const arguments,
                size_of::<WaitArguments>(),
            )
        };
        match check(result as libc::c_int) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the next completion, if there is one.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Done> {
        let head = self.rings.shared(self.offsets.completion_head);
        let place = head.load(Ordering::Relaxed);
        if place == self.rings.shared(self.offsets.completion_tail).load(Ordering::Acquire) {
            return None;
        }
        let index = (place & (self.completions - 1)) as usize;
        let done = self.rings.read(self.offsets.done + index * size_of::<Done>());
        head.store(place.wrapping_add(1), Ordering::Release);
        Some(done)
    }

    /// Returns whether there is a completion.
    #[inline]
    pub(super) fn has_done(&self) -> bool {
        let tail = self.rings.shared(self.offsets.completion_tail).load(Ordering::Acquire);
        self.rings.shared(self.offsets.completion_head).load(Ordering::Relaxed) != tail
    }

    /// Returns whether the kernel has more to report than there was room for, or than it has worked
    /// off.
    #[inline]
    pub(super) fn is_behind(&self) -> bool {
        let flags = self.rings.shared(self.offsets.submission_flags).load(Ordering::Relaxed);
        flags & (abi::QUEUE_OVERFLOW | abi::QUEUE_WORK) != 0
    }

    /// Returns whether completions did not fit into their queue.
    #[inline]
    pub(super) fn has_overflown(&self) -> bool {
        let flags = self.rings.shared(self.offsets.submission_flags).load(Ordering::Relaxed);
        flags & abi::QUEUE_OVERFLOW != 0
    }

    /// Registers a ring of provided buffers.
    pub(super) fn register_provided(&self, ring: &abi::ProvidedRing) -> io::Result<()> {
        let pointer = std::ptr::from_ref(ring).cast_mut().cast();
        // SAFETY: it is one item, which outlives the call. Its owner keeps the memory that it names.
        unsafe { register(&self.fd, abi::REGISTER_PROVIDED, pointer, 1) }.map(drop)
    }

    /// Cancels all operations, and waits until the kernel does not work on them any more.
    pub(super) fn cancel_all(&self) -> io::Result<()> {
        let mut cancel = Cancel {
            fd: -1,
            flags: abi::CANCEL_ANY,
            timeout: Timespec { seconds: -1, nanoseconds: -1 },
            ..Cancel::default()
        };
        // SAFETY: it is one item, which outlives the call.
        let result =
            unsafe { register(&self.fd, abi::REGISTER_CANCEL, (&raw mut cancel).cast(), 1) };
        match result {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result.map(drop),
        }
    }

    pub(super) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.enter_flags & abi::ENTER_REGISTERED != 0 {
            let mut update = Update { offset: self.name.cast_unsigned(), ..Update::default() };
            let pointer = (&raw mut update).cast();
            // SAFETY: it is one item, which outlives the call.
            let _ = unsafe { register(&self.fd, abi::UNREGISTER_RING, pointer, 1) };
        }
    }
}

/// Sets a ring up with what the kernel knows: since Linux 6.6, no array between the queue and its
/// entries. Returns whether there is one.
fn set_up(sizes: Sizes) -> io::Result<(OwnedFd, Parameters, bool)> {
    let mut last = None;
    for more in [abi::SETUP_NO_ARRAY, 0] {
        let mut parameters = Parameters {
            completion_entries: sizes.completions,
            flags: SETUP | more,
            ..Parameters::default()
        };
        // SAFETY: the parameters outlive the call, which fills them in.
        let result = unsafe {
            libc::syscall(libc::SYS_io_uring_setup, sizes.submissions, &raw mut parameters)
        };
        match check(result as libc::c_int) {
            // SAFETY: the descriptor was just opened, and no other code owns it.
            Ok(fd) => return Ok((unsafe { OwnedFd::from_raw_fd(fd) }, parameters, more == 0)),
            Err(error) => last = Some(error),
        }
        if last.as_ref().and_then(io::Error::raw_os_error) != Some(libc::EINVAL) {
            break;
        }
    }
    let error = last.unwrap_or_else(|| lacks("io_uring"));
    let hint = match error.raw_os_error() {
        Some(libc::ENOMEM) => {
            ": the limit of locked memory is too low for it (ulimit -l), or the kernel has no memory left"
        }
        Some(libc::EPERM | libc::EACCES) => {
            ": sysctl kernel.io_uring_disabled, a container or a filter of system calls forbids it"
        }
        Some(libc::EINVAL) => ": this kernel lacks what the backend needs; Linux 6.1 has it",
        _ => return Err(explained("io_uring_setup", error)),
    };
    Err(io::Error::new(error.kind(), format!("io_uring_setup: {error}{hint}")))
}

/// Checks that the kernel knows every operation that the backend uses.
fn probe(fd: &OwnedFd) -> io::Result<()> {
    let mut probe = abi::Probe::EMPTY;
    let pointer = (&raw mut probe).cast();
    // SAFETY: there is room for the given number of operations, and it outlives the call.
    unsafe { register(fd, abi::REGISTER_PROBE, pointer, abi::PROBED as u32) }
        .map_err(|error| explained("io_uring_register of a probe", error))?;
    for (opcode, name) in abi::OPERATIONS {
        if !probe.knows(opcode) {
            return Err(lacks(name));
        }
    }
    Ok(())
}

/// `io_uring_register(2)`.
///
/// # Safety
/// `argument` points at what `operation` takes, `count` items, until the call returns.
unsafe fn register(
    fd: &OwnedFd,
    operation: u32,
    argument: *mut libc::c_void,
    count: u32,
) -> io::Result<libc::c_int> {
    let number = libc::SYS_io_uring_register;
    // SAFETY: the caller says so.
    check(
        unsafe { libc::syscall(number, fd.as_raw_fd(), operation, argument, count) } as libc::c_int
    )
}

fn lacks(what: &str) -> io::Error {
    let text =
        format!("this kernel has no {what}, which the backend uring needs; Linux 6.1 has it");
    io::Error::new(io::ErrorKind::Unsupported, text)
}
