//! Fetching memory before it is needed.

/// Prefetches the first and the last cache line of `value`, which is all of a small value. On
/// processors without such an instruction, this does nothing.
#[inline]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    let first = std::ptr::from_ref(value).cast::<i8>();
    fetch(first);
    fetch(first.wrapping_add(size_of_val(value).saturating_sub(1)));
}

#[inline]
fn fetch(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults, wherever the address points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
