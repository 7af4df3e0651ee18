//! A hand-rolled reactor for Linux: an edge-triggered epoll loop, a slab of sources, idle limits
//! and timers, driving raw handlers or sans-IO protocol sessions.
//!
//! - A [`Reactor`] owns the sources, the application's state, and turns until it is stopped.
//! - A [`Handler`] is what one source does; [`Cx`] is what it is lent of the loop, and
//!   [`LoopCx`] the part of it that everything else has.
//! - A [`Listener`] accepts connections; a [`Stream`] drives a `protocol::Session` over one.
//! - A [`Backend`] tells what is ready: epoll, edge- or level-triggered, poll, or select.
//! - A [`Remote`] reaches a loop from other threads.

#[cfg(not(target_os = "linux"))]
compile_error!("reactor is for Linux only: it is built on epoll, eventfd and accept4");

mod acceptor;
mod address;
mod audit;
mod backend;
mod backoff;
mod callbacks;
mod core;
mod counters;
mod cx;
mod files;
mod forked;
mod gathering;
mod handler;
mod limits;
mod listener;
mod loop_cx;
mod options;
mod patience;
mod reactor;
mod readiness;
mod remote;
mod socket_file;
mod sources;
mod stream;
#[allow(unsafe_code)] // The only place that may: one call a block, each with its reason.
mod sys;
pub mod testing;
mod timers;
mod token;
mod trim;
mod turn;
mod wait;
mod wheel;

pub use acceptor::Accepted;
pub use address::{Address, AddressError, Location};
pub use backend::{BACKEND_VARIABLE, Backend, BackendKind, Event, Trigger, UnknownBackend};
pub use callbacks::Signal;
pub use counters::Counters;
pub use cx::{Cx, Inside, LoopCx, Outside};
pub use forked::Forked;
pub use handler::{Expired, Handler, Next, Reason, Timeout};
pub use limits::LoopLimits;
pub use listener::Listener;
pub use options::{ConnectOptions, ListenOptions, TcpOptions};
pub use patience::Coverage;
pub use reactor::Reactor;
pub use readiness::{Interest, Readiness};
pub use remote::{PostError, Remote};
pub use sources::{Registration, Role};
pub use stream::Stream;
pub use sys::raise_descriptor_limit;
pub use token::{Tag, TimerId, Token};
