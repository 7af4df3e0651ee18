//! Signals, delivered to any number of loops.
//!
//! Each signal that a loop listens to has a handler that only sets a mark and notifies. Unlike
//! `signalfd(2)`, this does not depend on every thread blocking the signals, and executed programs
//! start with the default action (`execve(2)`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::event_fd::notify_raw;
use super::{EventFd, Process, check, signal_sender};

/// The most loops of a process that listen to signals at a time.
const SLOTS: usize = 256;

/// The part of a listener that the signal handler sees.
struct Slot {
    /// The signals it listens to, one bit each.
    mask: AtomicU64,
    /// The signals that have arrived since its last look.
    pending: AtomicU64,
    /// Its event. It is opened once and never closed, so a signal handler on another thread cannot
    /// write to a descriptor that was closed and reused.
    event: AtomicI32,
}

impl Slot {
    const fn new() -> Self {
        Self { mask: AtomicU64::new(0), pending: AtomicU64::new(0), event: AtomicI32::new(-1) }
    }
}

static TABLE: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// The part that registration and its end use, under a lock.
struct Registry {
    events: Vec<EventFd>,
    used: [bool; SLOTS],
    /// The number of listeners to each signal, and the action before the first.
    previous: Vec<(libc::c_int, usize, libc::sigaction)>,
    /// The process that opened the events.
    process: Option<Process>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    events: Vec::new(),
    used: [false; SLOTS],
    previous: Vec::new(),
    process: None,
});

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the bit of a signal number from 1 to 64.
fn bit(number: libc::c_int) -> u64 {
    1 << (number - 1)
}

/// The signal handler. It runs on the thread that the signal interrupted, and uses atomics and
/// `write(2)` only.
extern "C" fn on_signal(
    number: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: errno belongs to the interrupted thread, and its address is always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the pointer is to the thread's own errno, which outlives this call.
    let saved = unsafe { *errno };
    // SAFETY: with SA_SIGINFO, the kernel passes a valid structure, which outlives this call.
    if let Some(info) = unsafe { info.as_ref() } {
        signal_sender::note(number, info);
    }
    for slot in &TABLE {
        if slot.mask.load(Ordering::SeqCst) & bit(number) != 0 {
            slot.pending.fetch_or(bit(number), Ordering::SeqCst);
            notify_raw(slot.event.load(Ordering::SeqCst));
        }
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

fn install(number: libc::c_int) -> io::Result<libc::sigaction> {
    // SAFETY: all-zero bytes are a valid sigaction: the default action with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART | libc::SA_SIGINFO;
    // SAFETY: as above; it is filled by the call.
    let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: both structures outlive the call, and the handler is async-signal-safe.
    check(unsafe { libc::sigaction(number, &action, &mut previous) })?;
    Ok(previous)
}

/// Returns whether a signal is ignored, as `SIGHUP` under `nohup` (`sigaction(2)`).
pub(crate) fn is_ignored(number: libc::c_int) -> bool {
    // SAFETY: all-zero bytes are a valid sigaction, which is filled by the call.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the new action may be null, and the other outlives the call.
    let result = check(unsafe { libc::sigaction(number, std::ptr::null(), &mut action) });
    result.is_ok() && action.sa_sigaction == libc::SIG_IGN
}

/// A listener's slot in the table, until it is dropped.
pub(crate) struct Subscription {
    slot: usize,
    numbers: Vec<libc::c_int>,
}

impl Subscription {
    /// Listens to `numbers`. The returned descriptor becomes readable when a signal arrives.
    pub(crate) fn new(numbers: &[libc::c_int]) -> io::Result<(Self, OwnedFd)> {
        let mut numbers = numbers.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        check_catchable(&numbers)?;
        let mut registry = registry();
        registry.own_events()?;
        let Some(slot) = registry.used.iter().position(|used| !used) else {
            let text = format!("{SLOTS} listeners to signals are all a process can have");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        };
        if slot == registry.events.len() {
            registry.events.push(EventFd::new()?);
        }
        let fd = registry.events[slot].duplicate()?;
        let place = &TABLE[slot];
        use std::os::fd::{AsFd, AsRawFd};
        place.event.store(registry.events[slot].as_fd().as_raw_fd(), Ordering::SeqCst);
        place.pending.store(0, Ordering::SeqCst);
        let mut subscription = Self { slot, numbers: Vec::new() };
        registry.used[slot] = true;
        for number in numbers {
            // Before the handler is installed, so that no signal is lost between the two.
            place.mask.fetch_or(bit(number), Ordering::SeqCst);
            if let Err(error) = registry.listen(number) {
                drop(registry);
                drop(subscription);
                return Err(error);
            }
            subscription.numbers.push(number);
        }
        Ok((subscription, fd))
    }

    /// Returns a descriptor for this process, after a fork. The one before belongs to both processes.
    pub(crate) fn renewed(&self) -> io::Result<OwnedFd> {
        let mut registry = registry();
        registry.own_events()?;
        registry.events[self.slot].duplicate()
    }

    /// Returns the signals that have arrived since the last call, one bit each. Call it after
    /// reading the descriptor: a signal in between makes that readable again.
    pub(crate) fn take_pending(&self) -> u64 {
        // A handler that ran while the slot got a new owner may have left signals of the old one.
        let place = &TABLE[self.slot];
        place.pending.swap(0, Ordering::SeqCst) & place.mask.load(Ordering::SeqCst)
    }
}

/// Returns an error that names the first signal of `numbers` that no loop can listen to.
pub(crate) fn check_catchable(numbers: &[libc::c_int]) -> io::Result<()> {
    let Some(number) = numbers.iter().find(|number| !is_catchable(**number)) else {
        return Ok(());
    };
    let text = format!("signal {number} cannot be listened to (see signal(7))");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Returns whether a loop can listen to a signal. The others cannot be caught, or mean that the
/// thread itself cannot continue.
fn is_catchable(number: libc::c_int) -> bool {
    const REFUSED: [libc::c_int; 6] =
        [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGBUS];
    (1..=64).contains(&number) && !REFUSED.contains(&number)
}

/// Forgets the signals that no loop has seen yet. To be called by a new process.
pub(super) fn forget_pending() {
    for place in &TABLE {
        place.pending.store(0, Ordering::SeqCst);
    }
}

impl Registry {
    /// Makes the events those of this process alone, if it was forked from the one that opened them:
    /// each of the two would take notifications from the other.
    fn own_events(&mut self) -> io::Result<()> {
        if self.process.is_some_and(|process| process.is_another()) {
            for (event, place) in self.events.iter().zip(&TABLE) {
                event.renew()?;
                if place.pending.load(Ordering::SeqCst) != 0 {
                    event.notify();
                }
            }
        }
        self.process = Some(Process::this());
        Ok(())
    }

    fn listen(&mut self, number: libc::c_int) -> io::Result<()> {
        if let Some((_, count, _)) = self.previous.iter_mut().find(|it| it.0 == number) {
            *count += 1;
            return Ok(());
        }
        let previous = install(number)?;
        self.previous.push((number, 1, previous));
        Ok(())
    }

    fn stop_listening(&mut self, number: libc::c_int) {
        let Some(place) = self.previous.iter().position(|it| it.0 == number) else { return };
        self.previous[place].1 -= 1;
        if self.previous[place].1 == 0 {
            let (_, _, previous) = self.previous.swap_remove(place);
            // SAFETY: `previous` is the action that the kernel returned.
            unsafe { libc::sigaction(number, &previous, std::ptr::null_mut()) };
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut registry = registry();
        for number in &self.numbers {
            registry.stop_listening(*number);
        }
        TABLE[self.slot].mask.store(0, Ordering::SeqCst);
        registry.used[self.slot] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise(number: libc::c_int) {
        // SAFETY: raise takes no pointer.
        unsafe { libc::raise(number) };
    }

    #[test]
    fn every_listener_sees_every_signal() {
        let (one, _one_fd) = Subscription::new(&[libc::SIGUSR2]).expect("it listens");
        let (two, _two_fd) = Subscription::new(&[libc::SIGUSR2, libc::SIGWINCH]).expect("it too");
        for _ in 0..10_000 {
            raise(libc::SIGUSR2);
        }
        raise(libc::SIGWINCH);
        assert_eq!(one.take_pending(), bit(libc::SIGUSR2));
        assert_eq!(two.take_pending(), bit(libc::SIGUSR2) | bit(libc::SIGWINCH));
        assert_eq!(two.take_pending(), 0);
    }

    #[test]
    fn what_cannot_be_caught_is_refused() {
        for number in [0, 65, libc::SIGKILL, libc::SIGSEGV] {
            let Err(error) = Subscription::new(&[number]) else { panic!("{number} was accepted") };
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
