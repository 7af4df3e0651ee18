//! Which chunkserver a connection is.

use log::info;
use protocol::ConnectionId;
use protocol::mfs::{ChunkserverAbout, Endpoint, Status};

use super::orders::Orders;
use super::{CSID_MAX, Chunkserver, Chunkservers, State};
use crate::mfs::master::app::Master;
use crate::mfs::master::port::Refused;

/// What a connection has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) csid: u16,
    pub(super) epoch: u32,
}

impl Chunkservers {
    /// Returns the number that a chunkserver gets: that which it had before, if no other has it.
    fn number(&self, csid: u16, place: Endpoint) -> Option<u16> {
        let is_other =
            |csid| self.get(csid).is_some_and(|it| it.place != place && it.state.is_connected());
        let known = || self.iter().find(|(_, it)| it.place == place).map(|(csid, _)| csid);
        match csid {
            0 => known().or_else(|| self.lowest_free()),
            csid if is_other(csid) => self.lowest_free(),
            csid => Some(csid),
        }
    }

    fn lowest_free(&self) -> Option<u16> {
        (1..=CSID_MAX).find(|csid| !self.known.contains_key(csid))
    }

    fn next_epoch(&mut self) -> u32 {
        self.epochs = self.epochs.wrapping_add(1);
        self.epochs
    }

    /// Makes room for another one: forgets one that is not connected, if there are too many.
    fn make_room(&mut self, count_max: usize) -> Result<(), Refused> {
        if self.known.len() < count_max {
            return Ok(());
        }
        let gone = self.iter().find(|(_, it)| !it.state.is_connected()).map(|(csid, _)| csid);
        match gone {
            Some(csid) => {
                info!("chunkserver {csid} is forgotten: there are {count_max} others");
                self.known.remove(&csid);
                Ok(())
            }
            None => Err(Refused::new(format!("there are {count_max} chunkservers"))),
        }
    }
}

impl Master {
    /// Registers a chunkserver, and gives it its number. An older connection of the same data port is
    /// closed: it cannot be alive, though it may seem so.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn register_chunkserver(
        &mut self,
        about: &ChunkserverAbout,
        connection: ConnectionId,
    ) -> Result<Registered, Refused> {
        let ChunkserverAbout { version, place, csid, space, .. } = *about;
        if std::net::Ipv4Addr::from(place.ip).is_loopback() || place.port == 0 {
            let text = format!("its data port {place} cannot be reached by others");
            return Err(Refused::new(text));
        }
        // Whatever has this data port, it is this one now.
        let same = |(_, it): &(u16, &Chunkserver)| it.place == place && it.state.is_connected();
        let older = self.chunkservers.iter().find(same).map(|(csid, _)| csid);
        if let Some(csid) = older {
            info!("chunkserver {csid} at {place} has another connection: the older one is closed");
            let older = self.chunkservers.get(csid).and_then(|it| it.connection);
            self.chunkserver_gone(csid);
            older.into_iter().for_each(|connection| self.close(connection));
        }
        let number = self.chunkservers.number(csid, place);
        let csid = number.ok_or_else(|| Refused::new("all numbers are taken"))?;
        if self.chunkservers.get(csid).is_none() {
            self.chunkservers.make_room(self.options.chunkservers_max)?;
        }
        let epoch = self.chunkservers.next_epoch();
        let server = Chunkserver {
            place,
            version,
            labels: 0,
            space,
            load: 0,
            load_state: 1,
            errors: 0,
            state: State::Registering,
            epoch,
            connection: Some(connection),
            orders: Orders::default(),
        };
        self.chunkservers.known.insert(csid, server);
        Ok(Registered { csid, epoch })
    }

    /// Notes that a chunkserver is no longer connected. What it was ordered to do has no result.
    pub(super) fn chunkserver_gone(&mut self, csid: u16) {
        let Some(server) = self.chunkservers.get_mut(csid) else { return };
        server.state = if server.state == State::Leaving { State::Left } else { State::Gone };
        server.connection = None;
        for given in server.orders.take() {
            (given.done)(Status::DISCONNECTED, self);
        }
    }
}
