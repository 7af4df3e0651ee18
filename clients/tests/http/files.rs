//! Files: their names, what is kept of a transfer that failed, and how it is continued.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use testkit::{Folder, wait_until};

use super::peer::{After, Answer, Asked, Peer, cut, ok, status};
use super::tool::{command, failed, fetch, fetched};

const BODY: &str = "0123456789abcdef";

/// Answers as a server of one file that knows ranges. It says 206 with the rest, or 416.
fn ranged(asked: &Asked, tag: &str) -> Answer {
    let total = BODY.len();
    let fields = format!("ETag: \"{tag}\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    let is_same = asked
        .field("if-range")
        .is_none_or(|it| it == format!("\"{tag}\"") || it == "Sun, 06 Nov 1994 08:49:37 GMT");
    let first = asked
        .field("range")
        .filter(|_| is_same)
        .and_then(|it| it.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let text = match first {
        Some(first) if first >= total => {
            format!(
                "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\n\r\n"
            )
        }
        Some(first) => format!(
            "HTTP/1.1 206 Partial\r\n{fields}Content-Range: bytes {first}-{}/{total}\r\n\
             Content-Length: {}\r\n\r\n{}",
            total - 1,
            total - first,
            &BODY[first..]
        ),
        None => format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {total}\r\n\r\n{BODY}"),
    };
    Answer(text.into_bytes(), After::Keep)
}

/// Cuts an answer after so many bytes of its body.
fn cut_at(answer: Answer, count: usize) -> Answer {
    let end = answer.0.windows(4).position(|it| it == b"\r\n\r\n").expect("it has a head") + 4;
    Answer(answer.0[..end + count].to_vec(), After::Close)
}

fn content(path: &str) -> String {
    fs::read_to_string(path).expect("it is there")
}

#[test]
fn files_are_named_by_the_user_or_the_url() {
    let folder = Folder::new("names");
    let peer = Peer::start(|asked| ok(asked.target()));
    let (one, two) = (peer.url("/one"), peer.url("/a/two.txt?x=1"));
    let path = folder.file("mine");
    let out = folder.path().display().to_string();
    fetched(&[&one, "-o", &path]);
    assert_eq!(content(&path), "/one");
    fetched(&[&one, &two, "-O", "--output-dir", &out]);
    assert_eq!(
        (content(&folder.file("one")), content(&folder.file("two.txt"))),
        ("/one".into(), "/a/two.txt?x=1".into())
    );
    assert_eq!(fetched(&[&one, "-o", "-"]), b"/one");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("it is there").collect();
    assert_eq!(left.len(), 3, "nothing else is left: {left:?}");
}

#[test]
fn a_file_that_cannot_be_written_says_why() {
    let peer = Peer::start(|_| ok("x"));
    failed(&[&peer.url("/"), "-o", "/nowhere/file"], 23, "/nowhere/file");
    failed(&[&peer.url("/"), "-o", "/dev/full"], 23, "/dev/full: No space left on device");
    let mut child = command(&[peer.url("/")]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    let output = child.stdout(Stdio::from(full)).output().expect("it runs");
    assert_eq!(output.status.code(), Some(23), "{output:?}");
    failed(&[&peer.url("/"), "-T", "/nowhere/file"], 26, "/nowhere/file");
}

#[test]
fn an_error_of_the_server_does_not_touch_the_file() {
    let folder = Folder::new("untouched");
    let path = folder.file("x");
    fs::write(&path, "precious").expect("it is written");
    let peer = Peer::start(|_| status("500 Broken", ""));
    failed(&[&peer.url("/"), "-o", &path], 22, "500 Broken");
    let peer = Peer::start(|_| cut("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"));
    failed(&[&peer.url("/"), "-o", &path, "--retry", "0"], 18, "x.part");
    assert_eq!(content(&path), "precious");
    assert_eq!(content(&folder.file("x.part")), "12345");
}

#[test]
fn a_part_is_continued_where_it_ended() {
    let folder = Folder::new("continue");
    let path = folder.file("x");
    let peer = Peer::start(|asked| match asked.number {
        0 => cut_at(ranged(asked, "a"), 5),
        _ => ranged(asked, "a"),
    });
    failed(&[&peer.url("/"), "-o", &path, "--retry", "0"], 18, "5 bytes are kept");
    fetched(&[&peer.url("/"), "-o", &path, "-C", "-"]);
    assert_eq!(content(&path), BODY);
    assert!(!Path::new(&folder.file("x.part")).exists());
    let asked = &peer.asked()[1];
    assert_eq!(asked.field("range"), Some("bytes=5-"));
    assert_eq!(asked.field("if-range"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    // A file that is complete stays as it is.
    let output = fetch(&[&peer.url("/"), "-o", &path, "-C", "-"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(content(&path), BODY);
    // Beginning at a given byte leaves what is before it.
    fs::write(&path, "ABCDEFGHIJ").expect("it is written");
    fetched(&[&peer.url("/"), "-o", &path, "-C", "4"]);
    assert_eq!(content(&path), "ABCD456789abcdef");
}

#[test]
fn a_part_of_another_state_is_replaced() {
    let folder = Folder::new("replaced");
    let path = folder.file("x");
    fs::write(folder.file("x.part"), "other").expect("it is written");
    // The time of this part is now, with a fraction of a second: no server has sent it, so it is no validator.
    let peer = Peer::start(|asked| ranged(asked, "a"));
    fetched(&[&peer.url("/"), "-o", &path, "-C", "-"]);
    assert_eq!(content(&path), BODY);
    let asked = peer.asked();
    assert_eq!((asked[0].field("if-range"), asked[0].field("range")), (None, Some("bytes=5-")));
    // The response is of another time, so everything is asked for.
    assert_eq!(asked[1].field("range"), None);
}

#[test]
fn a_server_without_ranges_sends_everything_again() {
    let folder = Folder::new("whole");
    let path = folder.file("x");
    fs::write(folder.file("x.part"), "01234").expect("it is written");
    let peer = Peer::start(|_| ok(BODY));
    fetched(&[&peer.url("/"), "-o", &path, "-C", "-"]);
    assert_eq!(content(&path), BODY);
    fs::write(&path, "01234").expect("it is written");
    failed(&[&peer.url("/"), "-o", &path, "-C", "3"], 33, "does not continue at byte 3");
    assert_eq!(content(&path), "01234");
    let peer = Peer::start(|_| {
        let text =
            "HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\n01234";
        cut(text)
    });
    failed(&[&peer.url("/"), "-o", &path, "-C", "-"], 33, "another range");
}

#[test]
fn an_attempt_continues_where_the_last_one_ended() {
    let folder = Folder::new("attempts");
    let path = folder.file("x");
    let peer = Peer::start(|asked| match asked.number {
        0 => cut_at(ranged(asked, "a"), 5),
        1 => cut_at(ranged(asked, "a"), 3),
        _ => ranged(asked, "a"),
    });
    fetched(&[&peer.url("/"), "-o", &path]);
    assert_eq!(content(&path), BODY);
    let asked = peer.asked();
    let ranges: Vec<_> = asked.iter().map(|it| it.field("range").unwrap_or_default()).collect();
    assert_eq!(ranges, ["", "bytes=5-", "bytes=8-"]);
    assert_eq!(asked[1].field("if-range"), Some("\"a\""));
    // The same works for standard output, as long as the server has the same state.
    let peer = Peer::start(|asked| match asked.number {
        0 => cut_at(ranged(asked, "a"), 5),
        _ => ranged(asked, "a"),
    });
    assert_eq!(fetched(&[peer.url("/")]), BODY.as_bytes());
    let peer = Peer::start(|asked| match asked.number {
        0 => cut_at(ranged(asked, "a"), 5),
        _ => ranged(asked, "b"),
    });
    failed(&[peer.url("/")], 33, "does not continue at byte 5");
    // A file begins anew.
    let peer = Peer::start(|asked| match asked.number {
        0 => cut_at(ranged(asked, "a"), 5),
        _ => ranged(asked, "b"),
    });
    fetched(&[&peer.url("/"), "-o", &path]);
    assert_eq!(content(&path), BODY);
}

#[test]
fn an_interrupted_transfer_is_kept() {
    let folder = Folder::new("interrupted");
    let path = folder.file("x");
    let peer = Peer::start(|asked| match asked.number {
        0 => Answer(cut_at(ranged(asked, "a"), 5).0, After::Hang),
        _ => ranged(asked, "a"),
    });
    let child =
        command(&[&peer.url("/"), "-o", &path]).stderr(Stdio::piped()).spawn().expect("it starts");
    let part = folder.file("x.part");
    wait_until("five bytes are there", || fs::metadata(&part).is_ok_and(|it| it.len() == 5));
    testkit::process::signal(child.id(), "INT");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("5 bytes are kept"), "{output:?}");
    fetched(&[&peer.url("/"), "-o", &path, "-C", "-"]);
    assert_eq!(content(&path), BODY);
}
