//! How likely each kind of fault is.

use std::collections::BTreeMap;

use crate::sim::Fault;
use crate::sim::dice::mix;

/// The highest rate that [`Faults::swarm`] draws, in parts per million.
const SWARM_MAX: u32 = 500_000;

/// How likely each kind of fault is, in parts per million of its opportunities.
///
/// An opportunity is each operation, segment, connection, accept or wait that the fault can strike.
/// The faults of hosts and of pairs of hosts have one in every 100 ms of virtual time, besides
/// [`Fault::ClockDrift`] and [`Fault::KillStarting`], which have one at each start of a program.
/// [`Fault::Chance`] has one at each call of [`chance`](super::chance) and each job of a
/// [`ThreadPool`](crate::ThreadPool), and those of names at each lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    rates: BTreeMap<Fault, u32>,
}

impl Faults {
    /// No faults: a network that only takes time.
    pub const NONE: Self = Self { rates: BTreeMap::new() };

    /// Returns every kind of fault besides [`Fault::Corrupt`], at a rate at which programs still
    /// get work done.
    pub fn all() -> Self {
        let rate = |fault| match fault {
            Fault::Delay | Fault::Tail | Fault::Split | Fault::Merge => 20_000,
            Fault::SlowPair => 50_000,
            Fault::SmallBuffer => 200_000,
            Fault::Reset | Fault::ResetOneSide | Fault::Finish | Fault::HalfClose => 1_000,
            Fault::Swallow | Fault::SwallowBoth => 300,
            Fault::Refuse | Fault::Unreachable | Fault::Blackhole => 20_000,
            Fault::BlackholePort => 4_000,
            Fault::Partition | Fault::PartitionOneWay | Fault::Hold => 4_000,
            Fault::Isolate | Fault::Divide | Fault::Swizzle => 2_000,
            Fault::Corrupt => 0,
            Fault::ShortRead | Fault::ShortWrite | Fault::FalseWouldBlock => 30_000,
            Fault::Spurious | Fault::Late | Fault::Reorder | Fault::FullArray => 50_000,
            Fault::Interrupt | Fault::LateTimer => 20_000,
            Fault::NoMemory | Fault::NetworkError => 1_000,
            Fault::AcceptAborted | Fault::AcceptError | Fault::AcceptDead => 40_000,
            Fault::AcceptNoDescriptor | Fault::AcceptNoMemory => 40_000,
            Fault::AcceptReorder => 200_000,
            Fault::SocketRefused | Fault::NoPort | Fault::ConnectFails => 10_000,
            Fault::WatchRefused => 5_000,
            Fault::WaitNoMemory => 2_000,
            Fault::ClockJump | Fault::WallClockJump | Fault::Stall | Fault::Stop => 4_000,
            Fault::ClockDrift => 500_000,
            Fault::Kill | Fault::Crash => 2_000,
            Fault::KillMany => 1_000,
            Fault::KillStarting => 100_000,
            Fault::Chance => 50_000,
            Fault::DatagramLost | Fault::DatagramTwice | Fault::DatagramLate => 30_000,
            Fault::NameSlow | Fault::NameFails => 50_000,
        };
        let rates = Fault::ALL.into_iter().map(|fault| (fault, rate(fault)));
        Self { rates: rates.filter(|(_, rate)| *rate > 0).collect() }
    }

    /// Returns about half of the kinds of [`all`](Self::all), each at a rate from a quarter of its
    /// rate there to eight times as much. The seed decides, so that runs differ in character: with
    /// all kinds always a little on, the extremes do not occur.
    pub fn swarm(seed: u64) -> Self {
        let draw = |(fault, rate): (Fault, u32)| {
            let bits = mix(mix(seed) ^ mix(fault as u64 + 1));
            let scaled = u64::from(rate) << (bits >> 1 & 7).min(5) >> 2;
            (bits & 1 == 1).then_some((fault, scaled.clamp(1, u64::from(SWARM_MAX)) as u32))
        };
        Self { rates: Self::all().rates.into_iter().filter_map(draw).collect() }
    }

    /// Sets the rate of a fault, in parts per million of its opportunities; 0 excludes it.
    #[must_use]
    pub fn rate(mut self, fault: Fault, parts_per_million: u32) -> Self {
        self.rates.insert(fault, parts_per_million);
        self
    }

    /// Excludes `faults`.
    #[must_use]
    pub fn without(mut self, faults: &[Fault]) -> Self {
        for fault in faults {
            self.rates.remove(fault);
        }
        self
    }

    pub(super) fn of(&self, fault: Fault) -> u32 {
        self.rates.get(&fault).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_leaves_out_corruption_alone() {
        let all = Faults::all();
        let missing: Vec<Fault> = Fault::ALL.into_iter().filter(|it| all.of(*it) == 0).collect();
        assert_eq!(missing, [Fault::Corrupt]);
    }

    #[test]
    fn a_swarm_is_some_of_the_faults_and_depends_on_its_seed() {
        assert_eq!(Faults::swarm(7), Faults::swarm(7));
        for seed in 0..20 {
            let count = Faults::swarm(seed).rates.len();
            assert!((10..45).contains(&count), "{count} kinds");
            assert_ne!(Faults::swarm(seed), Faults::swarm(seed + 1));
        }
        for fault in Faults::all().rates.into_keys() {
            let often = (0..100).filter(|seed| Faults::swarm(*seed).of(fault) > 0).count();
            assert!((25..75).contains(&often), "{fault}: {often} of 100");
        }
    }
}
