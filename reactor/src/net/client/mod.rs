//! A client that outlives its connections.

mod aim;
mod connection;
mod desk;
mod hooks;
mod life;
mod options;
mod outcome;
mod pauses;
mod pool;
mod records;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use protocol::Exchange;
use protocol::link::{Layer, Plain};

use crate::{Cx, Location, LoopCx, Reason};
use connection::Dial;
use desk::Desk;
use life::Life;
pub use options::{ClientOptions, WhenIdle, WhenStopping};
pub use outcome::{ClientState, NotSent, Unanswered};
pub use pool::Pool;
use records::Ending;

/// A client of one server: it connects, connects again when the connection ends, and sends requests
/// of an [`Exchange`].
///
/// It is a handle, which any thread may clone and use. When the last one is dropped, the client
/// finishes what it has accepted and ends.
///
/// Each request that is accepted completes exactly once, on the loop: with its reply, or with an
/// [`Unanswered`] that says whether it may have been carried out. Replies are matched to requests as
/// the protocol says. A reply that comes after its deadline is discarded.
///
/// ```
/// # use protocol::codecs::Lines;
/// # use protocol::exchange::{Exchange, Heard};
/// # use protocol::Reply;
/// # struct LineCalls;
/// # impl Exchange for LineCalls {
/// #     type Codec = Lines;
/// #     type Request = String;
/// #     type Reply = String;
/// #     type Push = ();
/// #     fn codec(&self) -> Lines { Lines::default() }
/// #     fn size(request: &String) -> usize { request.len() }
/// #     fn write(&mut self, request: &String, _: u64, reply: &mut Reply<'_, Lines>) {
/// #         reply.send(request.as_bytes());
/// #     }
/// #     fn hear(&mut self, line: &mut [u8], _: Option<&String>, _: &mut Reply<'_, Lines>)
/// #         -> Heard<String, ()> {
/// #         Heard::Reply(String::from_utf8_lossy(line).into_owned())
/// #     }
/// # }
/// use reactor::{Client, ClientOptions, Reactor};
///
/// # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = server.local_addr()?;
/// # std::thread::spawn(move || {
/// #     let (mut peer, _) = server.accept().unwrap();
/// #     std::io::copy(&mut peer.try_clone().unwrap(), &mut peer)
/// # });
/// let mut reactor = Reactor::new(String::new())?;
/// // The exchange is that of the example in `protocol::exchange`; the server sends lines back.
/// let target = address.to_string().parse()?;
/// let client = Client::open(target, LineCalls, ClientOptions::DEFAULT, &mut reactor.cx())?;
/// client.call("hello".to_owned(), |result, cx| {
///     *cx.app = result.expect("the server is there");
///     cx.stop();
/// })?;
/// reactor.run()?;
/// assert_eq!(reactor.app, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client<A, E: Exchange> {
    handle: Arc<Handle<A, E>>,
}

/// What the clones of a handle share.
struct Handle<A, E: Exchange> {
    desk: Arc<Desk<A, E>>,
}

impl<A, E: Exchange> Drop for Handle<A, E> {
    fn drop(&mut self) {
        self.desk.end(Ending::Finishing);
    }
}

impl<A: 'static, E: Exchange> Client<A, E> {
    /// Starts a client of `target`. It connects at once, or for the first request if it lets idle
    /// connections go ([`ClientOptions::when_idle`]). A server that cannot be reached is no error
    /// here: the client tries again.
    ///
    /// # Errors
    /// When the options cannot be worked with, or the loop is being dropped.
    pub fn open<P>(
        target: Location,
        exchange: E,
        options: ClientOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Self> {
        Self::build(Some(target), plainly(), exchange, options, cx)
    }

    /// Starts a client whose server is not known yet. Requests wait until
    /// [`set_target`](Self::set_target) is called.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_later<P>(
        exchange: E,
        options: ClientOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Self> {
        Self::build(None, plainly(), exchange, options, cx)
    }

    /// Starts a client whose connections have a layer, such as TLS. `layers` returns the layer of each
    /// new connection to a server, whose name it may have to verify. An error of it counts as a
    /// connection that cannot be made. Without a target, it begins as [`open_later`](Self::open_later)
    /// does.
    ///
    /// A request counts as sent once a part of it is sealed. Opening the connection includes the
    /// handshake of the layer.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_over<L: Layer + 'static, P>(
        target: Option<Location>,
        layers: impl FnMut(&Location) -> io::Result<L> + 'static,
        exchange: E,
        options: ClientOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Self> {
        Self::build(target, Box::new(layers), exchange, options, cx)
    }

    fn build<P>(
        target: Option<Location>,
        maker: Box<dyn Dial<A, E>>,
        exchange: E,
        options: ClientOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Self> {
        options.check()?;
        let desk = Arc::new(Desk::new(target, exchange, options));
        let source = cx.spawn(Life::new(Arc::clone(&desk), maker))?;
        desk.set_client(cx.waker_of(source));
        cx.wake(source);
        Ok(Self { handle: Arc::new(Handle { desk }) })
    }

    /// Sends a request, and calls `completion` on the loop with the result: exactly once, never
    /// before this call has returned to the loop. The reply may take
    /// [`ClientOptions::timeout`].
    ///
    /// # Errors
    /// When the request is not accepted. It is not sent, and `completion` is dropped without being
    /// called.
    pub fn call(
        &self,
        request: E::Request,
        completion: impl FnOnce(Result<E::Reply, Unanswered>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), NotSent> {
        self.call_within(self.handle.desk.options.timeout, request, completion)
    }

    /// Sends a request as [`call`](Self::call) does. The reply may take `timeout`, of which
    /// [`Duration::MAX`] is for ever.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub fn call_within(
        &self,
        timeout: Duration,
        request: E::Request,
        completion: impl FnOnce(Result<E::Reply, Unanswered>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), NotSent> {
        let size = E::size(&request);
        self.handle.desk.accept(request, size, timeout, Box::new(completion))
    }

    /// Sends a request from another thread than that of the loop, and blocks until it has its
    /// result.
    ///
    /// On the thread of the loop it would wait for ever.
    ///
    /// # Errors
    /// When the request has no reply.
    pub fn wait(&self, request: E::Request) -> Result<E::Reply, Unanswered> {
        let (sender, receiver) = channel();
        self.call(request, move |result, _cx| {
            // The thread that waits holds the other end.
            let _ = sender.send(result);
        })?;
        receiver.recv().unwrap_or_else(|_| Err(Unanswered::Unknown(Arc::new(Reason::Stopped))))
    }

    /// Calls `hook` each time a connection is open for requests, before any request is sent on it,
    /// in place of an earlier hook.
    pub fn on_connect(&self, hook: impl FnMut(&mut LoopCx<'_, A>) + Send + 'static) {
        self.handle.desk.hooks.connect.set(Some(Box::new(hook)));
    }

    /// Calls `hook` each time such a connection has ended, after its requests were completed, in
    /// place of an earlier hook.
    pub fn on_disconnect(&self, hook: impl FnMut(&Reason, &mut LoopCx<'_, A>) + Send + 'static) {
        self.handle.desk.hooks.disconnect.set(Some(Box::new(hook)));
    }

    /// Calls `hook` with each message that answers no request, in place of an earlier hook. Messages
    /// that come while there is no hook are dropped.
    pub fn on_push(&self, hook: impl FnMut(E::Push, &mut LoopCx<'_, A>) + Send + 'static) {
        self.handle.desk.hooks.push.set(Some(Box::new(hook)));
    }
}

/// Returns what makes connections without a layer.
fn plainly<A: 'static, E: Exchange>() -> Box<dyn Dial<A, E>> {
    Box::new(|_: &Location| Ok(Plain))
}

impl<A, E: Exchange> Client<A, E> {
    /// Returns the state.
    pub fn state(&self) -> ClientState {
        self.handle.desk.state()
    }

    /// Returns how many requests were accepted and are not completed.
    pub fn pending(&self) -> usize {
        self.handle.desk.pending()
    }

    /// Returns why the last connection or attempt failed, unless there is a connection.
    pub fn failure(&self) -> Option<Arc<Reason>> {
        self.handle.desk.failure()
    }

    /// Returns the server to which it connects, if it is known.
    pub fn target(&self) -> Option<Arc<Location>> {
        self.handle.desk.aim.target()
    }

    /// Changes the server to which it connects, for example since another one is the master now. A
    /// connection to another server ends at once: requests in flight on it complete with
    /// [`Unanswered::Unknown`], and those that were not sent wait for the new connection, which is
    /// made without a pause. With `None`, requests wait until there is a target again.
    pub fn set_target(&self, target: Option<Location>) {
        self.handle.desk.set_target(target);
    }

    /// Ends the client gracefully: it takes no more requests, sends those that it has accepted if it
    /// has a connection, waits for their replies, and closes the connection.
    pub fn stop_gracefully(&self) {
        self.handle.desk.end(Ending::Finishing);
    }

    /// Ends the client at once. Its requests complete as when the connection is lost.
    pub fn close(&self) {
        self.handle.desk.end(Ending::Closing);
    }
}

impl<A, E: Exchange> Clone for Client<A, E> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<A, E: Exchange> fmt::Debug for Client<A, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("target", &self.target())
            .field("state", &self.state())
            .field("pending", &self.pending())
            .finish()
    }
}
