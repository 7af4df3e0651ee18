//! A Redis server, to compare with.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::authority::Files;
use crate::ports::free_port;
use crate::{Folder, has_peer, process, wait_until};

/// A `redis-server` on a Unix socket in its own folder. Both are removed on drop.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    options: Vec<String>,
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
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let process = spawn(&folder, &options);
        Some(Self { process, options, folder })
    }

    /// Starts a server as [`start`](Self::start) does, which also listens for TLS on a port of
    /// 127.0.0.1, with the certificate `server` of `files`. It takes clients with and without a
    /// certificate of their authority. Returns its port too.
    ///
    /// # Panics
    /// As [`start`](Self::start) does.
    #[track_caller]
    pub fn start_encrypted(files: &Files, options: &[&str]) -> Option<(Self, u16)> {
        let port = free_port();
        let (number, authority) = (port.to_string(), files.authority());
        let (certificate, key) = (files.certificate("server"), files.key("server"));
        let encrypted = [
            ["--tls-port", &number],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &authority],
            ["--tls-auth-clients", "optional"],
        ];
        Some((Self::start(&[encrypted.as_flattened(), options].concat())?, port))
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

    /// Sends the server a signal, such as `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        process::signal(self.process.id(), signal);
    }

    /// Ends the server with a signal, such as `TERM`, and waits until it has ended.
    ///
    /// # Panics
    /// Panics if the server has ended already.
    pub fn end(&mut self, signal: &str) {
        self.signal(signal);
        self.process.wait().expect("it can be waited for");
    }

    /// Starts a server that has ended again, with the same options in the same folder, and waits
    /// until it answers.
    ///
    /// # Panics
    /// Panics if the server does not start.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.folder, &self.options);
    }
}

/// Starts a server, and waits until it listens.
#[track_caller]
fn spawn(folder: &Folder, options: &[String]) -> Child {
    let (socket, log) = (folder.file("socket"), folder.file("log"));
    // Otherwise the socket of a server that was killed would be taken for that of the new one.
    let _ = std::fs::remove_file(&socket);
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
    wait_until("an answer of redis-server", || {
        let ended = process.try_wait().expect("it can be waited for");
        assert!(ended.is_none(), "redis-server ended: {:?}", std::fs::read_to_string(&log));
        UnixStream::connect(&socket).is_ok()
    });
    process
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
