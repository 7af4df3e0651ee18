//! Runs `fetch`.

use std::process::{Command, Output, Stdio};

/// The program.
pub(crate) const FETCH: &str = env!("CARGO_BIN_EXE_fetch");

/// Returns a command that the environment of the tests does not change.
pub(crate) fn command<T: AsRef<str>>(args: &[T]) -> Command {
    let mut command = Command::new(FETCH);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.args(args.iter().map(AsRef::as_ref)).stdin(Stdio::null());
    command
}

/// Runs it with these arguments.
pub(crate) fn fetch<T: AsRef<str>>(args: &[T]) -> Output {
    command(args).output().expect("it runs")
}

/// Runs it and checks that it succeeds. Returns what it has printed.
pub(crate) fn fetched<T: AsRef<str>>(args: &[T]) -> Vec<u8> {
    let output = fetch(args);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Runs it and checks that it fails with this code, and one message, which contains `hint`.
pub(crate) fn failed<T: AsRef<str>>(args: &[T], code: i32, hint: &str) -> Output {
    let output = fetch(args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{hint}: {message}");
    assert!(message.contains(hint), "{hint}: {message}");
    output
}
