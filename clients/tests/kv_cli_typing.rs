//! `kv-cli` on a terminal that can move its cursor: pastes, hints, completion.

mod common;

use std::process::Command;

use common::kv::Kv;
use common::tools::{Tool, run, script};
use testkit::{Folder, has_peer};

const KV_CLI: &str = env!("CARGO_BIN_EXE_kv-cli");

/// The end of each drawing of the line.
const DRAWN: &str = "\u{1b}[?2026l";

/// Starts the tool on a terminal, and waits for its first prompt.
fn start(kv: &Kv) -> Tool {
    let mut command = script(&format!("stty cols 150; {KV_CLI} -s {}", kv.socket()));
    command.env("TERM", "xterm").env("KVCLI_HISTFILE", "/dev/null");
    let mut tool = Tool::start(&mut command);
    tool.wait_for(DRAWN);
    tool
}

/// Returns the strings of `keys`, one per line.
fn values(kv: &Kv, keys: &[&str]) -> String {
    let socket = kv.socket();
    let args = [&["-s", socket.as_str(), "mget"], keys].concat();
    String::from_utf8(run(KV_CLI, &args, b"").stdout).expect("it is text")
}

#[test]
fn each_line_of_a_paste_is_a_command() {
    if !has_peer("script") {
        return;
    }
    let kv = Kv::start(None);
    let mut tool = start(&kv);
    // Two complete lines, and one that is edited before it is sent.
    tool.type_in("\u{1b}[200~set\ta 1\nset b 2\rset c x\u{1b}[201~");
    tool.wait_for("OK\r\n");
    tool.wait_for("OK\r\n");
    tool.type_in("y\r");
    tool.wait_for("OK\r\n");
    assert_eq!(values(&kv, &["a", "b", "c"]), "1\n2\nxy\n");
    // As in a script, a quote ends with its line.
    tool.type_in("\u{1b}[200~set d \"x\r\ny\"\u{1b}[201~\r");
    tool.wait_for("Invalid argument(s)\r\n");
    tool.wait_for("Invalid argument(s)\r\n");
    // After a paste, the tab key completes again.
    tool.type_in("strl\t a\r");
    tool.wait_for("(integer) 1\r\n");
    tool.type_in("\u{4}");
    tool.end();
    assert_eq!(values(&kv, &["d"]), "\n");
}

#[test]
fn lines_typed_ahead_are_not_lost() {
    if !has_peer("script") {
        return;
    }
    let kv = Kv::start(None);
    let mut tool = start(&kv);
    // Like a terminal that does not mark pastes.
    let lines: String = (0..50).map(|it| format!("set key:{it} {it}\r")).collect();
    tool.type_in(&lines);
    for _ in 0..50 {
        tool.wait_for("OK\r\n");
    }
    tool.type_in("dbsize\r");
    tool.wait_for("(integer) 50\r\n");
    tool.type_in("\u{4}");
    tool.end();
}

#[test]
fn hints_for_arguments_can_be_turned_off() {
    if !has_peer("script") {
        return;
    }
    let kv = Kv::start(None);
    let mut tool = start(&kv);
    tool.type_in("hset k");
    tool.wait_for("hset k\u{1b}[90m field value [field value ...]\u{1b}[0m");
    tool.type_in(" f v");
    tool.wait_for("hset k f v\u{1b}[90m [field value ...]\u{1b}[0m");
    // A hint is not sent.
    tool.type_in("\r");
    tool.wait_for("(integer) 1\r\n");
    tool.wait_for(DRAWN);
    tool.type_in(":set nohints\r");
    tool.wait_for(DRAWN);
    tool.type_in("hset k f w\r");
    tool.wait_for("(integer) 0\r\n");
    tool.type_in(":set hints\rhlen");
    tool.wait_for("hlen\u{1b}[90m key\u{1b}[0m");
    tool.type_in(" k\r");
    tool.wait_for("(integer) 1\r\n");
    tool.type_in("\u{4}");
    let shown = tool.end();
    let hidden = shown.split("nohints").nth(1).and_then(|rest| rest.split(":set hints").next());
    assert!(!hidden.expect("it is shown").contains("\u{1b}[90m"), "{shown}");
}

#[test]
fn subcommands_and_topics_of_help_are_completed() {
    if !has_peer("script") {
        return;
    }
    let kv = Kv::start(None);
    let mut tool = start(&kv);
    tool.type_in("client geth\u{8}n\t\r");
    tool.wait_for("(nil)\r\n");
    tool.wait_for(DRAWN);
    tool.type_in("help @tra\t\r");
    tool.wait_for("WATCH");
    tool.type_in("\u{4}");
    tool.end();
}

#[test]
fn a_failing_standard_output_is_named_while_a_line_is_edited() {
    if !has_peer("script") {
        return;
    }
    let folder = Folder::new("typing");
    let (fifo, log) = (folder.file("fifo"), folder.file("log"));
    let made = Command::new("mkfifo").arg(&fifo).status().expect("it runs");
    assert!(made.success());
    // When the reading end is closed, writing fails.
    let close = format!("exec 3<>{fifo} 4>{fifo} 3>&-");
    for (prepare, output, code, errors) in [
        ("true", "/dev/full", 1, Some("kv-cli: standard output: ")),
        (close.as_str(), "&4", 141, None),
    ] {
        for terminal in ["xterm", "dumb"] {
            let tool = format!("{KV_CLI} -s /nowhere/socket 2>{log} >{output}");
            let mut command = script(&format!("{prepare}; {tool}; echo code $?"));
            let mut tool = Tool::start(command.env("TERM", terminal));
            tool.wait_for(&format!("code {code}"));
            tool.end();
            let log = std::fs::read_to_string(&log).expect("it is written");
            let own = log.lines().find(|line| line.starts_with("kv-cli"));
            let is_right = match errors {
                Some(errors) => own.is_some_and(|own| own.starts_with(errors)),
                None => own.is_none(),
            };
            assert!(is_right, "{output} on {terminal}: {log}");
        }
    }
}
