//! Runs the chain of socket pairs on each backend: 1,100 events a run, 100 active at a time.

use benches::loops::ours;
use benches::scene::{self, Chain};
use criterion::{BenchmarkId, Criterion, Throughput};
use reactor::BackendKind;

fn dispatch(criterion: &mut Criterion, kind: BackendKind) {
    let mut group = criterion.benchmark_group(format!("dispatch on {kind}"));
    group.throughput(Throughput::Elements(scene::EVENTS as u64));
    for count in [100, 1000, 8000] {
        let mut reactor = ours::chain(kind, count).expect("the limit of descriptors allows it");
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                reactor.app.start().expect("the pairs take bytes");
                reactor.run_until(Chain::is_done).expect("the loop runs");
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for kind in BackendKind::ALL {
        dispatch(&mut criterion, kind);
    }
    criterion.final_summary();
}
