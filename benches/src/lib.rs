//! Benches of the codecs and the loop: `cargo bench -p benches`.

#![forbid(unsafe_code)]
