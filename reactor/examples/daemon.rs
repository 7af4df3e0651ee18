//! A daemon that runs a program, `cksum`, on each file that is written in a directory. It shows a
//! descriptor of another library (inotify), child processes, and a graceful stop.
//!
//! Try it with `cargo run -p myevent-reactor --example daemon /tmp`, then `date >/tmp/now` in
//! another terminal. `SIGTERM` and Ctrl-C stop it.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use reactor::{Cx, Handler, Interest, Reactor, Registration, Signal};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::{fd::OwnedFd, unix::ffi::OsStringExt};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::{io, time::Duration};

/// The application state: the files to check, at most once each, and the process that runs.
struct Jobs {
    directory: PathBuf,
    waiting: BTreeSet<OsString>,
    running: Option<Child>,
}

impl Jobs {
    /// Takes note of a process that has ended, and starts the next one.
    fn advance(&mut self) -> io::Result<()> {
        if let Some(child) = &mut self.running {
            let Some(status) = child.try_wait()? else { return Ok(()) };
            println!("cksum ended: {status}");
            self.running = None;
        }
        if let Some(name) = self.waiting.pop_first() {
            let path = self.directory.join(name);
            self.running = Some(Command::new("cksum").arg("--").arg(path).spawn()?);
        }
        Ok(())
    }
}

/// Reads the events of inotify.
struct Watch;

impl Handler<Jobs> for Watch {
    fn ready(&mut self, cx: &mut Cx<'_, Jobs>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while let Some(count) = cx.read(&mut buffer)? {
            let mut events = &buffer[..count];
            // `inotify(7)`: 12 bytes that do not matter here, the length of the name, the name.
            while let Some((head, rest)) = events.split_first_chunk::<16>() {
                let length = u32::from_ne_bytes([head[12], head[13], head[14], head[15]]);
                let (name, rest) = rest.split_at(length as usize);
                let name = name.iter().copied().take_while(|byte| *byte != 0).collect();
                cx.app.waiting.insert(OsString::from_vec(name));
                events = rest;
            }
        }
        cx.app.advance()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(&directory, AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO)?;
    println!("watching {}", directory.display());
    let mut reactor = Reactor::new(Jobs { directory, waiting: BTreeSet::new(), running: None })?;
    let mut cx = reactor.cx();
    cx.register(OwnedFd::from(inotify), Registration::new(Interest::READ), Watch)?;
    cx.on_signals(&[Signal::CHILD], |_, cx| {
        cx.app.advance().unwrap_or_else(|error| eprintln!("cannot run cksum: {error}"));
    })?;
    cx.on_signals(&[Signal::INTERRUPT, Signal::TERMINATE], |_, cx| {
        cx.stop_gracefully(Duration::from_secs(5))
    })?;
    reactor.run()?;
    // What has begun is finished.
    reactor.app.running.take().map_or(Ok(()), |mut child| child.wait().map(drop))?;
    Ok(())
}
