//! A Redis server, to compare with.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::{Folder, has_peer, wait_until};

/// A `redis-server` on a Unix socket in its own folder. Both are removed on drop.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    folder: Folder,
}

impl Redis {
    /// Starts a server with additional `options` and waits until it answers. Returns `None` if
    /// `redis-server` or `redis-cli` is missing, which [`has_peer`] reports.
    ///
    /// # Panics
    /// Panics if the server does not start, or if it is missing and required.
    #[track_caller]
    pub fn start(options: &[&str]) -> Option<Self> {
        if !has_peer("redis-server") || !has_peer("redis-cli") {
            return None;
        }
        let folder = Folder::new("redis");
        let mut process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--enable-debug-command", "local"])
            .args(["--unixsocket", "socket", "--logfile", "log", "--dir"])
            .arg(folder.path())
            .args(options)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it is installed");
        let (socket, log) = (folder.file("socket"), folder.file("log"));
        wait_until("an answer of redis-server", || {
            let ended = process.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "redis-server ended: {:?}", std::fs::read_to_string(&log));
            UnixStream::connect(&socket).is_ok()
        });
        Some(Self { process, folder })
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> String {
        self.folder.file("socket")
    }

    /// Returns its address: `unix:` and the path.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket())
    }

    /// Kills the server before the test ends.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
