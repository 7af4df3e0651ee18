//! Programs that tests run and use: the examples, and programs of other languages beside them.

#![allow(dead_code)] // Each test program uses a part of it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use testkit::{PATIENCE, process, wait_until};

/// A running program. It is killed on drop.
pub(crate) struct Program {
    pub(crate) child: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Starts an example.
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        Self::start_with(name, args, Stdio::null())
    }

    pub(crate) fn start_with(name: &str, args: &[&str], input: Stdio) -> Self {
        let mut command = example(name);
        command.args(args).stdin(input);
        Self::spawn(&mut command)
    }

    /// Starts an example that listens. Returns its address too.
    pub(crate) fn listening(name: &str, more: &[&str]) -> (Self, String) {
        let program = Self::start(name, &[&["127.0.0.1:0"], more].concat());
        let address = program.line("listening on ");
        (program, address)
    }

    /// Starts a program whose output is read.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (sender, lines) = mpsc::channel();
        // It reads until the program ends, so that the program never waits for the test to read.
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|it| sender.send(it))
        });
        Self { child, lines }
    }

    /// Returns the next line of its output; `None` at the end of the output.
    #[track_caller]
    pub(crate) fn next_line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the program neither writes nor ends"),
        }
    }

    /// Returns the rest of the next line of its output that begins with `start`.
    #[track_caller]
    pub(crate) fn line(&self, start: &str) -> String {
        loop {
            let line = self.next_line().unwrap_or_else(|| panic!("no line {start:?} came"));
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        process::signal(self.child.id(), "TERM");
        self.wait()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_until("the end of the program", || !process::runs(self.child.id()));
        self.child.wait().expect("it is a child")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the command of an example, which must be built.
pub(crate) fn example(name: &str) -> Command {
    let tests = std::env::current_exe().expect("the path of this program is known");
    let profile = tests.ancestors().nth(2).expect("tests are two folders below their profile");
    let path: PathBuf = profile.join("examples").join(name);
    assert!(path.exists(), "{path:?} is missing: build it with cargo build --examples");
    Command::new(path)
}
