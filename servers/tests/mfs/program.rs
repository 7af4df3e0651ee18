//! The metalogger as a process.

use std::fs::{self, File};
use std::process::{Child, Command};

use testkit::{Folder, process, wait_until};

/// A metalogger that runs. It is ended on drop.
pub(crate) struct Metalogger {
    child: Child,
    pub(crate) folder: Folder,
}

impl Metalogger {
    /// Starts a metalogger of `master` with a new folder.
    pub(crate) fn start(name: &str, master: &str, arguments: &[&str]) -> Self {
        Self::start_in(Folder::new(name), master, arguments)
    }

    pub(crate) fn start_in(folder: Folder, master: &str, arguments: &[&str]) -> Self {
        let log = File::create(folder.path().join("log")).expect("there is space");
        let child = Command::new(env!("CARGO_BIN_EXE_mfs-metalogger"))
            .args(["--master", master, "--dir", &folder.file("")])
            .args(arguments)
            .env_remove("RUST_LOG")
            .stderr(log)
            .spawn()
            .expect("the program was built");
        Self { child, folder }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the text of a file of the folder, or nothing if it is not there.
    pub(crate) fn text(&self, name: &str) -> String {
        let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns what it has logged.
    pub(crate) fn log(&self) -> String {
        self.text("log")
    }

    /// Waits until its log has this text so many times.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str, count: usize) {
        wait_until(&format!("{text:?} in the log, {count} times"), || {
            self.log().matches(text).count() >= count
        });
    }

    /// Stops it gracefully, and returns its folder.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Folder {
        process::signal(self.pid(), "TERM");
        let status = self.child.wait().expect("it is a child");
        assert!(status.success(), "{}", self.log());
        std::mem::replace(&mut self.folder, Folder::new("nothing"))
    }
}

impl Drop for Metalogger {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
