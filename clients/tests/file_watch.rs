//! The tool that watches files: its lines beside those of `inotifywait`, and its commands.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use reactor::{BACKEND_VARIABLE, BackendKind};
use testkit::process::{self, signal};
use testkit::{Folder, has_peer, wait_until};

const TOOL: &str = env!("CARGO_BIN_EXE_file-watch");

/// A running tool. It is killed if the test fails.
struct Running {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Running {
    /// Starts a program, and waits for a line on standard error that contains `ready`.
    fn start(command: &mut Command, ready: &str) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let errors = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut running = Self { child, errors };
        running.read_until(ready);
        running
    }

    fn read_until(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let length = self.errors.read_line(&mut line).expect("it is text");
            assert!(length > 0, "it has ended before it wrote {text:?}");
        }
    }

    /// Waits for the end. Returns the status and what was written to standard output.
    fn finish(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        let mut output = self.child.stdout.take().expect("it is piped");
        output.read_to_string(&mut text).expect("it is text");
        (self.child.wait().expect("it is a child"), text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tool(folder: &Path, arguments: &[&str]) -> Running {
    Running::start(Command::new(TOOL).current_dir(folder).args(arguments), "watching")
}

/// Changes whose events do not depend on when a directory is read.
fn change_files(folder: &Path, pause: impl Fn()) {
    let path = |name: &str| folder.join(name);
    fs::write(path("a"), "one").expect("it is writable");
    fs::create_dir(path("d")).expect("it is writable");
    pause();
    fs::write(path("d/b"), "two").expect("it is writable");
    fs::rename(path("d/b"), path("c")).expect("it moves");
    fs::rename(path("d"), path("e")).expect("it moves");
    fs::write(path("e/f"), "three").expect("it is writable");
    pause();
    let sed = Command::new("sed").args(["-i", "s/one/ONE/"]).arg(path("a")).status();
    assert!(sed.expect("sed is there").success());
    let chmod = Command::new("chmod").arg("600").arg(path("a")).status();
    assert!(chmod.expect("chmod is there").success());
    std::os::unix::fs::symlink("a", path("link")).expect("it is writable");
    fs::rename(path("c"), path("a")).expect("it moves");
    fs::remove_file(path("e/f")).expect("it is there");
    fs::remove_dir(path("e")).expect("it is empty");
    fs::write(path("end"), "").expect("it is writable");
}

#[test]
fn the_lines_are_those_of_inotifywait() {
    if !has_peer("inotifywait") {
        return;
    }
    let folder = Folder::new("transcript");
    let events = "create,modify,attrib,close_write,move,delete";
    let lines = |mut running: Running| -> Vec<String> {
        let output = BufReader::new(running.child.stdout.take().expect("it is piped"));
        let mut lines = Vec::new();
        for line in output.lines() {
            let line = line.expect("it is text");
            let is_last = line.contains("CLOSE_WRITE,CLOSE end");
            // Directories report their own attributes too, without a name.
            if !line.ends_with(' ') {
                lines.push(line);
            }
            if is_last {
                break;
            }
        }
        lines
    };
    let ours = tool(folder.path(), &["."]);
    let mut command = Command::new("inotifywait");
    command.current_dir(folder.path()).args(["-m", "-r", "-e", events, "."]);
    let theirs = Running::start(&mut command, "Watches established");
    // Both have to watch a new directory before something is made in it.
    change_files(folder.path(), || std::thread::sleep(std::time::Duration::from_millis(500)));
    let (mut ours, mut theirs) = (lines(ours), lines(theirs));
    // The kernel merges an event with an equal one before it if that was not read.
    ours.dedup();
    theirs.dedup();
    assert_eq!(ours, theirs);
    assert!(ours.iter().any(|line| line.ends_with("MOVED_FROM,ISDIR d")), "{ours:?}");
}

/// Root may read every directory, so the tool has a user of its own.
#[test]
fn directories_that_cannot_be_read_are_named_and_watched_once_they_can() {
    if !process::is_of_root() {
        testkit::skip("only root can give the tool a user of its own");
        return;
    }
    let user = format!("--reuid={}", 100_000 + std::process::id());
    let allow = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    for given in [".", "locked", "locked/deep"] {
        let folder = Folder::new("locked");
        let program = folder.file("file-watch");
        fs::copy(TOOL, &program).expect("it is copied");
        let (locked, deep) =
            (folder.path().join("tree/locked"), folder.path().join("tree/locked/deep"));
        fs::create_dir_all(&deep).expect("it is writable");
        let closed = if given == "locked/deep" { &deep } else { &locked };
        allow(closed, 0o700);
        let mut command = Command::new("setpriv");
        command.current_dir(folder.path().join("tree")).args([
            "--clear-groups",
            &user,
            "timeout",
            "60",
            &program,
        ]);
        command.args(["-e", "create", "-n", "1", "--include", "b", given]);
        let mut running = Running::start(&mut command, "is left out: Permission denied");
        running.read_until("watching");
        allow(closed, 0o755);
        fs::write(deep.join("b"), "").expect("it is writable");
        let (status, text) = running.finish();
        assert_eq!(status.code(), Some(0));
        assert!(text.ends_with("locked/deep/ CREATE b\n"), "{given}: {text}");
    }
}

#[test]
fn a_number_of_objects_is_printed_on_every_backend() {
    for kind in BackendKind::ALL {
        let folder = Folder::new("objects");
        let mut command = Command::new(TOOL);
        command.current_dir(folder.path()).env(BACKEND_VARIABLE, kind.to_string());
        command.args(["--json", "-e", "create,move", "-n", "3", "--exclude", "*.o", "."]);
        let running = Running::start(&mut command, "watching");
        for name in ["a.o", "b", "c"] {
            fs::write(folder.path().join(name), "").expect("it is writable");
        }
        fs::rename(folder.path().join("c"), folder.path().join("d")).expect("it moves");
        let (status, text) = running.finish();
        assert_eq!(status.code(), Some(0));
        let object = |event: &str, path: &str, more: &str| {
            format!("{{\"event\":\"{event}\",\"kind\":\"file\",\"path\":\"./{path}\"{more}}}\n")
        };
        let expected = [
            object("create", "b", ""),
            object("create", "c", ""),
            object("move", "d", ",\"from\":\"./c\""),
        ];
        assert_eq!(text, expected.concat(), "{kind}");
    }
}

#[test]
fn changes_during_a_run_cause_one_more_run() {
    let folder = Folder::new("runs");
    let (log, go) = (folder.file("log"), folder.file("go"));
    fs::create_dir(folder.path().join("src")).expect("it is writable");
    // Each run waits until it is told to go on.
    let script = format!("echo begin >> {log}; while ! rm {go} 2>/dev/null; do sleep 0.01; done");
    let running =
        tool(folder.path(), &["src", "-n", "2", "--", "sh", "-c", &format!("{script}; exit 3")]);
    let write = |name: &str| fs::write(folder.path().join("src").join(name), name);
    let begun = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    write("first").expect("it is writable");
    wait_until("the first run", || begun() == 1);
    for number in 0..20 {
        write(&format!("f{number}")).expect("it is writable");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(begun(), 1, "one at a time");
    fs::write(&go, "").expect("it is writable");
    wait_until("the second run", || begun() == 2);
    fs::write(&go, "").expect("it is writable");
    let (status, _) = running.finish();
    assert_eq!((status.code(), begun()), (Some(3), 2), "the code of the last run");
}

#[test]
fn a_running_command_is_started_again_if_that_is_asked_for() {
    let folder = Folder::new("restart");
    let log = folder.file("log");
    fs::create_dir(folder.path().join("src")).expect("it is writable");
    let script = format!(
        "trap 'echo end >> {log}; exit' USR1; echo begin >> {log}; while :; do sleep 0.01; done"
    );
    let arguments = ["src", "--restart", "--signal", "USR1", "--now", "--", "sh", "-c", &script];
    let running = tool(folder.path(), &arguments);
    let logged = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("the first run", || logged() == "begin\n");
    fs::write(folder.path().join("src/file"), "").expect("it is writable");
    wait_until("the second run", || logged() == "begin\nend\nbegin\n");
    signal(running.child.id(), "TERM");
    let (status, _) = running.finish();
    assert_eq!(status.code(), Some(128 + 15), "the signal was passed on");
}

#[test]
fn a_signal_is_passed_on_and_the_command_ends_in_its_own_time() {
    let folder = Folder::new("forward");
    let log = folder.file("log");
    fs::create_dir(folder.path().join("src")).expect("it is writable");
    let script = format!(
        "trap 'sleep 0.2; echo told >> {log}; exit 5' INT; echo begin >> {log}; while :; do sleep 0.01; done"
    );
    let running = tool(folder.path(), &["src", "--now", "--", "sh", "-c", &script]);
    let logged = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("the run", || logged() == "begin\n");
    signal(running.child.id(), "INT");
    let (status, _) = running.finish();
    assert_eq!((status.code(), logged().as_str()), (Some(5), "begin\ntold\n"));
}

#[test]
fn what_cannot_be_watched_or_run_is_named() {
    let folder = Folder::new("errors");
    let run = |arguments: &[&str]| {
        // It would watch for ever if it found no fault.
        let mut command = Command::new("timeout");
        command.arg("60").arg(TOOL).current_dir(folder.path()).args(arguments);
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, error) = run(&["missing"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("cannot watch missing: No such file"), "{error}");
    let (code, error) = run(&["--include", "[", "."]);
    assert_eq!(code, Some(2));
    assert!(error.contains("the pattern \"[\" is wrong"), "{error}");
    let (code, error) = run(&["--now", ".", "--", "no-such-program"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("cannot start no-such-program"), "{error}");
    let (code, error) = run(&[".", "--", ""]);
    assert_eq!(code, Some(2));
    assert!(error.contains("the command after -- is empty"), "{error}");
    fs::create_dir(folder.path().join("below")).expect("it is writable");
    let (code, error) = run(&["--watches-max", "1", "."]);
    assert_eq!(code, Some(1));
    assert!(error.contains("directories are watched, of at most 1"), "{error}");
}

#[test]
fn the_limit_of_the_kernel_is_named_with_what_to_do_about_it() {
    if !has_peer("unshare") {
        return;
    }
    let folder = Folder::new("enospc");
    for name in ["a", "b", "c"] {
        fs::create_dir(folder.path().join(name)).expect("it is writable");
    }
    // The limit of a user namespace is one of its own.
    let limited = |program: &str| {
        let script = format!("echo 2 > /proc/sys/user/max_inotify_watches && {program}");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", &script]);
        command.current_dir(folder.path()).output().expect("unshare is there")
    };
    if !limited("true").status.success() {
        testkit::skip("no user namespace with a limit of its own can be made here");
        return;
    }
    let output = limited(&format!("exec timeout 60 {TOOL} ."));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for part in ["file-watch: cannot watch ./", "fs.inotify.max_user_watches", "this watch has 2"] {
        assert!(error.contains(part), "{part:?} is missing: {error}");
    }
}
