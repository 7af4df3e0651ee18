//! The side that metaloggers subscribe to.
//!
//! A metalogger has a position in the log of the changes, and is sent the shared packets from there on,
//! as far as its connection takes them. So one that was there all the time and one that comes back are
//! served in the same way, and the live changes follow the kept ones without a gap.

mod download;
mod session;

use std::collections::BTreeMap;

use protocol::ConnectionId;
use protocol::mfs::{Ip, Metalogger, Version};

pub(super) use session::MetaloggerSession;

/// The metaloggers that have registered.
#[derive(Debug, Default)]
pub(super) struct Metaloggers {
    registered: BTreeMap<ConnectionId, Metalogger>,
    /// They were told of changes that none of them has looked at.
    is_told: bool,
    /// How many were closed since they did not keep up.
    pub(super) dropped: u64,
}

impl Metaloggers {
    /// Returns the connections to wake after a change, unless they are awake already.
    pub(super) fn tell(&mut self) -> impl Iterator<Item = ConnectionId> {
        let is_told = std::mem::replace(&mut self.is_told, true);
        self.registered.keys().copied().filter(move |_| !is_told)
    }

    /// Notes that one looks at the changes. Further ones need another wake.
    fn look(&mut self) {
        self.is_told = false;
    }

    fn add(&mut self, connection: ConnectionId, version: Version, ip: Ip) {
        self.registered.insert(connection, Metalogger { version, ip });
        // The others may be awake for a change before it came. The next one has to wake it.
        self.is_told = false;
    }

    fn remove(&mut self, connection: ConnectionId) {
        self.registered.remove(&connection);
        // It may be the one that all others wait for.
        self.is_told = false;
    }

    /// Returns those that have registered.
    pub(super) fn iter(&self) -> impl Iterator<Item = Metalogger> {
        self.registered.values().copied()
    }

    /// Returns how many have registered.
    pub(super) fn len(&self) -> usize {
        self.registered.len()
    }
}
