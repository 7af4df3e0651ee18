//! Dialling without a driver: the calls of a handler for a connection that this side makes.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::Duration;

use common::{PATIENCE, on_every_backend, temporary, turn_until};
use reactor::{
    Address, BackendKind, ConnectOptions, Connector, Cx, Handler, Interest, ListenOptions,
    Listener, LoopCx, LoopLimits, Reactor, Readiness, Reason, Registration, Role, Timeout, Token,
};

/// The calls of a dialling handler, in order.
#[derive(Clone, Default)]
struct Diary(Rc<RefCell<Vec<String>>>);

impl Diary {
    fn note(&self, what: impl Into<String>) {
        self.0.borrow_mut().push(what.into());
    }

    fn entries(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

/// Records its calls.
struct Notes {
    diary: Diary,
    /// Ends its source at once.
    ends: bool,
}

impl Handler for Notes {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.diary.note(if cx.was_woken() { "ready, woken" } else { "ready" });
        if self.ends {
            cx.end(Reason::Finished);
        }
        Ok(())
    }

    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_>) -> io::Result<()> {
        self.diary.note(format!("{timeout:?}"));
        cx.end(Reason::TimedOut(timeout));
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.diary.note("stopping");
        cx.end(Reason::Stopped);
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_>) {
        self.diary.note(reason.to_string());
    }

    fn name(&self) -> &'static str {
        "notes"
    }
}

/// Returns a registration without interest.
fn quiet() -> Registration {
    Registration::new(Interest::NONE).role(Role::Connection)
}

fn dial_with(
    reactor: &mut Reactor,
    address: &Address,
    options: &ConnectOptions,
    registration: Registration,
) -> (Diary, Token) {
    let diary = Diary::default();
    let notes = Notes { diary: diary.clone(), ends: false };
    let connector = Connector::new(address, options);
    assert_eq!(connector.target().to_string(), address.to_string());
    let token = connector.register(registration, notes, &mut reactor.cx()).expect("it registers");
    (diary, token)
}

fn dial(reactor: &mut Reactor, address: &Address) -> (Diary, Token) {
    dial_with(reactor, address, &ConnectOptions::DEFAULT, quiet())
}

/// A TCP listener whose backlog is full, so that connecting to it does not complete.
struct Full {
    listener: Listener,
    address: Address,
    waiting: Vec<TcpStream>,
}

impl Full {
    fn new() -> Self {
        let any = "127.0.0.1:0".parse().expect("it is an address");
        let options = ListenOptions { backlog: 1, ..ListenOptions::DEFAULT };
        let listener = Listener::bind(&any, &options).expect("a port is free");
        let address = listener.address().clone();
        let Address::Tcp(ip) = address else { unreachable!("it was bound to an IP address") };
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&ip, Duration::from_millis(200)) {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the backlog takes more than it should");
        }
        Self { listener, address, waiting }
    }

    /// Accepts the waiting connections in a second loop, so that there is room for others.
    fn open(self) -> Reactor {
        let mut reactor = Reactor::new(()).expect("the reactor opens");
        self.listener.register(&mut reactor.cx(), |_, _| Ok(())).expect("it listens");
        let count = self.waiting.len() as u64;
        turn_until(&mut reactor, |reactor| reactor.counters().accepts >= count);
        reactor
    }
}

/// Turns the loop a few times, and checks that no call was made.
fn stays_silent(reactor: &mut Reactor, diary: &Diary) {
    for _ in 0..5 {
        reactor.run_once(Some(Duration::from_millis(2))).expect("it turns");
    }
    assert_eq!(diary.entries(), [""; 0]);
}

#[test]
fn a_connection_calls_its_handler_once_when_it_is_established() {
    let path = temporary("dialled.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let unix = UnixListener::bind(&path).expect("the path is free");
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let tcp = Address::from(tcp.local_addr().expect("it has one"));
        for address in [tcp, Address::Unix(path.clone())] {
            let before = reactor.counters();
            let (diary, token) = dial(&mut reactor, &address);
            assert_eq!(reactor.cx().connections(), 1);
            turn_until(&mut reactor, |_| !diary.entries().is_empty());
            for _ in 0..5 {
                reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
            }
            assert_eq!(diary.entries(), ["ready"], "{address}");
            reactor.cx().wake(token);
            turn_until(&mut reactor, |_| diary.entries().len() > 1);
            reactor.cx().close(token);
            turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
            assert_eq!(diary.entries(), ["ready", "ready, woken", "cancelled"], "{address}");
            let counters = reactor.counters();
            assert_eq!(counters.registered - before.registered, 1);
        }
    });
    drop(unix);
    std::fs::remove_file(&path).expect("it is ours");
}

#[test]
fn an_established_connection_is_registered_with_the_kernel_once() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address::from(server.local_addr().expect("it has one"));
    let backend = BackendKind::Epoll.open().expect("epoll opens");
    let mut reactor =
        Reactor::with_backend(backend, LoopLimits::DEFAULT, ()).expect("the reactor opens");
    let before = reactor.counters().ctl_calls;
    let (diary, _) = dial(&mut reactor, &address);
    turn_until(&mut reactor, |_| !diary.entries().is_empty());
    assert_eq!(reactor.counters().ctl_calls - before, 1);
}

/// Reads until the read would block.
struct Reads(Rc<Cell<usize>>);

impl Handler for Reads {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let mut buffer = [0; 64];
        while let Some(count) = cx.read(&mut buffer)? {
            self.0.set(self.0.get() + count);
            if count == 0 {
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
        }
        assert!(!cx.readiness().contains(Readiness::READABLE));
        Ok(())
    }
}

#[test]
fn an_established_connection_is_called_for_its_interests() {
    use std::io::Write;
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address::from(server.local_addr().expect("it has one"));
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor| {
        let read = Rc::new(Cell::new(0));
        let registration = Registration::new(Interest::READ).role(Role::Connection);
        Connector::new(&address, &ConnectOptions::DEFAULT)
            .register(registration, Reads(Rc::clone(&read)), &mut reactor.cx())
            .expect("it registers");
        let (mut peer, _) = server.accept().expect("it accepts");
        for length in 1..=3 {
            peer.write_all(b"x").expect("the kernel takes a byte");
            turn_until(&mut reactor, |_| read.get() == length);
        }
        drop(peer);
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
    });
}

#[test]
fn a_refused_connection_is_reported_with_a_hint_to_its_handler() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address::from(port.local_addr().expect("it has one"));
    drop(port);
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (diary, _) = dial(&mut reactor, &address);
        turn_until(&mut reactor, |_| !diary.entries().is_empty());
        let said = diary.entries();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with("connect: ") && said[0].contains("nothing listens"),
            "{said:?}"
        );
        assert_eq!(reactor.cx().connections(), 0);
    });
}

#[test]
fn connecting_has_only_its_own_time_limit() {
    let limits = LoopLimits { idle_timeout: Some(Duration::from_millis(1)), ..LoopLimits::DEFAULT };
    let full = Full::new();
    on_every_backend(limits, |mut reactor| {
        let options =
            ConnectOptions { timeout: Duration::from_millis(40), ..ConnectOptions::DEFAULT };
        let start = reactor.cx().now();
        let (diary, _) = dial_with(&mut reactor, &full.address, &options, quiet());
        turn_until(&mut reactor, |_| !diary.entries().is_empty());
        assert_eq!(
            diary.entries(),
            [format!(
                "connect: {}: no answer in time: the peer does not answer; is it down, or behind a firewall?",
                full.address
            )]
        );
        assert!(reactor.cx().now() - start >= options.timeout, "it ended early");
    });
}

#[test]
fn an_established_connection_has_its_idle_limit_and_no_deadline() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address::from(server.local_addr().expect("it has one"));
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let options =
            ConnectOptions { timeout: Duration::from_millis(30), ..ConnectOptions::DEFAULT };
        let registration = quiet().idle_timeout(Some(Duration::from_millis(60)));
        let (diary, _) = dial_with(&mut reactor, &address, &options, registration);
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        assert_eq!(diary.entries(), ["ready", "Idle", "idle for too long"]);
        let nothing = quiet().idle_timeout(Some(Duration::ZERO));
        let connector = Connector::new(&address, &options);
        let notes = Notes { diary: diary.clone(), ends: false };
        let error = connector.register(nothing, notes, &mut reactor.cx());
        assert!(error.is_err_and(|error| error.to_string().contains("idle limit of 0")));
    });
}

#[test]
fn a_wake_while_connecting_arrives_with_the_first_call() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let full = Full::new();
        let (diary, token) = dial(&mut reactor, &full.address);
        reactor.cx().wake(token);
        stays_silent(&mut reactor, &diary);
        let _server = full.open();
        turn_until(&mut reactor, |_| !diary.entries().is_empty());
        assert_eq!(diary.entries(), ["ready, woken"]);
    });
}

#[test]
fn a_stop_while_connecting_arrives_after_the_first_call() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let full = Full::new();
        let (diary, _) = dial(&mut reactor, &full.address);
        reactor.cx().stop_gracefully(PATIENCE);
        stays_silent(&mut reactor, &diary);
        assert!(!reactor.has_ended(), "a connection is still to come");
        let _server = full.open();
        reactor.run().expect("it runs until it has stopped");
        assert_eq!(diary.entries(), ["ready", "stopping", "stopped"]);
    });
}

#[test]
fn a_stop_and_a_connection_in_one_turn_are_both_reported_once() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address::from(server.local_addr().expect("it has one"));
    on_every_backend(LoopLimits { calls_per_turn: 1, ..LoopLimits::DEFAULT }, |mut reactor| {
        let (diary, _) = dial(&mut reactor, &address);
        reactor.cx().stop_gracefully(PATIENCE);
        reactor.run().expect("it runs until it has stopped");
        assert_eq!(diary.entries(), ["ready", "stopping", "stopped"]);
    });
}

/// One of several attempts to connect. The first that succeeds closes the others, and replaces
/// itself by the handler of the connection.
struct Attempt {
    attempts: Rc<RefCell<Vec<Token>>>,
    diary: Diary,
}

impl Handler for Attempt {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.diary.note("connected");
        for attempt in self.attempts.take() {
            if attempt != cx.me() {
                cx.close(attempt);
            }
        }
        cx.replace_handler(Notes { diary: self.diary.clone(), ends: false });
        cx.wake(cx.me());
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_>) {
        self.diary.note(format!("an attempt ended: {reason}"));
    }
}

#[test]
fn the_first_of_several_attempts_closes_the_others() {
    let full = Full::new();
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address::from(server.local_addr().expect("it has one"));
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (attempts, diary) = (Rc::new(RefCell::new(Vec::new())), Diary::default());
        for address in [&full.address, &address, &full.address] {
            let connector = Connector::new(address, &ConnectOptions::DEFAULT);
            let attempt = Attempt { attempts: Rc::clone(&attempts), diary: diary.clone() };
            let token = connector.register(quiet(), attempt, &mut reactor.cx());
            attempts.borrow_mut().push(token.expect("it registers"));
        }
        turn_until(&mut reactor, |reactor| {
            diary.entries().len() == 4 && reactor.cx().connections() == 1
        });
        let ended = "an attempt ended: cancelled";
        let mut entries = diary.entries();
        entries.sort_unstable();
        assert_eq!(entries, [ended, ended, "connected", "ready, woken"]);
    });
}

#[test]
fn closing_a_connection_while_connecting_calls_closed() {
    let full = Full::new();
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (diary, token) = dial(&mut reactor, &full.address);
        stays_silent(&mut reactor, &diary);
        reactor.cx().close(token);
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        assert_eq!(diary.entries(), ["cancelled"]);
        let (diary, _) = dial(&mut reactor, &full.address);
        drop(reactor);
        assert_eq!(diary.entries(), ["stopped"]);
    });
}

#[test]
fn a_handler_that_ends_or_panics_in_its_first_call_gets_closed() {
    /// Panics when it is called.
    struct Panics(Diary);
    impl Handler for Panics {
        fn ready(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
            panic!("planted");
        }
        fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_>) {
            self.0.note(reason.to_string());
        }
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address::from(server.local_addr().expect("it has one"));
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor| {
        let diary = Diary::default();
        let dial = || Connector::new(&address, &ConnectOptions::DEFAULT);
        let notes = Notes { diary: diary.clone(), ends: true };
        dial().register(quiet(), notes, &mut reactor.cx()).expect("it registers");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        assert_eq!(diary.entries(), ["ready", "finished"]);
        let panics = Panics(diary.clone());
        dial().register(quiet(), panics, &mut reactor.cx()).expect("it registers");
        let run = std::panic::AssertUnwindSafe(|| {
            turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        });
        std::panic::catch_unwind(run).expect_err("it panics");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        assert_eq!(diary.entries(), ["ready", "finished", "panicked"]);
    });
}

/// Replaces itself by a handler with the next number, until the last.
struct Counts {
    number: u32,
    diary: Diary,
}

impl Handler for Counts {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.diary.note(format!("{} is ready", self.number));
        // The last of several replacements counts.
        for number in [100, self.number + 1] {
            cx.replace_handler(Counts { number, diary: self.diary.clone() });
        }
        Ok(())
    }

    fn stopping(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.diary.note(format!("{} stops", self.number));
        if self.number < 4 {
            cx.replace_handler(Counts { number: self.number + 1, diary: self.diary.clone() });
        } else {
            cx.end(Reason::Finished);
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_>) {
        self.diary.note(format!("{}: {reason}", self.number));
    }
}

#[test]
fn a_replaced_handler_is_not_called_and_the_new_one_gets_the_stop() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let diary = Diary::default();
        let counts = Counts { number: 1, diary: diary.clone() };
        let token = reactor.cx().spawn(counts).expect("it registers");
        for count in 1..=2 {
            reactor.cx().wake(token);
            turn_until(&mut reactor, |_| diary.entries().len() == count);
        }
        reactor.cx().stop_gracefully(PATIENCE);
        for _ in 0..4 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        let told = ["1 is ready", "2 is ready", "3 stops", "4 stops", "4: finished"];
        assert_eq!(diary.entries(), told);
    });
}

#[test]
fn a_connection_delivers_bytes_that_arrived_before_its_first_call() {
    // The peer has sent everything and has closed before the first turn of the loop.
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address: SocketAddr = server.local_addr().expect("it has one");
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor| {
        let read = Rc::new(Cell::new(0));
        let connector = Connector::new(address, &ConnectOptions::DEFAULT);
        let registration = Registration::new(Interest::READ).role(Role::Connection);
        connector
            .register(registration, Reads(Rc::clone(&read)), &mut reactor.cx())
            .expect("it registers");
        let (mut peer, _) = server.accept().expect("it accepts");
        io::Write::write_all(&mut peer, &[1; 1000]).expect("the kernel takes bytes");
        peer.shutdown(std::net::Shutdown::Write).expect("half of it closes");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        assert_eq!(read.get(), 1000);
        assert_eq!(peer.read(&mut [0]).expect("it is closed in order"), 0);
    });
}
