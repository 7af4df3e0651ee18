//! The clock of the loop.

/// Returns the time of the clock of [`std::time::Instant`] (`CLOCK_MONOTONIC`, `clock_gettime(2)`),
/// in nanoseconds since an unspecified start. A number is compared and subtracted in one
/// instruction, an `Instant` in dozens.
pub(crate) fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call, which does not fail for an existing clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    // Neither is ever negative, and the sum does not overflow for centuries.
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
