//! The aims of loops: how much a figure may be beside that of another loop, for each work. The report
//! says which of them a run meets.

use std::fmt;
use std::fmt::Write as _;

use crate::kinds::{BOUND, CACHED, DISPATCH, ECHO, FORWARDED, LINES, REQUESTS};
use crate::paired::{Paired, ROUNDS_MIN};
use crate::report::Results;
use crate::work::Work;

/// What a figure may be at most or has to be at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// At most as much as this share of that of the other loop.
    AtMost(f64),
    /// At least as much as this share of that of the other loop.
    AtLeast(f64),
    /// At most as much more than that of the other loop, in the unit of the figure.
    AtMostMore(f64),
}

/// An aim of a loop.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// The loop.
    pub subject: &'static str,
    /// The loop beside which it is judged.
    pub beside: &'static str,
    /// The figure. The main figure of a work if there is none.
    pub metric: Option<&'static str>,
    /// What the figure may be.
    pub limit: Limit,
    /// Returns whether it is an aim for a work.
    pub holds_for: fn(&Work) -> bool,
}

/// Whether a run meets an aim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole interval of what the rounds say meets it.
    Met,
    /// Nothing in the interval meets it.
    Missed,
    /// A part of the interval meets it, or there are too few rounds.
    Unresolved,
}

const SIZE_LARGE: usize = 64 * 1024;

/// The minimum wait for small messages that the loops on io_uring have, in microseconds.
const MIN_WAIT_US: f64 = 50.0;

/// All aims: those of our reactor, and of `kv`, on io_uring, and those of `dns`.
pub static ALL: [Aim; 13] = [
    uring("raw", Limit::AtMost(0.94), |it| is_echo(it) && it.count > 1 && it.size < SIZE_LARGE),
    uring("raw", Limit::AtMost(0.97), |it| is_echo(it) && it.count > 1 && it.size >= SIZE_LARGE),
    uring("raw", Limit::AtMost(1.06), |it| is_echo(it) && it.count == 1),
    uring("raw", Limit::AtMost(0.90), is_bound),
    Aim { metric: Some("per_second"), ..uring("raw", Limit::AtLeast(1.10), is_bound) },
    uring("ring", Limit::AtMost(1.06), |it| is_echo(it) || is_bound(it)),
    uring("monoio", Limit::AtMost(1.0), is_of_monoio),
    uring("monoio-uring", Limit::AtMost(1.0), is_of_monoio),
    Aim {
        metric: Some("p99_us"),
        ..uring("epoll", Limit::AtMostMore(MIN_WAIT_US), |it| is_echo(it) || is_bound(it))
    },
    Aim {
        subject: "kv-uring",
        ..uring("kv", Limit::AtMost(0.9), |it| it.kind == &REQUESTS && it.depth == 1)
    },
    dns("dnsmasq", Limit::AtMost(0.5), |it| it.kind == &CACHED),
    dns("unbound", Limit::AtMost(0.8), |it| it.kind == &CACHED),
    dns("dnsmasq", Limit::AtMost(0.6), |it| it.kind == &FORWARDED),
];

const fn uring(beside: &'static str, limit: Limit, holds_for: fn(&Work) -> bool) -> Aim {
    Aim { subject: "uring", beside, metric: None, limit, holds_for }
}

const fn dns(beside: &'static str, limit: Limit, holds_for: fn(&Work) -> bool) -> Aim {
    Aim { subject: "dns", beside, metric: None, limit, holds_for }
}

fn is_echo(work: &Work) -> bool {
    work.kind == &ECHO
}

fn is_bound(work: &Work) -> bool {
    work.kind == &BOUND
}

fn is_of_monoio(work: &Work) -> bool {
    [&ECHO, &BOUND, &DISPATCH, &LINES].contains(&work.kind)
}

impl Limit {
    fn allows(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) | Self::AtMostMore(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }

    fn outcome(self, found: Paired) -> Outcome {
        match (self.allows(found.low), self.allows(found.high)) {
            _ if !found.is_enough() => Outcome::Unresolved,
            (true, true) => Outcome::Met,
            (false, false) => Outcome::Missed,
            _ => Outcome::Unresolved,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most:.2}"),
            Self::AtLeast(least) => write!(f, "at least {least:.2}"),
            Self::AtMostMore(most) => write!(f, "at most {most:.0} more"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::Unresolved => "unresolved",
        })
    }
}

impl Aim {
    /// Returns a line about a work, if the aim holds for it and both loops have done it.
    fn line(&self, results: &Results<'_>, work: &Work) -> Option<String> {
        if !(self.holds_for)(work) {
            return None;
        }
        let metrics = work.kind.metrics;
        let metric = match self.metric {
            Some(name) => metrics.iter().find(|it| it.name == name)?,
            None => metrics.first()?,
        };
        let (operation, digits) = match self.limit {
            Limit::AtMostMore(_) => ('-', 0),
            Limit::AtMost(_) | Limit::AtLeast(_) => ('/', 2),
        };
        let of = |one: f64, other: f64| if operation == '-' { one - other } else { one / other };
        let rounds = results.rounds(work, [self.subject, self.beside], metric.name);
        let found = Paired::of(rounds.iter().map(|(one, other)| of(*one, *other)).collect())?;
        let outcome = self.limit.outcome(found);
        let Paired { median, low, high, .. } = found;
        let (subject, beside, title, limit) = (self.subject, self.beside, metric.title, self.limit);
        Some(format!(
            "{work}: {title}, {subject} {operation} {beside}: {median:.digits$} \
             ({low:.digits$}..{high:.digits$}), aim {limit}: {outcome}\n"
        ))
    }
}

/// Returns the section of a report about all aims that were measured, or nothing if none was.
pub fn section(results: &Results<'_>) -> String {
    let mut lines = String::new();
    for work in results.works() {
        lines.extend(ALL.iter().filter_map(|aim| aim.line(results, &work)));
    }
    if lines.is_empty() {
        return lines;
    }
    let mut text = "\n== aims\n".to_owned();
    let _ = write!(
        text,
        "The median of the ratios or differences of the rounds, and in brackets the interval in which it \
         lies\nwith 95 % confidence. An aim is met if the whole interval meets it, and unresolved if a part \
         does\nor with fewer than {ROUNDS_MIN} rounds.\n\n{lines}"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::plan::Plan;
    use crate::run::Sample;
    use crate::subject;

    /// Returns the section for rounds of two loops.
    fn section_of(work: Work, metric: &str, loops: [(&'static str, &[f64]); 2]) -> String {
        let mut samples = Vec::new();
        for (subject, values) in loops {
            for (round, value) in values.iter().copied().enumerate() {
                samples.push(Sample { work, subject, round, metric: metric.to_owned(), value });
            }
        }
        section(&Results::new(&samples, Machine::of("", 2, "9.9")))
    }

    #[test]
    fn an_aim_is_met_if_the_whole_interval_meets_it() {
        let work = Work::new(&ECHO, 50).depth(16);
        for (rounds, expected) in [
            (&[89.0, 90.0, 90.0, 90.0, 90.0, 91.0][..], "0.90 (0.89..0.91), aim at most 0.94: met"),
            (&[95.0, 90.0, 90.0, 90.0, 90.0, 91.0], "(0.90..0.95), aim at most 0.94: unresolved"),
            (&[96.0, 97.0, 95.0, 97.0, 99.0, 97.0], "(0.95..0.99), aim at most 0.94: MISSED"),
            (&[80.0; 5], "(0.80..0.80), aim at most 0.94: unresolved"),
            // Of nine rounds, the lowest and the highest do not count.
            (
                &[9.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0, 91.0, 500.0],
                "(0.90..0.91), aim at most 0.94: met",
            ),
        ] {
            let text = section_of(work, "server_ns", [("uring", rounds), ("raw", &[100.0; 9])]);
            assert!(text.contains(expected), "no {expected} in {text}");
        }
    }

    #[test]
    fn an_aim_may_be_a_rate_or_a_difference() {
        let work = Work::new(&BOUND, 50);
        let rate =
            [("uring", &[114.0, 115.0, 115.0, 115.0, 115.0, 116.0][..]), ("raw", &[100.0; 6])];
        let text = section_of(work, "per_second", rate);
        assert!(text.contains("/ raw: 1.15 (1.14..1.16), aim at least 1.10: met"), "{text}");
        let tail =
            [("uring", &[140.0, 150.0, 150.0, 150.0, 150.0, 160.0][..]), ("epoll", &[100.0; 6])];
        let text = section_of(work, "p99_us", tail);
        assert!(text.contains("- epoll: 50 (40..60), aim at most 50 more: unresolved"), "{text}");
    }

    #[test]
    fn without_both_loops_there_is_no_section() {
        let work = Work::new(&ECHO, 50);
        let text = section_of(work, "server_ns", [("mio", &[1.0]), ("raw", &[1.0])]);
        assert_eq!(text, "");
    }

    #[test]
    fn each_aim_is_of_loops_and_figures_that_exist() {
        let names: Vec<&str> = subject::everything().map(|it| it.name).collect();
        let works = [Plan::full().works, Plan::against_redis_full().works].concat();
        for aim in &ALL {
            assert!(names.contains(&aim.subject) && names.contains(&aim.beside), "{aim:?}");
            let held: Vec<_> = works.iter().filter(|it| (aim.holds_for)(it)).collect();
            assert!(!held.is_empty(), "no work for {aim:?}");
            for work in held {
                let exists = |name| work.kind.metrics.iter().any(|it| it.name == name);
                assert!(aim.metric.is_none_or(exists), "{work} has no such figure: {aim:?}");
            }
        }
    }
}
