//! The conformance suite of backends: each test runs on each backend.

mod common;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{PATIENCE, Probe, on_every_backend, probe, serve_echo, turn_until};
use protocol::Limits;
use reactor::{
    Cx, Handler, Interest, LoopCx, LoopLimits, PostError, Reason, Registration, Timeout,
};

#[test]
fn data_comes_before_the_end_and_the_end_comes_once() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (probe, _, mut peer) = probe(&mut reactor, Interest::READ);
        peer.write_all(&[1; 1000]).expect("the kernel takes bytes");
        drop(peer);
        turn_until(&mut reactor, |_| probe.closes.get() > 0);
        assert_eq!((probe.reads.get(), probe.closes.get()), (1000, 1));
        let turns = reactor.counters().turns;
        reactor.run_once(Some(Duration::from_millis(20))).expect("it turns");
        assert_eq!(reactor.counters().turns, turns + 1);
        assert_eq!(probe.closes.get(), 1);
    });
}

#[test]
fn a_paused_source_does_not_spin_when_its_peer_is_gone() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (probe, token, mut peer) = probe(&mut reactor, Interest::NONE);
        peer.write_all(b"unread").expect("the kernel takes bytes");
        drop(peer);
        reactor.cx().after(Duration::from_millis(50), |cx| cx.stop()).expect("it is armed");
        reactor.run().expect("it runs");
        assert!(reactor.counters().turns < 20, "{}", reactor.counters());
        assert_eq!(probe.closes.get(), 0);
        reactor.cx().wake(token);
        turn_until(&mut reactor, |_| probe.closes.get() > 0);
        assert_eq!(probe.reads.get(), 6);
    });
}

#[test]
fn an_early_return_loses_no_event() {
    /// Reads one byte a call.
    struct Sip(Rc<Cell<usize>>);
    impl Handler<()> for Sip {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            let count = cx.read(&mut [0])?.unwrap_or(0);
            self.0.set(self.0.get() + count);
            Ok(())
        }
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (ours, mut peer) = UnixStream::pair().expect("a pair can be made");
        let sipped = Rc::new(Cell::new(0));
        let registration = Registration::new(Interest::READ);
        reactor
            .cx()
            .register(ours.into(), registration, Sip(Rc::clone(&sipped)))
            .expect("it registers");
        peer.write_all(&[1; 500]).expect("the kernel takes bytes");
        turn_until(&mut reactor, |_| sipped.get() == 500);
        assert_eq!(reactor.counters().lost_edges, 0);
    });
}

#[test]
fn waking_and_closing_an_ended_source_has_no_effect() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (first, token, _peer) = probe(&mut reactor, Interest::READ);
        reactor.cx().close(token);
        reactor.cx().close(token);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        let (second, again, _peer) = probe(&mut reactor, Interest::READ);
        assert_eq!(again.tag().slot(), token.tag().slot());
        reactor.cx().wake(token);
        reactor.cx().close(token);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        assert_eq!((first.closes.get(), second.closes.get()), (1, 0));
        assert_eq!(second.runs.get(), 0);
        drop(reactor);
        assert_eq!((first.closes.get(), second.closes.get()), (1, 1));
        assert_eq!(Reason::NAMES[second.reason.get()], "stopped");
    });
}

#[test]
fn files_that_never_block_are_always_ready() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        for (path, least) in [("/dev/null", 0), ("/proc/self/exe", 1000)] {
            let file = std::fs::File::open(path).expect("it opens");
            let probe = Probe::default();
            let registration = Registration::new(Interest::READ);
            reactor.cx().register(file.into(), registration, probe.clone()).expect("it registers");
            turn_until(&mut reactor, |_| probe.closes.get() > 0);
            assert!(probe.reads.get() >= least, "{path}");
        }
    });
}

#[test]
fn a_peer_that_ends_its_output_still_gets_all_bytes() {
    on_every_backend::<()>(LoopLimits::DEFAULT, |mut reactor| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).expect("it accepts");
            let mut writer = stream.try_clone().expect("it can be cloned");
            let sender = std::thread::spawn(move || {
                writer.write_all(&[5; 1 << 20]).expect("it takes bytes");
                writer.shutdown(Shutdown::Write).expect("half of it closes");
            });
            let mut back = Vec::new();
            stream.read_to_end(&mut back).expect("it answers");
            sender.join().expect("the sender does not panic");
            back.len()
        });
        turn_until(&mut reactor, |_| client.is_finished());
        assert_eq!(client.join().expect("the client does not panic"), 1 << 20);
    });
}

#[test]
fn a_peer_that_does_not_read_uses_no_more_memory_than_the_marks() {
    on_every_backend::<()>(LoopLimits::DEFAULT, |mut reactor| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let mut stream = TcpStream::connect(address).expect("it accepts");
        stream.set_nonblocking(true).expect("modes can be set");
        let chunk = vec![7; 1 << 20];
        let (mut sent, mut still) = (0_u64, 0);
        // Until the kernel's buffers in both directions, and ours, are full.
        while still < 20 {
            match stream.write(&chunk) {
                Ok(count) => (sent, still) = (sent + count as u64, 0),
                Err(_) => still += 1,
            }
            reactor.run_once(Some(Duration::from_millis(2))).expect("it turns");
        }
        let counters = reactor.counters();
        let held = counters.bytes_read - counters.bytes_written;
        let bound = Limits::DEFAULT.output_high + Limits::DEFAULT.read_budget as u64;
        assert!(held <= bound, "{held} bytes are held");
        let mut back = 0;
        let mut buffer = vec![0; 1 << 20];
        turn_until(&mut reactor, |_| {
            while let Ok(count) = stream.read(&mut buffer) {
                back += count as u64;
            }
            back == sent
        });
    });
}

#[test]
fn the_idle_limit_ends_connections_and_not_listeners() {
    let limits =
        LoopLimits { idle_timeout: Some(Duration::from_millis(30)), ..LoopLimits::DEFAULT };
    on_every_backend::<()>(limits, |mut reactor| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        for round in 1..=2 {
            let _client = TcpStream::connect(&address).expect("it accepts");
            let timed_out = Reason::TimedOut(Timeout::Idle).index();
            turn_until(&mut reactor, |reactor| reactor.counters().closes[timed_out] == round);
        }
    });
}

#[test]
fn timers_fire_in_order_and_never_early_and_count_all_periods() {
    on_every_backend::<Vec<(u64, Instant)>>(LoopLimits::DEFAULT, |mut reactor| {
        let start = Instant::now();
        let mut cx = reactor.cx();
        for delay in [7, 1, 3] {
            let after = Duration::from_millis(delay);
            cx.after(after, move |cx| cx.app.push((delay, Instant::now()))).expect("it is armed");
        }
        turn_until(&mut reactor, |reactor| reactor.app.len() == 3);
        let order: Vec<u64> = reactor.app.iter().map(|it| it.0).collect();
        assert_eq!(order, [1, 3, 7]);
        for (delay, fired) in &reactor.app {
            assert!(*fired - start >= Duration::from_millis(*delay), "{delay} ms fired early");
        }
        reactor.app.clear();
        let period = Duration::from_millis(2);
        let start = reactor.cx().now();
        reactor
            .cx()
            .every(period, |ticks, cx| cx.app.push((ticks, cx.now())))
            .expect("it is armed");
        turn_until(&mut reactor, |reactor| reactor.app.iter().map(|it| it.0).sum::<u64>() >= 20);
        let ticks: u64 = reactor.app.iter().map(|it| it.0).sum();
        let last = reactor.app.last().expect("it has fired").1;
        let due = (last - start).as_nanos() / period.as_nanos();
        assert_eq!(u128::from(ticks), due, "a tick was lost or added");
    });
}

#[test]
fn a_chain_of_due_timers_starves_no_source() {
    fn again(cx: &mut LoopCx<'_>) {
        cx.after(Duration::ZERO, again).expect("it is armed");
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        again(&mut reactor.cx());
        let (probe, _, mut peer) = probe(&mut reactor, Interest::READ);
        peer.write_all(b"hello").expect("the kernel takes bytes");
        turn_until(&mut reactor, |_| probe.reads.get() == 5);
    });
}

#[test]
fn closures_of_other_threads_all_run_and_posting_to_an_ended_loop_fails() {
    on_every_backend::<u64>(LoopLimits::DEFAULT, |mut reactor| {
        let remote = reactor.cx().remote();
        let posters: Vec<_> = (0..4)
            .map(|_| {
                let remote = remote.clone();
                std::thread::spawn(move || {
                    for _ in 0..10_000 {
                        remote.post(|cx| *cx.app += 1).expect("the loop is there");
                    }
                })
            })
            .collect();
        turn_until(&mut reactor, |reactor| reactor.app == 40_000);
        for poster in posters {
            poster.join().expect("no poster panics");
        }
        drop(reactor);
        assert_eq!(remote.post(|_| ()), Err(PostError::Gone));
        assert_eq!(remote.wake(), Err(PostError::Gone));
    });
}

#[test]
fn connections_over_the_limit_are_served_later() {
    let limits = LoopLimits { connections_max: 2, ..LoopLimits::DEFAULT };
    on_every_backend::<()>(limits, |mut reactor| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let mut clients: Vec<TcpStream> =
            (0..6).map(|_| TcpStream::connect(&address).expect("the kernel accepts")).collect();
        while let Some(mut client) = clients.pop() {
            // The oldest connections are served first, so they are removed from the front.
            clients.push(client);
            client = clients.remove(0);
            client.write_all(b"x").expect("the kernel takes bytes");
            client.set_nonblocking(true).expect("modes can be set");
            turn_until(&mut reactor, |_| matches!(client.read(&mut [0]), Ok(1)));
            assert!(reactor.cx().connections() <= 2);
        }
    });
}

#[test]
fn a_graceful_stop_ends_with_the_last_connection() {
    on_every_backend::<()>(LoopLimits::DEFAULT, |mut reactor| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let client = TcpStream::connect(&address).expect("it accepts");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 1);
        reactor.cx().stop_gracefully(PATIENCE);
        let start = Instant::now();
        drop(client);
        reactor.run().expect("it runs");
        assert!(start.elapsed() < PATIENCE);
        assert!(TcpStream::connect(&address).is_err(), "it still listens");
    });
}

#[test]
fn an_error_of_a_handler_ends_only_its_source() {
    struct Fails;
    impl Handler<()> for Fails {
        fn ready(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
            Err(io::Error::other("planted"))
        }
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (probe, _, mut peer) = probe(&mut reactor, Interest::READ);
        let token = reactor.cx().spawn(Fails).expect("it registers");
        reactor.cx().wake(token);
        peer.write_all(b"fine").expect("the kernel takes bytes");
        turn_until(&mut reactor, |_| probe.reads.get() == 4);
        let failed = Reason::Failed { operation: "", error: io::Error::other("any") }.index();
        assert_eq!(reactor.counters().closes[failed], 1);
    });
}

/// Reads through a library that returns `None` when the read would block, not an error.
struct Library {
    socket: UnixStream,
    read: Rc<Cell<usize>>,
    empty: Rc<Cell<u32>>,
}

impl Library {
    /// Returns how many bytes were read, or `None` if the read would block.
    fn receive(&mut self) -> io::Result<Option<usize>> {
        match self.socket.read(&mut [0; 3]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.empty.set(self.empty.get() + 1);
                Ok(None)
            }
            result => result.map(Some),
        }
    }
}

impl Handler for Library {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        while let Some(count) = cx.try_io("receive", Interest::READ, |_| self.receive())? {
            self.read.set(self.read.get() + count);
        }
        assert!(!cx.readiness().contains(reactor::Readiness::READABLE));
        Ok(())
    }
}

#[test]
fn an_operation_that_returns_none_instead_of_an_error_waits_for_the_kernel() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
        let socket = ours.try_clone().expect("there are descriptors");
        let (read, empty) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let library = Library { socket, read: Rc::clone(&read), empty: Rc::clone(&empty) };
        let token = reactor
            .cx()
            .register(ours.into(), Registration::new(Interest::READ), library)
            .expect("it registers");
        for round in 1..=3 {
            theirs.write_all(&[1; 10]).expect("the kernel takes bytes");
            turn_until(&mut reactor, |_| read.get() == round as usize * 10);
            assert_eq!(empty.get(), round);
            let turns = reactor.counters().turns;
            // A `None` removes readiness: the wake calls the handler, which does not read again.
            reactor.cx().wake(token);
            reactor.run_once(Some(Duration::from_millis(10))).expect("it turns");
            assert_eq!((empty.get(), reactor.counters().turns), (round, turns + 1));
        }
        assert_eq!(u64::from(empty.get()), reactor.counters().would_blocks);
    });
}
