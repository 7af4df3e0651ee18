//! The side that clients talk to.

mod session;

pub(super) use session::ClientSession;
