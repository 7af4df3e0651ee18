//! The kinds of work of the web: files, handshakes of TLS, HTTP and WebSocket.

use super::{EXCHANGED, IDLE_METRICS, metric};
use crate::drive;
use crate::load::connections::CHURN_BATCH;
use crate::work::{Kind, Metric, Shown, Work};

const HTTP_METRICS: &[Metric] = &[
    metric("server_ns", "CPU ns/request", 0, Shown::Judged),
    metric("per_second", "requests/s", 0, Shown::Ratio),
    metric("p50_us", "p50 us", 0, Shown::Median),
    metric("p99_us", "p99 us", 0, Shown::Ratio),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
    metric("p999_us", "p99.9 us", 0, Shown::Hidden),
    metric("max_us", "max us", 0, Shown::Hidden),
];
const HANDSHAKE_METRICS: &[Metric] = &[
    metric("server_ns", "CPU ns/handshake", 0, Shown::Judged),
    metric("per_second", "handshakes/s", 0, Shown::Judged),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
];

/// Returns a size with its unit.
fn size(work: &Work) -> String {
    match work.size {
        size if size % 1024 == 0 => format!("{} KiB", size / 1024),
        size => format!("{size} B"),
    }
}

/// Files over connections that stay open.
pub static FILES: Kind = Kind {
    name: "files",
    part: "files",
    reference: "nginx",
    metrics: HTTP_METRICS,
    note: "A file over connections that stay open; each sends its next request when one is answered. \
           Neither server writes a log of requests. nginx sends with sendfile(2) and keeps the file open; \
           web does so with files above 64 KiB, and sends smaller ones from memory. \
           nginx is one process (master_process off), with tcp_nopush as Debian has it. The client \
           compares every byte of the responses except the value of Date.",
    title: |work| format!("files, {} x {}", size(work), work.count),
    measure: drive::of_files,
    client: &["--talk=http"],
    ..EXCHANGED
};

/// The same over TLS.
pub static FILES_TLS: Kind = Kind {
    name: "files-tls",
    part: "files-tls",
    reference: "nginx",
    metrics: HTTP_METRICS,
    note: "The same over TLS 1.3 with AES-256-GCM. nginx has OpenSSL of the system.",
    title: |work| format!("files over TLS, {} x {}", size(work), work.count),
    measure: drive::of_files,
    client: &["--talk=http", "--tls"],
    ..EXCHANGED
};

/// Handshakes of TLS without an earlier session.
pub static HANDSHAKES: Kind = Kind {
    name: "handshakes",
    part: "files-tls",
    reference: "nginx",
    metrics: HANDSHAKE_METRICS,
    note: "Connections with a handshake of TLS 1.3 and nothing else, 128 at a time: X25519, a \
           certificate of ECDSA with P-256, and the tickets that the server sends by default. The \
           client does not check the signature, so that it costs less than the server. Still, judge \
           by the processor time.",
    title: |_| "handshakes of TLS".to_owned(),
    descriptors: |_| 2 * CHURN_BATCH,
    measure: drive::of_files,
    client: &["--kind=handshakes"],
    ..EXCHANGED
};

/// Handshakes of sessions that are resumed.
pub static RESUMED: Kind = Kind {
    name: "resumed",
    part: "files-tls",
    reference: "nginx",
    metrics: HANDSHAKE_METRICS,
    note: "The same with the ticket of an earlier session, once each, and X25519.",
    title: |_| "handshakes of TLS, resumed".to_owned(),
    descriptors: |_| 2 * CHURN_BATCH,
    measure: drive::of_files,
    client: &["--kind=resumed"],
    ..EXCHANGED
};

/// A short response of a service.
pub static HELLO: Kind = Kind {
    name: "hello",
    part: "hello",
    reference: "hyper",
    note: "A service answers 13 bytes, with Date and Content-Type, to one path. hyper runs on tokio's \
           current-thread runtime, with pipeline_flush and without limits of time; ours has its \
           default limits. canned sends the same bytes without looking at a request.",
    title: |work| format!("hello, {} connections, depth {}", work.count, work.depth),
    measure: drive::loaded,
    metrics: HTTP_METRICS,
    client: &["--talk=http"],
    ..EXCHANGED
};

/// Messages of WebSocket.
pub static WEBSOCKET: Kind = Kind {
    name: "websocket",
    part: "websocket",
    reference: "fastwebsockets",
    note: "Echo of binary messages that the client masks. All servers deliver whole messages. \
           fastwebsockets has the socket directly, without hyper. tungstenite is tokio-tungstenite, \
           the form in which most servers have it. Both run on tokio's current-thread runtime.",
    title: |work| format!("websocket, {} x {}", size(work), work.count),
    client: &["--talk=websocket"],
    ..EXCHANGED
};

/// The memory of idle connections of HTTP.
pub static IDLE_HTTP: Kind = Kind {
    name: "idle-http",
    part: "hello",
    reference: "hyper",
    note: "Memory of the server's own (Anonymous, smaps) for each connection that waits for its next \
           request, and how much more as many others take once those are closed.",
    title: |work| format!("memory of {} idle connections of HTTP", work.count),
    client: &["--kind=idle", "--talk=http"],
    metrics: IDLE_METRICS,
    ..EXCHANGED
};

/// The memory of idle WebSockets.
pub static IDLE_WEBSOCKET: Kind = Kind {
    name: "idle-websocket",
    part: "websocket",
    reference: "fastwebsockets",
    note: "The same for WebSockets without compression that have exchanged a message of 64 bytes.",
    title: |work| format!("memory of {} idle WebSockets", work.count),
    client: &["--kind=idle", "--talk=websocket"],
    metrics: IDLE_METRICS,
    ..EXCHANGED
};
