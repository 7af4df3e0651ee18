//! The end of a group: all that was accepted, or waits to be, is answered.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reactor::{
    Accept, BackendKind, Cx, Group, GroupListener, GroupOptions, Handler, ListenOptions,
    LoopLimits, Member, Reactor,
};
use testkit::PATIENCE;

use crate::{Plan, WAYS, answer, ask, connect};

#[test]
fn connections_that_wait_when_a_group_stops_are_answered() {
    for kind in BackendKind::ALL {
        for accept in WAYS {
            let (group, address) = Plan::new(kind, 2, accept).start();
            // Both loops block, so what comes now waits: in a backlog, or handed over.
            let (release, gate) = channel::<()>();
            let (gate, (sender, blocked)) = (Arc::new(Mutex::new(gate)), channel());
            for remote in group.loops() {
                let (gate, sender) = (Arc::clone(&gate), sender.clone());
                let posted = remote.post(move |_| {
                    sender.send(()).expect("the test waits");
                    // It ends when the test drops the other side.
                    let _ = gate.lock().map(|gate| gate.recv());
                });
                posted.expect("it runs");
                blocked.recv_timeout(PATIENCE).expect("it blocks");
            }
            let mut clients: Vec<TcpStream> = (0..50).map(|_| connect(&address)).collect();
            clients.iter_mut().for_each(|it| it.write_all(b"?").expect("it takes bytes"));
            group.stop_gracefully(PATIENCE);
            group.stop_gracefully(Duration::ZERO); // It has no effect.
            drop(release);
            for client in &mut clients {
                assert!(answer(client) < 2, "{kind}, {accept}");
            }
            drop(clients);
            let ended = group.join();
            ended.check().expect("no loop fails");
            assert_eq!(ended.counters().live(), 0, "{kind}, {accept}");
        }
    }
}

#[test]
fn a_second_stop_does_not_wait_for_connections() {
    let (group, address) = Plan::new(BackendKind::Epoll, 2, Accept::default()).start();
    let mut clients: Vec<TcpStream> = (0..4).map(|_| connect(&address)).collect();
    clients.iter_mut().for_each(|it| _ = ask(it));
    let start = Instant::now();
    group.stop_gracefully(2 * PATIENCE);
    assert!(group.is_stopping());
    group.stop();
    group.join().check().expect("no loop fails");
    assert!(start.elapsed() < PATIENCE);
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).expect("it ends in order"), 0);
    }
}

#[test]
fn a_loop_of_the_group_can_stop_all() {
    let (group, address) = Plan::new(BackendKind::Epoll, 3, Accept::Shared).start();
    let mut client = connect(&address);
    let number = ask(&mut client);
    let posted = group.loops()[number].post(|cx| cx.app.member.stop());
    posted.expect("it runs");
    assert_eq!(group.join().loops.len(), 3);
    assert_eq!(client.read(&mut [0]).expect("it ends in order"), 0);
}

#[test]
fn a_group_that_may_wait_for_ever_ends_when_its_connections_do() {
    for accept in WAYS {
        let (group, address) = Plan::new(BackendKind::Epoll, 2, accept).start();
        let mut client = connect(&address);
        ask(&mut client);
        group.stop_gracefully(Duration::MAX);
        drop(client);
        group.join().check().expect("no loop fails");
    }
}

#[test]
fn a_stop_while_the_loops_are_made_counts() {
    let ways: [fn(&Member<()>); 2] =
        [|member| member.stop(), |member| member.stop_gracefully(Duration::MAX)];
    for accept in WAYS {
        for stop in ways {
            let threads = NonZeroUsize::new(2).expect("it is not zero");
            let any = "127.0.0.1:0".parse().expect("it is an address");
            let listener = GroupListener::bind(&any, &ListenOptions::DEFAULT, accept, threads);
            let make = move |member: &Member<()>| {
                let mut reactor = Reactor::new(())?;
                member.accept(0, &mut reactor.cx(), |_, _| Ok(()))?;
                stop(member);
                Ok(reactor)
            };
            let options = GroupOptions { threads, ..GroupOptions::default() };
            let listeners = vec![listener.expect("a port is free")];
            let group = Group::start(options, listeners, make, |()| ()).expect("it starts");
            testkit::wait_until("the end of the loops", || group.running() == 0);
            group.join().check().expect("no loop fails");
        }
    }
}

/// Counts how often it is woken.
struct Counts;

impl Handler<u32> for Counts {
    fn ready(&mut self, cx: &mut Cx<'_, u32>) -> std::io::Result<()> {
        *cx.app += u32::from(cx.was_woken());
        Ok(())
    }
}

#[test]
fn an_observer_learns_that_loops_and_listeners_have_ended() {
    for accept in WAYS {
        let (group, _address) = Plan::new(BackendKind::Epoll, 2, accept).start();
        let mut reactor = Reactor::new(0).expect("the reactor opens");
        let observer = reactor.cx().spawn(Counts).expect("it registers");
        group.set_observer(reactor.cx().waker_of(observer));
        reactor.run_until(|woken| *woken == 1).expect("it turns");
        assert_eq!(group.running(), 2);
        group.stop_gracefully(PATIENCE);
        let start = Instant::now();
        while group.running() + group.listeners() > 0 {
            reactor.run_once(Some(PATIENCE)).expect("it turns");
            assert!(start.elapsed() < PATIENCE, "it was not woken");
        }
        group.join().check().expect("no loop fails");
    }
}

#[test]
fn loops_that_end_by_themselves_end_the_acceptor() {
    let mut plan = Plan::new(BackendKind::Epoll, 2, Accept::default());
    plan.options = GroupOptions { name: "brief", ..plan.options };
    plan.limits = LoopLimits { remote_calls_max: 1, ..plan.limits };
    let (group, address) = plan.start();
    group.loops()[0].post(|cx| cx.stop()).expect("it runs");
    testkit::wait_until("the end of one loop", || group.running() == 1);
    // The other one gets all.
    let mut clients: Vec<TcpStream> = (0..10).map(|_| connect(&address)).collect();
    assert!(clients.iter_mut().all(|it| ask(it) == 1));
    group.loops()[1].post(|cx| cx.stop()).expect("it runs");
    group.join().check().expect("no loop fails");
}
