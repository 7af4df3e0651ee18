//! A service over UDP: counts votes. A datagram with a word is a vote for it, one for each sender;
//! a later vote of the same sender replaces it. An empty line asks for the result.
//!
//! Try it with `cargo run -p myevent-reactor --example tally 127.0.0.1:7000`, and then
//! `echo tea | nc -u -w1 127.0.0.1 7000` and `echo | nc -u -w1 127.0.0.1 7000`.

use protocol::codecs::Bytes;
use protocol::{Context, DatagramFailure, Flow, Limits, Peer, Reply, Service};
use reactor::{Address, DatagramOptions, DatagramSocket, Datagrams, Reactor, Signal};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

/// How many voters are remembered. Anyone can send from many addresses.
const VOTERS_MAX: usize = 10_000;
const WORD_MAX: usize = 100;

/// The vote of each sender. One service has all datagrams of its socket.
#[derive(Default)]
struct Tally(HashMap<SocketAddr, String>);

impl Tally {
    fn vote(&mut self, peer: &Peer, word: &str) -> String {
        let Some(voter) = peer.address() else { return "who are you?\n".to_owned() };
        if word.len() > WORD_MAX {
            return format!("a word has {WORD_MAX} bytes at most\n");
        }
        if self.0.len() >= VOTERS_MAX && !self.0.contains_key(&voter) {
            return "too many have voted already\n".to_owned();
        }
        self.0.insert(voter, word.to_owned());
        format!("{word}: {}\n", self.0.values().filter(|it| *it == word).count())
    }

    fn result(&self) -> String {
        let mut counts = BTreeMap::<&str, usize>::new();
        self.0.values().for_each(|word| *counts.entry(word).or_default() += 1);
        let lines = counts.into_iter().map(|(word, count)| format!("{word}: {count}\n"));
        // It has to fit into one packet.
        lines.take(10).collect::<String>() + &format!("{} voters\n", self.0.len())
    }
}

impl Service<Bytes> for Tally {
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _: &mut Context<'_>,
    ) -> Flow {
        let word = String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
        let answer = match reply.peer() {
            Some(peer) if !word.is_empty() => self.vote(peer, &word),
            _ => self.result(),
        };
        reply.send(answer.as_bytes());
        Flow::Continue
    }

    fn failed(
        &mut self,
        failure: &DatagramFailure,
        reply: &mut Reply<'_, Bytes>,
        _: &mut Context<'_>,
    ) -> Flow {
        eprintln!("{}: {failure}", reply.peer().map(Peer::to_string).unwrap_or_default());
        Flow::Continue
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7000".to_owned());
    let address: Address = format!("udp://{address}").parse()?;
    let mut reactor = Reactor::new(())?;
    let socket = DatagramSocket::bind(&address, &DatagramOptions::default())?;
    println!("receiving on {}", socket.address());
    Datagrams::serve(socket, Bytes, Tally::default(), Limits::DEFAULT, &mut reactor.cx())?;
    reactor.cx().on_signals(&[Signal::INTERRUPT, Signal::TERMINATE], |_, cx| cx.stop())?;
    Ok(reactor.run()?)
}
