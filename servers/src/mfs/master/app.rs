//! The state of the loop.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ConnectionId, Effects};
use reactor::{Address, Folding, LoopCx};

use super::changes::{self, ChangeLog};
use super::chunks::{self, Chunks};
use super::chunkservers::Chunkservers;
use super::clients::{Clients, unix_seconds};
use super::folder::{Folder, Write};
use super::journal::Journal;
use super::metadata::{self, Metadata, Saved};
use super::metaloggers::Metaloggers;
use super::tree::{Mismatch, Tree, TreeLimits};
use crate::run::STOP_TIMEOUT;

/// How many bytes of changes may have been made since the metadata that metaloggers share.
const SHARED_MAX: u64 = 1 << 20;

/// What a master allows.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// How many bytes of changes may wait for a metalogger that has caught up before.
    pub(super) queue_max: u64,
    /// How many bytes of changes are kept, and for how long.
    pub(super) kept_max: u64,
    pub(super) kept_for: Duration,
    /// After how long a silent chunkserver is given up that does not say so itself, and a peer that
    /// does not register.
    pub(super) timeout: Duration,
    /// How many copies of a new chunk are made.
    pub(super) goal: usize,
    /// The code that chunkservers have to have.
    pub(super) auth_code: Option<Vec<u8>>,
    pub(super) chunkservers_max: usize,
    pub(super) chunks_max: usize,
    /// How many orders are under way for each chunkserver, and how many wait.
    pub(super) under_way_max: usize,
    pub(super) orders_max: usize,
    /// How long a chunkserver may take for an order.
    pub(super) order_timeout: Duration,
    /// The password that clients have to have.
    pub(super) client_password: Option<Vec<u8>>,
    pub(super) sessions_max: usize,
    /// How long a session stays without a connection.
    pub(super) session_kept_for: Duration,
    /// How many requests of a session wait for chunkservers or other clients.
    pub(super) requests_max: usize,
    pub(super) tree: TreeLimits,
}

/// What the master has done since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Connections that were closed for what their peers did.
    pub(super) refused: u64,
    /// Orders that were given to chunkservers, and those that were given again.
    pub(super) orders: u64,
    pub(super) again: u64,
}

/// A master: the state of its loop, which every call borrows.
///
/// [The module](super) tells how the parts use it.
pub struct Master {
    pub(super) options: Options,
    pub(super) changes: ChangeLog,
    pub(super) metaloggers: Metaloggers,
    pub(super) chunkservers: Chunkservers,
    pub(super) chunks: Chunks,
    pub(super) clients: Clients,
    pub(super) tree: Tree,
    pub(super) meta_id: u64,
    pub(super) journal: Journal,
    /// The metadata of a version, for the metaloggers that download them.
    metadata: Option<Metadata>,
    pub(super) counts: Counts,
    pub(super) refused_log: Folding,
    pub(super) addresses: Vec<Address>,
    wakes: Vec<ConnectionId>,
    closes: Vec<ConnectionId>,
}

impl Master {
    /// Returns a master that goes on with what a folder has.
    ///
    /// # Errors
    /// When the folder cannot be read, or what it has is damaged.
    pub(super) fn open(options: Options, mut folder: Folder) -> io::Result<Self> {
        let content = folder.metadata()?;
        let saved = content.as_deref().map(Saved::read).transpose()?;
        let mut master = Self {
            changes: ChangeLog::new(0, options.kept_max, options.kept_for),
            metaloggers: Metaloggers::default(),
            chunkservers: Chunkservers::default(),
            chunks: Chunks::default(),
            clients: Clients::default(),
            tree: Tree::new(options.tree, unix_seconds()),
            meta_id: 0,
            journal: Journal::default(),
            metadata: None,
            counts: Counts::default(),
            refused_log: Folding::default(),
            addresses: Vec::new(),
            wakes: Vec::new(),
            closes: Vec::new(),
            options,
        };
        match saved {
            Some(saved) => master.restore(&saved, &folder)?,
            None => {
                master.meta_id = metadata::new_meta_id()?;
                // Chunkservers belong to this id for ever once they have heard it, so it is written
                // before the first one can.
                folder.write(&Write::Metadata(master.metadata().content()))?;
            }
        }
        master.journal.set_folder(folder);
        Ok(master)
    }

    /// Goes on with saved metadata, and the changes in the log that were made since.
    fn restore(&mut self, saved: &Saved<'_>, folder: &Folder) -> io::Result<()> {
        self.meta_id = saved.meta_id;
        saved.chunks.iter().for_each(|it| self.chunks.restore(it.chunk, it.version));
        self.tree = Tree::load(saved.tree, self.options.tree).map_err(invalid)?;
        let mut changes =
            std::mem::replace(&mut self.changes, ChangeLog::new(0, 0, Duration::ZERO));
        let (now, mut last) = (Instant::now(), saved.version);
        folder.read_changes(saved.version, |version, text| {
            changes.restore(version, text, now);
            if version <= saved.version {
                return Ok(());
            }
            if version - 1 != last {
                let text = format!("the log has change {version} after {last}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            last = version;
            self.replay(text).map_err(|error| invalid(format!("change {version}: {error}")))
        })?;
        changes.skip_to(last);
        self.changes = changes;
        // The chunks of files that were removed are deleted as any other.
        self.publish();
        self.restore_sessions(now);
        Ok(())
    }

    /// Makes a change again that the log has.
    fn replay(&mut self, text: &[u8]) -> Result<(), Mismatch> {
        match chunks::read_change(text) {
            Some((chunk, version)) => {
                self.chunks.restore(chunk, version);
                Ok(())
            }
            None => self.tree.replay(text),
        }
    }

    /// Writes the metadata to the folder: those of the present version, since logs that are older than
    /// they are may be removed.
    pub(super) fn save(&mut self) {
        self.metadata.take_if(|it| it.version != self.changes.version());
        let content = self.metadata().content();
        let keeper = self.journal.add(Write::Metadata(content));
        self.wakes.extend(keeper);
    }

    /// Returns the addresses that it listens on: for metaloggers, for chunkservers, and for clients.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Makes a change of the tree, which is told to all metaloggers: `what` is `NAME(ARGUMENTS):RESULT`, as
    /// in the log, and names are [`Escaped`](super::Escaped). Returns its version, which is the number of
    /// changes that were made.
    ///
    /// Clients cannot do all of this: nothing is checked but that the change fits the tree.
    ///
    /// # Errors
    /// When it is no change, or does not fit the tree, which is unchanged then.
    pub fn change(&mut self, what: impl fmt::Display) -> io::Result<u64> {
        let text = changes::line(&what);
        self.tree.replay(&text).map_err(invalid)?;
        self.publish();
        self.tell_change(&text);
        Ok(self.version())
    }

    /// Logs a change that was made, and tells it.
    pub(super) fn tell_change(&mut self, text: &[u8]) {
        self.log_change(text);
        self.wakes.extend(self.metaloggers.tell());
    }

    /// Logs changes that were made.
    pub(super) fn log_changes(&mut self, lines: &[String]) {
        lines.iter().for_each(|line| self.log_change(line.as_bytes()));
        self.wakes.extend(self.metaloggers.tell());
    }

    fn log_change(&mut self, text: &[u8]) {
        let version = self.changes.append(text, Instant::now());
        let line = [version.to_string().as_bytes(), b": ", text, b"\n"].concat();
        self.wakes.extend(self.journal.add(Write::Lines(line)));
    }

    /// Begins a new log of the changes, here and at all metaloggers, and saves the metadata.
    pub fn rotate(&mut self) {
        self.wakes.extend(self.journal.add(Write::Rotate));
        self.save();
        self.changes.rotate(Instant::now());
        self.wakes.extend(self.metaloggers.tell());
    }

    /// Returns the version of the last change.
    pub fn version(&self) -> u64 {
        self.changes.version()
    }

    /// Returns how many packets of changes were encoded since the start, however many metaloggers they
    /// were sent to.
    pub fn changes_encoded(&self) -> u64 {
        self.changes.encoded()
    }

    /// Returns how many connections were closed since the start for what their peers did.
    pub const fn refused(&self) -> u64 {
        self.counts.refused
    }

    /// Returns how many bytes wait to be written to the folder.
    pub fn unwritten(&self) -> usize {
        self.journal.size()
    }

    /// Returns the metadata as a file, as metaloggers download it.
    pub fn metadata_file(&mut self) -> Arc<[u8]> {
        self.metadata().content()
    }

    /// Returns how many metaloggers have registered, and how many were dropped since the start because
    /// they did not keep up.
    pub fn metaloggers(&self) -> (usize, u64) {
        (self.metaloggers.len(), self.metaloggers.dropped)
    }

    /// Writes everything to the folder, at the end.
    ///
    /// # Errors
    /// Why something is lost.
    pub fn finish(&mut self) -> io::Result<()> {
        self.save();
        self.journal.finish(STOP_TIMEOUT)
    }

    /// Returns the metadata as a file. Metaloggers that come at about the same time share it: what was
    /// changed meanwhile is in the log.
    pub(super) fn metadata(&mut self) -> &Metadata {
        let changed = |it: &Metadata| self.changes.size_after(it.version);
        match self.metadata.take().filter(|it| changed(it).is_some_and(|it| it <= SHARED_MAX)) {
            Some(metadata) => self.metadata.insert(metadata),
            None => {
                let metadata = Metadata::of(self);
                self.metadata.insert(metadata)
            }
        }
    }

    /// Wakes a connection when the present call has ended.
    pub(super) fn wake(&mut self, connection: ConnectionId) {
        self.wakes.push(connection);
    }

    /// Closes a connection when the present call has ended.
    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.closes.push(connection);
    }

    /// Wakes and closes the connections that a call of a session is about. Each call ends with this.
    pub(super) fn settle(&mut self, effects: &mut Effects) {
        self.publish();
        self.wakes.drain(..).for_each(|connection| effects.wake(connection));
        self.closes.drain(..).for_each(|connection| effects.close(connection));
    }

    /// Carries out what was ordered outside of its sessions: call it after the other functions, before
    /// the loop goes on.
    pub fn flush(cx: &mut LoopCx<'_, Self>) {
        cx.app.publish();
        for connection in std::mem::take(&mut cx.app.wakes) {
            cx.wake(connection);
        }
        for connection in std::mem::take(&mut cx.app.closes) {
            cx.close(connection);
        }
    }

    /// Does what is due each second.
    pub(super) fn each_second(cx: &mut LoopCx<'_, Self>) {
        let now = cx.now();
        cx.app.changes.trim(now);
        cx.app.check_orders(now);
        cx.app.check_clients(now);
        Self::flush(cx);
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Master").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { refused, orders, again } = self.counts;
        let (metaloggers, dropped) = self.metaloggers();
        write!(f, "version={} metaloggers={metaloggers} dropped={dropped} ", self.version())?;
        write!(f, "chunkservers={} chunks={} ", self.chunkservers.connected(), self.chunks.len())?;
        write!(f, "sessions={} objects={} ", self.clients.sessions(), self.tree.sums().inodes)?;
        write!(f, "orders={orders} again={again} refused={refused}")
    }
}

/// Returns the error of metadata that cannot be used.
fn invalid(why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}
