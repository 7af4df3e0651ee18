//! The network of this machine as the kernel tells it: messages of routing netlink about links,
//! addresses, routes and neighbours (`netlink(7)`, `rtnetlink(7)`).
//!
//! [`Messages`] separates a datagram into messages, and [`Link`], [`Address`], [`Route`] and [`Neighbour`] are
//! validated views of what such a message is about: all lengths are checked once, and nothing is copied. Numbers are
//! in the byte order of this machine, as the kernel has them.
//!
//! A [`Follower`] keeps up with the kernel: it asks for everything, then reads changes, and asks again
//! when messages were lost. Its [`Network`] is the state that it knows. It performs no I/O;
//! `reactor::NetworkWatch` does that on a loop.
//!
//! ```
//! use protocol::netlink::{Link, Message, MessageKind, Messages, Request};
//!
//! // What a program sends to learn of all links.
//! let request = Request::dump(MessageKind::GET_LINK, 7);
//! let message = Messages::new(&request).next().expect("there is one")?;
//! assert_eq!((message.kind, message.sequence), (MessageKind::GET_LINK, 7));
//! let link = Link::parse(message.body)?;
//! assert_eq!((link.index, link.name), (0, &b""[..]));
//! # Ok::<(), protocol::netlink::MessageError>(())
//! ```

mod address;
mod attributes;
mod error;
mod event;
mod follower;
mod link;
mod message;
mod neighbour;
mod network;
mod plan;
mod request;
mod route;

pub use address::{Address, AddressFlags, Lifetimes};
pub use attributes::{Attribute, Attributes};
pub use error::{Fault, MessageError};
pub use event::{Change, Event};
pub use follower::{FollowError, FollowLimits, Follower, Next};
pub use link::{Link, LinkFlags, OperationalState};
pub use message::{Flags, MESSAGE_HEADER_SIZE, Message, MessageKind, Messages};
pub use neighbour::{BridgeEntry, Neighbour, NeighbourFlags, NeighbourState};
pub use network::Network;
pub use plan::{Presence, Selection, Topic};
pub use request::Request;
pub use route::{Metric, NextHop, Realms, Route, RouteFlags, Scope, Table};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The number of IPv4 among the families of addresses (`AF_INET`).
pub const FAMILY_IPV4: u8 = 2;
/// The number of IPv6 (`AF_INET6`).
pub const FAMILY_IPV6: u8 = 10;
/// The number of bridges (`AF_BRIDGE`).
pub const FAMILY_BRIDGE: u8 = 7;
/// No family, or all (`AF_UNSPEC`).
pub const FAMILY_ANY: u8 = 0;

/// Returns the address of a family that these bytes are.
fn ip_address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        FAMILY_IPV4 => <[u8; 4]>::try_from(bytes).ok().map(|it| Ipv4Addr::from(it).into()),
        FAMILY_IPV6 => <[u8; 16]>::try_from(bytes).ok().map(|it| Ipv6Addr::from(it).into()),
        _ => None,
    }
}
