//! Finds timers whose owners have ended, a few places at a time.

use super::entry::{Entry, Place};
use super::places::Places;
use super::{Payload, Wheel};

impl Wheel {
    /// Returns how many steps of [`weed`](Self::weed) visit every place once.
    pub(crate) fn round(&self) -> usize {
        self.entries.len().div_ceil(Places::RUN) + self.len
    }

    /// Continues where it stopped, and cancels the timers for which `keep` returns false. A timer
    /// counts as one step, and so does each run of places, free or not.
    pub(crate) fn weed(&mut self, looks: usize, keep: impl Fn(&Payload) -> bool) {
        let mut left = looks;
        while left > 0 && self.len > 0 {
            let start = self.weeded * Places::RUN;
            if start >= self.entries.len() {
                self.weeded = 0;
                continue;
            }
            let mut taken = !self.vacant.run(self.weeded);
            self.weeded += 1;
            let looks = 1 + taken.count_ones() as usize;
            left = left.saturating_sub(looks);
            #[cfg(test)]
            {
                self.touched += looks as u64;
            }
            while taken != 0 {
                let index = start + taken.trailing_zeros() as usize;
                taken &= taken - 1;
                // The memory of an empty wheel may have been given back.
                let Some(&Entry { place, .. }) = self.entries.get(index) else { break };
                if place.bucket() != Place::NOWHERE && !keep(&self.payloads[index]) {
                    self.remove(index as u32, place);
                }
            }
        }
    }
}
