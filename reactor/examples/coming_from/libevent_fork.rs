//! A process that forks, and goes on in both copies of its loop: libevent's `event_reinit`. The child
//! reads the first FIFO, the parent the second. The word `quit` ends the child, and then the parent.
//!
//! Try it with `mkfifo a b; cargo run -p myevent-reactor --example libevent_fork a b`, and
//! `echo word >a` in another terminal.

use reactor::{Child, ChildOptions, Cx, Fork, Handler, Interest, Reactor, Registration, fork};
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::{io, process};

struct App {
    name: &'static str,
    exit: Option<i32>,
}

struct Input;

impl Handler<App> for Input {
    fn ready(&mut self, cx: &mut Cx<'_, App>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let Some(count) = cx.read(&mut buffer)? else { return Ok(()) };
        print!("{} read {}", cx.app.name, String::from_utf8_lossy(&buffer[..count]));
        if buffer.starts_with(b"quit\n") {
            cx.stop();
        }
        Ok(())
    }
}

/// Opens a FIFO for writing too, so that it does not end with its first writer (`fifo(7)`).
fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).write(true).open(path)?.into())
}

fn main() -> io::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [first, second] = &paths[..] else {
        return Err(io::Error::other("usage: libevent_fork FIFO FIFO"));
    };
    let mut reactor = Reactor::new(App { name: "parent", exit: None })?;
    let mut cx = reactor.cx();
    let of_child = cx.register(open(first)?, Registration::new(Interest::READ), Input)?;
    let of_parent = cx.register(open(second)?, Registration::new(Interest::READ), Input)?;
    match fork()? {
        Fork::Child => {
            reactor.rebuild()?; // event_reinit
            reactor.app.name = "child";
            reactor.cx().close(of_parent);
            println!("the child has a loop of its own");
            reactor.run()?;
            process::exit(7);
        }
        Fork::Parent { child } => {
            let mut cx = reactor.cx();
            cx.close(of_child);
            Child::adopt(child, &ChildOptions::DEFAULT, &mut cx, |status, cx| {
                cx.app.exit = status.ok().and_then(|status| status.code());
            })?;
            reactor.run_until(|app| app.exit.is_some())?;
            println!("the child has ended with {}", reactor.app.exit.unwrap_or(-1));
            Ok(())
        }
    }
}
