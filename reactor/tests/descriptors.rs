//! A codec on descriptors that are not sockets, and descriptors that leave the loop.

mod common;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{on_every_backend, turn_until};
use nix::sys::termios;
use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reason, Reply, Service};
use reactor::{Cx, Handler, Interest, LoopCx, LoopLimits, Reactor, Registration, Role, Stream};

#[derive(Default)]
struct Heard {
    lines: Vec<Vec<u8>>,
    ends: Vec<String>,
}

/// Keeps the lines that it is sent.
struct Keeps;

impl Service<Lines, Heard> for Keeps {
    fn call(
        &mut self,
        line: &mut [u8],
        _reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, Heard>,
    ) -> Flow {
        context.app.lines.push(line.to_vec());
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Heard>) {
        context.app.ends.push(reason.to_string());
    }
}

/// Sends this many lines and closes. It never reads.
struct Says(usize);

impl Service<Lines, Heard> for Says {
    fn open(&mut self, reply: &mut Reply<'_, Lines>, _context: &mut Context<'_, Heard>) -> Flow {
        (0..self.0).for_each(|_| reply.send(b"a line"));
        Flow::Close
    }

    fn call(
        &mut self,
        _line: &mut [u8],
        _reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, Heard>,
    ) -> Flow {
        unreachable!("nothing can be read from the writing end of a pipe")
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Heard>) {
        context.app.ends.push(reason.to_string());
    }
}

/// Answers each line in upper case.
struct Shouts;

impl Service<Lines, Heard> for Shouts {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, Heard>,
    ) -> Flow {
        line.make_ascii_uppercase();
        reply.send(line);
        Flow::Continue
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Heard>) {
        context.app.ends.push(reason.to_string());
    }
}

#[test]
fn lines_are_answered_on_a_terminal_until_it_hangs_up() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Heard>| {
        let terminal = nix::pty::openpty(None, None).expect("a terminal can be opened");
        // A terminal in its usual mode echoes what is typed and changes line ends.
        let mut mode = termios::tcgetattr(&terminal.slave).expect("it has a mode");
        termios::cfmakeraw(&mut mode);
        termios::tcsetattr(&terminal.slave, termios::SetArg::TCSANOW, &mode).expect("it is set");
        let registration = Registration::new(Interest::READ).role(Role::Connection);
        Stream::new(Conversation::new(Lines::default(), Shouts), Limits::DEFAULT)
            .register_fd(terminal.slave, registration, &mut reactor.cx())
            .expect("it registers");
        let mut keyboard = File::from(terminal.master);
        keyboard.write_all(b"one\ntw").expect("there is room");
        let typing = std::thread::spawn(move || {
            let mut answer = [0; 4];
            keyboard.read_exact(&mut answer).expect("it is answered");
            keyboard.write_all(b"o\n").expect("there is room");
            let mut second = [0; 4];
            keyboard.read_exact(&mut second).expect("it is answered");
            [answer, second]
        });
        turn_until(&mut reactor, |reactor| !reactor.app.ends.is_empty());
        assert_eq!(typing.join().expect("it does not panic"), [*b"ONE\n", *b"TWO\n"]);
        assert_eq!(reactor.app.ends, ["peer closed"]);
    });
}

#[test]
fn lines_are_read_from_a_pipe_to_its_end() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Heard>| {
        let (reader, mut writer) = io::pipe().expect("a pipe can be made");
        let registration = Registration::new(Interest::READ).role(Role::Connection);
        Stream::new(Conversation::new(Lines::default(), Keeps), Limits::DEFAULT)
            .register_fd(reader.into(), registration, &mut reactor.cx())
            .expect("it registers");
        writer.write_all(b"one\ntw").expect("there is room");
        turn_until(&mut reactor, |reactor| reactor.app.lines.len() == 1);
        writer.write_all(b"o\n").expect("there is room");
        drop(writer);
        turn_until(&mut reactor, |reactor| !reactor.app.ends.is_empty());
        assert_eq!(reactor.app.lines, [b"one", b"two"]);
        assert_eq!(reactor.app.ends, ["peer closed"]);
    });
}

#[test]
fn all_bytes_written_to_a_pipe_arrive_before_its_end() {
    const LINES: usize = 50_000;
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Heard>| {
        let (mut reader, writer) = io::pipe().expect("a pipe can be made");
        let registration = Registration::new(Interest::WRITE).role(Role::Connection);
        Stream::new(Conversation::new(Lines::default(), Says(LINES)), Limits::DEFAULT)
            .register_fd(writer.into(), registration, &mut reactor.cx())
            .expect("it registers");
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        turn_until(&mut reactor, |reactor| !reactor.app.ends.is_empty());
        let all = reading.join().expect("it does not panic").expect("it can be read");
        assert_eq!(all, b"a line\n".repeat(LINES));
        assert_eq!(reactor.app.ends, ["finished"]);
    });
}

/// What became of a descriptor that is taken out of the loop.
#[derive(Default)]
struct Taken {
    fd: Option<OwnedFd>,
    calls: usize,
    is_closed: bool,
}

/// Takes its descriptor out of the loop when it is called first.
struct Takes;

impl Handler<Taken> for Takes {
    fn ready(&mut self, cx: &mut Cx<'_, Taken>) -> io::Result<()> {
        cx.app.calls += 1;
        if let Some(fd) = cx.take_fd()? {
            cx.app.fd = Some(fd);
        } else if cx.was_woken() {
            assert!(cx.read(&mut [0]).is_err(), "there is nothing to read from");
            cx.end(reactor::Reason::Finished);
        }
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: reactor::Reason, cx: &mut LoopCx<'_, Taken>) {
        cx.app.is_closed = true;
    }
}

#[test]
fn a_descriptor_that_was_taken_out_is_watched_no_longer() {
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Taken>| {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair can be made");
        let registration = Registration::new(Interest::READ);
        let token = reactor.cx().register(ours.into(), registration, Takes).expect("it registers");
        theirs.write_all(b"one").expect("there is room");
        turn_until(&mut reactor, |reactor| reactor.app.fd.is_some());
        // Input and a hang-up reach the new owner alone.
        theirs.write_all(b", two").expect("there is room");
        drop(theirs);
        for _ in 0..5 {
            reactor.run_once(Some(Duration::from_millis(1))).expect("it turns");
        }
        assert_eq!(reactor.app.calls, 1);
        let stream = UnixStream::from(reactor.app.fd.take().expect("it was taken"));
        assert_eq!(io::read_to_string(stream).expect("it is all there"), "one, two");
        // The source goes on without a descriptor.
        reactor.cx().wake(token);
        turn_until(&mut reactor, |reactor| reactor.app.is_closed);
        assert_eq!((reactor.app.calls, reactor.counters().live()), (2, 0));
    });
}
