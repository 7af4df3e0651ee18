//! Every way in which connecting can fail, caused in a real kernel: in a network namespace with routes,
//! ports and names of its own (P35).

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use reactor::{
    Address, BackendKind, ConnectError, ConnectErrorKind, ConnectOptions, LoopLimits, Reactor,
    Target,
};

use common::dials::{App, connect, fails, location};
use common::{on_every_backend, turn_until};

/// Hosts that cannot be reached, each for another reason; names without a name server; and two ports
/// for clients.
const NETWORK: &str = "ip link set lo up
ip link add hole type veth peer name far
ip link set hole up
ip link set far up
ip addr add 10.99.0.1/24 dev hole
ip neigh add 10.99.0.53 lladdr 02:00:00:00:00:03 dev hole
ip route add unreachable 10.1.0.0/24
ip route add prohibit 10.2.0.0/24
ip -6 route add unreachable fd01::/64
echo 1 >/proc/sys/net/ipv4/neigh/hole/mcast_solicit
echo 50 >/proc/sys/net/ipv4/neigh/hole/retrans_time_ms
echo 1 >/proc/sys/net/ipv4/tcp_syn_retries
echo 40000 40001 >/proc/sys/net/ipv4/ip_local_port_range
for file in hosts resolv.conf nsswitch.conf; do : >/tmp/$file.$$; done
printf '127.0.0.1 localhost\\n' >/tmp/hosts.$$
printf 'hosts: files\\nservices: files\\n' >/tmp/nsswitch.conf.$$
for file in hosts resolv.conf nsswitch.conf; do
    mount --bind /tmp/$file.$$ /etc/$file
    rm /tmp/$file.$$ 2>/dev/null || true
done";

fn tcp(text: &str) -> Address {
    Address::Tcp(text.parse().expect("it is an address"))
}

/// Connects to `target`, which fails, and checks the kind and the whole text of the error.
#[track_caller]
fn expect(
    reactor: &mut Reactor<App>,
    target: impl Into<Target>,
    options: &ConnectOptions,
    kind: ConnectErrorKind,
    text: &str,
) -> ConnectError {
    let error = fails(reactor, target, options);
    assert_eq!(error.to_string(), text);
    assert_eq!(error.kind(), kind, "{text}");
    // The reason of the connection says the same, and what failed.
    assert_eq!(reactor.app.told.pop().expect("it was told"), format!("connect: {text}"));
    error
}

#[test]
fn each_way_not_to_reach_a_host_has_its_own_error() {
    use ConnectErrorKind::{
        HostUnreachable, NetworkUnreachable, NotPermitted, Refused, TimedOut, UnknownName,
        UnknownService,
    };
    if !testkit::in_namespace("each_way_not_to_reach_a_host_has_its_own_error", NETWORK) {
        return;
    }
    let options = ConnectOptions::DEFAULT;
    let hasty = ConnectOptions { attempt_timeout: Duration::from_millis(30), ..options.clone() };
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        for (to, options, kind, what) in [
            (
                "10.1.0.1:80",
                &options,
                HostUnreachable,
                "host unreachable (EHOSTUNREACH in connect): there is no route to it",
            ),
            (
                "[fd01::1]:80",
                &options,
                HostUnreachable,
                "host unreachable (EHOSTUNREACH in connect): there is no route to it",
            ),
            // No host has this address, which the kernel finds out after a while.
            (
                "10.99.0.2:80",
                &options,
                HostUnreachable,
                "host unreachable (EHOSTUNREACH in connect): there is no route to it",
            ),
            (
                "10.3.0.1:80",
                &options,
                NetworkUnreachable,
                "network unreachable (ENETUNREACH in connect): there is no route to it",
            ),
            (
                "[fd02::1]:80",
                &options,
                NetworkUnreachable,
                "network unreachable (ENETUNREACH in connect): there is no route to it",
            ),
            (
                "10.2.0.1:80",
                &options,
                NotPermitted,
                "not permitted (EACCES in connect): a route or a firewall prohibits it, or the Unix socket is another user's",
            ),
            (
                "127.0.0.1:81",
                &options,
                Refused,
                "refused (ECONNREFUSED in connect): nothing listens there; is the server running?",
            ),
            (
                "10.99.0.53:80",
                &hasty,
                TimedOut,
                "no answer in time: the peer does not answer; is it down, or behind a firewall?",
            ),
        ] {
            let error = expect(&mut reactor, tcp(to), options, kind, &format!("{to}: {what}"));
            assert_eq!(error.attempts().len(), 1);
        }
        for (to, kind, what) in [
            (
                "nowhere:80",
                UnknownName,
                "unknown name (Name or service not known); check its spelling, /etc/hosts, and what the name server knows",
            ),
            (
                "localhost:no-such",
                UnknownService,
                "unknown service (Servname not supported for ai_socktype); check /etc/services, or use the number of the port",
            ),
        ] {
            let error =
                expect(&mut reactor, location(to), &options, kind, &format!("{to}: {what}"));
            assert!(error.lookup().is_some() && error.attempts().is_empty());
        }
        // Of several, the text has every attempt, and the kind is that which says most.
        let all = ["10.3.0.1:80", "10.1.0.1:80", "10.99.0.53:80", "127.0.0.1:81", "10.2.0.1:80"];
        let error = expect(
            &mut reactor,
            all.map(tcp).to_vec(),
            &hasty,
            Refused,
            "10.3.0.1:80, 10.1.0.1:80, 10.99.0.53:80, 127.0.0.1:81, 10.2.0.1:80: refused \
             (10.3.0.1:80: ENETUNREACH in connect, 10.1.0.1:80: EHOSTUNREACH in connect, \
             10.99.0.53:80: no answer in time, 127.0.0.1:81: ECONNREFUSED in connect, \
             10.2.0.1:80: EACCES in connect): nothing listens there; is the server running?",
        );
        assert_eq!(error.attempts().len(), all.len());
        assert!(error.attempts().iter().all(|attempt| attempt.operation == "connect"));
    });
}

#[test]
fn the_time_of_the_kernel_is_that_of_an_attempt() {
    if !testkit::in_namespace("the_time_of_the_kernel_is_that_of_an_attempt", NETWORK) {
        return;
    }
    // It repeats its first packet once, so it gives up after three seconds, on all loops at once.
    std::thread::scope(|scope| {
        // There are two ports for clients, so each connects to another port.
        for (port, kind) in (80..).zip(BackendKind::ALL) {
            scope.spawn(move || {
                let backend = kind.open().expect("the backend opens");
                let reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, App::default());
                let mut reactor = reactor.expect("the reactor opens");
                let error = expect(
                    &mut reactor,
                    tcp(&format!("10.99.0.53:{port}")),
                    &ConnectOptions::DEFAULT,
                    ConnectErrorKind::TimedOut,
                    &format!(
                        "10.99.0.53:{port}: no answer in time (ETIMEDOUT in connect): the peer does \
                         not answer; is it down, or behind a firewall?"
                    ),
                );
                assert!(error.took() < ConnectOptions::DEFAULT.timeout, "{:?}", error.took());
            });
        }
    });
}

#[test]
fn ports_that_are_all_taken_have_an_error_of_their_own() {
    if !testkit::in_namespace("ports_that_are_all_taken_have_an_error_of_their_own", NETWORK) {
        return;
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        // Each backend has a port of its own, since those of connections that have ended stay taken.
        let kind = BackendKind::ALL.iter().position(|it| it.name() == reactor.backend_name());
        let port = 5000 + kind.expect("it is one of them");
        let address = format!("127.0.0.1:{port}");
        let _server = TcpListener::bind(&address).expect("the port is free");
        let no_port = |reactor: &mut Reactor<App>, options: &ConnectOptions| {
            let error = expect(
                reactor,
                tcp(&address),
                options,
                ConnectErrorKind::NoLocalPort,
                &format!(
                    "{address}: no local port left (EADDRNOTAVAIL in connect): see \
                     net.ipv4.ip_local_port_range, and close connections"
                ),
            );
            assert_eq!(error.attempts()[0].errno().as_deref(), Some("EADDRNOTAVAIL"));
        };
        let connected = |_| TcpStream::connect(&address).expect("there is a port for it");
        let _taken: Vec<TcpStream> = (0..2).map(connected).collect();
        no_port(&mut reactor, &ConnectOptions::DEFAULT);
        // Another source has ports of its own, until they are taken too.
        let source: SocketAddr = "127.0.0.2:0".parse().expect("it is an address");
        let options = ConnectOptions { source: Some(source), ..ConnectOptions::DEFAULT };
        for count in 1..=2 {
            connect(tcp(&address), &options, &mut reactor.cx());
            turn_until(&mut reactor, |reactor| reactor.app.told.len() == count);
        }
        assert_eq!(reactor.app.told, ["ready", "ready"]);
        connect(tcp(&address), &options, &mut reactor.cx());
        turn_until(&mut reactor, |reactor| reactor.app.errors.len() == 1);
        let error = reactor.app.errors.remove(0);
        assert_eq!(error.kind(), ConnectErrorKind::NoLocalPort, "{error}");
        assert!(error.to_string().contains("(EADDRNOTAVAIL in connect)"), "{error}");
        // A source whose port is taken is another matter: more ports would not help.
        let source: SocketAddr = address.parse().expect("it is an address");
        let options = ConnectOptions { source: Some(source), ..ConnectOptions::DEFAULT };
        connect(tcp("127.0.0.1:81"), &options, &mut reactor.cx());
        turn_until(&mut reactor, |reactor| reactor.app.errors.len() == 1);
        let text = reactor.app.errors.remove(0).to_string();
        assert_eq!(text, "127.0.0.1:81: failed (EADDRINUSE in bind)");
    });
}

#[test]
fn the_kernel_itself_may_connect_a_socket_to_itself() {
    if !testkit::in_namespace("the_kernel_itself_may_connect_a_socket_to_itself", NETWORK) {
        return;
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<App>| {
        // The kernel chooses one of two ports for the client, so soon the one that it connects to.
        for try_number in 1.. {
            assert!(try_number < 100, "the kernel never chooses this port");
            let error = fails(&mut reactor, tcp("127.0.0.1:40000"), &ConnectOptions::DEFAULT);
            if error.kind() == ConnectErrorKind::Refused {
                continue;
            }
            assert_eq!(error.kind(), ConnectErrorKind::SelfConnect);
            assert_eq!(
                error.to_string(),
                "127.0.0.1:40000: the socket was connected to itself: nothing listens there, and \
                 its port is one for clients"
            );
            break;
        }
    });
}
