//! The queued sources by priority, and what each level may be sure of.

use crate::planted::{self, Planted};
use crate::reactor::priority::{LEVELS, PARTS};
use crate::{Priority, Tag};

/// Orders a queue by the priorities of its sources.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// Room for the sources of each level.
    waiting: [Vec<Tag>; LEVELS],
    /// How many parts of calls each level is owed.
    owed: [usize; LEVELS],
    /// How many sources were to be called in the last turn, and how many of each level, in order,
    /// were to be left.
    called: usize,
    left: [usize; LEVELS],
}

impl Levels {
    /// Puts those that a turn calls first, with `budget` calls, and behind them those that it leaves,
    /// both in the order of their levels. Within a level, they keep their order. `called` is how many
    /// the last turn has called of those that were arranged for it.
    pub(super) fn arrange(
        &mut self,
        tags: &mut Vec<Tag>,
        called: usize,
        budget: usize,
        priority: impl Fn(Tag) -> Priority,
    ) {
        let mut rest = tags.as_slice();
        // What was left by the last turn is in order. Looking it up in every turn would cost more than
        // the calls, if far more waits than a turn calls.
        if called == self.called {
            for (level, left) in self.waiting.iter_mut().zip(self.left) {
                let (known, others) = rest.split_at(left);
                level.extend_from_slice(known);
                rest = others;
            }
        }
        for tag in rest {
            self.waiting[priority(*tag).level()].push(*tag);
        }
        let portions = self.portions(budget);
        tags.clear();
        for (level, portion) in self.waiting.iter().zip(portions) {
            tags.extend_from_slice(&level[..portion]);
        }
        self.called = tags.len();
        for (place, portion) in portions.into_iter().enumerate() {
            let level = &mut self.waiting[place];
            tags.extend_from_slice(&level[portion..]);
            self.left[place] = level.len() - portion;
            level.clear();
        }
    }

    /// Returns how many sources of each level a turn calls.
    fn portions(&mut self, budget: usize) -> [usize; LEVELS] {
        let mut portions = [0; LEVELS];
        let mut free = budget;
        // First what is kept for a level, and then what is free, from the highest on.
        for priority in Priority::ALL {
            let level = priority.level();
            let waiting = self.waiting[level].len();
            let more = budget.saturating_mul(priority.share());
            self.owed[level] = self.owed[level].saturating_add(more);
            portions[level] = (self.owed[level] / PARTS).min(waiting).min(free);
            if planted::is(Planted::LevelStarves) {
                portions[level] = 0;
            }
            free -= portions[level];
        }
        for (level, portion) in portions.iter_mut().enumerate() {
            let waiting = self.waiting[level].len();
            let more = (waiting - *portion).min(free);
            *portion += more;
            free -= more;
            // A level that has nothing left to call is owed nothing.
            let paid = portion.saturating_mul(PARTS);
            self.owed[level] =
                if *portion == waiting { 0 } else { self.owed[level].saturating_sub(paid) };
        }
        portions
    }

    /// Returns for how many sources there is room.
    pub(super) fn room(&self) -> usize {
        self.waiting.iter().map(Vec::capacity).max().unwrap_or(0)
    }

    /// Gives room back, down to `room` for each level. It holds no source between two turns.
    pub(super) fn shrink(&mut self, room: usize) {
        self.waiting.iter_mut().for_each(|level| level.shrink_to(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(tag: Tag) -> Priority {
        Priority::ALL[tag.slot() as usize % LEVELS]
    }

    /// Turns with a queue that always holds `waiting` of each level, and returns how many of each
    /// were called.
    fn load(waiting: [usize; LEVELS], budget: usize, turns: usize) -> [usize; LEVELS] {
        let (mut levels, mut queue, mut called) = (Levels::default(), Vec::new(), 0);
        let mut calls = [0; LEVELS];
        let mut generation = 0;
        let mut add = |queue: &mut Vec<Tag>, level: usize| {
            generation += 1;
            queue.push(Tag::new(level as u32, generation));
        };
        for (level, waiting) in waiting.into_iter().enumerate() {
            (0..waiting).for_each(|_| add(&mut queue, level));
        }
        for _ in 0..turns {
            levels.arrange(&mut queue, called, budget, priority);
            let run: Vec<Tag> = queue.drain(..budget.min(queue.len())).collect();
            // Within a level, the first that was queued runs first.
            for level in 0..LEVELS as u32 {
                let own = |tags: &[Tag]| {
                    let own = tags.iter().filter(|tag| tag.slot() == level);
                    own.map(|tag| tag.generation()).collect::<Vec<_>>()
                };
                let order = [own(&run), own(&queue)].concat();
                assert!(order.is_sorted(), "{order:?}");
            }
            assert!(run.is_sorted_by_key(|tag| tag.slot()), "{run:?}");
            called = if queue.is_empty() { 0 } else { run.len() };
            for tag in run {
                calls[tag.slot() as usize] += 1;
                add(&mut queue, tag.slot() as usize);
            }
        }
        calls
    }

    #[test]
    fn each_level_gets_its_share_under_any_budget() {
        for budget in (1..40).chain([1000]) {
            let turns = 64;
            let [high, normal, low] = load([2000; 3], budget, turns);
            let all = budget * turns;
            assert_eq!(high + normal + low, all);
            // When a turn has one call and owes two, one of them comes with the next turn.
            let late = usize::from(budget == 1);
            assert_eq!((normal, low + late), (all / 4, all / 16), "with a budget of {budget}");
        }
    }

    #[test]
    fn what_a_level_does_not_need_is_for_the_others() {
        assert_eq!(load([2000, 0, 0], 16, 10), [160, 0, 0]);
        assert_eq!(load([0, 2000, 0], 16, 10), [0, 160, 0]);
        assert_eq!(load([0, 0, 2000], 16, 10), [0, 0, 160]);
        assert_eq!(load([1, 2, 2000], 16, 10), [10, 20, 130]);
        assert_eq!(load([2000, 0, 1], 16, 10), [150, 0, 10]);
        // All run, whatever their levels.
        assert_eq!(load([5, 5, 5], 16, 10), [50, 50, 50]);
    }

    #[test]
    fn a_level_saves_nothing_for_later() {
        let mut levels = Levels::default();
        let tags = |level: u32, count: u32| (0..count).map(move |it| Tag::new(level, it));
        for _ in 0..1000 {
            let mut queue: Vec<Tag> = tags(2, 1).collect();
            levels.arrange(&mut queue, 0, 16, priority);
        }
        let mut queue: Vec<Tag> = tags(2, 100).chain(tags(0, 100)).collect();
        levels.arrange(&mut queue, 0, 16, priority);
        let low = queue[..16].iter().filter(|tag| tag.slot() == 2).count();
        assert_eq!(low, 1);
    }

    #[test]
    fn what_a_turn_has_left_is_not_looked_up_again() {
        let looks = std::cell::Cell::new(0);
        let counted = |tag: Tag| {
            looks.set(looks.get() + 1);
            priority(tag)
        };
        let (mut levels, mut called) = (Levels::default(), 0);
        let mut queue: Vec<Tag> = (0..3000).map(|slot| Tag::new(slot, 0)).collect();
        for _ in 0..100 {
            levels.arrange(&mut queue, called, 10, counted);
            queue.drain(..10);
            called = 10;
        }
        assert_eq!(looks.get(), 3000);
        // A turn that was cut short has left something else.
        levels.arrange(&mut queue, called, 10, counted);
        queue.drain(..4);
        levels.arrange(&mut queue, 4, 10, counted);
        assert_eq!(looks.get(), 3000 + 1996);
        assert!(queue[..10].is_sorted_by_key(|tag| tag.slot() % 3), "{queue:?}");
    }
}
