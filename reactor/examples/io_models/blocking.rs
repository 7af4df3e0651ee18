//! Blocking I/O: a read waits until bytes have come, so each connection has a thread.
//!
//! Try it with `cargo run -p myevent-reactor --example io_blocking`, then twice with `nc 127.0.0.1 7000`.

mod echo;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

fn main() -> io::Result<()> {
    let connections = echo::accept_two()?;
    thread::scope(|scope| {
        for stream in connections {
            // A connection that fails has ended too.
            scope.spawn(|| serve(stream).ok());
        }
    });
    Ok(())
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; echo::SIZE];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?;
    }
}
