//! The simulated world: what stands in it works as on a real kernel, and whatever it does, a run can
//! be repeated.

mod controls;
mod datagrams;
mod echo;
mod kinds;
mod node;
mod ring;
mod tcp;

use std::time::Duration;

use reactor::sim::{Faults, Sim, Storm, Tracing};

use echo::{client, far, server};

#[test]
fn an_echo_server_and_its_client_talk_without_faults() {
    let mut sim = Sim::new(1);
    let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    sim.start(one, server).expect("it listens");
    sim.start(other, || client(20)).expect("it dials");
    let done = sim.run_until(Duration::from_secs(10), |sim| far(sim, other).is_done());
    assert!(done.expect("it runs"), "{:?}", far(&mut sim, other));
    assert_eq!(far(&mut sim, other).verified, 20);
    assert_eq!(far(&mut sim, other).dials, 1);
}

#[test]
fn every_byte_is_right_in_a_storm() {
    let summary = Storm::new(0..40).run(|sim| {
        let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
        sim.start(one, server)?;
        sim.start(other, || client(200))?;
        sim.run_for(Duration::from_secs(60))?;
        sim.calm()?;
        let done = sim.run_until(Duration::from_secs(300), |sim| far(sim, other).is_done())?;
        if !done {
            return Err(format!("the client got stuck: {:?}", far(sim, other)).into());
        }
        Ok(())
    });
    println!("{summary}");
}

#[test]
fn a_run_is_repeated_byte_for_byte() {
    let run = |seed| {
        let mut sim = Sim::new(seed);
        sim.set_tracing(Tracing::All);
        sim.set_faults(Faults::all());
        let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
        let started = sim.start(one, server).and_then(|()| sim.start(other, || client(50)));
        let ran = started.and_then(|()| sim.run_for(Duration::from_secs(30)));
        (sim.trace(), format!("{ran:?}"))
    };
    for seed in 0..10 {
        let (first, second) = (run(seed), run(seed));
        assert!(first.0.len() > 100, "{}", first.0);
        for (one, other) in first.0.lines().zip(second.0.lines()) {
            assert_eq!(one, other, "seed {seed}");
        }
        assert_eq!(first, second, "seed {seed}");
    }
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn a_swarm_repeats_itself_and_draws_almost_every_kind() {
    let summary = Storm::new(0..6).swarm().repeated().run(|sim| {
        let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
        let third = sim.host("10.0.0.3");
        sim.start(one, server)?;
        sim.start(other, || client(500))?;
        sim.start(third, || client(500))?;
        sim.run_for(Duration::from_secs(100))?;
        sim.calm()?;
        for host in [other, third] {
            let done = sim.run_until(Duration::from_secs(600), |sim| far(sim, host).is_done())?;
            if !done {
                return Err(format!("a client got stuck: {:?}", far(sim, host)).into());
            }
        }
        Ok(())
    });
    println!("{summary}");
    // Those of datagrams and names, five in all, have no opportunity here.
    assert!(summary.missing().len() < 12 + 5, "{:?} {summary}", summary.missing());
    assert!(summary.coincidences.reused_descriptors > 0, "{summary}");
    assert!(summary.coincidences.merged_events > 0, "{summary}");
}

#[test]
fn a_read_or_write_that_fails_does_not_end_the_stream_in_order() {
    let faults = Faults::NONE.rate(reactor::sim::Fault::NoMemory, 100_000);
    // With spurious events, most reads that fail find no input: everything so far was answered.
    let spurious = faults.clone().rate(reactor::sim::Fault::Spurious, 900_000);
    for faults in [faults, spurious] {
        let mut failures = 0;
        for seed in 0..20 {
            let mut sim = Sim::new(seed);
            let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
            sim.start(one, server).expect("it listens");
            sim.start(other, || client(60)).expect("it dials");
            sim.set_faults(faults.clone());
            sim.run_for(Duration::from_secs(60)).expect("it runs");
            // The server closes no connection by itself.
            let reasons = &far(&mut sim, other).reasons;
            let in_order: Vec<_> = reasons.iter().filter(|it| *it == "peer closed").collect();
            assert!(in_order.is_empty(), "seed {seed}: {reasons:?}");
            failures += reasons.len();
        }
        assert!(failures > 20, "{failures} connections have failed");
    }
}
