//! The timer wheel: arming, moving and cancelling a timer cost the same however many there are.
//!
//! Eight levels of 64 buckets: a bucket of level `n` covers 64^n ticks. A timer lies in the level
//! of the highest digit in which its tick differs from the wheel's own; when the wheel comes to a
//! bucket of a higher level, its timers move down. A bitmap a level finds the next bucket without
//! walking, so time may jump by hours.

use std::collections::VecDeque;

/// A tick is 2^17 ns, about 131 us: how late a timer may be, never early.
const TICK_BITS: u32 = 17;
const LEVEL_BITS: u32 = 6;
const BUCKETS: usize = 1 << LEVEL_BITS;
/// 47 bits of ticks in 8 levels: more than 584 years of nanoseconds.
const LEVELS: usize = 8;

/// No entry.
const NIL: u32 = u32::MAX;
/// The bucket of an entry that is in none.
const NOWHERE: u16 = u16::MAX;

/// Names one timer for ever: one that fired or was cancelled is never taken for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

/// What a timer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// The token of the source it belongs to, as bits.
    pub(crate) owner: u64,
    /// What the owner calls it.
    pub(crate) key: u64,
}

/// A timer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) id: TimerId,
    pub(crate) payload: Payload,
    /// How many periods have become due: 1 for a one-shot.
    pub(crate) ticks: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    payload: Payload,
    /// In nanoseconds.
    deadline: u64,
    /// In nanoseconds; 0 for a one-shot.
    period: u64,
    previous: u32,
    next: u32,
    generation: u32,
    bucket: u16,
}

/// The timers of one loop, by nanoseconds of its time.
pub(crate) struct Wheel {
    entries: Vec<Entry>,
    free: u32,
    len: usize,
    /// The generation of places not used before: past all of those whose memory was given back.
    floor: u32,
    /// The tick that has been collected last.
    tick: u64,
    occupied: [u64; LEVELS],
    /// The first entry of each bucket, once there has been one.
    heads: Vec<u32>,
}

/// The tick at which a deadline is collected: rounded up, so that it is never early.
fn tick_of(deadline: u64) -> u64 {
    deadline.div_ceil(1 << TICK_BITS)
}

impl Wheel {
    /// A wheel that owns no heap memory until something is armed.
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: NIL,
            len: 0,
            floor: 0,
            tick: 0,
            occupied: [0; LEVELS],
            heads: Vec::new(),
        }
    }

    /// Arms a timer: due at `deadline` and, unless `period` is 0, every `period` after it.
    pub(crate) fn insert(&mut self, deadline: u64, period: u64, payload: Payload) -> TimerId {
        let entry = Entry {
            payload,
            deadline,
            period,
            previous: NIL,
            next: NIL,
            generation: self.floor,
            bucket: NOWHERE,
        };
        let index = self.free;
        let index = if index == NIL {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("memory ends before 2^32 timers")
        } else {
            let place = &mut self.entries[index as usize];
            self.free = place.next;
            *place = Entry { generation: place.generation, ..entry };
            index
        };
        self.len += 1;
        self.link(index);
        TimerId { index, generation: self.entries[index as usize].generation }
    }

    fn find(&self, id: TimerId) -> Option<&Entry> {
        let entry = self.entries.get(id.index as usize)?;
        (entry.generation == id.generation && entry.bucket != NOWHERE).then_some(entry)
    }

    /// When a timer is due, if it is armed.
    pub(crate) fn deadline(&self, id: TimerId) -> Option<u64> {
        self.find(id).map(|entry| entry.deadline)
    }

    /// Takes a timer away. Returns whether it was armed.
    pub(crate) fn cancel(&mut self, id: TimerId) -> bool {
        if self.find(id).is_none() {
            return false;
        }
        self.unlink(id.index);
        self.release(id.index);
        true
    }

    /// Moves a timer. Returns whether it was armed.
    pub(crate) fn rearm(&mut self, id: TimerId, deadline: u64) -> bool {
        if self.find(id).is_none() {
            return false;
        }
        let old = self.entries[id.index as usize].bucket;
        self.entries[id.index as usize].deadline = deadline;
        if self.bucket_for(deadline) != usize::from(old) {
            self.unlink(id.index);
            self.link(id.index);
        }
        true
    }

    /// Gives a place back.
    fn release(&mut self, index: u32) {
        self.len -= 1;
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        self.floor = self.floor.max(entry.generation);
        entry.bucket = NOWHERE;
        entry.next = self.free;
        self.free = index;
    }

    /// The bucket for a deadline, as things stand.
    fn bucket_for(&self, deadline: u64) -> usize {
        // What is due already is collected with the next tick.
        let tick = tick_of(deadline).max(self.tick + 1);
        let differing = tick ^ self.tick;
        let level = (differing.ilog2() / LEVEL_BITS) as usize;
        let digit = (tick >> (level as u32 * LEVEL_BITS)) as usize % BUCKETS;
        level * BUCKETS + digit
    }

    fn link(&mut self, index: u32) {
        if self.heads.is_empty() {
            self.heads.resize(LEVELS * BUCKETS, NIL);
        }
        let bucket = self.bucket_for(self.entries[index as usize].deadline);
        let head = std::mem::replace(&mut self.heads[bucket], index);
        if head != NIL {
            self.entries[head as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.previous = NIL;
        entry.next = head;
        entry.bucket = bucket as u16;
        self.occupied[bucket / BUCKETS] |= 1 << (bucket % BUCKETS);
    }

    fn unlink(&mut self, index: u32) {
        let Entry { previous, next, bucket, .. } = self.entries[index as usize];
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
        if previous != NIL {
            self.entries[previous as usize].next = next;
            return;
        }
        let bucket = usize::from(bucket);
        self.heads[bucket] = next;
        if next == NIL {
            self.occupied[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
        }
    }

    /// The next tick at which a bucket has to be looked at, and which bucket.
    fn next_bucket(&self) -> Option<(u64, usize)> {
        // The lowest level that is occupied comes first: whatever lies higher differs from the
        // wheel's tick in a higher digit.
        (0..LEVELS).find(|level| self.occupied[*level] != 0).map(|level| {
            let shift = level as u32 * LEVEL_BITS;
            let digit = self.occupied[level].trailing_zeros();
            let above = self.tick >> shift >> LEVEL_BITS << LEVEL_BITS;
            ((above | u64::from(digit)) << shift, level * BUCKETS + digit as usize)
        })
    }

    /// When to call [`expire`](Self::expire) next, in nanoseconds; never later than a timer is to
    /// be collected, earlier only for the few steps of a far one down the levels.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.next_bucket().map(|(tick, _)| tick << TICK_BITS)
    }

    /// Collects what is due at `now`, in the order of ticks. One-shots are gone after it; periodic
    /// timers are armed again on the grid they started on.
    pub(crate) fn expire(&mut self, now: u64, due: &mut VecDeque<Due>) {
        let until = now >> TICK_BITS;
        while let Some((tick, bucket)) = self.next_bucket() {
            if tick > until {
                break;
            }
            self.occupied[bucket / BUCKETS] &= !(1 << (bucket % BUCKETS));
            let mut index = std::mem::replace(&mut self.heads[bucket], NIL);
            self.tick = tick;
            let first = due.len();
            while index != NIL {
                let next = self.entries[index as usize].next;
                if tick_of(self.entries[index as usize].deadline) <= tick {
                    self.fire(index, now, due);
                } else {
                    self.link(index);
                }
                index = next;
            }
            // A bucket is a stack; timers of one tick fire in the order they came.
            due.make_contiguous()[first..].reverse();
        }
        self.tick = self.tick.max(until);
        if self.len == 0 && self.entries.capacity() > BUCKETS {
            *self = Self { tick: self.tick, floor: self.floor, ..Self::new() };
        }
    }

    fn fire(&mut self, index: u32, now: u64, due: &mut VecDeque<Due>) {
        let Entry { payload, deadline, period, generation, .. } = self.entries[index as usize];
        let id = TimerId { index, generation };
        if period == 0 {
            self.release(index);
            due.push_back(Due { id, payload, ticks: 1 });
            return;
        }
        let ticks = now.saturating_sub(deadline) / period + 1;
        self.entries[index as usize].deadline = deadline.saturating_add(ticks * period);
        self.link(index);
        due.push_back(Due { id, payload, ticks });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MILLISECOND: u64 = 1_000_000;

    fn payload(key: u64) -> Payload {
        Payload { owner: 0, key }
    }

    fn expired(wheel: &mut Wheel, now: u64) -> Vec<(u64, u64)> {
        let mut due = VecDeque::new();
        wheel.expire(now, &mut due);
        due.iter().map(|due| (due.payload.key, due.ticks)).collect()
    }

    /// A small generator of pseudo-random numbers (xorshift), so that failures can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<Entry>() <= 48);
    }

    #[test]
    fn steps_agree_with_a_sorted_map() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut wheel = Wheel::new();
        let mut model: BTreeMap<u64, (TimerId, u64)> = BTreeMap::new();
        let mut now = 0;
        for key in 0..200_000_u64 {
            let spans = [1000, MILLISECOND, 100 * MILLISECOND, 60_000 * MILLISECOND, 1 << 50];
            let span = spans[random.below(5) as usize];
            let deadline = now + random.below(span);
            let chosen = model.keys().nth(random.below(20) as usize).copied();
            match (random.below(4), chosen) {
                (0, Some(chosen)) => {
                    let (id, _) = model.remove(&chosen).expect("it was chosen from the model");
                    assert!(wheel.cancel(id));
                    assert!(!wheel.cancel(id));
                }
                (1, Some(chosen)) => {
                    let entry = model.get_mut(&chosen).expect("it was chosen from the model");
                    assert!(wheel.rearm(entry.0, deadline));
                    entry.1 = deadline;
                }
                _ => {
                    model.insert(key, (wheel.insert(deadline, 0, payload(key)), deadline));
                }
            }
            if random.below(3) == 0 {
                now += random.below(20 * MILLISECOND);
                for (key, ticks) in expired(&mut wheel, now) {
                    let (id, deadline) = model.remove(&key).expect("it is fired once");
                    assert!(deadline <= now, "fired early by {}", deadline - now);
                    assert_eq!(ticks, 1);
                    assert!(wheel.deadline(id).is_none());
                }
                let late = now.saturating_sub(2 << TICK_BITS);
                assert!(model.values().all(|(_, deadline)| *deadline > late), "one was missed");
                let next = model.values().map(|(_, deadline)| *deadline).min();
                assert_eq!(next.is_some(), wheel.next_deadline().is_some());
                assert!(next.is_none_or(|next| {
                    wheel.next_deadline().is_some_and(|at| at <= next + (2 << TICK_BITS))
                }));
            }
        }
        let mut left: Vec<u64> = expired(&mut wheel, u64::MAX).iter().map(|it| it.0).collect();
        left.sort_unstable();
        assert_eq!(left, model.keys().copied().collect::<Vec<_>>());
        assert_eq!(wheel.len, 0);
        assert!(wheel.entries.capacity() <= BUCKETS, "memory returns");
    }

    #[test]
    fn a_period_stays_on_its_grid_however_late_the_caller_is() {
        let mut wheel = Wheel::new();
        wheel.insert(10 * MILLISECOND, 10 * MILLISECOND, payload(1));
        let mut total = 0;
        for call in 1..=100 {
            for (_, ticks) in expired(&mut wheel, call * 17 * MILLISECOND) {
                total += ticks;
            }
        }
        assert_eq!(total, 170);
    }

    #[test]
    fn a_short_timer_costs_at_most_two_waits() {
        for start in 0..1000 {
            let mut wheel = Wheel::new();
            let begin = start * 7_777_777;
            expired(&mut wheel, begin);
            wheel.insert(begin + 900_000, 0, payload(1));
            let mut waits = 0;
            while let Some(at) = wheel.next_deadline() {
                waits += 1;
                expired(&mut wheel, at);
            }
            assert!(waits <= 2, "{waits} waits from {begin}");
        }
    }

    #[test]
    fn an_old_name_is_not_taken_for_a_new_timer() {
        let mut wheel = Wheel::new();
        let old = wheel.insert(1, 0, payload(1));
        assert_eq!(expired(&mut wheel, MILLISECOND), [(1, 1)]);
        for key in 0..200 {
            wheel.insert(2, 0, payload(key));
        }
        expired(&mut wheel, 2 * MILLISECOND);
        assert_eq!(wheel.entries.capacity(), 0);
        wheel.insert(u64::MAX, 0, payload(2));
        assert!(!wheel.cancel(old));
        assert!(!wheel.rearm(old, 5));
        assert_eq!(expired(&mut wheel, u64::MAX - 1), []);
    }
}
