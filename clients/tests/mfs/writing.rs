//! Writing through chains that fail.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clients::mfs::{Cause, Options, Source};
use protocol::mfs::{Kind, Message, Status, Write as BeginWrite, WriteData, WriteStatus};
use testkit::{Folder, wait_until};

use crate::peers::{Master, Peer, World, chunkserver, content, nothing};
use crate::program::{command, run};

/// The length of what is written: more blocks than a window has.
const LENGTH: usize = 100 * 65_536 + 1000;

/// What a chunkserver has of a chunk.
type Disk = Arc<Mutex<Vec<u8>>>;

/// Writes a block to the disk.
fn store(disk: &Disk, data: &WriteData<'_>) {
    let mut disk = disk.lock().expect("no thread has failed");
    let begin = usize::from(data.block) * 65_536 + usize::from(data.offset);
    let end = begin + data.data.bytes.len();
    let length = disk.len().max(end);
    disk.resize(length, 0);
    disk[begin..end].copy_from_slice(data.data.bytes);
}

/// Starts a chunkserver. `fails` says, for the number of a connection's write, what is done instead of
/// writing it: it returns false if that is nothing special.
fn writer(
    disk: &Disk,
    fails: impl Fn(&mut Peer, &WriteData<'_>) -> bool + Send + Sync + 'static,
) -> SocketAddrV4 {
    let disk = Arc::clone(disk);
    chunkserver(move |peer, kind, body| match kind {
        Kind::WRITE => {
            let write = BeginWrite::parse(body).expect("it is a request");
            peer.send(&WriteStatus { chunk: write.chunk, write: 0, status: Status::OK });
        }
        Kind::WRITE_DATA => {
            let data = WriteData::parse(body).expect("it is data");
            assert!(data.data.is_intact());
            if !fails(peer, &data) {
                store(&disk, &data);
                let (chunk, write) = (data.chunk, data.write);
                peer.send(&WriteStatus { chunk, write, status: Status::OK });
            }
        }
        _ => {}
    })
}

fn good(disk: &Disk) -> SocketAddrV4 {
    writer(disk, |_, _| false)
}

fn world(servers: &[SocketAddrV4]) -> World {
    World { chunks: HashMap::from([(0, servers.to_vec())]), ..World::default() }
}

fn put(master: &Master, options: Options) -> Result<(), clients::mfs::Error> {
    let folder = Folder::new("mfs-put");
    let path = folder.path().join("file");
    std::fs::write(&path, content(0, LENGTH)).expect("there is space");
    let file = std::fs::File::open(&path).expect("it is there");
    let mut source = Source::file(file).expect("it has a length");
    let mut client = clients::mfs::Client::open(options)?;
    let result = client.put(Path::new("/file"), 0o644, &mut source, &mut ());
    drop(client);
    assert_eq!(master.asked("CLIENT_REGISTER close").len(), 1);
    result.map(drop)
}

#[track_caller]
fn has_all(disk: &Disk) {
    assert!(*disk.lock().expect("no thread has failed") == content(0, LENGTH));
}

#[test]
fn whatever_a_chain_does_the_write_is_continued_and_loses_no_block() {
    type Fails = fn(&mut Peer, &WriteData<'_>) -> bool;
    let ways: [(&str, Fails); 6] = [
        ("a status", |peer, data| {
            let (chunk, write) = (data.chunk, data.write);
            if write >= 10 {
                peer.send(&WriteStatus { chunk, write, status: Status::DISCONNECTED });
            }
            write >= 10
        }),
        ("the end", |peer, data| {
            let ends = data.write >= 20;
            if ends {
                let _ = peer.0.shutdown(std::net::Shutdown::Both);
            }
            ends
        }),
        ("silence", |_, data| data.write >= 30),
        ("signs of life", |peer, data| {
            if data.write == 40 {
                let mut stream = peer.0.try_clone().expect("descriptors are free");
                std::thread::spawn(move || {
                    while stream.write_all(&[0; 8]).is_ok() {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                });
            }
            data.write >= 40
        }),
        ("another chunk", |peer, data| {
            let chunk = protocol::mfs::ChunkId(1);
            peer.send(&WriteStatus { chunk, write: data.write, status: Status::OK });
            true
        }),
        ("a write that was not made", |peer, data| {
            let (chunk, write) = (data.chunk, data.write + 1000);
            peer.send(&WriteStatus { chunk, write, status: Status::OK });
            true
        }),
    ];
    for (name, fails) in ways {
        let disk = Disk::default();
        let (bad, good) = (writer(&disk, fails), good(&disk));
        let master = Master::start_with(world(&[bad]), |_, _, _, _| false);
        let shared = master.clone();
        // The chain is another one when the write is continued.
        let watch = std::thread::spawn(move || {
            wait_until("the first chain", || !shared.asked("WRITE_CHUNK ").is_empty());
            shared.world().chunks.insert(0, vec![good]);
        });
        let options = Options { silence_max: Duration::from_millis(400), ..master.options() };
        put(&master, options).unwrap_or_else(|error| panic!("{name}: {error}"));
        watch.join().expect("it does not panic");
        has_all(&disk);
        let asked = master.asked("WRITE_CHUNK ");
        assert!(asked.len() >= 2, "{name}: {asked:?}");
        assert!(asked[0].ends_with("flags=0"), "{name}: {asked:?}");
        assert!(asked[1..].iter().all(|it| it.ends_with("flags=2")), "{name}: {asked:?}");
        let ends = master.asked("WRITE_CHUNK_END");
        assert_eq!(ends.len(), 1, "{name}: {ends:?}");
        assert!(ends[0].contains(&format!("length={LENGTH}")), "{name}: {ends:?}");
    }
}

#[test]
fn at_most_a_window_is_not_acknowledged() {
    let (disk, held) = (Disk::default(), Arc::new(Mutex::new(Vec::new())));
    let (most, waiting) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&held));
    let counted = Arc::clone(&most);
    // Blocks are acknowledged in bursts, the last one first.
    let server = writer(&disk, move |peer, data| {
        let mut held = waiting.lock().expect("no thread has failed");
        held.push((data.chunk, data.write));
        counted.fetch_max(held.len(), Ordering::Relaxed);
        peer.0.set_read_timeout(Some(Duration::from_millis(100))).expect("it is positive");
        let is_last = peer.0.peek(&mut [0; 1]).is_err() || data.data.bytes.len() < 65_536;
        peer.0.set_read_timeout(Some(testkit::PATIENCE)).expect("it is positive");
        if is_last {
            for (chunk, write) in held.drain(..).rev() {
                peer.send(&WriteStatus { chunk, write, status: Status::OK });
            }
        }
        true
    });
    let master = Master::start(world(&[server]));
    put(&master, master.options()).expect("everything is acknowledged");
    assert_eq!(most.load(Ordering::Relaxed), 64);
}

#[test]
fn what_passes_is_tried_again() {
    let disk = Disk::default();
    let refusals = HashMap::from([
        (Kind::WRITE_CHUNK, vec![Status::LOCKED, Status::NOSPACE, Status::NOCHUNKSERVERS]),
        (Kind::WRITE_CHUNK_END, vec![Status::CHUNKBUSY]),
        (Kind::GETATTR, vec![Status::EAGAIN]),
    ]);
    let master = Master::start(World { refusals, ..world(&[good(&disk)]) });
    put(&master, master.options()).expect("it is written in the end");
    has_all(&disk);
    assert_eq!(master.asked("WRITE_CHUNK ").len(), 4);
    assert_eq!(master.asked("WRITE_CHUNK_END").len(), 2);
}

#[test]
fn a_write_that_fails_for_good_unlocks_its_chunk() {
    let disk = Disk::default();
    let bad = writer(&disk, |peer, data| {
        let (chunk, write) = (data.chunk, data.write);
        peer.send(&WriteStatus { chunk, write, status: Status::IO });
        true
    });
    // The chain fails, and then the quota is used up.
    let master = Master::start_with(world(&[bad]), |peer, _, kind, body| {
        let is_continued = kind == Kind::WRITE_CHUNK && body.last() == Some(&2);
        if is_continued {
            let number = u32::from_be_bytes(body[..4].try_into().expect("it has a number"));
            peer.status(kind, number, Status::QUOTA);
        }
        is_continued
    });
    let error = put(&master, master.options()).expect_err("the quota is used up");
    assert_eq!(error.to_string(), "/file: write: quota exceeded (34)");
    let ends = master.asked("WRITE_CHUNK_END");
    assert!(ends.len() == 1 && ends[0].contains("length=0"), "{ends:?}");

    // No chain takes anything.
    let master = Master::start(world(&[nothing()]));
    let options = Options { patience: Duration::from_secs(1), ..master.options() };
    let error = put(&master, options).expect_err("nothing listens");
    assert!(matches!(error.cause(), Cause::Chain(text) if text.contains("refused")), "{error}");
    assert_eq!(master.asked("WRITE_CHUNK_END").len(), 1);

    // The file that is written becomes shorter.
    let folder = Folder::new("mfs-shorter");
    let path = folder.file("file");
    std::fs::write(&path, content(0, LENGTH)).expect("there is space");
    let master = Master::start(world(&[good(&disk)]));
    let file = std::fs::File::options().read(true).write(true).open(&path).expect("it is there");
    let mut source = Source::file(file.try_clone().expect("descriptors are free")).expect("a file");
    file.set_len(70_000).expect("it is ours");
    let mut client = master.client();
    let error = client.put(Path::new("/file"), 0o644, &mut source, &mut ());
    let error = error.expect_err("a part is missing").to_string();
    assert!(error.contains("it has become shorter"), "{error}");
    assert_eq!(master.asked("WRITE_CHUNK_END").len(), 1);
}

#[test]
fn a_stream_that_pauses_unlocks_its_chunk_meanwhile() {
    let disk = Disk::default();
    let master = Master::start(world(&[good(&disk)]));
    let mut child = command(&master.address.to_string(), &["put", "-", "/file"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("it is piped");
    let all = content(0, LENGTH);
    input.write_all(&all[..70_000]).expect("it reads");
    // The first block is written, and the chunk is given back. What is no whole block waits.
    wait_until("the end of the write", || master.asked("WRITE_CHUNK_END").len() == 1);
    assert!(master.asked("WRITE_CHUNK_END")[0].contains("length=65536"));
    input.write_all(&all[70_000..]).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    has_all(&disk);
    let asked = master.asked("WRITE_CHUNK ");
    assert!(asked.len() == 2 && asked.iter().all(|it| it.ends_with("flags=0")), "{asked:?}");
}

#[test]
fn an_interrupt_unlocks_the_chunk_and_closes_the_session() {
    let disk = Disk::default();
    let master = Master::start(world(&[writer(&disk, |_, data| data.write >= 5)]));
    let folder = Folder::new("mfs-interrupt");
    let path = folder.file("file");
    std::fs::write(&path, content(0, LENGTH)).expect("there is space");
    let child = command(&master.address.to_string(), &["put", &path, "/file"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait_until("the write", || disk.lock().expect("no thread has failed").len() >= 4 * 65_536);
    testkit::process::signal(child.id(), "INT");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(master.asked("WRITE_CHUNK_END").len(), 1);
    assert_eq!(master.asked("CLIENT_REGISTER close").len(), 1);
}

#[test]
fn nothing_is_written_for_an_empty_file() {
    let master = Master::start(World { length: 100, ..world(&[]) });
    run(&master.address.to_string(), &["put", "-", "/file"], b"").ok();
    assert_eq!(master.world().length, 0, "what it had is gone");
    assert!(master.asked("WRITE_CHUNK").is_empty());
}
