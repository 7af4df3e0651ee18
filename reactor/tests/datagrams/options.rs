//! Settings of sockets: the kernel has what was set.

use std::fs;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use protocol::Limits;
use protocol::codecs::Bytes;
use reactor::{Address, DatagramOptions, DatagramSocket, Datagrams, Reactor};
use testkit::Folder;

use crate::{Echo, Told, bind};

/// Prints the options of the socket that it gets as its standard input: pairs of a level and a
/// name, both as the module `socket` has them or as numbers.
const READER: &str = r#"
import socket, sys
s = socket.socket(fileno=0)
number = lambda word: int(word) if word.isdigit() else getattr(socket, word)
for level, name in zip(sys.argv[1::2], sys.argv[2::2]):
    print(s.getsockopt(number(level), number(name)))
"#;

/// Returns what the kernel says about options of a socket.
fn read_back(socket: &impl AsFd, options: &[(&str, &str)]) -> Vec<usize> {
    let descriptor = socket.as_fd().try_clone_to_owned().expect("a descriptor is free");
    let words = options.iter().flat_map(|(level, name)| [level, name]);
    let mut python = Command::new("python3");
    python.args(["-c", READER]).args(words).stdin(Stdio::from(descriptor));
    let output = python.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it is text");
    text.lines().map(|line| line.parse().expect("it is a number")).collect()
}

/// A limit of the system, in bytes.
fn system(name: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/sys/net/core/{name}")).expect("it can be read");
    text.trim().parse().expect("it is a number")
}

const RECEIVE_BUFFER: (&str, &str) = ("SOL_SOCKET", "SO_RCVBUF");
const SEND_BUFFER: (&str, &str) = ("SOL_SOCKET", "SO_SNDBUF");
/// Options of sockets of UDP over IPv4: names that are not in the module are numbers.
const OF_IPV4: [(&str, &str); 8] = [
    ("SOL_SOCKET", "SO_BROADCAST"),
    ("SOL_SOCKET", "SO_REUSEPORT"),
    ("SOL_IP", "IP_TTL"),
    ("SOL_IP", "IP_TOS"),
    ("SOL_IP", "IP_MULTICAST_TTL"),
    ("SOL_IP", "IP_MULTICAST_LOOP"),
    // IP_PKTINFO and IP_RECVERR.
    ("SOL_IP", "8"),
    ("SOL_IP", "11"),
];
const OF_IPV6: [(&str, &str); 7] = [
    ("IPPROTO_IPV6", "IPV6_V6ONLY"),
    ("IPPROTO_IPV6", "IPV6_UNICAST_HOPS"),
    ("IPPROTO_IPV6", "IPV6_TCLASS"),
    ("IPPROTO_IPV6", "IPV6_MULTICAST_HOPS"),
    ("IPPROTO_IPV6", "IPV6_MULTICAST_LOOP"),
    ("IPPROTO_IPV6", "IPV6_RECVPKTINFO"),
    // IPV6_RECVERR.
    ("IPPROTO_IPV6", "25"),
];
/// SO_RXQ_OVFL.
const MISSED: (&str, &str) = ("SOL_SOCKET", "40");
/// UDP_GRO.
const COALESCING: (&str, &str) = ("IPPROTO_UDP", "104");

fn all() -> DatagramOptions {
    DatagramOptions {
        hops: Some(7),
        multicast_hops: Some(3),
        multicast_loop: Some(false),
        broadcast: true,
        dscp: Some(46),
        reuse_port: true,
        dual_stack: true,
        ..DatagramOptions::default()
    }
}

#[test]
fn the_kernel_has_the_options_that_were_set_and_its_own_otherwise() {
    if !testkit::has_peer("python3") {
        return;
    }
    let usual = DatagramOptions::default();
    let read = |address: &str, options: &DatagramOptions, names: &[(&str, &str)]| {
        read_back(&bind(address, options), names)
    };
    assert_eq!(read("udp://127.0.0.1:0", &usual, &OF_IPV4), [0, 0, 64, 0, 1, 1, 0, 1]);
    assert_eq!(read("udp://127.0.0.1:0", &all(), &OF_IPV4), [1, 1, 7, 184, 3, 0, 0, 1]);
    assert_eq!(read("udp://0.0.0.0:0", &usual, &OF_IPV4), [0, 0, 64, 0, 1, 1, 1, 1]);
    assert_eq!(read("udp://0.0.0.0:0", &usual, &[MISSED]), [1]);
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        testkit::tell("SKIPPED", "this machine has no IPv6");
        return;
    }
    assert_eq!(read("udp://[::1]:0", &usual, &OF_IPV6), [1, 64, 0, 1, 1, 0, 1]);
    assert_eq!(read("udp://[::]:0", &all(), &OF_IPV6), [0, 7, 184, 3, 0, 1, 1]);
    // What it sends to IPv4 has them too. The address asked comes with IPV6_RECVPKTINFO.
    assert_eq!(read("udp://[::]:0", &all(), &OF_IPV4), [1, 1, 7, 184, 3, 0, 0, 1]);

    // A connected socket has them as well, apart from those of binding.
    let server = bind("udp://[::1]:0", &usual);
    let client = DatagramSocket::connect(server.address(), &all()).expect("it is there");
    assert_eq!(read_back(&client, &OF_IPV6)[1..], [7, 184, 3, 0, 0, 1]);
    assert_eq!(read_back(&client, &[MISSED]), [1]);
}

#[test]
fn buffers_have_the_sizes_that_were_asked_for_up_to_the_limit_of_the_system() {
    if !testkit::has_peer("python3") {
        return;
    }
    let folder = Folder::new("options");
    let unix = format!("unix-dgram:{}", folder.file("server"));
    let names = [RECEIVE_BUFFER, SEND_BUFFER];
    for address in ["udp://127.0.0.1:0", &unix] {
        let read = |receive_buffer, send_buffer| {
            let options =
                DatagramOptions { receive_buffer, send_buffer, ..DatagramOptions::default() };
            read_back(&bind(address, &options), &names)
        };
        assert_eq!(read(None, None), [system("rmem_default"), system("wmem_default")]);
        // The kernel doubles them for its own needs.
        assert_eq!(read(Some(100_000), Some(50_000)), [200_000, 100_000]);
        let most = [2 * system("rmem_max"), 2 * system("wmem_max")];
        assert_eq!(read(Some(1 << 30), Some(usize::MAX)), most);
    }
}

#[test]
fn datagrams_are_received_together_only_if_that_was_asked_for_and_whole_ones_fit() {
    if !testkit::has_peer("python3") {
        return;
    }
    for (coalesced, message_size_max, expected) in
        [(false, 65_535, 0), (true, 65_535, 1), (true, 65_534, 0)]
    {
        let mut reactor = Reactor::new(Told::default()).expect("it opens");
        let options = DatagramOptions { coalesced, ..DatagramOptions::default() };
        let socket = bind("udp://127.0.0.1:0", &options);
        let again = socket.try_clone().expect("a descriptor is free");
        let limits = Limits { message_size_max, ..Limits::DEFAULT };
        Datagrams::serve(socket, Bytes, Echo, limits, &mut reactor.cx()).expect("it registers");
        assert_eq!(read_back(&again, &[COALESCING]), [expected]);
    }
}

#[test]
fn nonsense_is_refused() {
    let refused = |address: &str, options: &DatagramOptions| {
        let address: Address = address.parse().expect("it is an address");
        DatagramSocket::bind(&address, options).expect_err("it is nonsense").to_string()
    };
    let dscp = DatagramOptions { dscp: Some(64), ..DatagramOptions::default() };
    assert!(refused("udp://127.0.0.1:0", &dscp).contains("0 to 63"));
    let hops = DatagramOptions { hops: Some(0), ..DatagramOptions::default() };
    let error = refused("udp://127.0.0.1:0", &hops);
    assert!(error.contains("IP_TTL"), "{error}");
    let error = refused("127.0.0.1:0", &DatagramOptions::default());
    assert!(error.contains("use Listener or Connector"), "{error}");
    let error = refused("udp://10.255.255.1:7", &DatagramOptions::default());
    assert!(error.contains("this machine does not have that address"), "{error}");
    let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
    let taken = refused(&socket.address().to_string(), &all());
    assert!(taken.contains("another socket has that port"), "{taken}");
}

#[test]
fn sockets_share_a_port_if_all_of_them_ask_for_it() {
    let first = bind("udp://127.0.0.1:0", &all());
    let second = bind(&first.address().to_string(), &all());
    assert_eq!(first.address(), second.address());
    let peers = [(); 2].map(|()| bind("udp://127.0.0.1:0", &DatagramOptions::default()));
    let local = Some(first.address().clone());
    let [one, other] = peers.each_ref().map(|peer| {
        let options = DatagramOptions { local: local.clone(), ..all() };
        DatagramSocket::connect(peer.address(), &options).expect("it shares the port")
    });
    assert_eq!((one.address(), other.address()), (first.address(), first.address()));
    let alone = DatagramOptions { local, ..DatagramOptions::default() };
    let error = DatagramSocket::connect(peers[0].address(), &alone).expect_err("it is taken");
    assert!(error.to_string().contains("another socket has that port"), "{error}");
    let folder = Folder::new("options");
    let unix = Address::UnixDatagram(folder.path().join("server"));
    let error = DatagramSocket::bind(&unix, &all()).expect_err("it cannot be shared");
    assert!(error.to_string().contains("clone the socket instead"), "{error}");
}
