//! A typed channel into a loop.

mod common;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use reactor::{LoopLimits, Reactor, SendErrorKind, Token, channel};

use common::{on_every_backend, turn_until};

/// What a receiver has got.
#[derive(Default)]
struct Got {
    messages: Vec<u32>,
    ends: u32,
}

/// Returns a reactor whose application collects what is sent, and the sender.
fn collects(reactor: &mut Reactor<Got>, capacity: usize) -> (reactor::Sender<u32>, Token) {
    let (sender, receiver) = channel(capacity).expect("the capacity is not zero");
    let token = receiver
        .register(&mut reactor.cx(), |message, cx| match message {
            Some(message) => cx.app.messages.push(message),
            None => cx.app.ends += 1,
        })
        .expect("it registers");
    (sender, token)
}

#[test]
fn every_message_of_every_thread_arrives_in_order_and_then_the_end() {
    const THREADS: u32 = 4;
    const MESSAGES: u32 = 5_000;
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Got>| {
        let (sender, _) = collects(&mut reactor, 16);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let sender = sender.clone();
                thread::spawn(move || {
                    (0..MESSAGES).try_for_each(|number| sender.send(thread * MESSAGES + number))
                })
            })
            .collect();
        drop(sender);
        turn_until(&mut reactor, |reactor| reactor.app.ends > 0);
        for thread in threads {
            thread.join().expect("it does not panic").expect("the loop is there");
        }
        let got = &reactor.app.messages;
        assert_eq!(got.len(), (THREADS * MESSAGES) as usize);
        for thread in 0..THREADS {
            let of_thread = got.iter().filter(|it| *it / MESSAGES == thread);
            assert!(of_thread.is_sorted(), "those of thread {thread} are in order");
        }
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        assert_eq!(reactor.app.ends, 1);
        assert_eq!(reactor.counters().live(), 0, "the source has ended");
    });
}

#[test]
fn a_full_channel_refuses_and_gives_the_message_back() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Got>| {
        let (sender, _) = collects(&mut reactor, 2);
        sender.try_send(1).expect("there is room");
        sender.try_send(2).expect("there is room");
        let error = sender.try_send(3).expect_err("it is full");
        assert_eq!((error.message, error.kind), (3, SendErrorKind::Full { capacity: 2 }));
        // This thread is that of the loop, which would wait for itself.
        let error = sender.send(4).expect_err("it is full");
        assert_eq!((error.message, error.kind), (4, SendErrorKind::Full { capacity: 2 }));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::QuotaExceeded);
        turn_until(&mut reactor, |reactor| reactor.app.messages == [1, 2]);
        sender.send(5).expect("there is room");
        turn_until(&mut reactor, |reactor| reactor.app.messages == [1, 2, 5]);
    });
}

#[test]
fn a_turn_calls_for_no_more_messages_than_its_budget() {
    let limits = LoopLimits { remote_calls_per_turn: 3, ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor: Reactor<Got>| {
        let (sender, _) = collects(&mut reactor, 10);
        (0..10).for_each(|number| sender.try_send(number).expect("there is room"));
        let mut before = 0;
        turn_until(&mut reactor, |reactor| {
            let now = reactor.app.messages.len();
            assert!(now <= before + 3, "{now} after {before}");
            before = now;
            now == 10
        });
    });
}

#[test]
fn senders_learn_that_the_receiver_is_gone() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Got>| {
        // The source is closed.
        let (sender, token) = collects(&mut reactor, 1);
        reactor.cx().close(token);
        turn_until(&mut reactor, |reactor| reactor.counters().live() == 0);
        assert_eq!(sender.send(1).expect_err("it is gone").kind, SendErrorKind::Gone);
        // The loop is dropped, while a thread waits for room.
        let (sender, _) = collects(&mut reactor, 1);
        sender.try_send(1).expect("there is room");
        let blocked = sender.clone();
        let thread = thread::spawn(move || blocked.send(2));
        drop(reactor);
        let error = thread.join().expect("it does not panic").expect_err("it is gone");
        assert_eq!((error.message, error.kind), (2, SendErrorKind::Gone));
        assert_eq!(sender.try_send(3).expect_err("it is gone").kind, SendErrorKind::Gone);
        // The receiver was never registered.
        let (sender, receiver) = channel(1).expect("the capacity is not zero");
        drop(receiver);
        assert_eq!(sender.send(()).expect_err("it is gone").kind, SendErrorKind::Gone);
    });
}

#[test]
fn a_closure_that_closes_its_source_gets_no_further_message() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let calls = Rc::new(Cell::new(0));
        let (sender, receiver) = channel(3).expect("the capacity is not zero");
        // What is sent before the receiver is registered arrives too.
        (0..3).for_each(|number| sender.try_send(number).expect("there is room"));
        let counted = Rc::clone(&calls);
        let close = move |_, cx: &mut reactor::LoopCx<'_, ()>| {
            counted.set(counted.get() + 1);
            let me = cx.me();
            cx.close(me);
        };
        receiver.register(&mut reactor.cx(), close).expect("it registers");
        turn_until(&mut reactor, |reactor| reactor.counters().live() == 0);
        assert_eq!(calls.get(), 1);
        assert_eq!(sender.try_send(4).expect_err("it is gone").kind, SendErrorKind::Gone);
    });
}

#[test]
fn a_channel_without_capacity_is_refused() {
    let error = channel::<()>(0).expect_err("nothing could be sent");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("capacity"), "{error}");
}
