//! Compares `kv-cli` with `redis-cli`, also on servers that misbehave.

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use common::Server;
use common::tools::{Tool, comparable, run, script};
use testkit::{Folder, Redis, has_peer, wait_until};

const KV_CLI: &str = env!("CARGO_BIN_EXE_kv-cli");

/// 400 lines of every kind: replies of all types, errors, quoting, commands of the tool itself.
const SCRIPT: &str = include_str!("scripts/commands.txt");

/// The forms in which both tools print, in both versions.
const FORMS: [&[&str]; 12] = [
    &[],
    &["--raw"],
    &["--no-raw"],
    &["--csv"],
    &["--json"],
    &["--quoted-json"],
    &["-3"],
    &["-3", "--no-raw"],
    &["-3", "--csv"],
    &["-3", "--json"],
    &["-3", "--quoted-json"],
    &["-2", "--json"],
];

/// Runs both tools with the same arguments, on an empty server each time, and checks that the
/// outputs are equal.
fn assert_same<T: AsRef<str>>(redis: &Redis, args: &[T], input: &[u8]) {
    let socket = redis.socket();
    let args: Vec<&str> =
        ["-s", &socket].into_iter().chain(args.iter().map(AsRef::as_ref)).collect();
    let [theirs, ours] = ["redis-cli", KV_CLI].map(|tool| {
        let cleared = run("redis-cli", &["-s", &socket, "FLUSHALL"], b"");
        assert_eq!(cleared.stdout, b"OK\n");
        comparable(&run(tool, &args, input))
    });
    let (mut number, mut lines) = (0, theirs.lines().zip(ours.lines()));
    let first = lines.find(|(theirs, ours)| {
        number += 1;
        theirs != ours
    });
    assert!(theirs == ours, "{args:?}, line {number}: {first:?}");
}

#[test]
fn a_script_prints_the_same_in_every_form_and_version() {
    let Some(redis) = Redis::start(&[]) else { return };
    assert!(SCRIPT.lines().count() > 400);
    for form in FORMS {
        assert_same(&redis, form, SCRIPT.as_bytes());
    }
}

#[test]
fn commands_in_the_arguments_print_the_same() {
    let Some(redis) = Redis::start(&[]) else { return };
    let commands: [&[&str]; 16] = [
        &["ping"],
        &["get", "missing"],
        &["set", "a", ""],
        &["echo", "a \"b\"\n\u{e9}"],
        &["lrange", "missing", "0", "-1"],
        &["config", "get", "maxmemory*"],
        &["eval", "return {1,{2,{}},redis.error_reply('E x')}", "0"],
        &["debug", "protocol", "map"],
        &["nonsense"],
        &["get"],
        &["-r", "3", "incr", "n"],
        &["-r", "2", "-i", "0.01", "ping"],
        &["-n", "3", "set", "a", "b"],
        &["-n", "99", "ping"],
        &["object", "help"],
        &["client", "tracking", "on"],
    ];
    for form in FORMS {
        for command in commands {
            assert_same(&redis, &[form, command].concat(), b"");
        }
    }
}

#[test]
fn options_have_the_same_effect() {
    let Some(redis) = Redis::start(&[]) else { return };
    let cases: [(&[&str], &str); 22] = [
        (&["unsubscribe", "a"], ""),
        (&["-x", "set", "k"], "a value\n"),
        (&["-x", "echo"], ""),
        (&["-X", "tag", "set", "tag", "v"], "key"),
        (&["-X", "tag", "set", "k", "v"], "key"),
        (&["-d", ", ", "config", "get", "maxmemory*"], ""),
        (&["-D", "", "ping"], ""),
        (&["--quoted-input", "echo", r#""a\x00b""#], ""),
        (&["--quoted-input", "echo", "\"a"], ""),
        (&["--quoted-input", "echo", "a b"], ""),
        (&["-e", "nonsense"], ""),
        (&["-e", "ping"], ""),
        (&["-a", "wrong", "ping"], ""),
        (&["--user", "me", "--pass", "wrong", "ping"], ""),
        (&["--no-auth-warning", "-a", "wrong", "ping"], ""),
        (&["--user", "me", "ping"], ""),
        (&["--nonsense"], ""),
        (&["-p"], ""),
        (&["-2", "-3", "ping"], ""),
        (&["-n", "2"], "set a b\nselect 1\nget a\n"),
        (&["--no-raw"], "debug sleep 0.6\n"),
        (&["-3", "--show-pushes", "yes"], "client tracking on\nget a\nset a b\nping\n"),
    ];
    for (args, input) in cases {
        assert_same(&redis, args, input.as_bytes());
    }
}

#[test]
fn a_password_is_taken_from_the_arguments_or_the_environment() {
    let Some(redis) = Redis::start(&["--requirepass", "secret"]) else { return };
    let socket = redis.socket();
    let args = |more: &[&'static str]| {
        let all = ["-s", socket.as_str()].into_iter().chain(more.iter().copied());
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    let cases: [&[&str]; 6] = [
        &["ping"],
        &["-a", "secret", "ping"],
        &["-a", "wrong", "ping"],
        &["--user", "default", "-a", "secret", "--no-auth-warning", "-3", "ping"],
        &["-a", "secret", "-n", "2", "dbsize"],
        &["-3", "ping"],
    ];
    for case in cases {
        let [theirs, ours] =
            ["redis-cli", KV_CLI].map(|tool| comparable(&run(tool, &args(case), b"")));
        assert_eq!(theirs, ours, "{case:?}");
    }
    let script = b"ping\nauth secret\nping\nauth wrong\n";
    let [theirs, ours] =
        ["redis-cli", KV_CLI].map(|tool| comparable(&run(tool, &args(&["-n", "3"]), script)));
    assert_eq!(theirs, ours);
    let [theirs, ours] = ["redis-cli", KV_CLI].map(|tool| {
        let mut command = Command::new(tool);
        command.args(args(&["ping"])).env("REDISCLI_AUTH", "secret").stdin(Stdio::null());
        comparable(&command.output().expect("it runs"))
    });
    assert_eq!(theirs, ours);
    assert!(ours.starts_with("PONG"), "{ours}");
}

#[test]
fn failures_to_connect_have_the_same_message() {
    if !has_peer("redis-cli") {
        return;
    }
    let port = testkit::free_port().to_string();
    let cases: [(&[&str], &str); 6] = [
        (&["-p", &port, "ping"], ""),
        (&["-p", &port], "ping\nget a\n"),
        (&["-h", "localhost", "-p", &port, "ping"], ""),
        (&["-s", "/nowhere/x.sock", "ping"], ""),
        (&["-h", "no-such-host.invalid", "ping"], ""),
        (&["-p", &port, "--pipe"], "PING\r\n"),
    ];
    for (args, input) in cases {
        let [theirs, ours] =
            ["redis-cli", KV_CLI].map(|tool| comparable(&run(tool, args, input.as_bytes())));
        assert_eq!(theirs, ours, "{args:?}");
    }
}

/// The replies of the misbehaving servers to the first bytes of a connection. They close it
/// afterwards.
const LAST_WORDS: [&[u8]; 4] = [b"", b"$5\r\nab", b"*2\r\n+OK\r\n", b"?what\r\n"];

#[test]
fn a_lost_server_causes_the_same_message() {
    if !has_peer("redis-cli") {
        return;
    }
    for words in LAST_WORDS {
        let folder = Folder::new("kv-cli");
        let socket = folder.file("socket");
        let listener = UnixListener::bind(&socket).expect("the folder is ours");
        // The thread ends with the process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // The tool may have exited.
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(words);
            }
        });
        let cases: [(&[&str], &str); 5] = [
            (&["get", "a"], ""),
            (&[], "get a\nget b\n"),
            (&["--no-auth-warning", "-a", "x", "get", "a"], ""),
            (&["-3", "get", "a"], ""),
            (&["-n", "3", "get", "a"], ""),
        ];
        for (args, input) in cases {
            let args = [&["-s", socket.as_str()], args].concat();
            let [theirs, ours] =
                ["redis-cli", KV_CLI].map(|tool| comparable(&run(tool, &args, input.as_bytes())));
            assert_eq!(theirs, ours, "{args:?} after {}", words.escape_ascii());
        }
    }
}

#[test]
fn mass_insertion_counts_the_same() {
    let Some(redis) = Redis::start(&[]) else { return };
    let socket = redis.socket();
    let sets: Vec<u8> = (0..100_000)
        .flat_map(|number: u32| {
            let key = format!("key:{number}");
            let length = key.len();
            format!("*3\r\n$3\r\nSET\r\n${length}\r\n{key}\r\n$5\r\nvalue\r\n").into_bytes()
        })
        .collect();
    for input in [&sets[..], b"", b"SET a 1\r\nNONSENSE\r\nGET a\r\nLPUSH a x\r\n", b"PING"] {
        assert_same(&redis, &["--pipe"], input);
    }
    let ours = run(KV_CLI, &["-s", &socket, "--pipe"], &sets);
    let expected = "All data transferred. Waiting for the last reply...\n\
                    Last reply received from server.\nerrors: 0, replies: 100000\n";
    assert_eq!(String::from_utf8_lossy(&ours.stdout), expected);
    assert_eq!(run(KV_CLI, &["-s", &socket, "dbsize"], b"").stdout, b"100000\n");
}

#[test]
fn mass_insertion_has_a_time_limit_and_does_not_hang() {
    let server = Server::start_store("127.0.0.1:0");
    let port = server.address.rsplit(':').next().expect("it has a port");
    // One reply never comes.
    let args = ["-p", port, "--pipe", "--pipe-timeout", "1"];
    let output = run(KV_CLI, &args, b"PING\r\n*2\r\n$4\r\nECHO\r\n$100\r\n");
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(errors, "No replies for 1 seconds: exiting.\n");
    assert!(printed.ends_with("errors: 1, replies: 1\n"), "{printed}");
    assert_eq!(output.status.code(), Some(1));
    // The server stops reading while its replies are not read. Sending must not block reading.
    let large = format!("*2\r\n$4\r\nECHO\r\n$65536\r\n{}\r\n", "x".repeat(65536)).repeat(500);
    let output = run(KV_CLI, &["-p", port, "--pipe"], large.as_bytes());
    assert!(output.stdout.ends_with(b"errors: 0, replies: 500\n"), "{output:?}");
}

#[test]
fn mass_insertion_continues_after_a_stop() {
    use nix::sys::signal::{Signal, kill};
    let server = Server::start_store("127.0.0.1:0");
    let port = server.address.rsplit(':').next().expect("it has a port");
    let mut tool = Tool::start(Command::new(KV_CLI).args(["-p", port, "--pipe"]));
    let process = nix::unistd::Pid::from_raw(tool.child.id() as i32);
    // A read with a timeout is interrupted when the process goes on (signal(7)).
    for _ in 0..20 {
        tool.type_in("PING\r\n");
        wait_for_state(process, 'S');
        kill(process, Signal::SIGSTOP).expect("it is there");
        wait_for_state(process, 'T');
        kill(process, Signal::SIGCONT).expect("it is there");
    }
    let output = tool.end();
    assert!(output.ends_with("errors: 0, replies: 20\n"), "{output}");
}

/// Waits until the main thread of `process` sleeps (`S`) or is stopped (`T`), as shown by `ps`.
fn wait_for_state(process: nix::unistd::Pid, state: char) {
    wait_until(&format!("state {state}"), || {
        let all = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it is there");
        all.rsplit(") ").next().is_some_and(|rest| rest.starts_with(state))
    });
}

/// Runs both tools with the same input on a terminal, each on a new server.
fn on_both_terminals(options: &str, mut play: impl FnMut(&mut Tool, &mut Redis)) -> [String; 2] {
    ["redis-cli", KV_CLI].map(|program| {
        let mut redis = Redis::start(&[]).expect("it is installed");
        let socket = redis.socket();
        // The shell ignores Ctrl-C, which is meant for the tool.
        let command = format!("trap : INT; {program} -s {socket} {options}; echo code $?");
        let mut tool = Tool::on_terminal(&command);
        play(&mut tool, &mut redis);
        tool.end().replace(&socket, "SOCKET")
    })
}

fn has_terminals() -> bool {
    ["script", "redis-server", "redis-cli"].into_iter().all(has_peer)
}

#[test]
fn the_prompt_shows_the_database_and_the_transaction() {
    if !has_terminals() {
        return;
    }
    let [theirs, ours] = on_both_terminals("", |tool, _| {
        for (line, prompt) in [
            ("ping", "> "),
            ("select 3", "[3]> "),
            ("multi", "[3](TX)> "),
            ("select 5", "[5](TX)> "),
            ("discard", "[3]> "),
            ("multi", "(TX)> "),
            ("set a b", "(TX)> "),
            ("get a", "(TX)> "),
            ("exec", "[3]> "),
            ("reset", "socket> "),
            ("nonsense", "> "),
            ("get \"unbalanced", "> "),
            ("2 ping", "> "),
        ] {
            tool.wait_for("> ");
            tool.type_in(&format!("{line}\n"));
            tool.wait_for("\n");
            tool.wait_for(prompt);
            // The prompt that comes next was read already. An empty line prints another one.
            tool.type_in("\n");
            tool.wait_for("\n");
        }
        tool.wait_for("> ");
        tool.type_in("quit\n");
    });
    assert_eq!(theirs, ours);
    assert!(ours.contains("redis SOCKET[3](TX)> "), "{ours}");
}

#[test]
fn a_lost_connection_is_reestablished() {
    if !has_terminals() {
        return;
    }
    let [theirs, ours] = on_both_terminals("", |tool, redis| {
        tool.wait_for("> ");
        tool.type_in("ping\n");
        tool.wait_for("> ");
        tool.type_in("client kill type normal skipme no\n");
        tool.wait_for("> ");
        tool.type_in("ping\n");
        tool.wait_for("not connected> ");
        tool.type_in("ping\n");
        tool.wait_for("PONG");
        tool.wait_for("> ");
        redis.kill();
        tool.type_in("ping\n");
        tool.wait_for("not connected> ");
        tool.type_in("ping\n");
        tool.wait_for("Could not connect to Redis at ");
        tool.wait_for("not connected> ");
        tool.type_in("\u{4}");
    });
    // The error of a lost connection depends on the progress of the server.
    let stable = |text: String| {
        let ends = ["Broken pipe", "Connection reset by peer", "Server closed the connection"];
        ends.iter().fold(text, |text, end| text.replace(end, "It ended"))
    };
    assert_eq!(stable(theirs), stable(ours));
}

#[test]
fn messages_are_printed_until_ctrl_c() {
    if !has_terminals() {
        return;
    }
    for options in ["", "-3", "--raw"] {
        let [theirs, ours] = on_both_terminals(options, |tool, redis| {
            tool.wait_for("> ");
            tool.type_in("subscribe news weather\n");
            tool.wait_for("2\r\n");
            let sent = run("redis-cli", &["-s", &redis.socket(), "publish", "news", "rain"], b"");
            assert_eq!(sent.stdout, b"1\n");
            tool.wait_for("rain");
            tool.wait_for("\n");
            tool.type_in("\u{3}");
            tool.wait_for("> ");
            tool.type_in("ping\n");
            tool.wait_for("PONG\r\n");
            tool.wait_for("> ");
            tool.type_in("\u{4}");
        });
        // The durations differ.
        let stable = |text: String| {
            let lines = text.lines().filter(|line| !line.starts_with("^C("));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(stable(theirs), stable(ours), "{options}");
    }
}

#[test]
fn ctrl_c_ends_a_wait_for_a_reply() {
    if !has_terminals() {
        return;
    }
    let [theirs, ours] = on_both_terminals("", |tool, redis| {
        tool.wait_for("> ");
        tool.type_in("blpop nothing 0\n");
        wait_until("a client that is blocked", || {
            let info = run("redis-cli", &["-s", &redis.socket(), "info", "clients"], b"");
            String::from_utf8_lossy(&info.stdout).contains("blocked_clients:1")
        });
        tool.type_in("\u{3}");
    });
    assert_eq!(theirs, ours);
    assert!(ours.contains("code 1"), "{ours}");
}

#[test]
fn names_are_completed_and_the_history_contains_no_secrets() {
    if !has_terminals() {
        return;
    }
    let Some(redis) = Redis::start(&[]) else { return };
    let folder = Folder::new("kv-cli");
    let history = folder.file("history");
    let mut command = script(&format!("{KV_CLI} -s {}", redis.socket()));
    command.env("TERM", "xterm").env("KVCLI_HISTFILE", &history);
    let mut tool = Tool::start(&mut command);
    tool.wait_for("\u{1b}[?2026l");
    tool.type_in("object enc\t");
    tool.type_in("\u{15}strl\t a\n");
    tool.wait_for("(integer) 0\r\n");
    tool.wait_for("\u{1b}[?2026l");
    tool.type_in("auth me secret\n");
    tool.wait_for("(error)");
    tool.wait_for("\u{1b}[?2026l");
    tool.type_in("AUTH  me \"secret\n");
    tool.wait_for("Invalid argument(s)");
    // The key that points up recalls the last line of the history.
    tool.wait_for("\u{1b}[?2026l");
    tool.type_in("\u{1b}[A");
    tool.type_in("\n");
    tool.wait_for("(integer) 0\r\n");
    tool.type_in("\u{4}");
    tool.end();
    let remembered = std::fs::read_to_string(&history).expect("it is written");
    assert!(remembered.contains("strlen a"), "{remembered}");
    assert!(!remembered.contains("secret"), "{remembered}");
    let mode = std::fs::metadata(&history).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "other users can read it: {mode:o}");
}

#[test]
fn subscriptions_of_a_script_print_until_the_connection_ends() {
    for args in [&["subscribe", "a", "b"][..], &["--no-raw", "-3", "psubscribe", "*"]] {
        let [theirs, ours] = ["redis-cli", KV_CLI].map(|tool| {
            let mut redis = Redis::start(&[])?;
            let socket = redis.socket();
            let mut tool = Tool::start(Command::new(tool).args(["-s", &socket]).args(args));
            tool.wait_for("1\n");
            if args.contains(&"b") {
                tool.wait_for("2\n");
            }
            let sent = run("redis-cli", &["-s", &socket, "publish", "a", "x y"], b"");
            assert_eq!(sent.stdout, b"1\n");
            tool.wait_for("x y");
            redis.kill();
            Some(tool.end())
        });
        assert_eq!(theirs, ours);
    }
}

#[test]
fn confirmations_of_unsubscribing_are_replies_in_either_version() {
    let Some(redis) = Redis::start(&[]) else { return };
    let socket = redis.socket();
    // The tool itself tries again after AUTH to select the invalid database.
    for version in ["-2", "-3"] {
        let args = ["-s", &socket, version, "--csv", "-n", "99"];
        let output = run(KV_CLI, &args, b"unsubscribe a b\npunsubscribe\nauth x\nping\n");
        let printed = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines[..2], ["\"unsubscribe\",\"a\",0", "\"unsubscribe\",\"b\",0"]);
        assert_eq!(lines[2], "\"punsubscribe\",NULL,0");
        assert!(lines[3].starts_with("ERROR,") && lines[4] == "\"PONG\"", "{printed}");
    }
}

#[test]
fn a_command_costs_one_system_call_each_way() {
    if !has_peer("strace") {
        return;
    }
    let server = Server::start_store("127.0.0.1:0");
    let port = server.address.rsplit(':').next().expect("it has a port");
    let folder = Folder::new("kv-cli");
    let trace = folder.file("trace");
    let status = Command::new("strace")
        .args(["-f", "-e", "trace=%network,poll", "-o"])
        .arg(&trace)
        .args([KV_CLI, "-p", port, "-r", "100", "ping"])
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("it runs").success());
    let calls = std::fs::read_to_string(&trace).expect("it is written");
    let count = |name: &str| calls.lines().filter(|line| line.contains(name)).count();
    assert_eq!((count("sendmsg("), count("recvfrom(")), (100, 100));
    assert!(calls.lines().count() < 220, "{calls}");
}

#[test]
fn help_and_version_are_printed() {
    let help = run(KV_CLI, &["--help"], b"");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for option in ["-h HOST", "--pipe-timeout", "REDISCLI_AUTH", "--quoted-json", "-X TAG"] {
        assert!(help.contains(option), "{option}");
    }
    let version = run(KV_CLI, &["--version"], b"");
    assert_eq!(version.stdout, format!("kv-cli {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}

#[test]
fn a_closed_standard_output_ends_kv_cli_silently() {
    let server = Server::start_store("127.0.0.1:0");
    let port = server.address.rsplit(':').next().expect("it has a port");
    let mut child = Command::new(KV_CLI)
        .args(["-p", port, "-r", "-1", "ping"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = [0; 5];
    let mut stdout = child.stdout.take().expect("its output is piped");
    stdout.read_exact(&mut first).expect("it prints");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(output.status.code(), Some(141));
}
