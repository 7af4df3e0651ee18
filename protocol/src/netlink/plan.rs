//! What a program wants to know, and which messages tell it.

use super::message::MessageKind;

/// What messages are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Network interfaces.
    Links,
    /// Their addresses.
    Addresses,
    /// Where packets go.
    Routes,
    /// The addresses of hardware of other machines.
    Neighbours,
}

impl Topic {
    /// All of them, in the order in which they are asked for: what is mentioned comes before what mentions
    /// it.
    pub const ALL: [Self; 4] = [Self::Links, Self::Addresses, Self::Routes, Self::Neighbours];

    /// Returns the request for everything about it.
    pub(super) const fn request(self) -> MessageKind {
        match self {
            Self::Links => MessageKind::GET_LINK,
            Self::Addresses => MessageKind::GET_ADDRESS,
            Self::Routes => MessageKind::GET_ROUTE,
            Self::Neighbours => MessageKind::GET_NEIGHBOUR,
        }
    }

    /// Returns the multicast groups that tell changes, as a mask (`RTNLGRP_LINK` and others,
    /// `linux/rtnetlink.h`; `netlink(7)`).
    const fn groups(self) -> u32 {
        match self {
            Self::Links => 1,
            Self::Addresses => 1 << 4 | 1 << 8,
            Self::Routes => 1 << 6 | 1 << 10,
            Self::Neighbours => 1 << 2,
        }
    }

    /// Returns what the keys of its entries begin with.
    pub(super) const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Links => &[Self::Links as u8],
            Self::Addresses => &[Self::Addresses as u8],
            Self::Routes => &[Self::Routes as u8],
            Self::Neighbours => &[Self::Neighbours as u8],
        }
    }

    /// Returns whether a change of it may end routes, which the kernel does not tell.
    pub(super) const fn may_end_routes(self) -> bool {
        matches!(self, Self::Links | Self::Addresses)
    }

    /// Returns its name, in the plural.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Addresses => "addresses",
            Self::Routes => "routes",
            Self::Neighbours => "neighbours",
        }
    }
}

/// Whether something is there or was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    Here,
    /// It was removed.
    Gone,
}

/// Returns what a message is about, and what it says about it. `None` if it is none of the topics.
pub(super) const fn subject(kind: MessageKind) -> Option<(Topic, Presence)> {
    Some(match kind {
        MessageKind::NEW_LINK => (Topic::Links, Presence::Here),
        MessageKind::DELETE_LINK => (Topic::Links, Presence::Gone),
        MessageKind::NEW_ADDRESS => (Topic::Addresses, Presence::Here),
        MessageKind::DELETE_ADDRESS => (Topic::Addresses, Presence::Gone),
        MessageKind::NEW_ROUTE => (Topic::Routes, Presence::Here),
        MessageKind::DELETE_ROUTE => (Topic::Routes, Presence::Gone),
        MessageKind::NEW_NEIGHBOUR => (Topic::Neighbours, Presence::Here),
        MessageKind::DELETE_NEIGHBOUR => (Topic::Neighbours, Presence::Gone),
        _ => return None,
    })
}

/// What a program wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Links.
    pub links: bool,
    /// Addresses.
    pub addresses: bool,
    /// Routes, of all tables.
    pub routes: bool,
    /// Neighbours.
    pub neighbours: bool,
}

impl Selection {
    /// Everything.
    pub const ALL: Self = Self { links: true, addresses: true, routes: true, neighbours: true };
    /// Nothing, to add to.
    pub const NONE: Self =
        Self { links: false, addresses: false, routes: false, neighbours: false };

    /// Returns whether a topic is selected.
    pub const fn has(self, topic: Topic) -> bool {
        match topic {
            Topic::Links => self.links,
            Topic::Addresses => self.addresses,
            Topic::Routes => self.routes,
            Topic::Neighbours => self.neighbours,
        }
    }

    /// Returns the multicast groups that a socket has to join, as the mask of `struct sockaddr_nl`. For
    /// routes, these include those of links and addresses: the kernel does not tell that a route has ended
    /// with its link or its source address.
    pub fn groups(self) -> u32 {
        let is_needed = |topic: &Topic| self.has(*topic) || self.routes && topic.may_end_routes();
        Topic::ALL.iter().filter(|it| is_needed(it)).fold(0, |all, it| all | it.groups())
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self::ALL
    }
}
