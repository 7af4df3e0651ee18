//! The state of the network that a loop follows is that of the kernel, whatever is lost on the way (P30).

#[path = "../common/mod.rs"]
mod common;
mod interface;
mod ip;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use common::turn_until;
use protocol::netlink::{Change, Event, Network, Selection};
use reactor::{BackendKind, LoopLimits, NetworkOptions, Reactor};
use testkit::{Folder, PATIENCE, in_namespace};

use ip::{Lines, run};

/// What a test has seen.
#[derive(Debug, Default)]
struct Seen {
    /// The state as the last event left it.
    now: Lines,
    /// The state as the events alone make it.
    told: BTreeMap<String, String>,
    overruns: usize,
    completions: usize,
    is_complete: bool,
    ends: Vec<String>,
    events: usize,
}

impl Seen {
    fn take(&mut self, event: &Event<'_>, network: &Network) {
        self.events += 1;
        self.is_complete = network.is_complete();
        match event {
            Event::Link(change) => self.tell(change, ip::link_line),
            Event::Address(change) => self.tell(change, ip::address_line),
            Event::Route(change) => self.tell(change, ip::route_line),
            Event::Neighbour(change) if ip::is_shown(change.subject()) => {
                self.tell(change, ip::neighbour_line)
            }
            Event::Neighbour(_) => {}
            Event::Part(..) | Event::BridgeEntry(..) => {}
            Event::Overrun => self.overruns += 1,
            Event::Complete => self.completions += 1,
            Event::Ended(reason) => self.ends.push(reason.to_string()),
        }
    }

    fn tell<T>(&mut self, change: &Change<T>, line: impl Fn(&T) -> String) {
        let entry = |it: &T| (identity(&line(it)), line(it));
        match change {
            Change::Added(it) => {
                let (identity, line) = entry(it);
                assert_eq!(self.told.insert(identity, line), None, "added twice");
            }
            Change::Removed(it) => {
                // Its last message may describe it as it was never before.
                assert!(self.told.remove(&entry(it).0).is_some(), "unknown: {}", line(it));
            }
            Change::Changed { before, now } => {
                let (identity, line) = entry(before);
                assert_eq!(self.told.remove(&identity), Some(line));
                let (identity, line) = entry(now);
                self.told.insert(identity, line);
            }
            Change::Unannounced(it) => {
                assert_eq!(self.told.get(&entry(it).0), None);
            }
            Change::Repeated(it) => {
                let (identity, line) = entry(it);
                assert_eq!(self.told.get(&identity), Some(&line));
            }
        }
    }

    fn told(&self) -> BTreeSet<String> {
        self.told.values().cloned().collect()
    }
}

/// Returns the part of a line that stays while what it describes changes.
fn identity(line: &str) -> String {
    match line.split(' ').next() {
        Some("link") => line.split(' ').take(2).collect(),
        Some("neighbour") => line.split(' ').take(3).collect(),
        _ => line.replace("down true", "down false"),
    }
}

fn follow(reactor: &mut Reactor<Seen>, options: &NetworkOptions) {
    let watched = reactor.cx().watch_network(options, |event, network, cx| {
        cx.app.take(&event, network);
        cx.app.now = Lines::of(network);
    });
    watched.expect("there is a socket");
}

/// Turns the loop until the state that events tell is the one that `ip` tells, of what `has` selects.
fn turn_until_equal(reactor: &mut Reactor<Seen>, after: &str, has: [bool; 4]) -> usize {
    let start = Instant::now();
    loop {
        reactor.run_for(Duration::from_millis(20)).expect("it turns");
        let is_late = start.elapsed() > PATIENCE;
        if !reactor.app.is_complete && !is_late {
            continue;
        }
        let theirs = ip::state().only(has);
        if reactor.app.told() == theirs && reactor.app.is_complete {
            return theirs.len();
        }
        if is_late {
            let ours = &reactor.app.told();
            let missing: Vec<_> = theirs.difference(ours).take(10).collect();
            let wrong: Vec<_> = ours.difference(&theirs).take(10).collect();
            let is_complete = reactor.app.is_complete;
            panic!("after {after}: complete {is_complete}, missing {missing:#?}, wrong {wrong:#?}");
        }
    }
}

/// Commands that make 1,000 pairs of links with an address on each end, and change some.
fn many_changes() -> String {
    let mut text = String::new();
    for i in 0..1000 {
        let (a, b) = (i / 200, i % 200);
        let group = if i % 2 == 0 { 7 } else { 8 };
        text += &format!("link add v{i} group {group} type veth peer name w{i}\n");
        text += &format!("addr add 10.{a}.{b}.1/24 dev v{i}\naddr add 10.{a}.{b}.2/24 dev w{i}\n");
        text += &format!("link set v{i} up\n");
        // Those of a link end when it is switched off, so this one comes last.
        text +=
            &format!("neigh add 10.{a}.{b}.9 lladdr 02:00:00:00:00:09 dev v{i} nud permanent\n");
        match i % 5 {
            1 => text += &format!("link set w{i} up\n"),
            2 => text += &format!("addr del 10.{a}.{b}.2/24 dev w{i}\n"),
            3 => text += &format!("link set w{i} mtu 1400\nlink set w{i} name x{i}\n"),
            _ => {}
        }
    }
    text + "link del group 7\n"
}

#[test]
fn the_final_state_is_that_of_the_kernel_though_messages_are_lost() {
    let test = "the_final_state_is_that_of_the_kernel_though_messages_are_lost";
    if !in_namespace(test, "ip link set lo up") {
        return;
    }
    let folder = Folder::new("netlink");
    let batch = folder.path().join("changes");
    std::fs::write(&batch, many_changes()).expect("it can be written");
    for kind in BackendKind::ALL {
        let backend = kind.open().expect("the backend opens");
        let limits = LoopLimits::DEFAULT;
        let mut reactor =
            Reactor::with_backend(backend, limits, Seen::default()).expect("the reactor opens");
        // The smallest that the kernel allows.
        let options = NetworkOptions { receive_buffer: Some(1), ..NetworkOptions::default() };
        let watched = reactor.cx().watch_network(&options, |event, network, cx| {
            cx.app.take(&event, network);
        });
        watched.expect("there is a socket");
        turn_until(&mut reactor, |it| it.app.is_complete);
        let mut changes = Command::new("ip").arg("-batch").arg(&batch).spawn().expect("it runs");
        turn_until(&mut reactor, |_| changes.try_wait().expect("it is a child").is_some());
        let count = turn_until_equal(&mut reactor, "many changes", [true; 4]);
        assert!(count > 3000, "{count}");
        assert!(reactor.app.overruns > 0, "nothing was lost on {kind}");
        assert_eq!(reactor.app.completions, reactor.app.overruns + 1);
        let Seen { overruns, events, .. } = reactor.app;
        println!("{kind}: {overruns} overruns, {events} events, {count} lines");
        run("link del group 8");
    }
}

#[test]
fn changes_are_reported_as_they_are() {
    if !in_namespace("changes_are_reported_as_they_are", "ip link set lo up") {
        return;
    }
    common::on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        follow(&mut reactor, &NetworkOptions::default());
        turn_until(&mut reactor, |it| it.app.completions == 1);
        assert_eq!(reactor.app.now, ip::state());
        let steps = [
            "link add b0 type bridge",
            "link add v0 type veth peer name v1",
            "link set v0 up",
            "link set v1 up",
            // Messages about the port of a bridge are not about the link.
            "link set v0 master b0",
            "addr add 10.1.0.1/24 dev v1",
            "addr add 10.1.0.1/16 dev v1",
            "addr add 10.2.0.1 peer 10.2.0.2/32 dev v1",
            "addr add 10.2.0.1 peer 10.2.0.3/32 dev v1",
            "addr add fd00::1/64 dev v1 nodad",
            "route add 10.9.0.0/16 via 10.1.0.2",
            "route replace 10.9.0.0/16 via 10.1.0.3",
            "route append 10.9.0.0/16 via 10.1.0.4",
            "route del 10.9.0.0/16 via 10.1.0.3",
            "route add 10.8.0.0/16 nexthop via 10.1.0.2 nexthop via 10.1.0.3 weight 3",
            "route add blackhole 10.7.0.0/16 table 77 metric 5",
            "route add default via 10.1.0.2 mtu 1400",
            "neigh add 10.1.0.77 lladdr 02:00:00:00:00:77 dev v1 nud permanent",
            "neigh replace 10.1.0.77 lladdr 02:00:00:00:00:78 dev v1 nud stale",
            "neigh add fd00::77 lladdr 02:00:00:00:00:79 dev v1 nud permanent",
            "neigh del fd00::77 dev v1",
            "-6 route add fd01::/64 via fd00::2",
            "-6 route append fd01::/64 via fd00::3",
            "-6 route append fd01::/64 via fd00::4",
            "-6 route del fd01::/64 via fd00::3",
            "-6 route replace fd01::/64 via fd00::5",
            "link set v0 nomaster",
            "link set v1 alias watched",
            "link property add dev v1 altname other",
            "addr del 10.1.0.1/24 dev v1",
            // Nothing is said about the routes that end with it.
            "link set v1 down",
            "link set v1 up",
            "link set v1 name v2",
            "link del v2",
            "link del b0",
            "route del 10.7.0.0/16 table 77",
        ];
        for step in steps {
            run(step);
            turn_until_equal(&mut reactor, step, [true; 4]);
            assert_eq!(reactor.app.told(), reactor.app.now.only([true; 4]), "after {step}");
        }
        // Nothing was lost.
        assert_eq!((reactor.app.overruns, reactor.app.completions), (0, 1));
    });
}

#[test]
fn what_is_selected_is_followed_alone() {
    if !in_namespace("what_is_selected_is_followed_alone", "ip link set lo up") {
        return;
    }
    for (selection, lines) in [
        (Selection { links: true, ..Selection::NONE }, [true, false, false, false]),
        (Selection { addresses: true, ..Selection::NONE }, [false, true, false, false]),
        (Selection { routes: true, ..Selection::NONE }, [false, false, true, false]),
    ] {
        let mut reactor = Reactor::new(Seen::default()).expect("the reactor opens");
        follow(&mut reactor, &NetworkOptions { selection, ..NetworkOptions::default() });
        turn_until(&mut reactor, |it| it.app.completions == 1);
        run("link add b1 type bridge");
        run("addr add 10.1.0.1/24 dev b1");
        run("link set b1 up");
        assert!(turn_until_equal(&mut reactor, "links that are made", lines) > 0);
        // Its routes end without a word, also for a program that follows routes alone.
        run("link del b1");
        turn_until_equal(&mut reactor, "the end of a link", lines);
    }
}

#[test]
fn a_limit_of_the_state_ends_the_source() {
    let mut reactor = Reactor::new(Seen::default()).expect("the reactor opens");
    let mut options = NetworkOptions::default();
    options.limits.size_max = 100;
    follow(&mut reactor, &options);
    turn_until(&mut reactor, |it| !it.app.ends.is_empty());
    let text = "limit reached: size of the known links, addresses, routes and neighbours";
    assert_eq!(reactor.app.ends, [text]);
}

#[test]
fn the_end_of_a_source_is_reported_once() {
    let mut reactor = Reactor::new(Seen::default()).expect("the reactor opens");
    let watched = reactor.cx().watch_network(&NetworkOptions::default(), |event, network, cx| {
        cx.app.take(&event, network);
    });
    let token = watched.expect("there is a socket");
    turn_until(&mut reactor, |it| it.app.is_complete);
    reactor.cx().close(token);
    turn_until(&mut reactor, |it| !it.app.ends.is_empty());
    assert_eq!(reactor.app.ends, ["cancelled"]);
}

#[test]
fn a_simulated_host_has_no_netlink() {
    let mut sim = reactor::sim::Sim::new(1);
    let host = sim.host("10.0.0.1");
    let started = sim.start(host, || {
        let mut reactor = Reactor::new(Seen::default())?;
        reactor.cx().watch_network(&NetworkOptions::default(), |_, _, _| {})?;
        Ok(reactor)
    });
    let error = started.expect_err("there is none");
    assert!(error.to_string().contains("a simulated host has no netlink"), "{error}");
}
