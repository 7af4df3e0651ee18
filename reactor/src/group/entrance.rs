//! What a group has of each listener.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::group::hand_over::{HandOver, Place};
use crate::group::inbox::Inbox;
use crate::group::seat::Seat;
use crate::group::shared::Shared;
use crate::group::watch::OpenListener;
use crate::{Accept, Address, Balance, GroupListener, Listener, LoopCx, Token};

/// A value that is taken once.
#[derive(Debug)]
pub(crate) struct Once<T>(Mutex<Option<T>>);

impl<T> Once<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(Some(value)))
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How the connections of one listener reach the loops.
pub(crate) enum Entrance {
    /// They are handed over: the acceptor has the socket, and each loop an inbox.
    HandedOver {
        balance: Balance,
        address: Address,
        listener: Once<Listener>,
        /// The listener on the loop of the acceptor, once it is registered.
        door: Mutex<Option<Token>>,
        inboxes: Vec<(Once<()>, Arc<Inbox>)>,
    },
    /// Each loop accepts from a socket of its own, or from its copy of one.
    Direct(Vec<Once<Listener>>),
}

impl Entrance {
    /// Prepares a listener for a group with this number of loops.
    pub(crate) fn new(listener: GroupListener, threads: usize) -> io::Result<Self> {
        let accept = listener.accept;
        let (first, others) = listener.split(threads)?;
        let balance = match accept {
            Accept::HandOver(balance) => balance,
            Accept::ReusePort => {
                return Ok(Self::Direct(
                    [first].into_iter().chain(others).map(Once::new).collect(),
                ));
            }
            Accept::Shared => {
                let first = first.exclusive();
                let mut all =
                    (1..threads).map(|_| first.try_clone()).collect::<io::Result<Vec<_>>>()?;
                all.push(first);
                return Ok(Self::Direct(all.into_iter().map(Once::new).collect()));
            }
        };
        let inboxes = (0..threads).map(|_| (Once::new(()), Arc::default())).collect();
        let address = first.address().clone();
        Ok(Self::HandedOver {
            balance,
            address,
            listener: Once::new(first),
            door: Mutex::default(),
            inboxes,
        })
    }

    /// Returns the acceptor's target, if it hands connections over.
    pub(crate) fn places(&self, seats: &[Arc<Seat>]) -> Vec<Place> {
        match self {
            Self::HandedOver { inboxes, .. } => seats
                .iter()
                .zip(inboxes)
                .map(|(seat, (_, inbox))| Place::new(Arc::clone(seat), Arc::clone(inbox)))
                .collect(),
            Self::Direct(_) => Vec::new(),
        }
    }
}

/// The listeners of a group whose connections are handed over, for a program that passes their sockets
/// on to another process ([`Group::entrances`](crate::Group::entrances)). Its methods are called on the
/// loop of the acceptor ([`Group::acceptor`](crate::Group::acceptor)). A listener is named by its place
/// in the list that [`Group::start`](crate::Group::start) got.
pub struct Entrances<A: 'static> {
    shared: Arc<Shared<A>>,
}

impl<A: 'static> Entrances<A> {
    pub(crate) fn new(shared: &Arc<Shared<A>>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    fn door(&self, listener: usize) -> Option<MutexGuard<'_, Option<Token>>> {
        match self.shared.entrances.get(listener)? {
            Entrance::HandedOver { door, .. } => {
                Some(door.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Entrance::Direct(_) => None,
        }
    }

    /// Returns a duplicate of the socket of a listener. `None` if the listener has ended, or the loops
    /// accept its connections themselves.
    ///
    /// # Errors
    /// When the process has no free descriptor (`dup(2)`).
    pub fn duplicate_fd(
        &self,
        listener: usize,
        cx: &mut LoopCx<'_>,
    ) -> io::Result<Option<OwnedFd>> {
        let door = self.door(listener).and_then(|door| *door);
        door.map_or(Ok(None), |door| cx.duplicate_fd(door))
    }

    /// Ends a listener with whose socket another process goes on
    /// ([`Cx::release`](crate::Cx::release)). What was accepted is handed over before.
    pub fn release(&self, listener: usize, cx: &mut LoopCx<'_>) {
        if let Some(door) = self.door(listener).and_then(|mut door| door.take()) {
            cx.release(door);
        }
    }

    /// Accepts from `socket` for a listener that was released.
    ///
    /// # Errors
    /// When the loops accept the connections of that listener themselves, or the kernel refuses to
    /// watch the socket.
    pub fn resume(&self, listener: usize, socket: Listener, cx: &mut LoopCx<'_>) -> io::Result<()> {
        self.shared.admit(listener, socket, cx)
    }
}

impl<A: 'static> Clone for Entrances<A> {
    fn clone(&self) -> Self {
        Self::new(&self.shared)
    }
}

impl<A: 'static> fmt::Debug for Entrances<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrances").field("count", &self.shared.entrances.len()).finish()
    }
}

impl<A: 'static> Shared<A> {
    /// Registers `socket` on the loop of the acceptor, which hands its connections over to the loops.
    pub(crate) fn admit(
        &self,
        listener: usize,
        socket: Listener,
        cx: &mut LoopCx<'_>,
    ) -> io::Result<()> {
        let Some(entrance @ Entrance::HandedOver { balance, door, .. }) =
            self.entrances.get(listener)
        else {
            let text = format!("no connections of listener {listener} are handed over");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let hand_over = HandOver::new(
            entrance.places(&self.seats),
            *balance,
            Arc::clone(&self.waiting),
            OpenListener::new(&self.watch),
        );
        let token = socket.register_for(cx, hand_over)?;
        self.waiting.add(cx.waker_of(token));
        *door.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(())
    }
}
