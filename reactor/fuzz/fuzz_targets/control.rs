//! Reads any bytes as the control messages of a datagram.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    reactor::control_notes(bytes);
});
