//! The servers that are compared with Redis.

use super::{Subject, rust};
use crate::benchmark;
use crate::loops::{canned, ours};

/// `kv`, Redis, and the limit of both.
pub const AGAINST_REDIS: [Subject; 3] = [
    rust(
        "redis",
        "redis-server, persistence off, one I/O thread",
        &[("requests", |_| benchmark::become_redis()), ("keys", |_| benchmark::become_redis())],
    ),
    rust(
        "kv",
        "our server with its defaults",
        &[("requests", |_| benchmark::become_kv(None)), ("keys", |_| benchmark::become_kv(None))],
    ),
    CANNED,
];

/// The limit of every server that answers short requests.
pub(super) const CANNED: Subject = rust(
    "canned",
    "a bare epoll loop with canned replies: the limit",
    &[("requests", |_| canned::tests()), ("hello", |_| canned::hello())],
);

/// `kv` on a backend that is not its default, by the name of the backend.
pub const KV_ON: [(&str, Subject); 4] = [
    ("epoll-lt", kv_on("kv-epoll-lt", &[("requests", |_| benchmark::become_kv(Some("epoll-lt")))])),
    ("poll", kv_on("kv-poll", &[("requests", |_| benchmark::become_kv(Some("poll")))])),
    ("select", kv_on("kv-select", &[("requests", |_| benchmark::become_kv(Some("select")))])),
    (
        "uring",
        kv_on("kv-uring", &[("requests", |_| benchmark::become_kv(Some("uring")))])
            .unless(ours::no_uring),
    ),
];

const fn kv_on(name: &'static str, parts: &'static [super::Part]) -> Subject {
    rust(name, "our server on this backend", parts)
}
