//! Reads any bytes as a hosts file and as a block list.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    servers::check_local_files(bytes);
});
