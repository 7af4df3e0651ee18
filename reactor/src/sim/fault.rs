//! The faults of a simulated world: their kinds, how likely each is, and which were drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    // The network.
    /// A segment takes far longer than usual, up to a second, and so does what follows it.
    Delay,
    /// Bytes that were written together arrive in two segments, at two times.
    Split,
    /// A segment waits for the next and arrives together with it.
    Merge,
    /// A connection gets socket buffers of a few bytes to a few hundred on both sides.
    SmallBuffer,
    /// A connection is reset: both sides see `ECONNRESET`, after any byte.
    Reset,
    /// A connection is ended in order after any byte, in both directions, as by a proxy that stops.
    Finish,
    /// One direction of a connection is ended in order after any byte; the other goes on.
    HalfClose,
    /// A connection that is being made is refused, although a program listens.
    Refuse,
    /// A connection that is being made finds no route.
    Unreachable,
    /// A connection that is being made is not answered at all, as by a firewall that drops it.
    Blackhole,
    /// Two hosts do not reach each other for a while.
    Partition,
    /// One host does not reach another for a while, but is reached by it.
    PartitionOneWay,
    /// What one host sends another is held for a while and then arrives in one piece.
    Hold,
    // The kernel.
    /// A read returns less than has arrived. The rest is announced as if it arrived just after.
    ShortRead,
    /// A write takes less than there is room for. The rest of the room is announced after it.
    ShortWrite,
    /// Readiness is reported that does not exist.
    Spurious,
    /// Readiness is reported milliseconds after it came to be.
    Late,
    /// The events of a wait come in another order.
    Reorder,
    /// The array of events is full: a wait reports some of them, and the next the rest.
    FullArray,
    /// A wait is interrupted by a signal (`EINTR`).
    Interrupt,
    /// An operation claims to block although it would not, and no event follows.
    FalseWouldBlock,
    /// A connection was ended by its peer before it could be accepted (`ECONNABORTED`).
    AcceptAborted,
    /// No descriptor is left for a connection that waits to be accepted (`EMFILE`, `ENFILE`).
    AcceptNoDescriptor,
    /// The kernel has no memory for a connection that waits to be accepted (`ENOBUFS`, `ENOMEM`).
    AcceptNoMemory,
    /// No descriptor, or no memory, is left for a socket of this side (`EMFILE`, `ENOBUFS`).
    SocketRefused,
    /// No local port is left to connect from (`EADDRNOTAVAIL`).
    NoPort,
    /// The kernel has no memory to watch a descriptor (`ENOMEM`, `ENOSPC`).
    WatchRefused,
    /// The kernel has no memory for a wait (`ENOMEM`).
    WaitNoMemory,
    // The host.
    /// The clock of a host jumps forward, by up to ten seconds.
    ClockJump,
    /// A host does nothing for up to three seconds, in the middle of its work.
    Stall,
    /// A program is stopped (`SIGSTOP`) and continued later. Its kernel goes on.
    Stop,
    /// A program is killed and started again later. Its kernel ends its connections.
    Kill,
    /// A host loses its power and starts again later. No peer is told.
    Crash,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 33] = [
        Self::Delay,
        Self::Split,
        Self::Merge,
        Self::SmallBuffer,
        Self::Reset,
        Self::Finish,
        Self::HalfClose,
        Self::Refuse,
        Self::Unreachable,
        Self::Blackhole,
        Self::Partition,
        Self::PartitionOneWay,
        Self::Hold,
        Self::ShortRead,
        Self::ShortWrite,
        Self::Spurious,
        Self::Late,
        Self::Reorder,
        Self::FullArray,
        Self::Interrupt,
        Self::FalseWouldBlock,
        Self::AcceptAborted,
        Self::AcceptNoDescriptor,
        Self::AcceptNoMemory,
        Self::SocketRefused,
        Self::NoPort,
        Self::WatchRefused,
        Self::WaitNoMemory,
        Self::ClockJump,
        Self::Stall,
        Self::Stop,
        Self::Kill,
        Self::Crash,
    ];

    /// Returns the name, in the form in which [`Drawn`] prints it.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

/// One occurrence of a fault: the kind, where, and the how many-th opportunity there. A run that
/// leaves other faults out keeps this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Drawn {
    /// The kind.
    pub fault: Fault,
    /// The host, or the pair of hosts, that it strikes.
    pub place: u32,
    /// How many opportunities for this fault came before it at that place.
    pub turn: u64,
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.fault, self.place, self.turn)
    }
}

impl FromStr for Drawn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (name, rest) = text.split_once('@')?;
            let (place, turn) = rest.split_once('#')?;
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name)?;
            Some(Self { fault, place: place.parse().ok()?, turn: turn.parse().ok()? })
        };
        parse().ok_or_else(|| format!("\"{text}\" is not a fault such as reset@3#17"))
    }
}

/// How likely each kind of fault is, in parts per million of its opportunities.
///
/// An opportunity is each operation, segment, connection, accept or wait that the fault can strike.
/// The faults of hosts and of pairs of hosts have one in every 100 ms of virtual time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    rates: BTreeMap<Fault, u32>,
}

impl Faults {
    /// No faults: a network that only takes time.
    pub const NONE: Self = Self { rates: BTreeMap::new() };

    /// Returns every kind of fault, at a rate at which programs still get work done.
    pub fn all() -> Self {
        let rate = |fault| match fault {
            Fault::Delay | Fault::Split | Fault::Merge => 20_000,
            Fault::SmallBuffer => 200_000,
            Fault::Reset | Fault::Finish | Fault::HalfClose => 1_000,
            Fault::Refuse | Fault::Unreachable | Fault::Blackhole => 20_000,
            Fault::Partition | Fault::PartitionOneWay | Fault::Hold => 4_000,
            Fault::ShortRead | Fault::ShortWrite | Fault::FalseWouldBlock => 30_000,
            Fault::Spurious | Fault::Late | Fault::Reorder | Fault::FullArray => 50_000,
            Fault::Interrupt => 20_000,
            Fault::AcceptAborted | Fault::AcceptNoDescriptor | Fault::AcceptNoMemory => 40_000,
            Fault::SocketRefused | Fault::NoPort => 10_000,
            Fault::WatchRefused => 5_000,
            Fault::WaitNoMemory => 2_000,
            Fault::ClockJump | Fault::Stall | Fault::Stop => 4_000,
            Fault::Kill | Fault::Crash => 2_000,
        };
        Self { rates: Fault::ALL.into_iter().map(|fault| (fault, rate(fault))).collect() }
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

    fn of(&self, fault: Fault) -> u32 {
        self.rates.get(&fault).copied().unwrap_or(0)
    }
}

/// Draws faults. Whether a fault occurs depends on the seed, its kind, its place and its number
/// there alone, so leaving one out does not draw the others anew.
#[derive(Debug)]
pub(super) struct Dice {
    seed: u64,
    pub(super) faults: Faults,
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
            only: None,
            opportunities: BTreeMap::new(),
            drawn: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// Returns random bits for a fault if it occurs now.
    pub(super) fn draw(&mut self, fault: Fault, place: u32) -> Option<Bits> {
        let rate = self.faults.of(fault);
        if rate == 0 {
            return None;
        }
        let count = self.opportunities.entry((fault, place)).or_default();
        let turn = *count;
        *count += 1;
        let bits = mix(self.seed ^ mix(fault as u64 + 1) ^ mix(u64::from(place) << 32 ^ turn));
        if bits % 1_000_000 >= u64::from(rate) {
            return None;
        }
        let drawn = Drawn { fault, place, turn };
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
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_by_its_text() {
        for fault in Fault::ALL {
            let drawn = Drawn { fault, place: 3, turn: 17 };
            assert_eq!(drawn.to_string().parse(), Ok(drawn));
        }
        assert_eq!(
            Drawn { fault: Fault::HalfClose, place: 3, turn: 17 }.to_string(),
            "half-close@3#17"
        );
        assert!("reset@3".parse::<Drawn>().is_err());
        assert!("nothing@3#1".parse::<Drawn>().is_err());
    }

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
