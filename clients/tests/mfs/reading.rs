//! Reading from chunkservers that fail.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clients::mfs::{Cause, Client, FileSink, Options, StreamSink, Verdict, Watch};
use protocol::mfs::{
    CHUNK_SIZE, ChunkId, Crc, Data, Kind, Message, Numbered, Read, ReadChunk, ReadStatus, Status,
};
use testkit::{Folder, process};

use crate::peers::{
    Master, Peer, World, answer_read, chunkserver, content, data_at, nothing, serve_part,
};
use crate::program::run;

/// The length of the file: several blocks, the last one not whole.
const LENGTH: usize = 5 * 65_536 + 1000;

/// Collects what has failed.
#[derive(Default)]
struct Troubles(Vec<String>);

impl Watch for Troubles {
    fn trouble(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

/// Starts a chunkserver that has the file.
fn good() -> SocketAddrV4 {
    let file = content(0, LENGTH);
    chunkserver(move |peer, kind, body| {
        if kind == Kind::READ {
            serve_part(peer, Read::parse(body).expect("it is a request"), &file);
        }
    })
}

/// Starts a chunkserver that answers each request to read in its own way.
fn bad(answer: impl Fn(&mut Peer, Read, &[u8]) + Send + Sync + 'static) -> SocketAddrV4 {
    let file = content(0, LENGTH);
    chunkserver(move |peer, kind, body| {
        if kind == Kind::READ {
            answer(peer, Read::parse(body).expect("it is a request"), &file);
        }
    })
}

fn world(servers: &[SocketAddrV4]) -> World {
    let chunks = HashMap::from([(0, servers.to_vec())]);
    World { length: LENGTH as u64, chunks, ..World::default() }
}

fn read(client: &mut Client, watch: &mut dyn Watch) -> Result<Vec<u8>, clients::mfs::Error> {
    let mut sink = StreamSink::new(Vec::new());
    client.get(Path::new("/file"), &mut sink, watch).map(|_| sink.into_inner())
}

/// A way to fail, and what is said about it.
type Failing = (SocketAddrV4, &'static str);

/// All ways in which a copy fails.
fn failing() -> Vec<Failing> {
    let first = |file: &[u8]| file[..65_536].to_vec();
    vec![
        (nothing(), "refused"),
        (
            bad(move |peer, read, file| {
                let bytes = first(file);
                let data = Data { crc: Crc(1), bytes: &bytes };
                peer.send(&data_at(read.chunk, read.offset, data));
            }),
            "wrong CRC",
        ),
        (
            bad(move |peer, read, file| {
                let bytes = first(file);
                peer.send(&data_at(ChunkId(1), read.offset, Data::new(&bytes)));
            }),
            "data of the chunk",
        ),
        (
            bad(move |peer, read, file| {
                let bytes = first(file);
                peer.send(&data_at(read.chunk, 65_536, Data::new(&bytes)));
            }),
            "bytes at 65536 of the chunk, where 0 follows",
        ),
        (
            bad(move |peer, read, file| {
                peer.send(&data_at(read.chunk, read.offset, Data::new(&file[..65_536])));
                peer.send(&ReadStatus { chunk: read.chunk, status: Status::OK });
            }),
            "bytes of data are missing",
        ),
        (
            bad(move |peer, read, file| {
                peer.send(&data_at(read.chunk, read.offset, Data::new(&file[..65_536])));
                peer.send(&ReadStatus { chunk: read.chunk, status: Status::IO });
            }),
            "input/output error (22)",
        ),
        (
            bad(|peer, read, _| {
                peer.send(&ReadStatus { chunk: read.chunk, status: Status::WRONGVERSION });
            }),
            "wrong version of the chunk (19)",
        ),
        (bad(|peer, _, _| peer.raw(&[0, 0, 0, 202, 0xff, 0xff, 0xff, 0xff])), "4294967295 bytes"),
        (bad(|peer, _, _| peer.raw(&[0, 0, 0, 77, 0, 0, 0, 1, 0])), "TYPE77"),
        (bad(|peer, _, _| peer.raw(&[0, 0, 0, 202, 0, 0, 0, 2, 0, 0])), "READ_DATA with 2 bytes"),
        (
            bad(|peer, _, _| drop(peer.0.shutdown(std::net::Shutdown::Both))),
            "the peer closed the connection",
        ),
        // Signs of life that stop.
        (bad(|peer, _, _| peer.raw(&[0; 8])), "silent for"),
    ]
}

#[test]
fn whatever_a_copy_does_another_one_is_read() {
    let good = good();
    for (server, said) in failing() {
        let master = Master::start(world(&[server, good]));
        let mut troubles = Troubles::default();
        let file = read(&mut master.client(), &mut troubles).expect("a copy is good");
        assert!(file == content(0, LENGTH), "{said}");
        let Troubles(troubles) = troubles;
        let is_told = |text: &String| text.contains(said) && text.contains(&server.to_string());
        assert!(troubles.iter().any(is_told), "{said}: {troubles:?}");
    }
}

#[test]
fn verification_tells_which_copy_fails_and_how() {
    let good = good();
    for (server, said) in failing() {
        let master = Master::start(world(&[server, good]));
        let mut verified = Vec::new();
        let path = Path::new("/file");
        let mut client = master.client();
        client.verify(path, None, &mut |it| verified.push(it), &mut ()).expect("a copy is good");
        let [chunk] = &verified[..] else { panic!("{verified:?}") };
        let verdicts: Vec<&Verdict> = chunk.copies.iter().map(|(_, verdict)| verdict).collect();
        let [Verdict::Unreadable(why), Verdict::Same] = verdicts[..] else { panic!("{chunk:?}") };
        assert!(why.contains(said) && !chunk.is_sound(), "{why}");
    }
}

#[test]
fn a_copy_that_differs_is_found_and_where() {
    let wrong = bad(|peer, read, file| {
        let mut file = file.to_vec();
        file[70_000] ^= 1;
        serve_part(peer, read, &file);
    });
    let good = good();
    let folder = Folder::new("mfs-verify");
    let reference = folder.file("reference");
    std::fs::write(&reference, content(0, LENGTH)).expect("there is space");
    let master = Master::start(world(&[wrong, good])).address.to_string();
    let ran = run(&master, &["verify", "--reference", &reference, "/file"], b"");
    assert_eq!(ran.code, Some(9), "{}", ran.errors);
    let text = ran.text();
    assert!(text.contains(&format!("{wrong}: differs at byte 70000\n")), "{text}");
    assert!(text.contains(&format!("{good}: same\n")), "{text}");
    assert!(ran.errors.contains("not all copies are the same"), "{}", ran.errors);
    // Without a reference, nothing says which one is right.
    let ran = run(&master, &["verify", "/file"], b"");
    assert_eq!(ran.code, Some(9));
    assert!(ran.text().contains(&format!("{good}: differs at byte 70000\n")), "{}", ran.text());
    // One that is longer.
    std::fs::write(&reference, content(0, LENGTH + 1)).expect("there is space");
    let ran = run(&master, &["verify", "--reference", &reference, "/file"], b"");
    assert!(ran.errors.contains("and the reference 328681"), "{}", ran.errors);
}

#[test]
fn without_a_good_copy_the_error_has_the_reason_of_each() {
    let silent = bad(|_, _, _| {});
    let damaged =
        bad(|peer, read, _| peer.send(&ReadStatus { chunk: read.chunk, status: Status::CRC }));
    let master = Master::start(world(&[silent, damaged]));
    let address = master.address.to_string();
    let ran = run(&address, &["cat", "/file", "--patience", "1", "--silence", "0.3"], b"");
    assert_eq!((ran.code, ran.output.len()), (Some(7), 0), "{}", ran.errors);
    let last = ran.errors.lines().last().expect("there is a message");
    for text in ["/file: read: no copy can be read", "wrong CRC (29)", "silent for", "mfscli -SCS"]
    {
        assert!(last.contains(text), "{text}: {last}");
    }
    assert_eq!(master.asked("CLIENT_REGISTER close").len(), 1, "the session is closed");
}

#[test]
fn a_chunk_that_comes_back_is_read() {
    let good = good();
    let master = Master::start(world(&[]));
    let shared = master.clone();
    let thread = std::thread::spawn(move || read(&mut shared.client(), &mut ()));
    testkit::wait_until("three questions", || master.asked("READ_CHUNK ").len() >= 3);
    master.world().chunks.insert(0, vec![good]);
    let file = thread.join().expect("it does not panic").expect("the copy is there");
    assert!(file == content(0, LENGTH));
}

#[test]
fn answers_may_come_in_any_order_and_holes_stay_holes() {
    // The first chunk is a hole; the second one is small. Both are asked for at the same time.
    let requests = Mutex::new(Vec::new());
    let shared: Arc<Mutex<Option<Vec<SocketAddrV4>>>> = Arc::default();
    let servers = Arc::clone(&shared);
    let length = CHUNK_SIZE + LENGTH as u64;
    let master =
        Master::start_with(World { length, ..World::default() }, move |peer, _, kind, body| {
            if kind != Kind::READ_CHUNK {
                return false;
            }
            let request = Numbered::<ReadChunk>::parse(body).expect("it is a request");
            let mut requests = requests.lock().expect("no thread has failed");
            requests.push((request.number, request.message.index));
            if requests.len() == 2 {
                let servers = servers.lock().expect("no thread has failed").clone();
                let chunks = servers.map(|servers| (1, servers)).into_iter().collect();
                let world = World { length, chunks, version: 1, ..World::default() };
                for (number, index) in requests.drain(..).rev() {
                    // A notice, and then the answer.
                    peer.raw(&[0, 0, 2, 0xc2, 0, 0, 0, 4, 0, 0, 0, 0]);
                    answer_read(peer, number, index, &world);
                }
            }
            true
        });
    *shared.lock().expect("no thread has failed") = Some(vec![good()]);
    let folder = Folder::new("mfs-hole");
    let path = folder.path().join("file");
    let file = std::fs::File::create_new(&path).expect("there is space");
    let mut sink = FileSink::new(file);
    master.client().get(Path::new("/file"), &mut sink, &mut ()).expect("it can be read");
    let written = std::fs::File::open(&path).expect("it was written");
    let metadata = written.metadata().expect("it is there");
    assert_eq!(metadata.len(), length);
    use std::os::unix::fs::{FileExt, MetadataExt};
    assert!(metadata.blocks() * 512 < 4 * LENGTH as u64, "{} blocks", metadata.blocks());
    let mut end = vec![0; LENGTH];
    written.read_exact_at(&mut end, CHUNK_SIZE).expect("it is long enough");
    assert!(end == content(0, LENGTH));
}

#[test]
fn several_parts_are_read_at_a_time_from_all_copies() {
    // 6 MiB: a stream is read in parts of 1 MiB.
    const SIZE: usize = 6 * 1024 * 1024;
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let start = || {
        let (busy, most) = (Arc::clone(&busy), Arc::clone(&most));
        let (file, count) = (content(0, SIZE), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&count);
        let server = chunkserver(move |peer, kind, body| {
            if kind != Kind::READ {
                return;
            }
            counted.fetch_add(1, Ordering::Relaxed);
            most.fetch_max(busy.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            busy.fetch_sub(1, Ordering::Relaxed);
            serve_part(peer, Read::parse(body).expect("it is a request"), &file);
        });
        (server, count)
    };
    let servers = [start(), start()];
    let chunks = HashMap::from([(0, vec![servers[0].0, servers[1].0])]);
    let master = Master::start(World { length: SIZE as u64, chunks, ..World::default() });
    let file = read(&mut master.client(), &mut ()).expect("both copies are good");
    assert!(file == content(0, SIZE));
    let counts = servers.map(|(_, count)| count.load(Ordering::Relaxed));
    assert!(counts.iter().all(|count| *count >= 2), "{counts:?}");
    assert!((2..=4).contains(&most.load(Ordering::Relaxed)), "{most:?} at a time");
}

#[test]
fn a_reader_that_stops_costs_bounded_memory() {
    // The front of a stream does not come, and everything behind it does.
    const SIZE: usize = 60 * 1024 * 1024;
    let zeros = vec![0; SIZE];
    let server = chunkserver(move |peer, kind, body| {
        let read = Read::parse(body).expect("it is a request");
        if kind == Kind::READ && read.offset > 0 {
            serve_part(peer, read, &zeros);
        } else {
            // Signs of life without end, and no data.
            while peer.0.peek(&mut [0; 1]).is_ok()
                && std::io::Write::write(&mut peer.0, &[0; 8]).is_ok()
            {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let chunks = HashMap::from([(0, vec![server])]);
    let master = Master::start(World { length: SIZE as u64, chunks, ..World::default() });
    let mut child = crate::program::command(&master.address.to_string(), &["cat", "/file"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let until = Instant::now() + Duration::from_secs(3);
    let mut most = 0;
    while Instant::now() < until {
        most = most.max(process::memory_bytes(child.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(20));
    }
    process::signal(child.id(), "TERM");
    let status = child.wait().expect("it is a child");
    assert_eq!(status.code(), Some(130), "it ends in order");
    assert!(most < 40 * 1024 * 1024, "{most} bytes");
    assert_eq!(master.asked("CLIENT_REGISTER close").len(), 1);
}

#[test]
fn a_sink_that_fails_ends_the_transfer() {
    struct Full;
    impl clients::mfs::Sink for Full {
        fn write(&mut self, _: u64, _: &[u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn finish(&mut self, _: u64) -> std::io::Result<()> {
            Ok(())
        }
    }
    let master = Master::start(world(&[good()]));
    let mut client = master.client();
    let error = client.get(Path::new("/file"), &mut Full, &mut ()).expect_err("there is no space");
    assert!(matches!(error.cause(), Cause::Local(_)), "{error}");
    // The client goes on.
    assert!(read(&mut client, &mut ()).expect("it is there") == content(0, LENGTH));
    let refused = Options { window: 0, ..master.options() };
    assert!(
        matches!(Client::open(refused).map(drop), Err(error) if error.to_string().contains("window"))
    );
}

#[test]
fn a_failure_names_the_local_file_and_controls_no_terminal() {
    let master = Master::start(world(&[good()])).address.to_string();
    let ran = run(&master, &["get", "/file", "/dev/full"], b"");
    assert_eq!(ran.code, Some(10), "{}", ran.errors);
    assert!(ran.errors.starts_with("mfs-client: /dev/full: No space left"), "{}", ran.errors);
    let ran = run(&master, &["put", "/no\n\x1b[31m", "/file"], b"");
    assert_eq!(ran.code, Some(10), "{}", ran.errors);
    assert!(ran.errors.starts_with("mfs-client: /no??[31m: No such file"), "{:?}", ran.errors);
}
