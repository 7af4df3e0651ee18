//! A reader of several files at once: an `ev_io` of libev for each. It ends with the last of them.
//!
//! Try it with `mkfifo a b; cargo run -p myevent-reactor --example libev_files a b /etc/hostname`, and
//! `cat >a` in another terminal.

use reactor::{Cx, Handler, Interest, LoopCx, Reactor, Reason, Registration};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;

struct Input {
    name: String,
}

/// The application state is the number of files that have not ended.
impl Handler<usize> for Input {
    fn ready(&mut self, cx: &mut Cx<'_, usize>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match cx.read(&mut buffer)? {
            Some(0) => cx.end(Reason::Finished),
            Some(count) => {
                print!("{}: {}", self.name, String::from_utf8_lossy(&buffer[..count]));
            }
            None => {}
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, usize>) {
        println!("{}: {reason}", self.name);
        *cx.app -= 1;
    }
}

fn main() -> io::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let mut reactor = Reactor::new(paths.len())?;
    for path in paths {
        // The open of a FIFO would wait for a writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        reactor.cx().register(file.into(), Registration::new(Interest::READ), Input { name })?;
    }
    println!("reading");
    reactor.run_until(|unended| *unended == 0)
}
