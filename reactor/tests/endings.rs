//! How connections end (P5, P23): every row of the table, on every backend.

mod common;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Echo, Probe, on_every_backend, serve, serve_echo, turn_until};
use protocol::codecs::{Bytes, Lines};
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Address, ConnectOptions, Cx, Handler, Interest, ListenOptions, Listener, LoopCx, LoopLimits,
    Reactor, Readiness, Reason, Registration, Stream,
};
use socket2::SockRef;

/// Returns the two ends of a TCP connection.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let far = TcpStream::connect(listener.local_addr().expect("it has one")).expect("it connects");
    let (near, _) = listener.accept().expect("it accepts");
    (near, far)
}

fn register(reactor: &mut Reactor<()>, fd: impl Into<OwnedFd>, interest: Interest) -> Probe {
    let probe = Probe::default();
    let registration = Registration::new(interest);
    reactor.cx().register(fd.into(), registration, probe.clone()).expect("it registers");
    probe
}

/// Turns the loop until the probe has been told its end, and then a while longer, to check that it
/// is told once and that the loop then sleeps. Returns how often it has read, and the reason.
fn ended(reactor: &mut Reactor<()>, probe: &Probe) -> (usize, &'static str) {
    turn_until(reactor, |_| probe.closes.get() > 0);
    assert_rests(reactor);
    assert_eq!(probe.closes.get(), 1);
    (probe.reads.get(), Reason::NAMES[probe.reason.get()])
}

/// Checks that the loop turns only a few times in 30 ms.
fn assert_rests(reactor: &mut Reactor<()>) {
    let before = reactor.counters().turns;
    reactor.cx().after(Duration::from_millis(30), |cx| cx.stop()).expect("it is armed");
    reactor.run().expect("it runs");
    let turns = reactor.counters().turns - before;
    assert!(turns <= 4, "{turns} turns for nothing: {}", reactor.counters());
}

#[test]
fn the_end_of_a_tcp_peer_comes_after_its_data() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (near, mut far) = tcp_pair();
        let probe = register(&mut reactor, near, Interest::READ);
        far.write_all(&[1; 10_000]).expect("the kernel takes bytes");
        drop(far);
        assert_eq!(ended(&mut reactor, &probe), (10_000, "peer closed"));
    });
}

#[test]
fn a_reset_is_a_failure() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (mut near, far) = tcp_pair();
        // A peer that closes without reading this resets the connection.
        near.write_all(b"unread").expect("the kernel takes bytes");
        let probe = register(&mut reactor, near, Interest::READ);
        drop(far);
        assert_eq!(ended(&mut reactor, &probe), (0, "failed"));
    });
}

#[test]
fn bytes_that_arrived_before_a_reset_are_read() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (mut near, mut far) = tcp_pair();
        near.write_all(b"unread").expect("the kernel takes bytes");
        far.write_all(&[1; 10_000]).expect("the kernel takes bytes");
        drop(far);
        let probe = register(&mut reactor, near, Interest::READ);
        assert_eq!(ended(&mut reactor, &probe), (10_000, "failed"));
    });
}

/// Answers a line with itself, closes, and notes how its connection ended.
struct AnswersOnce;

impl Service<Lines, Option<String>> for AnswersOnce {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, Option<String>>,
    ) -> Flow {
        reply.send(line);
        Flow::Close
    }

    fn closed(&mut self, reason: &protocol::Reason, context: &mut Context<'_, Option<String>>) {
        assert!(context.app.is_none(), "it is told twice");
        *context.app = Some(reason.to_string());
    }
}

#[test]
fn a_peer_that_resets_after_the_whole_answer_ends_its_connection_in_order() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Option<String>>| {
        let address = serve(&mut reactor, Limits::DEFAULT, || {
            Conversation::new(Lines::default(), AnswersOnce)
        });
        let mut peer = TcpStream::connect(&address).expect("it accepts");
        peer.write_all(b"ask\n").expect("the kernel takes bytes");
        turn_until(&mut reactor, |reactor| reactor.counters().writes > 0);
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).expect("the answer ends in order");
        assert_eq!(answer, b"ask\n");
        assert_eq!(reactor.app, None, "the connection waits for its peer to end too");
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("it is set");
        drop(peer);
        turn_until(&mut reactor, |reactor| reactor.app.is_some());
        assert_eq!(reactor.app.as_deref(), Some("finished"));
    });
}

#[test]
fn a_reset_reaches_a_paused_source_without_spinning() {
    /// Ends when it is told of an error.
    struct Paused;
    impl Handler<()> for Paused {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            assert!(cx.readiness().contains(Readiness::ERROR));
            cx.take_error()?.map_or(Ok(()), Err)
        }
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (mut near, far) = tcp_pair();
        near.write_all(b"unread").expect("the kernel takes bytes");
        let registration = Registration::new(Interest::NONE);
        reactor.cx().register(near.into(), registration, Paused).expect("it registers");
        assert_rests(&mut reactor);
        let before = reactor.counters().live();
        drop(far);
        if reactor.backend_name() == "select" {
            // It cannot ask for errors alone.
            assert_rests(&mut reactor);
            return;
        }
        turn_until(&mut reactor, |reactor| reactor.counters().live() < before);
        assert_rests(&mut reactor);
    });
}

#[test]
fn a_killed_unix_peer_is_reported_like_a_closed_one() {
    for unread in [false, true] {
        on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
            let (mut near, far) = UnixStream::pair().expect("a pair can be made");
            let mut child = Command::new("sleep")
                .arg("1000")
                .stdin(Stdio::from(OwnedFd::from(far)))
                .spawn()
                .expect("every system has it");
            if unread {
                near.write_all(b"never read").expect("the kernel takes bytes");
            }
            let probe = register(&mut reactor, near, Interest::READ);
            assert_rests(&mut reactor);
            assert_eq!(probe.closes.get(), 0);
            child.kill().expect("it runs");
            child.wait().expect("it ends");
            let reason = if unread { "failed" } else { "peer closed" };
            assert_eq!(ended(&mut reactor, &probe), (0, reason));
        });
    }
}

#[test]
fn a_pipe_ends_after_its_data_when_its_writer_closes() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (reader, mut writer) = io::pipe().expect("a pipe can be made");
        let probe = register(&mut reactor, reader, Interest::READ);
        writer.write_all(&[1; 5000]).expect("the kernel takes bytes");
        drop(writer);
        assert_eq!(ended(&mut reactor, &probe), (5000, "peer closed"));
    });
}

#[test]
fn a_pipe_without_a_reader_fails_its_writer() {
    /// Writes at every call.
    struct Writer(Probe);
    impl Handler<()> for Writer {
        fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
            while cx.write(&[io::IoSlice::new(&[1; 4096])])?.is_some() {}
            Ok(())
        }

        fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_>) {
            assert!(reason.to_string().contains("write"), "{reason}");
            Box::new(self.0).closed(reason, cx);
        }
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor| {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        let probe = Probe::default();
        let registration = Registration::new(Interest::WRITE);
        reactor
            .cx()
            .register(writer.into(), registration, Writer(probe.clone()))
            .expect("it registers");
        // The pipe fills up, and then nothing runs.
        assert_rests(&mut reactor);
        drop(reader);
        assert_eq!(ended(&mut reactor, &probe), (0, "failed"));
    });
}

#[test]
fn resets_trickles_and_silence_leave_no_sources() {
    let idle = Some(Duration::from_millis(100));
    let limits = LoopLimits { idle_timeout: idle, ..LoopLimits::DEFAULT };
    on_every_backend(limits, |mut reactor: Reactor<()>| {
        let before = reactor.counters().live() + 1; // The listener stays.
        let make = || Conversation::new(Lines::default(), Shout);
        let address = serve(&mut reactor, Limits::DEFAULT, make);
        let mut silent = Vec::new();
        for round in 0..50 {
            let mut resetting = TcpStream::connect(&address).expect("it accepts");
            resetting.write_all(b"a line\nhalf a li").expect("the kernel takes bytes");
            silent.push(TcpStream::connect(&address).expect("it accepts"));
            let mut trickling = TcpStream::connect(&address).expect("it accepts");
            trickling.set_nonblocking(true).expect("modes can be set");
            for byte in b"trickle\n" {
                trickling.write_all(&[*byte]).expect("the kernel takes a byte");
                reactor.run_once(Some(Duration::ZERO)).expect("it turns");
            }
            let mut reply = [0; 8];
            turn_until(&mut reactor, |_| trickling.read_exact(&mut reply).is_ok());
            assert_eq!(&reply, b"TRICKLE\n", "round {round}");
        }
        turn_until(&mut reactor, |reactor| reactor.counters().live() == before);
        assert_eq!(reactor.cx().connections(), 0);
    });
}

/// Answers lines in capitals.
struct Shout;

impl<A> Service<Lines, A> for Shout {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        line.make_ascii_uppercase();
        reply.send(line);
        Flow::Continue
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_refused_with_a_reason_after_a_few() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let make = || Conversation::new(Lines::with_size_max(64 * 1024), Shout);
        let address = serve(&mut reactor, Limits::DEFAULT, make);
        let client = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).expect("it accepts");
            let mut sent = 0;
            let chunk = vec![b'x'; 1 << 20];
            while sent < 100 && stream.write_all(&chunk).is_ok() {
                sent += 1;
            }
            let mut said = Vec::new();
            // Its answer may end with a reset, since the server did not read everything.
            let _ = stream.read_to_end(&mut said);
            (sent, said)
        });
        turn_until(&mut reactor, |_| client.is_finished());
        let (sent, said) = client.join().expect("the client does not panic");
        assert_eq!(String::from_utf8_lossy(&said), "error: line longer than 65536 bytes\n");
        assert!(sent < 100, "all of it was taken");
        let counters = reactor.counters();
        // Bytes that were never read cannot have taken memory.
        let most = Limits::DEFAULT.linger_bytes_max + Limits::DEFAULT.read_budget + (1 << 20);
        assert!(counters.bytes_read <= most as u64, "{counters}");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
    });
}

#[test]
fn a_session_with_endless_output_is_closed_at_the_cap() {
    /// Sends more at every call, whatever the backlog.
    struct Babble;
    impl<A> Service<Bytes, A> for Babble {
        fn call(
            &mut self,
            _bytes: &mut [u8],
            reply: &mut Reply<'_, Bytes>,
            context: &mut Context<'_, A>,
        ) -> Flow {
            reply.send(&[0; 100_000]);
            context.effects.wake(context.me);
            Flow::Continue
        }

        fn resume(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, A>) -> Flow {
            reply.send(&[0; 100_000]);
            context.effects.wake(context.me);
            Flow::Continue
        }
    }
    let limits = Limits { output_max: 1 << 20, ..Limits::DEFAULT };
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let address = serve(&mut reactor, limits, || Conversation::new(Bytes, Babble));
        let mut client = TcpStream::connect(address).expect("it accepts");
        client.write_all(b"go").expect("the kernel takes bytes");
        let limit = Reason::Limit("").index();
        turn_until(&mut reactor, |reactor| reactor.counters().closes[limit] == 1);
        assert_eq!(reactor.cx().connections(), 0);
    });
}

#[test]
fn every_kind_of_address_transfers_all_bytes_in_both_directions() {
    let folder = testkit::Folder::new("ends");
    let unix = format!("unix:{}", folder.file("socket"));
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        for text in ["127.0.0.1:0", "[::1]:0", &unix] {
            let address: Address = text.parse().expect("it is an address");
            let listener = match Listener::bind(&address, &ListenOptions::DEFAULT) {
                Ok(listener) => listener,
                Err(error) if text == "[::1]:0" => {
                    testkit::tell("SKIPPED", &format!("no IPv6 here: {error}"));
                    continue;
                }
                Err(error) => panic!("{text}: {error}"),
            };
            let address = listener.address().clone();
            let mut cx = reactor.cx();
            let echo = |_| Conversation::new(Bytes, Echo);
            let server = Stream::serve(listener, Limits::DEFAULT, &mut cx, echo);
            let server = server.expect("it listens");
            let sender = Conversation::new(Bytes, Sender { left: 3 << 20, back: 0 });
            let options = ConnectOptions::DEFAULT;
            Stream::new(sender, Limits::DEFAULT)
                .connect(&address, &options, &mut cx)
                .expect("it connects");
            let before = reactor.counters().closes[Reason::PeerClosed.index()];
            turn_until(&mut reactor, |reactor| {
                reactor.counters().closes[Reason::PeerClosed.index()] == before + 2
            });
            reactor.cx().close(server);
            turn_until(&mut reactor, |reactor| reactor.counters().live() == 0);
        }
        assert!(!std::path::Path::new(&folder.file("socket")).exists(), "the socket file was left");
    });
}

/// Sends this many bytes, ends its side, and expects all of them back.
struct Sender {
    left: usize,
    back: usize,
}

impl<A> Service<Bytes, A> for Sender {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, A>) -> Flow {
        self.drained(reply, context)
    }

    fn drained(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, A>) -> Flow {
        // Below the high mark: above it, the loop stops reading, and the server, which echoes,
        // would wait for this side to read.
        let chunk = self.left.min(100_000);
        reply.send(&vec![5; chunk]);
        self.left -= chunk;
        if self.left == 0 && chunk > 0 {
            context.effects.end_output();
        }
        Flow::Continue
    }

    fn call(
        &mut self,
        bytes: &mut [u8],
        _reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        assert!(bytes.iter().all(|byte| *byte == 5));
        self.back += bytes.len();
        Flow::Continue
    }

    fn closed(&mut self, reason: &protocol::Reason, _: &mut Context<'_, A>) {
        if std::thread::panicking() {
            return;
        }
        assert!(reason.is_orderly(), "{reason}");
        assert_eq!(self.back, 3 << 20);
    }
}

#[test]
fn tcp_options_reach_both_ends() {
    let tcp = reactor::TcpOptions {
        keepalive: Some(Duration::from_secs(30)),
        user_timeout: Some(Duration::from_secs(5)),
    };
    let mut reactor = Reactor::new(()).expect("the reactor opens");
    let options = ListenOptions { tcp, ..ListenOptions::DEFAULT };
    let any = "127.0.0.1:0".parse().expect("it is an address");
    let listener = Listener::bind(&any, &options).expect("a port is free");
    let port = listener.address().to_string().rsplit_once(':').expect("it has a port").1.to_owned();
    let address = listener.address().clone();
    let mut cx = reactor.cx();
    let echo = |_| Conversation::new(Bytes, Echo);
    Stream::serve(listener, Limits::DEFAULT, &mut cx, echo).expect("it listens");
    let options = ConnectOptions { tcp, ..ConnectOptions::DEFAULT };
    let client = Conversation::new(Bytes, Echo);
    Stream::new(client, Limits::DEFAULT).connect(&address, &options, &mut cx).expect("it connects");
    turn_until(&mut reactor, |reactor| reactor.cx().connections() == 2);
    let port: u16 = port.parse().expect("it is a number");
    let port = format!(":{port:04X}");
    // The table of the kernel: timer 02 is keepalive, when no other timer runs.
    turn_until(&mut reactor, |_| kept_alive(&port) == 2);
}

/// Returns how many sockets with this port have a keepalive timer.
fn kept_alive(port: &str) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let kept = table.lines().filter(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ours = fields.get(1..3).is_some_and(|it| it.iter().any(|end| end.ends_with(port)));
        ours && fields.get(5).is_some_and(|timer| timer.starts_with("02:"))
    });
    kept.count()
}

#[test]
fn a_refused_connection_is_reported_with_a_hint() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address::from(free.local_addr().expect("it has one"));
    drop(free);
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let mut cx = reactor.cx();
        let options = ConnectOptions::DEFAULT;
        let session = Conversation::new(Bytes, Echo);
        Stream::new(session, Limits::DEFAULT)
            .connect(&address, &options, &mut cx)
            .expect("the loop takes it");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 0);
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        let reason = Reason::Failed { operation: "connect", error };
        assert_eq!(reactor.counters().closes[reason.index()], 1);
        assert!(reason.to_string().contains("is the server running?"), "{reason}");
    });
}

#[test]
fn a_gracefully_stopped_loop_reports_it_and_closes_the_rest_on_drop() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<()>| {
        let address = serve_echo(&mut reactor, Limits::DEFAULT);
        let mut client = TcpStream::connect(address).expect("it accepts");
        turn_until(&mut reactor, |reactor| reactor.cx().connections() == 1);
        reactor.cx().stop_gracefully(Duration::from_millis(50));
        turn_until(&mut reactor, |reactor| reactor.has_ended());
        drop(reactor);
        assert_eq!(client.read(&mut [0]).expect("it is closed in order"), 0);
    });
}

/// Pauses at every line, and answers it when code outside of the loop wakes it.
struct Slow {
    ends_at_once: bool,
}

impl Service<Lines, Option<protocol::ConnectionId>> for Slow {
    fn call(
        &mut self,
        _line: &mut [u8],
        _reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Option<protocol::ConnectionId>>,
    ) -> Flow {
        *context.app = Some(context.me);
        Flow::Pause
    }

    fn resume(
        &mut self,
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, Option<protocol::ConnectionId>>,
    ) -> Flow {
        reply.send(b"done");
        Flow::Continue
    }

    fn stopping(
        &mut self,
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, Option<protocol::ConnectionId>>,
    ) -> Flow {
        if self.ends_at_once {
            reply.send(b"bye");
            return Flow::Close;
        }
        Flow::Continue
    }
}

#[test]
fn sessions_learn_that_the_loop_winds_down_and_paused_ones_are_awaited() {
    let limits = Limits { stopping_quiet: Duration::from_millis(5), ..Limits::DEFAULT };
    for (ends_at_once, said) in [(true, "bye\n"), (false, "done\n")] {
        on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<_>| {
            let make = move || Conversation::new(Lines::default(), Slow { ends_at_once });
            let address = serve(&mut reactor, limits, make);
            let mut client = TcpStream::connect(address).expect("it accepts");
            client.write_all(b"slow\n").expect("the kernel takes bytes");
            turn_until(&mut reactor, |reactor| reactor.app.is_some());
            let mut cx = reactor.cx();
            cx.stop_gracefully(Duration::from_secs(20));
            let connection = cx.app.expect("it has called");
            // Much longer than the idle limit.
            cx.after(Duration::from_millis(50), move |cx| cx.wake(connection))
                .expect("it is armed");
            let client = std::thread::spawn(move || {
                let mut answer = String::new();
                client.read_to_string(&mut answer).expect("it is closed in order");
                answer
            });
            turn_until(&mut reactor, |reactor| reactor.has_ended());
            drop(reactor);
            assert_eq!(client.join().expect("the client does not panic"), said);
        });
    }
}
