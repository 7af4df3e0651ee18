//! The backend on `io_uring(7)`: a ring of completions. Descriptors are watched through it, and it moves
//! the bytes of connections.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use slab::Slab;

mod channel;
mod collecting;
mod completion;
mod done;
mod name;
#[cfg(test)]
mod tests;
mod watching;

use channel::{Channel, State};
use collecting::Collecting;
use name::{Does, Name};

use crate::sys::{Operations, Room, Sizes, WaitFor, monotonic};
use crate::{Backend, Completion, Coverage, Event, Interest, Tag, Trigger};

/// A number of a channel that no channel has.
const NONE: u32 = u32::MAX;

/// A wait with fewer completions has reported everything. The kernel works off 20 at a time at least, and does
/// not tell whether more are left.
const WORKED_MIN: usize = 16;

/// How long waits may leave completions to the next one, in nanoseconds: until then, the loop considers no
/// peer silent.
const PARTIAL_FOR: u64 = 5_000_000;

/// How long the rest of the output of a connection that has ended is sent, in nanoseconds.
const LEAVE_FOR: u64 = 60_000_000_000;

/// The backend. Every change is an operation in the ring, of which the kernel is told at the next wait.
pub(crate) struct Uring {
    operations: Operations,
    channels: Slab<Channel>,
    /// The channel of each descriptor.
    by_fd: Vec<u32>,
    /// What was reported outside of a wait.
    found: Vec<Event>,
    /// Channels whose operation has ended and is to begin again.
    to_renew: Vec<usize>,
    /// Channels for which there was no block to receive into.
    starved: Vec<usize>,
    /// How many entries into the kernel have taken what was written.
    entry: u64,
    collecting: Collecting,
    /// What the copy of this backend that another process has had received, by descriptor.
    carried: HashMap<RawFd, Vec<u8>>,
    /// Since when no wait has reported everything, in nanoseconds.
    partial_since: Option<u64>,
    /// Channels that were removed with output that is still being sent, and until when that goes on.
    leaving: VecDeque<(u64, usize)>,
    ctl_calls: u64,
}

impl Uring {
    /// Opens a ring.
    ///
    /// # Errors
    /// When the kernel refuses. The error says what is missing.
    pub(crate) fn new() -> io::Result<Self> {
        Self::with_sizes(Sizes::DEFAULT)
    }

    fn with_sizes(sizes: Sizes) -> io::Result<Self> {
        Ok(Self {
            operations: Operations::new(sizes)?,
            channels: Slab::new(),
            by_fd: Vec::new(),
            found: Vec::new(),
            to_renew: Vec::new(),
            starved: Vec::new(),
            entry: 1,
            collecting: Collecting::default(),
            carried: HashMap::new(),
            partial_since: None,
            leaving: VecDeque::new(),
            ctl_calls: 0,
        })
    }

    #[inline]
    fn place_of(&self, fd: RawFd) -> Option<usize> {
        let place = *self.by_fd.get(usize::try_from(fd).ok()?)?;
        (place != NONE).then_some(place as usize)
    }

    fn found_place(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.place_of(fd.as_raw_fd()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// Makes a channel for a descriptor that has none.
    fn insert(&mut self, fd: BorrowedFd<'_>, tag: Tag, state: State) -> io::Result<usize> {
        self.ctl_calls += 1;
        let fd = fd.as_raw_fd();
        if self.place_of(fd).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let index = usize::try_from(fd).map_err(|_| io::ErrorKind::InvalidInput)?;
        if index >= self.by_fd.len() {
            self.by_fd.resize((index + 1).next_power_of_two(), NONE);
        }
        let place = self.channels.insert(Channel { tag, fd, in_flight: 0, state });
        self.by_fd[index] = u32::try_from(place).unwrap_or(NONE);
        Ok(place)
    }

    /// Frees a channel if it was removed and the kernel has nothing of it left.
    fn free_if_over(&mut self, place: usize) {
        let is_over = self
            .channels
            .get(place)
            .is_some_and(|it| matches!(it.state, State::Removed) && it.in_flight == 0);
        if is_over {
            self.discard_place(place);
        }
    }

    /// Removes a channel, whose number another one may get.
    fn discard_place(&mut self, place: usize) -> Channel {
        self.to_renew.retain(|it| *it != place);
        self.starved.retain(|it| *it != place);
        self.channels.remove(place)
    }

    /// Enters the kernel without waiting, and takes note of what was done.
    fn enter(&mut self) -> io::Result<()> {
        match self.enter_for(WaitFor::default()) {
            Ok(_) => Ok(()),
            // The kernel is short of memory. The caller must not take that for an operation that would block.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::ErrorKind::OutOfMemory.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Enters the kernel, and takes note of what was done. Returns how many completions there were.
    fn enter_for(&mut self, patience: WaitFor) -> io::Result<usize> {
        // A flush may have left something.
        let mut count = self.work_off();
        let result = self.operations.enter(patience);
        if !self.operations.has_waiting() {
            self.entry += 1;
        }
        count += self.work_off();
        while self.operations.has_overflown() {
            // What did not fit is read before anything else is sent, so that nothing is sent after a
            // piece that the socket did not take.
            self.operations.enter(WaitFor::default())?;
            count += self.work_off();
        }
        result.map(|()| count)
    }

    /// Begins again what has ended and was not meant to.
    fn renew(&mut self) -> io::Result<()> {
        if !self.starved.is_empty() {
            self.relieve_starved();
            self.to_renew.append(&mut self.starved);
        }
        while let Some(place) = self.to_renew.pop() {
            self.renew_one(place)?;
        }
        Ok(())
    }

    /// Makes room for receives that have found no block. If sessions have not read what is in all of
    /// them, copies that.
    #[cold]
    fn relieve_starved(&mut self) {
        let streams = self.starved.iter().filter_map(|place| match &self.channels[*place].state {
            State::Stream(stream) => Some(stream.receives.room()),
            _ => None,
        });
        let (shared, blocks): (Vec<_>, Vec<_>) = streams.partition(|room| *room == Room::Shared);
        let mut has_room = true;
        for (room, starved) in [(Room::Shared, shared.len()), (Room::Block, blocks.len())] {
            has_room &= starved == 0 || self.operations.make_room(room, starved);
        }
        if has_room {
            return;
        }
        for (_, channel) in &mut self.channels {
            if let State::Stream(stream) = &mut channel.state {
                self.operations.set_aside(&mut stream.unread);
            }
        }
    }

    /// Returns whether a wait with `count` completions has reported everything. If it may not have, and the
    /// loop has work of its own or has waited so for long, asks the kernel for the rest.
    #[inline]
    fn look_through(&mut self, count: usize, polls: bool) -> io::Result<Coverage> {
        if !self.starved.is_empty() {
            // They have something, for which there was no block.
            return Ok(Coverage::Partial);
        }
        if count < WORKED_MIN && !self.operations.is_behind() {
            self.partial_since = None;
            return Ok(Coverage::Complete);
        }
        let now = monotonic();
        let since = *self.partial_since.get_or_insert(now);
        if !polls && now - since < PARTIAL_FOR {
            return Ok(Coverage::Partial);
        }
        let more = self.enter_for(WaitFor::ALL_NOW)?;
        let is_full = more >= WaitFor::ALL_NOW.wanted as usize;
        if is_full || self.operations.is_behind() || !self.starved.is_empty() {
            return Ok(Coverage::Partial);
        }
        self.partial_since = None;
        Ok(Coverage::Complete)
    }
}

impl Backend for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn trigger(&self) -> Trigger {
        Trigger::Edge
    }

    fn add(&mut self, fd: BorrowedFd<'_>, tag: Tag, _interest: Interest) -> io::Result<()> {
        self.watch(fd, tag, channel::EVERYTHING)
    }

    fn add_exclusive(&mut self, fd: BorrowedFd<'_>, tag: Tag, _: Interest) -> io::Result<()> {
        self.watch(fd, tag, (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLEXCLUSIVE) as u32)
    }

    fn modify(&mut self, _: BorrowedFd<'_>, _: Tag, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn report_writable(&mut self, fd: BorrowedFd<'_>, _: Tag, is_reported: bool) -> io::Result<()> {
        self.set_writable(fd, is_reported)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.ctl_calls += 1;
        let place = self.found_place(fd)?;
        self.remove_channel(place, fd)
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<Coverage> {
        self.renew()?;
        if !self.leaving.is_empty() {
            self.end_leaving()?;
        }
        let is_ready = !self.found.is_empty() || self.operations.has_done();
        let polls = is_ready || timeout == Some(Duration::ZERO);
        let patience = if polls { WaitFor::default() } else { self.collecting.patience(timeout) };
        let end = timeout.map(|timeout| {
            monotonic().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX))
        });
        let result = self.enter_for(patience);
        let is_interrupted = match result {
            Ok(count) => {
                if !polls {
                    self.collecting.found(count, &self.found);
                }
                if self.look_through(count, polls)? == Coverage::Partial {
                    events.append(&mut self.found);
                    return Ok(Coverage::Partial);
                }
                // An entry that has submitted something does not tell that it was interrupted.
                count == 0 && !polls && end.is_none_or(|end| monotonic() < end)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            // Completions have to be read first.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => true,
            Err(error) => {
                events.append(&mut self.found);
                return Err(error);
            }
        };
        events.append(&mut self.found);
        Ok(if is_interrupted { Coverage::Partial } else { Coverage::Complete })
    }

    fn wait_call(&self) -> &'static str {
        "io_uring_enter"
    }

    fn trim(&mut self) {
        self.operations.trim();
    }

    fn nanoseconds(&self) -> u64 {
        monotonic()
    }

    fn reopen(&self) -> io::Result<Box<dyn Backend>> {
        // The operations in the kernel are those of the other process. What they have received before
        // the fork belongs to both.
        let mut new = Self::new()?;
        for (_, channel) in &self.channels {
            if let State::Stream(stream) = &channel.state {
                new.carried.insert(channel.fd, self.operations.copy(&stream.unread));
            }
        }
        Ok(Box::new(new))
    }

    fn host_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.operations.fd())
    }

    fn ctl_calls(&self) -> u64 {
        self.ctl_calls
    }

    fn coalesces(&self) -> bool {
        true
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.operations.has_waiting() {
            return Ok(());
        }
        // What is done stays in the ring, which makes its descriptor readable for a host.
        self.work_off();
        self.operations.enter(WaitFor::default())?;
        self.entry += u64::from(!self.operations.has_waiting());
        Ok(())
    }

    fn completion(&mut self) -> Option<&mut dyn Completion> {
        Some(self)
    }
}

impl Uring {
    fn name_of(channel: usize, does: Does) -> u64 {
        Name { channel, does }.bits()
    }
}
