//! A process for each connection.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use log::{info, warn};
use protocol::Session;
use reactor::blocking::Told;
use reactor::{Accepted, Fork, Listener, LoopCx, Reactor, Token};

use super::Serving;
use super::alone;
use super::children::{self, Children, Parent};
use super::desk::{self, Desk, Stands};
use crate::run::{Figures, no_listener_left};

/// How often a fork that fails is logged.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The state of the loop of the parent.
#[derive(Default)]
struct Forks {
    /// Connections without a process, and what stands for each.
    waiting: VecDeque<(Accepted, Token)>,
    children: Children,
    last_failure: Option<Instant>,
}

impl Parent for Forks {
    fn children(&mut self) -> &mut Children {
        &mut self.children
    }
}

impl Desk for Forks {
    fn report(&self) -> String {
        format!("fork, {} processes", self.children.count())
    }

    fn tell(told: Told, cx: &mut LoopCx<'_, Self>) -> io::Result<()> {
        children::tell(told, cx)
    }
}

/// Runs a server that forks for each connection.
pub(super) fn run<S: Session + 'static>(
    listeners: Vec<Listener>,
    connections_max: usize,
    serving: Serving<S>,
) -> io::Result<()> {
    let parent = std::process::id();
    let mut reactor = desk::open(Forks::default(), connections_max)?;
    for listener in listeners {
        listener.register(&mut reactor.cx(), |accepted, cx| {
            let token = cx.spawn_connection(Stands)?;
            cx.app.waiting.push_back((accepted, token));
            Ok(())
        })?;
    }
    let Some(accepted) = turn(&mut reactor)? else {
        info!("stopped: {}", Figures(reactor.counters()));
        return Ok(());
    };
    // This is a child. The loop of its parent is dropped with the listeners and the descriptors of all
    // other children: there may be no room for its own beside them.
    drop(reactor);
    let own = alone::in_child(false)?;
    children::follow(parent)?;
    alone::serve_one(accepted, own, serving);
    Ok(())
}

/// Turns the loop of the parent until it has stopped. In a child, it returns its connection.
fn turn(reactor: &mut Reactor<Forks>) -> io::Result<Option<Accepted>> {
    loop {
        let mut is_lost = false;
        reactor.run_while(|reactor| {
            is_lost = reactor.listeners() == 0 && !reactor.is_stopping();
            reactor.app.waiting.is_empty() && !is_lost
        })?;
        let Some((accepted, token)) = reactor.app.waiting.pop_front() else {
            return if is_lost { Err(no_listener_left()) } else { Ok(None) };
        };
        match reactor::fork() {
            Ok(Fork::Child) => return Ok(Some(accepted)),
            Ok(Fork::Parent { child }) => {
                drop(accepted);
                let is_stopping = reactor.is_stopping();
                let mut cx = reactor.cx();
                if let Err(error) = children::watch(child, &mut cx, move |_, cx| cx.close(token)) {
                    children::discard(child);
                    cx.close(token);
                    refuse(reactor, &error);
                } else if is_stopping {
                    // It came from the backlog.
                    cx.app.children.signal(reactor::Signal::TERMINATE);
                }
            }
            Err(error) => {
                reactor.cx().close(token);
                refuse(reactor, &error);
            }
        }
    }
}

/// Logs that a connection has got no process, unless that was logged just before.
fn refuse(reactor: &mut Reactor<Forks>, error: &io::Error) {
    let last = reactor.app.last_failure;
    if last.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
        reactor.app.last_failure = Some(Instant::now());
        let children = reactor.app.children.count();
        warn!(
            "connections are dropped: no process can be started beside {children} others: {error}; \
             lower --max-connections, or raise ulimit -n (two descriptors for each) and ulimit -u"
        );
    }
}
