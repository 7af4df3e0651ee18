//! Peers that do what no real one does, and folders that none has made.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use protocol::mfs::{CHUNK_SIZE, ChunkId, Kind, Message, Nop, Read, ReadForm, Status};
use testkit::{Random, process, wait_until};

use super::{Chunkserver, Listening};

#[test]
fn bytes_that_are_no_command_end_the_connection_and_not_the_program() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-bytes", listening.address());
    let mut master = listening.register();
    master.create(1, 1);
    let packet = |kind: u32, body: &[u8]| {
        [&kind.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), body].concat()
    };
    let mut random = Random::new(13);
    let mut wrong =
        vec![packet(200, b"short"), packet(999, b""), packet(0, b"x"), packet(211, &[0; 13])];
    wrong.push([200_u32.to_be_bytes(), 100_001_u32.to_be_bytes()].concat());
    wrong.extend((0..50).map(|_| random.bytes(1000)));
    for kind in [10, 80, 200, 210, 212, 213, 250, 300, 302, 600] {
        let size = random.below(60) as usize;
        wrong.push([packet(kind, &random.bytes(size)), random.bytes(100)].concat());
    }
    for bytes in wrong {
        let mut peer = server.connect();
        // It may be closed meanwhile.
        let _ = peer.0.write_all(&bytes);
        let _ = peer.0.shutdown(std::net::Shutdown::Write);
        while peer.next().is_some() {}
    }
    // And the same from a master: it is left, and comes back.
    let _ = master.peer.0.write_all(&packet(110, b"short"));
    let mut master = listening.register();
    let _ = master.peer.0.write_all(&random.bytes(100));
    let mut master = listening.register();
    master.create(2, 1);
    assert!(process::runs(server.pid()));
    server.wait_for_log("closed", 1);
}

#[test]
fn clients_that_never_read_and_signs_of_life_without_end_cost_bounded_memory() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-greedy", listening.address());
    let mut master = listening.register();
    master.create(1, 1);
    let before = process::memory_bytes(server.pid()).expect("it runs");
    let (chunk, size) = (ChunkId(1), CHUNK_SIZE as u32);
    let greedy: Vec<_> = (0..20)
        .map(|_| {
            let mut peer = server.connect();
            peer.send(&Read { form: ReadForm::Lively, chunk, version: 1, offset: 0, size });
            peer
        })
        .collect();
    let mut endless = server.connect();
    let nops = Nop::default().packet().repeat(1000);
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        endless.0.write_all(&nops).expect("it reads");
    }
    let after = process::memory_bytes(server.pid()).expect("it runs");
    // 2 MiB for each, and what the allocator keeps.
    let limit = before + ((20 * 2 + 24) << 20);
    assert!(after < limit, "{} MiB", after >> 20);
    assert_eq!(server.connect().read(1, 1, 0, 3), Ok(vec![0; 3]));
    // They are closed in the end, since they take nothing.
    server.wait_for_log("neither sends nor takes", 1);
    wait_until("the end of their memory", || {
        process::memory_bytes(server.pid()).is_ok_and(|now| now < limit)
    });
    drop(greedy);
}

#[test]
fn an_idle_connection_gets_signs_of_life_and_is_closed_unless_it_gives_some() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-idle", listening.address());
    let (mut silent, mut alive) = (server.connect(), server.connect());
    let begin = Instant::now();
    let mut nops = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while begin.elapsed() < Duration::from_secs(8) {
                alive.send(&Nop::default());
                thread::sleep(Duration::from_millis(500));
            }
            assert_eq!(alive.read(1, 1, 0, 1), Err(Status::NOCHUNK), "it is open");
        });
        while let Some((kind, _)) = silent.next_of_any() {
            assert_eq!(kind, Kind::NOP);
            nops += 1;
        }
    });
    assert!(nops >= 2 && begin.elapsed() >= Duration::from_secs(4), "{nops}");
}

#[test]
fn a_folder_of_another_chunkserver_and_a_cut_id_are_refused_by_name() {
    let listening = Listening::new();
    let server = Chunkserver::start("cs-folders", listening.address());
    listening.register();
    let other = testkit::Folder::new("cs-other");
    let start = |dir: &str, disk: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_mfs-chunkserver"))
            .args(["--master", &listening.address().to_string(), "--listen", "127.0.0.1:0"])
            .args(["--dir", dir, "--disk", disk])
            .env_remove("RUST_LOG")
            .output();
        let output = output.expect("the program was built");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (used, free) = (server.folder.file("data"), other.file(""));
    let error = start(&used, &free);
    assert!(error.contains(&used) && error.contains("another mfs-chunkserver uses it"), "{error}");
    // The write of the id was not finished, as on a full disk.
    fs::write(other.path().join(".metaid"), "123").expect("there is space");
    let error = start(&free, &free);
    assert!(error.contains(".metaid has 3 bytes and not 8"), "{error}");
}
