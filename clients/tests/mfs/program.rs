//! `mfs-client` as a process.

use std::process::Command;

use testkit::process;

/// What a run of the program came to.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: String,
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Returns what it has printed, after it has succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Vec<u8> {
        assert_eq!(self.code, Some(0), "{}", self.errors);
        self.output
    }
}

/// Returns a command that runs the program with a master.
pub(crate) fn command(master: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mfs-client"));
    command.args(["--master", master]).args(arguments).env_remove("RUST_LOG");
    command
}

/// Runs the program to its end with some input.
pub(crate) fn run(master: &str, arguments: &[&str], input: &[u8]) -> Ran {
    let output = process::run(&mut command(master, arguments), input);
    Ran {
        code: output.status.code(),
        output: output.stdout,
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
