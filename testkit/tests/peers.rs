//! What a person sees of a test whose peer is absent.

use std::process::{Command, Output};

use testkit::has_peer;

/// Runs [`asks_for_a_peer`] as a harness of its own, where no program is to be found.
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
    // Any program that has a package will do.
    if !has_peer("nc") {
        return;
    }
    let found = Command::new("nc").arg("-h").output();
    assert!(found.is_ok(), "{found:?}");
}

#[test]
fn an_absent_peer_is_seen_though_the_test_passes() {
    let output = without_peers("0");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output:?}");
    let line = "SKIPPED asks_for_a_peer: nc is not installed (apt install netcat-openbsd)\n";
    assert!(said.contains(line), "{said}");
}

#[test]
fn an_absent_peer_fails_where_peers_are_required() {
    let output = without_peers("1");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{output:?}");
    assert!(said.contains("required by REQUIRE_PEERS=1: nc is not installed"), "{said}");
}
