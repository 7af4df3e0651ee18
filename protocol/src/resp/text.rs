//! What people read and write: the quoting and the output of `redis-cli`.

pub use super::quote::{UnbalancedQuotes, repr, split};
