//! Compares the other modes of `kv-cli` with `redis-cli`: scanning keys, counters, latency, URIs,
//! passwords and help.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use common::kv::Kv;
use common::tools::{Tool, comparable, run};
use testkit::{Folder, Redis, has_peer};

const KV_CLI: &str = env!("CARGO_BIN_EXE_kv-cli");

/// Runs both tools with the same arguments and input. Returns their outputs.
fn both<T: AsRef<str>>(args: &[T], input: &[u8]) -> [String; 2] {
    ["redis-cli", KV_CLI].map(|tool| comparable(&run(tool, args, input)))
}

/// Runs both tools on the server at `socket`, and compares the outputs. Returns the output.
fn assert_same(socket: &str, args: &[&str], input: &[u8]) -> String {
    let [theirs, ours] = both(&[&["-s", socket], args].concat(), input);
    assert!(theirs == ours, "{args:?}\n{theirs}\n--- is not ---\n{ours}");
    ours
}

/// Sends commands, one per line, to the server at `socket`.
fn say(socket: &str, script: &str) {
    let output = run("redis-cli", &["-s", socket], script.as_bytes());
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn keys_are_listed_and_measured_the_same_on_both_servers() {
    let Some(redis) = Redis::start(&[]) else { return };
    let kv = Kv::start(None);
    let many: String = (0..400).map(|it| format!("set key:{it} {}\n", it * it)).collect();
    let steps = [
        String::new(),
        "rpush list 1 2 3\n".to_owned(),
        "set \"a \\\"b\\\"\\n\" hello\n".to_owned(),
        "hset hash a 1 b 2\nsadd set 1\nsadd set:2 1 2\nset b longer\n".to_owned(),
        "zadd z 1 a 2 b\nxadd x * a 1\n".to_owned(),
        many,
    ];
    let cases: [&[&str]; 14] = [
        &["--bigkeys"],
        &["--memkeys"],
        &["--memkeys-samples", "3"],
        &["--bigkeys", "--pattern", "[h-z]*"],
        &["--bigkeys", "-i", "0.01"],
        &["--scan"],
        &["--scan", "--no-raw"],
        &["--scan", "-3", "--csv"],
        &["--scan", "--pattern", "key:*9", "-i", "0.001"],
        &["--scan", "--quoted-pattern", r#""key:\x31*""#],
        &["--scan", "--quoted-pattern", "\"open"],
        &["-n", "3", "--scan"],
        &["--scan", "--bigkeys"],
        &["--bigkeys", "--memkeys"],
    ];
    for step in steps {
        for socket in [redis.socket(), kv.socket()] {
            say(&socket, &step);
            for case in cases {
                assert_same(&socket, case, b"");
            }
        }
    }
    // One of the 408 names contains a line feed.
    let all = run(KV_CLI, &["-s", &redis.socket(), "--scan", "--count", "1000"], b"");
    assert_eq!(all.stdout.iter().filter(|byte| **byte == b'\n').count(), 409);
}

#[test]
fn a_refusing_server_causes_the_same_message() {
    let Some(redis) = Redis::start(&["--requirepass", "secret"]) else { return };
    let modes = ["--scan", "--bigkeys", "--memkeys", "--stat"];
    for mode in modes {
        assert_same(&redis.socket(), &[mode], b"");
        assert_same(&redis.socket(), &["-a", "wrong", mode], b"");
    }
    if !has_peer("redis-cli") {
        return;
    }
    for mode in [modes.as_slice(), &["--latency"]].concat() {
        let [theirs, ours] = both(&["-s", "/nowhere/socket", mode], b"");
        assert_eq!(theirs, ours, "{mode}");
    }
}

/// Outputs of INFO: with zeros, with large numbers, and with each kind of child process.
fn infos() -> Vec<String> {
    let fields = [
        ("used_memory", ["0", "1023", "1048576", "5368709120", "123456789"]),
        ("connected_clients", ["1", "12345678", "2", "3", "4"]),
        ("blocked_clients", ["0", "123456789", "0", "0", "0"]),
        ("loading", ["0", "0", "0", "0", "1"]),
        ("rdb_bgsave_in_progress", ["0", "1", "0", "1", "0"]),
        ("aof_rewrite_in_progress", ["0", "0", "1", "1", "0"]),
        ("total_connections_received", ["1", "1", "123456789012345", "2", "2"]),
        ("total_commands_processed", ["0", "7", "123456789012345678", "123456789012345999", "9"]),
    ];
    let info = |number: usize| {
        let lines = fields.iter().map(|(name, values)| format!("{name}:{}\r\n", values[number]));
        let keys = "db0:keys=5,expires=1\r\ndb9:keys=123456789,expires=0\r\n";
        lines.chain([keys[..if number == 0 { 0 } else { keys.len() }].to_owned()]).collect()
    };
    (0..5).map(info).collect()
}

#[test]
fn counters_are_printed_in_the_same_lines() {
    if !has_peer("redis-cli") {
        return;
    }
    let folder = Folder::new("stat");
    let socket = folder.file("socket");
    let listener = UnixListener::bind(&socket).expect("the folder is ours");
    // The thread ends with the process. It sends more lines than fit below one header, and then an
    // error.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let infos = infos();
            for info in infos.iter().cycle().take(23) {
                // The tool may have exited.
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(format!("${}\r\n{info}\r\n", info.len()).as_bytes());
            }
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"-ERR enough\r\n");
        }
    });
    let shown = assert_same(&socket, &["--stat", "-i", "0.001"], b"");
    assert_eq!(shown.matches("requests").count(), 2, "{shown}");
    assert_eq!(shown.matches("SAVE+AOF").count(), 4, "{shown}");
}

/// Replaces every number by a single letter.
fn without_numbers(text: &str) -> String {
    let mut shape = String::new();
    for letter in text.chars() {
        let letter = if letter.is_ascii_digit() { 'N' } else { letter };
        if letter != 'N' || !shape.ends_with('N') {
            shape.push(letter);
        }
    }
    shape
}

#[test]
fn latency_is_printed_in_the_same_form() {
    let Some(redis) = Redis::start(&[]) else { return };
    for form in ["--raw", "--csv", "--json"] {
        let args = ["-s", &redis.socket(), "--latency", form, "-i", "0.03"];
        let [theirs, ours] = both(&args, b"").map(|output| without_numbers(&output));
        assert_eq!(theirs, ours, "{form}");
        assert!(ours.contains("N.N"), "{ours}");
    }
    // On a terminal it continues, and a history starts new lines.
    if !has_peer("script") {
        return;
    }
    let shapes = ["redis-cli", KV_CLI].map(|tool| {
        let command = format!("{tool} -s {} --latency-history -i 0.05", redis.socket());
        let mut tool = Tool::on_terminal(&command);
        tool.wait_for(" seconds range\r\n");
        tool.wait_for("(1 samples)");
        tool.type_in("\u{3}");
        // The terminal shows the key after the current output.
        let shown = without_numbers(&tool.end().replace("^C", ""));
        // Repeated samples look the same.
        let mut parts: Vec<_> = shown.split('\u{1b}').map(str::to_owned).collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    });
    assert_eq!(shapes[0], shapes[1]);
}

#[test]
fn stat_reconnects_after_a_lost_connection() {
    let folder = Folder::new("again");
    let socket = folder.file("socket");
    let listener = UnixListener::bind(&socket).expect("the folder is ours");
    std::thread::spawn(move || {
        // The first connection ends after one answer. The second one answers with an error.
        for answer in ["$0\r\n\r\n", "-ERR enough\r\n"] {
            let (mut stream, _) = listener.accept().expect("it listens");
            // The tool may have exited.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let output = run(KV_CLI, &["-s", &socket, "--stat", "-i", "0.001"], b"");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("\r\u{1b}[0KReconnecting... 1\r\r\u{1b}[0K"), "{output:?}");
    assert_eq!(output.stderr, b"ERROR: ERR enough\n");
}

#[test]
fn ctrl_c_ends_a_scan_and_prints_the_results_so_far() {
    if !has_peer("script") {
        return;
    }
    let kv = Kv::start(None);
    let keys: String = (0..2000).map(|it| format!("set key:{it} x\n")).collect();
    let filled = run(KV_CLI, &["-s", &kv.socket()], keys.as_bytes());
    assert!(filled.status.success(), "{filled:?}");
    for (mode, first, last) in [
        ("--scan --count 10", "key:", "code 0\r\n"),
        ("--bigkeys", "found so far", "avg size 0.00)\r\ncode 0\r\n"),
    ] {
        // The shell ignores Ctrl-C, which is meant for the tool.
        let command =
            format!("trap : INT; {KV_CLI} -s {} {mode} -i 1000; echo code $?", kv.socket());
        let mut tool = Tool::on_terminal(&command);
        tool.wait_for(first);
        tool.wait_for("\n");
        tool.type_in("\u{3}");
        let shown = tool.end();
        assert!(shown.ends_with(last), "{mode}: {shown}");
        assert!(shown.matches("key:").count() < 2000, "{mode}: {shown}");
    }
}

#[test]
fn a_uri_contains_the_server_the_user_and_the_database() {
    let kv = Kv::start_tcp(Some("s@c:r/t"), "127.0.0.1:0");
    let port = kv.port();
    if has_peer("redis-cli") {
        for uri in [
            format!("redis://127.0.0.1:{port}"),
            format!("redis://default:s%40c%3ar%2Ft@127.0.0.1:{port}"),
            format!("redis://s%40c%3Ar%2Ft@127.0.0.1:{port}/3"),
            format!("REDIS://default:wrong@127.0.0.1:{port}/0"),
            format!("redis://default:s%40c%3Ar%2Ft@127.0.0.1:{port}/99"),
            "redis://127.0.0.1:1/".to_owned(),
            "redis://a%zz:b@h".to_owned(),
            "redis://a%:b@h".to_owned(),
            "http://127.0.0.1".to_owned(),
            "127.0.0.1".to_owned(),
        ] {
            for command in ["ping", "get a"] {
                let args: Vec<_> = ["-u", &uri].into_iter().chain(command.split(' ')).collect();
                let [theirs, ours] = both(&args, b"");
                assert_eq!(theirs, ours, "{args:?}");
            }
        }
    }
    let port = port.to_string();
    let ask = |uri: &str| {
        comparable(&run(KV_CLI, &["--no-auth-warning", "-p", &port, "-u", uri, "ping"], b""))
    };
    // Missing parts of a URI keep their defaults.
    assert_eq!(ask("redis://:s%40c%3Ar%2Ft@127.0.0.1"), "PONG\n\n\nSome(0)");
    assert_eq!(ask("redis://:s@c:r/t@"), "PONG\n\n\nSome(0)");
    let secure = ask("rediss://127.0.0.1");
    assert!(secure.contains("TLS") && secure.ends_with("Some(1)"), "{secure}");
    let brackets = Kv::start_tcp(None, "[::1]:0");
    let uri = format!("redis://[::1]:{}/", brackets.port());
    assert_eq!(ask(&uri), "PONG\n\n\nSome(0)");
}

#[test]
fn without_a_terminal_the_password_is_the_first_line_of_input() {
    let Some(redis) = Redis::start(&["--requirepass", "secret"]) else { return };
    for (args, input) in [
        (&["--askpass"][..], "secret\nping\nget a\n"),
        (&["--askpass", "ping"], "secret\n"),
        (&["--askpass", "ping"], "secret"),
        (&["--askpass", "ping"], "wrong\n"),
        (&["--askpass", "ping"], ""),
        (&["--askpass", "-a", "wrong", "ping"], "secret\n"),
    ] {
        assert_same(&redis.socket(), args, input.as_bytes());
    }
}

#[test]
fn a_typed_password_is_not_shown() {
    if !has_peer("script") {
        return;
    }
    let kv = Kv::start(Some("s\u{e9}cret"));
    for terminal in ["xterm", "dumb"] {
        let socket = kv.socket();
        let command = format!("{KV_CLI} -s {socket} --askpass ping; echo code $?; stty -a");
        let mut tool = Tool::start(common::tools::script(&command).env("TERM", terminal));
        tool.wait_for("Please input password: ");
        tool.type_in("nonsense\u{15}s\u{e9}x\u{e9}\u{7f}\u{7f}cret\r");
        let shown = tool.end();
        assert!(shown.contains("PONG\r\ncode 0"), "{shown}");
        assert!(shown.contains("******\r\n") && !shown.contains("cret"), "{shown}");
        assert!(shown.contains(" echo ") && shown.contains(" icanon "), "{shown}");
        let mut tool = Tool::start(common::tools::script(&command).env("TERM", terminal));
        tool.wait_for("Please input password: ");
        tool.type_in("s\u{3}");
        let shown = tool.end();
        assert!(shown.contains("code 1") && shown.contains(" echo "), "{shown}");
    }
}

#[test]
fn a_script_is_evaluated_with_keys_and_arguments() {
    let Some(redis) = Redis::start(&[]) else { return };
    let folder = Folder::new("eval");
    let path = folder.file("script.lua");
    std::fs::write(&path, "return {#KEYS, #ARGV, KEYS[1], ARGV[1]}").expect("it is ours");
    for words in ["a b , c d", "a", ", a", "", "a , b , c"] {
        let args: Vec<_> = ["--eval", &path].into_iter().chain(words.split_whitespace()).collect();
        assert_same(&redis.socket(), &args, b"");
    }
    assert_same(&redis.socket(), &["--eval", "/nowhere/script.lua"], b"");
}

/// Removes the summaries, which each tool has in its own words.
fn without_summaries(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.contains("summary:")).collect()
}

#[test]
fn help_has_the_same_facts_about_every_command() {
    // redis-cli gets the arguments from this server.
    let Some(redis) = Redis::start(&[]) else { return };
    let socket = redis.socket();
    let groups = [
        "generic",
        "string",
        "list",
        "set",
        "sorted-set",
        "hash",
        "pubsub",
        "transactions",
        "connection",
        "server",
        "scripting",
        "hyperloglog",
        "cluster",
        "geo",
        "stream",
        "bitmap",
    ];
    let groups = groups.map(|group| format!("help @{group}"));
    let others = [
        "help get",
        "? config",
        "HELP config GET",
        "help @String",
        "help x",
        "help @x",
        "help get key",
    ];
    for line in groups.iter().map(String::as_str).chain(others) {
        let words: Vec<_> = ["-s", &socket].into_iter().chain(line.split(' ')).collect();
        let [theirs, ours] = both(&words, b"");
        assert_eq!(without_summaries(&theirs), without_summaries(&ours), "{line}");
        assert_eq!(theirs.matches("summary").count(), ours.matches("summary").count(), "{line}");
    }
    let [theirs, ours] = both(&["-s", &socket], b"help get\nhelp @x\n");
    assert_eq!(without_summaries(&theirs), without_summaries(&ours));
}
