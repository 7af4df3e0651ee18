//! The kinds of faults, and which of them were drawn.

use std::fmt;
use std::str::FromStr;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    // The network.
    /// A segment takes far longer than usual, up to a second, and so does what follows it.
    Delay,
    /// A segment takes up to twenty times as long as the slowest usual one.
    Tail,
    /// What one host sends another takes up to 100 ms longer, until calm.
    SlowPair,
    /// Bytes that were written together arrive in two segments, at two times.
    Split,
    /// A segment waits for the next and arrives together with it.
    Merge,
    /// A connection gets socket buffers of a few bytes to a few hundred on both sides.
    SmallBuffer,
    /// A connection is reset: both sides see `ECONNRESET`, after any byte.
    Reset,
    /// A connection is reset on one side alone. The other side learns of it when it sends.
    ResetOneSide,
    /// A connection is ended in order after any byte, in both directions, as by a proxy that stops.
    Finish,
    /// One direction of a connection is ended in order after any byte; the other goes on.
    HalfClose,
    /// One direction of a connection swallows everything after any byte, until calm, as by a
    /// firewall that has forgotten it.
    Swallow,
    /// Both directions of a connection swallow everything after any byte, until calm.
    SwallowBoth,
    /// A connection that is being made is refused, although a program listens.
    Refuse,
    /// A connection that is being made finds no route (`EHOSTUNREACH`, `ENETUNREACH`).
    Unreachable,
    /// A host does not answer the attempts of another to connect for up to three minutes, as by a
    /// firewall that drops them.
    Blackhole,
    /// A port does not answer attempts to connect until calm.
    BlackholePort,
    /// Two hosts do not reach each other for a while.
    Partition,
    /// One host does not reach another for a while, but is reached by it.
    PartitionOneWay,
    /// A host is cut from all others for a while: it does not reach them, they do not reach it, or
    /// both.
    Isolate,
    /// The hosts are in two groups for a while, which do not reach each other.
    Divide,
    /// What one host sends another is held for a while and then arrives in one piece.
    Hold,
    /// What some of the hosts send and are sent is held, one host after another, and released in
    /// another order.
    Swizzle,
    /// A bit of what was sent changes on the way. The checksum of TCP makes this rare, so
    /// [`Faults::all`](super::Faults::all) leaves it out. It tests decoders, and protocols with checksums of their own.
    Corrupt,
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
    /// A wait without events ends up to half a second after its timeout.
    LateTimer,
    /// An operation claims to block although it would not, and no event follows.
    FalseWouldBlock,
    /// The kernel has no memory for a read or a write (`ENOBUFS`, `ENOMEM`). The connection stays.
    NoMemory,
    /// The kernel gives a connection up (`EHOSTUNREACH`, `ENETUNREACH`, `ENETDOWN`, `ETIMEDOUT`).
    /// The other side learns of it when it sends.
    NetworkError,
    /// A connection was ended by its peer before it could be accepted (`ECONNABORTED`).
    AcceptAborted,
    /// A connection has failed before it could be accepted, with another error that `accept(2)`
    /// lists (`EPROTO`, `EPERM`, `EHOSTUNREACH` and others).
    AcceptError,
    /// A connection is reset while it waits to be accepted: accepting it works, reading does not.
    AcceptDead,
    /// Of the connections that wait to be accepted, another than the first is accepted.
    AcceptReorder,
    /// No descriptor is left for a connection that waits to be accepted (`EMFILE`, `ENFILE`).
    AcceptNoDescriptor,
    /// The kernel has no memory for a connection that waits to be accepted (`ENOBUFS`, `ENOMEM`).
    AcceptNoMemory,
    /// No descriptor, or no memory, is left for a socket of this side (`EMFILE`, `ENOBUFS`).
    SocketRefused,
    /// No local port is left to connect from (`EADDRNOTAVAIL`).
    NoPort,
    /// An attempt to connect fails at once (`ENETUNREACH`, `EACCES`, `EPERM`, `ENOBUFS`).
    ConnectFails,
    /// The kernel has no memory to watch a descriptor (`ENOMEM`, `ENOSPC`).
    WatchRefused,
    /// The kernel has no memory for a wait (`ENOMEM`).
    WaitNoMemory,
    // The host.
    /// The clocks of a host jump forward, by up to ten seconds.
    ClockJump,
    /// The time of day of a host jumps forward or back, by up to an hour. Its other clock does not.
    WallClockJump,
    /// A program starts on a host whose time of day is off by up to a day, and whose clocks run up to
    /// a thousandth too fast or too slow.
    ClockDrift,
    /// A host does nothing for up to three seconds, in the middle of its work.
    Stall,
    /// A program is stopped (`SIGSTOP`) and continued later. Its kernel goes on.
    Stop,
    /// A program is killed and started again later. Its kernel ends its connections.
    Kill,
    /// A host loses its power and starts again later. No peer is told.
    Crash,
    /// Several hosts are killed or lose their power at once, and start again at different times.
    KillMany,
    /// A program that was started again is killed again within 20 ms.
    KillStarting,
    /// [`chance`](super::chance) returns true.
    Chance,
    // Datagrams between hosts.
    /// A datagram does not arrive.
    DatagramLost,
    /// A datagram arrives twice.
    DatagramTwice,
    /// A datagram arrives up to 200 ms late, and those that were sent after it overtake it.
    DatagramLate,
    // The names.
    /// A name takes up to a minute to be resolved, as when its name server does not answer.
    NameSlow,
    /// A name is not resolved for now, as when its name server is down (`EAI_AGAIN`).
    NameFails,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 60] = [
        Self::Delay,
        Self::Tail,
        Self::SlowPair,
        Self::Split,
        Self::Merge,
        Self::SmallBuffer,
        Self::Reset,
        Self::ResetOneSide,
        Self::Finish,
        Self::HalfClose,
        Self::Swallow,
        Self::SwallowBoth,
        Self::Refuse,
        Self::Unreachable,
        Self::Blackhole,
        Self::BlackholePort,
        Self::Partition,
        Self::PartitionOneWay,
        Self::Isolate,
        Self::Divide,
        Self::Hold,
        Self::Swizzle,
        Self::Corrupt,
        Self::ShortRead,
        Self::ShortWrite,
        Self::Spurious,
        Self::Late,
        Self::Reorder,
        Self::FullArray,
        Self::Interrupt,
        Self::LateTimer,
        Self::FalseWouldBlock,
        Self::NoMemory,
        Self::NetworkError,
        Self::AcceptAborted,
        Self::AcceptError,
        Self::AcceptDead,
        Self::AcceptReorder,
        Self::AcceptNoDescriptor,
        Self::AcceptNoMemory,
        Self::SocketRefused,
        Self::NoPort,
        Self::ConnectFails,
        Self::WatchRefused,
        Self::WaitNoMemory,
        Self::ClockJump,
        Self::WallClockJump,
        Self::ClockDrift,
        Self::Stall,
        Self::Stop,
        Self::Kill,
        Self::Crash,
        Self::KillMany,
        Self::KillStarting,
        Self::Chance,
        Self::DatagramLost,
        Self::DatagramTwice,
        Self::DatagramLate,
        Self::NameSlow,
        Self::NameFails,
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

/// One occurrence of a fault: the kind, where, and the number of the opportunity there. A run that
/// leaves other faults out keeps this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Drawn {
    /// The kind.
    pub fault: Fault,
    /// The host, or the pair of hosts, that it strikes.
    pub place: u32,
    /// How many opportunities for this fault came before it at that place.
    pub number: u64,
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.fault, self.place, self.number)
    }
}

impl FromStr for Drawn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (name, rest) = text.split_once('@')?;
            let (place, number) = rest.split_once('#')?;
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name)?;
            Some(Self { fault, place: place.parse().ok()?, number: number.parse().ok()? })
        };
        parse().ok_or_else(|| format!("\"{text}\" is not a fault such as reset@3#17"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_by_its_text() {
        for fault in Fault::ALL {
            let drawn = Drawn { fault, place: 3, number: 17 };
            assert_eq!(drawn.to_string().parse(), Ok(drawn));
        }
        assert_eq!(
            Drawn { fault: Fault::HalfClose, place: 3, number: 17 }.to_string(),
            "half-close@3#17"
        );
        assert!("reset@3".parse::<Drawn>().is_err());
        assert!("nothing@3#1".parse::<Drawn>().is_err());
    }
}
