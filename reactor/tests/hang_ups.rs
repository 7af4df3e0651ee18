//! Peers that hang up while their session pauses.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{on_every_backend, serve, turn_until};
use protocol::codecs::Lines;
use protocol::{ConnectionId, Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Cx, Handler, Interest, LoopCx, LoopLimits, Reactor, Readiness, Reason, Registration,
};
use socket2::SockRef;

/// What happened to the sessions.
#[derive(Default)]
struct Seen {
    me: Option<ConnectionId>,
    calls: u32,
    hung_up: u32,
    closed: u32,
    failed: u32,
}

/// Pauses at each line, with silence allowed, until it is woken. Then it answers.
struct Pauses(Flow);

impl Service<Lines, Seen> for Pauses {
    fn call(
        &mut self,
        _line: &mut [u8],
        _reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Seen>,
    ) -> Flow {
        context.app.calls += 1;
        context.app.me = Some(context.me);
        context.effects.allow_silence(true);
        Flow::Pause
    }

    fn resume(&mut self, reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Seen>) -> Flow {
        context.effects.allow_silence(true);
        reply.send(b"answer");
        Flow::Continue
    }

    fn hung_up(&mut self, _reply: &mut Reply<'_, Lines>, context: &mut Context<'_, Seen>) -> Flow {
        context.app.hung_up += 1;
        self.0
    }

    fn closed(&mut self, reason: &protocol::Reason, context: &mut Context<'_, Seen>) {
        context.app.closed += 1;
        context.app.failed += u32::from(!reason.is_orderly());
    }
}

/// Returns the peer of a connection whose session pauses. The peer has sent two lines.
fn pausing(reactor: &mut Reactor<Seen>, flow: Flow) -> TcpStream {
    let make = move || Conversation::new(Lines::default(), Pauses(flow));
    let address = serve(reactor, Limits::DEFAULT, make);
    let mut peer = TcpStream::connect(address).expect("it accepts");
    peer.write_all(b"one\n").expect("it takes bytes");
    turn_until(reactor, |reactor| reactor.app.calls == 1);
    // This stays in the kernel's buffer.
    peer.write_all(b"two\n").expect("it takes bytes");
    peer
}

#[test]
fn a_paused_session_is_notified_once_of_a_hang_up() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let mut peer = pausing(&mut reactor, Flow::Continue);
        peer.shutdown(Shutdown::Write).expect("it ends its side");
        turn_until(&mut reactor, |reactor| reactor.app.hung_up == 1);
        let turns = reactor.counters().turns;
        for _ in 0..10 {
            reactor.run_once(Some(Duration::from_millis(5))).expect("it turns");
        }
        assert!(reactor.counters().turns - turns <= 10, "it does not spin");
        assert_eq!((reactor.app.hung_up, reactor.app.closed), (1, 0));
        // Everything that it sent before is answered.
        let me = reactor.app.me.expect("it was called");
        reactor.cx().wake(me);
        turn_until(&mut reactor, |reactor| reactor.app.calls == 2);
        reactor.cx().wake(me);
        let mut answers = String::new();
        let reader = std::thread::spawn(move || peer.read_to_string(&mut answers).map(|_| answers));
        turn_until(&mut reactor, |_| reader.is_finished());
        let answers = reader.join().expect("it reads").expect("it ends in order");
        assert_eq!(answers, "answer\nanswer\n");
    });
}

#[test]
fn a_session_that_stays_paused_after_a_hang_up_ends_at_the_idle_limit() {
    let limits =
        LoopLimits { idle_timeout: Some(Duration::from_millis(100)), ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor| {
        let peer = pausing(&mut reactor, Flow::Continue);
        // Silence is allowed until the peer hangs up.
        for _ in 0..60 {
            reactor.run_once(Some(Duration::from_millis(5))).expect("it turns");
        }
        assert_eq!(reactor.app.closed, 0);
        drop(peer);
        turn_until(&mut reactor, |reactor| reactor.app.closed == 1);
        assert_eq!(reactor.app.hung_up, 1);
        assert_eq!(reactor.cx().connections(), 0);
    });
}

#[test]
fn a_session_may_end_when_its_peer_hangs_up() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let peer = pausing(&mut reactor, Flow::Close);
        drop(peer);
        turn_until(&mut reactor, |reactor| reactor.app.closed == 1);
        assert_eq!(reactor.cx().connections(), 0);
    });
}

#[test]
fn a_paused_session_ends_when_its_connection_is_reset() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let peer = pausing(&mut reactor, Flow::Continue);
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("it is set");
        drop(peer);
        turn_until(&mut reactor, |reactor| reactor.app.closed == 1);
        assert_eq!(reactor.app.failed, 1);
    });
}

/// Is interested in hang-ups alone, and records them.
struct Waits;

impl Handler<Seen> for Waits {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>) -> std::io::Result<()> {
        assert!(cx.readiness().contains(Readiness::READ_CLOSED), "nothing else is of interest");
        cx.app.hung_up += 1;
        cx.set_interest(Interest::NONE);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, Seen>) {
        cx.app.closed += 1;
    }
}

#[test]
fn a_handler_can_be_interested_in_hang_ups_only() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (near, mut far) = UnixStream::pair().expect("a pair can be made");
        let registration = Registration::new(Interest::HANG_UP);
        reactor.cx().register(near.into(), registration, Waits).expect("it registers");
        far.write_all(b"unread").expect("it takes bytes");
        for _ in 0..5 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert_eq!(reactor.app.hung_up, 0);
        far.shutdown(Shutdown::Write).expect("it ends its side");
        turn_until(&mut reactor, |reactor| reactor.app.hung_up == 1);
        drop(far);
        let turns = reactor.counters().turns;
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(100) {
            reactor.run_once(Some(Duration::from_millis(20))).expect("it turns");
        }
        assert!(reactor.counters().turns - turns < 20, "it does not spin");
        assert_eq!(reactor.app.hung_up, 1);
    });
}
