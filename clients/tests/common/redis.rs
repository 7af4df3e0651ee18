//! A server of Redis's own, as the judge.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::peer_programs::has_peer;

/// A `redis-server` in a folder of its own, which ends with the test.
pub(crate) struct Redis {
    process: Child,
    folder: PathBuf,
}

/// A new folder of this test's own.
pub(crate) fn new_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("kv-cli-{}-{number}", std::process::id()));
    fs::create_dir(&folder).expect("the folder is new");
    folder
}

impl Redis {
    /// A server with `options` that answers; nothing where there is none, which is said aloud.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        if !has_peer("redis-server") || !has_peer("redis-cli") {
            return None;
        }
        let folder = new_folder();
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--enable-debug-command", "local"])
            .args(["--unixsocket", "socket", "--dir"])
            .arg(&folder)
            .args(options)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("it is installed");
        let redis = Self { process, folder };
        let patience = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(redis.socket()).is_err() {
            assert!(Instant::now() < patience, "redis-server does not answer");
            // There is no event to wait for: the socket is not there yet.
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(redis)
    }

    /// Where its socket is.
    pub(crate) fn socket(&self) -> String {
        self.folder.join("socket").display().to_string()
    }

    /// Its address for the library.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.socket())
    }

    /// Ends it before the test does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        // What is left in the folder for temporary files is no failure.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
