//! A handler on one end of a pipe, without a codec. It counts the bytes that `date` prints.

use reactor::{Cx, Handler, Interest, LoopCx, Reactor, Reason, Registration};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

struct Count;

impl Handler<usize> for Count {
    fn ready(&mut self, cx: &mut Cx<'_, usize>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while let Some(count) = cx.read(&mut buffer)? {
            if count == 0 {
                cx.end(Reason::PeerClosed);
                return Ok(());
            }
            *cx.app += count;
        }
        Ok(())
    }

    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, usize>) {
        println!("{} bytes came through the pipe; it ended: {reason}", cx.app);
        cx.stop();
    }
}

fn main() -> io::Result<()> {
    let mut child = Command::new("date").stdout(Stdio::piped()).spawn()?;
    let pipe = child.stdout.take().ok_or_else(|| io::Error::other("the output is piped"))?;
    let mut reactor = Reactor::new(0)?;
    reactor.cx().register(OwnedFd::from(pipe), Registration::new(Interest::READ), Count)?;
    reactor.run()?;
    child.wait().map(drop)
}
