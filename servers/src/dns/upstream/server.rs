//! One upstream: how fast it answers, and whether it does.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reactor::Folding;

/// How many answers the median is that of.
const SAMPLES: usize = 32;
/// After how many answers the median is computed again.
const FRESH: u32 = 8;
/// How long an upstream that was not heard of yet is assumed to take.
const LATENCY_ASSUMED: Duration = Duration::from_millis(50);
/// The least time before a question is sent to another upstream too: those of a fast network are not
/// worth a second question.
const HEDGE_MIN: Duration = Duration::from_millis(10);
/// The bounds of the time after which an attempt counts as lost.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_millis(400);
/// An upstream counts as silent when it owes this many answers, the oldest for this long.
const SILENT_COUNT: u32 = 4;
const SILENT_FOR: Duration = Duration::from_millis(300);
/// The bounds of the time after which a silent upstream is tried again.
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(30);

/// Whether an upstream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// It does, as far as is known.
    Up,
    /// It does not. It gets a copy of some question at that time.
    Down { probe_at: Instant, pause: Duration },
}

/// What an upstream has done since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::dns) struct Counts {
    pub(in crate::dns) sent: u64,
    pub(in crate::dns) answered: u64,
    pub(in crate::dns) failed: u64,
    pub(in crate::dns) over_tcp: u64,
}

/// An upstream.
#[derive(Debug)]
pub(in crate::dns) struct Server {
    pub(in crate::dns) address: SocketAddr,
    pub(in crate::dns) counts: Counts,
    samples: [Duration; SAMPLES],
    taken: u32,
    median: Option<Duration>,
    health: Health,
    /// How many questions were sent since its last answer, and when the first of them was.
    owed: u32,
    owed_since: Option<Instant>,
    /// Until when it is asked without EDNS, because it has refused a question with it.
    pub(super) plain_until: Option<Instant>,
    /// Folds the changes of its health in the log.
    pub(super) log: Folding,
    /// Folds its answers that are errors in the log.
    pub(super) error_log: Folding,
}

/// A change of the health of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It was up, and no longer is.
    Lost(Loss),
    /// It was down, and no longer is.
    Back,
}

/// Why an upstream counts as down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It does not answer.
    Silent,
    /// The network has refused what was sent to it, with this error.
    Refused(io::ErrorKind),
}

impl Server {
    pub(in crate::dns) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            counts: Counts::default(),
            samples: [Duration::ZERO; SAMPLES],
            taken: 0,
            median: None,
            health: Health::Up,
            owed: 0,
            owed_since: None,
            plain_until: None,
            log: Folding::default(),
            error_log: Folding::default(),
        }
    }

    /// Returns the median of its last latencies, or what is assumed if there is none yet.
    pub(in crate::dns) fn latency(&self) -> Duration {
        self.median.unwrap_or(LATENCY_ASSUMED)
    }

    /// Returns whether it has never answered, so that nothing is known of its latency.
    pub(super) fn is_unknown(&self) -> bool {
        self.median.is_none()
    }

    pub(in crate::dns) fn is_up(&self) -> bool {
        self.health == Health::Up
    }

    /// Returns after which time another upstream is asked too.
    pub(super) fn hedge_after(&self) -> Duration {
        self.latency().max(HEDGE_MIN).min(self.retry_after())
    }

    /// Returns after which time an attempt counts as lost.
    pub(super) fn retry_after(&self) -> Duration {
        (self.latency() * 4).clamp(RETRY_MIN, RETRY_MAX)
    }

    /// Returns whether it is down, and it is time to try it again. The time of the next try is set.
    pub(super) fn take_probe(&mut self, now: Instant) -> bool {
        let Health::Down { probe_at, pause } = &mut self.health else { return false };
        let is_due = now >= *probe_at;
        if is_due {
            *pause = (*pause * 2).min(PROBE_MAX);
            *probe_at = now + *pause;
        }
        is_due
    }

    /// Notes that it was asked. Returns whether it has become silent.
    pub(super) fn asked(&mut self, now: Instant) -> Option<Change> {
        self.counts.sent += 1;
        self.owed += 1;
        let since = *self.owed_since.get_or_insert(now);
        let is_silent =
            self.owed > SILENT_COUNT && now.saturating_duration_since(since) >= SILENT_FOR;
        if is_silent { self.lost(Loss::Silent, now) } else { None }
    }

    /// Notes that it does not answer. Returns whether that is new.
    pub(super) fn lost(&mut self, loss: Loss, now: Instant) -> Option<Change> {
        if !self.is_up() {
            return None;
        }
        self.health = Health::Down { probe_at: now + PROBE_MIN, pause: PROBE_MIN };
        Some(Change::Lost(loss))
    }

    /// Notes an answer to a question of `sent`. Returns whether it was down.
    pub(super) fn answered(&mut self, sent: Instant, now: Instant) -> Option<Change> {
        self.counts.answered += 1;
        let place = self.taken as usize % SAMPLES;
        self.samples[place] = now.saturating_duration_since(sent);
        self.taken = self.taken.wrapping_add(1);
        if self.median.is_none() || self.taken.is_multiple_of(FRESH) {
            let mut known = self.samples;
            let known = &mut known[..SAMPLES.min(self.taken.max(1) as usize)];
            let middle = known.len() / 2;
            self.median = Some(*known.select_nth_unstable(middle).1);
        }
        self.heard()
    }

    /// Notes a sign of life. Returns whether it was down.
    pub(super) fn heard(&mut self) -> Option<Change> {
        (self.owed, self.owed_since) = (0, None);
        let was_up = std::mem::replace(&mut self.health, Health::Up) == Health::Up;
        (!was_up).then_some(Change::Back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn server() -> Server {
        Server::new(([127, 0, 0, 1], 53).into())
    }

    #[test]
    fn the_median_is_that_of_the_last_answers() {
        let (mut server, now) = (server(), Instant::now());
        assert_eq!(server.latency(), LATENCY_ASSUMED);
        server.answered(now, now + 20 * MS);
        assert_eq!(server.latency(), 20 * MS);
        for _ in 0..SAMPLES {
            server.answered(now, now + 70 * MS);
        }
        assert_eq!(server.latency(), 70 * MS);
        assert_eq!((server.hedge_after(), server.retry_after()), (70 * MS, 280 * MS));
        // A stray one does not change it.
        for latency in [3000, 1, 70, 70, 70, 70, 70, 70] {
            server.answered(now, now + latency * MS);
        }
        assert_eq!(server.latency(), 70 * MS);
    }

    #[test]
    fn a_silent_upstream_is_down_until_it_answers_a_probe() {
        let (mut server, start) = (server(), Instant::now());
        for _ in 0..100 {
            assert_eq!(server.asked(start), None);
        }
        assert_eq!(server.asked(start + SILENT_FOR), Some(Change::Lost(Loss::Silent)));
        assert!(!server.is_up());
        let start = start + SILENT_FOR;
        assert!(!server.take_probe(start) && server.take_probe(start + PROBE_MIN));
        assert!(
            !server.take_probe(start + PROBE_MIN * 2) && server.take_probe(start + PROBE_MIN * 3)
        );
        assert_eq!(server.heard(), Some(Change::Back));
        assert!(server.is_up());
        // A slow one that answers some of its questions is not silent.
        for step in 0..100 {
            assert_eq!(server.asked(start + step * 100 * MS), None);
            if step % 3 == 2 {
                server.answered(start, start + step * 100 * MS);
            }
        }
    }
}
