//! A restart that no client notices: the running program starts a new one and gives it the listening
//! sockets and the connections (P11).
//!
//! ```text
//! old program                                   new program
//! SIGUSR2: starts it  ───────────────────────>  connects to the socket named in MYEVENT_HANDOVER
//! Hello, Legacy, Socket ..., AllSockets  ────>  takes the sockets, makes its loops
//!                     <───────────────────────  Ready
//! accepts nothing more; Begin  ──────────────>  accepts
//! Connection ...  ───────────────────────────>  restores it
//!                     <───────────────────────  Taken or Refused, for each; then goes on with it
//! Done; finishes what has stayed, and ends
//! ```
//!
//! Connections that share a state go with it, all or none ([`together`]):
//!
//! ```text
//! accepts nothing more, freezes all
//! Piece ..., Connection ..., AllConnections ─>  restores the state, then the connections
//!                     <───────────────────────  Refused, for some; Loaded
//! Begin; closes what was refused, and ends  ─>  serves
//! ```
//!
//! Whatever fails before the end, the old program goes on with what the new one has not taken. A signal
//! to stop waits for the end, in both programs ([`conclusion`]). Each side checks that the other is the process that it expects, or of the same user.
//!
//! In each program, one loop talks to the other program: the only one, or that which watches over
//! several. It asks the loops that serve, and they answer ([`order`]), so the number of loops and the
//! way in which they accept may differ between the two programs.

mod attempt;
mod channel;
mod conclusion;
mod launch;
mod loops;
mod new;
mod old;
mod order;
mod sockets;
mod successor;
mod together;
mod wire;

pub(crate) use launch::Launch;
pub(crate) use loops::{Loops, Manner, Whole};
pub(crate) use new::{Inheritance, Predecessor};
pub(crate) use old::Handover;
pub(crate) use order::{Order, Sockets, SocketsOrder, line, obey, obey_for_sockets};
pub(crate) use sockets::{AcceptorSockets, Given, Traits};
pub(crate) use together::Household;
#[cfg(fuzzing)]
pub use wire::handover_frames;

/// The variable that names the socket of the old program to the new one.
const VARIABLE: &str = "MYEVENT_HANDOVER";
