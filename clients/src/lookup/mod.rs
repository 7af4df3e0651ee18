//! A client of DNS like `dig`: one question, or thousands at once from one loop.
//!
//! `ask` is what is asked, `options` how, `servers` whom. `engine`, `flight` and `hearing` know which question waits
//! for which answer and touch no socket; `exchange` is what a socket does; `driver` begins questions and opens
//! sockets. `dice` draws the message numbers. `show`, `json` and `tally` are what is printed.

mod args;
mod ask;
mod dice;
mod driver;
mod engine;
mod exchange;
mod flight;
mod hearing;
mod json;
mod options;
mod servers;
mod show;
mod tally;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use args::Cli;
use ask::Ask;
use engine::{Lookup, Plan};
use options::Form;

use crate::Failure;
use crate::output::complain;
use crate::pipes::Pipes;

/// The size of a file of questions in bytes, which is kept in memory.
const FILE_SIZE_MAX: u64 = 256 << 20;
/// How many questions wait for answers at most.
const IN_FLIGHT_MAX: i64 = 10_000;
/// How many questions are begun each second at most.
const RATE_MAX: i64 = 1_000_000;

/// The exit codes of the tool, for `--help`.
const EXIT_CODES: &str = "\
Exit codes: 0 when every question was answered, whatever the response code; 1 when the tool or standard \
output failed, or Ctrl-C ended it; 2 on wrong arguments; 8 when the file of -f cannot be read, or has a wrong \
line; 9 when a question was not answered; 10 when the address of a server is not known; 141 without a \
message, as after SIGPIPE, when standard output is closed. 8, 9 and 10 are those of dig.";

/// The state of the loop.
type App = Pipes<Lookup>;

/// Why the tool ends without asking, with its exit code.
struct Refusal(u8, String);

/// Runs the tool, and returns its exit code.
pub fn run(cli: &Cli) -> u8 {
    let plan = match prepare(cli) {
        Ok(plan) => plan,
        Err(Refusal(code, text)) => {
            complain(format_args!("lookup: {text}"));
            return code;
        }
    };
    let (form, is_single) = (plan.0.options.form, plan.0.is_single);
    match driver::run(plan.0, plan.1) {
        Ok(ended) => {
            if cli.has_summary() {
                match form {
                    Form::Json => complain(ended.tally.json()),
                    _ => complain(ended.tally.to_string().trim_end()),
                }
            }
            if is_single && form == Form::Full && ended.tally.unanswered > 0 {
                // The form of dig has said so.
                return 9;
            }
            match (ended.was_interrupted, ended.tally.unanswered) {
                (true, _) => {
                    complain("lookup: ended by a signal");
                    1
                }
                (false, 0) => 0,
                (false, count) => {
                    complain(format_args!(
                        "lookup: {count} of {} questions were not answered",
                        ended.tally.asked
                    ));
                    9
                }
            }
        }
        Err(failure) => failure.report("lookup"),
    }
}

/// The questions that are asked, one after the other.
type Asks = Box<dyn Iterator<Item = Ask>>;

/// Reads the arguments and the files that they name.
fn prepare(cli: &Cli) -> Result<(Plan, Asks), Refusal> {
    let request = cli.request().map_err(|text| Refusal(2, text))?;
    let asks: Asks = match &cli.file {
        Some(path) => questions(path).map_err(|text| Refusal(8, text))?,
        None => Box::new(std::iter::once(request.ask)),
    };
    let servers = match &request.servers[..] {
        [] => servers::of_system(cli.resolv_conf.as_deref(), cli.port, cli.family()),
        names => servers::named(names, cli.port, cli.family()),
    };
    let servers = servers.map_err(|failure: Failure| Refusal(10, failure.to_string()))?;
    let plan = Plan {
        options: request.options,
        servers,
        in_flight_max: cli.in_flight_max(),
        interval: cli.interval(),
        is_single: cli.file.is_none(),
    };
    Ok((plan, asks))
}

/// Reads a file of questions, and checks all of them before the first is asked.
fn questions(path: &Path) -> Result<Asks, String> {
    let shown =
        if path == Path::new("-") { "standard input".into() } else { path.to_string_lossy() };
    let mut text = String::new();
    let limited = |source: &mut dyn Read, text: &mut String| {
        source.take(FILE_SIZE_MAX + 1).read_to_string(text)
    };
    let read = match path == Path::new("-") {
        true => limited(&mut io::stdin().lock(), &mut text),
        false => File::open(path).and_then(|mut file| limited(&mut file, &mut text)),
    };
    read.map_err(|error| format!("{shown}: {error}"))?;
    if text.len() as u64 > FILE_SIZE_MAX {
        return Err(format!("{shown} is larger than {} MiB: divide it", FILE_SIZE_MAX >> 20));
    }
    for (index, line) in text.lines().enumerate() {
        Ask::of_line(line).map_err(|error| format!("{shown}, line {}: {error}", index + 1))?;
    }
    let mut at = 0;
    // The text is kept, and not the questions, which are larger.
    Ok(Box::new(std::iter::from_fn(move || {
        loop {
            let rest = &text[at..];
            let line = rest.split_inclusive('\n').next()?;
            at += line.len();
            // A wrong line was refused before.
            if let Ok(Some(ask)) = Ask::of_line(line.trim_end_matches(['\n', '\r'])) {
                return Some(ask);
            }
        }
    })))
}
