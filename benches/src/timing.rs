//! What timers cost: arming, moving, cancelling, firing, each for as many as are armed at once.

use std::time::{Duration, Instant};

use crate::measure;

/// Timers are taken in an order of which each is this far from the one before: a prime, so that
/// all come, and not in the order in which they were armed.
const STRIDE: usize = 7919;
/// The times at which timers are due that are waited for.
const EXPIRE_MAX: Duration = Duration::from_millis(20);

/// Times to come, the same for every loop: a sequence that looks random.
#[derive(Clone, Debug)]
pub struct Delays {
    state: u64,
}

impl Delays {
    /// The beginning of the sequence.
    #[expect(clippy::new_without_default, reason = "there is nothing default about it")]
    pub fn new() -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A time between 1 ms and `max`, in milliseconds: what all loops can count in.
    fn up_to(&mut self, max: Duration) -> Duration {
        // xorshift64 (Marsaglia, 2003).
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        Duration::from_millis(1 + self.state % max.as_millis() as u64)
    }

    /// A time between 1 ms and 60 s.
    pub fn long(&mut self) -> Duration {
        self.up_to(Duration::from_secs(60))
    }

    /// A time between 1 and 20 ms.
    pub fn short(&mut self) -> Duration {
        self.up_to(EXPIRE_MAX)
    }
}

/// The places of `count` timers in the order in which they are moved and cancelled.
pub fn order(count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |step| step * STRIDE % count)
}

/// Measures the phases and prints what one timer took in each.
#[derive(Debug)]
pub struct Phases {
    count: usize,
    memory: u64,
    started: u64,
}

impl Phases {
    /// For so many timers.
    pub fn new(count: usize) -> Self {
        let memory = measure::memory_bytes(std::process::id()).unwrap_or(0);
        Self { count, memory, started: measure::own_nanoseconds() }
    }

    /// A phase begins.
    pub fn begin(&mut self) {
        self.started = measure::own_nanoseconds();
    }

    /// A phase has ended, and this is what it is called.
    pub fn end(&self, name: &str) {
        let nanoseconds = (measure::own_nanoseconds() - self.started) as f64;
        println!("{name} {:.2}", nanoseconds / self.count as f64);
    }

    /// All timers are armed: tells what memory that took.
    pub fn weigh(&self) {
        let memory = measure::memory_bytes(std::process::id()).unwrap_or(0);
        let bytes = memory.saturating_sub(self.memory) as f64;
        println!("bytes {:.1}", bytes / self.count as f64);
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
