//! Unix datagram sockets: names of senders, files, and receivers that do not read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use protocol::Limits;
use reactor::{Address, BackendKind, DatagramOptions, DatagramSocket, LoopLimits, Reactor};
use testkit::Folder;

use crate::common::{PATIENCE, turn_until};
use crate::{Told, on_every, serve_socket};

fn address(path: &Path) -> Address {
    Address::UnixDatagram(path.to_owned())
}

fn bind(path: &Path) -> DatagramSocket {
    DatagramSocket::bind(&address(path), &DatagramOptions::default()).expect("it is free")
}

fn patient(socket: UnixDatagram) -> UnixDatagram {
    socket.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    socket
}

fn receive(client: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 300_000];
    let length = client.recv(&mut buffer).expect("it is answered");
    buffer.truncate(length);
    buffer
}

#[test]
fn senders_with_a_path_or_an_abstract_name_are_answered_and_others_are_counted() {
    on_every(|mut reactor| {
        let folder = Folder::new("dgram");
        let path = folder.path().join("server");
        serve_socket(&mut reactor, bind(&path), Limits::DEFAULT);

        let bound = patient(UnixDatagram::bind(folder.path().join("client")).expect("it is free"));
        bound.send_to(b"by path", &path).expect("it is sent");
        let name = format!("reactor-test-{}-\0-x", std::process::id());
        let name = <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
        let named = patient(UnixDatagram::bind_addr(&name.expect("it is short")).expect("free"));
        named.send_to(b"by name", &path).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent == 2);
        assert_eq!((receive(&bound), receive(&named)), (b"by path".to_vec(), b"by name".to_vec()));
        let peers: Vec<String> = reactor.app.peers.iter().map(ToString::to_string).collect();
        assert_eq!(peers[0], format!("unix-dgram:{}", folder.path().join("client").display()));
        assert!(peers[1].starts_with("unix-dgram:@reactor-test-"), "{peers:?}");
        assert_eq!(reactor.app.peers[0].path(), Some(&*folder.path().join("client")));

        let nameless = UnixDatagram::unbound().expect("a descriptor is free");
        nameless.send_to(b"by nothing", &path).expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_unsent == 1);
        assert!(!reactor.app.peers[2].is_named());
        assert_eq!(reactor.counters().datagrams_sent, 2);
    });
}

#[test]
fn large_and_empty_datagrams_come_back_whole() {
    on_every(|mut reactor| {
        let folder = Folder::new("dgram");
        let path = folder.path().join("server");
        serve_socket(&mut reactor, bind(&path), Limits::DEFAULT);
        let client = patient(UnixDatagram::bind(folder.path().join("client")).expect("it is free"));
        for size in [0, 1, 65_536, 70_000, 150_000] {
            let sent: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
            let before = reactor.counters().datagrams_sent;
            client.send_to(&sent, &path).expect("it fits");
            turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent > before);
            assert!(receive(&client) == sent, "{size} bytes differ");
        }
    });
}

#[test]
fn a_receiver_that_does_not_read_delays_no_other_and_loses_what_it_does_not_read() {
    on_every(|mut reactor| {
        let folder = Folder::new("dgram");
        let path = folder.path().join("server");
        serve_socket(&mut reactor, bind(&path), Limits::DEFAULT);
        let slow = patient(UnixDatagram::bind(folder.path().join("slow")).expect("it is free"));
        let quick = patient(UnixDatagram::bind(folder.path().join("quick")).expect("it is free"));
        let queue = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen");
        let queue: u64 = queue.expect("it can be read").trim().parse().expect("it is a number");
        // As many as its queue takes, and more.
        let sent = (queue + 8).min(64);
        for number in 0..sent {
            slow.send_to(&[number as u8], &path).expect("it is sent");
            turn_until(&mut reactor, |reactor| reactor.counters().datagrams_received == number + 1);
        }
        let before = reactor.counters();
        assert!(before.datagrams_sent < sent || sent == 64, "{before}");
        quick.send_to(b"me", &path).expect("it is sent");
        turn_until(&mut reactor, |reactor| {
            reactor.counters().datagrams_sent > before.datagrams_sent
        });
        assert_eq!(receive(&quick), b"me");
        // When it reads again in time, nothing is lost, and the order is kept.
        let mut got = Vec::new();
        slow.set_nonblocking(true).expect("modes can be set");
        turn_until(&mut reactor, |_| {
            let mut byte = [0];
            while slow.recv(&mut byte).is_ok() {
                got.push(byte[0]);
            }
            got.len() as u64 == sent
        });
        assert!(got.iter().copied().eq(0..sent as u8), "{got:?}");
        assert_eq!(reactor.counters().datagrams_unsent, 0);

        // When it does not, the loop sleeps meanwhile and drops the answers after a second.
        for number in 0..sent {
            slow.send_to(&[number as u8], &path).expect("it is sent");
            turn_until(&mut reactor, |reactor| {
                reactor.counters().datagrams_received == sent + 1 + number + 1
            });
        }
        let before = reactor.counters();
        turn_until(&mut reactor, |reactor| {
            let counters = reactor.counters();
            counters.datagrams_sent + counters.datagrams_unsent == 2 * sent + 1
        });
        let after = reactor.counters();
        assert!(after.turns - before.turns < 2000, "it spins: {after}");
        assert_eq!(after.idle_spins, 0);
        let unsent = reactor.app.failures.iter().filter(|it| it.contains("too slow")).count();
        assert_eq!(unsent as u64, after.datagrams_unsent);
    });
}

#[test]
fn a_receiver_that_is_gone_is_reported() {
    on_every(|mut reactor| {
        let folder = Folder::new("dgram");
        let path = folder.path().join("server");
        serve_socket(&mut reactor, bind(&path), Limits::DEFAULT);
        let gone = UnixDatagram::bind(folder.path().join("gone")).expect("it is free");
        gone.send_to(b"bye", &path).expect("it is sent");
        drop(gone);
        turn_until(&mut reactor, |reactor| reactor.counters().datagrams_undelivered == 1);
        let own = format!("unix-dgram:{}", folder.path().join("gone").display());
        let failure = &reactor.app.failures[0];
        assert!(failure.starts_with(&own) && failure.contains("refused"), "{failure}");
    });
}

#[test]
fn the_file_is_removed_with_its_socket_and_a_stale_one_is_replaced() {
    let folder = Folder::new("dgram");
    let path = folder.path().join("server");
    let options = DatagramOptions { unix_mode: Some(0o620), ..DatagramOptions::default() };
    let socket = DatagramSocket::bind(&address(&path), &options).expect("it is free");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o620);
    let error = DatagramSocket::bind(&address(&path), &options).expect_err("it is in use");
    assert!(error.to_string().contains("listens there"), "{error}");
    drop(socket);
    assert!(!path.exists(), "the file was left behind");

    drop(UnixDatagram::bind(&path).expect("it is free"));
    assert!(path.exists(), "the standard library leaves it");
    drop(bind(&path));
    fs::write(&path, "x").expect("the folder is writable");
    let error = DatagramSocket::bind(&address(&path), &options).expect_err("it is a file");
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert!(path.exists(), "a file of another kind was removed");
}

#[test]
fn a_client_has_a_path_of_its_own_and_removes_it() {
    on_every(|mut reactor| {
        let folder = Folder::new("dgram");
        let path = folder.path().join("server");
        let server = patient(UnixDatagram::bind(&path).expect("it is free"));
        let options = DatagramOptions {
            local: Some(address(&folder.path().join("client"))),
            ..DatagramOptions::default()
        };
        for options in [DatagramOptions::default(), options] {
            let client = DatagramSocket::connect(&address(&path), &options).expect("it is there");
            let Address::UnixDatagram(own) = client.address().clone() else {
                unreachable!("it is a Unix socket")
            };
            let mode = fs::metadata(&own).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o666, "the server may be another user");
            let before = reactor.counters();
            let token = serve_socket(&mut reactor, client, Limits::DEFAULT);
            server.send_to(b"question", &own).expect("it is sent");
            turn_until(&mut reactor, |reactor| {
                reactor.counters().datagrams_sent > before.datagrams_sent
            });
            assert_eq!(receive(&server), b"question");
            let stranger = UnixDatagram::unbound().expect("a descriptor is free");
            assert!(stranger.send_to(b"x", &own).is_err(), "only the server may send to it");
            reactor.cx().close(token);
            turn_until(&mut reactor, |reactor| reactor.counters().live() == 0);
            assert!(!own.exists(), "the file was left behind");
        }
        let nowhere = address(&folder.path().join("none"));
        let error = DatagramSocket::connect(&nowhere, &DatagramOptions::default());
        let error = error.expect_err("there is none").to_string();
        assert!(error.contains("cannot send datagrams to unix-dgram:"), "{error}");
        let left = fs::read_dir(std::env::temp_dir()).expect("it can be read");
        let own = format!("reactor-{}-", std::process::id());
        let is_ours = |name: String| name.starts_with(&own) && name.ends_with(".sock");
        let left = left.filter(|it| {
            is_ours(it.as_ref().expect("it is there").file_name().to_string_lossy().into_owned())
        });
        assert_eq!(left.count(), 0, "a file was left behind");
    });
}

#[test]
fn a_connected_sender_waits_for_a_receiver_that_is_full() {
    for kind in BackendKind::ALL {
        let folder = Folder::new("dgram");
        let path = folder.path().join("server");
        let server = patient(UnixDatagram::bind(&path).expect("it is free"));
        let backend = kind.open().expect("the backend opens");
        let mut reactor = Reactor::with_backend(backend, LoopLimits::DEFAULT, Told::default())
            .expect("the reactor opens");
        let socket = DatagramSocket::connect(&address(&path), &DatagramOptions::default())
            .expect("it is there");
        let Address::UnixDatagram(own) = socket.address().clone() else {
            unreachable!("it is a Unix socket")
        };
        serve_socket(&mut reactor, socket, Limits::DEFAULT);
        for number in 0..64_u8 {
            server.send_to(&[number], &own).expect("it is sent");
            turn_until(&mut reactor, |reactor| {
                reactor.counters().datagrams_received == u64::from(number) + 1
            });
        }
        let before = reactor.counters();
        for _ in 0..5 {
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        }
        assert_eq!(reactor.counters().runs, before.runs, "{kind}: it does not sleep");
        for number in 0..64 {
            turn_until(&mut reactor, |reactor| reactor.counters().datagrams_sent > number);
            assert_eq!(receive(&server), [number as u8], "{kind}");
        }
        assert_eq!(reactor.counters().datagrams_unsent, 0);
    }
}
