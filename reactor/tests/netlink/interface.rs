//! The addresses of one interface come and go.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use reactor::{InterfaceEvent, Reactor};
use testkit::in_namespace;

use crate::common::turn_until;
use crate::ip::run;

#[derive(Default)]
struct Addresses {
    now: BTreeSet<SocketAddr>,
    is_complete: bool,
}

/// Returns whether the addresses are these, of port 53.
fn are(reactor: &Reactor<Addresses>, expected: &[&str]) -> bool {
    let expected = expected.iter().map(|it| it.parse().expect("it is an address"));
    reactor.app.now == expected.collect()
}

#[test]
fn the_addresses_of_an_interface_are_followed() {
    let test = "interface::the_addresses_of_an_interface_are_followed";
    if !in_namespace(test, "ip link set lo up") {
        return;
    }
    let mut reactor = Reactor::new(Addresses::default()).expect("the reactor opens");
    let watched = reactor.cx().watch_interface("v0", |event, cx| match event {
        InterfaceEvent::Added(it) => {
            let address = it.with_port(53);
            // The kernel agrees that it can be used.
            std::net::UdpSocket::bind(address).expect("it is an address of this machine");
            assert!(cx.app.now.insert(address), "{address} twice");
        }
        InterfaceEvent::Removed(it) => assert!(cx.app.now.remove(&it.with_port(53))),
        InterfaceEvent::Complete => cx.app.is_complete = true,
        InterfaceEvent::Ended(reason) => assert_eq!(reason.to_string(), "stopped"),
    });
    watched.expect("there is a socket");
    turn_until(&mut reactor, |it| it.app.is_complete);
    assert!(are(&reactor, &[]));
    run("link add v0 type veth peer name v1");
    run("link set v0 addrgenmode none");
    run("addr add 10.1.0.1/24 dev v0");
    run("addr add 10.2.0.1/24 dev v1");
    turn_until(&mut reactor, |it| are(it, &["10.1.0.1:53"]));
    run("link set v1 up");
    run("link set v0 up");
    run("addr add fd00::1/64 dev v0 nodad");
    turn_until(&mut reactor, |it| are(it, &["10.1.0.1:53", "[fd00::1]:53"]));
    // It is checked for a second: until then, no socket can be bound to it.
    run("addr add fd00::2/64 dev v0");
    turn_until(&mut reactor, |it| are(it, &["10.1.0.1:53", "[fd00::1]:53", "[fd00::2]:53"]));
    run("addr del 10.1.0.1/24 dev v0");
    run("addr del fd00::2/64 dev v0");
    turn_until(&mut reactor, |it| are(it, &["[fd00::1]:53"]));
    run("addr add fe80::1/64 dev v0 nodad");
    let index = std::fs::read_to_string("/sys/class/net/v0/ifindex");
    // The file system of another namespace may be mounted there.
    let local = reactor.app.now.len();
    turn_until(&mut reactor, |it| it.app.now.len() == local + 1);
    let is_scoped = |it: &SocketAddr| matches!(it, SocketAddr::V6(it) if it.scope_id() != 0);
    assert!(reactor.app.now.iter().any(is_scoped), "{:?} {index:?}", reactor.app.now);
    run("addr del fe80::1/64 dev v0");
    // The name goes to another interface.
    run("link set v0 down");
    run("link set v0 name old");
    turn_until(&mut reactor, |it| are(it, &[]));
    run("link set v1 down");
    run("link set v1 name v0");
    turn_until(&mut reactor, |it| are(it, &["10.2.0.1:53"]));
    run("link del v0");
    turn_until(&mut reactor, |it| are(it, &[]));
}
