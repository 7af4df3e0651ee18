//! Several clients that share the load.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::Exchange;
use protocol::link::{Layer, Plain};

use super::{Client, ClientOptions, ClientState, NotSent, Unanswered};
use crate::planted::{self, Planted};
use crate::{Cx, Location, LoopCx};

/// Several [`Client`]s of one or more servers. Each request goes to the one that is likely to answer
/// it first: a client with a connection and the fewest requests pending.
///
/// It is a handle, as a [`Client`] is. How many connections there are follows from
/// [`ClientOptions::when_idle`], and never exceeds the size of the pool for each server:
///
/// - Clients that keep their connections alive make all of them at once. Each asks its server whether
///   it lives ([`Exchange::health`]). A connection whose server does not answer in time is cut. Its
///   client backs off, and comes back once the server accepts a connection, and also opens it where
///   the protocol says so ([`Exchange::open`]).
/// - Clients that let idle connections go make one when all others are busy. A connection that was
///   let go is made again for a request, and for nothing else: nothing asks whether its server lives.
///
/// A client that has failed is avoided as long as another one has a connection. Where clients let
/// idle connections go, the pool connects such a client again while it is used, at the pace of the
/// client's pauses. No request is risked to find out whether a server is back.
///
/// A request stays with its client. If the connection fails before the request was sent, the request
/// waits for the next connection of that client, unless [`ClientOptions::waits`] says otherwise. The
/// order of requests is kept within a client only, so requests that depend on one another belong to
/// one client ([`clients`](Self::clients), [`choose`](Self::choose)), or wait for each other's
/// replies.
pub struct Pool<A, E: Exchange> {
    shared: Arc<Shared<A, E>>,
}

struct Shared<A, E: Exchange> {
    clients: Vec<Client<A, E>>,
    /// Where the next search begins, so that equal clients take turns.
    turn: AtomicUsize,
}

impl<A: 'static, E: Exchange> Pool<A, E> {
    /// Starts `size` clients for each of `targets`. `make` returns the exchange of each client.
    ///
    /// # Errors
    /// When there would be no client, the options cannot be worked with, or the loop is being
    /// dropped.
    pub fn open<P>(
        targets: &[Location],
        size: usize,
        options: ClientOptions,
        make: impl FnMut(&Location) -> E,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Self> {
        Self::open_over(targets, size, |_: &Location| Ok(Plain), options, make, cx)
    }

    /// Starts clients as [`open`](Self::open) does, whose connections have a layer. Each client has
    /// its own copy of `layers`: see [`Client::open_over`].
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_over<L: Layer + 'static, P>(
        targets: &[Location],
        size: usize,
        layers: impl FnMut(&Location) -> io::Result<L> + Clone + 'static,
        options: ClientOptions,
        mut make: impl FnMut(&Location) -> E,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Self> {
        let mut clients = Vec::with_capacity(targets.len().saturating_mul(size));
        for _ in 0..size {
            for target in targets {
                let (exchange, layers) = (make(target), layers.clone());
                let target = Some(target.clone());
                clients.push(Client::open_over(target, layers, exchange, options.clone(), cx)?);
            }
        }
        if clients.is_empty() {
            let text = "a pool needs a target, and at least one client for each";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self { shared: Arc::new(Shared { clients, turn: AtomicUsize::new(0) }) })
    }

    /// Sends a request with one of the clients: see [`Client::call`].
    ///
    /// # Errors
    /// When the client with the fewest requests does not accept it.
    pub fn call(
        &self,
        request: E::Request,
        completion: impl FnOnce(Result<E::Reply, Unanswered>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), NotSent> {
        self.chosen().call(request, completion)
    }

    /// Sends a request with one of the clients: see [`Client::call_within`].
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub fn call_within(
        &self,
        timeout: Duration,
        request: E::Request,
        completion: impl FnOnce(Result<E::Reply, Unanswered>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), NotSent> {
        self.chosen().call_within(timeout, request, completion)
    }

    /// Sends a request from another thread, and blocks until it has its result: see
    /// [`Client::wait`].
    ///
    /// # Errors
    /// When the request has no reply.
    pub fn wait(&self, request: E::Request) -> Result<E::Reply, Unanswered> {
        self.chosen().wait(request)
    }
}

impl<A, E: Exchange> Pool<A, E> {
    /// Chooses the client for the next request: one with a connection and the fewest requests
    /// pending, or else one that is likely to have a connection soon. Equal clients take turns.
    /// Returns its place in [`clients`](Self::clients).
    pub fn choose(&self) -> usize {
        let clients = &self.shared.clients;
        let start = self.shared.turn.fetch_add(1, Ordering::Relaxed) % clients.len();
        let places = (start..clients.len()).chain(0..start);
        places.min_by_key(|place| clients[*place].cost()).unwrap_or(start)
    }

    fn chosen(&self) -> &Client<A, E> {
        &self.shared.clients[self.choose()]
    }

    /// Returns the clients, for hooks and for requests that belong together.
    pub fn clients(&self) -> &[Client<A, E>] {
        &self.shared.clients
    }

    /// Returns how many requests were accepted and are not completed.
    pub fn pending(&self) -> usize {
        self.clients().iter().map(Client::pending).sum()
    }

    /// Returns how many clients have a connection that is open for requests.
    pub fn up(&self) -> usize {
        self.clients().iter().filter(|client| client.state() == ClientState::Up).count()
    }

    /// Ends all clients gracefully: see [`Client::stop_gracefully`].
    pub fn stop_gracefully(&self) {
        self.clients().iter().for_each(Client::stop_gracefully);
    }

    /// Ends all clients at once: see [`Client::close`].
    pub fn close(&self) {
        self.clients().iter().for_each(Client::close);
    }
}

impl<A, E: Exchange> Client<A, E> {
    /// Returns how late this client is likely to answer, for comparison with others. Makes a client
    /// that has failed and rests connect again.
    fn cost(&self) -> (u8, usize) {
        let pending = self.pending();
        if planted::is(Planted::StateIgnored) {
            return (0, pending);
        }
        let class = match self.state() {
            ClientState::Up if pending == 0 => 0,
            ClientState::Idle if self.failure().is_some() => {
                self.handle.desk.probe();
                4
            }
            ClientState::Idle if pending == 0 => 1,
            ClientState::Up => 2,
            ClientState::Idle | ClientState::Resolving | ClientState::Connecting => 3,
            ClientState::BackingOff => 5,
            ClientState::Closed => 6,
        };
        (class, pending)
    }
}

impl<A, E: Exchange> Clone for Pool<A, E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<A, E: Exchange> fmt::Debug for Pool<A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clients()).finish()
    }
}
