//! A job server: it counts prime numbers on the threads of a pool, while its loop answers others.
//! Each line is a number, and the answer is how many primes are below it. The line `counts` is
//! answered at once.
//!
//! Try it with `cargo run -p myevent-reactor --example job_server`, then
//! `printf '100\n5000000\n' | nc -N 127.0.0.1 7000`, and meanwhile
//! `echo counts | nc -N 127.0.0.1 7000`.

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Job, ListenOptions, Listener, Offload, Reactor, Shutdown, Signal, Stream, ThreadPool,
    ThreadPoolCounts, ThreadPoolOptions,
};
use std::time::Duration;

/// The greatest number, for which the sieve takes this many bytes.
const NUMBER_MAX: usize = 100_000_000;

/// Returns how many primes are below `number`: the sieve of Eratosthenes.
fn primes_below(number: usize) -> usize {
    let mut is_prime = vec![true; number];
    is_prime.iter_mut().take(2).for_each(|it| *it = false);
    for divisor in (2..).take_while(|it| it * it < number) {
        if is_prime[divisor] {
            is_prime[divisor * divisor..].iter_mut().step_by(divisor).for_each(|it| *it = false);
        }
    }
    is_prime.into_iter().filter(|it| *it).count()
}

/// The service of one connection. It has one job at a time.
struct Primes {
    offload: Offload,
    job: Option<Job<usize>>,
}

impl<A> Service<Lines, A> for Primes {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let line = String::from_utf8_lossy(line);
        if line == "counts" {
            let ThreadPoolCounts { live, busy, queued, done, .. } = self.offload.counts();
            let text = format!("{live} threads, {busy} busy, {queued} queued, {done} done");
            reply.send(text.as_bytes());
            return Flow::Continue;
        }
        let Some(number) = line.parse().ok().filter(|number| *number <= NUMBER_MAX) else {
            reply.send(format!("error: send a number up to {NUMBER_MAX}").as_bytes());
            return Flow::Continue;
        };
        match self.offload.run(context.me, move || primes_below(number)) {
            Ok(job) => {
                self.job = Some(job);
                // No further line is read until the result is there. The loop goes on.
                Flow::Pause
            }
            Err(error) => {
                reply.send(format!("error: {error}").as_bytes());
                Flow::Continue
            }
        }
    }

    fn resume(&mut self, reply: &mut Reply<'_, Lines>, _context: &mut Context<'_, A>) -> Flow {
        let Some(job) = &mut self.job else { return Flow::Continue };
        match job.take() {
            None => return Flow::Pause,
            Some(Ok(count)) => reply.send(count.to_string().as_bytes()),
            Some(Err(error)) => reply.send(format!("error: {error}").as_bytes()),
        }
        self.job = None;
        Flow::Continue
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let listener = Listener::bind(&address.parse()?, &ListenOptions::default())?;
    println!("listening on {}", listener.address());
    // These jobs compute, so more threads than cores would only share them.
    let cores = std::thread::available_parallelism()?.get();
    let options =
        ThreadPoolOptions { name: "primes", threads_max: cores, ..ThreadPoolOptions::DEFAULT };
    let pool = ThreadPool::new(options)?;
    let mut reactor = Reactor::new(())?;
    let mut cx = reactor.cx();
    let offload = pool.attach(&mut cx)?;
    Stream::serve(listener, Limits::DEFAULT, &mut cx, move |_peer| {
        Conversation::new(Lines::default(), Primes { offload: offload.clone(), job: None })
    })?;
    cx.on_signals(&[Signal::INTERRUPT, Signal::TERMINATE], |_, cx| {
        cx.stop_gracefully(Duration::from_secs(10))
    })?;
    reactor.run()?;
    let counts = pool.shut_down(Shutdown::Drop, Duration::from_secs(10))?;
    println!("{} jobs done, {} cancelled", counts.done, counts.cancelled);
    Ok(())
}
