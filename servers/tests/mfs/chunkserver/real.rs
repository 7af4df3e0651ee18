//! Our chunkservers and the real ones in one cluster, with the real master and the real client.
//!
//! Waits for files of the mount cannot be interrupted: where one takes too long, the test fails, and the
//! servers and the mount end with it.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use protocol::mfs::{
    Answer, ChunkChecksum, ChunkId, Crc, GetChunkChecksum, GetChunkChecksums, Kind, Message,
};
use testkit::moosefs::{ChunkServer, HOST, Master, Mount, NETWORK};
use testkit::{Folder, Random, has_peer, in_namespace, process, tell};

use super::Chunkserver;
use crate::wire::Peer;

/// The ports of the master: for metaloggers, for chunkservers, for clients.
const MASTER: u16 = 29_419;
/// What makes the master look after its chunks often.
const HURRY: &str = "CHUNKS_LOOP_MIN_TIME = 60\nCHUNKS_LOOP_MAX_TIME = 60\n\
    REPLICATIONS_DELAY_INIT = 5\nREPLICATIONS_DELAY_DISCONNECT = 5\n\
    CHUNKS_WRITE_REP_LIMIT = 10,10,10,10\nCHUNKS_READ_REP_LIMIT = 20,20,20,20\n";
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(240);
/// The size of the large file: three chunks.
const LARGE: usize = 150 << 20;

/// A master with two real chunkservers and two of ours.
struct Cluster {
    mount: Mount,
    ours: Vec<Option<Chunkserver>>,
    real: Vec<ChunkServer>,
    master: Master,
    folder: Folder,
}

/// Starts one of ours.
fn start(folder: Folder, number: u16) -> Chunkserver {
    let listen = format!("{HOST}:{}", port_of(number));
    Chunkserver::start_in(folder, &format!("{HOST}:{}", MASTER + 1), &["--listen", &listen])
}

/// The data port of one of ours.
fn port_of(number: u16) -> u16 {
    MASTER + 20 + number
}

impl Cluster {
    fn start() -> Option<Self> {
        let folder = Folder::new("cs-real");
        let data = folder.path().join("master");
        let master = Master::start(&folder, "master.cfg", &data, MASTER, HURRY);
        let real = [("real0", 10), ("real1", 11)];
        let real = real
            .map(|(name, port)| ChunkServer::start(&folder, name, MASTER + port, MASTER + 1, ""));
        let ours = [0, 1].map(|number| Some(start(Folder::new("cs-ours"), number)));
        master.wait_for_chunkservers(4);
        let mount = Mount::start(&folder, "mnt", MASTER + 2)?;
        Some(Self { mount, ours: ours.into(), real: real.into(), master, folder })
    }

    fn path(&self, name: &str) -> String {
        self.mount.path.join("d").join(name).into_os_string().into_string().expect("it is text")
    }

    fn own(&self, number: usize) -> &Chunkserver {
        self.ours[number].as_ref().expect("it runs")
    }

    /// Returns the chunks of a file with the ports of their valid copies.
    fn chunks(&self, name: &str) -> Vec<(u64, u32, Vec<u16>)> {
        let text = run(Command::new("mfsfileinfo").arg(self.path(name)));
        let mut chunks = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("chunk ") {
                let name = rest.split_whitespace().nth(1).expect("a chunk has a name");
                let (id, version) = name.split_once('_').expect("the name has a version");
                let id = u64::from_str_radix(id, 16).expect("it is a number");
                let version = u32::from_str_radix(version, 16).expect("it is a number");
                chunks.push((id, version, Vec::new()));
            } else if line.starts_with("copy ") && line.contains("VALID") {
                let place = line.split_whitespace().nth(2).expect("a copy has a place");
                let port = place.rsplit(':').next().and_then(|it| it.parse().ok());
                let copies = chunks.last_mut().map(|(_, _, copies)| copies).expect("a chunk");
                copies.push(port.expect("a place has a port"));
            }
        }
        assert!(!chunks.is_empty(), "{text}");
        chunks
    }

    /// Reads each copy of each chunk of a file, and compares it with what the file has to be.
    fn verify(&self, name: &str, content: &[u8], copies: usize) {
        let chunks = self.chunks(name);
        for ((id, version, ports), part) in chunks.iter().zip(content.chunks(64 << 20)) {
            assert_eq!(ports.len(), copies, "{name}: {chunks:?}");
            for port in ports {
                let read = connect(*port).read(*id, *version, 0, part.len() as u32);
                assert!(read.as_deref() == Ok(part), "{name}: chunk {id:X} at {port} differs");
            }
        }
    }

    /// Waits until each chunk of a file has so many copies.
    fn wait_for_copies(&self, name: &str, count: usize) {
        wait(&format!("{count} copies of {name}"), || {
            self.chunks(name).iter().all(|(_, _, ports)| ports.len() == count)
        });
    }
}

fn connect(port: u16) -> Peer {
    Peer::connect(&format!("{HOST}:{port}"))
}

#[track_caller]
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what} did not happen");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Runs a command to its end, and returns what it has printed. One that takes too long fails the test.
#[track_caller]
fn run(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    wait(&format!("the end of {command:?}"), || child.try_wait().expect("a child").is_some());
    let output = child.wait_with_output().expect("it has ended");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn same(file: &str, content: &[u8], folder: &Folder) {
    let reference = folder.file("reference");
    fs::write(&reference, content).expect("there is space");
    run(Command::new("cmp").args([file, &reference]));
}

fn has_programs(test: &str) -> bool {
    let programs = ["mfsmaster", "mfschunkserver", "mfsmount", "mfscli", "mfschunktool"];
    programs.iter().all(|it| has_peer(it)) && in_namespace(test, NETWORK)
}

#[test]
#[ignore = "takes minutes: the master looks after its chunks once a minute"]
fn the_real_master_client_and_chunkservers_work_with_it() {
    let test = "chunkserver::real::the_real_master_client_and_chunkservers_work_with_it";
    if !has_programs(test) {
        return;
    }
    let Some(mut cluster) = Cluster::start() else { return };
    fs::create_dir(cluster.path("")).expect("the mount is there");
    run(Command::new("mfssetgoal").args(["4", &cluster.path("")]));
    let large = Random::new(1).bytes(LARGE);
    let source = cluster.folder.file("large");
    fs::write(&source, &large).expect("there is space");
    let begin = Instant::now();
    run(Command::new("cp").args([&source, &cluster.path("large")]));
    tell("WRITTEN", &format!("150 MB through chains of four in {:.1?}", begin.elapsed()));
    same(&cluster.path("large"), &large, &cluster.folder);
    cluster.verify("large", &large, 4);
    changes(&cluster);
    checksums(&cluster);
    let forwarded: usize = (0..2).map(|number| forwards(cluster.own(number))).sum();
    assert!(forwarded > 0, "ours were never in the middle of a chain");

    // Both of ours are killed in the middle of a write: the client goes on without them.
    let copying = Command::new("cp").args([&source, &cluster.path("killed")]).spawn();
    let mut copying = copying.expect("it starts");
    wait("the middle of the write", || {
        fs::metadata(cluster.path("killed")).is_ok_and(|it| it.len() > 20 << 20)
    });
    let folders: Vec<Folder> =
        cluster.ours.iter_mut().filter_map(|it| it.take().map(Chunkserver::kill)).collect();
    wait("the end of cp", || copying.try_wait().expect("it is a child").is_some());
    assert!(copying.wait().expect("it is a child").success());
    same(&cluster.path("killed"), &large, &cluster.folder);
    cluster.verify("killed", &large, 2);

    // They come back with their chunks, and get those that they lack.
    for (number, folder) in folders.into_iter().enumerate() {
        cluster.ours[number] = Some(start(folder, number as u16));
    }
    cluster.master.wait_for_chunkservers(4);
    cluster.wait_for_copies("killed", 4);
    cluster.wait_for_copies("large", 4);
    cluster.verify("killed", &large, 4);
    alone(&mut cluster, &large);
    judged(cluster, &large);
}

/// Returns how many writes a chunkserver of ours has passed on.
fn forwards(server: &Chunkserver) -> usize {
    let before = server.log().matches("forwarded=").count();
    process::signal(server.pid(), "USR1");
    server.wait_for_log("forwarded=", before + 1);
    let log = server.log();
    let last = log.rsplit("forwarded=").next().and_then(|it| it.split(' ').next()?.parse().ok());
    last.expect("it is a number")
}

/// Small files, and what can be done with them: each copy is the same after it.
fn changes(cluster: &Cluster) {
    for number in 0..6 {
        let name = format!("small{number}");
        let mut content = Random::new(number).bytes(5_000_000);
        fs::write(cluster.path(&name), &content).expect("the mount is there");
        let path = cluster.path(&name);
        match number {
            // Across the border of a block.
            0 => {
                let input = cluster.folder.file("piece");
                fs::write(&input, [7; 1000]).expect("there is space");
                let (seek, input) = ("seek=65000".to_owned(), format!("if={input}"));
                let output = format!("of={path}");
                let arguments = ["oflag=seek_bytes", "conv=notrunc", "status=none"];
                run(Command::new("dd").args([&seek, &input, &output]).args(arguments));
                content[65_000..66_000].fill(7);
            }
            1 => {
                run(Command::new("truncate").args(["-s", "1234567", &path]));
                content.truncate(1_234_567);
            }
            2 => {
                run(Command::new("truncate").args(["-s", "1234567", &path]));
                run(Command::new("truncate").args(["-s", "2000000", &path]));
                content.truncate(1_234_567);
                content.resize(2_000_000, 0);
            }
            // A snapshot shares its chunks until one of the two is changed.
            3 => {
                let copy = cluster.path("snapshot");
                run(Command::new("mfsmakesnapshot").args([&path, &copy]));
                let mut command = Command::new("sh");
                run(command.args(["-c", "printf appended >> \"$0\"", &copy]));
                let longer = [&content[..], b"appended"].concat();
                same(&copy, &longer, &cluster.folder);
                cluster.verify("snapshot", &longer, 4);
            }
            _ => {}
        }
        same(&path, &content, &cluster.folder);
        cluster.verify(&name, &content, 4);
    }
}

/// Ours and the real ones have the same CRCs of the same chunk. Each has a checksum of its own kind.
fn checksums(cluster: &Cluster) {
    let (id, version, ports) = cluster.chunks("small0").remove(0);
    let (chunk, mut tables) = (ChunkId(id), Vec::new());
    for port in ports {
        let mut peer = connect(port);
        peer.send(&GetChunkChecksums { chunk, version });
        tables.push(peer.next_of(Kind::CHUNK_CHECKSUMS));
        peer.send(&GetChunkChecksum { chunk, version });
        let body = peer.next_of(Kind::CHUNK_CHECKSUM);
        let answer = ChunkChecksum::parse(&body).expect("it is an answer");
        assert!(matches!(answer.checksum, Answer::Done(Crc(_))), "{answer:?}");
    }
    assert!(tables.windows(2).all(|pair| pair[0] == pair[1]), "the copies have other CRCs");
}

/// The real chunkservers stop: everything is read from ours, by another mount, which has nothing cached.
fn alone(cluster: &mut Cluster, large: &[u8]) {
    cluster.real.iter_mut().for_each(|server| server.daemon.stop());
    let mount = Mount::start(&cluster.folder, "second", MASTER + 2).expect("there is FUSE");
    let path = mount.path.join("d/large");
    let begin = Instant::now();
    same(path.to_str().expect("it is text"), large, &cluster.folder);
    tell("ALONE", &format!("150 MB read from ours alone in {:.1?}", begin.elapsed()));
    fs::write(mount.path.join("d/new"), &large[..5_000_000]).expect("ours take it");
    cluster.verify("new", &large[..5_000_000], 2);
}

/// The real tools judge the files of ours, and a real chunkserver serves them.
fn judged(mut cluster: Cluster, large: &[u8]) {
    let chunks = cluster.chunks("large");
    let mut folders = Vec::new();
    for server in &mut cluster.ours {
        let folder = server.take().expect("it runs").stop();
        let files = files_of(&folder.path().join("disk"));
        assert!(files.len() > 10, "{} files", files.len());
        for file in &files {
            let text = run(Command::new("mfschunktool").args(["-x", file]));
            assert!(text.contains(": OK"), "{file}: {text}");
        }
        folders.push((folder, files.len()));
    }
    let (folder, count) = folders.remove(0);
    for part in ["disk", "data"] {
        let target = cluster.folder.path().join(format!("heir.{part}"));
        fs::rename(folder.path().join(part), target).expect("it is one file system");
    }
    let port = port_of(0);
    let heir = ChunkServer::start(&cluster.folder, "heir", port, MASTER + 1, "");
    wait("a real chunkserver that serves ours", || TcpStream::connect((HOST, port)).is_ok());
    wait("the end of its scan", || {
        let (id, version, _) = chunks[0];
        connect(port).read(id, version, 0, 1).is_ok()
    });
    for ((id, version, _), part) in chunks.iter().zip(large.chunks(64 << 20)) {
        let read = connect(heir.port).read(*id, *version, 0, part.len() as u32);
        assert!(read.as_deref() == Ok(part), "chunk {id:X} differs");
    }
    tell("JUDGED", &format!("{count} files of ours, which a real chunkserver serves"));
}

fn files_of(disk: &Path) -> Vec<String> {
    let folders = fs::read_dir(disk).expect("it is a folder").flatten();
    let folders = folders.filter(|it| it.path().is_dir());
    let files = folders.flat_map(|it| fs::read_dir(it.path()).expect("it is a folder").flatten());
    files.map(|it| it.path().to_str().expect("it is text").to_owned()).collect()
}

/// The processor time of a process, in seconds, also of threads that have ended.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields = stat.rsplit_once(") ").expect("it has a name").1.split(' ');
    // The 14th and the 15th, of which the name is the second.
    let ticks = fields.skip(11).take(2).filter_map(|it| it.parse::<f64>().ok()).sum::<f64>();
    ticks / 100.0
}

#[test]
#[ignore = "measures processor time"]
fn a_gigabyte_that_is_read_takes_no_more_processor_time_than_of_the_real_one() {
    const ROUNDS: usize = 8;
    let test = "chunkserver::real::a_gigabyte_that_is_read_takes_no_more_processor_time_than_of_the_real_one";
    if !has_programs(test) {
        return;
    }
    let Some(cluster) = Cluster::start() else { return };
    fs::create_dir(cluster.path("")).expect("the mount is there");
    run(Command::new("mfssetgoal").args(["4", &cluster.path("")]));
    let content = Random::new(2).bytes(128 << 20);
    fs::write(cluster.path("file"), &content).expect("the mount is there");
    let chunks = cluster.chunks("file");
    let servers =
        [(cluster.real[0].port, cluster.real[0].daemon.pid()), (port_of(0), cluster.own(0).pid())];
    let mut used = [0.0; 2];
    // In turns, so that what else the machine does hits both.
    for _ in 0..ROUNDS {
        for ((port, pid), used) in servers.iter().zip(&mut used) {
            let before = cpu_seconds(*pid);
            for (id, version, _) in &chunks {
                let read = connect(*port).read(*id, *version, 0, 64 << 20);
                assert!(read.is_ok());
            }
            *used += cpu_seconds(*pid) - before;
        }
    }
    let [real, own] = used.map(|it| it / (ROUNDS * content.len()) as f64 * 1e9);
    tell("PROCESSOR", &format!("a gigabyte read: real {real:.2} s, ours {own:.2} s"));
    if !cfg!(debug_assertions) {
        assert!(own <= real, "ours {own:.2} s, the real one {real:.2} s");
    }
}
