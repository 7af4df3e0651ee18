//! What timers cost: arming, moving, cancelling, firing, each for as many as are armed at once.

use std::io;
use std::time::{Duration, Instant};

use testkit::Random;

use crate::measure;

/// The times at which timers are due that are waited for.
const EXPIRE_MAX: Duration = Duration::from_millis(20);
/// What is done with few timers is done again until it is so many, to be measured at all.
const STEPS_MIN: usize = 100_000;

/// A time between 1 ms and 60 s, in milliseconds: what all loops can count in.
fn long(random: &mut Random) -> u32 {
    1 + random.below(60_000) as u32
}

/// A time between 1 and 20 ms.
pub fn short(random: &mut Random) -> Duration {
    Duration::from_millis(1 + random.below(EXPIRE_MAX.as_millis() as u64))
}

/// Which timer is next, and how long it is to run, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Step {
    place: u32,
    delay: u32,
}

/// What is to be done with timers. It is written down before the time is taken, and read from the
/// first to the last, so that choosing costs next to nothing.
#[derive(Debug)]
pub struct Script {
    random: Random,
    steps: Vec<Step>,
}

impl Script {
    /// For so many timers, in order.
    pub fn new(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let steps = (0..count).map(|place| Step { place, delay: 1 }).collect();
        Self { random: Random::new(1), steps }
    }

    /// Each timer once, in the order in which they were armed first, with other times.
    pub fn in_order(&mut self) {
        for place in 0..self.steps.len() {
            self.steps[place] = Step { place: place as u32, delay: long(&mut self.random) };
        }
    }

    /// Each timer once, in an order that is random, as that in which connections have events is
    /// random to where they lie in memory; with other times.
    pub fn at_random(&mut self) {
        for place in (0..self.steps.len()).rev() {
            self.steps[place].delay = long(&mut self.random);
            let other = self.random.below(place as u64 + 1) as usize;
            self.steps.swap(place, other);
        }
    }

    /// Timers, and how long each is to run.
    pub fn steps(&self) -> impl Iterator<Item = (usize, Duration)> + Clone {
        let delay = |step: &Step| Duration::from_millis(u64::from(step.delay));
        self.steps.iter().map(move |step| (step.place as usize, delay(step)))
    }

    /// The first half of them.
    fn half(&self) -> impl Iterator<Item = (usize, Duration)> {
        self.steps().take(self.steps.len().div_ceil(2))
    }
}

/// The timers of a loop, by number: what users of the loop write to have timers.
pub trait Timers {
    /// Arms a timer that is not armed.
    ///
    /// # Errors
    /// When the loop cannot.
    fn arm(&mut self, place: usize, delay: Duration) -> io::Result<()>;

    /// Moves a timer that is armed.
    ///
    /// # Errors
    /// When the loop cannot.
    fn rearm(&mut self, place: usize, delay: Duration) -> io::Result<()>;

    /// Takes a timer away that is armed.
    ///
    /// # Errors
    /// When the loop cannot.
    fn cancel(&mut self, place: usize) -> io::Result<()>;
}

/// Measures what is done with so many timers, and prints what one took each time. None is left.
///
/// # Errors
/// When the loop cannot.
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
        // Half of them go and come while the other half stays.
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

/// Measures phases, and in the end prints what one timer took in each: a call to the kernel between
/// two of them would be felt in the second.
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
    /// For so many timers.
    pub fn new(count: usize) -> Self {
        let memory = measure::memory_bytes(std::process::id()).unwrap_or(0);
        Self { count, memory, started: measure::own_nanoseconds(), figures: Vec::new() }
    }

    /// A phase begins, of so many timers.
    pub fn of(&mut self, count: usize) {
        self.count = count;
        self.started = measure::own_nanoseconds();
    }

    /// A phase has ended, and this is what it is called.
    pub fn end(&mut self, name: &'static str) {
        let nanoseconds = (measure::own_nanoseconds() - self.started) as f64;
        self.figures.push((name, nanoseconds / self.count as f64));
    }

    /// All timers are armed: tells what memory that took.
    fn weigh(&mut self) {
        let memory = measure::memory_bytes(std::process::id()).unwrap_or(0);
        let bytes = memory.saturating_sub(self.memory) as f64;
        self.figures.push(("bytes", bytes / self.count as f64));
    }
}

/// From when on timers are due that a loop arms while it turns, and would fire while others are yet
/// to be armed.
pub fn lead(count: usize) -> Duration {
    let each = Duration::from_nanos(1500);
    each * u32::try_from(count).unwrap_or(u32::MAX)
}

/// Waits until every short timer is due, counted from `start`.
pub fn sleep_until_due(start: Instant) {
    let due = start + EXPIRE_MAX + Duration::from_millis(5);
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
