//! The clock of the loop.

/// The time of the clock that [`std::time::Instant`] reads (`CLOCK_MONOTONIC`, `clock_gettime(2)`), in
/// nanoseconds since some time before the system started. A number is compared and subtracted in one
/// instruction, an `Instant` in dozens.
pub(crate) fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, which fails for no clock that exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    // Neither is ever negative, and the sum does not overflow for centuries.
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
