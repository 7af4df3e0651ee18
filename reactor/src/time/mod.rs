//! Timers: the wheel that orders them, and the sources that they belong to.

pub(crate) mod timers;
pub(crate) mod wheel;
