//! The addresses of one network interface, as they come and go.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use protocol::netlink::{Address, Change, Event, Network, Selection};

use super::NetworkOptions;
use crate::{Cx, LoopCx, Token};

/// An address of a network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress {
    /// The address.
    pub ip: IpAddr,
    /// The number of the interface if the address is valid on its network alone (IPv6, `fe80::/10`),
    /// otherwise zero.
    pub scope_id: u32,
}

impl InterfaceAddress {
    /// Returns the address of a socket with this port.
    pub fn with_port(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V4(ip) => (ip, port).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.scope_id).into(),
        }
    }

    fn new(address: &Address<'_>) -> Self {
        let is_local = match address.local {
            IpAddr::V4(_) => false,
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        Self { ip: address.local, scope_id: if is_local { address.index } else { 0 } }
    }
}

/// What [`Cx::watch_interface`] reports.
#[derive(Clone, Copy, Debug)]
pub enum InterfaceEvent<'a> {
    /// The interface has this address, and sockets can be bound to it.
    Added(InterfaceAddress),
    /// The interface has this address no more, or is gone.
    Removed(InterfaceAddress),
    /// All addresses that the interface has were reported. It comes once.
    Complete,
    /// The source has ended, for this reason. It is the last event.
    Ended(&'a (dyn std::error::Error + 'static)),
}

impl<A: 'static, P> Cx<'_, A, P> {
    /// Follows the addresses of the network interface with this name: calls `call` for each that it has,
    /// then with [`InterfaceEvent::Complete`], and then whenever one comes or goes. The interface need
    /// not exist yet, may be removed and made again, and may get its name from another one. Closing the
    /// token ends it.
    ///
    /// An IPv6 address that the system still checks for duplicates is reported when that is done: before,
    /// no socket can be bound to it.
    ///
    /// ```
    /// use reactor::{InterfaceEvent, Reactor};
    ///
    /// let mut reactor = Reactor::new(Vec::new())?;
    /// reactor.cx().watch_interface("lo", |event, cx| match event {
    ///     InterfaceEvent::Added(address) => cx.app.push(address.with_port(53)),
    ///     InterfaceEvent::Removed(address) => cx.app.retain(|it| *it != address.with_port(53)),
    ///     InterfaceEvent::Complete => cx.stop(),
    ///     InterfaceEvent::Ended(_) => {}
    /// })?;
    /// reactor.run()?;
    /// println!("{:?}", reactor.app);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`watch_network`](Self::watch_network).
    pub fn watch_interface(
        &mut self,
        name: &str,
        mut call: impl FnMut(InterfaceEvent<'_>, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        let selection = Selection { links: true, addresses: true, ..Selection::NONE };
        let options = NetworkOptions { selection, ..NetworkOptions::default() };
        let mut interface = Interface::new(name);
        self.watch_network(&options, move |event, network, cx| {
            interface.take(&event, network, &mut |event| call(event, cx));
        })
    }
}

/// What was reported of an interface.
struct Interface {
    name: Vec<u8>,
    /// Its number, if there is one with this name.
    index: Option<u32>,
    reported: BTreeSet<InterfaceAddress>,
    is_complete: bool,
}

impl Interface {
    fn new(name: &str) -> Self {
        let name = name.as_bytes().to_vec();
        Self { name, index: None, reported: BTreeSet::new(), is_complete: false }
    }

    fn take(
        &mut self,
        event: &Event<'_>,
        network: &Network,
        call: &mut impl FnMut(InterfaceEvent<'_>),
    ) {
        match event {
            Event::Link(Change::Repeated(_) | Change::Unannounced(_))
            | Event::Route(_)
            | Event::Neighbour(_)
            | Event::Part(..)
            | Event::BridgeEntry(..)
            | Event::Overrun => {}
            Event::Link(change) => {
                let link = change.subject();
                let is_removed = matches!(change, Change::Removed(_));
                if link.name == self.name && !is_removed {
                    self.index = Some(link.index);
                } else if self.index == Some(link.index) {
                    // It is gone, or has another name.
                    self.index = None;
                } else {
                    return;
                }
                self.compare(network, call);
            }
            Event::Address(change) => {
                if Some(change.subject().index) == self.index {
                    self.compare(network, call);
                }
            }
            Event::Complete if !self.is_complete => {
                self.is_complete = true;
                call(InterfaceEvent::Complete);
            }
            Event::Complete => {}
            Event::Ended(reason) => call(InterfaceEvent::Ended(*reason)),
        }
    }

    /// Reports the differences between what was reported and what there is.
    fn compare(&mut self, network: &Network, call: &mut impl FnMut(InterfaceEvent<'_>)) {
        let addresses = self.index.into_iter().flat_map(|index| network.addresses_of(index));
        let usable = addresses.filter(|it| it.flags.is_usable());
        let now: BTreeSet<_> = usable.map(|it| InterfaceAddress::new(&it)).collect();
        for gone in self.reported.difference(&now) {
            call(InterfaceEvent::Removed(*gone));
        }
        for new in now.difference(&self.reported) {
            call(InterfaceEvent::Added(*new));
        }
        self.reported = now;
    }
}
