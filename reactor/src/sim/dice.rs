//! The dice: whether a fault occurs, and random bits.

use std::collections::{BTreeMap, BTreeSet};

use crate::sim::{Drawn, Fault, Faults};

/// Draws faults. Whether a fault occurs depends on the seed, its kind, its place and its number
/// there alone, so leaving one out does not draw the others anew.
#[derive(Debug)]
pub(super) struct Dice {
    seed: u64,
    pub(super) faults: Faults,
    /// No fault occurs for now.
    pub(super) is_paused: bool,
    /// If it is set, only these occur.
    pub(super) only: Option<BTreeSet<Drawn>>,
    opportunities: BTreeMap<(Fault, u32), u64>,
    pub(super) drawn: Vec<Drawn>,
    numbers: BTreeMap<u32, u64>,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            faults: Faults::NONE,
            is_paused: false,
            only: None,
            opportunities: BTreeMap::new(),
            drawn: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// Returns random bits for a fault if it occurs now.
    pub(super) fn draw(&mut self, fault: Fault, place: u32) -> Option<Bits> {
        let rate = self.faults.of(fault);
        if rate == 0 || self.is_paused {
            return None;
        }
        let count = self.opportunities.entry((fault, place)).or_default();
        let number = *count;
        *count += 1;
        let bits = mix(self.seed ^ mix(fault as u64 + 1) ^ mix(u64::from(place) << 32 ^ number));
        if bits % 1_000_000 >= u64::from(rate) {
            return None;
        }
        let drawn = Drawn { fault, place, number };
        if self.only.as_ref().is_some_and(|only| !only.contains(&drawn)) {
            return None;
        }
        self.drawn.push(drawn);
        Some(Bits(mix(bits)))
    }

    /// Returns random bits that are no fault, such as the time that a segment takes. Each place has
    /// a sequence of its own.
    pub(super) fn bits(&mut self, place: u32) -> Bits {
        let count = self.numbers.entry(place).or_default();
        *count += 1;
        Bits(mix(self.seed.rotate_left(17) ^ mix(u64::from(place) << 32 ^ *count)))
    }
}

/// Random bits, from which a few numbers can be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits(u64);

impl Bits {
    /// Returns the next number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low).saturating_add(1);
        low + ((u128::from(self.next()) * u128::from(span)) >> 64) as u64
    }

    /// Returns the next bit.
    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    fn next(&mut self) -> u64 {
        self.0 = mix(self.0);
        self.0
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
pub(super) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_one_fault_out_leaves_the_others_as_they_were() {
        let draw = |only: Option<BTreeSet<Drawn>>| {
            let mut dice = Dice { only, faults: Faults::all(), ..Dice::new(7) };
            for step in 0..2000 {
                dice.draw(Fault::ShortRead, step % 3);
                dice.draw(Fault::Late, step % 5);
            }
            dice.drawn
        };
        let all = draw(None);
        assert!(all.len() > 50, "{} faults", all.len());
        let some: BTreeSet<Drawn> = all.iter().copied().step_by(2).collect();
        assert_eq!(draw(Some(some.clone())).into_iter().collect::<BTreeSet<_>>(), some);
    }

    #[test]
    fn faults_come_at_their_rate() {
        let mut dice = Dice { faults: Faults::NONE.rate(Fault::Late, 50_000), ..Dice::new(1) };
        let count = (0..100_000).filter(|_| dice.draw(Fault::Late, 1).is_some()).count();
        assert!((4_500..5_500).contains(&count), "{count}");
        assert!(dice.draw(Fault::Reset, 1).is_none());
    }
}
