//! The arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use reactor::Signal;
use reactor::watch::{Delivery, Depth, Links, TreeOptions};

use super::show::Kinds;

/// Prints what happens to files, or runs a command when they change
#[derive(Parser)]
#[command(
    name = "file-watch",
    version,
    override_usage = "file-watch [OPTIONS] PATH... [-- COMMAND ARGUMENTS...]",
    after_help = "Without a command, each event is a line, as `inotifywait -m -r` prints it: the \
    directory, the event, the name in it. With --json it is an object: event, kind, path and, for a move \
    of which both names are watched, from. A path that is not UTF-8 has U+FFFD in path, and path_hex \
    besides.\n\nWith a command, it is run when files have changed and it has been quiet for a while, \
    once at a time. Whatever changes during a run causes one more run. So a command that changes what is \
    watched runs for ever: leave that out with --exclude. It is told a signal that ends file-watch.\n\n\
    A PATH is followed by its name: a file that is replaced by another one, as editors do, stays watched, \
    and so does a directory that is removed and created again. GLOB is a pattern for names, or for whole \
    paths if it contains a slash: * ? [a-z] {a,b}, and ** for any directories.\n\nLimits: --watches-max, \
    --entries-max and --changes-max. The kernel has others for each user: \
    fs.inotify.max_user_watches, max_user_instances and max_queued_events. When its queue is full, events \
    are lost; the directories are read again then, and what differs is printed.\n\nREACTOR_BACKEND \
    chooses epoll, epoll-lt, poll, select or uring.\n\nExit codes: of the last run of the command, 128 and its \
    number if a signal ended it; 0 without a run; 1 when file-watch cannot go on; 2 on wrong arguments; \
    141 without a message, as after SIGPIPE, when standard output is closed."
)]
pub struct Cli {
    /// Directories and files to watch
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Command to run on changes, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Print a JSON object for each event
    #[arg(long, conflicts_with = "command")]
    pub json: bool,
    /// Events to print: access, modify, attrib, close_write, close_nowrite, close, open, moved_from,
    /// moved_to, move, create, delete. Of paths that are given, their own are printed with them
    #[arg(
        long,
        short,
        value_name = "EVENTS",
        value_delimiter = ',',
        default_values = ["modify", "attrib", "close_write", "move", "create", "delete"],
        value_parser = Kinds::parse,
        conflicts_with = "command"
    )]
    pub event: Vec<Kinds>,
    /// Print what differs in the end once it has been quiet, instead of each event
    #[arg(long, conflicts_with = "command")]
    pub settled: bool,
    /// Watch the names in each directory only, and not those in directories in it
    #[arg(long)]
    pub no_recursive: bool,
    /// Follow symbolic links to directories
    #[arg(long)]
    pub follow: bool,
    /// Names to watch; all others are left out. Directories are entered
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Names to leave out. Directories are not entered
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Seconds without a change before the command runs, or changes are printed
    #[arg(long, value_name = "SECONDS", default_value = "0.1", value_parser = seconds)]
    pub quiet: Duration,
    /// Seconds after the first change at which that happens at the latest
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub delay_max: Duration,
    /// End after so many runs, or lines
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Run the command at the start, too
    #[arg(long, requires = "command")]
    pub now: bool,
    /// End a command that runs when something changes, and run it again
    #[arg(long, requires = "command")]
    pub restart: bool,
    /// Signal by which --restart ends the command: INT, TERM, HUP, USR1, USR2, KILL or a number
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", value_parser = signal)]
    pub signal: Signal,
    /// Seconds that a command has to end after a signal, before it is killed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub patience: Duration,
    /// Most directories that are watched
    #[arg(long, value_name = "COUNT", default_value_t = TreeOptions::DEFAULT.watches_max)]
    pub watches_max: usize,
    /// Most names that are known
    #[arg(long, value_name = "COUNT", default_value_t = TreeOptions::DEFAULT.entries_max)]
    pub entries_max: usize,
    /// Most events that wait to be printed
    #[arg(long, value_name = "COUNT", default_value_t = TreeOptions::DEFAULT.changes_max)]
    pub changes_max: usize,
}

impl Cli {
    /// Returns the options of the watch.
    pub(super) fn tree_options(&self) -> TreeOptions {
        let is_settled = self.settled || !self.command.is_empty();
        TreeOptions {
            depth: if self.no_recursive { Depth::Entries } else { Depth::Tree },
            links: if self.follow { Links::Followed } else { Links::Kept },
            delivery: match is_settled {
                true => Delivery::Settled { quiet: self.quiet, delay_max: self.delay_max },
                false => Delivery::Each,
            },
            reads: !is_settled && self.event.iter().any(|kinds| kinds.need_reads()),
            watches_max: self.watches_max,
            entries_max: self.entries_max,
            changes_max: self.changes_max,
            ..TreeOptions::DEFAULT
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number of seconds from 0.001 to 3600".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (0.001..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(wrong())
    }
}

fn signal(text: &str) -> Result<Signal, String> {
    let name = text.to_uppercase();
    Ok(match name.strip_prefix("SIG").unwrap_or(&name) {
        "INT" => Signal::INTERRUPT,
        "TERM" => Signal::TERMINATE,
        "HUP" => Signal::HANGUP,
        "USR1" => Signal::USER_1,
        "USR2" => Signal::USER_2,
        "KILL" => Signal::KILL,
        number => match number.parse() {
            Ok(number @ 1..=64) => Signal::from_number(number),
            _ => return Err("expected INT, TERM, HUP, USR1, USR2, KILL or a number".to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_takes_everything_behind_the_dashes() {
        let cli = Cli::try_parse_from(["file-watch", "a", "b", "--", "make", "-j", "2"]);
        let cli = cli.expect("they are right");
        assert_eq!((cli.paths.len(), cli.command.len()), (2, 3));
        assert!(matches!(cli.tree_options().delivery, Delivery::Settled { .. }));
        for wrong in [
            &["file-watch"][..],
            &["file-watch", "--now", "a"],
            &["file-watch", "--json", "a", "--", "make"],
            &["file-watch", "--quiet", "0", "a"],
            &["file-watch", "--signal", "99", "a"],
            &["file-watch", "-e", "creat", "a"],
        ] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(signal("sigusr1"), Ok(Signal::USER_1));
        assert_eq!(signal("HUP"), Ok(Signal::HANGUP));
        assert_eq!(signal("9"), Ok(Signal::KILL));
    }
}
