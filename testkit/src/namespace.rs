//! Tests in a network namespace of their own. A namespace needs privileges that a test may not have,
//! so the test program runs itself again in one.

use std::io::{self, Write};
use std::process::{Command, Output};

use crate::{has_peer, skip};

/// The variable that tells the program that it runs in the namespace.
const INSIDE: &str = "TESTKIT_NAMESPACE";

/// A network for [`in_namespace`] whose hosts are known and do not answer: no device has their link
/// addresses. The name `server` has an address there, `fd00:1::2`, and one of the loopback. The name
/// server is there too, at `10.99.0.53`; the system waits for it for two seconds.
pub const BLACKHOLE: &str = "ip link set lo up
ip link add hole type veth peer name far
ip link set hole up
ip link set far up
ip -6 addr add fd00:1::1/64 dev hole nodad
ip addr add 10.99.0.1/24 dev hole
ip neigh add fd00:1::2 lladdr 02:00:00:00:00:02 dev hole
ip neigh add 10.99.0.53 lladdr 02:00:00:00:00:03 dev hole
printf '127.0.0.1 localhost\\nfd00:1::2 server\\n127.0.0.1 server\\n' >/tmp/hosts.$$
mount --bind /tmp/hosts.$$ /etc/hosts
printf 'nameserver 10.99.0.53\\noptions timeout:2 attempts:1\\n' >/tmp/resolv.$$
mount --bind /tmp/resolv.$$ /etc/resolv.conf
rm /tmp/hosts.$$ /tmp/resolv.$$ 2>/dev/null || true";

/// Returns whether this program runs in the namespace of one of its tests. If not, it runs the test with
/// the name `test` there, once the shell script `network` has set the namespace up, and prints what the
/// test prints. Where no namespace can be made, that is said.
///
/// The test is root in the namespace, and may mount files over others.
///
/// # Panics
/// Panics if the test fails in the namespace.
pub fn in_namespace(test: &str, network: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !has_peer("unshare") || !has_peer("ip") {
        return false;
    }
    let tried = unshare(network);
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).into_owned();
        skip(&format!("no network namespace can be made here: {}", why.trim()));
        return false;
    }
    let run = format!("exec \"$PROGRAM\" --exact {test} --include-ignored --nocapture");
    let output = unshare(&format!("{network}\n{run}"));
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{errors}");
    let lines = said.lines().map(|line| {
        let line = line.strip_prefix(&format!("test {test} ... ")).unwrap_or(line);
        line.trim_end()
    });
    let is_of_harness = |line: &&str| {
        line.is_empty()
            || *line == "ok"
            || line.starts_with("running ")
            || line.starts_with("test ")
    };
    lines.filter(|line| !is_of_harness(line)).for_each(|line| println!("{line}"));
    errors.lines().filter(|line| is_told(line)).for_each(|line| {
        let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
    });
    false
}

/// Returns whether a line is one of [`tell`](crate::tell), which begins with a word in capitals.
fn is_told(line: &str) -> bool {
    line.split_once(' ').is_some_and(|(word, _)| {
        word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_uppercase())
    })
}

fn unshare(script: &str) -> Output {
    Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-ec", script])
        .env(INSIDE, "1")
        .env("PROGRAM", std::env::current_exe().expect("it runs"))
        .output()
        .expect("it runs")
}
