//! Urgent bytes: sent, read apart and among the others, with independent programs as peers.

mod common;

use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use common::{on_every_backend, turn_until};
use reactor::{
    Cx, Handler, Interest, LoopCx, LoopLimits, Reactor, Readiness, Reason, Registration, Token,
};
use socket2::SockRef;

/// Where the receiver of the tests finds urgent bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Apart,
    Inline,
}

/// What came, in order: bytes, and urgent ones in brackets.
#[derive(Default)]
struct Seen {
    text: String,
    urgent: usize,
    ended: bool,
    failure: Option<String>,
}

struct Receives {
    place: Place,
    is_set: bool,
}

impl Receives {
    fn urgent(byte: u8, cx: &mut Cx<'_, Seen>) {
        cx.app.text.push_str(&format!("[{}]", char::from(byte)));
        cx.app.urgent += 1;
    }
}

impl Handler<Seen> for Receives {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>) -> io::Result<()> {
        if self.place == Place::Inline && !std::mem::replace(&mut self.is_set, true) {
            cx.set_urgent_inline(true)?;
        }
        if self.place == Place::Apart
            && cx.readiness().contains(Readiness::PRIORITY)
            && let Some(byte) = cx.read_urgent()?
        {
            Self::urgent(byte, cx);
            // There is no second one.
            assert_eq!(cx.read_urgent()?, None);
        }
        loop {
            let at_mark = self.place == Place::Inline && cx.is_at_mark()?;
            let mut buffer = [0; 64];
            let room = if at_mark { 1 } else { buffer.len() };
            let Some(count) = cx.read(&mut buffer[..room])? else { break };
            if count == 0 {
                cx.app.ended = true;
                cx.end(Reason::PeerClosed);
                break;
            }
            if at_mark && cx.app.urgent == 0 {
                Self::urgent(buffer[0], cx);
            } else {
                cx.app.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Seen>) {
        if let Reason::Failed { .. } = reason {
            cx.app.failure = Some(reason.to_string());
        }
    }
}

/// When the bytes behind the urgent one are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    AtOnce,
    /// When the sender is woken.
    Later,
}

/// Sends `ab`, an urgent `!` and `cd`, and then ends its stream.
struct Sends {
    rest: Rest,
    has_begun: bool,
}

impl Handler<Seen> for Sends {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>) -> io::Result<()> {
        if !std::mem::replace(&mut self.has_begun, true) {
            assert_eq!(cx.write(&[IoSlice::new(b"ab")])?, Some(2));
            assert_eq!(cx.write_urgent(b'!')?, Some(()));
            cx.set_interest(Interest::NONE);
            if self.rest == Rest::Later {
                return Ok(());
            }
        }
        assert_eq!(cx.write(&[IoSlice::new(b"cd")])?, Some(2));
        cx.shutdown_write()
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Seen>) {
        if let Reason::Failed { .. } = reason {
            cx.app.failure = Some(reason.to_string());
        }
    }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let theirs = TcpStream::connect(address).expect("it connects");
    (listener.accept().expect("it is accepted").0, theirs)
}

fn receive(reactor: &mut Reactor<Seen>, over: impl Into<OwnedFd>, place: Place) {
    let registration = Registration::new(Interest::READ | Interest::PRIORITY);
    let receives = Receives { place, is_set: false };
    let token = reactor.cx().register(over.into(), registration, receives).expect("it registers");
    reactor.cx().wake(token);
}

fn send(reactor: &mut Reactor<Seen>, over: impl Into<OwnedFd>, rest: Rest) -> Token {
    let registration = Registration::new(Interest::WRITE);
    let sends = Sends { rest, has_begun: false };
    reactor.cx().register(over.into(), registration, sends).expect("it registers")
}

/// Sends to a receiver that reads urgent bytes apart. It would lose the urgent byte if the bytes
/// behind it arrived while it reads.
fn send_apart(reactor: &mut Reactor<Seen>, over: impl Into<OwnedFd>) {
    let sender = send(reactor, over, Rest::Later);
    turn_until(reactor, |reactor| reactor.app.urgent > 0 || reactor.app.failure.is_some());
    reactor.cx().wake(sender);
    turn_until(reactor, |reactor| reactor.app.ended || reactor.app.failure.is_some());
}

/// Checks that the plain bytes came in order, and the urgent one once.
fn check(seen: &Seen) {
    assert_eq!((seen.urgent, seen.failure.as_deref()), (1, None), "{}", seen.text);
    assert_eq!(seen.text.replace("[!]", ""), "abcd");
}

#[test]
fn an_urgent_byte_is_read_apart_from_the_others() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let (ours, theirs) = tcp_pair();
        receive(&mut reactor, ours, Place::Apart);
        send_apart(&mut reactor, theirs);
        check(&reactor.app);
    });
}

#[test]
fn the_mark_tells_which_byte_is_the_urgent_one() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let (ours, theirs) = tcp_pair();
        receive(&mut reactor, ours, Place::Inline);
        // It is set before anything arrives.
        turn_until(&mut reactor, |reactor| reactor.counters().runs > 0);
        send(&mut reactor, theirs, Rest::AtOnce);
        turn_until(&mut reactor, |reactor| reactor.app.ended);
        assert_eq!(reactor.app.text, "ab[!]cd");
    });
}

#[test]
fn unix_streams_have_urgent_bytes_where_the_kernel_knows_them() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let (ours, theirs) = UnixStream::pair().expect("a pair can be made");
        receive(&mut reactor, ours, Place::Apart);
        send_apart(&mut reactor, theirs);
        match &reactor.app.failure {
            Some(text) => assert!(text.contains("not supported"), "{text}"),
            None => check(&reactor.app),
        }
    });
}

/// Calls a function once, and keeps its error.
struct Tries(fn(&mut Cx<'_, Seen>) -> io::Result<()>);

impl Handler<Seen> for Tries {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>) -> io::Result<()> {
        (self.0)(cx)?;
        cx.end(Reason::Finished);
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, Seen>) {
        cx.app.failure = Some(reason.to_string());
    }
}

/// Returns how a handler ended that made this call.
fn end_of(over: impl Into<OwnedFd>, call: fn(&mut Cx<'_, Seen>) -> io::Result<()>) -> String {
    let mut reactor = Reactor::new(Seen::default()).expect("the reactor opens");
    let registration = Registration::new(Interest::PRIORITY);
    let token = reactor.cx().register(over.into(), registration, Tries(call));
    reactor.cx().wake(token.expect("it registers"));
    turn_until(&mut reactor, |reactor| reactor.app.failure.is_some());
    reactor.app.failure.take().expect("it ended")
}

#[test]
fn what_has_no_urgent_bytes_says_so() {
    let udp = || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        socket.connect(socket.local_addr().expect("it is bound")).expect("it connects");
        socket
    };
    let text = end_of(udp(), |cx| cx.write_urgent(b'!').map(drop));
    assert!(text.starts_with("send: Operation not supported"), "{text}");
    let (reader, _writer) = io::pipe().expect("a pipe can be made");
    let text = end_of(reader, |cx| cx.is_at_mark().map(drop));
    assert!(text.starts_with("handler: "), "{text}");
    // One that is among the others is not read apart.
    let (ours, theirs) = tcp_pair();
    SockRef::from(&theirs).send_out_of_band(b"!").expect("it is sent");
    let text = end_of(ours, |cx| {
        cx.set_urgent_inline(true)?;
        cx.read_urgent().map(drop)
    });
    assert!(text.starts_with("recv: Invalid argument"), "{text}");
}

/// Waits for an urgent byte, sends one, and prints what was not urgent.
const PYTHON: &str = r#"
import select, socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
_, _, urgent = select.select([], [], [s], 60)
assert urgent, "nothing urgent came"
assert s.recv(1, socket.MSG_OOB) == b"!"
s.sendall(b"ab")
s.send(b"!", socket.MSG_OOB)
s.sendall(b"cd")
s.shutdown(socket.SHUT_WR)
text = b""
while data := s.recv(100):
    text += data
assert text == b"abcd", text
"#;

#[test]
fn python_takes_an_urgent_byte_and_sends_one() {
    if !testkit::has_peer("python3") {
        return;
    }
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port().to_string();
        let mut python = Command::new("python3");
        let mut python = python.args(["-c", PYTHON, &port]).spawn().expect("python starts");
        let (stream, _) = listener.accept().expect("it connects");
        // Read apart, the byte would be lost if the bytes behind it arrived too soon.
        receive(&mut reactor, stream.try_clone().expect("it is cloned"), Place::Inline);
        turn_until(&mut reactor, |reactor| reactor.counters().runs > 0);
        send(&mut reactor, stream, Rest::AtOnce);
        turn_until(&mut reactor, |reactor| reactor.app.ended);
        assert_eq!((&*reactor.app.text, &reactor.app.failure), ("ab[!]cd", &None));
        assert!(python.wait().expect("it ends").success());
    });
}

#[test]
fn socat_finds_an_urgent_byte_among_the_others_if_it_asks_for_that() {
    if !testkit::has_peer("socat") {
        return;
    }
    for (option, expected) in [(",oobinline", "ab!cd"), ("", "abcd")] {
        on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let port = listener.local_addr().expect("it is bound").port();
            let mut socat = Command::new("socat");
            socat.args(["-u", &format!("TCP-CONNECT:127.0.0.1:{port}{option}"), "-"]);
            let mut socat = socat.stdout(Stdio::piped()).spawn().expect("socat starts");
            let (stream, _) = listener.accept().expect("it connects");
            send(&mut reactor, stream, Rest::AtOnce);
            turn_until(&mut reactor, |_| socat.try_wait().expect("it can be asked").is_some());
            let mut output = String::new();
            let mut pipe = socat.stdout.take().expect("its output is piped");
            pipe.read_to_string(&mut output).expect("it is read");
            assert_eq!(output, expected, "with \"{option}\"");
        });
    }
}

#[test]
fn a_sender_without_a_peer_fails_and_raises_no_signal() {
    let (ours, theirs) = tcp_pair();
    (&ours).write_all(b"unread").expect("it is sent");
    drop(theirs);
    let text = end_of(ours, |cx| {
        for _ in 0..1000 {
            cx.write_urgent(b'!')?;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(())
    });
    assert!(text.starts_with("send: "), "{text}");
}
