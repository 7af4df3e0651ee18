//! Checks for peer programs that the tests need, and reports missing ones.

use std::io::Write;
use std::panic::Location;

/// The Debian package of each program.
const PACKAGES: [(&str, &str); 36] = [
    ("brotli", "brotli"),
    ("cc", "gcc libc6-dev"),
    ("chromium", "chromium"),
    ("chrt", "util-linux"),
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("dnsperf", "dnsperf"),
    ("getent", "libc-bin"),
    ("host", "bind9-host"),
    ("inotifywait", "inotify-tools"),
    ("ip", "iproute2"),
    ("kdig", "knot-dnsutils"),
    ("mfschunkserver", "moosefs-chunkserver"),
    ("mfschunktool", "moosefs-chunkserver"),
    ("mfscli", "moosefs-cli"),
    ("mfsmaster", "moosefs-master"),
    ("mfsmetalogger", "moosefs-metalogger"),
    ("mfsmount", "moosefs-client"),
    ("mfssetgoal", "moosefs-client"),
    ("named", "bind9"),
    ("nc", "netcat-openbsd"),
    ("nginx", "nginx-light"),
    ("node", "nodejs"),
    ("openssl", "openssl"),
    ("prlimit", "util-linux"),
    ("python3", "python3"),
    ("redis-benchmark", "redis-tools"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
    ("script", "bsdutils"),
    ("socat", "socat"),
    ("strace", "strace"),
    ("unbound", "unbound"),
    ("unshare", "util-linux"),
    ("zstd", "zstd"),
];

/// Returns whether `program` is on the `PATH`. If it is not, reports that with [`skip`], and the
/// test has to return.
///
/// # Panics
/// Panics if the program is missing and `REQUIRE_PEERS` is `1`.
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

/// Reports that a test cannot run here, and why.
///
/// # Panics
/// Panics if `REQUIRE_PEERS` is `1`: then nothing may be missing.
#[track_caller]
pub fn skip(why: &str) {
    let required = std::env::var_os("REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "required by REQUIRE_PEERS=1: {why}");
    tell("SKIPPED", why);
}

/// Writes a line about the current test that a user sees. The harness hides the output of passing
/// tests, but not what is written to standard error directly.
#[track_caller]
pub fn tell(word: &str, what: &str) {
    let thread = std::thread::current();
    let place = Location::caller();
    let test = match thread.name() {
        // The harness runs each test on a thread with its name, or all tests on the main thread.
        Some(name) if name != "main" => name.to_owned(),
        _ => format!("{}:{}", place.file(), place.line()),
    };
    // A single write keeps lines of several tests apart. It fails if no process reads it.
    let _ = std::io::stderr().write_all(format!("{word} {test}: {what}\n").as_bytes());
}
