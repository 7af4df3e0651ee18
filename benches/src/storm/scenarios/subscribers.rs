//! Subscriptions of a client of RESP, which each new connection restores, while `kv` is killed and
//! started again and the network fails.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use clients::resp::{Client, Command, Error, Message, Options};
use protocol::resp::Protocol;
use reactor::sim::{Faults, HostId, Outcome, Sim};
use reactor::{ClientOptions, ClientState, ConnectOptions, LoopCx, Reactor, WhenIdle};
use servers::kv::App;
use testkit::Random;

use super::agent::{PORT, build};
use super::ground::{DEATHS, Ground, client_loop, demand_calm, server_at};

/// How long subscriptions change, messages are published, and faults are drawn.
const WORK: Duration = Duration::from_secs(6);
/// How often something is published, and how often subscriptions change.
const PUBLISHING: Duration = Duration::from_millis(30);
const CHANGING: Duration = Duration::from_millis(150);
/// How long making connections again may take once the network works.
const RETURN: Duration = Duration::from_secs(30);
/// How long a command, and the messages of a round, may take in the calm.
const CALM: Duration = Duration::from_secs(5);
/// A stall may be under way when the calm begins.
const WAKING: Duration = Duration::from_secs(4);
/// How many channels there are. The first is subscribed to at the beginning, and for ever.
const CHANNELS: usize = 4;
/// A pattern that the last channel matches.
const PATTERN: &str = "?3";
/// How many messages there are on each channel in the calm.
const MESSAGES: u64 = 5;

/// A message, as it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Heard {
    channel: usize,
    is_pattern: bool,
    number: u64,
}

fn channel(number: usize) -> String {
    format!("c{number}")
}

/// Runs the server, a subscriber and a publisher. Kills the server now and then.
pub(super) fn run(sim: &mut Sim) -> Outcome {
    let mut ground = Ground::new(sim, build)?;
    let (backend, seed) = (ground.backend, ground.random.number());
    let subscriber = ground.client(sim, move || start_subscriber(seed, backend))?;
    let seed = ground.random.number();
    let publisher = ground.client(sim, move || start_publisher(seed, backend))?;
    // The programs of clients must survive. The server is killed below.
    sim.set_faults(Faults::all().without(&DEATHS));
    while sim.now() < WORK {
        sim.run_for(Duration::from_millis(ground.random.below(2000)))?;
        if ground.random.one_in(2) {
            sim.kill(ground.server);
            sim.run_for(Duration::from_millis(ground.random.below(1000)))?;
            sim.restart(ground.server)?;
        }
    }
    let is_settled = |sim: &mut Sim| {
        sim.now() >= WORK
            && sim.reactor::<Subscriber>(subscriber).is_some_and(|it| it.app.is_settled())
            && sim.reactor::<Publisher>(publisher).is_some_and(|it| it.app.open == 0)
    };
    demand_calm::<App>(sim, ground.server, "subscriptions", is_settled)?;
    sim.run_for(WAKING)?;
    demand_subscribed(sim, subscriber)?;
    // What was confirmed long ago is there, though nothing has asked for it since.
    demand_messages(sim, subscriber, publisher, &[(0, false)])?;
    change_in_calm(sim, subscriber)?;
    let expected = [(0, false), (1, false), (3, true)];
    demand_messages(sim, subscriber, publisher, &expected)?;
    // A connection that ends in the calm is replaced, and everything on it.
    sim.kill(ground.server);
    sim.run_for(Duration::from_millis(ground.random.below(3000)))?;
    sim.restart(ground.server)?;
    sim.run_for(Duration::from_millis(1))?;
    demand_subscribed(sim, subscriber)?;
    demand_messages(sim, subscriber, publisher, &expected)?;
    sim.with::<Subscriber, _>(subscriber, |cx| cx.app.client.take());
    sim.with::<Publisher, _>(publisher, |cx| cx.app.client.take());
    ground.demand_peace::<App>(sim)
}

/// Demands that the subscriber has a connection, and its first subscription.
fn demand_subscribed(sim: &mut Sim, subscriber: HostId) -> Outcome {
    let is_well = |sim: &mut Sim| {
        let app = sim.reactor::<Subscriber>(subscriber).map(|reactor| &reactor.app);
        app.is_some_and(|it| it.is_confirmed && it.state() == Some(ClientState::Up))
    };
    if !sim.run_until(RETURN, is_well)? {
        let state = sim.reactor::<Subscriber>(subscriber).map(|it| it.app.state());
        return Err(format!("the subscriber does not come back: {state:?}").into());
    }
    Ok(())
}

/// Changes the subscriptions to known ones.
fn change_in_calm(sim: &mut Sim, subscriber: HostId) -> Outcome {
    let changed = |result: Result<(), Error>, cx: &mut LoopCx<'_, Subscriber>| {
        assert!(result.is_ok(), "a change of subscriptions fails in the calm: {result:?}");
        cx.app.open -= 1;
    };
    let accepted = sim.with::<Subscriber, _>(subscriber, |cx| {
        let client = cx.app.client.as_ref().ok_or("there is no client")?;
        cx.app.asked.extend([1, 3]);
        cx.app.open += 3;
        let changes = [
            client.subscribe([channel(1)], changed),
            client.subscribe_to_patterns([PATTERN], changed),
            client.unsubscribe([channel(2), channel(3)], changed),
        ];
        changes.into_iter().collect::<Result<(), Error>>().map_err(|_| "a change is refused")
    });
    accepted.ok_or("the subscriber does not run")??;
    let is_done = |sim: &mut Sim| {
        sim.reactor::<Subscriber>(subscriber).is_some_and(|reactor| reactor.app.open == 0)
    };
    match sim.run_until(CALM, is_done)? {
        true => Ok(()),
        false => Err("a change of subscriptions is not completed in the calm".into()),
    }
}

/// Publishes some messages on each channel. Demands that the subscriber gets all of those on some
/// channels, by name or by pattern, in order. Of channels that are not subscribed to for certain, it may
/// get others.
fn demand_messages(
    sim: &mut Sim,
    subscriber: HostId,
    publisher: HostId,
    expected: &[(usize, bool)],
) -> Outcome {
    let is_exact = expected.len() > 1;
    sim.with::<Subscriber, _>(subscriber, |cx| cx.app.heard.clear());
    let first = sim.with::<Publisher, _>(publisher, |cx| {
        let first = cx.app.next;
        for _ in 0..MESSAGES {
            publish_all(RETURN, true, cx);
        }
        first
    });
    let numbers = first.map(|first| first..first + MESSAGES).ok_or("the publisher does not run")?;
    let is_published = |sim: &mut Sim| {
        sim.reactor::<Publisher>(publisher).is_some_and(|reactor| reactor.app.open == 0)
    };
    if !sim.run_until(RETURN, is_published)? {
        return Err("a message is not published in the calm".into());
    }
    sim.run_for(CALM)?;
    let heard = sim.with::<Subscriber, _>(subscriber, |cx| cx.app.heard.clone());
    let heard = heard.ok_or("the subscriber does not run")?;
    for (channel, is_pattern) in (0..CHANNELS).flat_map(|it| [(it, false), (it, true)]) {
        let of_channel = |it: &&Heard| (it.channel, it.is_pattern) == (channel, is_pattern);
        let got: Vec<u64> = heard.iter().filter(of_channel).map(|it| it.number).collect();
        let wanted: Vec<u64> = match expected.contains(&(channel, is_pattern)) {
            true => numbers.clone().collect(),
            false if is_exact => Vec::new(),
            false => continue,
        };
        if got != wanted {
            let text = format!("on channel {channel} (pattern: {is_pattern}) came {got:?}");
            return Err(format!("{text}, not {wanted:?}").into());
        }
    }
    Ok(())
}

/// Returns options that the seed decides.
fn options(random: &mut Random) -> ClientOptions {
    let mut millis = |most: u64| Duration::from_millis(1 + random.below(most));
    let idle = millis(2000);
    ClientOptions {
        connect: ConnectOptions { timeout: millis(3000), ..ConnectOptions::DEFAULT },
        timeout: millis(4000),
        pause_max: Duration::from_secs(1),
        silence_max: millis(3000),
        when_idle: match random.below(2) {
            0 => WhenIdle::KeepAlive(idle),
            _ => WhenIdle::LetGo(idle),
        },
        ..ClientOptions::DEFAULT
    }
}

/// The state of the subscriber.
struct Subscriber {
    random: Random,
    client: Option<Client<Self>>,
    /// Whether the server has confirmed the first subscription.
    is_confirmed: bool,
    /// How many changes are not completed.
    open: usize,
    /// The channels that were ever subscribed to.
    asked: BTreeSet<usize>,
    heard: Vec<Heard>,
    all: BTreeSet<Heard>,
    ends_at: Instant,
}

impl Subscriber {
    fn is_settled(&self) -> bool {
        self.is_confirmed && self.open == 0
    }

    fn state(&self) -> Option<ClientState> {
        self.client.as_ref().map(Client::state)
    }
}

fn start_subscriber(seed: u64, backend: &str) -> io::Result<Reactor<Subscriber>> {
    let mut random = Random::new(seed);
    let how = Options {
        protocol: if random.one_in(2) { Protocol::Resp2 } else { Protocol::Resp3 },
        ..Options::default()
    };
    let options = options(&mut random);
    let app = Subscriber {
        random,
        client: None,
        is_confirmed: false,
        open: 0,
        asked: BTreeSet::from([0]),
        heard: Vec::new(),
        all: BTreeSet::new(),
        ends_at: reactor::now() + WORK,
    };
    let mut reactor = client_loop(backend, app)?;
    let address = server_at(PORT).to_string();
    let client =
        Client::open(&address, &how, options, &mut reactor.cx()).map_err(io::Error::other)?;
    client.on_message(hear);
    reactor.app.client = Some(client);
    reactor.cx().every(CHANGING, |_, cx| change(cx))?;
    Ok(reactor)
}

/// Takes a message.
fn hear(message: Message, cx: &mut LoopCx<'_, Subscriber>) {
    let Message::Published { channel, pattern, payload } = message else {
        panic!("a push that is no message: {message:?}");
    };
    let number = |bytes: &[u8]| str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    let (channel, payload) = (number(&channel[1..]), number(&payload));
    let (channel, number) = channel.zip(payload).expect("these are numbers");
    let is_pattern = pattern.is_some();
    let heard = Heard { channel: channel as usize, is_pattern, number };
    assert!(cx.app.asked.contains(&heard.channel), "{heard:?} was not subscribed to");
    assert!(cx.app.all.insert(heard), "{heard:?} comes twice");
    cx.app.heard.push(heard);
}

/// Subscribes to the first channel until that is confirmed. Changes other subscriptions.
fn change(cx: &mut LoopCx<'_, Subscriber>) {
    let Some(client) = cx.app.client.clone() else { return };
    let (other, is_over) = (1 + cx.app.random.index(CHANNELS - 1), cx.now() >= cx.app.ends_at);
    let changed = |_: Result<(), Error>, cx: &mut LoopCx<'_, Subscriber>| cx.app.open -= 1;
    let accepted = if !cx.app.is_confirmed && cx.app.open == 0 {
        client.subscribe([channel(0)], |result, cx| {
            cx.app.open -= 1;
            cx.app.is_confirmed |= result.is_ok();
        })
    } else if is_over || !cx.app.random.one_in(3) {
        return;
    } else {
        match cx.app.random.below(5) {
            0 | 1 => {
                cx.app.asked.insert(other);
                client.subscribe([channel(other)], changed)
            }
            2 => client.unsubscribe([channel(other)], changed),
            3 => {
                cx.app.asked.insert(3);
                client.subscribe_to_patterns([PATTERN], changed)
            }
            _ => client.unsubscribe_from_patterns([PATTERN], changed),
        }
    };
    cx.app.open += usize::from(accepted.is_ok());
}

/// The state of the publisher.
struct Publisher {
    client: Option<Client<Self>>,
    next: u64,
    /// How many messages are not completed.
    open: usize,
    ends_at: Instant,
}

fn start_publisher(seed: u64, backend: &str) -> io::Result<Reactor<Publisher>> {
    let options = options(&mut Random::new(seed));
    let app = Publisher { client: None, next: 0, open: 0, ends_at: reactor::now() + WORK };
    let mut reactor = client_loop(backend, app)?;
    let address = server_at(PORT).to_string();
    let how = Options::default();
    let client =
        Client::open(&address, &how, options, &mut reactor.cx()).map_err(io::Error::other)?;
    reactor.app.client = Some(client);
    reactor.cx().every(PUBLISHING, |_, cx| {
        if cx.now() < cx.app.ends_at {
            publish_all(Duration::from_secs(1), false, cx);
        }
    })?;
    Ok(reactor)
}

/// Publishes the next message on each channel.
fn publish_all(timeout: Duration, is_calm: bool, cx: &mut LoopCx<'_, Publisher>) {
    let Some(client) = cx.app.client.clone() else { return };
    let number = cx.app.next.to_string();
    cx.app.next += 1;
    for channel in (0..CHANNELS).map(channel) {
        let command = Command::new(["PUBLISH", &channel, &number]);
        let published = client.execute(command, Some(timeout), move |result, cx| {
            cx.app.open -= 1;
            assert!(!is_calm || result.is_ok(), "not published in the calm: {result:?}");
        });
        cx.app.open += usize::from(published.is_ok());
    }
}
