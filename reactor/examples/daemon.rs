//! A daemon that runs a program, `cksum`, on each file that is written in a directory. It shows a
//! descriptor of another library (inotify), child processes, and a graceful stop.
//!
//! Try it with `cargo run -p myevent-reactor --example daemon /tmp`, then `date >/tmp/now` in
//! another terminal. `SIGTERM` and Ctrl-C stop it.

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use reactor::{Child, ChildOptions, Cx, Handler, Interest, LoopCx, Reactor, Registration, Signal};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::{fd::OwnedFd, unix::ffi::OsStringExt};
use std::path::PathBuf;
use std::process::Command;

/// The application state: the files to check, at most once each, and the process that runs.
struct Jobs {
    directory: PathBuf,
    waiting: BTreeSet<OsString>,
    is_running: bool,
    is_ending: bool,
}

/// Starts the next process, if none runs.
fn advance<P>(cx: &mut Cx<'_, Jobs, P>) -> io::Result<()> {
    if cx.app.is_running {
        return Ok(());
    }
    let Some(name) = cx.app.waiting.pop_first().filter(|_| !cx.app.is_ending) else {
        return Ok(());
    };
    let mut command = Command::new("cksum");
    command.arg("--").arg(cx.app.directory.join(name));
    Child::spawn(command, &ChildOptions::DEFAULT, cx, |status, cx: &mut LoopCx<'_, Jobs>| {
        match status {
            Ok(status) => println!("cksum ended: {status}"),
            Err(error) => eprintln!("cksum: {error}"),
        }
        cx.app.is_running = false;
        // What has begun is finished.
        if cx.app.is_ending {
            cx.stop();
        }
        advance(cx).unwrap_or_else(|error| eprintln!("cannot run cksum: {error}"));
    })?;
    cx.app.is_running = true;
    Ok(())
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
        advance(cx)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(&directory, AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO)?;
    println!("watching {}", directory.display());
    let jobs = Jobs { directory, waiting: BTreeSet::new(), is_running: false, is_ending: false };
    let mut reactor = Reactor::new(jobs)?;
    let mut cx = reactor.cx();
    cx.register(OwnedFd::from(inotify), Registration::new(Interest::READ), Watch)?;
    cx.on_signals(&[Signal::INTERRUPT, Signal::TERMINATE], |_, cx| {
        cx.app.is_ending = true;
        if !cx.app.is_running {
            cx.stop();
        }
    })?;
    Ok(reactor.run()?)
}
