//! The processors that a thread may run on (`sched_setaffinity(2)`).

use std::io;

use super::check;

/// How many processors a set has room for: `CPU_SETSIZE` of the C library.
const PROCESSORS_MAX: usize = libc::CPU_SETSIZE as usize;

/// Returns the numbers of the processors that this thread may run on, in ascending order.
pub(crate) fn allowed_processors() -> io::Result<Vec<usize>> {
    let mut set = empty();
    // SAFETY: 0 is the calling thread, and the size is that of `set`, which outlives the call.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) })?;
    // SAFETY: the number is within the set.
    let is_in = |processor: &usize| unsafe { libc::CPU_ISSET(*processor, &set) };
    Ok((0..PROCESSORS_MAX).filter(is_in).collect())
}

/// Makes this thread run on one processor only, of those that it may run on.
pub(crate) fn run_only_on(processor: usize) -> io::Result<()> {
    if processor >= PROCESSORS_MAX {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut set = empty();
    // SAFETY: the number was compared with the size of the set.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: 0 is the calling thread, and the size is that of `set`, which outlives the call.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) }).map(drop)
}

fn empty() -> libc::cpu_set_t {
    // SAFETY: all-zero bytes are a valid cpu_set_t: the empty set.
    unsafe { std::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_only_where_it_was_put() {
        let thread = std::thread::spawn(|| {
            let before = allowed_processors().expect("it can be asked");
            let last = *before.last().expect("it runs somewhere");
            run_only_on(last).expect("it may run there");
            assert_eq!(allowed_processors().expect("it can be asked"), [last]);
            assert!(run_only_on(PROCESSORS_MAX).is_err());
        });
        thread.join().expect("it does not panic");
    }
}
