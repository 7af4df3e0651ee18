//! Loops that fail: they are reported, and the others stop or go on.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;

use reactor::sim::Sim;
use reactor::{BackendKind, Group, GroupOptions, Member, Reactor, WhenOneFails};

use crate::{Plan, WAYS, ask, connect};

/// Makes a loop of the group panic. Returns its number.
fn break_one(address: &str) -> usize {
    let mut client = connect(address);
    let number = ask(&mut client);
    client.write_all(b"p").expect("it takes bytes");
    // It is reset, or ends.
    let _ = client.read(&mut [0]);
    number
}

#[test]
fn a_loop_that_panics_stops_all_in_order() {
    for accept in WAYS {
        let (group, address) = Plan::new(BackendKind::Epoll, 3, accept).start();
        let number = break_one(&address);
        let ended = group.join();
        for outcome in &ended.loops {
            assert_eq!(outcome.result.is_err(), outcome.index == number, "{accept}");
        }
        let error = ended.check().expect_err("one has failed").to_string();
        assert_eq!(error, format!("loop {number}: it panicked: it was told to"));
    }
}

#[test]
fn the_others_go_on_when_they_are_to() {
    for accept in WAYS {
        let mut plan = Plan::new(BackendKind::Epoll, 3, accept);
        plan.options = GroupOptions { when_one_fails: WhenOneFails::GoOn, ..plan.options };
        let (group, address) = plan.start();
        let number = break_one(&address);
        testkit::wait_until("the end of one loop", || group.running() == 2);
        let mut clients: Vec<TcpStream> = (0..30).map(|_| connect(&address)).collect();
        for client in &mut clients {
            assert_ne!(ask(client), number, "{accept}");
        }
        drop(clients);
        group.stop_gracefully(testkit::PATIENCE);
        let ended = group.join();
        let failed = ended.loops.iter().filter(|it| it.result.is_err()).count();
        assert_eq!(failed, 1, "{accept}");
    }
}

#[test]
fn a_loop_that_cannot_be_made_ends_the_start_with_its_error() {
    for text in ["an error", "a panic"] {
        let make = move |member: &Member<()>| match (member.index(), text) {
            (2, "an error") => Err(io::Error::other("no loop 2 today")),
            (2, _) => panic!("no loop 2 today"),
            _ => Reactor::new(()),
        };
        let threads = NonZeroUsize::new(4).expect("it is not zero");
        let options = GroupOptions { threads, ..GroupOptions::default() };
        let error = Group::start(options, vec![], make, |()| ()).expect_err("one cannot be made");
        assert!(error.to_string().ends_with("no loop 2 today"), "{error}");
    }
}

#[test]
fn a_state_that_cannot_be_finished_is_reported() {
    let threads = NonZeroUsize::new(2).expect("it is not zero");
    let options = GroupOptions { threads, ..GroupOptions::default() };
    let make = |member: &Member<usize>| Reactor::new(member.index());
    let finish = |index: &mut usize| {
        assert_eq!(*index, 0, "only the first can be finished");
        7
    };
    let group = Group::start(options, vec![], make, finish).expect("it starts");
    group.stop();
    let ended = group.join();
    assert_eq!((ended.loops[0].state, ended.loops[1].state), (Some(7), None));
    assert!(ended.check().is_err());
}

#[test]
fn a_simulated_host_has_no_threads() {
    let mut sim = Sim::new(1);
    let host = sim.host("10.0.0.1");
    let started = sim.start(host, || {
        let make = |_: &Member<()>| Reactor::new(());
        let result = Group::start(GroupOptions::default(), vec![], make, |()| ());
        let error = result.expect_err("a host has no threads");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("a simulated host has no threads"), "{error}");
        Reactor::new(())
    });
    started.expect("the program starts");
}
