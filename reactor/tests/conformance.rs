//! One suite for every backend: what a loop promises does not depend on what tells it of readiness.
//!
//! Each test goes through all backends in one process, and its failure names the backend.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use protocol::codecs::Bytes;
use protocol::{Conversation, Flow, Limits, Reply, Service, Turn};
use reactor::{
    Address, BackendKind, Cx, Expired, Handler, Interest, ListenOptions, Listener, LoopLimits,
    Next, PostError, Reactor, Readiness, Reason, Registration, Signal, Stream, Timeout, Token,
};

/// No wait of these tests is longer: what has not happened by then does not happen.
const PATIENCE: Duration = Duration::from_secs(10);

fn on_every_backend(test: impl Fn(BackendKind)) {
    for kind in BackendKind::ALL {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(kind))) {
            eprintln!("that was on the backend {kind}");
            resume_unwind(panic);
        }
    }
}

fn reactor_with<A: 'static>(kind: BackendKind, limits: LoopLimits, app: A) -> Reactor<A> {
    let backend = kind.open().expect("the backend opens");
    Reactor::with_backend(backend, limits, app).expect("the reactor opens")
}

fn reactor<A: 'static>(kind: BackendKind, app: A) -> Reactor<A> {
    reactor_with(kind, LoopLimits::DEFAULT, app)
}

/// Turns until `done`.
fn turn_until<A>(
    reactor: &mut Reactor<A>,
    what: &str,
    mut done: impl FnMut(&mut Reactor<A>) -> bool,
) {
    let until = Instant::now() + PATIENCE;
    while !done(reactor) {
        assert!(Instant::now() < until, "not in time: {what}; {}", reactor.counters());
        reactor.run_once(Some(Duration::from_millis(5))).expect("it turns");
    }
}

/// Turns until `thread` has ended, and returns its result.
fn turn_beside<A, T>(reactor: &mut Reactor<A>, thread: JoinHandle<T>) -> T {
    turn_until(reactor, "the client's end", |_| thread.is_finished());
    thread.join().expect("the client succeeds")
}

fn closes<A>(reactor: &Reactor<A>, reason: &Reason) -> u64 {
    reactor.counters().closes[reason.index()]
}

fn tcp() -> Address {
    "127.0.0.1:0".parse().expect("it is an address")
}

/// A path that no other test uses.
fn unique_path(what: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("reactor-{}-{number}.{what}", std::process::id()))
}

/// Answers each message with itself.
struct Echo;

impl<A> Service<Bytes, A> for Echo {
    fn call(
        &mut self,
        message: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _turn: &mut Turn<'_, A>,
    ) -> Flow {
        reply.send(message);
        Flow::Continue
    }
}

/// Serves what `make` makes, and returns where.
fn serve<A: 'static, S: Service<Bytes, A> + 'static>(
    reactor: &mut Reactor<A>,
    address: &Address,
    limits: Limits,
    make: fn() -> S,
) -> Address {
    let listener = Listener::bind(address, &ListenOptions::default()).expect("it can listen");
    let address = listener.address().clone();
    let session = move |_peer| Conversation::new(Bytes, make());
    Stream::serve(listener, limits, &mut reactor.cx(), session).expect("it listens");
    address
}

fn serve_echo<A: 'static>(reactor: &mut Reactor<A>) -> Address {
    serve(reactor, &tcp(), Limits::DEFAULT, || Echo)
}

/// A blocking client's connection, whatever it runs over.
enum Client {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Client {
    fn connect(address: &Address) -> Self {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).expect("it connects");
                stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
                stream.set_write_timeout(Some(PATIENCE)).expect("timeouts can be set");
                stream.set_nodelay(true).expect("it is TCP");
                Self::Tcp(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).expect("it connects");
                stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
                stream.set_write_timeout(Some(PATIENCE)).expect("timeouts can be set");
                Self::Unix(stream)
            }
        }
    }

    fn another(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().expect("there are descriptors")),
            Self::Unix(stream) => Self::Unix(stream.try_clone().expect("there are descriptors")),
        }
    }

    fn set_nonblocking(&self, on: bool) {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(on),
            Self::Unix(stream) => stream.set_nonblocking(on),
        }
        .expect("the mode can be set");
    }

    fn end_writing(&self) {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .expect("it can be shut down");
    }

    /// Sends `message`, and gets it back.
    fn ping(&mut self, message: &[u8]) {
        self.write_all(message).expect("it sends");
        let mut back = vec![0; message.len()];
        self.read_exact(&mut back).expect("it is answered");
        assert_eq!(back, message);
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One address of each kind that this machine has.
fn transports() -> Vec<Address> {
    let mut addresses = vec![tcp()];
    match TcpListener::bind("[::1]:0") {
        Ok(_) => addresses.push("[::1]:0".parse().expect("it is an address")),
        Err(error) => eprintln!("SKIPPED: IPv6, which this machine does not have: {error}"),
    }
    addresses.push(Address::Unix(unique_path("sock")));
    addresses
}

/// Bytes of which no two neighbourhoods look alike.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place ^ (place >> 8) ^ (place >> 16)) as u8).collect()
}

#[test]
fn an_echo_answers_over_every_transport() {
    on_every_backend(|kind| {
        for address in transports() {
            let mut reactor = reactor(kind, ());
            let address = serve(&mut reactor, &address, Limits::DEFAULT, || Echo);
            let quiet = reactor.counters().live();
            let client = thread::spawn({
                let address = address.clone();
                move || {
                    let mut client = Client::connect(&address);
                    for round in 0..50 {
                        client.ping(format!("message {round}").as_bytes());
                    }
                }
            });
            turn_beside(&mut reactor, client);
            turn_until(&mut reactor, "the end", |it| it.counters().live() == quiet);
            assert_eq!(closes(&reactor, &Reason::PeerClosed), 1, "{address}");
            drop(reactor);
            if let Address::Unix(path) = address {
                assert!(!path.exists(), "the file goes with the listener");
            }
        }
    });
}

#[test]
fn a_peer_that_ends_its_side_gets_every_reply() {
    on_every_backend(|kind| {
        for address in transports() {
            let mut reactor = reactor(kind, ());
            let address = serve(&mut reactor, &address, Limits::DEFAULT, || Echo);
            let client = thread::spawn(move || {
                let mut client = Client::connect(&address);
                let mut sender = client.another();
                let sending = thread::spawn(move || {
                    sender.write_all(&pattern(1 << 20)).expect("it sends");
                    sender.end_writing();
                });
                let mut back = Vec::new();
                client.read_to_end(&mut back).expect("it is answered");
                sending.join().expect("it sends");
                assert!(back == pattern(1 << 20), "{} bytes came back, or others", back.len());
            });
            turn_beside(&mut reactor, client);
            turn_until(&mut reactor, "the end", |it| closes(it, &Reason::PeerClosed) == 1);
        }
    });
}

#[test]
fn a_reset_ends_its_connection_and_no_other() {
    on_every_backend(|kind| {
        for address in transports() {
            let mut reactor = reactor(kind, ());
            let address = serve(&mut reactor, &address, Limits::DEFAULT, || Echo);
            let mut other = Client::connect(&address);
            let mut client = Client::connect(&address);
            client.write_all(b"unread").expect("it sends");
            turn_until(&mut reactor, "the answer", |it| it.counters().bytes_written == 6);
            // Closing with the answer unread resets the connection.
            drop(client);
            turn_until(&mut reactor, "the reset", |it| it.counters().closes.iter().any(|n| *n > 0));
            let error = io::Error::from(ErrorKind::ConnectionReset);
            assert_eq!(closes(&reactor, &Reason::Failed { operation: "read", error }), 1);
            other.write_all(b"on").expect("it sends");
            turn_until(&mut reactor, "the other", |it| it.counters().bytes_written == 8);
            other.read_exact(&mut [0; 2]).expect("it is answered");
        }
    });
}

/// Reads everything, and never ends by itself.
struct Sink;

impl Handler<Vec<u8>> for Sink {
    fn ready(&mut self, cx: &mut Cx<'_, Vec<u8>>) -> io::Result<Next> {
        let mut buffer = [0; 64];
        while cx.interest().contains(Interest::READ) {
            match cx.read(&mut buffer)? {
                None | Some(0) => break,
                Some(count) => cx.app.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(Next::Continue)
    }
}

/// A descriptor, and the other end of it.
type Ends = (OwnedFd, Box<dyn Write>);

fn pairs() -> Vec<(&'static str, Ends)> {
    let (reader, writer) = io::pipe().expect("there are descriptors");
    let (near, far) = UnixStream::pair().expect("there are descriptors");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let client = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it does");
    let (accepted, _) = listener.accept().expect("somebody connected");
    vec![
        ("pipe", (reader.into(), Box::new(writer))),
        ("unix", (near.into(), Box::new(far))),
        ("tcp", (accepted.into(), Box::new(client))),
    ]
}

#[test]
fn a_peer_that_is_gone_never_makes_the_loop_spin() {
    on_every_backend(|kind| {
        // A paused source, and one that has read the end and stays.
        for interest in [Interest::NONE, Interest::READ] {
            for (what, (fd, peer)) in pairs() {
                let mut reactor = reactor(kind, Vec::new());
                let registration = Registration::new(interest);
                reactor.cx().register(fd, registration, Sink).expect("it registers");
                drop(peer);
                for _ in 0..3 {
                    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
                }
                let before = reactor.counters().turns;
                let until = Instant::now() + Duration::from_millis(100);
                while Instant::now() < until {
                    reactor.run_once(Some(Duration::from_millis(50))).expect("it turns");
                }
                let turns = reactor.counters().turns - before;
                assert!(turns <= 6, "{what}, {interest:?}: {turns} turns in 100 ms");
            }
        }
    });
}

#[test]
fn a_reset_of_a_paused_source_never_makes_the_loop_spin() {
    on_every_backend(|kind| {
        let mut reactor = reactor(kind, Vec::new());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("it connects");
        let (mut accepted, _) = listener.accept().expect("somebody connected");
        accepted.write_all(b"unread").expect("it sends");
        client.peek(&mut [0]).expect("it has arrived");
        let registration = Registration::new(Interest::NONE);
        reactor.cx().register(accepted.into(), registration, Sink).expect("it registers");
        drop(client);
        for _ in 0..3 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        let before = reactor.counters().turns;
        let until = Instant::now() + Duration::from_millis(100);
        while Instant::now() < until {
            reactor.run_once(Some(Duration::from_millis(50))).expect("it turns");
        }
        let turns = reactor.counters().turns - before;
        assert!(turns <= 6, "{turns} turns in 100 ms");
    });
}

#[test]
fn data_comes_before_the_close() {
    on_every_backend(|kind| {
        for (what, (fd, mut peer)) in pairs() {
            let mut reactor = reactor(kind, Vec::new());
            peer.write_all(&pattern(1000)).expect("it fits");
            drop(peer);
            let registration = Registration::new(Interest::READ);
            reactor.cx().register(fd, registration, Sink).expect("it registers");
            turn_until(&mut reactor, "the data", |it| it.app.len() == 1000);
            assert_eq!(reactor.app, pattern(1000), "{what}");
        }
    });
}

/// What a paused source does not read stays for when it goes on.
#[test]
fn resuming_delivers_what_came_while_paused() {
    on_every_backend(|kind| {
        for (what, (fd, mut peer)) in pairs() {
            let mut reactor = reactor(kind, Vec::new());
            let token = reactor
                .cx()
                .register(fd, Registration::new(Interest::NONE), Resumable)
                .expect("it registers");
            peer.write_all(b"early").expect("it fits");
            for _ in 0..3 {
                reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
            }
            assert!(reactor.app.is_empty(), "{what}: read while paused");
            reactor.cx().wake(token);
            turn_until(&mut reactor, "the data", |it| it.app == b"early");
        }
    });
}

/// Reads from its first wake on.
struct Resumable;

impl Handler<Vec<u8>> for Resumable {
    fn ready(&mut self, cx: &mut Cx<'_, Vec<u8>>) -> io::Result<Next> {
        if cx.was_woken() {
            cx.set_interest(Interest::READ);
            return Ok(Next::Continue);
        }
        assert!(cx.readiness().contains(Readiness::READABLE));
        Sink.ready(cx)
    }
}

/// From where a source is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Verdict,
    Itself,
    Error,
    Timeout,
    Timer,
    Drain,
}

/// Ends itself in one way, and says so.
struct Ends1 {
    from: From,
    /// Another that is closed from inside of `closed`.
    other: Option<Token>,
}

impl Ends1 {
    fn end(&self, here: From, cx: &mut Cx<'_, Vec<Token>>) -> io::Result<Next> {
        if here != self.from && !(here == From::Itself && self.from < From::Timeout) {
            return Ok(Next::Continue);
        }
        let me = cx.me();
        match self.from {
            From::Verdict => return Ok(Next::Close(Reason::Finished)),
            From::Error => return Err(ErrorKind::Other.into()),
            _ => {
                cx.close(me);
                cx.close(me);
                cx.wake(me);
            }
        }
        Ok(Next::Close(Reason::Finished))
    }
}

impl PartialOrd for From {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (*self as u8).partial_cmp(&(*other as u8))
    }
}

impl Handler<Vec<Token>> for Ends1 {
    fn ready(&mut self, cx: &mut Cx<'_, Vec<Token>>) -> io::Result<Next> {
        self.end(From::Itself, cx)
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, Vec<Token>>) -> io::Result<Next> {
        self.end(From::Timeout, cx)
    }

    fn timer(&mut self, _timer: Expired, cx: &mut Cx<'_, Vec<Token>>) -> io::Result<Next> {
        self.end(From::Timer, cx)
    }

    fn drain(&mut self, cx: &mut Cx<'_, Vec<Token>>) -> io::Result<Next> {
        self.end(From::Drain, cx)
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut Cx<'_, Vec<Token>>) {
        let me = cx.me();
        cx.app.push(me);
        // All of this is too late, or about another.
        cx.close(me);
        cx.wake(me);
        if let Some(other) = self.other {
            cx.close(other);
        }
    }
}
