//! Following a master on the loop.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reactor::{ClientOptions, Cx, Location, LoopCx, Waker};

use super::keeper::{Keeper, Note};
use super::{Place, SentinelOptions};
use crate::resp::{self, Client};

/// Finds the master of a name and its replicas, and follows it from failover to failover.
///
/// It asks each sentinel, and listens to each for `+switch-master`. [`Election`](super::Election)
/// decides which of their answers is believed; the server itself has to confirm with `ROLE` that it
/// is the master. Sentinels that are dead, late or wrong do no harm as long as enough others agree.
///
/// In a failover, it also listens to `+vote-for-leader` and `+failover-state-wait-promotion`, and asks
/// the server that the elected leader promotes for its role. So it follows about 0.9 s before the
/// sentinels publish `+switch-master`: within their down-after time and 2 s, counted from the failure
/// of the master. If the leader dies in this time, the others may choose another server, and what the
/// first one has acknowledged until then is lost.
///
/// Replication of Redis is asynchronous: writes that the old master has acknowledged may be lost in a
/// failover, also those that it acknowledges while it is cut off from the sentinels.
///
/// It is a handle, which any thread may clone and use. When the last one is dropped, and the last
/// [`MasterClient`], it stops asking. `A` is the application state of the loop. The sentinels have to
/// speak RESP3 (Redis 6 or later).
///
/// ```no_run
/// use clients::resp::Options;
/// use clients::sentinel::{SentinelOptions, Sentinels};
/// use reactor::{ClientOptions, Reactor};
///
/// let mut reactor = Reactor::new(())?;
/// let cx = &mut reactor.cx();
/// let addresses = ["10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"];
/// let sentinels = Sentinels::open("mymaster", addresses, SentinelOptions::default(), cx)?;
/// sentinels.on_master(|place, _cx| println!("the master is {place}"));
/// let master = sentinels.client(&Options::default(), ClientOptions::DEFAULT, cx)?;
/// master.call(["SET", "colour", "blue"], |result, _cx| println!("{result:?}"))?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sentinels<A> {
    handle: Arc<Handle<A>>,
}

/// What the clones of a handle share.
struct Handle<A> {
    shared: Arc<Shared<A>>,
}

impl<A> Drop for Handle<A> {
    fn drop(&mut self) {
        self.shared.note(Note::Dropped);
    }
}

type OnMaster<A> = Box<dyn FnMut(&Place, &mut LoopCx<'_, A>) + Send>;

/// What the handles share with the source.
pub(super) struct Shared<A> {
    pub(super) name: String,
    inner: Mutex<Inner<A>>,
}

struct Inner<A> {
    waker: Option<Waker>,
    /// What has happened since the source ran.
    notes: Vec<Note>,
    master: Option<Place>,
    replicas: Vec<Place>,
    /// The clients that follow the master, and their numbers.
    clients: Vec<(u64, Client<A>)>,
    next_number: u64,
    on_master: Option<OnMaster<A>>,
}

impl<A> Shared<A> {
    fn lock(&self) -> MutexGuard<'_, Inner<A>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the source what has happened.
    pub(super) fn note(&self, note: Note) {
        let mut inner = self.lock();
        inner.notes.push(note);
        let waker = inner.waker.clone();
        drop(inner);
        if let Some(waker) = waker {
            // Where the loop is gone, nothing is to be done.
            let _ = waker.wake();
        }
    }

    pub(super) fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.lock().notes)
    }

    /// Points all clients at the new master, and tells the application.
    pub(super) fn set_master(&self, place: &Place, cx: &mut LoopCx<'_, A>)
    where
        A: 'static,
    {
        let mut inner = self.lock();
        inner.master = Some(place.clone());
        let target = location(place);
        for (_, client) in &inner.clients {
            client.set_target(target.clone());
        }
        let hook = inner.on_master.take();
        drop(inner);
        if let Some(mut hook) = hook {
            hook(place, cx);
            self.lock().on_master.get_or_insert(hook);
        }
    }

    pub(super) fn set_replicas(&self, replicas: Vec<Place>) {
        self.lock().replicas = replicas;
    }

    /// Drops what the application has given, which may hold handles, and ends the clients.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        let hook = inner.on_master.take();
        let clients = std::mem::take(&mut inner.clients);
        drop(inner);
        drop((hook, clients));
    }
}

/// Returns where a place is, for the loop.
fn location(place: &Place) -> Option<Location> {
    place.address().parse().ok()
}

impl<A: 'static> Sentinels<A> {
    /// Starts to follow the master `name`. `addresses` are those of the sentinels, such as
    /// `127.0.0.1:26379`. Sentinels that cannot be reached are no error here: they are tried again.
    ///
    /// # Errors
    /// When there is no address, an address is not valid, or the loop is being dropped.
    pub fn open<T: AsRef<str>, P>(
        name: &str,
        addresses: impl IntoIterator<Item = T>,
        options: SentinelOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> io::Result<Self> {
        let inner = Inner {
            waker: None,
            notes: Vec::new(),
            master: None,
            replicas: Vec::new(),
            clients: Vec::new(),
            next_number: 0,
            on_master: None,
        };
        let shared = Arc::new(Shared { name: name.to_owned(), inner: Mutex::new(inner) });
        let keeper = Keeper::open(&shared, addresses, options, cx)?;
        let source = cx.spawn(keeper)?;
        shared.lock().waker = Some(cx.waker_of(source));
        cx.wake(source);
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// Returns a client that always talks to the present master. Its commands wait until the master
    /// is known. When there is another master, commands in flight complete as when the connection is
    /// lost, and those that were not sent go to the new master.
    ///
    /// Each connection begins with `ROLE`: a server that is not a master gets no commands.
    ///
    /// # Errors
    /// When the options cannot be worked with, or the loop is being dropped.
    pub fn client<P>(
        &self,
        options: &resp::Options,
        client: ClientOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> Result<MasterClient<A>, resp::Error> {
        let options = resp::Options { only_master: true, ..options.clone() };
        let client = Client::open_later(&self.handle.shared.name, &options, client, cx)?;
        let mut inner = self.handle.shared.lock();
        let number = inner.next_number;
        inner.next_number += 1;
        client.set_target(inner.master.as_ref().and_then(location));
        inner.clients.push((number, client.clone()));
        drop(inner);
        let following = Arc::new(Following { number, sentinels: self.clone() });
        Ok(MasterClient { client, _following: following })
    }
}

impl<A> Sentinels<A> {
    /// Returns the name of the master.
    pub fn name(&self) -> &str {
        &self.handle.shared.name
    }

    /// Returns where the master is, if it is known.
    pub fn master(&self) -> Option<Place> {
        self.handle.shared.lock().master.clone()
    }

    /// Returns the replicas that enough sentinels name and consider up.
    pub fn replicas(&self) -> Vec<Place> {
        self.handle.shared.lock().replicas.clone()
    }

    /// Calls `hook` each time there is another master, in place of an earlier hook. It is called soon
    /// with the present one, if there is one.
    pub fn on_master(&self, hook: impl FnMut(&Place, &mut LoopCx<'_, A>) + Send + 'static) {
        let before = self.handle.shared.lock().on_master.replace(Box::new(hook));
        // Outside of the lock: it may hold handles.
        drop(before);
        self.handle.shared.note(Note::Hooked);
    }
}

impl<A> Clone for Sentinels<A> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<A> fmt::Debug for Sentinels<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, master) = (self.name(), self.master());
        f.debug_struct("Sentinels").field("name", &name).field("master", &master).finish()
    }
}

/// A client that always talks to the present master: see [`Sentinels::client`]. It is a [`Client`],
/// and a handle in the same way.
pub struct MasterClient<A> {
    client: Client<A>,
    _following: Arc<Following<A>>,
}

/// Ends the following when the last handle of a client is dropped.
struct Following<A> {
    number: u64,
    sentinels: Sentinels<A>,
}

impl<A> Drop for Following<A> {
    fn drop(&mut self) {
        let mut inner = self.sentinels.handle.shared.lock();
        let index = inner.clients.iter().position(|(number, _)| *number == self.number);
        let client = index.map(|index| inner.clients.swap_remove(index));
        drop(inner);
        drop(client);
    }
}

impl<A> std::ops::Deref for MasterClient<A> {
    type Target = Client<A>;

    fn deref(&self) -> &Client<A> {
        &self.client
    }
}

impl<A> Clone for MasterClient<A> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), _following: Arc::clone(&self._following) }
    }
}

impl<A> fmt::Debug for MasterClient<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.client, f)
    }
}
