//! Where an output stands between its high and its low mark (P23).

/// What is known of an output from one write to the next.
#[derive(Default)]
pub(crate) struct Marks {
    /// It has reached its high mark and not yet fallen to the low one.
    full: bool,
    /// It has passed its low mark, and is reported when it falls to it.
    loaded: bool,
    /// It has fallen to it, and that is still to be reported.
    owed: bool,
}

impl Marks {
    /// The output may have grown.
    pub(crate) fn grown(&mut self, length: u64, low: u64, high: u64) {
        self.full = length >= high;
        self.loaded = length > low;
    }

    /// The output may have shrunk. Returns whether it has fallen to its low mark from above it.
    pub(crate) fn shrunk(&mut self, length: u64, low: u64) -> bool {
        let drained = self.loaded && length <= low;
        if drained {
            (self.full, self.loaded) = (false, false);
        }
        drained
    }

    /// Whether reading has to stop.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Leaves the report for the next turn.
    pub(crate) fn put_off(&mut self) {
        self.owed = true;
    }

    /// Whether a report was put off.
    pub(crate) fn owes(&self) -> bool {
        self.owed
    }

    /// Takes the report that was put off.
    pub(crate) fn take_owed(&mut self) -> bool {
        std::mem::take(&mut self.owed)
    }
}
