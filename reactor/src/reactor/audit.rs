//! The auditor: names handlers that leave data unread which no event will announce again (P2), and
//! those that run over and over without touching their descriptor (P42).

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use log::error;

use crate::{Interest, Reactor, Readiness, Tag, sys};

/// How long an event that is under way may take from the data it announces to the backend.
const GRACE: Duration = Duration::from_millis(1);

/// A loop that is always busy never sleeps, and so is never audited: what it notes is bounded.
const NOTED_MAX: usize = 65_536;

/// How many runs in a row a source may leave its descriptor alone although it is ready. A loop that
/// has nothing else to do makes so many within a few milliseconds.
const IDLE_RUNS_MAX: u32 = 1000;

/// What the auditor has noted.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// What has been run since the loop last slept.
    ran: Vec<Tag>,
    /// How many times in a row each source was run for its readiness and left its descriptor alone.
    idle_runs: HashMap<Tag, u32>,
}

impl<A: 'static> Reactor<A> {
    /// Notes that a source has been run, and whether that was for its readiness alone and it left
    /// its descriptor alone.
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

    /// Looks at what has been run since the last sleep. Data that has only just arrived is
    /// announced by an event, so only what stays unannounced through two waits is reported.
    pub(crate) fn audit(&mut self) -> io::Result<()> {
        let Some(audit) = &mut self.core.audit else { return Ok(()) };
        let mut suspects = std::mem::take(&mut audit.ran);
        // What sleeps does not spin.
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

    /// Whether a source that wants to read, and is taken for drained, has something to read.
    fn is_unread(&self, tag: Tag) -> bool {
        let Some(source) = self.core.sources.get(tag) else { return false };
        if self.core.is_disputed(tag) {
            // It is tried again soon, without an event.
            return false;
        }
        let waits = source.interest.contains(Interest::READ)
            && !source.ready.contains(Readiness::READABLE)
            && source.polled
            && !source.ended;
        let Some(fd) = &source.fd else { return false };
        waits && sys::ready_now(fd.as_fd(), Interest::READ).is_ok_and(|known| !known.is_empty())
    }
}
