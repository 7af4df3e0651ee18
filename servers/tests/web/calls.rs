//! System calls of responses, as strace sees them.

use std::io::{Read, Write};

use testkit::has_peer;

use crate::common::Daemon;
use crate::{WEB, folder, write};

const REQUESTS: usize = 30;
/// Larger than what is sent from memory.
const SIZE: usize = 66 * 1024;

#[test]
fn a_response_with_a_file_takes_one_call_for_its_head_and_one_for_its_body() {
    if !has_peer("strace") {
        return;
    }
    let folder = folder("web-calls", &[]);
    write(&folder, "large", &[b'x'; SIZE]);
    let (trace, root) = (folder.file("trace"), folder.file("site"));
    let calls = "-etrace=epoll_pwait2,epoll_wait,read,sendto,sendmsg,sendfile,openat2,statx,newfstatat,rt_sigaction";
    let wrapper = ["strace", "-D", "-f", "-qq", "-o", &trace, calls];
    let args =
        ["--listen", "127.0.0.1:0", "--root", &root, "--cache-valid", "60s", "--backend", "epoll"];
    let server = Daemon::start(&wrapper, WEB, &args);
    let mut client = server.connect();
    let mut exchange = |count: usize| {
        let request = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(&request.repeat(count)).expect("it reads");
        let (mut left, mut room) = (count * SIZE, [0; 64 * 1024]);
        while left > 0 {
            let length = client.read(&mut room).expect("it answers");
            assert!(length > 0, "it ends with {left} bytes missing");
            // Heads have no such byte.
            left -= room[..length].iter().filter(|it| **it == b'x').count();
        }
    };
    exchange(1);
    let read = || std::fs::read_to_string(&trace).expect("strace writes it");
    let before = read().len();
    exchange(REQUESTS);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    let all = read();
    let later = &all[before..];
    let count = |call: &str| later.lines().filter(|line| line.contains(call)).count();
    assert_eq!(count("sendmsg("), REQUESTS, "{later}");
    assert_eq!(count("MSG_MORE"), REQUESTS, "{later}");
    // One that fills the socket is followed by others.
    let waits = count("epoll_pwait2(") + count("epoll_wait(");
    let bodies = count("sendfile(");
    assert!((REQUESTS..=REQUESTS + waits).contains(&bodies), "{bodies} in {waits} turns: {later}");
    // The cache knows the file.
    assert_eq!(count("openat2(") + count("statx(") + count("fstatat("), 0, "{later}");
    // Once in a turn, which sends several.
    let looks = count("rt_sigaction(SIGPIPE, NULL");
    assert!(looks < bodies, "{looks} for {bodies}: {later}");
}
