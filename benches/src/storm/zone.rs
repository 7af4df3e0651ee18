//! What is known about the time of a step and the deadline of a key, without choosing either.
//!
//! The time of a step is somewhere between its request and its reply. A deadline that counts from
//! it is as vague. Whether a key may have ended by a later step depends on both, so the difference
//! is kept as well: the zones of timed automata (Dill 1989), with two variables.

/// Beyond all times, and small enough that two of it can be added. Times are below its half.
const INFINITE: i64 = 1 << 61;

/// A range of whole nanoseconds, with both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) low: i64,
    pub(super) high: i64,
}

const ANY: Range = Range { low: -INFINITE, high: INFINITE };

/// Returns a time as the zones count it.
pub(super) fn time(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(INFINITE).min(INFINITE / 2)
}

impl Range {
    /// Returns the range between two times. One that is far beyond all times is no limit, so that
    /// what was computed from no limit is none.
    pub(super) fn new(low: i64, high: i64) -> Self {
        let low = if low < -INFINITE / 2 { -INFINITE } else { low };
        let high = if high > INFINITE / 2 { INFINITE } else { high };
        Self { low, high }
    }

    /// Returns the range from `low` on.
    pub(super) fn from(low: i64) -> Self {
        Self::new(low, INFINITE)
    }

    /// Returns the range up to `high`.
    pub(super) fn up_to(high: i64) -> Self {
        Self::new(-INFINITE, high)
    }

    /// Returns the sums of both.
    fn plus(self, other: Self) -> Self {
        Self::new(self.low + other.low, self.high + other.high)
    }

    /// Returns the differences of both.
    fn minus(self, other: Self) -> Self {
        Self::new(self.low - other.high, self.high - other.low)
    }

    fn and(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    fn is_empty(self) -> bool {
        self.low > self.high
    }

    fn includes(self, other: Self) -> bool {
        self.low <= other.low && other.high <= self.high
    }
}

/// The possible times of the last step, the possible deadlines, and the deadline minus the time.
/// Without a deadline, the last two are unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Zone {
    now: Range,
    deadline: Range,
    left: Range,
}

impl Zone {
    /// Before the first step, without a deadline.
    pub(super) const START: Self = Self { now: ANY, deadline: ANY, left: ANY };

    /// Returns the zone with each range as narrow as the other two allow; `None` if nothing is
    /// left.
    fn narrowed(self) -> Option<Self> {
        let now = self.now.and(self.deadline.minus(self.left));
        let deadline = self.deadline.and(self.now.plus(self.left));
        let left = self.left.and(self.deadline.minus(self.now));
        let is_empty = now.is_empty() || deadline.is_empty() || left.is_empty();
        (!is_empty).then_some(Self { now, deadline, left })
    }

    /// Returns the zone of a step within `window`, which is not before the last one.
    pub(super) fn step(self, window: Range) -> Option<Self> {
        let now = Range::from(self.now.low).and(window);
        Self { now, left: Range::up_to(self.left.high), ..self }.narrowed()
    }

    /// Returns the zone in which as much time is left as `left` says.
    pub(super) fn leaving(self, left: Range) -> Option<Self> {
        Self { left: self.left.and(left), ..self }.narrowed()
    }

    /// Returns the zone without a deadline.
    pub(super) fn unlimited(self) -> Self {
        Self { deadline: ANY, left: ANY, ..self }
    }

    /// Returns the zone with a deadline as far from the last step as `left` says.
    pub(super) fn ending_in(self, left: Range) -> Option<Self> {
        Self { left, ..self.unlimited() }.narrowed()
    }

    /// Returns the zone with this deadline.
    pub(super) fn ending_at(self, deadline: i64) -> Option<Self> {
        Self { deadline: Range::new(deadline, deadline), ..self.unlimited() }.narrowed()
    }

    /// Returns the possible deadlines.
    pub(super) fn deadline(self) -> Range {
        self.deadline
    }

    /// Returns whether everything that is possible in `other` is possible here.
    pub(super) fn includes(self, other: Self) -> bool {
        self.now.includes(other.now)
            && self.deadline.includes(other.deadline)
            && self.left.includes(other.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_as_vague_as_the_step_that_set_it_but_no_more() {
        let set = Zone::START.step(Range::new(100, 200)).expect("it is possible");
        let set = set.ending_in(Range::new(50, 50)).expect("it is possible");
        assert_eq!(set.deadline(), Range::new(150, 250));
        let alive = |zone: Zone| zone.leaving(Range::from(1));
        let ended = |zone: Zone| zone.leaving(Range::up_to(0));
        let both = set.step(Range::new(200, 220)).expect("it is possible");
        assert!(alive(both).is_some() && ended(both).is_some());
        let late = set.step(Range::new(250, 260)).expect("it is possible");
        assert!(alive(late).is_none() && ended(late).is_some());
        let early = set.step(Range::new(100, 149)).expect("it is possible");
        assert!(alive(early).is_some() && ended(early).is_none());
        // Seen at 240, it was set after 190, so it cannot have ended by 240.
        let seen = alive(set.step(Range::new(240, 240)).expect("it is possible"));
        let seen = seen.expect("it is possible");
        assert_eq!(seen.deadline(), Range::new(241, 250));
        assert!(ended(seen.step(Range::new(240, 240)).expect("it is possible")).is_none());
        assert!(set.step(Range::new(0, 99)).is_none(), "a step goes back");
    }

    #[test]
    fn a_zone_includes_narrower_ones() {
        let wide = Zone::START.step(Range::new(0, 100)).expect("it is possible");
        let narrow = Zone::START.step(Range::new(10, 20)).expect("it is possible");
        assert!(wide.includes(narrow) && !narrow.includes(wide) && wide.includes(wide));
        let (at, within) = (wide.ending_at(500), wide.ending_in(Range::new(400, 500)));
        let (at, within) = (at.expect("it is possible"), within.expect("it is possible"));
        assert!(within.includes(at) && !at.includes(within));
        assert_eq!(narrow.ending_at(500).map(Zone::unlimited), Some(narrow));
    }
}
