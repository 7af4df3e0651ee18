//! The writes to the folder, on a thread: a disk that is slow stops no loop.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::Duration;

use log::{error, warn};
use protocol::ConnectionId;
use reactor::{Cx, Expired, Folding, Handler, Job, LoopCx, Offload, ThreadPool, ThreadPoolOptions};

use super::app::Master;
use super::folder::{Folder, Write};

/// How many bytes wait in memory for a disk that refuses. With more, the master stops.
const WAITING_MAX: usize = 64 << 20;
/// How many bytes of lines are written at once.
const LINES_MAX: usize = 1 << 20;
/// After how long a write is tried again that the disk has refused.
const AGAIN: Duration = Duration::from_secs(1);

/// What has come of writes.
struct Outcome {
    folder: Folder,
    /// What was not written. The first one was refused.
    left: VecDeque<Write>,
    refused: Option<io::Error>,
}

/// The folder with what has to be written to it.
#[derive(Default)]
pub(super) struct Journal {
    /// What hands jobs over, and the source that is woken when they are done.
    hands: Option<(Offload, ConnectionId)>,
    /// `None` while a job has it.
    folder: Option<Folder>,
    job: Option<Job<Outcome>>,
    waiting: VecDeque<Write>,
    size: usize,
    pauses: bool,
    log: Folding,
    /// Why the master cannot go on.
    failure: Option<io::Error>,
    /// Its threads end with it.
    _pool: Option<ThreadPool>,
}

impl Journal {
    /// Sets the folder. Until then, what is to be written waits.
    pub(super) fn set_folder(&mut self, folder: Folder) {
        self.folder = Some(folder);
    }

    /// Starts the thread. Until then, what is to be written waits.
    ///
    /// # Errors
    /// When there is no thread.
    pub(super) fn start(cx: &mut LoopCx<'_, Master>) -> io::Result<()> {
        // One job at a time has the folder.
        let options =
            ThreadPoolOptions { name: "disk", threads_max: 1, ..ThreadPoolOptions::DEFAULT };
        let pool = ThreadPool::new(options)?;
        let hands = (pool.attach(cx)?, cx.spawn(Keeper)?.into());
        let journal = &mut cx.app.journal;
        (journal.hands, journal._pool) = (Some(hands), Some(pool));
        Ok(())
    }

    /// Adds something to what is to be written. Returns the source to wake.
    pub(super) fn add(&mut self, write: Write) -> Option<ConnectionId> {
        self.size += write.size();
        match (self.waiting.back_mut(), write) {
            (Some(Write::Lines(last)), Write::Lines(lines)) if last.len() < LINES_MAX => {
                last.extend_from_slice(&lines);
            }
            (_, write) => self.waiting.push_back(write),
        }
        self.hands.as_ref().map(|(_, keeper)| *keeper)
    }

    /// Returns how many bytes wait.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Hands what waits to the thread, unless it is at work.
    fn hand_over(&mut self) -> io::Result<()> {
        if self.pauses || self.waiting.is_empty() {
            return Ok(());
        }
        let Some((offload, keeper)) = &self.hands else { return Ok(()) };
        let Some(folder) = self.folder.take() else { return Ok(()) };
        let writes = std::mem::take(&mut self.waiting);
        self.size = 0;
        self.job = Some(offload.run(*keeper, move || write_all(folder, writes))?);
        Ok(())
    }

    /// Takes what has come of the last job, if it is done. Returns why something was refused.
    fn take(&mut self) -> io::Result<Option<io::Error>> {
        let Some(result) = self.job.as_mut().and_then(Job::take) else { return Ok(None) };
        self.job = None;
        let outcome = result.map_err(io::Error::from)?;
        Ok(self.put_back(outcome))
    }

    fn put_back(&mut self, outcome: Outcome) -> Option<io::Error> {
        let Outcome { folder, mut left, refused } = outcome;
        self.folder = Some(folder);
        self.size += left.iter().map(Write::size).sum::<usize>();
        left.append(&mut self.waiting);
        self.waiting = left;
        refused
    }

    /// Writes what waits, at the end of the program. Takes `patience` at most for what the thread has
    /// begun.
    ///
    /// # Errors
    /// Why changes are lost.
    pub(super) fn finish(&mut self, patience: Duration) -> io::Result<()> {
        if let Some(mut job) = self.job.take() {
            let outcome = job.wait_timeout(patience);
            let outcome = outcome.ok_or_else(|| io::Error::other("the disk takes too long"))??;
            self.put_back(outcome);
        }
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let Some(folder) = self.folder.take() else { return Ok(()) };
        let outcome = write_all(folder, std::mem::take(&mut self.waiting));
        let are_changes_lost = outcome.left.iter().any(|it| matches!(it, Write::Lines(_)));
        match self.put_back(outcome) {
            Some(error) if are_changes_lost => {
                let text = format!("the last changes are lost: {error}");
                Err(io::Error::new(error.kind(), text))
            }
            Some(error) => {
                let text = format!("the log has all changes, but they were not saved: {error}");
                Err(io::Error::new(error.kind(), text))
            }
            None => Ok(()),
        }
    }
}

/// Writes until the disk refuses.
fn write_all(mut folder: Folder, mut writes: VecDeque<Write>) -> Outcome {
    let mut refused = None;
    while let Some(write) = writes.front() {
        if let Err(error) = folder.write(write) {
            refused = Some(error);
            break;
        }
        writes.pop_front();
    }
    Outcome { folder, left: writes, refused }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} writes wait, {} bytes", self.waiting.len(), self.size)
    }
}

/// Passes writes to the thread, and its results back.
struct Keeper;

impl Keeper {
    fn settle(cx: &mut Cx<'_, Master>) -> io::Result<()> {
        if let Some(error) = cx.app.journal.take()? {
            if cx.app.journal.size > WAITING_MAX {
                return Err(error);
            }
            if let Some(folded) = cx.app.journal.log.admit(cx.now()) {
                warn!("changes wait for the disk: {error}{folded}");
            }
            cx.app.journal.pauses = true;
            cx.set_timer(AGAIN, None, 0);
        }
        cx.app.journal.hand_over()
    }

    /// Ends the program if changes would be lost.
    fn proceed(cx: &mut Cx<'_, Master>) {
        if let Err(failure) = Self::settle(cx) {
            error!("stopping, since changes cannot be written: {failure}");
            cx.app.journal.failure.get_or_insert(failure);
            cx.stop();
        }
    }
}

impl Handler<Master> for Keeper {
    fn ready(&mut self, cx: &mut Cx<'_, Master>) -> io::Result<()> {
        Self::proceed(cx);
        Ok(())
    }

    fn timer(&mut self, _: Expired, cx: &mut Cx<'_, Master>) -> io::Result<()> {
        cx.app.journal.pauses = false;
        Self::proceed(cx);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "mfs::master::Keeper"
    }
}
