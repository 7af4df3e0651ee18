//! A name is valid in the loop that gave it, and in no other (law 3).

mod common;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use protocol::codecs::Lines;
use protocol::{ConnectionId, Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{Cx, Expired, Handler, LoopCx, LoopLimits, Reactor, Reason, TimerId, Token};

use common::{on_every_backend, serve, turn_until};

/// Arms a timer when it is woken, and counts its calls.
#[derive(Clone, Default)]
struct Source {
    timer: Rc<Cell<Option<TimerId>>>,
    wakes: Rc<Cell<u32>>,
    fired: Rc<Cell<u32>>,
    closes: Rc<Cell<u32>>,
}

impl Handler for Source {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        self.wakes.set(self.wakes.get() + 1);
        if self.timer.get().is_none() {
            self.timer.set(Some(cx.set_timer(Duration::from_millis(20), None, 1)));
        }
        Ok(())
    }

    fn timer(&mut self, _timer: Expired, _cx: &mut Cx<'_>) -> io::Result<()> {
        self.fired.set(self.fired.get() + 1);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, _cx: &mut LoopCx<'_>) {
        self.closes.set(self.closes.get() + 1);
    }
}

/// Registers as many sources as in the other loop, in the same slots, each with an armed timer.
fn populate(reactor: &mut Reactor) -> Vec<(Source, Token)> {
    let sources: Vec<_> = (0..8)
        .map(|_| {
            let source = Source::default();
            let token = reactor.cx().spawn(source.clone()).expect("it registers");
            reactor.cx().wake(token);
            (source, token)
        })
        .collect();
    reactor.run_once(Some(Duration::ZERO)).expect("it turns");
    assert!(sources.iter().all(|(source, _)| source.wakes.get() == 1));
    sources
}

#[test]
fn a_token_of_one_loop_has_no_effect_in_another() {
    on_every_backend(LoopLimits::DEFAULT, |mut here| {
        let mut there = Reactor::new(()).expect("the reactor opens");
        let (ours, theirs) = (populate(&mut here), populate(&mut there));
        for ((_, our), (_, their)) in ours.iter().zip(&theirs) {
            assert_eq!(our.tag(), their.tag(), "they would be mistaken for each other");
            assert_ne!(our, their);
            here.cx().wake(*their);
            here.cx().close(*their);
        }
        here.run_once(Some(Duration::ZERO)).expect("it turns");
        for (source, token) in ours {
            assert_eq!((source.wakes.get(), source.closes.get()), (1, 0), "{token}");
        }
        // They still name the same sources.
        for (source, token) in theirs {
            there.cx().wake(token);
            there.run_once(Some(Duration::ZERO)).expect("it turns");
            assert_eq!(source.wakes.get(), 2);
            there.cx().close(token);
            there.run_once(Some(Duration::ZERO)).expect("it turns");
            assert_eq!(source.closes.get(), 1);
        }
    });
}

#[test]
fn a_timer_of_one_loop_cannot_be_cancelled_or_moved_in_another() {
    on_every_backend(LoopLimits::DEFAULT, |mut here| {
        let mut there = Reactor::new(()).expect("the reactor opens");
        let (ours, theirs) = (populate(&mut here), populate(&mut there));
        let name = |source: &Source| source.timer.get().expect("it was armed");
        for (source, _) in &theirs {
            let (timer, mut cx) = (name(source), here.cx());
            assert!(!cx.move_timer(timer, Duration::from_secs(1000)));
            assert!(!cx.cancel_timer(timer));
        }
        turn_until(&mut here, |_| ours.iter().all(|(source, _)| source.fired.get() == 1));
        for (source, _) in &theirs {
            let timer = name(source);
            assert!(there.cx().move_timer(timer, Duration::from_secs(1000)));
            assert!(there.cx().cancel_timer(timer));
            assert!(!there.cx().cancel_timer(timer));
        }
    });
}

/// Stores its own name, and wakes the connection that it is given.
#[derive(Default)]
struct Wakes {
    to_wake: Option<ConnectionId>,
    me: Option<ConnectionId>,
    woken: u32,
}

struct Waker;

impl Service<Lines, Wakes> for Waker {
    fn call(
        &mut self,
        _line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Wakes>,
    ) -> Flow {
        context.app.me = Some(context.me);
        if let Some(connection) = context.app.to_wake {
            context.effects.wake(connection);
        }
        reply.send(b"done");
        Flow::Continue
    }

    fn resume(&mut self, _reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Wakes>) -> Flow {
        context.app.woken += 1;
        Flow::Continue
    }
}

#[test]
fn a_connection_id_of_one_loop_wakes_no_source_in_another() {
    use std::io::Write;
    let make = || Conversation::new(Lines::default(), Waker);
    let called = |reactor: &mut Reactor<Wakes>| {
        let address = serve(reactor, Limits::DEFAULT, make);
        let mut client = std::net::TcpStream::connect(address).expect("it accepts");
        client.write_all(b"call\n").expect("the kernel takes bytes");
        turn_until(reactor, |reactor| reactor.app.me.is_some());
        client
    };
    on_every_backend::<Wakes>(LoopLimits::DEFAULT, |mut here| {
        let mut there = Reactor::new(Wakes::default()).expect("the reactor opens");
        let (mut ours, mut theirs) = (called(&mut here), called(&mut there));
        let other = there.app.me.take();
        assert_ne!(here.app.me, other);
        for (reactor, client, woken) in [(&mut here, &mut ours, 0), (&mut there, &mut theirs, 1)] {
            (reactor.app.me, reactor.app.to_wake) = (None, other);
            client.write_all(b"wake\n").expect("the kernel takes bytes");
            turn_until(reactor, |reactor| reactor.app.me.is_some());
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            assert_eq!(reactor.app.woken, woken);
        }
    });
}

#[test]
fn a_closure_can_wake_and_close_a_connection_by_its_id() {
    use std::io::{Read, Write};
    on_every_backend::<Wakes>(LoopLimits::DEFAULT, |mut reactor| {
        let address =
            serve(&mut reactor, Limits::DEFAULT, || Conversation::new(Lines::default(), Waker));
        let mut client = std::net::TcpStream::connect(address).expect("it accepts");
        client.write_all(b"call\n").expect("the kernel takes bytes");
        turn_until(&mut reactor, |reactor| reactor.app.me.is_some());
        let wake = |cx: &mut LoopCx<'_, Wakes>| cx.app.me.into_iter().for_each(|me| cx.wake(me));
        reactor.cx().after(Duration::ZERO, wake).expect("it is armed");
        turn_until(&mut reactor, |reactor| reactor.app.woken == 1);
        let close = |cx: &mut LoopCx<'_, Wakes>| cx.app.me.into_iter().for_each(|me| cx.close(me));
        reactor.cx().remote().post(close).expect("the loop is there");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        // What it names has ended, and does nothing any more.
        let me = reactor.app.me.expect("it was left");
        reactor.cx().wake(me);
        reactor.cx().close(me);
        reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        assert_eq!(reactor.app.woken, 1);
        let mut reply = Vec::new();
        drop(client.read_to_end(&mut reply));
        assert_eq!(reply, b"done\n");
    });
}
