//! A daemon with a mistake that no ordinary test finds, and a storm that finds it. The daemon
//! answers each line with the number of its bytes.
//!
//! Try it with `cargo run -p myevent-reactor --example storm`. With an address, such as
//! `127.0.0.1:7000`, the daemon runs there, unchanged and without the mistake.

use protocol::codecs::{Bytes, Lines};
use protocol::{Codec, Context, Conversation, Flow, Limits, Reply, Service};
use reactor::sim::{Outcome, Sim, Storm};
use reactor::{Address, ConnectOptions, ListenOptions, Listener, Reactor, Stream};
use std::{io, time::Duration};

struct Count;

/// The mistake: whatever one read returns is taken for a whole line.
impl Service<Bytes> for Count {
    fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Bytes>, _: &mut Context<'_>) -> Flow {
        reply.send(format!("{}\n", line.trim_ascii_end().len()).as_bytes());
        Flow::Continue
    }
}

/// Without it: the codec collects a line, however many reads that takes.
impl Service<Lines> for Count {
    fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
        reply.send(line.len().to_string().as_bytes());
        Flow::Continue
    }
}

/// Builds the daemon. `main` runs it, and so does each simulated host.
fn daemon<C>(address: &Address) -> io::Result<Reactor>
where
    C: Codec + Default + 'static,
    Count: Service<C>,
{
    let mut reactor = Reactor::new(())?;
    let listener = Listener::bind(address, &ListenOptions::DEFAULT)?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_peer| {
        Conversation::new(C::default(), Count)
    })?;
    Ok(reactor)
}

/// A client, which counts the answers that were right.
struct Ask;

impl Service<Lines, u32> for Ask {
    fn open(&mut self, reply: &mut Reply<'_, Lines>, _: &mut Context<'_, u32>) -> Flow {
        reply.send(b"seventeen letters");
        Flow::Continue
    }

    fn call(
        &mut self,
        line: &mut [u8],
        _: &mut Reply<'_, Lines>,
        cx: &mut Context<'_, u32>,
    ) -> Flow {
        // An answer that is no number complains about a line that was cut off.
        if line.iter().all(u8::is_ascii_digit) {
            assert_eq!(String::from_utf8_lossy(line), "17");
            *cx.app += 1;
        }
        Flow::Close
    }
}

/// Builds the client. It connects every second, whatever became of the connections before.
fn client() -> io::Result<Reactor<u32>> {
    let mut reactor = Reactor::new(0)?;
    reactor.cx().every(Duration::from_secs(1), |_ticks, cx| {
        let stream = Stream::new(Conversation::new(Lines::default(), Ask), Limits::DEFAULT);
        let address = Address::Tcp(([10, 0, 0, 1], 7).into());
        // It may find no descriptor, no port or no route. The next second brings another attempt.
        let _ = stream.connect(&address, &ConnectOptions::DEFAULT, cx);
    })?;
    Ok(reactor)
}

/// One run: a minute of storm, then a minute of calm, in which an answer has to come.
fn run(sim: &mut Sim, daemon: fn(&Address) -> io::Result<Reactor>) -> Outcome {
    let (near, far) = (sim.host("10.0.0.1"), sim.host("10.0.0.2"));
    sim.start(near, move || daemon(&Address::Tcp(([0, 0, 0, 0], 7).into())))?;
    sim.start(far, client)?;
    sim.run_for(Duration::from_secs(60))?;
    sim.calm()?;
    let answers = |sim: &mut Sim| sim.reactor::<u32>(far).map_or(0, |client| client.app);
    let before = answers(sim);
    let is_well = sim.run_until(Duration::from_secs(60), |sim| answers(sim) > before)?;
    if is_well { Ok(()) } else { Err("no answer came after the storm".into()) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(address) = std::env::args().nth(1) {
        let mut reactor = daemon::<Lines>(&address.parse()?)?;
        println!("listening on {address}");
        return Ok(reactor.run()?);
    }
    let storm = Storm::new(0..100);
    let failure = storm.hunt(|sim| run(sim, daemon::<Bytes>)).expect_err("it finds the mistake");
    println!("with the mistake: {failure}");
    println!("without it: {}", storm.run(|sim| run(sim, daemon::<Lines>)));
    Ok(())
}
