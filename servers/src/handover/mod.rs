//! A restart that no client notices: the running program starts a new one and gives it the listening
//! sockets and the connections (P11).
//!
//! ```text
//! old program                                   new program
//! SIGUSR2: starts it  ───────────────────────>  connects to the socket named in MYEVENT_HANDOVER
//! Hello, Socket ..., AllSockets  ────────────>  takes the sockets, makes its loop
//!                     <───────────────────────  Ready
//! accepts nothing more; Begin  ──────────────>  accepts
//! Connection ...  ───────────────────────────>  goes on with it
//!                     <───────────────────────  Taken or Refused, for each
//! Done; finishes what has stayed, and ends
//! ```
//!
//! Whatever fails before the end, the old program goes on with what the new one has not taken. Each
//! side checks that the other is the process that it expects, or of the same user.

mod channel;
mod new;
mod old;
mod wire;

pub(crate) use new::{Given, Predecessor};
pub(crate) use old::Handover;
pub(crate) use wire::Traits;

/// The variable that names the socket of the old program to the new one.
const VARIABLE: &str = "MYEVENT_HANDOVER";
