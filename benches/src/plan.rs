//! What is measured, how often and how long.

use std::fmt;
use std::time::Duration;

use crate::benchmark::{self, Test};

/// One thing that subjects are made to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// The scenario of the authors of libevent and libev: `pipes` pairs of sockets are watched,
    /// up to 100 of them are active at a time, each passes a byte on to the next.
    Dispatch {
        /// How many pairs.
        pipes: usize,
    },
    /// Echo, the next message when one is answered.
    Echo {
        /// Connections.
        connections: usize,
        /// Bytes of a message.
        size: usize,
        /// Messages under way on each connection.
        depth: usize,
    },
    /// Echo of messages that are sent on a fixed schedule, whatever the server does.
    Schedule {
        /// Connections.
        connections: usize,
        /// Messages a second on all of them together.
        rate: usize,
    },
    /// Lines, answered in upper case: where buffers and codecs count.
    Lines {
        /// Messages under way on each connection.
        depth: usize,
    },
    /// Timers between 1 ms and 60 s.
    Timers {
        /// How many are armed at once.
        count: usize,
    },
    /// Memory of connections that have exchanged a message and stand idle.
    Idle {
        /// Connections.
        connections: usize,
    },
    /// Connections that are made and closed.
    Churn,
    /// Echo under strace, which counts the system calls of the server.
    Calls {
        /// Connections, with one message under way on each.
        connections: usize,
    },
    /// Echo over two reactors on two cores, against one.
    Scale {
        /// Connections to all reactors together.
        connections: usize,
        /// Messages under way on each connection.
        depth: usize,
    },
    /// A test of `redis-benchmark`.
    Requests {
        /// Which.
        test: Test,
        /// Requests under way on each connection.
        depth: usize,
        /// How many are measured.
        count: usize,
        /// Whether the server has half of its core only, so that it limits requests.
        half: bool,
    },
    /// Memory of keys.
    Keys {
        /// How many.
        count: usize,
    },
}

/// One figure of a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// What subjects and the client call it.
    pub name: &'static str,
    /// What it is called in tables.
    pub title: &'static str,
    /// Digits after the point.
    pub digits: usize,
    /// What of it stands in tables.
    pub shown: Shown,
}

/// What of a figure stands in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The median.
    Median,
    /// The median, and its ratio to that of the reference.
    Ratio,
    /// The median, the spread and the ratio: what is judged by.
    Judged,
    /// The median and the spread: what is looked at first where there is nothing to judge by.
    Spread,
    /// Nothing.
    Hidden,
}

impl Shown {
    /// Whether the least and the greatest stand there.
    pub const fn has_spread(self) -> bool {
        matches!(self, Self::Judged | Self::Spread)
    }

    /// Whether the ratio to the reference stands there.
    pub const fn has_ratio(self) -> bool {
        matches!(self, Self::Judged | Self::Ratio)
    }
}

const fn metric(name: &'static str, title: &'static str, digits: usize, shown: Shown) -> Metric {
    Metric { name, title, digits, shown }
}

const DISPATCH: &[Metric] = &[metric("ns_per_event", "ns/event", 0, Shown::Judged)];
const EXCHANGE: &[Metric] = &[
    metric("server_ns", "CPU ns/message", 0, Shown::Judged),
    metric("per_second", "messages/s", 0, Shown::Ratio),
    metric("p50_us", "p50 us", 0, Shown::Median),
    metric("p99_us", "p99 us", 0, Shown::Ratio),
    metric("p999_us", "p99.9 us", 0, Shown::Median),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
    metric("max_us", "max us", 0, Shown::Hidden),
];
const SCHEDULE: &[Metric] = &[
    metric("p99_us", "p99 us", 1, Shown::Judged),
    metric("p50_us", "p50 us", 1, Shown::Ratio),
    metric("p999_us", "p99.9 us", 1, Shown::Ratio),
    metric("max_us", "max us", 0, Shown::Median),
    metric("server_ns", "CPU ns/message", 0, Shown::Ratio),
    metric("per_second", "messages/s", 0, Shown::Median),
];
const TIMERS: &[Metric] = &[
    metric("rearm_ns", "re-arm ns", 1, Shown::Judged),
    metric("arm_ns", "arm ns", 1, Shown::Ratio),
    metric("cancel_ns", "cancel ns", 1, Shown::Ratio),
    metric("ordered_ns", "re-arm in order ns", 1, Shown::Ratio),
    metric("fill_ns", "first arm ns", 1, Shown::Ratio),
    metric("expire_ns", "expire ns", 1, Shown::Ratio),
    metric("bytes", "bytes each", 0, Shown::Ratio),
];
const IDLE: &[Metric] = &[
    metric("bytes", "bytes each", 0, Shown::Judged),
    metric("more_kib", "KiB more the 2nd time", 0, Shown::Median),
];
const CHURN: &[Metric] = &[
    metric("server_ns", "CPU ns/connection", 0, Shown::Judged),
    metric("per_second", "connections/s", 0, Shown::Ratio),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
];
const CALLS: &[Metric] = &[
    metric("calls", "calls/message", 3, Shown::Judged),
    metric("read", "read", 3, Shown::Ratio),
    metric("write", "write", 3, Shown::Ratio),
    metric("wait", "wait", 3, Shown::Ratio),
    metric("ctl", "ctl", 3, Shown::Median),
    metric("other", "other", 3, Shown::Median),
];
const SCALE: &[Metric] = &[
    metric("gain", "two / one", 2, Shown::Spread),
    metric("one_per_second", "one: messages/s", 0, Shown::Median),
    metric("two_per_second", "two: messages/s", 0, Shown::Median),
    metric("one_server_ns", "one: CPU ns/message", 0, Shown::Median),
    metric("two_server_ns", "two: CPU ns/message", 0, Shown::Median),
    metric("one_server_busy", "one: server", 2, Shown::Median),
    metric("two_server_busy", "two: servers", 2, Shown::Median),
    metric("one_client_busy", "one: client", 2, Shown::Median),
    metric("two_client_busy", "two: client", 2, Shown::Median),
];
const REQUESTS: &[Metric] = &[
    metric("server_ns", "CPU ns/request", 0, Shown::Judged),
    metric("per_second", "requests/s", 0, Shown::Judged),
    metric("p99_us", "p99 us", 0, Shown::Ratio),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
    metric("client_ns", "its CPU ns/request", 0, Shown::Median),
    metric("p50_us", "p50 us", 0, Shown::Hidden),
    metric("max_us", "max us", 0, Shown::Hidden),
];
const KEYS: &[Metric] =
    &[metric("bytes", "bytes/key", 1, Shown::Judged), metric("mb", "MB in all", 1, Shown::Median)];

impl Work {
    /// The kind of work, as `--only` takes it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Dispatch { .. } => "dispatch",
            Self::Echo { .. } => "echo",
            Self::Schedule { .. } => "schedule",
            Self::Lines { .. } => "lines",
            Self::Timers { .. } => "timers",
            Self::Idle { .. } => "idle",
            Self::Churn => "churn",
            Self::Calls { .. } => "calls",
            Self::Scale { .. } => "scale",
            Self::Requests { half: false, .. } => "requests",
            Self::Requests { half: true, .. } => "half a core",
            Self::Keys { .. } => "memory",
        }
    }

    /// All kinds that loops are compared by.
    pub const KINDS: [&'static str; 9] =
        ["dispatch", "echo", "schedule", "lines", "timers", "idle", "churn", "calls", "scale"];

    /// What a subject is told to do.
    pub const fn served_as(&self) -> &'static str {
        match self {
            Self::Dispatch { .. } => "dispatch",
            Self::Lines { .. } => "lines",
            Self::Timers { .. } => "timers",
            Self::Scale { .. } => "scale",
            Self::Requests { .. } | Self::Keys { .. } => "requests",
            Self::Echo { .. }
            | Self::Schedule { .. }
            | Self::Idle { .. }
            | Self::Churn
            | Self::Calls { .. } => "echo",
        }
    }

    /// Whether a client loads the subject, which otherwise works by itself.
    pub const fn needs_client(&self) -> bool {
        !matches!(self, Self::Dispatch { .. } | Self::Timers { .. })
    }

    /// What a subject is told besides.
    pub fn numbers(&self) -> Vec<String> {
        match self {
            Self::Dispatch { pipes } => vec![pipes.to_string()],
            Self::Timers { count } => vec![count.to_string()],
            _ => Vec::new(),
        }
    }

    /// Descriptors that one process needs for it.
    pub const fn descriptors(&self) -> usize {
        // Standard streams, the poller, the listener and the like.
        const OTHERS: usize = 32;
        OTHERS
            + match self {
                Self::Dispatch { pipes } => 2 * *pipes,
                Self::Echo { connections, .. }
                | Self::Schedule { connections, .. }
                | Self::Idle { connections }
                | Self::Calls { connections }
                | Self::Scale { connections, .. } => *connections,
                Self::Lines { .. } => LINES_CONNECTIONS,
                Self::Timers { .. } | Self::Keys { .. } => 0,
                Self::Requests { .. } => benchmark::CONNECTIONS,
                Self::Churn => 2 * crate::load::connections::CHURN_BATCH,
            }
    }

    /// Its figures, the one that is judged by first.
    pub const fn metrics(&self) -> &'static [Metric] {
        match self {
            Self::Dispatch { .. } => DISPATCH,
            Self::Echo { .. } | Self::Lines { .. } => EXCHANGE,
            Self::Schedule { .. } => SCHEDULE,
            Self::Timers { .. } => TIMERS,
            Self::Idle { .. } => IDLE,
            Self::Churn => CHURN,
            Self::Calls { .. } => CALLS,
            Self::Scale { .. } => SCALE,
            Self::Requests { .. } => REQUESTS,
            Self::Keys { .. } => KEYS,
        }
    }

    /// How often it is done when works are done `planned` times: counts differ less from one
    /// round to the next than times do.
    pub const fn rounds(&self, planned: usize) -> usize {
        match self {
            Self::Calls { .. } => planned.div_ceil(2),
            _ => planned,
        }
    }

    /// What a reader has to know of a kind of work.
    pub const fn note(&self) -> &'static str {
        match self {
            Self::Dispatch { .. } => {
                "Pairs of sockets are watched; up to 100 bytes at a time are passed from pair to \
                 pair, 1,000 times a run. Processor time of the loop for each byte: being \
                 told, reading, writing."
            }
            Self::Echo { .. } => {
                "Each connection has so many messages under way and sends the next when one is \
                 answered. Judge by the server's processor time for each message: throughput and \
                 latency hang on the client too. Latencies are corrected for coordinated omission, \
                 as HdrHistogram does it, at the median pace. poll and select take part up to \
                 1,000 connections. server and client are the shares of their cores they used."
            }
            Self::Schedule { .. } => {
                "Messages are sent on a fixed schedule whatever the server does, and latencies \
                 count from the time in the schedule: nothing is omitted."
            }
            Self::Lines { .. } => {
                "Each loop at the level of its framework: our Lines codec, tokio-util's LinesCodec, \
                 libevent's bufferevent."
            }
            Self::Timers { .. } => {
                "Processor time for one timer, of as many as are armed. Re-arming goes through all, \
                 cancelling and arming through half of them that go and come, in an order that is \
                 random to where they lie in memory, as that of events is; in order is that in which \
                 they were armed first, and first arm includes the kernel's handing out memory. \
                 Order and times are written down before. harness is what that and a table of names \
                 cost, in every row; array is 16 bytes a deadline in an array and nothing else. \
                 tokio is a Sleep each, tokio-util one DelayQueue. Ours belong to a handler, as all \
                 our timers do. calloop takes part up to 1,000: moving one of its timers looks at \
                 all of them."
            }
            Self::Idle { .. } => {
                "Memory of the server's own (Anonymous, smaps) for each connection that has \
                 exchanged a message, and how much more as many others take once those are closed: \
                 what was not freed. The bare loops (raw, mio, polling, calloop, libev, libevent, \
                 libuv) and the tasks here share one buffer; ours has its codec, limits and idle \
                 timeout."
            }
            Self::Churn => {
                "Connections are made, ended by the client and closed by the server, 128 at a time."
            }
            Self::Calls { .. } => {
                "System calls of the server for each message, 64 B at depth 1, counted by strace: \
                 the difference of a run of 1,000 messages and one of 2,000, so that start, \
                 connections and end are in neither. With one connection a loop can do no better \
                 than wait, read, write. With many, one wait tells of all that are ready, and how \
                 many those are is up to the scheduler: compare reads and writes there."
            }
            Self::Scale { .. } => {
                "One process with two of our reactors, each with a thread, a core and a port of its \
                 own, against one reactor on one core. A client of two threads loads both, not \
                 pinned. It shares this machine's cores with the reactors, so there is no target: \
                 where there are two cores, two / one says how much of the client's core the \
                 second reactor could take over, not how reactors scale."
            }
            Self::Requests { half: true, .. } => {
                "The same while somebody else takes half of the server's core, 100 us at a time: the \
                 server is then what limits requests/s wherever there is no star. Caches are shared \
                 with that neighbour, who uses little of them."
            }
            Self::Requests { half: false, .. } => {
                "redis-benchmark on 50 connections, with so many requests under way on each. Each \
                 measurement has a server that was just started, and a tenth as many requests \
                 before it. Judge by the server's processor time for each request: canned answers \
                 without looking at what it is asked, which no server can do for less. A star \
                 says that redis-benchmark was what limited requests/s; canned shows how many it \
                 has then with a server that hardly costs anything. server and client are the \
                 shares of their cores they used."
            }
            Self::Keys { .. } => {
                "Memory of the server's own (Anonymous, smaps) that keys of 16 bytes with values \
                 of 64 take beyond that of an empty server."
            }
        }
    }

    /// What ratios are to: the limit or, where there is none, our own loop.
    pub const fn reference(&self) -> &'static str {
        match self {
            Self::Lines { .. } | Self::Timers { .. } => "epoll",
            Self::Requests { .. } | Self::Keys { .. } => "redis",
            _ => "raw",
        }
    }
}

/// Connections that lines come on.
pub const LINES_CONNECTIONS: usize = 50;

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dispatch { pipes } => {
                write!(f, "dispatch, {pipes} watched, {} active", crate::scene::ACTIVE.min(*pipes))
            }
            Self::Echo { connections, size, depth } => {
                let (size, unit) =
                    if size % 1024 == 0 { (size / 1024, "KiB") } else { (*size, "B") };
                write!(f, "echo, {size} {unit} x {connections}, depth {depth}")
            }
            Self::Schedule { connections, rate } => {
                write!(f, "echo on a fixed schedule, 64 B x {connections}, {rate}/s")
            }
            Self::Lines { depth } => {
                write!(f, "lines in upper case, 64 B x {LINES_CONNECTIONS}, depth {depth}")
            }
            Self::Timers { count } => write!(f, "timers, {count} armed, 1 ms to 60 s"),
            Self::Idle { connections } => write!(f, "memory of {connections} idle connections"),
            Self::Churn => f.write_str("connect and close"),
            Self::Calls { connections } => {
                write!(f, "system calls for a message, 64 B x {connections}, depth 1")
            }
            Self::Scale { connections, depth } => {
                write!(f, "two reactors against one, 64 B x {connections}, depth {depth}")
            }
            Self::Requests { test, depth, count, half } => {
                let core = if *half { ", half a core" } else { "" };
                write!(f, "{}, {count} requests, -P {depth}{core}", test.name())
            }
            Self::Keys { count } => write!(f, "memory of {count} keys"),
        }
    }
}

/// What a whole run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The works, in their order.
    pub works: Vec<Work>,
    /// How often each subject does each of them.
    pub rounds: usize,
    /// How long a load is measured each time.
    pub duration: Duration,
    /// How long it warms up before.
    pub warm_up: Duration,
}

const fn echo(connections: usize, size: usize, depth: usize) -> Work {
    Work::Echo { connections, size, depth }
}

/// Each test at depths 1 and 16, on a whole core and on half of one, with a part of the requests that
/// a whole run has, and keys.
fn against_redis(part: usize) -> Vec<Work> {
    let mut works = Vec::new();
    for (half, depth) in [(false, 1), (false, 16), (true, 1), (true, 16)] {
        works.extend(Test::ALL.map(|test| {
            // So that each takes a second or two.
            let count = match (test, depth) {
                (Test::Lrange100, 1) => 60_000,
                (Test::Lrange100, _) => 150_000,
                (_, 1) => 200_000,
                _ => 1_000_000,
            };
            Work::Requests { test, depth, count: count / part, half }
        }));
    }
    works.push(Work::Keys { count: 1_000_000 / part });
    works
}

impl Plan {
    /// `kv` and Redis, about seven minutes.
    pub fn against_redis_full() -> Self {
        Self { works: against_redis(1), rounds: 5, ..Self::full() }
    }

    /// `kv` and Redis, about ten seconds: a look, not a verdict.
    pub fn against_redis_quick() -> Self {
        Self { works: against_redis(20), rounds: 2, ..Self::quick() }
    }

    /// About five minutes.
    pub fn full() -> Self {
        let mut works = Vec::new();
        works.extend([10, 100, 1000, 4000, 8000].map(|pipes| Work::Dispatch { pipes }));
        for depth in [1, 16] {
            works.extend([1, 50, 1000, 10_000].map(|connections| echo(connections, 64, depth)));
        }
        works.extend([echo(50, 4 * 1024, 1), echo(50, 64 * 1024, 1)]);
        works.push(Work::Schedule { connections: 50, rate: 20_000 });
        works.extend([1, 16, 256].map(|depth| Work::Lines { depth }));
        works.extend([1000, 100_000, 1_000_000].map(|count| Work::Timers { count }));
        works.extend([Work::Idle { connections: 10_000 }, Work::Churn]);
        works.extend([1, 50].map(|connections| Work::Calls { connections }));
        works.push(Work::Scale { connections: 100, depth: 16 });
        Self {
            works,
            rounds: 3,
            duration: Duration::from_millis(300),
            warm_up: Duration::from_millis(60),
        }
    }

    /// Under a minute: a look, not a verdict.
    pub fn quick() -> Self {
        let mut works = Vec::new();
        works.extend([100, 1000].map(|pipes| Work::Dispatch { pipes }));
        works.extend([echo(50, 64, 1), echo(50, 64, 16), echo(1000, 64, 1)]);
        works.push(Work::Schedule { connections: 50, rate: 20_000 });
        works.push(Work::Lines { depth: 16 });
        works.push(Work::Timers { count: 10_000 });
        works.extend([Work::Idle { connections: 1000 }, Work::Churn]);
        works.push(Work::Calls { connections: 1 });
        works.push(Work::Scale { connections: 100, depth: 16 });
        Self {
            works,
            rounds: 2,
            duration: Duration::from_millis(100),
            warm_up: Duration::from_millis(30),
        }
    }
}
