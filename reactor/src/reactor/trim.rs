//! Gives back the memory that a burst has left in the tables of a loop. Tables grow as needed and
//! are checked from time to time, so a steady load pays for their growth once.

use std::collections::VecDeque;

use crate::Reactor;
use crate::reactor::core::Core;
use crate::source::table::NEVER;

/// The number of turns between two checks of the tables.
const TURNS: u64 = 64;
/// The shortest time between two shrinks, in nanoseconds of loop time. The cost of growing again is
/// then small compared with the burst that causes it.
const PERIOD: u64 = 1_000_000_000;
/// A table keeps room for at least this many.
pub(crate) const KEPT: usize = 1024;

/// A table that keeps the memory for the most elements that it has held.
pub(crate) trait Table {
    /// Returns how many elements it has room for.
    fn room(&self) -> usize;

    /// Returns how many elements it holds.
    fn used(&self) -> usize;

    /// Keeps room for `room` elements, or for those that it holds.
    fn shrink(&mut self, room: usize);

    /// Shrinks if less than a quarter of the room is used.
    fn trim(&mut self) {
        if self.room() > KEPT && self.used() < self.room() / 4 {
            self.shrink(KEPT.max(2 * self.used()));
        }
    }
}

impl<T> Table for Vec<T> {
    fn room(&self) -> usize {
        self.capacity()
    }

    fn used(&self) -> usize {
        self.len()
    }

    fn shrink(&mut self, room: usize) {
        self.shrink_to(room);
    }
}

impl<T> Table for VecDeque<T> {
    fn room(&self) -> usize {
        self.capacity()
    }

    fn used(&self) -> usize {
        self.len()
    }

    fn shrink(&mut self, room: usize) {
        self.shrink_to(room);
    }
}

impl<A> Core<A> {
    /// The tables whose elements change all the time.
    fn tables(&mut self) -> [&mut dyn Table; 10] {
        [
            &mut self.queue,
            &mut self.dirty,
            &mut self.arrivals,
            &mut self.ending,
            &mut self.to_notify,
            &mut self.disputed,
            &mut self.starved,
            &mut self.due,
            &mut self.shared,
            &mut self.wakes_taken,
        ]
    }
}

impl<A: 'static> Reactor<A> {
    /// Checks from time to time whether a table has far more room than it needs, and shrinks it.
    #[inline]
    pub(crate) fn trim(&mut self) {
        let is_time = self.core.ticks >= self.core.trim_at;
        if is_time || self.core.counters.turns.is_multiple_of(TURNS) {
            self.trim_now(is_time);
        }
    }

    #[inline(never)]
    fn trim_now(&mut self, is_time: bool) {
        if is_time {
            self.core.tables().into_iter().for_each(Table::trim);
            self.events.trim();
            self.core.mailbox.trim();
            self.core.notifier.trim();
            let slots = self.core.sources.trim();
            self.handlers.truncate(slots);
            self.handlers.trim();
            self.core.backend.trim();
            self.core.trim_at = NEVER;
        }
        if self.core.trim_at == NEVER && self.has_room() {
            self.core.trim_at = self.core.ticks.saturating_add(PERIOD);
        }
    }

    /// Returns whether a table may be able to shrink.
    fn has_room(&mut self) -> bool {
        let has_room = |table: &dyn Table| table.room() >= 2 * KEPT;
        self.core.tables().into_iter().any(|table| has_room(table))
            || has_room(&self.events)
            || self.core.mailbox.room().max(self.core.notifier.room()) >= 2 * KEPT
            || self.core.sources.has_room()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::sim::Script;
    use crate::{Cx, Handler, LoopLimits, Token, Trigger};

    const BURST: usize = 5000;
    const SECOND: Duration = Duration::from_secs(1);

    struct Idle;

    impl Handler for Idle {
        fn ready(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
            Ok(())
        }
    }

    fn reactor() -> (Script, Reactor) {
        let script = Script::new(Trigger::Level);
        let backend = script.backend();
        // Little room at the start.
        let limits = LoopLimits { connections_max: 10, ..LoopLimits::DEFAULT };
        let mut reactor = Reactor::with_backend(backend, limits, ()).expect("the reactor opens");
        reactor.set_audit(false);
        (script, reactor)
    }

    /// Returns the largest room of any table.
    fn room(reactor: &mut Reactor) -> usize {
        let tables = reactor.core.tables().map(|table| table.room());
        let most = tables.into_iter().max().unwrap_or(0).max(reactor.events.room());
        let sources = reactor.core.sources.room().max(reactor.handlers.capacity());
        most.max(sources).max(reactor.core.mailbox.room()).max(reactor.core.notifier.room())
    }

    /// Turns while there is work or memory to give back.
    fn rest(reactor: &mut Reactor) {
        for _ in 0..10 * BURST {
            if reactor.next_deadline().is_none() {
                return;
            }
            reactor.run_once(None).expect("it turns");
        }
        panic!("it does not come to rest");
    }

    fn crowd(reactor: &mut Reactor) -> Vec<Token> {
        (0..BURST).map(|_| reactor.cx().spawn(Idle).expect("it registers")).collect()
    }

    #[test]
    fn what_a_crowd_took_is_given_back_when_it_has_gone() {
        let (script, mut reactor) = reactor();
        let stays = reactor.cx().spawn(Idle).expect("it registers");
        let crowd = crowd(&mut reactor);
        for token in &crowd {
            reactor.cx().wake(*token);
        }
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        // While it exists, its slots are needed.
        script.advance(SECOND * 10);
        for _ in 0..2 * TURNS {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert!(reactor.core.sources.room() >= BURST);
        for token in &crowd {
            reactor.cx().close(*token);
        }
        assert!(room(&mut reactor) >= BURST);
        rest(&mut reactor);
        assert!(room(&mut reactor) <= 2 * KEPT, "{}", room(&mut reactor));
        // Names stay unique although their slots are created again.
        let again = self::crowd(&mut reactor);
        assert!(crowd.iter().all(|old| !again.contains(old) || *old == stays));
        for token in crowd {
            reactor.cx().wake(token);
        }
        let before = reactor.counters().runs;
        rest(&mut reactor);
        assert_eq!(reactor.counters().runs - before, 0, "an old name names nothing");
    }

    #[test]
    fn a_source_in_the_last_slot_keeps_no_loop_awake() {
        let (_script, mut reactor) = reactor();
        let crowd = crowd(&mut reactor);
        for token in &crowd[..BURST - 1] {
            reactor.cx().close(*token);
        }
        rest(&mut reactor);
        assert!(reactor.core.sources.room() >= BURST, "its slot is the last");
        reactor.cx().close(crowd[BURST - 1]);
        for _ in 0..TURNS {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        rest(&mut reactor);
        assert!(room(&mut reactor) <= 2 * KEPT, "{}", room(&mut reactor));
    }

    #[test]
    fn a_steady_load_keeps_its_room() {
        let (script, mut reactor) = reactor();
        let crowd = crowd(&mut reactor);
        let mut shrunk = 0;
        for _ in 0..3 * TURNS {
            script.advance(SECOND / 32);
            for token in &crowd {
                reactor.cx().wake(*token);
            }
            let before = reactor.core.queue.room();
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            shrunk += usize::from(reactor.core.queue.room() < before);
        }
        assert!(shrunk <= 6, "{shrunk} times in 6 s");
    }

    #[test]
    fn calls_of_other_threads_leave_no_room_behind() {
        let (_script, mut reactor) = reactor();
        for _ in 0..BURST {
            reactor.cx().remote().post(|_| ()).expect("there is room");
        }
        reactor.core.notifier.acknowledge();
        assert!(room(&mut reactor) >= BURST);
        for _ in 0..TURNS {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        rest(&mut reactor);
        assert!(room(&mut reactor) <= 2 * KEPT, "{}", room(&mut reactor));
    }

    #[test]
    fn wakes_of_other_threads_leave_no_room_behind() {
        let (script, mut reactor) = reactor();
        let crowd = crowd(&mut reactor);
        let wakers: Vec<_> = crowd.iter().map(|token| reactor.cx().waker_of(*token)).collect();
        for _ in 0..3 {
            for waker in &wakers {
                waker.wake().expect("the loop is there");
            }
            reactor.core.notifier.acknowledge();
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert!(reactor.core.notifier.room().min(reactor.core.wakes_taken.room()) >= BURST);
        for token in crowd {
            reactor.cx().close(token);
        }
        script.advance(SECOND);
        for _ in 0..2 * TURNS {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        rest(&mut reactor);
        assert!(room(&mut reactor) <= 2 * KEPT, "{}", room(&mut reactor));
    }
}
