//! Loads any bytes as the tree that `mfs-master` has saved, and others as the changes that it has logged
//! since.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (content, log) = input;
    servers::check_mfs_tree(&content, &log);
});
