//! The arguments of `mfs-client`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use reactor::Location;

use super::exit::{self, Failed};
use crate::http::args::seconds;
use crate::mfs::{Options, WINDOW_MAX};

/// Reads and writes files of a MooseFS file system without a mount
#[derive(Debug, Parser)]
#[command(
    name = "mfs-client",
    version,
    after_help = "This proves a framework. It is no client for data to keep: that is the real MooseFS.\n\n\
    Paths of the file system begin at the exported directory. Arguments after -- are paths, also those \
    that begin with a dash.",
    after_long_help = exit::HELP
)]
pub struct Cli {
    /// The arguments for connections.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Prints neither progress nor what has failed and was done in another way
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the file system is, and the limits.
#[derive(Clone, Debug, Args)]
pub struct ConnectArgs {
    /// The master's port for clients, such as 10.0.0.1:9421
    #[arg(global = true, short, long, value_name = "HOST:PORT", value_parser = location)]
    pub master: Option<Location>,
    /// Exported directory that is / here
    #[arg(global = true, long, value_name = "DIRECTORY", default_value = "/")]
    pub directory: PathBuf,
    /// File whose first line is the password of the export
    #[arg(global = true, long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Parts that are read at a time, each on a connection of its own
    #[arg(global = true, long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub reads: u16,
    /// Chunks that are written at a time, each through a chain of its own
    #[arg(global = true, long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub writes: u16,
    /// Blocks of 64 KiB that a chain may have without an acknowledgement
    #[arg(global = true, long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=WINDOW_MAX as i64))]
    pub window: u16,
    /// Silence after which a chunkserver is given up, in seconds
    #[arg(global = true, long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub silence: Duration,
    /// Silence after which the connection to the master is given up, in seconds
    #[arg(global = true, long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub master_silence: Duration,
    /// Time until a connection to the master is established, in seconds
    #[arg(global = true, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub connect_timeout: Duration,
    /// Time without progress after which a command fails, in seconds
    #[arg(global = true, long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub patience: Duration,
    /// Largest answer of the master, in MiB: a directory of a million names has about 64
    #[arg(global = true, long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub answer_max: u16,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists directories
    Ls {
        /// Prints type, permissions, links, owner, length and the time of the last change (UTC) too
        #[arg(short, long)]
        long: bool,
        /// Lists the directories below too
        #[arg(short = 'R', long)]
        recursive: bool,
        /// Paths; default /
        #[arg(value_name = "PATH", default_value = "/")]
        paths: Vec<PathBuf>,
    },
    /// Prints attributes
    Stat {
        /// Paths; a symbolic link is not followed
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Writes files to standard output
    Cat {
        /// Paths
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Copies a file out of the file system
    Get {
        /// Keeps permissions and times
        #[arg(short, long)]
        preserve: bool,
        /// Path of the file
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Local file or directory; - is standard output. The file is written under its name with
        /// .part, and renamed when it is complete
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Copies a file into the file system. What the file there had is gone
    Put {
        /// Keeps permissions and times
        #[arg(short, long)]
        preserve: bool,
        /// Local file; - is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Path of the file, or of the directory that gets it under its name
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
    /// Prints the size of the file system
    Df,
    /// Reads every copy of every chunk of files, and compares them
    Verify {
        /// Local file that has to be the same
        #[arg(long, value_name = "FILE")]
        reference: Option<PathBuf>,
        /// Paths
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
}

impl ConnectArgs {
    /// Returns the options of a client.
    pub(super) fn options(&self) -> Result<Options, Failed> {
        let Some(master) = self.master.clone() else {
            return Err(Failed::new(exit::USAGE, "give the master with --master HOST:PORT"));
        };
        let password = match &self.password_file {
            None => None,
            Some(path) => {
                let failed =
                    |text: String| Failed::new(exit::USAGE, format!("{}: {text}", path.display()));
                let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
                let line = text.lines().next().filter(|line| !line.is_empty());
                Some(line.ok_or_else(|| failed("its first line is empty".to_owned()))?.to_owned())
            }
        };
        Ok(Options {
            password,
            directory: self.directory.clone(),
            connect_timeout: self.connect_timeout,
            master_silence_max: self.master_silence,
            silence_max: self.silence,
            patience: self.patience,
            reads_max: self.reads.into(),
            writes_max: self.writes.into(),
            window: self.window.into(),
            answer_size_max: u32::from(self.answer_max) * 1024 * 1024,
            ..Options::new(master)
        })
    }
}

fn location(text: &str) -> Result<Location, String> {
    crate::location(text).map_err(|failure| failure.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Cli::command().debug_assert();
        let parse = |words: &[&str]| {
            Cli::try_parse_from([&["mfs-client", "-m", "1.2.3.4:5"], words].concat())
        };
        let cli = parse(&["ls", "-R", "--", "-x"]).expect("it is a path");
        assert!(matches!(cli.command, Command::Ls { paths, .. } if paths == [PathBuf::from("-x")]));
        assert!(parse(&["put", "-", "/x", "-q"]).is_ok_and(|cli| cli.quiet));
        for wrong in
            [&["get", "/x"][..], &["df", "--window", "65"], &["cat"], &["df", "--silence", "0"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        let without = Cli::try_parse_from(["mfs-client", "df"]).expect("it is a command");
        assert_eq!(without.connect.options().map_err(|it| it.code).err(), Some(exit::USAGE));
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let cli =
            Cli::try_parse_from(["mfs-client", "-m", "1.2.3.4:5", "df"]).expect("it is right");
        let options = cli.connect.options().expect("there is no file");
        let library = Options::new("1.2.3.4:5".parse().expect("it is an address"));
        assert_eq!(format!("{options:?}"), format!("{library:?}"));
    }
}
