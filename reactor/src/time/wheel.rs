//! The timer wheel. Arming, moving and cancelling a timer take constant time.
//!
//! The wheel has eight levels of 64 buckets. A bucket of level `n` covers 64^n ticks, so the levels
//! span every `u64` of nanoseconds. A timer is at the level of the highest digit in which its tick
//! differs from the tick of the wheel. A bitmap for each level finds the next bucket without a
//! search.
//!
//! Each bucket remembers the earliest deadline that was put into it. Timers of the first occupied
//! bucket precede all others, so its earliest deadline is the time to wake: to the nanosecond, and
//! without waking just to move timers down a level.
//!
//! With a million timers, the cost of an operation is the memory that it fetches. Buckets refer to
//! timers rather than link them, and the part of a timer that operations need takes 16 bytes.
//! Moving or cancelling a timer fetches the cache line of that part; the other lines are in use
//! anyway.
//!
//! Moving a timer to a later time is one store. It stays in its old bucket until that bucket is
//! reached, and is then put where it belongs. The price is at most one wake-up in vain for each
//! bucket, which suits idle timeouts.

mod buckets;
mod chunks;
mod compaction;
mod cutting;
mod departures;
mod entry;
mod expiry;
mod moved;
mod places;
mod timer;
mod weeding;

use std::num::NonZeroU32;

use buckets::Buckets;
use chunks::{REFERENCE_SIZE_MAX, Reference};
use departures::{Departure, Departures};
use entry::{Entry, Place};
use moved::Moved;
use places::Places;
pub(crate) use timer::{Collected, Due, Payload, TimerTag};

use crate::sys;

/// A tick is 2^16 ns. It determines how timers are grouped, not how punctual they are.
const TICK_BITS: u32 = 16;
/// 64 buckets a level: the bits of one word.
const LEVEL_BITS: u32 = 6;
const BUCKETS: usize = 1 << LEVEL_BITS;
/// 8 levels of 6 bits and the 16 bits of a tick make 64: no deadline is out of range.
const LEVELS: usize = 8;
/// The number of places that are never given back, so that a few timers do not allocate each time.
/// Most generations are used up in these places, and do not count for the others.
const KEPT: usize = 1024;

/// The size of a timer. When timers are moved often, as many references may be stale in addition.
const _: () = assert!(size_of::<Entry>() + size_of::<Payload>() + REFERENCE_SIZE_MAX <= 48);
const _: () = assert!(LEVELS * BUCKETS <= Place::COLLECTED as usize);

/// The timers of one loop, in nanoseconds of its time.
pub(crate) struct Wheel {
    entries: Vec<Entry>,
    /// The payload of each timer, by the same index. It is read only when a timer fires.
    payloads: Vec<Payload>,
    /// The periods in nanoseconds, by the same index, up to the last periodic timer so far: most
    /// have none.
    periods: Vec<u64>,
    vacant: Places,
    len: usize,
    /// The generation of new places: higher than that of any place whose memory was given back.
    floor: NonZeroU32,
    /// The tick of the wheel. It advances when a timer is due, and not each time the clock is read.
    tick: u64,
    buckets: Buckets,
    departures: Departures,
    moved: Moved,
    /// The number of places to keep, while memory is being given back.
    limit: Option<usize>,
    /// The run of places at which `weed` continues.
    weeded: usize,
    /// The number of references that `expire` has visited, and of places that `weed` has visited.
    #[cfg(test)]
    pub(crate) touched: u64,
    /// The number of references that `compact` has visited.
    #[cfg(test)]
    swept: u64,
}

/// Returns the tick of a deadline.
fn tick_of(deadline: u64) -> u64 {
    deadline >> TICK_BITS
}

/// Returns the level of the highest digit in which two ticks differ.
fn level_of(difference: u64) -> usize {
    ((difference | 1).ilog2() / LEVEL_BITS) as usize
}

/// Returns the digit of a tick at a level.
fn digit(tick: u64, level: usize) -> usize {
    (tick >> (level as u32 * LEVEL_BITS)) as usize % BUCKETS
}

impl Wheel {
    /// Returns a wheel that owns no heap memory until a timer is armed.
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            payloads: Vec::new(),
            periods: Vec::new(),
            vacant: Places::new(),
            len: 0,
            floor: NonZeroU32::MIN,
            tick: 0,
            buckets: Buckets::new(),
            departures: Departures::new(),
            moved: Moved::new(),
            limit: None,
            weeded: 0,
            #[cfg(test)]
            touched: 0,
            #[cfg(test)]
            swept: 0,
        }
    }

    /// Returns a wheel with room for `count` timers, since tables that grow leave holes in memory.
    pub(crate) fn with_room(count: usize) -> Self {
        let (entries, payloads) = (Vec::with_capacity(count), Vec::with_capacity(count));
        Self { entries, payloads, ..Self::new() }
    }

    /// Returns how many timers are armed.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Arms a timer that is due at `deadline` and, unless `period` is 0, every `period` after it.
    pub(crate) fn insert(&mut self, deadline: u64, period: u64, payload: Payload) -> TimerTag {
        let id = self.occupy(deadline, payload);
        if period != 0 {
            self.make_periodic(id.index, period);
        }
        self.link(id.index, deadline);
        id
    }

    /// Arms a timer of a source itself, which `cancel` does not cancel.
    pub(crate) fn insert_own(&mut self, deadline: u64, payload: Payload) -> TimerTag {
        let id = self.occupy(deadline, payload);
        self.entries[id.index as usize].place.0 |= Place::OWN;
        self.link(id.index, deadline);
        id
    }

    /// Takes a place for a timer, without putting it into a bucket.
    #[inline]
    fn occupy(&mut self, deadline: u64, payload: Payload) -> TimerTag {
        self.len += 1;
        let Some(index) = self.vacancy() else { return self.grow(deadline, payload) };
        let entry = &mut self.entries[index as usize];
        entry.deadline = deadline;
        let generation = entry.generation;
        self.payloads[index as usize] = payload;
        TimerTag { index, generation }
    }

    #[inline]
    fn vacancy(&mut self) -> Option<u32> {
        match self.vacant.pop() {
            None if !self.departures.is_empty() => {
                self.settle();
                self.vacant.pop()
            }
            index => index,
        }
    }

    /// Adds a place, for a timer.
    #[inline]
    fn grow(&mut self, deadline: u64, payload: Payload) -> TimerTag {
        let (index, generation) = (self.entries.len(), self.floor);
        assert!(index < u32::MAX as usize, "memory ends before 2^32 timers");
        if index == 0 {
            self.buckets.prepare();
        }
        self.vacant.reach(index + 1);
        self.entries.push(Entry { deadline, generation, place: Place(Place::NOWHERE) });
        self.payloads.push(payload);
        TimerTag { index: index as u32, generation }
    }

    /// Cancels a timer, unless it is one of a source itself. Returns whether it was armed.
    pub(crate) fn cancel(&mut self, id: TimerTag) -> bool {
        match self.find(id) {
            Some((index, place)) if !place.is_own() => self.remove(index, place),
            _ => return false,
        }
        true
    }

    /// Cancels a timer of a source itself.
    pub(crate) fn cancel_own(&mut self, id: TimerTag) {
        if let Some((index, place)) = self.find(id) {
            self.remove(index, place);
        }
    }

    /// Moves a timer, unless it is one of a source itself. The grid of a periodic timer moves
    /// along. Returns whether it was armed.
    pub(crate) fn rearm(&mut self, id: TimerTag, deadline: u64) -> bool {
        match self.find(id) {
            Some((index, place)) if !place.is_own() => self.shift(index, place, deadline),
            _ => return false,
        }
        true
    }

    /// Moves a timer of a source itself.
    pub(crate) fn rearm_own(&mut self, id: TimerTag, deadline: u64) {
        if let Some((index, place)) = self.find(id) {
            self.shift(index, place, deadline);
        }
    }

    /// Returns the deadline of a timer, if it is armed.
    pub(crate) fn deadline(&self, id: TimerTag) -> Option<u64> {
        self.find(id).map(|(index, _)| self.entries[index as usize].deadline)
    }

    /// Returns when to call [`expire`](Self::expire) next, in nanoseconds. That is the deadline of
    /// the next timer, or earlier if that timer was moved, or was cancelled since
    /// [`settle`](Self::settle).
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.buckets.soonest()
    }

    /// Prefetches a timer that will be used soon.
    #[inline]
    pub(crate) fn prefetch(&self, timer: Collected) {
        let index = timer.tag.index as usize;
        if let (Some(entry), Some(payload)) = (self.entries.get(index), self.payloads.get(index)) {
            sys::prefetch(entry);
            sys::prefetch(payload);
        }
    }

    /// Returns the owner of a timer that was collected and has not fired.
    pub(crate) fn owner(&self, timer: Collected) -> u64 {
        self.payloads.get(timer.tag.index as usize).map_or(u64::MAX, |it| it.owner)
    }

    /// Returns the place of a timer, by its name.
    #[inline]
    fn find(&self, id: TimerTag) -> Option<(u32, Place)> {
        match self.at(id) {
            Some(entry) => Some((id.index, entry.place)),
            None if self.moved.is_empty() => None,
            None => self.find_moved(id),
        }
    }

    #[cold]
    fn find_moved(&self, id: TimerTag) -> Option<(u32, Place)> {
        let index = self.moved.place(id)?;
        Some((index, self.entries[index as usize].place))
    }

    /// Returns the timer at a place, if its generation is `generation`.
    #[inline]
    fn at(&self, tag: TimerTag) -> Option<&Entry> {
        let entry = self.entries.get(tag.index as usize)?;
        let is_armed = entry.place.bucket() != Place::NOWHERE;
        (entry.generation == tag.generation && is_armed).then_some(entry)
    }

    #[cold]
    fn make_periodic(&mut self, index: u32, period: u64) {
        if self.periods.len() <= index as usize {
            self.periods.resize(index as usize + 1, 0);
        }
        self.periods[index as usize] = period;
        self.entries[index as usize].place.0 |= Place::PERIODIC;
    }

    /// Removes a timer: it is no longer found. Its bucket is told later.
    #[inline]
    fn remove(&mut self, index: u32, place: Place) {
        let entry = &mut self.entries[index as usize];
        entry.place = place.freed();
        entry.generation = entry.generation.saturating_add(1);
        self.len -= 1;
        if place.is_moved() {
            self.moved.remove(index);
        }
        let is_full = self.departures.push(Departure { index, bucket: place.bucket() });
        if is_full || self.len == 0 {
            self.settle();
        }
    }

    /// Tells the buckets which timers were removed, and frees their places.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if !self.departures.is_empty() {
            self.settle_all();
        }
    }

    #[inline(never)]
    fn settle_all(&mut self) {
        while let Some(Departure { index, bucket }) = self.departures.pop() {
            if bucket < Place::COLLECTED {
                self.buckets.leave(bucket as usize);
            }
            self.free(index);
        }
        self.give_back();
    }

    /// Frees a place. A place whose generations are used up is never used again, since its names
    /// would repeat.
    #[inline]
    fn free(&mut self, index: u32) {
        let generation = self.entries[index as usize].generation;
        if index as usize >= KEPT {
            self.floor = self.floor.max(generation);
        }
        if generation != NonZeroU32::MAX {
            self.vacant.insert(index);
        }
    }

    /// Moves an armed timer.
    #[inline]
    fn shift(&mut self, index: u32, place: Place, deadline: u64) {
        let before = std::mem::replace(&mut self.entries[index as usize].deadline, deadline);
        if place.bucket() == Place::COLLECTED {
            self.link(index, deadline);
        } else if deadline < before {
            self.pull(index, place, deadline);
        }
    }

    /// Makes sure that a timer that was moved to an earlier time within its bucket is reached by
    /// then.
    #[inline]
    fn pull(&mut self, index: u32, place: Place, deadline: u64) {
        let bucket = place.bucket() as usize;
        if tick_of(deadline).max(self.tick) >= self.start_of(bucket) {
            self.buckets.hasten(bucket, deadline);
        } else {
            self.buckets.leave(bucket);
            self.link(index, deadline);
        }
    }

    /// Puts a timer that is in no bucket at the end of the bucket for its deadline.
    #[inline]
    fn link(&mut self, index: u32, deadline: u64) {
        // A deadline in the past counts as now.
        let tick = tick_of(deadline).max(self.tick);
        let level = level_of(tick ^ self.tick);
        let bucket = level * BUCKETS + digit(tick, level);
        let place = self.entries[index as usize].place.next(bucket as u32);
        if place.is_first() {
            self.forget_references(index);
        }
        self.entries[index as usize].place = place;
        if self.buckets.push(bucket, deadline, Reference { index, place: place.0 }) {
            self.buckets.tidy(&self.entries);
        }
    }

    /// Removes stale references to a place whose count starts again: they must not be taken for new
    /// ones.
    #[cold]
    fn forget_references(&mut self, index: u32) {
        self.entries[index as usize].place = Place(Place::NOWHERE);
        self.buckets.sweep_all(&self.entries);
    }
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;
    use std::collections::{BTreeMap, VecDeque};

    const MILLISECOND: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MILLISECOND;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;

    pub(super) fn payload(key: u64) -> Payload {
        Payload { owner: !key, key }
    }

    fn expired(wheel: &mut Wheel, now: u64) -> Vec<Due> {
        let mut due = VecDeque::new();
        wheel.expire(now, usize::MAX, &mut due);
        due.into_iter().filter_map(|timer| wheel.take(timer, now)).collect()
    }

    fn keys(wheel: &mut Wheel, now: u64) -> Vec<u64> {
        expired(wheel, now).iter().map(|due| due.payload.key).collect()
    }

    pub(super) fn heap(wheel: &Wheel) -> usize {
        let vectors =
            wheel.entries.capacity() + wheel.payloads.capacity() + wheel.periods.capacity();
        vectors + wheel.vacant.heap() + wheel.buckets.heap()
    }

    /// The most heap memory of a wheel with few timers: three tables of places, a bit for each, the
    /// buckets, and no more chunks than the buckets have.
    pub(super) const HEAP_KEPT: usize =
        3 * KEPT + KEPT / 32 + LEVELS * BUCKETS * 2 + 64 + 3 * KEPT / 15;

    /// Returns a time within a span that is random too, so that every level occurs.
    pub(super) fn span(random: &mut Random) -> u64 {
        let bits = random.below(63);
        random.number() & ((1 << bits) - 1)
    }

    #[test]
    fn no_timer_of_a_hundred_thousand_is_early_or_late_when_the_caller_sleeps_as_told() {
        let mut random = Random::new(0x1234_5678_9abc_def1);
        let mut wheel = Wheel::new();
        for key in 0..100_000 {
            wheel.insert(random.below(60 * SECOND), 0, payload(key));
        }
        let (mut fired, mut last) = (0, 0);
        while let Some(now) = wheel.next_deadline() {
            let due = expired(&mut wheel, now);
            assert!(!due.is_empty(), "nothing was moved, so no wake-up is in vain");
            assert!(due.iter().all(|due| due.deadline == now && due.deadline >= last));
            last = now;
            fired += due.len();
        }
        assert_eq!(fired, 100_000);
    }

    /// A slow model of the wheel.
    #[derive(Default)]
    struct Model(BTreeMap<u64, (TimerTag, u64, u64)>);

    impl Model {
        /// Returns the key of any timer.
        fn any(&self, random: &mut Random, keys: u64) -> Option<u64> {
            let start = random.below(keys + 1);
            self.0.range(start..).next().or_else(|| self.0.first_key_value()).map(|it| *it.0)
        }

        fn expire(&mut self, now: u64) -> Vec<(u64, u64, u64)> {
            let mut due = Vec::new();
            for (key, (_, deadline, period)) in &mut self.0 {
                if *deadline <= now {
                    let ticks = (now - *deadline).checked_div(*period).unwrap_or(0) + 1;
                    due.push((*deadline, *key, ticks));
                    *deadline += ticks * *period;
                }
            }
            self.0.retain(|_, (_, deadline, _)| *deadline > now);
            due.sort_unstable();
            due
        }
    }

    fn agree(seed: u64, steps: u64) {
        let mut random = Random::new(seed);
        let (mut wheel, mut model) = (Wheel::new(), Model::default());
        let (mut now, mut dead) = (0_u64, Vec::new());
        for key in 0..steps {
            let deadline =
                (now + span(&mut random)).saturating_sub(random.below(2) * span(&mut random));
            let chosen = model.any(&mut random, key);
            match (random.below(8), chosen) {
                (0 | 1, Some(chosen)) => {
                    let (id, ..) = model.0.remove(&chosen).expect("it was chosen from the model");
                    assert!(wheel.cancel(id));
                    dead.push(id);
                }
                (2 | 3, Some(chosen)) => {
                    let timer = model.0.get_mut(&chosen).expect("it was chosen from the model");
                    timer.1 = deadline;
                    assert!(wheel.rearm(timer.0, deadline));
                    assert_eq!(wheel.deadline(timer.0), Some(deadline));
                }
                (4 | 5, _) => {
                    // Seldom far, so that the clock does not overflow 64 bits.
                    now += if random.below(50) == 0 {
                        span(&mut random) >> 12
                    } else {
                        span(&mut random) >> 32
                    };
                    let due = expired(&mut wheel, now);
                    assert!(due.is_sorted_by_key(|due| due.deadline));
                    let told = |due: &Due| (due.deadline, due.payload.key, due.ticks);
                    let mut told: Vec<_> = due.iter().map(told).collect();
                    told.sort_unstable();
                    let before = model.0.clone();
                    assert_eq!(told, model.expire(now));
                    for due in due {
                        assert_eq!(due.id, before[&due.payload.key].0);
                        assert_eq!(due.payload, payload(due.payload.key));
                        if !model.0.contains_key(&due.payload.key) {
                            dead.push(due.id);
                        }
                    }
                }
                _ => {
                    let period = if random.below(8) == 0 { 1 + span(&mut random) } else { 0 };
                    let id = wheel.insert(deadline, period, payload(key));
                    model.0.insert(key, (id, deadline, period));
                }
            }
            check(&wheel, &model, &dead, &mut random);
        }
    }

    fn check(wheel: &Wheel, model: &Model, dead: &[TimerTag], random: &mut Random) {
        assert_eq!(wheel.len(), model.0.len());
        let soonest = model.0.values().map(|timer| timer.1).min();
        assert_eq!(wheel.next_deadline().is_some(), soonest.is_some());
        assert!(wheel.next_deadline() <= soonest, "woken too late");
        if !dead.is_empty() {
            let id = dead[random.below(dead.len() as u64) as usize];
            assert_eq!(wheel.deadline(id), None);
        }
    }

    #[test]
    fn a_hundred_thousand_random_steps_agree_with_a_sorted_map() {
        for seed in 1..=50 {
            agree(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed), 2000);
        }
    }

    #[test]
    fn a_period_stays_on_its_grid_however_late_the_caller_is() {
        let mut wheel = Wheel::new();
        let id = wheel.insert(10 * MILLISECOND, 10 * MILLISECOND, payload(1));
        let mut total = 0;
        for call in 1..=100 {
            let now = call * 17 * MILLISECOND;
            for due in expired(&mut wheel, now) {
                assert_eq!((due.id, due.deadline), (id, (total + 1) * 10 * MILLISECOND));
                total += due.ticks;
            }
            assert_eq!(total, now / (10 * MILLISECOND), "none lost, none invented");
            assert_eq!(wheel.next_deadline(), Some((total + 1) * 10 * MILLISECOND));
        }
        assert!(wheel.cancel(id));
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn an_old_name_is_not_taken_for_a_new_timer() {
        let mut wheel = Wheel::new();
        let fired = wheel.insert(1, 0, payload(1));
        assert_eq!(keys(&mut wheel, 1), [1]);
        let cancelled = wheel.insert(2, 0, payload(2));
        assert!(wheel.cancel(cancelled));
        let current = wheel.insert(3, 0, payload(3));
        assert_eq!(current.index, fired.index, "the place is used again");
        for old in [fired, cancelled] {
            assert!(!wheel.cancel(old) && !wheel.rearm(old, 9) && wheel.deadline(old).is_none());
        }
        assert_eq!(wheel.deadline(current), Some(3));
    }

    #[test]
    fn an_old_name_is_refused_after_the_memory_went_back() {
        let mut wheel = Wheel::new();
        let old: Vec<_> = (0..5000).map(|key| wheel.insert(1, 0, payload(key))).collect();
        assert_eq!(keys(&mut wheel, 1).len(), 5000);
        assert!(heap(&wheel) <= HEAP_KEPT);
        for key in 0..5000 {
            wheel.insert(2, 0, payload(key));
        }
        assert!(old.iter().all(|id| wheel.deadline(*id).is_none()));
    }

    #[test]
    fn a_place_whose_generations_are_used_up_is_left_alone() {
        let mut wheel = Wheel::new();
        let first = wheel.insert(1, 0, payload(1));
        wheel.entries[0].generation = NonZeroU32::MAX;
        let last = TimerTag { generation: NonZeroU32::MAX, ..first };
        assert!(wheel.cancel(last) && !wheel.cancel(last));
        assert_ne!(wheel.insert(1, 0, payload(2)).index, last.index);
        assert_eq!(wheel.deadline(last), None);
    }

    #[test]
    fn time_may_jump_by_hours_and_back() {
        let mut wheel = Wheel::new();
        for key in 1..=48 {
            wheel.insert(key * HOUR / 2, 0, payload(key));
        }
        assert_eq!(keys(&mut wheel, 10 * HOUR), (1..=20).collect::<Vec<_>>());
        assert_eq!(keys(&mut wheel, 5 * HOUR), []);
        wheel.insert(6 * HOUR, 0, payload(99));
        assert_eq!(keys(&mut wheel, 5 * HOUR), [], "even a clock that went back is not early");
        assert_eq!(keys(&mut wheel, 6 * HOUR), [99]);
        assert_eq!(keys(&mut wheel, 24 * HOUR), (21..=48).collect::<Vec<_>>());
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn the_last_nanosecond_can_be_waited_for() {
        let mut wheel = Wheel::new();
        wheel.insert(u64::MAX, 0, payload(1));
        wheel.insert(u64::MAX - 1, u64::MAX, payload(2));
        assert_eq!(wheel.next_deadline(), Some(u64::MAX - 1));
        assert_eq!(keys(&mut wheel, 1000 * HOUR), []);
        assert_eq!(keys(&mut wheel, u64::MAX - 1), [2]);
        assert_eq!(wheel.next_deadline(), Some(u64::MAX));
        assert_eq!(keys(&mut wheel, u64::MAX), [1, 2]);
    }

    #[test]
    fn what_is_due_already_is_collected_at_once() {
        let mut wheel = Wheel::new();
        wheel.insert(0, 0, payload(0));
        assert_eq!(wheel.next_deadline(), Some(0));
        assert_eq!(keys(&mut wheel, 0), [0]);
        let now = 7 * SECOND + 123;
        wheel.insert(now, 0, payload(1));
        assert_eq!(keys(&mut wheel, now), [1]);
        for (key, deadline) in [(4, now), (2, 0), (3, now - 1)] {
            wheel.insert(deadline, 0, payload(key));
        }
        wheel.insert(now + 1, 0, payload(5));
        assert_eq!(keys(&mut wheel, now), [2, 3, 4], "in the order of deadlines");
        assert_eq!(keys(&mut wheel, now + 1), [5]);
    }

    #[test]
    fn timers_of_one_deadline_fire_in_the_order_they_were_armed() {
        let mut wheel = Wheel::new();
        let at = 100 * SECOND;
        for key in 0..100 {
            // Each is armed from nearer, while those before it move down the levels.
            let now = at - (at >> (key / 3));
            wheel.insert(now, 0, payload(1000));
            expired(&mut wheel, now);
            wheel.insert(at, 0, payload(key));
        }
        assert_eq!(keys(&mut wheel, at), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_short_timer_costs_one_wait_wherever_the_clock_stands() {
        for start in 0..1000 {
            let begin = start * 7_777_777;
            let mut wheel = Wheel::new();
            wheel.insert(begin, 0, payload(0));
            expired(&mut wheel, begin);
            wheel.insert(begin + 900_000, 0, payload(1));
            assert_eq!(wheel.next_deadline(), Some(begin + 900_000));
            assert_eq!(keys(&mut wheel, begin + 900_000), [1]);
        }
    }

    #[test]
    fn moving_a_timer_away_costs_one_wait_in_vain_however_often_it_is_moved() {
        let mut wheel = Wheel::new();
        let id = wheel.insert(60 * SECOND, 0, payload(1));
        for event in 0..10_000 {
            wheel.rearm(id, 60 * SECOND + event * 5 * MILLISECOND);
        }
        let mut waits = 0;
        while let Some(now) = wheel.next_deadline() {
            waits += 1;
            expired(&mut wheel, now);
        }
        assert_eq!(waits, 2);
    }

    #[test]
    fn moving_a_timer_writes_a_reference_only_when_its_bucket_would_come_too_late() {
        let mut random = Random::new(11);
        let mut wheel = Wheel::new();
        let count = 100_000;
        let ids: Vec<_> = (0..count)
            .map(|key| wheel.insert(MILLISECOND + random.below(MINUTE), 0, payload(key)))
            .collect();
        assert_eq!(wheel.buckets.references(), ids.len());
        let later: Vec<_> =
            ids.iter().map(|id| wheel.deadline(*id).expect("it is armed")).collect();
        for (id, deadline) in ids.iter().zip(&later) {
            assert!(wheel.rearm(*id, deadline + MINUTE));
        }
        assert_eq!(wheel.buckets.references(), ids.len(), "to a later time is one store");
        for (id, deadline) in ids.iter().zip(&later) {
            assert!(wheel.rearm(*id, *deadline));
        }
        assert_eq!(wheel.buckets.references(), ids.len(), "and so is going back to the bucket");
        for id in &ids {
            assert!(wheel.rearm(*id, MILLISECOND + random.below(MINUTE)));
        }
        // Of two random times, the second is earlier in half of the cases, and then usually in
        // another bucket. At that level buckets are 17 s wide.
        let written = wheel.buckets.references() - ids.len();
        assert!(written * 100 < ids.len() * 45, "{written} references for {count} moves");
    }

    #[test]
    fn moving_and_cancelling_timers_allocates_nothing() {
        let mut random = Random::new(12);
        let mut wheel = Wheel::new();
        let ids: Vec<_> =
            (0..10_000).map(|key| wheel.insert(random.below(MINUTE), 0, payload(key))).collect();
        // The first round may add references and the map of free places.
        for id in &ids[..100] {
            assert!(wheel.cancel(*id));
        }
        wheel.settle();
        let before = heap(&wheel);
        for id in &ids[100..9000] {
            let deadline = wheel.deadline(*id).expect("it is armed");
            assert!(wheel.rearm(*id, deadline + random.below(MINUTE)) && wheel.cancel(*id));
        }
        wheel.settle();
        assert!(heap(&wheel) <= before + 10_000 / 32, "a bit for each place, and room");
    }

    #[test]
    fn a_bucket_whose_timers_were_cancelled_causes_no_wake_up() {
        let mut wheel = Wheel::new();
        wheel.insert(HOUR, 0, payload(0));
        for key in 0..100 {
            let id = wheel.insert(SECOND + key, 0, payload(key));
            assert!(wheel.cancel(id));
            wheel.settle();
            assert_eq!(wheel.next_deadline(), Some(HOUR));
        }
        let ids: Vec<_> =
            (0..1000).map(|key| wheel.insert(SECOND + key, 0, payload(key))).collect();
        assert!(ids.iter().all(|id| wheel.cancel(*id)));
        assert!(ids.iter().all(|id| !wheel.cancel(*id) && wheel.deadline(*id).is_none()));
        assert_eq!(keys(&mut wheel, MINUTE), [], "what is gone does not fire, settled or not");
        assert_eq!((wheel.len(), wheel.next_deadline()), (1, Some(HOUR)));
        assert_eq!(wheel.entries.len(), 1001);
    }

    #[test]
    fn places_are_used_again_before_more_are_made() {
        let mut wheel = Wheel::new();
        let mut ids: Vec<_> = (0..100).map(|key| wheel.insert(HOUR, 0, payload(key))).collect();
        for key in 0..10_000 {
            assert!(wheel.cancel(ids.remove(0)));
            ids.push(wheel.insert(HOUR, 0, payload(key)));
        }
        assert_eq!((wheel.len(), wheel.entries.len()), (100, 100));
    }

    #[test]
    fn a_crowd_of_idle_timeouts_is_looked_at_no_more_than_once_a_level() {
        let count = 10_000;
        let mut random = Random::new(77);
        let mut wheel = Wheel::new();
        let deadlines = (0..count).map(|_| random.below(60 * SECOND)).collect::<Vec<_>>();
        let ids: Vec<_> =
            deadlines.iter().map(|deadline| wheel.insert(*deadline, 0, payload(0))).collect();
        for (id, deadline) in ids.iter().zip(&deadlines) {
            wheel.rearm(*id, deadline + 60 * SECOND);
        }
        let (mut waits, mut fired) = (0, 0);
        while let Some(now) = wheel.next_deadline() {
            waits += 1;
            fired += expired(&mut wheel, now).len() as u64;
        }
        assert_eq!(fired, count);
        assert!(waits <= 2 * count, "{waits} waits");
        // 60 s are 20 bits of ticks, which are 4 levels; twice, since each timer was moved once.
        assert!(wheel.touched <= 2 * 5 * count, "{} looks", wheel.touched);
    }

    /// Returns how many entries are visited for each timer that fires, when `count` are armed.
    fn looks_per_timer(count: u64) -> u64 {
        let mut random = Random::new(5);
        let mut wheel = Wheel::new();
        for key in 0..count {
            wheel.insert(MILLISECOND + random.below(60 * SECOND), 0, payload(key));
        }
        for millisecond in 0..60_002 {
            expired(&mut wheel, millisecond * MILLISECOND);
        }
        assert_eq!(wheel.len(), 0);
        wheel.touched * 100 / count
    }

    #[test]
    fn a_timer_among_many_is_looked_at_no_more_often_than_among_few() {
        let (few, many) = (looks_per_timer(1000), looks_per_timer(200_000));
        assert!(many <= few * 2 && many <= 500, "{few} and {many} looks for 100 timers");
    }

    #[test]
    fn a_look_at_the_clock_touches_nothing_while_nothing_is_due() {
        let mut wheel = Wheel::new();
        for key in 0..1000 {
            wheel.insert(HOUR + key, 0, payload(key));
        }
        // The last call is within the tick of the first timers.
        for now in (0..10_000).map(|call| call * MILLISECOND).chain([HOUR - 1]) {
            expired(&mut wheel, now);
        }
        assert_eq!(wheel.touched, 0);
    }

    #[test]
    fn an_empty_wheel_owns_no_heap_before_big_use_and_little_after_it() {
        let mut wheel = Wheel::new();
        assert_eq!(heap(&wheel), 0);
        let ids: Vec<_> = (0..100_000).map(|key| wheel.insert(key, 0, payload(key))).collect();
        assert!(ids.iter().all(|id| wheel.cancel(*id)));
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
        assert!(heap(&wheel) <= HEAP_KEPT, "{}", heap(&wheel));
        for key in 0..100_000 {
            wheel.insert(key, 0, payload(key));
        }
        assert_eq!(keys(&mut wheel, HOUR).len(), 100_000);
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
        assert!(heap(&wheel) <= HEAP_KEPT, "{}", heap(&wheel));
    }

    #[test]
    fn what_is_due_can_be_cancelled_and_moved_until_it_fires() {
        let mut wheel = Wheel::new();
        let [cancelled, moved, pulled, periodic, plain] = [(1, 0), (2, 0), (3, 0), (4, 10), (5, 0)]
            .map(|(key, period)| wheel.insert(100 * SECOND + key, period, payload(key)));
        let now = 200 * SECOND;
        let mut due = VecDeque::new();
        wheel.expire(now, usize::MAX, &mut due);
        assert_eq!((due.len(), wheel.len(), wheel.next_deadline()), (5, 5, None));
        assert!(wheel.cancel(cancelled));
        assert!(wheel.rearm(moved, now + SECOND) && wheel.rearm(pulled, 0));
        assert!(wheel.cancel(periodic));
        let fired: Vec<_> = due.iter().filter_map(|timer| wheel.take(*timer, now)).collect();
        assert_eq!(fired.iter().map(|due| due.id).collect::<Vec<_>>(), [plain]);
        assert!(due.iter().all(|timer| wheel.take(*timer, now).is_none()), "nothing fires twice");
        assert_eq!(keys(&mut wheel, now), [3]);
        assert_eq!(keys(&mut wheel, now + SECOND), [2]);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn timers_of_ended_owners_are_cancelled_wherever_they_are() {
        let mut wheel = Wheel::new();
        for key in 0..10_000 {
            wheel.insert(key * MILLISECOND, key % 7, payload(key));
        }
        let mut due = VecDeque::new();
        wheel.expire(SECOND, usize::MAX, &mut due);
        wheel.weed(wheel.round(), |payload| payload.key % 2 == 0);
        assert_eq!(wheel.len(), 5000);
        let fired = due.into_iter().filter_map(|timer| wheel.take(timer, SECOND)).count();
        assert_eq!(fired, 501);
        wheel.weed(wheel.round(), |_| false);
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
        assert!(heap(&wheel) <= HEAP_KEPT, "{}", heap(&wheel));
    }

    #[test]
    fn a_cancelled_timer_gives_its_place_to_the_next() {
        let mut wheel = Wheel::new();
        for key in 0..100_000 {
            let id = wheel.insert(HOUR + key, 0, payload(key));
            assert!(wheel.cancel(id) && !wheel.cancel(id));
        }
        assert_eq!(wheel.entries.len(), 1);
    }

    /// The most references that the buckets may hold: see `buckets.rs` for the parts.
    fn assert_bounded(wheel: &Wheel) {
        let needed = wheel.entries.len() / 15;
        let (chunks, most) = (wheel.buckets.chunks(), LEVELS * BUCKETS + 3 * needed + 256);
        assert!(chunks <= most, "{chunks} chunks for {} places", wheel.entries.len());
    }

    #[test]
    fn references_out_of_date_stay_in_proportion_whatever_is_done() {
        for count in [2, 100, 10_000] {
            let mut random = Random::new(count);
            let mut wheel = Wheel::new();
            let mut ids: Vec<_> =
                (0..count).map(|key| wheel.insert(HOUR, 0, payload(key))).collect();
            for step in 0..300_000 {
                let place = random.below(count) as usize;
                // Some of them move earlier by a little each time, always to another bucket.
                let deadline = match random.below(3) {
                    0 => span(&mut random),
                    1 => HOUR / 2 + random.below(HOUR),
                    _ => wheel.deadline(ids[place]).expect("it is armed") / 2,
                };
                if random.below(4) == 0 {
                    assert!(wheel.cancel(ids[place]));
                    ids[place] = wheel.insert(deadline, 0, payload(step));
                } else {
                    assert!(wheel.rearm(ids[place], u64::MAX >> 1));
                    assert!(wheel.rearm(ids[place], deadline));
                }
                assert_bounded(&wheel);
                if step % 500 == 0 {
                    wheel.buckets.check();
                }
            }
            assert_eq!((wheel.len(), wheel.entries.len()), (ids.len(), ids.len()));
            assert_eq!(keys(&mut wheel, u64::MAX).len(), ids.len());
        }
    }

    #[test]
    fn timers_that_are_moved_all_the_time_agree_with_a_sorted_map() {
        let mut random = Random::new(3);
        let (mut wheel, mut model, mut now) = (Wheel::new(), Model::default(), 0);
        for key in 0..500 {
            let id = wheel.insert(MINUTE, MINUTE, payload(key));
            model.0.insert(key, (id, MINUTE, MINUTE));
        }
        for step in 0..200_000 {
            let timer = model.0.get_mut(&random.below(500)).expect("none of them is cancelled");
            let span = MINUTE >> random.below(20);
            timer.1 = now + random.below(span);
            assert!(wheel.rearm(timer.0, timer.1));
            if step % 100 == 0 {
                now += random.below(20 * MILLISECOND);
                let due = expired(&mut wheel, now);
                assert!(due.is_sorted_by_key(|due| due.deadline));
                let told = |due: &Due| (due.deadline, due.payload.key, due.ticks);
                let mut told: Vec<_> = due.iter().map(told).collect();
                told.sort_unstable();
                assert_eq!(told, model.expire(now));
                check(&wheel, &model, &[], &mut random);
                assert_bounded(&wheel);
                wheel.buckets.check();
            }
        }
    }

    #[test]
    fn the_order_of_one_deadline_survives_what_others_do_in_the_same_bucket() {
        let mut random = Random::new(9);
        let mut wheel = Wheel::new();
        let others: Vec<_> =
            (0..2000).map(|_| wheel.insert(2 * HOUR, 0, payload(u64::MAX))).collect();
        let mut passing = Vec::new();
        for key in 0..5000 {
            wheel.insert(HOUR, 0, payload(key));
            for _ in 0..5 {
                // One stays for a while; another comes from a different bucket and leaves again.
                passing.push(wheel.insert(HOUR, 0, payload(u64::MAX)));
                let gone = passing.swap_remove(random.below(passing.len() as u64) as usize);
                assert!(wheel.cancel(gone));
                let other = others[random.below(2000) as usize];
                assert!(wheel.rearm(other, HOUR + 1) && wheel.rearm(other, 1));
                assert!(wheel.rearm(other, 2 * HOUR));
            }
        }
        assert_bounded(&wheel);
        assert_eq!(keys(&mut wheel, HOUR), (0..5000).collect::<Vec<_>>());
    }

    #[test]
    fn a_reference_from_before_the_count_began_again_is_not_taken_for_a_new_one() {
        let mut wheel = Wheel::new();
        let old = wheel.insert(HOUR, 0, payload(1));
        wheel.insert(HOUR, 0, payload(2));
        assert!(wheel.cancel(old));
        let count = !(Place::COUNT - 1);
        wheel.entries[0].place = Place(wheel.entries[0].place.0 | count);
        let first = wheel.insert(HOUR, 0, payload(3));
        assert!(wheel.cancel(first));
        // It has the place, the bucket and the count of the old timer, whose reference comes first.
        let second = wheel.insert(HOUR, 0, payload(4));
        assert_eq!((old.index, first.index, second.index), (0, 0, 0));
        assert_eq!(wheel.entries[0].place.0 & count, Place::COUNT);
        assert_eq!(keys(&mut wheel, HOUR), [2, 4]);
    }

    #[test]
    fn a_timer_of_a_source_itself_is_moved_and_cancelled_by_the_loop_alone() {
        let mut wheel = Wheel::new();
        let own = wheel.insert_own(HOUR, payload(1));
        assert!(!wheel.cancel(own) && !wheel.rearm(own, 1));
        assert_eq!(wheel.deadline(own), Some(HOUR));
        wheel.rearm_own(own, 2);
        assert_eq!((wheel.next_deadline(), wheel.deadline(own)), (Some(2), Some(2)));
        wheel.cancel_own(own);
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
        let next = wheel.insert(HOUR, 0, payload(2));
        assert_eq!(next.index, own.index);
        assert!(wheel.cancel(next), "the place is not marked for ever");
    }

    #[test]
    fn timers_lie_side_by_side_in_whatever_order_those_before_were_cancelled() {
        let mut random = Random::new(4);
        let mut wheel = Wheel::new();
        let mut ids: Vec<_> = (0..10_000).map(|key| wheel.insert(key, 0, payload(key))).collect();
        while ids.len() > 5000 {
            let id = ids.swap_remove(random.below(ids.len() as u64) as usize);
            assert!(wheel.cancel(id));
        }
        wheel.settle();
        let places: Vec<_> =
            (0..5000).map(|key| wheel.insert(key, 0, payload(key)).index).collect();
        assert!(places.is_sorted());
        assert_eq!(wheel.entries.len(), 10_000);
    }
}
