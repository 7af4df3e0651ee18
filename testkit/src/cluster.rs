//! Redis with sentinels: a master, its replicas, and the programs that watch them.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Folder, free_port, has_peer, process, wait_until};

/// The name of the master.
pub const MASTER_NAME: &str = "mymaster";

/// After how much silence the sentinels consider the master down.
pub const DOWN_AFTER: Duration = Duration::from_millis(1000);

/// How often a program is started on another port, if its port was taken meanwhile.
const ATTEMPTS: usize = 10;

/// A `redis-server` of a [`Cluster`], as a server or as a sentinel.
#[derive(Debug)]
pub struct Member {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Member {
    /// Kills it (`SIGKILL`).
    pub fn kill(&mut self) {
        // It may have ended already. A stopped process is killed, too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Stops it (`SIGSTOP`): it keeps its connections, and does nothing.
    ///
    /// # Panics
    /// Panics if it has ended.
    pub fn stop(&self) {
        process::signal(self.process.id(), "STOP");
    }

    /// Continues it after [`stop`](Self::stop).
    ///
    /// # Panics
    /// Panics if it has ended.
    pub fn go_on(&self) {
        process::signal(self.process.id(), "CONT");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a member of a cluster runs.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Its address.
    pub host: Ipv4Addr,
    /// The network namespace (`ip-netns(8)`) that it runs in. `None`: that of the test.
    pub namespace: Option<&'a str>,
}

impl Site<'_> {
    /// The loopback address.
    pub const LOCAL: Self = Self { host: Ipv4Addr::LOCALHOST, namespace: None };
}

/// A master, its replicas and sentinels, each on a free port and in its own folder. All are killed,
/// and the folders removed, on drop.
#[derive(Debug)]
pub struct Cluster {
    /// The server that is the master at the start.
    pub master: Member,
    /// The servers that are replicas at the start.
    pub replicas: Vec<Member>,
    /// The sentinels.
    pub sentinels: Vec<Member>,
    folder: Folder,
}

impl Cluster {
    /// Starts everything, and waits until each sentinel knows all replicas and the other sentinels.
    /// The master runs at one site, all others at another. Returns `None` if `redis-server` is
    /// missing, which [`has_peer`] reports.
    ///
    /// # Panics
    /// Panics if something does not start.
    #[track_caller]
    pub fn start(
        replicas: usize,
        sentinels: usize,
        master: Site<'_>,
        rest: Site<'_>,
    ) -> Option<Self> {
        if !has_peer("redis-server") || !has_peer("redis-cli") {
            return None;
        }
        let folder = Folder::new("sentinels");
        let server = |site: Site<'_>, name: &str, more: &str| {
            let text = format!("save \"\"\nrepl-diskless-sync-delay 0\nprotected-mode no\n{more}");
            start(&folder, site, name, &text, false)
        };
        let master = server(master, "master", "");
        let (host, port) = (master.address.ip(), master.address.port());
        let replica_of = format!("replicaof {host} {port}\n");
        let replicas: Vec<Member> = (0..replicas)
            .map(|number| server(rest, &format!("replica{number}"), &replica_of))
            .collect();
        let quorum = sentinels / 2 + 1;
        let watch = format!(
            "protected-mode no\nsentinel monitor {MASTER_NAME} {host} {port} {quorum}\n\
             sentinel down-after-milliseconds {MASTER_NAME} {}\n\
             sentinel failover-timeout {MASTER_NAME} 1500\n",
            DOWN_AFTER.as_millis()
        );
        let sentinels: Vec<Member> = (0..sentinels)
            .map(|number| start(&folder, rest, &format!("sentinel{number}"), &watch, true))
            .collect();
        let cluster = Self { master, replicas, sentinels, folder };
        cluster.wait_until_complete();
        Some(cluster)
    }

    fn wait_until_complete(&self) {
        for replica in &self.replicas {
            let is_copied =
                || ask(replica.address, &["ROLE"]).lines().any(|line| line == "connected");
            wait_until("the first copy of a replica", is_copied);
        }
        let (replicas, others) = (self.replicas.len(), self.sentinels.len().saturating_sub(1));
        for sentinel in &self.sentinels {
            wait_until("the discovery of all members", || {
                let text = ask(sentinel.address, &["SENTINEL", "MASTER", MASTER_NAME]);
                let lines: Vec<&str> = text.lines().collect();
                let has = |field: &str, number: usize| {
                    lines.windows(2).any(|it| it == [field, number.to_string().as_str()])
                };
                has("num-slaves", replicas) && has("num-other-sentinels", others)
            });
        }
    }

    /// Returns where the master is in the eyes of a sentinel.
    pub fn master_of(&self, sentinel: usize) -> Option<SocketAddr> {
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME];
        let text = ask(self.sentinels[sentinel].address, &question);
        let (host, port) = text.trim().split_once('\n')?;
        format!("{host}:{port}").parse().ok()
    }

    /// Returns what a member has logged, for messages of failed tests.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.file(&format!("{name}/log"))).unwrap_or_default()
    }
}

/// Asks a server with `redis-cli`. Returns the answer as text, one part a line.
pub fn ask(address: SocketAddr, command: &[&str]) -> String {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    // A stopped server would never answer.
    let output = Command::new("timeout")
        .args(["5", "redis-cli", "-h", &host, "-p", &port])
        .args(command)
        .stdin(Stdio::null())
        .output()
        .expect("it is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Starts a member with a configuration of its own, which a sentinel rewrites.
fn start(folder: &Folder, site: Site<'_>, name: &str, text: &str, is_sentinel: bool) -> Member {
    let path = folder.path().join(name);
    std::fs::create_dir(&path).expect("the folder is new");
    for _ in 0..ATTEMPTS {
        let address = SocketAddr::from((site.host, free_port()));
        let (host, port) = (address.ip(), address.port());
        let text = format!("bind {host}\nport {port}\nlogfile log\n{text}");
        std::fs::write(path.join("conf"), text).expect("the folder is writable");
        let mut command = match site.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, "redis-server"]);
                command
            }
            None => Command::new("redis-server"),
        };
        command.arg("conf").args(is_sentinel.then_some("--sentinel"));
        let command = command.current_dir(&path).stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().expect("it is installed");
        let mut member = Member { process, address };
        let mut has_ended = false;
        wait_until("an answer of redis-server", || {
            has_ended = member.process.try_wait().expect("it can be waited for").is_some();
            // Another program may have taken the port meanwhile.
            let own = format!("process_id:{}", member.process.id());
            has_ended
                || ask(address, &["INFO", "server"]).lines().any(|line| line.trim_end() == own)
        });
        if !has_ended {
            return member;
        }
    }
    let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
    panic!("redis-server did not start in {ATTEMPTS} attempts: {log}");
}
