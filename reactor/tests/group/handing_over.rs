//! The loop that accepts connections and hands them over: how many each gets, and what happens when a
//! loop is blocked, full or behind.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use protocol::codecs::Bytes;
use protocol::{Conversation, Limits};
use reactor::{
    Accept, Accepted, BackendKind, Balance, Group, GroupListener, GroupOptions, ListenOptions,
    LoopCx, LoopLimits, Member, Reactor, Stream,
};
use testkit::PATIENCE;

use crate::{App, Numbers, Plan, answer, ask, block, connect, histogram};

const FEWEST: Accept = Accept::HandOver(Balance::LeastConnections);
const IN_TURN: Accept = Accept::HandOver(Balance::RoundRobin);

// P10
#[test]
fn connections_are_handed_over_evenly() {
    for kind in BackendKind::ALL {
        for accept in [FEWEST, IN_TURN] {
            let (group, address) = Plan::new(kind, 4, accept).start();
            let mut clients: Vec<TcpStream> = (0..400).map(|_| connect(&address)).collect();
            let numbers: Vec<usize> = clients.iter_mut().map(ask).collect();
            let counts = histogram(&numbers, 4);
            let (most, least) = (counts.iter().max(), counts.iter().min());
            let (most, least) = (most.copied().unwrap_or(0), least.copied().unwrap_or(0));
            assert!(most * 100 <= least * 102, "{kind}, {accept}: {counts:?}");
            drop(group);
        }
    }
}

#[test]
fn the_loop_with_the_fewest_gets_the_next_ones() {
    let (group, address) = Plan::new(BackendKind::Epoll, 3, FEWEST).start();
    let mut clients: Vec<(usize, TcpStream)> = Vec::new();
    for _ in 0..30 {
        let mut client = connect(&address);
        clients.push((ask(&mut client), client));
    }
    // All of one loop leave.
    clients.retain(|(number, _)| *number != 1);
    assert_eq!(clients.len(), 20);
    let remote = group.loops()[1].clone();
    testkit::wait_until("the end of ten connections", || {
        let (sender, count) = channel();
        let posted = remote.post(move |cx| sender.send(cx.connections()).expect("it waits"));
        posted.expect("it runs");
        count.recv().expect("it answers") == 0
    });
    let mut later: Vec<TcpStream> = (0..10).map(|_| connect(&address)).collect();
    let numbers: Vec<usize> = later.iter_mut().map(ask).collect();
    assert_eq!(numbers, [1; 10]);
    drop(group);
}

// P10
#[test]
fn a_blocked_loop_does_not_delay_the_connections_of_others() {
    for kind in BackendKind::ALL {
        for accept in [FEWEST, IN_TURN] {
            let mut plan = Plan::new(kind, 4, accept);
            let (release, gate) = channel();
            plan.gate = gate;
            plan.options = GroupOptions { untaken_max: 5, ..plan.options };
            let mark = Arc::clone(&plan.blocked);
            let (group, address) = plan.start();
            let mut blocker = connect(&address);
            let blocked = ask(&mut blocker);
            block(&mut blocker, &mark);

            let mut clients: Vec<TcpStream> = (0..80).map(|_| connect(&address)).collect();
            clients.iter_mut().for_each(|it| it.write_all(b"?").expect("it takes bytes"));
            // The loops that run answer all that are not with the blocked one.
            let (mut numbers, mut silent) = (Vec::new(), clients);
            testkit::wait_until("the answers of the other loops", || {
                silent.retain_mut(|client| {
                    client.set_nonblocking(true).expect("modes can be set");
                    let mut number = [0];
                    let result = client.read(&mut number);
                    match &result {
                        Ok(count) => {
                            assert_eq!(*count, 1);
                            numbers.push(usize::from(number[0]));
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                    result.is_err()
                });
                numbers.len() == 75
            });
            assert!(!numbers.contains(&blocked), "{kind}, {accept}");
            assert_eq!(silent.len(), 5, "it has what it could take while it seemed to run");

            drop(release);
            for client in &mut silent {
                client.set_nonblocking(false).expect("modes can be set");
                assert_eq!(answer(client), blocked);
            }
            assert_eq!(answer(&mut blocker), blocked);
            drop(group);
        }
    }
}

#[test]
fn a_full_loop_gets_nothing_and_all_full_ones_pause_accepting_until_there_is_room() {
    for kind in BackendKind::ALL {
        for accept in [FEWEST, IN_TURN] {
            let mut plan = Plan::new(kind, 3, accept);
            plan.limits = LoopLimits { connections_max: 2, ..plan.limits };
            let (group, address) = plan.start();
            let mut clients: Vec<TcpStream> = (0..6).map(|_| connect(&address)).collect();
            let numbers: Vec<usize> = clients.iter_mut().map(ask).collect();
            assert_eq!(histogram(&numbers, 3), [2; 3], "{kind}, {accept}");

            // The kernel holds these, until another one leaves.
            let mut later: Vec<TcpStream> = (0..6).map(|_| connect(&address)).collect();
            later.iter_mut().for_each(|it| it.write_all(b"?").expect("it takes bytes"));
            for (number, (leaving, waiting)) in
                numbers.into_iter().zip(clients.into_iter().zip(&mut later))
            {
                drop(leaving);
                assert_eq!(answer(waiting), number, "{kind}, {accept}");
            }
            drop(later);
            group.stop_gracefully(testkit::PATIENCE);
            let ended = group.join();
            let acceptor = ended.acceptor.expect("there is one").counters;
            assert_eq!(acceptor.accepts, 12);
            // Each end wakes it a few times, and it never polls.
            assert!(acceptor.turns < 200, "{kind}, {accept}: {} turns", acceptor.turns);
        }
    }
}

// P9
#[test]
fn a_loop_takes_what_is_handed_over_in_portions() {
    let mut plan = Plan::new(BackendKind::Epoll, 2, IN_TURN);
    let (release, gate) = channel();
    plan.gate = gate;
    plan.limits = LoopLimits { accepts_per_turn: 4, ..plan.limits };
    let mark = Arc::clone(&plan.blocked);
    let (group, address) = plan.start();
    let mut blocker = connect(&address);
    let blocked = ask(&mut blocker);
    let before = {
        let (sender, counters) = channel();
        let posted = group.loops()[blocked].post(move |cx| {
            sender.send(cx.counters()).expect("the test waits");
        });
        posted.expect("it runs");
        counters.recv().expect("it answers")
    };
    block(&mut blocker, &mark);
    let mut clients: Vec<TcpStream> = (0..160).map(|_| connect(&address)).collect();
    wait_for_accepts(&group, 161);
    drop(release);
    let numbers: Vec<usize> = clients.iter_mut().map(ask).collect();
    assert_eq!(histogram(&numbers, 2), [80; 2]);
    drop((clients, blocker));
    group.stop_gracefully(testkit::PATIENCE);
    let after = group.join().loops[blocked].counters;
    assert_eq!(after.taken - before.taken, 80);
    assert!(after.turns - before.turns >= 20, "80 of them in {} turns", after.turns);
}

/// Answers each message on a connection with the number of the loop.
fn serve(accepted: Accepted, cx: &mut LoopCx<'_, App>) -> io::Result<()> {
    Stream::new(Conversation::new(Bytes, Numbers), Limits::DEFAULT).register(accepted, cx).map(drop)
}

/// Starts a group of two loops with this number of listeners. On each loop, `accept` says which it takes
/// connections of. Returns the addresses too.
fn start(
    listeners: usize,
    accept: impl Fn(&Member<App>, &mut LoopCx<'_, App>) -> io::Result<()> + Send + Sync + 'static,
) -> (Group<App>, Vec<String>) {
    let threads = NonZeroUsize::new(2).expect("it is not zero");
    let any = "127.0.0.1:0".parse().expect("it is an address");
    let bind = |_| GroupListener::bind(&any, &ListenOptions::DEFAULT, FEWEST, threads);
    let listeners: Vec<GroupListener> =
        (0..listeners).map(bind).collect::<io::Result<_>>().expect("ports are free");
    let address = |it: &GroupListener| it.address().expect("it is bound").to_string();
    let addresses = listeners.iter().map(address).collect();
    let make = move |member: &Member<App>| {
        let mut reactor = Reactor::new(App {
            member: member.clone(),
            gate: Arc::new(Mutex::new(channel().1)),
            blocked: Arc::default(),
            notes: Vec::new(),
        })?;
        accept(member, &mut reactor.cx())?;
        Ok(reactor)
    };
    let options = GroupOptions { threads, ..GroupOptions::default() };
    (Group::start(options, listeners, make, |_| ()).expect("it starts"), addresses)
}

/// Waits until the acceptor has accepted this many connections, and has handed them over.
fn wait_for_accepts<R>(group: &Group<App, R>, count: u64) {
    testkit::wait_until("the hand-over of all", || {
        let (sender, accepts) = channel();
        let acceptor = group.acceptor().expect("there is one");
        let posted = acceptor.post(move |cx| sender.send(cx.counters().accepts).expect("it waits"));
        posted.expect("it runs");
        accepts.recv().expect("it answers") == count
    });
}

#[test]
fn a_loop_that_does_not_take_from_one_listener_takes_from_another() {
    let (group, addresses) = start(2, |member, cx| {
        member.accept(0, cx, serve)?;
        if member.index() == 0 {
            member.accept(1, cx, serve)?;
        }
        Ok(())
    });
    let numbers = |listener: usize| -> Vec<usize> {
        let mut clients: Vec<_> = (0..4).map(|_| connect(&addresses[listener])).collect();
        clients.iter_mut().map(ask).collect()
    };
    assert_eq!(numbers(1), [0; 4]);
    assert!(numbers(0).contains(&1));
    drop(group);
}

#[test]
fn a_loop_that_accepts_later_wakes_the_acceptor() {
    let (group, addresses) = start(1, |_, _| Ok(()));
    let mut client = connect(&addresses[0]);
    client.write_all(b"?").expect("it takes bytes");
    // The acceptor finds the connection in one of these turns, and no loop to take it.
    wait_for_accepts(&group, 0);
    wait_for_accepts(&group, 0);
    let posted = group.loops()[1].post(|cx| {
        let member = cx.app.member.clone();
        member.accept(0, cx, serve).expect("it has not yet");
    });
    posted.expect("it runs");
    assert_eq!(answer(&mut client), 1);
    drop(group);
}

#[test]
fn a_connection_that_is_being_taken_counts_once() {
    let (release, gate) = channel::<()>();
    let (gate, (sender, blocked)) = (Mutex::new(gate), channel());
    let (gate, sender) = (Arc::new(gate), Mutex::new(sender));
    let (group, addresses) = start(1, move |member, cx| {
        let (gate, sender) = (Arc::clone(&gate), sender.lock().expect("no test panics").clone());
        member.accept(0, cx, move |accepted, cx| {
            serve(accepted, cx)?;
            if cx.app.member.index() == 0 {
                // The test waits for the first one only, and then drops the other side of the gate.
                let _ = sender.send(());
                let _ = gate.lock().map(|gate| gate.recv_timeout(PATIENCE));
            }
            Ok(())
        })?;
        Ok(())
    });
    let mut clients = vec![connect(&addresses[0])];
    blocked.recv_timeout(PATIENCE).expect("loop 0 gets the first one");
    for count in 2..=4 {
        clients.push(connect(&addresses[0]));
        wait_for_accepts(&group, count);
    }
    drop(release);
    let numbers: Vec<usize> = clients.iter_mut().map(ask).collect();
    assert_eq!(numbers, [0, 1, 0, 1]);
    drop(group);
}
