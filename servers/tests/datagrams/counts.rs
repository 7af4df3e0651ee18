//! What is sent, what is answered, and what the kernel drops: the numbers agree.

use std::net::{SocketAddr, UdpSocket};

use testkit::{process, tell, udp_drops, wait_until};

use crate::{BACKENDS, Daemon, ECHO, host_and_port};

/// How many senders there are.
const SENDERS: usize = 1000;
/// How many datagrams the usual test sends on each backend.
const SOME: usize = 40_000;
/// How many the long test sends on the default backend.
const MANY: usize = 2_000_000;
/// How many the long test sends on each of the others.
const MANY_ON_OTHERS: usize = 500_000;
/// More datagrams than the receive buffer of a server has room for: some 11,000.
const BURST: usize = 40_000;

/// Senders of datagrams to one server. Each datagram has a number, and each answer has to be the
/// first to its number, at the socket that has sent it.
struct Senders {
    sockets: Vec<UdpSocket>,
    sent: usize,
    is_answered: Vec<bool>,
    answers: u64,
}

impl Senders {
    fn new(server: SocketAddr) -> Self {
        let socket = |_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
            socket.connect(server).expect("it is there");
            socket.set_nonblocking(true).expect("modes can be set");
            socket
        };
        let sockets = (0..SENDERS).map(socket).collect();
        Self { sockets, sent: 0, is_answered: Vec::new(), answers: 0 }
    }

    /// Sends `count` datagrams, each from the next socket.
    fn send(&mut self, count: usize, mut meanwhile: impl FnMut(&mut Self)) {
        let until = self.sent + count;
        self.is_answered.resize(until, false);
        while self.sent < until {
            // The kernel may have no room for a moment.
            let message = (self.sent as u64).to_ne_bytes();
            if self.sockets[self.sent % SENDERS].send(&message).is_ok() {
                self.sent += 1;
            }
            meanwhile(self);
        }
    }

    /// Takes the answers that wait at a socket.
    fn collect(&mut self, place: usize) {
        let mut buffer = [0; 16];
        while let Ok(length) = self.sockets[place].recv(&mut buffer) {
            let number = buffer.first_chunk().map_or(0, |number| u64::from_ne_bytes(*number));
            let number = usize::try_from(number).expect("it was an index");
            assert_eq!((length, number % SENDERS), (8, place), "it is the answer of another");
            let was_answered = std::mem::replace(&mut self.is_answered[number], true);
            assert!(!was_answered, "datagram {number} is answered twice");
            self.answers += 1;
        }
    }

    fn collect_all(&mut self) {
        (0..SENDERS).for_each(|place| self.collect(place));
    }

    /// Returns how many answers the kernel has dropped.
    fn dropped(&self) -> u64 {
        let own = |socket: &UdpSocket| socket.local_addr().expect("it is bound");
        udp_drops(&self.sockets.iter().map(own).collect::<Vec<_>>())
    }
}

fn start(backend: &str) -> (Daemon, SocketAddr) {
    let args = ["--listen", "udp://127.0.0.1:0", "--backend", backend];
    let server = Daemon::start(&[], ECHO, &args);
    let (host, port) = host_and_port(&server);
    let address = format!("{host}:{port}").parse().expect("it is an address");
    (server, address)
}

/// Waits until everything that was sent is answered or dropped. Checks that the counters of the
/// server, the answers and what the kernel lists about the socket of the server agree. Returns how
/// many datagrams were dropped.
fn settle(server: &Daemon, address: SocketAddr, senders: &mut Senders, what: &str) -> u64 {
    let sent = senders.sent as u64;
    wait_until("the server to have received everything", || {
        senders.collect_all();
        server.counters()["datagrams_received"] + udp_drops(&[address]) >= sent
    });
    let received = server.counters()["datagrams_received"];
    wait_until("all answers", || {
        senders.collect_all();
        senders.answers >= received
    });
    let (counters, dropped) = (server.counters(), udp_drops(&[address]));
    assert_eq!(senders.dropped(), 0, "{what}: the senders have lost answers");
    assert_eq!(sent - senders.answers, dropped, "{what}: lost, and dropped at the socket");
    assert_eq!(counters["datagrams_missed"], dropped, "{what}: the counter of the server");
    assert_eq!((counters["datagrams_received"], counters["datagrams_sent"]), (received, received));
    let failed = ["datagrams_refused", "datagrams_undelivered", "datagrams_unsent"];
    assert_eq!(failed.map(|name| counters[name]), [0; 3], "{what}");
    dropped
}

/// Sends `count` datagrams of many senders as fast as one thread can, and checks what is left.
fn flood(backend: &str, count: usize) {
    let (server, address) = start(backend);
    let mut senders = Senders::new(address);
    senders.send(count, |senders| senders.collect((senders.sent + SENDERS / 2) % SENDERS));
    let dropped = settle(&server, address, &mut senders, backend);
    let answers = senders.answers;
    tell("MEASURED", &format!("{backend}: {count} sent, {answers} answered, {dropped} dropped"));
    assert_eq!(server.stop().0, Some(0));
}

#[test]
fn no_datagram_of_a_thousand_senders_is_lost_that_the_kernel_does_not_count() {
    for backend in BACKENDS {
        flood(backend, SOME);
    }
}

#[test]
#[ignore = "sends 3,500,000 datagrams"]
fn no_datagram_of_two_million_is_lost_that_the_kernel_does_not_count() {
    for backend in BACKENDS {
        flood(backend, if backend == BACKENDS[0] { MANY } else { MANY_ON_OTHERS });
    }
}

#[test]
fn what_arrives_while_a_server_is_stopped_is_kept_or_counted_as_dropped() {
    for backend in BACKENDS {
        let (server, address) = start(backend);
        let mut senders = Senders::new(address);
        senders.send(100, |_| ());
        let before = settle(&server, address, &mut senders, backend);
        assert_eq!(before, 0, "{backend}: the buffer has room for these");
        server.signal("STOP");
        wait_until("the server to be stopped", || process::is_stopped(server.id()));
        senders.send(BURST, |_| ());
        let while_stopped = udp_drops(&[address]);
        assert!(while_stopped > 0, "{backend}: the buffer is larger than expected");
        server.signal("CONT");
        let dropped = settle(&server, address, &mut senders, &format!("{backend}, after a stop"));
        assert_eq!(dropped, while_stopped, "{backend}: more were dropped afterwards");
        // Nothing that follows is lost.
        senders.send(100, |_| ());
        assert_eq!(settle(&server, address, &mut senders, backend), dropped);
        assert_eq!(server.stop().0, Some(0));
    }
}
