//! The download of the metadata and the change logs: one file after the other, one part after the other.

use std::io;
use std::time::Duration;

use log::{info, warn};
use protocol::mfs::{DownloadInfo, DownloadRequest};
use reactor::{LoopCx, Unanswered};

use super::app::Metalogger;
use super::disk;
use super::exchange::{Answer, Request};
use super::folder::{Download, Kept, Order};

/// The largest part that masters send, in bytes.
const PART_SIZE: u64 = 1_000_000;
/// After how many damaged parts in a row a download is given up.
const DAMAGED_MAX: u32 = 5;
/// After how long a download is tried again that has failed.
pub(super) const AGAIN: Duration = Duration::from_secs(60);

/// How far a download is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Which file, of [`Download::ALL`].
    place: usize,
    length: u64,
    offset: u64,
    /// How often the present part was damaged.
    damaged: u32,
}

impl Progress {
    const fn file(&self) -> Download {
        Download::ALL[self.place]
    }
}

/// Begins a download, unless one is under way, or the disk is still at work for one that was given up: then
/// the next sign of life begins it.
pub(super) fn begin(cx: &mut LoopCx<'_, Metalogger>) {
    if cx.app.download.is_none() && !cx.app.disk.downloads() {
        cx.app.download = Some(Progress::default());
        start_file(cx);
    }
}

fn start_file(cx: &mut LoopCx<'_, Metalogger>) {
    let Some(progress) = cx.app.download else { return };
    ask(Request::Start(progress.file().number()), cx);
}

/// Sends a request, whose answer moves the download on.
fn ask(request: Request, cx: &mut LoopCx<'_, Metalogger>) {
    let called = cx.app.call(request, |result, cx| match result {
        Ok(Answer::Info(info)) => started(info, cx),
        Ok(Answer::Part { offset, bytes }) => received(offset, bytes, cx),
        Ok(Answer::Damaged { offset }) => damaged(offset, cx),
        Ok(Answer::Nothing) => {}
        // The master would not know any more which answer belongs to what.
        Err(Unanswered::TimedOut { .. }) if cx.app.download.is_some() => {
            give_up("the master does not answer", cx);
            Metalogger::reconnect(cx);
        }
        // The connection has ended, which gives the download up.
        Err(_) => {}
    });
    if let Err(error) = called {
        give_up(&error.to_string(), cx);
    }
}

fn give_up(why: &str, cx: &mut LoopCx<'_, Metalogger>) {
    if let Some(progress) = cx.app.download.take() {
        warn!("{} not downloaded: {why}; trying again in {AGAIN:?}", progress.file());
        cx.app.metadata_due = Some(cx.now() + AGAIN);
    }
}

/// Handles the length of the file.
fn started(info: DownloadInfo, cx: &mut LoopCx<'_, Metalogger>) {
    let length_max = cx.app.metadata_max;
    let Some(progress) = &mut cx.app.download else { return };
    match info {
        DownloadInfo::Length(length) if length > length_max => {
            let why = format!("it has {length} bytes, and --metadata-max allows {length_max}");
            give_up(&why, cx);
            end_file(cx);
        }
        DownloadInfo::Length(length) => {
            progress.length = length;
            disk::order(Order::Begin, cx);
        }
        DownloadInfo::Refused(status) => {
            give_up(&format!("the master refuses it with status {status}"), cx);
        }
    }
}

/// Handles a part of the file.
fn received(offset: u64, bytes: Vec<u8>, cx: &mut LoopCx<'_, Metalogger>) {
    let Some(progress) = &mut cx.app.download else { return };
    let wanted = PART_SIZE.min(progress.length - progress.offset);
    if offset != progress.offset || bytes.len() as u64 != wanted {
        let why = format!(
            "{} bytes at {offset} came for {wanted} bytes at {}",
            bytes.len(),
            progress.offset
        );
        give_up(&why, cx);
        return Metalogger::reconnect(cx);
    }
    progress.offset += wanted;
    progress.damaged = 0;
    disk::order(Order::Part(offset, bytes), cx);
}

/// Asks again for a part whose CRC was wrong.
fn damaged(offset: u64, cx: &mut LoopCx<'_, Metalogger>) {
    let Some(progress) = &mut cx.app.download else { return };
    progress.damaged += 1;
    warn!("{}: the part at {offset} has a wrong CRC", progress.file());
    if progress.damaged >= DAMAGED_MAX {
        give_up("too many parts are damaged", cx);
        return end_file(cx);
    }
    next_part(cx);
}

fn next_part(cx: &mut LoopCx<'_, Metalogger>) {
    let Some(progress) = cx.app.download else { return };
    let size = PART_SIZE.min(progress.length - progress.offset) as u32;
    ask(Request::Part(DownloadRequest { offset: progress.offset, size }), cx);
}

/// Tells the master that no further part of the file is wanted.
fn end_file(cx: &mut LoopCx<'_, Metalogger>) {
    ask(Request::End, cx);
}

/// Goes on after the disk has carried out an order of the download.
pub(super) fn written(result: io::Result<Option<Kept>>, cx: &mut LoopCx<'_, Metalogger>) {
    let Some(progress) = cx.app.download else { return };
    match result {
        Err(error) => {
            give_up(&error.to_string(), cx);
            // The master has been told of the end of a file that was complete.
            if progress.offset < progress.length {
                end_file(cx);
            }
        }
        Ok(None) if progress.offset < progress.length => next_part(cx),
        Ok(None) => {
            end_file(cx);
            disk::order(Order::Keep(progress.file()), cx);
        }
        Ok(Some(Kept::New)) => give_up("the master has never saved its metadata", cx),
        Ok(Some(Kept::Yes)) => kept(progress, cx),
    }
}

/// Begins the next file, if there is one.
fn kept(progress: Progress, cx: &mut LoopCx<'_, Metalogger>) {
    info!("{} downloaded: {} bytes", progress.file(), progress.length);
    cx.app.counts.files += 1;
    let place = progress.place + 1;
    if place < Download::ALL.len() {
        cx.app.download = Some(Progress { place, ..Progress::default() });
        return start_file(cx);
    }
    (cx.app.download, cx.app.has_metadata) = (None, true);
    cx.app.metadata_due = cx.now().checked_add(cx.app.metadata_every);
}
