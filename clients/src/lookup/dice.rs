//! Numbers and spellings that cannot be guessed.

use std::hash::{BuildHasher, RandomState};

use protocol::dns::Name;

/// Unpredictable numbers: a keyed hash of a counter, whose key is from the system (`getrandom(2)`).
#[derive(Default)]
pub(super) struct Dice {
    key: RandomState,
    count: u64,
}

impl Dice {
    /// Returns the next number.
    pub(super) fn number(&mut self) -> u64 {
        self.count += 1;
        self.key.hash_one(self.count)
    }

    /// Returns a name whose letters have a random case.
    pub(super) fn spell(&mut self, name: &Name) -> Name {
        let (mut bits, mut left) = (0, 0);
        let labels: Vec<Vec<u8>> = name
            .view()
            .labels()
            .map(|label| {
                let letters = label.iter().map(|byte| {
                    if left == 0 {
                        (bits, left) = (self.number(), 64);
                    }
                    let is_upper = bits & 1 != 0;
                    (bits, left) = (bits >> 1, left - 1);
                    if is_upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() }
                });
                letters.collect()
            })
            .collect();
        Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap_or_else(|_| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_differ_in_the_case_of_letters_alone() {
        let mut dice = Dice::default();
        let name: Name = "a-long-name-with-a-\\.-and-123.example".parse().expect("it is a name");
        let (first, second) = (dice.spell(&name), dice.spell(&name));
        assert!(first == name && second == name);
        // Equal once in 10^7 runs.
        assert!(!first.view().is_spelled_like(second.view()), "{first}");
        assert_eq!(dice.spell(&Name::root()), Name::root());
    }
}
