//! A loop whose handler forks (P18): both processes go on, each with a loop of its own. A process that
//! has threads is not forked, so this program has no harness, which would start some.

use std::io;
use std::time::Duration;

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reason, Reply, Service};
use reactor::{
    Address, BackendKind, Child, ChildOptions, Fork, Forked, ListenOptions, Listener, LoopLimits,
    Reactor, Stream, fork,
};

/// How many connections each process makes, one after another.
const DIALS: u32 = 30;

#[derive(Default)]
struct App {
    address: Option<Address>,
    fork: Option<Fork>,
    answered: u32,
    exit: Option<i32>,
}

/// Answers each line with itself.
struct Serves;

impl Service<Lines, App> for Serves {
    fn call(
        &mut self,
        line: &mut [u8],
        reply: &mut Reply<'_, Lines>,
        _context: &mut Context<'_, App>,
    ) -> Flow {
        reply.send(line);
        Flow::Continue
    }
}

/// Asks, and counts an answer that is right.
struct Asks;

impl Service<Lines, App> for Asks {
    fn open(&mut self, reply: &mut Reply<'_, Lines>, _context: &mut Context<'_, App>) -> Flow {
        reply.send(b"question");
        Flow::Continue
    }

    fn call(
        &mut self,
        line: &mut [u8],
        _reply: &mut Reply<'_, Lines>,
        context: &mut Context<'_, App>,
    ) -> Flow {
        assert_eq!(line, b"question");
        context.app.answered += 1;
        Flow::Close
    }

    fn closed(&mut self, reason: &Reason, _context: &mut Context<'_, App>) {
        assert!(!matches!(reason, Reason::Failed { .. } | Reason::PeerClosed), "{reason}");
    }
}

fn dial(cx: &mut reactor::LoopCx<'_, App>) -> io::Result<()> {
    let address = cx.app.address.clone().expect("it listens");
    Stream::new(Conversation::new(Lines::default(), Asks), Limits::DEFAULT.shared()?)
        .connect(address, &reactor::ConnectOptions::DEFAULT, cx)
        .map(drop)
}

/// Makes connections to the listener of both processes until enough were answered.
fn dial_all(reactor: &mut Reactor<App>) -> io::Result<()> {
    for number in 1..=DIALS {
        dial(&mut reactor.cx())?;
        reactor.run_until(|app| app.answered >= number)?;
    }
    Ok(())
}

/// Serves and forks. Returns whether this is the parent, after all has gone well.
fn run(kind: BackendKind) -> io::Result<Fork> {
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, App::default())?;
    let any = "127.0.0.1:0".parse().expect("it is an address");
    let listener = Listener::bind(&any, &ListenOptions::DEFAULT)?;
    reactor.app.address = Some(listener.address().clone());
    Stream::serve(listener, Limits::DEFAULT, &mut reactor.cx(), |_| {
        Conversation::new(Lines::default(), Serves)
    })?;
    reactor.cx().after(Duration::from_millis(1), |cx| {
        cx.app.fork = Some(fork().expect("this is the only thread"));
    })?;
    let forked = reactor.run_until(|app| app.fork.is_some());
    let fork = reactor.app.fork.expect("it has forked");
    match fork {
        Fork::Child => {
            let error = forked.expect_err("the loop is that of the parent");
            assert!(error.get_ref().is_some_and(|error| error.is::<Forked>()), "{error}");
            reactor.rebuild()?;
            dial_all(&mut reactor)?;
            // It may have accepted connections of the parent.
            reactor.cx().stop_gracefully(Duration::from_secs(60));
            reactor.run()?;
        }
        Fork::Parent { child } => {
            forked?;
            Child::adopt(child, &ChildOptions::DEFAULT, &mut reactor.cx(), |status, cx| {
                cx.app.exit = status.ok().and_then(|status| status.code());
            })?;
            dial_all(&mut reactor)?;
            reactor.run_until(|app| app.exit.is_some())?;
            assert_eq!(reactor.app.exit, Some(0), "the checks of the child");
        }
    }
    Ok(fork)
}

fn main() {
    for kind in BackendKind::ALL {
        if run(kind).expect("it runs") == Fork::Child {
            std::process::exit(0);
        }
        println!("a handler forks and both processes go on, on {kind} ... ok");
    }
}
