//! The program `storm`: what it prints, and its exit codes.

use std::process::{Command, Output};

fn storm(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storm"));
    command.args(arguments).env_remove("SIM_SEED").env_remove("SIM_FAULTS");
    command.envs(variables.iter().copied()).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_hunt_without_a_find_ends_with_a_summary() {
    let output = storm(&["--scenario", "clocks", "--seeds", "2", "--threads", "1"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("2 runs, "), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("2 of 2 runs"), "{}", text(&output.stderr));
}

#[test]
fn one_seed_is_run_with_its_trace() {
    let output = storm(&["--scenario", "clocks", "--seed", "3"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("10.0.0.1     starts"), "{}", text(&output.stderr));
    let repeated = storm(&["--scenario", "clocks"], &[("SIM_SEED", "3"), ("SIM_FAULTS", "")]);
    assert!(text(&repeated.stdout).starts_with("1 run, "), "{}", text(&repeated.stdout));
    assert!(!text(&repeated.stderr).contains(" ! "), "{}", text(&repeated.stderr));
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, variables, part) in [
        (&["--scenario", "nothing"][..], &[][..], "echo-strict"),
        (&["--minutes", "0"], &[], "--minutes"),
        (&["--seeds", "0"], &[], "--seeds"),
        (&["--seed", "1", "--seeds", "2"], &[], "--seeds"),
        (&["--first-seed", "18446744073709551615"], &[], "no 1000 seeds"),
        (&[], &[("SIM_SEED", "one")], "SIM_SEED"),
        (&[], &[("SIM_FAULTS", "reset@1#1")], "set SIM_SEED too"),
        (&[], &[("SIM_SEED", "1"), ("SIM_FAULTS", "reset")], "reset@3#17"),
    ] {
        let output = storm(arguments, variables);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}
