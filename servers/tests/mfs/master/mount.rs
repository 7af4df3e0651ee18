//! The real `mfsmount` and `mfscli` at our master, with real chunkservers, in a network namespace.
//!
//! A process that waits for a mount cannot be ended by a limit of time. So whatever uses the mount runs on a
//! thread, and the test ends its waits by killing the daemon of the mount.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use protocol::Random;
use protocol::mfs::{GetInfo, Info, Kind, ListSessions, Message, Nop, OpenRest};
use reactor::raise_descriptor_limit;
use testkit::moosefs::{ChunkServer, HOST, Metalogger, Mount, NETWORK, ask};
use testkit::{PATIENCE, has_peer, in_namespace, process, skip, tell, wait_until};

use super::running::{Running, open};
use crate::wire::Peer;

/// The ports of the master.
const PORT: u16 = 29419;
/// A file of three chunks.
const LARGE: usize = 150_000_000;
/// How long a part of a test may wait for the mount, on any machine.
const MOUNT_PATIENCE: Duration = Duration::from_secs(120);
/// How many clients `mfscli` has beside it.
const CROWD: usize = 10_000;

/// A master of ours with two real chunkservers and a real mount.
struct Mounted {
    mount: Mount,
    servers: [ChunkServer; 2],
    master: Running,
}

fn is_ready(test: &str, peers: &[&str]) -> bool {
    peers.iter().all(|peer| has_peer(peer)) && in_namespace(test, NETWORK)
}

/// Starts a master and two chunkservers, and waits until they can be written to.
fn cluster(name: &str) -> (Running, [ChunkServer; 2]) {
    let master = Running::start(name, HOST, PORT, &[]);
    let server = |name, port| ChunkServer::start(&master.folder, name, port, PORT + 1, "");
    let servers = [server("cs1", 29422), server("cs2", 29432)];
    wait_for_space(2);
    (master, servers)
}

/// Waits until so many chunkservers are there and have shown their space.
fn wait_for_space(count: usize) {
    wait_until("the chunkservers", || {
        let listed = ask(PORT + 2, &["-SCS"]);
        let has_space = |line: &&str| {
            let total = line.split('\t').nth(9).and_then(|it| it.parse::<u64>().ok());
            line.starts_with("chunk servers:\t") && total.is_some_and(|it| it > 0)
        };
        listed.lines().filter(has_space).count() == count
    });
}

impl Mounted {
    fn start(name: &str) -> Option<Self> {
        let (master, servers) = cluster(name);
        let mount = Mount::start(&master.folder, "mnt", PORT + 2)?;
        Some(Self { mount, servers, master })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.path.join(name)
    }

    /// Runs what uses the mount on a thread. If it takes too long, the mount is killed, which ends it.
    #[track_caller]
    fn using<T: Send + 'static>(
        &self,
        what: &str,
        use_it: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let (done, end) = channel();
        let user = thread::spawn(move || {
            let result = use_it();
            let _ = done.send(());
            result
        });
        if end.recv_timeout(MOUNT_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            process::signal(self.mount.pid(), "KILL");
            let _ = user.join();
            panic!("{what} took too long\n{}", self.master.log());
        }
        user.join().expect("the thread does not panic")
    }
}

/// Returns whether two files have the same bytes, which are read one part after the other.
fn are_same(one: &Path, other: &Path) -> bool {
    let open = |path: &Path| File::open(path).expect("it is there");
    let (mut one, mut other) = (open(one), open(other));
    let (mut some, mut more) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let size = one.read(&mut some).expect("it can be read");
        if size == 0 {
            return other.read(&mut more).expect("it can be read") == 0;
        }
        if other.read_exact(&mut more[..size]).is_err() || some[..size] != more[..size] {
            return false;
        }
    }
}

/// Writes a file of random bytes.
fn make_file(path: &Path, size: usize, seed: u64) {
    let bytes = Random::new(seed).bytes(1 << 20);
    let mut file = File::create(path).expect("there is space");
    let mut left = size;
    while left > 0 {
        let part = &mut bytes.clone()[..left.min(1 << 20)];
        // No two parts are the same.
        part[..8.min(left)].copy_from_slice(&(left as u64).to_ne_bytes()[..8.min(left)]);
        file.write_all(part).expect("there is space");
        left -= part.len();
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).status().expect("it is there").success()
}

/// Appends to a file.
fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).expect("it is there");
    file.write_all(bytes).expect("there is space");
    file.sync_all().expect("it is written");
}

#[test]
fn the_real_mount_works_on_our_master() {
    let test = "master::mount::the_real_mount_works_on_our_master";
    if !is_ready(test, &["mfsmount", "mfschunkserver", "mfscli"]) {
        return;
    }
    let Some(mounted) = Mounted::start("mount") else { return };
    let (folder, root) = (mounted.master.folder.path().to_owned(), mounted.mount.path.clone());
    let said = fs::read_to_string(folder.join("mnt.log")).unwrap_or_default();
    let wanted = "mfsmaster accepted connection with parameters: read-write,restricted_ip ; \
                  root mapped to root:root";
    assert!(said.contains(wanted), "{said}");
    let listed = ask(PORT + 2, &["-SMS"]);
    assert!(listed.contains(&format!("\t{HOST}\t{}\t", root.display())), "{listed}");

    let reference = folder.join("reference");
    make_file(&reference, LARGE, 17);
    let (source, large) = (reference.clone(), root.join("large"));
    let took = mounted.using("a copy", move || {
        let start = Instant::now();
        assert!(run("cp", &[&source.to_string_lossy(), &large.to_string_lossy()]));
        let copied = start.elapsed();
        assert!(are_same(&source, &large));
        copied
    });
    tell("COPIED", &format!("{LARGE} bytes in {:.2} s", took.as_secs_f64()));
    use_a_large_file(&mounted, &reference);
    use_a_tree(&mounted);

    // What was removed is deleted on the chunkservers when it is no longer open.
    let info = ask(PORT + 2, &["-SIG"]);
    assert!(
        info.contains("master info:\tall fs objects\t") && !info.contains("Traceback"),
        "{info}"
    );
    let large = root.join("hard");
    mounted.using("reading at the end", move || assert!(are_same(&reference, &large)));
}

/// Changes the large file and the reference in the same way.
fn use_a_large_file(mounted: &Mounted, reference: &Path) {
    let (reference, root) = (reference.to_owned(), mounted.mount.path.clone());
    let large = root.join("large");
    let both = [reference.clone(), large.clone()];
    mounted.using("changes of a large file", move || {
        let same = |what: &str| assert!(are_same(&both[0], &both[1]), "after {what}");
        both.iter().for_each(|path| append(path, b"the end"));
        same("an append");
        for length in [100_000_001, 70_000_000, 64 << 20, 200_000_001] {
            for path in &both {
                let file = OpenOptions::new().write(true).open(path).expect("it is there");
                file.set_len(length).expect("it can be set");
            }
            same(&format!("a truncation to {length}"));
        }
        for path in &both {
            let file = OpenOptions::new().write(true).open(path).expect("it is there");
            // Across the border of two chunks, and where there is a hole.
            for offset in [30_000_000, (64 << 20) - 5, 150_000_000] {
                file.write_all_at(b"in the middle", offset).expect("there is space");
            }
            file.sync_all().expect("it is written");
        }
        same("an overwrite in the middle");
    });
    let moved = root.join("moved");
    mounted.using("changes of its name and attributes", move || {
        fs::create_dir(&moved).expect("the name is free");
        let path = moved.join("renamed");
        fs::rename(&large, &path).expect("it can move");
        assert!(!large.exists());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("root may");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        let file = OpenOptions::new().write(true).open(&path).expect("it is there");
        file.set_modified(time).expect("root may");
        drop(file);
        let metadata = fs::metadata(&path).expect("it is there");
        assert_eq!((metadata.mode() & 0o7777, metadata.size()), (0o640, 200_000_001));
        assert_eq!(metadata.modified().expect("it has one"), time);
        let hard = moved.with_file_name("hard");
        fs::hard_link(&path, &hard).expect("the name is free");
        assert_eq!(fs::metadata(&hard).expect("it is there").nlink(), 2);
        symlink("moved/renamed", moved.with_file_name("soft")).expect("the name is free");
        let target = fs::read_link(moved.with_file_name("soft")).expect("it is a link");
        assert_eq!(target, Path::new("moved/renamed"));
        assert_eq!(
            fs::remove_dir(&moved).map_err(|it| it.kind()),
            Err(std::io::ErrorKind::DirectoryNotEmpty)
        );
        fs::remove_file(&path).expect("it is there");
        fs::remove_dir(&moved).expect("it is empty");
        assert_eq!(fs::metadata(&hard).expect("it is there").nlink(), 1);
        // A file that is removed while it is open can still be used.
        let nameless = hard.with_file_name("nameless");
        let mut file = OpenOptions::new().create_new(true).read(true).write(true).open(&nameless);
        let file = file.as_mut().expect("the name is free");
        fs::remove_file(&nameless).expect("it is there");
        file.write_all(b"nameless").expect("it is open");
        file.seek(SeekFrom::Start(0)).expect("it is open");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("it is open");
        assert_eq!(text, "nameless");
    });
}

/// Copies a tree, compares it, and removes it.
fn use_a_tree(mounted: &Mounted) {
    let (source, copy) = (mounted.master.folder.path().join("tree"), mounted.path("tree"));
    for place in 0..20 {
        let below = source.join(format!("directory {place}/below"));
        fs::create_dir_all(&below).expect("there is space");
        for number in 0..10 {
            let text = format!("{place} {number}\n").repeat(number * 300);
            fs::write(below.join(format!("file (%{number}),")), text).expect("there is space");
        }
    }
    mounted.using("copying a tree", move || {
        let (source, copy) = (source.to_string_lossy(), copy.to_string_lossy());
        let start = Instant::now();
        assert!(run("cp", &["-r", &source, &copy]));
        let copied = start.elapsed();
        assert!(run("diff", &["-r", &source, &copy]));
        tell("COPIED", &format!("a tree of 200 files in {:.2} s", copied.as_secs_f64()));
        assert!(run("rm", &["-r", &copy]));
        assert!(!Path::new(&*copy).exists());
    });
}

#[test]
fn the_mount_goes_on_after_the_master_was_killed() {
    let test = "master::mount::the_mount_goes_on_after_the_master_was_killed";
    if !is_ready(test, &["mfsmount", "mfschunkserver", "mfscli"]) {
        return;
    }
    let Some(mut mounted) = Mounted::start("mount-kill") else { return };
    let (reference, copy) = (mounted.master.folder.path().join("reference"), mounted.path("copy"));
    make_file(&reference, 5_000_000, 5);
    let both = [reference, copy];
    let [source, target] = both.clone();
    mounted.using("a copy", move || {
        fs::copy(source, &target).expect("there is space");
        append(&target, b"");
    });
    let is_written = |master: &Running| {
        let log = master.folder.path().join("data/changelog.0.mfs");
        fs::read_to_string(log).unwrap_or_default().contains("LENGTH(2,5000000,0)")
    };
    wait_until("the last change on the disk", || is_written(&mounted.master));
    mounted.master.kill();
    mounted.master.run();
    let start = Instant::now();
    let [source, target] = both.clone();
    mounted.using("reading after the restart", move || assert!(are_same(&source, &target)));
    let took = start.elapsed();
    tell("WENT ON", &format!("{:.2} s after the restart", took.as_secs_f64()));
    assert!(took < Duration::from_secs(10), "{took:?}");
    wait_for_space(2);
    mounted.using("writing after the restart", move || {
        both.iter().for_each(|path| append(path, b"after the restart"));
        assert!(are_same(&both[0], &both[1]));
    });
}

#[test]
fn a_read_ends_right_while_a_chunkserver_stands_still() {
    let test = "master::mount::a_read_ends_right_while_a_chunkserver_stands_still";
    if !is_ready(test, &["mfsmount", "mfschunkserver", "mfscli"]) {
        return;
    }
    let Some(mounted) = Mounted::start("mount-stop") else { return };
    let (reference, copy) = (mounted.master.folder.path().join("reference"), mounted.path("copy"));
    make_file(&reference, LARGE, 3);
    let (source, target) = (reference.clone(), copy.clone());
    mounted.using("a copy", move || {
        fs::copy(source, &target).expect("there is space");
        append(&target, b"");
    });
    // What is read comes from the chunkservers, and not from the cache of the kernel.
    let stopped = mounted.servers[0].daemon.pid();
    let took = mounted.using("a read", move || {
        let start = Instant::now();
        let mut file = File::open(&copy).expect("it is there");
        let mut expected = File::open(&reference).expect("it is there");
        let (mut some, mut wanted) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        for part in 0.. {
            if part == 20 {
                process::signal(stopped, "STOP");
            }
            let size = file.read(&mut some).expect("it can be read");
            expected.read_exact(&mut wanted[..size]).expect("it is as long");
            assert!(some[..size] == wanted[..size], "part {part}");
            if size == 0 {
                break;
            }
        }
        start.elapsed()
    });
    tell("READ", &format!("with one chunkserver stopped, in {:.2} s", took.as_secs_f64()));
    // It does not wait until that chunkserver goes on, which is never.
    assert!(took < PATIENCE, "{took:?}");
    process::signal(stopped, "CONT");
    wait_for_space(2);
}

/// Clients with sessions. A thread gives their signs of life.
struct Crowd {
    clients: Arc<Mutex<Vec<Peer>>>,
    is_over: Arc<AtomicBool>,
    speaker: Option<JoinHandle<()>>,
}

impl Crowd {
    fn open(master: &Running, count: usize) -> Self {
        let clients = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (all, ends) = (Arc::clone(&clients), Arc::clone(&is_over));
        let speaker = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                Self::speak(&mut all.lock().expect("no thread panics"));
                thread::sleep(Duration::from_secs(2));
            }
        });
        let packet = open(b"/\0", OpenRest::default()).packet();
        for _ in 0..count / 100 {
            // Each part waits for its answers, so none waits for long in the queue of the listener.
            let mut part: Vec<Peer> = (0..100).map(|_| master.connect()).collect();
            part.iter_mut().for_each(|peer| peer.0.write_all(&packet).expect("it reads"));
            for peer in &mut part {
                peer.expect(Kind::CLIENT_REGISTER_ANSWER);
            }
            clients.lock().expect("no thread panics").append(&mut part);
        }
        Self { clients, is_over, speaker: Some(speaker) }
    }

    fn speak(clients: &mut [Peer]) {
        let nop = Nop { padding: Some(0) }.packet();
        for peer in clients {
            peer.0.write_all(&nop).expect("it is not closed");
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(speaker) = self.speaker.take() {
            let is_well = speaker.join().is_ok();
            assert!(is_well || thread::panicking(), "a client was closed");
        }
    }
}

#[test]
#[ignore = "it has 10,000 connections, and mfscli waits one second for each answer"]
fn mfscli_is_answered_beside_ten_thousand_clients() {
    let test = "master::mount::mfscli_is_answered_beside_ten_thousand_clients";
    if !is_ready(test, &["mfschunkserver", "mfsmetalogger", "mfscli"]) {
        return;
    }
    if let Err(error) = raise_descriptor_limit(CROWD as u64 + 500) {
        return skip(&format!("{CROWD} connections: {error}"));
    }
    let (master, servers) = cluster("mfscli");
    let logger = Metalogger::start(&master.folder, "ml", PORT);
    let line = format!("metadata backup loggers:\t{HOST}\t3.0.117");
    wait_until("the metalogger", || ask(PORT + 2, &["-SMB"]).contains(&line));
    let crowd = Crowd::open(&master, CROWD);

    let sections = ["-SIN", "-SCS", "-SMB", "-SHD", "-SMS"];
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let said = ask(PORT + 2, &sections);
        times.push(start.elapsed());
        // It waits one second for each answer, and says so otherwise.
        for word in ["Traceback", "error:", "not found", "Can't"] {
            assert!(!said.contains(word), "{said}");
        }
        assert!(said.contains("master info:\tmaster version\t3.0.117"), "{said}");
        assert!(said.contains("master info:\tall fs objects\t1\n"), "{said}");
        assert!(said.contains(&line), "{said}");
        for port in [29422, 29432] {
            assert!(said.contains(&format!("chunk servers:\t{HOST}\t{port}\t")), "{said}");
            assert!(said.contains(&format!("disks:\t{HOST}:{port}:")), "{said}");
        }
        assert_eq!(said.matches("no errors\tok").count(), 2, "{said}");
        let mounts = said.matches(&format!("\t{HOST}\t/test\t")).count();
        assert_eq!(mounts, CROWD, "{}", &said[..said.len().min(3000)]);
    }
    times.sort_unstable();
    // The answers alone, without the start of Python.
    let mut answers: Vec<Duration> = (0..20).map(|_| answer_time(&master)).collect();
    answers.sort_unstable();
    let (all, own) = (times[2].as_secs_f64(), answers[10].as_secs_f64());
    tell(
        "ANSWERED",
        &format!("5 sections of mfscli in {all:.2} s, INFO and SESSIONS in {own:.3} s"),
    );
    assert!(answers[10] < Duration::from_secs(1), "{answers:?}");
    assert_eq!(crowd.clients.lock().expect("no thread panics").len(), CROWD);
    drop((crowd, servers, logger));
}

/// Returns how long the answers to `mfscli -SMS` take.
fn answer_time(master: &Running) -> Duration {
    let start = Instant::now();
    let mut peer = master.connect();
    peer.send(&GetInfo);
    Info::parse(&peer.expect(Kind::INFO)).expect("it is one");
    peer.send(&ListSessions { form: 4 });
    peer.expect(Kind::SESSIONS);
    start.elapsed()
}
