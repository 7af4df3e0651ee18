//! Pools of simulated hosts, whose loops run the jobs.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::sim::{HostId, Sim, Storm};
use reactor::{
    Job, JobError, ListenOptions, Listener, LoopCx, Offload, Reactor, Shutdown, Stream,
    SubmitErrorKind, ThreadPool, ThreadPoolCounts, ThreadPoolOptions, Token,
};

use crate::echo::{client, far};

/// Echoes each line from a job.
struct Echo {
    offload: Offload,
    job: Option<Job<Vec<u8>>>,
}

impl<A> Service<Lines, A> for Echo {
    fn call(
        &mut self,
        line: &mut [u8],
        _reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let line = line.to_vec();
        let job = self.offload.run(context.me, move || line);
        self.job = Some(job.expect("each connection has one job"));
        Flow::Pause
    }

    fn resume(&mut self, reply: &mut Reply<'_, Lines>, _context: &mut Context<'_, A>) -> Flow {
        match self.job.as_mut().and_then(Job::take) {
            None => return Flow::Pause,
            Some(line) => reply.send(&line.expect("it does not panic")),
        }
        self.job = None;
        Flow::Continue
    }
}

/// Builds a server with a small pool, which is its state.
fn server() -> io::Result<Reactor<Arc<ThreadPool>>> {
    let options = ThreadPoolOptions { threads_max: 2, queue_max: 1, ..ThreadPoolOptions::DEFAULT };
    let mut reactor = Reactor::new(Arc::new(ThreadPool::new(options)?))?;
    let pool = Arc::clone(&reactor.app);
    let offload = pool.attach(&mut reactor.cx())?;
    let address = "0.0.0.0:7".parse().map_err(io::Error::other)?;
    let listener = Listener::bind(&address, &ListenOptions::DEFAULT)?;
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), move |_peer| {
        Conversation::new(Lines::default(), Echo { offload: offload.clone(), job: None })
    })?;
    Ok(reactor)
}

fn hosts(sim: &mut Sim) -> (HostId, Vec<HostId>) {
    let near = sim.host("10.0.0.1");
    (near, (2..8).map(|number| sim.host(&format!("10.0.0.{number}"))).collect())
}

fn start(sim: &mut Sim, lines: usize) -> io::Result<(HostId, Vec<HostId>)> {
    let (near, clients) = hosts(sim);
    sim.start(near, server)?;
    for host in &clients {
        sim.start(*host, move || client(lines))?;
    }
    Ok((near, clients))
}

#[test]
fn the_loop_of_a_simulated_host_runs_the_jobs_after_some_time() {
    let run = |seed| {
        let mut sim = Sim::new(seed);
        sim.set_latency(Duration::from_micros(1), Duration::from_micros(1));
        let (near, clients) = start(&mut sim, 20).expect("it listens");
        let mut waiting_most = 0;
        let done = sim.run_until(Duration::from_secs(10), |sim| {
            let counts = sim.reactor::<Arc<ThreadPool>>(near).map(|reactor| reactor.app.counts());
            waiting_most = waiting_most.max(counts.expect("it runs").waiting);
            clients.iter().all(|host| far(sim, *host).is_done())
        });
        assert!(done.expect("it runs"));
        let counts = sim.reactor::<Arc<ThreadPool>>(near).expect("it runs").app.counts();
        assert_eq!(counts, ThreadPoolCounts { done: 120, ..Default::default() });
        assert!(waiting_most >= 3, "two jobs run, and one is in the queue");
        // Two at once, a millisecond each.
        assert!(sim.now() >= Duration::from_millis(60), "{:?}", sim.now());
        sim.now()
    };
    assert_eq!(run(1), run(1));
}

#[test]
fn no_connection_gets_stuck_in_a_storm() {
    let summary = Storm::new(0..30).repeated().run(|sim| {
        let (_near, clients) = start(sim, 30)?;
        sim.run_for(Duration::from_secs(20))?;
        sim.calm()?;
        let done = sim.run_until(Duration::from_secs(300), |sim| {
            clients.iter().all(|host| far(sim, *host).is_done())
        })?;
        if done { Ok(()) } else { Err("a client got stuck".into()) }
    });
    println!("{summary}");
}

#[test]
fn a_simulated_program_cannot_wait_for_a_thread() {
    let outside = ThreadPool::new(ThreadPoolOptions::DEFAULT).expect("it starts");
    let mut sim = Sim::new(1);
    let (near, _) = hosts(&mut sim);
    sim.start(near, server).expect("it starts");
    let ran: Arc<Mutex<Vec<ThreadId>>> = Arc::default();
    let called = sim.with(near, |cx: &mut LoopCx<'_, Arc<ThreadPool>>| {
        let error = cx.app.submit(|| ()).expect_err("it has no thread");
        assert_eq!(error.kind, SubmitErrorKind::Simulated);
        let error = outside.attach(cx).expect_err("it has threads");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let pool = ThreadPool::new(ThreadPoolOptions::DEFAULT).expect("it starts none");
        let offload = pool.attach(cx).expect("it attaches");
        let jobs: Vec<_> = (0..2)
            .map(|_| {
                let ran = Arc::clone(&ran);
                let note = move || {
                    ran.lock().expect("no job panics with it").push(thread::current().id());
                };
                offload.run(Token::NONE, note).expect("there is room")
            })
            .collect();
        let mut jobs = jobs.into_iter();
        let waited = jobs.next().expect("there are two").wait();
        assert_eq!(waited, Err(JobError::Simulated));
        let counts = pool.shut_down(Shutdown::Finish, Duration::ZERO).expect("it has no thread");
        assert_eq!((counts.done, counts.cancelled, counts.live), (1, 1, 0));
        assert_eq!(jobs.next().expect("there are two").wait(), Ok(()));
    });
    called.expect("it runs");
    assert_eq!(*ran.lock().expect("no job panics with it"), [thread::current().id()]);
}
