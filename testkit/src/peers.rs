//! The programs of others that ours are tested against, and what to say when they are absent.

use std::io::Write;
use std::panic::Location;

/// Which package of Debian has which program.
const PACKAGES: [(&str, &str); 10] = [
    ("chrt", "util-linux"),
    ("ip", "iproute2"),
    ("nc", "netcat-openbsd"),
    ("prlimit", "util-linux"),
    ("redis-benchmark", "redis-tools"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
    ("script", "bsdutils"),
    ("socat", "socat"),
    ("strace", "strace"),
];

/// Whether `program` is on the `PATH`. When it is not, [`skip`] says so: the test has to return.
///
/// # Panics
/// When it is absent and `REQUIRE_PEERS` is `1`.
#[track_caller]
pub fn has_peer(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|paths| {
        std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
    });
    if !found {
        let package = PACKAGES.iter().find(|(name, _)| *name == program);
        let advice = package.map(|(_, package)| format!(" (apt install {package})"));
        skip(&format!("{program} is not installed{}", advice.unwrap_or_default()));
    }
    found
}

/// Says that a test cannot run here, and why.
///
/// # Panics
/// When `REQUIRE_PEERS` is `1`: then nothing may be absent.
#[track_caller]
pub fn skip(why: &str) {
    let required = std::env::var_os("REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "required by REQUIRE_PEERS=1: {why}");
    tell("SKIPPED", why);
}

/// Writes a line about the current test where a person sees it: the harness keeps what a passing
/// test prints to itself, and never what is written to the standard error itself.
#[track_caller]
pub fn tell(word: &str, what: &str) {
    let thread = std::thread::current();
    let place = Location::caller();
    let test = match thread.name() {
        // The harness runs each test on a thread of its name, or all on the main one.
        Some(name) if name != "main" => name.to_owned(),
        _ => format!("{}:{}", place.file(), place.line()),
    };
    // One write, so that lines of several tests stay apart. It fails when no process reads it.
    let _ = std::io::stderr().write_all(format!("{word} {test}: {what}\n").as_bytes());
}
