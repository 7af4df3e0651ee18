//! The models of the textbook: how a server with blocking sockets serves its connections. All drive the
//! session that the loop drives too.

mod alone;
mod args;
mod children;
mod desk;
mod fork;
mod prefork;
mod threads;

use std::io;
use std::time::Duration;

use log::{info, warn};
use protocol::link::Link;
use protocol::{Limits, Session};
use reactor::blocking::{Driver, Orders, Socket};
use reactor::{Accept, Accepted, Listener};

pub(crate) use args::{Kind, Plan, plan};
pub use args::{Model, ModelArgs};

use crate::Server;
use crate::args::ServerArgs;
use crate::inherited::Inherited;
use crate::listen;
use crate::run::{Setting, listen_on, raise_limit};

/// What every connection is served with.
struct Serving<S> {
    make: fn() -> S,
    limits: Limits,
    /// How long a peer may be silent.
    idle: Option<Duration>,
}

impl<S> Clone for Serving<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Serving<S> {}

impl<S: Session + 'static> Serving<S> {
    /// Serves a connection until it has ended.
    fn serve(&self, accepted: Accepted, orders: &mut impl Orders) {
        let peer = accepted.peer().map_or_else(|| "a local peer".to_owned(), |it| it.to_string());
        match Socket::accepted(accepted) {
            Ok(socket) => self.serve_socket(socket, &peer, orders),
            Err(error) => warn!("the connection of {peer} is not served: {error}"),
        }
    }

    fn serve_socket(&self, socket: Socket, peer: &str, orders: &mut impl Orders) {
        let limits = match self.limits.shared() {
            Ok(limits) => limits,
            Err(error) => return warn!("the connection of {peer} is not served: {error}"),
        };
        let driver = Driver::new(socket, Link::new((self.make)(), limits));
        let reason = driver.serve(&mut (), self.idle, orders);
        log::debug!("the connection of {peer} has ended: {reason}");
    }
}

/// Runs a server that serves connections without a loop, until it is told to stop.
pub(crate) fn serve<S>(
    server: Server,
    args: &ServerArgs,
    kind: Kind,
    make: fn() -> S,
) -> io::Result<()>
where
    S: Session + 'static,
{
    let connections = kind.connections_max(args);
    let args = ServerArgs { max_connections: Some(connections), ..args.clone() };
    let serving = Serving { make, limits: Limits::DEFAULT, idle: args.idle_timeout.limit() };
    let (listeners, places) = listen(server, &args)?;
    raise_limit(&args, kind.descriptors(connections), 1);
    for place in places {
        let setting = Setting { args: &args, backend: args.backend.name() };
        info!("{} listening on {place} with model {kind}, {setting}", server.name);
    }
    match kind {
        Kind::Iterative => alone::run(listeners, serving),
        Kind::Fork => fork::run(listeners, connections, serving),
        Kind::Prefork { workers } => prefork::run(listeners, workers, serving),
        Kind::Thread => threads::run(listeners, connections, None, serving),
        Kind::Pool(options) => threads::run(listeners, connections, Some(options), serving),
    }
}

/// Binds the sockets of a server, which are of streams. Returns their addresses too.
fn listen(server: Server, args: &ServerArgs) -> io::Result<(Vec<Listener>, Vec<String>)> {
    let server = Server { datagram_port: None, ..server };
    let inherited = Inherited::take(Vec::new())?.0;
    let sockets = listen_on(server, args, Accept::default(), None, inherited)?;
    let places = sockets.iter().map(ToString::to_string).collect();
    let mut listeners = Vec::new();
    for socket in sockets {
        if let listen::Kind::Streams { listener, .. } = socket.kind {
            listeners.extend(listener.into_listeners());
        }
    }
    Ok((listeners, places))
}
