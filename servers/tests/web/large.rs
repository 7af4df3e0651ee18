//! Bodies that are larger than memory.

use std::fs::File;
use std::process::{Command, Stdio};

use testkit::{Folder, has_peer};

use crate::common::Daemon;
use crate::{Site, WEB, folder};

const SIZE: u64 = 10 << 30;
/// What the server may take more than before: buffers of two connections.
const MEMORY: u64 = 8 << 20;

/// Creates a file without blocks on the disk.
fn sparse(path: &str) {
    let file = File::create(path).expect("it is created");
    file.set_len(SIZE).expect("the file system has sparse files");
}

/// Runs curl to its end and counts the bytes that it has written. Returns them and the largest memory
/// of `servers` meanwhile, beyond what they had before.
fn download(servers: &[&Daemon], args: &[&str]) -> (u64, u64) {
    let before: Vec<u64> = servers.iter().map(|server| server.memory()).collect();
    let mut curl = Command::new("curl")
        .args(["-sS", "--fail", "-o", "/dev/null", "-w", "%{size_download} %{size_upload}"])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl starts");
    let mut most = 0;
    while curl.try_wait().expect("it can be waited for").is_none() {
        for (server, before) in servers.iter().zip(&before) {
            most = most.max(server.memory().saturating_sub(*before));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let output = curl.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{args:?}");
    let text = String::from_utf8(output.stdout).expect("it is text");
    (text.split(' ').filter_map(|it| it.parse::<u64>().ok()).sum(), most)
}

#[test]
#[ignore = "sends 10 GiB four times: 30 s and more"]
fn ten_gibibytes_pass_in_each_direction_with_the_memory_of_a_few_buffers() {
    if !has_peer("curl") {
        return;
    }
    let folder = folder("web-large", &[]);
    sparse(&folder.file("site/large"));
    let site = Site::start(folder, &[]);
    let route = format!("/large={}", site.server.addresses[0]);
    let front = Daemon::start(
        &[],
        WEB,
        &["--listen", "127.0.0.1:0", "--proxy", &route, "--body-max", "20gb"],
    );
    let url = format!("http://{}/large", front.addresses[0]);
    let (bytes, most) = download(&[&site.server], &[&site.url("/large")]);
    assert_eq!(bytes, SIZE);
    assert!(most < MEMORY, "{most} bytes for a file");
    let (bytes, most) = download(&[&site.server, &front], &[&url]);
    assert_eq!(bytes, SIZE);
    assert!(most < MEMORY, "{most} bytes for a file through the proxy");
    let upload = Folder::new("web-large-up");
    sparse(&upload.file("large"));
    let sink = crate::proxy::serve(crate::proxy::discard);
    let route = format!("/up={sink}");
    let front = Daemon::start(
        &[],
        WEB,
        &["--listen", "127.0.0.1:0", "--proxy", &route, "--body-max", "20gb"],
    );
    let url = format!("http://{}/up", front.addresses[0]);
    let file = upload.file("large");
    for args in [&["-T", &file, &url][..], &["-T", &file, "-H", "Transfer-Encoding: chunked", &url]]
    {
        let (bytes, most) = download(&[&front], args);
        // curl counts the sizes of chunks too.
        assert!(bytes >= SIZE, "{bytes}");
        assert!(most < MEMORY, "{most} bytes for an upload");
    }
}
