//! Output that waits until all who are ready have been heard: `Limits::output_held_max`.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use common::{on_every_backend, serve, turn_until};
use protocol::codecs::Bytes;
use protocol::{Conversation, Flow, Limits, Reply, Service, Turn};
use reactor::{Cx, Handler, Interest, LoopLimits, Next, Reactor, Registration};

/// The peers, and how many of them had an answer when each of them was heard.
#[derive(Default)]
struct Scene {
    peers: Vec<TcpStream>,
    answered: Vec<usize>,
}

impl Scene {
    fn count_answered(&self) -> usize {
        self.peers.iter().filter(|peer| peer.peek(&mut [0]).is_ok()).count()
    }
}

/// Answers with a thousand bytes, and notes how many peers have an answer at that time.
struct Answers;

impl Service<Bytes, Scene> for Answers {
    fn call(
        &mut self,
        _message: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        turn: &mut Turn<'_, Scene>,
    ) -> Flow {
        turn.app.answered.push(turn.app.count_answered());
        reply.send(&[b'x'; 1000]);
        Flow::Continue
    }
}

/// Connects `count` peers to a server that may hold back `output_held_max` bytes.
fn connect(reactor: &mut Reactor<Scene>, count: usize, output_held_max: u64) {
    let limits = Limits { output_held_max, ..Limits::DEFAULT };
    let address = serve(reactor, limits, || Conversation::new(Bytes, Answers));
    for _ in 0..count {
        let peer = TcpStream::connect(&address).expect("it accepts");
        peer.set_nonblocking(true).expect("modes can be set");
        reactor.app.peers.push(peer);
    }
    turn_until(reactor, |reactor| reactor.cx().connections() == count);
}

fn speak(reactor: &mut Reactor<Scene>) {
    reactor.app.peers.iter_mut().for_each(|peer| peer.write_all(b"?").expect("it is read"));
}

/// Has five peers speak at the same time; returns how many had an answer when each was heard.
fn answered(reactor: &mut Reactor<Scene>, output_held_max: u64) -> Vec<usize> {
    connect(reactor, 5, output_held_max);
    let before = reactor.counters();
    speak(reactor);
    reactor.run_once(None).expect("it turns");
    for peer in &mut reactor.app.peers {
        peer.read_exact(&mut [0; 1000]).expect("it is answered in the same turn");
    }
    let after = reactor.counters();
    assert_eq!((after.reads - before.reads, after.writes - before.writes), (5, 5));
    std::mem::take(&mut reactor.app).answered
}

#[test]
fn answers_wait_until_all_who_are_ready_have_been_heard() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        assert_eq!(answered(&mut reactor, 1000), [0; 5]);
    });
}

#[test]
fn what_may_not_wait_is_written_at_once() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        assert_eq!(answered(&mut reactor, 0), [0, 1, 2, 3, 4]);
    });
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        assert_eq!(answered(&mut reactor, 999), [0, 1, 2, 3, 4]);
    });
}

/// Stops the loop while others still wait with what they have to say.
struct Stops;

impl Handler<Scene> for Stops {
    fn ready(&mut self, cx: &mut Cx<'_, Scene>) -> std::io::Result<Next> {
        if cx.read(&mut [0; 8])?.is_some() {
            cx.stop_now();
        }
        Ok(Next::Continue)
    }
}

#[test]
fn what_waits_is_said_when_a_loop_that_was_stopped_goes_on() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        connect(&mut reactor, 5, 1000);
        let (near, mut far) = UnixStream::pair().expect("a pair can be made");
        let registration = Registration::new(Interest::READ);
        reactor.cx().register(near.into(), registration, Stops).expect("it registers");
        speak(&mut reactor);
        far.write_all(b"stop").expect("it is read");
        reactor.run().expect("it runs");
        assert_eq!(reactor.app.answered, [0; 5]);
        assert_eq!(reactor.app.count_answered(), 0);
        reactor.run_once(None).expect("it turns");

        assert_eq!(reactor.app.count_answered(), 5);
    });
}
