//! The works of subjects, and their figures. The differences between the kinds of work are in one
//! table, [`crate::kinds`].

use std::fmt;
use std::io;

use crate::benchmark::Test;
use crate::run::Run;
use crate::subject::Subject;

/// Figures of one measurement, by name.
pub type Values = Vec<(String, f64)>;

/// Measures a subject once at a work.
pub type Measure = fn(&Run, &Work, &Subject) -> io::Result<Values>;

/// A kind of work: everything that differs between the kinds.
#[derive(Debug)]
pub struct Kind {
    /// Its name in `--only` and in the headings of tables. It identifies the kind.
    pub name: &'static str,
    /// The part of a subject that does it, as in [`Subject`].
    pub part: &'static str,
    /// The subject that ratios refer to: the limit or, if there is none, our own loop.
    pub reference: &'static str,
    /// Its figures. The first is the most important.
    pub metrics: &'static [Metric],
    /// A note for the reader.
    pub note: &'static str,
    /// Returns the title of the table of a work.
    pub title: fn(&Work) -> String,
    /// Returns the number of descriptors that one process needs for a work, besides
    /// [`OTHER_DESCRIPTORS`].
    pub descriptors: fn(&Work) -> usize,
    /// Measures a subject once.
    pub measure: Measure,
    /// Further arguments of the client.
    pub client: &'static [&'static str],
    /// The factor by which a measurement is longer than planned.
    pub stretch: u32,
}

/// Descriptors for standard streams, the poller, the listener and so on.
pub const OTHER_DESCRIPTORS: usize = 32;

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Kind {}

/// A work: a kind of work, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// The kind.
    pub kind: &'static Kind,
    /// The number of pairs of sockets, connections, timers, requests or keys.
    pub count: usize,
    /// The size of a message in bytes.
    pub size: usize,
    /// The number of messages or requests in flight on each connection.
    pub depth: usize,
    /// Messages a second on all connections together. If there is none, each connection sends the
    /// next message when one is answered.
    pub rate: Option<usize>,
    /// The test of `redis-benchmark`, if that is the client.
    pub test: Option<Test>,
}

impl Work {
    /// Creates a work with this count, with messages of 64 bytes and one message in flight.
    pub const fn new(kind: &'static Kind, count: usize) -> Self {
        Self { kind, count, size: 64, depth: 1, rate: None, test: None }
    }

    /// Sets the size of messages in bytes.
    #[must_use]
    pub const fn size(self, size: usize) -> Self {
        Self { size, ..self }
    }

    /// Sets the number of messages in flight on each connection.
    #[must_use]
    pub const fn depth(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    /// Sets a fixed rate of messages a second.
    #[must_use]
    pub const fn rate(self, rate: usize) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// Sets the test of `redis-benchmark`.
    #[must_use]
    pub const fn test(self, test: Test) -> Self {
        Self { test: Some(test), ..self }
    }

    /// Returns the number of descriptors that one process needs for it.
    pub fn descriptors(&self) -> usize {
        OTHER_DESCRIPTORS + (self.kind.descriptors)(self)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.kind.title)(self))
    }
}

/// One figure of a work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name that subjects and the client use.
    pub name: &'static str,
    /// The name in tables.
    pub title: &'static str,
    /// The number of digits after the point.
    pub digits: usize,
    /// The parts of it that tables show.
    pub shown: Shown,
}

/// The parts of a figure that tables show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The median.
    Median,
    /// The median, and its ratio to that of the reference.
    Ratio,
    /// The median, the spread and the ratio. The verdict is based on these figures.
    Judged,
    /// The median and the spread. Used for the main figure if there is no verdict.
    Spread,
    /// Nothing.
    Hidden,
}

impl Shown {
    /// Returns whether tables show the lowest and the highest round.
    pub const fn has_spread(self) -> bool {
        matches!(self, Self::Judged | Self::Spread)
    }

    /// Returns whether tables show the ratio to the reference.
    pub const fn has_ratio(self) -> bool {
        matches!(self, Self::Judged | Self::Ratio)
    }
}
