//! What is run in the simulation: servers, clients that know what they have to be told, and daemons
//! that show one property of the loop each.
//!
//! A scenario starts its programs on simulated hosts, draws faults for a while, then ends the faults
//! and requires that all clients finish and that the server has nothing left over.

mod agent;
mod calendar;
mod clients;
mod clocks;
mod crowd;
mod datagrams;
mod departures;
mod dials;
mod exchange;
mod ground;
mod hooks;
mod http;
mod idle;
mod kv;
mod limits;
mod loopback;
mod members;
mod names;
mod pools;
mod priorities;
mod races;
mod readers;
mod restarts;
mod secure;
mod sentinels;
mod signals;
mod subscribers;
mod talkers;
mod tally;
mod timers;
mod web;
mod websocket;

use reactor::sim::{Outcome, Sim};

pub use ground::RINGS_FROM;

/// A scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// The name, on the command line and in reports.
    pub name: &'static str,
    /// One line that describes it.
    pub about: &'static str,
    /// Runs it in an empty world, whose seed decides everything. It sets the faults itself.
    pub run: fn(&mut Sim) -> Outcome,
    /// How many seeds a run of the tests gives it: fewer for the longer ones.
    pub seeds: u64,
    /// Whether it draws every kind of fault. The others leave out what would excuse a mistake.
    pub draws_all: bool,
}

/// All scenarios.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "echo",
        about: "echo-server and clients that verify every byte, with all faults",
        run: loopback::echo,
        seeds: 110,
        draws_all: true,
    },
    Scenario {
        name: "echo-strict",
        about: "echo-server where nothing may end a stream early in order",
        run: loopback::echo_strict,
        seeds: 60,
        draws_all: false,
    },
    Scenario {
        name: "uppercase",
        about: "uppercase and clients that verify every byte, with all faults",
        run: loopback::uppercase,
        seeds: 80,
        draws_all: true,
    },
    Scenario {
        name: "tls",
        about: "a server over TLS, with all faults: every byte, and no end in order of what was cut",
        run: secure::run,
        seeds: 40,
        draws_all: true,
    },
    Scenario {
        name: "http",
        about: "a service of HTTP: whole responses, each to its request, which is carried out once",
        run: http::run,
        seeds: 24,
        draws_all: true,
    },
    Scenario {
        name: "websocket",
        about: "a server of WebSocket: messages in order and once, news for all, close codes",
        run: websocket::run,
        seeds: 30,
        draws_all: true,
    },
    Scenario {
        name: "web",
        about: "web: files and ranges of them, and a server behind it that dies and comes back",
        run: web::run,
        seeds: 16,
        draws_all: true,
    },
    Scenario {
        name: "kv-keys",
        about: "kv: linearizability of single keys, and expiry to the millisecond",
        run: kv::keys,
        seeds: 40,
        draws_all: false,
    },
    Scenario {
        name: "kv-lists",
        about: "kv: lists and the clients that wait for them",
        run: kv::lists,
        seeds: 40,
        draws_all: false,
    },
    Scenario {
        name: "kv-channels",
        about: "kv: messages in order and without gaps",
        run: kv::channels,
        seeds: 40,
        draws_all: false,
    },
    Scenario {
        name: "kv-restarts",
        about: "kv, which is killed and restarted: every reply of each connection",
        run: restarts::run,
        seeds: 70,
        draws_all: true,
    },
    Scenario {
        name: "clients",
        about: "clients that outlive their connections: each request exactly once",
        run: clients::run,
        seeds: 500,
        draws_all: false,
    },
    Scenario {
        name: "pools",
        about: "a pool of clients of two servers, and a client whose server changes",
        run: pools::run,
        seeds: 150,
        draws_all: false,
    },
    Scenario {
        name: "subscribers",
        about: "subscriptions that each new connection restores",
        run: subscribers::run,
        seeds: 120,
        draws_all: false,
    },
    Scenario {
        name: "departures",
        about: "clients and loops that end while requests are under way",
        run: departures::run,
        seeds: 200,
        draws_all: false,
    },
    Scenario {
        name: "sentinels",
        about: "clients that follow a master: each request exactly once, to no old master",
        run: sentinels::run,
        seeds: 100,
        draws_all: false,
    },
    Scenario {
        name: "stop",
        about: "a signal to stop under load: whole answers, and an end in time",
        run: signals::run,
        seeds: 60,
        draws_all: false,
    },
    Scenario {
        name: "idle",
        about: "a server that is stopped for longer than its idle limit",
        run: idle::run,
        seeds: 50,
        draws_all: false,
    },
    Scenario {
        name: "timers",
        about: "timers without delay, posts of other threads and wakes beside connections",
        run: timers::run,
        seeds: 80,
        draws_all: true,
    },
    Scenario {
        name: "priorities",
        about: "sources of three priorities that are always ready: their order and their shares",
        run: priorities::run,
        seeds: 30,
        draws_all: true,
    },
    Scenario {
        name: "calendar",
        about: "timers by the clock of the wall, which is set forward and back",
        run: calendar::run,
        seeds: 20,
        draws_all: true,
    },
    Scenario {
        name: "hooks",
        about: "another library in the loop, whose timers bound its waits",
        run: hooks::run,
        seeds: 30,
        draws_all: true,
    },
    Scenario {
        name: "crowd",
        about: "more clients than a daemon takes, without descriptors, and a mass exit",
        run: crowd::run,
        seeds: 70,
        draws_all: true,
    },
    Scenario {
        name: "names",
        about: "sources that are named after they have ended, and that end each other",
        run: names::run,
        seeds: 60,
        draws_all: true,
    },
    Scenario {
        name: "datagrams",
        about: "echo-server over UDP, and clients that repeat what is not answered",
        run: datagrams::run,
        seeds: 200,
        draws_all: false,
    },
    Scenario {
        name: "dials",
        about: "connecting to what listens and to what does not",
        run: dials::run,
        seeds: 60,
        draws_all: true,
    },
    Scenario {
        name: "races",
        about: "names with several addresses, some of which do not answer",
        run: races::run,
        seeds: 60,
        draws_all: false,
    },
    Scenario {
        name: "clocks",
        about: "timers that are never early, and periods that keep their rhythm",
        run: clocks::run,
        seeds: 60,
        draws_all: true,
    },
    Scenario {
        name: "limits",
        about: "a daemon that is stopped, or whose clock jumps, for longer than its limits",
        run: limits::run,
        seeds: 40,
        draws_all: false,
    },
    Scenario {
        name: "readers",
        about: "clients that read late, and replies that are cut off",
        run: readers::run,
        seeds: 30,
        draws_all: false,
    },
];

/// Returns the scenario of a name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
