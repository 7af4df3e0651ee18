//! Responses with a part of a resource: what they have to say so that `fetch` joins them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::Folder;

use super::peer::{Answer, Asked, Peer, cut, ok};
use super::tool::{failed, fetch, fetched};

const OLD: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const NEW: &str = "Tue, 02 Jan 2024 00:00:00 GMT";

/// Returns ten bytes of which five arrive.
fn half(fields: &str) -> Answer {
    cut(&format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 10\r\n\r\n01234"))
}

/// Returns a part.
fn part(range: &str, fields: &str, body: &str) -> Answer {
    let length = body.len();
    cut(&format!(
        "HTTP/1.1 206 Partial\r\n{fields}Content-Range: bytes {range}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// Returns another ten bytes, all of them.
fn whole() -> Answer {
    cut("HTTP/1.1 200 OK\r\nETag: \"b\"\r\nContent-Length: 10\r\n\r\nABCDEFGHIJ")
}

fn peer(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Peer, String) {
    let peer = Peer::start(answer);
    let url = peer.url("/");
    (peer, url)
}

#[test]
fn a_part_with_less_than_was_asked_for_is_no_complete_file() {
    let folder = Folder::new("less");
    let (path, kept) = (folder.file("x"), folder.file("x.part"));
    let (_peer, url) = peer(|asked| match asked.field("range") {
        Some("bytes=5-") => part("5-7/10", "ETag: \"a\"\r\n", "567"),
        Some("bytes=8-") => part("8-9/10", "ETag: \"a\"\r\n", "89"),
        _ => half("ETag: \"a\"\r\n"),
    });
    failed(&[&url, "-o", &path], 18, "8 of 10 bytes");
    assert!(!Path::new(&path).exists());
    assert_eq!(fs::read(&kept).expect("it is kept"), b"01234567");
    fetched(&[&url, "-o", &path, "-C", "-"]);
    assert_eq!(fs::read(&path).expect("it is there"), b"0123456789");
}

#[test]
fn a_part_is_as_long_as_it_says() {
    let folder = Folder::new("contradiction");
    let path = folder.file("x");
    let chunked = "HTTP/1.1 206 Partial\r\nETag: \"a\"\r\nContent-Range: bytes 5-9/10\r\n\
                   Transfer-Encoding: chunked\r\n\r\n";
    for (rest, code, hint) in [
        ("", 8, "contradict each other"),
        ("3\r\n567\r\n0\r\n\r\n", 18, "8 of 10 bytes"),
        ("6\r\n56789x\r\n0\r\n\r\n", 8, "more than its Content-Range"),
    ] {
        let (_peer, url) = peer(move |asked| match (asked.number, rest) {
            (0, _) => half("ETag: \"a\"\r\n"),
            (_, "") => part("5-9/10", "ETag: \"a\"\r\n", "567"),
            _ => cut(&format!("{chunked}{rest}")),
        });
        failed(&[&url, "-o", &path], code, hint);
        assert!(!Path::new(&path).exists(), "{hint}");
    }
}

#[test]
fn a_part_that_nobody_asked_for_is_refused() {
    let folder = Folder::new("unasked");
    let path = folder.file("x");
    let (_peer, url) = peer(|_| part("0-3/10", "", "0123"));
    failed(&[&url, "-o", &path], 8, "was asked for all");
    assert!(!Path::new(&path).exists());
    assert_eq!(fetched(&[&url, "-r", "0-3"]), b"0123");
    assert_eq!(fetched(&[&url, "-H", "Range: bytes=0-3"]), b"0123");
}

#[test]
fn parts_of_different_states_are_not_joined() {
    let folder = Folder::new("joined");
    let path = folder.file("x");
    let long = "FGHIJ".repeat(3);
    for (first, range, second, body) in [
        ("ETag: \"a\"\r\n".to_owned(), "5-9/10", "ETag: \"b\"\r\n".to_owned(), "FGHIJ"),
        ("ETag: \"a\"\r\n".to_owned(), "5-19/20", "ETag: \"a\"\r\n".to_owned(), &long),
        (
            format!("Last-Modified: {OLD}\r\n"),
            "5-9/10",
            format!("Last-Modified: {NEW}\r\n"),
            "FGHIJ",
        ),
    ] {
        let body = body.to_owned();
        let (peer, url) = peer(move |asked| match (asked.field("range"), asked.number) {
            (Some("bytes=5-"), _) => part(range, &second, &body),
            (_, 0 | 3) => half(&first),
            _ => whole(),
        });
        fetched(&[&url, "-o", &path]);
        assert_eq!(fs::read(&path).expect("it is there"), b"ABCDEFGHIJ");
        let asked = peer.asked();
        assert!(asked.len() == 3 && asked[2].field("range").is_none(), "{asked:?}");
        assert!(asked[2].field("if-range").is_none(), "{asked:?}");
        // What was printed cannot be taken back.
        failed(&[&url], 33, "has changed since");
    }
}

#[test]
fn a_kept_part_is_not_joined_with_another_state() {
    let folder = Folder::new("kept");
    let path = folder.file("x");
    let (peer, url) = peer(|asked| match (asked.field("range"), asked.number) {
        (Some(_), _) => part("5-9/10", &format!("Last-Modified: {NEW}\r\n"), "FGHIJ"),
        (_, 0) => half(&format!("Last-Modified: {OLD}\r\nDate: {OLD}\r\n")),
        _ => whole(),
    });
    failed(&[&url, "-o", &path, "--retry", "0"], 18, "5 bytes are kept");
    fetched(&[&url, "-o", &path, "-C", "-"]);
    assert_eq!(fs::read(&path).expect("it is there"), b"ABCDEFGHIJ");
    // The date was as old as the response, so it does not identify the state.
    assert_eq!(peer.asked()[1].field("if-range"), None);
}

#[test]
fn only_a_strong_validator_asks_for_the_rest() {
    let folder = Folder::new("strong");
    let path = folder.file("x");
    for (fields, expected) in [
        (format!("Last-Modified: {OLD}\r\nDate: {NEW}\r\n"), Some(OLD)),
        (format!("Last-Modified: {OLD}\r\nDate: {OLD}\r\n"), None),
        (format!("ETag: W/\"a\"\r\nLast-Modified: {OLD}\r\nDate: {NEW}\r\n"), None),
        (String::new(), None),
    ] {
        let (peer, url) = peer(move |asked| match asked.number {
            0 => half(&fields),
            _ => whole(),
        });
        fetched(&[&url, "-o", &path]);
        assert_eq!(fs::read(&path).expect("it is there"), b"ABCDEFGHIJ");
        let asked = &peer.asked()[1];
        assert_eq!(asked.field("if-range"), expected);
        assert_eq!(asked.field("range"), expected.map(|_| "bytes=5-"));
    }
}

#[test]
fn a_body_whose_end_alone_was_lost_is_complete() {
    let folder = Folder::new("end");
    let path = folder.file("x");
    let (_peer, url) = peer(|asked| match asked.number {
        0 => cut(
            "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n",
        ),
        _ => cut("HTTP/1.1 416 No\r\nContent-Range: bytes */5\r\nContent-Length: 0\r\n\r\n"),
    });
    fetched(&[&url, "-o", &path]);
    assert_eq!(fs::read(&path).expect("it gets its name"), b"01234");
}

#[test]
fn files_that_are_not_complete_have_names_of_their_own() {
    let folder = Folder::new("own-parts");
    let (_peer, url) = peer(|_| ok("new"));
    let (path, link) = (folder.file("x"), folder.file("link"));
    fs::write(&path, "old").expect("it is written");
    symlink(&path, &link).expect("it is made");
    failed(&[&url, &url, "-o", &path, "-o", &link], 2, "two responses");
    // A part is no link, whatever that leads to, and no pipe.
    let (other, part) = (folder.file("other"), folder.file("x.part"));
    fs::write(&other, "other").expect("it is written");
    symlink(&other, &part).expect("it is made");
    failed(&[&url, "-o", &path], 23, "x.part: it is no regular file");
    fs::remove_file(&part).expect("it is removed");
    make_pipe(&part);
    failed(&[&url, "-o", &path, "-m", "20"], 23, "x.part: it is no regular file");
    let content = |path: &str| fs::read_to_string(path).expect("it is there");
    assert_eq!((content(&path), content(&other)), ("old".to_owned(), "other".to_owned()));
    // The longest name is too long with more behind it.
    let long = folder.file(&"\u{fc}".repeat(127));
    fetched(&[&url, "-o", &long]);
    assert_eq!(content(&long), "new");
}

#[test]
fn a_pipe_gets_the_body_if_a_program_reads_it() {
    let folder = Folder::new("pipe");
    let body = "x".repeat(300_000);
    let sent = body.clone();
    let (_peer, url) = peer(move |_| ok(&sent));
    let path = folder.file("pipe");
    make_pipe(&path);
    failed(&[&url, "-o", &path], 23, "no program reads this pipe");
    let reader = std::thread::spawn({
        let path = path.clone();
        move || fs::read_to_string(path).expect("it is read")
    });
    // The reader may not have opened it yet.
    let until = Instant::now() + Duration::from_secs(20);
    while !fetch(&[&url, "-o", &path]).status.success() {
        assert!(Instant::now() < until, "the pipe has a reader");
    }
    assert_eq!(reader.join().expect("it ends"), body);
}

fn make_pipe(path: &str) {
    let made = Command::new("mkfifo").arg(path).status().expect("it runs");
    assert!(made.success());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for (args, hint) in [
        (&["a.example", "-r", "abc"][..], "0-99, 100- or -100"),
        (&["a.example", "-r", ""], "0-99, 100- or -100"),
        (&["a.example", "-r", "5-1"], "0-99, 100- or -100"),
        (&["a.example", "-r", "1-2,+3-4"], "0-99, 100- or -100"),
        (&["a.example", "-A", "a\nb"], "control characters"),
        (&["a.example", "-i", "-C", "-", "-o", "x"], "cannot be used with"),
    ] {
        failed(args, 2, hint);
    }
}
