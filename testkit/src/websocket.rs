//! Other programs that speak WebSocket: `websockets` for Python and `ws` for Node.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::{has_peer, skip};

/// Debian's Python, which has Debian's packages.
const PYTHON: &str = "/usr/bin/python3";
/// Where Debian installs packages of Node.
const NODE_PATH: &str = "/usr/share/nodejs";

/// A server that echoes with the package `websockets`: see [`Listening::start`].
pub const PYTHON_ECHO: &str = include_str!("../scripts/websocket_echo.py");
/// A server that echoes with the package `ws`: see [`Listening::start`].
pub const NODE_ECHO: &str = include_str!("../scripts/websocket_echo.js");

/// Returns whether a program runs to its end without an error.
fn runs(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Returns a command that runs a script in Python with these arguments. `None`, which is reported,
/// if the package `websockets` is missing.
#[track_caller]
pub fn python(script: &str, arguments: &[&str]) -> Option<Command> {
    if !runs(Command::new(PYTHON).args(["-c", "import websockets"])) {
        skip("websockets for Python is not installed (apt install python3-websockets)");
        return None;
    }
    let mut python = Command::new(PYTHON);
    python.args(["-c", script]).args(arguments);
    Some(python)
}

/// Returns a command that runs a script in Node with these arguments. `None`, which is reported, if
/// the package `ws` is missing.
#[track_caller]
pub fn node(script: &str, arguments: &[&str]) -> Option<Command> {
    if !has_peer("node") {
        return None;
    }
    let mut node = Command::new("node");
    if !runs(node.env("NODE_PATH", NODE_PATH).args(["-e", "require('ws')"])) {
        skip("ws for Node is not installed (apt install node-ws)");
        return None;
    }
    let mut node = Command::new("node");
    // The script follows where Node has an argument of its own.
    node.env("NODE_PATH", NODE_PATH).args(["-e", script, "script"]).args(arguments);
    Some(node)
}

/// A program that listens on a port of this host. It is killed on drop.
#[derive(Debug)]
pub struct Listening {
    child: Child,
    /// Its host and port.
    pub address: String,
}

impl Listening {
    /// Starts a program that prints the port that it listens on as its first line.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the peer starts");
        let mut port = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut port).expect("it is text");
        Self { child, address: format!("127.0.0.1:{}", port.trim()) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Both fail only when it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
