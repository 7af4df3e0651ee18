//! Dialogues of several clients that wait for each other, compared on `kv` and Redis.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use clients::resp::{Connection, Options};
use common::kv::Kv;
use protocol::resp::Protocol;
use testkit::{Redis, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);

/// One server's side of a dialogue.
struct Side {
    address: String,
    protocol: Protocol,
    /// The connection and the ID of each client, by its name in the dialogue.
    clients: BTreeMap<String, (Connection, String)>,
    blocked: usize,
    /// All replies so far.
    transcript: String,
}

impl Side {
    fn client(&mut self, name: &str) -> &mut Connection {
        if !self.clients.contains_key(name) {
            let options = Options { protocol: self.protocol, ..Options::default() };
            let mut connection = options.connect(&self.address).expect("it is there");
            let id = connection.call(["CLIENT", "ID"]).expect("it is answered");
            let id = id.as_integer().expect("it is a number").to_string();
            self.clients.insert(name.to_owned(), (connection, id));
        }
        &mut self.clients.get_mut(name).expect("it has just been there").0
    }

    /// Sends a command, in which `$2` is the ID of client 2.
    fn send(&mut self, name: &str, command: &str) {
        let id = |word: &str| match word.strip_prefix('$') {
            Some(name) => self.clients[name].1.clone(),
            None => word.to_owned(),
        };
        let words: Vec<String> = command.split_whitespace().map(id).collect();
        let client = self.client(name);
        client.send(&words);
        client.flush().expect("it takes what is sent");
    }

    fn receive(&mut self, name: &str) {
        let reply = self.client(name).next_with(Some(PATIENCE), |it| it.encoded().to_vec());
        let reply = reply.expect("the connection holds").expect("it is answered");
        let reply = comparable(&String::from_utf8_lossy(&reply));
        self.transcript += &format!("{name} receives {}\n", reply.escape_debug());
    }

    /// Plays a line: `1: ` and a command with a fixed reply, `1~ ` and a command with a random
    /// reply, `1! ` and a command that waits, or `1?` for the end of that wait.
    fn play(&mut self, line: &str) {
        self.transcript += &format!("{line:.200}\n");
        let (name, rest) = line.split_at(line.find([':', '~', '!', '?']).expect("it is a line"));
        let command = &rest[1..];
        match &rest[..1] {
            ":" => {
                self.send(name, command);
                self.receive(name);
            }
            "~" => {
                self.send(name, command);
                let transcript = self.transcript.len();
                self.receive(name);
                self.transcript.truncate(transcript);
            }
            "!" => {
                self.send(name, command);
                self.blocked += 1;
                let fact = format!("blocked_clients:{}\r\n", self.blocked);
                let watcher = self.client("watcher");
                wait_until(&fact, || {
                    let info = watcher.call(["INFO", "clients"]).expect("it is answered");
                    info.as_str().is_some_and(|text| text.contains(&fact))
                });
            }
            _ => {
                self.blocked -= 1;
                self.receive(name);
            }
        }
    }
}

/// Removes what differs between any two servers: times, and facts that only one reports.
fn comparable(reply: &str) -> String {
    if !reply.contains("cmdstat_") && !reply.contains(" db=") {
        return reply.to_owned();
    }
    let is_compared =
        |part: &&str| ["name=", "flags=", "db="].iter().any(|it| part.starts_with(it));
    let mut lines: Vec<String> = reply
        .lines()
        .skip(1)
        .map(|line| match line.strip_prefix("cmdstat_") {
            Some(fact) => {
                fact.split(',').filter(|part| !part.contains("usec")).collect::<Vec<_>>().join(",")
            }
            None => line.split(' ').filter(is_compared).collect::<Vec<_>>().join(" "),
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Plays a dialogue on both servers in both versions of RESP, and compares. Returns the replies.
#[track_caller]
fn assert_same(dialogue: &str) -> String {
    let Some(redis) = Redis::start(&[]) else { return String::new() };
    let kv = Kv::start(None);
    let mut all = String::new();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let [theirs, ours] = [redis.address(), kv.address()].map(|address| {
            let (clients, transcript) = (BTreeMap::new(), String::new());
            let mut side = Side { address, protocol, clients, blocked: 0, transcript };
            side.client("watcher").call(["FLUSHALL"]).expect("it is answered");
            let lines = dialogue.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.for_each(|line| side.play(line));
            side.transcript
        });
        let alike = theirs.lines().zip(ours.lines()).take_while(|(theirs, ours)| theirs == ours);
        let alike = alike.count();
        let [theirs_on, ours_on] = [&theirs, &ours].map(|transcript| {
            let lines = transcript.lines().skip(alike.saturating_sub(1)).take(2);
            lines.collect::<Vec<_>>().join("\n")
        });
        assert!(theirs == ours, "{protocol:?}\nredis: {theirs_on}\nkv:    {ours_on}");
        all += &ours;
    }
    all
}

#[test]
fn a_wait_in_one_database_ignores_the_others() {
    let transcript = assert_same(
        "1! blpop l 0
         2: select 1
         2: rpush l other
         2: exists l
         3: exists l
         2: select 0
         2: rpush l mine
         1?
         2: exists l",
    );
    assert!(transcript.is_empty() || transcript.contains("mine"), "{transcript}");
}

#[test]
fn lists_moved_from_another_database_end_waits() {
    assert_same(
        "1: select 1
         1! blpop l 0
         2: rpush l moved
         2: move l 1
         1?
         1! blmove l m left right 0
         2: rpush from copied
         2: copy from l db 1
         1?
         1: lrange m 0 -1
         1! brpop l 0
         2: rpush l swapped and
         2: swapdb 1 0
         1?
         1: lrange l 0 -1
         1: exists m
         2: exists m
         2: flushall
         1! blpop none l 0
         3! blpop l 0
         2: multi
         2: rpush l zero
         2: select 1
         2: rpush l one
         2: select 0
         2: exec
         1?
         3?
         2: dbsize
         1: dbsize",
    );
}

#[test]
fn keys_are_watched_in_their_database() {
    let watched = |select: &str, change: &str| {
        format!(
            "1: reset\n3: flushall\n3: select 0\n3: set k v\n1: select {select}\n1: watch k none\n\
             1: select 3\n{change}\n1: multi\n1: ping\n1: exec\n"
        )
    };
    let changes = [
        "2: select 1\n2: set k v",
        "2: select 0\n2: set k v",
        "2: select 1\n2: flushdb",
        "2: select 0\n2: flushdb",
        "2: select 1\n2: flushall",
        "2: swapdb 0 1",
        "2: swapdb 1 2",
        "2: swapdb 0 0",
        "2: select 0\n2: move k 1",
        "2: select 0\n2: copy k none db 1",
        "2: select 0\n2: copy k none",
        "2: select 0\n2: copy k none db 2",
        "2: select 2\n2: set none v\n2: swapdb 2 1",
        "2: select 2\n2: set none v pxat 1\n2: swapdb 2 1",
        "1: set k v",
        "1: unwatch\n1: select 0\n1: set k v",
    ];
    let all = ["0", "1"].iter().flat_map(|select| changes.map(|it| watched(select, it)));
    let transcript = assert_same(&all.collect::<String>());
    assert!(
        transcript.is_empty() || transcript.contains("*-1") && transcript.contains("*1\\r\\n+PONG"),
        "{transcript}"
    );
}

#[test]
fn each_client_selects_its_own_database() {
    assert_same(
        "1: select 9
         2: select 10
         1: set k nine
         2: set k ten
         2: set other ten ex 1000
         1: get k
         2: get k
         3: get k
         1: info keyspace
         3: client list id $1 $2 $3
         1: client info
         1: client no-evict on
         1: client info
         1: client no-evict off
         1: client info
         1: client no-evict on
         1: reset
         1: client info
         1: client no-evict off
         1: select 9
         1: multi
         1: select 10
         1: get k
         1: exec
         1: get k
         1: reset
         1: dbsize
         1: client info
         2: flushdb
         3: info keyspace
         3: select 9
         3: dbsize
         2: flushall
         3: dbsize",
    );
}

#[test]
fn another_client_can_end_a_wait() {
    let transcript = assert_same(
        "1! blpop l 0
         2: client unblock $1
         1?
         2: client unblock $1
         1! brpop l m 0
         2: client unblock $1 timeout
         1?
         1! blmove l m left right 0
         2: client unblock $1 TIMEOUT
         1?
         1! blmpop 0 2 l m left count 3
         2: client unblock $1 error
         1?
         1! brpoplpush l m 0
         2: multi
         2: client unblock $1 Error
         2: rpush l x
         2: exec
         1?
         2: lrange l 0 -1
         2: del l
         1: select 5
         1! blpop l 0
         3: select 5
         2: client unblock $1
         1?
         3: rpush l y
         3: llen l
         1: blpop l 0
         2: client unblock $2
         2: client unblock 0
         2: client unblock -7",
    );
    assert!(
        transcript.is_empty()
            || transcript.contains("-UNBLOCKED client unblocked via CLIENT UNBLOCK")
    );
}

#[test]
fn a_wait_can_take_several_items() {
    assert_same(
        "1! blmpop 0 2 a b left count 2
         2! blmpop 0 1 b right count 10
         3: rpush b 1 2 3 4 5
         1?
         2?
         3: exists b
         1! blmpop 0 1 a right
         3: rpush a 1 2
         1?
         3: lrange a 0 -1
         3: del a
         1! blmpop 0 2 a b left
         3: set a string
         3: sadd b member
         3: del a b
         3: lpush b x
         1?",
    );
}

#[test]
fn subscribers_and_patterns_are_counted() {
    assert_same(
        "1: subscribe news
         2: subscribe news
         2: psubscribe n*
         3: pubsub channels
         3: pubsub channels n*
         3: pubsub channels x*
         3: pubsub numsub news none news
         3: pubsub numpat
         4: psubscribe n*
         3: pubsub numpat
         3: pubsub channels
         1: unsubscribe news
         3: pubsub numsub news
         2: unsubscribe news
         3: pubsub channels
         2: punsubscribe n*
         4: punsubscribe n*
         3: pubsub numpat",
    );
}

#[test]
fn commands_are_counted_as_in_redis() {
    let transcript = assert_same(
        "1: config resetstat
         1: set k v
         1: get k
         1: get k
         1: get
         1: incr k
         1: lpush k x
         1: nonsense
         1: client
         1: client getname
         1: client nonsense
         1: client setname
         1: object encoding k
         1: multi
         1: get k
         1: incr k
         1: exec
         1: multi
         1: get
         1: exec
         1: exec
         1: discard
         2! blpop l 0
         3! blpop l 0
         1: client unblock $3
         3?
         1: rpush l x
         2?
         4: subscribe c
         1: info commandstats
         1: info commandstats
         1: config resetstat
         1: config get maxmemory
         1: info commandstats",
    );
    assert!(
        transcript.is_empty() || transcript.contains("get:calls=3,rejected_calls=2,failed_calls=0")
    );
}

#[test]
fn collections_are_encoded_as_in_redis() {
    let numbers = |range: std::ops::Range<u32>| -> String {
        range.map(|number| format!(" {number}")).collect()
    };
    let fields = |range: std::ops::Range<u32>| -> String {
        range.map(|number| format!(" f{number} {number}")).collect()
    };
    let ask = |key: &str| format!("1: object encoding {key}\n");
    let mut dialogue = String::new();
    for line in [
        format!("sadd set{}", numbers(0..512)),
        "sadd set 511".to_owned(),
        "sadd set 512".to_owned(),
        "srem set 512".to_owned(),
        "copy set again".to_owned(),
        "sunionstore set again".to_owned(),
        format!("srem again{}", numbers(1..512)),
        "sinterstore set again".to_owned(),
        "del set".to_owned(),
        format!("sadd set{}", numbers(0..600)),
        "spop set 400".to_owned(),
        "spop set".to_owned(),
        "spop set 164".to_owned(),
        "spop set 35".to_owned(),
        format!("sadd set{}", numbers(600..1200)),
        "spop set 400".to_owned(),
        "spop set 165".to_owned(),
        "spop set 30".to_owned(),
        "del set".to_owned(),
        format!("hset set{}", fields(0..512)),
        "hset set f0 x".to_owned(),
        "hset set more x".to_owned(),
        "hdel set more f0".to_owned(),
        "rename set other".to_owned(),
        "copy other set".to_owned(),
        "del set".to_owned(),
        format!("hmset set{}", fields(0..513)),
        format!("rpush list{}", numbers(0..2000)),
        format!("ltrim list 0 {}", 3),
    ] {
        let sign = if line.starts_with("spop") { '~' } else { ':' };
        dialogue += &format!("1{sign} {line}\n");
        for key in ["set", "again", "other", "list"] {
            dialogue += &ask(key);
        }
    }
    let transcript = assert_same(&dialogue);
    for encoding in ["intset", "hashtable", "listpack", "quicklist"] {
        assert!(transcript.is_empty() || transcript.contains(encoding), "{encoding}");
    }
}
