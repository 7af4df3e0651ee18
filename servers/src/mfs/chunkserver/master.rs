//! The life of the registration with the master.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use log::{error, info, warn};
use protocol::Limits;
use protocol::mfs::{
    ChunkId, ChunkLost, ChunkNew, ChunkVersion, ChunkserverRegister, CurrentLoad, Field, Labels,
    List, Message, Nop, Status, append_all, limit,
};
use reactor::{Client, ClientOptions, ClientState, ConnectOptions, LoopCx, Unanswered, WhenIdle};

use super::app::{Chunkserver, Registration};
use super::disk::{Chunk, Found, Room, SUBFOLDERS, Trouble};
use super::exchange::{Request, ToMaster};
use super::orders;
use super::store::LATE_MAX;
use crate::mfs::files;

/// The longest pause between two attempts to connect: that of the real chunkserver.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long connecting and the first step of the registration may take, each.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How many chunks a packet of the registration has at most.
const BATCH_MAX: usize = 10_000;
/// How many subfolders of a disk a job looks through.
const SCANNED_AT_ONCE: usize = 8;
/// The file of what the master has said: our number and the id of the metadata.
pub(super) const ID_FILE: &str = "chunkserverid.mfs";

/// Starts the client of the master.
pub(super) fn begin(cx: &mut LoopCx<'_, Chunkserver>) -> io::Result<()> {
    let options = ClientOptions {
        connect: ConnectOptions { timeout: CONNECT_MAX, ..ConnectOptions::DEFAULT },
        limits: Limits {
            message_size_max: 8 + limit::TO_CHUNKSERVER as usize,
            output_max: u64::MAX,
            ..Limits::DEFAULT
        },
        pause_max: PAUSE_MAX,
        // The chunkserver itself sees to it that the master lives.
        when_idle: WhenIdle::KeepAlive(Duration::MAX),
        ..ClientOptions::DEFAULT
    };
    let exchange = ToMaster::new(cx.app.shared.clone());
    let client = Client::open(cx.app.master.clone(), exchange, options, cx)?;
    client.on_push(orders::carry_out);
    client.on_connect(connected);
    client.on_disconnect(|_, cx| cx.app.registration = Registration::None);
    cx.app.client = Some(client);
    cx.every(Duration::from_secs(1), |_, cx| pulse(cx))?;
    cx.every(Duration::from_secs(5), |_, cx| tell_load(cx))?;
    look_at_disks(cx);
    Ok(())
}

/// Goes on with the registration: the master has accepted us.
fn connected(cx: &mut LoopCx<'_, Chunkserver>) {
    let (accepted, csid) = {
        let known = cx.app.shared.lock();
        (known.accepted, known.csid)
    };
    if let Some(own) = cx.app.meta_id.filter(|own| ![0, *own].contains(&accepted.meta_id)) {
        let text = format!(
            "the chunks belong to the metadata {own:016X}, and the master has {:016X}: give other \
             folders, or another master",
            accepted.meta_id
        );
        error!("{text}");
        cx.app.failure.get_or_insert(io::Error::other(text));
        return cx.stop();
    }
    info!("accepted by {} {} as number {csid}", accepted.version, cx.app.master);
    remember(csid, accepted.meta_id, cx);
    cx.app.counts.connections += 1;
    cx.app.registration = Registration::UnderWay;
    (cx.app.told, cx.app.silent_pulses) = (None, 0);
    cx.app.found.clear();
    send(&Labels { mask: cx.app.labels }, cx);
    let list = cx.app.store.list();
    tell_chunks(list, cx);
}

/// Saves what the master has said.
fn remember(csid: u16, meta_id: u64, cx: &mut LoopCx<'_, Chunkserver>) {
    let Chunkserver { store, background, data, meta_id: own, .. } = &mut *cx.app;
    let is_new = meta_id != 0 && own.is_none();
    let folders: Vec<_> = match is_new {
        true => store.disks.iter().map(|disk| Arc::clone(&disk.folder)).collect(),
        false => Vec::new(),
    };
    if is_new {
        *own = Some(meta_id);
    }
    let Some(disk) = store.disks.first() else { return };
    let mut bytes = Vec::new();
    csid.append(&mut bytes);
    own.unwrap_or_default().append(&mut bytes);
    let path = data.join(ID_FILE);
    let work = move || {
        if std::fs::read(&path).ok().as_ref() != Some(&bytes) {
            files::replace(&path, &bytes)?;
        }
        folders.iter().try_for_each(|folder| folder.set_meta_id(meta_id))
    };
    let begun = background.run(&disk.offload, work, |written, _| {
        if let Err(error) = written.and_then(|it| it) {
            warn!("what the master has said cannot be saved: {error}");
        }
    });
    if let Err(error) = begun {
        warn!("what the master has said cannot be saved: {error}");
    }
}

/// Sends a step of the registration.
fn send<'a>(message: &impl Message<'a>, cx: &LoopCx<'_, Chunkserver>) {
    let connection = cx.app.shared.lock().connection;
    if let Some(client) = &cx.app.client {
        let request = Request { connection, packet: message.packet(), is_acknowledged: false };
        // The connection may end, and then there is a new one.
        let _ = client.call(request, |_, _| {});
    }
}

/// Tells the master the chunks of a list, part by part, and that these are all.
fn tell_chunks(mut list: Vec<ChunkVersion>, cx: &mut LoopCx<'_, Chunkserver>) {
    if list.is_empty() {
        send(&ChunkserverRegister::Done, cx);
        return registered(cx);
    }
    let part = append_all(list.split_off(list.len().saturating_sub(BATCH_MAX)));
    let chunks = List::new(&part).unwrap_or_default();
    let packet = ChunkserverRegister::Chunks(chunks).packet();
    let connection = cx.app.shared.lock().connection;
    let Some(client) = &cx.app.client else { return };
    let request = Request { connection, packet, is_acknowledged: true };
    let _ = client.call(
        request,
        move |result: Result<(), Unanswered>, cx: &mut LoopCx<'_, Chunkserver>| {
            if result.is_ok() && cx.app.shared.lock().connection == connection {
                tell_chunks(list, cx);
            }
        },
    );
}

/// Tells the master what has happened while the chunks were told.
fn registered(cx: &mut LoopCx<'_, Chunkserver>) {
    let app = &mut *cx.app;
    app.registration = Registration::Done;
    info!("registered with {} chunks", app.store.len());
    let found = std::mem::take(&mut app.found);
    tell_new(found, app);
    let damaged = cx.app.damaged.iter().copied().collect::<Vec<_>>();
    cx.app.tell_damaged(damaged);
    tell_space(cx);
}

/// Tells the master of chunks that it does not know.
pub(super) fn tell_new(chunks: Vec<ChunkId>, app: &mut Chunkserver) {
    match app.registration {
        Registration::None => {}
        Registration::UnderWay => app.found.extend(chunks),
        Registration::Done => {
            let known = chunks.into_iter().filter_map(|id| app.store.get(id));
            let bytes =
                append_all(known.map(|it| ChunkVersion { chunk: it.id, version: it.version() }));
            if let Some(chunks) = List::new(&bytes).filter(|it| !it.is_empty()) {
                app.tell(&ChunkNew { chunks });
            }
        }
    }
}

/// Tells the master the space if it has changed. Returns whether it was told.
fn tell_space(cx: &mut LoopCx<'_, Chunkserver>) -> bool {
    let space = cx.app.store.space();
    let has_changed = cx.app.told != Some(space);
    if has_changed {
        cx.app.told = Some(space);
        cx.app.tell(&space);
    }
    has_changed
}

fn tell_load(cx: &mut LoopCx<'_, Chunkserver>) {
    let load = cx.app.background.len() as u32;
    cx.app.tell(&CurrentLoad { load, state: 1 });
}

/// Gives a sign of life, ends the connection of a master that gives none, and looks at the disks.
///
/// Silence is counted in signs of life of our own, so a pause of this process counts as one of them.
fn pulse(cx: &mut LoopCx<'_, Chunkserver>) {
    for disk in cx.app.store.disks.iter_mut().filter(|disk| disk.is_asked) {
        disk.late = disk.late.saturating_add(1);
        if disk.late == LATE_MAX {
            let path = disk.folder.path().display();
            warn!("{path} does not answer: nothing is created there meanwhile");
        }
    }
    look_at_disks(cx);
    close_superfluous(cx);
    let is_up = cx.app.client.as_ref().map(Client::state) == Some(ClientState::Up);
    let (packets, timeout) = {
        let known = cx.app.shared.lock();
        (known.packets, known.accepted.timeout)
    };
    let is_silent = is_up && packets == cx.app.packets;
    cx.app.packets = packets;
    cx.app.silent_pulses = if is_silent { cx.app.silent_pulses + 1 } else { 0 };
    if !is_up {
        return;
    }
    if cx.app.silent_pulses >= u32::from(timeout).max(1) {
        warn!("{} is silent: connecting again", cx.app.master);
        cx.app.silent_pulses = 0;
        if let Some(client) = &cx.app.client {
            client.set_target(None);
            client.set_target(Some(cx.app.master.clone()));
        }
        return;
    }
    if cx.app.registration != Registration::Done {
        return;
    }
    let lost = append_all(std::mem::take(&mut cx.app.lost));
    if let Some(chunks) = List::new(&lost).filter(|it| !it.is_empty()) {
        cx.app.tell(&ChunkLost { chunks });
    }
    if !tell_space(cx) {
        cx.app.tell(&Nop::default());
    }
}

/// Says that this chunkserver is about to stop.
pub(super) fn leave(cx: &mut LoopCx<'_, Chunkserver>) {
    cx.app.tell(&ChunkserverRegister::Leaves);
}

/// Asks each disk for its room and its chunks, unless it still has to answer.
fn look_at_disks(cx: &mut LoopCx<'_, Chunkserver>) {
    for number in 0..cx.app.store.disks.len() {
        let Chunkserver { store, background, .. } = &mut *cx.app;
        let disk = &mut store.disks[number];
        if disk.is_asked {
            continue;
        }
        let (folder, from) = (Arc::clone(&disk.folder), disk.scanned);
        let to = SUBFOLDERS.min(from + SCANNED_AT_ONCE);
        let work = move || -> io::Result<(Room, Vec<Found>)> {
            let mut found = Vec::new();
            for subfolder in from..to {
                found.append(&mut folder.scan(subfolder)?);
            }
            Ok((folder.room()?, found))
        };
        let begun = background.run(&disk.offload, work, move |result, cx| {
            looked(number, to, result.and_then(|it| it), cx);
        });
        disk.is_asked = begun.is_ok();
    }
}

/// Takes what a disk has answered.
fn looked(
    number: usize,
    to: usize,
    result: io::Result<(Room, Vec<Found>)>,
    cx: &mut LoopCx<'_, Chunkserver>,
) {
    let disk = &mut cx.app.store.disks[number];
    if disk.late >= LATE_MAX {
        info!("{} answers again", disk.folder.path().display());
    }
    (disk.is_asked, disk.late) = (false, 0);
    let (folder, was_scanned) = (Arc::clone(&disk.folder), disk.scanned == SUBFOLDERS);
    let (room, found) = match result {
        Ok(looked) => looked,
        Err(error) => {
            warn!("{}: {error}; nothing is created there", folder.path().display());
            disk.room = None;
            return;
        }
    };
    (disk.room, disk.scanned) = (Some(room), to);
    cx.app.shared.lock().space = cx.app.store.space();
    let (mut new, mut damaged) = (Vec::new(), Vec::new());
    for Found { id, version, fault } in found {
        let chunk = Arc::new(Chunk::new(Arc::clone(&folder), id, version, None));
        if cx.app.store.find(Arc::clone(&chunk)) {
            new.push(id);
            damaged.extend(fault.map(|why| (chunk, Trouble::Damaged(Status::IO, why))));
        } else if cx.app.store.get(id).is_some_and(|it| !Arc::ptr_eq(&it.folder, &folder)) {
            warn!("{}: chunk {id} is on two disks: this one is ignored", folder.path().display());
        }
    }
    // The master has to know a chunk before it learns that it is damaged.
    tell_new(new, cx.app);
    for (chunk, trouble) in damaged {
        cx.app.note(&chunk, &trouble);
    }
    if to < SUBFOLDERS {
        look_at_disks(cx);
    } else if !was_scanned {
        info!("{}: looked through", folder.path().display());
    }
}

/// Closes files that were not used for the longest time.
fn close_superfluous(cx: &mut LoopCx<'_, Chunkserver>) {
    let chunks = cx.app.store.superfluous();
    let Chunkserver { store, background, .. } = &mut *cx.app;
    let mut left = Vec::new();
    for disk in &store.disks {
        let own = chunks.iter().filter(|it| Arc::ptr_eq(&it.folder, &disk.folder));
        let own: Vec<_> = own.cloned().collect();
        if own.is_empty() {
            continue;
        }
        let ids: Vec<_> = own.iter().map(|chunk| chunk.id).collect();
        let work = move || own.iter().for_each(|chunk| chunk.close());
        if background.run(&disk.offload, work, |_, _| {}).is_err() {
            left.extend(ids);
        }
    }
    // There is too much work: they are closed when they are superfluous again.
    for id in left {
        store.get(id);
    }
}
