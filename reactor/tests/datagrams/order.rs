//! Datagrams of a codec whose messages may be sent in any order.

use std::cmp::Reverse;

use super::*;
use protocol::{Codec, Decoded, Output};

/// Messages that need no order.
#[derive(Clone, Copy)]
struct Unordered;

impl Codec for Unordered {
    type In<'a> = &'a mut [u8];
    type Out<'a> = &'a [u8];
    type Error = <Bytes as Codec>::Error;

    const IS_ORDERED: bool = false;

    fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        output: &mut Output,
    ) -> Result<Decoded<&'a mut [u8]>, Self::Error> {
        Bytes.decode(input, output)
    }

    fn encode(&mut self, message: &[u8], output: &mut Output) {
        Bytes.encode(message, output);
    }

    fn finish(&mut self, rest: &[u8]) -> Result<(), Self::Error> {
        Bytes.finish(rest)
    }
}

/// Answers a message with one of each length. Each byte is the place of the length in the list.
struct Lengths(Vec<usize>);

impl<C> Service<C, Told> for Lengths
where
    C: for<'a> Codec<In<'a> = &'a mut [u8], Out<'a> = &'a [u8]>,
{
    fn call(
        &mut self,
        _message: &mut [u8],
        reply: &mut Reply<'_, C>,
        _context: &mut Context<'_, Told>,
    ) -> Flow {
        for (number, length) in self.0.iter().enumerate() {
            reply.send(&vec![number as u8; *length]);
        }
        Flow::Continue
    }
}

/// Answers with `lengths`. Checks that each answer arrives whole and once, and returns the answers in the
/// order of their arrival, and how many calls have sent them.
fn answers<C>(reactor: &mut Reactor<Told>, codec: C, lengths: &[usize]) -> (Vec<Vec<u8>>, u64)
where
    C: for<'a> Codec<In<'a> = &'a mut [u8], Out<'a> = &'a [u8]> + Clone + 'static,
{
    let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
    let Address::Udp(address) = *socket.address() else { unreachable!("it is of UDP") };
    let (service, cx) = (Lengths(lengths.to_vec()), &mut reactor.cx());
    let token =
        Datagrams::serve(socket, codec, service, Limits::DEFAULT, cx).expect("it registers");
    let client = client("127.0.0.1");
    let before = reactor.counters();
    client.send_to(b"go", address).expect("it is sent");
    turn_until_sent(reactor, before, lengths.len() as u64);
    let writes = reactor.counters().writes - before.writes;
    let arrived: Vec<Vec<u8>> = lengths.iter().map(|_| receive(&client).0).collect();
    let mut sorted = arrived.clone();
    sorted.sort_unstable();
    let expected = lengths.iter().enumerate();
    let mut expected: Vec<_> = expected.map(|(at, length)| vec![at as u8; *length]).collect();
    expected.sort_unstable();
    assert!(sorted == expected, "each arrives once, whole and unchanged: {lengths:?}");
    reactor.cx().close(token);
    (arrived, writes)
}

#[test]
fn any_two_datagrams_that_need_no_order_leave_as_one_piece() {
    on_every(|mut reactor| {
        // One call sends 32 pieces.
        let growing: Vec<usize> = (1..=64).collect();
        let (arrived, writes) = answers(&mut reactor, Bytes, &growing);
        assert_eq!(
            (arrived[0].len(), writes),
            (1, 2),
            "in order, each is longer than the one before"
        );
        let (arrived, writes) = answers(&mut reactor, Unordered, &growing);
        assert_eq!((arrived[0].len(), writes), (64, 1));
        // Those of one length are one piece with one that is shorter.
        let mixed: Vec<usize> = (0..160).map(|number| 40 + number * 7 % 16).collect();
        let (_, writes) = answers(&mut reactor, Bytes, &mixed);
        assert!(writes > 1, "in order: {writes} calls");
        assert_eq!(answers(&mut reactor, Unordered, &mixed).1, 1);
    });
}

#[test]
fn every_choice_of_lengths_arrives_whole() {
    let lengths = [0, 1, 40, 41, 40, 1200, 60_000, 7];
    on_every(|mut reactor| {
        for choice in 1..1_u32 << lengths.len() {
            let chosen = lengths.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1);
            let chosen: Vec<usize> = chosen.map(|(_, length)| *length).collect();
            let (arrived, writes) = answers(&mut reactor, Unordered, &chosen);
            assert!(arrived.is_sorted_by_key(|it| Reverse(it.len())), "{chosen:?}");
            assert_eq!(writes, 1, "{chosen:?}");
        }
    });
}

#[test]
fn a_batch_that_needs_no_order_may_have_more_than_the_kernel_divides() {
    on_every(|mut reactor| {
        // 64 datagrams, or 65,487 bytes, are the most of a piece.
        for lengths in [vec![9; 150], [vec![25_000; 2], vec![24_999; 2]].concat()] {
            answers(&mut reactor, Unordered, &lengths);
        }
    });
}

/// Sends each of two clients `each` datagrams of different lengths, and returns how many calls the server
/// makes to receive them and to send the answers.
fn cost<C>(reactor: &mut Reactor<Told>, codec: C, each: usize) -> (u64, u64)
where
    C: for<'a> Codec<In<'a> = &'a mut [u8], Out<'a> = &'a [u8]> + Clone + 'static,
{
    let socket = bind("udp://127.0.0.1:0", &DatagramOptions::default());
    let Address::Udp(address) = *socket.address() else { unreachable!("it is of UDP") };
    let cx = &mut reactor.cx();
    let token = Datagrams::serve(socket, codec, Echo, Limits::DEFAULT, cx).expect("it registers");
    let clients = [client("127.0.0.1"), client("127.0.0.1")];
    let mut sent = Vec::new();
    for number in 0..each {
        sent.push(vec![number as u8; 30 + number]);
        clients.iter().for_each(|it| assert!(it.send_to(&sent[number], address).is_ok()));
    }
    let before = reactor.counters();
    turn_until_sent(reactor, before, 2 * each as u64);
    let after = reactor.counters();
    for client in &clients {
        let mut arrived: Vec<Vec<u8>> = (0..each).map(|_| receive(client).0).collect();
        arrived.sort_unstable();
        assert!(arrived == sent, "each comes back once, whole and unchanged");
    }
    reactor.cx().close(token);
    (after.reads - before.reads, after.writes - before.writes)
}

#[test]
fn answers_to_several_batches_leave_together_if_they_need_no_order() {
    on_every(|mut reactor| {
        // Two batches of 32, and what is left. A batch is answered before the next, in 32 pieces.
        assert_eq!(cost(&mut reactor, Bytes, 35), (3, 3));
        // 35 pieces: one call takes 32.
        assert_eq!(cost(&mut reactor, Unordered, 35), (3, 2));
        // The next datagrams find that nothing is held back. What was read is answered.
        assert_eq!(cost(&mut reactor, Unordered, 16), (2, 1));
        assert_eq!(cost(&mut reactor, Unordered, 3), (1, 1));
    });
}
