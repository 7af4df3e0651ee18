//! Names and addresses that do not answer, in a network namespace of its own: the test program runs
//! itself there, since a namespace needs privileges that a test may not have.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use protocol::Limits;
use reactor::{
    ConnectOptions, Connector, Cx, Handler, Interest, Location, LoopCx, LoopLimits, Query, Reactor,
    Reason, Registration, ResolveErrorKind, Resolver, ResolverOptions, Role,
};

use common::{epoll, serve_echo, turn_until};

/// The variable that tells the program that it runs in the namespace.
const INSIDE: &str = "REACTOR_TEST_NAMESPACE";

/// Runs one test of this program again in a namespace that `script` has set up. Returns `None` if
/// namespaces cannot be had here, which is said.
fn in_namespace(test: &str, script: &str) -> Option<Output> {
    if !testkit::has_peer("unshare") || !testkit::has_peer("ip") {
        return None;
    }
    let unshare = |command: &str| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-ec", command])
            .env(INSIDE, "1")
            .env("PROGRAM", std::env::current_exe().expect("it runs"))
            .output()
            .expect("it runs")
    };
    let tried = unshare(script);
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).into_owned();
        testkit::skip(&format!("no network namespace can be made here: {}", why.trim()));
        return None;
    }
    Some(unshare(&format!("{script}\nexec \"$PROGRAM\" --exact {test} --nocapture")))
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Checks that the test has passed inside.
fn check(output: Option<Output>) {
    let Some(output) = output else { return };
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{errors}");
    said.lines().filter(|line| line.contains(" after ")).for_each(|line| println!("{line}"));
}

/// A network whose hosts are known and do not answer: no device has their link addresses. A name has
/// an address there and one of the loopback, and the name server is there.
const BLACKHOLE: &str = "ip link set lo up
ip link add hole type veth peer name far
ip link set hole up
ip link set far up
ip -6 addr add fd00:1::1/64 dev hole nodad
ip addr add 10.99.0.1/24 dev hole
ip neigh add fd00:1::2 lladdr 02:00:00:00:00:02 dev hole
ip neigh add 10.99.0.53 lladdr 02:00:00:00:00:03 dev hole
printf '127.0.0.1 localhost\\nfd00:1::2 server\\n127.0.0.1 server\\n' >/tmp/hosts.$$
mount --bind /tmp/hosts.$$ /etc/hosts
printf 'nameserver 10.99.0.53\\n' >/tmp/resolv.$$
mount --bind /tmp/resolv.$$ /etc/resolv.conf
rm /tmp/hosts.$$ /tmp/resolv.$$ 2>/dev/null || true";

#[derive(Default)]
struct App {
    connected: bool,
    ended: Option<String>,
}

struct Notes;

impl Handler<App> for Notes {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> std::io::Result<()> {
        cx.app.connected = true;
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, App>) {
        cx.app.ended = Some(reason.to_string());
    }
}

#[test]
fn a_blackholed_ipv6_address_leaves_the_connection_to_ipv4() {
    if !is_inside() {
        return check(in_namespace(
            "a_blackholed_ipv6_address_leaves_the_connection_to_ipv4",
            BLACKHOLE,
        ));
    }
    let server = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = server.local_addr().expect("it has one").port();
    let target: Location = format!("server:{port}").parse().expect("it is a location");
    let addresses = target.addresses().expect("the hosts file has it");
    assert!(addresses[0].to_string().starts_with("[fd00:1::2]"), "{addresses:?}");
    let mut reactor = epoll(App::default(), LoopLimits::DEFAULT);
    let start = Instant::now();
    let registration = Registration::new(Interest::NONE).role(Role::Connection);
    Connector::new(target, &ConnectOptions::DEFAULT)
        .register(registration, Notes, &mut reactor.cx())
        .expect("the loop takes it");
    turn_until(&mut reactor, |reactor| reactor.app.connected || reactor.app.ended.is_some());
    let took = start.elapsed();
    assert_eq!(reactor.app.ended, None);
    assert!(took >= Duration::from_millis(250), "the first address has its time: {took:?}");
    println!("connected by IPv4 after {took:?}");
    server.accept().expect("it accepts");
}

#[test]
fn a_loop_answers_while_a_name_server_does_not() {
    if !is_inside() {
        return check(in_namespace("a_loop_answers_while_a_name_server_does_not", BLACKHOLE));
    }
    const MESSAGES: usize = 10_000;
    let mut reactor: Reactor<Option<ResolveErrorKind>> = epoll(None, LoopLimits::DEFAULT);
    let address = serve_echo(&mut reactor, Limits::DEFAULT);
    let timeout = Duration::from_secs(40);
    let resolver = Resolver::new(ResolverOptions { timeout, ..ResolverOptions::DEFAULT });
    let resolver = resolver.expect("the limits are valid");
    let query = Query::new("name.example").service("80");
    resolver
        .resolve(query, &mut reactor.cx(), |answer, cx| *cx.app = answer.err().map(|it| it.kind()))
        .expect("it is asked");
    let client = std::thread::spawn(move || {
        let mut client = TcpStream::connect(address).expect("it accepts");
        let (mut back, mut slowest) = ([0; 64], Duration::ZERO);
        for number in 0..MESSAGES {
            let (sent, start) = ([number as u8; 64], Instant::now());
            client.write_all(&sent).expect("it is sent");
            client.read_exact(&mut back).expect("it comes back");
            assert_eq!(back, sent);
            slowest = slowest.max(start.elapsed());
        }
        slowest
    });
    turn_until(&mut reactor, |reactor| {
        assert_eq!(reactor.app, None, "the name server does not answer");
        client.is_finished()
    });
    let slowest = client.join().expect("every byte is right");
    println!("{MESSAGES} messages during one lookup, the slowest after {slowest:?}");
    // The answer comes in the end, from the system.
    turn_until(&mut reactor, |reactor| reactor.app.is_some());
    assert_eq!(reactor.app, Some(ResolveErrorKind::Temporary));
}
