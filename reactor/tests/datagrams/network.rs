//! A network with several addresses of both families: the sources of answers, groups, settings that
//! a receiver sees, and a send buffer that is full.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use protocol::codecs::Bytes;
use protocol::{Limits, Peer};
use reactor::{Address, DatagramOptions, Datagrams};

use crate::common::{PATIENCE, turn_until};
use crate::{Writer, bind, client, on_every, receive, serve, serve_socket, turn_until_sent};

/// A device with two addresses of each family, and two that are valid on this link alone. The kernel
/// adds the routes to those of IPv6 a while later. Nothing answers at the other end of the device, and
/// the kernel does not give up asking for link addresses there.
const NETWORK: &str = "ip link set lo up
ip link add near type veth peer name far
ip link set near up
ip link set far up
for address in 10.99.0.1/24 10.99.0.2/24; do
    ip addr add $address dev near
done
for address in fd00:1::1/64 fd00:1::2/64 fe80::1/64 fe80::2/64; do
    ip -6 addr add $address dev near nodad
done
for address in fd00:1::1 fd00:1::2 fe80::1 fe80::2; do
    tries=0
    until ip -6 route show table local $address | grep -q near; do
        tries=$((tries + 1))
        [ $tries -lt 3000 ]
        sleep 0.01
    done
done
echo 60 >/proc/sys/net/ipv4/neigh/near/mcast_solicit";

const GROUP: [&str; 2] = ["239.255.7.9", "ff02::1234"];

/// Returns the index of the device.
fn near() -> u32 {
    let text = fs::read_to_string("/proc/net/if_inet6").expect("the kernel has IPv6");
    let row = text.lines().find(|line| line.ends_with(" near")).expect("it has addresses");
    let index = row.split_whitespace().nth(1).expect("it is the second column");
    u32::from_str_radix(index, 16).expect("it is a number")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("it is an address")
}

/// Returns an address of this host with a port.
fn at(host: &str, port: u16) -> SocketAddr {
    match ip(host) {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, port, 0, near()).into()
        }
        ip => SocketAddr::new(ip, port),
    }
}

/// Returns a client that the kernel would answer from its own address.
fn client_of(host: &str) -> UdpSocket {
    let own = match ip(host) {
        IpAddr::V4(_) => "127.0.0.1",
        IpAddr::V6(ip) if ip.is_unicast_link_local() => "fe80::2",
        IpAddr::V6(_) => "::1",
    };
    let client = UdpSocket::bind(at(own, 0)).expect("a port is free");
    client.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    client
}

#[test]
fn a_wildcard_server_answers_each_sender_from_the_address_that_it_asked() {
    let name = "network::a_wildcard_server_answers_each_sender_from_the_address_that_it_asked";
    if !testkit::in_namespace(name, NETWORK) {
        return;
    }
    let v4 = ["10.99.0.1", "10.99.0.2", "127.0.0.2"];
    let v6 = ["fd00:1::1", "fd00:1::2", "fe80::1"];
    let all = [v4, v6].concat();
    for (wildcard, dual_stack, hosts) in
        [("0.0.0.0", false, &v4[..]), ("[::]", false, &v6[..]), ("[::]", true, &all[..])]
    {
        on_every(|mut reactor| {
            let options = DatagramOptions { dual_stack, ..DatagramOptions::default() };
            let port = serve(&mut reactor, wildcard, &options);
            let before = reactor.counters();
            // All ask at once: the answers from different addresses are sent by one call.
            let clients: Vec<UdpSocket> = hosts.iter().map(|host| client_of(host)).collect();
            for (client, host) in clients.iter().zip(hosts) {
                client.send_to(host.as_bytes(), at(host, port)).expect("it is sent");
                client.send_to(b"again", at(host, port)).expect("it is sent");
            }
            turn_until_sent(&mut reactor, before, 2 * hosts.len() as u64);
            for (client, host) in clients.iter().zip(hosts) {
                for expected in [host.as_bytes(), b"again"] {
                    let (bytes, from) = receive(client);
                    assert_eq!((&bytes[..], from), (expected, at(host, port)));
                }
            }
            let peers = reactor.app.peers.iter();
            let asked = peers.map(|peer| peer.asked().expect("it is known").0);
            let expected = hosts.iter().flat_map(|host| [ip(host); 2]);
            assert!(asked.eq(expected), "{:?}", reactor.app.peers);
        });
    }
}

#[test]
fn groups_of_both_families_are_received_and_answered() {
    let name = "network::groups_of_both_families_are_received_and_answered";
    if !testkit::in_namespace(name, NETWORK) {
        return;
    }
    let own = ["10.99.0.1", "10.99.0.2", "fd00:1::1", "fd00:1::2", "fe80::1", "fe80::2"].map(ip);
    for (any, group) in ["0.0.0.0", "[::]"].into_iter().zip(GROUP) {
        on_every(|mut reactor| {
            let socket = bind(&format!("udp://{any}:0"), &DatagramOptions::default());
            socket.join_multicast(ip(group), Some("near")).expect("it has groups");
            let Address::Udp(server) = *socket.address() else { unreachable!("of UDP") };
            serve_socket(&mut reactor, socket, Limits::DEFAULT);
            let socket = bind(&format!("udp://{any}:0"), &DatagramOptions::default());
            socket.set_multicast_interface("near").expect("it is there");
            let group = Peer::from(SocketAddr::new(ip(group), server.port()));
            let service = Writer::unasked([(Some(group), 4)]);
            Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
                .expect("it registers");
            turn_until(&mut reactor, |reactor| reactor.app.messages == [[0; 4]]);
            // The sender as the server sees it, and the server as the sender does.
            let peers: Vec<SocketAddr> =
                reactor.app.peers.iter().filter_map(Peer::address).collect();
            assert_eq!(peers.len(), 2);
            assert!(peers.iter().all(|peer| own.contains(&peer.ip())), "{peers:?}");
            assert_eq!(peers[1].port(), server.port());
        });
    }
}

/// Receives datagrams of both families, also those to groups. Prints its ports, and then the length
/// of each datagram, its hop limit and its traffic class.
const RECEIVER: &str = r#"
import select, socket, struct, sys
groups, near = sys.argv[1:], socket.if_nametoindex("near")
v4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
v4.bind(("", 0))
member = struct.pack("4s4si", socket.inet_aton(groups[0]), bytes(4), near)
v4.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
IP_RECVTTL, IP_RECVTOS = 12, 13
v4.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
v4.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
v6.bind(("::", 0))
member = socket.inet_pton(socket.AF_INET6, groups[1]) + struct.pack("I", near)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
print(v4.getsockname()[1], v6.getsockname()[1], flush=True)
while ready := select.select([v4, v6], [], [], 60)[0]:
    for s in ready:
        data, notes, _, _ = s.recvmsg(2000, 200)
        said = {kind: int.from_bytes(value, sys.byteorder) for _, kind, value in notes}
        kinds = (socket.IP_TTL, socket.IP_TOS)
        if s is v6:
            kinds = (socket.IPV6_HOPLIMIT, socket.IPV6_TCLASS)
        print(len(data), *(said[kind] for kind in kinds), flush=True)
"#;

/// The receiver, which is killed on drop.
struct Receiver {
    child: Child,
    lines: BufReader<ChildStdout>,
    ports: [u16; 2],
}

impl Receiver {
    fn start() -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", RECEIVER]).args(GROUP).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut receiver = Self { child, lines, ports: [0; 2] };
        let ports = receiver.numbers().map(|number| u16::try_from(number).expect("it is a port"));
        receiver.ports = ports.collect::<Vec<_>>().try_into().expect("it has two sockets");
        receiver
    }

    /// Returns the numbers of the next line.
    fn numbers(&mut self) -> impl Iterator<Item = u32> + use<> {
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).expect("it is text");
        assert!(length > 0, "it has received nothing");
        let numbers = line.split_whitespace().map(|word| word.parse().expect("it is a number"));
        numbers.collect::<Vec<_>>().into_iter()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn hop_limits_traffic_classes_and_loops_of_groups_reach_the_receiver() {
    let name = "network::hop_limits_traffic_classes_and_loops_of_groups_reach_the_receiver";
    if !testkit::in_namespace(name, NETWORK) || !testkit::has_peer("python3") {
        return;
    }
    let usual = DatagramOptions::default();
    let set = DatagramOptions {
        hops: Some(7),
        multicast_hops: Some(3),
        dscp: Some(46),
        dual_stack: true,
        ..DatagramOptions::default()
    };
    let silent = DatagramOptions { multicast_loop: Some(false), ..set.clone() };
    let mapped = "::ffff:10.99.0.1";
    // What is sent from where, and the hop limit and the code point that arrive, if it does.
    let cases = [
        ("10.99.0.1", &usual, "10.99.0.1", Some((64, 0))),
        ("10.99.0.1", &set, "10.99.0.1", Some((7, 46))),
        ("10.99.0.1", &usual, GROUP[0], Some((1, 0))),
        ("10.99.0.1", &silent, GROUP[0], None),
        ("10.99.0.1", &set, GROUP[0], Some((3, 46))),
        ("[fd00:1::1]", &usual, "fd00:1::2", Some((64, 0))),
        ("[fd00:1::1]", &set, "fd00:1::2", Some((7, 46))),
        ("[fd00:1::1]", &usual, GROUP[1], Some((1, 0))),
        ("[fd00:1::1]", &silent, GROUP[1], None),
        ("[fd00:1::1]", &set, GROUP[1], Some((3, 46))),
        // An IPv6 socket that sends to IPv4.
        ("[::]", &set, mapped, Some((7, 46))),
    ];
    let mut receiver = Receiver::start();
    let receiver = Cell::new(Some(&mut receiver));
    on_every(|mut reactor| {
        let python = receiver.take().expect("backends come one by one");
        for (length, (own, options, host, arrives)) in (1..).zip(cases) {
            let socket = bind(&format!("udp://{own}:0"), options);
            if ip(host).is_multicast() {
                socket.set_multicast_interface("near").expect("it is there");
            }
            let is_v4 = ip(host).is_ipv4() || host == mapped;
            let port = python.ports[usize::from(!is_v4)];
            let service = Writer::unasked([(Some(Peer::from(at(host, port))), length)]);
            let before = reactor.counters();
            let token =
                Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
                    .expect("it registers");
            turn_until_sent(&mut reactor, before, 1);
            reactor.cx().close(token);
            // One that does not arrive would be the next line.
            if let Some((hops, code_point)) = arrives {
                let expected = [length as u32, hops, code_point << 2];
                let got: Vec<u32> = python.numbers().collect();
                assert_eq!(got, expected, "from {own} to {host}");
            }
        }
        receiver.set(Some(python));
    });
}

#[test]
fn a_full_send_buffer_stops_receiving_and_loses_nothing() {
    if !testkit::in_namespace(
        "network::a_full_send_buffer_stops_receiving_and_loses_nothing",
        NETWORK,
    ) {
        return;
    }
    const COUNT: usize = 1000;
    let limits = Limits { output_high: 20_000, output_low: 5000, ..Limits::DEFAULT };
    let number = Cell::new(10);
    on_every(|mut reactor| {
        // What is sent there stays in the send buffer until the link address is known.
        let unknown = format!("10.99.0.{}", number.replace(number.get() + 1));
        let answers = vec![(Some(Peer::from(at(&unknown, 9))), 1000); COUNT];
        let service = Writer { answers, ..Writer::default() };
        let options = DatagramOptions { send_buffer: Some(20_000), ..DatagramOptions::default() };
        let socket = bind("udp://10.99.0.1:0", &options);
        let Address::Udp(address) = *socket.address() else { unreachable!("it is UDP") };
        Datagrams::serve(socket, Bytes, service, limits, &mut reactor.cx()).expect("it registers");
        let client = client("10.99.0.2");
        client.send_to(b"go", address).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_received == 1);
        client.send_to(b"go", address).expect("it is sent");
        for _ in 0..5 {
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        }
        let before = reactor.counters();
        for _ in 0..5 {
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        }
        let full = reactor.counters();
        assert_eq!((full.runs, full.idle_spins), (before.runs, 0), "it does not sleep: {full}");
        assert_eq!(full.datagrams_received, 1, "it is full");
        assert!(full.datagrams_sent < COUNT as u64, "the buffer is larger than expected: {full}");
        let mut add = Command::new("ip");
        add.args(["neigh", "replace", &unknown, "lladdr", "02:00:00:00:00:02", "dev", "near"]);
        assert!(add.status().expect("it runs").success());
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent == 2 * COUNT as u64);
        turn_until(&mut reactor, |reactor| reactor.app.drained == 2);
        let counters = reactor.counters();
        assert_eq!((counters.datagrams_unsent, counters.datagrams_undelivered), (0, 0));
    });
}

/// Returns how many packets the other end of the device has received.
fn packets() -> u64 {
    let text = fs::read_to_string("/proc/net/dev").expect("it can be read");
    let row = text.lines().find_map(|line| line.trim().strip_prefix("far:")).expect("it is there");
    let count = row.split_whitespace().nth(1).expect("it is the second column");
    count.parse().expect("it is a number")
}

#[test]
fn datagrams_that_the_path_does_not_take_in_one_piece_are_sent_one_by_one() {
    let name = "network::datagrams_that_the_path_does_not_take_in_one_piece_are_sent_one_by_one";
    if !testkit::in_namespace(name, NETWORK) {
        return;
    }
    let mut add = Command::new("ip");
    add.args(["neigh", "replace", "10.99.0.9", "lladdr", "02:00:00:00:00:02", "dev", "near"]);
    assert!(add.status().expect("it runs").success());
    on_every(|mut reactor| {
        let target = Some(Peer::from(at("10.99.0.9", 9)));
        let mut send = |lengths: &[usize]| {
            let before = (reactor.counters(), packets());
            let socket = bind("udp://10.99.0.1:0", &DatagramOptions::default());
            let letters = lengths.iter().cycle().take(20).map(|it| (target.clone(), *it));
            let service = Writer::unasked(letters);
            let token =
                Datagrams::serve(socket, Bytes, service, Limits::DEFAULT, &mut reactor.cx())
                    .expect("it registers");
            turn_until_sent(&mut reactor, before.0, 20);
            reactor.cx().close(token);
            let after = reactor.counters();
            assert_eq!((after.datagrams_unsent, after.datagrams_undelivered), (0, 0));
            (after.writes - before.0.writes, packets() - before.1)
        };
        let (writes, packets) = send(&[1400]);
        assert_eq!(writes, 1);
        assert!(packets > 0);
        // Together they are refused. Each is sent in three fragments.
        let (writes, packets) = send(&[3000]);
        assert_eq!(writes, 2);
        assert!(packets >= 60, "{packets} packets");
        // The first of two decides, although the last of a piece may be shorter.
        let (writes, packets) = send(&[3000, 100]);
        assert_eq!(writes, 2);
        assert!(packets >= 40, "{packets} packets");
    });
}
