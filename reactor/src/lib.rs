//! An event loop for Linux: edge-triggered epoll, timers, idle limits and signals on one thread,
//! driving handlers of your own or the sans-IO sessions of [`protocol`].
//!
//! A server that answers every line in upper case:
//!
//! ```
//! use protocol::codecs::Lines;
//! use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
//! use reactor::{ListenOptions, Listener, Reactor, Stream};
//!
//! struct Shout;
//!
//! impl<A> Service<Lines, A> for Shout {
//!     fn call(
//!         &mut self,
//!         line: &mut [u8],
//!         reply: &mut Reply<'_, Lines>,
//!         _context: &mut Context<'_, A>,
//!     ) -> Flow {
//!         line.make_ascii_uppercase();
//!         reply.send(line);
//!         Flow::Continue
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut reactor = Reactor::new(())?;
//! let listener = Listener::bind(&"127.0.0.1:0".parse()?, &ListenOptions::default())?;
//! Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
//!     Conversation::new(Lines::default(), Shout)
//! })?;
//! # reactor.cx().after(std::time::Duration::ZERO, |cx| cx.stop())?;
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! - [`Reactor`] owns the sources and the application state, and runs the loop.
//! - [`Stream`] drives a session over a connection. [`Listener`] accepts connections, [`Connector`]
//!   dials them.
//! - [`Datagrams`] drives a codec and a service over a [`DatagramSocket`], of UDP or Unix.
//! - A [`Client`] sends requests to a server and outlives its connections. A [`Pool`] has several.
//! - [`Handler`] is a source of your own, for any descriptor or none. The loop lends it a [`Cx`],
//!   which does all I/O. Code that belongs to no source gets a [`LoopCx`].
//! - [`Cx::after`], [`Cx::every`] and [`Cx::set_timer`] are timers; [`Cx::on_signals`] delivers
//!   signals.
//! - A [`Child`] is a process that the loop watches. [`Cx::send_descriptors`] passes descriptors to
//!   another process.
//! - [`Cx::watch_network`] follows the links, addresses, routes and neighbours of this machine, and
//!   [`Cx::watch_interface`] the addresses of one network interface.
//! - [`Remote`] posts closures to a loop from other threads; a [`Waker`] wakes one of its sources;
//!   a [`channel`] brings it messages.
//! - A [`ThreadPool`] runs what blocks or takes long. An [`Offload`] hands it over for a service, which
//!   is resumed with the result.
//! - A [`Group`] is several loops on threads of their own.
//! - [`LoopLimits`] has every limit of a loop, and [`Counters`] what it has done.
//! - [`Backend`] reports readiness: epoll (edge- or level-triggered), poll, or select. The
//!   environment variable `REACTOR_BACKEND` chooses one.
//! - [`watch`] has sources that watch files and directories.
//! - [`sim`] runs programs on simulated hosts: virtual time, a network with faults, and scripts that
//!   dictate what a loop is told.
//!
//! # Errors and panics
//!
//! An error of a handler ends its source and never the loop. A panic passes through
//! [`Reactor::run`]; a program that catches it may run the loop again, without that source.
//!
//! # The numbers in the comments
//!
//! Comments cite laws of the loop ("law 1") and requirements ("P12"). The book explains both: laws
//! in `docs/src/architecture.md`, requirements in `docs/src/requirements.md`.

#[cfg(not(target_os = "linux"))]
compile_error!("reactor is for Linux only: it is built on epoll, eventfd and accept4");

mod backend;
pub mod blocking;
mod completion;
mod group;
mod kernel;
#[cfg(all(loom, test))]
mod models;
mod net;
mod netlink;
#[cfg(not(planted))]
mod planted;
#[cfg(planted)]
#[doc(hidden)]
pub mod planted;
mod pool;
mod process;
mod reactor;
pub mod sim;
mod source;
mod sync;
#[allow(unsafe_code)] // The only place that may: one call a block, each with its reason.
mod sys;
mod time;
mod uring;
pub mod watch;

pub use backend::{
    BACKEND_VARIABLE, Backend, BackendChoice, BackendKind, ChosenBy, Event, Trigger, UnknownBackend,
};
pub use completion::{Completion, Exchanged, Left, Storage};
pub use group::{
    Accept, Balance, Ended, Entrances, Group, GroupListener, GroupOptions, Member, Outcome,
    Pinning, WhenOneFails,
};
pub use kernel::{now, time_of_day};
pub use net::abstract_name::AbstractName;
pub use net::acceptor::Accepted;
pub use net::address::{Address, AddressError, Transport};
pub use net::client::{
    Client, ClientOptions, ClientState, NotSent, Pool, Unanswered, WhenIdle, WhenStopping,
};
pub use net::connector::Connector;
pub use net::connector::error::{ConnectError, ConnectErrorKind, FailedAttempt};
pub use net::connector::target::Target;
pub use net::credentials::Credentials;
pub use net::datagram_socket::{DatagramOptions, DatagramSocket};
pub use net::datagrams::Datagrams;
pub use net::listener::Listener;
pub use net::location::Location;
pub use net::options::{ConnectOptions, Device, ListenOptions, TcpOptions};
pub use net::resolver::error::{ResolveError, ResolveErrorKind};
pub use net::resolver::query::{Hints, IpFamily, IpProtocol, Query, SocketType};
pub use net::resolver::resolved::{AddressInfo, Resolved};
pub use net::resolver::{Resolver, ResolverOptions};
pub use net::socket_file::FileIdentity;
pub use net::stream::Stream;
pub use netlink::{InterfaceAddress, InterfaceEvent, NetworkOptions};
pub use pool::{
    Job, JobError, Offload, Shutdown, SubmitError, SubmitErrorKind, ThreadPool, ThreadPoolCounts,
    ThreadPoolOptions,
};
pub use process::child::{Child, ChildOptions, WhenLeft};
pub use process::fork::{Fork, fork};
pub use process::unavailable::PidfdUnavailable;
pub use reactor::Reactor;
pub use reactor::backoff::{Folded, Folding};
pub use reactor::channel::{Receiver, SendError, SendErrorKind, Sender, channel};
pub use reactor::counters::Counters;
pub use reactor::departures::Departure;
pub use reactor::forked::Forked;
pub use reactor::hooks::{Found, Hook};
pub use reactor::limits::LoopLimits;
pub use reactor::patience::Coverage;
pub use reactor::priority::Priority;
pub use reactor::remote::{PostError, Remote};
pub use reactor::waker::Waker;
pub use source::callbacks::{Signal, SignalSender};
pub use source::cx::{Cx, Inside, LoopCx, Outside};
pub use source::handler::{Expired, Handler, Reason, Timeout};
pub use source::passing::{DESCRIPTORS_MAX, Passed, receive_descriptors, send_descriptors};
pub use source::readiness::{Interest, Readiness};
pub use source::registration::{Registration, Role};
pub use source::token::{Tag, TimerId, Token};
pub use source::wall::{Clock, Occurrence};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use sys::control_notes;
pub use sys::{inherited_descriptor, raise_descriptor_limit};
pub use time::calendar::cron::{CronError, CronField};
pub use time::calendar::schedule::Schedule;
