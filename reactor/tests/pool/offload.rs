//! A pool whose jobs come from the connections of a loop.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Job, LoopLimits, Offload, Reactor, SubmitErrorKind, ThreadPool, ThreadPoolCounts,
    ThreadPoolOptions,
};
use testkit::PATIENCE;

use crate::common::{on_every_backend, serve, turn_until};
use crate::gate::Gate;

/// What the jobs share.
#[derive(Clone, Default)]
struct Site {
    gate: Gate,
    /// The names of the jobs that have begun, in order.
    begun: Arc<Mutex<Vec<String>>>,
}

/// Each line is the name of a job: `ping` needs none, and is answered at once.
struct Jobs {
    offload: Offload,
    site: Site,
    job: Option<Job<String>>,
}

impl Jobs {
    fn work(&self, name: String) -> impl FnOnce() -> String + Send + use<> {
        let site = self.site.clone();
        move || {
            site.begun.lock().expect("no job panics with it").push(name.clone());
            match name.as_str() {
                "sleep" => thread::sleep(Duration::from_millis(200)),
                "panic" => std::panic::resume_unwind(Box::new("as planned")),
                _ => site.gate.pass(),
            }
            format!("done: {name}")
        }
    }
}

impl<A> Service<Lines, A> for Jobs {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, A>,
    ) -> Flow {
        let name = String::from_utf8_lossy(line).into_owned();
        if name == "ping" {
            reply.send(b"pong");
            return Flow::Continue;
        }
        match self.offload.run(context.me, self.work(name)) {
            Ok(job) => {
                self.job = Some(job);
                // The peer is silent because it waits.
                context.effects.allow_silence(true);
                Flow::Pause
            }
            Err(error) => {
                reply.send(error.to_string().as_bytes());
                Flow::Continue
            }
        }
    }

    fn resume(&mut self, reply: &mut Reply<'_, Lines>, context: &mut Context<'_, A>) -> Flow {
        let Some(job) = &mut self.job else { return Flow::Continue };
        match job.take() {
            None => return Flow::Pause,
            Some(Ok(text)) => reply.send(text.as_bytes()),
            Some(Err(error)) => reply.send(error.to_string().as_bytes()),
        }
        self.job = None;
        context.effects.allow_silence(false);
        Flow::Continue
    }
}

/// Runs `test` on each backend, with a server and its pool.
fn each(options: ThreadPoolOptions, test: impl Fn(Reactor<()>, ThreadPool, Site, String)) {
    each_within(LoopLimits::DEFAULT, options, test);
}

fn each_within(
    limits: LoopLimits,
    options: ThreadPoolOptions,
    test: impl Fn(Reactor<()>, ThreadPool, Site, String),
) {
    on_every_backend(limits, |mut reactor: Reactor<()>| {
        let pool = ThreadPool::new(options).expect("it starts");
        let (site, limits) = (Site::default(), quick());
        let offload = pool.attach(&mut reactor.cx()).expect("it attaches");
        let of_service = site.clone();
        let address = serve(&mut reactor, limits, move || {
            let (offload, site) = (offload.clone(), of_service.clone());
            Conversation::new(Lines::default(), Jobs { offload, site, job: None })
        });
        test(reactor, pool, site, address);
    });
}

/// A connection that is silent while the loop winds down is closed soon.
fn quick() -> Limits {
    Limits { stopping_quiet: Duration::from_millis(10), ..Limits::DEFAULT }
}

const ONE: ThreadPoolOptions =
    ThreadPoolOptions { threads_max: 1, queue_max: 1, ..ThreadPoolOptions::DEFAULT };

fn connect(address: &str) -> TcpStream {
    let peer = TcpStream::connect(address).expect("it accepts");
    peer.set_read_timeout(Some(PATIENCE)).expect("it has a timeout");
    peer
}

fn send(peer: &mut TcpStream, text: &str) {
    peer.write_all(text.as_bytes()).expect("the kernel takes bytes");
}

/// Turns the loop until a line has come.
fn line(reactor: &mut Reactor<()>, peer: &TcpStream) -> String {
    let peer = peer.try_clone().expect("there is a descriptor");
    let reader = thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(peer).read_line(&mut line).expect("a line comes");
        line
    });
    turn_until(reactor, |_| reader.is_finished());
    reader.join().expect("it does not panic").trim_end().to_owned()
}

#[test]
fn a_service_is_resumed_with_the_result_or_the_panic() {
    each(ThreadPoolOptions::DEFAULT, |mut reactor, pool, site, address| {
        site.gate.open();
        let mut peer = connect(&address);
        // The lines that follow wait while the connection pauses.
        send(&mut peer, "one\npanic\nping\ntwo\n");
        let mut lines = BufReader::new(peer.try_clone().expect("there is a descriptor")).lines();
        let reader = thread::spawn(move || {
            (0..4).map(|_| lines.next().expect("a line").expect("comes")).collect::<Vec<_>>()
        });
        turn_until(&mut reactor, |_| reader.is_finished());
        let answers = reader.join().expect("it does not panic");
        assert_eq!(answers, ["done: one", "the job panicked: as planned", "pong", "done: two"]);
        assert_eq!((pool.counts().done, pool.counts().panicked), (2, 1));
    });
}

#[test]
fn a_full_queue_pauses_connections_and_takes_them_in_order() {
    each(ONE, |mut reactor, pool, site, address| {
        let mut peers = Vec::new();
        for number in 0..10 {
            let mut peer = connect(&address);
            send(&mut peer, &format!("{number}\nping\n"));
            peers.push(peer);
            turn_until(&mut reactor, |_| {
                let counts = pool.counts();
                counts.busy + counts.queued + counts.waiting == number + 1
            });
        }
        turn_until(&mut reactor, |_| pool.counts().waiting == 8);
        let counts = pool.counts();
        assert_eq!((counts.busy, counts.queued, counts.live), (1, 1, 1));
        // The loop serves others meanwhile.
        let mut other = connect(&address);
        send(&mut other, "ping\n");
        assert_eq!(line(&mut reactor, &other), "pong");
        site.gate.open();
        for (number, peer) in peers.iter().enumerate() {
            let mut answers = [0; 13];
            let mut peer = peer.try_clone().expect("there is a descriptor");
            let reader = thread::spawn(move || peer.read_exact(&mut answers).map(|()| answers));
            turn_until(&mut reactor, |_| reader.is_finished());
            let answers = reader.join().expect("it does not panic").expect("they come");
            assert_eq!(String::from_utf8_lossy(&answers), format!("done: {number}\npong\n"));
        }
        let begun = site.begun.lock().expect("no job panics with it").clone();
        assert_eq!(begun, (0..10).map(|it| it.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn a_connection_has_one_place_in_front_of_a_full_queue() {
    each(ONE, |mut reactor, pool, site, _address| {
        let offload = pool.attach(&mut reactor.cx()).expect("it attaches");
        let token = reactor::Token::NONE;
        let work = || {
            let gate = site.gate.clone();
            move || gate.pass()
        };
        let run = || offload.run(token, work());
        let mut jobs = vec![run().expect("a thread is free")];
        testkit::wait_until("the start of the job", || pool.counts().busy == 1);
        jobs.push(run().expect("there is room"));
        jobs.push(run().expect("it waits"));
        let error = run().expect_err("another one waits");
        assert_eq!(error.kind, SubmitErrorKind::Full);
        // It leaves its place.
        drop(jobs.pop());
        jobs.push(run().expect("it waits"));
        assert_eq!(pool.counts().waiting, 1);
        site.gate.open();
        jobs.into_iter().for_each(|job| job.wait().expect("it is done"));
    });
}

#[test]
fn the_jobs_of_a_connection_that_is_gone_are_given_up() {
    each(ONE, |mut reactor, pool, site, address| {
        let mut peers: Vec<_> = (0..3).map(|_| connect(&address)).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            send(peer, &format!("{number}\n"));
            turn_until(&mut reactor, |_| {
                let counts = pool.counts();
                counts.busy + counts.queued + counts.waiting == number + 1
            });
        }
        turn_until(&mut reactor, |_| pool.counts().waiting == 1);
        // A reset ends the connections, though they pause.
        for peer in peers {
            socket2::Socket::from(peer).set_linger(Some(Duration::ZERO)).expect("it is set");
        }
        turn_until(&mut reactor, |reactor| reactor.counters().connections == 0);
        let expected = ThreadPoolCounts { live: 1, busy: 1, cancelled: 2, ..Default::default() };
        assert_eq!(pool.counts(), expected);
        site.gate.open();
        turn_until(&mut reactor, |_| pool.counts().busy == 0);
        let expected = ThreadPoolCounts { done: 1, dropped: 1, busy: 0, ..expected };
        assert_eq!(pool.counts(), expected);
        assert_eq!(*site.begun.lock().expect("no job panics with it"), ["0"]);
    });
}

#[test]
fn a_loop_that_stops_gracefully_waits_for_connections_that_wait_for_their_work() {
    each(ONE, |mut reactor, pool, site, address| {
        let mut peers: Vec<_> = (0..3).map(|_| connect(&address)).collect();
        peers.iter_mut().for_each(|peer| send(peer, "late\n"));
        turn_until(&mut reactor, |_| pool.counts().waiting == 1 && pool.counts().busy == 1);
        reactor.cx().stop_gracefully(PATIENCE);
        let quiet = Instant::now() + 5 * quick().stopping_quiet;
        turn_until(&mut reactor, |_| Instant::now() > quiet);
        assert_eq!(reactor.counters().connections, 3);
        site.gate.open();
        let readers: Vec<_> = peers
            .into_iter()
            .map(|mut peer| {
                thread::spawn(move || {
                    let mut text = String::new();
                    peer.read_to_string(&mut text).map(|_| text)
                })
            })
            .collect();
        turn_until(&mut reactor, |reactor| reactor.has_ended());
        drop(reactor);
        for reader in readers {
            let text = reader.join().expect("it does not panic").expect("it ends in order");
            assert_eq!(text, "done: late\n");
        }
    });
}

#[test]
fn a_connection_may_wait_for_its_work_longer_than_the_idle_limit() {
    let idle = Duration::from_millis(20);
    let limits = LoopLimits { idle_timeout: Some(idle), ..LoopLimits::DEFAULT };
    each_within(limits, ONE, |mut reactor, _pool, site, address| {
        let mut peer = connect(&address);
        send(&mut peer, "long\n");
        let late = Instant::now() + 5 * idle;
        turn_until(&mut reactor, |_| Instant::now() > late);
        assert_eq!(reactor.counters().connections, 1);
        site.gate.open();
        assert_eq!(line(&mut reactor, &peer), "done: long");
        turn_until(&mut reactor, |reactor| reactor.counters().connections == 0);
    });
}

#[test]
fn a_loop_that_is_gone_takes_its_jobs_along() {
    each(ONE, |mut reactor, pool, site, address| {
        let mut peers: Vec<_> = (0..2).map(|_| connect(&address)).collect();
        peers.iter_mut().for_each(|peer| send(peer, "never\n"));
        turn_until(&mut reactor, |_| pool.counts().queued == 1 && pool.counts().busy == 1);
        drop(reactor);
        site.gate.open();
        testkit::wait_until("the end of the job", || pool.counts().busy == 0);
        let expected =
            ThreadPoolCounts { live: 1, done: 1, dropped: 1, cancelled: 1, ..Default::default() };
        assert_eq!(pool.counts(), expected);
    });
}

#[test]
fn one_pool_serves_several_loops() {
    let pool = ThreadPool::new(ThreadPoolOptions::DEFAULT).expect("it starts");
    let run = || {
        let mut reactor = Reactor::new(()).expect("it opens");
        let offload = pool.attach(&mut reactor.cx()).expect("it attaches");
        let (site, limits) = (Site::default(), quick());
        site.gate.open();
        let address = serve(&mut reactor, limits, move || {
            let (offload, site) = (offload.clone(), site.clone());
            Conversation::new(Lines::default(), Jobs { offload, site, job: None })
        });
        for number in 0..50 {
            let mut peer = connect(&address);
            send(&mut peer, &format!("{number}\n"));
            assert_eq!(line(&mut reactor, &peer), format!("done: {number}"));
        }
    };
    thread::scope(|scope| {
        let loops = [scope.spawn(run), scope.spawn(run)];
        loops.into_iter().for_each(|it| it.join().expect("it does not panic"));
    });
    assert_eq!(pool.counts().done, 100);
}

/// Returns the 99th percentile of the time that 1,000 pings take.
fn ping(address: &str) -> Duration {
    let mut peer = connect(address);
    peer.set_nodelay(true).expect("it is TCP");
    let mut times: Vec<_> = (0..1000)
        .map(|_| {
            let start = Instant::now();
            send(&mut peer, "ping\n");
            let mut answer = [0; 5];
            peer.read_exact(&mut answer).expect("it comes");
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[989]
}

/// Other programs may take the processors, which no program here can help. A loop that runs the work
/// itself fails every time.
const ATTEMPTS: usize = 10;

#[test]
fn work_of_200_ms_does_not_delay_pings() {
    each(ThreadPoolOptions::DEFAULT, |mut reactor, pool, _site, address| {
        let mut times = Vec::new();
        for _ in 0..ATTEMPTS {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    let mut peer = connect(&address);
                    send(&mut peer, &"sleep\n".repeat(3));
                    peer
                })
                .collect();
            turn_until(&mut reactor, |_| pool.counts().busy == 4);
            let address = address.clone();
            let pings = thread::spawn(move || ping(&address));
            turn_until(&mut reactor, |_| pings.is_finished());
            times.push(pings.join().expect("it does not panic"));
            let readers: Vec<_> = workers
                .into_iter()
                .map(|mut peer| thread::spawn(move || peer.read_exact(&mut [0; 3 * 12])))
                .collect();
            turn_until(&mut reactor, |_| readers.iter().all(thread::JoinHandle::is_finished));
            for reader in readers {
                reader.join().expect("it does not panic").expect("all three answers come");
            }
            if times.last().is_some_and(|time| *time < Duration::from_millis(5)) {
                eprintln!("p99 of the pings: {times:?}");
                return;
            }
        }
        panic!("p99 of the pings: {times:?}");
    });
}
