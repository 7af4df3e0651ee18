//! `kv` with clients whose records are judged when the run is over.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use protocol::resp::{Item, Value};
use reactor::sim::{Faults, HostId, Outcome, Sim};
use servers::kv::App;
use testkit::Random;

use super::agent::{Agents, Cast, Casting, Request, Script, answered, are_done, build};
use super::ground::{CLOCKS, DEATHS, Ground, demand_calm};
use crate::storm::channels::{Channels, Message};
use crate::storm::history::{Action, Expiry, History, Outcome as Told, Rules};
use crate::storm::lists::{End, Queues, Rest};

/// How long faults are drawn, and how long the clients work.
const STORM: Duration = Duration::from_secs(7);
const WORK: Duration = Duration::from_secs(8);
/// Hosts with clients.
const HOSTS: usize = 2;

/// Runs clients until they are done. `castings` are those of each host.
fn play(sim: &mut Sim, ground: &mut Ground, castings: &[Casting]) -> Outcome {
    let numbers = Rc::new(Cell::new(0));
    let mut hosts: Vec<HostId> = Vec::new();
    for _ in 0..HOSTS {
        let mut cast = Cast::new(ground, WORK, &numbers);
        cast.scripts = castings.to_vec();
        hosts.push(ground.client(sim, move || Agents::start(&cast))?);
    }
    // The server must not lose its memory, nor the clients the time that they share.
    sim.set_faults(Faults::all().without(&DEATHS).without(&CLOCKS));
    sim.run_for(STORM)?;
    demand_calm::<App>(sim, ground.server, "clients", |sim| are_done(sim, &hosts))?;
    if answered(sim, &hosts) == 0 {
        return Err("nothing was answered".into());
    }
    ground.demand_peace::<App>(sim)
}

/// Adds clients to a world that has calmed down, and lets them finish.
fn epilogue(sim: &mut Sim, ground: &mut Ground, casting: Casting) -> Outcome {
    let until = sim.now() + Duration::from_secs(1);
    let mut cast = Cast::new(ground, until, &Rc::new(Cell::new(u64::MAX / 2)));
    (cast.scripts, cast.depth) = (vec![casting], 1);
    let hosts = [ground.client(sim, move || Agents::start(&cast))?];
    demand_calm::<App>(sim, ground.server, "the last client", |sim| are_done(sim, &hosts))
}

fn bytes(parts: &[&[u8]]) -> Request {
    parts.iter().map(|part| part.to_vec()).collect()
}

/// Judges single keys.
pub(super) fn keys(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let epoch = ground.epoch;
    let clock = sim.with(ground.server, |_: &mut reactor::LoopCx<'_, App>| {
        (reactor::time_of_day(), reactor::now().duration_since(epoch))
    });
    let (time_of_day, now) = clock.ok_or("the server is gone")?;
    let origin = (time_of_day - now).as_nanos() as u64;
    let (sender, records) = channel();
    let casting: Casting = Rc::new(move |client, random| {
        let (asked, sender) = (Default::default(), sender.clone());
        Box::new(Keys { client, random, sender, origin, count: 0, asked })
    });
    play(sim, &mut ground, &[Rc::clone(&casting), casting])?;
    let history = history_of(&records);
    history.check(&Rules { origin, ..Rules::DEFAULT })?;
    Ok(())
}

/// What a client of single keys reports.
enum Record {
    Asked { client: u64, number: u64, key: Vec<u8>, action: Action, at: u64 },
    Told { client: u64, number: u64, outcome: Told, at: u64 },
}

fn history_of(records: &Receiver<Record>) -> History {
    let (mut history, mut operations) = (History::new(), BTreeMap::new());
    for record in records.try_iter() {
        match record {
            Record::Asked { client, number, key, action, at } => {
                operations.insert((client, number), history.invoke(client, key, action, at));
            }
            Record::Told { client, number, outcome, at } => {
                history.complete(operations[&(client, number)], outcome, at);
            }
        }
    }
    history
}

/// Works on a few keys at a time, others in each second, so that no key has many operations of which
/// nothing is known.
struct Keys {
    client: u64,
    random: Random,
    sender: Sender<Record>,
    origin: u64,
    count: u64,
    asked: std::collections::VecDeque<u64>,
}

impl Keys {
    fn action(&mut self, now: u64) -> Action {
        let value = format!("{}.{}", self.client, self.count).into_bytes();
        let random = &mut self.random;
        let left = 1 + random.below(800);
        let at = (self.origin + now) / 1_000_000 + left;
        match random.below(24) {
            0..7 => Action::Get,
            7 => Action::Exists,
            8 | 9 => Action::TimeLeft,
            10..12 => Action::set(value),
            12 => Action::Set { value, expiry: Expiry::In(left), only_new: true },
            13 => Action::set_until(value, Expiry::Kept),
            14 => Action::set_until(value, Expiry::In(left)),
            15 => Action::set_until(value, Expiry::At(at)),
            16 => Action::GetSet(value),
            17 => Action::GetDelete,
            18 => Action::Delete,
            19 => Action::Append(b"+".to_vec()),
            20 => Action::Add(1),
            21 => Action::ExpireIn(left),
            22 => Action::ExpireAt(at),
            _ => Action::Persist,
        }
    }
}

impl Script for Keys {
    fn next(&mut self, now: u64) -> Request {
        self.count += 1;
        let (client, number) = (self.client, self.count);
        let key = format!("{}:{}", now / 1_000_000_000, self.random.below(3)).into_bytes();
        let action = self.action(now);
        let request = action.request(&key);
        self.asked.push_back(number);
        // Nothing listens when the run is over.
        let _ = self.sender.send(Record::Asked { client, number, key, action, at: now });
        request
    }

    fn take(&mut self, value: Value<'_>, now: u64) -> bool {
        let outcome = Told::of(value.item());
        let outcome = outcome.unwrap_or_else(|| panic!("no operation is told {value:?}"));
        let number = self.asked.pop_front().expect("a request is unanswered");
        let client = self.client;
        let _ = self.sender.send(Record::Told { client, number, outcome, at: now });
        true
    }
}

/// Judges lists.
pub(super) fn lists(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let (sender, records) = channel();
    let pushes = sender.clone();
    let pusher: Casting = Rc::new(move |client, random| {
        let (sender, asked) = (pushes.clone(), Default::default());
        Box::new(Lists { client, random, sender, is_pusher: true, count: 0, asked })
    });
    let popper: Casting = Rc::new(move |client, random| {
        let (sender, asked) = (sender.clone(), Default::default());
        Box::new(Lists { client, random, sender, is_pusher: false, count: 0, asked })
    });
    play(sim, &mut ground, &[pusher, Rc::clone(&popper), popper])?;
    let (rests, rest) = channel();
    epilogue(
        sim,
        &mut ground,
        Rc::new(move |_, _| Box::new(Reader { rests: rests.clone(), at: 0 })),
    )?;
    let rest: Rest = rest.try_iter().collect();
    queues_of(&records).check(&rest)?;
    Ok(())
}

/// What a client of lists reports.
enum Listed {
    Push { client: u64, number: u64, key: Vec<u8>, element: Vec<u8>, at: u64 },
    Pushed { client: u64, number: u64, at: u64 },
    Pop { client: u64, number: u64, keys: Vec<Vec<u8>>, at: u64 },
    Popped { client: u64, number: u64, end: End },
}

fn queues_of(records: &Receiver<Listed>) -> Queues {
    let mut queues = Queues::ordered();
    let (mut pushes, mut pops, mut open) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for record in records.try_iter() {
        match record {
            Listed::Push { client, number, key, element, at } => {
                pushes.insert((client, number), queues.push(client, key, element, at));
            }
            Listed::Pushed { client, number, at } => queues.pushed(pushes[&(client, number)], at),
            Listed::Pop { client, number, keys, at } => {
                let pop = queues.pop(client, keys, at);
                pops.insert((client, number), pop);
                open.insert(pop, ());
            }
            Listed::Popped { client, number, end } => {
                let pop = pops[&(client, number)];
                open.remove(&pop);
                queues.end(pop, end);
            }
        }
    }
    // All clients have left, so nothing waits any more.
    for pop in open.into_keys() {
        queues.end(pop, End::Lost);
    }
    queues
}

/// The keys of lists.
const LISTS: [&[u8]; 2] = [b"q0", b"q1"];

/// Pushes or pops.
struct Lists {
    client: u64,
    random: Random,
    sender: Sender<Listed>,
    is_pusher: bool,
    count: u64,
    asked: std::collections::VecDeque<(u64, Vec<u8>)>,
}

impl Script for Lists {
    fn next(&mut self, now: u64) -> Request {
        self.count += 1;
        let (client, number, at) = (self.client, self.count, now);
        let key = self.random.pick(&LISTS).to_vec();
        let (request, record) = if self.is_pusher {
            let element = format!("{client}.{number}").into_bytes();
            let request = bytes(&[b"RPUSH", &key, &element]);
            (request, Listed::Push { client, number, key: key.clone(), element, at })
        } else if self.random.one_in(3) {
            let keys = vec![key.clone()];
            (bytes(&[b"LPOP", &key]), Listed::Pop { client, number, keys, at })
        } else {
            let other = LISTS[usize::from(key == LISTS[0])].to_vec();
            let keys = vec![key.clone(), other];
            let wait: &[u8] = if self.random.one_in(2) { b"0.05" } else { b"1" };
            let request = bytes(&[b"BLPOP", &keys[0], &keys[1], wait]);
            (request, Listed::Pop { client, number, keys, at })
        };
        self.asked.push_back((number, key));
        let _ = self.sender.send(record);
        request
    }

    fn take(&mut self, value: Value<'_>, now: u64) -> bool {
        let (number, key) = self.asked.pop_front().expect("a request is unanswered");
        let (client, at) = (self.client, now);
        if self.is_pusher {
            let Item::Integer(1..) = value.item() else { panic!("a push is told {value:?}") };
            let _ = self.sender.send(Listed::Pushed { client, number, at });
            return true;
        }
        let end = match value.item() {
            Item::Null | Item::NullArray => End::Nothing { at },
            Item::Bulk(element) => End::Got { at, key, element: element.into() },
            Item::Array(2) => {
                let parts: Vec<Vec<u8>> = value.elements().map(|it| it.text().into()).collect();
                End::Got { at, key: parts[0].clone(), element: parts[1].clone() }
            }
            _ => panic!("a pop is told {value:?}"),
        };
        let _ = self.sender.send(Listed::Popped { client, number, end });
        true
    }
}

/// Reads each list once.
struct Reader {
    rests: Sender<(Vec<u8>, Vec<Vec<u8>>)>,
    at: usize,
}

impl Script for Reader {
    fn next(&mut self, _now: u64) -> Request {
        bytes(&[b"LRANGE", LISTS[self.at % LISTS.len()], b"0", b"-1"])
    }

    fn take(&mut self, value: Value<'_>, _now: u64) -> bool {
        let Item::Array(_) = value.item() else { panic!("a list is told {value:?}") };
        let elements = value.elements().map(|it| it.text().to_vec()).collect();
        let _ = self.rests.send((LISTS[self.at % LISTS.len()].to_vec(), elements));
        self.at += 1;
        true
    }
}

/// Judges messages.
pub(super) fn channels(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let (sender, records) = channel();
    let published = sender.clone();
    let publisher: Casting = Rc::new(move |client, random| {
        let (sender, asked) = (published.clone(), Default::default());
        Box::new(Publisher { client, random, sender, counts: [0; 2], asked })
    });
    let subscriber: Casting = Rc::new(move |client, mut random| {
        let (sender, channel) = (sender.clone(), random.index(CHANNELS.len()));
        Box::new(Subscriber { client, sender, channel, is_subscribed: false })
    });
    play(sim, &mut ground, &[publisher, Rc::clone(&subscriber), subscriber])?;
    channels_of(&records).check()?;
    Ok(())
}

/// The names of channels.
const CHANNELS: [&[u8]; 2] = [b"c0", b"c1"];

/// What publishers and subscribers report. Channels are given by their places.
enum Heard {
    Publish { client: u64, channel: usize, at: u64 },
    Published { message: Message, channel: usize, receivers: u64, at: u64 },
    Subscribe { client: u64, channel: usize, at: u64 },
    Confirmed { client: u64, at: u64 },
    Received { client: u64, message: Message, at: u64 },
    Leave { client: u64, at: u64 },
    Left { client: u64 },
}

fn channels_of(records: &Receiver<Heard>) -> Channels {
    let (mut channels, mut subscriptions) = (Channels::new(), BTreeMap::new());
    for record in records.try_iter() {
        match record {
            Heard::Publish { client, channel, at } => {
                channels.publish(client, CHANNELS[channel], at);
            }
            Heard::Published { message, channel, receivers, at } => {
                channels.published(CHANNELS[channel], message, receivers, at);
            }
            Heard::Subscribe { client, channel, at } => {
                let subscription = channels.subscribe(client, CHANNELS[channel], at);
                subscriptions.insert(client, (subscription, None));
            }
            Heard::Confirmed { client, at } => channels.confirmed(subscriptions[&client].0, at),
            Heard::Received { client, message, at } => {
                channels.received(subscriptions[&client].0, message, at);
            }
            Heard::Leave { client, at } => {
                subscriptions.entry(client).and_modify(|it| it.1 = Some(at));
            }
            Heard::Left { client } => {
                if let Some((subscription, Some(at))) = subscriptions.remove(&client) {
                    channels.left(subscription, at);
                }
            }
        }
    }
    for (subscription, _) in subscriptions.into_values() {
        channels.lost(subscription);
    }
    channels
}

struct Publisher {
    client: u64,
    random: Random,
    sender: Sender<Heard>,
    counts: [u64; 2],
    asked: std::collections::VecDeque<(usize, u64)>,
}

impl Script for Publisher {
    fn next(&mut self, now: u64) -> Request {
        let (client, channel) = (self.client, self.random.index(CHANNELS.len()));
        let number = self.counts[channel];
        self.counts[channel] += 1;
        self.asked.push_back((channel, number));
        let _ = self.sender.send(Heard::Publish { client, channel, at: now });
        bytes(&[b"PUBLISH", CHANNELS[channel], format!("{client}:{number}").as_bytes()])
    }

    fn take(&mut self, value: Value<'_>, now: u64) -> bool {
        let Item::Integer(receivers) = value.item() else { panic!("PUBLISH is told {value:?}") };
        let (channel, number) = self.asked.pop_front().expect("a request is unanswered");
        let message = Message { publisher: self.client, number };
        let receivers = receivers as u64;
        let _ = self.sender.send(Heard::Published { message, channel, receivers, at: now });
        true
    }
}

struct Subscriber {
    client: u64,
    sender: Sender<Heard>,
    channel: usize,
    is_subscribed: bool,
}

impl Script for Subscriber {
    fn next(&mut self, now: u64) -> Request {
        if std::mem::replace(&mut self.is_subscribed, true) {
            return bytes(&[b"PING"]);
        }
        let (client, channel) = (self.client, self.channel);
        let _ = self.sender.send(Heard::Subscribe { client, channel, at: now });
        bytes(&[b"SUBSCRIBE", CHANNELS[channel]])
    }

    fn take(&mut self, value: Value<'_>, now: u64) -> bool {
        let (client, at) = (self.client, now);
        let parts: Vec<&[u8]> = value.elements().map(|it| it.text()).collect();
        let record = match parts[..] {
            [b"pong", _] => return true,
            [b"subscribe", ..] => Heard::Confirmed { client, at },
            [b"unsubscribe", ..] => Heard::Left { client },
            [b"message", _, text] => {
                let message = message(text).unwrap_or_else(|| panic!("a message is {value:?}"));
                let _ = self.sender.send(Heard::Received { client, message, at });
                return false;
            }
            _ => panic!("a subscriber is told {value:?}"),
        };
        let _ = self.sender.send(record);
        true
    }

    fn last(&mut self, now: u64) -> Option<Request> {
        let _ = self.sender.send(Heard::Leave { client: self.client, at: now });
        Some(bytes(&[b"UNSUBSCRIBE", CHANNELS[self.channel]]))
    }
}

fn message(text: &[u8]) -> Option<Message> {
    let (publisher, number) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(Message { publisher: publisher.parse().ok()?, number: number.parse().ok()? })
}
