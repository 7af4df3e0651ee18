use std::fs;
use std::sync::Arc;

use protocol::mfs::{
    BLOCK_SIZE, CHUNK_BLOCKS, ChunkId, Data, Message, ReadData, Status, WriteData, crc32,
};
use testkit::Random;

use super::*;

const ID: ChunkId = ChunkId(0x1ba);

fn open(temporary: &testkit::Folder) -> Arc<Folder> {
    Arc::new(Folder::open(temporary.path(), 0).expect("it is there"))
}

fn create(folder: &Arc<Folder>) -> Arc<Chunk> {
    let building = Building::begin(Arc::clone(folder), ID, 1).expect("there is space");
    building.finish().expect("there is space")
}

/// Writes bytes at a place, block by block.
fn write(chunk: &Chunk, at: usize, bytes: &[u8]) -> Done<()> {
    let mut part = Part { offset: at, size: bytes.len() };
    let mut packets = Vec::new();
    while part.size > 0 {
        let piece = part.take(1);
        let data = Data::new(&bytes[piece.offset - at..][..piece.size]);
        let (block, offset) = (piece.offset / BLOCK_SIZE, piece.offset % BLOCK_SIZE);
        let number = packets.len() as u32 + 1;
        let (block, offset) = (block as u16, offset as u16);
        packets.push(WriteData { chunk: ID, write: number, block, offset, data }.packet());
    }
    chunk.write(chunk.version(), &packets).into_iter().try_for_each(|(_, result)| result)
}

/// Reads a part, whose CRCs have to be right.
fn read(chunk: &Chunk, offset: usize, size: usize) -> Done<Vec<u8>> {
    let readout = chunk.read(chunk.version(), Part { offset, size }, Vec::new());
    readout.end?;
    let mut bytes = Vec::new();
    for packet in &readout.packets {
        let data = ReadData::parse(&packet[8..]).expect("it is a packet");
        let at = usize::from(data.block) * BLOCK_SIZE + usize::from(data.offset);
        assert_eq!((data.chunk, at), (ID, offset + bytes.len()));
        assert!(data.data.is_intact());
        bytes.extend_from_slice(data.data.bytes);
    }
    Ok(bytes)
}

#[test]
fn any_writes_and_truncations_read_as_those_of_an_array() {
    let temporary = testkit::Folder::new("cs-model");
    let folder = open(&temporary);
    let chunk = create(&folder);
    let mut random = Random::new(63);
    let most = 9 * BLOCK_SIZE;
    let mut model = vec![0; most];
    for round in 0..200 {
        let at = random.below(most as u64) as usize;
        match random.below(8) {
            0 => {
                let (old, new) = (chunk.version(), chunk.version() + 1);
                chunk.truncate(at as u32, old, new).expect("it fits");
                model[at..].fill(0);
            }
            1 => chunk.close(),
            _ => {
                let size = (random.below(3 * BLOCK_SIZE as u64) as usize).min(most - at);
                let bytes = random.bytes(size);
                write(&chunk, at, &bytes).expect("it fits");
                model[at..at + size].copy_from_slice(&bytes);
            }
        }
        let from = random.below(most as u64) as usize;
        let size = 1 + random.below((most - from) as u64) as usize;
        assert_eq!(read(&chunk, from, size), Ok(model[from..from + size].to_vec()), "{round}");
    }
    chunk.test(chunk.version()).expect("all CRCs are right");
    let copy = chunk.copy(chunk.version(), (ChunkId(7), 3), Some(100_000)).expect("space");
    let table = copy.checksums(3).expect("it is open");
    let crc = |bytes: &[u8]| crc32(bytes).to_be_bytes();
    let mut second = model[BLOCK_SIZE..2 * BLOCK_SIZE].to_vec();
    second[100_000 - BLOCK_SIZE..].fill(0);
    assert_eq!(table[..4], crc(&model[..BLOCK_SIZE]));
    assert_eq!(table[4..8], crc(&second));
    assert_eq!(table[8..12], form::EMPTY_CRC.to_be_bytes());
    assert_eq!(copy.blocks(3), Ok(2));
}

#[test]
fn what_cannot_be_done_is_refused_with_its_status() {
    let temporary = testkit::Folder::new("cs-refused");
    let folder = open(&temporary);
    let chunk = create(&folder);
    let refused = |status| Err(Trouble::Refused(status));
    assert_eq!(chunk.set_version(2, 3), refused(Status::WRONGVERSION));
    assert_eq!(chunk.truncate(u32::MAX, 1, 2), refused(Status::WRONGSIZE));
    let wrong = |block, offset, data| {
        let packet = WriteData { chunk: ID, write: 9, block, offset, data }.packet();
        chunk.write(1, &[packet]).pop().expect("it was tried")
    };
    let mut data = Data::new(b"abc");
    assert_eq!(wrong(1024, 0, data), (9, refused(Status::BNUMTOOBIG)));
    assert_eq!(wrong(0, u16::MAX - 1, data), (9, refused(Status::WRONGSIZE)));
    data.crc.0 ^= 1;
    assert_eq!(wrong(0, 0, data), (9, refused(Status::CRC)));
    assert_eq!(chunk.blocks(1), Ok(0));
    chunk.set_version(1, 2).expect("it has this version");
    assert_eq!(chunk.delete(1), refused(Status::WRONGVERSION));
    chunk.delete(0).expect("0 is any version");
    assert_eq!(chunk.blocks(2).map(drop), refused(Status::NOCHUNK));
    assert!(!folder.path_of(ID, 2).exists());
}

#[test]
fn damage_is_found_by_whatever_needs_the_block() {
    let temporary = testkit::Folder::new("cs-damage");
    let folder = open(&temporary);
    let chunk = create(&folder);
    write(&chunk, 0, &[7; 2 * BLOCK_SIZE]).expect("there is space");
    let path = folder.path_of(ID, 1);
    let mut bytes = fs::read(&path).expect("it is there");
    bytes[8192 + BLOCK_SIZE + 5] ^= 1;
    fs::write(&path, bytes).expect("there is space");
    chunk.close();
    assert_eq!(read(&chunk, 0, BLOCK_SIZE), Ok(vec![7; BLOCK_SIZE]));
    let crc = |result: Done<()>| matches!(result, Err(Trouble::Damaged(Status::CRC, _)));
    assert!(crc(read(&chunk, BLOCK_SIZE + 100, 1).map(drop)));
    assert!(crc(write(&chunk, BLOCK_SIZE + 100, b"a")));
    assert!(crc(chunk.truncate(BLOCK_SIZE as u32 + 100, 1, 2)));
    assert!(crc(chunk.test(1)));
    assert!(crc(chunk.copy(1, (ChunkId(9), 1), None).map(drop)));
    let left = fs::read_dir(temporary.path().join("09")).expect("it was made").count();
    assert_eq!(left, 0, "a copy that failed is removed");
    // A block that is written whole is new.
    write(&chunk, BLOCK_SIZE, &[8; BLOCK_SIZE]).expect("there is space");
    chunk.test(1).expect("it was repaired");
}

#[test]
fn a_scan_finds_chunks_says_which_are_damaged_and_removes_what_is_incomplete() {
    let temporary = testkit::Folder::new("cs-scan");
    let old = open(&temporary);
    let chunk = create(&old);
    write(&chunk, 0, b"content").expect("there is space");
    let subfolder = temporary.path().join("BA");
    fs::write(subfolder.join("chunk_00000000000003BA_00000001.mfs"), "short").expect("space");
    fs::write(subfolder.join("chunk_00000000000004BA.tmp"), "partial").expect("space");
    fs::write(subfolder.join("other"), "").expect("space");
    fs::copy(old.path_of(ID, 1), subfolder.join("chunk_00000000000005BA_00000001.mfs"))
        .expect("space");
    drop((chunk, old));
    let folder = open(&temporary);
    let mut found: Vec<Found> =
        (0..SUBFOLDERS).flat_map(|it| folder.scan(it).expect("it can be read")).collect();
    found.sort_by_key(|it| it.id);
    let seen: Vec<_> = found.iter().map(|it| (it.id.0, it.version, it.fault.is_some())).collect();
    assert_eq!(seen, [(0x1ba, 1, false), (0x3ba, 1, true), (0x5ba, 1, true)]);
    assert!(!subfolder.join("chunk_00000000000004BA.tmp").exists());
    assert!(temporary.path().join("FF").is_dir());
    let again = Chunk::new(Arc::clone(&folder), ID, 1, None);
    assert_eq!(read(&again, 0, 7), Ok(b"content".to_vec()));
    let error = Folder::open(temporary.path(), 0).expect_err("it is used");
    assert!(error.to_string().contains("another mfs-chunkserver"), "{error}");
}

#[test]
fn packets_are_used_again() {
    let temporary = testkit::Folder::new("cs-packets");
    let chunk = create(&open(&temporary));
    write(&chunk, 0, &[1; 3 * BLOCK_SIZE]).expect("there is space");
    let whole = Part { offset: 0, size: 3 * BLOCK_SIZE };
    let first = chunk.read(1, whole, Vec::new()).packets;
    let places: Vec<_> = first.iter().map(|packet| packet.as_ptr()).collect();
    let shared = Arc::clone(&first[1]);
    let second = chunk.read(1, whole, first).packets;
    let same = second.iter().filter(|packet| places.contains(&packet.as_ptr())).count();
    assert_eq!(same, 2, "one of three is still being sent");
    drop(shared);
    assert_eq!(CHUNK_BLOCKS * BLOCK_SIZE, 64 << 20);
}
