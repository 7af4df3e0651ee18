//! Parses any text as an address and as a location. What is printed of it has to be parsed again.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/parsing/checks.rs"]
mod checks;

fuzz_target!(|text: &str| {
    checks::check(text);
});
