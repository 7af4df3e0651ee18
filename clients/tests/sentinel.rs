//! A client follows the master of Redis through failovers, with real servers and sentinels.

mod common;

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::followers::{Followers, Timing, addresses};
use reactor::BackendKind;
use testkit::cluster::{Cluster, DOWN_AFTER, Site, ask};
use testkit::{skip, tell};

/// How much later than the sentinels' own time after which a master is down a client talks to the
/// next one, counted from the failure.
const LATER_MAX: Duration = Duration::from_secs(2);

/// How often each failure is measured.
const RUNS: usize = 4;

/// What happens to a master.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// `SIGKILL`: its connections end at once.
    Killed,
    /// `SIGSTOP`: its connections stay, and it answers nothing. It goes on later.
    Stopped,
    /// Its network is gone. It returns later.
    Partitioned,
}

/// Makes a master fail, and checks that clients on these backends follow. Returns `None` if that is
/// not possible here.
fn survive(failure: Failure, backends: &[BackendKind]) -> Option<Timing> {
    let (mut followers, local) = (Followers::on(backends), Site::LOCAL);
    let mut begin = |cluster: &Cluster| followers.add(&addresses(cluster));
    let timing = match failure {
        Failure::Killed => {
            let mut cluster = Cluster::start(2, 3, local, local)?;
            begin(&cluster);
            followers.survive(&mut cluster, |it| it.master.kill(), |_| {})
        }
        Failure::Stopped => {
            let mut cluster = Cluster::start(2, 3, local, local)?;
            begin(&cluster);
            followers.survive(&mut cluster, |it| it.master.stop(), |it| it.master.go_on())
        }
        Failure::Partitioned => {
            let island = Island::new()?;
            let master = Site { host: island.there, namespace: Some(&island.name) };
            let rest = Site { host: island.here, namespace: None };
            let mut cluster = Cluster::start(2, 3, master, rest)?;
            begin(&cluster);
            let cut = |_: &mut Cluster| island.set_cable(false);
            followers.survive(&mut cluster, cut, |cluster| island.rejoin(cluster))
        }
    };
    let [first, majority, client] =
        [timing.first, timing.majority, timing.client].map(|it| it.as_millis());
    tell(
        "MEASURED",
        &format!(
            "{failure:?}: first sentinel {first} ms, majority {majority} ms, client {client} ms"
        ),
    );
    // The client does not need the sentinels to have finished. A busy machine delays both alike.
    let later = timing.client.saturating_sub(timing.majority);
    assert!(later <= DOWN_AFTER + LATER_MAX, "{later:?} later than the sentinels");
    Some(timing)
}

#[test]
fn a_killed_master_is_replaced() {
    survive(Failure::Killed, &BackendKind::ALL);
}

#[test]
fn a_stopped_master_is_replaced_and_does_no_harm_when_it_goes_on() {
    survive(Failure::Stopped, &[BackendKind::Epoll]);
}

#[test]
fn a_partitioned_master_is_replaced_and_does_no_harm_when_it_returns() {
    survive(Failure::Partitioned, &[BackendKind::Epoll]);
}

#[test]
#[ignore = "its bound of time takes a machine that does nothing else"]
fn a_client_is_two_seconds_later_than_down_after_at_most() {
    for failure in [Failure::Killed, Failure::Stopped, Failure::Partitioned] {
        for _ in 0..RUNS {
            let Some(timing) = survive(failure, &[BackendKind::Epoll]) else { continue };
            let took = timing.client;
            assert!(took <= DOWN_AFTER + LATER_MAX, "{failure:?}: {took:?} after the failure");
        }
    }
}

/// A network namespace with a cable to that of the test. It is removed on drop.
struct Island {
    name: String,
    here: Ipv4Addr,
    there: Ipv4Addr,
}

impl Island {
    /// Returns `None` if this is not permitted here.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let number = (std::process::id() * 16 + count) % 0x1_0000;
        let (high, low) = ((number >> 8) as u8, (number & 0xff) as u8);
        let name = format!("mv{number}");
        let here = Ipv4Addr::new(10, high, low, 1);
        let there = Ipv4Addr::new(10, high, low, 2);
        let island = Self { name: name.clone(), here, there };
        let cable = format!("link add {name}h type veth peer name {name}n netns {name}");
        let done = island.ip(&format!("netns add {name}"))
            && island.ip(&cable)
            && island.ip(&format!("addr add {here}/30 dev {name}h"))
            && island.ip(&format!("link set {name}h up"))
            && island.ip(&format!("-n {name} addr add {there}/30 dev {name}n"))
            && island.ip(&format!("-n {name} link set lo up"))
            && island.ip(&format!("-n {name} link set {name}n up"));
        if !done {
            skip("network namespaces are not permitted here (it takes CAP_SYS_ADMIN)");
        }
        done.then_some(island)
    }

    fn ip(&self, command: &str) -> bool {
        let output = Command::new("ip").args(command.split(' ')).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// Unplugs the cable at the far end, or plugs it in.
    fn set_cable(&self, is_up: bool) {
        let state = if is_up { "up" } else { "down" };
        let name = &self.name;
        assert!(self.ip(&format!("-n {name} link set {name}n {state}")));
    }

    /// Writes to the old master from its side of the partition, then ends the partition. The old
    /// master becomes a replica and gives these writes up, although it has acknowledged them.
    fn rejoin(&self, cluster: &Cluster) {
        let (host, port) = (self.there.to_string(), cluster.master.address.port().to_string());
        let written = Command::new("ip")
            .args(["netns", "exec", &self.name, "redis-cli", "-h", &host, "-p", &port])
            .args(["SADD", "on the island", "1", "2", "3"])
            .output()
            .expect("it is installed");
        assert_eq!(written.stdout, b"3\n", "the old master acknowledges them");
        self.set_cable(true);
        let old = cluster.master.address;
        testkit::wait_until("the old master to copy the new one", || {
            ask(old, &["ROLE"]).lines().any(|line| line == "connected")
        });
        assert_eq!(ask(old, &["SCARD", "on the island"]), "0\n", "they are given up");
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // It takes the cable with it.
        self.ip(&format!("netns del {}", self.name));
    }
}
