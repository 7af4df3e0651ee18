//! Peers that do what no real one does: answers out of order, twice, late and wrong, random bytes, signs of
//! life without end, packets that are too large.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use protocol::Random;
use protocol::mfs::{
    ChunkId, ChunkLost, ChunkNew, ChunkVersion, ChunkserverAbout, ChunkserverBegin,
    ChunkserverRegister, Create, CreateAnswer, DownloadInfo, DownloadRequest, DownloadStart,
    Endpoint, GetInfo, Info, Ip, Kind, List, MasterAck, Message, MetaloggerRegister, Nop,
    SetVersion, SetVersionAnswer, Space, Status, Version, append_all,
};
use reactor::BackendKind;
use servers::mfs::master::{Master, Outcome};
use testkit::process;

use super::Embedded;
use super::running::Running;
use crate::wire::Peer;

/// A chunkserver that a test plays, with a data port that nothing serves.
pub(super) struct Chunkserver {
    pub(super) peer: Peer,
    pub(super) csid: u16,
}

impl Chunkserver {
    /// Registers with the number `csid` and so many chunks.
    pub(super) fn register(address: &str, last: u8, csid: u16, chunks: &[ChunkVersion]) -> Self {
        let mut peer = Peer::connect(address);
        let space = Space { total: 1 << 40, ..Space::default() };
        let place = Endpoint { ip: Ip(0x0a00_0000 | u32::from(last)), port: 9422 };
        let about = ChunkserverAbout { version: Version::OURS, place, timeout: 60, csid, space };
        peer.send(&ChunkserverRegister::Begin(ChunkserverBegin { proof: None, about }));
        let body = peer.expect(Kind::MASTER_ACK);
        let Ok(MasterAck::Accepted(accepted)) = MasterAck::parse(&body) else { panic!("{body:?}") };
        let bytes = append_all(chunks.iter().copied());
        let chunks = List::new(&bytes).expect("it is a list");
        peer.send(&ChunkserverRegister::Chunks(chunks));
        assert_eq!(peer.expect(Kind::MASTER_ACK), [0]);
        peer.send(&ChunkserverRegister::Done);
        Self { peer, csid: accepted.csid }
    }

    /// Returns the next chunk to create.
    #[track_caller]
    pub(super) fn creates(&mut self) -> ChunkId {
        let body = self.peer.expect(Kind::CREATE);
        Create::parse(&body).expect("it is an order").chunk
    }

    /// Creates one chunk, and ends.
    pub(super) fn creates_one(mut self) -> ChunkId {
        let chunk = self.creates();
        self.answer(chunk, Status::OK);
        // The connection may have ended.
        let _ = self.peer.0.shutdown(Shutdown::Write);
        while self.peer.next().is_some() {}
        chunk
    }

    pub(super) fn answer(&mut self, chunk: ChunkId, status: Status) {
        self.peer.send(&CreateAnswer { chunk, status });
    }
}

/// Turns the loop while a script runs. Returns what it does.
#[track_caller]
pub(super) fn play<T>(master: &mut Embedded, script: JoinHandle<T>) -> T {
    master.turn_until("the end of the script", |_| script.is_finished());
    script.join().expect("it goes well")
}

/// Creates so many chunks, and returns where what comes of them is put.
pub(super) fn create(master: &mut Embedded, count: usize) -> Rc<RefCell<Vec<Outcome>>> {
    let heard = Rc::<RefCell<Vec<Outcome>>>::default();
    master.with(|master| {
        for _ in 0..count {
            let hears = Rc::clone(&heard);
            master.create(move |outcome, _| hears.borrow_mut().push(outcome));
        }
    });
    heard
}

fn start(name: &str, arguments: &[&str]) -> (Embedded, String) {
    let master = Embedded::start(name, "127.0.0.1", arguments);
    let [_, address, _] = master.addresses();
    (master, address)
}

/// Registers a chunkserver, while the loop turns.
pub(super) fn register(
    master: &mut Embedded,
    last: u8,
    csid: u16,
    chunks: &[ChunkVersion],
) -> Chunkserver {
    let ([_, address, _], chunks) = (master.addresses(), chunks.to_vec());
    let count = master.with(|master| master.chunkservers().len());
    let script = thread::spawn(move || Chunkserver::register(&address, last, csid, &chunks));
    let server = play(master, script);
    master.turn_until("the registration", |master| master.chunkservers().len() == count + 1);
    server
}

#[test]
fn answers_in_any_order_and_late_ones_reach_what_has_asked() {
    for backend in BackendKind::available() {
        answers_reach_what_has_asked(backend.name());
    }
}

fn answers_reach_what_has_asked(backend: &str) {
    let (mut master, _) = start("cs-order", &["--under-way-max", "8", "--backend", backend]);
    let mut server = register(&mut master, 1, 0, &[]);
    assert_eq!(server.csid, 1);
    let heard = create(&mut master, 20);
    let script = thread::spawn(move || {
        let mut chunks: Vec<ChunkId> = (0..8).map(|_| server.creates()).collect();
        // No more than so many are under way.
        server.peer.0.set_read_timeout(Some(Duration::from_millis(100))).expect("it is positive");
        assert!(server.peer.next().is_none(), "nothing comes");
        server.peer.0.set_read_timeout(Some(testkit::PATIENCE)).expect("it is positive");
        // The first ones are not done, and come again later.
        for chunk in chunks.drain(..2) {
            server.answer(chunk, Status::NOTDONE);
        }
        chunks.extend((0..2).map(|_| server.creates()));
        for _ in 0..12 {
            let chunk = chunks.pop().expect("some are under way");
            server.answer(chunk, Status::OK);
            chunks.push(server.creates());
        }
        for chunk in chunks {
            server.answer(chunk, if chunk.0 % 2 == 0 { Status::OK } else { Status::IO });
        }
        server
    });
    let server = play(&mut master, script);
    master.turn_until("the outcomes", |_| heard.borrow().len() == 20);
    let failed = heard.borrow().iter().filter(|it| **it == Err(Status::IO)).count();
    assert!((1..8).contains(&failed), "{failed} have failed");
    drop(server);
    master.turn_until("its end", |master| master.chunkservers().is_empty());
}

#[test]
fn what_answers_twice_or_wrongly_has_to_register_again() {
    let (mut master, _) = start("cs-twice", &[]);
    for wrong in [
        |chunk| CreateAnswer { chunk, status: Status::OK }.packet(),
        |_| CreateAnswer { chunk: ChunkId(99), status: Status::OK }.packet(),
        |chunk| SetVersionAnswer { chunk, status: Status::OK }.packet(),
        |_| GetInfo.packet(),
        |_| ChunkserverRegister::Done.packet(),
    ] {
        let mut server = register(&mut master, 1, 0, &[]);
        let heard = create(&mut master, 2);
        let script = thread::spawn(move || {
            let (first, second) = (server.creates(), server.creates());
            server.answer(first, Status::OK);
            let _ = server.peer.0.write_all(&wrong(first));
            server.answer(second, Status::OK);
            while server.peer.next().is_some() {}
        });
        play(&mut master, script);
        master.turn_until("the outcomes", |_| heard.borrow().len() == 2);
        assert_eq!(heard.borrow()[1], Err(Status::DISCONNECTED));
        master.turn_until("its end", |master| master.chunkservers().is_empty());
    }
}

#[test]
fn what_never_answers_is_given_up() {
    let (mut master, _) = start("cs-never", &["--order-timeout", "1s"]);
    let mut server = register(&mut master, 1, 0, &[]);
    let heard = create(&mut master, 1);
    master.turn_until("the outcome", |_| !heard.borrow().is_empty());
    assert_eq!(heard.borrow()[0], Err(Status::DISCONNECTED));
    let script = thread::spawn(move || while server.peer.next().is_some() {});
    play(&mut master, script);
}

#[test]
fn a_silent_chunkserver_is_given_up_and_not_for_a_delay_of_our_own() {
    let (mut master, _) = start("cs-silent", &[]);
    let mut server = register(&mut master, 1, 0, &[]);
    // It asked for a minute. The loop stands still for longer than the other one bears.
    let [_, address, _] = master.addresses();
    let script = thread::spawn(move || {
        let place = Endpoint { ip: Ip(0x0a00_0002), port: 9422 };
        let about = ChunkserverAbout {
            version: Version::OURS,
            place,
            timeout: 1,
            csid: 0,
            space: Space::default(),
        };
        let mut peer = Peer::connect(&address);
        peer.send(&ChunkserverRegister::Begin(ChunkserverBegin { proof: None, about }));
        peer.expect(Kind::MASTER_ACK);
        peer.send(&ChunkserverRegister::Done);
        peer
    });
    let mut quick = play(&mut master, script);
    master.turn_until("the registration", |master| master.chunkservers().len() == 2);
    quick.send(&Nop::default());
    thread::sleep(Duration::from_secs(3));
    quick.send(&Nop::default());
    master.turn_until("a turn", |_| true);
    master.turn_until("a turn", |_| true);
    assert_eq!(master.with(|master| master.chunkservers().len()), 2);
    // It is told something before it is given up.
    let script = thread::spawn(move || quick.next_of_any());
    assert_eq!(play(&mut master, script), Some((Kind::NOP, Vec::new())));
    master.turn_until("its end", |master| master.chunkservers() == [1]);
    server.peer.send(&Nop::default());
}

#[test]
fn copies_follow_what_chunkservers_tell() {
    let (mut master, _) = start("cs-copies", &[]);
    let of = |chunk, version| ChunkVersion { chunk: ChunkId(chunk), version };
    let places = |master: &mut Embedded, chunk| {
        let located = master.with(|master| master.locate(ChunkId(chunk)));
        located.map(|it| (it.version, it.places.len()))
    };
    let mut one = register(&mut master, 1, 7, &[of(10, 1), of(11, 5)]);
    assert_eq!(one.csid, 7);
    // The number is taken.
    let mut two = register(&mut master, 2, 7, &[of(10, 1), of(11, 4)]);
    assert_eq!(two.csid, 1);
    assert_eq!(places(&mut master, 10), Some((1, 2)));
    assert_eq!(places(&mut master, 11), Some((5, 1)), "an older version is none");
    let lost = append_all([ChunkId(10)]);
    one.peer.send(&ChunkLost { chunks: List::new(&lost).expect("it is a list") });
    let new = append_all([of(12, 3)]);
    two.peer.send(&ChunkNew { chunks: List::new(&new).expect("it is a list") });
    master.turn_until("the news", |master| master.locate(ChunkId(12)).is_some());
    master.turn_until("the loss", |master| {
        master.locate(ChunkId(10)).is_some_and(|it| it.places.len() == 1)
    });
    // A new chunk has a number that none has had.
    let heard = create(&mut master, 1);
    let script = thread::spawn(move || {
        let chunk = one.creates();
        assert_eq!(two.creates(), chunk);
        one.answer(chunk, Status::OK);
        two.answer(chunk, Status::OK);
        (one, two, chunk)
    });
    let (mut one, mut two, chunk) = play(&mut master, script);
    assert_eq!(chunk, ChunkId(13));
    master.turn_until("the chunk", |_| !heard.borrow().is_empty());
    // A version that only one can raise leaves one copy.
    let heard = Rc::<RefCell<Vec<Outcome>>>::default();
    let hears = Rc::clone(&heard);
    master.with(|master| {
        master
            .raise_version(chunk, move |outcome, _: &mut Master| hears.borrow_mut().push(outcome));
    });
    let script = thread::spawn(move || {
        for (server, status) in [(&mut one, Status::OK), (&mut two, Status::IO)] {
            let body = server.peer.expect(Kind::SET_VERSION);
            let order = SetVersion::parse(&body).expect("it is an order");
            assert_eq!((order.chunk, order.version, order.old_version), (chunk, 2, 1));
            server.peer.send(&SetVersionAnswer { chunk, status });
        }
        (one, two)
    });
    let (one, two) = play(&mut master, script);
    master.turn_until("the outcome", |_| !heard.borrow().is_empty());
    assert_eq!(places(&mut master, chunk.0), Some((2, 1)));
    // A connection of the same data port replaces the older one, and its chunks.
    let again = {
        let [_, address, _] = master.addresses();
        let chunks = [of(chunk.0, 2), of(10, 1)];
        play(&mut master, thread::spawn(move || Chunkserver::register(&address, 1, 7, &chunks)))
    };
    assert_eq!(again.csid, 7);
    let script = thread::spawn(move || {
        let mut one = one;
        while one.peer.next().is_some() {}
    });
    play(&mut master, script);
    master.turn_until("the copies", |master| {
        master.locate(ChunkId(10)).is_some_and(|it| it.places.len() == 2)
    });
    assert_eq!(places(&mut master, 11), Some((5, 0)));
    drop((two, again));
}

#[test]
fn numbers_of_a_damaged_chunkserver_do_not_become_those_of_new_chunks() {
    let (mut master, _) = start("cs-numbers", &[]);
    let of = |chunk, version| ChunkVersion { chunk: ChunkId(chunk), version };
    let wrong = [of(0, 1), of(u64::MAX, 1), of(1 << 40, 1), of(12, 0)];
    let last = of(9, u32::MAX);
    let server = register(&mut master, 1, 0, &[&wrong[..], &[last]].concat());
    for it in wrong {
        assert!(master.with(|master| master.locate(it.chunk)).is_none(), "{:?}", it.chunk);
    }
    // No version follows the last one.
    let heard = Rc::<RefCell<Vec<Outcome>>>::default();
    let hears = Rc::clone(&heard);
    master.with(|master| {
        master.raise_version(last.chunk, move |outcome, _: &mut Master| {
            hears.borrow_mut().push(outcome);
        });
    });
    assert_eq!(*heard.borrow(), [Err(Status::WRONGVERSION)]);
    let heard = create(&mut master, 1);
    let chunk = play(&mut master, thread::spawn(move || server.creates_one()));
    assert_eq!(chunk, ChunkId(10));
    master.turn_until("the chunk", |_| !heard.borrow().is_empty());
}

#[test]
fn a_download_has_only_the_parts_that_there_are() {
    let mut master = Embedded::start("ml-parts", "127.0.0.1", &[]);
    let [address, ..] = master.addresses();
    let length = master.with(|master| master.metadata_file().len()) as u64;
    let script = thread::spawn(move || {
        let register = |peer: &mut Peer| {
            peer.send(&MetaloggerRegister { version: Version::OURS, timeout: 10, first: None });
        };
        let mut peer = Peer::connect(&address);
        register(&mut peer);
        peer.send(&DownloadStart { file: 77 });
        let refused = DownloadInfo::Refused(0xff).body();
        assert_eq!(peer.expect(Kind::DOWNLOAD_INFO), refused);
        peer.send(&DownloadStart { file: 1 });
        assert_eq!(peer.expect(Kind::DOWNLOAD_INFO), DownloadInfo::Length(length).body());
        peer.send(&DownloadRequest { offset: 1, size: length as u32 - 1 });
        assert_eq!(peer.expect(Kind::DOWNLOAD_DATA).len() as u64, 16 + length - 1);
        for request in [
            DownloadRequest { offset: 1, size: length as u32 },
            DownloadRequest { offset: u64::MAX, size: 1 },
            DownloadRequest { offset: 0, size: u32::MAX },
        ] {
            let mut peer = Peer::connect(&address);
            register(&mut peer);
            peer.send(&DownloadStart { file: 1 });
            peer.expect(Kind::DOWNLOAD_INFO);
            peer.send(&request);
            assert_eq!(peer.next(), None, "{request:?}");
        }
        // Registering twice, and downloading before.
        register(&mut peer);
        assert_eq!(peer.next(), None);
        let mut peer = Peer::connect(&address);
        peer.send(&DownloadStart { file: 1 });
        assert_eq!(peer.next(), None);
    });
    play(&mut master, script);
}

#[test]
fn what_is_no_packet_ends_the_connection_on_every_port() {
    let mut master = Embedded::start("hostile", "127.0.0.1", &["--timeout", "1s"]);
    let addresses = master.addresses();
    let script = thread::spawn(move || {
        let mut random = Random::new(17);
        for address in &addresses {
            for round in 0..20_usize {
                let mut stream = TcpStream::connect(address).expect("the master listens");
                stream.set_read_timeout(Some(testkit::PATIENCE)).expect("it is positive");
                let mut bytes: Vec<u8> = (0..1000).map(|_| random.below(256) as u8).collect();
                if round % 2 == 0 {
                    // A type that may come, with a body that is none, or is too large.
                    let kinds = [0, 50, 60, 100, 101, 111, 400, 510];
                    let kind: u32 = kinds[round / 2 % kinds.len()];
                    let size = if round < 10 { 992 } else { 100_001_u32 };
                    bytes[..4].copy_from_slice(&kind.to_be_bytes());
                    bytes[4..8].copy_from_slice(&size.to_be_bytes());
                }
                // It may be closed before everything is written.
                let _ = stream.write_all(&bytes);
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                assert!(rest.len() < 100, "{address} {round}: {} bytes", rest.len());
            }
            // One that says nothing is given up.
            let mut mute = TcpStream::connect(address).expect("the master listens");
            mute.set_read_timeout(Some(testkit::PATIENCE)).expect("it is positive");
            mute.read_to_end(&mut Vec::new()).expect("it ends in order");
        }
        // So is one that gives signs of life, and does not register.
        for address in &addresses[..2] {
            let mut idle = TcpStream::connect(address).expect("the master listens");
            while idle.write_all(&Nop::default().packet()).is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
        }
    });
    play(&mut master, script);
    assert!(master.with(|master| master.refused()) >= 18);
}

#[test]
fn signs_of_life_without_end_and_questions_without_reading_cost_little() {
    const FLOOD: usize = 32 << 20;
    let mut master = Running::start("flood", "127.0.0.1", 0, &[]);
    let [metaloggers, chunkservers, clients] = master.addresses.clone();
    let before = process::memory_bytes(master.pid()).expect("it runs");
    let nops = Nop::default().packet().repeat(1 << 13);
    let mut subscriber = Peer::connect(&metaloggers);
    subscriber.send(&MetaloggerRegister { version: Version::OURS, timeout: 600, first: None });
    let server = Chunkserver::register(&chunkservers, 1, 0, &[]);
    for Peer(mut stream) in [subscriber, server.peer] {
        for _ in 0..FLOOD / 8 / nops.len() {
            stream.write_all(&nops).expect("it reads");
        }
    }
    // It asks, and never reads the answers: the master stops reading.
    let mut stream = TcpStream::connect(&clients).expect("the master listens");
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("it is positive");
    let questions = GetInfo.packet().repeat(1 << 13);
    let mut written = 0;
    while written < FLOOD && stream.write_all(&questions).is_ok() {
        written += questions.len();
    }
    assert!(written < FLOOD, "everything was read");
    // Others are answered meanwhile.
    let mut other = Peer::connect(&clients);
    other.send(&GetInfo);
    Info::parse(&other.expect(Kind::INFO)).expect("it is the answer");
    let _ = stream.shutdown(Shutdown::Both);
    let after = process::memory_bytes(master.pid()).expect("it runs");
    let grown = after.saturating_sub(before);
    assert!(grown < 16 << 20, "the memory has grown by {grown} bytes");
    master.stop();
}
