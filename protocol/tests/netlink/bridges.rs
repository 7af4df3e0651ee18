//! Entries of bridges, which are passed on.

use std::time::Instant;

use protocol::netlink::{
    BridgeEntry, Event, FollowLimits, Follower, NeighbourState, Network, Next, Presence, Selection,
};

use crate::kernel::{PORT, attribute, message};

/// Returns what a message says about an entry of a bridge.
fn entry(vlan: &[u8]) -> Vec<u8> {
    let mut body = vec![7, 0, 0, 0];
    body.extend(5_u32.to_ne_bytes());
    body.extend(NeighbourState::NO_ARP.0.to_ne_bytes());
    body.extend([0, 0]);
    attribute(&mut body, 2, &[2, 0, 0, 0, 0, 9]);
    attribute(&mut body, 5, vlan);
    attribute(&mut body, 9, &3_u32.to_ne_bytes());
    body
}

#[test]
fn an_entry_of_a_bridge_is_passed_on_and_no_part_of_the_state() {
    let selection = Selection { neighbours: true, ..Selection::NONE };
    let mut follower = Follower::new(selection, FollowLimits::DEFAULT, PORT);
    let now = Instant::now();
    let Next::Send(_) = follower.next(now) else { panic!("it asks") };
    let mut seen = Vec::new();
    let mut call = |event: Event<'_>, network: &Network| {
        assert_eq!(network.neighbours().count(), 0);
        let Event::BridgeEntry(entry, presence) = event else { panic!("{event:?}") };
        assert_eq!(entry.hardware_address, Some(&[2, 0, 0, 0, 0, 9][..]));
        assert_eq!((entry.index, entry.state), (5, NeighbourState::NO_ARP));
        assert_eq!((entry.vlan, entry.master), (Some(77), Some(3)));
        seen.push(presence);
    };
    for kind in [28, 29] {
        let datagram = message(kind, 0, 0, 0, &entry(&77_u16.to_ne_bytes()));
        follower.datagram(&datagram, now, &mut call).expect("it is right");
    }
    assert_eq!(seen, [Presence::Here, Presence::Gone]);
}

#[test]
fn entries_that_differ_in_their_destination_are_different() {
    let with = |destination: &[u8]| {
        let mut body = entry(&77_u16.to_ne_bytes());
        attribute(&mut body, 1, destination);
        body
    };
    let (four, other, six) = (with(&[192, 0, 2, 4]), with(&[192, 0, 2, 5]), with(&[0x20; 16]));
    let plain = entry(&[0; 2]);
    let parse = |body| BridgeEntry::parse(body).expect("it is right").expect("it is of a bridge");
    let destination = |body| parse(body).destination.map(|it| it.to_string());
    assert_eq!(destination(&four).as_deref(), Some("192.0.2.4"));
    assert_eq!(destination(&six).as_deref(), Some("2020:2020:2020:2020:2020:2020:2020:2020"));
    assert_eq!(destination(&plain), None);
    assert_ne!(parse(&four), parse(&other));
    for size in [0, 3, 5, 15, 17] {
        assert!(BridgeEntry::parse(&with(&vec![1; size])).is_err(), "{size}");
    }
}

#[test]
fn an_entry_of_a_bridge_with_a_wrong_length_is_refused() {
    assert_eq!(BridgeEntry::parse(&crate::kernel::neighbour(1, 2)), Ok(None));
    let whole = entry(&77_u16.to_ne_bytes());
    for length in [0, 11, 13, 15, 18, 25] {
        assert!(BridgeEntry::parse(&whole[..length]).is_err(), "{length}");
    }
    assert!(BridgeEntry::parse(&entry(&[7])).is_err());
}
