//! Restarts of servers with several loops: any number of them is replaced by any other number, and no
//! client notices (P11).

mod common;

use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::PATIENCE;
use common::chain::{Chain, OnDrop, ask, converse, install, visit};
use testkit::{Folder, process, wait_until};

const UPPERCASE: &str = env!("CARGO_BIN_EXE_uppercase");
const WAYS: [&str; 3] = ["handover", "reuseport", "shared"];
const STREAMS: u64 = 200;

/// Copies of a program that start each other with other arguments: each takes over from the one
/// before it.
struct Programs {
    folder: Folder,
    count: usize,
}

impl Programs {
    fn new(name: &str) -> Self {
        let programs = Self { folder: Folder::new(name), count: 0 };
        process::copy_program(UPPERCASE, &programs.present());
        programs
    }

    /// Returns the file of the present program.
    fn present(&self) -> String {
        self.folder.file(&format!("program-{}", self.count))
    }

    /// Makes the present program start the next one with `args`.
    fn follow(&mut self, args: &[&str]) {
        let present = self.present();
        self.count += 1;
        let next = self.present();
        process::copy_program(UPPERCASE, &next);
        install(&present, &format!("#!/bin/sh\nexec {next} {}\n", args.join(" ")));
    }
}

#[test]
fn any_number_of_loops_is_replaced_by_any_other_under_load() {
    for how in WAYS {
        let mut programs = Programs::new(&format!("loops-{how}"));
        let args = |threads| ["--listen", "127.0.0.1:0", "--threads", threads, "--accept", how];
        let mut chain = Chain::start(&programs.present(), &args("4"));
        let address = chain.daemon.addresses[0].clone();
        let (stops, asked) = (AtomicBool::new(false), AtomicU64::new(0));
        let visits = thread::scope(|scope| {
            let visitors: Vec<_> =
                (0..2).map(|_| scope.spawn(|| visit(&address, 1000, &stops))).collect();
            for _ in 0..2 {
                scope.spawn(|| converse(&address, STREAMS as usize / 2, &asked, &stops));
            }
            let stop = OnDrop(|| stops.store(true, Ordering::Relaxed));
            let answered = |count| {
                let until = asked.load(Ordering::Relaxed) + count;
                wait_until("answers", || asked.load(Ordering::Relaxed) >= until);
            };
            answered(STREAMS);
            for threads in ["4", "4", "2", "1", "3", "8", "1"] {
                programs.follow(&args(threads));
                chain.restart();
                answered(STREAMS);
            }
            drop(stop);
            visitors.into_iter().map(|it| it.join().expect("nothing was refused")).sum::<u64>()
        });
        let log = chain.daemon.log();
        println!("{how}: 7 restarts, {visits} connections that were made");
        assert!(visits > 100, "{visits} connections");
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
        // That of a visitor may be ending, and then it stays to its end.
        let handed_over = log.lines().filter_map(|line| line.split_once("handed over: "));
        for (_, rest) in handed_over {
            let count: u64 = rest.split(' ').next().expect("a word").parse().expect("a number");
            assert!(count >= STREAMS, "{how}: {rest}");
        }
    }
}

#[test]
fn connections_are_spread_over_the_new_loops_and_all_kinds_of_sockets_go_on() {
    for how in WAYS {
        let folder = Folder::new("loops-sockets");
        let (path, datagrams) = (folder.file("s"), folder.file("d"));
        let (unix, dgram) = (format!("unix:{path}"), format!("unix-dgram:{datagrams}"));
        let mut args = vec!["--listen", "127.0.0.1:0", "--listen", "udp://127.0.0.1:0"];
        args.extend(["--listen", &unix, "--listen", &dgram, "--threads", "3", "--accept", how]);
        let mut chain = Chain::start(UPPERCASE, &args);
        let udp = chain.daemon.addresses[1].strip_prefix("udp://").expect("it is UDP").to_owned();
        let mut streams: Vec<_> = (0..30).map(|_| chain.daemon.connect()).collect();
        let mut local = UnixStream::connect(&path).expect("it accepts");
        local.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // Several senders, so that the datagrams of some go to each loop.
        let senders: Vec<_> = (0..8)
            .map(|_| {
                let sender = UdpSocket::bind("127.0.0.1:0").expect("it binds");
                sender.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                sender.connect(&udp).expect("it connects");
                sender
            })
            .collect();
        for _ in 0..2 {
            streams.iter_mut().for_each(|stream| ask(stream, b"before", b"BEFORE"));
            ask(&mut local, b"before", b"BEFORE");
            chain.restart();
            streams.iter_mut().for_each(|stream| ask(stream, b"after", b"AFTER"));
            ask(&mut local, b"after", b"AFTER");
            for sender in &senders {
                sender.send(b"datagram").expect("it is sent");
                let mut answer = [0; 16];
                assert_eq!(sender.recv(&mut answer).expect("it is answered"), 8, "{how}");
                assert_eq!(&answer[..8], b"DATAGRAM");
            }
            ask(&mut chain.daemon.connect(), b"new", b"NEW");
            ask(&mut UnixStream::connect(&path).expect("it accepts"), b"new", b"NEW");
            assert!(Path::new(&path).exists() && Path::new(&datagrams).exists());
        }
        let before = chain.daemon.log().len();
        process::signal(chain.process, "USR1");
        wait_until("the counters", || chain.daemon.log()[before..].contains("all loops: "));
        let log = chain.daemon.log();
        for index in 0..3 {
            let (_, rest) =
                log[before..].split_once(&format!("loop {index}: connections=")).expect("a line");
            let count: u32 = rest.split(' ').next().expect("a word").parse().expect("a number");
            // 31 were handed over, and two others may not have ended yet.
            assert!((10..=13).contains(&count), "{how}: loop {index} has {count}: {log}");
        }
        drop((streams, local));
        process::signal(chain.process, "TERM");
        wait_until("the end of the last program", || !process::runs(chain.process));
        assert!(!Path::new(&path).exists() && !Path::new(&datagrams).exists(), "no file is left");
        assert!(!chain.daemon.log().contains("WARN"), "{}", chain.daemon.log());
    }
}
