//! How many handshakes go on at a time (P9).

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use protocol::Conversation;
use protocol::codecs::Lines;
use reactor::{Accepted, Address, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Stream};

use crate::common::{on_every_backend, turn_until};
use crate::far::{App, Far, LIMITS};
use crate::{Returns, layered};

#[test]
fn no_more_handshakes_go_on_than_the_limit_and_others_wait_for_their_end() {
    const MOST: usize = 3;
    let limits = LoopLimits { handshakes_max: MOST, accepts_per_turn: 1, ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor: Reactor<App>| {
        let any = "127.0.0.1:0".parse().expect("it is an address");
        let listener = Listener::bind(&any, &ListenOptions::DEFAULT).expect("a port is free");
        let Address::Tcp(address) = *listener.address() else { unreachable!("it is TCP") };
        let accept = |accepted: Accepted, cx: &mut LoopCx<'_, App>| {
            let link = layered(Conversation::new(Lines::default(), Returns), LIMITS);
            Stream::over(link).register(accepted, cx).map(drop)
        };
        listener.register(&mut reactor.cx(), accept).expect("it listens");
        // They say nothing.
        let mut silent: Vec<TcpStream> =
            (0..10).map(|_| TcpStream::connect(address).expect("it listens")).collect();
        turn_until(&mut reactor, |reactor| reactor.counters().accepts >= MOST as u64);
        for _ in 0..20 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert_eq!(reactor.counters().accepts, MOST as u64);
        // One of them completes its handshake, and another breaks it off.
        silent[0].write_all(b"toy1").expect("it is sent");
        turn_until(&mut reactor, |reactor| reactor.counters().accepts == 1 + MOST as u64);
        drop(silent.remove(1));
        turn_until(&mut reactor, |reactor| reactor.counters().accepts == 2 + MOST as u64);
        for _ in 0..20 {
            reactor.run_once(Some(Duration::ZERO)).expect("it turns");
        }
        assert_eq!(reactor.counters().accepts, 2 + MOST as u64);
        // The one that is established goes on meanwhile.
        let mut far = Far::new(silent.remove(0).into());
        let sealed = far.seal(b"hello\n");
        far.put(&sealed);
        far.wait_for(b"hello\n", &mut reactor);
    });
}
