//! What is said at the start, and the end.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Command;

use testkit::{Folder, wait_until};

use crate::common::Daemon;
use crate::{Site, WEB};

/// Runs the server with wrong arguments. Returns its exit code and what it says.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(WEB).args(["--listen", "127.0.0.1:0"]).args(args).output();
    let output = output.expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn errors_at_the_start_say_what_is_wrong() {
    let folder = Folder::new("web-start");
    let (root, file) = (folder.file("."), folder.file("file"));
    std::fs::write(&file, "").expect("it is written");
    let host = format!("a.example={root}");
    for (args, code, part) in [
        (&[][..], 1, "nothing to serve"),
        (&["--root", "/nowhere"], 1, "cannot serve /nowhere: No such file"),
        (&["--root", &file], 1, "it is not a folder"),
        (&["--host", "a.example=/nowhere"], 1, "cannot serve /nowhere"),
        (&["--host", &host, "--host", &host], 1, "a.example more than once"),
        (&["--health", "/up", "--error-page", "404=/x"], 1, "give it"),
        (&["--root", &root, "--access-log", "/nowhere/log"], 1, "cannot open the access log"),
        (&["--proxy", "/a=127.0.0.1:1", "--proxy", "/a/=127.0.0.1:2"], 1, "/a is given to --proxy"),
        (&["--health", "/up", "--echo", "/up"], 1, "/up is given to --health and to --echo"),
        (&["--root", &root, "--head-max", "1mb"], 2, "'--head-max <BYTES>': expected 1 to 65535"),
        (&["--root", &root, "--requests-max", "0"], 2, "--requests-max"),
        (&["--proxy", "/a=127.0.0.1:1", "--proxy-connections", "0"], 2, "above zero"),
        (&["--root", &root, "--head-timeout", "0"], 2, "a positive time"),
        (&["--root", &root, "--host", "example"], 2, "a pair such as"),
        (&["--root", &root, "--proxy", "/api"], 2, "a pair such as /api=127.0.0.1:9000"),
        (&["--root", &root, "--proxy", "/api=udp://127.0.0.1:1"], 2, "datagrams"),
        (&["--root", &root, "--proxy", "api=127.0.0.1:1"], 2, "begin with /"),
        (&["--root", &root, "--header", "Content-Length: 1"], 2, "by itself"),
        (&["--root", &root, "--log-format", "xml"], 2, "possible values: common, combined, json"),
    ] {
        let (own, text) = refused(args);
        assert_eq!(own, Some(code), "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
}

/// Returns the options that a text names.
fn options(text: &str) -> BTreeSet<&str> {
    let words = text.split(|it: char| !(it.is_ascii_alphanumeric() || it == '-'));
    let is_option = |it: &&str| {
        it.strip_prefix("--").is_some_and(|rest| rest.starts_with(|it: char| it.is_alphabetic()))
    };
    words.filter(is_option).collect()
}

#[test]
fn the_help_names_every_option_of_the_book() {
    let output = Command::new(WEB).arg("--help").output().expect("it starts");
    let help = String::from_utf8(output.stdout).expect("it is text");
    let page = include_str!("../../../docs/src/web.md");
    let (_, section) = page.split_once("## Options").expect("it has them");
    let (section, _) = section.split_once("\n## ").expect("it ends");
    let mut shown = options(&help);
    for common in ["--help", "--version"] {
        assert!(shown.remove(common));
    }
    assert_eq!(shown, options(section));
}

/// Returns the limit of descriptors of a process (`proc_pid_limits(5)`).
fn descriptors(process: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("it runs");
    let line = limits.lines().find(|it| it.starts_with("Max open files")).expect("it is listed");
    let word = line.split_whitespace().nth(3).expect("it has a soft limit");
    word.parse().expect("it is a number")
}

#[test]
fn the_limit_of_descriptors_counts_connections_files_and_other_servers() {
    let folder = Folder::new("web-descriptors");
    let root = folder.file(".");
    let script = ["sh", "-c", "ulimit -S -n 100 && exec \"$0\" \"$@\""];
    let files = ["--root", &root, "--cache-files", "30"];
    let proxies = ["--proxy", "/a=127.0.0.1:1", "--proxy", "/b=127.0.0.1:1"];
    let few = ["--proxy-connections", "7"];
    // The loop, its listeners and its log have 64.
    for (args, expected) in [
        ([&files[..], &[], &[]].concat(), 200 + 64 + 30 + 200),
        ([&proxies[..], &few, &[]].concat(), 200 + 64 + 2 * 7),
        ([&files[..], &proxies, &few].concat(), 200 + 64 + 30 + 200 + 2 * 7),
        ([&proxies[..], &[], &[]].concat(), 200 + 64 + 2 * 1024),
    ] {
        let common = ["--listen", "127.0.0.1:0", "--max-connections", "200"];
        let server = Daemon::start(&script, WEB, &[&common[..], &args].concat());
        // It raises the limit once it listens.
        wait_until("the limit", || descriptors(server.id()) != 100);
        assert_eq!(descriptors(server.id()), expected, "{args:?}");
    }
}

#[test]
fn a_request_that_is_under_way_is_answered_before_the_end() {
    let site = Site::with("web-stop", &[("large", &"x".repeat(8_000_000))], &[]);
    let mut stream = site.server.connect();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
    let mut first = [0; 1000];
    stream.read_exact(&mut first).expect("it answers");
    site.server.signal("TERM");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("it goes on");
    let head = first.windows(4).position(|it| it == b"\r\n\r\n").expect("it is there") + 4;
    assert_eq!(first.len() - head + rest.len(), 8_000_000);
    let mut server = site.server;
    assert_eq!(server.wait().0, Some(0));
}
