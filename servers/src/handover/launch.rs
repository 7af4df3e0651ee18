//! How the old program starts the new one.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use super::VARIABLE;

/// How a server starts the program that takes over from it.
pub(crate) struct Launch {
    pub(super) server: &'static str,
    program: Option<PathBuf>,
    /// How long a new program may take to come up, and for each answer.
    pub(super) timeout: Duration,
}

impl Launch {
    /// Finds out which program this is. A server does so when it starts: later, the file may have been
    /// replaced, and then the system has no path of it.
    pub(crate) fn new(server: &'static str, timeout: Duration) -> Self {
        Self { server, program: std::env::current_exe().ok(), timeout }
    }

    /// Starts a new program with the arguments of this one. It connects to the socket with this name.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) fn start(&self, name: String) -> io::Result<Child> {
        let Some(program) = &self.program else {
            return Err(io::Error::other("the path of this program is unknown"));
        };
        let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
        let mut command = Command::new(program);
        command.args(arguments).env(VARIABLE, name);
        // The service manager's watchdog is meant for the new process then, its sockets are not.
        for variable in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(variable);
        }
        command.spawn().map_err(|failure| {
            io::Error::new(failure.kind(), format!("{}: {failure}", program.display()))
        })
    }
}
