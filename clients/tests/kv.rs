//! Compares both tools on both servers: `redis-cli` and `kv-cli`, `redis-server` and `kv`.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use clients::resp::{Answer, Connection};
use common::kv::Kv;
use common::tools::{Tool, comparable, run};
use testkit::Redis;

const TOOLS: [(&str, &str); 2] =
    [("redis-cli", "redis-cli"), ("kv-cli", env!("CARGO_BIN_EXE_kv-cli"))];

/// Over 500 commands of every kind.
const SCRIPT: &str = include_str!("../../servers/tests/kv/script.txt");

/// Both servers.
struct Servers {
    redis: Redis,
    kv: Kv,
    password: Option<&'static str>,
}

impl Servers {
    /// Starts both servers. Returns None, with a message, if Redis is not installed.
    fn start(password: Option<&'static str>) -> Option<Self> {
        let secret = password.map(|it| ["--requirepass", it]);
        let secret = secret.as_ref().map_or(&[][..], |it| &it[..]);
        let redis = Redis::start(secret)?;
        Some(Self { redis, kv: Kv::start(password), password })
    }

    /// The names and sockets of both servers.
    fn sockets(&self) -> [(&'static str, String); 2] {
        [("redis", self.redis.socket()), ("kv", self.kv.socket())]
    }

    /// Calls `play` with each tool on each server, which is emptied before, and checks that the
    /// results are equal. Returns the result.
    fn assert_same(&self, what: &str, mut play: impl FnMut(&str, &str) -> String) -> String {
        let mut judge = None;
        for (server, socket) in self.sockets() {
            for (tool, program) in TOOLS {
                let secret = self.password.map(|it| ["--no-auth-warning", "-a", it]);
                let secret = secret.as_ref().map_or(&[][..], |it| &it[..]);
                let args = [&["-s", &socket][..], secret, &["flushall"]].concat();
                assert_eq!(run("redis-cli", &args, b"").stdout, b"OK\n");
                let output = play(program, &socket);
                let judge: &String = judge.get_or_insert_with(|| output.clone());
                let lines = judge.lines().zip(output.lines()).enumerate();
                let first = lines.into_iter().find(|(_, (theirs, ours))| theirs != ours);
                assert!(*judge == output, "{tool} on {server}, {what}: {first:?} differ");
            }
        }
        judge.expect("there are servers and tools")
    }

    /// Runs both tools with the same arguments and input on both servers. Returns the output.
    fn assert_same_output(&self, args: &[&str], input: &[u8]) -> String {
        self.assert_same(&format!("{args:?}"), |program, socket| {
            comparable(&run(program, &[&["-s", socket], args].concat(), input))
        })
    }
}

#[test]
fn a_script_has_the_same_output_with_both_tools_on_both_servers() {
    let Some(servers) = Servers::start(None) else { return };
    assert!(SCRIPT.lines().count() > 500);
    for version in ["-2", "-3"] {
        for printing in ["--raw", "--no-raw"] {
            let output = servers.assert_same_output(&[version, printing], SCRIPT.as_bytes());
            assert!(output.lines().count() > 500, "{output}");
        }
    }
}

#[test]
fn commands_in_the_arguments_have_the_same_output() {
    let Some(servers) = Servers::start(None) else { return };
    let forms: [&[&str]; 6] =
        [&[], &["--no-raw"], &["-3"], &["-3", "--no-raw"], &["--csv"], &["-3", "--json"]];
    let commands: [&[&str]; 11] = [
        &["ping"],
        &["echo", "a \"b\"\n\u{e9}"],
        &["get", "missing"],
        &["set", "a", "", "get"],
        &["nonsense", "a b"],
        &["get"],
        &["config", "get", "maxmemory-p*"],
        &["-n", "0", "dbsize"],
        &["-n", "1", "dbsize"],
        &["-r", "3", "incr", "n"],
        &["-r", "3", "-i", "0.01", "rpush", "l", "a"],
    ];
    for form in forms {
        for command in commands {
            servers.assert_same_output(&[form, command].concat(), b"");
        }
    }
    let output = servers.assert_same_output(&["-r", "3", "-i", "0.01", "incr", "n"], b"");
    assert!(output.starts_with("1\n2\n3\n"), "{output}");
}

#[test]
fn collections_print_the_same_as_json() {
    let Some(servers) = Servers::start(None) else { return };
    let script = b"hset h a 1 \"b \\x00\" \"\xc3\xa9\\n\"\nhgetall h\nrpush l x \"\"\nlrange l 0 -1\n\
                   sadd s m\nsmembers s\nmget h nothing\nnonsense\nmulti\nincr n\nlpush n x\nexec\n";
    for form in ["--json", "--quoted-json"] {
        for version in ["-2", "-3"] {
            let output = servers.assert_same_output(&[version, form], script);
            assert_eq!(output.contains('{'), version == "-3", "{output}");
        }
    }
}

#[test]
fn mass_insertion_counts_the_same() {
    let Some(servers) = Servers::start(None) else { return };
    let sets: String = (0..20_000)
        .map(|number| format!("*3\r\n$3\r\nSET\r\n$6\r\nk{number:05}\r\n$5\r\nvalue\r\n"))
        .collect();
    let inline = "SET a 1\r\nNONSENSE\r\nGET a\r\nLPUSH a x\r\n";
    for version in ["-2", "-3"] {
        servers.assert_same(version, |program, socket| {
            let insert = |input: &str| {
                comparable(&run(program, &["-s", socket, version, "--pipe"], input.as_bytes()))
            };
            let counts = [&sets, inline, "", "PING"].map(insert);
            assert!(counts[0].contains("errors: 0, replies: 20000\n"), "{}", counts[0]);
            assert!(counts[1].contains("errors: 2, replies: 4\n"), "{}", counts[1]);
            counts.concat() + &comparable(&run(program, &["-s", socket, "dbsize"], b""))
        });
    }
}

#[test]
fn messages_are_printed_until_the_server_ends_the_connection() {
    let Some(servers) = Servers::start(None) else { return };
    let cases: [&[&str]; 4] = [
        &["subscribe", "a", "b"],
        &["--no-raw", "psubscribe", "a*", "b"],
        &["-3", "subscribe", "a", "b"],
        &["-3", "--json", "subscribe", "a", "b"],
    ];
    for args in cases {
        let printed = servers.assert_same(&format!("{args:?}"), |program, socket| {
            let mut tool = Tool::start(Command::new(program).args(["-s", socket]).args(args));
            // The last confirmation in any form: the second channel and the number of channels.
            tool.wait_for("b");
            tool.wait_for("2");
            tool.wait_for("\n");
            let publish = ["-s", socket, "publish", "a", "x \"y\""];
            assert_eq!(run("redis-cli", &publish, b"").stdout, b"1\n");
            tool.wait_for("x ");
            tool.wait_for("\n");
            let kill = ["-s", socket, "client", "kill", "type", "pubsub"];
            assert_eq!(run("redis-cli", &kill, b"").stdout, b"1\n");
            tool.end()
        });
        assert!(printed.contains('y'), "{printed}");
    }
}

#[test]
fn both_servers_accept_the_password() {
    let Some(servers) = Servers::start(Some("secret")) else { return };
    let cases: [(&[&str], &str); 8] = [
        (&["ping"], ""),
        (&["-3", "ping"], ""),
        (&["-a", "secret", "ping"], ""),
        (&["-a", "wrong", "ping"], ""),
        (&["-a", "secret", "-3", "--no-auth-warning", "set", "a", "b"], ""),
        (&["--user", "default", "--pass", "secret", "dbsize"], ""),
        (&["--user", "nobody", "--pass", "secret", "dbsize"], ""),
        (
            &[],
            "ping\nauth wrong\nping\nauth secret\nping\nhello 3 auth default secret setname\nreset\nping\n",
        ),
    ];
    for (args, input) in cases {
        servers.assert_same_output(args, input.as_bytes());
    }
    let opened = servers.assert_same_output(&["-a", "secret", "ping"], b"");
    assert!(opened.starts_with("PONG\n"), "{opened}");
}

/// Collects what a server knows about commands and their subcommands: the name, the number of
/// arguments, the flags and the positions of keys.
fn commands(all: &Answer, found: &mut BTreeMap<String, (i64, BTreeSet<String>, [i64; 3])>) {
    let text = |it: &Answer| it.as_str().expect("it is text").to_owned();
    for command in all.elements() {
        let [name, arity, flags, first, last, step, _, _, _, parts] = command.elements() else {
            panic!("{command:?} does not describe a command");
        };
        let number = |it: &Answer| it.as_integer().expect("it is a number");
        let flags = flags.elements().iter().map(text).collect();
        let keys = [first, last, step].map(number);
        found.insert(text(name), (number(arity), flags, keys));
        commands(parts, found);
    }
}

#[test]
fn all_commands_of_kv_have_the_names_and_arguments_of_redis() {
    let Some(servers) = Servers::start(None) else { return };
    let [theirs, ours] = [servers.redis.address(), servers.kv.address()].map(|address| {
        let mut connection = Connection::connect(&address).expect("it is there");
        let mut found = BTreeMap::new();
        commands(&connection.call(["COMMAND"]).expect("it is answered"), &mut found);
        let listed = connection.call(["COMMAND", "LIST"]).expect("it is answered");
        assert_eq!(listed.elements().len(), found.len());
        found
    });
    assert!(ours.len() > 130, "{} commands", ours.len());
    for (name, (arity, flags, keys)) in ours {
        let Some(theirs) = theirs.get(&name) else {
            // Redis lists no subcommands of DEBUG.
            assert_eq!(name, "debug|sleep");
            continue;
        };
        assert_eq!((arity, keys), (theirs.0, theirs.2), "{name}");
        let new: Vec<_> = flags.difference(&theirs.1).collect();
        assert!(new.is_empty(), "{name} has {new:?} and should have some of {:?}", theirs.1);
        for flag in
            ["readonly", "write", "denyoom", "blocking", "no_multi", "pubsub", "movablekeys"]
        {
            assert_eq!(flags.contains(flag), theirs.1.contains(flag), "{flag} of {name}");
        }
    }
}
