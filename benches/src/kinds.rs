//! The table of the kinds of work: everything that differs between them. All other code reads it.

use crate::benchmark;
use crate::drive;
use crate::load::accept::UNDER_WAY;
use crate::load::connections::CHURN_BATCH;
use crate::scene::ACTIVE;
use crate::work::{Kind, Metric, Shown, Work};

mod names;
mod web;

pub use names::{CACHED, FORWARDED};
pub use web::{FILES, FILES_TLS, HANDSHAKES, HELLO, IDLE_HTTP, IDLE_WEBSOCKET, RESUMED, WEBSOCKET};

/// The number of connections of the `lines` work.
pub const LINES_CONNECTIONS: usize = 50;

const fn metric(name: &'static str, title: &'static str, digits: usize, shown: Shown) -> Metric {
    Metric { name, title, digits, shown }
}

const DISPATCH_METRICS: &[Metric] = &[metric("ns_per_event", "ns/event", 0, Shown::Judged)];
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
const BOUND_METRICS: &[Metric] = &[
    metric("server_ns", "CPU ns/message", 0, Shown::Judged),
    metric("per_second", "messages/s", 0, Shown::Judged),
    metric("p50_us", "p50 us", 0, Shown::Median),
    metric("p99_us", "p99 us", 0, Shown::Ratio),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
];
const SCHEDULE_METRICS: &[Metric] = &[
    metric("p99_us", "p99 us", 1, Shown::Judged),
    metric("p50_us", "p50 us", 1, Shown::Ratio),
    metric("p999_us", "p99.9 us", 1, Shown::Ratio),
    metric("max_us", "max us", 0, Shown::Median),
    metric("server_ns", "CPU ns/message", 0, Shown::Ratio),
    metric("per_second", "messages/s", 0, Shown::Median),
];
const TIMERS_METRICS: &[Metric] = &[
    metric("rearm_ns", "re-arm ns", 1, Shown::Judged),
    metric("arm_ns", "arm ns", 1, Shown::Ratio),
    metric("cancel_ns", "cancel ns", 1, Shown::Ratio),
    metric("ordered_ns", "re-arm in order ns", 1, Shown::Ratio),
    metric("fill_ns", "first arm ns", 1, Shown::Ratio),
    metric("expire_ns", "expire ns", 1, Shown::Ratio),
    metric("bytes", "bytes each", 0, Shown::Ratio),
];
const IDLE_METRICS: &[Metric] = &[
    metric("bytes", "bytes each", 0, Shown::Judged),
    metric("more_kib", "KiB more the 2nd time", 0, Shown::Median),
];
const CHURN_METRICS: &[Metric] = &[
    metric("server_ns", "CPU ns/connection", 0, Shown::Judged),
    metric("per_second", "connections/s", 0, Shown::Ratio),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
];
const UDP_METRICS: &[Metric] = &[
    metric("server_ns", "CPU ns/datagram", 0, Shown::Judged),
    metric("per_second", "datagrams/s", 0, Shown::Ratio),
    metric("lost", "lost", 0, Shown::Median),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
];
const DIAL_METRICS: &[Metric] = &[
    metric("server_ns", "CPU ns/connection", 0, Shown::Judged),
    metric("per_second", "connections/s", 0, Shown::Ratio),
    metric("server_busy", "dialling", 2, Shown::Median),
    metric("client_busy", "accepting", 2, Shown::Median),
];
const CALLS_METRICS: &[Metric] = &[
    metric("calls", "calls/message", 3, Shown::Judged),
    metric("read", "read", 3, Shown::Ratio),
    metric("write", "write", 3, Shown::Ratio),
    metric("wait", "wait", 3, Shown::Ratio),
    metric("ctl", "ctl", 3, Shown::Median),
    metric("other", "other", 3, Shown::Median),
];
const SCALE_METRICS: &[Metric] = &[
    metric("per_second", "messages/s", 0, Shown::Judged),
    metric("server_ns", "CPU ns/message", 0, Shown::Ratio),
    metric("p99_us", "p99 us", 0, Shown::Median),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
];
const MODELS_METRICS: &[Metric] = &[
    metric("server_ns", "CPU ns/message", 0, Shown::Judged),
    metric("per_second", "messages/s", 0, Shown::Ratio),
    metric("p50_us", "p50 us", 0, Shown::Median),
    metric("p99_us", "p99 us", 0, Shown::Ratio),
    metric("kib", "KiB/connection", 1, Shown::Median),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
];
const REQUESTS_METRICS: &[Metric] = &[
    metric("server_ns", "CPU ns/request", 0, Shown::Judged),
    metric("per_second", "requests/s", 0, Shown::Judged),
    metric("p99_us", "p99 us", 0, Shown::Ratio),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
    metric("client_ns", "its CPU ns/request", 0, Shown::Median),
    metric("p50_us", "p50 us", 0, Shown::Hidden),
    metric("max_us", "max us", 0, Shown::Hidden),
];
const KEYS_METRICS: &[Metric] =
    &[metric("bytes", "bytes/key", 1, Shown::Judged), metric("mb", "MB in all", 1, Shown::Median)];

/// The defaults of most kinds: a client loads connections with messages, the reference is the bare
/// loop, and the figures are those of an exchange.
const EXCHANGED: Kind = Kind {
    name: "",
    part: "echo",
    reference: "raw",
    metrics: EXCHANGE,
    note: "",
    title: |_| String::new(),
    descriptors: |work| work.count,
    measure: drive::loaded,
    client: &[],
    stretch: 1,
};

/// The scenario of the authors of libevent and libev: many pairs of sockets are watched, up to 100
/// are active at a time, and each passes a byte to the next.
pub static DISPATCH: Kind = Kind {
    name: "dispatch",
    part: "dispatch",
    metrics: DISPATCH_METRICS,
    note: "Pairs of sockets are watched; up to 100 bytes at a time are passed from pair to pair, \
           1,000 times a run. The figure is the loop's processor time for each byte: event, read, write.",
    title: |work| format!("dispatch, {} watched, {} active", work.count, ACTIVE.min(work.count)),
    descriptors: |work| 2 * work.count,
    measure: drive::alone,
    ..EXCHANGED
};

/// Echo. Each connection sends its next message when one is answered.
pub static ECHO: Kind = Kind {
    name: "echo",
    note: "Each connection has `depth` messages in flight and sends the next when one is answered. \
           Judge by the server's processor time for each message: throughput and latency depend on the \
           client too. Latencies are corrected for coordinated omission by the method of HdrHistogram, at \
           the median pace. poll and select take part up to 1,000 connections. server and client are \
           the shares of their cores they used.",
    title: |work| {
        let (size, unit) =
            if work.size % 1024 == 0 { (work.size / 1024, "KiB") } else { (work.size, "B") };
        format!("echo, {size} {unit} x {}, depth {}", work.count, work.depth)
    },
    ..EXCHANGED
};

/// Echo with a computation for each message, so that the server limits the messages.
pub static BOUND: Kind = Kind {
    name: "bound",
    part: "bound",
    metrics: BOUND_METRICS,
    note: "Each server computes for 2 us for each message before it sends it back, so that the server \
           limits messages/s and not the client. The computation is the same number of steps in every \
           loop, which was measured once before.",
    title: |work| {
        let (size, count, depth) = (work.size, work.count, work.depth);
        format!("echo with 2 us of work, {size} B x {count}, depth {depth}")
    },
    measure: drive::bound,
    ..EXCHANGED
};

/// Echo of messages that are sent on a fixed schedule that does not depend on the server.
pub static SCHEDULE: Kind = Kind {
    name: "schedule",
    metrics: SCHEDULE_METRICS,
    note: "Messages are sent on a fixed schedule even if the server is late, and latencies count from \
           the time in the schedule: nothing is omitted.",
    title: |work| {
        let (count, rate) = (work.count, work.rate.unwrap_or(0));
        format!("echo on a fixed schedule, 64 B x {count}, {rate}/s")
    },
    // A short run would show no tail.
    stretch: 2,
    ..EXCHANGED
};

/// Lines, answered in upper case. Measures buffers and codecs.
pub static LINES: Kind = Kind {
    name: "lines",
    part: "lines",
    reference: "epoll",
    note: "Each loop at the level of its framework: our Lines codec, tokio-util's LinesCodec, \
           monoio's BufReader, libevent's bufferevent.",
    title: |work| format!("lines in upper case, 64 B x {}, depth {}", work.count, work.depth),
    client: &["--talk=uppercase"],
    ..EXCHANGED
};

/// Timers between 1 ms and 60 s, many of them armed at once.
pub static TIMERS: Kind = Kind {
    name: "timers",
    part: "timers",
    reference: "epoll",
    metrics: TIMERS_METRICS,
    note: "Processor time for one timer, of as many as are armed. Re-arming goes through all, \
           cancelling and arming through half of them that go and come, in an order that is random to \
           where they lie in memory, as that of events is; in order is that in which they were armed \
           first, and first arm includes the kernel's handing out memory. Order and times are written \
           down before. harness is what that and a table of names cost, in every row; array is 16 \
           bytes a deadline in an array and nothing else. tokio and monoio are a Sleep each, tokio-util one \
           DelayQueue. Ours belong to a handler, as all our timers do. calloop takes part up to 1,000: \
           moving one of its timers looks at all of them.",
    title: |work| format!("timers, {} armed, 1 ms to 60 s", work.count),
    descriptors: |_| 0,
    measure: drive::alone,
    ..EXCHANGED
};

/// The memory of connections that have exchanged a message and are idle.
pub static IDLE: Kind = Kind {
    name: "idle",
    metrics: IDLE_METRICS,
    note: "Memory of the server's own (Anonymous, smaps) for each connection that has exchanged \
           a message, and how much more as many others take once those are closed: what was not \
           freed. The bare loops (raw, ring, ring-sends, mio, polling, calloop, libev, \
           libevent, libuv) and the tasks here share one buffer, monoio has one of 64 KiB for each connection, of which a \
           page is touched; ours has its codec, limits and idle timeout.",
    title: |work| format!("memory of {} idle connections", work.count),
    client: &["--kind=idle"],
    ..EXCHANGED
};

/// Connections that are opened and closed, [`CHURN_BATCH`] at a time.
pub static CHURN: Kind = Kind {
    name: "churn",
    metrics: CHURN_METRICS,
    note: "Connections are opened, ended by the client and closed by the server, 128 at a time.",
    title: |_| "connect and close".to_owned(),
    descriptors: |_| 2 * CHURN_BATCH,
    client: &["--kind=churn"],
    ..EXCHANGED
};

/// Echo of datagrams. Each socket of the client sends its next datagram when one is answered.
pub static UDP: Kind = Kind {
    name: "udp",
    part: "udp",
    reference: "recvmmsg",
    metrics: UDP_METRICS,
    note: "Each socket of the client has `depth` datagrams in flight and sends the next when one is \
           answered; lost are those that never were. The limit is recvmmsg: batches of up to 64, received \
           with one call and sent back with another. libuv receives batches of 20 and sends each \
           datagram, tokio receives and sends each. Ours receives batches of up to 32 and gives datagrams \
           of one length to one peer to the kernel as one (UDP_SEGMENT), so it is below the limit at \
           depths above 1. Judge by the server's processor time for each \
           datagram. server and client are the shares of their cores they used.",
    title: |work| format!("datagrams, {} B x {}, depth {}", work.size, work.count, work.depth),
    client: &["--kind=datagrams"],
    ..EXCHANGED
};

/// Connections that the subject makes to a bare server, [`UNDER_WAY`] at a time.
pub static DIAL: Kind = Kind {
    name: "dial",
    part: "dial",
    metrics: DIAL_METRICS,
    note: "The loop makes connections, 64 at a time. A bare server in another process accepts and \
           closes each; the loop sees the end, closes its side and makes the next. The figure is the \
           processor time of the program that connects; most of it is TCP in the kernel. Ours has the \
           deadline of connecting in addition, which is its default. dialling and accepting are the \
           shares of their cores that both programs used.",
    title: |_| format!("make a connection and see its end, {UNDER_WAY} at a time"),
    descriptors: |_| 2 * UNDER_WAY,
    measure: drive::dialled,
    client: &["--kind=accept"],
    ..EXCHANGED
};

/// Echo under strace, which counts the system calls of the server.
pub static CALLS: Kind = Kind {
    name: "calls",
    metrics: CALLS_METRICS,
    note: "System calls of the server for each message, 64 B at depth 1, counted by strace: the \
           difference of a run of 1,000 messages and one of 2,000, so that start, connections \
           and end are in neither. With one connection a loop can do no better than wait, read, \
           write. With many, one wait tells of all that are ready, and how many those are is up \
           to the scheduler: compare reads and writes there. On io_uring, one call (wait) hands \
           over what is to be read and written.",
    title: |work| format!("system calls for a message, 64 B x {}, depth 1", work.count),
    measure: drive::counted,
    ..EXCHANGED
};

/// Echo with one to four loops of a group.
pub static SCALE: Kind = Kind {
    name: "scale",
    part: "scale",
    reference: "one-loop",
    metrics: SCALE_METRICS,
    note: "A group of our loops, each on a thread of its own; connections are handed over to the loop \
           with the fewest. Neither the loops nor the client are pinned. The client is one thread and \
           shares this machine's cores with the loops, so there is no target: messages/s say how \
           much of the machine the loops could take over, not how they scale on cores of their own. \
           CPU ns/message is what a message costs all loops together. Above 1, server is more than one \
           core.",
    title: |work| format!("one to four loops, 64 B x {}, depth {}", work.count, work.depth),
    measure: drive::unpinned,
    ..EXCHANGED
};

/// Echo with the concurrency models of textbooks.
pub static MODELS: Kind = Kind {
    name: "models",
    part: "models",
    reference: "reactor",
    metrics: MODELS_METRICS,
    note: "The same session under each --model of echo-server, which has one core with all its processes \
           and threads; the client has another. So the processor time for a message is compared, and \
           not how many cores a model can use. Connections stay open, so iterative can serve one, and \
           pool and prefork one with each of their workers, of which they have as many as there are \
           connections, up to 1,000. fork is measured up to 1,000 processes too. A model that is \
           missing in a table cannot do it. Memory is \
           the growth of Pss with all processes: without sockets, page tables and stacks of the kernel.",
    title: |work| format!("models, echo of 64 B x {}", work.count),
    measure: drive::modelled,
    ..EXCHANGED
};

/// A test of `redis-benchmark`: a number of requests on [`benchmark::CONNECTIONS`] connections.
pub static REQUESTS: Kind = Kind {
    name: "requests",
    note: "redis-benchmark on 50 connections, with `-P` requests in flight on each. Each \
           measurement has a server that was just started, and a tenth as many requests before it. \
           Judge by the server's processor time for each request: canned answers without looking at \
           what it is asked, which no server can do for less. A star says that redis-benchmark was \
           what limited requests/s; canned shows how many it has then with a server that hardly costs \
           anything. server and client are the shares of their cores they used.",
    title: requests_title,
    measure: drive::requested,
    ..REQUESTED
};

/// The same, while the server has only half of its core. So the server limits the requests.
pub static HALF: Kind = Kind {
    name: "half a core",
    note: "The same while another process takes half of the server's core, 100 us at a time: the \
           server is then what limits requests/s wherever there is no star. Caches are shared with \
           that neighbour, which uses little of them.",
    title: |work| requests_title(work) + ", half a core",
    measure: drive::requested_of_half,
    ..REQUESTED
};

/// The defaults of both kinds with `redis-benchmark`.
const REQUESTED: Kind = Kind {
    part: "requests",
    reference: "redis",
    metrics: REQUESTS_METRICS,
    descriptors: |_| benchmark::CONNECTIONS,
    ..EXCHANGED
};

fn requests_title(work: &Work) -> String {
    let test = work.test.map_or("", benchmark::Test::name);
    format!("{test}, {} requests, -P {}", work.count, work.depth)
}

/// The memory of keys.
pub static KEYS: Kind = Kind {
    name: "memory",
    part: "keys",
    reference: "redis",
    metrics: KEYS_METRICS,
    note: "Memory of the server's own (Anonymous, smaps) that keys of 16 bytes with values of 64 take \
           beyond that of an empty server.",
    title: |work| format!("memory of {} keys", work.count),
    descriptors: |_| 0,
    measure: drive::filled,
    ..EXCHANGED
};

/// All kinds of work for the comparison of loops.
pub static LOOPS: [&Kind; 23] = [
    &DISPATCH,
    &ECHO,
    &BOUND,
    &SCHEDULE,
    &LINES,
    &TIMERS,
    &IDLE,
    &CHURN,
    &UDP,
    &DIAL,
    &CALLS,
    &SCALE,
    &MODELS,
    &FILES,
    &FILES_TLS,
    &HANDSHAKES,
    &RESUMED,
    &HELLO,
    &WEBSOCKET,
    &IDLE_HTTP,
    &IDLE_WEBSOCKET,
    &CACHED,
    &FORWARDED,
];
