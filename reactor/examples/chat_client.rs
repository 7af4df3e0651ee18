//! A member of the chat of `chat.rs`: sends the lines that are typed, prints those of others, and
//! connects again when the connection ends. Lines that are typed meanwhile wait.
//!
//! Try it with `cargo run -p myevent-reactor --example chat_client 127.0.0.1:7000`, while the example
//! `chat` runs, and end the chat now and then.

use protocol::Reply;
use protocol::codecs::Lines;
use protocol::exchange::{Exchange, Heard};
use reactor::{Client, ClientOptions, Cx, Handler, Interest, Location, Reactor, Registration};
use std::{io, os::fd::AsFd, time::Duration};

/// The member's side of the chat: lines in both directions, none of which answers another.
struct Chat;

impl Exchange for Chat {
    type Codec = Lines;
    type Request = Vec<u8>;
    type Reply = ();
    type Push = String;

    fn codec(&self) -> Lines {
        Lines::default()
    }
    fn size(line: &Vec<u8>) -> usize {
        line.len()
    }
    fn write(&mut self, line: &Vec<u8>, _number: u64, reply: &mut Reply<'_, Lines>) {
        reply.send(line);
    }
    fn one_way(&self, _line: &Vec<u8>) -> Option<()> {
        Some(())
    }
    fn hear(
        &mut self,
        line: &mut [u8],
        _oldest: Option<&Vec<u8>>,
        _reply: &mut Reply<'_, Lines>,
    ) -> Heard<(), String> {
        Heard::Push(String::from_utf8_lossy(line).into_owned())
    }
}

/// The source of standard input, with the beginning of a line.
struct Keyboard(Client<(), Chat>, Vec<u8>);

impl Handler for Keyboard {
    fn ready(&mut self, cx: &mut Cx<'_>) -> io::Result<()> {
        let mut bytes = [0; 4096];
        while let Some(count) = cx.read(&mut bytes)? {
            self.1.extend_from_slice(&bytes[..count]);
            while let Some(end) = self.1.iter().position(|byte| *byte == b'\n') {
                let line = self.1.drain(..=end).take(end).collect();
                let called = self.0.call(line, |said, _| {
                    said.unwrap_or_else(|error| println!("a line was lost: {error}"));
                });
                called.unwrap_or_else(|error| println!("a line was refused: {error}"));
            }
            if count == 0 {
                cx.stop_gracefully(Duration::from_secs(5));
                return Ok(());
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target: Location = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".into()).parse()?;
    let mut reactor = Reactor::new(())?;
    let client = Client::open(target, Chat, ClientOptions::DEFAULT, &mut reactor.cx())?;
    client.on_push(|line, _| println!("{line}"));
    client.on_connect(|_| println!("connected"));
    client.on_disconnect(|reason, _| println!("disconnected: {reason}"));
    let (input, how) =
        (io::stdin().as_fd().try_clone_to_owned()?, Registration::new(Interest::READ));
    reactor.cx().register(input, how.keep_blocking(), Keyboard(client, Vec::new()))?;
    Ok(reactor.run()?)
}
