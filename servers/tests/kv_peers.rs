//! Compares kv with Redis: the same commands, sent to both with the tools of Redis.

mod common;

use std::process::{Command, Stdio};

use common::{Daemon, pipe_through};
use testkit::{Folder, Redis, has_peer, skip};

const KV: &str = env!("CARGO_BIN_EXE_kv");
/// The release of Redis whose replies are compared.
const JUDGE: &str = "v=7.0.";

fn start_kv(socket: &str) -> Daemon {
    Daemon::start(&[], KV, &["--listen", &format!("unix:{socket}")])
}

/// Starts Redis, if the installed one is the release whose replies are compared.
fn start_judge() -> Option<Redis> {
    let redis = Redis::start(&[])?;
    let output = Command::new("redis-server").arg("--version").output().expect("it runs");
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    if !version.contains(JUDGE) {
        skip(&format!("{JUDGE} is the judge, and this is {version}"));
        return None;
    }
    Some(redis)
}

fn cli(socket: &str, options: &[&str], script: &str) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["--no-raw", "-s", socket]).args(options);
    String::from_utf8_lossy(&pipe_through(&mut command, script.as_bytes())).into_owned()
}

#[test]
fn a_script_of_commands_has_the_same_output_as_on_redis() {
    let Some(redis) = start_judge() else { return };
    let folder = Folder::new("script");
    let (ours, theirs) = (folder.file("kv.sock"), redis.socket());
    let _kv = start_kv(&ours);
    let script = include_str!("kv/script.txt");
    assert!(script.lines().count() > 500);
    for options in [&[][..], &["-3"]] {
        let output = cli(&ours, options, script);
        let expected = cli(&theirs, options, script);
        for (number, (output, expected)) in output.lines().zip(expected.lines()).enumerate() {
            assert_eq!(output, expected, "line {number} of the output, {options:?}");
        }
        assert_eq!(output.lines().count(), expected.lines().count());
    }
}

#[test]
fn collections_have_the_same_elements_as_on_redis() {
    let Some(redis) = start_judge() else { return };
    let folder = Folder::new("sets");
    let (ours, theirs) = (folder.file("kv.sock"), redis.socket());
    let _kv = start_kv(&ours);
    let filling: String = (0..300)
        .map(|number| {
            format!(
                "sadd s m{number}\nsadd t m{}\nhset h f{number} v{number}\nset k{number} x\n",
                number * 2
            )
        })
        .collect();
    let removing: String = (0..300).step_by(3).map(|it| format!("srem s m{it}\n")).collect();
    let filling = filling + &removing;
    let sorted = |socket: &str, command: &str| {
        let text = cli(socket, &["--raw"], command);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(cli(&ours, &[], &filling), cli(&theirs, &[], &filling));
    for command in
        ["smembers s", "sinter s t", "sunion s t", "sdiff s t", "sdiff t s", "hgetall h", "keys *"]
    {
        let expected = sorted(&theirs, command);
        assert!(expected.len() > 50, "{command} has too few elements for a comparison");
        assert_eq!(sorted(&ours, command), expected, "{command}");
    }
    let all = sorted(&ours, "keys *");
    let mut command = Command::new("redis-cli");
    let scanned = command.args(["-s", &ours, "--scan"]).output().expect("it runs");
    let scanned = String::from_utf8_lossy(&scanned.stdout).into_owned();
    let mut scanned: Vec<&str> = scanned.lines().collect();
    scanned.sort_unstable();
    assert_eq!(scanned, all, "--scan");
}

#[test]
fn redis_benchmark_runs_every_test_that_kv_supports() {
    if !has_peer("redis-benchmark") {
        return;
    }
    let folder = Folder::new("benchmark");
    let socket = folder.file("kv.sock");
    let server = start_kv(&socket);
    let tests = "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,\
                 lrange_100,lrange_300,lrange_500,lrange_600,mset";
    for options in [&["-P", "1"][..], &["-P", "16"], &["-P", "16", "-3"]] {
        let output = Command::new("redis-benchmark")
            .args(["-s", &socket, "-q", "-n", "2000", "-r", "1000", "-t", tests])
            .args(options)
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let printed = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}{errors}");
        assert!(!printed.contains("rror") && !errors.contains("rror"), "{printed}{errors}");
        let results = printed.lines().filter(|line| line.contains("requests per second")).count();
        assert_eq!(results, tests.split(',').count() + 1, "{printed}");
    }
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
}
