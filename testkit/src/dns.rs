//! DNS servers of others, to ask and to compare with: `unbound`, `named` and `dnsmasq`. Each runs as the
//! user of the test, on a port of 127.0.0.1, with its files in a folder of its own, and sends nothing to
//! other hosts.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Folder, free_port, has_peer, receive_udp, wait_until};

/// How long one question waits while a server starts.
const ANSWER: Duration = Duration::from_millis(200);
/// A question for the name servers of the root, with the number 1 (RFC 1035 section 4.1).
const QUESTION: [u8; 17] = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

/// A DNS server of another implementation. It is ended and its folder is removed on drop.
#[derive(Debug)]
pub struct DnsPeer {
    process: Child,
    address: SocketAddr,
    folder: Folder,
}

impl DnsPeer {
    /// Starts `unbound`, which answers from `records` alone, each a line of a zone file. For other names it
    /// answers NXDOMAIN. Returns `None` if it is missing, which [`has_peer`] reports.
    ///
    /// # Panics
    /// Panics if the server does not start, or if it is missing and required.
    #[track_caller]
    pub fn unbound(records: &[&str]) -> Option<Self> {
        let lines = records.iter().map(|record| format!("local-data: '{record}'\n"));
        let data: String = lines.collect();
        Self::start_unbound(&format!("local-zone: \".\" static\n{data}"))
    }

    /// Starts `unbound`, which forwards all questions to the server at `upstream`, also those for names
    /// below `test.` and of private networks. `more` are further lines
    /// of its configuration in the clause `server:` (`unbound.conf(5)`), such as `local-data` and
    /// `msg-cache-size`. Returns `None` as [`unbound`](Self::unbound) does.
    ///
    /// # Panics
    /// As [`unbound`](Self::unbound) does.
    #[track_caller]
    pub fn unbound_forwarding(upstream: SocketAddr, more: &str) -> Option<Self> {
        let (ip, port) = (upstream.ip(), upstream.port());
        Self::start_unbound(&format!(
            "do-not-query-localhost: no\nunblock-lan-zones: yes\nlocal-zone: \"test.\" nodefault\n{more}\n\
             forward-zone:\nname: \".\"\nforward-addr: {ip}@{port}\n"
        ))
    }

    #[track_caller]
    fn start_unbound(more: &str) -> Option<Self> {
        Self::start("unbound", |folder, port| {
            let path = folder.path().display();
            let configuration = format!(
                "server:\ndirectory: \"{path}\"\nchroot: \"\"\nusername: \"\"\npidfile: \"\"\n\
                 use-syslog: no\nlogfile: \"\"\ndo-daemonize: no\nnum-threads: 1\n\
                 interface: 127.0.0.1\nport: {port}\noutgoing-interface: 127.0.0.1\ndo-ip6: no\n\
                 module-config: \"iterator\"\nqname-minimisation: no\n{more}\n\
                 remote-control:\ncontrol-enable: no\n"
            );
            write(folder, "unbound.conf", &configuration);
            let mut command = Command::new("unbound");
            command.args(["-d", "-c", &folder.file("unbound.conf")]);
            command
        })
    }

    /// Starts `named`, which is responsible for `zone` and answers nothing else. `records` are the lines of
    /// the zone file, with its SOA and NS records; names without a dot at their end are relative to the
    /// zone. Returns `None` if it is missing, which [`has_peer`] reports.
    ///
    /// # Panics
    /// As [`unbound`](Self::unbound) does.
    #[track_caller]
    pub fn named(zone: &str, records: &[&str]) -> Option<Self> {
        Self::named_with(zone, records, "")
    }

    /// Starts `named` as [`named`](Self::named) does, with further lines of its clause `options`, such as
    /// `require-server-cookie yes;`.
    ///
    /// # Panics
    /// As [`unbound`](Self::unbound) does.
    #[track_caller]
    pub fn named_with(zone: &str, records: &[&str], more: &str) -> Option<Self> {
        Self::start_named(&format!("recursion no;\n{more}"), |folder| {
            write(folder, "zone", &(records.join("\n") + "\n"));
            let path = folder.path().display();
            format!("zone \"{zone}\" {{ type primary; file \"{path}/zone\"; }};\n")
        })
    }

    /// Starts `named`, which forwards all questions to the server at `upstream`. Returns `None` as
    /// [`named`](Self::named) does.
    ///
    /// # Panics
    /// As [`unbound`](Self::unbound) does.
    #[track_caller]
    pub fn named_forwarding(upstream: SocketAddr) -> Option<Self> {
        let (ip, port) = (upstream.ip(), upstream.port());
        let options = format!(
            "recursion yes;\nallow-recursion {{ 127.0.0.1; }};\nforward only;\n\
             forwarders {{ {ip} port {port}; }};"
        );
        Self::start_named(&options, |_| String::new())
    }

    /// Starts `named` with further lines of its clause `options`, and the zones that `zones` returns.
    #[track_caller]
    fn start_named(options: &str, zones: impl FnOnce(&Folder) -> String) -> Option<Self> {
        Self::start("named", |folder, port| {
            let path = folder.path().display();
            let zones = zones(folder);
            let configuration = format!(
                "options {{\ndirectory \"{path}\";\npid-file none;\nlock-file none;\n\
                 session-keyfile \"{path}/session.key\";\nlisten-on port {port} {{ 127.0.0.1; }};\n\
                 listen-on-v6 {{ none; }};\nquery-source address 127.0.0.1;\n\
                 dnssec-validation no;\nnotify no;\nempty-zones-enable no;\n{options}\n}};\ncontrols {{ }};\n\
                 {zones}"
            );
            write(folder, "named.conf", &configuration);
            let mut command = Command::new("named");
            command.args(["-g", "-n", "1", "-c", &folder.file("named.conf")]);
            command
        })
    }

    /// Starts `dnsmasq` with additional `options` (`dnsmasq(8)`), such as `--host-record=a.test,192.0.2.1`,
    /// `--addn-hosts=FILE` or `--server=127.0.0.1#5300`. It reads no files of the system, and refuses what
    /// the options do not answer. Returns `None` if it is missing, which [`has_peer`] reports.
    ///
    /// # Panics
    /// As [`unbound`](Self::unbound) does.
    #[track_caller]
    pub fn dnsmasq(options: &[&str]) -> Option<Self> {
        Self::start("dnsmasq", |_, port| {
            let mut command = Command::new("dnsmasq");
            command
                .args([
                    "--keep-in-foreground",
                    "--conf-file=/dev/null",
                    "--no-resolv",
                    "--no-hosts",
                ])
                .args(["--user=root", "--group=root", "--pid-file", "--log-facility=-"])
                .args(["--bind-interfaces", "--listen-address=127.0.0.1"])
                .arg(format!("--port={port}"))
                .args(options);
            command
        })
    }

    /// Starts a server with the command that `configure` makes of its folder and its port, and waits until
    /// it answers.
    #[track_caller]
    fn start(program: &str, configure: impl FnOnce(&Folder, u16) -> Command) -> Option<Self> {
        if !has_peer(program) {
            return None;
        }
        let (folder, port) = (Folder::new(program), free_port());
        let log = File::create(folder.file("log")).expect("the folder is writable");
        let process = configure(&folder, port)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("it is open"))
            .stderr(log)
            .spawn()
            .expect("it is installed");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut peer = Self { process, address, folder };
        wait_until(&format!("an answer of {program}"), || {
            let ended = peer.process.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "{program} ended: {}", peer.log());
            answers(address).is_ok()
        });
        Some(peer)
    }

    /// Returns its address, for UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the ID of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.file("log")).unwrap_or_default()
    }
}

impl Drop for DnsPeer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns what `dig` prints when it asks `server` with these further arguments. Returns `None` if it is
/// missing, which [`has_peer`] reports.
///
/// # Panics
/// Panics if `dig` is missing and required.
#[track_caller]
pub fn dig(server: SocketAddr, args: &[&str]) -> Option<String> {
    if !has_peer("dig") {
        return None;
    }
    let output = Command::new("dig")
        .args([&format!("@{}", server.ip()), "-p", &server.port().to_string()])
        .args(args)
        // No file of the user adds options.
        .env("HOME", "/nonexistent")
        .output()
        .expect("it is installed");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn write(folder: &Folder, name: &str, text: &str) {
    fs::write(folder.file(name), text).expect("the folder is writable");
}

/// Asks a server once.
fn answers(server: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.send(&QUESTION)?;
    receive_udp(&socket, &mut [0; 512]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "www.example.test. 60 IN A 192.0.2.1";

    /// Checks that a peer answers for `www.example.test`.
    fn check(peer: Option<DnsPeer>) {
        let Some(peer) = peer else { return };
        let Some(found) = dig(peer.address(), &["+short", "www.example.test", "A"]) else { return };
        assert_eq!(found, "192.0.2.1\n", "{}", peer.log());
    }

    #[test]
    fn unbound_answers_from_records() {
        check(DnsPeer::unbound(&[RECORD]));
    }

    #[test]
    fn unbound_forwards_to_another_server() {
        let Some(upstream) = DnsPeer::unbound(&[RECORD]) else { return };
        check(DnsPeer::unbound_forwarding(upstream.address(), "msg-cache-size: 1m"));
    }

    #[test]
    fn named_answers_from_a_zone() {
        let records = ["$TTL 60", "@ SOA ns admin 1 60 60 60 60", "@ NS ns", "ns A 192.0.2.53"];
        check(DnsPeer::named("example.test", &[&records[..], &["www A 192.0.2.1"]].concat()));
    }

    #[test]
    fn dnsmasq_answers_from_its_options() {
        check(DnsPeer::dnsmasq(&["--host-record=www.example.test,192.0.2.1"]));
    }
}
