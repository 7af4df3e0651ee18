//! What has sent each signal last (`sigaction(2)`, `SA_SIGINFO`).

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering, fence};

/// The most signals (`signal(7)`).
const SIGNALS: usize = 64;
/// How often a reader tries to find a record that is not being written.
const TRIES: usize = 100;

/// What has sent a signal: the reason of the kernel, and the process and its user where there are
/// some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) code: i32,
    pub(crate) from: Option<(u32, u32)>,
}

/// The last sender of one signal. Handlers of the same signal may run on several threads at once,
/// and none may wait for another.
struct Record {
    /// Odd while the record is written. Zero if it never was.
    version: AtomicU32,
    code: AtomicI32,
    has_process: AtomicU32,
    pid: AtomicU32,
    uid: AtomicU32,
}

impl Record {
    const fn new() -> Self {
        let zero = AtomicU32::new;
        Self {
            version: zero(0),
            code: AtomicI32::new(0),
            has_process: zero(0),
            pid: zero(0),
            uid: zero(0),
        }
    }

    /// Records a sender, unless a handler on another thread does so now: theirs is as recent.
    fn note(&self, sent: Sent) {
        let version = self.version.load(Ordering::Relaxed);
        let odd = version | 1;
        let begun = version.is_multiple_of(2)
            && self
                .version
                .compare_exchange(version, odd, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !begun {
            return;
        }
        fence(Ordering::Release);
        let (pid, uid) = sent.from.unwrap_or_default();
        self.code.store(sent.code, Ordering::Relaxed);
        self.has_process.store(sent.from.is_some().into(), Ordering::Relaxed);
        self.pid.store(pid, Ordering::Relaxed);
        self.uid.store(uid, Ordering::Relaxed);
        // Zero is for records that were never written.
        let next = odd.wrapping_add(1);
        self.version.store(if next == 0 { 2 } else { next }, Ordering::Release);
    }

    /// Returns the sender, if there was one and its record is not being written all the time.
    fn read(&self) -> Option<Sent> {
        for _ in 0..TRIES {
            let version = self.version.load(Ordering::Acquire);
            if version == 0 {
                return None;
            }
            let code = self.code.load(Ordering::Relaxed);
            let from = (self.pid.load(Ordering::Relaxed), self.uid.load(Ordering::Relaxed));
            let has_process = self.has_process.load(Ordering::Relaxed) != 0;
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version {
                return Some(Sent { code, from: has_process.then_some(from) });
            }
            std::hint::spin_loop();
        }
        None
    }
}

static LAST: [Record; SIGNALS] = [const { Record::new() }; SIGNALS];

fn record(number: libc::c_int) -> Option<&'static Record> {
    LAST.get(usize::try_from(number).ok()?.checked_sub(1)?)
}

/// Records what has sent a signal. It is called in the handler of the signal, and uses atomics only.
pub(super) fn note(number: libc::c_int, info: &libc::siginfo_t) {
    let code = info.si_code;
    let by_process = matches!(code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
    let of_child = number == libc::SIGCHLD && code > 0 && code != libc::SI_KERNEL;
    let from = if by_process || of_child {
        // SAFETY: a signal with this code has the field.
        let pid = unsafe { info.si_pid() };
        // SAFETY: as above.
        let uid = unsafe { info.si_uid() };
        u32::try_from(pid).ok().map(|pid| (pid, uid))
    } else {
        None
    };
    if let Some(record) = record(number) {
        record.note(Sent { code, from });
    }
}

/// Returns what has sent a signal last, of those that a loop has listened to.
pub(crate) fn last_sender(number: libc::c_int) -> Option<Sent> {
    record(number)?.read()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_record_is_never_read_half_written() {
        let record = Record::new();
        assert_eq!(record.read(), None);
        thread::scope(|scope| {
            for thread in 0..3_u32 {
                let record = &record;
                scope.spawn(move || {
                    for count in 0..50_000 {
                        let value = count * 3 + thread;
                        let from = Some((value, !value));
                        record.note(Sent { code: value as i32, from });
                    }
                });
            }
            for _ in 0..50_000 {
                if let Some(sent) = record.read() {
                    let (pid, uid) = sent.from.expect("each has a process");
                    assert_eq!((sent.code as u32, uid), (pid, !pid));
                }
            }
        });
        assert!(record.read().is_some());
    }

    #[test]
    fn numbers_out_of_range_have_no_record() {
        for number in [-1, 0, 65, i32::MAX] {
            assert_eq!(last_sender(number), None);
        }
    }
}
