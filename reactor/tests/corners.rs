//! Corner cases that were wrong once: each test failed before it passed.

mod common;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use common::{
    Answers, Arms, Echo, MUCH, Probe, epoll, on_every_backend, probe, serve, serve_echo, temporary,
    turn_until,
};
use protocol::codecs::Bytes;
use protocol::{Context, Conversation, FileRange, Flow, Limits, Reply, Service};
use reactor::{
    Accepted, Address, BackendKind, ConnectOptions, Cx, Expired, Handler, Interest, ListenOptions,
    Listener, LoopCx, LoopLimits, Reactor, Reason, Registration, Role, Stream, Token,
};

/// Returns how often a loop without work turns in a fifth of a second.
fn turns_at_rest<A>(reactor: &mut Reactor<A>) -> u64 {
    let (before, start) = (reactor.counters().turns, Instant::now());
    while start.elapsed() < Duration::from_millis(200) {
        reactor.run_once(Some(Duration::from_millis(20))).expect("it turns");
    }
    reactor.counters().turns - before
}

/// Sends one byte from each of many slices, once a call.
struct Many(Rc<Cell<usize>>);

impl Handler for Many {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let left = 5000 - self.0.get();
        let slices: Vec<IoSlice<'_>> = (0..left).map(|_| IoSlice::new(b"x")).collect();
        let count = cx.write(&slices)?.unwrap_or(0);
        self.0.set(self.0.get() + count);
        if count == left {
            cx.end(Reason::Finished);
        }
        Ok(())
    }
}

#[test]
fn more_slices_than_the_kernel_accepts_are_not_a_short_write() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (near, _far) = UnixStream::pair().expect("a pair can be made");
        let sent = Rc::new(Cell::new(0));
        let registration = Registration::new(Interest::WRITE);
        reactor
            .cx()
            .register(near.into(), registration, Many(Rc::clone(&sent)))
            .expect("it registers");
        turn_until(&mut reactor, |_| sent.get() == 5000);
    });
}

/// Records the length of one read a call.
struct Lengths(Rc<RefCell<Vec<usize>>>);

impl Handler for Lengths {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.0.borrow_mut().extend(cx.read(&mut [0; 100])?);
        Ok(())
    }
}

#[test]
fn an_empty_datagram_does_not_end_the_source() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let near = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let far = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        far.connect(near.local_addr().expect("it has one")).expect("it connects");
        let lengths = Rc::new(RefCell::new(Vec::new()));
        let registration = Registration::new(Interest::READ);
        reactor
            .cx()
            .register(near.into(), registration, Lengths(Rc::clone(&lengths)))
            .expect("it registers");
        for datagram in [&b"one"[..], b"", b"three"] {
            far.send(datagram).expect("the kernel takes it");
        }
        turn_until(&mut reactor, |_| lengths.borrow().len() == 3);
        assert_eq!(*lengths.borrow(), [3, 0, 5]);
    });
}

#[test]
fn a_source_with_only_priority_interest_does_not_spin_when_its_peer_is_gone() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (_probe, _, far) = probe(&mut reactor, Interest::PRIORITY);
        drop(far);
        let turns = turns_at_rest(&mut reactor);
        assert!(turns < 40, "{turns} turns");
    });
}

#[test]
fn a_false_would_block_does_not_make_the_loop_spin() {
    /// Claims that it would block, whatever the input.
    struct Liar;
    impl Handler for Liar {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            let lie = |_: std::os::fd::BorrowedFd<'_>| Err(io::ErrorKind::WouldBlock.into());
            let none: Option<()> = cx.try_io("lie", Interest::READ, lie)?;
            assert!(none.is_none());
            Ok(())
        }
    }
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    reactor.set_audit(false);
    let (near, mut far) = UnixStream::pair().expect("a pair can be made");
    reactor
        .cx()
        .register(near.into(), Registration::new(Interest::READ), Liar)
        .expect("it registers");
    far.write_all(b"truth").expect("the kernel takes bytes");
    let turns = turns_at_rest(&mut reactor);
    assert!((5..500).contains(&turns), "{turns} turns: it is tried again, and not all the time");
}

/// Answers any input with a file.
struct Sends(Arc<File>, u64);

impl<A> Service<Bytes, A> for Sends {
    fn call(
        &mut self,
        _bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        reply.file(FileRange { file: Arc::clone(&self.0), offset: 0, length: self.1 });
        Flow::Continue
    }
}

#[test]
fn files_larger_than_the_cap_of_memory_are_sent() {
    let (path, length) = (temporary("large"), 20_u64 << 20);
    let options = File::options().create(true).truncate(true).read(true).write(true).open(&path);
    let file = Arc::new(options.expect("the folder is writable"));
    file.set_len(length).expect("there is room");
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let file = Arc::clone(&file);
        let make = move || Conversation::new(Bytes, Sends(Arc::clone(&file), length));
        let address = serve(&mut reactor, Limits::DEFAULT, make);
        let client = std::thread::spawn(move || {
            let mut client = TcpStream::connect(address).expect("it accepts");
            client.write_all(b"x").expect("it takes bytes");
            client.shutdown(Shutdown::Write).expect("half of it closes");
            let mut back = Vec::new();
            client.read_to_end(&mut back).expect("it is closed in order");
            back.len() as u64
        });
        turn_until(&mut reactor, |_| client.is_finished());
        assert_eq!(client.join().expect("the client does not panic"), length);
    });
    std::fs::remove_file(&path).expect("it can be removed");
}

#[test]
fn a_closing_connection_ends_even_if_its_peer_does_not_read() {
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor: Reactor<()>| {
        let limits = Limits { linger: Duration::from_millis(100), ..Limits::DEFAULT };
        let address =
            serve(&mut reactor, limits, || Conversation::new(Bytes, Answers(Flow::Close, MUCH)));
        let mut client = TcpStream::connect(address).expect("it accepts");
        client.write_all(b"x").expect("it takes bytes");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 1);
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
    });
}

#[test]
fn a_reply_in_progress_is_finished_while_the_loop_winds_down() {
    let limits = Limits { stopping_quiet: Duration::from_millis(10), ..Limits::DEFAULT };
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let make = || Conversation::new(Bytes, Answers(Flow::Continue, MUCH));
        let address = serve(&mut reactor, limits, make);
        let mut client = TcpStream::connect(address).expect("it accepts");
        client.write_all(b"x").expect("it takes bytes");
        turn_until(&mut reactor, |reactor| reactor.counters().bytes_written > 0);
        reactor.cx().stop_gracefully(Duration::from_secs(20));
        let client = std::thread::spawn(move || {
            // Longer than the idle limit.
            std::thread::sleep(Duration::from_millis(100));
            let mut back = Vec::new();
            client.read_to_end(&mut back).expect("it is closed in order");
            back.len()
        });
        turn_until(&mut reactor, |reactor| reactor.has_ended());
        drop(reactor);
        assert_eq!(client.join().expect("the client does not panic"), 12 << 20);
    });
}

#[test]
fn connections_accepted_before_the_end_are_answered() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let mut client = TcpStream::connect(address).expect("the kernel accepts");
        client.write_all(b"hello").expect("the kernel takes bytes");
        reactor.cx().stop_gracefully(Duration::from_secs(10));
        reactor.run().expect("it runs");
        drop(reactor);
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).expect("it is closed in order");
        assert_eq!(reply, b"hello");
    });
}

/// Sends what the application state holds for it, when it is woken.
struct Mail;

impl Service<Bytes, Vec<&'static str>> for Mail {
    fn call(
        &mut self,
        _bytes: &mut [u8],
        _reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, Vec<&'static str>>,
    ) -> Flow {
        Flow::Continue
    }

    fn resume(
        &mut self,
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Vec<&'static str>>,
    ) -> Flow {
        context.app.drain(..).for_each(|letter| reply.send(letter.as_bytes()));
        Flow::Continue
    }
}

#[test]
fn a_wake_while_connecting_arrives_when_the_connection_is_established() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = server.local_addr().expect("it has one").to_string();
    let address: Address = address.parse().expect("it is an address");
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Vec<&'static str>>| {
        let (options, session) = (ConnectOptions::DEFAULT, Conversation::new(Bytes, Mail));
        let mut cx = reactor.cx();
        let token = Stream::new(session, Limits::DEFAULT)
            .connect(&address, &options, &mut cx)
            .expect("it connects");
        cx.app.push("letter");
        cx.wake(token);
        let (mut peer, _) = server.accept().expect("it accepts");
        peer.set_nonblocking(true).expect("modes can be set");
        let mut read = [0; 6];
        turn_until(&mut reactor, |_| peer.read(&mut read).is_ok());
        assert_eq!(&read, b"letter");
    });
}

#[test]
fn the_idle_limit_does_not_apply_while_connecting() {
    // The backlog is full: the kernel does not answer further attempts.
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = server.local_addr().expect("it has one");
    let idle = Some(Duration::from_millis(30));
    let mut reactor = epoll((), LoopLimits { idle_timeout: idle, ..LoopLimits::DEFAULT });
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
        assert!(waiting.len() < 10_000, "the backlog has no end");
    }
    let address: Address = address.to_string().parse().expect("it is an address");
    let options = ConnectOptions { timeout: Duration::from_millis(150), ..ConnectOptions::DEFAULT };
    let (session, start) = (Conversation::new(Bytes, Echo), Instant::now());
    Stream::new(session, Limits::DEFAULT)
        .connect(&address, &options, &mut reactor.cx())
        .expect("it begins to connect");
    turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
}

#[test]
fn only_one_of_several_servers_that_start_at_once_gets_the_path() {
    let path = temporary("race.sock");
    let address: Address = format!("unix:{}", path.display()).parse().expect("it is an address");
    for round in 0..300 {
        // A stale file of a process that has ended.
        drop(UnixListener::bind(&path).expect("the path is free"));
        let barrier = Barrier::new(2);
        let bind = || {
            barrier.wait();
            Listener::bind(&address, &ListenOptions::DEFAULT)
        };
        let (one, other) = std::thread::scope(|scope| {
            let thread = scope.spawn(bind);
            (bind(), thread.join().expect("it does not panic"))
        });
        assert!(one.is_ok() != other.is_ok(), "round {round}: {one:?} and {other:?}");
        drop((one, other));
        assert!(!path.exists(), "round {round}: the file was left");
    }
}

#[test]
fn a_file_at_the_path_of_a_socket_is_named_in_the_error() {
    let path = temporary("in-the-way");
    std::fs::write(&path, "precious").expect("the folder is writable");
    let address = format!("unix:{}", path.display()).parse().expect("it is an address");
    let error = Listener::bind(&address, &ListenOptions::DEFAULT).expect_err("it is no socket");
    std::fs::remove_file(&path).expect("it is still there");
    assert!(error.to_string().contains("exists and is not a socket"), "{error}");
}

#[test]
fn a_stopped_loop_can_be_turned_again_and_sleeps() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        for _ in 0..2 {
            reactor.cx().stop_gracefully(Duration::from_millis(10));
            turn_until(&mut reactor, |reactor| reactor.has_ended());
        }
        let turns = turns_at_rest(&mut reactor);
        assert!(turns < 40, "{turns} turns");
        assert!(!reactor.cx().is_stopping());
    });
}

#[test]
fn sources_registered_while_the_loop_winds_down_learn_of_it() {
    struct Told(Rc<Cell<u32>>);
    impl Handler for Told {
        fn ready(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
            Ok(())
        }

        fn stopping(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    let told = Rc::new(Cell::new(0));
    // A connection that the loop waits for.
    let (near, _far) = UnixStream::pair().expect("a pair can be made");
    let registration = Registration::new(Interest::READ).role(Role::Connection);
    reactor.cx().register(near.into(), registration, Probe::default()).expect("it registers");
    reactor.cx().spawn(Told(Rc::clone(&told))).expect("it registers");
    reactor.cx().stop_gracefully(Duration::from_secs(10));
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    assert_eq!(told.get(), 1);
    reactor.cx().spawn(Told(Rc::clone(&told))).expect("it registers");
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    assert_eq!(told.get(), 2);
}

/// Registers another like itself when the loop winds down, and when it ends.
#[derive(Clone)]
struct Breeder {
    born: Rc<Cell<u32>>,
    place: Birth,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Birth {
    Stopping,
    Closed,
}

impl Breeder {
    fn breed<P>(&self, at: Birth, cx: &mut Cx<'_, (), P>) {
        // A loop that is being dropped refuses it.
        if self.place == at && cx.spawn(self.clone()).is_ok() {
            self.born.set(self.born.get() + 1);
        }
    }
}

impl Handler for Breeder {
    fn ready(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.breed(Birth::Stopping, cx);
        cx.end(Reason::Finished);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_>) {
        if cx.is_stopping() {
            self.breed(Birth::Closed, cx);
        }
    }
}

#[test]
fn sources_that_create_others_while_the_loop_winds_down_end_at_its_deadline() {
    for place in [Birth::Stopping, Birth::Closed] {
        let mut reactor = epoll((), LoopLimits::DEFAULT);
        let (_probe, _, _far) = probe(&mut reactor, Interest::READ);
        let born = Rc::new(Cell::new(0));
        let breeder = Breeder { born: Rc::clone(&born), place };
        reactor.cx().spawn(breeder).expect("it registers");
        reactor.cx().stop_gracefully(Duration::from_millis(20));
        // One generation each turn, and none within the call of another.
        for turn in 1..=5 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            assert!((1..=turn).contains(&born.get()), "{} in {turn} turns", born.get());
        }
        turn_until(&mut reactor, |reactor| reactor.has_ended());
        assert!(reactor.counters().live() <= 2, "each has ended: {}", reactor.counters());
    }
}

#[test]
fn operations_of_a_source_without_a_descriptor_fail_with_an_explanation() {
    struct Bare(Rc<Cell<u32>>);
    impl Handler for Bare {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            let errors = [
                cx.read(&mut [0; 8]).map(drop),
                cx.write(&[IoSlice::new(b"lost")]).map(drop),
                cx.take_error().map(drop),
                cx.shutdown_write(),
                cx.try_io("call", Interest::READ, |_| Ok(Some(()))).map(drop),
            ];
            for error in errors {
                let error = error.expect_err("there is nothing to do it with");
                assert!(error.to_string().contains("has no descriptor"), "{error}");
            }
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    let runs = Rc::new(Cell::new(0));
    let token = reactor.cx().spawn(Bare(Rc::clone(&runs))).expect("it registers");
    reactor.cx().wake(token);
    turn_until(&mut reactor, |_| runs.get() == 1);
}

#[test]
fn an_idle_limit_of_zero_is_refused_everywhere() {
    struct Impatient(Rc<Cell<u32>>);
    impl Handler for Impatient {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            let error = cx.set_idle_timeout(Some(Duration::ZERO)).expect_err("it allows nothing");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(cx.set_idle_timeout(None).is_ok());
            // A period of zero counts as none.
            cx.set_timer(Duration::ZERO, Some(Duration::ZERO), 0);
            Ok(())
        }

        fn timer(&mut self, _timer: Expired, _cx: &mut Cx<'_>) -> io::Result<()> {
            self.0.set(self.0.get() + 1);
            Ok(())
        }
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (near, _far) = UnixStream::pair().expect("a pair can be made");
        let registration = Registration::new(Interest::READ).idle_timeout(Some(Duration::ZERO));
        let error = reactor.cx().register(near.into(), registration, Probe::default());
        assert_eq!(error.expect_err("it allows nothing").kind(), io::ErrorKind::InvalidInput);
        assert_eq!(reactor.counters().live(), 0);
        let fired = Rc::new(Cell::new(0));
        let token = reactor.cx().spawn(Impatient(Rc::clone(&fired))).expect("it registers");
        reactor.cx().wake(token);
        turn_until(&mut reactor, |_| fired.get() == 1);
        let waits = reactor.counters().waits;
        reactor.run_once(Some(Duration::from_millis(5))).expect("it turns");
        reactor.run_once(Some(Duration::from_millis(5))).expect("it turns");
        assert_eq!((fired.get(), reactor.next_deadline()), (1, None), "after {waits} waits");
    });
}

#[test]
fn a_caught_panic_does_not_prevent_the_end_of_other_sources() {
    struct Bomb(Rc<Cell<u32>>, bool);
    impl Handler for Bomb {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            cx.end(Reason::Finished);
            Ok(())
        }

        fn closed(self: Box<Self>, _reason: Reason, _cx: &mut LoopCx<'_>) {
            self.0.set(self.0.get() + 1);
            assert!(!self.1, "planted");
        }
    }
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    let told = Rc::new(Cell::new(0));
    for explodes in [true, false] {
        let token = reactor.cx().spawn(Bomb(Rc::clone(&told), explodes)).expect("it registers");
        reactor.cx().wake(token);
    }
    let turn = AssertUnwindSafe(|| reactor.run_once(Some(Duration::ZERO)));
    assert!(std::panic::catch_unwind(turn).is_err());
    drop(reactor);
    assert_eq!(told.get(), 2);
}

#[test]
fn a_timer_of_another_loop_cannot_be_cancelled() {
    let mut there = epoll((), LoopLimits::DEFAULT);
    let name = Rc::new(Cell::new(None));
    let token = there.cx().spawn(Arms(Rc::clone(&name))).expect("it registers");
    there.cx().wake(token);
    there.run_once(Some(Duration::ZERO)).expect("it turns");
    let mut here = epoll(false, LoopLimits::DEFAULT);
    here.cx().after(Duration::from_millis(5), |cx| *cx.app = true).expect("it is armed");
    assert!(!here.cx().cancel_timer(name.get().expect("it was armed")));
    here.run_until(|fired| *fired).expect("it runs");
}

#[test]
fn a_very_long_period_does_not_panic() {
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    let mut cx = reactor.cx();
    cx.every(Duration::MAX, |_, _| unreachable!("it never comes")).expect("it is armed");
    cx.after(Duration::MAX, |_| unreachable!("it never comes")).expect("it is armed");
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
}

/// Keeps its output at the high mark.
struct Gush;

impl<A> Service<Bytes, A> for Gush {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, A>) -> Flow {
        self.drained(reply, context)
    }

    fn call(
        &mut self,
        _bytes: &mut [u8],
        _reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        Flow::Continue
    }

    fn drained(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, A>) -> Flow {
        while reply.backlog() < context.limits.output_high {
            reply.send(&[0; 4096]);
        }
        Flow::Continue
    }
}

#[test]
fn a_fast_reader_does_not_monopolize_the_loop() {
    let (near, mut far) = UnixStream::pair().expect("a pair can be made");
    let reader = std::thread::spawn(move || {
        let mut sink = vec![0; 1 << 20];
        let mut total = 0_u64;
        while let Ok(count @ 1..) = far.read(&mut sink) {
            total += count as u64;
        }
        total
    });
    let (low, high) = (8 << 10, 16 << 10);
    let limits =
        Limits { output_high: high, output_low: low, read_budget: 64 << 10, ..Limits::DEFAULT };
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    let accepted = Accepted::from_fd(near.into()).expect("it is connected");
    let session = Conversation::new(Bytes, Gush);
    Stream::new(session, Arc::new(limits))
        .register(accepted, &mut reactor.cx())
        .expect("it registers");
    // It continues from turn to turn: each turn sends a hundredth of this at most.
    let mut before = 0;
    turn_until(&mut reactor, |reactor| {
        let total = reactor.counters().bytes_written;
        let written = total - std::mem::replace(&mut before, total);
        assert!(written <= (64 << 10) + high, "{written} bytes in one turn");
        total > 10 << 20
    });
    drop(reactor);
    assert!(reader.join().expect("it does not panic") > 10 << 20);
}

/// Sends one message and ends its output. Ends when it is woken, and records how.
struct Half(Rc<RefCell<Vec<String>>>, Rc<Cell<Token>>);

impl Service<Bytes, ()> for Half {
    fn call(
        &mut self,
        _bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, ()>,
    ) -> Flow {
        reply.send(b"bye");
        context.effects.end_output();
        self.1.set(context.me.into());
        Flow::Pause
    }

    fn resume(&mut self, _reply: &mut Reply<'_, Bytes>, _context: &mut Context<'_, ()>) -> Flow {
        Flow::Close
    }

    fn closed(&mut self, reason: &protocol::Reason, _context: &mut Context<'_, ()>) {
        self.0.borrow_mut().push(if reason.is_orderly() {
            "in order".to_owned()
        } else {
            reason.to_string()
        });
    }
}

#[test]
fn closing_a_connection_that_both_sides_ended_is_orderly() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let (ends, me) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(Token::NONE)));
        let (noted, named) = (Rc::clone(&ends), Rc::clone(&me));
        let make = move || Conversation::new(Bytes, Half(Rc::clone(&noted), Rc::clone(&named)));
        let address = serve(&mut reactor, Limits::DEFAULT, make);
        let mut client = TcpStream::connect(address).expect("it accepts");
        client.write_all(b"x").expect("it takes bytes");
        turn_until(&mut reactor, |_| me.get() != Token::NONE);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        let mut said = Vec::new();
        client.read_to_end(&mut said).expect("it ends its side");
        drop(client);
        turns_at_rest(&mut reactor);
        reactor.cx().wake(me.get());
        turn_until(&mut reactor, |_| !ends.borrow().is_empty());
        assert_eq!(*ends.borrow(), ["in order"]);
    });
}

/// Becomes interested in reading only after its first run, which a level-triggered backend has to
/// be told.
struct Later(Probe);

impl Handler for Later {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        cx.set_interest(Interest::READ);
        self.0.ready(cx)
    }
}

#[test]
fn new_interests_of_a_hosted_loop_are_registered_before_its_host_waits() {
    for kind in [BackendKind::Epoll, BackendKind::EpollLevel] {
        let backend = kind.open().expect("the backend opens");
        let mut guest = Reactor::with_backend(backend, LoopLimits::DEFAULT, ()).expect("it opens");
        let (near, mut far) = UnixStream::pair().expect("a pair can be made");
        let inside = Probe::default();
        let registration = Registration::new(Interest::NONE);
        let token = guest.cx().register(near.into(), registration, Later(inside.clone()));
        guest.cx().wake(token.expect("it registers"));
        while guest.next_deadline().is_some() {
            guest.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        far.write_all(b"hello").expect("the kernel takes bytes");
        // The host waits for the descriptor of the guest alone.
        let mut host = epoll(false, LoopLimits::DEFAULT);
        struct Told;
        impl Handler<bool> for Told {
            fn ready(&mut self, cx: &mut Cx<'_, bool>) -> io::Result<()> {
                *cx.app = true;
                cx.end(Reason::Finished);
                Ok(())
            }
        }
        let fd = guest.host_fd().expect("epoll has one").try_clone_to_owned();
        let registration = Registration::new(Interest::READ);
        host.cx()
            .register(fd.expect("there are descriptors"), registration, Told)
            .expect("it registers");
        turn_until(&mut host, |host| host.app);
        guest.run_once(Some(Duration::ZERO)).expect("it turns");
        assert_eq!(inside.reads.get(), 5, "{kind}");
    }
}

#[test]
fn an_adopted_connection_becomes_non_blocking_and_other_sockets_are_refused() {
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    let (near, mut far) = UnixStream::pair().expect("a pair can be made");
    let accepted = Accepted::from_fd(near.into()).expect("it is connected");
    assert_eq!(accepted.peer(), None);
    let (limits, session) = (Arc::new(Limits::DEFAULT), Conversation::new(Bytes, Echo));
    Stream::new(session, limits).register(accepted, &mut reactor.cx()).expect("it registers");
    // It was in blocking mode: reading until it would block must not block the loop.
    far.write_all(b"x").expect("the kernel takes bytes");
    far.set_nonblocking(true).expect("modes can be set");
    turn_until(&mut reactor, |_| far.read(&mut [0]).is_ok());
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let error = Accepted::from_fd(datagrams.into()).expect_err("it is no stream");
    assert!(error.to_string().contains("stream socket"), "{error}");
    let alone = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    Accepted::from_fd(alone.into()).expect_err("it is not connected");
}
