//! Timers that have gone, and whose buckets have not been told yet.

/// So many go before their buckets are told.
const LEN: usize = 64;

/// A timer that has gone.
#[derive(Clone, Copy)]
pub(super) struct Departure {
    pub(super) index: u32,
    /// Where it was.
    pub(super) bucket: u32,
}

/// The last few of them. To count one less in a bucket means to know which, and that hangs on
/// memory that is still on its way: among a million, the next ones would wait for it. Written down
/// here, they are fetched together, and by the time the list is full they have arrived.
pub(super) struct Departures {
    list: [Departure; LEN],
    len: usize,
}

impl Departures {
    pub(super) const fn new() -> Self {
        Self { list: [Departure { index: 0, bucket: 0 }; LEN], len: 0 }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one. Returns whether the list is full now, and has to be emptied.
    #[inline]
    pub(super) fn push(&mut self, departure: Departure) -> bool {
        if let Some(place) = self.list.get_mut(self.len) {
            *place = departure;
            self.len += 1;
        }
        self.len == LEN
    }

    /// Takes one, in no order that means anything.
    pub(super) fn pop(&mut self) -> Option<Departure> {
        self.len = self.len.checked_sub(1)?;
        self.list.get(self.len).copied()
    }
}
