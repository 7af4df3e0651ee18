//! Several loops on threads of their own.

mod exclusive;
mod failing;
mod handing_over;
mod passing_on;
mod stopping;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use protocol::codecs::Bytes;
use protocol::{Context, Conversation, Flow, Limits, Reply, Service};
use reactor::{
    Accept, BackendKind, Balance, Group, GroupListener, GroupOptions, ListenOptions, LoopLimits,
    Member, Pinning, Reactor, Remote, Stream,
};
use testkit::PATIENCE;

/// The ways to accept, all of which serve every connection.
const WAYS: [Accept; 4] = [
    Accept::HandOver(Balance::LeastConnections),
    Accept::HandOver(Balance::RoundRobin),
    Accept::ReusePort,
    Accept::Shared,
];

/// The state of a loop.
pub(crate) struct App {
    pub(crate) member: Member<Self>,
    /// What a loop waits for that is told to block.
    pub(crate) gate: Arc<Mutex<Receiver<()>>>,
    /// How many loops have been told to.
    pub(crate) blocked: Arc<AtomicUsize>,
    pub(crate) notes: Vec<usize>,
}

/// Answers each message with the number of its loop. It blocks at `b`, and panics at `p`.
struct Numbers;

impl Service<Bytes, App> for Numbers {
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        match bytes.first() {
            Some(b'b') => {
                let gate = Arc::clone(&context.app.gate);
                context.app.blocked.fetch_add(1, Ordering::SeqCst);
                // It ends when the test drops the other side.
                let _ = gate.lock().map(|gate| gate.recv());
            }
            Some(b'p') => panic!("it was told to"),
            _ => {}
        }
        reply.send(&[context.app.member.index() as u8]);
        Flow::Continue
    }
}

/// What a test wants of a group.
pub(crate) struct Plan {
    pub(crate) kind: BackendKind,
    pub(crate) threads: usize,
    pub(crate) accept: Accept,
    pub(crate) limits: LoopLimits,
    pub(crate) options: GroupOptions,
    pub(crate) gate: Receiver<()>,
    pub(crate) blocked: Arc<AtomicUsize>,
}

impl Plan {
    pub(crate) fn new(kind: BackendKind, threads: usize, accept: Accept) -> Self {
        let (_, gate) = std::sync::mpsc::channel();
        let options = GroupOptions { acceptor: kind, ..GroupOptions::default() };
        let (limits, blocked) = (LoopLimits::DEFAULT, Arc::default());
        Self { kind, threads, accept, limits, options, gate, blocked }
    }

    /// Starts the group. Returns its address too.
    pub(crate) fn start(self) -> (Group<App, Vec<usize>>, String) {
        let Self { kind, threads, accept, limits, options, gate, blocked } = self;
        let threads = NonZeroUsize::new(threads).expect("it is not zero");
        let any = "127.0.0.1:0".parse().expect("it is an address");
        let listener = GroupListener::bind(&any, &ListenOptions::DEFAULT, accept, threads);
        let listener = listener.expect("a port is free");
        let address = listener.address().expect("it is bound").to_string();
        let gate = Arc::new(Mutex::new(gate));
        let make = move |member: &Member<App>| {
            let app = App {
                member: member.clone(),
                gate: Arc::clone(&gate),
                blocked: Arc::clone(&blocked),
                notes: Vec::new(),
            };
            let mut reactor = Reactor::with_backend(kind.open()?, limits, app)?;
            member.accept(0, &mut reactor.cx(), |accepted, cx| {
                let session = Conversation::new(Bytes, Numbers);
                Stream::new(session, Limits::DEFAULT).register(accepted, cx).map(drop)
            })?;
            Ok(reactor)
        };
        let options = GroupOptions { threads, ..options };
        let take = |app: &mut App| std::mem::take(&mut app.notes);
        let group = Group::start(options, vec![listener], make, take).expect("it starts");
        (group, address)
    }
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let client = TcpStream::connect(address).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("timeouts can be set");
    client
}

/// Sends a message and returns the number of the loop that answers.
pub(crate) fn ask(client: &mut TcpStream) -> usize {
    client.write_all(b"?").expect("it takes bytes");
    answer(client)
}

/// Makes the loop of a client block. Returns when it does.
pub(crate) fn block(client: &mut TcpStream, blocked: &AtomicUsize) {
    let before = blocked.load(Ordering::SeqCst);
    client.write_all(b"b").expect("it takes bytes");
    testkit::wait_until("the block", || blocked.load(Ordering::SeqCst) > before);
}

pub(crate) fn answer(client: &mut TcpStream) -> usize {
    let mut number = [0];
    client.read_exact(&mut number).expect("it answers");
    usize::from(number[0])
}

/// Returns how many of `numbers` there are of each, from 0 on.
pub(crate) fn histogram(numbers: &[usize], count: usize) -> Vec<usize> {
    (0..count).map(|wanted| numbers.iter().filter(|it| **it == wanted).count()).collect()
}

#[test]
fn every_way_to_accept_serves_all_connections_on_every_backend() {
    for kind in BackendKind::ALL {
        for accept in WAYS {
            let (group, address) = Plan::new(kind, 3, accept).start();
            assert_eq!((group.running(), group.loops().len()), (3, 3));
            let listeners = if matches!(accept, Accept::HandOver(_)) { 1 } else { 3 };
            assert_eq!(group.listeners(), listeners, "{kind}, {accept}");
            let mut clients: Vec<TcpStream> = (0..60).map(|_| connect(&address)).collect();
            for _ in 0..2 {
                let numbers: Vec<usize> = clients.iter_mut().map(ask).collect();
                assert!(numbers.iter().all(|it| *it < 3), "{kind}, {accept}: {numbers:?}");
            }
            drop(clients);
            group.stop_gracefully(PATIENCE);
            let ended = group.join();
            ended.check().expect("no loop fails");
            let counters = ended.counters();
            let taken = if matches!(accept, Accept::HandOver(_)) { 60 } else { 0 };
            assert_eq!((counters.accepts, counters.taken), (60, taken), "{kind}, {accept}");
            assert_eq!((counters.connections, counters.live()), (0, 0), "{kind}, {accept}");
        }
    }
}

#[test]
fn a_message_goes_from_each_loop_to_each_other() {
    let (group, _) = Plan::new(BackendKind::Epoll, 4, Accept::default()).start();
    let send = |remote: &Remote<App>| {
        remote.post(|cx| {
            let from = cx.app.member.index();
            for to in cx.app.member.clone().loops() {
                let note = move |cx: &mut reactor::LoopCx<'_, App>| cx.app.notes.push(from);
                to.post_all([note; 10]).expect("there is room");
            }
        })
    };
    group.loops().iter().for_each(|remote| send(remote).expect("it runs"));
    let (sender, done) = std::sync::mpsc::channel();
    for remote in group.loops() {
        check_notes(remote.clone(), sender.clone());
    }
    for _ in group.loops() {
        done.recv_timeout(PATIENCE).expect("all messages arrive");
    }
    group.stop();
    for outcome in group.join().loops {
        let notes = outcome.state.expect("nothing panics");
        assert_eq!(histogram(&notes, 4), [10; 4]);
        // Those of one loop are in one piece: they were posted together.
        assert_eq!(notes.chunk_by(|one, other| one == other).count(), 4, "{notes:?}");
    }
}

/// Tells when a loop has 40 notes.
fn check_notes(remote: Remote<App>, done: std::sync::mpsc::Sender<()>) {
    let again = remote.clone();
    let posted = remote.post(move |cx| match cx.app.notes.len() {
        40 => done.send(()).expect("the test waits"),
        _ => check_notes(again, done),
    });
    posted.expect("it runs");
}

/// Returns how often the loops of a group have read and written for `count` messages on each of four
/// connections.
fn calls(threads: usize, accept: Accept, count: usize) -> (u64, u64) {
    let (group, address) = Plan::new(BackendKind::Epoll, threads, accept).start();
    let mut clients: Vec<TcpStream> = (0..4).map(|_| connect(&address)).collect();
    for _ in 0..count {
        clients.iter_mut().for_each(|it| _ = ask(it));
    }
    drop(clients);
    group.stop_gracefully(PATIENCE);
    let counters = group.join().counters();
    (counters.reads, counters.writes)
}

#[test]
fn a_message_costs_the_same_calls_whatever_the_number_of_loops() {
    for accept in WAYS {
        for threads in [1, 2, 4] {
            let (few, many) = (calls(threads, accept, 50), calls(threads, accept, 150));
            assert_eq!(many.1 - few.1, 400, "{threads}, {accept}");
            // A loop reads its mailbox too: a few times, as wakes coalesce.
            assert!((many.0 - few.0).abs_diff(400) < 20, "{threads}, {accept}: {few:?}, {many:?}");
        }
    }
}

#[test]
fn pinned_loops_run_each_on_one_processor() {
    let mut plan = Plan::new(BackendKind::Epoll, 2, Accept::default());
    plan.options = GroupOptions { pinning: Pinning::Cores, name: "pinned", ..plan.options };
    let (group, _address) = plan.start();
    let mut found = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("it is there") {
        let folder = task.expect("it can be read").path();
        // A thread of another test may have ended meanwhile.
        let Ok(status) = std::fs::read_to_string(folder.join("status")) else { continue };
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
        };
        if field("Name:").starts_with("pinned-") {
            let processors = field("Cpus_allowed_list:");
            assert!(processors.parse::<u32>().is_ok(), "it may run on {processors}");
            found += 1;
        }
    }
    assert_eq!(found, 2);
    drop(group);
}

#[test]
fn what_a_group_cannot_do_is_refused_by_name() {
    let refused = |options: GroupOptions, listeners, text: &str| {
        let make = |_: &Member<()>| Reactor::new(());
        let error = Group::start(options, listeners, make, |()| ()).expect_err("it is wrong");
        assert!(error.to_string().contains(text), "{error}");
    };
    let threads = NonZeroUsize::new(2).expect("it is not zero");
    let options = GroupOptions { threads, ..GroupOptions::default() };
    refused(GroupOptions { untaken_max: 0, ..options.clone() }, vec![], "untaken_max");
    let none = GroupListener::from_listeners(Accept::ReusePort, vec![]);
    refused(options.clone(), vec![none], "2 loops needs 2 sockets");

    let make = |member: &Member<()>| {
        let mut reactor = Reactor::new(())?;
        member.accept(0, &mut reactor.cx(), |_, _| Ok(()))?;
        Ok(reactor)
    };
    let error = Group::start(options, vec![], make, |()| ()).expect_err("there is no listener");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("there is no listener 0"), "{error}");
}
