//! `poll(2)`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::{index, pointer, reported, timespec};
use crate::reactor::trim::Table;
use crate::{Backend, Coverage, Event, Interest, Readiness, Tag, Trigger};

/// Marks a descriptor that is not in the table.
const ABSENT: usize = usize::MAX;

/// The poll backend: a table of descriptors that the kernel scans at every wait.
pub(crate) struct Poll {
    table: Vec<libc::pollfd>,
    /// The descriptor and the tag of each entry. An entry that is skipped has -1 as its descriptor.
    owners: Vec<(i32, Tag)>,
    /// The index of each descriptor in the table.
    places: Vec<usize>,
}

impl Poll {
    pub(crate) fn new() -> Self {
        Self { table: Vec::new(), owners: Vec::new(), places: Vec::new() }
    }

    /// Whether nothing is watched.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether a descriptor is watched.
    pub(crate) fn has(&self, fd: BorrowedFd<'_>) -> bool {
        self.place(fd).is_ok()
    }

    fn place(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let place = self.places.get(index(fd.as_raw_fd())).copied().unwrap_or(ABSENT);
        if place == ABSENT { Err(io::ErrorKind::NotFound.into()) } else { Ok(place) }
    }
}

/// Returns the mask to ask for. Hang-ups and errors are reported whatever the interest.
fn entry(fd: i32, interest: Interest) -> libc::pollfd {
    let mut events = 0;
    if interest.contains(Interest::READ) {
        events |= libc::POLLIN | libc::POLLRDHUP;
    }
    if interest.contains(Interest::WRITE) {
        events |= libc::POLLOUT;
    }
    if interest.contains(Interest::PRIORITY) {
        events |= libc::POLLPRI;
    }
    if interest.contains(Interest::HANG_UP) {
        events |= libc::POLLRDHUP;
    }
    libc::pollfd { fd, events, revents: 0 }
}

/// Returns the readiness for an answer of poll. A hang-up or an error counts as readable and
/// writable: the next operation tells the cause.
pub(super) fn readiness(answer: libc::c_short) -> Readiness {
    let has = |bit: libc::c_short| answer & bit != 0;
    let mut known = Readiness::NONE;
    if has(libc::POLLIN) {
        known |= Readiness::READABLE;
    }
    if has(libc::POLLOUT) {
        known |= Readiness::WRITABLE;
    }
    if has(libc::POLLPRI) {
        known |= Readiness::PRIORITY;
    }
    if has(libc::POLLRDHUP) {
        known |= Readiness::READ_CLOSED | Readiness::READABLE;
    }
    if has(libc::POLLHUP) {
        known |= Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
        known |= Readiness::READABLE | Readiness::WRITABLE;
    }
    if has(libc::POLLERR | libc::POLLNVAL) {
        known |= Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE;
    }
    known
}

impl Backend for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Level
    }

    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, interest: Interest) -> io::Result<()> {
        let number = index(fd.as_raw_fd());
        if number >= self.places.len() {
            self.places.resize(number + 1, ABSENT);
        }
        if self.places[number] != ABSENT {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.places[number] = self.table.len();
        self.table.push(entry(fd.as_raw_fd(), interest));
        self.owners.push((fd.as_raw_fd(), tag));
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, _tag: Tag, interest: Interest) -> io::Result<()> {
        let place = self.place(fd)?;
        self.table[place] = entry(fd.as_raw_fd(), interest);
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let place = self.place(fd)?;
        self.table.swap_remove(place);
        self.owners.swap_remove(place);
        // The last entry was moved into the gap.
        if let Some((moved, _)) = self.owners.get(place) {
            self.places[index(*moved)] = place;
        }
        self.places[index(fd.as_raw_fd())] = ABSENT;
        Ok(())
    }

    fn reopen(&self) -> io::Result<Box<dyn Backend>> {
        Ok(Box::new(Self::new()))
    }

    fn wait_call(&self) -> &'static str {
        "ppoll"
    }

    fn trim(&mut self) {
        self.table.trim();
        self.owners.trim();
        let used = self.places.iter().rposition(|place| *place != ABSENT).map_or(0, |it| it + 1);
        self.places.truncate(used);
        self.places.trim();
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage> {
        let timeout = timeout.map(timespec);
        // SAFETY: the table has the given number of entries, it and `timeout` outlive the call, and
        // a null signal mask changes no mask.
        let result = unsafe {
            libc::ppoll(
                self.table.as_mut_ptr(),
                self.table.len() as libc::nfds_t,
                pointer(timeout.as_ref()),
                std::ptr::null(),
            )
        };
        let Some(count) = reported(result)? else { return Ok(Coverage::Partial) };
        let entries = self.table.iter_mut().zip(&self.owners);
        let answered = entries.filter(|(entry, _)| entry.revents != 0);
        for (entry, (_, tag)) in answered.take(count) {
            events.push(Event { tag: *tag, readiness: readiness(entry.revents) });
            if entry.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
                && entry.events & (libc::POLLIN | libc::POLLOUT) == 0
                && entry.revents & entry.events == 0
            {
                // The source neither reads nor writes, so it is told once: poll skips -1 from
                // now on.
                (entry.fd, entry.revents) = (-1, 0);
            }
        }
        Ok(Coverage::Complete)
    }

    fn nanoseconds(&self) -> u64 {
        super::monotonic()
    }
}
