//! What servers compute for each message in the work `bound`: a chain of operations that no compiler
//! shortens, the same in every loop (`c/common.h` has it for the loops in C).

use std::cell::Cell;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The time that it takes for each message.
pub const TIME: Duration = Duration::from_micros(2);
/// The number of bytes that count as a message.
pub const MESSAGE_SIZE: usize = 64;

/// The number of steps that are timed at once: tens of microseconds.
const TIMED_STEPS: usize = 20_000;
/// How often they are timed. The fastest counts, because other processes only ever slow it.
const TRIES: usize = 50;

struct Computation {
    steps: Cell<usize>,
    /// The number of bytes that are no whole message yet.
    pending: Cell<usize>,
    state: Cell<u64>,
}

thread_local! {
    static COMPUTATION: Computation = const {
        let state = Cell::new(0x9e37_79b9_7f4a_7c15);
        Computation { steps: Cell::new(0), pending: Cell::new(0), state }
    };
}

/// Sets the number of steps for each message on this thread. Without steps nothing is computed.
pub fn set_steps(steps: usize) {
    COMPUTATION.with(|it| it.steps.set(steps));
}

/// Computes for the messages that are complete with `count` more bytes. All connections of a thread
/// count together, so a message that comes in pieces is computed once.
#[inline]
pub fn compute_for(count: usize) {
    COMPUTATION.with(|it| {
        if it.steps.get() > 0 {
            it.compute_for(count);
        }
    });
}

impl Computation {
    fn compute_for(&self, count: usize) {
        let pending = self.pending.get() + count;
        self.pending.set(pending % MESSAGE_SIZE);
        for _ in 0..pending / MESSAGE_SIZE {
            self.state.set(black_box(advance(self.state.get(), self.steps.get())));
        }
    }
}

/// Advances a generator of random numbers (xorshift). Each step needs the one before.
fn advance(mut state: u64, steps: usize) -> u64 {
    for _ in 0..steps {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

/// Returns the number of steps that take [`TIME`] on this machine. It is measured once, so every
/// loop gets the same.
pub fn steps() -> usize {
    static STEPS: OnceLock<usize> = OnceLock::new();
    *STEPS.get_or_init(|| {
        let time = |_| {
            let start = Instant::now();
            black_box(advance(black_box(1), TIMED_STEPS));
            start.elapsed()
        };
        let fastest = (0..TRIES).map(time).min().unwrap_or_default();
        let steps = TIMED_STEPS as f64 * TIME.as_secs_f64() / fastest.as_secs_f64();
        (steps as usize).max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> u64 {
        COMPUTATION.with(|it| it.state.get())
    }

    #[test]
    fn each_message_is_computed_once_in_whatever_pieces_it_comes() {
        set_steps(3);
        let expected = [1, 2].map(|messages| advance(state(), 3 * messages));
        let before = state();
        compute_for(MESSAGE_SIZE - 1);
        assert_eq!(state(), before, "it is not complete");
        compute_for(1);
        assert_eq!(state(), expected[0]);
        compute_for(MESSAGE_SIZE / 2);
        compute_for(MESSAGE_SIZE / 2);
        assert_eq!(state(), expected[1]);
    }

    #[test]
    fn without_steps_nothing_is_computed() {
        let before = state();
        compute_for(10 * MESSAGE_SIZE);
        assert_eq!(state(), before);
    }

    #[test]
    fn every_loop_gets_the_same_number_of_steps() {
        assert!(steps() > 0);
        assert_eq!(steps(), steps());
    }
}
