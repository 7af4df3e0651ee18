//! Passing requests on to other servers.
//!
//! A request that is passed on is an [`Exchange`] (`exchange`): two pipes with a limit, and the heads.
//! The session of the client (`client`) fills one pipe and empties the other, and that of the
//! connection to the other server (`upstream`) does the reverse. Each wakes the other. After a change
//! of protocol, both relay bytes (`tunnel`). A session cannot open a connection, so a source of its own
//! does (`dialer`). `fields` says which fields pass.

pub(crate) mod client;
mod dialer;
mod exchange;
mod fields;
mod tunnel;
mod upstream;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use protocol::http::{IdleOptions, IdlePool, Status};
use protocol::{ConnectionId, Effects};
use reactor::Location;

use super::args::WebArgs;
use super::path::RequestPath;

pub(crate) use dialer::Dialer;
pub(crate) use exchange::{Exchange, ExchangeId};
pub(crate) use fields::{Origin, ends_here};
pub use tunnel::Tunnel;

/// A path below which requests are passed on.
#[derive(Debug)]
pub(crate) struct Route {
    path: String,
    pub(crate) target: Location,
    /// Open connections, and those that are being made.
    connections: usize,
}

/// The requests that are passed on, and the connections for them.
pub(crate) struct Proxy {
    /// The longest path first.
    pub(crate) routes: Vec<Route>,
    exchanges: HashMap<ExchangeId, Exchange>,
    next: ExchangeId,
    /// Connections that are kept, by the number of their route.
    idle: IdlePool<usize, ConnectionId>,
    /// The exchanges of connections that were idle and have not begun with them.
    assigned: HashMap<ConnectionId, ExchangeId>,
    /// Exchanges that need a new connection, and their routes.
    orders: VecDeque<(ExchangeId, usize)>,
    /// The source that opens connections.
    dialer: Option<ConnectionId>,
    connections_max: usize,
    pub(crate) connect_timeout: Duration,
    /// How long the other server may be silent.
    pub(crate) timeout: Duration,
    /// A client that has ended its stream still gets its response.
    pub(crate) allows_half_close: bool,
}

impl Proxy {
    pub(crate) fn new(args: &WebArgs) -> Self {
        let mut routes: Vec<Route> = args
            .proxy
            .iter()
            .map(|(path, target)| Route {
                path: path.clone(),
                target: target.clone(),
                connections: 0,
            })
            .collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        let idle = IdlePool::new(IdleOptions {
            per_key_max: args.proxy_idle,
            total_max: args.proxy_idle.saturating_mul(routes.len()),
            expiry: args.proxy_keep,
        });
        Self {
            routes,
            exchanges: HashMap::new(),
            next: 0,
            idle,
            assigned: HashMap::new(),
            orders: VecDeque::new(),
            dialer: None,
            connections_max: args.proxy_connections,
            connect_timeout: args.proxy_connect_timeout,
            timeout: args.proxy_timeout,
            allows_half_close: args.proxy_half_close,
        }
    }

    /// Returns the number of the route for a path.
    pub(crate) fn route_of(&self, path: &RequestPath) -> Option<usize> {
        self.routes.iter().position(|route| path.is_below(&route.path))
    }

    /// Says which source opens connections.
    pub(crate) fn set_dialer(&mut self, dialer: ConnectionId) {
        self.dialer = Some(dialer);
    }

    /// Begins an exchange, on a connection that is kept or on a new one. Returns `None` if there are
    /// too many connections.
    pub(crate) fn begin(
        &mut self,
        exchange: Exchange,
        now: Instant,
        effects: &mut Effects,
    ) -> Option<ExchangeId> {
        let id = self.next;
        let route = exchange.route;
        if let Some(connection) = self.idle.take(&route, now) {
            self.exchanges.insert(id, Exchange { upstream: Some(connection), ..exchange });
            self.assigned.insert(connection, id);
            effects.wake(connection);
        } else {
            if self.routes[route].connections >= self.connections_max {
                return None;
            }
            self.exchanges.insert(id, exchange);
            self.order(id, route, effects);
        }
        self.next += 1;
        Some(id)
    }

    /// Asks for a new connection.
    fn order(&mut self, id: ExchangeId, route: usize, effects: &mut Effects) {
        self.routes[route].connections += 1;
        self.orders.push_back((id, route));
        if let Some(dialer) = self.dialer {
            effects.wake(dialer);
        }
    }

    pub(crate) fn exchange(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        self.exchanges.get_mut(&id)
    }

    /// Ends an exchange for the client. A connection that is not through with it is closed.
    pub(crate) fn end(&mut self, id: ExchangeId, effects: &mut Effects) {
        let Some(exchange) = self.exchanges.remove(&id) else { return };
        if let Some(upstream) = exchange.upstream {
            self.assigned.remove(&upstream);
            effects.close(upstream);
        }
    }

    /// Forgets an exchange, whatever becomes of its connections.
    fn remove(&mut self, id: ExchangeId) {
        self.exchanges.remove(&id);
    }

    /// Ends an exchange as a failure, of which the client is told.
    fn fail(&mut self, id: ExchangeId, status: Status, effects: &mut Effects) {
        if let Some(exchange) = self.exchanges.get_mut(&id) {
            exchange.upstream = None;
            exchange.failure = Some(status);
            effects.wake(exchange.client);
        }
    }

    /// Keeps a connection that is through with its exchange.
    fn keep(
        &mut self,
        route: usize,
        connection: ConnectionId,
        now: Instant,
        effects: &mut Effects,
    ) {
        if let Some(excess) = self.idle.put(route, connection, now) {
            effects.close(excess);
        }
    }

    /// Takes the exchange of a connection that was idle.
    fn take_assigned(&mut self, connection: ConnectionId) -> Option<ExchangeId> {
        self.assigned.remove(&connection)
    }

    /// Counts a connection that has closed.
    fn count_closed(&mut self, route: usize) {
        self.routes[route].connections -= 1;
    }

    /// Forgets a connection that ends. Returns an exchange that it was to begin with.
    fn forget(&mut self, route: usize, connection: ConnectionId) -> Option<ExchangeId> {
        self.idle.remove(&route, |it| *it == connection);
        self.assigned.remove(&connection)
    }

    /// Takes a connection that was idle for too long.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<ConnectionId> {
        self.idle.expire(now)
    }
}
