//! The far end of a connection, and the ways to get one.

use std::cell::Cell;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::time::Duration;

use protocol::link::{Layer, Link, Opened, SEALED_MAX};
use protocol::testing::ToyCipher;
use protocol::{Buffer, ConnectionId, Limits, Output, Session};
use reactor::{Address, ConnectOptions, ListenOptions, Listener, LoopLimits, Reactor, Stream};
use socket2::{Domain, Socket, Type};
use testkit::Folder;

use crate::common::{on_every_backend, turn_until};

/// The sessions never end by the linger limit: a test in which one waits for it fails.
pub(crate) const LIMITS: Limits = Limits { linger: Duration::from_secs(1000), ..Limits::DEFAULT };
/// A link seals while fewer sealed bytes wait than this.
pub(crate) const SEALED_AHEAD: u64 = 64 * 1024;
/// What sealing [`SEALED_MAX`] bytes comes to: the toy puts two bytes before each 4096.
pub(crate) const RECORDS_MAX: u64 = SEALED_MAX as u64 + 8;
/// The last bytes of a toy that cannot go on.
pub(crate) const ALERT: &[u8] = &[0xff, 0xff];

/// What the sessions tell the tests.
#[derive(Default)]
pub(crate) struct App {
    /// The last session that was called.
    pub(crate) last: Option<ConnectionId>,
    pub(crate) got: Vec<u8>,
    pub(crate) input_ended: bool,
    /// How many bytes were said, and the most that have waited to be sealed.
    pub(crate) said: u64,
    pub(crate) waited_max: u64,
    pub(crate) ends: Vec<String>,
}

/// A way to get a connection of which one end is in the loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) is_tcp: bool,
    pub(crate) dials: bool,
}

/// Runs `test` on each backend, over TCP and Unix sockets, with the session that is tested as the
/// server and as the client.
pub(crate) fn everywhere(test: impl Fn(&mut Reactor<App>, Way)) {
    for (is_tcp, dials) in [(true, false), (true, true), (false, false), (false, true)] {
        let way = Way { is_tcp, dials };
        eprintln!("{way:?}");
        on_every_backend(LoopLimits::DEFAULT, |mut reactor| test(&mut reactor, way));
    }
}

impl Way {
    /// Drives `link` on a new connection. Returns the far end of it.
    pub(crate) fn meet<S, L>(self, reactor: &mut Reactor<App>, link: Link<S, L>) -> Far
    where
        S: Session<App> + 'static,
        L: Layer + 'static,
    {
        let far = if self.dials { self.dial(reactor, link) } else { self.serve(reactor, link) };
        turn_until(reactor, |reactor| reactor.cx().connections() == 1);
        Far::new(far)
    }

    fn serve<S, L>(self, reactor: &mut Reactor<App>, link: Link<S, L>) -> OwnedFd
    where
        S: Session<App> + 'static,
        L: Layer + 'static,
    {
        let folder = Folder::new("layers");
        let address =
            if self.is_tcp { "127.0.0.1:0".to_owned() } else { unix(&folder.file("socket")) };
        let address = address.parse().expect("it is an address");
        let listener = Listener::bind(&address, &ListenOptions::DEFAULT).expect("it is free");
        let address = listener.address().clone();
        let (mut stream, before) = (Some(Stream::over(link)), reactor.counters().accepts);
        let accepting = listener.register(&mut reactor.cx(), move |accepted, cx| {
            stream.take().expect("one connects").register(accepted, cx).map(drop)
        });
        let far = match address {
            Address::Tcp(ip) => {
                let socket = small();
                socket.connect(&ip.into()).expect("it listens");
                socket.into()
            }
            Address::Unix(path) => UnixStream::connect(path).expect("it listens").into(),
            other => unreachable!("{other} takes no streams"),
        };
        turn_until(reactor, |reactor| reactor.counters().accepts > before);
        reactor.cx().close(accepting.expect("it listens"));
        far
    }

    fn dial<S, L>(self, reactor: &mut Reactor<App>, link: Link<S, L>) -> OwnedFd
    where
        S: Session<App> + 'static,
        L: Layer + 'static,
    {
        let (stream, options) = (Stream::over(link), ConnectOptions::DEFAULT);
        if self.is_tcp {
            let listener = small();
            listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port is free");
            listener.listen(1).expect("it listens");
            let address = listener.local_addr().expect("it has one").as_socket();
            let address: Address = address.expect("it is one of IPv4").into();
            stream.connect(&address, &options, &mut reactor.cx()).expect("it connects");
            return listener.accept().expect("it was connected to").0.into();
        }
        let folder = Folder::new("layers");
        let listener = UnixListener::bind(folder.file("socket")).expect("the path is free");
        let address: Address = unix(&folder.file("socket")).parse().expect("it is an address");
        stream.connect(&address, &options, &mut reactor.cx()).expect("it connects");
        listener.accept().expect("it was connected to").0.into()
    }
}

fn unix(path: &str) -> String {
    format!("unix:{path}")
}

/// Returns a TCP socket, which sends small pieces at once. The kernel keeps little of what it has not
/// read, and, as its segments are small, little of what was not sent to it either.
fn small() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
    socket.set_tcp_nodelay(true).expect("it is set");
    socket.set_tcp_mss(1000).expect("it is set");
    socket.set_recv_buffer_size(64 << 10).expect("it is set");
    socket.set_send_buffer_size(64 << 10).expect("it is set");
    socket
}

/// The far end of a connection: a plain socket, whose bytes are sealed and opened by hand.
pub(crate) struct Far {
    pub(crate) socket: Socket,
    layer: ToyCipher,
    /// What is still to be written, and how much of it was.
    pub(crate) outgoing: Vec<u8>,
    pub(crate) written: usize,
    /// What was received, and how much of it was opened.
    pub(crate) raw: Vec<u8>,
    pub(crate) opened: usize,
    pub(crate) plain: Vec<u8>,
    /// The layer has said that nothing more comes.
    pub(crate) has_ended: bool,
    /// The socket has.
    pub(crate) is_over: bool,
}

impl Far {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        let socket = Socket::from(socket);
        socket.set_nonblocking(true).expect("it is set");
        Self {
            socket,
            layer: ToyCipher::default(),
            outgoing: Vec::new(),
            written: 0,
            raw: Vec::new(),
            opened: 0,
            plain: Vec::new(),
            has_ended: false,
            is_over: false,
        }
    }

    pub(crate) fn hello(&mut self) -> Vec<u8> {
        let mut wire = Output::new();
        self.layer.start(&mut wire);
        wire.to_vec()
    }

    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut wire = Output::new();
        self.layer.seal(bytes, &mut wire).expect("it can be sealed");
        wire.to_vec()
    }

    pub(crate) fn end(&mut self) -> Vec<u8> {
        let mut wire = Output::new();
        self.layer.finish(&mut wire);
        wire.to_vec()
    }

    /// Writes a few bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the kernel takes a few bytes");
    }

    /// Writes a few bytes, and turns the loop until it has read them.
    pub(crate) fn put_and_wait(&mut self, bytes: &[u8], reactor: &mut Reactor<App>) {
        let wanted = reactor.counters().bytes_read + bytes.len() as u64;
        self.put(bytes);
        turn_until(reactor, |reactor| reactor.counters().bytes_read == wanted);
    }

    pub(crate) fn end_socket(&self) {
        self.socket.shutdown(Shutdown::Write).expect("half of it closes");
    }

    /// Writes what the kernel takes of what is to be written.
    pub(crate) fn push(&mut self) {
        if self.written == self.outgoing.len() {
            return;
        }
        match self.socket.write(&self.outgoing[self.written..]) {
            Ok(count) => self.written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("after {} bytes: {error}", self.written),
        }
    }

    /// Reads what there is, and opens nothing. A reset is a failure of the test.
    pub(crate) fn pull(&mut self) {
        let mut buffer = [0; 64 << 10];
        while !self.is_over {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.is_over = true,
                Ok(count) => self.raw.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("after {} bytes: {error}", self.raw.len()),
            }
        }
    }

    /// Opens what was received.
    pub(crate) fn open(&mut self) {
        let (mut sealed, mut plain) = (Buffer::new(), Buffer::new());
        sealed.extend_from_slice(&self.raw[self.opened..]);
        let opened = self.layer.open(&mut sealed, &mut plain, &mut Output::new());
        self.has_ended |= opened.expect("it can be opened") == Opened::Ended;
        self.opened = self.raw.len() - sealed.len();
        self.plain.extend_from_slice(plain.filled());
    }

    /// Turns the loop until this plaintext has come.
    pub(crate) fn wait_for(&mut self, plain: &[u8], reactor: &mut Reactor<App>) {
        turn_until(reactor, |_| {
            self.pull();
            self.open();
            assert!(!self.is_over || self.plain.len() >= plain.len(), "it ends too early");
            self.plain.len() >= plain.len()
        });
        assert!(self.plain == plain, "{:?}", String::from_utf8_lossy(&self.plain));
    }

    /// Turns the loop until the socket has ended, in order.
    pub(crate) fn wait_for_end(&mut self, reactor: &mut Reactor<App>) {
        turn_until(reactor, |_| {
            self.pull();
            self.is_over
        });
    }
}

/// Turns the loop until there is no connection, and returns why the sessions have ended.
pub(crate) fn ends(reactor: &mut Reactor<App>) -> Vec<String> {
    turn_until(reactor, |reactor| reactor.cx().connections() == 0);
    assert_eq!(reactor.counters().cut_short, 0);
    std::mem::take(&mut reactor.app.ends)
}

/// Turns the loop until `counter` stands still.
pub(crate) fn turn_until_still(
    reactor: &mut Reactor<App>,
    mut counter: impl FnMut(&mut Reactor<App>) -> u64,
) {
    let (mut last, mut still) = (0, 0);
    turn_until(reactor, |reactor| {
        let now = counter(reactor);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        still == 5
    });
}

/// Counts what a layer seals.
#[derive(Default)]
pub(crate) struct Counted {
    layer: ToyCipher,
    tally: Rc<Tally>,
}

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) plain: Cell<u64>,
    /// How many bytes were put on the wire.
    pub(crate) wire: Cell<u64>,
}

impl Counted {
    pub(crate) fn new() -> (Self, Rc<Tally>) {
        let layer = Self::default();
        let tally = Rc::clone(&layer.tally);
        (layer, tally)
    }

    fn count(&self, before: u64, wire: &Output) {
        self.tally.wire.set(self.tally.wire.get() + wire.len() - before);
    }
}

impl Layer for Counted {
    fn start(&mut self, wire: &mut Output) {
        let before = wire.len();
        self.layer.start(wire);
        self.count(before, wire);
    }

    fn is_ready(&self) -> bool {
        self.layer.is_ready()
    }

    fn open(
        &mut self,
        sealed: &mut Buffer,
        plain: &mut Buffer,
        wire: &mut Output,
    ) -> Result<Opened, Box<dyn Error + Send + Sync>> {
        let before = wire.len();
        let result = self.layer.open(sealed, plain, wire);
        self.count(before, wire);
        result
    }

    fn seal(
        &mut self,
        plain: &[u8],
        wire: &mut Output,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        assert!(plain.len() <= SEALED_MAX, "{} bytes at a time", plain.len());
        let before = wire.len();
        self.layer.seal(plain, wire)?;
        self.tally.plain.set(self.tally.plain.get() + plain.len() as u64);
        self.count(before, wire);
        Ok(())
    }

    fn finish(&mut self, wire: &mut Output) {
        let before = wire.len();
        self.layer.finish(wire);
        self.count(before, wire);
    }
}

/// The size of one message of a large transfer.
pub(crate) const CHUNK: usize = 10_000;

/// The message of this number.
pub(crate) fn chunk(number: usize) -> Vec<u8> {
    number.to_be_bytes().repeat(CHUNK / 8)
}

pub(crate) fn chunks(count: usize) -> Vec<u8> {
    (0..count).flat_map(chunk).collect()
}

/// How many messages are more than the kernel takes from a peer that does not read.
pub(crate) const MANY: usize = 160;
