//! Reads any bytes as what one program says to another while it hands over.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    servers::handover_frames(bytes);
});
