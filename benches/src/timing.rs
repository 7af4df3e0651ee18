//! Measures timers: arming, moving, cancelling and firing, for different numbers of armed timers.

use std::io;
use std::time::{Duration, Instant};

use testkit::Random;

use crate::measure;

/// The longest delay of timers that the measurement waits for.
const EXPIRE_MAX: Duration = Duration::from_millis(20);
/// The minimum number of operations. With few timers, a phase is repeated to reach it.
const STEPS_MIN: usize = 100_000;

/// Returns a delay between 1 ms and 60 s, in milliseconds, the unit that all loops support.
fn long(random: &mut Random) -> u32 {
    1 + random.below(60_000) as u32
}

/// Returns a delay between 1 and 20 ms.
pub fn short(random: &mut Random) -> Duration {
    Duration::from_millis(1 + random.below(EXPIRE_MAX.as_millis() as u64))
}

/// The next timer, and its delay in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Step {
    place: u32,
    delay: u32,
}

/// The operations on timers. They are stored before the measurement and read in order, so that
/// random choices cost almost nothing.
#[derive(Debug)]
pub struct Script {
    random: Random,
    steps: Vec<Step>,
}

impl Script {
    /// Creates a script for `count` timers, in order.
    pub fn new(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let steps = (0..count).map(|place| Step { place, delay: 1 }).collect();
        Self { random: Random::new(1), steps }
    }

    /// Prepares each timer once, in the order in which they were first armed, with new delays.
    pub fn in_order(&mut self) {
        for place in 0..self.steps.len() {
            self.steps[place] = Step { place: place as u32, delay: long(&mut self.random) };
        }
    }

    /// Prepares each timer once, in a random order, with new delays. The order of events of
    /// connections is random relative to their places in memory, too.
    pub fn at_random(&mut self) {
        for place in (0..self.steps.len()).rev() {
            self.steps[place].delay = long(&mut self.random);
            let other = self.random.below(place as u64 + 1) as usize;
            self.steps.swap(place, other);
        }
    }

    /// Returns the timers and their delays.
    pub fn steps(&self) -> impl Iterator<Item = (usize, Duration)> + Clone {
        let delay = |step: &Step| Duration::from_millis(u64::from(step.delay));
        self.steps.iter().map(move |step| (step.place as usize, delay(step)))
    }

    /// Returns the first half of the steps.
    fn half(&self) -> impl Iterator<Item = (usize, Duration)> {
        self.steps().take(self.steps.len().div_ceil(2))
    }
}

/// The timers of a loop, by number: the code that users of the loop write for timers.
pub trait Timers {
    /// Arms a timer that is not armed.
    ///
    /// # Errors
    /// Fails if the loop fails.
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()>;

    /// Moves a timer that is armed.
    ///
    /// # Errors
    /// Fails if the loop fails.
    fn rearm(&mut self, place: usize, delay: Duration) -> io::Result<()>;

    /// Cancels a timer that is armed.
    ///
    /// # Errors
    /// Fails if the loop fails.
    fn cancel(&mut self, place: usize) -> io::Result<()>;
}

/// Measures the operations on `count` timers, and prints the time for one timer in each phase. No
/// timer is left.
///
/// # Errors
/// Fails if the loop fails.
pub fn measure(timers: &mut impl Timers, count: usize) -> io::Result<()> {
    let mut script = Script::new(count);
    script.in_order();
    let mut phases = Phases::new(count);
    for repeat in 0..STEPS_MIN.div_ceil(count.max(1)) {
        phases.of(count);
        script.steps().try_for_each(|(place, delay)| timers.arm(place, delay))?;
        phases.end("fill_ns");
        if repeat == 0 {
            phases.weigh();
        }
        script.at_random();
        phases.of(count);
        script.steps().try_for_each(|(place, delay)| timers.rearm(place, delay))?;
        phases.end("rearm_ns");
        script.in_order();
        phases.of(count);
        script.steps().try_for_each(|(place, delay)| timers.rearm(place, delay))?;
        phases.end("ordered_ns");
        // Half of the timers are cancelled and armed again while the other half stays.
        script.at_random();
        phases.of(count.div_ceil(2));
        script.half().try_for_each(|(place, _)| timers.cancel(place))?;
        phases.end("cancel_ns");
        phases.of(count.div_ceil(2));
        script.half().try_for_each(|(place, delay)| timers.arm(place, delay))?;
        phases.end("arm_ns");
        script.in_order();
        script.steps().try_for_each(|(place, _)| timers.cancel(place))?;
    }
    Ok(())
}

/// Measures phases. Prints the results on drop, because a call to the kernel between two phases
/// would affect the second.
#[derive(Debug)]
pub struct Phases {
    count: usize,
    memory: u64,
    started: u64,
    figures: Vec<(&'static str, f64)>,
}

impl Drop for Phases {
    fn drop(&mut self) {
        for (name, figure) in &self.figures {
            println!("{name} {figure:.2}");
        }
    }
}

impl Phases {
    /// Starts measuring for `count` timers.
    pub fn new(count: usize) -> Self {
        let memory = measure::memory_bytes(std::process::id()).unwrap_or(0);
        Self { count, memory, started: measure::own_nanoseconds(), figures: Vec::new() }
    }

    /// Starts a phase of `count` timers.
    pub fn of(&mut self, count: usize) {
        self.count = count;
        self.started = measure::own_nanoseconds();
    }

    /// Ends a phase with this name.
    pub fn end(&mut self, name: &'static str) {
        let nanoseconds = (measure::own_nanoseconds() - self.started) as f64;
        self.figures.push((name, nanoseconds / self.count as f64));
    }

    /// Records the memory of the timers, when all are armed.
    fn weigh(&mut self) {
        let memory = measure::memory_bytes(std::process::id()).unwrap_or(0);
        let bytes = memory.saturating_sub(self.memory) as f64;
        self.figures.push(("bytes", bytes / self.count as f64));
    }
}

/// Returns the minimum delay of timers that a loop arms while it turns. Otherwise it would fire
/// some before the others are armed.
pub fn lead(count: usize) -> Duration {
    let each = Duration::from_nanos(1500);
    each * u32::try_from(count).unwrap_or(u32::MAX)
}

/// Waits until every short timer is due, counted from `start`.
pub fn sleep_until_due(start: Instant) {
    let due = start + EXPIRE_MAX + Duration::from_millis(5);
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
