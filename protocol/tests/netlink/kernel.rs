//! What a kernel would send: messages put together, and a model of a kernel with a small receive buffer.

use std::collections::{BTreeMap, VecDeque};

use protocol::Random;
use protocol::netlink::{Message, MessageKind, Messages};

/// Appends an attribute.
pub(crate) fn attribute(bytes: &mut Vec<u8>, number: u16, content: &[u8]) {
    bytes.extend((content.len() as u16 + 4).to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Returns a message with its header.
pub(crate) fn message(kind: u16, flags: u16, sequence: u32, port: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(port.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Returns what a message says about a link.
pub(crate) fn link(index: u32, mtu: u32) -> Vec<u8> {
    let mut body = vec![0, 0, 1, 0];
    body.extend(index.to_ne_bytes());
    body.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    attribute(&mut body, 3, format!("eth{index}\0").as_bytes());
    attribute(&mut body, 4, &mtu.to_ne_bytes());
    // Statistics, which are not kept.
    attribute(&mut body, 23, &[9; 200]);
    body
}

/// Returns what a message says about an address.
pub(crate) fn address(index: u32, last: u8, label: &str) -> Vec<u8> {
    let mut body = vec![2, 24, 0x80, 0];
    body.extend(index.to_ne_bytes());
    attribute(&mut body, 1, &[10, 0, 0, last]);
    attribute(&mut body, 2, &[10, 0, 0, last]);
    attribute(&mut body, 3, format!("{label}\0").as_bytes());
    attribute(&mut body, 6, &[0xff; 16]);
    body
}

/// Returns what a message says about a route of IPv4.
pub(crate) fn route(third: u8, metric: u32, output: u32) -> Vec<u8> {
    let mut body = vec![2, 24, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    attribute(&mut body, 15, &254_u32.to_ne_bytes());
    attribute(&mut body, 1, &[10, 0, third, 0]);
    attribute(&mut body, 6, &metric.to_ne_bytes());
    attribute(&mut body, 4, &output.to_ne_bytes());
    body
}

/// Returns what a message says about a neighbour.
pub(crate) fn neighbour(last: u8, state: u16) -> Vec<u8> {
    let mut body = vec![2, 0, 0, 0];
    body.extend(1_u32.to_ne_bytes());
    body.extend(state.to_ne_bytes());
    body.extend([0x80, 1]);
    attribute(&mut body, 1, &[10, 0, 0, last]);
    attribute(&mut body, 2, &[2, 0, 0, 0, 0, last]);
    // Times, which are not kept apart.
    attribute(&mut body, 3, &[9; 16]);
    body
}

/// A link, an address, a route or a neighbour of the model: its topic and its number.
pub(crate) type Key = (u8, u32);

/// A kernel with one socket.
pub(crate) struct Kernel {
    pub(crate) state: BTreeMap<Key, Vec<u8>>,
    queue: VecDeque<Vec<u8>>,
    room: usize,
    /// What `recvfrom(2)` reports next.
    is_lost: bool,
    /// No message is queued until everything was read.
    is_congested: bool,
    dump: Option<Dump>,
    /// Every dump is interrupted.
    pub(crate) always_interrupts: bool,
    pub(crate) random: Random,
    pub(crate) losses: usize,
    /// How many dumps were asked for.
    pub(crate) dumps: usize,
}

struct Dump {
    topic: u8,
    sequence: u32,
    next: u32,
    /// Something has changed since its last part.
    is_changed: bool,
}

pub(crate) const PORT: u32 = 4711;

impl Kernel {
    pub(crate) fn new(seed: u64, room: usize) -> Self {
        Self {
            state: BTreeMap::new(),
            queue: VecDeque::new(),
            room,
            is_lost: false,
            is_congested: false,
            dump: None,
            always_interrupts: false,
            random: Random::new(seed),
            losses: 0,
            dumps: 0,
        }
    }

    /// Makes one change.
    pub(crate) fn change(&mut self) {
        let topic = self.random.below(4) as u8;
        let number = 1 + self.random.below(12) as u32;
        let value = self.random.below(3) as u32;
        let new = 16 + 4 * u16::from(topic);
        let body = match topic {
            0 => link(number, 1400 + value),
            1 => address(number / 4, number as u8, ["a", "b", "c"][value as usize]),
            2 => route(number as u8, 0, 1),
            _ => neighbour(number as u8, 1 << value),
        };
        if self.random.below(3) == 0 {
            if let Some(body) = self.state.remove(&(topic, number)) {
                self.notify(message(new + 1, 0, 0, 0, &body));
            }
        } else {
            self.state.insert((topic, number), body.clone());
            self.notify(message(new, 0, 0, 0, &body));
        }
    }

    fn notify(&mut self, message: Vec<u8>) {
        if let Some(dump) = &mut self.dump {
            dump.is_changed = true;
        }
        if self.is_congested || self.queue.len() >= self.room {
            self.losses += 1;
            self.is_lost |= !self.is_congested;
            self.is_congested = true;
        } else {
            self.queue.push_back(message);
        }
    }

    /// Takes a request.
    pub(crate) fn request(&mut self, bytes: &[u8]) {
        let Message { kind, sequence, .. } =
            Messages::new(bytes).next().expect("it is one").expect("it is whole");
        let topic = match kind {
            MessageKind::GET_LINK => 0,
            MessageKind::GET_ADDRESS => 1,
            MessageKind::GET_ROUTE => 2,
            MessageKind::GET_NEIGHBOUR => 3,
            other => panic!("{other:?}"),
        };
        assert!(self.dump.is_none(), "a socket has one dump at a time");
        self.dump = Some(Dump { topic, sequence, next: 0, is_changed: false });
        self.dumps += 1;
        self.go_on();
    }

    /// Queues the next part of the dump. A change may come between reading and queueing it.
    fn go_on(&mut self) {
        let Some(Dump { topic, sequence, next, is_changed }) = self.dump else { return };
        let is_interrupted = self.always_interrupts || is_changed && self.random.below(2) == 0;
        let interrupted = if is_interrupted { 0x10 } else { 0 };
        let kind = 16 + 4 * u16::from(topic);
        let part: Vec<_> = self
            .state
            .range((topic, next)..(topic + 1, 0))
            .take(3)
            .map(|it| (*it.0, it.1.clone()))
            .collect();
        let mut datagram = Vec::new();
        for (key, body) in &part {
            datagram.extend(message(kind, 2 | interrupted, sequence, PORT, body));
            self.dump.as_mut().expect("it goes on").next = key.1 + 1;
        }
        self.dump.as_mut().expect("it goes on").is_changed = false;
        if self.random.below(4) == 0 {
            self.change();
        }
        if part.is_empty() {
            datagram = message(3, 2 | interrupted, sequence, PORT, &[0; 4]);
            self.dump = None;
        }
        self.queue.push_back(datagram);
    }

    /// Returns what `recvfrom(2)` does: a datagram, nothing, or an error when something was lost.
    pub(crate) fn receive(&mut self) -> Result<Option<Vec<u8>>, ()> {
        if std::mem::take(&mut self.is_lost) {
            return Err(());
        }
        let datagram = self.queue.pop_front();
        self.is_congested &= !self.queue.is_empty();
        if self.queue.len() < self.room / 2 + 1 && self.dump.is_some() {
            self.go_on();
        }
        Ok(datagram)
    }
}
