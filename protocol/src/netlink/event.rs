//! What a follower reports.

use std::error::Error;

use super::{Address, BridgeEntry, Link, Neighbour, Presence, Route};

/// What happened to one link, address, route or neighbour.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<T> {
    /// It is there: it is new, or was there when the follower began.
    Added(T),
    /// It is different now.
    Changed {
        /// How it was.
        before: T,
        /// How it is.
        now: T,
    },
    /// The kernel has announced it again, with nothing different that a view has.
    Repeated(T),
    /// It is no longer there.
    Removed(T),
    /// The kernel says that it is no longer there, but it was not known: it was never announced, as an IPv6
    /// address that is still being checked, or it was a part of something, as one of several next hops.
    Unannounced(T),
}

impl<T> Change<T> {
    /// Returns it as the last message had it.
    pub const fn subject(&self) -> &T {
        match self {
            Self::Added(it)
            | Self::Changed { now: it, .. }
            | Self::Repeated(it)
            | Self::Removed(it)
            | Self::Unannounced(it) => it,
        }
    }
}

/// What a [`Follower`](super::Follower) reports.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A link has changed.
    Link(Change<Link<'a>>),
    /// An address has changed.
    Address(Change<Address<'a>>),
    /// A route has changed.
    Route(Change<Route<'a>>),
    /// A neighbour has changed.
    Neighbour(Change<Neighbour<'a>>),
    /// What a link takes part in has changed: a message of another family than that of links, such as one
    /// about the port of a bridge (`AF_BRIDGE`). It is passed on, and no part of the state.
    Part(Link<'a>, Presence),
    /// A bridge has learned or forgotten an address of hardware. It is passed on, and no part of the
    /// state: what passes through a bridge changes it all the time, and it may know tens of thousands.
    BridgeEntry(BridgeEntry<'a>, Presence),
    /// Everything that there was has been reported: the known state is that of the kernel. Changes
    /// follow. It comes once at the beginning, and after each [`Overrun`](Self::Overrun).
    Complete,
    /// Messages were lost, since changes came faster than they were read. Changes that follow, in any
    /// order, lead from the known state to that of the kernel.
    Overrun,
    /// The driver has stopped following, for this reason. It is the last event.
    Ended(&'a (dyn Error + 'static)),
}
