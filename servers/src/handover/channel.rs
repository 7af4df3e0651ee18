//! What the old program says to the new one, frame by frame.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use reactor::{Cx, Token};

use super::sockets::Given;
use super::wire::{Frame, VERSION};

/// What is said to the new program.
#[derive(Default)]
pub(super) struct Channel {
    outgoing: VecDeque<Outgoing>,
    /// The connections that have no answer, with the loops that have them, by the numbers that the
    /// frames have.
    pub(super) away: HashMap<u64, (usize, Token)>,
    last: u64,
    /// The last frame is in `outgoing`.
    pub(super) is_done: bool,
}

/// A frame that is being sent.
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    descriptor: Option<OwnedFd>,
}

impl Channel {
    pub(super) fn say(&mut self, frame: &Frame, descriptor: Option<OwnedFd>) -> io::Result<()> {
        let bytes = frame.encode()?;
        self.outgoing.push_back(Outgoing { bytes, sent: 0, descriptor });
        Ok(())
    }

    /// Says which server this is, and passes its legacy and its sockets on.
    pub(super) fn greet(
        &mut self,
        server: &str,
        legacy: &[u8],
        sockets: Vec<Given>,
    ) -> io::Result<()> {
        self.say(&Frame::Hello { version: VERSION, server: server.to_owned() }, None)?;
        self.say(&Frame::Legacy { bytes: legacy.to_vec() }, None)?;
        for Given { traits, descriptor } in sockets {
            self.say(&Frame::Socket(traits), Some(descriptor))?;
        }
        self.say(&Frame::AllSockets, None)
    }

    /// Gives a connection of a loop away.
    pub(super) fn give(
        &mut self,
        connection: (usize, Token),
        descriptor: OwnedFd,
        state: Vec<u8>,
    ) -> io::Result<()> {
        let id = self.last + 1;
        let mut descriptor = Some(descriptor);
        let mut frames = Frame::of_connection(id, state)?;
        let last = frames.pop();
        frames.iter().try_for_each(|part| self.say(part, None))?;
        last.iter().try_for_each(|last| self.say(last, descriptor.take()))?;
        self.last = id;
        self.away.insert(id, connection);
        Ok(())
    }

    pub(super) fn is_all_sent(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Sends what the kernel takes. Returns whether all was sent, and how many bytes were sent now.
    pub(super) fn send<A>(&mut self, cx: &mut Cx<'_, A>) -> io::Result<(bool, usize)> {
        let mut total = 0;
        while let Some(first) = self.outgoing.front_mut() {
            let rest = &first.bytes[first.sent..];
            let count = match &first.descriptor {
                Some(descriptor) => cx.send_descriptors(rest, &[descriptor.as_fd()])?,
                None => cx.write(&[io::IoSlice::new(rest)])?,
            };
            let Some(count) = count else { return Ok((false, total)) };
            total += count;
            // It went with the first byte.
            first.descriptor = None;
            first.sent += count;
            if first.sent == first.bytes.len() {
                self.outgoing.pop_front();
            }
        }
        Ok((true, total))
    }
}
