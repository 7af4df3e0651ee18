//! Removed timers whose buckets have not been told yet.

/// The number of removed timers before their buckets are told.
const LEN: usize = 64;

/// A removed timer.
#[derive(Clone, Copy)]
pub(super) struct Departure {
    pub(super) index: u32,
    /// Its bucket.
    pub(super) bucket: u32,
}

/// The last removed timers. Decreasing the counter of a bucket needs the memory of the timer, which
/// may not be in the cache: with a million timers, each operation would wait for it. In this list
/// the fetches overlap, and by the time the list is full, the memory has arrived.
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

    /// Adds a timer. Returns whether the list is full, and has to be emptied.
    #[inline]
    pub(super) fn push(&mut self, departure: Departure) -> bool {
        if let Some(place) = self.list.get_mut(self.len) {
            *place = departure;
            self.len += 1;
        }
        self.len == LEN
    }

    /// Removes a timer, in no particular order.
    pub(super) fn pop(&mut self) -> Option<Departure> {
        self.len = self.len.checked_sub(1)?;
        self.list.get(self.len).copied()
    }
}
