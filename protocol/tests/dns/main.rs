//! DNS messages: text forms, limits, compression, and messages that try to do harm.

#![cfg(feature = "dns")]

mod differential;
mod hostile;
mod messages;
mod texts;
