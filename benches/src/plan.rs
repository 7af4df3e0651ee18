//! Plans: the measurements, their number and their duration.

use std::time::Duration;

use crate::benchmark::Test;
use crate::kinds::{
    BOUND, CACHED, CALLS, CHURN, DIAL, DISPATCH, ECHO, FILES, FILES_TLS, FORWARDED, HALF,
    HANDSHAKES, HELLO, IDLE, IDLE_HTTP, IDLE_WEBSOCKET, KEYS, LINES, LINES_CONNECTIONS, MODELS,
    REQUESTS, RESUMED, SCALE, SCHEDULE, TIMERS, UDP, WEBSOCKET,
};
use crate::load::accept::UNDER_WAY;
use crate::load::connections::CHURN_BATCH;
use crate::loops;
use crate::paired::ROUNDS_MIN;
use crate::work::{Kind, Work};

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The works in order.
    pub works: Vec<Work>,
    /// The number of times that each subject does each of them.
    pub rounds: usize,
    /// The duration of one measurement under load.
    pub duration: Duration,
    /// The time of loading before it.
    pub warm_up: Duration,
}

fn echo(connections: usize, size: usize, depth: usize) -> Work {
    Work::new(&ECHO, connections).size(size).depth(depth)
}

/// Returns works of 64 bytes at depth 1 that differ only in their count.
fn each<const N: usize>(kind: &'static Kind, counts: [usize; N]) -> [Work; N] {
    counts.map(|count| Work::new(kind, count))
}

fn udp(sockets: usize, size: usize, depth: usize) -> Work {
    Work::new(&UDP, sockets).size(size).depth(depth)
}

fn lines(depth: usize) -> Work {
    Work::new(&LINES, LINES_CONNECTIONS).depth(depth)
}

/// Returns the works of the web, the memory of connections last.
fn web() -> Vec<Work> {
    let mut works = Vec::new();
    for kind in [&FILES, &FILES_TLS] {
        for size in [1024, 100 * 1024] {
            works.extend([50, 1000].map(|connections| Work::new(kind, connections).size(size)));
        }
    }
    works.extend([&HANDSHAKES, &RESUMED].map(|kind| Work::new(kind, CHURN_BATCH)));
    works.extend([1, 16].map(|depth| hello(50).depth(depth)));
    works.extend([64, 64 * 1024].map(|size| Work::new(&WEBSOCKET, 50).size(size)));
    works.extend([idle_http(10_000), Work::new(&IDLE_WEBSOCKET, 10_000)]);
    works
}

/// Returns one work of each kind of the web.
fn web_quick() -> [Work; 8] {
    [
        Work::new(&FILES, 50).size(1024),
        Work::new(&FILES_TLS, 50).size(1024),
        Work::new(&HANDSHAKES, CHURN_BATCH),
        Work::new(&RESUMED, CHURN_BATCH),
        hello(50),
        Work::new(&WEBSOCKET, 50),
        idle_http(1000),
        Work::new(&IDLE_WEBSOCKET, 1000),
    ]
}

/// Returns a work of questions of the Domain Name System, with names of so many lengths.
fn questions(kind: &'static Kind, sockets: usize, depth: usize, lengths: usize) -> Work {
    Work::new(kind, sockets).depth(depth).size(lengths)
}

fn hello(connections: usize) -> Work {
    Work::new(&HELLO, connections).size(loops::HELLO.1.len())
}

fn idle_http(connections: usize) -> Work {
    Work::new(&IDLE_HTTP, connections).size(loops::HELLO.1.len())
}

/// Returns each test at depths 1 and 16, on a whole core and on half of one, with a part of the
/// requests of a full run, and the memory of keys.
fn against_redis(part: usize) -> Vec<Work> {
    let mut works = Vec::new();
    for (kind, depth) in [(&REQUESTS, 1), (&REQUESTS, 16), (&HALF, 1), (&HALF, 16)] {
        works.extend(Test::ALL.map(|test| {
            // Each takes a second or two.
            let count = match (test, depth) {
                (Test::Lrange100, 1) => 60_000,
                (Test::Lrange100, _) => 150_000,
                (_, 1) => 200_000,
                _ => 1_000_000,
            };
            Work::new(kind, count / part).depth(depth).test(test)
        }));
    }
    works.push(Work::new(&KEYS, 1_000_000 / part));
    works
}

impl Plan {
    /// `kv` and Redis, which takes about eight minutes.
    pub fn against_redis_full() -> Self {
        Self { works: against_redis(1), ..Self::full() }
    }

    /// `kv` and Redis, which takes about ten seconds, for rough results.
    pub fn against_redis_quick() -> Self {
        Self { works: against_redis(20), rounds: 2, ..Self::quick() }
    }

    /// All works, which takes some twenty minutes.
    pub fn full() -> Self {
        let mut works = Vec::new();
        works.extend(each(&DISPATCH, [10, 100, 1000, 4000, 8000]));
        for depth in [1, 16] {
            works.extend([1, 50, 1000, 10_000].map(|connections| echo(connections, 64, depth)));
        }
        works.extend([echo(50, 4 * 1024, 1), echo(50, 64 * 1024, 1)]);
        works.extend(each(&BOUND, [50, 1000]));
        works.push(Work::new(&SCHEDULE, 50).rate(20_000));
        works.extend([1, 16, 256].map(lines));
        works.extend(each(&TIMERS, [1000, 100_000, 1_000_000]));
        works.extend([Work::new(&IDLE, 10_000), Work::new(&CHURN, CHURN_BATCH)]);
        works.extend([udp(1, 64, 1), udp(50, 64, 1), udp(1, 64, 32), udp(50, 64, 8)]);
        works.push(udp(50, 1200, 2));
        works.push(Work::new(&DIAL, UNDER_WAY));
        works.extend(each(&CALLS, [1, 50]));
        works.push(Work::new(&SCALE, 100).depth(16));
        works.extend(each(&MODELS, [1, 10, 100, 1000, 10_000]));
        works.extend(web());
        for kind in [&CACHED, &FORWARDED] {
            works.extend([questions(kind, 4, 32, 1), questions(kind, 4, 32, 16)]);
            works.push(questions(kind, 128, 1, 16));
        }
        Self {
            works,
            rounds: ROUNDS_MIN,
            duration: Duration::from_millis(300),
            warm_up: Duration::from_millis(60),
        }
    }

    /// Fewer works, which takes about two minutes, for rough results.
    pub fn quick() -> Self {
        let mut works = Vec::new();
        works.extend(each(&DISPATCH, [100, 1000]));
        works.extend([echo(50, 64, 1), echo(50, 64, 16), echo(1000, 64, 1)]);
        works.push(Work::new(&BOUND, 50));
        works.push(Work::new(&SCHEDULE, 50).rate(20_000));
        works.push(lines(16));
        works.push(Work::new(&TIMERS, 10_000));
        works.extend([Work::new(&IDLE, 1000), Work::new(&CHURN, CHURN_BATCH)]);
        works.extend([udp(50, 64, 8), Work::new(&DIAL, UNDER_WAY)]);
        works.push(Work::new(&CALLS, 1));
        works.push(Work::new(&SCALE, 100).depth(16));
        works.extend(each(&MODELS, [1, 50]));
        works.extend(web_quick());
        works.extend([&CACHED, &FORWARDED].map(|kind| questions(kind, 4, 32, 16)));
        Self {
            works,
            rounds: 2,
            duration: Duration::from_millis(100),
            warm_up: Duration::from_millis(30),
        }
    }
}
