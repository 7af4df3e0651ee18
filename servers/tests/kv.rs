//! The store by itself: who waits, who listens, what ends, what is refused.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE};
use testkit::Random;

const KV: &str = env!("CARGO_BIN_EXE_kv");

fn start(more: &[&str]) -> Daemon {
    Daemon::start(&[], KV, &[&["--listen", "127.0.0.1:0"], more].concat())
}

/// A client that knows what it will be told.
struct Talk(TcpStream);

impl Talk {
    fn to(server: &Daemon) -> Self {
        Self(server.connect())
    }

    fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).expect("it takes bytes");
    }

    #[track_caller]
    fn hears(&mut self, expected: &str) {
        let mut said = vec![0; expected.len()];
        let mut filled = 0;
        while filled < said.len() {
            match self.0.read(&mut said[filled..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        assert_eq!(String::from_utf8_lossy(&said[..filled]), expected);
    }

    #[track_caller]
    fn asks(&mut self, line: &str, expected: &str) {
        self.say(line);
        self.hears(expected);
    }

    /// Nothing has been said: what is asked now is answered next.
    #[track_caller]
    fn heard_nothing(&mut self) {
        self.asks("ping", "+PONG\r\n");
    }

    /// Waits until it is closed; returns what was said before.
    fn last_words(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        match self.0.read_to_end(&mut said) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("it was not closed: {error}"),
        }
        said
    }
}

/// Waits until `INFO` says so of the server.
#[track_caller]
fn until(server: &Daemon, fact: &str) {
    let start = Instant::now();
    loop {
        let mut talk = Talk::to(server);
        talk.say("info\r\nquit");
        let said = String::from_utf8_lossy(&talk.last_words()).into_owned();
        if said.contains(fact) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{fact} did not come true: {said}");
    }
}

#[test]
fn blocked_clients_are_served_in_the_order_they_came() {
    let server = start(&[]);
    let mut waiting: Vec<Talk> = (0..3).map(|_| Talk::to(&server)).collect();
    for (number, talk) in waiting.iter_mut().enumerate() {
        talk.say("blpop other list 0");
        until(&server, &format!("blocked_clients:{}\r\n", number + 1));
    }
    Talk::to(&server).asks("rpush list a b", ":2\r\n");
    waiting[0].hears("*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
    waiting[1].hears("*2\r\n$4\r\nlist\r\n$1\r\nb\r\n");
    Talk::to(&server).asks("rpush other c", ":1\r\n");
    waiting[2].hears("*2\r\n$5\r\nother\r\n$1\r\nc\r\n");
    waiting.iter_mut().for_each(Talk::heard_nothing);
    Talk::to(&server).asks("exists list other", ":0\r\n");
}

#[test]
fn a_blocked_client_answers_later_what_it_is_asked_meanwhile() {
    let server = start(&[]);
    let mut talk = Talk::to(&server);
    talk.say("blpop list 0\r\nset k v\r\nget k");
    until(&server, "blocked_clients:1\r\n");
    let mut other = Talk::to(&server);
    other.asks("get k", "$-1\r\n");
    other.asks("rpush list x", ":1\r\n");
    talk.hears("*2\r\n$4\r\nlist\r\n$1\r\nx\r\n+OK\r\n$1\r\nv\r\n");
}

#[test]
fn a_client_that_writes_all_of_a_pipeline_before_it_reads_is_answered() {
    const COUNT: usize = 300_000;
    for backend in ["epoll", "epoll-lt", "poll", "select"] {
        let server = start(&["--backend", backend]);
        let value = "x".repeat(100);
        let mut talk = Talk::to(&server);
        talk.asks(&format!("set k {value}"), "+OK\r\n");
        talk.0.write_all(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(COUNT)).expect(backend);
        // Others are answered meanwhile and afterwards.
        Talk::to(&server).heard_nothing();
        let reply = format!("$100\r\n{value}\r\n");
        for _ in 0..COUNT / 1000 {
            talk.hears(&reply.repeat(1000));
        }
        talk.heard_nothing();
        until(&server, "mem_clients_normal:0\r\n");
    }
}

#[test]
fn a_client_that_leaves_too_much_unread_is_closed_in_the_words_of_redis() {
    let server = start(&["--normal-backlog", "1mb"]);
    let mut other = Talk::to(&server);
    other.asks(&format!("set k {}", "x".repeat(1000)), "+OK\r\n");
    other.asks(
        "config get client-output-buffer-limit",
        "*2\r\n$26\r\nclient-output-buffer-limit\r\n$38\r\nnormal 1048576 0 0 pubsub 33554432 0 0\r\n",
    );
    let mut greedy = Talk::to(&server);
    greedy.asks("client setname greedy", "+OK\r\n");
    // The kernel takes some megabytes for a peer that does not read.
    let writer = greedy.0.try_clone().expect("there are descriptors");
    let writing = std::thread::spawn(move || {
        let mut writer = writer;
        let gets = b"get k\r\n".repeat(10_000);
        while writer.write_all(&gets).is_ok() {}
    });
    until(&server, "client_output_buffer_limit_disconnections:1\r\n");
    other.say("client list\r\nquit");
    let list = String::from_utf8_lossy(&other.last_words()).into_owned();
    assert!(!list.contains("greedy"), "{list}");
    greedy.last_words();
    writing.join().expect("it ends");
    let (_, log) = server.stop();
    let words = "scheduled to be closed ASAP for overcoming of output buffer limits.";
    let line = log.lines().find(|line| line.contains(words)).expect(&log);
    assert!(line.contains("Client id=") && line.contains("name=greedy"), "{line}");
}

#[test]
fn what_a_slow_command_takes_counts_for_those_behind_it() {
    let server = start(&[]);
    let mut talk = Talk::to(&server);
    // All of it is heard at once.
    let lines = [
        "set t 1 px 50",
        "expire list 100",
        "debug sleep 0.1",
        "pttl t",
        "exists t",
        "setnx t 2",
        "pexpire t 50",
        "debug sleep 0.1",
        "ttl t",
        "getdel t",
    ];
    talk.asks(
        &lines.join("\r\n"),
        "+OK\r\n:0\r\n+OK\r\n:-2\r\n:0\r\n:1\r\n:1\r\n+OK\r\n:-2\r\n$-1\r\n",
    );
    // A wait begins when its command does.
    let start = Instant::now();
    talk.asks("debug sleep 0.3\r\nblpop list 0.2", "+OK\r\n*-1\r\n");
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
}

#[test]
fn a_wait_ends_in_time_and_not_before() {
    let server = start(&[]);
    let mut talk = Talk::to(&server);
    let start = Instant::now();
    talk.asks("blpop list 0.2", "*-1\r\n");
    assert!(start.elapsed() >= Duration::from_millis(200));
    talk.asks("blmove list to left right 0.01\r\nping", "*-1\r\n+PONG\r\n");
    talk.asks("rpush list x", ":1\r\n");
    talk.asks("llen list", ":1\r\n");
}

#[test]
fn a_blocked_client_that_leaves_is_forgotten() {
    let server = start(&[]);
    let mut leaver = Talk::to(&server);
    leaver.say("blpop list 0");
    until(&server, "blocked_clients:1\r\n");
    leaver.0.shutdown(Shutdown::Write).expect("it can be shut down");
    until(&server, "blocked_clients:0\r\n");
    let mut other = Talk::to(&server);
    other.asks("rpush list x", ":1\r\n");
    other.asks("lpop list", "$1\r\nx\r\n");
}

#[test]
fn a_blocked_client_that_asked_for_much_and_left_is_forgotten_on_every_backend() {
    for backend in ["epoll", "epoll-lt", "poll", "select"] {
        let server = start(&["--idle-timeout", "off", "--backend", backend]);
        let mut leaver = Talk::to(&server);
        leaver.say(&format!("blpop list 0\r\n{}", "echo something\r\n".repeat(20_000)));
        until(&server, "blocked_clients:1\r\n");
        leaver.0.shutdown(Shutdown::Write).expect("it can be shut down");
        until(&server, "blocked_clients:0\r\n");
    }
}

#[test]
fn a_browser_is_let_go_before_it_says_commands() {
    let server = start(&[]);
    for first in ["POST / HTTP/1.1", "Host: 127.0.0.1:6379"] {
        let mut browser = Talk::to(&server);
        browser.say(&format!("{first}\r\nset k v"));
        assert_eq!(browser.last_words(), b"");
    }
    Talk::to(&server).asks("exists k", ":0\r\n");
}

#[test]
fn moves_that_feed_one_another_are_all_done() {
    let server = start(&[]);
    let mut first = Talk::to(&server);
    first.say("blmove a b left right 0");
    until(&server, "blocked_clients:1\r\n");
    let mut second = Talk::to(&server);
    second.say("hello 3\r\nbrpoplpush b c 0");
    until(&server, "blocked_clients:2\r\n");
    let mut third = Talk::to(&server);
    third.say("brpop c 0");
    until(&server, "blocked_clients:3\r\n");
    Talk::to(&server).asks("lpush a x", ":1\r\n");
    first.hears("$1\r\nx\r\n");
    third.hears("*2\r\n$1\r\nc\r\n$1\r\nx\r\n");
    Talk::to(&server).asks("exists a b c", ":0\r\n");
}

#[test]
fn a_push_within_a_transaction_serves_when_all_of_it_is_done() {
    let server = start(&[]);
    let mut waiting = Talk::to(&server);
    waiting.say("blpop list 0");
    until(&server, "blocked_clients:1\r\n");
    let mut talk = Talk::to(&server);
    talk.asks("multi", "+OK\r\n");
    for line in ["rpush list a", "lpush list b", "blpop none 0"] {
        talk.asks(line, "+QUEUED\r\n");
    }
    talk.asks("exec", "*3\r\n:1\r\n:2\r\n*-1\r\n");
    waiting.hears("*2\r\n$4\r\nlist\r\n$1\r\nb\r\n");
}

#[test]
fn a_transaction_fails_when_somebody_else_has_changed_what_it_watches() {
    let server = start(&[]);
    let (mut one, mut other) = (Talk::to(&server), Talk::to(&server));
    let changes = [
        ("set k a", "+OK\r\n"),
        ("append k b", ":2\r\n"),
        ("expire k 100", ":1\r\n"),
        ("persist k", ":1\r\n"),
        ("del k", ":1\r\n"),
        ("sadd k a", ":1\r\n"),
        ("srem k a", ":1\r\n"),
        ("hset k a b", ":1\r\n"),
        ("rename k x", "+OK\r\n"),
        ("rename x k", "+OK\r\n"),
        ("flushall", "+OK\r\n"),
        ("rpush k a b", ":2\r\n"),
        ("lpop k", "$1\r\na\r\n"),
        ("lset k 0 c", "+OK\r\n"),
    ];
    for (change, reply) in changes {
        one.asks("watch k\r\nmulti\r\nping", "+OK\r\n+OK\r\n+QUEUED\r\n");
        other.asks(change, reply);
        one.asks("exec", "*-1\r\n");
    }
    one.asks("watch k none\r\nmulti\r\nping", "+OK\r\n+OK\r\n+QUEUED\r\n");
    other.asks("sinterstore none a b\r\nltrim none 0 1\r\ndel none", ":0\r\n+OK\r\n:0\r\n");
    other.asks("get none\r\nllen k\r\nlrem k 0 zz\r\nset x y", "$-1\r\n:1\r\n:0\r\n+OK\r\n");
    one.asks("exec", "*1\r\n+PONG\r\n");
    other.asks("set k v px 1000", "+OK\r\n");
    one.asks("watch k\r\nmulti\r\nping", "+OK\r\n+OK\r\n+QUEUED\r\n");
    until(&server, "expired_keys:1\r\n");
    one.asks("exec", "*-1\r\n");
}

#[test]
fn keys_end_whether_anybody_looks_or_not() {
    let server = start(&[]);
    let mut talk = Talk::to(&server);
    for number in 0..1000 {
        talk.asks(&format!("set k{number} v px 50"), "+OK\r\n");
    }
    talk.asks("set stays v", "+OK\r\n");
    until(&server, "expired_keys:1000\r\n");
    talk.asks("dbsize", ":1\r\n");
    talk.asks("set k v px 1", "+OK\r\n");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(3) {
        std::thread::yield_now();
    }
    talk.asks("get k\r\nexists k\r\nttl k\r\nkeys k*", "$-1\r\n:0\r\n:-2\r\n*0\r\n");
}

#[test]
fn a_message_reaches_every_subscriber_in_its_own_version() {
    let server = start(&[]);
    let mut two = Talk::to(&server);
    two.asks("subscribe news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    two.asks(
        "get k",
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                       QUIT / RESET are allowed in this context\r\n",
    );
    two.asks("ping", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    let mut three = Talk::to(&server);
    three.say("hello 3");
    three.say("psubscribe n*");
    three.say("echo mark");
    let mut seen = Vec::new();
    while !seen.ends_with(b"$4\r\nmark\r\n") {
        let mut byte = [0];
        three.0.read_exact(&mut byte).expect("it answers");
        seen.push(byte[0]);
    }
    Talk::to(&server).asks("publish news hi", ":2\r\n");
    two.hears("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    let push = ">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
    three.hears(push);
    three.asks("publish news me", &(push.replace("$2\r\nhi", "$2\r\nme") + ":2\r\n"));
    two.hears("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nme\r\n");
    two.asks("unsubscribe", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
    two.asks("get k", "$-1\r\n");
    drop(three);
    until(&server, "pubsub_patterns:0\r\n");
    Talk::to(&server).asks("publish news gone", ":0\r\n");
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_and_the_others_lose_nothing() {
    const READERS: usize = 20;
    const MESSAGES: usize = 20_000;
    let server = start(&["--pubsub-backlog", "1mb"]);
    let confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    let mut readers: Vec<Talk> = (0..READERS).map(|_| Talk::to(&server)).collect();
    readers.iter_mut().for_each(|reader| reader.asks("subscribe c", confirmed));
    let mut stalled = Talk::to(&server);
    stalled.asks("subscribe c", confirmed);
    let message = "x".repeat(1024);
    std::thread::scope(|scope| {
        for reader in &mut readers {
            let message = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1024\r\n{message}\r\n");
            scope.spawn(move || (0..MESSAGES).for_each(|_| reader.hears(&message)));
        }
        // A few at a time, so that those who read can keep up.
        let mut publisher = Talk::to(&server);
        let batch = format!("publish c {message}\r\n").repeat(20);
        for _ in 0..MESSAGES / 20 {
            publisher.0.write_all(batch.as_bytes()).expect("it takes bytes");
            for _ in 0..20 {
                let mut reply = [0; 5];
                publisher.0.read_exact(&mut reply).expect("it answers");
                assert!(reply == *b":21\r\n" || reply == *b":20\r\n");
            }
        }
    });
    let heard = stalled.last_words().len();
    assert!(heard < MESSAGES * 1024, "the one that did not read was told all of it: {heard}");
    until(&server, "connected_clients:21\r\n");
    let memory = server.memory();
    assert!(memory < 30 << 20, "{memory} bytes are left of {MESSAGES} messages");
}

#[test]
fn clients_can_be_named_listed_and_killed() {
    let server = start(&[]);
    let (mut one, mut two) = (Talk::to(&server), Talk::to(&server));
    one.asks("client setname boss\r\nclient getname", "+OK\r\n$4\r\nboss\r\n");
    one.asks("client id", ":1\r\n");
    two.asks("client id", ":2\r\n");
    two.say("blpop x 0");
    until(&server, "blocked_clients:1\r\n");
    one.say("client list\r\necho mark");
    let mut list = Vec::new();
    while !list.ends_with(b"mark\r\n") {
        let mut byte = [0];
        one.0.read_exact(&mut byte).expect("it answers");
        list.push(byte[0]);
    }
    let list = String::from_utf8_lossy(&list).into_owned();
    assert!(list.contains("id=1 ") && list.contains("name=boss") && list.contains("flags=b"));
    one.asks("client kill id 2", ":1\r\n");
    assert!(two.last_words().is_empty());
    let address = one.0.local_addr().expect("it has one");
    one.asks("client reply skip\r\nping\r\nping", "+PONG\r\n");
    one.asks(
        "client reply off\r\nset k v\r\nping\r\nclient reply on\r\nget k",
        "+OK\r\n$1\r\nv\r\n",
    );
    one.asks(&format!("client kill {address}"), "+OK\r\n");
    assert!(one.last_words().is_empty());
}

#[test]
fn nothing_is_done_before_the_password() {
    let server = start(&["--requirepass", "secret"]);
    let mut talk = Talk::to(&server);
    talk.asks("get k", "-NOAUTH Authentication required.\r\n");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    talk.asks("auth nosecret", wrong);
    talk.asks("auth default secre", wrong);
    talk.asks("auth secret\r\nget k", "+OK\r\n$-1\r\n");
    let mut other = Talk::to(&server);
    other.0.write_all(b"*2\r\n$3\r\nGET\r\n$20000\r\n").expect("it takes bytes");
    let said = String::from_utf8_lossy(&other.last_words()).into_owned();
    assert_eq!(said, "-ERR Protocol error: unauthenticated bulk length\r\n");
    let mut third = Talk::to(&server);
    third.say("hello 3 auth default secret");
    third.hears("%7\r\n");
}

#[test]
fn full_memory_refuses_what_adds_to_it_and_nothing_else() {
    let server = start(&["--maxmemory", "1mb"]);
    let mut talk = Talk::to(&server);
    let value = "x".repeat(50_000);
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    for number in 0..21 {
        talk.asks(&format!("set k{number} {value}"), "+OK\r\n");
    }
    talk.asks(&format!("set more {value}"), oom);
    talk.asks("rpush list a", oom);
    talk.asks("strlen k0\r\ndel k0 k1", ":50000\r\n:2\r\n");
    talk.asks("rpush list a", ":1\r\n");
    talk.asks("flushall", "+OK\r\n");
    until(&server, "used_memory:0\r\n");
}

#[test]
fn the_memory_of_all_databases_counts() {
    let server = start(&["--maxmemory", "1mb"]);
    let (mut one, mut other) = (Talk::to(&server), Talk::to(&server));
    let value = "x".repeat(50_000);
    other.asks("select 9", "+OK\r\n");
    one.asks(&format!("set k10 {value}"), "+OK\r\n");
    for number in 0..10 {
        one.asks(&format!("set k{number} {value}"), "+OK\r\n");
        other.asks(&format!("set k{number} {value}"), "+OK\r\n");
    }
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    one.asks("set more x\r\ncopy k0 k0 db 1", &oom.repeat(2));
    other.asks("set more x", oom);
    one.asks("move k0 3\r\nset more x", &format!(":1\r\n{oom}"));
    other.asks("flushdb", "+OK\r\n");
    one.asks("set more x", "+OK\r\n");
    other.asks("swapdb 3 9\r\nstrlen k0", "+OK\r\n:50000\r\n");
    one.asks("dbsize\r\nflushall", ":11\r\n+OK\r\n");
    until(&server, "used_memory:0\r\n");
}

#[test]
fn what_all_keys_take_is_what_is_used() {
    let server = start(&[]);
    let mut talk = Talk::to(&server);
    let fill = [
        "set a 1",
        "append a xyz",
        "rpush l 1 2 3",
        "hset h f v g w",
        "sadd s a b",
        "set e v ex 99",
    ];
    fill.iter().for_each(|line| talk.say(line));
    talk.say("quit");
    talk.last_words();
    let mut talk = Talk::to(&server);
    for key in ["a", "l", "h", "s", "e"] {
        talk.say(&format!("memory usage {key}"));
    }
    talk.say("quit");
    let said = String::from_utf8(talk.last_words()).expect("it is text");
    let sizes = said.lines().filter_map(|line| line.strip_prefix(':')?.parse::<u64>().ok());
    let (count, sum) = sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size));
    assert_eq!(count, 5, "{said}");
    until(&server, &format!("used_memory:{sum}\r\n"));
}

#[test]
fn what_programs_look_for_in_info_is_there() {
    let server = start(&[]);
    for fact in
        ["arch_bits:64", "loading:0", "role:master", "cluster_enabled:0", "used_cpu_user:0."]
    {
        until(&server, fact);
    }
    let mut talk = Talk::to(&server);
    talk.say("debug sleep 0.05\r\ninfo commandstats\r\ninfo cpu\r\nquit");
    let said = String::from_utf8(talk.last_words()).expect("it is text");
    let sleep = said.split("cmdstat_debug|sleep:calls=1,usec=").nth(1).expect("it was counted");
    let (usec, _) = sleep.split_once(',').expect("more is told");
    assert!(usec.parse::<u64>().is_ok_and(|usec| usec >= 50_000), "{said}");
    for name in ["used_cpu_sys", "used_cpu_sys_children", "used_cpu_user_main_thread"] {
        assert!(said.contains(&format!("{name}:")), "{said}");
    }
    let mut talk = Talk::to(&server);
    talk.say("info\r\nquit");
    let said = String::from_utf8(talk.last_words()).expect("it is text");
    assert!(!said.contains("cmdstat"), "it is told unasked: {said}");
}

#[test]
fn what_is_used_is_counted_down_to_nothing() {
    let server = start(&[]);
    let mut talk = Talk::to(&server);
    let script = [
        "set a 1",
        "append a xyz",
        "setrange a 100 x",
        "incr n",
        "set a short",
        "append a more",
        "rpush l 1 2 3 4 5 6",
        "lset l 0 longer",
        "linsert l after 3 x",
        "lrem l 0 3",
        "ltrim l 1 3",
        "lmove l l2 left right",
        "lpop l2",
        "hset h a b c d e f",
        "hset h a longer",
        "hdel h a",
        "hincrby h z 5",
        "sadd s a b c d",
        "srem s a",
        "spop s",
        "sadd t b c x",
        "sunionstore u s t",
        "sinterstore u s t",
        "smove t s x",
        "expire h 100",
        "persist h",
        "expire s 100",
        "rename h hh",
        "set e v px 1",
        "getdel a",
        "rpush big 1",
        "rename big big2",
    ];
    talk.say(&script.join("\r\n"));
    talk.say("del a n l l2 h hh s t u e big big2\r\nquit");
    talk.last_words();
    until(&server, "used_memory:0\r\n");
}

#[test]
fn bad_input_is_refused_in_the_words_of_redis_and_ends_only_its_connection() {
    let server = start(&[]);
    let mut neighbour = Talk::to(&server);
    neighbour.asks("set k v", "+OK\r\n");
    let inputs: [(&[u8], &str); 7] = [
        (
            b"*-1\r\n*0\r\n\r\nping\r\n*x\r\n",
            "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n",
        ),
        (b"*99999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$abc\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        (b"set \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ];
    for (input, expected) in inputs {
        let mut talk = Talk::to(&server);
        talk.0.write_all(input).expect("it takes bytes");
        let said = String::from_utf8_lossy(&talk.last_words()).into_owned();
        assert_eq!(said, expected, "{}", input.escape_ascii());
    }
    for seed in 1..50 {
        let mut talk = Talk::to(&server);
        // It may be closed before all of it is taken.
        let _ = talk.0.write_all(&Random::new(seed).bytes(200_000));
        let _ = talk.0.shutdown(Shutdown::Write);
        talk.last_words();
    }
    neighbour.asks("get k", "$1\r\nv\r\n");
}

#[test]
fn promises_of_much_cost_nothing_and_silence_in_the_middle_ends() {
    let server = start(&["--idle-timeout", "300ms"]);
    let before = server.memory();
    let mut talks: Vec<Talk> = (0..100).map(|_| Talk::to(&server)).collect();
    for talk in &mut talks {
        talk.0.write_all(b"*2\r\n$3\r\nGET\r\n$536870912\r\nhalf").expect("it takes bytes");
    }
    let mut subscriber = Talk::to(&server);
    subscriber.asks("subscribe c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 8 << 20, "100 promises took {grown} bytes");
    talks.iter_mut().for_each(|talk| assert!(talk.last_words().is_empty()));
    // Whoever listens may be silent.
    Talk::to(&server).asks("publish c x", ":1\r\n");
    subscriber.hears("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n");
}

#[test]
fn stopping_does_not_wait_for_those_who_wait() {
    let server = start(&[]);
    let (mut blocked, mut subscriber) = (Talk::to(&server), Talk::to(&server));
    blocked.say("blpop x 0");
    subscriber.asks("subscribe c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    until(&server, "blocked_clients:1\r\n");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(blocked.last_words().is_empty() && subscriber.last_words().is_empty());
}
