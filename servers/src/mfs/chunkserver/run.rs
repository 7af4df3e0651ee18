//! The start of the chunkserver, its loop and its end.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;

use log::{info, warn};
use protocol::codecs::Packet;
use protocol::mfs::{Accepted, Endpoint, Space, limit};
use protocol::{Conversation, Limits};
use reactor::{
    Address, ListenOptions, Listener, LoopCx, LoopLimits, Reactor, Stream, ThreadPool,
    ThreadPoolOptions, raise_descriptor_limit,
};

use super::app::Chunkserver;
use super::args::Args;
use super::background::Keeper;
use super::dialer::Dialer;
use super::disk::Folder;
use super::exchange::{Known, Shared};
use super::master;
use super::service::DataService;
use super::store::Store;
use crate::mfs::files;
use crate::run::{Figures, stop_gracefully};
use crate::service_manager::ServiceManager;
use crate::signals::{self, Orders, Reload};
use crate::tls::Tls;

/// The limits of a connection to the data port. While data are read, packets are still taken, so the
/// high mark is above what a reader has in memory.
const LIMITS: Limits = Limits {
    message_size_max: 8 + limit::DATA_PORT as usize,
    output_high: 2 << 20,
    output_low: 256 << 10,
    output_max: 16 << 20,
    read_budget: 512 << 10,
    ..Limits::DEFAULT
};
/// Descriptors besides those of connections and chunks.
const DESCRIPTORS_OF_ITS_OWN: u64 = 128;

/// Runs the chunkserver until it is told to stop.
///
/// # Errors
/// Why it cannot run.
pub(super) fn run(args: &Args) -> io::Result<()> {
    // The number in it is that of one chunkserver.
    let _lock = files::lock(&args.dir, "mfs-chunkserver")?;
    let disks = open_disks(args)?;
    let (csid, meta_id) = read_id(&args.dir)?;
    let meta_id = common_meta_id(&disks, meta_id)?;
    let connections_max = args.max_connections as usize;
    // Connections to other chunkservers are at most as many, and that to the master.
    let limits = LoopLimits {
        connections_max: 2 * connections_max + 1,
        idle_timeout: None,
        ..LoopLimits::DEFAULT
    };
    let address = Address::Tcp(args.listen.into());
    let listener = Listener::bind(&address, &ListenOptions::DEFAULT)?;
    let place = match listener.address() {
        Address::Tcp(bound) => bound.port(),
        _ => args.listen.port(),
    };
    let known = Known {
        place: Endpoint { ip: (*args.listen.ip()).into(), port: place },
        timeout: args.timeout.as_secs() as u16,
        auth_code: args.auth_code.as_deref().map(read_code).transpose()?,
        csid,
        space: Space::default(),
        accepted: Accepted::default(),
        connection: 0,
        packets: 0,
    };
    let store = Store::new(args.open_files as usize);
    let app = Chunkserver::new(args.master.clone(), Shared::new(known), args.dir.clone(), store);
    let mut reactor = Reactor::with_backend(args.backend.open()?, limits, app)?;
    (reactor.app.labels, reactor.app.meta_id) = (args.labels, meta_id);
    raise_limit(args);
    let options = ThreadPoolOptions {
        name: "disk",
        threads_max: args.threads as usize,
        waiting_max: 2 * connections_max + 1,
        ..ThreadPoolOptions::DEFAULT
    };
    let pools: Vec<ThreadPool> =
        disks.iter().map(|_| ThreadPool::new(options)).collect::<io::Result<_>>()?;
    let manager = Rc::new(ServiceManager::find());
    let mut cx = reactor.cx();
    for (folder, pool) in disks.into_iter().zip(&pools) {
        let offload = pool.attach(&mut cx)?;
        cx.app.store.add_disk(folder, offload);
    }
    begin(listener, &manager, &mut cx)?;
    info!("mfs-chunkserver listening on {}:{place}", args.listen.ip());
    manager.ready();
    reactor.run()?;
    info!("stopped: {}", reactor.app.counts);
    reactor.app.failure.take().map_or(Ok(()), Err)
}

/// Starts the sources.
fn begin(
    listener: Listener,
    manager: &Rc<ServiceManager>,
    cx: &mut LoopCx<'_, Chunkserver>,
) -> io::Result<()> {
    let limits = LIMITS.shared()?;
    let keeper = cx.spawn(Keeper)?;
    cx.app.background.set_keeper(keeper);
    let dialer = cx.spawn(Dialer { limits: limits.clone() })?;
    cx.app.dialer = Some(dialer.into());
    Stream::serve(listener, limits, cx, |peer| {
        Conversation::new(Packet::with_size_max(limit::DATA_PORT), DataService::new(peer))
    })?;
    signals::heed(None, ChunkserverOrders(Rc::clone(manager)), cx)?;
    if let Some(interval) = manager.watchdog() {
        let manager = Rc::clone(manager);
        cx.every(interval, move |_, _| manager.alive())?;
    }
    master::begin(cx)
}

/// Carries out the signals.
struct ChunkserverOrders(Rc<ServiceManager>);

impl Orders<Chunkserver> for ChunkserverOrders {
    fn log_counters(&mut self, cx: &mut LoopCx<'_, Chunkserver>) {
        let (chunks, work) = (cx.app.store.len(), cx.app.background.len());
        info!("{} chunks={chunks} work={work} {}", cx.app.counts, Figures(cx.counters()));
    }

    fn is_stopping(&self, cx: &LoopCx<'_, Chunkserver>) -> bool {
        cx.is_stopping()
    }

    fn stop_gracefully(&mut self, why: &dyn fmt::Display, cx: &mut LoopCx<'_, Chunkserver>) {
        self.0.stopping("connections finish");
        master::leave(cx);
        stop_gracefully(why, cx);
    }

    fn stop(&mut self, cx: &mut LoopCx<'_, Chunkserver>) {
        cx.stop();
    }

    fn reload(&mut self, _: Option<&Tls>, _: &mut LoopCx<'_, Chunkserver>) -> Reload {
        Reload::NoFiles
    }

    fn hand_over(&mut self, _: &mut LoopCx<'_, Chunkserver>) {
        warn!("no new program is started: one disk has one chunkserver");
    }
}

fn open_disks(args: &Args) -> io::Result<Vec<Folder>> {
    let reserve = args.space_reserve.saturating_mul(1 << 20);
    args.disks.iter().map(|path| Folder::open(path, reserve)).collect()
}

/// Returns the number that the master has given, and the id of its metadata; 0 is none.
fn read_id(folder: &Path) -> io::Result<(u16, u64)> {
    let path = folder.join(master::ID_FILE);
    match fs::read(&path) {
        Ok(bytes) => match bytes.split_first_chunk::<2>() {
            Some((csid, meta_id)) if meta_id.len() == 8 => {
                let meta_id = meta_id.iter().fold(0, |id, byte| id << 8 | u64::from(*byte));
                Ok((u16::from_be_bytes(*csid), meta_id))
            }
            _ => {
                let text = format!(
                    "{} has {} bytes and not 10: remove it, and the master gives a new number",
                    path.display(),
                    bytes.len()
                );
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((0, 0)),
        Err(error) => Err(files::about(path.display(), &error)),
    }
}

/// Returns the id of the metadata that all disks have, if one has it.
fn common_meta_id(disks: &[Folder], known: u64) -> io::Result<Option<u64>> {
    let mut common = (known != 0).then_some(known);
    for disk in disks {
        let own = disk.meta_id()?;
        if let (Some(own), Some(common)) = (own, common)
            && own != common
        {
            let path = disk.path().display();
            let text = format!(
                "the chunks in {path} belong to the metadata {own:016X}, and others to {common:016X}"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        common = common.or(own);
    }
    Ok(common)
}

fn read_code(path: &Path) -> io::Result<Vec<u8>> {
    let mut code = fs::read(path).map_err(|error| {
        let text = format!("the code in {} cannot be read: {error}", path.display());
        io::Error::new(error.kind(), text)
    })?;
    let end = code.trim_ascii_end().len();
    code.truncate(end);
    Ok(code)
}

/// Raises the limit of descriptors to what connections and chunks take, or as far as the system allows.
fn raise_limit(args: &Args) {
    let wanted = 2 * u64::from(args.max_connections)
        + u64::from(args.open_files)
        + DESCRIPTORS_OF_ITS_OWN
        + args.disks.len() as u64 * u64::from(args.threads);
    if let Err(error) = raise_descriptor_limit(wanted) {
        warn!("cannot raise the limit of descriptors to {wanted}: {error}");
    }
}
