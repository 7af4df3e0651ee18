//! The limits and the rights of this process.

use std::io;

use super::{check, pointer};

/// Raises the soft limit of open descriptors to `wanted`, as far as the hard limit allows. It never
/// lowers the limit. Returns the new limit (`getrlimit(2)`).
///
/// Many systems start processes with a limit of 1,024, for programs that use `select(2)` with sets
/// of a fixed size. The sets of this crate grow.
///
/// # Errors
/// The error of the kernel.
pub fn raise_descriptor_limit(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call, which fills it.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted.min(limit.rlim_max);
        // SAFETY: `limit` is initialized and outlives the call.
        check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, pointer(Some(&limit))) })?;
    }
    Ok(limit.rlim_cur)
}

/// Returns the effective user of this process (`geteuid(2)`).
pub(crate) fn effective_user() -> u32 {
    // SAFETY: geteuid takes nothing and always succeeds.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes_and_never_lowered() {
        let now = raise_descriptor_limit(0).expect("it can be asked");
        assert_eq!(raise_descriptor_limit(now).expect("nothing changes"), now);
        assert_eq!(raise_descriptor_limit(1).expect("nothing changes"), now);
        let most = raise_descriptor_limit(u64::MAX).expect("the hard limit is allowed");
        assert!(most >= now);
    }
}
