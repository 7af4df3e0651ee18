//! Timers: the wheel that orders them, and the sources that own them.

pub(crate) mod calendar;
pub(crate) mod timers;
pub(crate) mod wheel;
