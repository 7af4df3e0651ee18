//! Winding down, stopping and closing: corner cases that were wrong once.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use common::{
    Answers, Echo, MUCH, epoll, on_every_backend, probe, serve, serve_echo, temporary, turn_until,
};
use protocol::codecs::Bytes;
use protocol::{
    Buffer, Cause, Context, Conversation, Flow, Limits, Output, Reply, Service, Session,
};
use reactor::{
    Accepted, Address, BackendKind, ConnectOptions, Cx, Handler, Interest, ListenOptions, Listener,
    LoopCx, LoopLimits, Reactor, Readiness, Reason, Registration, Stream, TimerId,
};

#[test]
fn a_last_reply_in_progress_is_finished_while_the_loop_winds_down() {
    let limits = Limits { stopping_quiet: Duration::from_millis(10), ..Limits::DEFAULT };
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let make = || Conversation::new(Bytes, Answers(Flow::Close, MUCH));
        let address = serve(&mut reactor, limits, make);
        let mut client = TcpStream::connect(address).expect("it accepts");
        client.write_all(b"x").expect("it takes bytes");
        turn_until(&mut reactor, |reactor| reactor.counters().bytes_written > 0);
        reactor.cx().stop_gracefully(Duration::from_secs(20));
        let client = std::thread::spawn(move || {
            // Longer than the idle limit, and much shorter than the linger.
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
fn a_connection_accepted_after_many_others_is_answered_when_the_loop_winds_down() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let mut crowd = Vec::new();
        for count in 1..=300 {
            crowd.push(TcpStream::connect(&address).expect("it accepts"));
            turn_until(&mut reactor, |reactor| reactor.cx().connections() == count);
        }
        // More are ready than one wait reports.
        for client in &mut crowd {
            client.write_all(b"x").expect("the kernel takes bytes");
        }
        let mut last = TcpStream::connect(&address).expect("the kernel accepts");
        last.write_all(b"hello").expect("the kernel takes bytes");
        reactor.cx().stop_gracefully(Duration::from_secs(10));
        drop(reactor.run());
        drop(reactor);
        let mut reply = Vec::new();
        last.read_to_end(&mut reply).expect("it is closed in order");
        assert_eq!(reply, b"hello");
    });
}

#[test]
fn many_pending_requests_are_answered_when_the_loop_winds_down() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let limits = Limits { stopping_quiet: Duration::from_millis(50), ..Limits::DEFAULT };
        let address = serve_echo(&mut reactor, limits);
        let mut crowd = Vec::new();
        for count in 1..=300 {
            crowd.push(TcpStream::connect(&address).expect("it accepts"));
            turn_until(&mut reactor, |reactor| reactor.cx().connections() == count);
        }
        // They have been silent for longer than `stopping_quiet`.
        std::thread::sleep(Duration::from_millis(100));
        for client in &mut crowd {
            client.write_all(b"x").expect("the kernel takes bytes");
        }
        reactor.cx().stop_gracefully(Duration::from_secs(10));
        reactor.run().expect("it runs");
        drop(reactor);
        let mut answered = 0;
        for client in &mut crowd {
            let mut reply = Vec::new();
            answered += u32::from(client.read_to_end(&mut reply).is_ok() && reply == b"x");
        }
        assert_eq!(answered, 300);
    });
}

/// Pauses from the start, and ends when the loop winds down.
struct Waits(Rc<RefCell<Vec<&'static str>>>);

impl<A> Service<Bytes, A> for Waits {
    fn open(&mut self, _reply: &mut Reply<'_, Bytes>, _context: &mut Context<'_, A>) -> Flow {
        self.0.borrow_mut().push("open");
        Flow::Pause
    }

    fn call(
        &mut self,
        _bytes: &mut [u8],
        _reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        Flow::Continue
    }

    fn stopping(&mut self, reply: &mut Reply<'_, Bytes>, _context: &mut Context<'_, A>) -> Flow {
        self.0.borrow_mut().push("stopping");
        reply.send(b"bye");
        Flow::Close
    }

    fn closed(&mut self, reason: &protocol::Reason, _context: &mut Context<'_, A>) {
        self.0.borrow_mut().push(if !reason.is_orderly() { "cut" } else { "in order" });
    }
}

#[test]
fn a_session_that_opens_while_the_loop_winds_down_learns_of_it() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let noted = Rc::new(RefCell::new(Vec::new()));
        let note = Rc::clone(&noted);
        let limits = Limits { linger: Duration::from_millis(10), ..Limits::DEFAULT };
        let make = move || Conversation::new(Bytes, Waits(Rc::clone(&note)));
        let address = serve(&mut reactor, limits, make);
        let client = TcpStream::connect(address).expect("the kernel accepts");
        reactor.cx().stop_gracefully(Duration::from_secs(1));
        reactor.run().expect("it runs");
        drop((reactor, client));
        assert_eq!(*noted.borrow(), ["open", "stopping", "in order"]);
    });
}

#[test]
fn the_file_of_a_socket_with_a_changed_mode_is_removed_with_its_listener() {
    let path = temporary("mode.sock");
    let address: Address = format!("unix:{}", path.display()).parse().expect("it is an address");
    let listener = Listener::bind(&address, &ListenOptions::DEFAULT).expect("the path is free");
    // An administrator or a start-up script gives a group access in this way.
    let mode = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions(&path, mode).expect("it is ours");
    drop(listener);
    let left = path.exists();
    drop(std::fs::remove_file(&path));
    assert!(!left, "the file was left");
}

#[test]
fn a_hosted_loop_reports_when_it_will_retry() {
    /// Claims twice that it would block, whatever the input, and then reads.
    struct Doubtful(Rc<Cell<u32>>);
    impl Handler for Doubtful {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            self.0.set(self.0.get() + 1);
            if self.0.get() <= 2 {
                let lie = |_: std::os::fd::BorrowedFd<'_>| Err(io::ErrorKind::WouldBlock.into());
                let none: Option<()> = cx.try_io("lie", Interest::READ, lie)?;
                assert!(none.is_none());
                return Ok(());
            }
            while cx.read(&mut [0; 100])?.is_some() {}
            Ok(())
        }
    }
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    reactor.set_audit(false);
    let (near, mut far) = UnixStream::pair().expect("a pair can be made");
    let runs = Rc::new(Cell::new(0));
    reactor
        .cx()
        .register(near.into(), Registration::new(Interest::READ), Doubtful(Rc::clone(&runs)))
        .expect("it registers");
    far.write_all(b"truth").expect("the kernel takes bytes");
    for _ in 0..2 {
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    }
    assert_eq!(runs.get(), 2);
    assert!(reactor.next_deadline().is_some(), "the host would wait for ever");
}

/// Sends a reply, and never consumes its input.
struct Hoards;

impl<A> Session<A> for Hoards {
    fn advance(
        &mut self,
        _input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, protocol::Reason> {
        if context.cause == Cause::Opened {
            output.append(&vec![1; context.limits.output_high as usize - 1]);
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn a_connection_closed_at_the_output_cap_ends_though_its_peer_does_not_read() {
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor: Reactor<()>| {
        let limits = Limits {
            linger: Duration::from_millis(100),
            message_size_max: 1024,
            output_high: 8 << 20,
            ..Limits::DEFAULT
        };
        let (near, mut far) = UnixStream::pair().expect("a pair can be made");
        let accepted = Accepted::from_fd(near.into()).expect("it is connected");
        Stream::new(Hoards, Arc::new(limits))
            .register(accepted, &mut reactor.cx())
            .expect("it registers");
        // The output fills the socket first.
        for _ in 0..20 {
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        }
        far.write_all(&[0; 80_000]).expect("the kernel takes bytes");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
    });
}

#[test]
fn a_connection_established_as_its_loop_stops_keeps_its_idle_limit() {
    /// Stops the loop when it is woken.
    struct Stops;
    impl Handler for Stops {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            cx.stop();
            cx.end(Reason::Finished);
            Ok(())
        }
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = server.local_addr().expect("it has one").to_string();
    let address: Address = address.parse().expect("it is an address");
    let idle = Some(Duration::from_millis(50));
    on_every_backend(
        LoopLimits { idle_timeout: idle, ..LoopLimits::DEFAULT },
        |mut reactor: Reactor<()>| {
            let session = Conversation::new(Bytes, Echo);
            let options = ConnectOptions::DEFAULT;
            let mut cx = reactor.cx();
            let stops = cx.spawn(Stops).expect("it registers");
            cx.wake(stops);
            Stream::new(session, Limits::DEFAULT)
                .connect(&address, &options, &mut cx)
                .expect("it connects");
            let (_peer, _) = server.accept().expect("it accepts");
            reactor.run().expect("it runs until it is stopped");
            turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        },
    );
}

#[test]
fn errors_reach_sources_without_interests() {
    /// Takes pending errors, and counts them.
    struct Counts(Rc<Cell<u32>>);
    impl Handler for Counts {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            if cx.readiness().contains(Readiness::ERROR) && cx.take_error()?.is_some() {
                self.0.set(self.0.get() + 1);
            }
            Ok(())
        }
    }
    for kind in [BackendKind::Epoll, BackendKind::EpollLevel, BackendKind::Poll] {
        eprintln!("on {kind}");
        let backend = kind.open().expect("the backend opens");
        let mut reactor =
            Reactor::with_backend(backend, LoopLimits::DEFAULT, ()).expect("it opens");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let gone = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        socket.connect(gone.local_addr().expect("it has one")).expect("it connects");
        drop(gone);
        let sender = socket.try_clone().expect("there are descriptors");
        let errors = Rc::new(Cell::new(0));
        reactor
            .cx()
            .register(socket.into(), Registration::new(Interest::NONE), Counts(Rc::clone(&errors)))
            .expect("it registers");
        for count in 1..=3 {
            sender.send(b"x").expect("the kernel takes it");
            turn_until(&mut reactor, |_| errors.get() >= count);
        }
    }
}

#[test]
fn a_timer_of_another_loop_cannot_be_moved() {
    struct Arms(Rc<Cell<Option<TimerId>>>);
    impl Handler for Arms {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            self.0.set(Some(cx.set_timer(Duration::from_secs(1000), None, 1)));
            Ok(())
        }
    }
    let mut there = epoll((), LoopLimits::DEFAULT);
    let name = Rc::new(Cell::new(None));
    let token = there.cx().spawn(Arms(Rc::clone(&name))).expect("it registers");
    there.cx().wake(token);
    there.run_once(Some(Duration::ZERO)).expect("it turns");
    let mut here = epoll(false, LoopLimits::DEFAULT);
    here.cx().after(Duration::from_millis(5), |cx| *cx.app = true).expect("it is armed");
    let later = Duration::from_secs(2);
    assert!(!here.cx().move_timer(name.get().expect("it was armed"), later));
    here.run_until(|fired| *fired).expect("it runs");
}

#[test]
fn a_path_below_a_fifo_is_refused_without_waiting() {
    let fifo = temporary("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo starts").success());
    let address: Address =
        format!("unix:{}/x.sock", fifo.display()).parse().expect("it is an address");
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let result = Listener::bind(&address, &ListenOptions::DEFAULT);
        send.send(result.is_err())
    });
    let refused = receive.recv_timeout(Duration::from_secs(3));
    std::fs::remove_file(&fifo).expect("it is there");
    assert_eq!(refused, Ok(true));
}

#[test]
fn after_a_caught_panic_every_source_learns_that_the_loop_winds_down() {
    struct Told(Rc<Cell<u32>>, bool);
    impl Handler for Told {
        fn ready(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
            Ok(())
        }

        fn stopping(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
            self.0.set(self.0.get() + 1);
            assert!(!self.1, "planted");
            Ok(())
        }
    }
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    let (_probe, _, _far) = probe(&mut reactor, Interest::READ);
    let told = Rc::new(Cell::new(0));
    for explodes in [true, false] {
        reactor.cx().spawn(Told(Rc::clone(&told), explodes)).expect("it registers");
    }
    reactor.cx().stop_gracefully(Duration::from_secs(10));
    let turn = std::panic::AssertUnwindSafe(|| reactor.run_once(Some(Duration::ZERO)));
    assert!(std::panic::catch_unwind(turn).is_err());
    for _ in 0..3 {
        let turn = std::panic::AssertUnwindSafe(|| reactor.run_once(Some(Duration::ZERO)));
        drop(std::panic::catch_unwind(turn));
    }
    assert_eq!(told.get(), 2);
}

#[test]
fn a_listener_that_ends_removes_only_its_own_file() {
    let path = temporary("succession.sock");
    let address: Address = format!("unix:{}", path.display()).parse().expect("it is an address");
    let mut current = Listener::bind(&address, &ListenOptions::DEFAULT).expect("it is free");
    for round in 0..3000 {
        let old = current;
        let start = std::sync::Barrier::new(2);
        current = std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                drop(old);
            });
            start.wait();
            loop {
                if let Ok(next) = Listener::bind(&address, &ListenOptions::DEFAULT) {
                    break next;
                }
            }
        });
        assert!(path.exists(), "round {round}: the file of the next is gone");
    }
}

#[test]
fn the_last_of_several_listeners_that_have_taken_a_file_over_removes_it() {
    let path = temporary("taken-over.sock");
    let address: Address = format!("unix:{}", path.display()).parse().expect("it is an address");
    let bound = Listener::bind(&address, &ListenOptions::DEFAULT).expect("it is free");
    let file = bound.owned_file().expect("it has made a file");
    let [first, last] = [(); 2].map(|()| {
        let socket = bound.as_fd().try_clone_to_owned().expect("there is a free descriptor");
        let mut listener = Listener::from_fd(socket).expect("it listens");
        listener.own_file(file).expect("it is that file");
        listener
    });
    bound.leave_file(true);
    drop(bound);
    drop(first);
    assert!(path.exists(), "one still listens there");
    drop(last);
    assert!(!path.exists());
}

#[test]
fn the_auditor_does_not_report_operations_that_the_loop_retries() {
    /// Claims twice that it would block, whatever the input, and then reads.
    struct Doubtful(Rc<Cell<u32>>);
    impl Handler for Doubtful {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            self.0.set(self.0.get() + 1);
            if self.0.get() <= 2 {
                let lie = |_: std::os::fd::BorrowedFd<'_>| Err(io::ErrorKind::WouldBlock.into());
                let none: Option<()> = cx.try_io("lie", Interest::READ, lie)?;
                assert!(none.is_none());
                return Ok(());
            }
            while cx.read(&mut [0; 100])?.is_some() {}
            Ok(())
        }
    }
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    reactor.set_audit(true);
    let (near, mut far) = UnixStream::pair().expect("a pair can be made");
    let runs = Rc::new(Cell::new(0));
    reactor
        .cx()
        .register(near.into(), Registration::new(Interest::READ), Doubtful(Rc::clone(&runs)))
        .expect("it registers");
    far.write_all(b"truth").expect("the kernel takes bytes");
    turn_until(&mut reactor, |_| runs.get() > 2);
    assert_eq!(reactor.counters().lost_edges, 0);
}

/// Records whether the loop was stopping when it ended.
struct Last(Rc<Cell<Option<bool>>>);

impl Handler for Last {
    fn ready(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_>) {
        self.0.set(Some(cx.is_stopping()));
    }
}

#[test]
fn a_loop_that_is_dropped_says_that_it_stops() {
    let mut reactor = Reactor::new(()).expect("the reactor opens");
    let (early, late) = (Rc::default(), Rc::default());
    let token = reactor.cx().spawn(Last(Rc::clone(&early))).expect("it registers");
    reactor.cx().spawn(Last(Rc::clone(&late))).expect("it registers");
    reactor.cx().close(token);
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    drop(reactor);
    assert_eq!((early.get(), late.get()), (Some(false), Some(true)));
}
