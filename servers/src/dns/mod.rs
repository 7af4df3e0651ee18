//! A DNS forwarder: it answers what it knows, and asks other servers, its upstreams, for the rest.
//!
//! A question goes
//!
//! 1. to `front`, which reads it from a datagram or a connection, and refuses what is not allowed,
//! 2. to `local`, which answers what hosts files, options and block lists say, and to `cache`, which
//!    has earlier answers,
//! 3. to `upstream`, which asks one of the upstreams, and another one when the first takes long,
//! 4. back to `front`, which turns the answer of the upstream into that for the client.
//!
//! `process_secrets` has what all loops of the process need to know their own cookies and questions.
//! `interfaces` has the sockets on the addresses of network interfaces, which come and go.
//!
//! The state is one value, [`Dns`] (`app`), which the loop lends to every call. `args` has what the
//! operator has said. The server validates no signatures: it passes AD, CD and DO on.

mod app;
mod args;
mod cache;
#[cfg(test)]
mod costs;
mod files;
mod following;
mod front;
mod interfaces;
mod local;
mod lower_name;
mod process_secrets;
mod upstream;

#[cfg(fuzzing)]
pub use local::check_local_files;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use protocol::Conversation;
use protocol::Limits;
use protocol::dns::{OverTcp, OverUdp};
use reactor::LoopLimits;

use crate::{Application, Legacy, Server, ServerArgs};

pub use app::Dns;
pub use args::DnsArgs;
pub use front::{DatagramFront, StreamFront};

const ABOUT: &str =
    "Answers questions of the Domain Name System: it forwards them to other servers";

/// The name, the description and the default addresses of the server.
pub const SERVER: Server = Server {
    name: "dns",
    about: ABOUT,
    address: "udp://127.0.0.1:53 tcp://127.0.0.1:53",
    datagram_port: Some(53),
};

/// The limits of one connection, and of the socket for datagrams of the clients.
const LIMITS: Limits = Limits {
    // A message over TCP, and its length.
    message_size_max: 2 + u16::MAX as usize,
    ..Limits::DEFAULT
};

/// Under load, several questions coalesce: they are received and answered by one call, and no client has to
/// wake the server. The loop decides whether that pays. With 100 questions in flight, 80 us save a fifth of the
/// processor time beside 5 us, with no fewer answers; with 50 in flight, longer sleeps take answers away.
const LOOP_LIMITS: LoopLimits =
    LoopLimits { coalesce_for: Duration::from_micros(80), ..LoopLimits::DEFAULT };

/// Builds the server from its arguments.
///
/// # Errors
/// One sentence that says what is wrong with them, such as no upstream, or that the system has no
/// random numbers.
pub fn application(
    _common: &ServerArgs,
    own: &DnsArgs,
) -> io::Result<Application<Dns, Conversation<OverTcp, StreamFront>>> {
    let state = Dns::new(own)?;
    let descriptors = state.descriptors();
    let pipelined_max = own.pipelined_max;
    let application = Application {
        state,
        limits: LIMITS,
        loop_limits: LOOP_LIMITS,
        // Two for each watch of files.
        descriptors: descriptors + 4,
        own_connections: descriptors,
        shared: None,
        legacy: Some(Legacy { save: process_secrets::save, restore: process_secrets::restore }),
        session: Rc::new(move |peer| {
            Conversation::new(OverTcp::new(), StreamFront::new(peer, pipelined_max))
        }),
        datagrams: None,
        start: app::start,
        reload: Some(app::reload),
    };
    Ok(application.with_datagrams(|| (OverUdp, DatagramFront::default())))
}
