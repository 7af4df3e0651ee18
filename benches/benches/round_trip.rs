//! One 64-byte message to an echo server and back over loopback, on each backend.

use criterion::Criterion;
use protocol::codecs::Bytes;
use protocol::{Conversation, Flow, Limits, Reply, Service, Turn};
use reactor::{Address, BackendKind, ListenOptions, Listener, LoopLimits, Reactor, Stream};
use std::io::{Read, Write};
use std::net::TcpStream;

struct Echo;

impl<A> Service<Bytes, A> for Echo {
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _turn: &mut Turn<'_, A>,
    ) -> Flow {
        reply.send(bytes);
        Flow::Continue
    }
}

fn round_trip(criterion: &mut Criterion, kind: BackendKind) {
    let any: Address = "127.0.0.1:0".parse().expect("it is an address");
    let listener = Listener::bind(&any, &ListenOptions::default()).expect("a port is free");
    let address = listener.address().to_string();
    let (sender, receiver) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || -> std::io::Result<()> {
        let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, ())?;
        let mut cx = reactor.cx();
        Stream::serve(listener, Limits::DEFAULT, &mut cx, |_| Conversation::new(Bytes, Echo))?;
        sender.send(cx.remote()).expect("the bench waits for it");
        reactor.run()
    });
    let remote = receiver.recv().expect("the server starts");
    let mut client = TcpStream::connect(address).expect("it accepts");
    client.set_nodelay(true).expect("options can be set");
    let mut message = [7; 64];
    criterion.bench_function(&format!("round trip on {kind}"), |bencher| {
        bencher.iter(|| {
            client.write_all(&message).expect("it takes bytes");
            client.read_exact(&mut message).expect("it answers");
        });
    });
    remote.post(|cx| cx.stop()).expect("the server is there");
    server.join().expect("the server does not panic").expect("the server runs");
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for kind in BackendKind::ALL {
        round_trip(&mut criterion, kind);
    }
    criterion.final_summary();
}
