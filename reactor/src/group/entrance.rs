//! What a group has of each listener.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::group::hand_over::Place;
use crate::group::inbox::Inbox;
use crate::group::seat::Seat;
use crate::{Accept, Address, Balance, GroupListener, Listener};

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
        Ok(Self::HandedOver { balance, address, listener: Once::new(first), inboxes })
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
