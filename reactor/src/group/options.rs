//! How the loops of a group are run, and how they get their connections.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use crate::BackendKind;

/// The options of a [`Group`](crate::Group).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOptions {
    /// How many loops there are, each on a thread of its own. Default: [`GroupOptions::auto`].
    pub threads: NonZeroUsize,
    /// Which processors the threads of the loops run on. Default: [`Pinning::None`].
    pub pinning: Pinning,
    /// The name of the threads, which a number follows, for tools such as `top -H`. The kernel keeps 15
    /// bytes (`pthread_setname_np(3)`). Default `loop`.
    pub name: &'static str,
    /// The most connections that a loop may have that were handed over to it and that it has not taken
    /// yet ([`Accept::HandOver`]). A loop that is so far behind gets no others, until it has taken one.
    /// Default 256.
    pub untaken_max: usize,
    /// The backend of the loop that hands connections over. Default: [`BackendKind::default`].
    pub acceptor: BackendKind,
    /// What happens when a loop fails: it panics, or its wait fails for good. Default:
    /// [`WhenOneFails::StopAll`].
    pub when_one_fails: WhenOneFails,
    /// How long connections may go on when all loops stop because one has failed. Default 5 s.
    pub patience: Duration,
}

impl GroupOptions {
    /// Returns one loop for each processor that this process may use, as far as its affinity and the
    /// quota of its control group allow ([`thread::available_parallelism`]); one if that is unknown.
    pub fn auto() -> NonZeroUsize {
        thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
    }

    /// Checks that these options are valid.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.untaken_max == 0 {
            let text =
                "option untaken_max is 0, which would allow nothing; give it a positive value";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            threads: Self::auto(),
            pinning: Pinning::None,
            name: "loop",
            untaken_max: 256,
            acceptor: BackendKind::default(),
            when_one_fails: WhenOneFails::StopAll,
            patience: Duration::from_secs(5),
        }
    }
}

/// Which processors the threads of a [`Group`](crate::Group) run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// The scheduler decides, and moves them.
    #[default]
    None,
    /// Each loop stays on one of the processors that the process may run on, in turn
    /// (`sched_setaffinity(2)`). It helps where nothing else runs on the machine. Otherwise a loop
    /// waits while another program has its processor, although others are idle. The thread that hands
    /// connections over is not pinned.
    Cores,
}

/// What a [`Group`](crate::Group) does when one of its loops fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenOneFails {
    /// All stop gracefully.
    #[default]
    StopAll,
    /// The others go on. No connection is handed over to the one that has failed.
    GoOn,
}

/// How the loops of a [`Group`](crate::Group) get the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// A loop on a thread of its own accepts all connections and hands them over. It knows how many
    /// each loop has. A loop that is blocked, full or behind delays only what it has already got.
    /// The price is a wake of the other loop for each batch of connections.
    HandOver(Balance),
    /// Each loop has a listener of its own on the same address (`SO_REUSEPORT`, `socket(7)`). The
    /// kernel chooses one by a hash of the addresses, so the numbers differ by chance. It does not know
    /// that a loop is blocked or full: what it has chosen that loop for waits. Not for Unix sockets.
    ReusePort,
    /// All loops accept from one socket, and the kernel wakes one that waits
    /// ([`Registration::exclusive`](crate::Registration::exclusive)). A blocked loop delays nothing,
    /// except the connection that it was woken for. But a loop that is seldom busy gets most of the
    /// connections, and all that it does with them stays with it. With the poll and select backends,
    /// each connection wakes all loops.
    Shared,
}

impl Default for Accept {
    fn default() -> Self {
        Self::HandOver(Balance::LeastConnections)
    }
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HandOver(Balance::RoundRobin) => "handed over in turn",
            Self::HandOver(Balance::LeastConnections) => "handed over to the loop with the fewest",
            Self::ReusePort => "spread over a listener for each loop",
            Self::Shared => "taken from one listener by all loops",
        })
    }
}

/// Which loop gets the next connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// They take turns.
    RoundRobin,
    /// That with the fewest connections, including those that this side has made and those that it has
    /// not taken yet. Equal ones take turns.
    #[default]
    LeastConnections,
}
