//! Files: methods, ranges, conditions, encodings, folders, and no way out.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use testkit::has_peer;

use crate::{BACKENDS, Site, curl, folder, write};

#[test]
fn curl_gets_files_in_both_versions_on_every_backend() {
    if !has_peer("curl") {
        return;
    }
    let folder = folder("web-get", &[("index.html", "<p>hello"), ("empty", "")]);
    let large: Vec<u8> = (0..3_000_000_u32).map(|it| (it / 7) as u8).collect();
    write(&folder, "large.bin", &large);
    let mut site = Site::start(folder, &[]);
    for backend in BACKENDS {
        site = Site::start(site.folder, &["--backend", backend]);
        for version in ["--http1.0", "--http1.1"] {
            let page = site.get("/", &[version]);
            assert_eq!((page.status, page.text()), (200, "<p>hello"), "{backend}");
            assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(page.field("content-length"), Some("8"));
            assert!(page.field("date").is_some_and(|date| date.ends_with(" GMT")));
            let answer = site.get("/large.bin", &[version]);
            assert!(answer.body == large, "{backend} {version}");
            assert_eq!(site.get("/empty", &[version]).text(), "");
        }
        let head = site.get("/large.bin", &["--head"]);
        assert_eq!(head.field("content-length"), Some("3000000"), "{backend}");
        assert_eq!(head.field("content-type"), Some("application/octet-stream"));
    }
}

#[test]
fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    if !has_peer("nc") {
        return;
    }
    let site = Site::with("web-pipeline", &[("a", "one\n"), ("b", "two\n")], &[]);
    let mut input = String::new();
    for _ in 0..50 {
        input.push_str("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    input.push_str("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (host, port) = site.server.host_and_port();
    let output =
        crate::common::pipe_through(Command::new("nc").args([host, port]), input.as_bytes());
    let output = String::from_utf8(output).expect("it is text");
    let bodies: Vec<&str> =
        output.lines().filter(|line| *line == "one" || *line == "two").collect();
    assert_eq!(bodies.len(), 101);
    assert!(bodies.iter().enumerate().all(|(at, it)| *it == ["one", "two"][at % 2]));
    assert_eq!(output.matches("Connection: close").count(), 1);
}

#[test]
fn ranges_are_sent_from_memory_and_from_the_file() {
    if !has_peer("curl") {
        return;
    }
    let folder = folder("web-ranges", &[]);
    let content: Vec<u8> = (0..200_000_u32).map(|it| (it % 251) as u8).collect();
    write(&folder, "small.txt", &content[..1000]);
    write(&folder, "large.bin", &content);
    let site = Site::start(folder, &[]);
    for (path, size) in [("/small.txt", 1000), ("/large.bin", content.len())] {
        let whole = site.get(path, &[]);
        assert_eq!(whole.field("accept-ranges"), Some("bytes"));
        for (range, from, to) in [
            ("0-0", 0, 1),
            ("0-9", 0, 10),
            ("990-", 990, size),
            ("-10", size - 10, size),
            ("500-9999999", 500, size),
            ("-9999999", 0, size),
        ] {
            let part = site.get(path, &["-r", range]);
            assert_eq!(part.status, 206, "{path} {range}");
            assert!(part.body == content[from..to], "{path} {range}");
            let described = format!("bytes {from}-{}/{size}", to - 1);
            assert_eq!(part.field("content-range"), Some(described.as_str()));
            assert_eq!(part.field("etag"), whole.field("etag"));
        }
        let none = site.get(path, &["-r", "9999999-"]);
        let described = format!("bytes */{size}");
        assert_eq!((none.status, none.field("content-range")), (416, Some(described.as_str())));
        // Not to be heeded: of another unit, malformed, for another method.
        for args in [["-H", "Range: lines=0-1"], ["-H", "Range: bytes=5-4"]] {
            assert_eq!(site.get(path, &args).body.len(), size, "{args:?}");
        }
        assert_eq!(site.get(path, &["--head", "-r", "0-9"]).status, 200);
    }
}

#[test]
fn several_ranges_are_sent_as_parts() {
    if !has_peer("curl") {
        return;
    }
    let text: String = (0..50_000).map(|it| format!("{it:05}\n")).collect();
    let site = Site::with("web-parts", &[("small.txt", &text[..600]), ("large.txt", &text)], &[]);
    for (path, size) in [("/small.txt", 600), ("/large.txt", text.len())] {
        let answer = site.get(path, &["-r", "0-5,60-65,-6"]);
        assert_eq!(answer.status, 206);
        let kind = answer.field("content-type").expect("it has one");
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect(kind);
        let parts: Vec<&str> = answer.text().split(&format!("\r\n--{boundary}")).collect();
        assert_eq!((parts.len(), parts[0], parts[4]), (5, "", "--\r\n"), "{parts:?}");
        for (part, from, to) in [(parts[1], 0, 6), (parts[2], 60, 66), (parts[3], size - 6, size)] {
            let (head, body) = part.split_once("\r\n\r\n").expect("it has a head");
            assert_eq!(body, &text[from..to]);
            assert!(head.contains("Content-Type: text/plain; charset=utf-8"), "{head}");
            assert!(head.contains(&format!("Content-Range: bytes {from}-{}/{size}", to - 1)));
        }
    }
}

#[test]
fn a_download_is_resumed_only_if_the_file_is_the_same() {
    if !has_peer("curl") {
        return;
    }
    let site = Site::with("web-resume", &[("file", &"0123456789".repeat(20_000))], &[]);
    let (part, url) = (site.folder.file("part"), site.url("/file"));
    fs::write(&part, "0123456789".repeat(5_000)).expect("it is written");
    let first = site.get("/file", &["--head"]);
    let tag = first.field("etag").expect("it has one").to_owned();
    curl(&url, &["-C", "-", "-o", &part]);
    let whole = fs::read_to_string(&part).expect("it is text");
    assert!(whole == "0123456789".repeat(20_000));
    let same = site.get("/file", &["-r", "10-", "-H", &format!("If-Range: {tag}")]);
    assert_eq!((same.status, same.body.len()), (206, 199_990));
    for other in ["\"other\"", "W/\"other\"", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let answer = site.get("/file", &["-r", "10-", "-H", &format!("If-Range: {other}")]);
        assert_eq!((answer.status, answer.body.len()), (200, 200_000), "{other}");
    }
}

#[test]
fn conditions_are_heeded() {
    if !has_peer("curl") {
        return;
    }
    let site = Site::with("web-conditions", &[("file.css", "a{}")], &["--header", "X-Own: yes"]);
    let first = site.get("/file.css", &[]);
    let field = |name: &str| first.field(name).expect(name).to_owned();
    let (tag, date) = (field("etag"), field("last-modified"));
    let early = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, status) in [
        (vec![format!("If-None-Match: {tag}")], 304),
        (vec![format!("If-None-Match: \"x\", W/{tag}")], 304),
        (vec!["If-None-Match: *".to_owned()], 304),
        (vec!["If-None-Match: \"x\"".to_owned()], 200),
        (vec!["If-None-Match: \"x\"".to_owned(), format!("If-None-Match: {tag}")], 304),
        (vec![format!("If-Modified-Since: {date}")], 304),
        (vec![format!("If-Modified-Since: {early}")], 200),
        (vec!["If-None-Match: \"x\"".to_owned(), format!("If-Modified-Since: {date}")], 200),
        (vec![format!("If-Match: {tag}")], 200),
        (vec!["If-Match: \"x\"".to_owned()], 412),
        (vec![format!("If-Unmodified-Since: {date}")], 200),
        (vec![format!("If-Unmodified-Since: {early}")], 412),
    ] {
        let args: Vec<&str> = fields.iter().flat_map(|field| ["-H", field.as_str()]).collect();
        let answer = site.get("/file.css", &args);
        assert_eq!(answer.status, status, "{fields:?}");
        if status == 304 {
            assert_eq!(answer.field("etag"), Some(tag.as_str()));
            assert_eq!((answer.field("content-length"), answer.body.len()), (None, 0));
        }
        assert_eq!(answer.field("x-own").is_some(), status != 412);
    }
    // As curl itself asks.
    let (etags, date) = (site.folder.file("etag"), site.folder.file("site/file.css"));
    site.get("/file.css", &["--etag-save", &etags]);
    assert_eq!(site.get("/file.css", &["--etag-compare", &etags]).status, 304);
    assert_eq!(site.get("/file.css", &["-z", &date]).status, 304);
}

#[test]
fn compressed_forms_are_negotiated() {
    if !has_peer("curl") {
        return;
    }
    let folder = folder("web-encodings", &[("a.js", "plain"), ("b.js", "alone")]);
    write(&folder, "a.js.gz", b"gzipped");
    write(&folder, "a.js.br", b"brotli");
    let site = Site::start(folder, &[]);
    let mut tags = Vec::new();
    for (accepted, body, encoding) in [
        ("", "plain", None),
        ("Accept-Encoding: gzip", "gzipped", Some("gzip")),
        ("Accept-Encoding: gzip, br", "brotli", Some("br")),
        ("Accept-Encoding: gzip, br;q=0.1", "gzipped", Some("gzip")),
        ("Accept-Encoding: zstd", "plain", None),
        ("Accept-Encoding: *;q=0.5, br;q=0", "gzipped", Some("gzip")),
    ] {
        let answer = site.get("/a.js", &["-H", accepted]);
        assert_eq!((answer.text(), answer.field("content-encoding")), (body, encoding));
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"), "{accepted}");
        assert_eq!(answer.field("content-type"), Some("text/javascript; charset=utf-8"));
        tags.push(answer.field("etag").expect("it has one").to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "each form has its own");
    assert_eq!(site.get("/b.js", &["-H", "Accept-Encoding: gzip"]).field("vary"), None);
    let part = site.get("/a.js", &["-H", "Accept-Encoding: gzip", "-r", "0-2"]);
    assert_eq!((part.text(), part.field("content-encoding")), ("gzi", Some("gzip")));
    let site = Site::start(site.folder, &["--no-precompressed"]);
    let plain = site.get("/a.js", &["-H", "Accept-Encoding: gzip"]);
    assert_eq!((plain.text(), plain.field("vary")), ("plain", None));
}

#[test]
fn no_path_leads_out_and_what_is_hidden_is_not_there() {
    if !has_peer("curl") {
        return;
    }
    let folder = folder(
        "web-out",
        &[
            ("a/file", "inside"),
            (".env", "hidden"),
            (".well-known/x", "known"),
            ("a b/\u{e9}", "odd"),
        ],
    );
    fs::write(folder.file("secret"), "secret").expect("it is written");
    symlink("../secret", folder.file("site/out")).expect("it is made");
    symlink("a/file", folder.file("site/in")).expect("it is made");
    let site = Site::start(folder, &[]);
    for (path, status) in [
        ("/a/file", 200),
        ("/a/../a/file", 200),
        ("/a/%2e%2e/a/file", 200),
        ("//a//file", 200),
        ("/in", 200),
        ("/.well-known/x", 200),
        ("/a%20b/%C3%A9", 200),
        ("/a%2ffile", 404),
        ("/a/file/", 404),
        ("/a/file/x", 404),
        ("/out", 404),
        ("/.env", 404),
        ("/%2eenv", 404),
        ("/a\\file", 404),
        ("/..\\secret", 404),
        ("/..%2fsecret", 404),
        ("/..%5csecret", 404),
        ("/../secret", 400),
        ("/%2e%2e/secret", 400),
        ("/a/../../secret", 400),
        ("/.%2e/secret", 400),
        ("/%c0%ae%c0%ae/secret", 400),
        ("/a/file%00.html", 400),
        ("/a/file%0a", 400),
        ("/a/%zz", 400),
    ] {
        let answer = site.get(path, &[]);
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.text().contains("secret"), "{path}");
    }
    let absolute = format!("GET {} HTTP/1.0\r\n\r\n", site.url("/../secret"));
    assert!(site.send(absolute.as_bytes()).starts_with("HTTP/1.1 400 "));
    let site = Site::start(site.folder, &["--follow-links", "--dotfiles"]);
    assert_eq!(site.get("/out", &[]).text(), "secret");
    assert_eq!(site.get("/.env", &[]).text(), "hidden");
}

#[test]
fn folders_have_an_index_a_list_or_neither() {
    if !has_peer("curl") {
        return;
    }
    let files = [
        ("index.html", "root"),
        ("with/index.html", "html"),
        ("with/index.txt", "txt"),
        ("list/a&b.txt", "x"),
        ("list/.hidden", "x"),
        ("list/sub/x", "x"),
        ("a b/x", "x"),
    ];
    let site =
        Site::with("web-folders", &files, &["--index", "index.txt", "--index", "index.html"]);
    assert_eq!(site.get("/", &[]).text(), "root");
    assert_eq!(site.get("/with/", &[]).text(), "txt");
    assert_eq!(site.get("/list/", &[]).status, 403);
    for (path, location) in [
        ("/with", "/with/"),
        ("/with?a=b&c", "/with/?a=b&c"),
        ("/list/sub", "/list/sub/"),
        ("//with", "/with/"),
        ("/a%20b", "/a%20b/"),
    ] {
        let answer = site.get(path, &[]);
        assert_eq!((answer.status, answer.field("location")), (301, Some(location)), "{path}");
    }
    assert_eq!(curl(&site.url("/with"), &["-L"]).text(), "txt");
    let outside = site.folder.file("site/list/outside");
    symlink("/etc/passwd", outside).expect("it is made");
    symlink("a&b.txt", site.folder.file("site/list/inside")).expect("it is made");
    let site = Site::start(site.folder, &["--listing"]);
    let list = site.get("/list/", &[]);
    assert_eq!((list.status, list.field("content-type")), (200, Some("text/html; charset=utf-8")));
    for part in ["<a href=\"./a%26b.txt\">a&amp;b.txt</a>", "<a href=\"./sub/\">", "\"../\""] {
        assert!(list.text().contains(part), "{part}: {}", list.text());
    }
    assert!(list.text().contains("inside"), "a link that stays in the folder: {}", list.text());
    for part in ["hidden", "outside"] {
        assert!(!list.text().contains(part), "{part}: {}", list.text());
    }
    let site = Site::start(site.folder, &["--listing", "--follow-links"]);
    assert!(site.get("/list/", &[]).text().contains("outside"));
}

#[test]
fn other_methods_hosts_and_errors() {
    if !has_peer("curl") {
        return;
    }
    let folder = folder("web-others", &[("a", "default"), ("404.html", "<p>lost")]);
    fs::create_dir(folder.file("other")).expect("it is made");
    fs::write(folder.file("other/a"), "other").expect("it is written");
    let host = format!("other.example={}", folder.file("other"));
    let args = ["--host", &host, "--error-page", "404=/404.html", "--health", "/up"];
    let site = Site::start(folder, &args);
    for method in ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "TRACE"] {
        let answer = site.get("/a", &["-X", method]);
        assert_eq!((answer.status, answer.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    for options in [
        site.get("/a", &["-X", "OPTIONS"]),
        site.get("/a", &["-X", "OPTIONS", "--request-target", "*"]),
    ] {
        assert_eq!((options.status, options.field("allow")), (204, Some("GET, HEAD, OPTIONS")));
    }
    for (host, body) in [
        ("Host: other.example", "other"),
        ("Host: OTHER.example:8080", "other"),
        ("Host: other.example.", "other"),
        ("Host: another.example", "default"),
        ("Host: [::1]:80", "default"),
    ] {
        assert_eq!(site.get("/a", &["-H", host]).text(), body, "{host}");
    }
    let lost = site.get("/b", &[]);
    assert_eq!((lost.status, lost.text()), (404, "<p>lost"));
    assert_eq!(lost.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(site.get("/b", &["--head"]).field("content-length"), Some("7"));
    assert_eq!(site.get("/up", &[]).text(), "ok\n");
    // A body that is not expected is read, and the connection stays.
    let post = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let answer = site.send(format!("{post}GET /a HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.ends_with("\r\n\r\ndefault"), "{answer}");
}

#[test]
fn changes_are_noticed_and_files_may_be_replaced_while_they_are_sent() {
    if !has_peer("curl") {
        return;
    }
    let site = Site::with("web-changes", &[("file", "old")], &["--cache-valid", "1ms"]);
    let old = site.get("/file", &[]);
    assert_eq!(old.text(), "old");
    let large = "new".repeat(100_000);
    write(&site.folder, "next", large.as_bytes());
    fs::rename(site.folder.file("site/next"), site.folder.file("site/file")).expect("it is moved");
    let new = site.get("/file", &[]);
    assert!(new.text() == large && new.field("etag") != old.field("etag"));
    fs::remove_file(site.folder.file("site/file")).expect("it is there");
    assert_eq!(site.get("/file", &[]).status, 404);
}

#[test]
fn files_are_served_over_tls() {
    if !has_peer("curl") {
        return;
    }
    let authority = testkit::authority::Authority::new("Test Authority");
    let folder = folder("web-tls", &[("a", "one")]);
    let large: Vec<u8> = (0..2_000_000_u32).map(|it| (it / 3) as u8).collect();
    write(&folder, "large", &large);
    let issued = authority.server(&["localhost"]);
    let (chain, key, ca) = (folder.file("cert"), folder.file("key"), folder.file("ca"));
    for (path, content) in [
        (&chain, issued.certificate.as_bytes()),
        (&key, issued.key.as_bytes()),
        (&ca, authority.certificate().as_bytes()),
    ] {
        fs::write(path, content).expect("it is written");
    }
    let args = ["--listen", "tls://127.0.0.1:0", "--cert", &chain, "--key", &key];
    let site = Site::start(folder, &args);
    let address =
        site.server.addresses[1].strip_prefix("tls://127.0.0.1:").expect("it is encrypted");
    let connect = format!("localhost:{address}:127.0.0.1:{address}");
    for version in ["--tlsv1.3", "--tlsv1.2"] {
        let url = format!("https://localhost:{address}/large");
        let answer = curl(&url, &[version, "--cacert", &ca, "--connect-to", &connect]);
        assert!(answer.status == 200 && answer.body == large, "{version}");
    }
}
