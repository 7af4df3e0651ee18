//! The ports from which upstreams are asked: connected sockets, which are bound to random ports.

use std::collections::HashMap;

use protocol::ConnectionId;
use protocol::dns::Message;

use super::jar::{Jar, Proof};
use super::secrets::Secrets;

/// After how many answers that do not count a port is replaced: some are late, and more are guesses of a
/// sender that may have found the port.
const WRONG_MAX: u32 = 32;

/// The name of a port, which is never used again for another one.
pub(in crate::dns) type PortId = u64;

/// Names an attempt: the place of its flight, and its own in that.
pub(super) type AttemptId = (usize, usize);

/// A socket that is connected to an upstream.
#[derive(Debug)]
struct Port {
    upstream: usize,
    source: ConnectionId,
    jar: Jar,
    /// Questions that wait to be sent.
    queue: Vec<Vec<u8>>,
    /// The attempts that have no answer yet, by their numbers.
    outstanding: HashMap<u16, AttemptId>,
    /// How many questions were sent.
    used: u32,
    /// How many answers did not count.
    wrong: u32,
    state: State,
}

/// The life of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Another one is to take its place. Until there is one, it goes on.
    Spent,
    /// It takes no more questions, and is closed when none is outstanding.
    Replaced,
}

/// The ports of all upstreams.
#[derive(Debug)]
pub(in crate::dns) struct Ports {
    ports: HashMap<PortId, Port>,
    /// Those of each upstream that take questions, and those among them that are spent.
    open: Vec<Vec<PortId>>,
    spent: Vec<Vec<PortId>>,
    /// Whether each upstream is asked. One that is not needs no ports.
    is_asked: Vec<bool>,
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
            spent: vec![Vec::new(); upstreams],
            is_asked: vec![true; upstreams],
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

    /// Returns the upstreams that have fewer open ports than they should, without those that are spent, and
    /// how many are missing.
    pub(in crate::dns) fn missing(&self) -> Vec<(usize, usize)> {
        let fresh = self.open.iter().zip(&self.spent).map(|(open, spent)| open.len() - spent.len());
        let missing = fresh.zip(&self.is_asked).map(|(fresh, is_asked)| match is_asked {
            true => self.count.saturating_sub(fresh),
            false => 0,
        });
        missing.enumerate().filter(|(_, count)| *count > 0).collect()
    }

    /// Adds an open port, in place of a spent one if there is one.
    pub(super) fn opened(&mut self, id: PortId, upstream: usize, source: ConnectionId, jar: Jar) {
        let port = Port {
            upstream,
            source,
            jar,
            queue: Vec::new(),
            outstanding: HashMap::new(),
            used: 0,
            wrong: 0,
            state: State::Open,
        };
        self.ports.insert(id, port);
        self.open[upstream].push(id);
        let Some(spent) = self.spent[upstream].pop() else { return };
        self.open[upstream].retain(|other| *other != spent);
        self.close_when_quiet(spent);
    }

    /// Adds an upstream, which is not asked yet.
    pub(super) fn add_upstream(&mut self) {
        self.open.push(Vec::new());
        self.spent.push(Vec::new());
        self.is_asked.push(false);
    }

    /// Opens ports of an upstream, or closes them once they expect no answer.
    pub(super) fn set_asked(&mut self, upstream: usize, is_asked: bool) {
        if std::mem::replace(&mut self.is_asked[upstream], is_asked) == is_asked {
            return;
        }
        self.is_changed = true;
        if is_asked {
            return;
        }
        self.spent[upstream].clear();
        for id in std::mem::take(&mut self.open[upstream]) {
            self.close_when_quiet(id);
        }
    }

    fn close_when_quiet(&mut self, id: PortId) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        port.state = State::Replaced;
        if port.outstanding.is_empty() {
            self.closings.push(port.source);
            self.is_changed = true;
        }
    }

    /// Returns what was asked from a port with a number, and has no answer.
    pub(super) fn expected(&self, id: PortId, number: u16) -> Option<AttemptId> {
        self.ports.get(&id)?.outstanding.get(&number).copied()
    }

    /// Returns the content of the COOKIE option of a question from a port.
    pub(super) fn cookie(&self, id: PortId) -> Vec<u8> {
        self.ports.get(&id).map(|port| port.jar.content()).unwrap_or_default()
    }

    /// Returns what the cookie of an answer at a port shows.
    pub(super) fn proof(&self, id: PortId, answer: &Message<'_>) -> Proof {
        self.ports.get(&id).map_or(Proof::Unknown, |port| port.jar.proof(answer))
    }

    /// Takes the cookie of the upstream out of an answer at a port.
    pub(super) fn learn(&mut self, id: PortId, answer: &Message<'_>) {
        self.ports.get_mut(&id).into_iter().for_each(|port| port.jar.learn(answer));
    }

    /// Returns whether a port expects no answer.
    pub(in crate::dns) fn is_quiet(&self, id: PortId) -> bool {
        self.ports.get(&id).is_none_or(|port| port.outstanding.is_empty())
    }

    /// Returns the numbers and the attempts of a port that have no answer.
    pub(super) fn all_expected(&self, id: PortId) -> Vec<(u16, AttemptId)> {
        let port = self.ports.get(&id);
        let all = port.into_iter().flat_map(|port| &port.outstanding);
        all.map(|(number, attempt)| (*number, *attempt)).collect()
    }

    /// Forgets a port whose socket has ended.
    pub(in crate::dns) fn closed(&mut self, id: PortId) {
        if let Some(port) = self.ports.remove(&id) {
            self.open[port.upstream].retain(|other| *other != id);
            self.spent[port.upstream].retain(|other| *other != id);
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

    /// Sends the question of an attempt, with a number that is free, from a port. Returns its socket, if it
    /// has to be woken.
    pub(super) fn send(
        &mut self,
        id: PortId,
        number: u16,
        attempt: AttemptId,
        question: Vec<u8>,
    ) -> Option<ConnectionId> {
        let port = self.ports.get_mut(&id)?;
        port.outstanding.insert(number, attempt);
        port.used += 1;
        port.queue.push(question);
        let (source, is_first, is_spent) =
            (port.source, port.queue.len() == 1, port.used >= self.used_max);
        if is_spent {
            self.retire(id);
        }
        is_first.then_some(source)
    }

    /// Notes an answer that does not count.
    pub(super) fn heard_wrong(&mut self, id: PortId) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        port.wrong += 1;
        if port.wrong == WRONG_MAX {
            self.retire(id);
        }
    }

    /// Asks for another port in place of this one.
    pub(super) fn retire(&mut self, id: PortId) {
        let Some(port) = self.ports.get_mut(&id).filter(|port| port.state == State::Open) else {
            return;
        };
        port.state = State::Spent;
        self.spent[port.upstream].push(id);
        self.is_changed = true;
    }

    /// Expects no answer with this number any more.
    pub(super) fn settled(&mut self, id: PortId, number: u16) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        let was_expected = port.outstanding.remove(&number).is_some();
        if was_expected && port.state == State::Replaced && port.outstanding.is_empty() {
            self.closings.push(port.source);
            self.is_changed = true;
        }
    }

    /// Takes the questions that wait to be sent from a port.
    pub(in crate::dns) fn take_queue(&mut self, id: PortId) -> Vec<Vec<u8>> {
        self.ports.get_mut(&id).map(|port| std::mem::take(&mut port.queue)).unwrap_or_default()
    }
}

#[cfg(test)]
impl Ports {
    /// Returns the upstream of a port, if it is open.
    pub(super) fn upstream(&self, id: PortId) -> Option<usize> {
        self.ports.get(&id).map(|port| port.upstream)
    }

    /// Returns how many answers are expected.
    pub(super) fn outstanding(&self) -> usize {
        self.ports.values().map(|port| port.outstanding.len()).sum()
    }
}
