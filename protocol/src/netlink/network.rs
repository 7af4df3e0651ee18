//! The state of the network as far as it is known.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;

use super::{Address, Link, Neighbour, Route, Topic};

/// What an entry takes besides its bytes, about: its place in the map and two allocations.
pub(super) const OVERHEAD: usize = 80;

/// The links, addresses, routes and neighbours that a [`Follower`](super::Follower) knows.
#[derive(Debug, Default)]
pub struct Network {
    entries: BTreeMap<Box<[u8]>, Entry>,
    size: usize,
    is_complete: bool,
}

/// A link, an address, a route or a neighbour.
#[derive(Debug)]
pub(super) struct Entry {
    /// What the last message said, which was checked.
    pub(super) body: Box<[u8]>,
    /// The dump that has confirmed it.
    pub(super) seen: u32,
}

impl Network {
    /// Returns the links, by number.
    pub fn links(&self) -> impl Iterator<Item = Link<'_>> {
        self.bodies(Topic::Links).filter_map(|body| Link::parse(body).ok())
    }

    /// Returns the link with this number.
    pub fn link(&self, index: u32) -> Option<Link<'_>> {
        let entry = self.entries.get(&link_key(index)[..])?;
        Link::parse(&entry.body).ok()
    }

    /// Returns the addresses, by the number of their link.
    pub fn addresses(&self) -> impl Iterator<Item = Address<'_>> {
        self.bodies(Topic::Addresses).filter_map(|body| Address::parse(body).ok().flatten())
    }

    /// Returns the addresses of the link with this number.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = Address<'_>> {
        // What the addresses of the link begin with, and those of the next one.
        let [a, b, c, d] = index.to_be_bytes();
        let from = [Topic::Addresses as u8, a, b, c, d];
        let entries = self.entries.range::<[u8], _>((Bound::Included(&from[..]), Bound::Unbounded));
        let own = entries.take_while(move |(key, _)| key.starts_with(&from));
        own.filter_map(|(_, entry)| Address::parse(&entry.body).ok().flatten())
    }

    /// Returns the routes, by family, table and destination.
    pub fn routes(&self) -> impl Iterator<Item = Route<'_>> {
        self.bodies(Topic::Routes).filter_map(|body| Route::parse(body).ok().flatten())
    }

    /// Returns the neighbours, by the number of their link.
    pub fn neighbours(&self) -> impl Iterator<Item = Neighbour<'_>> {
        self.bodies(Topic::Neighbours).filter_map(|body| Neighbour::parse(body).ok().flatten())
    }

    /// Returns whether everything is known: the first dump has ended, and no message was lost since the
    /// last one.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Returns how many bytes it takes, about.
    pub fn size(&self) -> usize {
        self.size
    }

    pub(super) fn set_complete(&mut self, is_complete: bool) {
        self.is_complete = is_complete;
    }

    fn bodies(&self, topic: Topic) -> impl Iterator<Item = &[u8]> {
        self.after(topic.prefix()).map(|(_, entry)| &*entry.body)
    }

    /// Returns the entries whose keys begin with `prefix`.
    pub(super) fn after<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a Entry)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let entries = self.entries.range::<[u8], _>(from).map(|(key, entry)| (&**key, entry));
        entries.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Returns the entries of a topic that follow a key.
    pub(super) fn beyond<'a>(
        &'a self,
        topic: Topic,
        key: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a Entry)> {
        let from = (Bound::Excluded(key), Bound::Unbounded);
        let entries = self.entries.range::<[u8], _>(from).map(|(key, entry)| (&**key, entry));
        entries.take_while(move |(key, _)| key.first() == Some(&(topic as u8)))
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Records that a dump has confirmed an entry.
    pub(super) fn confirm(&mut self, key: &[u8], seen: u32) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.seen = seen;
        }
    }

    /// Stores what a message said, and returns what was there before.
    pub(super) fn put(&mut self, key: Box<[u8]>, body: Box<[u8]>, seen: u32) -> Option<Entry> {
        self.size += key.len() + body.len() + OVERHEAD;
        let key_size = key.len();
        let before = self.entries.insert(key, Entry { body, seen });
        if let Some(before) = &before {
            self.size -= key_size + before.body.len() + OVERHEAD;
        }
        before
    }

    /// Removes an entry, and returns it.
    pub(super) fn take(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.size -= key.len() + entry.body.len() + OVERHEAD;
        Some(entry)
    }
}

/// Returns what tells a link from all others.
pub(super) fn link_key(index: u32) -> [u8; 5] {
    let [a, b, c, d] = index.to_be_bytes();
    [Topic::Links as u8, a, b, c, d]
}

/// Returns what tells an address from all others: IPv6 allows each once on a link, IPv4 once for each
/// network.
pub(super) fn address_key(address: &Address<'_>) -> Vec<u8> {
    let mut key = vec![Topic::Addresses as u8];
    key.extend(address.index.to_be_bytes());
    push_ip(&mut key, Some(address.local));
    if address.local.is_ipv4() {
        key.push(address.prefix_length);
        push_ip(&mut key, address.peer);
    }
    key
}

/// Returns what tells a neighbour from all others.
pub(super) fn neighbour_key(neighbour: &Neighbour<'_>) -> Vec<u8> {
    let mut key = vec![Topic::Neighbours as u8];
    key.extend(neighbour.index.to_be_bytes());
    push_ip(&mut key, Some(neighbour.address));
    key
}

/// Returns what tells a route from all others, and how many bytes of it say which packets the route is for.
pub(super) fn route_key(route: &Route<'_>) -> (Vec<u8>, usize) {
    let mut key = vec![Topic::Routes as u8, route.family];
    key.extend(route.table.0.to_be_bytes());
    key.push(route.destination_length);
    push_ip(&mut key, route.destination);
    key.push(route.source_length);
    push_ip(&mut key, route.source);
    key.push(route.tos);
    key.extend(route.metric.unwrap_or(0).to_be_bytes());
    let place_size = key.len();
    key.push(route.kind);
    key.extend(route.output.unwrap_or(0).to_be_bytes());
    push_ip(&mut key, route.gateway);
    key.extend(route.next_hop.unwrap_or(0).to_be_bytes());
    for hop in route.sorted_hops() {
        key.extend(hop.output.to_be_bytes());
        push_ip(&mut key, hop.gateway);
        key.extend(hop.weight.to_be_bytes());
    }
    (key, place_size)
}

/// Appends an address, so that none begins as another one that is longer does.
fn push_ip(key: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        None => key.push(0),
        Some(IpAddr::V4(address)) => {
            key.push(4);
            key.extend(address.octets());
        }
        Some(IpAddr::V6(address)) => {
            key.push(6);
            key.extend(address.octets());
        }
    }
}
