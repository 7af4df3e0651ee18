//! Opens a hundred connections, which the client ends and the server closes, on each backend.

mod common;

use benches::net;
use common::Server;
use criterion::{Criterion, Throughput};
use reactor::BackendKind;

/// The number of connections that are opened before they are ended.
const BATCH: usize = 100;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut number = 0;
    for kind in BackendKind::ALL {
        let server = Server::start(kind, servers::echo::session);
        let mut group = criterion.benchmark_group("churn");
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(format!("{BATCH} connections on {kind}"), |bencher| {
            bencher.iter(|| {
                let connect = |_| {
                    number += 1;
                    net::connect_from(number, server.address).expect("the server accepts")
                };
                let batch = (0..BATCH).map(connect).collect();
                net::end_all(batch).expect("the server closes");
            });
        });
        group.finish();
    }
    criterion.final_summary();
}
