//! Helpers for the tests of both programs: folders for reports, and running comparisons.

#![allow(dead_code)] // Each test program uses a part of it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use testkit::process::{children, runs, signal};
use testkit::{Folder, wait_until};

/// A path for a report: a folder that does not exist yet, inside one that is removed on drop.
pub(crate) struct Report {
    _around: Folder,
    pub(crate) path: PathBuf,
}

impl Report {
    pub(crate) fn new(name: &str) -> Self {
        let around = Folder::new(name);
        Self { path: around.path().join("report"), _around: around }
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).expect("the comparison writes it")
    }
}

/// A running comparison, with its server and its client.
pub(crate) struct UnderWay {
    child: Child,
    started: Vec<u32>,
}

impl UnderWay {
    /// Starts a comparison, and waits until it has started its server and client.
    pub(crate) fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().expect("it runs");
        let mut started = Vec::new();
        wait_until("a server and a client", || {
            started = children(child.id());
            started.len() == 2
        });
        Self { child, started }
    }

    /// Interrupts it. It has to print a report and to leave no process. Returns the report.
    pub(crate) fn interrupt(self) -> String {
        signal(self.child.id(), "INT");
        let output = self.child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("INTERRUPTED"), "{said}");
        assert!(!self.started.iter().any(|pid| runs(*pid)), "{:?} are left", self.started);
        said
    }

    /// Kills it. The processes that it has started have to end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
        let left = || self.started.iter().any(|pid| runs(*pid));
        wait_until("the end of what it had started", || !left());
    }
}
