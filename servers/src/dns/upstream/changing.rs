//! Upstreams that are replaced while the server runs.

use std::net::SocketAddr;

use super::engine::{Engine, Ticket};
use super::flight::Next;
use super::server::Server;

/// How many upstreams are known at the same time. Those that are no longer asked are still known, with
/// what was learned of them.
const SERVERS_MAX: usize = 256;

impl Engine {
    /// Replaces the upstreams of a group, if there are some: without any, the old ones are better than
    /// none. Returns whether they are others than before. What is being asked goes on.
    ///
    /// # Errors
    /// When too many upstreams have been known since the start.
    pub(in crate::dns) fn replace(
        &mut self,
        group: usize,
        addresses: &[SocketAddr],
    ) -> Result<bool, String> {
        let mut places = Vec::with_capacity(addresses.len());
        for address in addresses {
            let known = self.servers.iter().position(|it| it.address == *address);
            if known.is_none() && self.servers.len() == SERVERS_MAX {
                return Err(format!(
                    "more than {SERVERS_MAX} upstreams were named since the start"
                ));
            }
            places.push(known.unwrap_or_else(|| {
                self.servers.push(Server::new(*address));
                self.ports.add_upstream();
                self.servers.len() - 1
            }));
        }
        places.sort_unstable();
        places.dedup();
        if places.is_empty() || self.groups[group] == places {
            return Ok(false);
        }
        self.groups[group] = places;
        for upstream in 0..self.servers.len() {
            let is_asked = self.groups.iter().any(|group| group.contains(&upstream));
            self.ports.set_asked(upstream, is_asked);
        }
        Ok(true)
    }

    /// Goes on after a question over TCP was not accepted: when an attempt over UDP would count as lost.
    pub(in crate::dns) fn refused_over_tcp(&mut self, ticket: Ticket) {
        let flight = self.flights.get_mut(ticket.flight).filter(|it| it.serial == ticket.serial);
        let Some(flight) = flight else { return };
        let Some(attempt) = flight.attempts.get_mut(ticket.attempt) else { return };
        attempt.is_pending = false;
        let (upstream, at) = (attempt.upstream, attempt.sent + flight.pause);
        self.servers[upstream].counts.failed += 1;
        self.schedule(ticket.flight, Next::Retry, at);
    }
}
