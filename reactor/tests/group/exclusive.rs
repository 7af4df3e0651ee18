//! Several loops that wait for one socket: `EPOLLEXCLUSIVE`.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use reactor::{
    BackendKind, Cx, Handler, Interest, ListenOptions, Listener, LoopLimits, Reactor, Registration,
};

/// Returns two loops that accept from one socket, and its address. The state is how many connections
/// each has accepted.
fn pair(kind: BackendKind, connections_max: usize) -> ([Reactor<usize>; 2], String) {
    let any = "127.0.0.1:0".parse().expect("it is an address");
    let first = Listener::bind(&any, &ListenOptions::DEFAULT).expect("a port is free").exclusive();
    let address = first.address().to_string();
    let second = first.try_clone().expect("descriptors are free");
    let loops = [first, second].map(|listener| {
        let limits = LoopLimits { connections_max, ..LoopLimits::DEFAULT };
        let backend = kind.open().expect("the backend opens");
        let mut reactor = Reactor::with_backend(backend, limits, 0).expect("the reactor opens");
        let registered = listener.register(&mut reactor.cx(), |accepted, cx| {
            *cx.app += 1;
            let registration = Registration::new(Interest::READ).role(reactor::Role::Connection);
            cx.register(accepted.into_fd(), registration, Quiet).map(drop)
        });
        registered.expect("it listens");
        reactor
    });
    (loops, address)
}

/// Reads to the end.
struct Quiet;

impl<A> Handler<A> for Quiet {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> std::io::Result<()> {
        while let Some(count) = cx.read(&mut [0; 16])? {
            if count == 0 {
                cx.end(reactor::Reason::PeerClosed);
                break;
            }
        }
        Ok(())
    }
}

fn turn(reactor: &mut Reactor<usize>) {
    for _ in 0..3 {
        reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
    }
}

#[test]
fn a_loop_that_is_full_leaves_the_socket_to_the_other() {
    for kind in BackendKind::ALL {
        let ([mut one, mut two], address) = pair(kind, 2);
        let connect = || TcpStream::connect(&address).expect("it listens");
        let first = [connect(), connect()];
        turn(&mut one);
        assert_eq!((one.app, two.app), (2, 0), "{kind}");
        // It is full when it looks again, and leaves the poller then.
        let second = [connect(), connect()];
        turn(&mut one);
        turn(&mut two);
        assert_eq!((one.app, two.app), (2, 2), "{kind}");
        // Both are full.
        let third = [connect()];
        turn(&mut one);
        turn(&mut two);
        let before = one.counters().turns;
        assert_eq!((one.app, two.app), (2, 2), "{kind}");
        assert_eq!(one.counters().waiting, 1, "{kind}");
        // A loop with room takes part again.
        drop(first);
        turn(&mut one);
        turn(&mut one);
        assert_eq!((one.app, two.app), (3, 2), "{kind}");
        assert!(one.counters().turns - before <= 6, "{kind}");
        drop((second, third));
    }
}

/// Takes nothing until it is woken, and is not watched before.
struct Rests {
    is_watched: bool,
}

impl Handler<usize> for Rests {
    fn ready(&mut self, cx: &mut Cx<'_, usize>) -> std::io::Result<()> {
        if cx.was_woken() {
            self.is_watched = !self.is_watched;
            cx.set_watched(self.is_watched)?;
            cx.set_watched(self.is_watched)?; // It changes nothing.
            cx.set_interest(if self.is_watched { Interest::READ } else { Interest::NONE });
        }
        let mut bytes = [0; 8];
        while self.is_watched
            && let Some(count) = cx.read(&mut bytes)?
        {
            *cx.app += count;
        }
        Ok(())
    }
}

#[test]
fn a_source_that_is_watched_again_is_told_of_what_came_meanwhile() {
    for kind in BackendKind::ALL {
        for is_exclusive in [false, true] {
            let backend = kind.open().expect("the backend opens");
            let made = Reactor::with_backend(backend, LoopLimits::DEFAULT, 0);
            let mut reactor = made.expect("the reactor opens");
            let (near, mut far) = UnixStream::pair().expect("descriptors are free");
            let plain = Registration::new(Interest::READ);
            let registration = if is_exclusive { plain.exclusive() } else { plain };
            let source = Rests { is_watched: true };
            let token = reactor.cx().register(near.into(), registration, source);
            let token = token.expect("it registers");
            let send = |far: &mut UnixStream| {
                std::io::Write::write_all(far, b"four").expect("it takes bytes");
            };
            send(&mut far);
            turn(&mut reactor);
            assert_eq!(reactor.app, 4, "{kind}");
            reactor.cx().wake(token);
            turn(&mut reactor);
            send(&mut far);
            turn(&mut reactor);
            assert_eq!(reactor.app, 4, "{kind}: it was called while it rested");
            reactor.cx().wake(token);
            turn(&mut reactor);
            assert_eq!(reactor.app, 8, "{kind}");
            send(&mut far);
            turn(&mut reactor);
            assert_eq!(reactor.app, 12, "{kind}");
        }
    }
}

/// Reads only every other time that it is woken.
struct Pauses {
    reads: bool,
}

impl Handler<usize> for Pauses {
    fn ready(&mut self, cx: &mut Cx<'_, usize>) -> std::io::Result<()> {
        self.reads ^= cx.was_woken();
        cx.set_interest(if self.reads { Interest::READ } else { Interest::NONE });
        while self.reads
            && let Some(count) = cx.read(&mut [0; 8])?
        {
            *cx.app += count;
        }
        Ok(())
    }
}

#[test]
fn the_interest_of_an_exclusive_source_can_change_although_the_kernel_refuses_that() {
    for kind in BackendKind::ALL {
        let backend = kind.open().expect("the backend opens");
        let made = Reactor::with_backend(backend, LoopLimits::DEFAULT, 0);
        let mut reactor = made.expect("the reactor opens");
        let (near, mut far) = UnixStream::pair().expect("descriptors are free");
        let registration = Registration::new(Interest::READ).exclusive();
        let token = reactor.cx().register(near.into(), registration, Pauses { reads: true });
        let token = token.expect("it registers");
        for round in 1..=3 {
            reactor.cx().wake(token); // It pauses.
            turn(&mut reactor);
            std::io::Write::write_all(&mut far, b"four").expect("it takes bytes");
            turn(&mut reactor);
            assert_eq!(reactor.app, 4 * (round - 1), "{kind}");
            reactor.cx().wake(token); // It reads.
            turn(&mut reactor);
            assert_eq!(reactor.app, 4 * round, "{kind}");
        }
        assert_eq!(reactor.counters().closes.iter().sum::<u64>(), 0, "{kind}");
    }
}
