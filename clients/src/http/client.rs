//! A client of HTTP on the loop.

use std::fmt;
use std::io;
use std::sync::Arc;

use reactor::{Cx, LoopCx};

use super::collect::{Collector, Response};
use super::desk::{Desk, Held, Job};
use super::engine::Engine;
use super::{Error, ErrorKind, Options, Receiver, Request};

/// The name of an exchange that a client has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExchangeId(u64);

/// A client of HTTP/1.1 on the loop. It makes connections when they are needed and keeps them for
/// further requests of the same origin, follows redirections, goes through proxies, and makes another
/// attempt where that does no harm ([`Options`]).
///
/// It is a handle, which any thread may clone and use. When the last one is dropped, the client
/// finishes what it has accepted and ends. `A` is the application state of the loop.
///
/// Each request that is accepted completes exactly once, on the loop. When the loop is dropped, those
/// that are left complete with [`ErrorKind::Cancelled`].
///
/// ```
/// use clients::http::{Client, Options, Request};
/// use reactor::Reactor;
///
/// # use std::io::{Read, Write};
/// # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = server.local_addr()?;
/// # std::thread::spawn(move || {
/// #     let (mut peer, _) = server.accept().unwrap();
/// #     let _ = peer.read(&mut [0; 1000]).unwrap();
/// #     peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
/// # });
/// let mut reactor = Reactor::new(String::new())?;
/// let client = Client::open(Options::default(), &mut reactor.cx())?;
/// let request = Request::get(&format!("http://{address}/greeting"))?;
/// client.fetch(request, 1024, |result, cx| {
///     let response = result.expect("the server is there");
///     *cx.app = format!("{}: {}", response.status, String::from_utf8_lossy(&response.body));
///     cx.stop();
/// })?;
/// reactor.run()?;
/// assert_eq!(reactor.app, "200: hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client<A> {
    handle: Arc<Handle<A>>,
}

/// What the clones of a handle share.
struct Handle<A> {
    desk: Arc<Desk<A>>,
}

impl<A> Drop for Handle<A> {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        state.is_closed = true;
        state.wake_engine();
    }
}

impl<A: 'static> Client<A> {
    /// Starts a client.
    ///
    /// # Errors
    /// When the options cannot be worked with, or the loop is being dropped.
    pub fn open<P>(options: Options, cx: &mut Cx<'_, A, P>) -> io::Result<Self> {
        let desk = Arc::new(Desk::new(options)?);
        let source = cx.spawn(Engine::new(Arc::clone(&desk)))?;
        desk.lock().engine = Some(cx.waker_of(source));
        Ok(Self { handle: Arc::new(Handle { desk }) })
    }

    /// Sends a request and delivers the response to `receiver`, piece by piece. No call of the
    /// receiver is made before this call has returned to the loop.
    ///
    /// # Errors
    /// When the request is not accepted: a field cannot be sent, too many requests wait, or the client
    /// has ended. The receiver is dropped without a call.
    pub fn send(
        &self,
        request: Request,
        receiver: impl Receiver<A> + 'static,
    ) -> Result<ExchangeId, Error> {
        request.check()?;
        let desk = &self.handle.desk;
        let accepted = reactor::now();
        let deadline = desk.options.timeout.and_then(|it| accepted.checked_add(it));
        let mut state = desk.lock();
        if state.is_closed {
            return Err(Error::new(ErrorKind::NotAccepted, "the client has ended"));
        }
        let waiting =
            state.arrivals.len() + state.waiting.values().map(|it| it.len()).sum::<usize>();
        if waiting >= desk.options.waiting_max {
            let text = format!("{waiting} requests wait already (waiting_max)");
            return Err(Error::new(ErrorKind::NotAccepted, text));
        }
        let id = state.next_id;
        let receiver = Held::new(Box::new(receiver));
        state.next_id += 1;
        state.held.insert(id, receiver.clone());
        state.deadlines.extend(deadline.map(|it| (it, id)));
        state.arrivals.push_back(Job {
            id,
            request,
            receiver,
            accepted,
            deadline,
            redirects: 0,
            attempts: 0,
            may_be_done: false,
            is_delivered: false,
        });
        state.wake_engine();
        Ok(ExchangeId(id))
    }

    /// Sends a request and calls `completion` with the whole response, whose body may have
    /// `body_size_max` bytes, decoded.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn fetch(
        &self,
        request: Request,
        body_size_max: usize,
        completion: impl FnOnce(Result<Response, Error>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<ExchangeId, Error> {
        self.send(request, Collector::new(body_size_max, completion))
    }
}

impl<A> Client<A> {
    /// Goes on with an exchange whose receiver has paused, or whose upload had nothing for a while.
    /// It has no effect on one that does neither.
    pub fn resume(&self, exchange: ExchangeId) {
        let state = self.handle.desk.lock();
        let connection = state.places.get(&exchange.0).and_then(|it| state.connections.get(it));
        if let Some(connection) = connection {
            // A connection that is gone needs no wake.
            let _ = connection.waker.wake();
        }
    }

    /// Ends an exchange. It completes with [`ErrorKind::Cancelled`], unless it is complete.
    pub fn cancel(&self, exchange: ExchangeId) {
        let mut state = self.handle.desk.lock();
        let error = Error::new(ErrorKind::Cancelled, "the request was cancelled");
        state.verdicts.entry(exchange.0).or_insert(error);
        state.to_end.push(exchange.0);
        state.wake_engine();
    }

    /// Returns how many requests were accepted and are not complete.
    pub fn pending(&self) -> usize {
        self.handle.desk.lock().held.len()
    }

    /// Returns how many connections were made, and how many requests went over one that had been
    /// used before.
    pub fn connections(&self) -> (u64, u64) {
        let state = self.handle.desk.lock();
        (state.opened, state.reused)
    }
}

impl<A> Clone for Client<A> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<A> fmt::Debug for Client<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("pending", &self.pending()).finish_non_exhaustive()
    }
}
