//! A metalogger and a master that does what no real one does: late, twice, wrong lengths, unknown types,
//! random bytes, signs of life without end.

use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use protocol::Random;
use protocol::mfs::{
    Changes, Data, DownloadData, DownloadInfo, DownloadRequest, DownloadStart, Kind, Message,
    MetaloggerRegister, Nop,
};
use testkit::{PATIENCE, in_namespace, process, wait_until};

use crate::program::Metalogger;
use crate::wire::Peer;

const METADATA: &[u8] = b"MFSM 2.0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x01tree[MFS EOF MARKER]";

/// A master that a test plays.
struct Master(TcpListener);

impl Master {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback is there");
        listener.set_nonblocking(true).expect("it can be set");
        Self(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().expect("it is bound").to_string()
    }

    /// Waits for a metalogger, which registers first. Returns the first change that it wants.
    #[track_caller]
    fn accept(&self) -> (Peer, Option<u64>) {
        let until = Instant::now() + PATIENCE;
        let stream = loop {
            match self.0.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < until, "no metalogger came");
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        };
        stream.set_nonblocking(false).expect("it can be set");
        let mut peer = Peer::new(stream);
        let (kind, body) = peer.next().expect("it registers");
        assert_eq!(kind, Kind::METALOGGER_REGISTER);
        let register = MetaloggerRegister::parse(&body).expect("it is a registration");
        assert_eq!(register.timeout, 10);
        (peer, register.first)
    }
}

impl Peer {
    fn change(&mut self, version: u64) {
        self.send(&Changes::Change { version, text: b"1|CREATE(1):2" });
    }

    #[track_caller]
    fn expect_start(&mut self, file: u8) {
        let (kind, body) = self.next().expect("it asks for a file");
        assert_eq!(kind, Kind::DOWNLOAD_START);
        assert_eq!(DownloadStart::parse(&body), Ok(DownloadStart { file }));
    }

    #[track_caller]
    fn expect_request(&mut self) -> DownloadRequest {
        let (kind, body) = self.next().expect("it asks for a part");
        assert_eq!(kind, Kind::DOWNLOAD_REQUEST);
        DownloadRequest::parse(&body).expect("it is a request")
    }

    #[track_caller]
    fn expect_end(&mut self) {
        assert_eq!(self.next().map(|(kind, _)| kind), Some(Kind::DOWNLOAD_END));
    }

    /// Serves a file, and first so many copies of each part with a wrong CRC.
    #[track_caller]
    fn serve(&mut self, file: u8, content: &[u8], damaged: usize) {
        self.expect_start(file);
        self.send(&DownloadInfo::Length(content.len() as u64));
        let mut sent = 0;
        while sent < content.len() {
            for round in 0..=damaged {
                let DownloadRequest { offset, size } = self.expect_request();
                assert_eq!(offset, sent as u64);
                let part = &content[sent..sent + size as usize];
                let mut data = Data::new(part);
                if round < damaged {
                    data.crc.0 ^= 1;
                }
                self.send(&DownloadData { offset, data });
            }
            sent = content.len().min(sent + 1_000_000);
        }
        self.expect_end();
    }

    /// Serves all files.
    #[track_caller]
    fn serve_all(&mut self) {
        for (file, content) in [(1, METADATA), (11, b"7: a\n"), (12, b"")] {
            self.serve(file, content, 0);
        }
    }
}

#[test]
fn it_logs_changes_rotates_and_comes_back_with_what_it_knows() {
    let master = Master::new();
    let metalogger = Metalogger::start("ml-script", &master.address(), &[]);
    let (mut peer, first) = master.accept();
    assert_eq!(first, None);
    // Changes come in between.
    peer.change(7);
    let large = [METADATA[..24].to_vec(), vec![b'x'; 2_500_000], METADATA[24..].to_vec()].concat();
    peer.serve(1, &large, 2);
    peer.serve(11, b"6: old\n", 0);
    peer.change(8);
    peer.serve(12, b"", 0);
    peer.send(&Changes::Rotate);
    peer.change(9);
    // A change in pieces is the same change.
    let late = Changes::Change { version: 10, text: b"late" }.packet();
    for byte in late.iter() {
        peer.0.write_all(&[*byte]).expect("it reads");
        thread::sleep(Duration::from_millis(1));
    }
    metalogger.wait_for_log("change log 1 downloaded", 1);
    // No signal that other programs heed ends it.
    process::signal(metalogger.pid(), "USR2");
    metalogger.wait_for_log("no new program is started", 1);
    wait_until("the last change", || metalogger.text("changelog_ml.0.mfs").contains("10: late\n"));
    drop(peer);
    let (peer, first) = master.accept();
    assert_eq!(first, Some(11));
    let folder = metalogger.stop();
    drop(peer);
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("it is there");
    assert_eq!(read("changelog_ml.0.mfs"), b"9: 1|CREATE(1):2\n10: late\n");
    assert_eq!(read("changelog_ml.1.mfs"), b"7: 1|CREATE(1):2\n8: 1|CREATE(1):2\n");
    assert!(read("metadata_ml.mfs.back") == large);
    assert_eq!(read("changelog_ml_back.0.mfs"), b"6: old\n");
    assert_eq!(read("changelog_ml_back.1.mfs"), b"");
    // A new process knows it too, and does not download the metadata again.
    let metalogger = Metalogger::start_in(folder, &master.address(), &[]);
    let (mut peer, first) = master.accept();
    assert_eq!(first, Some(11));
    peer.change(11);
    wait_until("the change", || metalogger.text("changelog_ml.0.mfs").contains("11: "));
    metalogger.stop();
    assert_eq!(peer.next(), None, "it has asked for something");
}

#[test]
fn a_change_that_is_missing_or_comes_twice_makes_it_begin_anew() {
    let master = Master::new();
    let metalogger = Metalogger::start("ml-gap", &master.address(), &[]);
    let (mut peer, _) = master.accept();
    peer.serve_all();
    let mut expected = None;
    for wrong in [9, 7, 5] {
        peer.change(7);
        assert_eq!(expected, None);
        peer.change(wrong);
        assert!(peer.next().is_none(), "the connection goes on after {wrong}");
        (peer, expected) = master.accept();
        assert_eq!(expected, None);
        // The metadata too begin anew.
        peer.serve_all();
        assert_eq!(metalogger.text("changelog_ml.0.mfs"), "");
    }
    metalogger.wait_for_log("begin anew", 3);
}

#[test]
fn a_download_with_too_many_wrong_crcs_is_given_up_and_the_log_goes_on() {
    let master = Master::new();
    let metalogger = Metalogger::start("ml-crc", &master.address(), &[]);
    let (mut peer, _) = master.accept();
    peer.expect_start(1);
    peer.send(&DownloadInfo::Length(10));
    for _ in 0..5 {
        let DownloadRequest { offset, .. } = peer.expect_request();
        let mut data = Data::new(&[0; 10]);
        data.crc.0 += 1;
        peer.send(&DownloadData { offset, data });
    }
    peer.expect_end();
    metalogger.wait_for_log("too many parts are damaged", 1);
    peer.change(3);
    wait_until("the change", || metalogger.text("changelog_ml.0.mfs").starts_with("3: "));
    assert_eq!(metalogger.text("metadata_ml.mfs.back"), "");
}

#[test]
fn bytes_that_are_no_message_of_a_master_end_the_connection_and_not_the_program() {
    let master = Master::new();
    let metalogger = Metalogger::start("ml-bytes", &master.address(), &[]);
    let packet = |kind: u32, body: &[u8]| {
        [&kind.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), body].concat()
    };
    let mut random = Random::new(17);
    let inputs = [
        packet(77, b""),    // an unknown type
        packet(0, &[0; 3]), // wrong lengths
        packet(51, &[0xff; 5]),
        packet(61, &[0; 7]),
        packet(63, &[0; 15]),
        packet(61, &[0; 8]), // an answer to no question
        packet(51, b"\xff\0\0\0\0\0\0\0\x07no end"),
        [0, 0, 0, 51, 0x7f, 0xff, 0xff, 0xff].to_vec(), // 2 GiB
        random.bytes(100_000),
    ];
    for (count, input) in inputs.iter().enumerate() {
        let (mut peer, first) = master.accept();
        assert_eq!(first, None);
        // It asks for the metadata, which the master does not answer.
        peer.expect_start(1);
        if count == 5 {
            peer.send(&DownloadInfo::Length(8));
            peer.expect_request();
            peer.send(&DownloadData { offset: 0, data: Data::new(&[0; 8]) });
            peer.expect_end();
        }
        let _ = peer.0.write_all(input);
        while peer.next().is_some() {}
    }
    master.accept();
    assert!(process::memory_bytes(metalogger.pid()).expect("it runs") < 64 << 20);
    metalogger.stop();
}

#[test]
fn signs_of_life_without_end_cost_nothing_and_silence_ends_the_connection() {
    let master = Master::new();
    let metalogger = Metalogger::start("ml-nops", &master.address(), &[]);
    let (mut peer, _) = master.accept();
    peer.serve_all();
    let nops = Nop::default().packet().repeat(10_000);
    for _ in 0..50 {
        peer.0.write_all(&nops).expect("it reads");
    }
    peer.change(1);
    wait_until("the change", || metalogger.text("changelog_ml.0.mfs").starts_with("1: "));
    assert!(process::memory_bytes(metalogger.pid()).expect("it runs") < 64 << 20);
    // From now on the master is silent; the metalogger gives signs of life meanwhile.
    let silent = Instant::now();
    assert!(peer.next().is_none());
    let waited = silent.elapsed().as_secs_f64();
    assert!(waited > 8.0, "closed after {waited} s");
    let (_, first) = master.accept();
    assert_eq!(first, Some(2));
    metalogger.stop();
}

#[test]
fn changes_wait_for_a_disk_that_is_full() {
    let test = "scripted::changes_wait_for_a_disk_that_is_full";
    let disk = "mount -t tmpfs -o size=512k tmpfs /mnt\nexport TMPDIR=/mnt\nip link set lo up";
    if !in_namespace(test, disk) {
        return;
    }
    let master = Master::new();
    let metalogger = Metalogger::start("ml-full", &master.address(), &[]);
    let (mut peer, _) = master.accept();
    peer.serve_all();
    let text = [b'x'; 1000];
    for version in 1..=1000 {
        peer.send(&Changes::Change { version, text: &text });
    }
    // It has tried at least once since.
    thread::sleep(Duration::from_secs(2));
    let count = |metalogger: &Metalogger| metalogger.text("changelog_ml.0.mfs").lines().count();
    assert!(count(&metalogger) < 1000);
    let room = Command::new("mount").args(["-o", "remount,size=8m", "/mnt"]).status();
    assert!(room.expect("it starts").success());
    wait_until("the last change", || count(&metalogger) == 1000);
    let log = metalogger.text("changelog_ml.0.mfs");
    for (place, line) in log.lines().enumerate() {
        assert!(line.starts_with(&format!("{}: x", place + 1)) && line.ends_with('x'), "{line}");
    }
    metalogger.stop();
}
