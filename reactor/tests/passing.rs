//! Descriptors that are passed over Unix sockets (P29).

mod common;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{on_every_backend, turn_until};
use reactor::{
    Cx, DESCRIPTORS_MAX, Handler, Interest, LoopLimits, Passed, Reactor, Reason, Registration,
    receive_descriptors, send_descriptors,
};
use testkit::Folder;

/// Each test counts the descriptors of the process, so they run one after another.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("the process has descriptors").count()
}

/// Files whose positions are their numbers. A passed copy has the position of the original.
fn numbered(count: usize) -> Vec<File> {
    let file = |number| {
        let mut file = File::open("/proc/self/exe").expect("it opens");
        file.seek(SeekFrom::Start(number)).expect("it is long enough");
        file
    };
    (0..count as u64).map(file).collect()
}

fn number_of(descriptor: OwnedFd) -> u64 {
    File::from(descriptor).stream_position().expect("it has a position")
}

fn borrowed(files: &[File]) -> Vec<BorrowedFd<'_>> {
    files.iter().map(AsFd::as_fd).collect()
}

/// Returns whether a descriptor is closed on exec.
fn closes_on_exec(fd: &OwnedFd) -> bool {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = fs::read_to_string(path).expect("it is open");
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).expect("it has flags");
    u32::from_str_radix(flags.trim(), 8).expect("they are octal") & 0o2_000_000 != 0
}

/// What a source of the tests has sent and received.
#[derive(Default)]
struct Seen {
    sent: usize,
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    lacks_descriptors: bool,
    ended: bool,
    failures: Vec<String>,
}

/// Sends bytes, the first of them with descriptors.
struct Sends {
    bytes: Vec<u8>,
    files: Vec<File>,
}

impl Handler<Seen> for Sends {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>) -> io::Result<()> {
        while cx.app.sent < self.bytes.len() {
            let rest = &self.bytes[cx.app.sent..];
            let Some(count) = cx.send_descriptors(rest, &borrowed(&self.files))? else {
                return Ok(());
            };
            // They were sent with the first byte of this call.
            self.files.clear();
            cx.app.sent += count;
        }
        cx.end(Reason::Finished);
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut reactor::LoopCx<'_, Seen>) {
        if let Reason::Failed { .. } = reason {
            cx.app.failures.push(reason.to_string());
        }
    }
}

/// Receives up to this many descriptors with a message, and bytes.
struct Receives {
    descriptors_max: usize,
    buffer: Vec<u8>,
}

impl Handler<Seen> for Receives {
    fn ready(&mut self, cx: &mut Cx<'_, Seen>) -> io::Result<()> {
        while let Some(passed) = cx.receive_descriptors(&mut self.buffer, self.descriptors_max)? {
            cx.app.bytes.extend(&self.buffer[..passed.length]);
            cx.app.descriptors.extend(passed.descriptors);
            cx.app.lacks_descriptors |= passed.lacks_descriptors;
            assert!(!passed.lacks_bytes, "a stream has lost bytes");
            if passed.length == 0 {
                cx.app.ended = true;
                cx.end(Reason::PeerClosed);
                break;
            }
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut reactor::LoopCx<'_, Seen>) {
        if let Reason::Failed { .. } = reason {
            cx.app.failures.push(reason.to_string());
        }
    }
}

fn send(reactor: &mut Reactor<Seen>, over: impl Into<OwnedFd>, bytes: &[u8], files: Vec<File>) {
    let sends = Sends { bytes: bytes.to_vec(), files };
    let registration = Registration::new(Interest::WRITE);
    reactor.cx().register(over.into(), registration, sends).expect("it registers");
}

fn receive(reactor: &mut Reactor<Seen>, over: impl Into<OwnedFd>, descriptors_max: usize) {
    let receives = Receives { descriptors_max, buffer: vec![0; 10_000] };
    let registration = Registration::new(Interest::READ);
    reactor.cx().register(over.into(), registration, receives).expect("it registers");
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair can be made")
}

#[test]
fn as_many_descriptors_as_a_message_can_have_arrive_in_order() {
    let _alone = alone();
    let before = open_descriptors();
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let (near, far) = pair();
        receive(&mut reactor, far, DESCRIPTORS_MAX);
        send(&mut reactor, near, b"all of them", numbered(DESCRIPTORS_MAX));
        turn_until(&mut reactor, |reactor| reactor.app.ended);
        let seen = std::mem::take(&mut reactor.app);
        assert_eq!((seen.bytes, seen.lacks_descriptors), (b"all of them".to_vec(), false));
        assert!(seen.descriptors.iter().all(closes_on_exec));
        let numbers: Vec<u64> = seen.descriptors.into_iter().map(number_of).collect();
        assert_eq!(numbers, (0..DESCRIPTORS_MAX as u64).collect::<Vec<_>>());
    });
    assert_eq!(open_descriptors(), before);
}

#[test]
fn more_descriptors_than_are_allowed_are_closed_and_told() {
    let _alone = alone();
    for (sent, allowed) in [(1, 0), (2, 1), (17, 4), (DESCRIPTORS_MAX, 252), (DESCRIPTORS_MAX, 0)] {
        on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
            let before = open_descriptors();
            let (near, far) = pair();
            receive(&mut reactor, far, allowed);
            send(&mut reactor, near, b"too many", numbered(sent));
            turn_until(&mut reactor, |reactor| reactor.app.ended);
            reactor.run_once(Some(std::time::Duration::ZERO)).expect("it turns");
            assert!(reactor.app.lacks_descriptors, "{sent} of {allowed}");
            // Those that were allowed are there, and no other is open.
            let passed = std::mem::take(&mut reactor.app.descriptors);
            assert_eq!(open_descriptors(), before + allowed, "{sent} of {allowed}");
            let numbers: Vec<u64> = passed.into_iter().map(number_of).collect();
            assert_eq!(numbers, (0..allowed as u64).collect::<Vec<_>>());
        });
    }
}

#[test]
fn bytes_that_are_sent_in_parts_arrive_with_their_descriptors_once() {
    let _alone = alone();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let (near, far) = pair();
        send(&mut reactor, near, &bytes, numbered(3));
        turn_until(&mut reactor, |reactor| reactor.app.sent > 0);
        assert!(reactor.app.sent < bytes.len(), "the kernel took everything at once");
        receive(&mut reactor, far, 8);
        turn_until(&mut reactor, |reactor| reactor.app.ended);
        let seen = std::mem::take(&mut reactor.app);
        assert!(seen.bytes == bytes && !seen.lacks_descriptors);
        let numbers: Vec<u64> = seen.descriptors.into_iter().map(number_of).collect();
        assert_eq!(numbers, [0, 1, 2]);
    });
}

#[test]
fn each_message_keeps_its_own_descriptors() {
    let _alone = alone();
    let (near, far) = pair();
    let files = numbered(3);
    for file in &files {
        assert_eq!(send_descriptors(&near, b"12", &[file.as_fd()]).expect("it is sent"), 2);
    }
    (&near).write_all(b"plain").expect("it is sent");
    drop(near);
    let mut buffer = [0; 100];
    let mut parts = Vec::new();
    loop {
        let Passed { length, descriptors, .. } =
            receive_descriptors(&far, &mut buffer, 5).expect("it is received");
        if length == 0 {
            break;
        }
        parts.push((length, descriptors.into_iter().map(number_of).collect::<Vec<_>>()));
    }
    // The kernel keeps two messages with descriptors apart, and may add plain bytes to neither.
    assert_eq!(parts[..2], [(2, vec![0]), (2, vec![1])]);
    let rest: usize = parts[2..].iter().map(|(length, _)| length).sum();
    assert_eq!((rest, &parts[2].1[..]), (7, &[2][..]));
}

#[test]
fn a_datagram_may_lack_bytes_and_has_its_descriptors() {
    let _alone = alone();
    let (near, far) = UnixDatagram::pair().expect("a pair can be made");
    let file = &numbered(8)[7];
    send_descriptors(&near, b"a datagram", &[file.as_fd()]).expect("it is sent");
    let mut buffer = [0; 4];
    let passed = receive_descriptors(&far, &mut buffer, 1).expect("it is received");
    assert_eq!((passed.length, &buffer), (4, b"a da"));
    assert!(passed.lacks_bytes && !passed.lacks_descriptors);
    assert_eq!(passed.descriptors.into_iter().map(number_of).collect::<Vec<_>>(), [7]);
}

fn refusal(result: io::Result<usize>) -> String {
    let error = result.expect_err("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    error.to_string()
}

#[test]
fn what_cannot_be_passed_is_refused_and_sends_nothing() {
    let _alone = alone();
    let (near, mut far) = pair();
    let files = numbered(DESCRIPTORS_MAX + 1);
    let text = refusal(send_descriptors(&near, b"x", &borrowed(&files)));
    assert!(text.contains("253 descriptors at most, not 254"), "{text}");
    let text = refusal(send_descriptors(&near, b"", &borrowed(&files[..1])));
    assert!(text.contains("one byte at least"), "{text}");
    let text = refusal(receive_descriptors(&far, &mut [], 1).map(|passed| passed.length));
    assert!(text.contains("no room"), "{text}");
    drop(near);
    assert_eq!(far.read(&mut [0; 10]).expect("it is read"), 0, "something was sent");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let tcp = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it connects");
    let text = refusal(send_descriptors(&tcp, b"x", &borrowed(&files[..1])));
    assert!(text.contains("over Unix sockets alone"), "{text}");
    let text = refusal(receive_descriptors(&tcp, &mut [0], 1).map(|passed| passed.length));
    assert!(text.contains("over Unix sockets alone"), "{text}");
    let text = refusal(send_descriptors(&files[0], b"x", &borrowed(&files[..1])));
    assert!(text.contains("this is no socket"), "{text}");

    // On a loop, the source ends with the same error.
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let tcp = TcpStream::connect(listener.local_addr().expect("it is bound"));
        send(&mut reactor, tcp.expect("it connects"), b"x", numbered(1));
        turn_until(&mut reactor, |reactor| !reactor.app.failures.is_empty());
        let text = &reactor.app.failures[0];
        assert!(
            text.starts_with("sendmsg: ") && text.contains("over Unix sockets alone"),
            "{text}"
        );
    });
}

#[test]
fn without_a_peer_a_send_fails_and_raises_no_signal() {
    let _alone = alone();
    let (near, far) = pair();
    drop(far);
    let error = send_descriptors(&near, b"x", &borrowed(&numbered(1))).expect_err("no peer");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

/// Receives a message with two descriptors, writes its bytes to both, and sends back the reading
/// end of a pipe.
const PYTHON: &str = r#"
import os, socket
s = socket.socket(fileno=0)
data, fds, flags, _ = socket.recv_fds(s, 1000, 10)
assert len(fds) == 2 and flags & socket.MSG_CTRUNC == 0, (fds, flags)
for fd in fds:
    os.write(fd, data)
r, w = os.pipe()
os.write(w, b"from python")
os.close(w)
socket.send_fds(s, [b"a pipe"], [r])
"#;

/// Starts Python with a socket as its standard input.
fn python(script: &str, socket: UnixStream) -> Child {
    let mut command = Command::new("python3");
    command.args(["-c", script]).stdin(Stdio::from(OwnedFd::from(socket)));
    command.spawn().expect("python starts")
}

#[test]
fn python_takes_descriptors_and_sends_some() {
    let _alone = alone();
    if !testkit::has_peer("python3") {
        return;
    }
    let folder = Folder::new("passing");
    on_every_backend(LoopLimits::DEFAULT, |mut reactor: Reactor<Seen>| {
        let (near, far) = pair();
        let mut python = python(PYTHON, far);
        let paths = ["one", "two"].map(|name| folder.file(name));
        let files = paths.iter().map(|path| File::create(path).expect("it is writable")).collect();
        let far = near.try_clone().expect("a descriptor is free");
        send(&mut reactor, near, b"bytes", files);
        receive(&mut reactor, far, 1);
        turn_until(&mut reactor, |reactor| reactor.app.ended);
        assert!(python.wait().expect("it ends").success());
        for path in paths {
            assert_eq!(fs::read(path).expect("it is there"), b"bytes");
        }
        let seen = std::mem::take(&mut reactor.app);
        assert_eq!(seen.bytes, b"a pipe");
        let mut text = String::new();
        for descriptor in seen.descriptors {
            File::from(descriptor).read_to_string(&mut text).expect("it is read");
        }
        assert_eq!(text, "from python");
    });
}

#[test]
fn python_and_the_blocking_functions_pass_as_many_as_there_can_be() {
    let _alone = alone();
    if !testkit::has_peer("python3") {
        return;
    }
    /// Sends all descriptors back.
    const BACK: &str = r#"
import socket
s = socket.socket(fileno=0)
data, fds, flags, _ = socket.recv_fds(s, 1000, 253)
assert len(fds) == 253 and flags & socket.MSG_CTRUNC == 0, (len(fds), flags)
socket.send_fds(s, [data], fds)
"#;
    let before = open_descriptors();
    {
        let (near, far) = pair();
        let mut child = python(BACK, far);
        let files = numbered(DESCRIPTORS_MAX);
        send_descriptors(&near, b"there and back", &borrowed(&files)).expect("they are sent");
        drop(files);
        let mut buffer = [0; 100];
        let passed = receive_descriptors(&near, &mut buffer, DESCRIPTORS_MAX).expect("they come");
        assert!(child.wait().expect("it ends").success());
        assert_eq!(&buffer[..passed.length], b"there and back");
        let numbers: Vec<u64> = passed.descriptors.into_iter().map(number_of).collect();
        assert_eq!(numbers, (0..DESCRIPTORS_MAX as u64).collect::<Vec<_>>());
    }
    assert_eq!(open_descriptors(), before);
}
