//! The client and the real master, chunkservers and mount, in a network namespace.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::moosefs::{ChunkServer, Master, Mount, NETWORK};
use testkit::{Folder, Random, has_peer, in_namespace, process, wait_until};

use crate::program::{Ran, command, run};

/// The size of the large file: three chunks, the last one not whole.
const LARGE: usize = 150_000_000;

/// A master and two chunkservers. Files have two copies by default.
struct Cluster {
    folder: Folder,
    servers: Vec<ChunkServer>,
    master: Master,
}

impl Cluster {
    /// Starts the programs, or returns `None` where the test cannot run here.
    fn start(test: &str, exports: &str) -> Option<Self> {
        let programs = ["mfsmaster", "mfscli", "mfschunkserver", "mfsmount"];
        if !programs.into_iter().all(has_peer) || !in_namespace(test, NETWORK) {
            return None;
        }
        let folder = Folder::new("mfs-real");
        fs::write(folder.path().join("exports.cfg"), exports).expect("there is space");
        let data = folder.path().join("master");
        let master = Master::start(&folder, "master.cfg", &data, 20419, "");
        let start = |(name, port)| ChunkServer::start(&folder, name, port, 20420, "");
        let servers: Vec<_> = [("one", 20422), ("two", 20432)].map(start).into();
        master.wait_for_chunkservers(servers.len());
        Some(Self { folder, servers, master })
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(&self.master.clients(), arguments, b"")
    }

    /// Starts the program and does not wait for it.
    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = command(&self.master.clients(), arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    }

    /// Writes a file of random bytes, and returns its path.
    fn file(&self, name: &str, size: usize) -> String {
        let path = self.folder.file(name);
        fs::write(&path, Random::new(17).bytes(size)).expect("there is space");
        path
    }
}

/// The exports of most tests.
const EXPORTS: &str = "* / rw,alldirs,admin,maproot=0:0\n";

#[track_caller]
fn is_same(one: &str, other: &str) {
    let status = Command::new("cmp").args([one, other]).status().expect("cmp is there");
    assert!(status.success(), "{one} and {other} differ");
}

#[test]
fn files_are_as_the_real_mount_shows_them() {
    let test = "real::files_are_as_the_real_mount_shows_them";
    let Some(cluster) = Cluster::start(test, EXPORTS) else { return };
    // Two chunks, the second one not whole.
    let (file, copy) = (cluster.file("large", 70_000_000), cluster.folder.file("copy"));
    cluster.run(&["put", &file, "/large"]).ok();
    cluster.run(&["get", "/large", &copy]).ok();
    is_same(&file, &copy);
    let verified = cluster.run(&["verify", "--reference", &file, "/large"]);
    assert_eq!((verified.code, verified.text().matches(": same\n").count()), (Some(0), 4));
    // Streams, and files that end at a block, or are empty.
    for size in [0, 1, 65_536, 65_537, 1_000_000] {
        let bytes = Random::new(size as u64 + 1).bytes(size);
        run(&cluster.master.clients(), &["put", "-", "/stream"], &bytes).ok();
        assert!(cluster.run(&["cat", "/stream"]).ok() == bytes, "{size} bytes");
    }

    let Some(mount) = Mount::start(&cluster.folder, "mount", 20421) else { return };
    let on_mount = |name: &str| mount.path.join(name).to_str().expect("it is text").to_owned();
    is_same(&on_mount("large"), &file);
    fs::create_dir(on_mount("folder")).expect("it is mounted");
    fs::write(on_mount("folder/\u{e9}t\u{e9}"), b"words\n").expect("it is mounted");
    fs::set_permissions(on_mount("folder"), fs::Permissions::from_mode(0o2750))
        .expect("it is ours");
    symlink("folder/\u{e9}t\u{e9}", on_mount("link")).expect("it is mounted");
    // Attributes are as the mount shows them; it caches them for a second.
    std::thread::sleep(Duration::from_millis(1100));
    for name in ["large", "stream", "folder", "folder/\u{e9}t\u{e9}", "link"] {
        let metadata = fs::symlink_metadata(on_mount(name)).expect("it is there");
        let shown = String::from_utf8(cluster.run(&["stat", &format!("/{name}")]).ok());
        let shown = shown.expect("the names are text");
        let has = |what: &str, value: String| {
            let line = format!("  {what:<9} {value}");
            assert!(shown.lines().any(|it| it.starts_with(&line)), "{line:?} in {shown}");
        };
        has("inode", metadata.ino().to_string());
        has("mode", format!("{:04o}", metadata.mode() & 0o7777));
        has("owner", format!("{}:{}", metadata.uid(), metadata.gid()));
        has("links", metadata.nlink().to_string());
        has("modified", metadata.mtime().to_string());
        has("changed", metadata.ctime().to_string());
        if !metadata.is_dir() {
            has("length", metadata.len().to_string());
        }
    }
    let list = |arguments: &[&str]| {
        let shown = cluster.run(&[&["ls"], arguments].concat()).ok();
        String::from_utf8(shown).expect("the names are text")
    };
    assert_eq!(list(&[]), "folder\nlarge\nlink\nstream\n");
    assert_eq!(list(&["-R", "/"]), "/:\nfolder\nlarge\nlink\nstream\n\n/folder:\n\u{e9}t\u{e9}\n");
    let long = list(&["-l", "/"]);
    assert!(
        long.contains("drwxr-s---") && long.contains(" link -> folder/\u{e9}t\u{e9}\n"),
        "{long}"
    );
    assert_eq!(cluster.run(&["cat", "/link"]).ok(), b"words\n");
    assert_eq!(cluster.run(&["cat", "/folder/../folder/./\u{e9}t\u{e9}"]).ok(), b"words\n");

    // What the real client writes is read, with its hole; what is overwritten is shorter.
    let hole = File::create(on_mount("hole")).expect("it is mounted");
    hole.set_len(70_000_000).expect("it is mounted");
    (&hole).write_all(b"begin").expect("it is mounted");
    hole.sync_all().expect("it is mounted");
    cluster.run(&["get", "/hole", &copy]).ok();
    is_same(&copy, &on_mount("hole"));
    cluster.run(&["verify", "--reference", &copy, "/hole"]).ok();
    run(&cluster.master.clients(), &["put", "-", "/large"], b"short").ok();
    assert_eq!(cluster.run(&["cat", "/large"]).ok(), b"short");

    // Permissions and times are kept.
    let script = cluster.file("script", 100);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o4711)).expect("it is ours");
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(&script).and_then(|it| it.set_modified(old)).expect("it is ours");
    cluster.run(&["put", "-p", &script, "/folder"]).ok();
    cluster.run(&["get", "-p", "/folder/script", &copy]).ok();
    for path in [&on_mount("folder/script"), &copy] {
        let metadata = fs::metadata(path).expect("it is there");
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o4711, 1_000_000_000), "{path}");
    }
    let size = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect("it is shown");
        line.split_whitespace().nth(1).and_then(|it| it.parse::<u64>().ok()).expect("a number")
    };
    let space = String::from_utf8(cluster.run(&["df"]).ok()).expect("it is text");
    assert_eq!(size(&space, "objects"), 8, "{space}");
    assert!(size(&space, "available") <= size(&space, "total"), "{space}");

    // A session that is not closed is kept for a day, the others for no second more.
    let seconds_left = || {
        let sessions = cluster.master.ask("-SMS");
        let ours = sessions.lines().filter(|line| line.contains("\t/mfs-client\t"));
        let left = |line: &str| line.rsplit('\t').next().and_then(|it| it.parse().ok());
        ours.map(|line| left(line).unwrap_or(u32::MAX)).collect::<Vec<u32>>()
    };
    assert!(seconds_left().iter().all(|left| *left == 0), "{:?}", seconds_left());
    let mut killed = command(&cluster.master.clients(), &["put", "-", "/killed"]);
    let mut killed = killed.stdin(Stdio::piped()).spawn().expect("it starts");
    wait_until("its file", || cluster.run(&["stat", "/killed"]).code == Some(0));
    killed.kill().expect("it is a child");
    killed.wait().expect("it is a child");
    wait_until("a session that is not closed", || {
        seconds_left().iter().any(|left| (1000..100_000).contains(left))
    });
}

#[test]
fn errors_have_their_codes_and_say_what_to_do() {
    let test = "real::errors_have_their_codes_and_say_what_to_do";
    let exports = "* / rw,maproot=0:0,password=secret\n* / ro,maproot=65534:65534\n";
    let Some(mut cluster) = Cluster::start(test, exports) else { return };
    let secret = cluster.folder.file("secret");
    fs::write(&secret, "secret\n").expect("there is space");
    let fails = |cluster: &Cluster, arguments: &[&str], code: i32, text: &str| {
        let ran = cluster.run(arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.errors);
        assert!(ran.errors.contains(text), "{text:?} is not in {}", ran.errors);
    };
    fails(&cluster, &["cat", "/no/such"], 3, "/no/such: lookup: no such file or directory (3)");
    fails(&cluster, &["cat", "/"], 2, "/: open: it is a directory");
    let file = cluster.file("file", 10);
    // Without a password, the session may only read.
    fails(&cluster, &["put", &file, "/file"], 4, "/file: create: read-only file system (33)");
    cluster.run(&["--password-file", &secret, "put", &file, "/file"]).ok();
    cluster.run(&["get", "/file", &cluster.folder.file("copy")]).ok();
    is_same(&file, &cluster.folder.file("copy"));
    fails(&cluster, &["--directory", "/none", "df"], 6, "no session");
    fails(&cluster, &["get", "/file", "/no/such/folder/x"], 10, "/no/such/folder/x");
    fails(&cluster, &["put", "/no/such", "/x"], 10, "/no/such: No such file");
    let longer = "x".repeat(256);
    fails(&cluster, &["stat", &longer], 2, "255 are the most");

    // Without chunkservers, nothing can be read or written, and the master says so.
    for server in &mut cluster.servers {
        server.daemon.kill();
    }
    wait_until("the loss of the chunkservers", || {
        cluster.master.ask("-SCS").matches("\t3.0.117\t").count() == 0
            || cluster.run(&["--patience", "0.2", "cat", "/file"]).code == Some(7)
    });
    fails(&cluster, &["--patience", "1", "cat", "/file"], 7, "mfscli -SCS");
    let password = ["--password-file", &secret, "--patience", "1"];
    fails(&cluster, &[&password[..], &["put", &file, "/other"]].concat(), 8, "/other: write: ");
    cluster.master.daemon.kill();
    fails(&cluster, &["df"], 5, "10.99.0.1:20421");
}

/// Returns how many bytes the files of a folder have.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

fn runs_no_more(child: &mut Child) -> bool {
    child.try_wait().expect("it is a child").is_some()
}

/// P4 of the sheet: a chunkserver that is stopped in the middle.
#[test]
fn a_chunkserver_that_is_stopped_in_the_middle_costs_seconds_and_no_byte() {
    let test = "real::a_chunkserver_that_is_stopped_in_the_middle_costs_seconds_and_no_byte";
    let Some(cluster) = Cluster::start(test, EXPORTS) else { return };
    let (file, copy) = (cluster.file("large", LARGE), cluster.folder.file("copy"));
    cluster.run(&["put", &file, "/before"]).ok();
    let one = &cluster.servers[0].daemon;

    let begun = Instant::now();
    let mut child = cluster.spawn(&["get", "/before", &copy]);
    let part = cluster.folder.path().join("copy.part");
    wait_until("the first megabytes", || {
        fs::metadata(&part).is_ok_and(|it| it.blocks() * 512 > 5_000_000)
    });
    process::signal(one.pid(), "STOP");
    assert!(!runs_no_more(&mut child), "it was stopped in the middle");
    let status = child.wait().expect("it is a child");
    let get = begun.elapsed();
    process::signal(one.pid(), "CONT");
    assert!(status.success(), "{status}");
    is_same(&file, &copy);
    cluster.master.wait_for_chunkservers(2);

    let (begun, disk) = (Instant::now(), &cluster.servers[0].disk);
    let before = size_of(disk);
    let mut child = cluster.spawn(&["put", &file, "/during"]);
    wait_until("the first megabytes", || size_of(disk) > before + 5_000_000);
    process::signal(one.pid(), "STOP");
    assert!(!runs_no_more(&mut child), "it was stopped in the middle");
    let status = child.wait().expect("it is a child");
    let put = begun.elapsed();
    process::signal(one.pid(), "CONT");
    assert!(status.success(), "{status}");
    cluster.master.wait_for_chunkservers(2);
    let verified = cluster.run(&["verify", "--reference", &file, "/during"]);
    assert_eq!(verified.code, Some(0), "{}\n{}", verified.text(), verified.errors);
    assert!(verified.text().matches(": same\n").count() >= 3, "{}", verified.text());
    let limit = Duration::from_secs(30);
    assert!(get < limit && put < limit, "get {get:?}, put {put:?}");
    println!("with a stop: get {:.1} s, put {:.1} s", get.as_secs_f32(), put.as_secs_f32());
}

/// Numbers: the client beside `cp` on the real mount, one after the other in one run. The program should
/// be a release build; another is named by `MFS_CLIENT`.
#[test]
#[ignore = "takes a machine that does nothing else"]
fn large_files_take_little_longer_than_cp_on_the_mount() {
    let test = "real::large_files_take_little_longer_than_cp_on_the_mount";
    let Some(cluster) = Cluster::start(test, EXPORTS) else { return };
    let (file, copy) = (cluster.file("large", LARGE), cluster.folder.file("copy"));
    let Some(mount) = Mount::start(&cluster.folder, "mount", 20421) else { return };
    let timed = |command: &mut Command| {
        let begun = Instant::now();
        let ran = process::run(command, b"");
        let took = begun.elapsed().as_secs_f64();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        took
    };
    let ours = |arguments: &[&str]| match std::env::var_os("MFS_CLIENT") {
        Some(program) => {
            let mut command = Command::new(program);
            command.args(["--master", &cluster.master.clients()]).args(arguments);
            command
        }
        None => command(&cluster.master.clients(), arguments),
    };
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..5 {
        let [one, other] = [format!("ours-{round}"), format!("theirs-{round}")];
        let theirs = mount.path.join(&other);
        times[0].push(timed(&mut ours(&["put", &file, &format!("/{one}")])));
        times[1].push(timed(Command::new("cp").arg(&file).arg(&theirs)));
        times[2].push(timed(&mut ours(&["get", &format!("/{other}"), &copy])));
        is_same(&file, &copy);
        fs::remove_file(&copy).expect("it was written");
        times[3].push(timed(Command::new("cp").arg(mount.path.join(&one)).arg(&copy)));
        is_same(&file, &copy);
        fs::remove_file(&copy).expect("it was written");
    }
    let [put, cp_in, get, cp_out] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[2]
    });
    println!(
        "150 MB, medians of 5: put {put:.2} s, cp {cp_in:.2} s; get {get:.2} s, cp {cp_out:.2} s"
    );
    // A debug build computes checksums a hundred times slower.
    if std::env::var_os("MFS_CLIENT").is_some() {
        assert!(put <= 1.2 * cp_in && get <= 1.2 * cp_out);
    }
}
