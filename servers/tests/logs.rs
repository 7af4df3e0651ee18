//! A standard error that blocks, fails or is closed loses lines of the log and has no other effect.

mod common;

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use testkit::{Folder, PATIENCE, process, wait_until};

const SERVERS: [&str; 3] =
    [env!("CARGO_BIN_EXE_echo-server"), env!("CARGO_BIN_EXE_uppercase"), env!("CARGO_BIN_EXE_kv")];
const ECHO: &str = SERVERS[0];
/// A number of connections whose log lines exceed a pipe and the queue of the log.
const FLOOD: usize = 15_000;

/// A server whose standard error the test provides.
struct Quiet {
    child: Child,
    path: PathBuf,
    _folder: Folder,
}

impl Quiet {
    fn start(program: &str, filter: &str, stderr: impl Into<Stdio>) -> Self {
        let folder = Folder::new("logs");
        let path = folder.path().join("socket");
        let child = Command::new(program)
            .args(["--listen", &format!("unix:{}", path.display())])
            .env("RUST_LOG", filter)
            .env_remove("REACTOR_BACKEND")
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the server starts");
        wait_until("listening", || UnixStream::connect(&path).is_ok());
        Self { child, path, _folder: folder }
    }

    /// Connects a client and gets one reply.
    fn visit(&self) {
        let mut stream = UnixStream::connect(&self.path).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
        // A line that each server answers with a line.
        stream.write_all(b"PING\r\n").expect("it takes bytes");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("it answers");
        assert!(line.contains("PING") || line.contains("PONG"), "{line:?}");
    }

    fn signal(&self, name: &str) {
        process::signal(self.child.id(), name);
    }

    fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.wait().expect("it ends")
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // It may have ended already, as intended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(reader: PipeReader) -> impl Iterator<Item = String> {
    BufReader::new(reader).lines().map(|line| line.expect("it is text"))
}

/// Returns the number of dropped lines in a line of counters.
fn dropped(line: &str) -> u64 {
    let (_, count) = line.split_once("log_lines_dropped=").expect("the count stands in it");
    count.trim_end().parse().expect("it is a number")
}

#[test]
fn an_unread_log_blocks_no_server() {
    for program in SERVERS {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        let server = Quiet::start(program, "trace", writer);
        // Before the pipe is read at all, and after far more lines than it holds.
        for _ in 0..2000 {
            server.visit();
        }
        assert_eq!(server.stop().code(), Some(0), "{program}");
        drop(reader);
    }
}

#[test]
fn a_log_read_late_is_complete_or_has_a_notice_of_dropped_lines() {
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    let server = Quiet::start(ECHO, "debug", writer);
    for _ in 0..FLOOD {
        server.visit();
    }
    let mut lines = lines(reader);
    // The log starts with every connection in order. The notice is where lines are missing.
    let (mut ended, mut notice) = (0, String::new());
    for line in lines.by_ref() {
        ended += u64::from(line.contains("peer closed"));
        if line.contains("lines of this log were dropped") {
            notice = line;
            break;
        }
    }
    assert!(ended > 0 && ended < FLOOD as u64, "{ended} of {FLOOD} were kept");
    server.visit();
    let status = server.stop();
    let last: Vec<String> = lines.collect();
    let stopped = last.iter().find(|line| line.contains("stopped: ")).expect("it is logged");
    let count = dropped(stopped);
    assert!(notice.contains(&format!(" {count} lines")), "{notice}, and then {count}");
    assert!(last.iter().any(|line| line.contains("peer closed")), "nothing came after the notice");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_log_that_is_read_is_complete_when_the_server_stops() {
    for program in SERVERS {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        let server = Quiet::start(program, "debug", writer);
        let reading = std::thread::spawn(move || lines(reader).collect::<Vec<_>>());
        for _ in 0..1000 {
            server.visit();
        }
        assert_eq!(server.stop().code(), Some(0));
        let lines = reading.join().expect("it does not panic");
        let ended = lines.iter().filter(|line| line.contains("peer closed")).count();
        // The connection that waited for the server to listen is among them.
        assert!(ended > 1000, "{ended} of 1001 were logged");
        let stopped = lines.iter().find(|line| line.contains("stopped: ")).expect("it is logged");
        assert_eq!(dropped(stopped), 0);
    }
}

#[test]
fn a_broken_log_blocks_no_server() {
    let full = || File::options().write(true).open("/dev/full").expect("every Linux has it");
    for program in SERVERS {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        drop(reader);
        for stderr in [Stdio::from(writer), Stdio::from(full()), Stdio::null()] {
            let server = Quiet::start(program, "trace", stderr);
            for _ in 0..50 {
                server.visit();
            }
            server.signal("USR1");
            server.visit();
            // Endless retries would use a processor. The server gives up writing its last line.
            assert_eq!(server.stop().code(), Some(0), "{program}");
        }
    }
}

#[test]
fn a_failure_to_start_is_printed_with_any_log_filter() {
    let output = |filter: &str| {
        Command::new(ECHO)
            .args(["--listen", "unix:/nonexistent/x.sock"])
            .env("RUST_LOG", filter)
            .output()
            .expect("it runs")
    };
    for filter in ["off", "error", "reactor=error", "servers::run=debug", "info"] {
        let output = output(filter);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{filter}: {errors}");
        let sentence =
            "cannot listen on unix:/nonexistent/x.sock: the folder /nonexistent does not exist";
        assert!(errors.contains(sentence) && errors.lines().count() == 1, "{filter}: {errors:?}");
    }
}
