//! A follower of a kernel that changes all the time and loses messages ends in the state of that kernel, and its
//! events lead there (P30).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::netlink::{Change, Event, FollowLimits, Follower, Network, Next, Selection};

use crate::kernel::{Kernel, Key, PORT, message, route};

/// The state as the events tell it.
#[derive(Default)]
struct Told {
    entries: BTreeMap<Key, String>,
    completions: usize,
    overruns: usize,
}

impl Told {
    fn take(&mut self, event: Event<'_>, network: &Network) {
        match event {
            Event::Link(change) => {
                self.note(change, |it| ((0, it.index), format!("{:?} {:?}", it.name, it.mtu)))
            }
            Event::Address(change) => self.note(change, |it| {
                ((1, last_of(it.local)), format!("{} {:?}", it.index, it.label))
            }),
            Event::Route(change) => self.note(change, |it| {
                let third = it.destination.map_or(0, third_of);
                ((2, third), format!("{:?} {:?}", it.output, it.metric))
            }),
            Event::Neighbour(change) => {
                self.note(change, |it| ((3, last_of(it.address)), format!("{:?}", it.state)))
            }
            Event::Complete => {
                assert!(network.is_complete());
                self.completions += 1;
            }
            Event::Overrun => self.overruns += 1,
            Event::Part(..) | Event::BridgeEntry(..) => {}
            Event::Ended(reason) => panic!("{reason}"),
        }
    }

    fn note<T>(&mut self, change: Change<T>, read: impl Fn(&T) -> (Key, String)) {
        let (key, value) = read(change.subject());
        let known = self.entries.get(&key).cloned();
        match &change {
            Change::Added(_) => {
                assert_eq!(known, None);
                self.entries.insert(key, value);
            }
            Change::Changed { before, .. } => {
                assert_eq!(known, Some(read(before).1));
                self.entries.insert(key, value);
            }
            Change::Repeated(_) => assert_eq!(known, Some(value)),
            Change::Removed(_) => {
                assert!(known.is_some());
                self.entries.remove(&key);
            }
            Change::Unannounced(_) => assert_eq!(known, None),
        }
    }
}

fn last_of(ip: std::net::IpAddr) -> u32 {
    ip.to_string().rsplit('.').next().and_then(|it| it.parse().ok()).expect("it is of IPv4")
}

fn third_of(ip: std::net::IpAddr) -> u32 {
    ip.to_string().split('.').nth(2).and_then(|it| it.parse().ok()).expect("it is of IPv4")
}

/// Reads up to `count` datagrams, and does what is next.
fn drive(
    follower: &mut Follower,
    kernel: &mut Kernel,
    told: &mut Told,
    now: Instant,
    count: usize,
) {
    for _ in 0..count {
        while follower.is_sweeping() {
            follower.sweep(2, &mut |event, network| told.take(event, network));
        }
        let mut call = |event: Event<'_>, network: &Network| told.take(event, network);
        match kernel.receive() {
            Ok(Some(datagram)) => {
                follower.datagram(&datagram, now, &mut call).expect("it is right");
            }
            Err(()) => follower.overrun(now, &mut call),
            Ok(None) => {
                if let Next::Send(request) = follower.next(now) {
                    kernel.request(&request);
                }
            }
        }
    }
}

#[test]
fn a_follower_ends_in_the_state_of_a_kernel_that_loses_messages() {
    let mut losses = 0;
    let mut overruns = 0;
    for seed in 0..400 {
        let mut kernel = Kernel::new(seed, 1 + seed as usize % 7);
        let mut follower = Follower::new(Selection::ALL, FollowLimits::DEFAULT, PORT);
        let mut told = Told::default();
        let mut now = Instant::now();
        for _ in 0..kernel.random.below(20) {
            kernel.change();
        }
        for _ in 0..300 {
            for _ in 0..kernel.random.below(4) {
                kernel.change();
            }
            let count = kernel.random.below(8) as usize;
            drive(&mut follower, &mut kernel, &mut told, now, count);
            now += Duration::from_millis(kernel.random.below(40));
        }
        // The changes have ended, but for those that come with a dump.
        for _ in 0..200 {
            drive(&mut follower, &mut kernel, &mut told, now, 20);
            now += Duration::from_millis(100);
        }
        assert!(follower.network().is_complete(), "seed {seed}");
        let expected: Vec<Key> = kernel.state.keys().copied().collect();
        let known: Vec<Key> = told.entries.keys().copied().collect();
        assert_eq!(known, expected, "seed {seed}");
        assert_eq!(states(follower.network()), states_of(&kernel), "seed {seed}");
        assert_eq!(told.completions, told.overruns + 1, "seed {seed}");
        losses += kernel.losses;
        overruns += told.overruns;
    }
    assert!(losses > 10_000 && overruns > 400, "{losses} losses, {overruns} overruns");
}

/// Links and addresses that come and go faster than the kernel can be asked do not keep a follower from
/// knowing everything, whether they put routes into doubt or interrupt each dump.
#[test]
fn a_follower_is_complete_though_things_change_faster_than_it_can_ask() {
    for (seed, always_interrupts) in (0..20).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut kernel = Kernel::new(seed, 1000);
        kernel.always_interrupts = always_interrupts;
        let mut follower = Follower::new(Selection::ALL, FollowLimits::DEFAULT, PORT);
        let mut told = Told::default();
        let (start, mut now) = (Instant::now(), Instant::now());
        while told.completions == 0 {
            kernel.change();
            drive(&mut follower, &mut kernel, &mut told, now, 4);
            now += Duration::from_millis(5);
            // Eight dumps of each topic at most, with pauses between them that double up to a second.
            let took = now - start;
            assert!(took < Duration::from_secs(30), "seed {seed}, {always_interrupts}");
        }
        // Routes are still asked for while they are in doubt.
        let before = kernel.dumps;
        for _ in 0..2000 {
            kernel.change();
            drive(&mut follower, &mut kernel, &mut told, now, 4);
            now += Duration::from_millis(5);
        }
        assert!(kernel.dumps > before, "seed {seed}, {always_interrupts}");
        kernel.always_interrupts = false;
        for _ in 0..200 {
            drive(&mut follower, &mut kernel, &mut told, now, 20);
            now += Duration::from_millis(100);
        }
        assert_eq!(states(follower.network()), states_of(&kernel), "seed {seed}");
        assert_eq!((told.completions, told.overruns, kernel.losses), (1, 0, 0), "seed {seed}");
    }
}

fn states(network: &Network) -> Vec<String> {
    let links = network.links().map(|it| format!("{} {:?}", it.index, it.mtu));
    let addresses = network.addresses().map(|it| format!("{} {:?}", it.local, it.label));
    let routes = network.routes().map(|it| format!("{:?}", it.destination));
    let neighbours = network.neighbours().map(|it| format!("{} {:?}", it.address, it.state));
    let mut all: Vec<_> = links.chain(addresses).chain(routes).chain(neighbours).collect();
    all.sort();
    all
}

/// Returns the state of the kernel in the same form, read by a follower that loses nothing.
fn states_of(kernel: &Kernel) -> Vec<String> {
    let mut network = Follower::new(Selection::ALL, FollowLimits::DEFAULT, PORT);
    for topic in 0..4_u8 {
        let Next::Send(_) = network.next(Instant::now()) else { panic!("it asks") };
        let sequence = u32::from(topic) + 1;
        let kind = 16 + 4 * u16::from(topic);
        for (_, body) in kernel.state.range((topic, 0)..(topic + 1, 0)) {
            let datagram = message(kind, 2, sequence, PORT, body);
            network.datagram(&datagram, Instant::now(), &mut |_, _| {}).expect("it is right");
        }
        let done = message(3, 2, sequence, PORT, &[0; 4]);
        network.datagram(&done, Instant::now(), &mut |_, _| {}).expect("it is right");
        while network.is_sweeping() {
            network.sweep(100, &mut |_, _| {});
        }
    }
    states(network.network())
}

#[test]
fn a_state_that_is_too_large_is_an_error() {
    let limits = FollowLimits { size_max: 1000, ..FollowLimits::DEFAULT };
    let mut follower = Follower::new(Selection::ALL, limits, PORT);
    let Next::Send(_) = follower.next(Instant::now()) else { panic!("it asks") };
    let mut result = Ok(());
    for index in 1..20 {
        let datagram = message(16, 2, 1, PORT, &crate::kernel::link(index, 1500));
        result = follower.datagram(&datagram, Instant::now(), &mut |_, _| {});
        if result.is_err() {
            break;
        }
    }
    let text = "the links, addresses, routes and neighbours take more than 1000 bytes";
    assert_eq!(result.expect_err("it is too large").to_string(), text);
}

#[test]
fn a_refused_dump_is_an_error() {
    let mut follower = Follower::new(Selection::ALL, FollowLimits::DEFAULT, PORT);
    let Next::Send(_) = follower.next(Instant::now()) else { panic!("it asks") };
    let refusal = message(2, 0, 1, PORT, &(-1_i32).to_ne_bytes());
    let result = follower.datagram(&refusal, Instant::now(), &mut |_, _| {});
    let text = "the kernel does not tell its links: error 1";
    assert_eq!(result.expect_err("it is refused").to_string(), text);
    // An answer to another socket is none.
    let mut follower = Follower::new(Selection::ALL, FollowLimits::DEFAULT, PORT);
    let Next::Send(_) = follower.next(Instant::now()) else { panic!("it asks") };
    let foreign = message(2, 0, 1, PORT + 1, &(-1_i32).to_ne_bytes());
    assert_eq!(follower.datagram(&foreign, Instant::now(), &mut |_, _| {}), Ok(()));
}

#[test]
fn a_route_that_replaces_another_one_is_a_change() {
    let selection = Selection { routes: true, ..Selection::NONE };
    let mut follower = Follower::new(selection, FollowLimits::DEFAULT, PORT);
    let now = Instant::now();
    let Next::Send(_) = follower.next(now) else { panic!("it asks") };
    let mut seen = Vec::new();
    let mut tell = |follower: &mut Follower, datagram: &[u8]| {
        let mut call = |event: Event<'_>, _network: &Network| {
            seen.push(match event {
                Event::Route(Change::Changed { before, now }) => {
                    let changed: Vec<_> = now.differences(&before).collect();
                    format!("changed {changed:?}")
                }
                Event::Route(Change::Added(_)) => "added".to_owned(),
                Event::Route(Change::Removed(_)) => "removed".to_owned(),
                Event::Route(Change::Repeated(_)) => "repeated".to_owned(),
                Event::Route(Change::Unannounced(_)) => "unannounced".to_owned(),
                other => format!("{other:?}"),
            });
        };
        follower.datagram(datagram, now, &mut call).expect("it is right");
        while follower.is_sweeping() {
            follower.sweep(100, &mut call);
        }
    };
    tell(&mut follower, &message(3, 2, 1, PORT, &[0; 4]));
    tell(&mut follower, &message(24, 0, 0, 0, &route(1, 5, 1)));
    tell(&mut follower, &message(24, 0, 0, 0, &route(1, 5, 1)));
    tell(&mut follower, &message(24, 0x100, 0, 0, &route(1, 5, 2)));
    tell(&mut follower, &message(25, 0, 0, 0, &route(1, 5, 2)));
    tell(&mut follower, &message(25, 0, 0, 0, &route(1, 5, 2)));
    let expected =
        ["Complete", "added", "repeated", "changed [\"output\"]", "removed", "unannounced"];
    assert_eq!(seen, expected);
    // A second route of the same place may be an addition or not: the kernel is asked.
    assert_eq!(follower.next(now), Next::Read);
    let mut call = |_: Event<'_>, _: &Network| {};
    for output in [1, 2] {
        let datagram = message(24, 0, 0, 0, &route(1, 5, output));
        follower.datagram(&datagram, now, &mut call).expect("it is right");
    }
    assert!(matches!(follower.next(now), Next::At(at) if at > now));
    assert!(matches!(follower.next(now + Duration::from_secs(1)), Next::Send(_)));
}
