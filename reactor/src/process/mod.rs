//! Processes: children that a loop watches, and forking.

pub(crate) mod child;
pub(crate) mod fork;
mod left;
pub(crate) mod unavailable;
