//! `epoll(7)`, edge- or level-triggered.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::{check, pointer, reported};
use crate::reactor::trim::KEPT;
use crate::source::handler::explained;
use crate::{Backend, Coverage, Event, Interest, Readiness, Tag, Trigger};

/// The size of the first array of events. It doubles whenever a wait fills it (P3).
const EVENTS_MIN: usize = 64;
/// The largest array: 192 KiB.
const EVENTS_MAX: usize = 16_384;

const EDGE: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLET) as u32;

/// What the kernel takes together with `EPOLLEXCLUSIVE`, of what is used here (`epoll_ctl(2)`).
const EXCLUSIVE_ALLOWED: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32;

const EMPTY: libc::epoll_event = libc::epoll_event { events: 0, u64: 0 };

/// The system call that waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// `epoll_pwait2(2)`, to the nanosecond; Linux 5.11 and later.
    Nanoseconds,
    /// `epoll_pwait(2)`, rounded up to the millisecond.
    Milliseconds,
}

/// A time as the kernel takes it. On 32-bit systems it differs from that of the C library.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl From<Duration> for KernelTimespec {
    fn from(duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self { seconds, nanoseconds: i64::from(duration.subsec_nanos()) }
    }
}

/// The epoll backend.
pub(crate) struct Epoll {
    fd: OwnedFd,
    trigger: Trigger,
    clock: Clock,
    events: Vec<libc::epoll_event>,
    ctl_calls: u64,
}

impl Epoll {
    /// Opens an epoll instance, closed on exec.
    pub(crate) fn new(trigger: Trigger) -> io::Result<Self> {
        // SAFETY: epoll_create1 takes no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just opened, and no other code owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            fd,
            trigger,
            clock: Clock::Nanoseconds,
            events: vec![EMPTY; EVENTS_MIN],
            ctl_calls: 0,
        })
    }

    fn ctl(&mut self, operation: i32, fd: BorrowedFd<'_>, tag: Tag, mask: u32) -> io::Result<()> {
        self.ctl_calls += 1;
        let mut event = libc::epoll_event { events: mask, u64: tag.to_bits() };
        // SAFETY: both descriptors are open while borrowed, and `event` outlives the call.
        let result =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd.as_raw_fd(), &mut event) };
        check(result).map(drop)
    }

    /// Returns the mask to watch a source with.
    fn mask(&self, interest: Interest) -> u32 {
        if self.trigger == Trigger::Edge { EDGE } else { level_mask(interest) }
    }

    /// Waits with the best resolution of the kernel, and never for less than `timeout`.
    fn wait_for(&mut self, timeout: Option<Duration>) -> io::Result<Option<usize>> {
        let whole = timeout.is_none_or(|timeout| timeout.is_zero());
        if !whole && self.clock == Clock::Nanoseconds {
            match self.wait_nanoseconds(timeout) {
                // Some sandboxes return EPERM for a call that they do not know.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.clock = Clock::Milliseconds;
                }
                result => return result,
            }
        }
        let milliseconds = timeout.map_or(-1, milliseconds_up);
        // SAFETY: the array has room for the given number of events and outlives the call, and a
        // null signal mask changes no mask. A direct call is no cancellation point.
        let result = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                milliseconds,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        reported(result as libc::c_int)
    }

    fn wait_nanoseconds(&mut self, timeout: Option<Duration>) -> io::Result<Option<usize>> {
        let timeout = timeout.map(KernelTimespec::from);
        // SAFETY: the array has room for the given number of events, it and `timeout` outlive the
        // call, and a null signal mask changes no mask.
        let result = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len(),
                pointer(timeout.as_ref()),
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        reported(result as libc::c_int)
    }
}

/// Returns a timeout in milliseconds, rounded up: a timer is never early (P12).
fn milliseconds_up(timeout: Duration) -> libc::c_int {
    let rest = u64::from(timeout.subsec_nanos().div_ceil(1_000_000));
    let whole = timeout.as_secs().saturating_mul(1000).saturating_add(rest);
    libc::c_int::try_from(whole).unwrap_or(libc::c_int::MAX)
}

/// epoll reports hang-ups and errors whatever the interest. A source that neither reads nor writes
/// would get them at every wait; with an edge, it gets them once.
fn level_mask(interest: Interest) -> u32 {
    let mut mask = if interest.heeds_ends() { 0 } else { libc::EPOLLET };
    if interest.contains(Interest::READ) {
        mask |= libc::EPOLLIN | libc::EPOLLRDHUP;
    }
    if interest.contains(Interest::WRITE) {
        mask |= libc::EPOLLOUT;
    }
    if interest.contains(Interest::PRIORITY) {
        mask |= libc::EPOLLPRI;
    }
    if interest.contains(Interest::HANG_UP) {
        mask |= libc::EPOLLRDHUP;
    }
    mask as u32
}

/// The readiness for each mask of epoll: a look-up is faster than six tests. Of the bits in use,
/// only `EPOLLRDHUP` is above the lowest five.
static READINESS: [Readiness; 64] = {
    let mut table = [Readiness::NONE; 64];
    let mut place = 0;
    while place < table.len() {
        table[place] = meaning(place as u32 & 31 | (place as u32 & 32) << RDHUP_SHIFT);
        place += 1;
    }
    table
};

/// The distance of `EPOLLRDHUP` from the sixth bit.
const RDHUP_SHIFT: u32 = (libc::EPOLLRDHUP as u32).trailing_zeros() - 5;

/// Returns the readiness for a mask of epoll.
fn readiness(mask: u32) -> Readiness {
    READINESS[(mask & 31 | mask >> RDHUP_SHIFT & 32) as usize]
}

/// Returns the readiness for a mask of `epoll(7)` that another call has reported.
#[inline]
pub(crate) fn readiness_of(mask: u32) -> Readiness {
    readiness(mask)
}

/// Returns whether the readiness of a descriptor can be watched: that of a file cannot, since it is
/// always ready (`epoll_ctl(2)`).
pub(crate) fn can_be_watched(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: all-zero bytes are a valid stat, which is made of integers.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `status` outlives the call.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &mut status) })?;
    match status.st_mode & libc::S_IFMT {
        libc::S_IFSOCK | libc::S_IFIFO => Ok(true),
        libc::S_IFREG | libc::S_IFDIR => Ok(false),
        // Devices and the like differ.
        _ => match Epoll::new(Trigger::Edge)?.add(fd, Tag::NONE, Interest::READ) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(false),
            Err(error) => Err(error),
        },
    }
}

/// Computes the readiness for a mask. A hang-up or an error counts as readable and writable: the
/// next operation tells the cause.
const fn meaning(mask: u32) -> Readiness {
    const TRIES: [(libc::c_int, Readiness); 6] = [
        (libc::EPOLLIN, Readiness::READABLE),
        (libc::EPOLLOUT, Readiness::WRITABLE),
        (libc::EPOLLPRI, Readiness::PRIORITY),
        (libc::EPOLLRDHUP, Readiness::READ_CLOSED.with(Readiness::READABLE)),
        (
            libc::EPOLLHUP,
            Readiness::READ_CLOSED
                .with(Readiness::WRITE_CLOSED)
                .with(Readiness::READABLE)
                .with(Readiness::WRITABLE),
        ),
        (libc::EPOLLERR, Readiness::ERROR.with(Readiness::READABLE).with(Readiness::WRITABLE)),
    ];
    let (mut known, mut place) = (Readiness::NONE, 0);
    while place < TRIES.len() {
        let (bit, says) = TRIES[place];
        if mask & bit as u32 != 0 {
            known = known.with(says);
        }
        place += 1;
    }
    known
}

impl Backend for Epoll {
    fn name(&self) -> &'static str {
        match self.trigger {
            Trigger::Edge => "epoll",
            Trigger::Level => "epoll-lt",
        }
    }

    fn trigger(&self) -> Trigger {
        self.trigger
    }

    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        self.ctl(libc::EPOLL_CTL_ADD, fd, tag, self.mask(interest))
    }

    fn add_exclusive(
        &mut self,
        fd: BorrowedFd<'_>,
        tag: Tag,
        interest: Interest,
    ) -> io::Result<()> {
        let mask = self.mask(interest) & EXCLUSIVE_ALLOWED | libc::EPOLLEXCLUSIVE as u32;
        self.ctl(libc::EPOLL_CTL_ADD, fd, tag, mask)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        self.ctl(libc::EPOLL_CTL_MOD, fd, tag, self.mask(interest))
    }

    fn report_writable(
        &mut self,
        fd: BorrowedFd<'_>,
        tag: Tag,
        is_reported: bool,
    ) -> io::Result<()> {
        let writable = if is_reported { 0 } else { libc::EPOLLOUT as u32 };
        match self.trigger {
            Trigger::Edge => self.ctl(libc::EPOLL_CTL_MOD, fd, tag, EDGE & !writable),
            Trigger::Level => Ok(()),
        }
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.ctl(libc::EPOLL_CTL_DEL, fd, Tag::NONE, 0)
    }

    fn wait_call(&self) -> &'static str {
        "epoll_pwait"
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage> {
        let Some(count) = self.wait_for(timeout)? else { return Ok(Coverage::Partial) };
        events.extend(self.events[..count].iter().map(|event| Event {
            tag: Tag::from_bits(event.u64),
            readiness: readiness(event.events),
        }));
        if count < self.events.len() {
            return Ok(Coverage::Complete);
        }
        if count < EVENTS_MAX {
            self.events.resize(count * 2, EMPTY);
        }
        Ok(Coverage::Partial)
    }

    fn nanoseconds(&self) -> u64 {
        super::monotonic()
    }

    fn trim(&mut self) {
        // The number of simultaneous events is not known. The array doubles again if necessary.
        if self.events.len() > KEPT {
            self.events.truncate(KEPT);
            self.events.shrink_to_fit();
        }
    }

    fn forgets_what_is_closed(&self) -> bool {
        self.trigger == Trigger::Edge
    }

    fn reopen(&self) -> io::Result<Box<dyn Backend>> {
        Self::new(self.trigger)
            .map(|new| Box::new(new) as Box<dyn Backend>)
            .map_err(|error| explained("epoll_create1", error))
    }

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn ctl_calls(&self) -> u64 {
        self.ctl_calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn rounding_goes_up() {
        assert_eq!(milliseconds_up(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds_up(Duration::from_millis(7)), 7);
        assert_eq!(milliseconds_up(Duration::MAX), libc::c_int::MAX);
    }

    #[test]
    fn waiting_is_never_too_short_with_either_call() {
        for clock in [Clock::Nanoseconds, Clock::Milliseconds] {
            let mut epoll = Epoll::new(Trigger::Edge).expect("epoll opens");
            epoll.clock = clock;
            let start = Instant::now();
            let seen = epoll.wait(&mut Vec::new(), Some(Duration::from_micros(900)));
            assert_eq!(seen.expect("it waits"), Coverage::Complete);
            assert!(start.elapsed() >= Duration::from_micros(900));
        }
    }

    #[test]
    fn the_array_grows_when_a_wait_fills_it() {
        let mut epoll = Epoll::new(Trigger::Edge).expect("epoll opens");
        let sources: Vec<_> =
            (0..300).map(|_| crate::sys::EventFd::new().expect("eventfd opens")).collect();
        for (slot, source) in sources.iter().enumerate() {
            source.notify();
            let tag = Tag::new(slot as u32, u32::MAX - 1);
            epoll.add(source.as_fd(), tag, Interest::READ).expect("it is added");
        }
        let mut events = Vec::new();
        let mut seen = [Coverage::Complete; 4];
        for seen in &mut seen {
            *seen = epoll.wait(&mut events, Some(Duration::ZERO)).expect("it waits");
        }
        assert_eq!(seen[0], Coverage::Partial, "64 of 300 are not all there are");
        assert_eq!(seen[3], Coverage::Complete, "there was room for more than 300");
        assert!(epoll.events.len() >= 256);
        let mut slots: Vec<u32> = events.iter().map(|event| event.tag.slot()).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), 300);
        assert!(events.iter().all(|event| event.tag.generation() == u32::MAX - 1));
    }
}
