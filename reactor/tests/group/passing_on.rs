//! What a program needs that passes the sockets of a group on to another process.

use std::io;
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::time::Duration;

use reactor::{Accept, BackendKind, Group, GroupOptions, Listener, Member, Reactor};
use testkit::{PATIENCE, wait_until};

use super::{Plan, ask, connect};

#[test]
fn a_listener_that_was_released_is_taken_back_and_what_waited_is_served() {
    let (group, address) = Plan::new(BackendKind::default(), 2, Accept::default()).start();
    ask(&mut connect(&address));
    let acceptor = group.acceptor().expect("connections are handed over").clone();
    let entrances = group.entrances();
    let (to, from) = mpsc::channel();
    let own = entrances.clone();
    let release = acceptor.post(move |cx| {
        let duplicate = own.duplicate_fd(0, cx).expect("a descriptor is free");
        own.release(0, cx);
        let again = own.duplicate_fd(0, cx).expect("a descriptor is free");
        to.send((duplicate, again.is_some())).expect("the test waits");
    });
    release.expect("it runs");
    let (duplicate, is_left) = from.recv_timeout(PATIENCE).expect("it answers");
    assert!(!is_left, "it was released");
    wait_until("the end of the listener", || group.listeners() == 0);
    let mut waiting = connect(&address);
    let socket = Listener::from_fd(duplicate.expect("it listened")).expect("it listens");
    let resume = acceptor.post(move |cx| entrances.resume(0, socket, cx).expect("it is watched"));
    resume.expect("it runs");
    ask(&mut waiting);
    assert_eq!(group.listeners(), 1);
    group.stop_gracefully(Duration::from_secs(5));
    group.join().check().expect("all end in order");
}

#[test]
fn a_group_that_is_not_ready_does_not_come_about() {
    let threads = NonZeroUsize::new(2).expect("it is not zero");
    let options = GroupOptions { threads, ..GroupOptions::default() };
    let make = |_: &Member<()>| Reactor::new(());
    let ready = || Err(io::Error::other("the other program goes on"));
    let error = Group::start_when(options, vec![], make, |()| panic!("no loop has run"), ready)
        .map(|group: Group<(), ()>| drop(group));
    assert_eq!(error.expect_err("it is refused").to_string(), "the other program goes on");
}
