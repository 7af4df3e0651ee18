//! A client of RESP on a simulated host, whose server sends any bytes: each command completes exactly
//! once. All choices come from bytes: those of a seed (`main.rs`) or of a fuzzer (`clients/fuzz`).

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use clients::resp::{Answer, Cause, Client, Command, Error, Options};
use protocol::codecs::Bytes;
use protocol::resp::Protocol;
use protocol::testing::Choices;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::sim::{HostId, Sim};
use reactor::{
    Address, ClientOptions, ListenOptions, Listener, LoopCx, Reactor, Stream, Unanswered, WhenIdle,
};

const PORT: u16 = 6379;
/// How often something is asked for.
const ASKING: Duration = Duration::from_millis(20);
/// How many times, at most: the last time is before the first judgement.
const ASKING_MAX: usize = 90;
/// How long a command may take.
const TIMEOUT: Duration = Duration::from_millis(400);

/// What the server says: answers, messages, and what is almost one of them.
const PARTS: [&[u8]; 26] = [
    b"+OK\r\n",
    b"+PONG\r\n",
    b":1\r\n",
    b"$1\r\na\r\n",
    b"$-1\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"_\r\n",
    b"-ERR no\r\n",
    b"-LOADING it\r\n",
    b"+QUEUED\r\n",
    b"*1\r\n:1\r\n",
    b"%1\r\n+server\r\n+x\r\n",
    b"*1\r\n$6\r\nmaster\r\n",
    b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    b"*3\r\n$10\r\npsubscribe\r\n$1\r\na\r\n:2\r\n",
    b"*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n",
    b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n",
    b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n",
    b">1\r\n+x\r\n",
    b"*2\r\n$1",
    b"$99999999999\r\n",
    b"|1\r\n+a\r\n+b\r\n",
    b"\r\n",
    b"\xff",
];

/// Sends what the bytes choose, whatever it receives.
struct Liar;

impl Liar {
    fn say(reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, Choices>) -> Flow {
        let choices = &mut *context.app;
        for _ in 0..choices.below(6) {
            match choices.below(16) {
                0 => {
                    let count = choices.below(12);
                    reply.send(choices.bytes(count));
                }
                1 => {
                    // A part arrives by itself.
                    let part = PARTS[choices.below(PARTS.len())];
                    reply.send(&part[..choices.below(part.len() + 1)]);
                }
                2..8 => reply.send(b"+OK\r\n"),
                _ => reply.send(PARTS[choices.below(PARTS.len())]),
            }
        }
        let again = Duration::from_millis(5 + choices.below(100) as u64);
        let is_talking = choices.below(3) == 2;
        let flow = match choices.below(40) {
            39 => Flow::Close,
            38 => Flow::Pause,
            _ => Flow::Continue,
        };
        context.effects.set_timeout(0, is_talking.then_some(again));
        flow
    }
}

impl Service<Bytes, Choices> for Liar {
    fn open(&mut self, reply: &mut Reply<'_, Bytes>, context: &mut Context<'_, Choices>) -> Flow {
        if context.app.below(8) == 7 { Self::say(reply, context) } else { Flow::Continue }
    }

    fn call(
        &mut self,
        _: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Choices>,
    ) -> Flow {
        Self::say(reply, context)
    }

    fn timeout(
        &mut self,
        _: u8,
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, Choices>,
    ) -> Flow {
        Self::say(reply, context)
    }
}

fn server(bytes: &[u8]) -> io::Result<Reactor<Choices>> {
    let mut reactor = Reactor::new(Choices::new(bytes))?;
    let listener = Listener::bind(&Address::Tcp(([0; 4], PORT).into()), &ListenOptions::DEFAULT)?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
        Conversation::new(Bytes, Liar)
    })?;
    Ok(reactor)
}

/// The program of the client.
struct Asker {
    choices: Choices,
    client: Option<Client<Self>>,
    asked: usize,
    /// How many commands were accepted, and how often each was completed, and as what.
    begun: usize,
    told: BTreeMap<usize, &'static str>,
    messages: usize,
}

fn client(bytes: &[u8]) -> io::Result<Reactor<Asker>> {
    let mut choices = Choices::new(bytes);
    let options = Options {
        protocol: [Protocol::Resp2, Protocol::Resp3][choices.below(2)],
        database: choices.below(2) as u32,
        waits_for_data: choices.below(2) == 0,
        only_master: choices.below(4) == 3,
        ..Options::default()
    };
    let limits = ClientOptions {
        timeout: TIMEOUT,
        pause_min: Duration::from_millis(5),
        pause_max: Duration::from_millis(50),
        silence_max: Duration::from_millis(200),
        when_idle: match choices.below(2) {
            0 => WhenIdle::KeepAlive(Duration::from_millis(100)),
            _ => WhenIdle::LetGo(Duration::from_millis(50)),
        },
        waits: choices.below(4) > 0,
        in_flight_max: 1 + choices.below(8),
        seed: Some(1),
        ..ClientOptions::DEFAULT
    };
    let app =
        Asker { choices, client: None, asked: 0, begun: 0, told: BTreeMap::new(), messages: 0 };
    let mut reactor = Reactor::new(app)?;
    let address = format!("10.0.0.1:{PORT}");
    let opened = Client::open(&address, &options, limits, &mut reactor.cx());
    let client = opened.map_err(io::Error::other)?;
    client.on_message(|_message, cx| cx.app.messages += 1);
    reactor.app.client = Some(client);
    reactor.cx().every(ASKING, |_ticks, cx| ask(cx))?;
    Ok(reactor)
}

/// Does something that the bytes choose.
fn ask(cx: &mut LoopCx<'_, Asker>) {
    let Some(client) = cx.app.client.clone() else { return };
    if cx.app.choices.is_over() || cx.app.asked > ASKING_MAX {
        return;
    }
    cx.app.asked += 1;
    for _ in 0..cx.app.choices.below(4) {
        let number = cx.app.begun;
        let done = move |result, cx: &mut LoopCx<'_, Asker>| complete(number, result, cx);
        let changed = move |result: Result<(), Error>, cx: &mut LoopCx<'_, Asker>| {
            complete(number, result.map(|()| Answer::Null), cx);
        };
        let hurry = Duration::from_millis(1 + cx.app.choices.below(60) as u64);
        let accepted = match cx.app.choices.below(8) {
            0 => client.subscribe(["a"], changed),
            1 => client.unsubscribe(["a", "b"], changed),
            2 => client.subscribe_to_patterns(["a*"], changed),
            3 => {
                let commands = [Command::new(["INCR", "a"]), Command::new(["GET", "a"])];
                client.execute(Command::transaction(commands), None, done)
            }
            4 => client.execute(Command::new(["PING"]), Some(hurry), done),
            _ => client.call(["GET", "a"], done),
        };
        cx.app.begun += usize::from(accepted.is_ok());
    }
    let port = match cx.app.choices.below(60) {
        57 => Some(PORT),
        58 => Some(PORT + 1),
        59 => None,
        _ => return,
    };
    let target = port.map(|port| Address::Tcp(([10, 0, 0, 1], port).into()).into());
    client.set_target(target);
}

fn complete(number: usize, result: Result<Answer, Error>, cx: &mut LoopCx<'_, Asker>) {
    let told = match result {
        Ok(_) => "answered",
        Err(error) => match error.cause() {
            Cause::Server(_) => "refused",
            Cause::Unanswered(Unanswered::NotSent(_)) => "not sent",
            Cause::Unanswered(Unanswered::Unknown(_)) => "unknown",
            Cause::Unanswered(Unanswered::TimedOut { sent: true, .. }) => "timed out, sent",
            Cause::Unanswered(Unanswered::TimedOut { sent: false, .. }) => "timed out",
            cause => panic!("{cause:?} is no outcome of a command"),
        },
    };
    let before = cx.app.told.insert(number, told);
    assert_eq!(before, None, "{number} completes twice");
}

/// Returns whether all commands are completed.
fn is_done(sim: &mut Sim, host: HostId) -> bool {
    sim.reactor::<Asker>(host).is_some_and(|it| it.app.told.len() == it.app.begun)
}

/// Plays a client and its server as `bytes` choose. Returns what commands were completed with.
///
/// # Panics
/// When a command is completed twice or never, or a loop spins.
pub(crate) fn play(bytes: &[u8]) -> Vec<&'static str> {
    let (near, far) = bytes.split_at(bytes.len() / 2);
    let (near, far) = (near.to_vec(), far.to_vec());
    let mut sim = Sim::new(1);
    let (one, other) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    sim.start(one, move || server(&near)).expect("the server starts");
    sim.start(other, move || client(&far)).expect("the client starts");
    sim.run_for(Duration::from_secs(2)).expect("no loop spins");
    // The time of every command is over by then.
    sim.run_for(2 * TIMEOUT).expect("no loop spins");
    assert!(is_done(&mut sim, other), "a command is not completed in its time");
    sim.with::<Asker, _>(other, |cx| {
        // What is under way when the client ends is completed too.
        for _ in 0..4 {
            (cx.app.choices, cx.app.asked) = (Choices::new([255; 4]), 0);
            ask(cx);
        }
        if let Some(client) = cx.app.client.take() {
            if cx.app.begun % 2 == 0 { client.close() } else { client.stop_gracefully() }
        }
    });
    sim.run_for(2 * TIMEOUT).expect("no loop spins");
    assert!(is_done(&mut sim, other), "a command is not completed when the client has ended");
    let told = sim.with::<Asker, _>(other, |cx| std::mem::take(&mut cx.app.told));
    told.expect("the client runs").into_values().collect()
}
