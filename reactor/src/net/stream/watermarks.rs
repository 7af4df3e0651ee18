//! Where an output stands between its high and its low mark (P23).

/// What is known of an output from one write to the next.
#[derive(Default)]
pub(crate) struct Watermarks {
    level: Level,
    /// It has fallen to its low mark, and that is still to be reported.
    owed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Level {
    #[default]
    Low,
    /// It has passed its low mark, and is reported when it falls to it.
    Loaded,
    /// It has reached its high mark and not yet fallen to the low one.
    Full,
}

impl Watermarks {
    /// The output may have grown.
    pub(crate) fn grown(&mut self, length: u64, low: u64, high: u64) {
        self.level = match length {
            _ if length >= high => Level::Full,
            _ if length > low => Level::Loaded,
            _ => Level::Low,
        };
    }

    /// The output may have shrunk. Returns whether it has fallen to its low mark from above it.
    pub(crate) fn shrunk(&mut self, length: u64, low: u64) -> bool {
        let drained = self.level != Level::Low && length <= low;
        if drained {
            self.level = Level::Low;
        }
        drained
    }

    /// Whether reading has to stop.
    pub(crate) fn is_full(&self) -> bool {
        self.level == Level::Full
    }

    /// Leaves the report for the next context.
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
