//! The output of a test whose peer is missing.

use std::process::{Command, Output};

use testkit::has_peer;

/// Runs [`asks_for_a_peer`] in a harness of its own that finds no programs.
fn without_peers(required: &str) -> Output {
    Command::new(std::env::current_exe().expect("it runs"))
        .args(["--exact", "asks_for_a_peer"])
        .env("PATH", "")
        .env("REQUIRE_PEERS", required)
        .output()
        .expect("it runs")
}

#[test]
fn asks_for_a_peer() {
    // Any program in the list of packages works.
    if !has_peer("nc") {
        return;
    }
    let found = Command::new("nc").arg("-h").output();
    assert!(found.is_ok(), "{found:?}");
}

#[test]
fn a_missing_peer_is_reported_by_a_passing_test() {
    let output = without_peers("0");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output:?}");
    let line = "SKIPPED asks_for_a_peer: nc is not installed (apt install netcat-openbsd)\n";
    assert!(errors.contains(line), "{errors}");
}

#[test]
fn a_missing_peer_fails_the_test_if_peers_are_required() {
    let output = without_peers("1");
    let errors = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{output:?}");
    assert!(errors.contains("required by REQUIRE_PEERS=1: nc is not installed"), "{errors}");
}
