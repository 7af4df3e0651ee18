//! Several clients that share the load.

use std::fmt;
use std::sync::Arc;

use reactor::{ClientOptions, Cx, Location};

use super::client::{bounded, failed, layers, location};
use super::exchange::RespExchange;
use super::{Client, Error, Options};

/// Several [`Client`]s of one or more servers of RESP, as [`reactor::Pool`] has them: at most so many
/// connections, of which the one with the fewest commands pending gets the next command. A server
/// that stops answering is avoided until it is back.
///
/// It is a handle, as a [`Client`] is. Subscriptions belong to one client, not to a pool.
///
/// ```no_run
/// use clients::resp::{Options, Pool};
/// use reactor::{ClientOptions, Reactor};
///
/// let mut reactor = Reactor::new(())?;
/// let replicas = ["10.0.0.1:6379", "10.0.0.2:6379"];
/// let options = Options::default();
/// let pool = Pool::open(&replicas, 4, &options, ClientOptions::DEFAULT, &mut reactor.cx())?;
/// pool.choose().call(["GET", "visits"], |result, cx| {
///     println!("{result:?}");
///     cx.stop();
/// })?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool<A> {
    inner: reactor::Pool<A, RespExchange>,
    clients: Arc<[Client<A>]>,
}

impl<A: 'static> Pool<A> {
    /// Starts `size` clients for each of `addresses`, with the same options: see [`Client::open`].
    ///
    /// # Errors
    /// When there would be no client, an address is not valid, the options cannot be worked with, or
    /// the loop is being dropped.
    pub fn open<P>(
        addresses: &[&str],
        size: usize,
        options: &Options,
        client: ClientOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> Result<Self, Error> {
        let targets: Vec<Location> =
            addresses.iter().map(|address| location(address)).collect::<Result<_, Error>>()?;
        let names = addresses.join(",");
        options.check(&names)?;
        let mut turns = addresses.iter().cycle();
        let make =
            |_: &Location| RespExchange::new(turns.next().copied().unwrap_or_default(), options);
        let client = bounded(client, options);
        let opened = match &options.encryption {
            None => reactor::Pool::open(&targets, size, client, make, cx),
            Some(encryption) => {
                reactor::Pool::open_over(&targets, size, layers(encryption), client, make, cx)
            }
        };
        let inner = opened.map_err(|error| failed(&names, error))?;
        let clients = inner.clients().iter().zip(addresses.iter().cycle());
        let clients = clients.map(|(client, address)| Client::of(client.clone(), address));
        Ok(Self { clients: clients.collect(), inner })
    }
}

impl<A> Pool<A> {
    /// Returns the client for the next command: one with a connection and the fewest commands
    /// pending ([`reactor::Pool::choose`]). Commands that depend on one another go to the client of
    /// one choice.
    pub fn choose(&self) -> &Client<A> {
        &self.clients[self.inner.choose()]
    }

    /// Returns the clients, for hooks.
    pub fn clients(&self) -> &[Client<A>] {
        &self.clients
    }

    /// Returns how many commands were accepted and are not completed.
    pub fn pending(&self) -> usize {
        self.inner.pending()
    }

    /// Returns how many clients have a connection that is open for commands.
    pub fn up(&self) -> usize {
        self.inner.up()
    }

    /// Ends all clients gracefully: see [`Client::stop_gracefully`].
    pub fn stop_gracefully(&self) {
        self.inner.stop_gracefully();
    }

    /// Ends all clients at once: see [`Client::close`].
    pub fn close(&self) {
        self.inner.close();
    }
}

impl<A> Clone for Pool<A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), clients: Arc::clone(&self.clients) }
    }
}

impl<A> fmt::Debug for Pool<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}
