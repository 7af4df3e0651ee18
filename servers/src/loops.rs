//! The arguments for several loops on threads of their own.

use std::io;
use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};
use reactor::{Accept, GroupOptions, Pinning};

/// The most threads: each listener of a process to signals has one of 256 places.
const THREADS_MAX: usize = 128;

/// The arguments for several loops on threads of their own.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Threads")]
pub struct LoopArgs {
    /// Threads, each with a loop and a state of its own: a number up to 128, or auto for one for each
    /// processor that the process may use
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = parse_threads)]
    pub threads: NonZeroUsize,

    /// How the loops of several threads get connections
    #[arg(long, value_name = "HOW", value_enum, default_value = "handover")]
    pub accept: HowToAccept,

    /// Keep each of several threads on a processor of its own
    #[arg(long)]
    pub pin: bool,
}

impl LoopArgs {
    /// Returns whether connections are handed over, or how else the loops get them.
    pub(crate) fn accept(&self) -> Accept {
        match self.accept {
            HowToAccept::Handover => Accept::default(),
            HowToAccept::Reuseport => Accept::ReusePort,
            HowToAccept::Shared => Accept::Shared,
        }
    }

    pub(crate) fn pinning(&self) -> Pinning {
        if self.pin { Pinning::Cores } else { Pinning::None }
    }

    /// Returns the share of the loop with the number `index` of what the loops may have together.
    pub(crate) fn share(&self, total: usize, index: usize) -> usize {
        total / self.threads + usize::from(index < total % self.threads)
    }

    /// Checks that each loop may have at least one of `connections`.
    pub(crate) fn check(&self, connections: usize) -> io::Result<()> {
        if connections >= self.threads.get() {
            return Ok(());
        }
        let text = format!(
            "--max-connections {connections} is divided among --threads {}, and each needs one at least",
            self.threads
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

impl Default for LoopArgs {
    /// Returns the arguments of a server with one loop.
    fn default() -> Self {
        Self { threads: NonZeroUsize::MIN, accept: HowToAccept::Handover, pin: false }
    }
}

/// How the loops of several threads get connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HowToAccept {
    /// A thread accepts all and hands each over to the loop that has the fewest
    Handover,
    /// Each loop has a listener of its own, and the kernel chooses one (SO_REUSEPORT); connections to
    /// Unix sockets are handed over
    Reuseport,
    /// All loops accept from the same socket, and the kernel wakes one of them (EPOLLEXCLUSIVE)
    Shared,
}

fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    if text == "auto" {
        return Ok(auto());
    }
    let count = text.parse().ok().filter(|count| *count <= most());
    count.ok_or_else(|| format!("expected a whole number from 1 to {THREADS_MAX}, or auto"))
}

/// Returns one thread for each processor that the process may use.
pub(crate) fn auto() -> NonZeroUsize {
    GroupOptions::auto().min(most())
}

fn most() -> NonZeroUsize {
    NonZeroUsize::new(THREADS_MAX).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_a_number_or_auto() {
        assert_eq!(parse_threads("1"), Ok(NonZeroUsize::MIN));
        assert_eq!(parse_threads("128"), Ok(most()));
        assert!(parse_threads("auto").is_ok_and(|it| it <= most()));
        for wrong in ["0", "129", "-1", "", "many", "1.5"] {
            assert!(parse_threads(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_add_up() {
        let threads = NonZeroUsize::new(3).expect("it is not zero");
        let args = LoopArgs { threads, ..LoopArgs::default() };
        let shares = [0, 1, 2].map(|index| args.share(11, index));
        assert_eq!(shares, [4, 4, 3]);
        assert!(args.check(3).is_ok() && args.check(2).is_err());
    }
}
