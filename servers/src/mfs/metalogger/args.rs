//! The arguments of the metalogger.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use reactor::{BackendKind, Location};

use super::SERVER;
use crate::args::parse_duration;
use crate::ending;
use crate::mfs::arguments::{parse_location, parse_timeout};

/// Keeps the change log and the metadata of a MooseFS master
#[derive(Clone, Debug, Parser)]
#[command(
    name = "mfs-metalogger",
    version,
    after_help = "This program proves a framework on the protocol of MooseFS 3.0.117. It is not meant \
    for a file system to keep data in: use the mfsmetalogger of the real MooseFS for that.\n\nIt writes \
    changelog_ml.N.mfs, of which N = 0 is the present one, metadata_ml.mfs.back and \
    changelog_ml_back.N.mfs. `mfsmaster -a` of the real MooseFS starts from a copy of the folder.\n\nA \
    disk that is slow stops nothing. Where it is full, changes wait in memory, 64 MiB at most; then \
    the connection is closed until they are written.\n\nSIGTERM, SIGINT and SIGHUP stop it once all \
    changes are written, in 5 s. A second SIGTERM or SIGINT stops it at once. SIGUSR1 logs its counters. \
    The service manager is told when it is ready and stops (Type=notify).\n\nIt logs to standard error, \
    filtered by RUST_LOG: RUST_LOG=servers=debug shows each message.\n\nExit codes: \
    0 after a signal to stop; 1 when it cannot run; 2 on wrong arguments."
)]
pub(super) struct Args {
    /// Address of the master for metaloggers: 10.0.0.1:9419 or host:9419
    #[arg(long, value_name = "ADDRESS", value_parser = parse_location)]
    pub(super) master: Location,
    /// Folder of the logs and the metadata. It must exist
    #[arg(long, value_name = "FOLDER")]
    pub(super) dir: PathBuf,
    /// Silence after which either side closes the connection, in whole seconds from 10s to 65535s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    pub(super) timeout: Duration,
    /// How often the metadata are downloaded
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_duration)]
    pub(super) metadata_every: Duration,
    /// Largest metadata that are downloaded, in GiB
    #[arg(long, value_name = "GIB", default_value = "16", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(super) metadata_max: u64,
    /// How many older change logs are kept
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) back_logs: u32,
    /// How many older metadata are kept
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) back_metadata: u32,
    /// Mechanism that reports which connections are ready: epoll, epoll-lt, poll or select
    #[arg(long, env = "REACTOR_BACKEND", default_value = "epoll")]
    pub(super) backend: BackendKind,
}

/// Returns the arguments, or ends the process with the help text or an error.
pub(super) fn parse() -> Args {
    Args::try_parse().unwrap_or_else(|message| ending::exit_with(SERVER.name, &message))
}
