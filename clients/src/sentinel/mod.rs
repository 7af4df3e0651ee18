//! Sentinels: programs that watch masters of Redis, and agree on another master when one is down.
//!
//! [`Sentinels`] follows a master on the loop, and a [`MasterClient`] always talks to it.
//!
//! The parts that perform no I/O: [`Report`], [`Role`], [`Replication`], [`Hello`], [`Switch`],
//! [`Vote`] and [`Event`] are what sentinels and servers say. An [`Election`] decides which of the addresses that
//! several sentinels name is the master, though some of them are dead, late or wrong. A [`View`] puts
//! together what all of them say, for a monitor.
//!
//! <https://redis.io/docs/latest/develop/reference/sentinel-clients/> describes what a client has to
//! do.

mod election;
mod failover;
mod follow;
mod keeper;
mod message;
mod options;
mod place;
mod report;
mod role;
#[cfg(test)]
mod samples;
mod view;

use std::fmt;

pub use election::{Claim, Election, Verdict};
pub use follow::{MasterClient, Sentinels};
pub use message::{
    Event, HELLO_CHANNEL, Hello, PROMOTION_CHANNEL, SWITCH_CHANNEL, Switch, VOTE_CHANNEL, Vote,
};
pub use options::SentinelOptions;
pub use place::Place;
pub use report::{Flags, Report, parse_address};
pub use role::{Copied, Replication, Role};
pub use view::{Figures, Kind, Row, State, Status, View};

/// A sentinel or a server has said something that cannot be what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError(pub(crate) &'static str);

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ParseError {}
