//! `lookup` as a user runs it.

mod hostile;
mod many;
mod own;
mod peers;
mod server;

use std::process::{Command, Output, Stdio};

/// Returns a command that runs the tool.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookup"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs the tool to its end.
fn lookup(args: &[&str]) -> Output {
    command(args).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks the exit code, and returns standard output.
#[track_caller]
fn expect(code: i32, output: &Output) -> String {
    let (found, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{found}{errors}");
    found
}
