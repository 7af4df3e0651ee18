//! Reads any input as events of inotify, and what it has once more from its encoding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::inotify::{Event, Events};

fuzz_target!(|input: &[u8]| {
    let events: Vec<Event<'_>> = Events::new(input).map_while(Result::ok).collect();
    let mut bytes = Vec::new();
    events.iter().for_each(|event| event.append_to(&mut bytes));
    let again: Result<Vec<Event<'_>>, _> = Events::new(&bytes).collect();
    assert_eq!(again, Ok(events));
    // Where the bytes end decides nothing but which event is the last.
    for end in 0..input.len().min(600) {
        let whole = Events::new(input).map_while(Result::ok);
        let part = Events::new(&input[..end]).map_while(Result::ok);
        assert!(whole.zip(part).all(|(one, other)| one == other));
    }
});
