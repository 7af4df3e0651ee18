//! The 16 databases, of which a command sees the one that its client has selected.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::call::integer;
use super::clock::Clock;
use super::error::{Error, error, fixed};
use super::store::Store;

/// The number of databases, Redis's default.
pub(crate) const DATABASES: usize = 16;

/// All databases. Dereferencing yields the selected one, so commands that work on keys need not
/// know of the others, and totals are kept in one place. An empty database owns no heap memory.
#[derive(Debug)]
pub(crate) struct Databases {
    all: [Store; DATABASES],
    selected: usize,
    /// Bytes that the databases which are not selected take.
    used_by_others: usize,
    /// The databases other than the selected one with lists that clients wait for: a bit for each.
    with_ready: u16,
    /// The database whose keys the last tick expired first.
    due_first: usize,
}

impl Databases {
    /// Returns empty databases, which share one clock.
    pub(crate) fn new(clock: &Rc<Clock>) -> Self {
        let all = std::array::from_fn(|_| Store::new(Rc::clone(clock)));
        Self { all, selected: 0, used_by_others: 0, with_ready: 0, due_first: 0 }
    }

    /// Returns the number of the selected database.
    pub(crate) fn selected(&self) -> usize {
        self.selected
    }

    /// Selects a database.
    #[inline]
    pub(crate) fn select(&mut self, number: usize) {
        if self.selected != number {
            self.leave_for(number);
        }
    }

    fn leave_for(&mut self, number: usize) {
        let left = self.selected;
        self.used_by_others += self.all[left].used();
        self.note_ready(left);
        self.selected = number;
        self.used_by_others -= self.all[number].used();
    }

    fn note_ready(&mut self, number: usize) {
        self.with_ready |= u16::from(!self.all[number].ready.is_empty()) << number;
    }

    /// Calls `act` with another database selected.
    pub(crate) fn within<R>(&mut self, number: usize, act: impl FnOnce(&mut Store) -> R) -> R {
        let before = self.selected;
        self.select(number);
        let result = act(self);
        self.select(before);
        result
    }

    /// Selects another database in which a client waits for a list that has been created. Returns
    /// whether there is one.
    #[inline]
    pub(crate) fn select_ready(&mut self) -> bool {
        if self.with_ready == 0 {
            return false;
        }
        let number = self.with_ready.trailing_zeros();
        self.with_ready &= !(1 << number);
        self.select(number as usize);
        true
    }

    /// Returns each database with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Store)> {
        self.all.iter().enumerate()
    }

    /// Returns about how many bytes of memory keys and values take.
    pub(crate) fn used(&self) -> usize {
        self.used_by_others + self.all[self.selected].used()
    }

    /// Returns how many keys have expired.
    pub(crate) fn expired(&self) -> u64 {
        self.all.iter().map(|store| store.expired).sum()
    }

    /// Resets the count of expired keys.
    pub(crate) fn forget_expired(&mut self) {
        self.all.iter_mut().for_each(|store| store.expired = 0);
    }

    /// Removes all keys of all databases.
    pub(crate) fn clear_all(&mut self) {
        (0..DATABASES).for_each(|number| self.within(number, Store::clear));
    }

    /// Removes up to `budget` expired keys from any database. Each call begins with another
    /// database, so one cannot use up the budget every time.
    pub(crate) fn expire_due(&mut self, mut budget: usize) {
        self.due_first = (self.due_first + 1) % DATABASES;
        for number in self.due_first..self.due_first + DATABASES {
            budget -= self.within(number % DATABASES, |store| store.expire_due(budget));
        }
    }

    /// Exchanges the keys of two databases. Watches and blocked clients stay with the number of
    /// their database.
    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        if let Ok([one, other]) = self.all.get_disjoint_mut([one, other]) {
            one.swap_keys(other);
        }
        let used: usize = self.all.iter().map(Store::used).sum();
        self.used_by_others = used - self.all[self.selected].used();
        for number in [one, other] {
            self.note_ready(number);
        }
    }
}

impl Deref for Databases {
    type Target = Store;

    #[inline]
    fn deref(&self) -> &Store {
        &self.all[self.selected % DATABASES]
    }
}

impl DerefMut for Databases {
    #[inline]
    fn deref_mut(&mut self) -> &mut Store {
        &mut self.all[self.selected % DATABASES]
    }
}

/// Reads an argument that names a database; its range is not checked yet.
pub(crate) fn int(argument: &[u8]) -> Result<i32, Error> {
    i32::try_from(integer(argument)?)
        .or(error("ERR value is out of range, value must between -2147483648 and 2147483647"))
}

/// Returns the database of this number.
pub(crate) fn in_range(number: i32) -> Result<usize, Error> {
    let number = usize::try_from(number).ok().filter(|number| *number < DATABASES);
    number.ok_or(fixed("ERR DB index is out of range"))
}

/// Returns the database that an argument names.
pub(crate) fn database(argument: &[u8]) -> Result<usize, Error> {
    in_range(int(argument)?)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use super::*;

    /// Returns databases, and a function that advances their clock by some milliseconds.
    fn databases() -> (Databases, impl Fn(u64)) {
        let (start, passed) = (Instant::now(), Rc::new(Cell::new(0)));
        let told = Rc::clone(&passed);
        let clock = Rc::new(Clock::new(
            move || start + Duration::from_millis(told.get()),
            reactor::time_of_day,
        ));
        let databases = Databases::new(&clock);
        let move_on = move |milliseconds| {
            passed.set(passed.get() + milliseconds);
            clock.begin();
        };
        (databases, move_on)
    }

    fn set_until(databases: &mut Databases, number: usize, key: &str, milliseconds: u64) {
        let at = databases.now() + milliseconds;
        databases.within(number, |store| {
            store.set_string(key.as_bytes(), b"value", false);
            store.set_expiry(key.as_bytes(), Some(at));
        });
    }

    fn lengths(databases: &Databases) -> Vec<usize> {
        databases.iter().map(|(_, store)| store.len()).collect()
    }

    #[test]
    fn empty_databases_use_little_memory() {
        assert!(size_of::<Databases>() < 6 * 1024, "{} bytes", size_of::<Databases>());
    }

    #[test]
    fn keys_expire_in_all_databases_and_totals_stay_correct() {
        let (mut databases, move_on) = databases();
        for number in 0..DATABASES {
            set_until(&mut databases, number, "ends", 50);
            databases.within(number, |store| store.set_string(b"stays", b"value", false));
        }
        let used: usize = databases.iter().map(|(_, store)| store.used()).sum();
        assert_eq!(databases.used(), used);
        move_on(100);
        databases.expire_due(1000);
        assert_eq!(lengths(&databases), [1; DATABASES]);
        assert_eq!((databases.expired(), databases.selected()), (DATABASES as u64, 0));
        databases.swap(3, 0);
        databases.select(3);
        let used: usize = databases.iter().map(|(_, store)| store.used()).sum();
        assert_eq!(databases.used(), used);
        databases.clear_all();
        assert_eq!((databases.used(), databases.selected()), (0, 3));
    }

    #[test]
    fn a_database_with_many_expired_keys_does_not_delay_the_others() {
        let (mut databases, move_on) = databases();
        for number in 0..1000 {
            set_until(&mut databases, 1, &number.to_string(), 50);
        }
        set_until(&mut databases, 2, "ends", 50);
        move_on(100);
        for _ in 0..DATABASES {
            databases.expire_due(10);
        }
        assert_eq!(lengths(&databases)[..3], [0, 1000 - 10 * DATABASES + 1, 0]);
    }
}
