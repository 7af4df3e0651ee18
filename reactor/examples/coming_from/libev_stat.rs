//! Prints each change of a file's mode, until the file is gone: libev's `ev_stat`.
//!
//! The loop has no source for this. A timer asks for the attributes, as libev does where it cannot use
//! `inotify(7)`. The descriptor of an `inotify` instance can be a source too: see `daemon.rs`.
//!
//! Try it with `cargo run -p myevent-reactor --example libev_stat FILE`, and `chmod` in another
//! terminal.

use reactor::{LoopCx, Reactor};
use std::os::unix::fs::PermissionsExt;
use std::{fs, io, time::Duration};

struct Watched {
    path: String,
    mode: u32,
}

fn mode(path: &str) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

fn look(cx: &mut LoopCx<'_, Watched>) {
    match mode(&cx.app.path) {
        Ok(mode) if mode != cx.app.mode => {
            println!("mode {:o}, before {:o}", mode, cx.app.mode);
            cx.app.mode = mode;
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("it is gone");
            cx.stop();
        }
        Err(error) => println!("{error}"),
    }
}

fn main() -> io::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| io::Error::other("usage: libev_stat FILE"))?;
    let mode = mode(&path)?;
    let mut reactor = Reactor::new(Watched { path, mode })?;
    reactor.cx().every(Duration::from_millis(100), |_ticks, cx| look(cx))?;
    println!("watching");
    reactor.run()
}
