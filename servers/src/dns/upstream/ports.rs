//! The ports from which upstreams are asked: connected sockets, which the kernel binds to random ports.

use std::collections::HashMap;

use protocol::ConnectionId;

use super::secrets::Secrets;

/// The name of a port, which is never used again for another one.
pub(in crate::dns) type PortId = u64;

/// A socket that is connected to an upstream.
#[derive(Debug)]
struct Port {
    upstream: usize,
    source: ConnectionId,
    /// Questions that wait to be sent.
    queue: Vec<Vec<u8>>,
    /// How many questions have no answer yet.
    outstanding: u32,
    /// How many questions were sent.
    used: u32,
    /// It takes no more questions, and is closed when none is outstanding.
    is_retired: bool,
}

/// The ports of all upstreams.
#[derive(Debug)]
pub(in crate::dns) struct Ports {
    ports: HashMap<PortId, Port>,
    /// Those of each upstream that take questions.
    open: Vec<Vec<PortId>>,
    next: PortId,
    /// How many are open for each upstream.
    count: usize,
    /// After how many questions one is replaced.
    used_max: u32,
    /// Sockets that are to be closed.
    closings: Vec<ConnectionId>,
    is_changed: bool,
}

impl Ports {
    pub(super) fn new(upstreams: usize, count: usize, used_max: u32) -> Self {
        Self {
            ports: HashMap::new(),
            open: vec![Vec::new(); upstreams],
            next: 0,
            count,
            used_max,
            closings: Vec::new(),
            is_changed: false,
        }
    }

    /// Returns a name for a new port.
    pub(in crate::dns) fn name(&mut self) -> PortId {
        self.next += 1;
        self.next
    }

    /// Returns the upstreams that have fewer open ports than they should, and how many are missing.
    pub(in crate::dns) fn missing(&self) -> Vec<(usize, usize)> {
        let missing = self.open.iter().map(|open| self.count.saturating_sub(open.len()));
        missing.enumerate().filter(|(_, count)| *count > 0).collect()
    }

    /// Adds an open port.
    pub(in crate::dns) fn opened(&mut self, id: PortId, upstream: usize, source: ConnectionId) {
        let port = Port {
            upstream,
            source,
            queue: Vec::new(),
            outstanding: 0,
            used: 0,
            is_retired: false,
        };
        self.ports.insert(id, port);
        self.open[upstream].push(id);
    }

    /// Forgets a port whose socket has ended.
    pub(in crate::dns) fn closed(&mut self, id: PortId) {
        if let Some(port) = self.ports.remove(&id) {
            self.open[port.upstream].retain(|other| *other != id);
            self.is_changed = true;
        }
    }

    /// Returns whether ports are to be opened or closed. This is said once.
    pub(in crate::dns) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Takes the sockets that are to be closed.
    pub(in crate::dns) fn take_closings(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.closings)
    }

    /// Chooses a port of an upstream at random.
    pub(super) fn choose(&self, upstream: usize, secrets: &mut Secrets) -> Option<PortId> {
        let open = &self.open[upstream];
        open.get(secrets.index(open.len())).copied()
    }

    /// Sends a question from a port. Returns its socket, if it has to be woken.
    pub(super) fn send(&mut self, id: PortId, question: Vec<u8>) -> Option<ConnectionId> {
        let port = self.ports.get_mut(&id)?;
        port.outstanding += 1;
        port.used += 1;
        port.queue.push(question);
        let (source, is_first, is_spent) =
            (port.source, port.queue.len() == 1, port.used >= self.used_max);
        if is_spent && !port.is_retired {
            self.retire(id);
        }
        is_first.then_some(source)
    }

    /// Replaces a port by another one.
    pub(super) fn retire(&mut self, id: PortId) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        port.is_retired = true;
        self.open[port.upstream].retain(|other| *other != id);
        self.is_changed = true;
    }

    /// Notes that a question of a port is no longer outstanding.
    pub(super) fn settled(&mut self, id: PortId) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        port.outstanding -= 1;
        if port.is_retired && port.outstanding == 0 {
            self.closings.push(port.source);
            self.is_changed = true;
        }
    }

    /// Takes the questions that wait to be sent from a port.
    pub(in crate::dns) fn take_queue(&mut self, id: PortId) -> Vec<Vec<u8>> {
        self.ports.get_mut(&id).map(|port| std::mem::take(&mut port.queue)).unwrap_or_default()
    }
}
