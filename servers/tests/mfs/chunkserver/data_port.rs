//! What clients and other chunkservers do at the data port.

use protocol::mfs::{
    Answer, BLOCK_SIZE, CHUNK_SIZE, ChunkChecksum, ChunkChecksums, ChunkId, Crc, Data, Disks,
    GetChunkChecksum, GetChunkChecksums, GetVersion, Kind, ListDisks, Message, Nop, Numbered, Read,
    ReadForm, Status, Version, VersionAnswer, Write, WriteData, WriteFinish, WriteStatus, crc32,
};
use testkit::Random;

use super::{Chunkserver, Listening};
use crate::wire::Peer;

#[test]
fn parts_are_read_with_their_crcs_and_what_was_never_written_is_zeros() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-read", listening.address());
    let mut master = listening.register();
    master.create(8, 1);
    let content = Random::new(5).bytes(20 * BLOCK_SIZE + 1000);
    let mut peer = server.connect();
    peer.write(8, 1, &[], &content);
    // One connection has one command after the other.
    for (offset, size) in
        [(0, 20 * BLOCK_SIZE), (1, 5), (65_530, 12), (3 * BLOCK_SIZE - 1, 2), (0, 1_000_000)]
    {
        let expected = content[offset..offset + size].to_vec();
        assert!(peer.read(8, 1, offset as u32, size as u32) == Ok(expected), "{offset} {size}");
    }
    let end = CHUNK_SIZE as u32;
    assert_eq!(peer.read(8, 1, end - 3, 3), Ok(vec![0; 3]));
    assert_eq!(peer.read(8, 1, 0, 0), Ok(Vec::new()));
    assert_eq!(peer.read(8, 2, 0, 1), Err(Status::WRONGVERSION));
    assert_eq!(peer.read(9, 1, 0, 1), Err(Status::NOCHUNK));
    assert_eq!(peer.read(8, 1, end, 1), Err(Status::WRONGOFFSET));
    assert_eq!(peer.read(8, 1, 0, end + 1), Err(Status::WRONGSIZE));
    // All of a chunk in one request, in the form without signs of life.
    let chunk = ChunkId(8);
    peer.send(&Read { form: ReadForm::Quiet, chunk, version: 1, offset: 0, size: end });
    let mut sum = 0;
    loop {
        let (kind, body) = peer.next_of_any().expect("it answers");
        if kind == Kind::READ_STATUS {
            break;
        }
        sum += protocol::mfs::ReadData::parse(&body).expect("it is data").data.bytes.len();
    }
    assert_eq!(sum as u64, CHUNK_SIZE);
    questions(&mut peer, &content);
}

/// Asks what tools and other chunkservers ask.
fn questions(peer: &mut Peer, content: &[u8]) {
    let (chunk, version) = (ChunkId(8), 1);
    peer.send(&GetChunkChecksums { chunk, version });
    let body = peer.next_of(Kind::CHUNK_CHECKSUMS);
    let table = ChunkChecksums::parse(&body).expect("it is an answer").checksums;
    let Answer::Done(table) = table else { panic!("{table:?}") };
    let table: Vec<Crc> = table.iter().collect();
    assert_eq!((table.len(), table[2].0), (1024, crc32(&content[2 * BLOCK_SIZE..][..BLOCK_SIZE])));
    assert_eq!(table[1023].0, 0xD797_8EEB);
    peer.send(&GetChunkChecksum { chunk, version });
    let body = peer.next_of(Kind::CHUNK_CHECKSUM);
    let checksum = ChunkChecksum::parse(&body).expect("it is an answer").checksum;
    assert!(matches!(checksum, Answer::Done(_)));
    peer.send(&ListDisks);
    let body = peer.next_of(Kind::DISKS);
    let disks: Vec<_> = Disks::parse(&body).expect("they are disks").disks.iter().collect();
    assert_eq!((disks.len(), disks[0].chunks, usize::from(disks[0].size)), (1, 1, body.len() - 2));
    peer.send(&GetVersion { number: Some(77) });
    let body = peer.next_of(Kind::VERSION);
    let answer = Numbered::<VersionAnswer<'_>>::parse(&body).expect("it is an answer");
    assert_eq!((answer.number, answer.message.version), (77, Version::OURS));
}

#[test]
fn writes_go_through_a_chain_and_are_the_same_on_all() {
    let listening = Listening::new();
    let names = ["cs-chain1", "cs-chain2", "cs-chain3"];
    let servers = names.map(|name| Chunkserver::start(name, listening.address()));
    // They come in any order, and all get the same chunk.
    let masters = names.map(|_| {
        let mut master = listening.register();
        master.create(8, 1);
        master
    });
    let content = Random::new(6).bytes(100 * BLOCK_SIZE);
    let mut peer = servers[0].connect();
    let chain = [servers[1].port, servers[2].port];
    peer.write(8, 1, &chain, &content);
    // The same connection can be used again: parts, across blocks, at any place.
    let mut model = content;
    peer.begin_write(8, 1, &chain);
    let mut random = Random::new(7);
    for write in 1..=300 {
        let offset = random.below(BLOCK_SIZE as u64) as usize;
        let size = 1 + random.below((BLOCK_SIZE - offset) as u64) as usize;
        let (block, bytes) = (random.below(100) as usize, random.bytes(size));
        peer.write_data(8, write, block as u16, offset as u16, &bytes);
        model[block * BLOCK_SIZE + offset..][..size].copy_from_slice(&bytes);
    }
    for write in 0..=300 {
        peer.expect_status(8, write, Status::OK);
    }
    peer.send(&WriteFinish { chunk: ChunkId(8), version: 1 });
    for server in &servers {
        let read = server.connect().read(8, 1, 0, model.len() as u32);
        assert!(read.as_ref() == Ok(&model), "{}", server.log());
    }
    let table = |server: &Chunkserver| std::fs::read(server.file_of(8, 1)).expect("it is there");
    assert!(table(&servers[0]) == table(&servers[1]) && table(&servers[0]) == table(&servers[2]));
    drop(masters);
}

#[test]
fn acknowledgements_keep_their_order_whatever_the_order_of_the_next_one() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-order", listening.address());
    let mut master = listening.register();
    master.create(8, 1);
    let next = Listening::new();
    let mut peer = server.connect();
    peer.begin_write(8, 1, &[next.address().port()]);
    let mut successor = next.accept();
    let body = successor.next_of(Kind::WRITE);
    let begin = Write::parse(&body).expect("it begins to write");
    assert!(begin.chain.is_empty() && begin.chunk == ChunkId(8) && begin.version == 1);
    for write in 1..=3 {
        peer.write_data(8, write, write as u16, 0, &[write as u8; 100]);
        let body = successor.next_of(Kind::WRITE_DATA);
        let data = WriteData::parse(&body).expect("it is data");
        assert_eq!(
            (data.write, data.block, data.data.bytes),
            (write, write as u16, &[write as u8; 100][..])
        );
    }
    // A sign of life is answered, and passed on.
    peer.send(&Nop::default());
    assert_eq!(peer.next_of_any().map(|(kind, _)| kind), Some(Kind::NOP));
    assert_eq!(successor.next_of_any().map(|(kind, _)| kind), Some(Kind::NOP));
    let acknowledge = |successor: &mut Peer, write, status| {
        successor.send(&WriteStatus { chunk: ChunkId(8), write, status });
    };
    for write in [3, 1, 2, 0] {
        acknowledge(&mut successor, write, Status::OK);
    }
    for write in 0..=3 {
        peer.expect_status(8, write, Status::OK);
    }
    peer.write_data(8, 4, 4, 0, b"last");
    acknowledge(&mut successor, 4, Status::NOSPACE);
    peer.expect_status(8, 4, Status::NOSPACE);
    assert!(peer.next().is_none() && successor.next_of_end(), "both are closed");
}

impl Peer {
    /// Reads up to the end. Returns whether it comes.
    fn next_of_end(&mut self) -> bool {
        while self.next().is_some() {}
        true
    }
}

#[test]
fn a_chain_that_is_broken_ends_the_write_with_its_status() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-broken", listening.address());
    let mut master = listening.register();
    master.create(8, 1);
    let refused = |chain: &[u16], status| {
        let mut peer = server.connect();
        peer.begin_write(8, 1, chain);
        peer.expect_status(8, 0, status);
        assert!(peer.next().is_none());
    };
    refused(&[testkit::free_port()], Status::CANTCONNECT);
    refused(&[1; 17], Status::EINVAL);
    let next = Listening::new();
    let mut peer = server.connect();
    peer.begin_write(8, 1, &[next.address().port()]);
    drop(next.accept());
    peer.expect_status(8, 0, Status::DISCONNECTED);
    assert!(peer.next().is_none());
    // One that says nothing is given up; its client gets signs of life meanwhile.
    let mut peer = server.connect();
    peer.begin_write(8, 1, &[next.address().port()]);
    let silent = next.accept();
    assert_eq!(peer.next_of_any().map(|(kind, _)| kind), Some(Kind::NOP));
    peer.expect_status(8, 0, Status::DISCONNECTED);
    drop(silent);
    // One that acknowledges what it was not given.
    let mut peer = server.connect();
    peer.begin_write(8, 1, &[next.address().port()]);
    let mut wrong = next.accept();
    wrong.send(&WriteStatus { chunk: ChunkId(8), write: 5, status: Status::OK });
    peer.expect_status(8, 5, Status::EINVAL);
    // The chunk itself is as good as before.
    server.connect().write(8, 1, &[], b"content");
    assert_eq!(server.connect().read(8, 1, 0, 7), Ok(b"content".to_vec()));
}

#[test]
fn wrong_data_end_the_write_with_their_status() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-wrong", listening.address());
    let mut master = listening.register();
    master.create(8, 1);
    for (version, chunk, status) in [(2, 8, Status::WRONGVERSION), (1, 9, Status::NOCHUNK)] {
        let mut peer = server.connect();
        peer.begin_write(chunk, version, &[]);
        peer.expect_status(chunk, 0, status);
        assert!(peer.next().is_none());
    }
    let write = |chunk: u64, block, offset, crc_change| {
        let mut peer = server.connect();
        peer.begin_write(8, 1, &[]);
        peer.expect_status(8, 0, Status::OK);
        let mut data = Data::new(b"abc");
        data.crc.0 ^= crc_change;
        peer.send(&WriteData { chunk: ChunkId(chunk), write: 1, block, offset, data });
        let body = peer.next_of(Kind::WRITE_STATUS);
        let WriteStatus { write, status, .. } = WriteStatus::parse(&body).expect("a status");
        assert!(write == 1 && peer.next().is_none());
        status
    };
    assert_eq!(write(8, 0, 0, 1), Status::CRC);
    assert_eq!(write(9, 0, 0, 0), Status::WRONGCHUNKID);
    assert_eq!(write(8, 1024, 0, 0), Status::BNUMTOOBIG);
    assert_eq!(write(8, 0, 65_534, 0), Status::WRONGSIZE);
    assert_eq!(server.connect().read(8, 1, 0, 3), Ok(vec![0; 3]));
    // The rest of a write that has failed is no offence.
    let mut late = server.connect();
    late.write_data(8, 2, 0, 0, b"late");
    assert!(late.next().is_none());
}

#[test]
fn a_disk_that_hangs_holds_nothing_else_up() {
    let listening = Listening::new();
    let folder = testkit::Folder::new("cs-hang");
    let second = folder.path().join("second");
    std::fs::create_dir_all(second.join("55")).expect("there is space");
    // Opening it hangs until something writes to it.
    let fifo = second.join("55/chunk_0000000000000055_00000001.mfs");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("it starts");
    assert!(made.success());
    let path = second.to_str().expect("it is text");
    let address = listening.address().to_string();
    let server = Chunkserver::start_in(folder, &address, &["--disk", path, "--threads", "2"]);
    let mut master = listening.register();
    server.wait_for_log("looked through", 2);
    let chunk = ChunkId(0x55);
    let stuck: Vec<Peer> = (0..4)
        .map(|_| {
            let mut peer = server.connect();
            let form = ReadForm::Lively;
            peer.send(&Read { form, chunk, version: 1, offset: 0, size: 10 });
            peer
        })
        .collect();
    // A client that waits for the disk gets signs of life.
    let mut waits = stuck.into_iter();
    let mut first = waits.next().expect("there are four");
    for _ in 0..2 {
        assert_eq!(first.next_of_any().map(|(kind, _)| kind), Some(Kind::NOP));
    }
    // Nothing is created on the disk that hangs, and the other one goes on.
    server.wait_for_log("does not answer", 1);
    master.create(7, 1);
    server.connect().write(7, 1, &[], b"goes on");
    assert_eq!(server.connect().read(7, 1, 0, 7), Ok(b"goes on".to_vec()));
    drop(waits);
    assert_eq!(server.connect().read(7, 1, 0, 7), Ok(b"goes on".to_vec()));
}
