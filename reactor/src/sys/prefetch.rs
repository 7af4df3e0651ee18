//! Asking for memory before it is needed.

/// Has the processor fetch what `value` points at into its cache. It is a hint: wherever there is no
/// such instruction, this does nothing.
#[inline]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    let address = std::ptr::from_ref(value).cast::<i8>();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults, and this address is valid besides.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
