//! Listening: addresses that work, errors for those that do not, and counters of waiting peers.

mod common;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use common::{on_every_backend, serve_echo, temporary, turn_until};
use protocol::Limits;
use reactor::sim::Script;
use reactor::{
    Address, Cx, Handler, Interest, ListenOptions, Listener, LoopCx, LoopLimits, Reactor,
    Readiness, Registration, Role, Token, Trigger,
};
use testkit::{has_peer, skip};

thread_local! {
    /// The log lines of this thread, and so of the loop that runs on it.
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Ear;

impl log::Log for Ear {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        SAID.with_borrow_mut(|said| said.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// Returns the log lines with `words` since the last call.
fn said(words: &str) -> Vec<String> {
    static START: Once = Once::new();
    START.call_once(|| {
        log::set_logger(&Ear).expect("there is no other");
        log::set_max_level(log::LevelFilter::Info);
    });
    SAID.with_borrow_mut(|said| said.extract_if(.., |line| line.contains(words)).collect())
}

fn bind(address: &str) -> io::Result<Listener> {
    Listener::bind(&address.parse().expect("it is an address"), &ListenOptions::DEFAULT)
}

fn refusal(address: &str) -> String {
    bind(address).expect_err(address).to_string()
}

fn port(listener: &Listener) -> u16 {
    match listener.address() {
        Address::Tcp(address) => address.port(),
        other => unreachable!("{other} has none"),
    }
}

/// Returns an address for `path`.
fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

#[test]
fn ipv4_and_ipv6_listeners_share_a_port_without_dual_stack() {
    // No connection of another test has that port.
    let port = testkit::free_port();
    let first = bind(&format!("0.0.0.0:{port}")).expect("the port is free");
    let address = format!("[::]:{port}");
    let second = match bind(&address) {
        Err(error) if error.to_string().contains("does not support IPv6") => {
            return skip(&error.to_string());
        }
        result => result.expect("IPv6 is a place of its own"),
    };
    drop(second);
    let options = ListenOptions { dual_stack: true, ..ListenOptions::DEFAULT };
    let address = address.parse().expect("it is an address");
    let error = Listener::bind(&address, &options).expect_err("it takes IPv4 too");
    assert!(error.to_string().contains("another socket has that port"), "{error}");
    drop(first);
    let _both = Listener::bind(&address, &options).expect("nothing is in the way");
    let four = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect(four).expect("it takes IPv4 too");
}

#[test]
fn a_failure_to_listen_is_explained() {
    let folder = temporary("hints");
    std::fs::create_dir(&folder).expect("the folder is writable");
    let (file, datagrams, live) =
        (folder.join("file"), folder.join("datagrams"), folder.join("live"));
    std::fs::write(&file, "precious").expect("the folder is writable");
    let _datagrams = UnixDatagram::bind(&datagrams).expect("the path is free");
    let _live = UnixListener::bind(&live).expect("the path is free");
    std::os::unix::fs::symlink(folder.join("loop"), folder.join("loop")).expect("it is writable");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = taken.local_addr().expect("it has an address").to_string();
    let mut wrong = Vec::new();
    for (address, hint) in [
        (taken.as_str(), "another socket has that port"),
        // Reserved for documentation (RFC 5737), so no machine has it.
        ("192.0.2.1:0", "this machine does not have that address"),
        ("[fe80::1]:0", "needs the number of its interface"),
        (&unix(&file), "exists and is not a socket"),
        (&unix(&datagrams), "a socket of another type has that name"),
        (&unix(&live), "this process already listens there"),
        (&unix(&folder.join("none/x")), "does not exist"),
        (&unix(&file.join("x")), "is not a folder"),
        (&unix(&folder.join("loop/x")), "too many symbolic links"),
        ("unix:/proc/x.sock", "the folder /proc does not exist"),
    ] {
        let said = refusal(address);
        let no_ipv6 = address.starts_with('[') && said.contains("IPv6");
        if !(said.starts_with(&format!("cannot listen on {address}: ")) && said.contains(hint)
            || no_ipv6)
        {
            wrong.push(format!("{said}, without {hint:?}"));
        }
    }
    let left = std::fs::read_dir(&folder).expect("it is there").count();
    std::fs::remove_dir_all(&folder).expect("it is ours");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(left, 4, "something was left, or taken away");
}

#[test]
fn the_error_names_the_process_that_listens_on_the_path() {
    if !has_peer("nc") {
        return;
    }
    let path = temporary("named.sock");
    let mut other = Command::new("nc")
        .arg("-lkU")
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    while UnixStream::connect(&path).is_err() {
        std::thread::yield_now();
    }
    let (said, number) = (refusal(&unix(&path)), other.id());
    other.kill().expect("it runs");
    other.wait().expect("it ends");
    let left_over = bind(&unix(&path));
    assert!(said.contains(&format!("process {number} listens there")), "{said}");
    left_over.expect("what is left over is replaced");
}

/// Returns the number of voluntary context switches of this thread.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
    let count = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    count.expect("it is a number")
}

#[test]
fn listeners_do_not_wait_for_locks() {
    let folder = temporary("locked");
    std::fs::create_dir(&folder).expect("the folder is writable");
    let lock = File::open(&folder).expect("any user may read it");
    lock.lock().expect("any user may lock it");
    let address = unix(&folder.join("x.sock"));
    let before = sleeps();
    for _ in 0..3 {
        drop(bind(&address).expect("the path is free"));
    }
    let sleeps = sleeps() - before;
    let left = std::fs::read_dir(&folder).expect("it is there").count();
    std::fs::remove_dir(&folder).expect("nothing is left in it");
    assert_eq!(left, 0);
    // Waiting a second for a lock would take hundreds.
    assert!(sleeps < 50, "slept {sleeps} times");
}

#[test]
fn a_listener_does_not_wait_for_another_server_on_the_same_path() {
    let path = temporary("begun.sock");
    let lock_path = temporary("begun.sock.lock");
    let lock = File::create(&lock_path).expect("the folder is writable");
    lock.lock().expect("it is ours");
    let said = refusal(&unix(&path));
    assert!(said.contains("another server is starting to listen there"), "{said}");
    // A server that is killed at that moment leaves only the file behind.
    drop(lock);
    drop(bind(&unix(&path)).expect("nothing is in the way"));
    assert!(!path.exists() && !lock_path.exists());
}

#[test]
fn another_file_in_place_of_the_lock_is_ignored_and_kept() {
    let path = temporary("unlocked.sock");
    let lock_path = temporary("unlocked.sock.lock");
    let precious = temporary("unlocked.precious");
    std::fs::write(&precious, "precious").expect("the folder is writable");
    std::os::unix::fs::symlink(&precious, &lock_path).expect("the folder is writable");
    drop(bind(&unix(&path)).expect("it does without"));
    std::fs::remove_file(&lock_path).expect("it was left alone");
    assert_eq!(std::fs::read_to_string(&precious).expect("it is there"), "precious");
    std::fs::remove_file(&precious).expect("it is there");
    let made = Command::new("mkfifo").arg(&lock_path).status().expect("mkfifo starts");
    assert!(made.success());
    drop(bind(&unix(&path)).expect("it does without"));
    std::fs::remove_file(&lock_path).expect("it was left alone");
    // A lock of another user, who may hold it for ever.
    let lock = File::create(&lock_path).expect("the folder is writable");
    lock.lock().expect("it is ours");
    if std::os::unix::fs::chown(&lock_path, Some(65_534), None).is_ok() {
        drop(bind(&unix(&path)).expect("it does without"));
    }
    std::fs::remove_file(&lock_path).expect("it was left alone");
    assert!(!path.exists());
}

#[test]
fn a_failed_listener_leaves_no_file() {
    let path = temporary("half.sock");
    let options = ListenOptions { unix_mode: Some(0o600), ..ListenOptions::DEFAULT };
    let address = unix(&path).parse().expect("it is an address");
    let listener = Listener::bind(&address, &options).expect("the path is free");
    // A file that another process has put in its place is not removed at the end.
    std::fs::remove_file(&path).expect("it is ours");
    std::fs::write(&path, "precious").expect("the folder is writable");
    drop(listener);
    assert_eq!(std::fs::read_to_string(&path).expect("it was left alone"), "precious");
    std::fs::remove_file(&path).expect("it is there");
}

#[test]
fn reaching_and_leaving_the_connection_limit_are_each_logged_once() {
    let limits = LoopLimits { connections_max: 2, ..LoopLimits::DEFAULT };
    said("");
    on_every_backend::<()>(limits, |mut reactor| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let mut clients: Vec<TcpStream> =
            (0..20).map(|_| TcpStream::connect(&address).expect("the kernel accepts")).collect();
        while !clients.is_empty() {
            let mut client = clients.remove(0);
            client.write_all(b"x").expect("the kernel takes bytes");
            client.set_nonblocking(true).expect("modes can be set");
            turn_until(&mut reactor, |_| matches!(client.read(&mut [0]), Ok(1)));
            let counters = reactor.counters();
            assert!(counters.connections <= 2, "{counters}");
            assert_eq!(counters.accepts + counters.waiting, 20, "{counters}");
        }
        turn_until(&mut reactor, |reactor| reactor.counters().connections == 0);
        turn_until(&mut reactor, |_| !said("the backlog is empty after").is_empty());
        let full = said("there are 2 connections, which is the limit");
        assert_eq!(full.len(), 1, "{full:#?}");
        assert_eq!(reactor.counters().waiting, 0);
    });
}

#[test]
fn a_connection_that_the_application_drops_is_logged_with_its_peer() {
    on_every_backend::<()>(LoopLimits::DEFAULT, |mut reactor| {
        let listener = bind("127.0.0.1:0").expect("a port is free");
        let address = SocketAddr::from(([127, 0, 0, 1], port(&listener)));
        let refuse = |_accepted, _cx: &mut LoopCx<'_, ()>| Err(io::Error::other("not today"));
        listener.register(&mut reactor.cx(), refuse).expect("it listens");
        said("");
        let client = TcpStream::connect(address).expect("the kernel accepts");
        turn_until(&mut reactor, |reactor| reactor.counters().refused == 1);
        let peer = client.local_addr().expect("it is connected");
        let line = format!("{address}: the connection from {peer} was dropped: not today");
        assert_eq!(said("was dropped"), [line]);
    });
}

/// A connection that does nothing.
struct Quiet;

impl<A> Handler<A> for Quiet {
    fn ready(&mut self, _cx: &mut Cx<'_, A>) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a scripted loop with room for one connection, which stores its token.
fn narrow() -> (Script, Reactor<Option<Token>>, Token, SocketAddr) {
    let script = Script::new(Trigger::Edge);
    let limits = LoopLimits { connections_max: 1, idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor =
        Reactor::with_backend(script.backend(), limits, None).expect("the reactor opens");
    let listener = bind("127.0.0.1:0").expect("a port is free");
    let address = SocketAddr::from(([127, 0, 0, 1], port(&listener)));
    let take = |accepted: reactor::Accepted, cx: &mut LoopCx<'_, Option<Token>>| {
        let registration = Registration::new(Interest::NONE).role(Role::Connection);
        *cx.app = Some(cx.register(accepted.into_fd(), registration, Quiet)?);
        Ok(())
    };
    let token = listener.register(&mut reactor.cx(), take).expect("it listens");
    (script, reactor, token, address)
}

#[test]
fn a_limit_that_is_reached_repeatedly_is_logged_rarely_and_with_a_count() {
    let (script, mut reactor, token, address) = narrow();
    let turn = |reactor: &mut Reactor<_>| reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    // One peer connects and leaves.
    let visit = |reactor: &mut Reactor<Option<Token>>| {
        let client = TcpStream::connect(address).expect("the kernel accepts");
        script.event(token, Readiness::READABLE);
        for _ in 0..3 {
            turn(reactor);
        }
        assert_eq!(reactor.cx().connections(), 1);
        let connection = reactor.app.take().expect("it was accepted");
        reactor.cx().close(connection);
        for _ in 0..3 {
            turn(reactor);
        }
        drop(client);
    };
    said("");
    for _ in 0..10 {
        visit(&mut reactor);
    }
    assert_eq!(said("which is the limit").len(), 1);
    assert_eq!(said("the backlog is empty after").len(), 1);
    script.advance(Duration::from_secs(6));
    visit(&mut reactor);
    let again = said("which is the limit");
    assert!(again.len() == 1 && again[0].contains("and 9 times more"), "{again:#?}");
    // A lasting condition is logged although the last message was a moment ago.
    let client = TcpStream::connect(address).expect("the kernel accepts");
    script.event(token, Readiness::READABLE);
    for _ in 0..8 {
        reactor.run_once(Some(Duration::from_secs(2))).expect("it turns");
    }
    assert_eq!(said("which is the limit").len(), 1);
    drop(client);
}

#[test]
fn connections_dropped_by_the_kernel_are_counted() {
    let options = ListenOptions { backlog: 1, ..ListenOptions::DEFAULT };
    let any = "127.0.0.1:0".parse().expect("it is an address");
    on_every_backend::<()>(LoopLimits::DEFAULT, |mut reactor| {
        let listener = Listener::bind(&any, &options).expect("a port is free");
        let address = SocketAddr::from(([127, 0, 0, 1], port(&listener)));
        let token = listener.register(&mut reactor.cx(), |_, _| Ok(())).expect("it listens");
        let mut held = Vec::new();
        // A backlog of one holds two connections. A peer that is refused retries for a second or
        // more.
        while let Ok(client) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            held.push(client);
            assert!(held.len() < 10, "the backlog takes more than ten");
        }
        let counters = reactor.counters();
        assert_eq!(counters.waiting, held.len() as u64, "{counters}");
        assert!(counters.refused > 0, "{counters}");
        // They remain counted when the listener has ended.
        reactor.cx().close(token);
        turn_until(&mut reactor, |reactor| reactor.listeners() == 0);
        let counters = reactor.counters();
        assert!(counters.refused > 0 && counters.waiting == 0, "{counters}");
    });
}

/// Accepts connections in both loops until there are `count`. Returns how many each loop has.
fn accepted_by(one: Listener, two: Listener, count: usize) -> (usize, usize) {
    let mut loops = [one, two].map(|listener| {
        let mut reactor = Reactor::new(0).expect("the reactor opens");
        let accept = |_accepted, cx: &mut LoopCx<'_, usize>| {
            *cx.app += 1;
            Ok(())
        };
        listener.register(&mut reactor.cx(), accept).expect("it registers");
        reactor
    });
    while loops.iter().map(|it| it.app).sum::<usize>() < count {
        loops
            .iter_mut()
            .for_each(|it| it.run_once(Some(Duration::from_millis(1))).expect("it turns"));
    }
    (loops[0].app, loops[1].app)
}

#[test]
fn two_listeners_share_a_port_if_both_allow_it() {
    let options = ListenOptions { reuse_port: true, ..ListenOptions::DEFAULT };
    let any = "127.0.0.1:0".parse().expect("it is an address");
    let one = Listener::bind(&any, &options).expect("a port is free");
    let address = one.address().clone();
    let two = Listener::bind(&address, &options).expect("the port is shared");
    assert!(
        Listener::bind(&address, &ListenOptions::DEFAULT).is_err(),
        "a listener without the option cannot share the port"
    );
    let clients: Vec<TcpStream> = (0..64)
        .map(|_| TcpStream::connect(address.to_string()).expect("one of both accepts"))
        .collect();
    let (one, two) = accepted_by(one, two, clients.len());
    assert!(one > 0 && two > 0, "{one} and {two}");
}

#[test]
fn a_unix_socket_cannot_share_its_address_and_the_error_has_a_hint() {
    let options = ListenOptions { reuse_port: true, ..ListenOptions::DEFAULT };
    let path = temporary("shared");
    let error = Listener::bind(&Address::Unix(path.clone()), &options).expect_err("it cannot");
    assert!(error.to_string().contains("clone the listener"), "{error}");
    assert!(!path.exists());
}

#[test]
fn the_file_of_a_cloned_listener_exists_until_the_last_clone_is_dropped() {
    let path = temporary("cloned");
    let address = Address::Unix(path.clone());
    let one = Listener::bind(&address, &ListenOptions::DEFAULT).expect("it listens");
    let two = one.try_clone().expect("a descriptor is free");
    let clients: Vec<UnixStream> =
        (0..8).map(|_| UnixStream::connect(&path).expect("it listens")).collect();
    let third = two.try_clone().expect("a descriptor is free");
    let (one, two) = accepted_by(one, two, clients.len());
    assert_eq!(one + two, clients.len());
    assert!(UnixStream::connect(&path).is_ok(), "the third still listens");
    drop(third);
    assert!(!path.exists());
}

#[test]
fn a_listening_socket_can_be_adopted() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = socket.local_addr().expect("it has one");
    let listener = Listener::from_fd(socket.into()).expect("it listens");
    assert_eq!(*listener.address(), Address::Tcp(address));
    let clone = listener.try_clone().expect("a descriptor is free");
    let _client = TcpStream::connect(address).expect("it listens");
    let (one, two) = accepted_by(listener, clone, 1);
    assert_eq!(one + two, 1);

    let path = temporary("inherited");
    let socket = UnixListener::bind(&path).expect("the folder is writable");
    let listener = Listener::from_fd(socket.into()).expect("it listens");
    assert_eq!(*listener.address(), Address::Unix(path.clone()));
    drop(listener);
    assert!(path.exists(), "its maker removes it");
    std::fs::remove_file(&path).expect("it is there");
}

#[test]
fn a_socket_that_does_not_listen_cannot_be_adopted() {
    let (near, _far) = UnixStream::pair().expect("a pair can be made");
    let datagram = UnixDatagram::unbound().expect("a socket can be made");
    let file = File::open("/dev/null").expect("it is there");
    for fd in [near.into(), datagram.into(), file.into()] {
        assert!(Listener::from_fd(fd).is_err());
    }
}
