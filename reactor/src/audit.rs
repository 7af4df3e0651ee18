//! The auditor: names a handler that left data unread which no event will announce again (P2).

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use log::error;

use crate::{Interest, Reactor, Readiness, Tag, sys};

/// How long an event that is under way may take from the data it announces to the backend.
const GRACE: Duration = Duration::from_millis(1);

/// A loop that is always busy never sleeps, and so is never audited: what it notes is bounded.
const NOTED_MAX: usize = 65_536;

impl<A: 'static> Reactor<A> {
    /// Notes that a source has been run, for the next audit.
    pub(crate) fn note_for_audit(&mut self, tag: Tag) {
        let Some(audited) = &mut self.core.audited else { return };
        if audited.len() >= NOTED_MAX {
            audited.clear();
        }
        audited.push(tag);
    }

    /// Looks at what has been run since the last sleep. Data that has only just arrived is
    /// announced by an event, so only what stays unannounced through two waits is reported.
    pub(crate) fn audit(&mut self) -> io::Result<()> {
        let mut suspects = self.core.audited.replace(Vec::new()).unwrap_or_default();
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
            let handler = self.handlers.get(tag.slot() as usize).and_then(Option::as_deref);
            let name = handler.map_or("?", |handler| handler.name());
            self.core.counters.lost_edges += 1;
            error!(
                "handler {name} of source {tag} left data unread that no event will announce: \
                 read through Cx until it returns None"
            );
        }
        Ok(())
    }

    /// Whether a source that wants to read, and is taken for drained, has something to read.
    fn is_unread(&self, tag: Tag) -> bool {
        let Some(source) = self.core.sources.get(tag) else { return false };
        if self.core.is_doubted(tag) {
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
