//! The registration, and what a master orders.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

use protocol::mfs::{
    BLOCK_SIZE, ChunkBlocks, ChunkDamaged, ChunkId, ChunkLost, ChunkOperation,
    ChunkOperationAnswer, ChunkVersion, ChunkserverRegister, Create, CreateAnswer, Data, Delete,
    DeleteAnswer, Duplicate, DuplicateAnswer, DuplicateTruncated, DuplicateTruncatedAnswer,
    GetChunkBlocks, Kind, MasterAck, Message, ReadData, ReadStatus, Replicate, ReplicateAnswer,
    SetVersion, SetVersionAnswer, Status, Truncate, TruncateAnswer, Version, auth_code_digest,
};
use testkit::wait_until;

use super::{Chunkserver, Listening, Master, TIMEOUT, first_step};
use crate::wire::Peer;

#[test]
fn it_registers_proves_its_code_and_comes_back_with_its_number_and_its_chunks() {
    let master = Listening::new();
    let folder = testkit::Folder::new("cs-register");
    let code = folder.file("code");
    fs::write(&code, "secret\n").expect("there is space");
    let address = master.address().to_string();
    let arguments = ["--auth-code", &code, "--labels", "AC"];
    let server = Chunkserver::start_in(folder, &address, &arguments);
    let mut peer = master.accept();
    let begin = first_step(&mut peer);
    assert_eq!((begin.proof, begin.about.csid, begin.about.timeout), (None, 0, 10));
    assert_eq!(begin.about.version, Version::OURS);
    let challenge: [u8; 32] = std::array::from_fn(|place| place as u8);
    peer.send(&MasterAck::Challenge(challenge));
    let begin = first_step(&mut peer);
    assert_eq!(begin.proof, Some(auth_code_digest(&challenge, b"secret")));
    let mut first = Master::accept(peer, begin.about, TIMEOUT);
    assert_eq!((first.labels, first.about.place.port), (0b101, server.port));
    first.create(5, 1);
    first.create(6, 2);
    // A connection that is lost is made again, with what is known.
    drop(first);
    let second = master.register();
    let both = [(5, 1), (6, 2)].map(|(id, version)| ChunkVersion { chunk: ChunkId(id), version });
    assert_eq!((second.about.csid, &second.chunks[..]), (7, &both[..]));
    assert!(second.about.space.total > 0);
    // A stop is told.
    let mut peer = second.peer;
    let folder = server.stop();
    let leaves = peer.next_of(Kind::REGISTER);
    assert_eq!(ChunkserverRegister::parse(&leaves), Ok(ChunkserverRegister::Leaves));
    let id = fs::read(folder.path().join("data/chunkserverid.mfs")).expect("it is there");
    assert_eq!(id, [&[0, 7][..], &super::META_ID.to_be_bytes()].concat());
    assert_eq!(fs::read(folder.path().join("disk/.metaid")).expect("it is there"), id[2..]);
    // After a start, chunks are told as they are found: at once, or later.
    let server = Chunkserver::start_in(folder, &address, &arguments);
    let mut third = master.register();
    let mut found = third.chunks.clone();
    while found.len() < both.len() {
        let body = third.peer.next_of(Kind::CHUNK_NEW);
        found.extend(protocol::mfs::ChunkNew::parse(&body).expect("they are chunks").chunks);
    }
    found.sort_by_key(|it| it.chunk);
    assert_eq!((third.about.csid, &found[..]), (7, &both[..]));
    drop(server);
}

#[test]
fn each_order_is_carried_out_and_answered() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-orders", listening.address());
    let mut master = listening.register();
    // A chunk is lost only if all disks were looked through.
    server.wait_for_log("looked through", 1);
    let id = ChunkId(0x1ba);
    master.create(id.0, 1);
    let answer = master.order(&Create { chunk: id, version: 1 }, Kind::CREATE_ANSWER);
    assert_eq!(
        CreateAnswer::parse(&answer),
        Ok(CreateAnswer { chunk: id, status: Status::CHUNKEXIST })
    );
    let content: Vec<u8> = (0..3 * BLOCK_SIZE).map(|place| (place / 7) as u8).collect();
    server.connect().write(id.0, 1, &[], &content);

    let set = |version, old_version| SetVersion { chunk: id, version, old_version };
    let mut set_version = |version, old_version| {
        let answer = master.order(&set(version, old_version), Kind::SET_VERSION_ANSWER);
        SetVersionAnswer::parse(&answer).expect("it is an answer").status
    };
    assert_eq!(set_version(3, 2), Status::WRONGVERSION);
    assert_eq!(set_version(2, 1), Status::OK);
    assert!(server.file_of(id.0, 2).exists() && !server.file_of(id.0, 1).exists());

    let copy = Duplicate { chunk: ChunkId(2), version: 9, of: id, of_version: 2 };
    let answer = master.order(&copy, Kind::DUPLICATE_ANSWER);
    let expected = DuplicateAnswer { chunk: copy.chunk, status: Status::OK };
    assert_eq!(DuplicateAnswer::parse(&answer), Ok(expected));
    assert_eq!(server.connect().read(2, 9, 0, content.len() as u32), Ok(content.clone()));

    let truncate = Truncate { chunk: id, length: 70_000, version: 3, old_version: 2 };
    let answer = master.order(&truncate, Kind::TRUNCATE_ANSWER);
    assert_eq!(TruncateAnswer::parse(&answer).expect("an answer").status, Status::OK);
    let mut cut = content[..2 * BLOCK_SIZE].to_vec();
    cut[70_000..].fill(0);
    assert_eq!(server.connect().read(id.0, 3, 0, 2 * BLOCK_SIZE as u32), Ok(cut.clone()));

    let (of, of_version) = (ChunkId(2), 9);
    let short = DuplicateTruncated { chunk: ChunkId(3), version: 1, of, of_version, length: 10 };
    let answer = master.order(&short, Kind::DUPLICATE_TRUNCATED_ANSWER);
    let status = DuplicateTruncatedAnswer::parse(&answer).expect("an answer").status;
    assert_eq!(status, Status::OK);
    assert_eq!(server.connect().read(3, 1, 8, 4), Ok(vec![content[8], content[9], 0, 0]));

    let answer = master.order(&GetChunkBlocks { chunk: id, version: 3 }, Kind::CHUNK_BLOCKS);
    assert_eq!(ChunkBlocks::parse(&answer).expect("an answer").blocks, 2);
    operations(&mut master, &server);
    let delete = Delete { chunk: id, version: 3 };
    for expected in [Status::OK, Status::NOCHUNK] {
        let answer = master.order(&delete, Kind::DELETE_ANSWER);
        assert_eq!(DeleteAnswer::parse(&answer).expect("an answer").status, expected);
    }
    assert!(!server.file_of(id.0, 3).exists());
    // The master learns that the chunk is not there.
    let mut lost: Vec<ChunkId> = Vec::new();
    while !lost.contains(&id) {
        let body = master.peer.next_of(Kind::CHUNK_LOST);
        lost.extend(ChunkLost::parse(&body).expect("they are chunks").chunks);
    }
    assert!(lost.iter().all(|it| [id, ChunkId(20)].contains(it)), "{lost:?}");
}

/// Gives the orders that numbers tell apart.
fn operations(master: &mut Master, server: &Chunkserver) {
    let mut operate = |chunk, version, new_version, copy: (u64, u32), length| {
        let (chunk, copy, copy_version) = (ChunkId(chunk), ChunkId(copy.0), copy.1);
        let order = ChunkOperation { chunk, version, new_version, copy, copy_version, length };
        let answer = master.order(&order, Kind::CHUNK_OPERATION_ANSWER);
        let answer = ChunkOperationAnswer::parse(&answer).expect("it is an answer");
        assert_eq!((answer.chunk, answer.length), (chunk, length));
        answer.status
    };
    let (none, as_it_is) = ((0, 0), u32::MAX);
    assert_eq!(operate(20, 1, 0, none, 1), Status::OK, "create");
    assert_eq!(operate(20, 1, 0, none, 2), Status::OK, "test");
    assert_eq!(operate(20, 2, 0, none, 2), Status::WRONGVERSION);
    assert_eq!(operate(20, 1, 2, none, as_it_is), Status::OK, "version");
    assert_eq!(operate(20, 2, 3, none, 65_537), Status::OK, "truncate");
    assert_eq!(operate(20, 3, 4, (21, 1), as_it_is), Status::OK, "duplicate");
    assert_eq!(operate(20, 4, 4, (22, 1), 5), Status::OK, "duplicate and truncate");
    assert!(server.file_of(20, 4).exists() && server.file_of(21, 1).exists());
    assert_eq!(operate(20, 4, 0, none, 9), Status::EINVAL);
    assert_eq!(operate(20, 4, 0, none, 0), Status::OK, "delete");
    assert_eq!(operate(20, 4, 0, none, 0), Status::NOCHUNK);
}

#[test]
fn a_thousand_orders_at_once_are_all_answered() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-thousand", listening.address());
    let mut master = listening.register();
    master.create(1, 1);
    for chunk in (2..=1000).map(ChunkId) {
        master.peer.send(&Create { chunk, version: 1 });
    }
    let mut again = Vec::new();
    for _ in 2..=1000 {
        let answer = master.peer.next_of(Kind::CREATE_ANSWER);
        let answer = CreateAnswer::parse(&answer).expect("it is an answer");
        match answer.status {
            Status::OK => {}
            // It has enough to do.
            Status::NOTDONE => again.push(answer.chunk),
            other => panic!("{other}"),
        }
    }
    again.iter().for_each(|chunk| master.create(chunk.0, 1));
    assert!((1..=1000).all(|chunk| server.file_of(chunk, 1).exists()));
}

#[test]
fn a_silent_master_is_left_and_a_master_of_other_metadata_ends_the_program() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-silent", listening.address());
    let first = listening.register_for(2);
    server.wait_for_log("is silent", 1);
    let second = listening.register();
    drop((first, second));
    wait_until("the folders are known", || server.folder.path().join("disk/.metaid").exists());
    let mut peer = listening.accept();
    first_step(&mut peer);
    let accepted = protocol::mfs::Accepted { meta_id: 5, ..Default::default() };
    peer.send(&MasterAck::Accepted(accepted));
    server.wait_for_log("belong to the metadata 1122334455667788", 1);
    wait_until("its end", || !testkit::process::runs(server.pid()));
}

#[test]
fn damage_is_told_once_and_again_to_a_new_connection() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-damaged", listening.address());
    let mut master = listening.register();
    master.create(0x41, 1);
    server.connect().write(0x41, 1, &[], &[9; BLOCK_SIZE]);
    let path = server.file_of(0x41, 1);
    let mut bytes = fs::read(&path).expect("it is there");
    bytes[9000] ^= 1;
    fs::write(&path, bytes).expect("there is space");
    for _ in 0..2 {
        assert_eq!(server.connect().read(0x41, 1, 0, 10), Err(Status::CRC));
    }
    let expect_damaged = |peer: &mut Peer| {
        let body = peer.next_of(Kind::CHUNK_DAMAGED);
        let chunks = ChunkDamaged::parse(&body).expect("they are chunks").chunks;
        assert_eq!(chunks.iter().collect::<Vec<_>>(), [ChunkId(0x41)]);
    };
    expect_damaged(&mut master.peer);
    master.peer.next_of(Kind::ERROR_OCCURRED);
    drop(master);
    let mut master = listening.register();
    expect_damaged(&mut master.peer);
    assert_eq!(server.log().matches("the CRC of block 0 is wrong").count(), 1);
}

/// Serves a replica's questions as a source: so many blocks, of which one may have a wrong CRC.
fn serve(source: &Listening, blocks: u16, wrong: Option<u16>) {
    let mut peer = source.accept();
    let ask = GetChunkBlocks::parse(&peer.next_of(Kind::GET_CHUNK_BLOCKS)).expect("a question");
    let GetChunkBlocks { chunk, version } = ask;
    peer.send(&ChunkBlocks { chunk, version, blocks, status: Status::OK });
    if blocks == 0 {
        return;
    }
    let read = protocol::mfs::Read::parse(&peer.next_of(Kind::READ)).expect("a request");
    assert_eq!((read.offset, read.size), (0, u32::from(blocks) * BLOCK_SIZE as u32));
    for block in 0..blocks {
        let bytes = vec![block as u8; BLOCK_SIZE];
        let mut data = Data::new(&bytes);
        data.crc.0 ^= u32::from(wrong == Some(block));
        peer.send(&ReadData { chunk, block, offset: 0, data });
    }
    peer.send(&ReadStatus { chunk, status: Status::OK });
}

#[test]
fn a_replica_appears_when_it_is_complete_and_right() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-replica", listening.address());
    let mut master = listening.register();
    master.create(1, 1);
    let source = Listening::new();
    let place = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into();
    let replicate = |master: &mut Master, chunk: u64, serve: &dyn Fn()| {
        let source = place(source.address().port());
        master.peer.send(&Replicate { chunk: ChunkId(chunk), version: 4, source });
        serve();
        let answer = master.peer.next_of(Kind::REPLICATE_ANSWER);
        let answer = ReplicateAnswer::parse(&answer).expect("it is an answer");
        assert_eq!((answer.chunk, answer.version), (ChunkId(chunk), 4));
        answer.status
    };
    assert_eq!(replicate(&mut master, 2, &|| serve(&source, 40, None)), Status::OK);
    let bytes = server.connect().read(2, 4, 39 * BLOCK_SIZE as u32, BLOCK_SIZE as u32);
    assert_eq!(bytes, Ok(vec![39; BLOCK_SIZE]));
    assert_eq!(replicate(&mut master, 3, &|| serve(&source, 0, None)), Status::OK);
    assert_eq!(replicate(&mut master, 3, &|| {}), Status::CHUNKEXIST);
    assert_eq!(replicate(&mut master, 5, &|| serve(&source, 9, Some(7))), Status::CRC);
    // A source that goes away, and one that is not there.
    let gone = || drop(source.accept());
    assert_eq!(replicate(&mut master, 5, &gone), Status::DISCONNECTED);
    let order = Replicate { chunk: ChunkId(5), version: 4, source: place(testkit::free_port()) };
    let answer = master.order(&order, Kind::REPLICATE_ANSWER);
    let answer = ReplicateAnswer::parse(&answer).expect("it is an answer");
    assert_eq!(answer.status, Status::CANTCONNECT);
    assert_eq!(server.connect().read(5, 4, 0, 1), Err(Status::NOCHUNK));
    assert!(server.file_of(3, 4).exists());
    wait_until("the end of what is incomplete", || {
        fs::read_dir(server.folder.path().join("disk/05")).is_ok_and(|it| it.count() == 0)
    });
}
