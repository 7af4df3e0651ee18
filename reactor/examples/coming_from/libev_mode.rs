//! A source whose interest changes from reading to writing and back, and whose descriptor is switched
//! between blocking and non-blocking mode meanwhile: libev's `ev_io_set`, and `O_NONBLOCK` of an open
//! file that others share.
//!
//! Try it with `nc -l 127.0.0.1 7000` and, in another terminal,
//! `cargo run -p myevent-reactor --example libev_mode 127.0.0.1:7000`. Type `block` and `nonblock`.

use reactor::{Cx, Handler, Interest, Reactor, Registration};
use std::io::{self, IoSlice};
use std::net::TcpStream;

struct Echo {
    unsent: Vec<u8>,
    /// Another descriptor of the same open socket, as another process may have.
    other: TcpStream,
}

impl Echo {
    fn read(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let Some(count) = cx.read(&mut buffer)? else { return Ok(()) };
        if count == 0 {
            println!("end");
            cx.stop();
            return Ok(());
        }
        self.unsent.extend_from_slice(&buffer[..count]);
        print!("read {}", String::from_utf8_lossy(&self.unsent));
        match &self.unsent[..] {
            b"block\n" => self.other.set_nonblocking(false)?,
            b"nonblock\n" => self.other.set_nonblocking(true)?,
            _ => {}
        }
        cx.set_interest(Interest::WRITE);
        Ok(())
    }

    fn write(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let Some(count) = cx.write(&[IoSlice::new(&self.unsent)])? else { return Ok(()) };
        self.unsent.drain(..count);
        if self.unsent.is_empty() {
            println!("written");
            cx.set_interest(Interest::READ);
        }
        Ok(())
    }
}

impl Handler for Echo {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        if cx.interest() == Interest::WRITE { self.write(cx) } else { self.read(cx) }
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".into());
    let socket = TcpStream::connect(address)?;
    let mut reactor = Reactor::new(())?;
    let echo = Echo { unsent: Vec::new(), other: socket.try_clone()? };
    // The loop asks poll(2) before each operation, which so never blocks.
    let reads = Registration::new(Interest::READ).keep_blocking();
    reactor.cx().register(socket.into(), reads, echo)?;
    reactor.run()
}
