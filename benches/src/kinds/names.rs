//! The kinds of work of the Domain Name System.

use super::{EXCHANGED, metric};
use crate::drive;
use crate::load::names::NAMES;
use crate::work::{Kind, Metric, Shown, Work};

const NAMES_METRICS: &[Metric] = &[
    metric("server_ns", "CPU ns/question", 0, Shown::Judged),
    metric("per_second", "questions/s", 0, Shown::Ratio),
    metric("lost", "lost", 0, Shown::Median),
    metric("forwarded", "forwarded", 2, Shown::Median),
    metric("server_busy", "server", 2, Shown::Median),
    metric("client_busy", "client", 2, Shown::Median),
];

fn title(what: &str, work: &Work) -> String {
    let lengths = match work.size {
        1 => "names of one length".to_owned(),
        count => format!("names of {count} lengths"),
    };
    format!("{what}, {} sockets, depth {}, {lengths}", work.count, work.depth)
}

/// Questions whose answers are in the cache of the server.
pub static CACHED: Kind = Kind {
    name: "dns-cached",
    part: "names",
    reference: "dnsmasq",
    metrics: NAMES_METRICS,
    note: "Questions for the addresses of 1,000 names over UDP, which the server has asked before. Each \
           socket of the client has `depth` questions in flight and sends the next when one is answered; \
           lost are those that never were, and forwarded are those that the server passed on, for each \
           question. The servers have one thread and validate nothing. Several answers of one length to \
           one socket, and one that is shorter, are one for the kernel with ours (UDP_SEGMENT), so more lengths \
           cost it more.",
    title: |work| title("questions that the cache answers", work),
    measure: drive::of_names,
    client: &["--kind=known-names"],
    ..EXCHANGED
};

/// Questions that the server has to forward.
pub static FORWARDED: Kind = Kind {
    name: "dns-forwarded",
    note: "The same with names that were never asked before, so the server forwards each. The client is \
           the upstream as well.",
    title: |work| title("questions that are forwarded", work),
    client: &["--kind=new-names"],
    ..CACHED
};

const _: () = assert!(NAMES == 1000, "the note says how many names there are");
