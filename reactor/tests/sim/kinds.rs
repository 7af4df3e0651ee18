//! Every kind of fault, alone, and what a program sees of it.

use std::time::Duration;

use reactor::sim::{Fault, Faults, Sim, Storm, chance};
use reactor::{BackendKind, ListenOptions};

use crate::echo::{client, far, server};
use crate::node::{Act, Node, PATIENT, Pair, act_on, dial, node};

fn only(fault: Fault) -> Faults {
    Faults::NONE.rate(fault, 1_000_000)
}

/// Returns a connected pair that `fault` strikes from now on.
fn struck(fault: Fault) -> Pair {
    let mut pair = Pair::connected();
    pair.sim.set_faults(only(fault));
    pair
}

/// Returns a pair that has dialled while `fault` strikes, after some time.
fn dialled(fault: Fault, milliseconds: u64) -> Pair {
    let mut pair = Pair::new();
    pair.sim.set_faults(only(fault));
    pair.dial();
    pair.run(milliseconds);
    assert!(pair.drawn(fault) > 0, "{fault}");
    pair
}

#[test]
fn slow_ways_are_slow() {
    for (fault, least, most) in
        [(Fault::Delay, 10, 1_100), (Fault::Tail, 0, 12), (Fault::SlowPair, 1, 101)]
    {
        let mut pair = struck(fault);
        pair.act_near(Act::Write(b"x".to_vec()));
        if least > 0 {
            pair.run(least - 1);
            assert_eq!(pair.far(0).read, b"", "{fault}");
        }
        pair.run(most + 2);
        assert_eq!(pair.far(0).read, b"x", "{fault}");
        assert!(pair.drawn(fault) > 0);
    }
}

#[test]
fn segments_are_split_and_merged_without_loss() {
    let bytes: Vec<u8> = (0..20_000_u32).map(|place| place as u8).collect();
    for fault in [Fault::Split, Fault::Merge, Fault::SmallBuffer] {
        let mut pair = Pair::new();
        pair.sim.set_faults(only(fault));
        pair.dial();
        pair.act_near(Act::Write(bytes.clone()));
        pair.run(600_000);
        assert!(pair.far(0).read == bytes, "{fault}: {}", pair.far(0).read.len());
        assert!(pair.drawn(fault) > 0);
    }
}

#[test]
fn bits_change_on_the_way_only_when_asked() {
    let mut pair = struck(Fault::Corrupt);
    pair.act_near(Act::Write(vec![0; 100]));
    pair.run(100);
    let ones: u32 = pair.far(0).read.iter().map(|byte| byte.count_ones()).sum();
    assert_eq!((pair.far(0).read.len(), ones), (100, 1));
}

#[test]
fn connections_end_early_on_one_side_or_both() {
    let mut pair = struck(Fault::Reset);
    pair.act_near(Act::Write(b"x".to_vec()));
    pair.run(100);
    assert!(pair.near_end().contains("reset") && pair.far_end().contains("reset"));

    let mut pair = struck(Fault::ResetOneSide);
    pair.act_near(Act::Write(b"x".to_vec()));
    pair.run(100);
    pair.sim.set_faults(Faults::NONE);
    let ended = [pair.near_end(), pair.far_end()];
    assert_eq!(ended.iter().filter(|end| end.contains("reset")).count(), 1, "{ended:?}");
    // The other side learns of it when it sends.
    let knows_not = if ended[0].is_empty() { pair.client } else { pair.server };
    act_on(&mut pair.sim, knows_not, 0, Act::Write(b"y".to_vec()));
    pair.run(100);
    assert!(pair.near_end().contains("reset") && pair.far_end().contains("reset"));

    for (fault, both) in [(Fault::Finish, true), (Fault::HalfClose, false)] {
        let mut pair = struck(fault);
        pair.act_near(Act::Write(b"x".to_vec()));
        pair.run(100);
        assert_eq!(pair.far(0).read, b"x", "{fault}");
        assert!(pair.far(0).at_end, "{fault}");
        assert_eq!(pair.near(0).at_end, both, "{fault}");
    }
}

#[test]
fn a_swallowed_direction_stays_silent_until_calm() {
    for (fault, both) in [(Fault::Swallow, false), (Fault::SwallowBoth, true)] {
        let mut pair = struck(fault);
        pair.act_near(Act::Write(b"first".to_vec()));
        pair.run(100);
        pair.sim.set_faults(Faults::NONE);
        pair.act_near(Act::Write(b" second".to_vec()));
        pair.act_far(Act::Write(b"back".to_vec()));
        pair.run(300_000);
        assert_eq!(pair.far(0).read, b"first", "{fault}");
        assert_eq!(pair.near(0).read.is_empty(), both, "{fault}");
        pair.sim.calm().expect("nothing has to start");
        pair.run(2_000);
        assert_eq!(pair.far(0).read, b"first second", "{fault}");
        assert_eq!(pair.near(0).read, b"back", "{fault}");
    }
}

#[test]
fn attempts_to_connect_fail_in_every_way() {
    for (fault, texts) in [
        (Fault::Refuse, &["refused"][..]),
        (Fault::Unreachable, &["host unreachable", "network unreachable"]),
    ] {
        let mut pair = dialled(fault, 100);
        let ended = pair.near_end();
        assert!(texts.iter().any(|text| ended.contains(text)), "{fault}: {ended}");
    }
    for fault in [Fault::NoPort, Fault::ConnectFails, Fault::SocketRefused] {
        let mut pair = dialled(fault, 1);
        assert!(pair.near_end().starts_with("connect: 10.0.0.1:7: "), "{fault}");
        assert!(!pair.near(0).is_called);
    }
}

#[test]
fn a_blackhole_lasts_longer_than_an_attempt() {
    for (fault, port) in [(Fault::Blackhole, false), (Fault::BlackholePort, true)] {
        let mut pair = dialled(fault, 130_000);
        assert!(pair.near_end().contains("ETIMEDOUT"), "{fault}: {}", pair.near_end());
        pair.sim.set_faults(Faults::NONE);
        pair.run(200_000);
        let index = pair.dial();
        pair.run(10);
        assert_eq!(pair.near(index).is_called, !port, "{fault}");
        pair.sim.calm().expect("nothing has to start");
        let index = pair.dial();
        pair.run(10);
        assert!(pair.near(index).is_called, "{fault}");
    }
}

#[test]
fn hosts_are_cut_from_each_other_and_held_for_a_while() {
    for fault in [
        Fault::Partition,
        Fault::PartitionOneWay,
        Fault::Isolate,
        Fault::Divide,
        Fault::Hold,
        Fault::Swizzle,
    ] {
        let mut pair = struck(fault);
        // The next opportunity comes within 100 ms, and swizzling takes up to a second.
        pair.run(if fault == Fault::Swizzle { 3_000 } else { 100 });
        assert!(pair.drawn(fault) > 0, "{fault}");
        pair.sim.set_faults(Faults::NONE);
        pair.act_near(Act::Write(b"there".to_vec()));
        pair.act_far(Act::Write(b"and back".to_vec()));
        pair.run(5);
        let arrived = pair.far(0).read.len() + pair.near(0).read.len();
        assert!(arrived < 13, "{fault}: {arrived} bytes");
        pair.run(16_000);
        assert_eq!(pair.far(0).read, b"there", "{fault}");
        assert_eq!(pair.near(0).read, b"and back", "{fault}");
    }
}

#[test]
fn a_kernel_that_misbehaves_loses_nothing() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|place| (place % 253) as u8).collect();
    for kind in BackendKind::ALL {
        for (fault, rate) in [
            (Fault::ShortRead, 1_000_000),
            (Fault::ShortWrite, 1_000_000),
            (Fault::Spurious, 300_000),
            (Fault::Late, 1_000_000),
            (Fault::Reorder, 1_000_000),
            (Fault::FullArray, 1_000_000),
            (Fault::Interrupt, 500_000),
            (Fault::LateTimer, 1_000_000),
            (Fault::FalseWouldBlock, 300_000),
            (Fault::WaitNoMemory, 300_000),
        ] {
            let mut pair = Pair::with(kind, ListenOptions::DEFAULT);
            pair.sim.set_tracing(reactor::sim::Tracing::Off);
            pair.sim.set_faults(Faults::NONE.rate(fault, rate));
            for _ in 0..3 {
                pair.dial();
            }
            for index in 0..3 {
                act_on(&mut pair.sim, pair.client, index, Act::Write(bytes.clone()));
            }
            pair.run(120_000);
            for index in 0..3 {
                let far = pair.far(index);
                assert!(far.read == bytes, "{kind} {fault}: {} bytes", far.read.len());
            }
            assert!(pair.drawn(fault) > 0, "{kind} {fault}");
        }
    }
}

#[test]
fn errors_of_reads_and_writes_reach_the_program() {
    let mut pair = struck(Fault::NoMemory);
    pair.act_near(Act::Write(b"x".to_vec()));
    pair.run(100);
    let ended = pair.near_end();
    assert!(ended.contains("os error 105") || ended.contains("os error 12"), "{ended}");
    assert!(pair.far_end().contains("os error"), "{}", pair.far_end());

    let mut pair = struck(Fault::NetworkError);
    pair.act_near(Act::Write(b"x".to_vec()));
    pair.run(100);
    let ended = pair.near_end();
    let known = [100, 101, 110, 113].iter().any(|it| ended.contains(&format!("os error {it}")));
    assert!(known, "{ended}");
    assert_eq!(pair.far_end(), "", "the other side is not told");
}

#[test]
fn accepting_fails_in_every_way_and_goes_on() {
    for (fault, is_lost) in [
        (Fault::AcceptAborted, true),
        (Fault::AcceptError, true),
        (Fault::AcceptNoDescriptor, false),
        (Fault::AcceptNoMemory, false),
        (Fault::WatchRefused, true),
        (Fault::FalseWouldBlock, false),
    ] {
        let mut pair = Pair::new();
        pair.dial();
        pair.sim.set_faults(only(fault));
        pair.run(100);
        assert!(pair.drawn(fault) > 0, "{fault}");
        assert!(pair.nodes(pair.server).conns.iter().all(|conn| !conn.is_called), "{fault}");
        pair.sim.set_faults(Faults::NONE);
        pair.run(5_000);
        assert_eq!(pair.near(0).ended.is_some() || pair.near(0).at_end, is_lost, "{fault}");
        let index = pair.dial();
        pair.run(5_000);
        assert!(pair.near(index).is_called && pair.near(index).ended.is_none(), "{fault}");
    }
    let mut pair = dialled(Fault::AcceptDead, 100);
    assert!(pair.far_end().contains("reset"), "accepted, and then: {}", pair.far_end());
}

#[test]
fn the_backlog_is_accepted_in_any_order() {
    let mut pair = Pair::new();
    pair.sim.stop(pair.server);
    for index in 0..3 {
        pair.dial();
        pair.run(10);
        act_on(&mut pair.sim, pair.client, index, Act::Write(vec![b'0' + index as u8]));
        pair.run(10);
    }
    pair.sim.set_faults(only(Fault::AcceptReorder));
    pair.sim.resume(pair.server);
    pair.run(100);
    let order: Vec<Vec<u8>> =
        pair.nodes(pair.server).conns.iter().map(|conn| conn.read.clone()).collect();
    assert_ne!(order[0], b"0", "{order:?}");
    assert_eq!(order.len(), 3);
}

#[test]
fn clocks_jump_and_drift_and_timers_keep_their_own_time() {
    let times = |sim: &mut Sim, host| {
        sim.with::<Node, _>(host, |_| (reactor::now(), reactor::time_of_day())).expect("it runs")
    };
    let mut pair = Pair::new();
    let before = times(&mut pair.sim, pair.server);
    pair.sim.set_faults(only(Fault::ClockJump));
    pair.run(1_050);
    let after = times(&mut pair.sim, pair.server);
    assert!(after.0 - before.0 > Duration::from_secs(2), "{:?}", after.0 - before.0);
    assert!(after.1 - before.1 > Duration::from_secs(2));

    let mut pair = Pair::new();
    let before = times(&mut pair.sim, pair.server);
    pair.sim.set_faults(only(Fault::WallClockJump));
    pair.run(1_050);
    let after = times(&mut pair.sim, pair.server);
    assert!(after.0 - before.0 < Duration::from_millis(1_100), "{:?}", after.0 - before.0);
    assert!(after.1.abs_diff(before.1) > Duration::from_secs(2));

    let mut sim = Sim::new(5);
    sim.set_faults(only(Fault::ClockDrift));
    let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    for host in [one, other] {
        sim.start(host, || node(BackendKind::Epoll, &[], ListenOptions::DEFAULT)).expect("starts");
    }
    let before = [times(&mut sim, one), times(&mut sim, other)];
    assert!(before[0].1.abs_diff(before[1].1) > Duration::from_secs(1));
    sim.run_for(Duration::from_secs(100_000)).expect("it runs");
    for (host, before) in [one, other].into_iter().zip(before) {
        let shown = times(&mut sim, host).0 - before.0;
        let drift = shown.abs_diff(Duration::from_secs(100_000));
        assert!(drift > Duration::from_secs(1) && drift <= Duration::from_secs(101), "{shown:?}");
        let ticks = sim.reactor::<Node>(host).expect("it runs").app.ticks as u64;
        assert!(ticks.abs_diff(shown.as_secs()) <= 1, "{ticks} ticks in {shown:?}");
    }
}

#[test]
fn a_late_timer_is_late() {
    let mut pair = Pair::new();
    pair.sim.set_faults(only(Fault::LateTimer));
    pair.run(20_000);
    assert!(pair.drawn(Fault::LateTimer) > 10);
    let ticks = pair.nodes(pair.server).ticks;
    assert!((10..=20).contains(&ticks), "{ticks}");
}

#[test]
fn programs_stall_stop_die_and_come_back() {
    for fault in [Fault::Stall, Fault::Stop, Fault::Kill, Fault::Crash, Fault::KillMany] {
        let mut pair = Pair::connected();
        pair.sim.set_faults(Faults::NONE.rate(fault, 200_000));
        pair.run(20_000);
        assert!(pair.drawn(fault) > 0, "{fault}");
        pair.sim.calm().expect("they start");
        pair.run(4_000);
        let index = pair.dial();
        pair.run(100);
        assert!(pair.near(index).is_called, "{fault}");
        let lives = matches!(fault, Fault::Stall | Fault::Stop);
        let trace = pair.sim.trace();
        assert_eq!(trace.matches(" starts").count() > 2, !lives, "{fault}");
    }
    let mut pair = Pair::new();
    pair.sim.set_faults(only(Fault::KillStarting).rate(Fault::Kill, 100_000));
    pair.run(20_000);
    assert!(pair.drawn(Fault::KillStarting) > 5, "{}", pair.drawn(Fault::KillStarting));
}

#[test]
fn a_point_in_a_program_does_something_unusual_now_and_then() {
    assert!(!chance("outside"));
    let mut pair = Pair::new();
    pair.sim.set_faults(Faults::NONE.rate(Fault::Chance, 250_000));
    let count = |pair: &mut Pair, name: &str| {
        let drawn = pair
            .sim
            .with::<Node, Vec<bool>>(pair.server, |_| (0..1_000).map(|_| chance(name)).collect());
        drawn.expect("it runs")
    };
    let (one, other) = (count(&mut pair, "one"), count(&mut pair, "other"));
    assert_ne!(one, other);
    for drawn in [one, other] {
        let often = drawn.iter().filter(|it| **it).count();
        assert!((200..300).contains(&often), "{often}");
    }
    assert!(pair.sim.trace().contains("! chance: one"));
}

/// A test with a mistake of its own: it takes a short read for the whole.
fn mistaken(sim: &mut Sim) -> reactor::sim::Outcome {
    let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    sim.start(one, || node(BackendKind::Epoll, &["0.0.0.0:7"], ListenOptions::DEFAULT))?;
    sim.start(other, || node(BackendKind::Epoll, &[], ListenOptions::DEFAULT))?;
    dial(sim, other, "10.0.0.1:7", PATIENT);
    act_on(sim, other, 0, Act::Write(vec![b'x'; 100]));
    let is_read = |sim: &mut Sim| {
        let state = sim.reactor::<Node>(one).map(|reactor| &reactor.app);
        state.is_some_and(|state| state.conns.iter().any(|conn| !conn.read.is_empty()))
    };
    sim.run_until(Duration::from_secs(60), is_read)?;
    let state = sim.reactor::<Node>(one).map(|reactor| &reactor.app);
    match state.and_then(|state| state.conns.first()).map(|conn| conn.read.len()) {
        Some(count @ 1..=99) => Err(format!("a request of {count} bytes").into()),
        _ => Ok(()),
    }
}

#[test]
fn a_failure_names_the_faults_that_it_needs_and_no_other() {
    let faults = Faults::all().rate(Fault::Split, 500_000).without(&[Fault::SmallBuffer]);
    let failure = Storm::new(0..50).faults(faults).hunt(mistaken).expect_err("it is mistaken");
    assert!(failure.message.contains("a request of"), "{failure}");
    assert_eq!(failure.needed.len(), 1, "{failure}");
    assert!(failure.drawn > 1, "{failure}");
    assert!(failure.trace.contains("arrive"), "{failure}");
}

#[test]
fn a_storm_without_reduction_runs_no_seed_again() {
    let faults = Faults::all().rate(Fault::Split, 500_000).without(&[Fault::SmallBuffer]);
    let mut runs = 0;
    let result = Storm::new(0..50).faults(faults).unreduced().hunt(|sim| {
        runs += 1;
        mistaken(sim)
    });
    let failure = result.expect_err("it is mistaken");
    assert_eq!(runs, failure.seed + 1);
    assert_eq!(failure.needed.len(), failure.drawn);
}

#[test]
fn a_test_that_does_not_repeat_itself_is_found() {
    let mut runs = 0;
    let result = Storm::new(0..1).repeated().hunt(|sim| {
        runs += 1;
        sim.note(format_args!("run {runs}"));
        Ok(())
    });
    let failure = result.expect_err("it counts its runs");
    assert!(failure.message.contains("two runs differ in line 0"), "{failure}");
}

/// Kinds to which one client gives no opportunity. They have tests of their own.
const APART: [Fault; 11] = [
    Fault::Corrupt,
    Fault::Reorder,
    Fault::FullArray,
    Fault::AcceptReorder,
    Fault::KillStarting,
    Fault::Chance,
    Fault::DatagramLost,
    Fault::DatagramTwice,
    Fault::DatagramLate,
    Fault::NameSlow,
    Fault::NameFails,
];
/// How many seeds a kind gets to strike.
const SEEDS: u64 = 500;

/// Returns whether a fault was drawn while a client was served.
fn strikes_an_echo(fault: Fault, seed: u64) -> bool {
    let mut sim = Sim::new(seed);
    sim.set_faults(Faults::NONE.rate(fault, 20_000));
    let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    sim.start(one, server).and_then(|()| sim.start(other, || client(60))).expect("they start");
    sim.run_for(Duration::from_secs(30)).expect("it runs");
    sim.calm().expect("they start");
    let done = sim.run_until(Duration::from_secs(200), |sim| far(sim, other).is_done());
    assert!(done.expect("it runs"), "{fault}, seed {seed}: {:?}", far(&mut sim, other));
    !sim.drawn().is_empty()
}

#[test]
fn an_echo_survives_every_kind_alone() {
    for fault in Fault::ALL.into_iter().filter(|fault| !APART.contains(fault)) {
        let drawn = (0..SEEDS).any(|seed| strikes_an_echo(fault, seed));
        assert!(drawn, "{fault} was never drawn");
    }
}
