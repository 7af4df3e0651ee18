//! The auditor: names handlers that leave data unread which no event will announce again (P2), and
//! those that run over and over without touching their descriptor (P42).

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use log::error;

use crate::source::registration::{Mode, Sharing};
use crate::{Interest, Reactor, Readiness, Tag, kernel};

/// The longest time from the arrival of data to its event.
const GRACE: Duration = Duration::from_millis(1);

/// The most records. A loop that is always busy never sleeps, so it is never audited.
const NOTED_MAX: usize = 65_536;

/// How many runs in a row a source may ignore its ready descriptor. A loop without other work makes
/// that many within a few milliseconds.
const IDLE_RUNS_MAX: u32 = 1000;

/// The records of the auditor.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// The sources that have run since the loop last slept.
    ran: Vec<Tag>,
    /// How many times in a row each source ran for its readiness and ignored its descriptor.
    idle_runs: HashMap<Tag, u32>,
}

impl<A: 'static> Reactor<A> {
    /// Records that a source has run, and whether it ran for its readiness alone and ignored its
    /// descriptor.
    pub(crate) fn note_for_audit(&mut self, tag: Tag, is_untouched: bool) {
        // Otherwise it is not run again for the same reason.
        let is_queued = self.core.sources.get(tag).is_some_and(|source| source.is_runnable());
        let Some(audit) = &mut self.core.audit else { return };
        if audit.ran.len() >= NOTED_MAX {
            audit.ran.clear();
        }
        audit.ran.push(tag);
        if !(is_untouched && is_queued) {
            audit.idle_runs.remove(&tag);
            return;
        }
        if audit.idle_runs.len() >= NOTED_MAX {
            audit.idle_runs.clear();
        }
        let runs = audit.idle_runs.entry(tag).or_default();
        *runs = runs.saturating_add(1);
        if *runs == IDLE_RUNS_MAX {
            self.core.counters.idle_spins += 1;
            error!(
                "handler {} of source {tag} was run {IDLE_RUNS_MAX} times in a row for a ready \
                 descriptor and did nothing with it: read or write through Cx, or take the \
                 interest away",
                self.handler_name(tag)
            );
        }
    }

    fn handler_name(&self, tag: Tag) -> &'static str {
        let handler = self.handlers.get(tag.slot() as usize).and_then(Option::as_deref);
        handler.map_or("?", |handler| handler.name())
    }

    /// Checks the sources that have run since the last sleep. An event announces data that has just
    /// arrived, so only data that stays unannounced through two waits is reported.
    pub(crate) fn audit(&mut self) -> io::Result<()> {
        let Some(audit) = &mut self.core.audit else { return Ok(()) };
        let mut suspects = std::mem::take(&mut audit.ran);
        // A loop that sleeps does not spin.
        audit.idle_runs.retain(|_, runs| *runs >= IDLE_RUNS_MAX);
        suspects.sort_unstable();
        suspects.dedup();
        for grace in [Duration::ZERO, GRACE] {
            suspects.retain(|tag| self.is_unread(*tag));
            if suspects.is_empty() {
                return Ok(());
            }
            let _ = self.look(Some(grace))?;
            suspects.retain(|tag| !self.events.iter().any(|event| event.tag == *tag));
        }
        suspects.retain(|tag| self.is_unread(*tag));
        for tag in suspects {
            self.core.counters.lost_edges += 1;
            error!(
                "handler {} of source {tag} left data unread that no event will announce: read \
                 through Cx until it returns None",
                self.handler_name(tag)
            );
        }
        Ok(())
    }

    /// Returns whether a source that wants to read has input although the loop considers it
    /// exhausted.
    fn is_unread(&self, tag: Tag) -> bool {
        let Some(own) = self.core.own(tag) else { return false };
        if self.core.is_disputed(tag) {
            // It will be tried again soon without an event.
            return false;
        }
        if self.core.sources.get(tag).is_some_and(|it| it.sharing == Sharing::Competing) {
            // The event may be that of another loop.
            return false;
        }
        let waits = own.interest.contains(Interest::READ)
            && !own.ready.contains(Readiness::READABLE)
            && own.polled
            && !own.ended;
        // What a backend has received is read without the descriptor, and what it has not received yet is
        // no mistake of the handler.
        let waits = waits && own.mode != Mode::Completed;
        let Some(fd) = &own.fd else { return false };
        waits && kernel::ready_now(fd.as_fd(), Interest::READ).is_ok_and(|known| !known.is_empty())
    }
}
