//! Compiles the programs in C, and holds the same conversation with both programs.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Folder, has_peer, process, skip};

use crate::program::{Program, example};

/// A library: the header that programs include, how they are linked, and the Debian package.
struct Library {
    name: &'static str,
    header: &'static str,
    link: &'static str,
    package: &'static str,
}

const LIBRARIES: [Library; 2] = [
    Library {
        name: "libevent",
        header: "event2/event.h",
        link: "-levent",
        package: "libevent-dev",
    },
    Library { name: "libev", header: "ev.h", link: "-lev", package: "libev-dev" },
];

/// The two programs of a name, without arguments. There is no program in C where it cannot be
/// compiled; then the test was reported as skipped.
pub(crate) struct Twins {
    name: String,
    c: Option<String>,
    /// The folder of the program in C.
    _folder: Folder,
}

impl Twins {
    #[track_caller]
    pub(crate) fn new(name: &str) -> Self {
        let folder = Folder::new("twin");
        let program = folder.file(name);
        let c = compile(name, &program).then_some(program);
        Self { name: name.to_owned(), c, _folder: folder }
    }

    pub(crate) fn ours(&self) -> Command {
        example(&self.name)
    }

    pub(crate) fn in_c(&self) -> Option<Command> {
        self.c.as_ref().map(Command::new)
    }

    /// Returns the commands of both.
    pub(crate) fn both(&self) -> impl Iterator<Item = Command> {
        [Some(self.ours()), self.in_c()].into_iter().flatten()
    }

    /// Holds a conversation with each program, and checks that both wrote the same lines. Returns
    /// them.
    #[track_caller]
    pub(crate) fn agree(&self, talk: impl Fn(Command) -> Vec<String>) -> Vec<String> {
        let ours = talk(self.ours());
        if let Some(c) = self.in_c() {
            assert_eq!(ours, talk(c), "left: ours, right: in C");
        }
        ours
    }
}

/// Compiles a program. Returns whether that is possible here.
#[track_caller]
fn compile(name: &str, program: &str) -> bool {
    let (library, _) = name.split_once('_').expect("the name begins with that of the library");
    let library = LIBRARIES.iter().find(|it| it.name == library).expect("the library is known");
    if !has_peer("cc") {
        return false;
    }
    let has_header = Command::new("cc")
        .args(["-include", library.header, "-fsyntax-only", "-x", "c", "/dev/null"])
        .stderr(Stdio::null())
        .status();
    if !has_header.expect("the compiler starts").success() {
        let Library { name, package, .. } = library;
        skip(&format!("{name}'s headers are not installed (apt install {package})"));
        return false;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/twins/{name}.c"));
    let mut command = Command::new("cc");
    command.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-o", program]).arg(source);
    // Libraries come after the source that needs them.
    let output = command.arg(library.link).output().expect("the compiler starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// A conversation with a running program, and the lines that it has written so far.
pub(crate) struct Talk {
    program: Program,
    heard: Vec<String>,
}

impl Talk {
    /// Starts the program with a pipe as its standard input.
    pub(crate) fn start(command: Command, args: &[&str]) -> Self {
        Self::start_with(command, args, Stdio::piped())
    }

    pub(crate) fn start_with(mut command: Command, args: &[&str], input: Stdio) -> Self {
        Self { program: Program::spawn(command.args(args).stdin(input)), heard: Vec::new() }
    }

    /// Waits until the program writes this line.
    #[track_caller]
    pub(crate) fn until(&mut self, line: &str) {
        loop {
            match self.program.next_line() {
                Some(next) => self.heard.push(next),
                None => panic!("it has ended without {line:?}, after {:?}", self.heard),
            }
            if self.heard.last().is_some_and(|last| last == line) {
                return;
            }
        }
    }

    /// Returns the address on which the program listens.
    #[track_caller]
    pub(crate) fn address(&mut self) -> String {
        self.program.line("listening on ")
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, text: &str) {
        let input = self.program.child.stdin.as_mut().expect("its input is piped");
        input.write_all(text.as_bytes()).expect("it reads");
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        process::signal(self.program.child.id(), name);
    }

    /// Ends its standard input, waits for its end, and returns all lines that it has written.
    #[track_caller]
    pub(crate) fn end(mut self) -> Vec<String> {
        drop(self.program.child.stdin.take());
        while let Some(line) = self.program.next_line() {
            self.heard.push(line);
        }
        let status = self.program.wait();
        assert!(status.success(), "{status} after {:?}", self.heard);
        self.heard
    }
}

/// Makes a FIFO.
pub(crate) fn make_fifo(path: &str) {
    let status = Command::new("mkfifo").arg(path).status();
    assert!(status.expect("mkfifo is there").success(), "mkfifo {path} failed");
}

/// Opens a FIFO to write to it. A program has opened it to read.
pub(crate) fn writer(path: &str) -> File {
    OpenOptions::new().write(true).open(path).expect("it is there")
}

/// Makes a file with this content.
pub(crate) fn file(path: &str, content: &str) -> File {
    fs::write(path, content).expect("the folder is writable");
    File::open(path).expect("it was made")
}
