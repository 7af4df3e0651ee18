//! How many sources are busy.

use crate::{Event, Tag};

/// How many events to wait for a source. If it does not come, this number of sources counts as
/// busy.
const ROUND_MAX: usize = 1024;

/// Estimates how many sources are busy: the number of events between two events of the same source.
/// Each estimate uses another source, so that neither a rare source nor a very active one
/// dominates.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    one: Option<Tag>,
    /// The number of events since the last event of that source.
    since: usize,
    /// The last estimates.
    rounds: [usize; 3],
}

impl Crowd {
    /// Takes note of events in the order in which they were reported.
    pub(crate) fn hear(&mut self, events: &[Event]) {
        for event in events {
            let Some(one) = self.one else {
                (self.one, self.since) = (Some(event.tag), 0);
                continue;
            };
            self.since += 1;
            if event.tag == one || self.since == ROUND_MAX {
                let [_, second, third] = self.rounds;
                (self.rounds, self.one) = ([second, third, self.since], None);
            }
        }
    }

    /// Returns the median of the last estimates.
    pub(crate) fn size(&self) -> usize {
        let mut rounds = self.rounds;
        rounds.sort_unstable();
        rounds[1]
    }
}
