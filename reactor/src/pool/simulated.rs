//! The jobs of a simulated host, which has no threads: its loop runs them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::error::JobError;
use crate::pool::queue::Queue;
use crate::pool::state::Shutdown;
use crate::pool::work::Work;
use crate::{Cx, Expired, Handler, LoopCx, Reason, kernel};

/// How long a job takes.
const JOB_TIME: Duration = Duration::from_millis(1);
/// How long a job takes at times, if the simulation has chances (`Fault::Chance`).
const LONG_JOB_TIME: Duration = Duration::from_secs(1);

/// Runs the jobs of a pool on a loop: as many at once as the pool has threads at most, each at the
/// end of its time.
pub(super) struct Workers {
    queue: Arc<Queue>,
    /// The jobs that have begun, by the keys of their timers.
    begun: BTreeMap<u64, Arc<dyn Work>>,
    last_key: u64,
}

impl Workers {
    pub(super) fn new(queue: &Arc<Queue>) -> Self {
        Self { queue: Arc::clone(queue), begun: BTreeMap::new(), last_key: 0 }
    }

    /// Begins jobs that wait.
    fn begin<A>(&mut self, cx: &mut Cx<'_, A>) {
        while self.begun.len() < self.queue.options.threads_max
            && let Some(work) = self.queue.try_next()
        {
            self.last_key += 1;
            self.begun.insert(self.last_key, work);
            let is_long = kernel::chance("a job of a thread pool takes long");
            let time = if is_long { LONG_JOB_TIME } else { JOB_TIME };
            cx.set_timer(time, None, self.last_key);
        }
    }
}

impl<A> Handler<A> for Workers {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.begin(cx);
        Ok(())
    }

    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, A>) -> io::Result<()> {
        if let Some(work) = self.begun.remove(&timer.key) {
            self.queue.run(work);
        }
        self.begin(cx);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, _cx: &mut LoopCx<'_, A>) {
        for work in self.begun.into_values() {
            self.queue.give_up(work, &JobError::ShutDown);
        }
    }

    fn name(&self) -> &'static str {
        "reactor::Offload"
    }
}

/// Shuts a pool without threads down.
pub(super) fn shut_down(queue: &Queue, how: Shutdown) {
    queue.close(how);
    while let Some(work) = queue.try_next() {
        queue.run(work);
    }
}
