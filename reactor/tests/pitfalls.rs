//! Faults of other loops, by the numbers of `docs/src/requirements.md`, on every backend.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Probe, on_every_backend, probe, serve_echo, turn_until};
use protocol::Limits;
use reactor::{
    BackendKind, Cx, Expired, Handler, Interest, LoopCx, LoopLimits, Reactor, Reason, Registration,
    Timeout, Token,
};

/// P1: a peer that floods its connection gets its budget and no more while another waits.
#[test]
fn a_flood_does_not_delay_its_neighbours() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let mut flood = TcpStream::connect(&address).expect("it accepts");
        let mut quiet = TcpStream::connect(&address).expect("it accepts");
        flood.set_nonblocking(true).expect("modes can be set");
        quiet.set_nonblocking(true).expect("modes can be set");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 2);
        let (chunk, mut sink) = (vec![1; 1 << 20], vec![0; 1 << 20]);
        for round in 0..200 {
            // Reads and writes as much as the kernel takes, so there is always more to do.
            while matches!(flood.read(&mut sink), Ok(count) if count > 0) {}
            while flood.write(&chunk).is_ok() {}
            quiet.write_all(&[round]).expect("the kernel takes a byte");
            let mut turns = 0;
            let mut reply = [0];
            while quiet.read(&mut reply).is_err() {
                reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
                turns += 1;
                assert!(turns <= 3, "round {round}: no answer in {turns} turns");
            }
            assert_eq!(reply, [round]);
        }
        let counters = reactor.counters();
        let budget = 2 * Limits::DEFAULT.read_budget as u64;
        assert!(counters.bytes_read < counters.turns * budget, "{counters}");
        assert!(counters.bytes_read > 10 << 20, "there was no flood: {counters}");
    });
}

/// P1: a thousand peers connect at once, ten are accepted in a turn, and all are served.
#[test]
fn a_thousand_connections_at_once_are_accepted_in_portions() {
    let limits = LoopLimits { accepts_per_turn: 10, ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor: Reactor<()>| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let count = descriptors(2, 1000);
        let clients: Vec<TcpStream> =
            (0..count).map(|_| TcpStream::connect(&address).expect("the kernel accepts")).collect();
        let mut accepted = 0;
        while accepted < count as u64 {
            reactor.run_once(Some(Duration::from_secs(1))).expect("it turns");
            let before = std::mem::replace(&mut accepted, reactor.counters().accepts);
            assert!(accepted - before <= 10, "{before} and then {accepted}");
        }
        for (number, mut client) in clients.into_iter().enumerate() {
            client.write_all(&[number as u8]).expect("the kernel takes a byte");
            client.set_nonblocking(true).expect("modes can be set");
            let mut reply = [0];
            turn_until(&mut reactor, |_| client.read(&mut reply).is_ok());
            assert_eq!(reply, [number as u8]);
        }
    });
}

/// Returns how many sources of `each` descriptors there can be: `wanted`, or fewer if the limit of
/// this process is lower, which the test prints.
fn descriptors(each: usize, wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux has it");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("it is there");
    let limit = line.split_whitespace().nth(3).and_then(|word| word.parse().ok());
    let limit: usize = limit.unwrap_or(usize::MAX);
    // The tests run in parallel, and share the descriptors.
    let most = (limit / 3 / each).min(wanted);
    if most < wanted {
        eprintln!("SCALED DOWN: {most} instead of {wanted}, as {limit} descriptors are the limit");
    }
    most
}

/// P3: the event array starts small and doubles, so that a crowd is served evenly.
#[test]
fn many_ready_sources_are_served_evenly() {
    /// Counts how often each source is run, and leaves its byte unread.
    struct Member(usize);
    impl Handler<Vec<u32>> for Member {
        fn ready(&mut self, cx: &mut Cx<'_, Vec<u32>>) -> io::Result<()> {
            cx.app[self.0] += 1;
            Ok(())
        }
    }
    let limits = LoopLimits { calls_per_turn: 8192, ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor: Reactor<Vec<u32>>| {
        let count = descriptors(2, 5000);
        reactor.app = vec![0; count];
        let peers: Vec<UnixStream> = (0..count)
            .map(|number| {
                let (near, mut far) = UnixStream::pair().expect("a pair can be made");
                far.write_all(b"x").expect("the kernel takes a byte");
                let registration = Registration::new(Interest::READ);
                reactor
                    .cx()
                    .register(near.into(), registration, Member(number))
                    .expect("it registers");
                far
            })
            .collect();
        for _ in 0..30 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        let (least, most) = (reactor.app.iter().min(), reactor.app.iter().max());
        let (least, most) = (*least.expect("it is a crowd"), *most.expect("it is a crowd"));
        // The array grows from 64 events to 8,192, so it takes seven turns to reach every source.
        assert!(least >= 20 && most <= 30, "from {least} to {most} times in 30 turns");
        drop(peers);
    });
}

/// P4: of two sources in one batch, each closes the other; a million registrations in all, on the
/// same few descriptors and slots.
#[test]
fn events_reach_only_their_own_registration() {
    /// The two sources of a round.
    #[derive(Default)]
    struct Round {
        pair: [Token; 2],
        calls: u32,
    }
    /// Closes the other source of its pair, and itself.
    struct Duel;
    impl Handler<Round> for Duel {
        fn ready(&mut self, cx: &mut Cx<'_, Round>) -> io::Result<()> {
            assert!(cx.app.pair.contains(&cx.me()), "one of another round is called");
            cx.app.calls += 1;
            for token in cx.app.pair {
                cx.close(token);
            }
            Ok(())
        }
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Round>| {
        let before = reactor.counters().live();
        for _ in 0..125_000 {
            let mut peers = Vec::new();
            for place in 0..2 {
                let (near, mut far) = UnixStream::pair().expect("a pair can be made");
                far.write_all(b"x").expect("the kernel takes a byte");
                let registration = Registration::new(Interest::READ).known_nonblocking();
                let token = reactor.cx().register(near.into(), registration, Duel);
                reactor.app.pair[place] = token.expect("it registers");
                peers.push(far);
            }
            reactor.app.calls = 0;
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            assert_eq!(reactor.app.calls, 1, "the other was closed before it was called");
            assert_eq!(reactor.counters().live(), before);
            let reused =
                reactor.app.pair.iter().all(|token| token.tag().slot() <= before as u32 + 2);
            assert!(reused, "slots are used again: {:?}", reactor.app.pair);
        }
    });
}

/// P7: a loop that is woken ten million times by eight threads misses nothing.
#[test]
fn the_last_of_ten_million_wakes_is_handled() {
    const THREADS: u64 = 8;
    const WAKES: u64 = 312_500; // Four backends make it ten million.
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let done = Arc::new(AtomicU64::new(0));
        let remote = reactor.cx().remote();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let (remote, done) = (remote.clone(), Arc::clone(&done));
                scope.spawn(move || {
                    for _ in 0..WAKES {
                        done.fetch_add(1, Ordering::SeqCst);
                        remote.wake().expect("the loop is there");
                    }
                });
            }
            // Only a wake ends a wait here. If the last one were lost, the test would hang.
            reactor
                .run_until(|()| done.load(Ordering::SeqCst) == THREADS * WAKES)
                .expect("it runs");
        });
        let turns = reactor.counters().turns;
        assert!(turns <= THREADS * WAKES, "wakes are coalesced: {turns} turns");
    });
}

/// The number of timers that fired, and of those that fired early.
#[derive(Default)]
struct Punctual {
    fired: u64,
    early: u64,
}

/// P12: no timer of a hundred thousand is early.
#[test]
fn no_timer_among_many_fires_early() {
    struct Timers {
        deadlines: Vec<Instant>,
    }
    impl Handler<Punctual> for Timers {
        fn ready(&mut self, cx: &mut Cx<'_, Punctual>) -> io::Result<()> {
            let start = cx.now();
            for key in 0..25_000_u64 {
                // Spread over 400 ms, to the nanosecond, in no order.
                let delay = Duration::from_nanos(key * 7_919_999 % 400_000_000);
                self.deadlines.push(start + delay);
                cx.set_timer(delay, None, key);
            }
            Ok(())
        }

        fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, Punctual>) -> io::Result<()> {
            let now = Instant::now();
            cx.app.fired += 1;
            cx.app.early += u64::from(now < self.deadlines[timer.key as usize]);
            Ok(())
        }
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Punctual>| {
        let token = reactor.cx().spawn(Timers { deadlines: Vec::new() }).expect("it registers");
        reactor.cx().wake(token);
        turn_until(&mut reactor, |reactor| reactor.app.fired == 25_000);
        assert_eq!(reactor.app.early, 0);
    });
}

/// P12: a timer of 900 us is not rounded to milliseconds, and costs no more than two waits.
#[test]
fn a_short_timer_takes_two_waits_at_most() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<bool>| {
        for _ in 0..50 {
            let before = reactor.counters().waits;
            reactor.app = false;
            reactor
                .cx()
                .after(Duration::from_micros(900), |cx| *cx.app = true)
                .expect("it is armed");
            reactor.run_until(|fired| *fired).expect("it runs");
            let waits = reactor.counters().waits - before;
            // One more than the timer's: its source is registered before.
            assert!(waits <= 2, "{waits} waits");
        }
    });
}

/// P22: any source may be closed from any callback, and `closed` is called once.
#[test]
fn every_callback_can_close_its_own_source_and_others() {
    /// Where to close.
    #[derive(Clone, Copy, PartialEq)]
    enum Place {
        Ready,
        Timeout,
        Timer,
        Stopping,
        Closed,
    }
    struct Closer {
        place: Place,
        other: Token,
        told: Rc<RefCell<Vec<Token>>>,
    }
    impl Closer {
        fn at<P>(&mut self, place: Place, cx: &mut Cx<'_, bool, P>) {
            if place == self.place {
                cx.close(self.other);
                cx.close(cx.me());
                // It may even register a source when it ends.
                let spawned = cx.spawn(Newborn).expect("it registers");
                cx.wake(spawned);
            }
        }
    }
    impl Handler<bool> for Closer {
        fn ready(&mut self, cx: &mut Cx<'_, bool>) -> io::Result<()> {
            cx.set_timeout(Some(Duration::from_millis(1)));
            cx.set_timer(Duration::from_millis(2), None, 0);
            self.at(Place::Ready, cx);
            let ends = self.place == Place::Closed;
            if ends {
                cx.end(Reason::Finished);
            }
            Ok(())
        }

        fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, bool>) -> io::Result<()> {
            self.at(Place::Timeout, cx);
            Ok(())
        }

        fn timer(&mut self, _timer: Expired, cx: &mut Cx<'_, bool>) -> io::Result<()> {
            self.at(Place::Timer, cx);
            if self.place == Place::Stopping {
                cx.stop_gracefully(Duration::from_secs(10));
            }
            Ok(())
        }

        fn stopping(&mut self, cx: &mut Cx<'_, bool>) -> io::Result<()> {
            self.at(Place::Stopping, cx);
            Ok(())
        }

        fn closed(mut self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, bool>) {
            self.told.borrow_mut().push(cx.me());
            self.at(Place::Closed, cx);
        }
    }
    /// Shows that a source which was registered at such a time runs.
    struct Newborn;
    impl Handler<bool> for Newborn {
        fn ready(&mut self, cx: &mut Cx<'_, bool>) -> io::Result<()> {
            *cx.app = true;
            cx.end(Reason::Finished);
            Ok(())
        }
    }
    for place in [Place::Ready, Place::Timeout, Place::Timer, Place::Stopping, Place::Closed] {
        on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<bool>| {
            let before = reactor.counters().live();
            let told = Rc::default();
            let idle = Closer { place: Place::Closed, other: Token::NONE, told: Rc::clone(&told) };
            let other = reactor.cx().spawn(idle).expect("it registers");
            let closer = Closer { place, other, told: Rc::clone(&told) };
            let closer = reactor.cx().spawn(closer).expect("it registers");
            reactor.cx().wake(closer);
            turn_until(&mut reactor, |reactor| reactor.app && reactor.counters().live() == before);
            let mut told = told.borrow().clone();
            told.sort_unstable();
            assert_eq!(told, [other, closer]);
        });
    }
}

/// Hosts a loop in another: the outer one waits for the inner one's descriptor and deadline.
#[test]
fn a_loop_can_be_hosted_in_another() {
    struct Host {
        guest: Reactor<()>,
        turns: Rc<Cell<u32>>,
    }
    impl Host {
        fn turn(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            self.turns.set(self.turns.get() + 1);
            self.guest.run_once(Some(Duration::ZERO))?;
            let next = self.guest.next_deadline();
            cx.set_timeout(next.map(|at| at.saturating_duration_since(cx.now())));
            // The inner loop has handled its events. Its descriptor is not read.
            cx.try_io("host", Interest::READ, |_| {
                Err::<Option<()>, _>(io::ErrorKind::WouldBlock.into())
            })?;
            Ok(())
        }
    }
    impl Handler<()> for Host {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            self.turn(cx)
        }

        fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_>) -> io::Result<()> {
            self.turn(cx)
        }
    }
    for kind in [BackendKind::Epoll, BackendKind::EpollLevel] {
        on_every_backend(LoopLimits::DEFAULT, |mut outer: Reactor<()>| {
            let backend = kind.open().expect("the backend opens");
            let mut guest =
                Reactor::with_backend(backend, LoopLimits::DEFAULT, ()).expect("it opens");
            let (inside, _, mut peer): (Probe, _, _) = probe(&mut guest, Interest::READ);
            let fired = Rc::new(Cell::new(0));
            let count = Rc::clone(&fired);
            guest
                .cx()
                .every(Duration::from_millis(3), move |_, _| count.set(count.get() + 1))
                .expect("it is armed");
            let remote = guest.cx().remote();
            let fd = guest.host_fd().expect("epoll has one").try_clone_to_owned();
            let turns = Rc::new(Cell::new(0));
            let host = Host { guest, turns: Rc::clone(&turns) };
            let registration = Registration::new(Interest::READ);
            let fd = fd.expect("there are descriptors");
            let token = outer.cx().register(fd, registration, host).expect("it registers");
            outer.cx().wake(token);
            peer.write_all(b"hello").expect("the kernel takes bytes");
            turn_until(&mut outer, |_| fired.get() >= 3 && inside.reads.get() == 5);
            let (sender, receiver) = std::sync::mpsc::channel();
            let post = move |_: &mut LoopCx<'_>| sender.send(()).expect("the test waits");
            remote.post(post).expect("the guest is there");
            turn_until(&mut outer, |_| receiver.try_recv().is_ok());
            drop(peer);
            turn_until(&mut outer, |_| inside.closes.get() == 1);
            assert!(turns.get() < 10_000, "{} turns", turns.get());
        });
    }
}
