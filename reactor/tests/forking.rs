//! A loop whose handler forks (P18): both processes go on, each with a loop of its own. A process that
//! has threads is not forked, so this program has no harness, which would start some.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use protocol::codecs::Lines;
use protocol::{Context, Conversation, Flow, Limits, Reason, Reply, Service};
use reactor::watch::{FileOptions, FileWatch, Notice, TreeOptions, TreeWatch};
use reactor::{
    Address, BackendKind, Child, ChildOptions, Fork, Forked, ListenOptions, Listener, LoopLimits,
    Reactor, Stream, fork,
};

/// How many files each process makes.
const FILES: u32 = 20;
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

/// What watches of files have told.
#[derive(Default)]
struct Watched {
    is_ready: bool,
    names: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    fork: Option<Fork>,
    exit: Option<i32>,
}

/// Watches files and forks. Both processes hear of what either of them does, as well as of what happens
/// before the child has a loop of its own. Returns whether this is the parent.
fn watch(kind: BackendKind) -> io::Result<Fork> {
    let folder = testkit::Folder::new("forking");
    let (tree, hosts) = (folder.path().join("tree"), folder.path().join("hosts"));
    fs::create_dir(&tree)?;
    fs::write(&hosts, "first")?;
    let app = Watched::default();
    let mut reactor = Reactor::with_backend(kind.open()?, LoopLimits::DEFAULT, app)?;
    TreeWatch::new(TreeOptions::DEFAULT).path(&tree).register(
        &mut reactor.cx(),
        |notice, cx| match notice {
            Notice::Ready { .. } => cx.app.is_ready = true,
            Notice::Changes(changes) => {
                cx.app.names.extend(changes.into_iter().map(|it| it.path));
            }
            Notice::Overrun | Notice::Ended(_) => {}
            Notice::Skipped { path, error } => panic!("{}: {error}", path.display()),
        },
    )?;
    let files = [hosts.clone()];
    FileWatch::register(&files, FileOptions::DEFAULT, &mut reactor.cx(), |changed, cx| {
        cx.app.files.extend(changed);
    })?;
    reactor.run_until(|app| app.is_ready)?;
    reactor.cx().after(Duration::from_millis(1), |cx| {
        cx.app.fork = Some(fork().expect("this is the only thread"));
    })?;
    let forked = reactor.run_until(|app| app.fork.is_some());
    let fork = reactor.app.fork.expect("it has forked");
    let own = match fork {
        Fork::Child => "child",
        Fork::Parent { .. } => "parent",
    };
    if let Fork::Child = fork {
        assert!(forked.is_err(), "the loop is that of the parent");
        fs::write(tree.join("early"), "")?;
        fs::write(&hosts, "another")?;
        reactor.rebuild()?;
    }
    for number in 0..FILES {
        fs::write(tree.join(format!("{own}-{number}")), "")?;
        reactor.run_once(Some(Duration::ZERO))?;
    }
    let of = |own| (0..FILES).map(move |number| format!("{own}-{number}"));
    let names = of("child").chain(of("parent")).chain(["early".to_owned()]);
    let names: BTreeSet<PathBuf> = names.map(|name| tree.join(name)).collect();
    reactor.run_until(|app| app.names == names && app.files.contains(&hosts))?;
    match fork {
        // The folder is the parent's.
        Fork::Child => std::mem::forget(folder),
        Fork::Parent { child } => {
            Child::adopt(child, &ChildOptions::DEFAULT, &mut reactor.cx(), |status, cx| {
                cx.app.exit = status.ok().and_then(|status| status.code());
            })?;
            reactor.run_until(|app| app.exit.is_some())?;
            assert_eq!(reactor.app.exit, Some(0), "the checks of the child");
        }
    }
    Ok(fork)
}

fn main() {
    for kind in BackendKind::ALL {
        if watch(kind).expect("it runs") == Fork::Child {
            std::process::exit(0);
        }
        println!("both processes go on to watch files, on {kind} ... ok");
        if run(kind).expect("it runs") == Fork::Child {
            std::process::exit(0);
        }
        println!("a handler forks and both processes go on, on {kind} ... ok");
    }
}
