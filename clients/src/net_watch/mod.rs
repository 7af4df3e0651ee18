//! Watches links, addresses, routes and neighbours, and prints what changes.

mod lines;
mod names;
mod sheet;

use std::error::Error;
use std::time::Duration;

use protocol::netlink::{Change, Event, NeighbourState, Network, Presence, Selection};
use reactor::{BackendKind, LoopCx, LoopLimits, NetworkOptions, Reactor, Reason};

use crate::output::{complain, print};
use crate::{Failure, signals_to_end};
pub use sheet::Form;

/// How long the loop has to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each change, until the tool is asked to end.
    Changes,
    /// The present state, and then each change.
    StateAndChanges,
    /// The present state.
    State,
}

/// What is watched, and how it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Links, addresses, routes, neighbours.
    pub selection: Selection,
    /// The state, or changes.
    pub scope: Scope,
    /// Text or JSON.
    pub form: Form,
    /// The size of the receive buffer, in bytes.
    pub receive_buffer: Option<usize>,
}

struct App {
    watch: Watch,
    /// The present state was printed, or is not to be.
    is_begun: bool,
    failure: Option<Failure>,
}

/// Watches until `SIGINT`, `SIGTERM` or `SIGHUP`, or prints the state once.
///
/// # Errors
/// Fails if the loop cannot run, the kernel does not tell, or standard output fails.
pub fn run(watch: Watch) -> Result<(), Failure> {
    let app = App { watch, is_begun: false, failure: None };
    let limits = LoopLimits { idle_timeout: None, ..LoopLimits::DEFAULT };
    let mut reactor = Reactor::with_backend(BackendKind::from_env()?.open()?, limits, app)?;
    let mut cx = reactor.cx();
    cx.on_signals(&signals_to_end(), |_, cx| cx.stop_gracefully(PATIENCE))?;
    // Links are followed in any case: addresses and routes are printed with their names.
    let selection = Selection { links: true, ..watch.selection };
    let receive_buffer = watch.receive_buffer;
    let options = NetworkOptions { selection, receive_buffer, ..NetworkOptions::default() };
    cx.watch_network(&options, |event, network, cx| {
        if let Err(failure) = take(event, network, cx)
            && cx.app.failure.is_none()
        {
            cx.app.failure = Some(failure);
            cx.stop();
        }
    })?;
    reactor.run()?;
    reactor.app.failure.take().map_or(Ok(()), Err)
}

/// Prints an event.
fn take(event: Event<'_>, network: &Network, cx: &mut LoopCx<'_, App>) -> Result<(), Failure> {
    let Watch { selection, scope, form, .. } = cx.app.watch;
    match event {
        Event::Link(change) if selection.links && cx.app.is_begun => {
            let (link, presence) = told(&change);
            print(&lines::link(link, network, form, presence))
        }
        Event::Part(link, presence) if selection.links && cx.app.is_begun => {
            print(&lines::link(&link, network, form, presence))
        }
        Event::Address(change) if selection.addresses && cx.app.is_begun => {
            let (address, presence) = told(&change);
            print(&lines::address(address, network, form, presence))
        }
        Event::Route(change) if selection.routes && cx.app.is_begun => {
            let (route, presence) = told(&change);
            print(&lines::route(route, network, form, presence))
        }
        Event::Neighbour(change) if selection.neighbours && cx.app.is_begun => {
            let (neighbour, presence) = told(&change);
            print(&lines::neighbour(neighbour, network, form, presence))
        }
        Event::BridgeEntry(entry, presence) if selection.neighbours && cx.app.is_begun => {
            print(&lines::bridge_entry(&entry, network, form, presence))
        }
        Event::Complete if !cx.app.is_begun => {
            cx.app.is_begun = true;
            if scope != Scope::Changes {
                print_state(network, &cx.app.watch)?;
            }
            if scope == Scope::State {
                cx.stop();
            }
            Ok(())
        }
        Event::Overrun => {
            complain("net-watch: changes came faster than they were read: reading the state again");
            Ok(())
        }
        Event::Ended(reason) if !is_stop(reason) => {
            Err(Failure::new(format!("the kernel cannot be followed: {reason}")))
        }
        _ => Ok(()),
    }
}

/// Returns what a change is about, and whether that is there.
const fn told<T>(change: &Change<T>) -> (&T, Presence) {
    let presence = match change {
        Change::Removed(_) | Change::Unannounced(_) => Presence::Gone,
        _ => Presence::Here,
    };
    (change.subject(), presence)
}

/// Returns whether a source has ended since the loop has stopped.
fn is_stop(reason: &(dyn Error + 'static)) -> bool {
    matches!(reason.downcast_ref(), Some(Reason::Stopped))
}

/// Prints all that is known.
fn print_state(network: &Network, watch: &Watch) -> Result<(), Failure> {
    let Watch { selection, form, .. } = *watch;
    let mut text = Vec::new();
    if selection.links {
        network.links().for_each(|it| text.extend(lines::link(&it, network, form, Presence::Here)));
    }
    if selection.addresses {
        let lines =
            network.addresses().map(|it| lines::address(&it, network, form, Presence::Here));
        lines.for_each(|line| text.extend(line));
    }
    if selection.routes {
        let lines = network.routes().map(|it| lines::route(&it, network, form, Presence::Here));
        lines.for_each(|line| text.extend(line));
    }
    if selection.neighbours {
        // `ip` prints those without an address of hardware in changes alone.
        let shown = network.neighbours().filter(|it| it.state != NeighbourState::NO_ARP);
        let lines = shown.map(|it| lines::neighbour(&it, network, form, Presence::Here));
        lines.for_each(|line| text.extend(line));
    }
    print(&text)
}
