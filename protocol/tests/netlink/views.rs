//! Views of messages: what they read, and what they refuse.

use std::time::Instant;

use proptest::prelude::*;
use protocol::netlink::{
    Address, AddressFlags, BridgeEntry, Fault, FollowLimits, Follower, Link, LinkFlags,
    MessageError, Messages, Neighbour, NeighbourFlags, NeighbourState, OperationalState, Realms,
    Route, Selection,
};

use crate::kernel::{PORT, address, attribute, link, message, neighbour, route};

/// A link with everything that a view has.
fn whole_link() -> Vec<u8> {
    let mut body = vec![0, 0, 1, 0, 7, 0, 0, 0, 0x43, 0x10, 1, 0, 0, 0, 0, 0];
    body[4..8].copy_from_slice(&7_u32.to_ne_bytes());
    body[8..12].copy_from_slice(&0x0001_1043_u32.to_ne_bytes());
    attribute(&mut body, 3, b"eth7\0");
    attribute(&mut body, 1, &[2, 0, 0, 0, 0, 7]);
    attribute(&mut body, 2, &[0xff; 6]);
    attribute(&mut body, 54, &[2, 0, 0, 0, 0, 8]);
    for (number, value) in [(4, 1500_u32), (5, 9), (10, 3), (13, 1000), (27, 4), (37, 2), (44, 1)] {
        attribute(&mut body, number, &value.to_ne_bytes());
    }
    attribute(&mut body, 6, b"noqueue\0");
    attribute(&mut body, 16, &[6]);
    attribute(&mut body, 17, &[1]);
    attribute(&mut body, 20, b"to the cellar\0");
    attribute(&mut body, 39, &[1]);
    let mut names = Vec::new();
    attribute(&mut names, 53, b"enp7s0\0");
    attribute(&mut names, 53, b"cellar\0");
    // The bit that marks nested attributes is no part of the number.
    attribute(&mut body, 52 | 0x8000, &names);
    body
}

/// A route with everything that a view has.
fn whole_route() -> Vec<u8> {
    let mut body = vec![2, 16, 0, 0, 254, 4, 0, 1];
    body.extend(0x10_u32.to_ne_bytes());
    attribute(&mut body, 15, &77_u32.to_ne_bytes());
    attribute(&mut body, 1, &[10, 9, 0, 0]);
    attribute(&mut body, 7, &[10, 1, 0, 1]);
    attribute(&mut body, 6, &5_u32.to_ne_bytes());
    let mut metrics = Vec::new();
    attribute(&mut metrics, 2, &1400_u32.to_ne_bytes());
    attribute(&mut body, 8, &metrics);
    let mut hops = Vec::new();
    for (output, last) in [(4_u32, 2), (5, 3)] {
        let mut hop = vec![0, 0, 0, last - 2];
        hop[..2].copy_from_slice(&24_u16.to_ne_bytes());
        hop.extend(output.to_ne_bytes());
        attribute(&mut hop, 5, &[10, 1, 0, last]);
        attribute(&mut hop, 11, &(0x6_0000_u32 + output).to_ne_bytes());
        hops.extend(hop);
    }
    attribute(&mut body, 9, &hops);
    attribute(&mut body, 11, &0x3_0004_u32.to_ne_bytes());
    attribute(&mut body, 20, &[1]);
    attribute(&mut body, 12, &[0; 32]);
    body
}

#[test]
fn a_link_is_read() {
    let body = whole_link();
    let link = Link::parse(&body).expect("it is right");
    assert_eq!((link.index, link.family, link.hardware), (7, 0, 1));
    assert_eq!(link.name, b"eth7");
    assert!(link.flags.contains(LinkFlags::UP) && link.flags.contains(LinkFlags::RUNNING));
    assert_eq!(link.address, Some(&[2, 0, 0, 0, 0, 7][..]));
    assert_eq!(link.broadcast, Some(&[0xff; 6][..]));
    assert_eq!(link.permanent_address, Some(&[2, 0, 0, 0, 0, 8][..]));
    assert_eq!((link.mtu, link.link, link.master), (Some(1500), Some(9), Some(3)));
    assert_eq!((link.queue_length, link.group), (Some(1000), Some(4)));
    assert_eq!((link.link_namespace, link.event), (Some(2), Some(1)));
    assert_eq!((link.qdisc, link.mode), (Some(&b"noqueue"[..]), Some(1)));
    assert_eq!(link.state, Some(OperationalState::UP));
    assert_eq!((link.alias, link.protocol_down), (Some(&b"to the cellar"[..]), Some(true)));
    assert!(link.alternative_names().eq([&b"enp7s0"[..], b"cellar"]));
    let other = crate::kernel::link(7, 1400);
    let other = Link::parse(&other).expect("it is right");
    assert!(link.differences(&other).any(|it| it == "mtu"));
    assert!(link == link.clone() && link != other);
}

#[test]
fn an_address_is_read() {
    let body = address(3, 9, "eth3:1");
    let view = Address::parse(&body).expect("it is right").expect("it is of IPv4");
    assert_eq!((view.index, view.local.to_string()), (3, "10.0.0.9".to_owned()));
    assert_eq!((view.prefix_length, view.peer), (24, None));
    assert!(view.flags.contains(AddressFlags::PERMANENT) && view.flags.is_usable());
    assert_eq!(view.label, Some(&b"eth3:1"[..]));
    assert_eq!(view.lifetimes.map(|it| (it.preferred, it.valid)), Some((None, None)));
    // With two ends, and flags of more than eight bits.
    let mut body = vec![10, 64, 0, 0, 3, 0, 0, 0];
    attribute(&mut body, 1, &[1; 16]);
    attribute(&mut body, 2, &[2; 16]);
    attribute(&mut body, 8, &0x140_u32.to_ne_bytes());
    let view = Address::parse(&body).expect("it is right").expect("it is of IPv6");
    assert_eq!(view.local.to_string(), "202:202:202:202:202:202:202:202");
    assert_eq!(
        view.peer.map(|it| it.to_string()).as_deref(),
        Some("101:101:101:101:101:101:101:101")
    );
    assert!(!view.flags.is_usable());
}

#[test]
fn a_route_is_read() {
    let body = whole_route();
    let view = Route::parse(&body).expect("it is right").expect("it is of IPv4");
    assert_eq!((view.table.0, view.metric, view.kind), (77, Some(5), 1));
    assert_eq!(view.destination.map(|it| it.to_string()).as_deref(), Some("10.9.0.0"));
    assert_eq!((view.destination_length, view.preference), (16, Some(1)));
    let hops: Vec<_> = view.hops().map(|it| (it.output, it.gateway, it.weight)).collect();
    let ip = |last| Some([10, 1, 0, last].into());
    assert_eq!(hops, [(4, ip(2), 1), (5, ip(3), 2)]);
    assert!(view.metrics().map(|it| (it.number, it.value())).eq([(2, 1400)]));
    assert_eq!(view.realms, Some(Realms { from: 3, to: 4 }));
    let realms: Vec<_> = view.hops().map(|it| it.realms).collect();
    assert_eq!(realms, [4, 5].map(|to| Some(Realms { from: 6, to })));
    let mut other = body.clone();
    attribute(&mut other, 11, &0x3_0005_u32.to_ne_bytes());
    let other = Route::parse(&other).expect("it is right").expect("it is of IPv4");
    assert!(view.differences(&other).eq(["realms"]));
}

#[test]
fn other_families_are_none_of_ours() {
    assert_eq!(Address::parse(&[45, 0, 0, 0, 0, 0, 0, 0]), Ok(None));
    assert_eq!(Route::parse(&[28, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(None));
}

#[test]
fn lengths_that_are_wrong_are_refused() {
    let fault = |body: &[u8]| Link::parse(body).map(drop).map_err(|it| it.fault);
    let with = |number, content: &[u8]| {
        let mut body = link(1, 1500);
        attribute(&mut body, number, content);
        body
    };
    assert_eq!(fault(&with(4, &[1, 2, 3])), Err(Fault::AttributeSize(4)));
    assert_eq!(fault(&with(16, &[])), Err(Fault::AttributeSize(16)));
    assert_eq!(fault(&with(52, &[9, 0, 0, 0])), Err(Fault::Truncated));
    assert_eq!(fault(&with(52, &[3, 0, 0, 0])), Err(Fault::TooShort));
    assert_eq!(fault(&with(9999, &[3, 0, 0, 0])), Ok(()));
    let mut body = address(1, 1, "a");
    body[1] = 33;
    let error = Address::parse(&body).expect_err("it is too long");
    assert_eq!(error, MessageError { at: 1, fault: Fault::PrefixLength });
    let text = "a prefix of the netlink message is too long (byte 1)";
    assert_eq!(error.to_string(), text);
    assert!(Address::parse(&[2, 24, 0, 0, 1, 0, 0, 0]).is_err(), "there is no address");
    let mut body = address(1, 1, "a");
    attribute(&mut body, 4, &[1, 2, 3, 4, 5]);
    assert!(Address::parse(&body).is_err());
    let mut body = route(1, 1, 1);
    attribute(&mut body, 11, &[1, 2, 3]);
    assert!(Route::parse(&body).is_err(), "realms take four bytes");
    let mut body = route(1, 1, 1);
    attribute(&mut body, 9, &[7, 0, 0, 0, 1, 0, 0, 0]);
    assert!(Route::parse(&body).is_err(), "a next hop is shorter than its header");
}

#[test]
fn bodies_that_end_anywhere_are_refused_or_hold_less() {
    for (body, parse) in [
        (whole_link(), (|it| Link::parse(it).map(drop)) as fn(&[u8]) -> Result<(), MessageError>),
        (address(3, 9, "eth3"), |it| Address::parse(it).map(drop)),
        (whole_route(), |it| Route::parse(it).map(drop)),
    ] {
        assert_eq!(parse(&body), Ok(()));
        for size in 0..body.len() {
            if let Err(error) = parse(&body[..size]) {
                assert!(error.at <= size, "{error} of {size}");
            }
        }
    }
}

#[test]
fn datagrams_that_end_anywhere_yield_the_messages_before() {
    let parts = [
        message(16, 2, 1, 9, &link(1, 1500)),
        message(20, 0, 0, 0, &address(1, 2, "a")),
        message(3, 2, 1, 9, &[0; 4]),
    ];
    let whole = parts.concat();
    let ends = [parts[0].len(), parts[0].len() + parts[1].len(), whole.len()];
    for size in 0..=whole.len() {
        let messages: Vec<_> = Messages::new(&whole[..size]).collect();
        let right = messages.iter().filter(|it| it.is_ok()).count();
        assert_eq!(right, ends.iter().filter(|end| **end <= size).count(), "{size} bytes");
        let is_at_an_end = size == 0 || ends.contains(&size);
        assert_eq!(messages.iter().any(|it| it.is_err()), !is_at_an_end, "{size} bytes");
    }
    let mut short = parts[2].clone();
    short[..4].copy_from_slice(&15_u32.to_ne_bytes());
    assert!(matches!(Messages::new(&short).next(), Some(Err(it)) if it.fault == Fault::TooShort));
}

/// Reads everything that bytes have, in each way.
fn read_all(bytes: &[u8]) {
    if let Ok(link) = Link::parse(bytes) {
        assert_eq!(link, link.clone());
        let _ = link.alternative_names().count();
    }
    if let Ok(Some(address)) = Address::parse(bytes) {
        assert_eq!(address, address.clone());
    }
    if let Ok(Some(route)) = Route::parse(bytes) {
        assert_eq!(route, route.clone());
        let _ =
            (route.hops().count(), route.metrics().map(|it| u64::from(it.value())).sum::<u64>());
    }
    if let Ok(Some(neighbour)) = Neighbour::parse(bytes) {
        assert_eq!(neighbour, neighbour.clone());
    }
    if let Ok(Some(entry)) = BridgeEntry::parse(bytes) {
        assert_eq!(entry, entry.clone());
    }
    let mut follower = Follower::new(Selection::ALL, FollowLimits::DEFAULT, PORT);
    let now = Instant::now();
    for _ in 0..3 {
        let _ = follower.next(now);
        let _ = follower.datagram(bytes, now, &mut |_, _| {});
        while follower.is_sweeping() {
            follower.sweep(1, &mut |_, _| {});
        }
    }
}

#[test]
fn a_view_of_a_neighbour_has_what_its_message_says() {
    let body = neighbour(7, 0x04);
    let view = Neighbour::parse(&body).expect("it is right").expect("it is of IPv4");
    assert_eq!((view.index, view.address.to_string()), (1, "10.0.0.7".to_owned()));
    assert_eq!(view.hardware_address, Some(&[2, 0, 0, 0, 0, 7][..]));
    assert_eq!((view.state, view.flags), (NeighbourState::STALE, NeighbourFlags::ROUTER));
    assert_eq!(view.protocol, None);
    // An entry of a bridge is another thing.
    let mut of_bridge = body.clone();
    of_bridge[0] = 7;
    assert_eq!(Neighbour::parse(&of_bridge), Ok(None));
    assert!(Neighbour::parse(&body[..11]).is_err());
    assert!(Neighbour::parse(&body[..12]).is_err(), "it has no address");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
    }

    #[test]
    fn messages_with_some_bytes_changed_are_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let datagram = [
            message(16, 2, 1, PORT, &whole_link()),
            message(20, 0, 0, 0, &address(1, 2, "a")),
            message(24, 2, 1, PORT, &whole_route()),
            message(28, 0, 0, 0, &neighbour(1, 2)),
            message(3, 2, 1, PORT, &[0; 4]),
        ]
        .concat();
        let mut of_bridge = neighbour(1, 2);
        of_bridge[0] = 7;
        let all = [whole_link(), address(1, 2, "a"), whole_route(), neighbour(1, 2), of_bridge];
        for start in all.into_iter().chain([datagram]) {
            let mut bytes = start;
            for (at, byte) in &changes {
                let place = at.index(bytes.len());
                bytes[place] = *byte;
            }
            read_all(&bytes);
        }
    }
}
