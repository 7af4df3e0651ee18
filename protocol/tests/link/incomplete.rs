//! An output whose end the peer would not notice: it is cut, not ended.

use std::time::Duration;

use protocol::Cause::{self, Input, Opened, Timeout, Woken};
use protocol::link::Link;
use protocol::testing::Wire;

use crate::probe::Act::{self, Close, EndOutput, Incomplete, Refuse, Say};
use crate::probe::{Probe, Told, limits};

const BEGINS: &[Act] = &[Incomplete(true), Say(5)];

fn wire(acts: &'static [(Cause, &'static [Act])]) -> (Wire<Probe>, Told) {
    let mut told = Told::default();
    let mut wire = Wire::over(Link::new(Probe::new(acts), limits()));
    wire.run(&mut told);
    (wire, told)
}

#[test]
fn an_incomplete_output_is_sent_and_then_cut_whatever_ends_it() {
    let closes: &[(Cause, &[Act])] = &[(Opened, BEGINS), (Input, &[Say(7), Close])];
    let refuses: &[(Cause, &[Act])] = &[(Opened, BEGINS), (Input, &[Say(7), Refuse])];
    let at_once: &[(Cause, &[Act])] = &[(Input, &[Incomplete(true), Say(12), Close])];
    for (acts, reason) in
        [(closes, "finished"), (refuses, "refused: nonsense"), (at_once, "finished")]
    {
        let (mut wire, mut told) = wire(acts);
        wire.feed(b"i", &mut told);
        assert_eq!(wire.take_sent().len(), 12);
        // It does not wait for the peer, which would wait for more.
        assert_eq!(wire.reason().map(ToString::to_string).as_deref(), Some(reason));
        assert!(wire.is_cut() && !wire.is_shut_down());
    }
}

#[test]
fn a_driver_knows_that_an_end_would_cut_the_output_although_all_of_it_was_sent() {
    let (mut wire, mut told) = wire(&[(Opened, BEGINS), (Woken, &[Incomplete(false)])]);
    assert_eq!(wire.unsent(), 0);
    assert!(wire.wait().is_unsent && wire.wait().read && wire.is_cut());
    wire.wake(&mut told);
    assert!(!wire.wait().is_unsent && !wire.is_cut());
    let (mut wire, mut told) = self::wire(&[(Opened, BEGINS)]);
    wire.idle(&mut told);
    assert_eq!(told.0, ["opened", "closed: idle for too long"]);
    assert!(wire.is_cut());
}

#[test]
fn an_output_that_is_complete_ends_in_order() {
    let said: &[(Cause, &[Act])] = &[(Opened, BEGINS), (Input, &[Incomplete(false), Close])];
    let in_one: &[(Cause, &[Act])] =
        &[(Input, &[Incomplete(true), Say(5), Incomplete(false), Close])];
    let ended: &[(Cause, &[Act])] = &[(Opened, BEGINS), (Input, &[EndOutput, Close])];
    let later: &[(Cause, &[Act])] =
        &[(Opened, &[EndOutput, Say(5)]), (Input, &[Incomplete(true), Close])];
    for acts in [said, in_one, ended, later] {
        let (mut wire, mut told) = wire(acts);
        wire.feed(b"i", &mut told);
        assert!(wire.is_shut_down() && !wire.is_cut(), "{acts:?}");
        assert!(wire.reason().is_none(), "it waits for the peer to end too");
        wire.end_input(&mut told);
        assert!(wire.reason().is_some_and(|it| it.is_orderly()));
        assert!(!wire.is_cut());
    }
}

#[test]
fn a_cut_waits_for_a_peer_that_still_reads_and_for_no_other() {
    let acts: &[(Cause, &[Act])] = &[(Opened, &[Incomplete(true), Say(50), Close])];
    let (mut wire, mut told) = (Wire::over(Link::new(Probe::new(acts), limits())), Told::default());
    wire.set_room(20, &mut told);
    assert!(wire.reason().is_none() && wire.is_cut());
    wire.set_room(30, &mut told);
    assert_eq!(wire.take_sent().len(), 50);
    assert_eq!(told.0, ["opened", "closed: finished"]);
    let (mut wire, mut told) = (Wire::over(Link::new(Probe::new(acts), limits())), Told::default());
    wire.set_room(20, &mut told);
    wire.pass(Duration::from_secs(1), &mut told);
    assert_eq!(told.0, ["opened", "closed: deadline passed"]);
    assert!(wire.is_cut());
}

#[test]
fn timeouts_and_drains_go_on_while_the_output_is_incomplete() {
    let acts: &[(Cause, &[Act])] = &[
        (Opened, &[Incomplete(true), Act::Timeout(1, 5), Say(50)]),
        (Timeout(1), &[Say(3)]),
        (Woken, &[Incomplete(false), Close]),
    ];
    let (mut wire, mut told) = (Wire::over(Link::new(Probe::new(acts), limits())), Told::default());
    wire.set_room(45, &mut told);
    wire.pass(Duration::from_millis(5), &mut told);
    wire.set_room(100, &mut told);
    wire.feed(b"ii", &mut told);
    wire.wake(&mut told);
    assert_eq!(told.0, ["opened", "drained", "timeout(1)", "input 2", "woken"]);
    assert_eq!(wire.take_sent().len(), 53);
    assert!(wire.is_shut_down());
}
