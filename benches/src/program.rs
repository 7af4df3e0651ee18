//! The shared parts of `compare` and `against_redis`: a report with a head that describes the
//! machine and the run, on standard output, in files and in the book.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::machine::Machine;
use crate::report::Results;
use crate::run::Run;
use crate::{aims, plots, record};

/// The explanation of the word that replaces a ratio.
pub const UNRESOLVED: &str = "the rounds do not agree which of the two has more (sign test, 95 %), \
                              or are fewer than six: no ratio";

/// A program that measures, and its outputs.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The name of the program.
    pub name: &'static str,
    /// The folder for reports, CSV files and plots.
    pub out: &'a Path,
    /// The folder of the book for the page, if the run is recorded.
    pub record: Option<&'a Path>,
    /// The page of the book.
    pub page: &'a record::Page,
}

impl Program<'_> {
    /// Creates the folder. Returns a flag that Ctrl-C sets.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn prepare(&self) -> io::Result<Arc<AtomicBool>> {
        // Failing now is better than after twenty minutes.
        fs::create_dir_all(self.out).map_err(|error| {
            let text = format!("cannot create the folder {} (--out): {error}", self.out.display());
            io::Error::new(error.kind(), text)
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(stop)
    }

    /// Returns the head of a report: the facts that a reader needs to judge the figures. `loads`
    /// describes the duration or size of measurements, `versions` the versions of the subjects.
    pub fn head(&self, run: &Run, loads: &str, versions: &[(&'static str, String)]) -> String {
        let git =
            Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
        let commit = git.ok().filter(|it| it.status.success()).map_or("unknown".to_owned(), |it| {
            String::from_utf8_lossy(&it.stdout).trim().to_owned()
        });
        let command: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("{} {}", self.name, command.join(" "));
        let mut lines = Machine::here().lines();
        lines.push(("pinning", run.pinning.describe()));
        lines.push(("commit", commit));
        lines.push(("command", command.trim().to_owned()));
        let rounds = run.plan.rounds;
        let order = "the order of the subjects reversed from one to the next";
        lines.push(("rounds", format!("{rounds} rounds, {order}; {loads}")));
        lines.push(("unresolved", UNRESOLVED.to_owned()));
        lines.extend_from_slice(versions);
        let mut text = String::new();
        for (name, value) in lines {
            let _ = writeln!(text, "{name:<12} {value}");
        }
        text.push('\n');
        for subject in &run.subjects {
            let absent = subject.absent().map_or(String::new(), |why| format!("  ABSENT: {why}"));
            let _ = writeln!(text, "{:<12} {}{absent}", subject.name, subject.about);
        }
        text
    }

    /// Reports the results on standard output and in files. `not_done` lists what was not tried.
    /// The exit code is a success if everything was measured, and recorded if that was requested.
    ///
    /// # Errors
    /// Fails if a file cannot be written or a plot not drawn.
    pub fn report(
        &self,
        run: &Run,
        head: &str,
        not_done: &[String],
        started: Instant,
    ) -> io::Result<ExitCode> {
        let results = Results::new(&run.samples, Machine::here());
        let tables = results.tables() + &aims::section(&results);
        let last = last_lines(run, not_done, started);
        print!("{tables}{last}");
        let plots = plots::all(&results).map_err(io::Error::other)?;
        let page = record::text(self.page, head, &tables, &last, &plots);
        let texts = [
            ("report.txt", [head, &tables, &last].concat()),
            ("samples.csv", results.samples_csv()),
            ("summary.csv", results.summary_csv()),
            (self.page.name, page.clone()),
        ];
        write_files(self.out, texts.iter().chain(&plots))?;

        let is_interrupted = run.stop.load(Ordering::Relaxed);
        let is_complete = run.skipped.is_empty() && !run.samples.is_empty() && !is_interrupted;
        let is_recorded = match (self.record, record::refusal(is_complete, run.others)) {
            (None, _) => true,
            (Some(folder), None) => {
                record::write(folder, self.page, &page, &plots)?;
                println!("It is recorded in {}", folder.display());
                true
            }
            (Some(_), Some(why)) => {
                println!("NOT RECORDED: {why}");
                false
            }
        };
        Ok(if is_complete && is_recorded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Returns the last lines of a report: the failures, and how much other processes disturbed the
/// rest.
fn last_lines(run: &Run, not_done: &[String], started: Instant) -> String {
    let mut text = String::new();
    for line in not_done {
        let _ = writeln!(text, "\n{line}");
    }
    for skipped in &run.skipped {
        let _ = writeln!(text, "\nNOT MEASURED: {skipped}");
    }
    if run.stop.load(Ordering::Relaxed) {
        let _ = writeln!(text, "\nINTERRUPTED: this is what there is of it.");
    }
    let others = run.others.map_or("unknown".to_owned(), |it| format!("{:.0} %", it * 100.0));
    let seconds = started.elapsed().as_secs();
    let _ = writeln!(text, "\n{seconds} s in all; others had {others} of the cores meanwhile");
    text
}

fn write_files<'a>(out: &Path, files: impl Iterator<Item = &'a record::File>) -> io::Result<()> {
    for (name, text) in files {
        let path = out.join(name);
        fs::write(&path, text).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        })?;
    }
    println!("The report, CSV files and plots (SVG) are in {}", out.display());
    Ok(())
}
