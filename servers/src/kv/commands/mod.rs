//! The commands: a file for each group, as Redis groups them.
//!
//! Each function belongs to a row of the table (`kv/table.rs`). It is called after `kv/dispatch.rs`
//! has checked the request, so the number of arguments is right.

pub(crate) mod connection;
pub(crate) mod hashes;
pub(crate) mod info;
pub(crate) mod keys;
pub(crate) mod lists;
pub(crate) mod pubsub;
pub(crate) mod server;
pub(crate) mod sets;
pub(crate) mod strings;
pub(crate) mod transactions;
