//! The state that the threads of a group share, and how they stop.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use log::debug;

use crate::group::entrance::Entrance;
use crate::group::seat::{Seat, Waiting};
use crate::group::watch::Watch;
use crate::{GroupOptions, Remote};

/// The progress of a group towards its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// The acceptor ends first, with what waits in its backlogs. The loops stop by this time; `None` is
    /// beyond any time that the clock has.
    Closing(Option<Instant>),
    /// The loops were told to stop by this time.
    WindingDown(Option<Instant>),
    Stopping,
}

/// The state that the threads of a group share.
pub(crate) struct Shared<A> {
    pub(crate) options: GroupOptions,
    pub(crate) entrances: Vec<Entrance>,
    pub(crate) seats: Vec<Arc<Seat>>,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) watch: Arc<Watch>,
    /// The loops, once all are made.
    pub(crate) remotes: OnceLock<Vec<Remote<A>>>,
    /// The loop of the acceptor, if there is one.
    pub(crate) acceptor: OnceLock<Remote<()>>,
    stage: Mutex<Stage>,
}

impl<A: 'static> Shared<A> {
    pub(crate) fn new(options: GroupOptions, entrances: Vec<Entrance>) -> Self {
        let waiting: Arc<Waiting> = Arc::default();
        let seat = |_| Arc::new(Seat::new(options.untaken_max, Arc::clone(&waiting)));
        let seats = (0..options.threads.get()).map(seat).collect();
        Self {
            options,
            entrances,
            seats,
            waiting,
            watch: Arc::default(),
            remotes: OnceLock::new(),
            acceptor: OnceLock::new(),
            stage: Mutex::new(Stage::Running),
        }
    }

    pub(crate) fn remotes(&self) -> &[Remote<A>] {
        self.remotes.get().map_or(&[], Vec::as_slice)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops all loops gracefully: the acceptor first, so that what waits in its backlogs is still
    /// handed over, as far as the loops have room. A second call has no effect.
    pub(crate) fn stop_gracefully(&self, patience: Duration) {
        let mut stage = self.stage();
        if *stage == Stage::Running {
            self.close(&mut stage, Instant::now().checked_add(patience));
        }
    }

    /// Ends the acceptor, and the loops after it. Without an acceptor, they end at once.
    fn close(&self, stage: &mut Stage, until: Option<Instant>) {
        *stage = Stage::Closing(until);
        let acceptor = self.acceptor.get();
        let told = acceptor.map(|it| it.order(move |cx| cx.stop_gracefully(time_left(until))));
        if !matches!(told, Some(Ok(()))) {
            self.wind_down(stage, until);
        }
    }

    /// Repeats a stop that came before all loops and the acceptor were known. They do not run yet.
    pub(crate) fn all_made(&self) {
        let mut stage = self.stage();
        match *stage {
            Stage::Running => {}
            Stage::Closing(until) | Stage::WindingDown(until) => self.close(&mut stage, until),
            Stage::Stopping => self.tell_to_stop(),
        }
    }

    /// Continues a graceful stop when the acceptor has ended.
    pub(crate) fn acceptor_ended(&self) {
        let mut stage = self.stage();
        if let Stage::Closing(until) = *stage {
            self.wind_down(&mut stage, until);
        }
    }

    fn wind_down(&self, stage: &mut Stage, until: Option<Instant>) {
        *stage = Stage::WindingDown(until);
        for (index, remote) in self.remotes().iter().enumerate() {
            let told = remote.order(move |cx| cx.stop_gracefully(time_left(until)));
            if let Err(error) = told {
                debug!("loop {index} is not told to stop: {error}");
            }
        }
    }

    /// Stops all loops at once: each when everything that is ready has run.
    pub(crate) fn stop(&self) {
        *self.stage() = Stage::Stopping;
        self.tell_to_stop();
    }

    fn tell_to_stop(&self) {
        // Loops that are gone need not be told.
        if let Some(acceptor) = self.acceptor.get() {
            let _ = acceptor.order(|cx| cx.stop());
        }
        for remote in self.remotes() {
            let _ = remote.order(|cx| cx.stop());
        }
    }

    /// Returns whether the group was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stage() != Stage::Running
    }

    /// Ends the acceptor when no loop is left that could take connections.
    pub(crate) fn loop_ended(&self) {
        if self.watch.running() == 0
            && let Some(acceptor) = self.acceptor.get()
        {
            // If it is gone, it need not be told.
            let _ = acceptor.order(|cx| cx.stop());
        }
    }
}

/// Returns the time that is left for a graceful stop.
fn time_left(until: Option<Instant>) -> Duration {
    until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
}
