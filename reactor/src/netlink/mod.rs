//! The links, addresses, routes and neighbours of this machine, as a source of the loop.

mod interface;
mod socket;
mod watch;

pub use interface::{InterfaceAddress, InterfaceEvent};
pub use watch::NetworkOptions;
