//! The tool that watches the network prints what `ip` prints, in network namespaces.

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::tools::run;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reactor::{BACKEND_VARIABLE, BackendKind};
use serde_json::Value;
use testkit::{Folder, PATIENCE, in_namespace, wait_until};

const TOOL: &str = env!("CARGO_BIN_EXE_net-watch");

/// Runs `ip` with some arguments.
fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("it runs");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// Returns what `ip` prints with some arguments.
fn ip_says(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("it runs");
    assert!(output.status.success(), "ip {arguments}: {}", output.status);
    String::from_utf8(output.stdout).expect("it is text")
}

/// A program that watches, and writes what it sees to a file.
struct Watcher {
    child: Child,
    file: std::path::PathBuf,
}

impl Watcher {
    fn start(command: &mut Command, file: &Path) -> Self {
        let output = std::fs::File::create(file).expect("it can be made");
        let child = command.stdin(Stdio::null()).stdout(output).spawn().expect("it starts");
        Self { child, file: file.to_owned() }
    }

    fn read(&self) -> String {
        std::fs::read_to_string(&self.file).expect("it is text")
    }

    /// Ends the program, and returns its exit code.
    fn stop(&mut self) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("it is small"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        wait_until("it ends", || self.child.try_wait().expect("it is a child").is_some());
        self.child.wait().expect("it has ended").code()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes changes until both watchers have seen one, so that none is missed by one of them.
fn wait_for_both(one: &Watcher, other: &Watcher) {
    ip("link add first type bridge");
    let mut mtu = 1400;
    wait_until("both watch", || {
        mtu += 1;
        ip(&format!("link set first mtu {mtu}"));
        one.read().contains("first") && other.read().contains("first")
    });
    ip("link set first alias begin");
    ip("link del first");
}

/// Returns what was printed after the first link was removed.
fn comparable(text: &str) -> Vec<String> {
    let is_end = |line: &str| line.starts_with("Deleted") && line.contains(": first: ");
    let lines = text.lines().skip_while(|line| !is_end(line));
    // The link's address is on the next line.
    lines.skip(2).map(str::to_owned).collect()
}

/// Returns whether `few` are among `all`, in this order, and the others are lines of routes.
fn is_among(few: &[String], all: &[String]) -> bool {
    let mut few = few.iter().peekable();
    let is_expected = |line: &String| few.next_if(|it| *it == line).is_some() || is_route(line);
    let are_expected = all.iter().all(is_expected);
    are_expected && few.next().is_none()
}

fn is_route(line: &str) -> bool {
    line.contains(" proto ") || line.contains(" via ") || line.contains(" metric ")
}

const STEPS: [&str; 37] = [
    "link add b0 type bridge",
    "link add v0 type veth peer name v1",
    "link set v0 up",
    "link set v1 up",
    "link set v0 mtu 1400",
    "link set v0 master b0",
    "link set b0 up",
    "link set v0 nomaster",
    "addr add 10.1.0.1/24 brd + dev v1",
    "addr add 10.1.0.3/24 dev v1",
    "addr add 10.2.0.1 peer 10.2.0.2/32 dev v1",
    "addr add 10.3.0.1/24 dev v1 label v1:x scope link metric 7",
    "addr add fd00::1/64 dev v1 nodad",
    "neigh add 10.1.0.77 lladdr 02:00:00:00:00:77 dev v1 nud permanent",
    "neigh replace 10.1.0.77 lladdr 02:00:00:00:00:78 dev v1 nud stale",
    "neigh add fd00::77 lladdr 02:00:00:00:00:79 dev v1 router protocol static",
    "neigh del 10.1.0.77 dev v1",
    "addr add fd00::9/64 dev v1 nodad valid_lft 4000000 preferred_lft 0",
    "route add 10.9.0.0/16 via 10.1.0.2",
    "route replace 10.9.0.0/16 via 10.1.0.3 proto static metric 0 src 10.1.0.1 realms 3/4",
    "route add 10.8.0.0/16 nexthop via 10.1.0.2 realm 5 nexthop via 10.1.0.3 realms 6/7 weight 3",
    "route add blackhole 10.7.0.0/16 table 77 metric 5",
    "route add unreachable 10.6.0.0/16 tos 0x10",
    "route add 10.5.0.0/16 via inet6 fd00::2 dev v1 onlink",
    "route add default via 10.1.0.2 mtu lock 1400 advmss 1300 rto_min 2s features ecn realm 7",
    "-6 route add fd01::/64 via fd00::2 pref high",
    "-6 route add fd02::/64 via fd00::2 expires 4000",
    "-6 route add prohibit fd03::/64",
    "route del 10.8.0.0/16",
    "link set v1 alias watched",
    "link add vx type vxlan id 7 dstport 4789 remote 192.0.2.4 dev v1",
    "link property add dev v1 altname other",
    "link set v1 group 5",
    "link set v1 txqueuelen 77",
    "link set v0 down",
    "link set v0 name v9",
    "link del b0",
];

#[test]
fn changes_are_printed_as_ip_monitor_prints_them() {
    if !in_namespace("changes_are_printed_as_ip_monitor_prints_them", "ip link set lo up") {
        return;
    }
    let folder = Folder::new("net-watch");
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let objects = ["link", "address", "route", "neigh"];
    let mut ours = Watcher::start(Command::new(TOOL).args(objects), &ours);
    let mut theirs = Watcher::start(Command::new("ip").arg("monitor").args(objects), &theirs);
    wait_for_both(&ours, &theirs);
    for step in STEPS {
        ip(step);
        // The kernel tells later that the other end has no carrier. Both name its peer then, which the
        // next step renames.
        let is_told =
            |line: &String| line.contains(": v1@v0: ") && line.contains(" LOWERLAYERDOWN ");
        // What happens to routes when a link loses its carrier or is removed, the kernel does not tell,
        // and `ip monitor` does not look.
        let same = || {
            let (ours, theirs) = (comparable(&ours.read()), comparable(&theirs.read()));
            let all_told = !step.contains("v0 down") || theirs.iter().any(is_told);
            all_told && is_among(&theirs, &ours)
        };
        let start = Instant::now();
        while !same() {
            std::thread::sleep(Duration::from_millis(20));
            if start.elapsed() > PATIENCE {
                let (ours, theirs) = (comparable(&ours.read()), comparable(&theirs.read()));
                let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
                let at = at.unwrap_or(ours.len().min(theirs.len()));
                let rest = |it: &[String]| it[at..].join("\n");
                assert_eq!(rest(&ours), rest(&theirs), "after {step}");
            }
        }
    }
    let text = comparable(&theirs.read());
    assert!(text.len() > 60, "{text:#?}");
    let more = comparable(&ours.read()).len() - text.len();
    assert!(more < text.len() / 2, "{more} lines more than {}", text.len());
    let is_of_bridge = |line: &String| line.starts_with("dev v0 lladdr ");
    assert!(text.iter().any(is_of_bridge), "the entries of the bridge are told too: {text:#?}");
    let is_of_tunnel = |line: &String| line.starts_with("192.0.2.4 dev vx lladdr ");
    assert!(text.iter().any(is_of_tunnel), "so are those of a tunnel: {text:#?}");
    assert_eq!(ours.stop(), Some(0));
    theirs.stop();
}

fn objects(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("it is JSON"));
    lines.collect()
}

#[test]
fn the_state_is_printed_in_the_fields_of_ip() {
    if !in_namespace("the_state_is_printed_in_the_fields_of_ip", "ip link set lo up") {
        return;
    }
    for step in STEPS.iter().filter(|it| !it.contains("down") && !it.contains("del")) {
        ip(step);
    }
    ip("link add link v1 name v1.7 type macvlan");
    // Addresses that were made with the links are checked for a second.
    wait_until("the addresses are checked", || !ip_says("-j addr").contains("tentative"));
    for kind in BackendKind::ALL {
        let once = |object: &str| {
            let mut command = Command::new(TOOL);
            command.args([object, "--once", "--json"]).env(BACKEND_VARIABLE, kind.to_string());
            let output = testkit::process::run(&mut command, b"");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            objects(&String::from_utf8(output.stdout).expect("it is text"))
        };
        let theirs: Vec<Value> = serde_json::from_str(&ip_says("-j link")).expect("it is JSON");
        assert_eq!(sorted(once("link")), sorted(theirs));
        let interfaces: Vec<Value> = serde_json::from_str(&ip_says("-j addr")).expect("it is JSON");
        let mut theirs = Vec::new();
        for interface in interfaces {
            for address in interface["addr_info"].as_array().expect("it is a list") {
                let mut address = address.clone();
                address["index"] = interface["ifindex"].clone();
                address["dev"] = interface["ifname"].clone();
                theirs.push(without_times(address));
            }
        }
        let ours = once("address").into_iter().map(without_times).collect();
        assert_eq!(sorted(ours), sorted(theirs));
        let mut theirs: Vec<Value> =
            serde_json::from_str(&ip_says("-j route show table all")).expect("it is JSON");
        let of_six: Vec<Value> =
            serde_json::from_str(&ip_says("-j -6 route show table all")).expect("it is JSON");
        if !theirs.iter().any(|it| it["dst"] == "fd01::/64") {
            theirs.extend(of_six);
        }
        let theirs = theirs.into_iter().map(without_times).collect();
        let ours = once("route").into_iter().map(without_times).collect();
        assert_eq!(sorted(ours), sorted(theirs));
        let theirs: Vec<Value> = serde_json::from_str(&ip_says("-j neigh")).expect("it is JSON");
        assert!(theirs.iter().any(|it| it["dst"] == "fd00::77"), "{theirs:?}");
        assert_eq!(sorted(once("neigh")), sorted(theirs));
    }
}

/// Removes the times that run.
fn without_times(mut value: Value) -> Value {
    for key in ["valid_life_time", "preferred_life_time", "expires"] {
        if value[key].as_u64().is_some_and(|it| it != u64::from(u32::MAX) && it != 0) {
            value[key] = Value::from("some time");
        }
    }
    let object = value.as_object_mut().expect("it is an object");
    object.retain(|_, value| !value.is_null() || value.as_str().is_some());
    value
}

fn sorted(values: Vec<Value>) -> Vec<String> {
    let mut lines: Vec<String> = values.iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn the_present_state_comes_first_if_asked() {
    if !in_namespace("the_present_state_comes_first_if_asked", "ip link set lo up") {
        return;
    }
    let folder = Folder::new("net-watch");
    let file = folder.path().join("ours");
    let mut command = Command::new(TOOL);
    command.args(["link", "--present", "--json", "--receive-buffer", "4096"]);
    let mut watcher = Watcher::start(&mut command, &file);
    wait_until("it prints the state", || !watcher.read().is_empty());
    ip("link add b0 type bridge");
    ip("link del b0");
    wait_until("it prints changes", || watcher.read().contains("\"deleted\":true"));
    assert_eq!(watcher.stop(), Some(0));
    let all = objects(&watcher.read());
    assert_eq!(all[0]["ifname"], "lo");
    assert_eq!(all[1]["ifname"], "b0");
    let last = all.last().expect("there are some");
    assert_eq!((&last["deleted"], &last["ifname"]), (&Value::from(true), &Value::from("b0")));
}

/// Ends a route without a word of the kernel, and waits until that is told: a dump of routes has ended.
fn wait_for_dump(watcher: &Watcher, number: u32) {
    ip(&format!("link add e{number} type veth peer name f{number}"));
    ip(&format!("link set f{number} up"));
    ip(&format!("link set e{number} up"));
    ip(&format!("addr add 10.77.{number}.1/24 dev e{number}"));
    ip(&format!("route add 10.79.{number}.0/24 via 10.77.{number}.2"));
    ip(&format!("link set e{number} down"));
    let last = format!("Deleted 10.79.{number}.0/24 ");
    wait_until("routes were asked for", || watcher.read().contains(&last));
}

#[test]
fn lines_of_a_route_with_several_next_hops_lead_to_the_state_of_the_kernel() {
    let name = "lines_of_a_route_with_several_next_hops_lead_to_the_state_of_the_kernel";
    if !in_namespace(name, "ip link set lo up") {
        return;
    }
    ip("link add d0 type veth peer name d1");
    ip("link set d1 up");
    ip("link set d0 up");
    ip("addr add 2001:db8::1/64 dev d0 nodad");
    let folder = Folder::new("net-watch");
    let file = folder.path().join("ours");
    let mut watcher = Watcher::start(Command::new(TOOL).args(["route", "--present"]), &file);
    wait_until("it prints the state", || !watcher.read().is_empty());
    let lines = || -> Vec<String> {
        let text = watcher.read().replace("\n\tnexthop", " nexthop");
        let lines = text.lines().filter(|line| line.contains("2001:db8:1::/48 "));
        lines.map(|line| line.trim_end().to_owned()).collect()
    };
    let hops = |it: &str| it.matches("via 2001:db8::").count();
    let place = "2001:db8:1::/48 via 2001:db8::";
    ip(&format!("-6 route add {place}5 dev d0 metric 10"));
    ip(&format!("-6 route append {place}7 dev d0 metric 10"));
    wait_for_dump(&watcher, 1);
    wait_for_dump(&watcher, 2);
    let told = lines();
    assert_eq!(told.iter().map(|it| hops(it)).collect::<Vec<_>>(), [1, 2], "{told:#?}");
    assert!(!told.iter().any(|it| it.starts_with("Deleted")), "{told:#?}");
    // One of them ends: what is left of the route is told at last.
    ip(&format!("-6 route del {place}5 dev d0 metric 10"));
    wait_for_dump(&watcher, 3);
    wait_for_dump(&watcher, 4);
    let told = lines();
    let last = told.last().expect("there are some");
    assert!(last.starts_with(&format!("{place}7 dev d0")), "{told:#?}");
    assert_eq!(watcher.stop(), Some(0));
}

#[test]
fn help_says_what_it_does_and_wrong_arguments_are_refused() {
    let help = run(TOOL, &["--help"], b"");
    assert!(help.status.success());
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["--once", "--json", "--present", "--receive-buffer", "link", "Exit codes"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let wrong = run(TOOL, &["rules"], b"");
    assert_eq!(wrong.status.code(), Some(2));
    let both = run(TOOL, &["--once", "--present"], b"");
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn a_closed_output_ends_it_without_a_word() {
    // It is closed before the tool begins.
    let (reader, writer) = std::io::pipe().expect("there are descriptors");
    drop(reader);
    let mut command = Command::new(TOOL);
    command.arg("--once").stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let output = command.spawn().expect("it starts").wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
