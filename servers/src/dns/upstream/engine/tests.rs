//! The engine without I/O, with a time of its own.

use std::collections::HashSet;

use protocol::dns::{Builder, Class, Header, Message, RecordType};
use protocol::{ConnectionId, Peer, Random};

use super::super::flight::Client;
use super::super::ports::PortId;
use super::super::server::Loss;
use super::*;
use crate::dns::front::Transport;

mod proofs;

const REFUSED: io::ErrorKind = io::ErrorKind::ConnectionRefused;
const MS: Duration = Duration::from_millis(1);
const DEADLINE: Duration = Duration::from_secs(4);

/// An engine, and the questions that it has sent.
struct Bench {
    engine: Engine,
    now: Instant,
    next: u64,
}

/// A question on its way: its upstream, its port, and its bytes.
type Sent = (usize, PortId, Vec<u8>);

impl Bench {
    fn new(upstreams: usize) -> Self {
        let address = |number| SocketAddr::from(([127, 0, 0, 1], 5300 + number as u16));
        let groups = [(0..upstreams).map(address).collect()];
        let options = EngineOptions {
            deadline: DEADLINE,
            tries: 8,
            waiting_max: 1000,
            ports: 2,
            port_questions: 16,
            port_range: PortRange { first: 1024, last: 65_535 },
            varies_case: true,
            udp_size: 1232,
            failure_kept_max: Duration::ZERO,
        };
        let engine =
            Engine::new(&groups, options, Marks::default()).expect("the system has random numbers");
        let mut bench = Self { engine, now: Instant::now(), next: 0 };
        bench.open_ports();
        bench
    }

    /// The same, which keeps failures.
    fn keeping_failures(upstreams: usize) -> Self {
        let mut bench = Self::new(upstreams);
        bench.engine.failures = Failures::new(Duration::from_secs(30), bench.now);
        bench
    }

    fn open_ports(&mut self) {
        for (upstream, count) in self.engine.ports.missing() {
            for _ in 0..count {
                let id = self.engine.ports.name();
                self.engine.port_opened(id, upstream, ConnectionId(id.into())).expect("random");
            }
        }
        for ConnectionId(id) in self.engine.ports.take_closings() {
            self.engine.port_closed(id as PortId, self.now);
        }
    }

    /// Asks for a name, as another client each time.
    fn ask(&mut self, name: &str) -> Begun {
        self.next += 1;
        let address = SocketAddr::from(([127, 0, 0, 1], 1 + (self.next % 60_000) as u16));
        let client = Client { source: ConnectionId(0), peer: Some(Peer::from(address)) };
        let asked = self.asked(name);
        self.engine.ask(Waiter { client, asked }, 0, self.now)
    }

    fn asked(&self, name: &str) -> Asked {
        Asked {
            header: Header::question(self.next as u16),
            name: name.parse().expect("it is a name"),
            kind: RecordType::A,
            class: Class::IN,
            options: None,
            transport: Transport::Datagram,
            marks: Box::default(),
        }
    }

    /// Takes what was sent.
    fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for ConnectionId(id) in std::mem::take(&mut self.engine.wakes) {
            let id = id as PortId;
            let upstream = self.engine.ports.upstream(id).expect("it is open");
            sent.extend(self.engine.ports.take_queue(id).into_iter().map(|it| (upstream, id, it)));
        }
        sent
    }

    /// Answers a question.
    fn answer(&mut self, sent: &Sent, code: ResponseCode) -> Option<Done> {
        let bytes = response(&sent.2, code);
        self.engine.hear(sent.1, &Message::parse(&bytes).expect("it is right"), self.now)
    }

    fn pass(&mut self, time: Duration) -> Vec<Done> {
        self.now += time;
        self.engine.expire(self.now)
    }

    fn check_empty(&self) {
        let engine = &self.engine;
        assert!(engine.flights.is_empty() && engine.by_key.is_empty() && engine.due.is_empty());
        assert_eq!((engine.waiting, engine.ports.outstanding()), (0, 0));
    }
}

fn response(question: &[u8], code: ResponseCode) -> Vec<u8> {
    let message = Message::parse(question).expect("it is right");
    let asked = message.question().expect("there is one");
    let mut builder = Builder::new(message.header().response(code), 512);
    builder.question(asked.name, asked.kind, asked.class).expect("there is room");
    builder.finish()
}

#[test]
fn another_upstream_is_asked_when_the_first_takes_longer_than_usual() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.ask("a.example"), Begun::Waits);
    let first = bench.sent();
    assert_eq!(first.len(), 1);
    assert!(bench.pass(49 * MS).is_empty() && bench.sent().is_empty());
    bench.pass(MS);
    let second = bench.sent();
    assert_eq!(second.len(), 1);
    assert_ne!(first[0].0, second[0].0);
    // The quick one answers. The other one still tells its latency, and nothing is sent again.
    let done = bench.answer(&second[0], ResponseCode::NOERROR).expect("a client waits");
    assert_eq!((done.waiters.len(), done.failure), (1, None));
    assert!(bench.pass(200 * MS).is_empty() && bench.sent().is_empty());
    assert!(bench.answer(&first[0], ResponseCode::NOERROR).is_none());
    assert_eq!(bench.engine.servers[first[0].0].latency(), 250 * MS);
    bench.check_empty();
}

#[test]
fn hedges_have_a_budget() {
    let mut bench = Bench::new(2);
    let mut hedged = 0;
    for number in 0..1000 {
        bench.ask(&format!("{number}.example"));
        let first = bench.sent();
        // Both always take longer than usual, which cannot be for ever.
        bench.pass(bench.engine.servers[first[0].0].hedge_after());
        hedged += bench.sent().len();
        bench.answer(&first[0], ResponseCode::NOERROR);
    }
    assert!((100..=125).contains(&hedged), "{hedged}");
}

#[test]
fn an_upstream_that_is_down_gets_copies_until_it_answers() {
    let mut bench = Bench::new(2);
    let down = 0;
    bench.engine.servers[down].lost(Loss::Silent, bench.now);
    for number in 0..50 {
        bench.ask(&format!("{number}.example"));
        let sent = bench.sent();
        assert!(sent.iter().all(|(upstream, ..)| *upstream != down));
        bench.answer(&sent[0], ResponseCode::NOERROR);
    }
    bench.pass(1000 * MS);
    bench.ask("probe.example");
    let sent = bench.sent();
    assert_eq!(sent.len(), 2, "a copy, and the question");
    for sent in &sent {
        bench.answer(sent, ResponseCode::NOERROR);
    }
    assert!(bench.engine.servers[down].is_up());
    bench.check_empty();
}

#[test]
fn a_failure_is_told_when_all_upstreams_have_failed() {
    let mut bench = Bench::new(3);
    bench.ask("a.example");
    let mut asked = Vec::new();
    for step in 0..3 {
        let sent = bench.sent();
        assert_eq!(sent.len(), 1);
        asked.push(sent[0].0);
        let done = bench.answer(&sent[0], ResponseCode::REFUSED);
        assert_eq!(done.map(|it| it.failure), (step == 2).then_some(Some(ResponseCode::REFUSED)));
    }
    asked.sort_unstable();
    assert_eq!(asked, [0, 1, 2]);
    bench.check_empty();
}

#[test]
fn a_failure_is_told_at_once_when_all_upstreams_refuse() {
    let mut bench = Bench::new(3);
    bench.ask("a.example");
    bench.ask("a.example");
    for step in 0..3 {
        let sent = bench.sent();
        assert_eq!(sent.len(), 1);
        let done = bench.engine.refused(sent[0].1, REFUSED, bench.now);
        assert!(!bench.engine.servers[sent[0].0].is_up());
        assert_eq!(bench.engine.servers[sent[0].0].counts.failed, 1);
        let told: Vec<_> = done.iter().map(|it| (it.waiters.len(), it.failure)).collect();
        let last = [(2, Some(ResponseCode::SERVFAIL))];
        assert_eq!(told, if step == 2 { &last[..] } else { &[] });
    }
    bench.check_empty();
    // One that is silent may still answer.
    bench.ask("b.example");
    let mut sent = bench.sent();
    bench.pass(400 * MS);
    sent.extend(bench.sent());
    assert!(sent.len() >= 2);
    for it in &sent[1..] {
        assert!(bench.engine.refused(it.1, REFUSED, bench.now).is_empty());
    }
    bench.answer(&sent[0], ResponseCode::NOERROR).expect("a client waits");
}

#[test]
fn a_question_that_has_failed_is_not_asked_again_for_a_moment() {
    let mut bench = Bench::keeping_failures(1);
    let fail = |bench: &mut Bench, code| {
        assert_eq!(bench.ask("a.example"), Begun::Waits);
        let sent = bench.sent().remove(0);
        bench.answer(&sent, code).expect("a client waits");
    };
    for seconds in [1, 2, 4] {
        fail(&mut bench, ResponseCode::REFUSED);
        bench.pass(seconds * 1000 * MS - MS);
        assert_eq!(bench.ask("a.example"), Begun::Failed(ResponseCode::REFUSED));
        assert!(bench.sent().is_empty());
        assert_eq!(bench.ask("b.example"), Begun::Waits);
        let other = bench.sent().remove(0);
        bench.answer(&other, ResponseCode::NOERROR).expect("a client waits");
        bench.pass(MS);
    }
    fail(&mut bench, ResponseCode::NOERROR);
    fail(&mut bench, ResponseCode::SERVFAIL);
    assert_eq!(bench.ask("a.example"), Begun::Failed(ResponseCode::SERVFAIL));
    // No answer in time is a failure too, and an upstream that is back may answer.
    assert_eq!(bench.ask("c.example"), Begun::Waits);
    assert_eq!(bench.pass(DEADLINE).len(), 1);
    // The question was sent twice.
    assert_eq!(bench.sent().len(), 2);
    assert_eq!(bench.ask("c.example"), Begun::Failed(ResponseCode::SERVFAIL));
    assert_eq!(bench.engine.counts.failed_before, 5);
    assert_eq!(bench.ask("d.example"), Begun::Waits);
    let next = bench.sent().remove(0);
    assert_eq!(bench.engine.refused(next.1, REFUSED, bench.now).len(), 1);
    assert_eq!(bench.ask("e.example"), Begun::Waits);
    let last = bench.sent().remove(0);
    bench.answer(&last, ResponseCode::NOERROR).expect("a client waits");
    assert_eq!(bench.ask("c.example"), Begun::Waits);
}

#[test]
fn a_port_at_which_others_guess_is_replaced() {
    let mut bench = Bench::new(1);
    bench.ask("a.example");
    let sent = bench.sent().remove(0);
    for _ in 0..40 {
        let mut guess = response(&sent.2, ResponseCode::NOERROR);
        guess[1] ^= 1;
        let guess = Message::parse(&guess).expect("it is right");
        assert!(bench.engine.hear(sent.1, &guess, bench.now).is_none());
    }
    assert!(bench.engine.ports.take_changed());
    assert_eq!(bench.engine.ports.missing(), [(0, 1)]);
    // What was asked from it is still answered.
    assert!(bench.answer(&sent, ResponseCode::NOERROR).is_some());
    bench.open_ports();
    assert!(bench.engine.ports.upstream(sent.1).is_none());
}

#[test]
fn the_numbers_of_ports_are_drawn_from_their_range() {
    let mut bench = Bench::new(1);
    bench.engine.options.port_range = PortRange { first: 40_000, last: 40_255 };
    let drawn: HashSet<u16> = (0..10_000).map(|_| bench.engine.draw_port().expect("one")).collect();
    // The chance that one of the 256 is missing is 3 in 10^15.
    assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&40_000), Some(&40_255)));
    assert_eq!(drawn.len(), 256);
}

#[test]
fn upstreams_are_replaced_while_questions_are_on_their_way() {
    let mut bench = Bench::new(1);
    bench.ask("a.example");
    let old = bench.sent().remove(0);
    let new = [SocketAddr::from(([192, 0, 2, 1], 53)), SocketAddr::from(([192, 0, 2, 2], 53))];
    assert_eq!(bench.engine.replace(0, &new), Ok(true));
    assert_eq!(bench.engine.replace(0, &new), Ok(false));
    assert_eq!(bench.engine.replace(0, &[]), Ok(false), "the old ones are better than none");
    assert_eq!(bench.engine.ports.missing(), [(1, 2), (2, 2)]);
    bench.open_ports();
    bench.ask("b.example");
    let sent = bench.sent();
    assert_ne!(sent[0].0, 0);
    bench.answer(&sent[0], ResponseCode::NOERROR).expect("a client waits");
    // The first question is still answered, and then its ports are of no use.
    bench.answer(&old, ResponseCode::NOERROR).expect("a client waits");
    bench.open_ports();
    assert!(bench.engine.ports.upstream(old.1).is_none());
    bench.check_empty();
}

#[test]
fn a_question_that_tcp_does_not_take_is_asked_again() {
    let mut bench = Bench::new(1);
    bench.ask("a.example");
    let sent = bench.sent().remove(0);
    let mut cut = response(&sent.2, ResponseCode::NOERROR);
    cut[2] |= 2;
    let cut = Message::parse(&cut).expect("it is right");
    assert!(bench.engine.hear(sent.1, &cut, bench.now).is_none());
    let order = bench.engine.tcp.pop_front().expect("it is asked over TCP");
    bench.engine.refused_over_tcp(order.ticket);
    bench.pass(400 * MS);
    let again = bench.sent().remove(0);
    bench.answer(&again, ResponseCode::NOERROR).expect("a client waits");
    bench.check_empty();
}

#[test]
fn an_answer_that_is_truncated_over_tcp_too_is_a_failure_at_once() {
    let mut bench = Bench::new(1);
    bench.ask("a.example");
    let sent = bench.sent().remove(0);
    let mut cut = response(&sent.2, ResponseCode::NOERROR);
    cut[2] |= 2;
    let datagram = Message::parse(&cut).expect("it is right");
    assert!(bench.engine.hear(sent.1, &datagram, bench.now).is_none());
    let order = bench.engine.tcp.pop_front().expect("it is asked over TCP");
    let done = bench.engine.hear_over_tcp(order.ticket, Some(&datagram), bench.now);
    assert_eq!(done.map(|it| it.failure), Some(Some(ResponseCode::SERVFAIL)));
    bench.check_empty();
}

/// Whatever comes in whatever order, each client is told once, and nothing is left.
#[test]
fn each_client_is_told_once_whatever_happens() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut bench = Bench::new(1 + random.index(3));
        let (mut on_way, mut begun, mut told) = (Vec::<Sent>::new(), 0, 0);
        let mut tell = |done: Option<Done>| told += done.map_or(0, |it| it.waiters.len());
        for _ in 0..5000 {
            match random.below(12) {
                0..=3 => {
                    let name = format!("{}.example", random.below(40));
                    begun += usize::from(bench.ask(&name) == Begun::Waits);
                }
                4..=6 if !on_way.is_empty() => {
                    let sent = on_way.swap_remove(random.index(on_way.len()));
                    let codes =
                        [ResponseCode::NOERROR, ResponseCode::SERVFAIL, ResponseCode::FORMERR];
                    tell(bench.answer(&sent, codes[random.index(3)]));
                }
                7 if !on_way.is_empty() => {
                    // Truncated, or in another case.
                    let sent = on_way.swap_remove(random.index(on_way.len()));
                    let mut bytes = response(&sent.2, ResponseCode::NOERROR);
                    if random.one_in(2) {
                        bytes[2] |= 2;
                    } else {
                        bytes[15] ^= 0x20;
                    }
                    if let Ok(message) = Message::parse(&bytes) {
                        tell(bench.engine.hear(sent.1, &message, bench.now));
                    }
                }
                8 if !on_way.is_empty() => {
                    let port = on_way[random.index(on_way.len())].1;
                    bench
                        .engine
                        .refused(port, REFUSED, bench.now)
                        .into_iter()
                        .for_each(|it| tell(Some(it)));
                }
                9 => {
                    while let Some(order) = bench.engine.tcp.pop_front() {
                        let bytes = response(&order.question, ResponseCode::NOERROR);
                        let message = Message::parse(&bytes).expect("it is right");
                        let message = Some(&message).filter(|_| random.one_in(2));
                        tell(bench.engine.hear_over_tcp(order.ticket, message, bench.now));
                    }
                }
                10 => bench.open_ports(),
                _ => {
                    let time = random.below(200) as u32 * MS;
                    bench.pass(time).into_iter().for_each(|done| tell(Some(done)));
                }
            }
            on_way.extend(bench.sent());
            // Some are lost.
            on_way.retain(|_| !random.one_in(30));
            assert!(bench.engine.waiting <= 1000);
        }
        bench.pass(DEADLINE).into_iter().for_each(|done| tell(Some(done)));
        assert!(begun > 1000);
        assert_eq!(told, begun, "seed {seed}");
        bench.engine.tcp.clear();
        bench.check_empty();
    }
}
