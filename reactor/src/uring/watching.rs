//! Descriptors whose readiness is reported.

use std::io;
use std::os::fd::BorrowedFd;

use log::debug;

use super::channel::{Channel, ENDS, EVERYTHING, Receiving, Sending, State};
use super::name::Does;
use super::{LEAVE_FOR, NONE, Uring};
use crate::sys::{can_be_watched, monotonic, readiness_of, reset_on_close, resets_on_close};
use crate::{Readiness, Tag};

impl Uring {
    /// Watches a descriptor for a mask of `epoll(7)`.
    pub(super) fn watch(&mut self, fd: BorrowedFd<'_>, tag: Tag, events: u32) -> io::Result<()> {
        if !can_be_watched(fd)? {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        let place = self.insert(fd, tag, State::Watched { events })?;
        self.begin_watch(place).inspect_err(|_| self.forget(place))
    }

    /// Forgets a channel that the kernel was not told of.
    pub(super) fn forget(&mut self, place: usize) {
        let channel = self.discard_place(place);
        if let Some(entry) = usize::try_from(channel.fd).ok().and_then(|fd| self.by_fd.get_mut(fd))
        {
            *entry = NONE;
        }
    }

    fn begin_watch(&mut self, place: usize) -> io::Result<()> {
        let name = Self::name_of(place, Does::Watch);
        let Some(channel) = self.channels.get_mut(place) else { return Ok(()) };
        match channel.state {
            State::Watched { events } => self.operations.watch(channel.fd, events, name)?,
            State::Stream(_) => self.operations.watch_once(channel.fd, ENDS, name)?,
            State::Removed => return Ok(()),
        }
        channel.in_flight += 1;
        Ok(())
    }

    /// Sets whether it is reported that a descriptor is writable.
    pub(super) fn set_writable(&mut self, fd: BorrowedFd<'_>, is_reported: bool) -> io::Result<()> {
        self.ctl_calls += 1;
        let place = self.found_place(fd)?;
        let name = Self::name_of(place, Does::Watch);
        let about = Self::name_of(place, Does::Control);
        let State::Watched { events } = &mut self.channels[place].state else { return Ok(()) };
        let writable = libc::EPOLLOUT as u32;
        *events = if is_reported { EVERYTHING } else { EVERYTHING & !writable };
        self.operations.update_watch(name, *events, about)
    }

    /// Begins an operation again that has ended.
    pub(super) fn renew_one(&mut self, place: usize) -> io::Result<()> {
        let Some(Channel { state, .. }) = self.channels.get_mut(place) else { return Ok(()) };
        match state {
            State::Watched { .. } => self.begin_watch(place),
            State::Stream(stream) if stream.receiving != Receiving::Off || stream.end.is_some() => {
                Ok(())
            }
            State::Stream(stream) if stream.unread.length() == 0 => self.receive(place),
            // The session does not read. It may have to know when its peer has gone.
            State::Stream(stream) if !stream.is_watched => {
                stream.is_watched = true;
                self.begin_watch(place)
            }
            State::Stream(_) | State::Removed => Ok(()),
        }
    }

    /// Stops what the kernel does for a channel, and enters the kernel: then the descriptor is not in use
    /// any more, unless the rest of its output is.
    pub(super) fn remove_channel(&mut self, place: usize, fd: BorrowedFd<'_>) -> io::Result<()> {
        if let State::Stream(_) = self.channels[place].state {
            // What was written is to be sent before the connection ends.
            let flushed = self.flush_channel(place);
            if flushed.is_err() || self.stream(place)?.failed.is_some() {
                // The peer must not take what was sent for everything. It is told, unless the connection
                // has ended already.
                debug!("output is lost at the end of a connection");
                let _ = reset_on_close(fd);
            }
        }
        let Channel { fd: number, state, in_flight, .. } = &mut self.channels[place];
        let entry = usize::try_from(*number).ok().and_then(|fd| self.by_fd.get_mut(fd));
        if let Some(entry) = entry {
            *entry = NONE;
        }
        let (is_busy, state) = (*in_flight > 0, std::mem::replace(state, State::Removed));
        let about = Self::name_of(place, Does::Control);
        let mut cancelled = 0;
        let mut receives = Does::Receive;
        let to_cancel = match &state {
            State::Watched { .. } => [is_busy, false, false, false],
            State::Stream(stream) => {
                receives = stream.receives.does();
                let is_receiving = stream.receiving == Receiving::On;
                // What is still being sent keeps the socket open, and a reset would wait for it.
                let is_reset = stream.sending != Sending::Open && resets_on_close(fd);
                [stream.is_watched, is_receiving, stream.awaits_room, is_reset]
            }
            State::Removed => [false; 4],
        };
        let all = [Does::Watch, receives, Does::AwaitRoom, Does::SendRest];
        for (does, is_due) in all.into_iter().zip(to_cancel) {
            if is_due {
                self.operations.cancel(Self::name_of(place, does), about)?;
                cancelled += 1;
            }
        }
        // The descriptor is closed next. What is queued for it must not find another in its place.
        let mut is_queued = cancelled > 0;
        if let State::Stream(mut stream) = state {
            is_queued |= stream.sending != Sending::Open || stream.ends;
            self.operations.discard(&mut stream.unread);
            if stream.sending != Sending::Open {
                self.leaving.push_back((monotonic().saturating_add(LEAVE_FOR), place));
            }
        }
        if is_queued {
            self.enter()?;
        }
        self.free_if_over(place);
        Ok(())
    }

    /// Gives up the output of connections that have ended long ago.
    #[cold]
    pub(super) fn end_leaving(&mut self) -> io::Result<()> {
        let now = monotonic();
        while let Some((_, place)) =
            self.leaving.front().copied().filter(|(until, _)| *until <= now)
        {
            self.leaving.pop_front();
            let about = Self::name_of(place, Does::Control);
            self.operations.cancel(Self::name_of(place, Does::SendRest), about)?;
        }
        Ok(())
    }

    /// Takes note of what a watch has reported.
    pub(super) fn watched(&mut self, place: usize, result: i32, has_more: bool) {
        let Some(channel) = self.channels.get_mut(place) else { return };
        let mut readiness = match u32::try_from(result) {
            Ok(mask) => readiness_of(mask),
            Err(_) => super::channel::FAILED,
        };
        if readiness.contains(Readiness::PRIORITY) && !self.operations.has_urgent(channel.fd) {
            readiness = readiness.without(Readiness::PRIORITY);
        }
        match &mut channel.state {
            State::Watched { .. } if has_more || result >= 0 => {
                self.found.push(crate::Event { tag: channel.tag, readiness });
                if !has_more {
                    self.to_renew.push(place);
                }
            }
            State::Watched { .. } if result == -libc::ECANCELED => self.to_renew.push(place),
            State::Watched { .. } => self.found.push(crate::Event { tag: channel.tag, readiness }),
            State::Stream(stream) if result >= 0 => {
                stream.is_watched = false;
                let readiness = readiness.with(Readiness::READABLE);
                self.found.push(crate::Event { tag: channel.tag, readiness });
            }
            State::Stream(stream) => stream.is_watched = false,
            State::Removed => {}
        }
    }
}
