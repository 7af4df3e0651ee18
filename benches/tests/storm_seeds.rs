//! Runs each scenario of the storm for its seeds. The binary `storm` runs more of them.
//!
//! `SIM_SEED=17 cargo test -p myevent-benches --test storm_seeds echo -- --exact --nocapture` runs
//! one seed of one scenario and prints its trace.

use benches::storm::scenarios;
use reactor::sim::{SEED_VARIABLE, Storm, Summary};

/// Runs the seeds of a scenario. Prints the faults that were drawn.
fn run(name: &str) -> Summary {
    let scenario = scenarios::find(name).expect("there is such a scenario");
    let summary = Storm::new(0..scenario.seeds).run(scenario.run);
    println!("{name}: {summary}");
    summary
}

/// Returns whether all seeds are run.
fn is_whole() -> bool {
    std::env::var_os(SEED_VARIABLE).is_none()
}

/// Checks that every fault was drawn but those of names and datagrams, which these scenarios do not use.
fn draws_every_fault(summary: &Summary) {
    let mut missing = summary.missing();
    let unused = ["name-", "datagram-"];
    missing.retain(|fault| !unused.iter().any(|prefix| fault.name().starts_with(prefix)));
    assert_eq!(missing, [], "some faults were never drawn");
}

#[test]
fn echo() {
    let summary = run("echo");
    if is_whole() {
        draws_every_fault(&summary);
    }
}

#[test]
fn echo_strict() {
    run("echo-strict");
}

#[test]
fn uppercase() {
    run("uppercase");
}

#[test]
fn tls() {
    let summary = run("tls");
    if is_whole() {
        draws_every_fault(&summary);
    }
}

#[test]
fn http() {
    run("http");
}

#[test]
fn websocket() {
    run("websocket");
}

#[test]
fn web() {
    run("web");
}

#[test]
fn kv_keys() {
    run("kv-keys");
}

#[test]
fn kv_lists() {
    run("kv-lists");
}

#[test]
fn kv_channels() {
    run("kv-channels");
}

#[test]
fn kv_restarts() {
    let summary = run("kv-restarts");
    if is_whole() {
        draws_every_fault(&summary);
    }
}

#[test]
fn clients() {
    run("clients");
}

#[test]
fn pools() {
    run("pools");
}

#[test]
fn subscribers() {
    run("subscribers");
}

#[test]
fn departures() {
    run("departures");
}

#[test]
fn stop() {
    run("stop");
}

#[test]
fn idle() {
    run("idle");
}

#[test]
fn calendar() {
    run("calendar");
}

#[test]
fn hooks() {
    run("hooks");
}

#[test]
fn priorities() {
    run("priorities");
}

#[test]
fn timers() {
    run("timers");
}

#[test]
fn crowd() {
    run("crowd");
}

#[test]
fn names() {
    run("names");
}

#[test]
fn dials() {
    run("dials");
}

#[test]
fn races() {
    run("races");
}

#[test]
fn clocks() {
    run("clocks");
}

#[test]
fn limits() {
    run("limits");
}

#[test]
fn datagrams() {
    let summary = run("datagrams");
    if is_whole() {
        let missing = summary.missing();
        let missing = missing.iter().filter(|fault| fault.name().starts_with("datagram-"));
        assert_eq!(missing.count(), 0, "some faults of datagrams were never drawn");
    }
}

#[test]
fn sentinels() {
    run("sentinels");
}

#[test]
fn readers() {
    run("readers");
}

/// What every scenario demands holds on rings too: a twentieth of its seeds, and one at least, with loops
/// whose backend moves the bytes of connections.
#[test]
fn every_scenario_runs_on_rings() {
    for scenario in scenarios::ALL.iter().filter(|_| is_whole()) {
        for number in 0..scenario.seeds.div_ceil(20) {
            let seed = scenarios::RINGS_FROM + 2 * number;
            println!("{}, seed {seed}", scenario.name);
            Storm::new(seed..seed + 1).run(scenario.run);
        }
    }
}

/// A clock or an order that no seed decides would show here.
#[test]
fn every_scenario_is_repeated_byte_for_byte() {
    for scenario in scenarios::ALL.iter().filter(|_| is_whole()) {
        Storm::new(1..3).repeated().run(scenario.run);
    }
}

#[test]
fn five_hundred_seeds_draw_all_faults_and_each_scenario_has_a_test() {
    let all = scenarios::ALL.iter().filter(|scenario| scenario.draws_all);
    let seeds: u64 = all.map(|scenario| scenario.seeds).sum();
    assert!(seeds >= 500, "{seeds}");
    let source = include_str!("storm_seeds.rs");
    for scenario in scenarios::ALL {
        let call = format!("run(\"{}\")", scenario.name);
        assert!(source.contains(&call), "{} has no test", scenario.name);
    }
}
