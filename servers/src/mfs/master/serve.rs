//! Runs the master: its listeners, its timers and its signals.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use protocol::codecs::Packet;
use protocol::mfs::limit;
use protocol::{Conversation, Limits, Service};
use reactor::{
    Address, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Stream, raise_descriptor_limit,
};

use super::app::Master;
use super::args::Args;
use super::chunkservers::ChunkserverSession;
use super::clients::ClientSession;
use super::folder::Folder;
use super::journal::Journal;
use super::metaloggers::MetaloggerSession;
use super::port::UNREGISTERED_SIZE_MAX;
use crate::run::{Figures, stop_gracefully};
use crate::service_manager::ServiceManager;
use crate::signals::{self, Orders, Reload};
use crate::tls::Tls;

/// The size of the type and the length of a packet, in bytes.
const HEADER: usize = 8;
/// How many bytes may wait for a peer that does not read: more than the list of the largest directory.
const OUTPUT_MAX: u64 = 64 << 20;
/// Descriptors besides those of connections.
const DESCRIPTORS_OF_ITS_OWN: usize = 64;

/// Runs the master until it is told to stop.
///
/// # Errors
/// Why it cannot run.
pub(super) fn run(args: &Args) -> io::Result<()> {
    let mut reactor = prepare(args)?;
    // What the system allows may be less, and then fewer connections can be open.
    raise_descriptor_limit((args.max_connections + DESCRIPTORS_OF_ITS_OWN) as u64)?;
    let manager = Rc::new(ServiceManager::find());
    let mut cx = reactor.cx();
    if let Some(interval) = manager.watchdog() {
        let manager = Rc::clone(&manager);
        cx.every(interval, move |_, _| manager.alive())?;
    }
    signals::heed(None, MasterOrders(Rc::clone(&manager)), &mut cx)?;
    for (kind, address) in ["metaloggers", "chunkservers", "clients"].iter().zip(cx.app.addresses())
    {
        info!("listening on {address} for {kind}");
    }
    manager.ready();
    reactor.run()?;
    let written = reactor.app.finish();
    info!("stopped: {} {}", reactor.app, Figures(reactor.counters()));
    written
}

/// Opens the loop of the master, which listens then.
///
/// # Errors
/// One sentence that says what is wrong with the folder or an address.
pub(super) fn prepare(args: &Args) -> io::Result<Reactor<Master>> {
    let folder = Folder::open(&args.dir, args.back_logs)?;
    let master = Master::open(args.options(), folder).map_err(|error| {
        let text = format!("the folder {} cannot be used: {error}", args.dir.display());
        io::Error::new(error.kind(), text)
    })?;
    let limits = LoopLimits {
        connections_max: args.max_connections,
        // Each connection has a pulse.
        idle_timeout: None,
        ..LoopLimits::DEFAULT
    };
    let mut reactor = Reactor::with_backend(args.backend.open()?, limits, master)?;
    let timeout = args.timeout;
    let cx = &mut reactor.cx();
    Journal::start(cx)?;
    listen(&args.listen_metaloggers, limit::METALOGGER, cx, move |peer| {
        MetaloggerSession::new(peer, timeout)
    })?;
    listen(&args.listen_chunkservers, limit::FROM_CHUNKSERVER, cx, move |peer| {
        ChunkserverSession::new(peer, timeout)
    })?;
    listen(&args.listen_clients, limit::FROM_CLIENT, cx, ClientSession::new)?;
    cx.every(Duration::from_secs(1), |_, cx| Master::each_second(cx))?;
    cx.every(args.rotate_every, |_, cx| {
        cx.app.rotate();
        Master::flush(cx);
    })?;
    Ok(reactor)
}

/// Listens for peers of one kind. Their packets have `size_max` bytes at most once they have registered.
fn listen<S: Service<Packet, Master> + 'static>(
    address: &Address,
    size_max: u32,
    cx: &mut LoopCx<'_, Master>,
    session: impl Fn(Option<std::net::SocketAddr>) -> S + 'static,
) -> io::Result<()> {
    let listener = Listener::bind(address, &ListenOptions::DEFAULT)?;
    cx.app.addresses.push(listener.address().clone());
    let limits = Limits {
        message_size_max: HEADER + size_max as usize,
        output_max: OUTPUT_MAX,
        ..Limits::DEFAULT
    };
    Stream::serve(listener, limits, cx, move |peer| {
        Conversation::new(Packet::with_size_max(UNREGISTERED_SIZE_MAX), session(peer))
    })?;
    Ok(())
}

/// Carries out the signals.
struct MasterOrders(Rc<ServiceManager>);

impl Orders<Master> for MasterOrders {
    fn log_counters(&mut self, cx: &mut LoopCx<'_, Master>) {
        info!("{} {}", cx.app, Figures(cx.counters()));
    }

    fn is_stopping(&self, cx: &LoopCx<'_, Master>) -> bool {
        cx.is_stopping()
    }

    fn stop_gracefully(&mut self, why: &dyn fmt::Display, cx: &mut LoopCx<'_, Master>) {
        self.0.stopping("connections finish");
        stop_gracefully(why, cx);
    }

    fn stop(&mut self, cx: &mut LoopCx<'_, Master>) {
        cx.stop();
    }

    fn reload(&mut self, _: Option<&Tls>, _: &mut LoopCx<'_, Master>) -> Reload {
        Reload::NoFiles
    }

    fn hand_over(&mut self, _: &mut LoopCx<'_, Master>) {
        warn!("no new program is started: peers of this one connect again by themselves");
    }
}
