//! Gives back the memory of a burst while some timers remain.
//!
//! The remaining timers are moved to the first places, and their chunks of references likewise.
//! This happens as the sweep goes round the buckets, a few chunks at a time, so the order within a
//! bucket is kept and no turn of the loop takes long. Then the tables are truncated.
//! [`Moved`](super::moved::Moved) finds a moved timer by its old name; a timer of a source itself
//! gets a new name.

use super::buckets::Swept;
use super::chunks::Reference;
use super::entry::{Entry, Place};
use super::places::Places;
use super::{KEPT, Payload, TimerTag, Wheel};

/// The number of places for each timer from which on compaction is worth it. So each moved timer is
/// paid for by as many that were armed, and afterwards at least a quarter of the places is in use.
const PLACES_PER_TIMER: usize = 8;
/// The number of chunks to sweep in a step. Twice as many free ones are sorted. A step takes about
/// a tenth of a millisecond.
const CHUNKS_PER_STEP: usize = 256;

impl Wheel {
    /// Returns whether memory is being given back, which [`compact`](Self::compact) continues.
    #[inline]
    pub(crate) fn is_compacting(&self) -> bool {
        self.limit.is_some()
    }

    /// Begins to give memory back, if far more is allocated than needed. Generations have to remain
    /// for later timers.
    pub(super) fn give_back(&mut self) {
        let is_big = self.entries.len() > KEPT.max(self.len.saturating_mul(PLACES_PER_TIMER));
        if !is_big || self.floor.get() >= u32::MAX / 2 {
            return;
        }
        if self.len == 0 {
            self.limit = None;
            self.buckets.clear();
            self.cut(KEPT);
        } else if self.limit.is_none() {
            let limit = KEPT.max(2 * self.len).next_multiple_of(Places::RUN);
            self.limit = Some(limit);
            self.vacant.put_back();
            self.buckets.begin_compaction(limit);
        }
    }

    /// Does one step of giving memory back. `rename` gets the new names of timers of sources
    /// themselves.
    pub(crate) fn compact(&mut self, mut rename: impl FnMut(&Payload, TimerTag)) {
        self.settle();
        let Some(limit) = self.limit else { return };
        if self.len > limit / 4 * 3 || self.floor.get() >= u32::MAX / 2 {
            // The memory is needed again, or the generations are used up.
            self.limit = None;
            self.buckets.end_compaction();
            return;
        }
        self.buckets.sort_free(2 * CHUNKS_PER_STEP);
        for _ in 0..CHUNKS_PER_STEP {
            if !self.lower_timers(limit, &mut rename) {
                return;
            }
            if self.buckets.sweep(&self.entries) == Swept::Round {
                self.vacant.put_back();
                if self.vacant.has_all(limit, self.entries.len()) && self.buckets.cut() {
                    self.limit = None;
                    self.cut(limit);
                    // Other timers may have been removed meanwhile.
                    self.give_back();
                }
                return;
            }
        }
    }

    /// Moves the timers of the next chunk to sweep. Returns false when that has to wait.
    fn lower_timers(&mut self, limit: usize, rename: &mut impl FnMut(&Payload, TimerTag)) -> bool {
        let Some(chunk) = self.buckets.ahead() else { return true };
        for place in 0.. {
            let Some(reference) = self.buckets.reference(chunk, place) else { break };
            #[cfg(test)]
            {
                self.swept += 1;
            }
            let is_high = reference.index as usize >= limit;
            if is_high && reference.is_current(&self.entries) {
                let Some(lower) = self.lower(reference.index, limit, rename) else { return false };
                self.buckets.replace(chunk, place, lower);
            }
        }
        true
    }

    /// Moves a timer to the lowest free place. Returns a reference to it there, if there is a
    /// place.
    fn lower(
        &mut self,
        from: u32,
        limit: usize,
        rename: &mut impl FnMut(&Payload, TimerTag),
    ) -> Option<Reference> {
        let to = self.vacant.pop()?;
        let Entry { deadline, generation: before, place } = self.entries[from as usize];
        let Entry { generation, place: last, .. } = self.entries[to as usize];
        let next = last.next(place.bucket());
        if to as usize >= limit || next.is_first() {
            if next.is_first() {
                self.forget_references(to);
            }
            self.vacant.insert(to);
            return None;
        }
        self.entries[to as usize] =
            Entry { deadline, generation, place: Place(next.0 | place.kind()) };
        let payload = self.payloads[from as usize];
        self.payloads[to as usize] = payload;
        if place.is_periodic() {
            self.make_periodic(to, self.periods[from as usize]);
        }
        let tag = TimerTag { index: to, generation };
        if place.is_own() {
            rename(&payload, tag);
        } else {
            let name = self.moved.remove(from);
            self.moved.insert(name.unwrap_or(TimerTag { index: from, generation: before }), to);
            self.entries[to as usize].place.0 |= Place::MOVED;
        }
        let left = &mut self.entries[from as usize];
        left.place = place.freed();
        left.generation = before.saturating_add(1);
        self.free(from);
        Some(Reference { index: to, place: self.entries[to as usize].place.0 })
    }

    /// Truncates the tables to `limit` places. All places from there on are free.
    fn cut(&mut self, limit: usize) {
        self.entries.truncate(limit);
        self.entries.shrink_to(limit);
        self.payloads.truncate(limit);
        self.payloads.shrink_to(limit);
        self.periods.truncate(limit);
        self.periods.shrink_to(limit);
        self.vacant.cut(limit);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};
    use std::num::NonZeroU32;

    use testkit::Random;

    use super::super::tests::{HEAP_KEPT, heap, payload, span};
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    /// Compacts until it is complete. Returns the most references that a step visited.
    fn compact(wheel: &mut Wheel, renamed: &mut BTreeMap<u64, TimerTag>) -> u64 {
        let mut most = 0;
        wheel.settle();
        for step in 0.. {
            if !wheel.is_compacting() {
                break;
            }
            assert!(step < 100_000, "it never ends");
            let before = wheel.swept;
            wheel.compact(|it, tag| _ = renamed.insert(it.key, tag));
            wheel.buckets.check();
            most = most.max(wheel.swept - before);
        }
        most
    }

    fn fired(wheel: &mut Wheel, now: u64) -> Vec<(TimerTag, u64)> {
        let mut due = VecDeque::new();
        wheel.expire(now, usize::MAX, &mut due);
        let taken = due.into_iter().filter_map(|timer| wheel.take(timer, now));
        taken.map(|due| (due.id, due.payload.key)).collect()
    }

    #[test]
    fn a_periodic_timer_that_stays_does_not_keep_the_memory_of_a_burst() {
        let mut wheel = Wheel::new();
        let burst: Vec<_> =
            (0..300_000).map(|key| wheel.insert(HOUR + key, 0, payload(key))).collect();
        let stays = wheel.insert(HOUR, HOUR, payload(1));
        assert!(heap(&wheel) > 100 * HEAP_KEPT);
        assert!(burst.iter().all(|id| wheel.cancel(*id)));
        let most = compact(&mut wheel, &mut BTreeMap::new());
        assert!(most <= 15 * CHUNKS_PER_STEP as u64, "{most} looks in a step");
        assert!(heap(&wheel) <= HEAP_KEPT, "{}", heap(&wheel));
        for hour in 1..=3 {
            assert_eq!(fired(&mut wheel, hour * HOUR), [(stays, 1)]);
        }
        assert!(burst.iter().all(|id| wheel.deadline(*id).is_none()), "an old name is refused");
        assert!(wheel.cancel(stays) && !wheel.cancel(stays));
        assert!(wheel.moved.is_empty());
    }

    #[test]
    fn timers_that_were_moved_keep_their_names_and_their_order() {
        let mut random = Random::new(21);
        let mut wheel = Wheel::new();
        let ids: Vec<_> = (0..100_000).map(|key| wheel.insert(HOUR, 0, payload(key))).collect();
        let (mut kept, mut gone): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for (key, id) in ids.into_iter().enumerate() {
            if random.below(50) == 0 {
                kept.push((id, key as u64));
            } else {
                assert!(wheel.cancel(id));
                gone.push(id);
            }
        }
        compact(&mut wheel, &mut BTreeMap::new());
        assert!(heap(&wheel) <= 8 * 2000 + HEAP_KEPT, "{}", heap(&wheel));
        assert!(wheel.moved.is_empty() == kept.iter().all(|(id, _)| (id.index as usize) < KEPT));
        // New timers get the places, and not the names.
        let later: Vec<_> = (0..3000).map(|key| wheel.insert(2 * HOUR, 0, payload(key))).collect();
        assert!(gone.iter().all(|id| wheel.deadline(*id).is_none() && !wheel.rearm(*id, 1)));
        let cancelled = kept.remove(7).0;
        assert!(wheel.cancel(cancelled) && !wheel.cancel(cancelled));
        let moved = kept.remove(9);
        assert!(wheel.rearm(moved.0, HOUR + 1));
        assert_eq!(wheel.deadline(moved.0), Some(HOUR + 1));
        assert_eq!(fired(&mut wheel, HOUR), kept);
        assert_eq!(fired(&mut wheel, HOUR + 1), [moved]);
        let keys: Vec<_> = fired(&mut wheel, 2 * HOUR).iter().map(|it| it.0).collect();
        assert_eq!(keys, later);
        assert!(wheel.moved.is_empty());
    }

    #[test]
    fn timers_of_sources_themselves_are_named_anew() {
        let mut wheel = Wheel::new();
        let burst: Vec<_> = (0..50_000).map(|key| wheel.insert(HOUR, 0, payload(key))).collect();
        let own: Vec<_> = (0..1000).map(|key| wheel.insert_own(HOUR, payload(key))).collect();
        assert!(burst.iter().all(|id| wheel.cancel(*id)));
        let mut names = BTreeMap::new();
        compact(&mut wheel, &mut names);
        assert!(heap(&wheel) <= 8 * 1000 + HEAP_KEPT && wheel.moved.is_empty());
        assert_eq!(names.len(), 1000);
        for (key, old) in own.iter().enumerate() {
            let new = names[&(key as u64)];
            assert_eq!((wheel.deadline(*old), wheel.deadline(new)), (None, Some(HOUR)));
            assert!(!wheel.cancel(new), "it is the source's own still");
        }
        let keys: Vec<_> = fired(&mut wheel, HOUR).iter().map(|it| it.1).collect();
        assert_eq!(keys, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn memory_is_given_back_however_often_few_timers_were_armed_before() {
        let mut wheel = Wheel::new();
        let stays = wheel.insert(HOUR, HOUR, payload(0));
        for key in 0..10 {
            // As if it had been used that often.
            let id = wheel.insert(HOUR, 0, payload(key));
            let used = NonZeroU32::new(u32::MAX - 100).expect("it is not zero");
            wheel.entries[id.index as usize].generation = used;
            assert!(wheel.cancel(TimerTag { generation: used, ..id }));
        }
        wheel.settle();
        let burst: Vec<_> = (0..50_000).map(|key| wheel.insert(HOUR, 0, payload(key))).collect();
        assert!(burst.iter().all(|id| wheel.cancel(*id)));
        compact(&mut wheel, &mut BTreeMap::new());
        assert!(heap(&wheel) <= HEAP_KEPT, "{}", heap(&wheel));
        assert!(wheel.cancel(stays));
    }

    #[test]
    fn giving_back_ends_when_there_is_need_of_the_memory_again() {
        let mut wheel = Wheel::new();
        let mut ids: Vec<_> = (0..50_000).map(|key| wheel.insert(HOUR, 0, payload(key))).collect();
        assert!(ids.drain(1000..).all(|id| wheel.cancel(id)));
        wheel.settle();
        assert!(wheel.is_compacting());
        wheel.compact(|_, _| ());
        ids.extend((0..40_000).map(|key| wheel.insert(HOUR, 0, payload(key))));
        wheel.compact(|_, _| ());
        assert!(!wheel.is_compacting());
        wheel.buckets.check();
        assert!(ids.iter().all(|id| wheel.deadline(*id) == Some(HOUR)));
        assert_eq!(fired(&mut wheel, HOUR).len(), 41_000);
        assert!(heap(&wheel) <= HEAP_KEPT);
    }

    /// Random bursts of timers, while memory is given back.
    #[test]
    fn bursts_at_random_agree_with_a_sorted_map() {
        for seed in 1..=20 {
            let mut random = Random::new(seed);
            let (mut wheel, mut model) = (Wheel::new(), BTreeMap::new());
            let (mut now, mut next, mut cuts) = (0, 0_u64, 0);
            for _ in 0..60 {
                for _ in 0..random.below(8000) {
                    let deadline = now + span(&mut random) % (4 * HOUR);
                    model.insert(next, (wheel.insert(deadline, 0, payload(next)), deadline));
                    next += 1;
                }
                let stay = 1 + random.below(60);
                let mut gone = Vec::new();
                model.retain(|_, (id, _)| {
                    let stays = random.below(stay) == 0;
                    gone.extend((!stays).then_some(*id));
                    stays
                });
                assert!(gone.iter().all(|id| wheel.cancel(*id)));
                for (id, deadline) in model.values_mut() {
                    if random.below(3) == 0 {
                        *deadline = now + span(&mut random) % (4 * HOUR);
                        assert!(wheel.rearm(*id, *deadline));
                    }
                }
                wheel.settle();
                let was = wheel.is_compacting();
                for _ in 0..random.below(60) {
                    wheel.compact(|_, _| ());
                }
                cuts += u32::from(was && !wheel.is_compacting());
                wheel.buckets.check();
                assert!(gone.iter().all(|id| wheel.deadline(*id).is_none()));
                assert!(
                    model.values().all(|(id, deadline)| wheel.deadline(*id) == Some(*deadline))
                );
                now += span(&mut random) % HOUR;
                let mut due: Vec<_> = model
                    .iter()
                    .filter(|(_, it)| it.1 <= now)
                    .map(|(key, it)| (it.0, *key))
                    .collect();
                due.sort_unstable();
                let mut told = fired(&mut wheel, now);
                told.sort_unstable();
                assert_eq!(told, due);
                model.retain(|_, it| it.1 > now);
                assert_eq!(wheel.len(), model.len());
            }
            assert!(cuts > 5, "{cuts} times");
        }
    }
}
