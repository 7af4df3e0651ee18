//! The side that chunkservers register to.
//!
//! A chunkserver is known by its number, which it keeps when it comes back. What it has counts only as
//! long as it is connected: each registration has an epoch, and copies of earlier ones are void. So the
//! end of a connection costs nothing, however many chunks the chunkserver has.

mod order;
mod orders;
mod registration;
mod session;

use std::collections::BTreeMap;
use std::time::Instant;

use protocol::ConnectionId;
use protocol::mfs::{ChunkId, Endpoint, Space, Status, Version};

use super::app::Master;
use orders::Orders;

pub use order::Order;
pub(super) use session::ChunkserverSession;

/// The highest number of a chunkserver.
pub(super) const CSID_MAX: u16 = u16::MAX;

/// A chunkserver that is connected, or was.
#[derive(Debug)]
pub(super) struct Chunkserver {
    pub(super) place: Endpoint,
    pub(super) version: Version,
    pub(super) labels: u32,
    pub(super) space: Space,
    pub(super) load: u32,
    pub(super) load_state: u8,
    pub(super) errors: u32,
    pub(super) state: State,
    /// The number of its registration, which no other one has.
    pub(super) epoch: u32,
    connection: Option<ConnectionId>,
    orders: Orders,
}

/// What a chunkserver is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It tells its chunks.
    Registering,
    /// It has told all of them.
    Registered,
    /// It is about to stop.
    Leaving,
    /// It is not connected.
    Gone,
    /// It is not connected, as it has announced.
    Left,
}

impl State {
    /// Returns whether it is connected.
    pub(super) const fn is_connected(self) -> bool {
        matches!(self, Self::Registering | Self::Registered | Self::Leaving)
    }
}

impl Chunkserver {
    /// Returns whether new chunks can be created on it.
    pub(super) fn has_room(&self) -> bool {
        const OVERLOADED: u8 = 2;
        self.state == State::Registered
            && self.load_state != OVERLOADED
            && self.space.total > self.space.used
    }

    /// Returns how full it is, in thousandths.
    pub(super) fn fullness(&self) -> u64 {
        let Space { used, total, .. } = self.space;
        (u128::from(used) * 1000 / u128::from(total.max(1))) as u64
    }
}

/// All chunkservers that are known, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Chunkservers {
    known: BTreeMap<u16, Chunkserver>,
    /// Counts the registrations.
    epochs: u32,
}

impl Chunkservers {
    pub(super) fn get(&self, csid: u16) -> Option<&Chunkserver> {
        self.known.get(&csid)
    }

    fn get_mut(&mut self, csid: u16) -> Option<&mut Chunkserver> {
        self.known.get_mut(&csid)
    }

    /// Returns all that are known, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &Chunkserver)> {
        self.known.iter().map(|(csid, server)| (*csid, server))
    }

    /// Returns how many are connected.
    pub(super) fn connected(&self) -> usize {
        self.known.values().filter(|server| server.state.is_connected()).count()
    }

    /// Returns a chunkserver, if it is connected and this is its epoch.
    pub(super) fn of_epoch(&self, csid: u16, epoch: u32) -> Option<&Chunkserver> {
        self.get(csid).filter(|it| it.epoch == epoch && it.state.is_connected())
    }
}

impl Master {
    /// Gives an order to a chunkserver, and calls `done` with what becomes of it: the status that the
    /// chunkserver answers, or [`Status::DISCONNECTED`] when its connection ends before. If it is not
    /// connected, or too many orders wait for it, `done` is called at once with
    /// [`Status::CSNOTPRESENT`] or [`Status::EAGAIN`].
    ///
    /// An order with the status [`Status::NOTDONE`] is given again until it is done, or takes too long.
    ///
    /// Orders for one chunk are carried out in any order. [`Master::create`] and its like give them one
    /// after the other.
    pub fn order(
        &mut self,
        csid: u16,
        order: Order,
        done: impl FnOnce(Status, &mut Self) + 'static,
    ) {
        let orders_max = self.options.orders_max;
        let server = self.chunkservers.get_mut(csid);
        let status = match server {
            Some(server) if server.orders.len() >= orders_max => Status::EAGAIN,
            Some(server) if server.state.is_connected() => {
                server.orders.add(order, Box::new(done));
                let connection = server.connection;
                connection.into_iter().for_each(|connection| self.wake(connection));
                return;
            }
            _ => Status::CSNOTPRESENT,
        };
        done(status, self);
    }

    /// Returns the numbers of the chunkservers that have registered with all their chunks.
    pub fn chunkservers(&self) -> Vec<u16> {
        let registered = |(_, server): &(u16, &Chunkserver)| server.state == State::Registered;
        self.chunkservers.iter().filter(registered).map(|(csid, _)| csid).collect()
    }

    /// Returns how many bytes can be written on the chunkservers that are connected.
    pub fn space(&self) -> u64 {
        let connected = self.chunkservers.iter().filter(|(_, it)| it.state.is_connected());
        connected.map(|(_, it)| it.space.total.saturating_sub(it.space.used)).sum()
    }

    /// Notes that a chunkserver no longer has a copy of a chunk that can be used.
    pub fn forget_copy(&mut self, chunk: ChunkId, csid: u16) {
        self.chunks.lost(chunk, csid);
    }

    /// Returns how many orders were under way at once at most for a chunkserver.
    pub fn orders_most(&self, csid: u16) -> usize {
        self.chunkservers.get(csid).map_or(0, |server| server.orders.under_way_most)
    }

    /// Ends the connections of chunkservers that do not answer an order.
    pub(super) fn check_orders(&mut self, now: Instant) {
        let limit = self.options.order_timeout;
        let late = |(csid, server): (&u16, &Chunkserver)| {
            let order = server.orders.late(limit, now)?;
            Some((*csid, server.place, server.connection?, order))
        };
        let late: Vec<_> = self.chunkservers.known.iter().filter_map(late).collect();
        for (csid, place, connection, order) in late {
            log::warn!("chunkserver {csid} at {place}: closed: no answer to {order:?}");
            self.close(connection);
        }
    }
}
