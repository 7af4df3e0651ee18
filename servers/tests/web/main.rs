//! The server of files, with curl as the client and nginx as the server behind it.

mod calls;
mod chromium;
#[path = "../common/mod.rs"]
mod common;
mod cuts;
mod files;
mod large;
mod leaving;
mod logs;
mod proxy;
mod refusals;
mod slow;
mod start;
mod upstreams;

use std::fs;
use std::io::{Read, Write};
use std::process::Command;

use common::Daemon;
use testkit::Folder;

const WEB: &str = env!("CARGO_BIN_EXE_web");
const BACKENDS: [&str; 5] = ["epoll", "epoll-lt", "poll", "select", "uring"];

/// A folder with files, and a server of it.
struct Site {
    folder: Folder,
    server: Daemon,
}

impl Site {
    /// Starts a server of the folder `site` in `folder`.
    fn start(folder: Folder, args: &[&str]) -> Self {
        let root = folder.file("site");
        let mut all = vec!["--listen", "127.0.0.1:0", "--root", &root];
        all.extend(args);
        let server = Daemon::start(&[], WEB, &all);
        Self { folder, server }
    }

    /// Starts a server of these files. A name may have folders in it.
    fn with(name: &str, files: &[(&str, &str)], args: &[&str]) -> Self {
        Self::start(folder(name, files), args)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.addresses[0])
    }

    /// Requests a path with curl.
    fn get(&self, path: &str, args: &[&str]) -> Answer {
        curl(&self.url(path), args)
    }

    /// Sends bytes on a connection of their own, ends it, and returns what comes back.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.server.connect();
        stream.write_all(bytes).expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// Returns a folder whose folder `site` has these files.
fn folder(name: &str, files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new(name);
    fs::create_dir(folder.file("site")).expect("it is made");
    for (name, content) in files {
        write(&folder, name, content.as_bytes());
    }
    folder
}

/// Writes a file in the folder `site`.
fn write(folder: &Folder, name: &str, content: &[u8]) {
    let path = folder.file(&format!("site/{name}"));
    if let Some((parent, _)) = path.rsplit_once('/') {
        fs::create_dir_all(parent).expect("it is made");
    }
    fs::write(path, content).expect("it is written");
}

/// An answer as curl has received it.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// The whole head.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim_end())
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("it is text")
    }
}

/// Requests a URL with curl, which asks for no other path than this one. Interim answers are left out.
fn curl(url: &str, args: &[&str]) -> Answer {
    let head = Folder::new("curl");
    let output = Command::new("curl")
        .args(["-sS", "--path-as-is", "--max-time", "60", "-D", &head.file("head")])
        .args(args)
        .arg(url)
        .output()
        .expect("curl starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {args:?} {url}: {errors}");
    let text = fs::read_to_string(head.file("head")).expect("it is text");
    let head = text.trim_end().rsplit("\r\n\r\n").next().expect("there is one").to_owned();
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    Answer { status: status.expect("it has a status"), head, body: output.stdout }
}
