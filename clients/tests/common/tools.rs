//! Runs the tools under test, to their end or interactively.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

/// Runs a tool with `input`, without the user's environment variables.
pub(crate) fn run<T: AsRef<str>>(tool: &str, args: &[T], input: &[u8]) -> Output {
    let args = args.iter().map(AsRef::as_ref);
    testkit::process::run(Command::new(tool).args(args).env_remove("REDISCLI_AUTH"), input)
}

/// Returns the comparable form of an output, without the durations of slow commands.
pub(crate) fn comparable(output: &Output) -> String {
    let lines = output.stdout.split_inclusive(|byte| *byte == b'\n');
    let is_time = |line: &[u8]| {
        let seconds = line.strip_prefix(b"(").and_then(|it| it.strip_suffix(b"s)\n"));
        let is_number = |it: &[u8]| it.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        seconds.is_some_and(is_number)
    };
    let stable = lines.filter(|line| !is_time(line));
    let stable: Vec<u8> = stable.flatten().copied().collect();
    // One line for each part, so that a difference is easy to see.
    let lines = stable.split(|byte| *byte == b'\n').map(|line| line.escape_ascii().to_string());
    let (code, errors) = (output.status.code(), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{errors}\n{code:?}", lines.collect::<Vec<_>>().join("\n"))
}

/// Returns a shell command on its own terminal, which ends after a minute at most.
pub(crate) fn script(command: &str) -> Command {
    let mut script = Command::new("timeout");
    script.args(["--foreground", "60", "script", "-qec", command, "/dev/null"]);
    // Not every shell does the same on Ctrl-C.
    script.env("SHELL", "/bin/sh");
    script
}

/// A running tool: the test types input and reads its output.
pub(crate) struct Tool {
    pub(crate) child: Child,
    keyboard: Option<ChildStdin>,
    shown: Vec<u8>,
}

impl Tool {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        Self { keyboard: child.stdin.take(), child, shown: Vec::new() }
    }

    /// Starts a tool on a terminal that cannot move its cursor, so that its output is plain.
    pub(crate) fn on_terminal(command: &str) -> Self {
        Self::start(
            script(command)
                .env("TERM", "dumb")
                .env("REDISCLI_HISTFILE", "/dev/null")
                .env("KVCLI_HISTFILE", "/dev/null"),
        )
    }

    pub(crate) fn type_in(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("it is not at its end");
        keyboard.write_all(keys.as_bytes()).expect("it reads");
    }

    /// Waits until `words` appear in the output after the last wait.
    pub(crate) fn wait_for(&mut self, words: &str) {
        let mut new = Vec::new();
        let screen = self.child.stdout.as_mut().expect("its output is piped");
        while !new.ends_with(words.as_bytes()) {
            let mut byte = [0];
            let count = screen.read(&mut byte).expect("it shows something");
            assert!(count > 0, "it ended before {words:?}: {}", String::from_utf8_lossy(&new));
            new.push(byte[0]);
        }
        self.shown.extend_from_slice(&new);
    }

    /// Waits for the end of the tool. Returns all output.
    pub(crate) fn end(mut self) -> String {
        self.keyboard = None;
        let screen = self.child.stdout.as_mut().expect("its output is piped");
        screen.read_to_end(&mut self.shown).expect("it shows something");
        self.child.wait().expect("it ends");
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // The tool has ended, or the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
