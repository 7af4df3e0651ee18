//! Connections that are restored from any bytes: they are refused, or go on without a panic.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use protocol::codecs::Lines;
use protocol::link::Link;
use protocol::testing::Wire;
use protocol::{
    Context, Conversation, Flow, Limits, NotSaved, Reply, SavedState, Service, State, StateError,
};

/// Numbers the lines of its client.
#[derive(Default)]
struct Numbers(u64);

impl Service<Lines> for Numbers {
    fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
        self.0 = self.0.wrapping_add(1);
        reply.send(format!("{} {}", self.0, line.len()).as_bytes());
        Flow::Continue
    }

    fn save(&self, _app: &(), state: &mut State) -> Result<(), NotSaved> {
        state.number(self.0);
        Ok(())
    }

    fn restore(&mut self, _app: &mut (), state: &mut SavedState<'_>) -> Result<(), StateError> {
        self.0 = state.number()?;
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    let numbers = || Conversation::new(Lines::default(), Numbers::default());
    let (limits, now) = (Limits::DEFAULT.into(), Instant::now());
    let Ok(link) = Link::restored(numbers(), limits, input, now, &mut ()) else { return };
    let mut wire = Wire::over(link);
    // Another process may take it over at once.
    let _ = wire.hand_over(numbers(), &mut ());
    wire.feed(b"one\ntwo", &mut ());
    wire.pass(Duration::from_secs(1), &mut ());
    wire.wake(&mut ());
    wire.end_input(&mut ());
});
