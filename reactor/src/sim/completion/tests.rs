use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::sim::calls::Simulated;
use crate::sim::world::Life;
use crate::sim::{Fault, Faults, Sim};
use crate::sys::{BLOCK_SIZE, Endpoint};
use crate::{
    Backend, BackendKind, Completion, Coverage, Event, Exchanged, Interest, Readiness, Storage, Tag,
};

const TAG: Tag = Tag::new(3, 1);

/// A connection between two hosts, whose programs are the test. The near one has a ring.
struct Pair {
    sim: Sim,
    near: Simulated,
    far: Simulated,
    fd: OwnedFd,
    peer: Option<OwnedFd>,
}

fn done<T>(answer: Option<io::Result<T>>) -> T {
    answer.expect("the descriptor is simulated").expect("it works")
}

impl Pair {
    fn new(faults: Faults) -> Self {
        let mut sim = Sim::new(1);
        sim.set_faults(faults);
        let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
        for host in [one, other] {
            // Its kernel works, and the scheduler has nothing to run.
            sim.world.lock().hosts[host.0].life = Life::Stopped;
        }
        let (near, far) = (sim.kernel(one.0).loop_like(BackendKind::Uring), sim.kernel(other.0));
        let address: SocketAddr = ([10, 0, 0, 2], 7).into();
        let listener = far.stream_socket().expect("there is one");
        done(far.bind(listener.as_fd(), Endpoint::Inet(&address)));
        done(far.listen(listener.as_fd(), 1));
        let fd = near.stream_socket().expect("there is one");
        done(near.connect(fd.as_fd(), Endpoint::Inet(&address)));
        sim.run_for(Duration::from_millis(10)).expect("it runs");
        let (peer, _) = done(far.accept(listener.as_fd()));
        let mut pair = Self { sim, near, far, fd, peer: Some(peer) };
        Completion::begin(&mut pair.near, pair.fd.as_fd(), TAG).expect("it begins");
        pair
    }

    /// Waits on the ring after some time has passed. Returns what that reports.
    fn wait(&mut self) -> Readiness {
        Backend::flush(&mut self.near).expect("it enters the kernel");
        self.sim.run_for(Duration::from_millis(5)).expect("it runs");
        let mut events = Vec::new();
        let waited = self.near.wait(&mut events, Some(Duration::ZERO));
        assert_eq!(waited.expect("it waits"), Coverage::Complete);
        let ours = |event: &Event| event.tag == TAG;
        assert!(events.iter().all(ours) && events.len() < 2, "{events:?}");
        events.first().map_or(Readiness::NONE, |event| event.readiness)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Completion::write(&mut self.near, self.fd.as_fd(), &[IoSlice::new(bytes)])
    }

    /// Reads with a buffer that is not exchanged.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 1000];
        let count = Completion::read(&mut self.near, self.fd.as_fd(), &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn unsent(&self) -> usize {
        Completion::unsent(&self.near, self.fd.as_fd()) as usize
    }

    fn peer_writes(&mut self, bytes: &[u8]) -> usize {
        let peer = self.peer.as_ref().expect("it is open").as_fd();
        done(self.far.send(peer, &[IoSlice::new(bytes)]))
    }

    /// Returns what the peer reads, and whether it has read the end.
    fn peer_reads(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let peer = self.peer.as_ref().expect("it is open").as_fd();
        let mut all = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            match self.far.read(peer, &mut buffer).expect("it is simulated") {
                Ok(0) => return Ok((all, true)),
                Ok(count) => all.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok((all, false)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the peer read until `count` bytes have come. Returns them, and what waits have reported.
    fn deliver(&mut self, count: usize) -> (Vec<u8>, Readiness) {
        let (mut all, mut reported) = (Vec::new(), Readiness::NONE);
        for _ in 0..2000 {
            reported |= self.wait();
            all.extend(self.peer_reads().expect("it is connected").0);
            if all.len() >= count {
                break;
            }
        }
        (all, reported | self.wait())
    }

    /// Ends the connection as the loop does, and returns its descriptor's socket to the kernel.
    fn close(&mut self) {
        self.near.remove(self.fd.as_fd()).expect("it is watched");
        self.fd = self.near.stream_socket().expect("there is one");
        self.sim.world.lock().sweep().expect("it learns of it");
    }

    /// Returns how many sockets of the near host there are, besides the one that has replaced the
    /// closed one.
    fn left(&self) -> usize {
        let world = self.sim.world.lock();
        world.sockets.values().filter(|it| it.host == 0).count() - 1
    }
}

fn numbers(count: usize) -> Vec<u8> {
    (0..count).map(|place| (place % 251) as u8).collect()
}

fn is_blocked<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn what_is_written_is_sent_when_the_kernel_is_entered() {
    let mut pair = Pair::new(Faults::NONE);
    assert_eq!(pair.write(b"one").expect("there is room"), 3);
    assert_eq!(pair.unsent(), 3);
    pair.sim.run_for(Duration::from_millis(5)).expect("it runs");
    assert_eq!(pair.peer_reads().expect("it is connected").0, b"");
    // A second write of the same turn has to follow the first.
    pair.write(b" two").expect("there is room");
    assert_eq!(pair.unsent(), 4);
    assert_eq!(pair.wait(), Readiness::NONE);
    assert_eq!(pair.unsent(), 0);
    assert_eq!(pair.peer_reads().expect("it is connected").0, b"one two");
}

#[test]
fn a_send_that_is_short_is_continued_in_order() {
    let faults = [
        Faults::NONE.rate(Fault::SmallBuffer, 1_000_000),
        Faults::NONE.rate(Fault::ShortWrite, 500_000),
        Faults::NONE.rate(Fault::FalseWouldBlock, 300_000),
    ];
    for faults in faults {
        let mut pair = Pair::new(Faults::NONE.rate(Fault::SmallBuffer, 1_000_000));
        pair.sim.set_faults(faults);
        let all = numbers(50_000);
        let (mut written, mut read, mut blocked, mut reported) =
            (0, Vec::new(), 0, Readiness::NONE);
        for _ in 0..20_000 {
            if written < all.len() {
                let part = &all[written..all.len().min(written + 7000)];
                match pair.write(part) {
                    Ok(count) => written += count,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        assert!(pair.unsent() > 0, "it sends something");
                        blocked += 1;
                    }
                }
            }
            reported |= pair.wait();
            read.extend(pair.peer_reads().expect("it is connected").0);
            if read.len() == all.len() {
                break;
            }
        }
        assert!(read == all, "{} bytes", read.len());
        assert!(blocked > 0 && reported == Readiness::WRITABLE, "{blocked} {reported:?}");
    }
}

#[test]
fn a_large_write_takes_what_the_socket_takes_and_a_rest() {
    let mut pair = Pair::new(Faults::NONE);
    let all = numbers(300_000);
    let count = pair.write(&all).expect("there is room");
    let rest = pair.unsent();
    assert!(rest > 0 && rest <= 16 * 1024 && count > 64 * 1024 && count < all.len(), "{count}");
    assert!(
        is_blocked(pair.write(b"x"))
            && is_blocked(Completion::flush(&mut pair.near, pair.fd.as_fd()))
    );
    let (read, reported) = pair.deliver(count);
    assert!(read == all[..count], "{} bytes", read.len());
    assert_eq!(reported, Readiness::WRITABLE);
}

#[test]
fn a_read_returns_what_has_come_and_a_block_is_exchanged() {
    let (mut copies, mut exchanges) = (0, 0);
    let mut pair = Pair::new(Faults::NONE);
    for round in 0..20 {
        let sent = numbers(500 + round);
        assert!(is_blocked(pair.read()));
        pair.peer_writes(&sent);
        assert_eq!(pair.wait(), Readiness::READABLE);
        let mut storage = vec![0; BLOCK_SIZE];
        match Completion::read(&mut pair.near, pair.fd.as_fd(), &mut storage) {
            Ok(count) => {
                copies += 1;
                assert_eq!(storage[..count], sent);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                exchanges += 1;
                let taken = if round % 2 == 0 {
                    let storage = Storage::Empty(&mut storage);
                    pair.near.exchange(pair.fd.as_fd(), storage)
                } else {
                    let storage = Storage::Behind(&mut storage[..]);
                    pair.near.exchange(pair.fd.as_fd(), storage)
                };
                let expected = Exchanged { count: sent.len(), has_more: false };
                assert_eq!(taken.expect("it is connected"), Some(expected));
                assert_eq!(storage[..sent.len()], sent);
            }
        }
        let again = pair.near.exchange(pair.fd.as_fd(), Storage::Empty(&mut storage));
        assert_eq!(again.expect("it is connected"), None);
    }
    assert!(copies > 2 && exchanges > 2, "{copies} copies, {exchanges} exchanges");
}

#[test]
fn a_session_that_does_not_read_is_told_of_the_end_alone() {
    let mut pair = Pair::new(Faults::NONE);
    let all = numbers(200_000);
    let mut sent = 0;
    for _ in 0..20 {
        let peer = pair.peer.as_ref().expect("it is open").as_fd();
        match pair.far.send(peer, &[IoSlice::new(&all[sent..])]).expect("it is simulated") {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        pair.wait();
    }
    assert!(sent > 128 * 1024 && sent < all.len(), "the peer stops at {sent} bytes");
    assert_eq!(pair.wait(), Readiness::NONE);
    // The peer ends what it has sent, and the session reads all of it.
    let peer = pair.peer.as_ref().expect("it is open").as_fd();
    done(pair.far.shutdown_write(peer));
    let mut read = Vec::new();
    let mut has_ended = false;
    for _ in 0..2000 {
        match pair.read() {
            Ok(bytes) if bytes.is_empty() => has_ended = true,
            Ok(bytes) => read.extend(bytes),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                pair.wait();
            }
        }
        if has_ended {
            break;
        }
    }
    assert!(has_ended && read == all[..sent], "{} of {sent}", read.len());
    assert!(pair.read().expect("it has ended").is_empty(), "the end stays");
}

#[test]
fn a_reset_fails_what_is_in_flight_once() {
    let mut pair = Pair::new(Faults::NONE);
    let count = pair.write(&numbers(300_000)).expect("there is room");
    assert!(pair.unsent() > 0, "{count}");
    let peer = pair.peer.take().expect("it is open");
    done(pair.far.reset_on_close(peer.as_fd()));
    drop(peer);
    let reported = pair.wait();
    assert!(reported.contains(Readiness::ERROR), "{reported:?}");
    assert_eq!(pair.unsent(), 0);
    let errors = [pair.write(b"x").map(drop), pair.read().map(drop)];
    assert!(errors.iter().all(Result::is_err), "{errors:?}");
    pair.close();
    assert_eq!((pair.wait(), pair.left()), (Readiness::NONE, 0));
}

#[test]
fn a_connection_that_ends_with_a_rest_sends_it_first() {
    let mut pair = Pair::new(Faults::NONE);
    let all = numbers(300_000);
    let count = pair.write(&all).expect("there is room");
    pair.close();
    assert_eq!(pair.left(), 1, "the rest keeps its socket");
    let mut read = Vec::new();
    for _ in 0..2000 {
        assert_eq!(pair.wait(), Readiness::NONE);
        let (bytes, has_ended) = pair.peer_reads().expect("it ends in order");
        read.extend(bytes);
        if has_ended {
            break;
        }
    }
    assert!(read == all[..count], "{} bytes", read.len());
    drop(pair.peer.take());
    pair.wait();
    assert_eq!(pair.left(), 0);
}

#[test]
fn a_connection_that_is_cut_short_or_waits_for_too_long_gives_its_rest_up() {
    for resets in [true, false] {
        let mut pair = Pair::new(Faults::NONE);
        pair.write(&numbers(300_000)).expect("there is room");
        if resets {
            done(pair.near.reset_on_close(pair.fd.as_fd()));
        }
        pair.close();
        if !resets {
            assert_eq!(pair.left(), 1);
            pair.sim.run_for(Duration::from_secs(61)).expect("it runs");
        }
        pair.wait();
        if resets {
            let error = pair.peer_reads().expect_err("it was reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            assert_eq!(pair.left(), 0);
        } else {
            // The kernel sends what its socket has, and no more.
            let rest = pair.deliver(usize::MAX);
            assert!(rest.0.len() <= 128 * 1024, "{}", rest.0.len());
        }
    }
}

#[test]
fn a_side_that_is_to_end_ends_after_its_rest() {
    let mut pair = Pair::new(Faults::NONE);
    let all = numbers(300_000);
    let count = pair.write(&all).expect("there is room");
    Completion::shutdown_write(&mut pair.near, pair.fd.as_fd()).expect("it is connected");
    assert!(is_blocked(pair.near.leave(pair.fd.as_fd())), "it is not handed over");
    let (read, _) = pair.deliver(count);
    assert!(read == all[..count], "{} bytes", read.len());
    pair.wait();
    assert!(pair.peer_reads().expect("it ends in order").1);
}

#[test]
fn a_connection_that_leaves_takes_its_bytes_along() {
    let mut pair = Pair::new(Faults::NONE);
    let all = numbers(300_000);
    // Both sockets become full, since the peer does not read.
    let mut written = 0;
    for _ in 0..10 {
        written += pair.write(&all[written..]).unwrap_or(0);
        pair.wait();
    }
    let rest = pair.unsent();
    assert!(rest > 0 && written < all.len(), "{rest} of {written}");
    pair.peer_writes(b"unread");
    pair.wait();
    let left = pair.near.leave(pair.fd.as_fd()).expect("it stops");
    assert_eq!(left.received, b"unread");
    assert!(left.unsent == all[written - rest..written], "{} of {rest}", left.unsent.len());
    pair.near.add(pair.fd.as_fd(), TAG, Interest::BOTH).expect("it is watched");
    pair.peer_writes(b"later");
    assert!(pair.wait().contains(Readiness::READABLE));
    let mut buffer = [0; 100];
    assert_eq!(done(pair.near.read(pair.fd.as_fd(), &mut buffer)), 5);
    assert!(is_found_missing(pair.write(b"x")));
}

fn is_found_missing(result: io::Result<usize>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
}
