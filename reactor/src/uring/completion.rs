//! Connections whose bytes the kernel moves.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::Uring;
use super::channel::{Channel, End, Receiving, Sending, State, Stream};
use super::name::Does;
use crate::sys::{BLOCK_SIZE, Unread, WaitFor};
use crate::{Completion, Event, Exchanged, Left, Readiness, Storage, Tag, sys};

/// More bytes than this are not copied to be sent with those of other connections: copying them costs
/// more than a system call.
const COPY_MAX: usize = 16 * 1024;

/// How much of what the socket had no room for is taken, so that its completion tells that there is room.
const REST_MAX: usize = 16 * 1024;

impl Completion for Uring {
    fn begin(&mut self, fd: BorrowedFd<'_>, tag: Tag) -> io::Result<()> {
        let early = self.carried.remove(&fd.as_raw_fd()).unwrap_or_default();
        if !early.is_empty() {
            self.found.push(Event { tag, readiness: Readiness::READABLE });
        }
        let stream = Stream { unread: Unread::before(early), ..Stream::NEW };
        let place = self.insert(fd, tag, State::Stream(Box::new(stream)))?;
        self.receive(place).inspect_err(|_| self.forget(place))
    }

    fn read(&mut self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let place = self.found_place(fd)?;
        let Some(Channel { state: State::Stream(stream), .. }) = self.channels.get_mut(place)
        else {
            return Err(not_a_stream());
        };
        if buffer.len() == BLOCK_SIZE && stream.unread.is_exchanged() {
            // The caller has nothing else in its buffer, and exchanges it.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = self.operations.read(&mut stream.unread, buffer);
        if stream.unread.length() > 0 || count > 0 && stream.receiving == Receiving::On {
            return Ok(count);
        }
        if stream.receiving == Receiving::Off && stream.end.is_none() {
            self.receive(place)?;
        }
        if count > 0 {
            return Ok(count);
        }
        let stream = self.stream(place)?;
        match (stream.end, stream.failed) {
            (Some(End::Failed(number)), _) => {
                stream.end = Some(End::Stream);
                Err(io::Error::from_raw_os_error(number))
            }
            // A session may wait for an answer to what was not sent. If the connection has failed, its
            // error was told to the send alone, and receiving then ends as if the stream had.
            (_, Some(number)) => Err(io::Error::from_raw_os_error(number)),
            (Some(End::Stream), None) => Ok(0),
            (None, None) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn exchange(
        &mut self,
        fd: BorrowedFd<'_>,
        storage: Storage<'_>,
    ) -> io::Result<Option<Exchanged>> {
        let place = self.found_place(fd)?;
        let Some(Channel { state: State::Stream(stream), .. }) = self.channels.get_mut(place)
        else {
            return Err(not_a_stream());
        };
        if !stream.unread.is_exchanged() {
            return Ok(None);
        }
        let count = match storage {
            Storage::Empty(storage) if storage.len() == BLOCK_SIZE => {
                self.operations.exchange(&mut stream.unread, storage)
            }
            Storage::Empty(storage) => self.operations.read(&mut stream.unread, storage),
            Storage::Behind(room) => self.operations.read(&mut stream.unread, room),
        };
        let has_more = stream.unread.length() > 0 || stream.end.is_some();
        if !has_more && stream.receiving == Receiving::Off {
            self.receive(place)?;
        }
        Ok(Some(Exchanged { count, has_more }))
    }

    fn write(&mut self, fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let place = self.found_place(fd)?;
        let total = slices.iter().map(|slice| slice.len()).sum();
        if self.operations.has_done() {
            // A flush may have left that the socket is full.
            self.work_off();
        }
        let is_queued = self.stream(place)?.written_at == self.entry;
        if is_queued {
            // Two sends of one entry could overtake each other, if the socket is full in between.
            self.enter()?;
        }
        self.check_writable(place)?;
        if total <= COPY_MAX {
            let raw = self.channels[place].fd;
            let name = Self::name_of(place, Does::Send);
            let mut piece = self.operations.send(raw, slices, name)?;
            if piece.is_none() {
                self.enter()?;
                self.check_writable(place)?;
                piece = self.operations.send(raw, slices, name)?;
            }
            if let Some(piece) = piece {
                let entry = self.entry;
                let stream = self.stream(place)?;
                (stream.piece, stream.written_at) = (piece, entry);
                return Ok(total);
            }
        }
        self.write_now(place, fd, slices, total)
    }

    fn flush(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let place = self.found_place(fd)?;
        self.flush_channel(place)?;
        self.check_writable(place)
    }

    fn shutdown_write(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let place = self.found_place(fd)?;
        self.flush_channel(place)?;
        let stream = self.stream(place)?;
        if let Some(number) = stream.failed {
            // The peer must not take what was sent for everything.
            return Err(io::Error::from_raw_os_error(number));
        }
        if stream.sending == Sending::Open {
            return sys::shutdown_write(fd);
        }
        stream.ends = true;
        Ok(())
    }

    fn await_room(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let place = self.found_place(fd)?;
        let raw = self.channels[place].fd;
        if !std::mem::replace(&mut self.stream(place)?.awaits_room, true) {
            let name = Self::name_of(place, Does::AwaitRoom);
            self.operations.watch_once(raw, libc::EPOLLOUT as u32, name)?;
            self.channels[place].in_flight += 1;
        }
        Ok(())
    }

    fn take_error(&mut self, fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
        let place = self.found_place(fd)?;
        let stream = self.stream(place)?;
        if let Some(End::Failed(number)) = stream.end {
            stream.end = Some(End::Stream);
            return Ok(Some(io::Error::from_raw_os_error(number)));
        }
        if let Some(number) = stream.failed {
            return Ok(Some(io::Error::from_raw_os_error(number)));
        }
        sys::take_error(fd)
    }

    fn leave(&mut self, fd: BorrowedFd<'_>) -> io::Result<Left> {
        let place = self.found_place(fd)?;
        self.flush_channel(place)?;
        if self.stream(place)?.ends {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.stop(place)?;
        let stream = self.stream(place)?;
        if let (Some(End::Failed(number)), _) | (_, Some(number)) = (stream.end, stream.failed) {
            // The socket does not tell it again.
            return Err(io::Error::from_raw_os_error(number));
        }
        let unsent = std::mem::take(&mut stream.unsent);
        let mut received = std::mem::replace(&mut stream.unread, Unread::NOTHING);
        let left = Left { received: self.operations.copy(&received), unsent };
        self.operations.discard(&mut received);
        self.forget(place);
        Ok(left)
    }

    fn unsent(&self, fd: BorrowedFd<'_>) -> u32 {
        let channel = self.place_of(fd.as_raw_fd()).and_then(|place| self.channels.get(place));
        let Some(Channel { state: State::Stream(stream), .. }) = channel else { return 0 };
        let queued = if stream.written_at == self.entry { stream.piece.length } else { 0 };
        match stream.sending {
            Sending::Open => queued,
            Sending::Rest(length) => length,
        }
    }
}

impl Uring {
    #[inline]
    pub(super) fn stream(&mut self, place: usize) -> io::Result<&mut Stream> {
        match self.channels.get_mut(place) {
            Some(Channel { state: State::Stream(stream), .. }) => Ok(stream),
            _ => Err(not_a_stream()),
        }
    }

    /// Begins to receive.
    pub(super) fn receive(&mut self, place: usize) -> io::Result<()> {
        let fd = self.channels[place].fd;
        let amount = self.stream(place)?.expected;
        let name = Self::name_of(place, amount.does());
        self.operations.receive(fd, amount.room(), amount.repeats(), name)?;
        self.channels[place].in_flight += 1;
        let stream = self.stream(place)?;
        (stream.receiving, stream.receives) = (Receiving::On, amount);
        Ok(())
    }

    /// Returns an error if nothing can be written now.
    fn check_writable(&mut self, place: usize) -> io::Result<()> {
        let stream = self.stream(place)?;
        match (stream.failed, stream.sending) {
            (Some(number), _) => Err(io::Error::from_raw_os_error(number)),
            (None, Sending::Open) => Ok(()),
            (None, Sending::Rest(_)) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Cancels what the kernel does for a connection, and waits until it has stopped.
    fn stop(&mut self, place: usize) -> io::Result<()> {
        let about = Self::name_of(place, Does::Control);
        let stream = self.stream(place)?;
        stream.stops = true;
        let active = [
            (stream.receives.does(), stream.receiving == Receiving::On),
            (Does::Watch, stream.is_watched),
            (Does::AwaitRoom, stream.awaits_room),
            (Does::SendRest, stream.sending != Sending::Open),
        ];
        for (does, is_active) in active {
            if is_active {
                self.operations.cancel(Self::name_of(place, does), about)?;
            }
        }
        while self.channels[place].in_flight > 0 {
            self.enter_for(WaitFor { wanted: 1, wait_min: 0, timeout: None })?;
        }
        Ok(())
    }

    /// Gives the kernel what was written, if it has not got it.
    pub(super) fn flush_channel(&mut self, place: usize) -> io::Result<()> {
        if self.stream(place)?.written_at == self.entry {
            self.enter()?;
        }
        Ok(())
    }

    /// Writes without a copy, except for what the socket has no room for.
    fn write_now(
        &mut self,
        place: usize,
        fd: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
        total: usize,
    ) -> io::Result<usize> {
        let sent = match sys::send(fd, slices) {
            Ok(count) if count == total => return Ok(count),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let mut rest = Vec::with_capacity((total - sent).min(REST_MAX));
        let mut skipped = sent;
        for slice in slices {
            let part = &slice[skipped.min(slice.len())..];
            skipped -= slice.len().min(skipped);
            rest.extend_from_slice(&part[..part.len().min(REST_MAX - rest.len())]);
        }
        let count = rest.len();
        self.send_rest(place, rest.into_boxed_slice())?;
        Ok(sent + count)
    }

    /// Makes the kernel send what the socket had no room for.
    pub(super) fn send_rest(&mut self, place: usize, rest: Box<[u8]>) -> io::Result<()> {
        let length = rest.len() as u32;
        let fd: RawFd = self.channels[place].fd;
        self.operations.send_patiently(fd, rest, Self::name_of(place, Does::SendRest))?;
        self.channels[place].in_flight += 1;
        self.stream(place)?.sending = Sending::Rest(length);
        Ok(())
    }
}

fn not_a_stream() -> io::Error {
    let text = "the backend does not move the bytes of this descriptor";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
