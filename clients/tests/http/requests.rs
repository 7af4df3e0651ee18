//! What `fetch` asks for, and what it prints.

use std::io::Write;
use std::process::Stdio;

use reactor::BackendKind;
use testkit::Folder;

use super::peer::{After, Answer, Peer, cut, ok, status};
use super::tool::{command, failed, fetch, fetched};

#[test]
fn a_response_is_printed_on_every_backend() {
    let body = "some text\n".repeat(100_000);
    let peer = Peer::start(move |_| ok(&body));
    for backend in BackendKind::ALL {
        let mut command = command(&[peer.url("/file")]);
        let output = command.env("REACTOR_BACKEND", backend.name()).output().expect("it runs");
        assert!(output.status.success(), "{backend}: {output:?}");
        assert!(output.stdout == "some text\n".repeat(100_000).as_bytes(), "{backend}");
        assert!(output.stderr.is_empty(), "{backend}: {output:?}");
    }
}

#[test]
fn a_request_has_the_usual_fields_and_those_of_the_user() {
    let peer = Peer::start(|_| ok("x"));
    fetched(&[&peer.url("/a%20b?c=d#e")]);
    fetched(&[&peer.url("/"), "-H", "X-Mine: 1", "-H", "Accept: text/plain", "-A", "mine/1"]);
    fetched(&[&peer.url("/"), "-H", "User-Agent:", "-H", "Accept:", "-u", "user:word"]);
    fetched(&[&format!("http://u%40:w@{}/", peer.address)]);
    let asked = peer.asked();
    assert_eq!(asked[0].line, "GET /a%20b?c=d HTTP/1.1");
    assert_eq!(asked[0].field("host"), Some(peer.address.to_string().as_str()));
    assert_eq!(asked[0].field("accept"), Some("*/*"));
    assert!(asked[0].field("user-agent").expect("there is one").starts_with("fetch/"));
    assert_eq!(asked[0].field("accept-encoding"), None);
    assert_eq!(asked[1].field("x-mine"), Some("1"));
    assert_eq!(asked[1].field("accept"), Some("text/plain"));
    assert_eq!(asked[1].field("user-agent"), Some("mine/1"));
    assert_eq!((asked[2].field("user-agent"), asked[2].field("accept")), (None, None));
    assert_eq!(asked[2].field("authorization"), Some("Basic dXNlcjp3b3Jk"));
    assert_eq!(asked[3].field("authorization"), Some("Basic dUA6dw=="));
    assert!(asked.iter().all(|it| it.field("content-length").is_none()), "{asked:?}");
}

#[test]
fn bodies_are_sent_from_arguments_files_and_standard_input() {
    let folder = Folder::new("bodies");
    let path = folder.file("data.bin");
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|it| (it / 3) as u8).collect();
    std::fs::write(&path, &bytes).expect("it is written");
    let peer = Peer::start(|_| ok("taken"));
    fetched(&[&peer.url("/"), "-d", "a=1", "-d", "b=2"]);
    fetched(&[&peer.url("/"), "-d", &format!("@{path}"), "-H", "Content-Type: x/y"]);
    fetched(&[&peer.url("/"), "--json", "{}"]);
    fetched(&[&peer.url("/in/"), "-T", &path]);
    let mut command = command(&[&peer.url("/stream"), "-T", "-", "-X", "POST"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("it is piped");
    for piece in bytes.chunks(100_000) {
        input.write_all(piece).expect("it reads");
    }
    drop(input);
    assert!(child.wait().expect("it ends").success());
    let asked = peer.asked();
    assert_eq!(
        (asked[0].line.as_str(), asked[0].body.as_slice()),
        ("POST / HTTP/1.1", &b"a=1&b=2"[..])
    );
    assert_eq!(asked[0].field("content-type"), Some("application/x-www-form-urlencoded"));
    assert!(asked[1].body == bytes && asked[1].field("content-type") == Some("x/y"));
    assert_eq!(asked[2].field("content-type"), Some("application/json"));
    assert_eq!(asked[3].line, "PUT /in/data.bin HTTP/1.1");
    assert!(asked[3].body == bytes);
    assert_eq!(asked[4].line, "POST /stream HTTP/1.1");
    assert_eq!(asked[4].field("transfer-encoding"), Some("chunked"));
    assert!(asked[4].body == bytes);
}

#[test]
fn heads_are_printed() {
    let peer = Peer::start(|asked| match asked.line.starts_with("HEAD") {
        true => {
            let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n";
            Answer(text.as_bytes().to_vec(), After::Keep)
        }
        false => ok("12345"),
    });
    let text = fetched(&[&peer.url("/"), "-I"]);
    assert_eq!(text, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n");
    let text = fetched(&[&peer.url("/"), "-i"]);
    assert_eq!(text, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345");
}

#[test]
fn redirections_are_followed_with_the_right_method_and_without_credentials() {
    let other = Peer::start(|_| ok("there"));
    let place = other.url("/there");
    let peer = Peer::start(move |asked| match asked.target() {
        "/303" => status("303 See Other", "Location: /here\r\n"),
        "/307" => status("307 Temporary Redirect", "Location: /here\r\n"),
        "/away" => status("302 Found", &format!("Location: {place}\r\n")),
        _ => ok("here"),
    });
    assert_eq!(fetched(&[&peer.url("/303"), "-d", "x"]), b"here");
    assert_eq!(fetched(&[&peer.url("/307"), "-d", "x"]), b"here");
    assert_eq!(fetched(&[&peer.url("/away"), "-u", "a:b", "-H", "Cookie: c=d"]), b"there");
    let lines: Vec<String> = peer.asked().into_iter().map(|it| it.line).collect();
    let expected = [
        "POST /303 HTTP/1.1",
        "GET /here HTTP/1.1",
        "POST /307 HTTP/1.1",
        "POST /here HTTP/1.1",
        "GET /away HTTP/1.1",
    ];
    assert_eq!(lines, expected);
    assert_eq!(peer.asked()[3].body, b"x");
    assert_eq!(peer.connections(), 3, "a redirection to the same server uses its connection");
    assert!(peer.asked()[4].field("authorization").is_some());
    let asked = &other.asked()[0];
    assert_eq!((asked.field("authorization"), asked.field("cookie")), (None, None));
    // With no redirections allowed, the response is what was asked for.
    let output = fetch(&[&peer.url("/303"), "--max-redirs", "0", "-i"]);
    assert!(output.stdout.starts_with(b"HTTP/1.1 303"), "{output:?}");
}

#[test]
fn a_loop_of_redirections_ends() {
    let peer = Peer::start(|_| status("302 Found", "Location: /again\r\n"));
    failed(&[&peer.url("/"), "--max-redirs", "3"], 47, "more than 3 redirections");
    assert_eq!(peer.asked().len(), 4);
    let peer = Peer::start(|_| status("301 Moved", "Location: ftp://one.example/\r\n"));
    failed(&[peer.url("/")], 47, "the scheme ftp is not supported");
}

#[test]
fn several_urls_use_connections_again() {
    let peer = Peer::start(|asked| ok(asked.target()));
    let urls: Vec<String> = (0..20).map(|it| peer.url(&format!("/{it}"))).collect();
    let expected: String = (0..20).map(|it| format!("/{it}")).collect();
    assert_eq!(fetched(&urls), expected.as_bytes());
    assert_eq!(peer.connections(), 1);
    let mut args = urls;
    args.extend(["--parallel".to_owned(), "4".to_owned()]);
    let text = fetched(&args);
    assert_eq!(text.len(), expected.len());
    assert!(peer.connections() <= 5, "{}", peer.connections());
    assert_eq!(peer.asked().len(), 40);
}

#[test]
fn a_server_that_says_close_gets_a_new_connection() {
    let peer =
        Peer::start(|_| cut("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"));
    let urls = [peer.url("/1"), peer.url("/2"), peer.url("/3")];
    assert_eq!(fetched(&urls), b"okokok");
    assert_eq!(peer.connections(), 3);
}

#[test]
fn a_kept_connection_that_the_server_has_ended_is_no_failure() {
    // The server closes after each answer without saying so.
    let peer = Peer::start(|_| Answer(ok("x").0, After::Close));
    let urls: Vec<String> = (0..5).map(|it| peer.url(&format!("/{it}"))).collect();
    assert_eq!(fetched(&urls), b"xxxxx");
}

#[test]
fn verbose_shows_what_happens() {
    let peer = Peer::start(|_| ok("x"));
    let output = fetch(&[&peer.url("/"), "-v"]);
    let text = String::from_utf8_lossy(&output.stderr);
    for hint in ["> GET http://", "< HTTP/1.1 200 OK", "a new connection"] {
        assert!(text.contains(hint), "{text}");
    }
}
