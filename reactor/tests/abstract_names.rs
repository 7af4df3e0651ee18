//! Abstract names of Unix sockets, and the credentials of peers.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Echo, on_every_backend, turn_until};
use protocol::codecs::Bytes;
use protocol::{Conversation, Limits};
use reactor::sim::Sim;
use reactor::{
    AbstractName, Address, ConnectOptions, Connector, Credentials, Cx, DatagramOptions,
    DatagramSocket, Datagrams, Handler, Interest, ListenOptions, Listener, LoopLimits, Reactor,
    Registration, Stream, send_descriptors,
};
use testkit::process;

/// Returns a name that no other test has.
fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("reactor-test-{}-{number}", std::process::id())
}

fn serve(reactor: &mut Reactor, name: &str) -> Address {
    let address: Address = format!("unix:@{name}").parse().expect("it is an address");
    let listener = Listener::bind(&address, &ListenOptions::DEFAULT).expect("the name is free");
    assert_eq!(*listener.address(), address);
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_| Conversation::new(Bytes, Echo))
        .expect("it listens");
    address
}

fn connect(name: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).expect("it is a name"))
}

/// Asks an echo, and keeps its answer.
struct Asks(Rc<RefCell<Vec<u8>>>);

impl Handler for Asks {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        if self.0.borrow().is_empty() && cx.interest() == Interest::BOTH {
            cx.write(&[io::IoSlice::new(b"question")])?;
            cx.set_interest(Interest::READ);
        }
        let mut buffer = [0; 64];
        while let Some(count) = cx.read(&mut buffer)? {
            self.0.borrow_mut().extend(&buffer[..count]);
        }
        Ok(())
    }
}

#[test]
fn a_listener_and_a_connector_meet_at_an_abstract_name() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor| {
        let name = name();
        let address = serve(&mut reactor, &name);
        let answer = Rc::default();
        Connector::new(&address, &ConnectOptions::DEFAULT)
            .register(
                Registration::new(Interest::BOTH),
                Asks(Rc::clone(&answer)),
                &mut reactor.cx(),
            )
            .expect("it dials");
        turn_until(&mut reactor, |_| *answer.borrow() == b"question");
        drop(reactor);
        // The name is free as soon as the last copy of the socket is closed. Another test may be
        // starting a process, which has copies for a moment.
        testkit::wait_until("the name is free", || {
            connect(&name).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        });
        Listener::bind(&address, &ListenOptions::DEFAULT).expect("it is free");
    });
}

#[test]
fn a_name_that_is_taken_and_options_of_files_are_refused_with_a_reason() {
    let address: Address = format!("unix:@{}", name()).parse().expect("it is an address");
    let _first = Listener::bind(&address, &ListenOptions::DEFAULT).expect("it is free");
    let error = Listener::bind(&address, &ListenOptions::DEFAULT).expect_err("it is taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let text = error.to_string();
    let start = format!("cannot listen on {address}: another socket has that name");
    assert!(text.starts_with(&start), "{text}");

    let free: Address = format!("unix:@{}", name()).parse().expect("it is an address");
    let options = ListenOptions { unix_mode: Some(0o600), ..ListenOptions::DEFAULT };
    let text = Listener::bind(&free, &options).expect_err("there is no file").to_string();
    assert!(text.contains("no permission bits"), "{text}");
    let options = ListenOptions { reuse_port: true, ..ListenOptions::DEFAULT };
    let text = Listener::bind(&free, &options).expect_err("it cannot be shared").to_string();
    assert!(text.contains("Unix sockets cannot share an address"), "{text}");
    let dgram: Address = format!("unix-dgram:@{}", name()).parse().expect("it is an address");
    let options = DatagramOptions { unix_mode: Some(0o600), ..DatagramOptions::default() };
    let text = DatagramSocket::bind(&dgram, &options).expect_err("there is no file").to_string();
    assert!(text.contains("no permission bits"), "{text}");
}

#[test]
fn an_inherited_listener_keeps_its_abstract_name() {
    let address: Address = format!("unix:@{}", name()).parse().expect("it is an address");
    let Address::Abstract(abstract_name) = &address else { panic!("it is an abstract name") };
    let socket_address = SocketAddr::from_abstract_name(abstract_name.as_bytes());
    let listener =
        std::os::unix::net::UnixListener::bind_addr(&socket_address.expect("it is a name"));
    let inherited = Listener::from_fd(OwnedFd::from(listener.expect("it is free")));
    assert_eq!(*inherited.expect("it listens").address(), address);
}

#[test]
fn datagrams_reach_an_abstract_name_and_are_answered_at_another() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor| {
        let address: Address = format!("unix-dgram:@{}", name()).parse().expect("an address");
        let socket = DatagramSocket::bind(&address, &DatagramOptions::default()).expect("free");
        Datagrams::serve(socket, Bytes, Echo, Limits::DEFAULT, &mut reactor.cx()).expect("serves");
        let client = DatagramSocket::connect(&address, &DatagramOptions::default());
        let client = client.expect("it is there");
        let Address::AbstractDatagram(own) = client.address().clone() else {
            panic!("{} is not an abstract name", client.address())
        };
        assert!(!own.as_bytes().is_empty() && client.peer() == Some(&address));
        let answer = Rc::default();
        let asks = Asks(Rc::clone(&answer));
        let fd = std::os::fd::AsFd::as_fd(&client).try_clone_to_owned().expect("it is cloned");
        reactor.cx().register(fd, Registration::new(Interest::BOTH), asks).expect("it registers");
        turn_until(&mut reactor, |_| *answer.borrow() == b"question");
    });
}

#[test]
fn simulated_hosts_have_abstract_names_but_no_processes() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    let answer: Rc<RefCell<Vec<u8>>> = Rc::default();
    let refusal: Rc<RefCell<Vec<String>>> = Rc::default();
    let (answers, refuses) = (Rc::clone(&answer), Rc::clone(&refusal));
    sim.start(host, move || {
        let mut reactor = Reactor::new(())?;
        let address = serve(&mut reactor, "echo");
        let taken = Listener::bind(&address, &ListenOptions::DEFAULT);
        assert_eq!(taken.expect_err("it is taken").kind(), io::ErrorKind::AddrInUse);
        let name = Address::AbstractDatagram(AbstractName::new("datagrams")?);
        let socket = DatagramSocket::bind(&name, &DatagramOptions::default())?;
        let client = DatagramSocket::connect(socket.address(), &DatagramOptions::default())?;
        assert!(matches!(client.address(), Address::AbstractDatagram(_)));
        let listener =
            Listener::bind(&"unix:@asked".parse().expect("an address"), &ListenOptions::DEFAULT)?;
        let asked = listener.address().clone();
        let refuses = Rc::clone(&refuses);
        listener.register(&mut reactor.cx(), move |accepted, _| {
            let error = accepted.peer_credentials().expect_err("there are none").to_string();
            let passed = send_descriptors(accepted.into_fd(), b"x", &[]).expect_err("it cannot");
            refuses.replace(vec![error, passed.to_string()]);
            Ok(())
        })?;
        for (address, answer) in [(address, Rc::clone(&answers)), (asked, Rc::default())] {
            Connector::new(&address, &ConnectOptions::DEFAULT).register(
                Registration::new(Interest::BOTH),
                Asks(answer),
                &mut reactor.cx(),
            )?;
        }
        Ok(reactor)
    })
    .expect("it starts");
    sim.run_for(std::time::Duration::from_secs(1)).expect("it runs");
    assert_eq!(*answer.borrow(), b"question");
    let refusals: Vec<String> = refusal.take();
    assert!(refusals[0].starts_with("a simulated host has no processes"), "{refusals:?}");
    assert!(refusals[1].starts_with("a simulated host has no descriptors"), "{refusals:?}");
}

#[test]
fn socat_talks_to_an_abstract_name() {
    if !testkit::has_peer("socat") {
        return;
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor| {
        let name = name();
        serve(&mut reactor, &name);
        let mut socat = Command::new("socat");
        let peer = format!("ABSTRACT-CONNECT:{name}");
        socat.args(["-t60", "-", &peer]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut socat = socat.spawn().expect("socat starts");
        let mut input = socat.stdin.take().expect("its input is piped");
        input.write_all(b"through an abstract name").expect("it reads");
        drop(input);
        turn_until(&mut reactor, |_| socat.try_wait().expect("it can be asked").is_some());
        let mut output = String::new();
        let mut pipe = socat.stdout.take().expect("its output is piped");
        pipe.read_to_string(&mut output).expect("it is read");
        assert_eq!(output, "through an abstract name");
    });
}

#[test]
fn socat_listens_at_an_abstract_name() {
    if !testkit::has_peer("socat") {
        return;
    }
    let name = name();
    let mut socat = Command::new("socat");
    socat.args([&format!("ABSTRACT-LISTEN:{name},fork"), "PIPE"]);
    let mut socat = socat.spawn().expect("socat starts");
    testkit::wait_until("socat listens", || connect(&name).is_ok());
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor| {
        let address: Address = format!("unix:@{name}").parse().expect("it is an address");
        let answer = Rc::default();
        let asks = Asks(Rc::clone(&answer));
        Connector::new(&address, &ConnectOptions::DEFAULT)
            .register(Registration::new(Interest::BOTH), asks, &mut reactor.cx())
            .expect("it dials");
        turn_until(&mut reactor, |_| *answer.borrow() == b"question");
    });
    socat.kill().expect("it runs");
    socat.wait().expect("it ends");
}

#[test]
fn a_listener_knows_which_process_has_connected() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor| {
        let address: Address = format!("unix:@{}", name()).parse().expect("it is an address");
        let listener = Listener::bind(&address, &ListenOptions::DEFAULT).expect("it is free");
        let seen = Rc::new(Cell::new(None));
        let sees = Rc::clone(&seen);
        listener
            .register(&mut reactor.cx(), move |accepted, _| {
                sees.set(Some(accepted.peer_credentials()?));
                Ok(())
            })
            .expect("it listens");
        let client = connect(address.to_string().trim_start_matches("unix:@"));
        turn_until(&mut reactor, |_| seen.get().is_some());
        let credentials = seen.get().expect("it was accepted");
        assert_eq!(credentials.pid, Some(std::process::id()));
        // The listener made this process known to its client too.
        assert_eq!(
            Credentials::of_peer(client.expect("it connects")).expect("it has"),
            credentials
        );
        let output = process::run(Command::new("id").arg("-u"), b"").stdout;
        let own = String::from_utf8_lossy(&output).trim().parse();
        assert_eq!(Ok(credentials.uid), own);
    });
}

#[test]
fn credentials_of_other_sockets_are_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let tcp = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("connects");
    let error = Credentials::of_peer(&tcp).expect_err("it has none");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let alone = std::os::unix::net::UnixDatagram::unbound().expect("a descriptor is free");
    let error = Credentials::of_peer(&alone).expect_err("it has no peer");
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
}
