//! What the kernel has done.

use std::io;

use log::debug;

use super::Uring;
use super::channel::{Channel, ENDED, End, FAILED, Receiving, Sending, State};
use super::name::{Does, Name};
use crate::sys::{Done, Room};
use crate::{Event, Readiness};

/// How many bytes are received for a session that does not read them. What the kernel has received
/// before it stops comes in addition.
const HELD_MAX: usize = 64 * 1024;

impl Uring {
    /// Takes note of all completions. Returns how many there were.
    pub(super) fn work_off(&mut self) -> usize {
        let mut count = 0;
        while let Some(done) = self.operations.next() {
            count += 1;
            let Name { channel: place, does } = Name::from_bits(done.user_data);
            match does {
                Does::Receive => self.received(place, Room::Shared, done),
                Does::ReceiveBlock => self.received(place, Room::Block, done),
                Does::Watch => self.was_watched(place, done),
                Does::Send => self.sent_less(place, done.result),
                Does::AwaitRoom => self.has_room(place),
                Does::SendRest => self.sent_rest(place, done),
                Does::Control => self.not_controlled(place, done.result),
            }
        }
        count
    }

    /// Takes note of bytes, or of the end of a stream.
    #[inline]
    fn received(&mut self, place: usize, room: Room, done: Done) {
        let Some(channel) = self.channels.get_mut(place) else { return };
        let has_more = done.has_more();
        channel.in_flight -= u32::from(!has_more);
        let State::Stream(stream) = &mut channel.state else {
            self.operations.refuse(room, done);
            return self.free_if_over(place);
        };
        if !has_more {
            stream.receiving = Receiving::Off;
        }
        let length = self.operations.append(&mut stream.unread, room, done);
        let readiness = match done.result {
            1.. => {
                stream.expected = stream.expected.after(length);
                Readiness::READABLE
            }
            0 => {
                stream.end = Some(End::Stream);
                ENDED
            }
            failed => match -failed {
                libc::ENOBUFS => return self.starved.push(place),
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => Readiness::NONE,
                number => {
                    stream.end = Some(End::Failed(number));
                    FAILED
                }
            },
        };
        let is_too_much = has_more
            && stream.receiving == Receiving::On
            && (stream.expected > stream.receives || stream.unread.length() > HELD_MAX);
        if is_too_much {
            stream.receiving = Receiving::Ending;
        }
        let tag = channel.tag;
        if !readiness.is_empty() {
            self.found.push(Event { tag, readiness });
        }
        if is_too_much {
            self.stop_receiving(place);
        } else if !has_more && !self.channels[place].is_stopping() {
            self.to_renew.push(place);
        }
    }

    /// Stops receiving: the session does not read, or there is more to receive than was expected.
    #[cold]
    fn stop_receiving(&mut self, place: usize) {
        let about = Self::name_of(place, Does::Control);
        let Ok(stream) = self.stream(place) else { return };
        let name = Self::name_of(place, stream.receives.does());
        if let Err(error) = self.operations.cancel(name, about)
            && let Ok(stream) = self.stream(place)
        {
            debug!("receiving goes on: {error}");
            stream.receiving = Receiving::On;
        }
    }

    fn was_watched(&mut self, place: usize, done: Done) {
        let has_more = done.has_more();
        if let Some(channel) = self.channels.get_mut(place) {
            channel.in_flight -= u32::from(!has_more);
        }
        self.watched(place, done.result, has_more);
        self.free_if_over(place);
    }

    /// Takes note that the socket has not taken everything of the last entry.
    #[cold]
    fn sent_less(&mut self, place: usize, result: i32) {
        let Some(Channel { tag, state: State::Stream(stream), .. }) = self.channels.get_mut(place)
        else {
            return;
        };
        let sent = match result {
            0.. => result as usize,
            _ if result == -libc::EAGAIN => 0,
            _ => {
                stream.failed = Some(-result);
                self.found.push(Event { tag: *tag, readiness: FAILED });
                return;
            }
        };
        let rest = &self.operations.sent(stream.piece)[sent..];
        let rest = rest.into();
        self.send_on(place, rest);
    }

    /// Takes note that there is room for output, or that the connection has ended.
    #[cold]
    fn has_room(&mut self, place: usize) {
        let Some(channel) = self.channels.get_mut(place) else { return };
        channel.in_flight -= 1;
        if let State::Stream(stream) = &mut channel.state {
            stream.awaits_room = false;
            self.found.push(Event { tag: channel.tag, readiness: Readiness::WRITABLE });
        }
        self.free_if_over(place);
    }

    /// Takes note that the kernel has sent the rest, or some of it.
    #[cold]
    fn sent_rest(&mut self, place: usize, done: Done) {
        let bytes = self.operations.take_outstanding(done.user_data).unwrap_or_default();
        let Some(channel) = self.channels.get_mut(place) else { return };
        channel.in_flight -= 1;
        let State::Stream(stream) = &mut channel.state else {
            self.leaving.retain(|(_, leaving)| *leaving != place);
            return self.free_if_over(place);
        };
        if stream.stops {
            stream.unsent = bytes[usize::try_from(done.result).unwrap_or(0)..].to_vec();
            stream.sending = Sending::Open;
            return;
        }
        match done.result {
            count @ 0.. if (count as usize) < bytes.len() => {
                let rest = bytes[count as usize..].into();
                return self.send_on(place, rest);
            }
            0.. => stream.sending = Sending::Open,
            failed => {
                stream.sending = Sending::Open;
                stream.failed = Some(-failed);
                self.found.push(Event { tag: channel.tag, readiness: FAILED });
                return;
            }
        }
        if stream.ends {
            // It fails if the connection has ended meanwhile, which receiving tells.
            let about = Self::name_of(place, Does::Control);
            let _ = self.operations.shut_down(channel.fd, about);
        }
        self.found.push(Event { tag: channel.tag, readiness: Readiness::WRITABLE });
    }

    /// Makes the kernel send what is left.
    fn send_on(&mut self, place: usize, rest: Box<[u8]>) {
        if let Err(error) = self.send_rest(place, rest)
            && let Some(channel) = self.channels.get_mut(place)
            && let State::Stream(stream) = &mut channel.state
        {
            stream.failed = Some(error.raw_os_error().unwrap_or(libc::ENOMEM));
            stream.sending = Sending::Open;
            self.found.push(Event { tag: channel.tag, readiness: FAILED });
        }
    }

    /// Takes note that an operation was not changed or cancelled. One that has ended meanwhile reports
    /// that itself.
    #[cold]
    fn not_controlled(&mut self, place: usize, result: i32) {
        if result != -libc::EALREADY {
            return;
        }
        let Some(Channel { state: State::Watched { events }, .. }) = self.channels.get(place)
        else {
            return;
        };
        let (name, about) =
            (Self::name_of(place, Does::Watch), Self::name_of(place, Does::Control));
        if let Err(error) = self.operations.update_watch(name, *events, about) {
            debug!("a watch is not changed: {}", io::Error::from(error.kind()));
        }
    }
}
