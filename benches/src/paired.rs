//! What the rounds of a run say about two subjects: the figures of one round are compared with each other.

/// With fewer rounds, nothing is said: two subjects without any difference would be apart in all rounds in
/// one run of sixteen, or more often.
pub const ROUNDS_MIN: usize = 6;

/// How often an interval may miss the median: in one run of twenty.
const MISSED_MAX: f64 = 0.05;

/// The median of what the rounds say, and the interval in which the median of ever more rounds lies with
/// 95 % confidence. Load that comes and goes between rounds affects both subjects of a round, so this interval
/// is smaller than the spread of either.
///
/// The interval is that of the sign test: it needs no assumption about how the rounds are distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// The median.
    pub median: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
    /// The number of rounds.
    pub rounds: usize,
}

impl Paired {
    /// Returns what the values of the rounds say, or `None` if there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let rounds = values.len();
        let left_out = left_out(rounds);
        let (low, high) = (*values.get(left_out)?, values[rounds - 1 - left_out]);
        Some(Self { median: median(&values)?, low, high, rounds })
    }

    /// Returns whether there are enough rounds for the interval.
    pub const fn is_enough(&self) -> bool {
        self.rounds >= ROUNDS_MIN
    }
}

/// Returns the median of sorted values, or `None` if there are none.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], upper)
    } else {
        upper
    })
}

/// Returns how many of the lowest and of the highest of so many rounds are outside of the interval.
fn left_out(rounds: usize) -> usize {
    // The chance that a number of rounds are below the median, and the rest above.
    let mut chance = 0.5_f64.powi(i32::try_from(rounds).unwrap_or(i32::MAX));
    let (mut missed, mut count) = (2.0 * chance, 0);
    loop {
        chance *= (rounds - count) as f64 / (count + 1) as f64;
        missed += 2.0 * chance;
        if missed > MISSED_MAX || count + 1 >= rounds / 2 {
            return count;
        }
        count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_table_of_the_sign_test() {
        // The numbers of rounds from which on one more is left out on each side, two-sided at 5 %.
        let first =
            [(1, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (17, 4), (20, 5), (25, 7)];
        for (rounds, expected) in first {
            assert_eq!(left_out(rounds), expected, "{rounds} rounds");
        }
        assert_eq!(left_out(100), 39);
    }

    #[test]
    fn one_round_that_was_disturbed_does_not_widen_the_interval_of_nine() {
        let mut values: Vec<f64> = (0..8).map(|round| 0.9 + 0.01 * f64::from(round)).collect();
        values.push(7.0);
        let found = Paired::of(values).expect("there are rounds");
        assert_eq!((found.low, found.high, found.rounds), (0.91, 0.97, 9));
        assert!((found.median - 0.94).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn five_rounds_are_not_enough() {
        let of = |rounds| Paired::of(vec![0.9; rounds]).expect("there are rounds");
        assert!(!of(ROUNDS_MIN - 1).is_enough());
        assert!(of(ROUNDS_MIN).is_enough());
        assert_eq!(Paired::of(Vec::new()), None);
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_two() {
        assert_eq!(median(&[1.0, 2.0, 3.0, 4.0]), Some(2.5));
        assert_eq!(median(&[1.0, 2.0, 4.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_thousand_rounds_have_an_interval() {
        let values = (0..1000).map(f64::from).collect();
        let found = Paired::of(values).expect("there are rounds");
        assert!(found.low > 460.0 && found.high < 540.0, "{found:?}");
    }
}
