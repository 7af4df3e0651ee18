//! A hand-rolled reactor for Linux: an edge-triggered epoll loop, a slab of sources, idle limits
//! and timers, driving raw handlers or sans-IO protocol sessions.
//!
//! - A [`Reactor`] owns the sources, the application's state, and turns until it is stopped.
//! - A [`Handler`] is what one source does; [`Cx`] is what it is lent of the loop, and
//!   [`LoopCx`] the part of it that everything else has.
//! - A [`Listener`] accepts connections and a [`Connector`] dials them; a [`Stream`] drives a
//!   `protocol::Session` over one.
//! - A [`Backend`] tells what is ready: epoll, edge- or level-triggered, poll, or select.
//! - A [`Remote`] reaches a loop from other threads.

#[cfg(not(target_os = "linux"))]
compile_error!("reactor is for Linux only: it is built on epoll, eventfd and accept4");

mod backend;
mod net;
mod reactor;
mod source;
#[allow(unsafe_code)] // The only place that may: one call a block, each with its reason.
mod sys;
pub mod testing;
mod time;

pub use backend::{BACKEND_VARIABLE, Backend, BackendKind, Event, Trigger, UnknownBackend};
pub use net::acceptor::Accepted;
pub use net::address::{Address, AddressError, Location};
pub use net::connector::Connector;
pub use net::listener::Listener;
pub use net::options::{ConnectOptions, ListenOptions, TcpOptions};
pub use net::stream::Stream;
pub use reactor::Reactor;
pub use reactor::counters::Counters;
pub use reactor::forked::Forked;
pub use reactor::limits::LoopLimits;
pub use reactor::patience::Coverage;
pub use reactor::remote::{PostError, Remote};
pub use source::callbacks::Signal;
pub use source::cx::{Cx, Inside, LoopCx, Outside};
pub use source::handler::{Expired, Handler, Reason, Timeout};
pub use source::readiness::{Interest, Readiness};
pub use source::registration::{Registration, Role};
pub use source::token::{Tag, TimerId, Token};
pub use sys::raise_descriptor_limit;
