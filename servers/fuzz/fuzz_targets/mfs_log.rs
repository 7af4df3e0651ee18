//! Reads any bytes as the log of the changes of `mfs-master`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|log: &[u8]| {
    servers::check_mfs_log(log);
});
