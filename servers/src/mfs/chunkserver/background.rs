//! Work on the disks that belongs to no connection: orders of the master, and what the chunkserver does
//! by itself.

use std::io;

use reactor::{Cx, Handler, Job, LoopCx, Offload, Token};

use super::app::Chunkserver;

/// How much such work there is at most.
const WORK_MAX: usize = 512;

/// A job with what follows it.
trait Work {
    fn is_done(&self) -> bool;
    fn conclude(self: Box<Self>, cx: &mut LoopCx<'_, Chunkserver>);
}

struct WithResult<T, F> {
    job: Job<T>,
    then: F,
}

impl<T, F> Work for WithResult<T, F>
where
    F: FnOnce(io::Result<T>, &mut LoopCx<'_, Chunkserver>),
{
    fn is_done(&self) -> bool {
        self.job.is_ready()
    }

    fn conclude(mut self: Box<Self>, cx: &mut LoopCx<'_, Chunkserver>) {
        if let Some(result) = self.job.take() {
            (self.then)(result.map_err(io::Error::from), cx);
        }
    }
}

/// The work that is under way.
#[derive(Default)]
pub(super) struct Background {
    keeper: Option<Token>,
    all: Vec<Box<dyn Work>>,
}

impl Background {
    /// Says which source is woken when work is done.
    pub(super) fn set_keeper(&mut self, keeper: Token) {
        self.keeper = Some(keeper);
    }

    /// Returns how much work is under way.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Hands work over, and calls `then` on the loop with its result. Panics of the work are errors.
    ///
    /// # Errors
    /// When there is too much work.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        offload: &Offload,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(io::Result<T>, &mut LoopCx<'_, Chunkserver>) + 'static,
    ) -> io::Result<()> {
        let (Some(keeper), false) = (self.keeper, self.all.len() >= WORK_MAX) else {
            return Err(io::Error::other("too much work is under way"));
        };
        let job = offload.run(keeper, work)?;
        self.all.push(Box::new(WithResult { job, then }));
        Ok(())
    }

    fn take_done(&mut self) -> Vec<Box<dyn Work>> {
        self.all.extract_if(.., |work| work.is_done()).collect()
    }
}

/// The source that is woken when work is done.
pub(super) struct Keeper;

impl Handler<Chunkserver> for Keeper {
    fn ready(&mut self, cx: &mut Cx<'_, Chunkserver>) -> io::Result<()> {
        for work in cx.app.background.take_done() {
            work.conclude(&mut cx.outside());
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        "mfs::chunkserver::Keeper"
    }
}
