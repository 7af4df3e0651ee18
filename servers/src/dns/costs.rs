//! Costs: what answers from the cache take of the system and of the allocator.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use allocation_counter::measure;
use clap::Parser;
use protocol::dns::{
    Builder, Class, Header, Message, OverUdp, Question, Record, RecordType, ResponseCode, Section,
};
use reactor::{Address, DatagramOptions, DatagramSocket, Datagrams, Reactor};

use super::cache::Wants;
use super::{DatagramFront, Dns, DnsArgs, LIMITS};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    own: DnsArgs,
}

/// Returns a question for the address of a name of one letter, and its answer.
fn exchange(letter: char) -> (Vec<u8>, Vec<u8>) {
    let record: Record = format!("{letter}.test 60 IN A 192.0.2.1").parse().expect("a record");
    let mut question = Builder::new(Header::question(7), 512);
    let mut answer = Builder::new(Header::question(7).response(ResponseCode::NOERROR), 512);
    for builder in [&mut question, &mut answer] {
        builder.question(record.name.view(), RecordType::A, Class::IN).expect("there is room");
    }
    answer.record(Section::Answer, &record.view()).expect("there is room");
    (question.finish(), answer.finish())
}

/// Returns a server that has the answers to the questions of `a` to `d` in its cache, and its address.
fn server() -> (Reactor<Dns>, SocketAddr) {
    let cli = Cli::try_parse_from(["dns", "--upstream", "127.0.0.1:9"]).expect("arguments");
    let mut dns = Dns::new(&cli.own).expect("there are random numbers");
    for letter in 'a'..='d' {
        let (_, answer) = exchange(letter);
        let message = Message::parse(&answer).expect("a message");
        let question: Question<'_> = message.question().expect("it has one");
        dns.cache.store(&question, Wants::default(), &message, Instant::now());
    }
    let mut reactor = Reactor::new(dns).expect("the reactor opens");
    let any: Address = "udp://127.0.0.1:0".parse().expect("an address");
    let socket = DatagramSocket::bind(&any, &DatagramOptions::default()).expect("a port is free");
    let Address::Udp(address) = *socket.address() else { unreachable!("it is a UDP socket") };
    Datagrams::serve(socket, OverUdp, DatagramFront::default(), LIMITS, &mut reactor.cx())
        .expect("it registers");
    (reactor, address)
}

/// Asks `count` questions from two sockets by turns, and returns what the server does to answer them: reads,
/// writes and allocations.
fn cost(reactor: &mut Reactor<Dns>, address: SocketAddr, count: u64) -> (u64, u64, u64) {
    let clients = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a port is free"));
    for number in 0..count {
        let (question, _) = exchange(char::from(b'a' + (number % 4) as u8));
        let client = &clients[(number % 2) as usize];
        client.send_to(&question, address).expect("it is sent");
    }
    let before = reactor.counters();
    let counted = measure(|| {
        let until = Instant::now() + Duration::from_secs(10);
        while reactor.counters().datagrams_sent < before.datagrams_sent + count {
            reactor.run_once(Some(Duration::from_millis(10))).expect("it turns");
            assert!(Instant::now() < until, "they are answered: {}", reactor.counters());
        }
    });
    let after = reactor.counters();
    for number in 0..count {
        let mut bytes = [0; 512];
        let client = &clients[(number % 2) as usize];
        let length = testkit::receive_udp(client, &mut bytes).expect("it is answered").0;
        let answer = Message::parse(&bytes[..length]).expect("a message");
        assert_eq!(answer.count(Section::Answer), 1);
    }
    (after.reads - before.reads, after.writes - before.writes, counted.count_total)
}

#[test]
fn a_batch_of_answers_from_the_cache_is_two_calls_and_no_allocation_for_each() {
    let (mut reactor, address) = server();
    cost(&mut reactor, address, 30);
    for _ in 0..20 {
        let (reads, writes, allocations) = cost(&mut reactor, address, 30);
        assert_eq!((reads, writes), (1, 1));
        assert!(allocations < 10, "{allocations} allocations for a batch of 30");
        let (reads, writes, alone) = cost(&mut reactor, address, 1);
        assert_eq!((reads, writes), (1, 1));
        assert!(alone < 3, "{alone} allocations for one");
    }
    assert_eq!(reactor.app.counts.cached, 30 + 20 * 31);
}
