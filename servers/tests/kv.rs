//! Tests of `kv` alone: blocked clients, subscribers, expiry, refusals.

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

/// A client that checks the replies.
struct Client(TcpStream);

impl Client {
    fn connect(server: &Daemon) -> Self {
        Self(server.connect())
    }

    fn send(&mut self, line: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).expect("it takes bytes");
    }

    #[track_caller]
    fn receives(&mut self, expected: &str) {
        let mut output = vec![0; expected.len()];
        let mut filled = 0;
        while filled < output.len() {
            match self.0.read(&mut output[filled..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        assert_eq!(String::from_utf8_lossy(&output[..filled]), expected);
    }

    #[track_caller]
    fn check(&mut self, line: &str, expected: &str) {
        self.send(line);
        self.receives(expected);
    }

    /// Checks that no message is pending: the next reply is the one to this request.
    #[track_caller]
    fn receives_nothing(&mut self) {
        self.check("ping", "+PONG\r\n");
    }

    /// Waits until the server closes the connection. Returns its last output.
    fn read_to_end(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        match self.0.read_to_end(&mut output) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("it was not closed: {error}"),
        }
        output
    }
}

/// Waits until `INFO` contains `fact`.
#[track_caller]
fn until(server: &Daemon, fact: &str) {
    let start = Instant::now();
    loop {
        let mut client = Client::connect(server);
        client.send("info\r\nquit");
        let output = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        if output.contains(fact) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{fact} did not come true: {output}");
    }
}

#[test]
fn blocked_clients_are_served_in_order_of_arrival() {
    let server = start(&[]);
    let mut waiting: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send("blpop other list 0");
        until(&server, &format!("blocked_clients:{}\r\n", number + 1));
    }
    Client::connect(&server).check("rpush list a b", ":2\r\n");
    waiting[0].receives("*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
    waiting[1].receives("*2\r\n$4\r\nlist\r\n$1\r\nb\r\n");
    Client::connect(&server).check("rpush other c", ":1\r\n");
    waiting[2].receives("*2\r\n$5\r\nother\r\n$1\r\nc\r\n");
    waiting.iter_mut().for_each(Client::receives_nothing);
    Client::connect(&server).check("exists list other", ":0\r\n");
}

#[test]
fn requests_of_a_blocked_client_are_answered_after_its_wait() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    client.send("blpop list 0\r\nset k v\r\nget k");
    until(&server, "blocked_clients:1\r\n");
    let mut other = Client::connect(&server);
    other.check("get k", "$-1\r\n");
    other.check("rpush list x", ":1\r\n");
    client.receives("*2\r\n$4\r\nlist\r\n$1\r\nx\r\n+OK\r\n$1\r\nv\r\n");
}

#[test]
fn a_pipeline_may_be_written_whole_before_its_replies_are_read() {
    const COUNT: usize = 300_000;
    for backend in ["epoll", "epoll-lt", "poll", "select", "uring"] {
        let server = start(&["--backend", backend]);
        let value = "x".repeat(100);
        let mut client = Client::connect(&server);
        client.check(&format!("set k {value}"), "+OK\r\n");
        client.0.write_all(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(COUNT)).expect(backend);
        // Other clients are answered meanwhile and afterwards.
        Client::connect(&server).receives_nothing();
        let reply = format!("$100\r\n{value}\r\n");
        for _ in 0..COUNT / 1000 {
            client.receives(&reply.repeat(1000));
        }
        client.receives_nothing();
        until(&server, "mem_clients_normal:0\r\n");
    }
}

#[test]
fn too_much_unread_output_closes_the_client_with_the_log_message_of_redis() {
    let server = start(&["--normal-backlog", "1mb"]);
    let mut other = Client::connect(&server);
    other.check(&format!("set k {}", "x".repeat(1000)), "+OK\r\n");
    other.check(
        "config get client-output-buffer-limit",
        "*2\r\n$26\r\nclient-output-buffer-limit\r\n$38\r\nnormal 1048576 0 0 pubsub 33554432 0 0\r\n",
    );
    let mut greedy = Client::connect(&server);
    greedy.check("client setname greedy", "+OK\r\n");
    // The kernel buffers some megabytes for a peer that does not read.
    let writer = greedy.0.try_clone().expect("there are descriptors");
    let writing = std::thread::spawn(move || {
        let mut writer = writer;
        let gets = b"get k\r\n".repeat(10_000);
        while writer.write_all(&gets).is_ok() {}
    });
    until(&server, "client_output_buffer_limit_disconnections:1\r\n");
    other.send("client list\r\nquit");
    let list = String::from_utf8_lossy(&other.read_to_end()).into_owned();
    assert!(!list.contains("greedy"), "{list}");
    greedy.read_to_end();
    writing.join().expect("it ends");
    let (_, log) = server.stop();
    let words = "scheduled to be closed ASAP for overcoming of output buffer limits.";
    let line = log.lines().find(|line| line.contains(words)).expect(&log);
    assert!(line.contains("Client id=") && line.contains("name=greedy"), "{line}");
}

#[test]
fn the_time_of_a_slow_command_counts_for_later_commands() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    // The server receives all commands at once.
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
    client.check(
        &lines.join("\r\n"),
        "+OK\r\n:0\r\n+OK\r\n:-2\r\n:0\r\n:1\r\n:1\r\n+OK\r\n:-2\r\n$-1\r\n",
    );
    // A wait begins when its command runs.
    let start = Instant::now();
    client.check("debug sleep 0.3\r\nblpop list 0.2", "+OK\r\n*-1\r\n");
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
}

#[test]
fn a_wait_ends_at_its_timeout_and_not_earlier() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    let start = Instant::now();
    client.check("blpop list 0.2", "*-1\r\n");
    assert!(start.elapsed() >= Duration::from_millis(200));
    client.check("blmove list to left right 0.01\r\nping", "*-1\r\n+PONG\r\n");
    client.check("rpush list x", ":1\r\n");
    client.check("llen list", ":1\r\n");
}

#[test]
fn a_blocked_client_that_disconnects_is_removed() {
    let server = start(&[]);
    let mut leaver = Client::connect(&server);
    leaver.send("blpop list 0");
    until(&server, "blocked_clients:1\r\n");
    leaver.0.shutdown(Shutdown::Write).expect("it can be shut down");
    until(&server, "blocked_clients:0\r\n");
    let mut other = Client::connect(&server);
    other.check("rpush list x", ":1\r\n");
    other.check("lpop list", "$1\r\nx\r\n");
}

#[test]
fn a_blocked_client_with_many_requests_is_removed_when_it_disconnects_on_every_backend() {
    for backend in ["epoll", "epoll-lt", "poll", "select", "uring"] {
        let server = start(&["--idle-timeout", "off", "--backend", backend]);
        let mut leaver = Client::connect(&server);
        leaver.send(&format!("blpop list 0\r\n{}", "echo something\r\n".repeat(20_000)));
        until(&server, "blocked_clients:1\r\n");
        leaver.0.shutdown(Shutdown::Write).expect("it can be shut down");
        until(&server, "blocked_clients:0\r\n");
    }
}

#[test]
fn http_requests_close_the_connection_before_any_command_runs() {
    let server = start(&[]);
    for first in ["POST / HTTP/1.1", "Host: 127.0.0.1:6379"] {
        let mut browser = Client::connect(&server);
        browser.send(&format!("{first}\r\nset k v"));
        assert_eq!(browser.read_to_end(), b"");
    }
    Client::connect(&server).check("exists k", ":0\r\n");
}

#[test]
fn chained_moves_of_blocked_clients_all_run() {
    let server = start(&[]);
    let mut first = Client::connect(&server);
    first.send("blmove a b left right 0");
    until(&server, "blocked_clients:1\r\n");
    let mut second = Client::connect(&server);
    second.send("hello 3\r\nbrpoplpush b c 0");
    until(&server, "blocked_clients:2\r\n");
    let mut third = Client::connect(&server);
    third.send("brpop c 0");
    until(&server, "blocked_clients:3\r\n");
    Client::connect(&server).check("lpush a x", ":1\r\n");
    first.receives("$1\r\nx\r\n");
    third.receives("*2\r\n$1\r\nc\r\n$1\r\nx\r\n");
    Client::connect(&server).check("exists a b c", ":0\r\n");
}

#[test]
fn a_push_in_a_transaction_serves_waiting_clients_after_exec() {
    let server = start(&[]);
    let mut waiting = Client::connect(&server);
    waiting.send("blpop list 0");
    until(&server, "blocked_clients:1\r\n");
    let mut client = Client::connect(&server);
    client.check("multi", "+OK\r\n");
    for line in ["rpush list a", "lpush list b", "blpop none 0"] {
        client.check(line, "+QUEUED\r\n");
    }
    client.check("exec", "*3\r\n:1\r\n:2\r\n*-1\r\n");
    waiting.receives("*2\r\n$4\r\nlist\r\n$1\r\nb\r\n");
}

#[test]
fn a_transaction_fails_if_another_client_changed_a_watched_key() {
    let server = start(&[]);
    let (mut one, mut other) = (Client::connect(&server), Client::connect(&server));
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
        one.check("watch k\r\nmulti\r\nping", "+OK\r\n+OK\r\n+QUEUED\r\n");
        other.check(change, reply);
        one.check("exec", "*-1\r\n");
    }
    one.check("watch k none\r\nmulti\r\nping", "+OK\r\n+OK\r\n+QUEUED\r\n");
    other.check("sinterstore none a b\r\nltrim none 0 1\r\ndel none", ":0\r\n+OK\r\n:0\r\n");
    other.check("get none\r\nllen k\r\nlrem k 0 zz\r\nset x y", "$-1\r\n:1\r\n:0\r\n+OK\r\n");
    one.check("exec", "*1\r\n+PONG\r\n");
    other.check("set k v px 1000", "+OK\r\n");
    one.check("watch k\r\nmulti\r\nping", "+OK\r\n+OK\r\n+QUEUED\r\n");
    until(&server, "expired_keys:1\r\n");
    one.check("exec", "*-1\r\n");
}

#[test]
fn keys_expire_even_if_they_are_not_used() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    for number in 0..1000 {
        client.check(&format!("set k{number} v px 50"), "+OK\r\n");
    }
    client.check("set stays v", "+OK\r\n");
    until(&server, "expired_keys:1000\r\n");
    client.check("dbsize", ":1\r\n");
    client.check("set k v px 1", "+OK\r\n");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(3) {
        std::thread::yield_now();
    }
    client.check("get k\r\nexists k\r\nttl k\r\nkeys k*", "$-1\r\n:0\r\n:-2\r\n*0\r\n");
}

#[test]
fn a_message_reaches_each_subscriber_in_its_version_of_resp() {
    let server = start(&[]);
    let mut two = Client::connect(&server);
    two.check("subscribe news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    two.check(
        "get k",
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / \
                       QUIT / RESET are allowed in this context\r\n",
    );
    two.check("ping", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    let mut three = Client::connect(&server);
    three.send("hello 3");
    three.send("psubscribe n*");
    three.send("echo mark");
    let mut seen = Vec::new();
    while !seen.ends_with(b"$4\r\nmark\r\n") {
        let mut byte = [0];
        three.0.read_exact(&mut byte).expect("it answers");
        seen.push(byte[0]);
    }
    Client::connect(&server).check("publish news hi", ":2\r\n");
    two.receives("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n");
    let push = ">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
    three.receives(push);
    three.check("publish news me", &(push.replace("$2\r\nhi", "$2\r\nme") + ":2\r\n"));
    two.receives("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nme\r\n");
    two.check("unsubscribe", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
    two.check("get k", "$-1\r\n");
    drop(three);
    until(&server, "pubsub_patterns:0\r\n");
    Client::connect(&server).check("publish news gone", ":0\r\n");
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_and_the_others_get_every_message() {
    const READERS: usize = 20;
    const MESSAGES: usize = 20_000;
    let server = start(&["--pubsub-backlog", "1mb"]);
    let confirmed = "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    let mut readers: Vec<Client> = (0..READERS).map(|_| Client::connect(&server)).collect();
    readers.iter_mut().for_each(|reader| reader.check("subscribe c", confirmed));
    let mut stalled = Client::connect(&server);
    stalled.check("subscribe c", confirmed);
    let message = "x".repeat(1024);
    std::thread::scope(|scope| {
        for reader in &mut readers {
            let message = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1024\r\n{message}\r\n");
            scope.spawn(move || (0..MESSAGES).for_each(|_| reader.receives(&message)));
        }
        // A few at a time, so that the reading subscribers keep up.
        let mut publisher = Client::connect(&server);
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
    let received = stalled.read_to_end().len();
    assert!(received < MESSAGES * 1024, "the stalled subscriber received everything: {received}");
    until(&server, "connected_clients:21\r\n");
    let memory = server.memory();
    assert!(memory < 30 << 20, "{memory} bytes are left of {MESSAGES} messages");
}

#[test]
fn clients_can_be_named_listed_and_killed() {
    let server = start(&[]);
    let (mut one, mut two) = (Client::connect(&server), Client::connect(&server));
    one.check("client setname boss\r\nclient getname", "+OK\r\n$4\r\nboss\r\n");
    one.check("client id", ":1\r\n");
    two.check("client id", ":2\r\n");
    two.send("blpop x 0");
    until(&server, "blocked_clients:1\r\n");
    one.send("client list\r\necho mark");
    let mut list = Vec::new();
    while !list.ends_with(b"mark\r\n") {
        let mut byte = [0];
        one.0.read_exact(&mut byte).expect("it answers");
        list.push(byte[0]);
    }
    let list = String::from_utf8_lossy(&list).into_owned();
    assert!(list.contains("id=1 ") && list.contains("name=boss") && list.contains("flags=b"));
    one.check("client kill id 2", ":1\r\n");
    assert!(two.read_to_end().is_empty());
    let address = one.0.local_addr().expect("it has one");
    one.check("client reply skip\r\nping\r\nping", "+PONG\r\n");
    one.check(
        "client reply off\r\nset k v\r\nping\r\nclient reply on\r\nget k",
        "+OK\r\n$1\r\nv\r\n",
    );
    one.check(&format!("client kill {address}"), "+OK\r\n");
    assert!(one.read_to_end().is_empty());
}

#[test]
fn commands_need_the_password_first() {
    let server = start(&["--requirepass", "secret"]);
    let mut client = Client::connect(&server);
    client.check("get k", "-NOAUTH Authentication required.\r\n");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    client.check("auth nosecret", wrong);
    client.check("auth default secre", wrong);
    client.check("auth secret\r\nget k", "+OK\r\n$-1\r\n");
    let mut other = Client::connect(&server);
    other.0.write_all(b"*2\r\n$3\r\nGET\r\n$20000\r\n").expect("it takes bytes");
    let output = String::from_utf8_lossy(&other.read_to_end()).into_owned();
    assert_eq!(output, "-ERR Protocol error: unauthenticated bulk length\r\n");
    let mut third = Client::connect(&server);
    third.send("hello 3 auth default secret");
    third.receives("%7\r\n");
}

#[test]
fn full_memory_refuses_only_commands_that_use_more() {
    let server = start(&["--maxmemory", "1mb"]);
    let mut client = Client::connect(&server);
    let value = "x".repeat(50_000);
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    for number in 0..21 {
        client.check(&format!("set k{number} {value}"), "+OK\r\n");
    }
    client.check(&format!("set more {value}"), oom);
    client.check("rpush list a", oom);
    client.check("strlen k0\r\ndel k0 k1", ":50000\r\n:2\r\n");
    client.check("rpush list a", ":1\r\n");
    client.check("flushall", "+OK\r\n");
    until(&server, "used_memory:0\r\n");
}

#[test]
fn the_memory_limit_covers_all_databases() {
    let server = start(&["--maxmemory", "1mb"]);
    let (mut one, mut other) = (Client::connect(&server), Client::connect(&server));
    let value = "x".repeat(50_000);
    other.check("select 9", "+OK\r\n");
    one.check(&format!("set k10 {value}"), "+OK\r\n");
    for number in 0..10 {
        one.check(&format!("set k{number} {value}"), "+OK\r\n");
        other.check(&format!("set k{number} {value}"), "+OK\r\n");
    }
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    one.check("set more x\r\ncopy k0 k0 db 1", &oom.repeat(2));
    other.check("set more x", oom);
    one.check("move k0 3\r\nset more x", &format!(":1\r\n{oom}"));
    other.check("flushdb", "+OK\r\n");
    one.check("set more x", "+OK\r\n");
    other.check("swapdb 3 9\r\nstrlen k0", "+OK\r\n:50000\r\n");
    one.check("dbsize\r\nflushall", ":11\r\n+OK\r\n");
    until(&server, "used_memory:0\r\n");
}

#[test]
fn used_memory_is_the_sum_over_all_keys() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    let fill = [
        "set a 1",
        "append a xyz",
        "rpush l 1 2 3",
        "hset h f v g w",
        "sadd s a b",
        "set e v ex 99",
    ];
    fill.iter().for_each(|line| client.send(line));
    client.send("quit");
    client.read_to_end();
    let mut client = Client::connect(&server);
    for key in ["a", "l", "h", "s", "e"] {
        client.send(&format!("memory usage {key}"));
    }
    client.send("quit");
    let output = String::from_utf8(client.read_to_end()).expect("it is text");
    let sizes = output.lines().filter_map(|line| line.strip_prefix(':')?.parse::<u64>().ok());
    let (count, sum) = sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size));
    assert_eq!(count, 5, "{output}");
    until(&server, &format!("used_memory:{sum}\r\n"));
}

#[test]
fn info_has_the_fields_that_programs_need() {
    let server = start(&[]);
    for fact in
        ["arch_bits:64", "loading:0", "role:master", "cluster_enabled:0", "used_cpu_user:0."]
    {
        until(&server, fact);
    }
    let mut client = Client::connect(&server);
    client.send("debug sleep 0.05\r\ninfo commandstats\r\ninfo cpu\r\nquit");
    let output = String::from_utf8(client.read_to_end()).expect("it is text");
    let sleep = output.split("cmdstat_debug|sleep:calls=1,usec=").nth(1).expect("it was counted");
    let (usec, _) = sleep.split_once(',').expect("more fields follow");
    assert!(usec.parse::<u64>().is_ok_and(|usec| usec >= 50_000), "{output}");
    for name in ["used_cpu_sys", "used_cpu_sys_children", "used_cpu_user_main_thread"] {
        assert!(output.contains(&format!("{name}:")), "{output}");
    }
    let mut client = Client::connect(&server);
    client.send("info\r\nquit");
    let output = String::from_utf8(client.read_to_end()).expect("it is text");
    assert!(!output.contains("cmdstat"), "command statistics were not requested: {output}");
}

#[test]
fn used_memory_returns_to_zero() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
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
    client.send(&script.join("\r\n"));
    client.send("del a n l l2 h hh s t u e big big2\r\nquit");
    client.read_to_end();
    until(&server, "used_memory:0\r\n");
}

#[test]
fn bad_input_gets_the_error_of_redis_and_ends_only_its_connection() {
    let server = start(&[]);
    let mut neighbour = Client::connect(&server);
    neighbour.check("set k v", "+OK\r\n");
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
        let mut client = Client::connect(&server);
        client.0.write_all(input).expect("it takes bytes");
        let output = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert_eq!(output, expected, "{}", input.escape_ascii());
    }
    for seed in 1..50 {
        let mut client = Client::connect(&server);
        // The connection may be closed before all of the input is read.
        let _ = client.0.write_all(&Random::new(seed).bytes(200_000));
        let _ = client.0.shutdown(Shutdown::Write);
        client.read_to_end();
    }
    neighbour.check("get k", "$1\r\nv\r\n");
}

#[test]
fn announced_lengths_use_no_memory_and_unfinished_requests_time_out() {
    let server = start(&["--idle-timeout", "300ms"]);
    let before = server.memory();
    let mut talks: Vec<Client> = (0..100).map(|_| Client::connect(&server)).collect();
    for client in &mut talks {
        client.0.write_all(b"*2\r\n$3\r\nGET\r\n$536870912\r\nhalf").expect("it takes bytes");
    }
    let mut subscriber = Client::connect(&server);
    subscriber.check("subscribe c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 8 << 20, "100 announced lengths used {grown} bytes");
    talks.iter_mut().for_each(|client| assert!(client.read_to_end().is_empty()));
    // A subscriber may be silent.
    Client::connect(&server).check("publish c x", ":1\r\n");
    subscriber.receives("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n");
}

#[test]
fn stopping_does_not_wait_for_blocked_clients_and_subscribers() {
    let server = start(&[]);
    let (mut blocked, mut subscriber) = (Client::connect(&server), Client::connect(&server));
    blocked.send("blpop x 0");
    subscriber.check("subscribe c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    until(&server, "blocked_clients:1\r\n");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(blocked.read_to_end().is_empty() && subscriber.read_to_end().is_empty());
}
