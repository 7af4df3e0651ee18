//! The ring against real sockets: bytes, their order and their number, however the kernel answers.

use std::collections::HashMap;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use testkit::Random;

mod ends;

use super::Uring;
use super::channel::{Sending, State};
use crate::sys::forbidden::forbid;
use crate::sys::{BLOCK_SIZE, Fills, Room, Sizes, reset_on_close};
use crate::{Backend, BackendKind, Completion, Coverage, Event, Interest, Readiness, Storage, Tag};

/// Queues that are full all the time.
const TINY: Sizes = Sizes { submissions: 4, completions: 8, fills: Fills::Pieces };

/// Returns a ring, unless the kernel refuses one, which is told.
fn ring(sizes: Sizes) -> Option<Uring> {
    if BackendKind::available().contains(&BackendKind::Uring) {
        return Some(Uring::with_sizes(sizes).expect("the kernel has given one before"));
    }
    eprintln!("SKIPPED: io_uring is refused here");
    None
}

/// One side of a connection that the ring drives.
struct Side {
    socket: UnixStream,
    peer: UnixStream,
    tag: Tag,
    written: Vec<u8>,
    read: Vec<u8>,
    is_readable: bool,
    is_writable: bool,
    has_ended: bool,
}

/// Connections by the slots of their tags.
struct Sides {
    uring: Uring,
    sides: Vec<Side>,
    storage: Vec<u8>,
}

impl Sides {
    fn new(uring: Uring, count: usize) -> Self {
        let mut new = Self { uring, sides: Vec::new(), storage: vec![0; BLOCK_SIZE] };
        for slot in 0..count {
            let (socket, peer) = UnixStream::pair().expect("a pair opens");
            for side in [&socket, &peer] {
                side.set_nonblocking(true).expect("the mode can be set");
            }
            let tag = Tag::new(slot as u32, 7);
            new.uring.begin(socket.as_fd(), tag).expect("it begins");
            new.sides.push(Side {
                socket,
                peer,
                tag,
                written: Vec::new(),
                read: Vec::new(),
                is_readable: false,
                is_writable: true,
                has_ended: false,
            });
        }
        new
    }

    /// Waits, and notes what is reported.
    fn wait(&mut self, timeout: Duration) {
        let mut events = Vec::new();
        let _ = self.uring.wait(&mut events, Some(timeout)).expect("it waits");
        for Event { tag, readiness } in events {
            let side = &mut self.sides[tag.slot() as usize];
            assert_eq!(side.tag, tag);
            side.is_readable |= readiness.contains(Readiness::READABLE);
            side.is_writable |= readiness.contains(Readiness::WRITABLE);
        }
    }

    /// Writes what the ring takes of `bytes`.
    fn write(&mut self, slot: usize, bytes: &[u8]) {
        let side = &mut self.sides[slot];
        let (first, second) = bytes.split_at(bytes.len() / 3);
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        match self.uring.write(side.socket.as_fd(), &slices) {
            Ok(count) => side.written.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => side.is_writable = false,
            Err(error) => panic!("{slot} does not write: {error}"),
        }
    }

    /// Reads until nothing is left.
    fn read(&mut self, slot: usize, room: usize) {
        let side = &mut self.sides[slot];
        loop {
            match self.uring.read(side.socket.as_fd(), &mut self.storage[..room]) {
                Ok(0) => {
                    side.has_ended = true;
                    return;
                }
                Ok(count) => side.read.extend_from_slice(&self.storage[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let storage = match room == BLOCK_SIZE {
                        true => Storage::Empty(&mut self.storage),
                        false => Storage::Behind(&mut self.storage[..room]),
                    };
                    let exchanged = self.uring.exchange(side.socket.as_fd(), storage);
                    let Some(exchanged) = exchanged.expect("it is exchanged") else { break };
                    side.read.extend_from_slice(&self.storage[..exchanged.count]);
                }
                Err(error) => panic!("{slot} does not read: {error}"),
            }
        }
        side.is_readable = false;
    }
}

fn noise(random: &mut Random, most: u64) -> Vec<u8> {
    let length = random.below(most) as usize + 1;
    let start = random.below(256) as u8;
    (0..length).map(|place| start.wrapping_add(place as u8)).collect()
}

/// Reads what a peer has received.
fn receive(mut peer: &UnixStream, received: &mut Vec<u8>) {
    let mut room = [0; 100_000];
    while let Ok(count @ 1..) = peer.read(&mut room) {
        received.extend_from_slice(&room[..count]);
    }
}

/// Random writes, reads, pauses and ends on both sides arrive whole and in order.
fn bytes_arrive(sizes: Sizes, count: usize, steps: usize, seed: u64) {
    let Some(uring) = ring(sizes) else { return };
    let mut random = Random::new(seed);
    let mut sides = Sides::new(uring, count);
    let mut sent: Vec<Vec<u8>> = vec![Vec::new(); count];
    let mut received: Vec<Vec<u8>> = vec![Vec::new(); count];
    for _ in 0..steps {
        let slot = random.below(count as u64) as usize;
        let most = [100, 20_000, 200_000][random.below(3) as usize];
        match random.below(6) {
            0 | 1 if sides.sides[slot].is_writable => {
                let bytes = noise(&mut random, most);
                sides.write(slot, &bytes);
            }
            2 | 3 => {
                let bytes = noise(&mut random, most);
                if let Ok(count) = (&sides.sides[slot].peer).write(&bytes) {
                    sent[slot].extend_from_slice(&bytes[..count]);
                }
            }
            4 if sides.sides[slot].is_readable => {
                let room = [1000, BLOCK_SIZE][random.below(2) as usize];
                sides.read(slot, room);
            }
            5 => receive(&sides.sides[slot].peer, &mut received[slot]),
            _ => sides.wait(Duration::ZERO),
        }
    }
    for side in &sides.sides {
        sides.uring.shutdown_write(side.socket.as_fd()).expect("it ends its output");
        side.peer.shutdown(Shutdown::Write).expect("it ends its output");
    }
    let start = Instant::now();
    let is_done = |sides: &Sides, received: &[Vec<u8>]| {
        let mut all = sides.sides.iter().zip(received);
        all.all(|(side, got)| side.has_ended && got.len() == side.written.len())
    };
    while !is_done(&sides, &received) {
        assert!(start.elapsed() < testkit::PATIENCE, "seed {seed}: bytes are missing");
        sides.wait(Duration::from_millis(1));
        for (slot, received) in received.iter_mut().enumerate() {
            if sides.sides[slot].is_readable {
                sides.read(slot, BLOCK_SIZE);
            }
            receive(&sides.sides[slot].peer, received);
        }
    }
    for (slot, side) in sides.sides.iter().enumerate() {
        assert!(side.read == sent[slot], "seed {seed}: {slot} has read other bytes");
        assert!(side.written == received[slot], "seed {seed}: {slot} has sent other bytes");
    }
    for side in std::mem::take(&mut sides.sides) {
        sides.uring.remove(side.socket.as_fd()).expect("it is removed");
    }
    // What was found before a removal may be reported after it: the loop knows such tags as stale.
    let _ = sides.uring.wait(&mut Vec::new(), Some(Duration::ZERO)).expect("it waits");
    assert_eq!(sides.uring.channels.len(), 0, "seed {seed}: channels are left");
    for room in [Room::Shared, Room::Block] {
        assert!(sides.uring.operations.make_room(room, 1), "seed {seed}: blocks are lost");
    }
    assert_eq!(sides.uring.operations.blocks_used(), 0, "seed {seed}: blocks are lost");
}

#[test]
fn where_the_kernel_refuses_a_ring_epoll_takes_its_place_and_the_error_says_why() {
    let cases = [
        (libc::SYS_io_uring_setup, libc::EPERM, "io_uring_setup: Operation not permitted"),
        (libc::SYS_io_uring_setup, libc::ENOSYS, "io_uring_setup: Function not implemented"),
        (libc::SYS_io_uring_register, libc::EACCES, "io_uring_register of a probe: Permission"),
    ];
    for (call, errno, expected) in cases {
        let checks = move || {
            let had_a_ring = BackendKind::available().contains(&BackendKind::Uring);
            forbid(call, errno);
            assert!(!BackendKind::available().contains(&BackendKind::Uring));
            let backend = BackendKind::Uring.open().expect("epoll opens");
            assert_eq!(backend.name(), "epoll");
            let error = Uring::new().err().expect("it is forbidden").to_string();
            assert!(!had_a_ring || error.starts_with(expected), "{error}");
        };
        std::thread::spawn(checks).join().expect("the checks succeed");
    }
}

#[test]
fn bytes_arrive_in_order_whatever_the_sizes() {
    for seed in 0..5 {
        bytes_arrive(Sizes::DEFAULT, 8, 2_000, seed);
    }
}

#[test]
fn bytes_arrive_in_order_if_receives_cannot_share_blocks() {
    for seed in 0..5 {
        bytes_arrive(Sizes { fills: Fills::Whole, ..Sizes::DEFAULT }, 8, 2_000, seed);
    }
}

#[test]
fn bytes_arrive_in_order_through_queues_that_overflow() {
    for seed in 0..5 {
        bytes_arrive(TINY, 30, 1_500, seed);
    }
}

#[test]
fn a_send_that_is_short_in_an_entry_with_too_many_completions_loses_no_byte() {
    let Some(uring) = ring(TINY) else { return };
    let mut sides = Sides::new(uring, 30);
    sides.wait(Duration::ZERO);
    let mut random = Random::new(9);
    let mut reported_at_once = 0;
    while sides.sides[0].is_writable {
        sides.write(0, &noise(&mut random, 16_000));
        for side in &sides.sides[1..] {
            (&side.peer).write_all(b"news").expect("there is room");
        }
        sides.wait(Duration::ZERO);
        reported_at_once = sides.sides.iter().filter(|side| side.is_readable).count();
        for slot in 1..30 {
            sides.read(slot, BLOCK_SIZE);
        }
        let State::Stream(stream) = &sides.uring.channels[0].state else { panic!("it moves") };
        sides.sides[0].is_writable = stream.sending == Sending::Open;
    }
    assert!(reported_at_once > TINY.completions as usize, "{reported_at_once}");
    let start = Instant::now();
    let mut received = Vec::new();
    while received.len() < sides.sides[0].written.len() {
        assert!(start.elapsed() < testkit::PATIENCE, "bytes are missing");
        receive(&sides.sides[0].peer, &mut received);
        sides.wait(Duration::from_millis(1));
    }
    assert!(received == sides.sides[0].written, "other bytes were sent");
}

#[test]
fn what_a_session_does_not_read_stops_the_kernel_and_starves_no_other() {
    let Some(uring) = ring(Sizes::DEFAULT) else { return };
    let mut sides = Sides::new(uring, 200);
    let mut sent = HashMap::new();
    for (slot, side) in sides.sides.iter().enumerate() {
        let mut count = 0;
        while let Ok(more) = (&side.peer).write(&[slot as u8; 50_000]) {
            count += more;
        }
        sent.insert(slot, count);
    }
    for _ in 0..50 {
        sides.wait(Duration::ZERO);
        // The peers go on, as far as their sockets let them.
        for (slot, side) in sides.sides.iter().enumerate() {
            while let Ok(more) = (&side.peer).write(&[slot as u8; 50_000]) {
                *sent.entry(slot).or_default() += more;
            }
        }
    }
    let held: usize = sides
        .uring
        .channels
        .iter()
        .map(|(_, channel)| match &channel.state {
            State::Stream(stream) => stream.unread.length(),
            _ => 0,
        })
        .sum();
    assert!(held <= 200 * 4 * BLOCK_SIZE, "{held} bytes are held for 200 that do not read");
    // One of them reads everything although the others do not.
    let start = Instant::now();
    while sides.sides[0].read.len() < sent[&0] {
        assert!(start.elapsed() < testkit::PATIENCE, "it starves");
        sides.read(0, BLOCK_SIZE);
        sides.wait(Duration::from_millis(1));
    }
    assert!(sides.sides[0].read.iter().all(|byte| *byte == 0));
}

#[test]
fn the_bytes_on_their_way_are_returned_when_a_connection_leaves() {
    let Some(uring) = ring(Sizes::DEFAULT) else { return };
    let mut sides = Sides::new(uring, 1);
    (&sides.sides[0].peer).write_all(b"received").expect("it is sent");
    sides.wait(Duration::from_secs(5));
    let mut bytes = Vec::new();
    let mut random = Random::new(3);
    while sides.sides[0].is_writable {
        bytes = noise(&mut random, 300_000);
        sides.write(0, &bytes);
    }
    (&sides.sides[0].peer).write_all(b" later").expect("it is sent");
    let socket = &sides.sides[0].socket;
    let left = sides.uring.leave(socket.as_fd()).expect("it leaves");
    assert!(!bytes.is_empty() && !left.unsent.is_empty());
    let mut received = Vec::new();
    receive(&sides.sides[0].peer, &mut received);
    received.extend_from_slice(&left.unsent);
    assert!(received == sides.sides[0].written, "other bytes were sent");
    let mut rest = [0; 100];
    let mut all = left.received;
    if let Ok(count) = (&sides.sides[0].socket).read(&mut rest) {
        all.extend_from_slice(&rest[..count]);
    }
    assert_eq!(all, b"received later");
    assert_eq!(sides.uring.channels.len(), 0);
}

#[test]
fn a_removed_connection_is_closed_at_once_and_its_place_is_free() {
    let Some(uring) = ring(TINY) else { return };
    let mut sides = Sides::new(uring, 100);
    sides.wait(Duration::ZERO);
    for slot in 0..100 {
        sides.write(slot, b"last words");
    }
    for side in std::mem::take(&mut sides.sides) {
        sides.uring.remove(side.socket.as_fd()).expect("it is removed");
        drop(side.socket);
        let mut words = String::new();
        side.peer.set_nonblocking(false).expect("the mode can be set");
        side.peer.set_read_timeout(Some(testkit::PATIENCE)).expect("it is not zero");
        (&side.peer).read_to_string(&mut words).expect("it ends");
        assert_eq!(words, "last words");
    }
    sides.wait(Duration::ZERO);
    assert_eq!(sides.uring.channels.len(), 0);
}

#[test]
fn a_connection_that_is_to_be_reset_is_reset_although_the_rest_of_its_output_waits() {
    let Some(mut uring) = ring(Sizes::DEFAULT) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let mut peer = TcpStream::connect(address).expect("it connects");
    let socket = listener.accept().expect("it accepts").0;
    socket.set_nonblocking(true).expect("the mode can be set");
    uring.begin(socket.as_fd(), Tag::new(0, 0)).expect("it begins");
    let bytes = vec![0; 1_000_000];
    while uring.write(socket.as_fd(), &[IoSlice::new(&bytes)]).is_ok() {}
    reset_on_close(socket.as_fd()).expect("the option can be set");
    uring.remove(socket.as_fd()).expect("it is removed");
    drop(socket);
    let mut events = Vec::new();
    let _ = uring.wait(&mut events, Some(Duration::ZERO)).expect("it waits");
    peer.set_read_timeout(Some(testkit::PATIENCE)).expect("it is not zero");
    let error = peer.read_to_end(&mut Vec::new()).expect_err("it is reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(uring.channels.len(), 0);
}

#[test]
fn a_watched_descriptor_is_added_once_and_removed_once() {
    let Some(mut uring) = ring(Sizes::DEFAULT) else { return };
    let (socket, peer) = UnixStream::pair().expect("a pair opens");
    let tag = Tag::new(3, 4);
    uring.add(socket.as_fd(), tag, Interest::READ).expect("it is added");
    let again = uring.add(socket.as_fd(), tag, Interest::READ).expect_err("it is there");
    assert_eq!(again.raw_os_error(), Some(libc::EEXIST));
    let mut events = Vec::new();
    let waited = uring.wait(&mut events, Some(Duration::ZERO)).expect("it waits");
    assert_eq!(waited, Coverage::Complete);
    assert_eq!(events, [Event { tag, readiness: Readiness::WRITABLE }]);
    (&peer).write_all(b"x").expect("it is sent");
    events.clear();
    let _ = uring.wait(&mut events, Some(Duration::from_secs(5))).expect("it waits");
    assert!(events.iter().all(|event| event.readiness.contains(Readiness::READABLE)));
    uring.remove(socket.as_fd()).expect("it is removed");
    let again = uring.remove(socket.as_fd()).expect_err("it is gone");
    assert_eq!(again.raw_os_error(), Some(libc::ENOENT));
    drop(peer);
    events.clear();
    let _ = uring.wait(&mut events, Some(Duration::from_millis(1))).expect("it waits");
    assert_eq!((events.len(), uring.channels.len()), (0, 0));
}

#[test]
fn a_send_that_fails_is_told_by_what_follows_and_nothing_ends_in_order() {
    let Some(mut uring) = ring(Sizes::DEFAULT) else { return };
    let (own, peer) = UnixStream::pair().expect("a pair opens");
    own.set_nonblocking(true).expect("the mode can be set");
    uring.begin(own.as_fd(), Tag::new(0, 7)).expect("it begins");
    // The peer receives nothing any more, but may still send.
    peer.shutdown(Shutdown::Read).expect("it ends");
    (&peer).write_all(b"last words").expect("it is sent");
    let slices = [IoSlice::new(b"a request")];
    assert_eq!(uring.write(own.as_fd(), &slices).expect("it is taken"), slices[0].len());
    let mut events = Vec::new();
    while !events.iter().any(|it: &Event| it.readiness.contains(Readiness::ERROR)) {
        let _ = uring.wait(&mut events, Some(Duration::from_secs(10))).expect("it waits");
        assert!(!events.is_empty(), "nothing is told");
    }
    // What was received comes first.
    let mut buffer = [0; 32];
    let count = uring.read(own.as_fd(), &mut buffer).expect("it is read");
    assert_eq!(&buffer[..count], b"last words");
    let kinds = [
        uring.read(own.as_fd(), &mut buffer).map(drop),
        uring.write(own.as_fd(), &slices).map(drop),
        uring.shutdown_write(own.as_fd()),
        uring.leave(own.as_fd()).map(drop),
    ]
    .map(|it| it.expect_err("it has failed").kind());
    assert_eq!(kinds, [ErrorKind::BrokenPipe; 4]);
    uring.remove(own.as_fd()).expect("it is removed");
}
