//! A panic that is caught leaves no half-dead source (P43). Each callback panics once, on every
//! backend; the rest of the loop, its memory and its descriptors are as before.

mod common;

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::codecs::Lines;
use protocol::{ConnectionId, Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Address, Cx, Expired, Handler, Interest, ListenOptions, Listener, LoopCx, LoopLimits, Reactor,
    Reason, Registration, Role, Signal, Timeout, Token,
};

use common::{PATIENCE, epoll, on_every_backend, serve, turn_until};

const MOMENT: Duration = Duration::from_millis(1);

/// Serializes the tests of this file, which count the descriptors of the process.
fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("the process has descriptors").count()
}

/// Turns the loop until it panics, and fails if it does not.
fn turn_until_panic<A>(reactor: &mut Reactor<A>) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let turn = AssertUnwindSafe(|| reactor.run_once(Some(Duration::from_millis(5))));
        match catch_unwind(turn) {
            Ok(turned) => turned.expect("it turns"),
            Err(_) => return,
        }
    }
    panic!("nothing panicked: {}", reactor.counters());
}

/// A bystander: a part of its line has been read when other sources panic.
struct Neighbour {
    client: TcpStream,
    live: u64,
    descriptors: usize,
}

impl Neighbour {
    fn new<A: 'static>(reactor: &mut Reactor<A>, address: &str) -> Self {
        let mut client = TcpStream::connect(address).expect("it accepts");
        client.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        let read = reactor.counters().bytes_read;
        client.write_all(b"hal").expect("the kernel takes bytes");
        turn_until(reactor, |reactor| reactor.counters().bytes_read == read + 3);
        Self { client, live: reactor.counters().live(), descriptors: descriptors() }
    }

    /// Waits until the other sources are gone, and checks that this one is still served.
    fn check<A: 'static>(&mut self, reactor: &mut Reactor<A>, what: &str) {
        let live = self.live;
        turn_until(reactor, |reactor| reactor.counters().live() == live);
        assert_eq!(descriptors(), self.descriptors, "{what} left a descriptor");
        let written = reactor.counters().bytes_written;
        self.client.write_all(b"f\nhal").expect("the kernel takes bytes");
        turn_until(reactor, |reactor| reactor.counters().bytes_written == written + 5);
        let mut answer = [0; 5];
        self.client.read_exact(&mut answer).expect("it is answered");
        assert_eq!(&answer, b"half\n", "beside {what}");
    }
}

struct Echo;

impl<A> Service<Lines, A> for Echo {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        reply.send(line);
        Flow::Continue
    }
}

/// The place where a handler panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Ready,
    Idle,
    Deadline,
    Timer,
    Stopping,
    Closed,
    Dropped,
}

/// A handler that panics, and records how it ended.
struct Bomb {
    place: Place,
    ends: Rc<RefCell<Vec<&'static str>>>,
}

impl Bomb {
    fn at(&self, place: Place) {
        assert_ne!(self.place, place, "planted");
    }
}

impl Handler for Bomb {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.at(Place::Ready);
        match self.place {
            Place::Idle => cx.set_idle_timeout(Some(MOMENT))?,
            Place::Deadline => cx.set_timeout(Some(MOMENT)),
            Place::Timer => _ = cx.set_timer(MOMENT, Some(MOMENT), 0),
            Place::Closed | Place::Dropped => {
                cx.end(Reason::Finished);
                return Ok(());
            }
            Place::Ready | Place::Stopping => {}
        }
        Ok(())
    }

    fn timeout(&mut self, timeout: Timeout, _cx: &mut Cx<'_>) -> io::Result<()> {
        self.at(if timeout == Timeout::Idle { Place::Idle } else { Place::Deadline });
        Ok(())
    }

    fn timer(&mut self, _timer: Expired, _cx: &mut Cx<'_>) -> io::Result<()> {
        self.at(Place::Timer);
        Ok(())
    }

    fn stopping(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
        self.at(Place::Stopping);
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, _cx: &mut LoopCx<'_>) {
        self.ends.borrow_mut().push(Reason::NAMES[reason.index()]);
        self.at(Place::Closed);
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.at(Place::Dropped);
        }
    }
}

/// Registers a handler that panics, and wakes it. Returns the record of its end, and its peer.
fn plant(reactor: &mut Reactor, place: Place) -> (Rc<RefCell<Vec<&'static str>>>, UnixStream) {
    let (near, far) = UnixStream::pair().expect("a pair can be made");
    let ends = Rc::new(RefCell::new(Vec::new()));
    let bomb = Bomb { place, ends: Rc::clone(&ends) };
    let registration = Registration::new(Interest::READ).role(Role::Connection);
    let token = reactor.cx().register(near.into(), registration, bomb).expect("it registers");
    reactor.cx().wake(token);
    (ends, far)
}

#[test]
fn a_panic_of_a_handler_ends_its_source_with_its_own_reason() {
    let _alone = alone();
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let address =
            serve(&mut reactor, Limits::DEFAULT, || Conversation::new(Lines::default(), Echo));
        let mut neighbour = Neighbour::new(&mut reactor, &address);
        let places = [
            Place::Ready,
            Place::Idle,
            Place::Deadline,
            Place::Timer,
            Place::Closed,
            Place::Dropped,
        ];
        for place in places {
            let (ends, mut far) = plant(&mut reactor, place);
            turn_until_panic(&mut reactor);
            // Its peer sees the end although the loop still exists.
            turn_until(&mut reactor, |_| !ends.borrow().is_empty());
            assert_eq!(far.read(&mut [0; 8]).ok(), Some(0), "{place:?}");
            drop(far);
            neighbour.check(&mut reactor, &format!("{place:?}"));
            let finished = matches!(place, Place::Closed | Place::Dropped);
            let expected = if finished { "finished" } else { "panicked" };
            assert_eq!(*ends.borrow(), [expected], "{place:?}");
            assert_eq!(reactor.cx().connections(), 1, "{place:?}");
        }
        assert_eq!(reactor.counters().closes[Reason::Panicked.index()], 4);
        // This is the last case, since the loop winds down.
        let (ends, _far) = plant(&mut reactor, Place::Stopping);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        reactor.cx().stop_gracefully(PATIENCE);
        turn_until_panic(&mut reactor);
        turn_until(&mut reactor, |reactor| reactor.has_ended());
        assert_eq!(*ends.borrow(), ["panicked"]);
    });
}

/// The action of a closure of the loop.
type Explosion = fn(&mut LoopCx<'_>);

/// Makes a closure of the given kind panic.
fn plant_closure(reactor: &mut Reactor, kind: &str, explode: Explosion) -> Option<TcpStream> {
    let mut cx = reactor.cx();
    match kind {
        "after" => _ = cx.after(MOMENT, explode).expect("it is armed"),
        "every" => _ = cx.every(MOMENT, move |_, cx| explode(cx)).expect("it is armed"),
        "signal" => {
            cx.on_signals(&[Signal::USER_2], move |_, cx| explode(cx)).expect("it is caught");
            let kill =
                Command::new("kill").args(["-USR2", &std::process::id().to_string()]).status();
            assert!(kill.is_ok_and(|status| status.success()));
        }
        "remote" => cx.remote().post(explode).expect("it is posted"),
        "accept" => {
            let any: Address = "127.0.0.1:0".parse().expect("it is an address");
            let listener = Listener::bind(&any, &ListenOptions::DEFAULT).expect("a port is free");
            let address = listener.address().to_string();
            let accept = move |_, cx: &mut LoopCx<'_>| {
                explode(cx);
                Ok(())
            };
            listener.register(&mut cx, accept).expect("it listens");
            return Some(TcpStream::connect(address).expect("it accepts"));
        }
        _ => unreachable!("{kind} is none"),
    }
    None
}

#[test]
fn a_panicking_closure_leaves_no_sources() {
    let _alone = alone();
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let address =
            serve(&mut reactor, Limits::DEFAULT, || Conversation::new(Lines::default(), Echo));
        // The process keeps a descriptor for each simultaneous listener to signals.
        let token = reactor.cx().on_signals(&[Signal::USER_2], |_, _| {}).expect("it is caught");
        reactor.cx().close(token);
        let mut neighbour = Neighbour::new(&mut reactor, &address);
        for kind in ["after", "every", "signal", "remote", "accept"] {
            // Sources that it registered before stay, and end by themselves.
            let client = plant_closure(&mut reactor, kind, |cx| {
                cx.after(MOMENT, |_| {}).expect("it is armed");
                panic!("planted");
            });
            turn_until_panic(&mut reactor);
            drop(client);
            neighbour.check(&mut reactor, kind);
        }
    });
}

/// The state that the services share: where one panics, and what happened to it.
#[derive(Default)]
struct Shared {
    place: &'static str,
    connection: Option<ConnectionId>,
    ends: Vec<String>,
}

/// A service that panics at one place.
struct Fragile;

impl Fragile {
    fn at(context: &Context<'_, Shared>, place: &str) {
        assert_ne!(context.app.place, place, "planted");
    }
}

impl Service<Lines, Shared> for Fragile {
    fn open(&mut self, _reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Shared>) -> Flow {
        Self::at(context, "open");
        Flow::Continue
    }

    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Shared>,
    ) -> Flow {
        // There is much unsent output and much unread input.
        reply.send(&vec![b'x'; 300_000]);
        reply.send(line);
        context.app.connection = Some(context.me);
        if context.app.place == "timeout" {
            context.effects.set_timeout(0, Some(MOMENT));
        }
        Self::at(context, "call");
        Flow::Continue
    }

    fn drained(
        &mut self,
        _reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Shared>,
    ) -> Flow {
        Self::at(context, "drained");
        Flow::Continue
    }

    fn resume(&mut self, _reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Shared>) -> Flow {
        Self::at(context, "resume");
        Flow::Continue
    }

    fn timeout(
        &mut self,
        _key: u8,
        _reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Shared>,
    ) -> Flow {
        Self::at(context, "timeout");
        Flow::Continue
    }

    fn finish(&mut self, _reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Shared>) -> Flow {
        Self::at(context, "finish");
        Flow::Close
    }

    fn stopping(
        &mut self,
        _reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Shared>,
    ) -> Flow {
        Self::at(context, "stopping");
        Flow::Continue
    }

    fn closed(&mut self, reason: &protocol::Reason, context: &mut Context<'_, Shared>) {
        context.app.ends.push(if reason.is_orderly() {
            "in order".to_owned()
        } else {
            reason.to_string()
        });
        Self::at(context, "closed");
    }
}

/// Makes a service panic at `place`, by an action of its client.
fn provoke(reactor: &mut Reactor<Shared>, address: &str, place: &'static str) {
    reactor.app.place = place;
    let mut client = TcpStream::connect(address).expect("it accepts");
    // An unfinished line is refused at the end of the input.
    let ends = matches!(place, "finish" | "closed");
    let input = if ends { "call\n" } else { "call\nand some more" };
    client.write_all(input.as_bytes()).expect("the kernel takes bytes");
    match place {
        "open" | "call" | "drained" | "timeout" => {}
        "finish" | "closed" => {
            client.shutdown(std::net::Shutdown::Write).expect("it is connected");
        }
        "resume" | "stopping" => {
            turn_until(reactor, |reactor| reactor.app.connection.is_some());
            match (place, reactor.app.connection) {
                ("resume", Some(connection)) => reactor.cx().wake(connection),
                _ => reactor.cx().stop_gracefully(PATIENCE),
            }
        }
        _ => unreachable!("{place} is none"),
    }
    // The client reads, so that the output can drain.
    let reader = std::thread::spawn(move || drop(io::copy(&mut client, &mut io::sink())));
    turn_until_panic(reactor);
    turn_until(reactor, |reactor| !reactor.app.ends.is_empty());
    reader.join().expect("it sees the end");
}

#[test]
fn a_panicking_session_is_closed_and_others_lose_no_bytes() {
    let _alone = alone();
    on_every_backend::<Shared>(LoopLimits::DEFAULT, |mut reactor| {
        let limits = Limits { output_high: 200_000, output_low: 100_000, ..Limits::DEFAULT };
        let fragile = || Conversation::new(Lines::default(), Fragile);
        let fragile = serve(&mut reactor, limits, fragile);
        let echo = || Conversation::new(Lines::default(), Echo);
        let echo = serve(&mut reactor, Limits::DEFAULT, echo);
        let mut neighbour = Neighbour::new(&mut reactor, &echo);
        for place in ["open", "call", "drained", "resume", "timeout", "finish", "closed"] {
            (reactor.app.connection, reactor.app.ends) = (None, Vec::new());
            provoke(&mut reactor, &fragile, place);
            neighbour.check(&mut reactor, place);
            let ends = &reactor.app.ends;
            match place {
                "closed" => assert_eq!(ends.len(), 1),
                _ => assert_eq!(ends, &["panicked"], "{place}"),
            }
        }
        (reactor.app.connection, reactor.app.ends) = (None, Vec::new());
        provoke(&mut reactor, &fragile, "stopping");
        assert_eq!(reactor.app.ends, ["panicked"]);
    });
}

/// Panics when it is told its end, and counts its calls.
struct Loud(Rc<Cell<u32>>);

impl Handler for Loud {
    fn ready(&mut self, _cx: &mut Cx<'_>) -> io::Result<()> {
        panic!("planted");
    }

    fn closed(self: Box<Self>, _reason: Reason, _cx: &mut LoopCx<'_>) {
        self.0.set(self.0.get() + 1);
        panic!("planted");
    }
}

fn loud(reactor: &mut Reactor, told: &Rc<Cell<u32>>) -> Token {
    reactor.cx().spawn(Loud(Rc::clone(told))).expect("it registers")
}

#[test]
fn a_dropped_loop_calls_closed_for_each_source_even_if_all_panic() {
    let _alone = alone();
    let told = Rc::new(Cell::new(0));
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    for _ in 0..3 {
        loud(&mut reactor, &told);
    }
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(reactor)));
    assert!(dropped.is_err(), "the panic has to be visible");
    assert_eq!(told.get(), 3);
}

#[test]
fn a_loop_dropped_by_a_panic_calls_closed_for_each_source_and_does_not_abort() {
    let _alone = alone();
    let told = Rc::new(Cell::new(0));
    let run = catch_unwind(AssertUnwindSafe(|| {
        let mut reactor = epoll((), LoopLimits::DEFAULT);
        for _ in 0..3 {
            let token = loud(&mut reactor, &told);
            reactor.cx().wake(token);
        }
        reactor.run().expect("it panics before");
    }));
    assert!(run.is_err());
    assert_eq!(told.get(), 3);
}

#[test]
fn values_of_waiting_closures_may_panic_when_the_loop_is_dropped() {
    let _alone = alone();
    struct Owned(std::sync::Arc<std::sync::atomic::AtomicU32>);
    impl Drop for Owned {
        fn drop(&mut self) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            panic!("planted");
        }
    }
    let (told, dropped) = (Rc::new(Cell::new(0)), std::sync::Arc::default());
    let mut reactor = epoll((), LoopLimits::DEFAULT);
    loud(&mut reactor, &told);
    for _ in 0..3 {
        let owned = Owned(std::sync::Arc::clone(&dropped));
        let call = move |_: &mut LoopCx<'_>| drop(owned);
        reactor.cx().remote().post(call).expect("it is posted");
    }
    assert!(catch_unwind(AssertUnwindSafe(|| drop(reactor))).is_err());
    assert_eq!((told.get(), dropped.load(std::sync::atomic::Ordering::Relaxed)), (1, 3));
}

#[test]
fn a_listener_at_the_limit_accepts_again_when_a_connection_panics() {
    let _alone = alone();
    let limits = LoopLimits { connections_max: 1, ..LoopLimits::DEFAULT };
    on_every_backend::<Shared>(limits, |mut reactor| {
        reactor.app.place = "call";
        let address =
            serve(&mut reactor, Limits::DEFAULT, || Conversation::new(Lines::default(), Fragile));
        let mut first = TcpStream::connect(&address).expect("it accepts");
        first.write_all(b"call\n").expect("the kernel takes bytes");
        let _second = TcpStream::connect(&address).expect("the backlog takes it");
        turn_until_panic(&mut reactor);
        turn_until(&mut reactor, |reactor| reactor.counters().accepts == 2);
    });
}
