//! Urgent data and exceptional conditions, and the reports of the auditor about handlers that
//! ignore them.

mod common;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{on_every_backend, turn_until};
use reactor::sim::Script;
use reactor::{
    BackendKind, Cx, Handler, Interest, LoopLimits, Reactor, Readiness, Registration, Token,
    Trigger,
};
use socket2::SockRef;

/// How a handler reads urgent data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    /// It reads the byte that was announced.
    Once,
    /// It reads bytes until there are none.
    UntilNothing,
    /// It reads the byte, reads again without the loop, and ignores the error.
    WithErrors,
}

#[derive(Clone, Default)]
struct Seen {
    runs: Rc<Cell<u32>>,
    urgent: Rc<Cell<usize>>,
    plain: Rc<Cell<usize>>,
}

/// Reads all input, and urgent bytes.
struct Urgent {
    taking: Taking,
    seen: Seen,
}

fn take_urgent(fd: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    SockRef::from(&fd).recv_out_of_band(&mut [MaybeUninit::uninit()]).map(Some)
}

fn add(cell: &Cell<usize>, count: usize) {
    cell.set(cell.get() + count);
}

impl Handler for Urgent {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.seen.runs.set(self.seen.runs.get() + 1);
        if cx.readiness().contains(Readiness::PRIORITY) {
            add(&self.seen.urgent, usize::from(cx.read_urgent()?.is_some()));
            if self.taking == Taking::UntilNothing {
                while cx.read_urgent()?.is_some() {}
            }
            if self.taking == Taking::WithErrors {
                let failing = |fd: BorrowedFd<'_>| Ok(Some(take_urgent(fd).is_err()));
                let failed = cx.try_io("recv", Interest::READ, failing)?;
                assert_ne!(failed, Some(false), "there was a second urgent byte");
            }
        }
        let mut buffer = [0; 64];
        while let Some(count) = cx.read(&mut buffer)? {
            add(&self.seen.plain, count);
            if count < buffer.len() && !cx.readiness().contains(Readiness::READABLE) {
                break;
            }
        }
        Ok(())
    }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let theirs = TcpStream::connect(address).expect("it connects");
    theirs.set_nodelay(true).expect("it is set");
    (listener.accept().expect("it is accepted").0, theirs)
}

fn urgent(reactor: &mut Reactor, interest: Interest, taking: Taking) -> (Seen, Token, TcpStream) {
    let (ours, theirs) = tcp_pair();
    let seen = Seen::default();
    let handler = Urgent { taking, seen: seen.clone() };
    let registration = Registration::new(interest).short_read_exhausts();
    let token = reactor.cx().register(ours.into(), registration, handler).expect("it registers");
    (seen, token, theirs)
}

/// Returns how many turns the loop makes in a fifth of a second without events.
fn turns_at_rest(reactor: &mut Reactor) -> u64 {
    let (before, start) = (reactor.counters().turns, Instant::now());
    while start.elapsed() < Duration::from_millis(200) {
        reactor.run_once(Some(Duration::from_millis(50))).expect("it turns");
    }
    reactor.counters().turns - before
}

#[test]
fn urgent_bytes_are_reported_once_each_without_spinning() {
    for taking in [Taking::Once, Taking::UntilNothing, Taking::WithErrors] {
        on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
            let both = Interest::READ | Interest::PRIORITY;
            let (seen, _, theirs) = urgent(&mut reactor, both, taking);
            for round in 1..=3 {
                SockRef::from(&theirs).send_out_of_band(b"!").expect("it is sent");
                (&theirs).write_all(b"plain").expect("it is sent");
                turn_until(&mut reactor, |_| seen.plain.get() == 5 * round);
                turn_until(&mut reactor, |_| seen.urgent.get() == round);
                let turns = turns_at_rest(&mut reactor);
                assert!(turns < 20, "{taking:?}: {turns} turns");
            }
        });
    }
}

#[test]
fn an_ignored_urgent_byte_does_not_affect_later_reads() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (seen, _, mut theirs) = urgent(&mut reactor, Interest::READ, Taking::Once);
        SockRef::from(&theirs).send_out_of_band(b"!").expect("it is sent");
        theirs.write_all(b"plain").expect("it is sent");
        turn_until(&mut reactor, |_| seen.plain.get() == 5);
        let before = reactor.counters().reads;
        for round in 2..=11 {
            theirs.write_all(b"plain").expect("it is sent");
            turn_until(&mut reactor, |_| seen.plain.get() == 5 * round);
        }
        assert_eq!(reactor.counters().reads - before, 10, "on {}", reactor.backend_name());
    });
}

#[test]
fn bytes_after_an_urgent_byte_are_read_without_another_event() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (seen, token, mut theirs) = urgent(&mut reactor, Interest::READ, Taking::Once);
        // All of it is there before the first read, which ends at the mark.
        theirs.write_all(b"before").expect("it is sent");
        SockRef::from(&theirs).send_out_of_band(b"!").expect("it is sent");
        theirs.write_all(b"behind").expect("it is sent");
        reactor.cx().wake(token);
        turn_until(&mut reactor, |_| seen.plain.get() == 12);
    });
}

/// Counts its runs, and ignores its descriptor.
struct Idler(Rc<Cell<u32>>);

impl Handler for Idler {
    fn ready(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

#[test]
fn a_priority_condition_without_an_operation_is_reported_once_for_each_event() {
    for trigger in [Trigger::Edge, Trigger::Level] {
        let script = Script::new(trigger);
        let mut reactor =
            Reactor::with_backend(script.backend(), LoopLimits::DEFAULT, ()).expect("it opens");
        let runs = Rc::new(Cell::new(0));
        let (near, _far) = UnixStream::pair().expect("a pair can be made");
        let registration = Registration::new(Interest::PRIORITY);
        let token = reactor.cx().register(near.into(), registration, Idler(Rc::clone(&runs)));
        let token = token.expect("it registers");
        // As epoll(7) reports a change of /proc/self/mounts.
        let all = Readiness::PRIORITY | Readiness::ERROR | Readiness::READABLE;
        for round in 1..=3 {
            script.event(token, all);
            for _ in 0..10 {
                reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            }
            assert_eq!(runs.get(), round);
        }
    }
}

/// How a handler that runs for readiness reacts.
struct Neglects(fn(&mut Cx<'_>) -> io::Result<()>);

impl Handler for Neglects {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        (self.0)(cx)
    }
}

#[test]
fn a_handler_that_ignores_its_ready_descriptor_is_reported_once() {
    /// Keeps an interest in writing with nothing to write.
    const KEEPS_WRITING: (Interest, fn(&mut Cx<'_>) -> io::Result<()>) = (Interest::BOTH, |cx| {
        while cx.read(&mut [0; 16])?.is_some() {}
        Ok(())
    });
    /// Does not read, or reads without the loop.
    const NEVER_READS: (Interest, fn(&mut Cx<'_>) -> io::Result<()>) = (Interest::READ, |_| Ok(()));
    for kind in BackendKind::ALL {
        for (interest, neglect) in [KEEPS_WRITING, NEVER_READS] {
            let backend = kind.open().expect("the backend opens");
            let mut reactor =
                Reactor::with_backend(backend, LoopLimits::DEFAULT, ()).expect("it opens");
            reactor.set_audit(true);
            let (near, mut far) = UnixStream::pair().expect("a pair can be made");
            let registration = Registration::new(interest);
            reactor
                .cx()
                .register(near.into(), registration, Neglects(neglect))
                .expect("it registers");
            far.write_all(b"x").expect("it is sent");
            turn_until(&mut reactor, |reactor| reactor.counters().idle_spins == 1);
            for _ in 0..3000 {
                reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            }
            assert_eq!(reactor.counters().idle_spins, 1, "once, on {kind}");
        }
    }
}

#[test]
fn a_handler_that_sometimes_returns_early_is_not_reported() {
    /// Reads a byte at every tenth run.
    struct Slow(u32);
    impl Handler for Slow {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            self.0 += 1;
            if self.0.is_multiple_of(10) {
                let _ = cx.read(&mut [0])?;
            }
            Ok(())
        }
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        reactor.set_audit(true);
        let (near, mut far) = UnixStream::pair().expect("a pair can be made");
        let registration = Registration::new(Interest::READ);
        reactor.cx().register(near.into(), registration, Slow(0)).expect("it registers");
        far.write_all(&[0; 1000]).expect("it is sent");
        let woken = reactor.cx().spawn(Idler(Rc::default())).expect("it spawns");
        for _ in 0..5000 {
            reactor.cx().wake(woken);
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert_eq!(reactor.counters().idle_spins, 0);
        far.set_nonblocking(true).expect("it is set");
        assert!(far.read(&mut [0]).is_err(), "it is still open");
    });
}
