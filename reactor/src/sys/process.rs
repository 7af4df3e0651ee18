//! The process number, without a system call each time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::check;

/// The process that created an object, which distinguishes it from its copies in forked processes.
///
/// Its number is cached in a page that the kernel clears in a forked process (`MADV_WIPEONFORK` in
/// `madvise(2)`, Linux 4.14), so a check costs no system call. Without such a page it costs one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    /// No other process that shares memory or descriptors with this one has the same number.
    number: u32,
    place: Option<&'static AtomicU32>,
}

impl Process {
    /// Returns this process.
    pub(crate) fn this() -> Self {
        static PLACE: OnceLock<Option<&'static AtomicU32>> = OnceLock::new();
        let (number, place) = (std::process::id(), *PLACE.get_or_init(cleared_by_fork));
        if let Some(place) = place {
            place.store(number, Ordering::Relaxed);
        }
        Self { number, place }
    }

    /// Returns whether the calling process is another one, which a fork has made since.
    #[inline]
    pub(crate) fn is_another(&self) -> bool {
        let asking = match self.place {
            Some(place) => place.load(Ordering::Relaxed),
            None => std::process::id(),
        };
        asking != self.number
    }
}

/// The process that owns an object. Another one may take it over after a fork.
pub(crate) struct Owner {
    number: AtomicU32,
    process: Process,
}

impl Owner {
    /// Returns this process as the owner.
    pub(crate) fn this() -> Self {
        let process = Process::this();
        Self { number: AtomicU32::new(process.number), process }
    }

    /// Makes the calling process the owner.
    pub(crate) fn take_over(&self) {
        self.number.store(Process::this().number, Ordering::Relaxed);
    }

    /// Returns whether the calling process is not the owner.
    #[inline]
    pub(crate) fn is_another(&self) -> bool {
        let number = self.number.load(Ordering::Relaxed);
        Process { number, ..self.process }.is_another()
    }
}

/// Returns an atomic that is zero at first, and zero again in each forked process.
fn cleared_by_fork() -> Option<&'static AtomicU32> {
    const SIZE: usize = size_of::<AtomicU32>();
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address that the kernel chooses affects no other memory.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: no other code has the mapping, and the advice changes it only in later processes.
    if check(unsafe { libc::madvise(page, SIZE, libc::MADV_WIPEONFORK) }).is_err() {
        // SAFETY: no other code has the mapping.
        unsafe { libc::munmap(page, SIZE) };
        return None;
    }
    // SAFETY: the page is aligned, zeroed, large enough, never unmapped, and only used as an
    // atomic.
    Some(unsafe { &*page.cast::<AtomicU32>() })
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::{
        BackendKind, Cx, Forked, Handler, Interest, JobError, LoopLimits, PostError, Reactor,
        Registration, Shutdown, SubmitErrorKind, ThreadPool, ThreadPoolOptions,
    };

    /// Forks. Returns the number of the new process, or zero in that process.
    fn fork() -> libc::pid_t {
        // SAFETY: the child only turns loops that no other thread uses, and exits.
        let number = unsafe { libc::fork() };
        assert!(number >= 0, "the kernel makes a process");
        number
    }

    /// Ends the forked process, with whether its checks succeeded.
    fn exit(well: bool) -> ! {
        // SAFETY: _exit takes no pointer.
        unsafe { libc::_exit(if well { 0 } else { 1 }) }
    }

    /// Whether the checks of a forked process succeeded.
    fn was_well(number: libc::pid_t) -> bool {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        let waited = unsafe { libc::waitpid(number, &mut status, 0) };
        waited == number && status == 0
    }

    fn is_refusal<T>(result: io::Result<T>) -> bool {
        let is_typed = |error: &io::Error| error.get_ref().is_some_and(|it| it.is::<Forked>());
        result.is_err_and(|error| is_typed(&error))
    }

    #[test]
    fn a_process_that_a_fork_makes_does_not_take_itself_for_the_other() {
        let process = Process::this();
        assert!(!process.is_another());
        let child = fork();
        if child == 0 {
            exit(process.is_another() && !Process::this().is_another() && process.is_another());
        }
        assert!(was_well(child));
        assert!(!process.is_another() && !Process::this().is_another());
    }

    #[test]
    fn a_thread_pool_that_a_fork_copied_refuses_work_and_waits_for_nothing() {
        let pool = ThreadPool::new(ThreadPoolOptions::DEFAULT).expect("it starts");
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let waits = pool.submit(move || receiver.recv().is_err()).expect("there is room");
        let mut waits = Some(waits);
        let child = fork();
        if child == 0 {
            let kind = pool.try_submit(|| ()).map_err(|error| error.kind);
            let refused = matches!(kind, Err(SubmitErrorKind::Forked))
                && pool.shut_down(Shutdown::Finish, Duration::MAX).is_err()
                && waits.take().is_some_and(|job| job.wait() == Err(JobError::Forked));
            drop(pool);
            exit(refused && ThreadPool::new(ThreadPoolOptions::DEFAULT).is_ok());
        }
        assert!(was_well(child));
        drop(sender);
        assert_eq!(waits.map(|job| job.wait()), Some(Ok(true)));
    }

    /// Counts the bytes that it reads, and forks when it is woken.
    struct Reader;

    /// The state that the handlers share.
    #[derive(Default)]
    struct Shared {
        bytes: usize,
        woken: usize,
        child: Option<libc::pid_t>,
    }

    impl Handler<Shared> for Reader {
        fn ready(&mut self, cx: &mut Cx<'_, Shared>) -> io::Result<()> {
            if cx.was_woken() {
                cx.app.woken += 1;
                cx.app.child.get_or_insert_with(fork);
            }
            let mut bytes = [0; 16];
            while let Some(count) = cx.read(&mut bytes)? {
                cx.app.bytes += count;
            }
            Ok(())
        }
    }

    /// Returns a loop on each backend, with two sources and their peers.
    fn each_backend(test: impl Fn(Reactor<Shared>, [UnixStream; 2])) {
        for kind in BackendKind::ALL {
            let backend = kind.open().expect("the backend opens");
            let made = Reactor::with_backend(backend, LoopLimits::DEFAULT, Shared::default());
            let mut reactor = made.expect("the reactor opens");
            let far = [0; 2].map(|_| {
                let (near, far) = UnixStream::pair().expect("a pair can be made");
                let registration = Registration::new(Interest::READ);
                let token = reactor.cx().register(near.into(), registration, Reader);
                token.expect("it registers");
                far
            });
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            test(reactor, far);
        }
    }

    /// Checks that the loop of this process works as before.
    fn check_undisturbed(reactor: &mut Reactor<Shared>, far: &mut [UnixStream]) {
        for far in &mut *far {
            far.write_all(b"byte").expect("the kernel takes bytes");
        }
        let wanted = reactor.app.bytes + 4 * far.len();
        for _ in 0..1000 {
            if reactor.app.bytes == wanted {
                break;
            }
            reactor.run_once(Some(Duration::from_millis(5))).expect("it turns");
        }
        assert_eq!(reactor.app.bytes, wanted, "on {}", reactor.backend_name());
    }

    #[test]
    fn a_loop_that_a_fork_copied_refuses_to_work_and_disturbs_nothing() {
        each_backend(|mut reactor, mut far| {
            let remote = reactor.cx().remote();
            // The copy would have something to do.
            remote.post(|cx| cx.app.woken += 1).expect("it is posted");
            far[0].write_all(b"byte").expect("the kernel takes bytes");
            let mut reactor = Some(reactor);
            let child = fork();
            if child == 0 {
                let Some(mut copy) = reactor.take() else { exit(false) };
                let refused = is_refusal(copy.run_once(Some(Duration::ZERO)))
                    && is_refusal(copy.run())
                    && is_refusal(copy.run_until(|_| true))
                    && is_refusal(copy.cx().after(Duration::ZERO, |_| {}))
                    && is_refusal(copy.cx().on_signals(&[crate::Signal::USER_1], |_, _| {}))
                    && remote.post(|_| {}) == Err(PostError::Forked)
                    && remote.wake() == Err(PostError::Forked)
                    && copy.host_fd().is_none();
                let idle = (copy.app.bytes, copy.app.woken) == (0, 0);
                drop(copy);
                let makes_another = Reactor::new(()).and_then(|mut new| {
                    new.cx().after(Duration::ZERO, |cx| cx.stop())?;
                    new.run()
                });
                exit(refused && idle && makes_another.is_ok());
            }
            assert!(was_well(child));
            let mut reactor = reactor.expect("only the copy was dropped");
            reactor.run_once(None).expect("it turns");
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            assert_eq!((reactor.app.bytes, reactor.app.woken), (4, 1));
            check_undisturbed(&mut reactor, &mut far);
        });
    }

    #[test]
    fn a_handler_that_forks_goes_on_in_one_process_alone() {
        each_backend(|mut reactor, mut far| {
            for token in reactor.core.sources.tags().into_iter().skip(1) {
                reactor.core.wake(token);
            }
            let result = reactor.run_once(Some(Duration::ZERO));
            let child = reactor.app.child.expect("it was woken");
            if child == 0 {
                // The other handler was not called.
                exit(is_refusal(result) && reactor.app.woken == 1);
            }
            assert!(result.is_ok() && was_well(child));
            assert_eq!(reactor.app.woken, 2);
            check_undisturbed(&mut reactor, &mut far);
        });
    }

    /// Returns whether all that a rebuilt copy should do works. Its other process does nothing
    /// meanwhile.
    fn works_anew(copy: &mut Reactor<Shared>, far: &mut [UnixStream]) -> io::Result<bool> {
        copy.rebuild()?;
        // What was posted before the fork, and the timers and signals of before.
        copy.run_until(|app| app.woken >= 101)?;
        check_undisturbed(copy, far);
        let remote = copy.cx().remote();
        let posts = std::thread::spawn(move || remote.post(|cx| cx.app.woken += 1000));
        copy.run_until(|app| app.woken >= 1101)?;
        let posted = posts.join().is_ok_and(|posted| posted.is_ok());
        // SAFETY: raise takes no pointer, and the signal is caught.
        unsafe { libc::raise(libc::SIGURG) };
        copy.run_until(|app| app.woken >= 11_101)?;
        // A new source is one like any other.
        let (near, far) = UnixStream::pair()?;
        copy.cx().register(near.into(), Registration::new(Interest::READ), Reader)?;
        check_undisturbed(copy, &mut [far]);
        Ok(posted)
    }

    #[test]
    fn a_copy_that_is_rebuilt_has_sources_timers_signals_and_calls_of_its_own() {
        each_backend(|mut reactor, mut far| {
            let mut cx = reactor.cx();
            // It is not due when the process forks.
            cx.after(Duration::from_millis(50), |cx| cx.app.woken += 100).expect("it is armed");
            cx.on_signals(&[crate::Signal::from_number(libc::SIGURG)], |_, cx| {
                cx.app.woken += 10_000;
            })
            .expect("it listens");
            cx.remote().post(|cx| cx.app.woken += 1).expect("it is posted");
            let mut reactor = Some(reactor);
            let child = fork();
            if child == 0 {
                let Some(mut copy) = reactor.take() else { exit(false) };
                exit(works_anew(&mut copy, &mut far).unwrap_or(false));
            }
            assert!(was_well(child));
            let mut reactor = reactor.expect("only the copy was dropped");
            // The signal and the calls of the other process are not seen here.
            reactor.run_until(|app| app.woken >= 101).expect("it turns");
            check_undisturbed(&mut reactor, &mut far);
            assert_eq!(reactor.app.woken, 101, "on {}", reactor.backend_name());
            // SAFETY: raise takes no pointer, and the signal is caught.
            unsafe { libc::raise(libc::SIGURG) };
            reactor.run_until(|app| app.woken >= 10_101).expect("it turns");
        });
    }

    #[test]
    fn the_copy_of_a_loop_whose_handler_has_forked_goes_on_after_it_is_rebuilt() {
        each_backend(|mut reactor, mut far| {
            let tokens: Vec<_> = reactor.core.sources.tags().into_iter().skip(1).collect();
            for token in &tokens {
                reactor.core.wake(*token);
            }
            // Timers that are due in the turn of the fork.
            for _ in 0..3 {
                let armed = reactor.cx().after(Duration::ZERO, |cx| cx.app.woken += 10);
                armed.expect("it is armed");
            }
            let result = reactor.run_once(Some(Duration::ZERO));
            let child = reactor.app.child.expect("it was woken");
            if child == 0 {
                let is_refused = is_refusal(result) && reactor.app.woken == 1;
                let rebuilt =
                    reactor.rebuild().and_then(|()| reactor.run_until(|app| app.woken == 32));
                check_undisturbed(&mut reactor, &mut far);
                exit(is_refused && rebuilt.is_ok());
            }
            assert!(result.is_ok() && was_well(child));
            reactor.run_until(|app| app.woken == 32).expect("it turns");
            check_undisturbed(&mut reactor, &mut far);
        });
    }
}
