//! Reads any text as a cron expression. What it says is due later than it is asked for, in order, and
//! the same however often it is asked.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use reactor::Schedule;

fuzz_target!(|input: (u32, &str)| {
    let (seconds, expression) = input;
    let Ok(schedule) = Schedule::cron(expression) else { return };
    for schedule in [schedule, schedule.local()] {
        let mut at = UNIX_EPOCH + Duration::from_secs(seconds.into());
        for _ in 0..4 {
            let Some(next) = schedule.next_after(at) else { break };
            assert!(next > at, "{expression:?}: {next:?} is not after {at:?}");
            // Nothing is due in between.
            let before = next - Duration::from_secs(1);
            let middle = at + before.duration_since(at).unwrap_or_default() / 2;
            assert_eq!(schedule.next_after(middle), Some(next), "{expression:?}: after {middle:?}");
            at = next;
        }
    }
});
