//! `kv` with all faults, its end among them. Each connection has a key of its own, so every reply is
//! known beforehand.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use protocol::resp::{Item, Value};
use reactor::sim::{Faults, HostId, Outcome, Sim};
use servers::kv::App;
use testkit::Random;

use super::agent::{Agents, Cast, Casting, Request, Script, are_done, build};
use super::ground::{Ground, demand_calm};

/// How long faults are drawn, and how long the clients work.
const STORM: Duration = Duration::from_secs(12);
const WORK: Duration = Duration::from_secs(13);

/// Runs the server and its clients.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let hosts = clients(sim, &mut ground, WORK, false)?;
    sim.set_faults(Faults::all());
    sim.run_for(STORM)?;
    demand_calm::<App>(sim, ground.server, "clients", |sim| are_done(sim, &hosts))?;
    ground.demand_peace::<App>(sim)
}

/// Starts clients that know every reply.
pub(super) fn clients(
    sim: &mut Sim,
    ground: &mut Ground,
    work: Duration,
    is_strict: bool,
) -> std::io::Result<Vec<HostId>> {
    let numbers = Rc::new(Cell::new(0));
    let casting: Casting = Rc::new(|client, random| Box::new(Private::new(client, random)));
    let mut hosts = Vec::new();
    for _ in 0..2 {
        let mut cast = Cast::new(ground, work, &numbers);
        (cast.scripts, cast.is_strict) = (vec![Rc::clone(&casting); 3], is_strict);
        hosts.push(ground.client(sim, move || Agents::start(&cast))?);
    }
    Ok(hosts)
}

/// What a reply has to be.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Done,
    Number(i64),
    Bytes(Vec<u8>),
    Nil,
}

/// Works on a text and a number that no other connection knows.
struct Private {
    client: u64,
    random: Random,
    text: Option<Vec<u8>>,
    number: i64,
    expected: VecDeque<Expected>,
}

impl Private {
    fn new(client: u64, random: Random) -> Self {
        Self { client, random, text: None, number: 0, expected: VecDeque::new() }
    }
}

impl Script for Private {
    fn next(&mut self, _now: u64) -> Request {
        let (text, number) = (format!("t{}", self.client), format!("n{}", self.client));
        let length = if self.random.one_in(10) { 40_000 } else { 40 };
        let length = self.random.index(length);
        let more = self.random.bytes(length);
        let mut words: Vec<Vec<u8>> = Vec::new();
        let mut say = |parts: &[&[u8]]| words.extend(parts.iter().map(|part| part.to_vec()));
        let expected = match self.random.below(6) {
            0 => {
                say(&[b"SET", text.as_bytes(), &more]);
                self.text = Some(more);
                Expected::Done
            }
            1 if self.text.as_ref().is_none_or(|text| text.len() < 100_000) => {
                say(&[b"APPEND", text.as_bytes(), &more]);
                let whole = self.text.get_or_insert_default();
                whole.extend(more);
                Expected::Number(whole.len() as i64)
            }
            1 | 2 => {
                say(&[b"INCR", number.as_bytes()]);
                self.number += 1;
                Expected::Number(self.number)
            }
            3 => {
                say(&[b"DEL", text.as_bytes()]);
                Expected::Number(i64::from(self.text.take().is_some()))
            }
            4 => {
                say(&[b"STRLEN", text.as_bytes()]);
                Expected::Number(self.text.as_ref().map_or(0, Vec::len) as i64)
            }
            _ => {
                say(&[b"GET", text.as_bytes()]);
                self.text.clone().map_or(Expected::Nil, Expected::Bytes)
            }
        };
        self.expected.push_back(expected);
        words
    }

    fn take(&mut self, value: Value<'_>, _now: u64) -> bool {
        let got = match value.item() {
            Item::Simple(b"OK") => Expected::Done,
            Item::Integer(number) => Expected::Number(number),
            Item::Bulk(bytes) => Expected::Bytes(bytes.into()),
            Item::Null => Expected::Nil,
            _ => panic!("client {} is told {value:?}", self.client),
        };
        let expected = self.expected.pop_front();
        assert_eq!(Some(got), expected, "the reply to client {}", self.client);
        true
    }
}
