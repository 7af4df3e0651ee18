//! Works that subjects are made to do, and their figures. What differs from one kind of work to
//! another is in one table, [`crate::kinds`].

use std::fmt;
use std::io;

use crate::benchmark::Test;
use crate::run::Run;
use crate::subject::Subject;

/// Figures of one measurement, by name.
pub type Values = Vec<(String, f64)>;

/// Measures a subject once at a work.
pub type Measure = fn(&Run, &Work, &Subject) -> io::Result<Values>;

/// One kind of work: all that differs from one kind to another.
#[derive(Debug)]
pub struct Kind {
    /// Its name, as `--only` takes it and as its tables are headed. It identifies the kind.
    pub name: &'static str,
    /// What a subject is told to do, as [`Subject`] lists it.
    pub part: &'static str,
    /// The subject that ratios are to: the limit or, where there is none, our own loop.
    pub reference: &'static str,
    /// Its figures; the first is judged first.
    pub metrics: &'static [Metric],
    /// What a reader has to know of it.
    pub note: &'static str,
    /// The title of a work's table.
    pub title: fn(&Work) -> String,
    /// Descriptors that one process needs for a work, besides [`OTHER_DESCRIPTORS`].
    pub descriptors: fn(&Work) -> usize,
    /// Measures a subject once.
    pub measure: Measure,
    /// What the client is told besides the numbers of a work.
    pub client: &'static [&'static str],
    /// How many times as long as planned a load is measured.
    pub stretch: u32,
    /// Whether its figures are counts. Counts differ less from one round to the next than times do,
    /// so half of the planned rounds are enough.
    pub is_counted: bool,
}

/// Standard streams, the poller, the listener and the like.
pub const OTHER_DESCRIPTORS: usize = 32;

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Kind {}

/// One thing that subjects are made to do: a kind of work, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Which kind.
    pub kind: &'static Kind,
    /// How many of what the kind is about: pairs of sockets, connections, timers, requests or keys.
    pub count: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Messages or requests under way on each connection.
    pub depth: usize,
    /// Messages a second on all connections together. Where there is none, each connection sends
    /// the next message when one is answered.
    pub rate: Option<usize>,
    /// The test of `redis-benchmark`, where that is the client.
    pub test: Option<Test>,
}

impl Work {
    /// A kind of work with so many of what it is about: 64 bytes a message, one message under way.
    pub const fn new(kind: &'static Kind, count: usize) -> Self {
        Self { kind, count, size: 64, depth: 1, rate: None, test: None }
    }

    /// The same with messages of so many bytes.
    #[must_use]
    pub const fn size(self, size: usize) -> Self {
        Self { size, ..self }
    }

    /// The same with so many messages under way on each connection.
    #[must_use]
    pub const fn depth(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    /// The same with so many messages a second, whatever the server does.
    #[must_use]
    pub const fn rate(self, rate: usize) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// The same with a test of `redis-benchmark`.
    #[must_use]
    pub const fn test(self, test: Test) -> Self {
        Self { test: Some(test), ..self }
    }

    /// Descriptors that one process needs for it.
    pub fn descriptors(&self) -> usize {
        OTHER_DESCRIPTORS + (self.kind.descriptors)(self)
    }

    /// How often it is done when works are done `planned` times.
    pub const fn rounds(&self, planned: usize) -> usize {
        if self.kind.is_counted { planned.div_ceil(2) } else { planned }
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
    /// What subjects and the client call it.
    pub name: &'static str,
    /// What it is called in tables.
    pub title: &'static str,
    /// Digits after the point.
    pub digits: usize,
    /// What of it stands in tables.
    pub shown: Shown,
}

/// What of a figure stands in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The median.
    Median,
    /// The median, and its ratio to that of the reference.
    Ratio,
    /// The median, the spread and the ratio: what is judged by.
    Judged,
    /// The median and the spread: what is looked at first where there is nothing to judge by.
    Spread,
    /// Nothing.
    Hidden,
}

impl Shown {
    /// Whether the least and the greatest stand there.
    pub const fn has_spread(self) -> bool {
        matches!(self, Self::Judged | Self::Spread)
    }

    /// Whether the ratio to the reference stands there.
    pub const fn has_ratio(self) -> bool {
        matches!(self, Self::Judged | Self::Ratio)
    }
}
