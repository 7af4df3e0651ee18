//! The access log.

use std::fs;

use testkit::{has_peer, wait_until};

use crate::Site;

#[test]
fn each_request_has_a_line_and_a_moved_log_is_opened_again() {
    if !has_peer("curl") {
        return;
    }
    let folder = crate::folder("web-log", &[("a", "hello")]);
    let log = folder.file("log");
    let site = Site::start(folder, &["--access-log", &log]);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    site.get("/a?q=%22", &["-A", "agent \"1\"", "-e", "http://from/"]);
    site.get("/b", &["--head"]);
    site.send(b"nonsense\r\n\r\n");
    wait_until("three lines", || read(&log).lines().count() == 3);
    let text = read(&log);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("127.0.0.1 - - ["), "{text}");
    let rest = "\"GET /a?q=%22 HTTP/1.1\" 200 5 \"http://from/\" \"agent \\\"1\\\"\"";
    assert!(lines[0].ends_with(rest), "{text}");
    assert!(lines[1].contains("\"HEAD /b HTTP/1.1\" 404 0 "), "{text}");
    assert!(lines[2].contains("\"  \" 400 "), "{text}");
    let old = site.folder.file("old");
    fs::rename(&log, &old).expect("it is moved");
    site.server.signal("USR1");
    wait_until("the new file", || {
        site.get("/a", &[]);
        !read(&log).is_empty()
    });
    site.get("/last", &[]);
    let (code, _) = site.server.stop();
    assert_eq!(code, Some(0));
    assert!(read(&log).contains("GET /last "), "lines are written at the end");
    assert!(!read(&old).contains("GET /last "));
}

#[test]
fn several_loops_append_whole_lines_to_one_log_and_open_it_again() {
    let folder = crate::folder("web-log-loops", &[("a", "hello")]);
    let log = folder.file("log");
    let site = Site::start(folder, &["--access-log", &log, "--threads", "3"]);
    let count = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        assert!(text.lines().all(|line| line.starts_with("127.0.0.1 - - [")), "{text}");
        text.lines().count()
    };
    let ask = || {
        let answer = site.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    };
    (0..30).for_each(|_| ask());
    wait_until("a line for each request", || count(&log) == 30);
    let old = site.folder.file("old");
    fs::rename(&log, &old).expect("it is moved");
    site.server.signal("USR1");
    wait_until("the new file", || {
        ask();
        count(&log) > 0
    });
    let (code, _) = site.server.stop();
    assert_eq!(code, Some(0));
}

#[test]
fn lines_may_be_json() {
    if !has_peer("curl") || !has_peer("python3") {
        return;
    }
    let folder = crate::folder("web-log-json", &[("a", "hello")]);
    let log = folder.file("log");
    let site = Site::start(folder, &["--access-log", &log, "--log-format", "json"]);
    site.get("/a", &["-A", "quote \" back \\ \u{e9}"]);
    let (code, _) = site.server.stop();
    assert_eq!(code, Some(0));
    let text = fs::read(&log).expect("it is there");
    let program = "import json,sys\nfor line in sys.stdin:\n    it = json.loads(line)\n    \
                   print(it['method'], it['target'], it['status'], it['bytes'], it['agent'])";
    let mut python = std::process::Command::new("python3");
    python.args(["-X", "utf8", "-c", program]);
    let shown = crate::common::pipe_through(&mut python, &text);
    assert_eq!(String::from_utf8_lossy(&shown), "GET /a 200 5 quote \" back \\ \u{e9}\n");
}
