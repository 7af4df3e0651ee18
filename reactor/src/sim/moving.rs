//! The ring of a simulated host: connections whose bytes the kernel moves.
//!
//! The kernel moves them when the program enters it: when a turn ends and a wait begins, during the wait,
//! and when something has to follow what was written before.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use crate::Readiness;
use crate::sim::fault::Fault;
use crate::sim::operations::{receive, send};
use crate::sim::socket::{Socket, SocketId, State, Watch};
use crate::sim::world::{Life, World};
use crate::sys::BLOCK_SIZE;

/// How many bytes are received for a session that does not read them.
const HELD_MAX: usize = 64 * 1024;

/// How long the rest of the output of a connection that has ended is sent, in nanoseconds.
const LEAVE_FOR: u64 = 60_000_000_000;

/// What is known of a connection whose stream has ended.
const ENDED: Readiness = Readiness::READABLE.with(Readiness::READ_CLOSED);

/// What is known of a connection that has failed.
const FAILED: Readiness = Readiness::ERROR.with(Readiness::READABLE).with(Readiness::WRITABLE);

/// How the stream of a peer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In order.
    Stream,
    /// It failed, with this error number.
    Failed(i32),
}

/// What the kernel does for the receiving side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// It receives what comes.
    On,
    /// It leaves what comes to the socket. It tells once that the connection has ended.
    Off,
    /// It has told that.
    Told,
}

/// Where the bytes are that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a block that others share.
    Shared,
    /// In a block of their own, which can be exchanged.
    Own,
}

/// The sending side of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// What is written is sent at the next entry into the kernel.
    Open,
    /// The socket was full. The kernel sends these bytes when there is room.
    Rest(Vec<u8>),
}

/// How long a connection is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The loop has it.
    Live,
    /// The loop has removed it, and its rest is sent until this time. Then its descriptor is still open.
    Leaving { until: u64 },
    /// The program has closed the descriptor too.
    Closed { until: u64 },
}

/// A connection whose bytes the ring of its host moves.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) receiving: Receiving,
    /// What was received and not read.
    pub(super) unread: VecDeque<u8>,
    pub(super) place: Place,
    /// What follows after that.
    pub(super) end: Option<End>,
    /// What was written for the next entry.
    pub(super) queued: Vec<u8>,
    pub(super) sending: Sending,
    /// The error number of what was sent.
    pub(super) failed: Option<i32>,
    /// Room for output is to be reported.
    pub(super) awaits_room: bool,
    /// The sending side is shut down when everything was sent.
    pub(super) ends: bool,
    /// What the next wait reports.
    found: Readiness,
    stage: Stage,
}

impl Moved {
    pub(super) fn new() -> Self {
        Self {
            receiving: Receiving::On,
            unread: VecDeque::new(),
            place: Place::Shared,
            end: None,
            queued: Vec::new(),
            sending: Sending::Open,
            failed: None,
            awaits_room: false,
            ends: false,
            found: Readiness::NONE,
            stage: Stage::Live,
        }
    }

    /// Returns what a wait reports of it, if anything.
    pub(super) fn report(&self, watch: &Watch) -> Option<Readiness> {
        let found = self.found | watch.spurious;
        (self.stage == Stage::Live && !found.is_empty()).then_some(found)
    }

    /// Records that this was reported.
    pub(super) fn told(&mut self, watch: &mut Watch) {
        (self.found, watch.spurious) = (Readiness::NONE, Readiness::NONE);
    }

    /// Returns whether the block of what was received can be exchanged.
    pub(super) fn is_exchanged(&self) -> bool {
        self.place == Place::Own && !self.unread.is_empty()
    }

    fn is_waiting(&self, ready: Readiness) -> bool {
        let receives = self.receiving == Receiving::On && self.end.is_none();
        self.stage == Stage::Live && receives && ready.contains(Readiness::READABLE)
            || self.is_sending() && ready.contains(Readiness::WRITABLE)
    }

    /// Returns whether it waits for room in the socket.
    fn is_sending(&self) -> bool {
        self.sending != Sending::Open || self.awaits_room
    }

    /// Takes note of how many of `bytes` were sent.
    fn sent(&mut self, bytes: &[u8], result: io::Result<usize>) {
        self.sending = Sending::Open;
        match result {
            Ok(count) if count == bytes.len() => {}
            Ok(count) => self.sending = Sending::Rest(bytes[count..].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.sending = Sending::Rest(bytes.to_vec());
            }
            Err(error) => {
                self.failed = Some(number_of(&error));
                self.found |= FAILED;
            }
        }
    }
}

impl Socket {
    /// Returns whether the ring of its host has something to do for it.
    pub(super) fn is_moving(&self, now: u64) -> bool {
        let due = self.watch.as_ref().is_some_and(|it| it.is_news && it.held_until <= now);
        due && self.moved.is_some()
    }

    /// Makes the ring look at it again, if it can do something for it.
    pub(super) fn renew(&mut self) {
        let ready = self.readiness();
        let Self { moved: Some(moved), watch: Some(watch), state, .. } = self else { return };
        if moved.is_waiting(ready) {
            watch.is_news = true;
        }
        if moved.is_sending()
            && let State::Stream(stream) = state
        {
            // A poll for room makes the socket announce the next (`tcp_poll`).
            stream.is_full |= !stream.is_writable();
        }
    }
}

impl World {
    /// Returns the ring's side of a connection.
    pub(super) fn moved(&mut self, id: SocketId) -> Option<&mut Moved> {
        self.sockets.get_mut(&id)?.moved.as_deref_mut()
    }

    /// Enters the kernel in the middle of a turn.
    pub(super) fn enter(&mut self, host: usize) {
        self.spend(host);
        self.submit(host);
        self.move_all(host);
    }

    /// Sends what was written since the last entry, as far as the sockets take it at once.
    pub(super) fn submit(&mut self, host: usize) {
        for id in std::mem::take(&mut self.hosts[host].queued) {
            let Some(moved) = self.moved(id) else { continue };
            let bytes = std::mem::take(&mut moved.queued);
            self.send_at_once(id, host, &bytes);
        }
    }

    /// Sends `bytes` as far as the socket takes them at once, and the rest later.
    pub(super) fn send_at_once(&mut self, id: SocketId, host: usize, bytes: &[u8]) {
        let result = send(self, id, host, &[IoSlice::new(bytes)]);
        match &result {
            Ok(count) => self.note(host, format_args!("sends {count} of {} bytes", bytes.len())),
            Err(error) => self.note(host, format_args!("sends nothing: {error}")),
        }
        if let Some(moved) = self.moved(id) {
            moved.sent(bytes, result);
        }
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.renew();
        }
    }

    /// Moves the bytes of all connections about which there are news.
    pub(super) fn move_all(&mut self, host: usize) {
        if !self.hosts[host].has_ring() {
            return;
        }
        let now = self.time_of(host);
        let is_due = |id: &&SocketId| self.sockets[*id].is_moving(now);
        let due: Vec<SocketId> = self.hosts[host].watched.iter().filter(is_due).copied().collect();
        for id in due {
            self.move_one(id, host);
        }
        self.end_leaving(host, now);
    }

    fn move_one(&mut self, id: SocketId, host: usize) {
        let Some(Socket { watch: Some(watch), moved: Some(moved), .. }) = self.sockets.get_mut(&id)
        else {
            return;
        };
        self.coincidences.merged_events += u64::from(watch.changes > 1);
        (watch.is_news, watch.changes) = (false, 0);
        let is_live = moved.stage == Stage::Live;
        if is_live && moved.receiving == Receiving::On && moved.end.is_none() {
            self.receive(id, host);
        }
        if let Some(moved) = self.moved(id)
            && let Sending::Rest(rest) = std::mem::replace(&mut moved.sending, Sending::Open)
        {
            self.send_at_once(id, host, &rest);
            self.rest_sent(id, host);
        }
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let ready = socket.readiness();
        if let Some(moved) = &mut socket.moved {
            moved.watch_for(ready);
        }
        socket.renew();
    }

    /// Receives until nothing is left, or there is enough for a session that does not read.
    fn receive(&mut self, id: SocketId, host: usize) {
        let mut buffer = vec![0; BLOCK_SIZE];
        loop {
            let Some(moved) = self.moved(id) else { return };
            let room = HELD_MAX - moved.unread.len().min(HELD_MAX);
            if room == 0 {
                moved.receiving = Receiving::Off;
                return;
            }
            let result = receive(self, id, host, &mut buffer[..room]);
            match &result {
                Ok(count) => self.note(host, format_args!("receives {count} bytes")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.note(host, format_args!("receives nothing: {error}")),
            }
            let is_own = self.dice.bits(host as u32).coin();
            let Some(Socket { watch: Some(watch), moved: Some(moved), .. }) =
                self.sockets.get_mut(&id)
            else {
                return;
            };
            match result.map_err(|error| number_of(&error)) {
                Ok(0) => (moved.end, moved.found) = (Some(End::Stream), moved.found | ENDED),
                Ok(count) => {
                    // What does not begin a block is copied out of it.
                    let is_first = moved.unread.is_empty();
                    moved.place = if is_own && is_first { Place::Own } else { Place::Shared };
                    moved.unread.extend(&buffer[..count]);
                    moved.found |= Readiness::READABLE;
                }
                // No block was free. It is tried again.
                Err(libc::ENOBUFS) => watch.is_news = true,
                Err(number) => {
                    (moved.end, moved.found) = (Some(End::Failed(number)), moved.found | FAILED);
                }
            }
            if moved.end.is_some() || watch.is_news {
                return;
            }
        }
    }

    /// Takes note that some of a rest was sent.
    fn rest_sent(&mut self, id: SocketId, host: usize) {
        let Some(moved) = self.moved(id) else { return };
        if moved.sending != Sending::Open {
            return;
        }
        moved.found |= Readiness::WRITABLE;
        let (ends, stage) = (moved.ends && moved.failed.is_none(), moved.stage);
        if ends {
            self.end_side(id, host);
        }
        if stage != Stage::Live {
            self.let_go(id, stage);
        }
    }

    /// Ends the sending side of a socket (`shutdown(2)`). Returns whether it was connected.
    pub(super) fn end_side(&mut self, id: SocketId, host: usize) -> bool {
        let stream = self.sockets.get_mut(&id).and_then(Socket::stream);
        let Some(stream) = stream.filter(|it| !it.is_reset && !it.is_over()) else { return false };
        stream.is_shut = true;
        self.note(host, format_args!("ends its side"));
        self.pump(id);
        self.announce(id);
        true
    }

    /// Stops moving the bytes of a connection that the loop removes. The rest of its output is still sent,
    /// unless it is reset.
    pub(super) fn stop_moving(&mut self, id: SocketId, host: usize) {
        if self.moved(id).is_some_and(|moved| !moved.queued.is_empty()) {
            self.enter(host);
        }
        let until = self.time_of(host).saturating_add(LEAVE_FOR);
        let Some(Socket { resets, moved: Some(moved), .. }) = self.sockets.get_mut(&id) else {
            return;
        };
        // The peer must not take what was sent for everything.
        *resets |= moved.failed.is_some();
        if moved.sending == Sending::Open || *resets {
            return self.unwatch(id);
        }
        moved.stage = Stage::Leaving { until };
    }

    /// Returns whether the rest of the output of a socket that is closed keeps it open, and notes that it
    /// is closed.
    pub(super) fn is_held_open(&mut self, id: SocketId) -> bool {
        let Some(socket) = self.sockets.get_mut(&id) else { return false };
        let is_up = matches!(self.hosts[socket.host].life, Life::Running | Life::Stopped);
        let Some(moved) = socket.moved.as_mut().filter(|_| is_up) else { return false };
        match moved.stage {
            Stage::Live => false,
            Stage::Leaving { until } | Stage::Closed { until } => {
                moved.stage = Stage::Closed { until };
                true
            }
        }
    }

    /// Gives up the output of connections that have ended long ago.
    fn end_leaving(&mut self, host: usize, now: u64) {
        let stage = |id: &SocketId| Some((*id, self.sockets.get(id)?.moved.as_ref()?.stage));
        let is_over = |(_, stage): &(SocketId, Stage)| match stage {
            Stage::Live => false,
            Stage::Leaving { until } | Stage::Closed { until } => *until <= now,
        };
        let over: Vec<_> =
            self.hosts[host].watched.iter().filter_map(stage).filter(is_over).collect();
        for (id, stage) in over {
            self.let_go(id, stage);
        }
    }

    /// Forgets a connection that was removed, and closes it if the program has done so.
    fn let_go(&mut self, id: SocketId, stage: Stage) {
        self.unwatch(id);
        if let Stage::Closed { .. } = stage {
            self.close(id);
        }
    }

    /// Draws whether the kernel refuses to move the bytes of a connection.
    pub(super) fn refuses_ring(&mut self, host: usize) -> Option<i32> {
        let mut bits = self.strikes(Fault::WatchRefused, host, host as u32)?;
        Some(if bits.coin() { libc::ENOMEM } else { libc::ENOSPC })
    }
}

impl Moved {
    /// Reports what was watched for, if a socket is ready for it.
    fn watch_for(&mut self, ready: Readiness) {
        const ENDS: Readiness =
            Readiness::READ_CLOSED.with(Readiness::WRITE_CLOSED).with(Readiness::ERROR);
        if self.awaits_room && ready.contains(Readiness::WRITABLE) {
            self.awaits_room = false;
            self.found |= Readiness::WRITABLE;
        }
        if self.receiving == Receiving::Off && ready.intersects(ENDS) {
            self.receiving = Receiving::Told;
            self.found |= ready.and(ENDS) | Readiness::READABLE;
            if ready.intersects(ENDS.without(Readiness::READ_CLOSED)) {
                self.found |= Readiness::WRITABLE;
            }
        }
    }
}

/// Returns the number of an error of the simulated kernel.
pub(super) fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
