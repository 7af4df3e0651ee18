//! Datagrams that wait for receivers that are full, while others are sent.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use protocol::{Codec, DatagramFailure, Envelope, Peer, Service};

use super::sending::receiver_of;
use super::{Datagrams, Room, timer};
use crate::Cx;
use crate::sys::Outgoing;

/// How long the first pause for a full receiver is. Each is twice as long as the one before.
const PARK_PAUSE_MIN: Duration = Duration::from_millis(1);
/// How long a datagram waits for a receiver that is full.
const PARKED_FOR: Duration = Duration::from_secs(1);
/// The longest pause between two tries.
const PARK_PAUSE_MAX: Duration = Duration::from_millis(32);
/// How many datagrams wait for receivers that are full.
const PARKED_MAX: usize = 256;

/// Datagrams to receivers that are full: Unix sockets whose program does not read. The kernel does
/// not tell when they have room, so they are tried again after a time, while others are sent.
#[derive(Default)]
pub(super) struct Parked {
    waiting: VecDeque<Waiting>,
    /// How many bytes they have.
    bytes: u64,
    pause: Duration,
    is_armed: bool,
}

struct Waiting {
    peer: Peer,
    bytes: Vec<u8>,
    until: Instant,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn has(&self, peer: &Peer) -> bool {
        self.waiting.iter().any(|it| it.peer == *peer)
    }
}

impl<C: Codec + Clone + 'static, S: 'static> Datagrams<C, S> {
    /// Moves the first datagram to those that wait for a full receiver, so that others are sent.
    #[cold]
    pub(super) fn park_first<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>)
    where
        S: Service<C, A>,
    {
        let bytes = self.outbox.first_bytes();
        let Some(Envelope { peer: Some(peer), length }) = self.outbox.remove_first() else {
            return;
        };
        let has_room = self.parked.waiting.len() < PARKED_MAX
            && self.parked.bytes + length <= self.limits.output_high;
        if bytes.len() as u64 != length || !has_room {
            self.count_unsent("its receiver does not read", cx);
            self.tell_failure(&DatagramFailure::Unsent, Some(peer), room, cx);
            return;
        }
        self.parked.bytes += length;
        self.parked.waiting.push_back(Waiting { peer, bytes, until: cx.now() + PARKED_FOR });
        if !std::mem::replace(&mut self.parked.is_armed, true) {
            self.parked.pause = PARK_PAUSE_MIN;
            cx.set_timer(self.parked.pause, None, timer::PARKED);
        }
    }

    /// Tries receivers again that were full.
    pub(super) fn retry_parked<A>(&mut self, room: &mut Room, cx: &mut Cx<'_, A>) -> io::Result<()>
    where
        A: 'static,
        S: Service<C, A>,
    {
        self.parked.is_armed = false;
        self.parked.bytes = 0;
        let (mut full, mut progress) = (Vec::<Peer>::new(), false);
        for parked in std::mem::take(&mut self.parked.waiting) {
            let is_full = full.contains(&parked.peer);
            let Ok(to) = receiver_of(&parked.peer) else { continue };
            let slices = [IoSlice::new(&parked.bytes)];
            let outgoing = Outgoing { slices: &slices, to, from: None, segment: None };
            let sent = match is_full {
                true => Ok(None),
                false => cx.send_datagram(&outgoing, &self.place),
            };
            match sent {
                Ok(Some(_)) => {
                    progress = true;
                    cx.core.counters.datagrams_sent += 1;
                    cx.core.counters.bytes_written += parked.bytes.len() as u64;
                }
                Ok(None) if cx.now() < parked.until => {
                    full.push(parked.peer.clone());
                    self.parked.bytes += parked.bytes.len() as u64;
                    self.parked.waiting.push_back(parked);
                }
                Ok(None) => {
                    self.count_unsent("its receiver does not read", cx);
                    self.tell_failure(&DatagramFailure::Unsent, Some(parked.peer), room, cx);
                }
                Err(error) => self.tell_undelivered(error, Some(parked.peer), room, cx),
            }
        }
        if !self.parked.is_empty() {
            let longer = (2 * self.parked.pause).min(PARK_PAUSE_MAX);
            self.parked.pause = if progress { PARK_PAUSE_MIN } else { longer };
            self.parked.is_armed = true;
            cx.set_timer(self.parked.pause, None, timer::PARKED);
        }
        Ok(())
    }
}
