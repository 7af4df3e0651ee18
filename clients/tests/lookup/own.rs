//! `lookup` asks the server of this workspace, `dns`.

use std::io::Write;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use reactor::Remote;
use servers::dns::{self, Dns};
use testkit::dns::DnsPeer;
use testkit::{Folder, free_port, has_peer, refusing_udp_socket};

use crate::peers::{RECORDS, compare};
use crate::{expect, lookup, text};

/// `dns` on a thread. It stops on drop.
struct Own {
    address: SocketAddr,
    remote: Remote<Dns>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Own {
    fn start(upstream: SocketAddr, more: &[&str]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (udp, tcp) = (format!("udp://{address}"), address.to_string());
        let upstream = upstream.to_string();
        let args = ["--listen", &udp, "--listen", &tcp, "--upstream", &upstream];
        let args: Vec<String> = args.iter().chain(more).map(|it| (*it).to_owned()).collect();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let mut reactor = servers::prepare(dns::SERVER, &args, dns::application)?;
            sender.send(reactor.cx().remote()).expect("the test waits for it");
            reactor.run()
        });
        let remote = receiver.recv().expect("the server starts");
        Self { address, remote, thread: Some(thread) }
    }

    fn word(&self) -> String {
        format!("@{}#{}", self.address.ip(), self.address.port())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.remote.post(|cx| cx.stop()).expect("the server is there");
        let thread = self.thread.take().expect("it is joined once");
        thread.join().expect("the server does not panic").expect("the server runs");
    }
}

#[test]
fn dns_answers_what_lookup_asks() {
    let folder = Folder::new("lookup-own");
    let hosts = folder.file("hosts");
    std::fs::write(&hosts, "192.0.2.7 nas.lan\n").expect("the folder is writable");
    let refusing = refusing_udp_socket("127.0.0.1");
    let upstream = refusing.local_addr().expect("it is bound");
    let records = ["--record", "mail.lan 60 MX 10 nas.lan", "--record", "t.lan 60 TXT \"a; b\" c"];
    let server = Own::start(upstream, &[&records[..], &["--hosts", &hosts]].concat());
    let word = server.word();
    let ask = |words: &[&str]| expect(0, &lookup(&[&[word.as_str()][..], words].concat()));
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(ask(&["nas.lan", "+short", transport]), "192.0.2.7\n");
        assert_eq!(ask(&["-x", "192.0.2.7", "+short", transport]), "nas.lan.\n");
        assert_eq!(ask(&["MAIL.lan", "MX", "+short", transport]), "10 nas.lan.\n");
        assert_eq!(ask(&["t.lan", "TXT", "+short", transport]), "\"a; b\" \"c\"\n");
        let whole = ask(&["nas.lan", transport]);
        assert!(whole.contains(";; flags: qr aa rd ra; QUERY: 1, ANSWER: 1,"), "{whole}");
        let is_good = |line: &str| line.starts_with("; COOKIE: ") && line.ends_with(" (good)");
        assert!(whole.lines().any(is_good), "{whole}");
        assert!(!ask(&["nas.lan", "+nocookie", transport]).contains("COOKIE"));
        // Nothing is known of it, and the upstream refuses.
        let failed = ask(&["elsewhere.example", transport]);
        assert!(failed.contains("status: SERVFAIL"), "{failed}");
    }
    let path = folder.file("questions");
    let mut file = std::fs::File::create(&path).expect("the folder is writable");
    for _ in 0..2000 {
        file.write_all(b"nas.lan\nmail.lan MX\n-x 192.0.2.7\n").expect("it is written");
    }
    for transport in ["+notcp", "+tcp"] {
        let output = lookup(&[&word, "-f", &path, transport]);
        let found = expect(0, &output);
        assert_eq!(found.lines().count(), 6000, "{}", text(&output.stderr));
        assert_eq!(found.matches("\tNOERROR\t").count(), 6000);
        assert_eq!(found.matches("\tPTR nas.lan.\n").count(), 2000);
    }
}

#[test]
fn what_dns_forwards_is_printed_as_dig_prints_it() {
    if !has_peer("dig") {
        return;
    }
    let Some(peer) = DnsPeer::named("example.test", &RECORDS) else { return };
    // What TTLs are in the cache depends on the second.
    let server = Own::start(peer.address(), &["--cache-size", "0"]);
    compare(server.address);
}
