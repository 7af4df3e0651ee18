//! Formats results as tables of medians with spread and ratios, and as CSV.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::machine::Machine;
use crate::paired::{self, Paired};
use crate::run::Sample;
use crate::work::{Metric, Shown, Work};

/// The use of its core from which on the client counts as the bottleneck.
pub const BUSY: f64 = 0.9;

/// The summary of the rounds of one figure of one subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The median of the rounds.
    pub median: f64,
    /// The lowest round.
    pub min: f64,
    /// The highest round.
    pub max: f64,
    /// The number of rounds.
    pub rounds: usize,
}

impl Summary {
    /// Returns the summary of figures, or `None` if there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { median: paired::median(&values)?, min, max, rounds: values.len() })
    }
}

/// Whether the rounds support a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The interval of the differences within the rounds is above 0 or below it.
    Resolved,
    /// It contains 0, or there are fewer than [`ROUNDS_MIN`](paired::ROUNDS_MIN) rounds.
    Unresolved,
}

impl Verdict {
    /// Returns the verdict on the figures of two subjects, round by round, at the precision of the
    /// tables. If all rounds of both are equal, there is no difference, which is a result too.
    /// Returns `None` without any round.
    pub fn of(rounds: &[(f64, f64)], digits: usize) -> Option<Self> {
        let unit = 10_f64.powi(i32::try_from(digits).unwrap_or(i32::MAX));
        let printed = |value: f64| (value * unit).round();
        let differences =
            rounds.iter().map(|(one, other)| printed(*one) - printed(*other)).collect();
        let found = Paired::of(differences)?;
        let first = printed(rounds[0].0);
        let is_same = rounds.iter().all(|it| printed(it.0) == first && printed(it.1) == first);
        let is_apart = found.is_enough() && (found.low > 0.0 || found.high < 0.0);
        Some(if is_same || is_apart { Self::Resolved } else { Self::Unresolved })
    }

    /// Returns its name in tables and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Unresolved => "unresolved",
        }
    }
}

/// All samples, for look-ups, and the machine that they come from.
#[derive(Debug)]
pub struct Results<'a> {
    samples: &'a [Sample],
    machine: Machine,
}

impl<'a> Results<'a> {
    /// Creates the results from samples of a machine.
    pub fn new(samples: &'a [Sample], machine: Machine) -> Self {
        Self { samples, machine }
    }

    /// Returns the works that were done, in order.
    pub fn works(&self) -> Vec<Work> {
        let mut works = Vec::new();
        for sample in self.samples {
            if !works.contains(&sample.work) {
                works.push(sample.work);
            }
        }
        works
    }

    /// Returns the subjects that did a work, in order of their first sample.
    pub fn subjects(&self, work: &Work) -> Vec<&'static str> {
        let mut subjects = Vec::new();
        for sample in self.samples.iter().filter(|it| it.work == *work) {
            if !subjects.contains(&sample.subject) {
                subjects.push(sample.subject);
            }
        }
        subjects
    }

    /// Returns the summary of a subject's rounds.
    pub fn summary(&self, work: &Work, subject: &str, metric: &str) -> Option<Summary> {
        let of_it = |it: &&Sample| it.work == *work && it.subject == subject && it.metric == metric;
        Summary::of(self.samples.iter().filter(of_it).map(|it| it.value).collect())
    }

    /// Returns the figures of two subjects in the rounds that both have done.
    pub fn rounds(&self, work: &Work, subjects: [&str; 2], metric: &str) -> Vec<(f64, f64)> {
        let of = |subject| {
            let is_of = move |it: &&Sample| {
                it.work == *work && it.subject == subject && it.metric == metric
            };
            self.samples.iter().filter(is_of).map(|it| (it.round, it.value))
        };
        let other: BTreeMap<usize, f64> = of(subjects[1]).collect();
        of(subjects[0]).filter_map(|(round, value)| Some((value, *other.get(&round)?))).collect()
    }

    /// Returns the ratio of a subject to the reference of the work in each round.
    pub fn ratio(&self, work: &Work, subject: &str, metric: &str) -> Option<Paired> {
        let rounds = self.rounds(work, [subject, work.kind.reference], metric);
        let found = Paired::of(rounds.iter().map(|(one, other)| one / other).collect())?;
        (found.low.is_finite() && found.high.is_finite()).then_some(found)
    }

    /// Returns whether the rounds of a subject and of the reference are apart.
    pub fn verdict(&self, work: &Work, subject: &str, metric: &Metric) -> Option<Verdict> {
        if subject == work.kind.reference {
            return Some(Verdict::Resolved);
        }
        let rounds = self.rounds(work, [subject, work.kind.reference], metric.name);
        Verdict::of(&rounds, metric.digits)
    }

    /// Returns whether the client was the bottleneck while it loaded a subject.
    pub fn client_was_bottleneck(&self, work: &Work, subject: &str) -> bool {
        let median = |metric| self.summary(work, subject, metric).map_or(0.0, |it| it.median);
        let client = median("client_busy");
        client >= BUSY && client >= median("server_busy")
    }

    /// Returns all tables, with a note before the first of each kind.
    pub fn tables(&self) -> String {
        let (mut text, mut kind) = (String::new(), "");
        for work in self.works() {
            if kind != work.kind.name {
                kind = work.kind.name;
                let _ = write!(text, "\n== {kind}\n{}\n", wrap(work.kind.note));
            }
            let _ = write!(text, "\n{}", self.table(&work));
        }
        text
    }

    /// Returns the table of one work.
    pub fn table(&self, work: &Work) -> String {
        let shown: Vec<&Metric> =
            work.kind.metrics.iter().filter(|it| it.shown != Shown::Hidden).collect();
        let mut rows = vec![heads(&shown, work.kind.reference)];
        let mut is_limited = false;
        for subject in self.subjects(work) {
            let mut row = vec![subject.to_owned()];
            for metric in &shown {
                self.cells(work, subject, metric, &mut row);
            }
            if self.client_was_bottleneck(work, subject) {
                is_limited = true;
                row[0].push('*');
            }
            rows.push(row);
        }
        let rounds = self.samples.iter().filter(|it| it.work == *work).map(|it| it.round).max();
        let rounds = rounds.map_or(0, |it| it + 1);
        let plural = if rounds == 1 { "" } else { "s" };
        let machine = &self.machine;
        let mut text = format!("{work} ({rounds} round{plural})\n{machine}\n\n{}", align(&rows));
        if is_limited {
            let percent = BUSY * 100.0;
            let _ = writeln!(
                text,
                "\n* The client was busy for over {percent:.0} % of the time and no less than the \
                 server:\n  it was the bottleneck, the server may have more throughput to give."
            );
        }
        text
    }

    fn cells(&self, work: &Work, subject: &str, metric: &Metric, row: &mut Vec<String>) {
        let digits = metric.digits;
        let summary = self.summary(work, subject, metric.name);
        let number = |value: f64| format!("{value:.digits$}");
        row.push(summary.map_or("-".to_owned(), |it| number(it.median)));
        if metric.shown.has_spread() {
            let spread = |it: Summary| format!("{}..{}", number(it.min), number(it.max));
            row.push(summary.map_or("-".to_owned(), spread));
        }
        if metric.shown.has_ratio() {
            let ratio = self.ratio(work, subject, metric.name);
            row.push(match self.verdict(work, subject, metric).zip(ratio) {
                None => "-".to_owned(),
                Some((Verdict::Resolved, ratio)) => format!("{:.2}", ratio.median),
                Some((Verdict::Unresolved, _)) => Verdict::Unresolved.name().to_owned(),
            });
        }
    }

    /// Returns all samples as CSV, one per line.
    pub fn samples_csv(&self) -> String {
        let mut text = "kind,work,subject,round,metric,value\n".to_owned();
        for it in self.samples {
            let (kind, work) = (it.work.kind.name, &it.work);
            let (subject, round, metric, value) = (it.subject, it.round, &it.metric, it.value);
            let _ = writeln!(text, "{kind},\"{work}\",{subject},{round},{metric},{value}");
        }
        text
    }

    /// Returns every figure of every subject as CSV, one per line.
    pub fn summary_csv(&self) -> String {
        let mut text =
            "kind,work,subject,metric,median,min,max,rounds,reference,ratio,ratio_low,ratio_high,\
             client_bottleneck,verdict,machine\n"
                .to_owned();
        for work in self.works() {
            for subject in self.subjects(&work) {
                let limited = self.client_was_bottleneck(&work, subject);
                for metric in work.kind.metrics {
                    let Some(it) = self.summary(&work, subject, metric.name) else { continue };
                    let ratio = self.ratio(&work, subject, metric.name);
                    // Without a ratio there is no verdict.
                    let verdict = ratio.and_then(|_| self.verdict(&work, subject, metric));
                    let verdict = verdict.map_or("", Verdict::name);
                    let ratio =
                        ratio.map_or(",,".to_owned(), |Paired { median, low, high, .. }| {
                            format!("{median:.4},{low:.4},{high:.4}")
                        });
                    let machine = &self.machine;
                    let (kind, name, reference) =
                        (work.kind.name, metric.name, work.kind.reference);
                    let Summary { median, min, max, rounds } = it;
                    let _ = writeln!(
                        text,
                        "{kind},\"{work}\",{subject},{name},{median},{min},{max},{rounds},\
                         {reference},{ratio},{limited},{verdict},\"{machine}\""
                    );
                }
            }
        }
        text
    }
}

fn heads(shown: &[&Metric], reference: &str) -> Vec<String> {
    let mut heads = vec![String::new()];
    for metric in shown {
        heads.push(metric.title.to_owned());
        if metric.shown.has_spread() {
            heads.push("min..max".to_owned());
        }
        if metric.shown.has_ratio() {
            heads.push(format!("/ {reference}"));
        }
    }
    heads
}

/// Wraps text at a hundred characters.
fn wrap(text: &str) -> String {
    let (mut wrapped, mut width) = (String::new(), 0);
    for word in text.split_whitespace() {
        let is_first = width == 0;
        width += word.len() + usize::from(!is_first);
        if width > 100 {
            wrapped.push('\n');
            width = word.len();
        } else if !is_first {
            wrapped.push(' ');
        }
        wrapped.push_str(word);
    }
    wrapped
}

/// Aligns columns: the first to the left, the others to the right.
fn align(rows: &[Vec<String>]) -> String {
    let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
    for (place, cell) in rows.iter().flat_map(|row| row.iter().enumerate()) {
        let width = widths.entry(place).or_default();
        *width = (*width).max(cell.len());
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (place, cell) in row.iter().enumerate() {
            let width = widths[&place];
            let _ = match place {
                0 => write!(line, "{cell:width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{CHURN, IDLE};

    const CHURNED: Work = Work::new(&CHURN, 128);

    fn sample(subject: &'static str, round: usize, metric: &str, value: f64) -> Sample {
        Sample { work: CHURNED, subject, round, metric: metric.to_owned(), value }
    }

    /// Returns results of an invented machine.
    fn results(samples: &[Sample]) -> Results<'_> {
        let cpuinfo = "model name\t: Made Up 1\nflags\t: fpu hypervisor\n";
        Results::new(samples, Machine::of(cpuinfo, 2, "9.9"))
    }

    /// Returns samples of a figure of two subjects: the reference and another.
    fn rounds(raw: &[f64], mio: &[f64]) -> Vec<Sample> {
        let of = |subject, values: &[f64]| -> Vec<Sample> {
            let one = |(round, value): (usize, &f64)| sample(subject, round, "server_ns", *value);
            values.iter().enumerate().map(one).collect()
        };
        [of("raw", raw), of("mio", mio)].concat()
    }

    /// Returns the last cell of the row of a subject.
    fn last_cell(table: &str, subject: &str) -> String {
        let row = table.lines().find(|line| line.starts_with(subject));
        let row = row.unwrap_or_else(|| panic!("no {subject} in {table}"));
        // The figure, its spread and its ratio come first.
        row.split_whitespace().nth(3).expect("there is a ratio").to_owned()
    }

    #[test]
    fn rounds_that_do_not_agree_leave_a_difference_unresolved() {
        let steady = [100.0; 6];
        for (raw, mio, expected) in [
            (&steady[..], &[110.0, 120.0, 112.0, 130.0, 112.0, 111.0][..], "1.12"),
            // Both vary by half, and in each round by the same.
            (
                &[100.0, 150.0, 120.0, 130.0, 140.0, 110.0],
                &[90.0, 135.0, 108.0, 117.0, 126.0, 99.0],
                "0.90",
            ),
            // One round contradicts five, or says nothing.
            (&steady, &[110.0, 120.0, 112.0, 130.0, 112.0, 99.0], "unresolved"),
            (&steady, &[110.0, 120.0, 112.0, 130.0, 112.0, 100.0], "unresolved"),
            // A difference below the printed precision counts as none.
            (&[100.0, 100.2], &[100.1, 99.9], "1.00"),
            (&steady, &[100.0, 100.0, 100.0, 100.0, 100.0, 101.0], "unresolved"),
            // Five rounds are not enough, unless there is nothing to tell apart.
            (&[100.0; 5], &[150.0; 5], "unresolved"),
            (&[100.0], &[100.0], "1.00"),
            // What only one of the two has done does not count.
            (&[100.0; 6], &[150.0; 5], "unresolved"),
        ] {
            let samples = rounds(raw, mio);
            let table = results(&samples).table(&CHURNED);
            assert_eq!(last_cell(&table, "mio"), expected, "{raw:?} beside {mio:?}: {table}");
            assert_eq!(last_cell(&table, "raw"), "1.00", "the reference is itself: {table}");
        }
    }

    #[test]
    fn an_unresolved_ratio_is_in_the_file_with_its_interval_and_verdict() {
        let samples = rounds(&[100.0, 112.0], &[110.0, 120.0]);
        let text = results(&samples).summary_csv();
        let row = text.lines().find(|line| line.contains(",mio,server_ns,"));
        let row = row.unwrap_or_else(|| panic!("no mio in {text}"));
        assert!(row.contains(",raw,1.0857,1.0714,1.1000,false,unresolved,"), "{row}");
        let columns = |line: &str| line.split("\",").last().map(|it| it.matches(',').count());
        let columns: Vec<_> = text.lines().map(columns).collect();
        assert!(columns.iter().skip(2).all(|it| *it == columns[1]), "{text}");
    }

    #[test]
    fn each_table_and_each_row_of_the_file_name_the_machine() {
        let samples = [rounds(&[1.0, 2.0], &[3.0, 4.0]), {
            let mut other = rounds(&[1.0, 2.0], &[3.0, 4.0]);
            other.iter_mut().for_each(|it| it.work = Work::new(&IDLE, 10));
            other.iter_mut().for_each(|it| it.metric = "bytes".to_owned());
            other
        }]
        .concat();
        let machine = "Made Up 1, virtual machine, 2 cores, kernel 9.9";
        let tables = results(&samples).tables();
        assert_eq!(tables.matches(&format!(" rounds)\n{machine}\n\n")).count(), 2, "{tables}");
        let text = results(&samples).summary_csv();
        assert!(text.lines().skip(1).all(|it| it.ends_with(&format!("\"{machine}\""))), "{text}");
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_of_the_rounds() {
        let samples = rounds(&[100.0, 200.0, 100.0], &[90.0, 240.0, 500.0]);
        let results = results(&samples);
        let ratio = results.ratio(&CHURNED, "mio", "server_ns").expect("both have three rounds");
        assert_eq!((ratio.median, ratio.low, ratio.high), (1.2, 0.9, 5.0));
        assert_eq!(results.ratio(&CHURNED, "mio", "per_second"), None);
    }

    #[test]
    fn a_row_whose_client_was_the_bottleneck_is_marked() {
        let mut samples =
            vec![sample("raw", 0, "server_ns", 1.0), sample("mio", 0, "server_ns", 1.0)];
        let busy = [("raw", 0.99, 0.5), ("mio", 0.5, 0.99)];
        for (subject, client, server) in busy {
            samples.push(sample(subject, 0, "client_busy", client));
            samples.push(sample(subject, 0, "server_busy", server));
        }
        let table = results(&samples).table(&CHURNED);
        assert!(table.contains("\nraw* ") && table.contains("\nmio  "), "{table}");
        assert!(table.contains("it was the bottleneck"), "{table}");
    }
}
