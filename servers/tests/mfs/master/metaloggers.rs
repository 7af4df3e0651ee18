//! The side of the metaloggers: real ones, a crowd, and one that never reads.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use protocol::mfs::{Changes, Message, MetaloggerRegister, Version};
use reactor::raise_descriptor_limit;
use testkit::moosefs::{HOST, Metalogger, NETWORK, ask};
use testkit::{PATIENCE, has_peer, in_namespace, process, tell};

use super::{Embedded, listening_on};

/// How many subscribers the crowd has, and how many changes each gets.
const CROWD: usize = 1000;
const CHANGES: usize = 10_000;

/// Connects and registers as a metalogger.
fn subscribe(address: &str, first: Option<u64>) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the master listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is positive");
    let register = MetaloggerRegister { version: Version::OURS, timeout: 600, first };
    stream.write_all(&register.packet()).expect("it reads");
    stream
}

/// Connects and registers so many, on a thread of their own.
fn subscribe_all(
    address: &str,
    count: usize,
    first: Option<u64>,
) -> thread::JoinHandle<Vec<TcpStream>> {
    let address = address.to_owned();
    thread::spawn(move || (0..count).map(|_| subscribe(&address, first)).collect())
}

/// Returns the packets of the changes of a log.
fn packets_of(log: &str) -> Vec<u8> {
    let packet = |line: &str| {
        let (version, text) = line.split_once(": ").expect("it is a line");
        let version = version.parse().expect("it is a number");
        Changes::Change { version, text: text.as_bytes() }.packet().to_vec()
    };
    log.lines().flat_map(packet).collect()
}

impl Embedded {
    /// Returns the log of the changes once it has so many.
    #[track_caller]
    fn log_of(&mut self, count: usize) -> String {
        let path = self.folder.path().join("changelog.0.mfs");
        let read = || fs::read_to_string(&path).unwrap_or_default();
        self.turn_until("the log", |_| read().lines().count() >= count);
        read()
    }

    fn make_changes(&mut self, count: usize) {
        for number in 0..count {
            self.create_file();
            if number % 100 == 0 {
                self.turn_until("a turn", |_| true);
            }
        }
    }
}

#[test]
fn a_thousand_metaloggers_get_all_changes_of_one_encoding() {
    raise_descriptor_limit(3 * CROWD as u64).expect("it can be raised");
    let mut master = Embedded::start("ml-crowd", "127.0.0.1", &[]);
    let [address, ..] = master.addresses();
    // A part of the crowd comes when half of the changes have been made.
    let early = CROWD - CROWD / 10;
    let connecting = subscribe_all(&address, early, None);
    master.turn_until("the registrations", |master| master.metaloggers().0 == early);
    let mut streams = connecting.join().expect("they connect");
    master.make_changes(CHANGES / 2);
    let connecting = subscribe_all(&address, CROWD - early, Some(1));
    master.make_changes(CHANGES / 2);
    master.turn_until("the registrations", |master| master.metaloggers().0 == CROWD);
    streams.extend(connecting.join().expect("they connect"));

    let expected = packets_of(&master.log_of(CHANGES));
    let readers = thread::spawn(move || {
        let mut got = vec![0; expected.len()];
        for mut stream in streams {
            stream.read_exact(&mut got).expect("everything comes");
            assert!(got == expected, "it is the same for all");
        }
    });
    master.turn_until("the end of the readers", |_| readers.is_finished());
    readers.join().expect("they have read");
    assert_eq!(master.with(|master| master.changes_encoded()), CHANGES as u64);
    tell("SHARED", &format!("{CHANGES} changes, {CROWD} metaloggers"));
}

#[test]
fn one_that_never_reads_is_dropped_and_holds_no_memory() {
    const SIZE: usize = 50_000;
    const COUNT: usize = 600;
    let test = "master::metaloggers::one_that_never_reads_is_dropped_and_holds_no_memory";
    // The memory is that of the process, in which other tests run otherwise.
    if !in_namespace(test, NETWORK) {
        return;
    }
    let arguments = ["--queue-max", "1048576", "--kept-max", "2097152"];
    let mut master = Embedded::start("ml-mute", "127.0.0.1", &arguments);
    let [address, ..] = master.addresses();
    let mute = subscribe(&address, None);
    let mut reading = subscribe(&address, None);
    master.turn_until("the registrations", |master| master.metaloggers().0 == 2);
    let got = Arc::new(AtomicUsize::new(0));
    let reader = {
        let got = Arc::clone(&got);
        thread::spawn(move || {
            let mut part = vec![0; 1 << 20];
            while got.load(Ordering::Relaxed) < SIZE * COUNT {
                let size = reading.read(&mut part).expect("it stays");
                assert!(size > 0, "it is not dropped");
                got.fetch_add(size, Ordering::Relaxed);
            }
            reading
        })
    };
    let before = process::memory_bytes(std::process::id()).expect("it runs");
    let mut most = 0;
    for number in 0..COUNT {
        let value = ".".repeat(SIZE);
        let change = format!("SETXATTR(1,user.large,{value},0)");
        master.with(|master| master.change(change)).expect("the root is there");
        // One that reads keeps up, however busy the machine is.
        master.turn_until("the disk and the reader", |master| {
            let read = got.load(Ordering::Relaxed);
            reader.is_finished() || master.unwritten() < SIZE && read >= number * SIZE
        });
        if number % 20 == 0 {
            most = most.max(process::memory_bytes(std::process::id()).expect("it runs"));
        }
    }
    master.turn_until("the end of the one", |master| master.metaloggers() == (1, 1));
    master.turn_until("the end of the reader", |_| reader.is_finished());
    // 30 MB were made. 2 MiB of them are kept, and 1 MiB waits at most.
    let grown = most.saturating_sub(before);
    assert!(grown < 20_000_000, "the memory has grown by {grown} bytes");
    drop((reader.join().expect("it reads everything"), mute));
}

#[test]
fn real_metaloggers_keep_what_was_made_across_a_restart() {
    let test = "master::metaloggers::real_metaloggers_keep_what_was_made_across_a_restart";
    if !has_peer("mfsmetalogger") || !has_peer("mfscli") || !in_namespace(test, NETWORK) {
        return;
    }
    let mut master = Embedded::start("ml-three", HOST, &[]);
    master.make_changes(50);
    let [port, chunkservers, clients] = master.ports();
    let others = testkit::Folder::new("ml-three-real");
    let loggers = ["one", "two", "three"].map(|name| Metalogger::start(&others, name, port));
    master.turn_until("the registrations", |master| master.metaloggers().0 == 3);
    let asking = thread::spawn(move || ask(clients, &["-SMB"]));
    master.turn_until("the answer", |_| asking.is_finished());
    let listed = asking.join().expect("it ends");
    let line = format!("metadata backup loggers:\t{HOST}\t3.0.117");
    assert_eq!(listed.matches(&line).count(), 3, "{listed}");
    let served = master.with(|master| master.metadata_file());
    master.turn_until("the downloads", |_| {
        loggers.iter().all(|it| it.read("metadata_ml.mfs.back") == *served)
    });

    master.make_changes(200);
    let log = master.log_of(250);
    let wanted =
        |log: &str| log.lines().skip(50).map(|line| format!("{line}\n")).collect::<String>();
    let has = |logger: &Metalogger, log: &str| {
        logger.read("changelog_ml.0.mfs") == wanted(log).as_bytes()
    };
    master.turn_until("the changes", |_| loggers.iter().all(|it| has(it, &log)));

    // One that stands still is dropped, and the others do not notice.
    let stopped = loggers[0].daemon.pid();
    process::signal(stopped, "STOP");
    master.make_changes(50);
    master.turn_until("the end of one", |master| master.metaloggers().0 == 2);
    process::signal(stopped, "CONT");
    let log = master.log_of(300);
    master.turn_until("the changes", |_| loggers.iter().all(|it| has(it, &log)));

    // They come back with what they know, and the changes of meanwhile follow.
    let folder = master.stop();
    let addresses = [port, chunkservers, clients].map(|port| format!("{HOST}:{port}"));
    let mut master = Embedded::start_in(folder, &listening_on(&addresses));
    master.make_changes(100);
    master.turn_until("the registrations", |master| master.metaloggers().0 == 3);
    master.make_changes(100);
    let log = master.log_of(500);
    master.turn_until("the changes", |_| loggers.iter().all(|it| has(it, &log)));
    tell("FOLLOWED", "500 changes, 3 metaloggers, a restart");
}
