//! Tests the blocking driver with sessions of its own, against sockets that misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clients::blocking::{Deadline, Driver, Error, Socket, Wants, wait};
use protocol::link::Link;
use protocol::{Buffer, Cause, Context, Flow, Limits, Output, Reason, Session};
use reactor::{Address, ConnectError, ConnectErrorKind, Location};
use testkit::{Folder, PATIENCE};

/// What the caller and the session share during an operation.
#[derive(Default)]
struct App {
    /// What is sent next.
    sends: Vec<u8>,
    /// The lines that came.
    lines: Vec<String>,
    timeouts: Vec<u8>,
    /// How often the session was called.
    calls: usize,
}

/// Sends bytes, and takes lines. Sets a timeout for the line `sleep`, refuses the line `bad`, answers
/// the line `ping`, ends its output after the line `last`, and is done after the line `bye`.
struct Lines;

impl Session<App> for Lines {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, App>,
    ) -> Result<Flow, Reason> {
        let app = &mut *context.app;
        app.calls += 1;
        output.append(&std::mem::take(&mut app.sends));
        if let Cause::Timeout(key) = context.cause {
            app.timeouts.push(key);
        }
        while let Some(end) = input.filled().iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&input.filled()[..end]).into_owned();
            input.consume(end + 1);
            match line.as_str() {
                "sleep" => context.effects.set_timeout(7, Some(Duration::from_millis(1))),
                "bad" => return Err(Reason::refused("a bad line")),
                "ping" => output.append(b"pong\n"),
                "last" => context.effects.end_output(),
                "bye" => return Ok(Flow::Close),
                _ => {}
            }
            context.effects.wake(context.me);
            app.lines.push(line);
        }
        Ok(Flow::Continue)
    }
}

/// A limit that no test reaches.
fn long() -> Deadline {
    Deadline::after(Some(PATIENCE))
}

fn soon() -> Deadline {
    Deadline::after(Some(Duration::from_millis(20)))
}

/// Starts a server that runs `serve` with its only connection, and connects to it.
fn pair<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (Driver<Lines>, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address").into();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client connects");
        serve(stream)
    });
    (drive(&[address]), thread)
}

fn drive(addresses: &[Address]) -> Driver<Lines> {
    let socket = Socket::connect(addresses, Some(PATIENCE)).expect("it listens");
    let limits = Limits { output_high: 1 << 30, output_max: 1 << 30, ..Limits::DEFAULT };
    Driver::new(socket, Link::new(Lines, limits.shared().expect("they are valid")))
}

/// Waits until a line has come.
fn receive(driver: &mut Driver<Lines>, app: &mut App) -> Result<String, Error> {
    driver.receive(app, &mut long(), |app| !app.lines.is_empty())?;
    Ok(app.lines.remove(0))
}

#[test]
fn output_of_the_session_is_sent_while_it_receives() {
    let (mut driver, server) = pair(|mut stream| {
        stream.write_all(b"ping\n").expect("it is there");
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).expect("it answers");
        stream.write_all(b"done\n").expect("it is there");
        answer
    });
    let mut app = App::default();
    assert_eq!(receive(&mut driver, &mut app).expect("it asks"), "ping");
    assert_eq!(receive(&mut driver, &mut app).expect("it goes on"), "done");
    assert_eq!(&server.join().expect("it runs"), b"pong\n");
}

#[test]
fn a_server_that_reads_nothing_until_it_is_read_blocks_nothing() {
    const SIZE: usize = 8 << 20;
    let (mut driver, server) = pair(|mut stream| {
        stream.write_all(&b"line\n".repeat(SIZE / 5)).expect("it is read");
        let mut received = vec![0; SIZE];
        stream.read_exact(&mut received).expect("it is sent");
        received.iter().all(|byte| *byte == b'y')
    });
    let mut app = App { sends: vec![b'y'; SIZE], ..App::default() };
    driver.send(&mut app, Some(PATIENCE)).expect("it is sent");
    assert!(server.join().expect("it runs"));
    driver
        .receive(&mut app, &mut long(), |app| app.lines.len() == SIZE / 5)
        .expect("everything came");
}

#[test]
fn a_deadline_leaves_the_connection_usable() {
    let (mut driver, server) = pair(|mut stream| {
        let mut request = [0; 3];
        stream.read_exact(&mut request).expect("it is sent");
        stream.write_all(b"late\n").expect("it is there");
    });
    let mut app = App::default();
    let nothing = driver.receive(&mut app, &mut soon(), |app| !app.lines.is_empty());
    assert!(matches!(nothing, Err(Error::TimedOut)), "{nothing:?}");
    app.sends = b"go\n".into();
    driver.send(&mut app, None).expect("it is sent");
    assert_eq!(receive(&mut driver, &mut app).expect("it is answered"), "late");
    server.join().expect("it runs");
}

#[test]
fn a_server_that_accepts_nothing_is_noticed() {
    let (mut driver, server) = pair(|stream| stream);
    let _stream = server.join().expect("it accepts");
    let mut app = App { sends: vec![0; 64 << 20], ..App::default() };
    let sent = driver.send(&mut app, Some(Duration::from_millis(50)));
    assert!(matches!(sent, Err(Error::TimedOut)), "{sent:?}");
}

#[test]
fn timeouts_of_the_session_pass_while_it_waits() {
    let (mut driver, server) = pair(|mut stream| {
        stream.write_all(b"sleep\n").expect("it is there");
        stream
    });
    let mut app = App::default();
    let received = driver.receive(&mut app, &mut long(), |app| app.timeouts == [7]);
    received.expect("the timeout passes");
    drop(server.join());
}

#[test]
fn the_end_of_a_connection_has_its_reason() {
    let ends = |last: &'static [u8]| {
        let (mut driver, server) = pair(|mut stream| {
            stream.write_all(last).expect("it is there");
            stream.shutdown(Shutdown::Write).expect("it is there");
            stream
        });
        let mut app = App::default();
        let ended = driver.receive(&mut app, &mut long(), |_| false);
        drop(server.join());
        (ended.expect_err("it ends"), app.lines)
    };
    let (error, lines) = ends(b"one\ntwo\nthr");
    assert!(matches!(error, Error::Closed), "{error}");
    assert_eq!(lines, ["one", "two"], "what came before is not lost");
    let (error, _) = ends(b"bad\n");
    assert_eq!(error.to_string(), "refused: a bad line");
    let (error, lines) = ends(b"bye\n");
    assert!(matches!(error, Error::Session(Reason::Finished)), "{error}");
    assert_eq!(lines, [""; 0]);
}

#[test]
fn a_session_that_ends_its_output_goes_on_reading() {
    let (mut driver, server) = pair(|mut stream| {
        stream.write_all(b"last\n").expect("it is there");
        let ended = stream.read(&mut [0]).expect("it is there") == 0;
        stream.write_all(b"after\n").expect("it is read");
        ended
    });
    let mut app = App::default();
    driver.receive(&mut app, &mut long(), |app| app.lines.len() == 2).expect("it reads");
    assert!(server.join().expect("it runs"));
}

#[test]
fn a_cutter_ends_a_wait_from_another_thread() {
    let (mut driver, server) = pair(|stream| stream);
    let _stream = server.join().expect("it accepts");
    let cutter = driver.cutter();
    let thread = std::thread::spawn(move || cutter.cut());
    let ended = driver.receive(&mut App::default(), &mut Deadline::after(None), |_| false);
    assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
    thread.join().expect("it runs");
}

#[test]
fn several_servers_are_waited_for_at_once() {
    const SERVERS: usize = 20;
    let mut servers = Vec::new();
    let mut drivers = Vec::new();
    for number in 0..SERVERS {
        let (driver, server) = pair(move |mut stream| {
            let mut request = [0; 3];
            stream.read_exact(&mut request).expect("it is sent");
            // In two parts, and not in order.
            stream.write_all(format!("answer {number}").as_bytes()).expect("it is there");
            std::thread::sleep(Duration::from_millis((number * 7 % SERVERS) as u64));
            stream.write_all(b"\nsleep\n").expect("it is there");
            stream
        });
        drivers.push((driver, App { sends: b"go\n".into(), ..App::default() }));
        servers.push(server);
    }
    for (driver, app) in &mut drivers {
        driver.advance(app).expect("it is there");
    }
    let is_done = |(_, app): &(_, App)| app.lines.len() == 2 && app.timeouts == [7];
    let mut waits = 0;
    while !drivers.iter().all(is_done) {
        let wants: Vec<Wants<'_>> = drivers.iter().map(|(driver, _)| driver.wants()).collect();
        let ready = wait(&wants, &mut long()).expect("it waits");
        assert!(!ready.is_empty(), "nothing came in time");
        assert!(ready.is_sorted());
        for index in ready {
            let (driver, app) = &mut drivers[index];
            driver.advance(app).expect("it is there");
        }
        waits += 1;
        assert!(waits < 20 * SERVERS, "it waits, and does not spin");
    }
    for (number, (_, app)) in drivers.iter().enumerate() {
        assert_eq!(app.lines, [format!("answer {number}"), "sleep".to_owned()]);
    }
    let streams: Vec<_> = servers.into_iter().map(|it| it.join().expect("it runs")).collect();
    let wants: Vec<Wants<'_>> = drivers.iter().map(|(driver, _)| driver.wants()).collect();
    assert_eq!(wait(&wants, &mut soon()).expect("it waits"), [0; 0], "nothing more comes");
    drop(streams);
    let (driver, app) = &mut drivers[3];
    let ended = loop {
        match driver.advance(app) {
            Ok(()) => wait(&[driver.wants()], &mut long()).expect("it waits"),
            Err(error) => break error,
        };
    };
    assert!(matches!(ended, Error::Closed), "{ended}");
}

#[test]
fn waiting_for_no_connection_ends_with_the_deadline() {
    assert_eq!(wait(&[], &mut soon()).expect("it waits"), [0; 0]);
}

#[test]
fn the_first_address_that_accepts_is_taken() {
    let folder = Folder::new("blocking");
    let path = folder.path().join("socket");
    let refuses = testkit::refusing_address().into();
    let _listener = UnixListener::bind(&path).expect("the folder is new");
    let missing = Address::Unix(folder.path().join("missing"));
    drive(&[missing.clone(), refuses, Address::Unix(path)]);
    let refused = |addresses: &[Address]| {
        let failed = Socket::connect(addresses, Some(PATIENCE));
        failed.expect_err("nothing listens").kind()
    };
    assert_eq!(refused(&[missing]), std::io::ErrorKind::NotFound);
    assert_eq!(refused(&[]), std::io::ErrorKind::Other);
}

#[test]
fn an_abstract_name_is_connected_to_and_may_be_free() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("clients-test-{}", std::process::id());
    let address: Address = format!("unix:@{name}").parse().expect("it is an address");
    let socket_address = std::os::unix::net::SocketAddr::from_abstract_name(name);
    let listener = UnixListener::bind_addr(&socket_address.expect("it is a name"));
    drive(std::slice::from_ref(&address));
    Socket::connect(&address, Some(PATIENCE)).expect("it listens");
    drop(listener.expect("the name is free"));
    let error = Socket::connect(&address, Some(PATIENCE)).expect_err("nothing listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Connects by a name whose first address does not answer. Returns how long that took.
fn connect_past_the_hole() -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    let target: Location = format!("server:{port}").parse().expect("it is a location");
    let addresses = target.addresses().expect("the hosts file has it");
    assert!(addresses[0].to_string().starts_with("[fd00:1::2]"), "{addresses:?}");
    let start = Instant::now();
    let socket = Socket::connect(target, Some(PATIENCE)).expect("the other address answers");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(250), "the first address has its time: {took:?}");
    listener.accept().expect("it accepts");
    drop(socket);
    took
}

#[test]
fn a_blackholed_address_leaves_a_blocking_connection_to_the_next() {
    let test = "a_blackholed_address_leaves_a_blocking_connection_to_the_next";
    if !testkit::in_namespace(test, testkit::BLACKHOLE) {
        return;
    }
    let took = connect_past_the_hole();
    println!("connected by IPv4 after {took:.1?}");
    // The kernel would try the other address for two minutes.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
#[ignore = "it measures time, on a machine that does nothing else"]
fn a_blackholed_address_costs_a_blocking_connection_less_than_300_ms() {
    const TRIES: usize = 7;
    let test = "a_blackholed_address_costs_a_blocking_connection_less_than_300_ms";
    if !testkit::in_namespace(test, testkit::BLACKHOLE) {
        return;
    }
    let mut times: Vec<_> = (0..TRIES).map(|_| connect_past_the_hole()).collect();
    times.sort_unstable();
    let (median, slowest) = (times[TRIES / 2], times[TRIES - 1]);
    println!("connected by IPv4 after {median:.1?}, the slowest after {slowest:.1?}");
    assert!(median < Duration::from_millis(300), "{times:?}");
}

#[test]
fn connecting_ends_with_its_deadline_and_says_what_it_came_to() {
    let test = "connecting_ends_with_its_deadline_and_says_what_it_came_to";
    if !testkit::in_namespace(test, testkit::BLACKHOLE) {
        return;
    }
    let timeout = Duration::from_millis(50);
    // Neither the peer nor the name server answers.
    for (to, text) in [
        (
            "10.99.0.53:80",
            "10.99.0.53:80: no answer in time: the peer does not answer; is it down, or behind a \
             firewall?",
        ),
        (
            "name.example:80",
            "name.example:80: no answer within 50ms; try again later, or check the name servers in \
             /etc/resolv.conf",
        ),
    ] {
        let start = Instant::now();
        let target: Location = to.parse().expect("it is a location");
        let error = Socket::connect(target, Some(timeout)).expect_err("nothing answers");
        // The system would wait for the name server for two seconds.
        assert!((timeout..Duration::from_millis(1500)).contains(&start.elapsed()), "{error}");
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (std::io::ErrorKind::TimedOut, text)
        );
        let inner = error.get_ref().and_then(|error| error.downcast_ref::<ConnectError>());
        assert_eq!(inner.map(ConnectError::kind), Some(ConnectErrorKind::TimedOut));
    }
}

/// Returns whether a process is stopped (`proc(5)`).
fn is_stopped(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

#[test]
fn a_wait_that_is_interrupted_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port().to_string();
    // Its waits have a timeout, so the system does not restart them by itself (signal(7)).
    let tool = Command::new(env!("CARGO_BIN_EXE_kv-cli"))
        .args(["-h", "127.0.0.1", "-p", &port, "--pipe"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (mut stream, _) = listener.accept().expect("it connects");
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n") || asked.len() < 20 + "\r\n*2\r\n$4\r\nECHO\r\n".len() {
        let mut bytes = [0; 100];
        let count = stream.read(&mut bytes).expect("it asks");
        asked.extend_from_slice(&bytes[..count]);
    }
    for _ in 0..10 {
        testkit::process::signal(tool.id(), "STOP");
        testkit::wait_until("the stop", || is_stopped(tool.id()));
        testkit::process::signal(tool.id(), "CONT");
        testkit::wait_until("the end of the stop", || !is_stopped(tool.id()));
    }
    let answer = asked.strip_prefix(b"\r\n*2\r\n$4\r\nECHO\r\n").expect("it asks for an echo");
    stream.write_all(answer).expect("it is there");
    let output = tool.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.ends_with(b"errors: 0, replies: 0\n"));
}
