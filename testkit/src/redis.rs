//! A server of Redis's own, as the judge.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::{Folder, has_peer, wait_until};

/// A `redis-server` on a Unix socket in a folder of its own; both go when it is dropped.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    folder: Folder,
}

impl Redis {
    /// Starts a server with further `options` and waits until it answers. `None` where it or
    /// `redis-cli` is absent, which [`has_peer`] says.
    ///
    /// # Panics
    /// When it does not start, or when it is absent and required.
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

    /// The path of its socket.
    pub fn socket(&self) -> String {
        self.folder.file("socket")
    }

    /// Its address, for what takes `unix:` and a path.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket())
    }

    /// Ends it before the test does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
