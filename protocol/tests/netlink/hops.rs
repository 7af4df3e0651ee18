//! Routes of IPv6 with several next hops: what is told of them in order leads to the state of the kernel.

use std::time::{Duration, Instant};

use protocol::netlink::{Change, Event, FollowLimits, Follower, Network, Next, Route, Selection};

use crate::kernel::{PORT, attribute, message};

const NEW: u16 = 24;
const DELETE: u16 = 25;

/// Returns what a message says about a route of IPv6 with these next hops.
fn route(hops: &[u8]) -> Vec<u8> {
    let router = |last| [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let mut body = vec![10, 48, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    attribute(&mut body, 1, &[0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    attribute(&mut body, 6, &10_u32.to_ne_bytes());
    if let [last] = hops {
        attribute(&mut body, 5, &router(*last));
        attribute(&mut body, 4, &3_u32.to_ne_bytes());
        return body;
    }
    let mut all = Vec::new();
    for last in hops {
        all.extend(28_u16.to_ne_bytes());
        all.extend([0, 0]);
        all.extend(3_u32.to_ne_bytes());
        attribute(&mut all, 5, &router(*last));
    }
    attribute(&mut body, 9, &all);
    body
}

/// Returns the routers of a route.
fn routers(route: &Route<'_>) -> String {
    let last = |it: std::net::IpAddr| it.to_string().rsplit(':').next().map(str::to_owned);
    let hops = route.hops().filter_map(|it| last(it.gateway?));
    hops.chain(route.gateway.and_then(last)).collect::<Vec<_>>().join("+")
}

/// A follower of routes, and what it has told.
struct Told {
    follower: Follower,
    now: Instant,
    lines: Vec<String>,
}

impl Told {
    /// Begins with the answers of a kernel that has this route.
    fn new(hops: &[u8]) -> Self {
        let selection = Selection { routes: true, ..Selection::NONE };
        let follower = Follower::new(selection, FollowLimits::DEFAULT, PORT);
        let mut told = Self { follower, now: Instant::now(), lines: Vec::new() };
        assert!(matches!(told.follower.next(told.now), Next::Send(_)));
        told.dump(1, &[hops]);
        told.lines.clear();
        told
    }

    fn take(&mut self, datagram: &[u8]) {
        let mut call = |event: Event<'_>, _network: &Network| {
            self.lines.push(match event {
                Event::Route(Change::Added(it)) => format!("added {}", routers(&it)),
                Event::Route(Change::Changed { before, now }) => {
                    format!("changed {} to {}", routers(&before), routers(&now))
                }
                Event::Route(Change::Repeated(it)) => format!("repeated {}", routers(&it)),
                Event::Route(Change::Removed(it)) => format!("removed {}", routers(&it)),
                Event::Route(Change::Unannounced(it)) => format!("unannounced {}", routers(&it)),
                other => format!("{other:?}"),
            });
        };
        self.follower.datagram(datagram, self.now, &mut call).expect("it is right");
        while self.follower.is_sweeping() {
            self.follower.sweep(1, &mut call);
        }
    }

    fn notify(&mut self, kind: u16, flags: u16, hops: &[u8]) {
        self.take(&message(kind, flags, 0, 0, &route(hops)));
    }

    /// Answers a request with these routes.
    fn dump(&mut self, sequence: u32, all: &[&[u8]]) {
        all.iter().for_each(|hops| self.take(&message(NEW, 2, sequence, PORT, &route(hops))));
        self.take(&message(3, 2, sequence, PORT, &[0; 4]));
    }

    /// Waits until routes are asked for.
    fn ask(&mut self) {
        self.now += Duration::from_secs(1);
        assert!(matches!(self.follower.next(self.now), Next::Send(_)));
    }

    fn known(&self) -> Vec<String> {
        self.follower.network().routes().map(|it| routers(&it)).collect()
    }
}

#[test]
fn a_next_hop_that_is_added_changes_the_route() {
    let mut told = Told::new(&[5]);
    // The newest is first in a notification, and last in a dump.
    told.notify(NEW, 0xc00, &[7, 5]);
    assert_eq!(told.follower.next(told.now), Next::Read, "nothing is in doubt");
    told.follower.overrun(told.now, &mut |_, _| {});
    told.ask();
    told.dump(2, &[&[5, 7]]);
    told.notify(NEW, 0xc00, &[9, 5, 7]);
    told.notify(NEW, 0x100, &[8]);
    let expected = ["changed 5 to 7+5", "Complete", "changed 7+5 to 9+5+7", "changed 9+5+7 to 8"];
    assert_eq!(told.lines, expected);
    assert_eq!(told.known(), ["8"]);
}

#[test]
fn what_a_dump_adds_to_a_place_is_told_after_what_it_removes() {
    let mut told = Told::new(&[7, 5]);
    told.notify(DELETE, 0, &[5]);
    told.ask();
    told.dump(2, &[&[7]]);
    assert_eq!(told.lines, ["unannounced 5", "removed 7+5", "added 7"]);
    assert_eq!(told.known(), ["7"]);
}

#[test]
fn a_notification_during_a_dump_is_newer_than_what_waits_for_its_end() {
    let mut told = Told::new(&[7, 5]);
    told.notify(DELETE, 0, &[5]);
    told.ask();
    told.take(&message(NEW, 2, 2, PORT, &route(&[7])));
    assert_eq!(told.lines, ["unannounced 5"]);
    told.notify(DELETE, 0, &[7]);
    told.take(&message(3, 2, 2, PORT, &[0; 4]));
    assert_eq!(told.lines, ["unannounced 5", "added 7", "removed 7", "removed 7+5"]);
    assert!(told.known().is_empty());
}

#[test]
fn what_an_interrupted_dump_has_mentioned_is_kept() {
    let mut told = Told::new(&[7, 5]);
    told.notify(DELETE, 0, &[5]);
    told.ask();
    told.take(&message(NEW, 0x12, 2, PORT, &route(&[7])));
    told.take(&message(3, 0x12, 2, PORT, &[0; 4]));
    told.ask();
    told.dump(3, &[&[7]]);
    assert_eq!(told.known(), ["7"]);
}
