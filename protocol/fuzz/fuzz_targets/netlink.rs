//! Reads any input as datagrams of the kernel about the network. The known state has each thing once.

#![no_main]

use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use protocol::netlink::{FollowLimits, Follower, Selection};

fuzz_target!(|input: &[u8]| {
    let now = Instant::now();
    let mut follower = Follower::new(Selection::ALL, FollowLimits::DEFAULT, 1);
    for datagram in input.chunks(512) {
        let _ = follower.next(now);
        if follower.datagram(datagram, now, &mut |_, _| {}).is_err() {
            break;
        }
        while follower.is_sweeping() {
            follower.sweep(3, &mut |_, _| {});
        }
    }
    let mut before = None;
    for link in follower.network().links() {
        assert!(before < Some(link.index), "link {} is there twice", link.index);
        before = Some(link.index);
        assert!(follower.network().link(link.index).is_some_and(|it| it == link));
    }
    let addresses = follower.network().addresses().count();
    let of_links = follower.network().links().map(|it| it.index);
    let with_link: usize = of_links.map(|it| follower.network().addresses_of(it).count()).sum();
    assert!(with_link <= addresses);
    for route in follower.network().routes() {
        let _ = (route.hops().count(), route.metrics().count());
    }
});
