//! Sockets on the addresses of network interfaces, which are opened and closed as these come and go.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use log::{error, info, warn};
use protocol::Conversation;
use protocol::dns::{OverTcp, OverUdp};
use reactor::{
    Address, DatagramOptions, DatagramSocket, Datagrams, InterfaceAddress, InterfaceEvent,
    ListenOptions, Listener, LoopCx, Stream, Token,
};

use super::LIMITS;
use super::app::Dns;
use super::args::InterfaceRule;
use super::front::{DatagramFront, StreamFront};

/// The most addresses of an interface on which clients are served.
pub(super) const ADDRESSES_MAX: usize = 256;
/// How long after a failure opening a socket is tried again: another program may have had the port.
const RETRY: Duration = Duration::from_secs(1);

/// The interfaces on whose addresses clients may ask, and what is open there.
pub(super) struct Interfaces {
    rules: Vec<InterfaceRule>,
    /// Questions of one connection that are answered at the same time.
    pipelined_max: u16,
    /// By the number of the rule.
    open: BTreeMap<(usize, InterfaceAddress), Place>,
    is_retrying: bool,
}

/// The sockets of an address.
#[derive(Debug, Default)]
struct Place {
    datagrams: Option<Token>,
    listener: Option<Token>,
    /// A failure was logged.
    is_reported: bool,
}

impl Interfaces {
    pub(super) fn new(rules: Vec<InterfaceRule>, pipelined_max: u16) -> Self {
        Self { rules, pipelined_max, open: BTreeMap::new(), is_retrying: false }
    }

    /// Returns how many descriptors they take at most.
    pub(super) fn descriptors(&self) -> usize {
        self.rules.len() * (1 + 2 * ADDRESSES_MAX)
    }
}

/// Follows the addresses of the interfaces from now on.
///
/// # Errors
/// When the kernel does not tell them.
pub(super) fn start(cx: &mut LoopCx<'_, Dns>) -> io::Result<()> {
    for number in 0..cx.app.interfaces.rules.len() {
        let name = cx.app.interfaces.rules[number].name.clone();
        cx.watch_interface(&name, move |event, cx| take(number, &event, cx))?;
    }
    Ok(())
}

fn take(number: usize, event: &InterfaceEvent<'_>, cx: &mut LoopCx<'_, Dns>) {
    match event {
        InterfaceEvent::Added(address) => add(number, *address, cx),
        InterfaceEvent::Removed(address) => {
            let Some(place) = cx.app.interfaces.open.remove(&(number, *address)) else { return };
            let InterfaceRule { name, port } = &cx.app.interfaces.rules[number];
            info!("{name} has {} no more: its sockets are closed", address.with_port(*port));
            // Connections go on for as long as their peers hear of them.
            [place.datagrams, place.listener].into_iter().flatten().for_each(|it| cx.close(it));
        }
        InterfaceEvent::Complete => {
            let has_some = cx.app.interfaces.open.keys().any(|(it, _)| *it == number);
            if !has_some {
                let name = &cx.app.interfaces.rules[number].name;
                warn!("{name} has no address: clients are served there when it has one");
            }
        }
        InterfaceEvent::Ended(reason) => {
            if !cx.is_stopping() {
                let name = &cx.app.interfaces.rules[number].name;
                error!("the addresses of {name} are followed no longer: {reason}");
            }
        }
    }
}

fn add(number: usize, address: InterfaceAddress, cx: &mut LoopCx<'_, Dns>) {
    let open = &mut cx.app.interfaces.open;
    if open.keys().filter(|(it, _)| *it == number).count() >= ADDRESSES_MAX {
        let name = &cx.app.interfaces.rules[number].name;
        return warn!("{name} has more than {ADDRESSES_MAX} addresses: not on {}", address.ip);
    }
    open.insert((number, address), Place::default());
    open_missing(cx);
}

/// Opens the sockets that are missing, and tries again later if that fails.
fn open_missing(cx: &mut LoopCx<'_, Dns>) {
    let missing = |place: &Place| place.datagrams.is_none() || place.listener.is_none();
    let places: Vec<_> = cx.app.interfaces.open.iter().filter(|(_, it)| missing(it)).collect();
    let keys: Vec<_> = places.into_iter().map(|(key, _)| *key).collect();
    let mut has_failed = false;
    for (number, address) in keys {
        has_failed |= !open_place(number, address, cx);
    }
    if !has_failed || cx.app.interfaces.is_retrying || cx.is_stopping() {
        return;
    }
    let retry = cx.after(RETRY, |cx| {
        cx.app.interfaces.is_retrying = false;
        open_missing(cx);
    });
    match retry {
        Ok(_) => cx.app.interfaces.is_retrying = true,
        Err(error) => warn!("sockets are opened when an address comes: {error}"),
    }
}

/// Opens what is missing of an address, and returns whether all of it is open.
fn open_place(number: usize, address: InterfaceAddress, cx: &mut LoopCx<'_, Dns>) -> bool {
    let interfaces = &cx.app.interfaces;
    let Some(place) = interfaces.open.get(&(number, address)) else { return true };
    let (datagrams, listener) = (place.datagrams, place.listener);
    let InterfaceRule { name, port } = interfaces.rules[number].clone();
    let socket = address.with_port(port);
    let datagrams = match datagrams {
        Some(token) => Ok(token),
        None => serve_datagrams(&Address::Udp(socket), cx),
    };
    let listener = match listener {
        Some(token) => Ok(token),
        None => serve_connections(&Address::Tcp(socket), cx),
    };
    let Some(place) = cx.app.interfaces.open.get_mut(&(number, address)) else { return true };
    match (&datagrams, &listener) {
        (Ok(_), Ok(_)) => info!("clients may ask at {socket}, which {name} has"),
        (Err(error), _) | (_, Err(error)) => {
            if !std::mem::replace(&mut place.is_reported, true) {
                warn!("{error}: tried again every {RETRY:?} while {name} has the address");
            }
        }
    }
    let is_open = datagrams.is_ok() && listener.is_ok();
    (place.datagrams, place.listener) = (datagrams.ok(), listener.ok());
    is_open
}

/// The port is shared with the other loops of this program, and with the program that replaces it.
fn serve_datagrams(address: &Address, cx: &mut LoopCx<'_, Dns>) -> io::Result<Token> {
    let options = DatagramOptions { reuse_port: true, ..DatagramOptions::default() };
    let socket = DatagramSocket::bind(address, &options)?;
    Datagrams::serve(socket, OverUdp, DatagramFront::default(), LIMITS.shared()?, cx)
}

fn serve_connections(address: &Address, cx: &mut LoopCx<'_, Dns>) -> io::Result<Token> {
    let options = ListenOptions { reuse_port: true, ..ListenOptions::DEFAULT };
    let listener = Listener::bind(address, &options)?;
    let pipelined_max = cx.app.interfaces.pipelined_max;
    Stream::serve(listener, LIMITS, cx, move |peer| {
        Conversation::new(OverTcp::new(), StreamFront::new(peer, pipelined_max))
    })
}
