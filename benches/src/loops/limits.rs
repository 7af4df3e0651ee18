//! Lower bounds for timers: the cost of the comparison itself, and deadlines in an array.

use std::hint::black_box;
use std::io;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::timing::{self, Timers};

/// No timers, only a table of their names as users have it.
struct Harness(Vec<Option<NonZeroU64>>);

impl Timers for Harness {
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        self.0[place] = NonZeroU64::new(black_box(nanoseconds(delay)));
        Ok(())
    }

    fn rearm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        black_box((self.0[place], nanoseconds(delay)));
        Ok(())
    }

    fn cancel(&mut self, place: usize) -> io::Result<()> {
        black_box(self.0[place].take());
        Ok(())
    }
}

fn nanoseconds(delay: Duration) -> u64 {
    delay.as_nanos() as u64
}

/// Measures the cost of the comparison itself: reading its script and finding names.
///
/// # Errors
/// Never fails.
pub fn harness(count: usize) -> io::Result<()> {
    let names = (0..count).map(|_| None).collect();
    timing::measure(&mut Harness(names), count)
}

/// Deadlines that nothing waits for. A name is an index and a generation.
struct Array {
    names: Vec<Option<Name>>,
    deadlines: Vec<Deadline>,
    vacant: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Name {
    index: u32,
    generation: NonZeroU32,
}

#[derive(Clone, Copy)]
struct Deadline {
    nanoseconds: u64,
    generation: NonZeroU32,
}

impl Array {
    /// Returns the deadline of this name, if the name is still valid.
    fn find(&mut self, name: Option<Name>) -> Option<&mut Deadline> {
        let Name { index, generation } = name?;
        let deadline = self.deadlines.get_mut(index as usize)?;
        (deadline.generation == generation).then_some(deadline)
    }
}

impl Timers for Array {
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        let nanoseconds = nanoseconds(delay);
        let name = if let Some(index) = self.vacant.pop() {
            let deadline = &mut self.deadlines[index as usize];
            deadline.nanoseconds = nanoseconds;
            Name { index, generation: deadline.generation }
        } else {
            let name = Name { index: self.deadlines.len() as u32, generation: NonZeroU32::MIN };
            self.deadlines.push(Deadline { nanoseconds, generation: name.generation });
            name
        };
        self.names[place] = Some(name);
        Ok(())
    }

    fn rearm(&mut self, place: usize, delay: Duration) -> io::Result<()> {
        if let Some(deadline) = self.find(self.names[place]) {
            deadline.nanoseconds = nanoseconds(delay);
        }
        Ok(())
    }

    fn cancel(&mut self, place: usize) -> io::Result<()> {
        let name = self.names[place].take();
        if let (Some(deadline), Some(name)) = (self.find(name), name) {
            deadline.generation = deadline.generation.saturating_add(1);
            self.vacant.push(name.index);
        }
        Ok(())
    }
}

/// Measures the cost of storing deadlines, 16 bytes each, with names that detect reuse.
///
/// # Errors
/// Never fails.
pub fn array(count: usize) -> io::Result<()> {
    let names = (0..count).map(|_| None).collect();
    let (deadlines, vacant) = (Vec::new(), Vec::new());
    timing::measure(&mut Array { names, deadlines, vacant }, count)
}
