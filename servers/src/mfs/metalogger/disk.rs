//! The writes to the folder, on a thread: a disk that is slow stops no loop.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use log::warn;
use reactor::{Cx, Expired, Folding, Handler, Job, LoopCx, Offload, Token};

use super::app::Metalogger;
use super::download;
use super::folder::{Folder, Kept, Order};

/// How many bytes of changes wait in memory for the disk.
const WAITING_MAX: usize = 64 << 20;
/// How many bytes of lines are written at once.
const APPEND_MAX: usize = 1 << 20;
/// After how long orders are given again that the disk has refused.
const AGAIN: Duration = Duration::from_secs(1);

/// What has come of orders.
struct Outcome {
    folder: Folder,
    /// The orders that were not carried out. The first one was refused.
    left: VecDeque<Order>,
    refused: Option<io::Error>,
    /// What has come of an order of a download, of which there is one at a time.
    download: Option<io::Result<Option<Kept>>>,
}

/// The folder with the orders that wait for it.
pub(super) struct Disk {
    /// What hands jobs over, and the source that is woken when they are done.
    hands: Option<(Offload, Token)>,
    /// `None` while a job has it.
    folder: Option<Folder>,
    job: Option<Job<Outcome>>,
    waiting: VecDeque<Order>,
    size: usize,
    pauses: bool,
    /// An order of a download has no result yet.
    downloads: bool,
    log: Folding,
}

impl Disk {
    pub(super) fn new(folder: Folder) -> Self {
        Self {
            hands: None,
            folder: Some(folder),
            job: None,
            waiting: VecDeque::new(),
            size: 0,
            pauses: false,
            downloads: false,
            log: Folding::default(),
        }
    }

    /// Sets what carries orders out. Until then, they wait.
    pub(super) fn set_hands(&mut self, offload: Offload, keeper: Token) {
        self.hands = Some((offload, keeper));
    }

    /// Returns whether more waits than the memory is meant for.
    pub(super) fn is_full(&self) -> bool {
        self.size > WAITING_MAX
    }

    /// Returns whether nothing waits or is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.job.is_none()
    }

    /// Returns whether an order of a download has no result yet.
    pub(super) const fn downloads(&self) -> bool {
        self.downloads
    }

    /// Returns how many bytes wait.
    pub(super) const fn waiting_size(&self) -> usize {
        self.size
    }

    fn add(&mut self, order: Order) {
        self.size += order.size();
        self.downloads |= order.is_download();
        match (self.waiting.back_mut(), order) {
            (Some(Order::Append(last)), Order::Append(lines)) if last.len() < APPEND_MAX => {
                last.extend_from_slice(&lines);
            }
            (_, order) => self.waiting.push_back(order),
        }
    }

    /// Hands what waits to a thread, unless one is at work.
    fn start(&mut self) -> io::Result<()> {
        if self.pauses || self.waiting.is_empty() {
            return Ok(());
        }
        let Some((offload, keeper)) = &self.hands else { return Ok(()) };
        let Some(folder) = self.folder.take() else { return Ok(()) };
        let orders = std::mem::take(&mut self.waiting);
        self.size = 0;
        self.job = Some(offload.run(*keeper, move || carry_out(folder, orders))?);
        Ok(())
    }

    /// Takes what has come of the orders of the last job, if it is done.
    fn take(&mut self) -> io::Result<Option<Outcome>> {
        let Some(result) = self.job.as_mut().and_then(Job::take) else { return Ok(None) };
        self.job = None;
        result.map(Some).map_err(io::Error::from)
    }

    /// Puts the folder and the orders that are left back.
    fn put_back(&mut self, folder: Folder, mut left: VecDeque<Order>) {
        self.folder = Some(folder);
        self.size += left.iter().map(Order::size).sum::<usize>();
        left.append(&mut self.waiting);
        self.waiting = left;
    }

    /// Carries out what waits, at the end of the program. Takes `patience` at most for what a thread has
    /// begun.
    ///
    /// # Errors
    /// Why changes are lost.
    pub(super) fn finish(&mut self, patience: Duration) -> io::Result<()> {
        if let Some(mut job) = self.job.take() {
            let outcome = job.wait_timeout(patience);
            let outcome = outcome.ok_or_else(|| io::Error::other("the disk takes too long"))??;
            self.put_back(outcome.folder, outcome.left);
        }
        let Some(folder) = self.folder.take() else { return Ok(()) };
        let orders =
            std::mem::take(&mut self.waiting).into_iter().filter(|it| !it.is_download()).collect();
        carry_out(folder, orders).refused.map_or(Ok(()), Err)
    }
}

/// Carries out orders until the disk refuses one of the log.
fn carry_out(mut folder: Folder, mut orders: VecDeque<Order>) -> Outcome {
    let (mut refused, mut download) = (None, None);
    while let Some(order) = orders.front() {
        let result = folder.carry_out(order);
        if order.is_download() {
            download = Some(result);
        } else if let Err(error) = result {
            refused = Some(error);
            break;
        }
        orders.pop_front();
    }
    Outcome { folder, left: orders, refused, download }
}

/// Gives an order.
pub(super) fn order(order: Order, cx: &mut LoopCx<'_, Metalogger>) {
    cx.app.disk.add(order);
    if let Some((_, keeper)) = &cx.app.disk.hands {
        let keeper = *keeper;
        cx.wake(keeper);
    }
}

/// Passes orders to the thread, and its results back.
pub(super) struct Keeper;

impl Keeper {
    fn settle(cx: &mut Cx<'_, Metalogger>) -> io::Result<()> {
        if let Some(outcome) = cx.app.disk.take()? {
            cx.app.disk.put_back(outcome.folder, outcome.left);
            if let Some(error) = outcome.refused {
                if let Some(folded) = cx.app.disk.log.admit(cx.now()) {
                    warn!("changes wait for the disk: {error}{folded}");
                }
                cx.app.disk.pauses = true;
                cx.set_timer(AGAIN, None, 0);
            }
            if let Some(result) = outcome.download {
                cx.app.disk.downloads = false;
                download::written(result, &mut cx.outside());
            }
        }
        cx.app.disk.start()?;
        if cx.app.disk.is_idle() {
            Metalogger::go_on(&mut cx.outside());
        }
        Ok(())
    }

    /// Ends the program if the folder is lost: a job has panicked.
    fn proceed(cx: &mut Cx<'_, Metalogger>) {
        if let Err(error) = Self::settle(cx) {
            cx.app.failure.get_or_insert(error);
            cx.stop();
        }
    }
}

impl Handler<Metalogger> for Keeper {
    fn ready(&mut self, cx: &mut Cx<'_, Metalogger>) -> io::Result<()> {
        Self::proceed(cx);
        Ok(())
    }

    fn timer(&mut self, _: Expired, cx: &mut Cx<'_, Metalogger>) -> io::Result<()> {
        cx.app.disk.pauses = false;
        Self::proceed(cx);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "mfs::metalogger::Keeper"
    }
}
