//! The trace of a run: what happened, where and when.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// How many of the last lines a trace keeps, unless it keeps all.
const LINES_KEPT: usize = 400;

/// How much of a run is kept in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Tracing {
    /// Nothing, which is the fastest.
    #[default]
    Off,
    /// The last 400 lines.
    Recent,
    /// Every line.
    All,
    /// Every line, each also on standard error as it happens.
    Live,
}

/// The lines of a run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) tracing: Tracing,
    lines: VecDeque<String>,
}

impl Trace {
    /// Adds a line. The text is only made if it is kept.
    pub(super) fn note(&mut self, now: u64, place: &dyn fmt::Display, what: fmt::Arguments<'_>) {
        if self.tracing == Tracing::Off {
            return;
        }
        let at = Duration::from_nanos(now);
        let line = format!("{:>4}.{:06} {place:<12} {what}", at.as_secs(), at.subsec_micros());
        if self.tracing == Tracing::Live {
            eprintln!("{line}");
        }
        if self.tracing == Tracing::Recent && self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
