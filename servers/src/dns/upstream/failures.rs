//! Questions that no upstream could answer a moment ago, which are not asked again at once (RFC 9520).
//!
//! Clients repeat a question that has failed, and each time all upstreams would be asked in vain. So a
//! failure is kept for a second, and for twice the time before whenever the question fails again. The memory
//! is fixed: a failure that ends first makes room, and its question is asked once more than it had to be.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use protocol::dns::ResponseCode;

/// For how long a first failure is kept (RFC 9520 section 3.2: one second at least).
const KEPT_MIN: Duration = Duration::from_secs(1);
/// How many failures are known at the same time, and how many of them have the same place. They take
/// 128 KB.
const FAILURES: usize = 4096;
const WAYS: usize = 4;

/// Failures, each found by the hash of its question.
#[derive(Debug)]
pub(super) struct Failures {
    /// For how long a failure is kept at most. Zero keeps none.
    kept_max: Duration,
    start: Instant,
    sets: Box<[[Failure; WAYS]]>,
    /// A key of the process, so that no client can choose questions that collide.
    hasher: RandomState,
}

/// A question that has failed.
#[derive(Clone, Copy, Debug, Default)]
struct Failure {
    /// The hash of the question. Zero stands for none.
    question: u64,
    /// When it may be asked again, since the start.
    ends: Duration,
    kept: u16,
    code: u16,
}

impl Failures {
    /// Returns a table that keeps failures for `kept_max` at most; zero keeps none.
    pub(super) fn new(kept_max: Duration, now: Instant) -> Self {
        let sets = if kept_max.is_zero() { 0 } else { FAILURES / WAYS };
        Self {
            kept_max,
            start: now,
            sets: vec![[Failure::default(); WAYS]; sets].into(),
            hasher: RandomState::new(),
        }
    }

    /// Returns how a question has failed that is not to be asked again yet.
    pub(super) fn look_up(&self, question: &[u8], now: Instant) -> Option<ResponseCode> {
        let (hash, set) = self.place(question)?;
        let now = now.saturating_duration_since(self.start);
        let known = self.sets[set].iter().find(|it| it.question == hash)?;
        (now < known.ends).then_some(ResponseCode(known.code))
    }

    /// Notes that a question has failed.
    pub(super) fn failed(&mut self, question: &[u8], code: ResponseCode, now: Instant) {
        let Some((hash, set)) = self.place(question) else { return };
        let now = now.saturating_duration_since(self.start);
        let set = &mut self.sets[set];
        let known = set.iter().position(|it| it.question == hash);
        let first = (0..WAYS).min_by_key(|&way| set[way].ends).unwrap_or_default();
        let failure = &mut set[known.unwrap_or(first)];
        // One that has ended long ago is another failure.
        let is_again = failure.question == hash && now <= failure.ends + self.kept_max;
        let kept = if is_again { Duration::from_secs(failure.kept.into()) * 2 } else { KEPT_MIN };
        let kept = kept.min(self.kept_max);
        *failure = Failure {
            question: hash,
            ends: now + kept,
            kept: u16::try_from(kept.as_secs()).unwrap_or(u16::MAX),
            code: code.0,
        };
    }

    /// Forgets the failure of a question, which has an answer now.
    pub(super) fn answered(&mut self, question: &[u8]) {
        let Some((hash, set)) = self.place(question) else { return };
        let known = self.sets[set].iter_mut().find(|it| it.question == hash);
        known.into_iter().for_each(|it| *it = Failure::default());
    }

    /// Forgets all failures: an upstream that was down is back, and may answer.
    pub(super) fn clear(&mut self) {
        self.sets.fill([Failure::default(); WAYS]);
    }

    /// Returns the hash of a question and where its failure is, unless none is kept.
    fn place(&self, question: &[u8]) -> Option<(u64, usize)> {
        let hash = self.hasher.hash_one(question).max(1);
        Some((hash, (hash as usize).checked_rem(self.sets.len())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const SERVFAIL: ResponseCode = ResponseCode::SERVFAIL;

    #[test]
    fn a_failure_is_kept_for_twice_the_time_when_it_comes_again() {
        let mut now = Instant::now();
        let mut failures = Failures::new(SECOND * 5, now);
        for kept in [1, 2, 4, 5, 5] {
            assert_eq!(failures.look_up(b"a", now), None);
            failures.failed(b"a", SERVFAIL, now);
            now += SECOND * kept;
            let before = now.checked_sub(SECOND / 10).expect("it is later");
            assert_eq!(failures.look_up(b"a", before), Some(SERVFAIL));
            assert_eq!(failures.look_up(b"b", before), None);
        }
        // After a long time, it begins anew; after an answer too.
        now += SECOND * 6;
        failures.failed(b"a", SERVFAIL, now);
        assert_eq!(failures.look_up(b"a", now + SECOND), None);
        failures.failed(b"a", SERVFAIL, now);
        failures.answered(b"a");
        assert_eq!(failures.look_up(b"a", now), None);
        failures.failed(b"a", SERVFAIL, now);
        assert_eq!(failures.look_up(b"a", now + SECOND), None);
        failures.clear();
        assert_eq!(failures.look_up(b"a", now), None);
    }

    #[test]
    fn the_memory_is_fixed_and_the_last_failure_is_known() {
        let now = Instant::now();
        let mut failures = Failures::new(SECOND * 300, now);
        for number in 0..100_000_u32 {
            let question = number.to_be_bytes();
            failures.failed(&question, ResponseCode::REFUSED, now);
            assert_eq!(failures.look_up(&question, now), Some(ResponseCode::REFUSED));
        }
        assert!(size_of_val(&*failures.sets) <= 128 * 1024);
    }

    #[test]
    fn without_a_time_no_failure_is_kept() {
        let now = Instant::now();
        let mut failures = Failures::new(Duration::ZERO, now);
        failures.failed(b"a", SERVFAIL, now);
        assert_eq!(failures.look_up(b"a", now), None);
        failures.answered(b"a");
        failures.clear();
    }
}
