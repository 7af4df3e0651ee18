//! The arguments of the master.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use reactor::{Address, BackendKind};

use super::SERVER;
use super::app::Options;
use super::tree::TreeLimits;
use crate::args::parse_duration;
use crate::ending;

/// Keeps the tree of a file system whose data are on chunkservers
#[derive(Clone, Debug, Parser)]
#[command(
    name = "mfs-master",
    version,
    after_help = "This program proves a framework on the protocol of MooseFS 3.0.117. It is not meant \
    for a file system to keep data in: use the mfsmaster of the real MooseFS for that.\n\nMetaloggers, \
    chunkservers and clients of the real MooseFS connect to it, and mfscli asks it. Chunkservers have to \
    be reachable at the data port that they announce, at an address that is not one of 127.0.0.0/8. The \
    addresses are those of IPv4, since the protocol has no others.\n\nPeers that send what they must not, \
    or are silent for too long, are disconnected. Each packet has at most the size that the real master \
    takes: 1,500,000 bytes from metaloggers, 500,000,000 from chunkservers and 50,000,000 from clients; \
    before they have registered, 100,000.\n\nSIGTERM, SIGINT and SIGHUP stop it gracefully: connections \
    have 5 s to finish. A second SIGTERM or SIGINT stops it at once. SIGUSR1 logs its counters. The \
    service manager is told when it is ready and stops (Type=notify).\n\nIt logs to standard error, \
    filtered by RUST_LOG: RUST_LOG=servers=debug shows each message.\n\nExit codes: 0 after a signal to \
    stop; 1 when it cannot run; 2 on wrong arguments."
)]
pub(super) struct Args {
    /// Folder of the metadata and the log of the changes. It must exist
    #[arg(long, value_name = "FOLDER")]
    pub(super) dir: PathBuf,
    /// Address for metaloggers
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9419")]
    pub(super) listen_metaloggers: Address,
    /// Address for chunkservers
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9420")]
    pub(super) listen_chunkservers: Address,
    /// Address for clients and mfscli
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9421")]
    pub(super) listen_clients: Address,
    /// Code that chunkservers have to have (their AUTH_CODE). Without it, any may register
    #[arg(long, value_name = "CODE", env = "MFS_AUTH_CODE", hide_env_values = true)]
    pub(super) auth_code: Option<OsString>,
    /// Number of copies that new chunks get
    #[arg(long, value_name = "COUNT", default_value = "2", value_parser = count(1, 9))]
    pub(super) goal: usize,
    /// Silence after which a chunkserver is disconnected that does not say how long it may be silent,
    /// and a peer that has not registered. Metaloggers and chunkservers choose it themselves
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(super) timeout: Duration,
    /// Number of orders that are under way at each chunkserver at a time
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = count(1, 10_000))]
    pub(super) under_way_max: usize,
    /// Number of orders that wait for each chunkserver. Further ones are refused
    #[arg(long, value_name = "COUNT", default_value = "100000", value_parser = count(1, 100_000_000))]
    pub(super) orders_max: usize,
    /// Time after which a chunkserver that has not answered an order is disconnected
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub(super) order_timeout: Duration,
    /// Number of chunkservers that are known, whether they are connected or not
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = count(1, 60_000))]
    pub(super) chunkservers_max: usize,
    /// Number of chunks
    #[arg(long, value_name = "COUNT", default_value = "20000000", value_parser = count(1, 4_000_000_000))]
    pub(super) chunks_max: usize,
    /// Bytes of changes that are kept for metaloggers which come back
    #[arg(long, value_name = "BYTES", default_value = "67108864", value_parser = size())]
    pub(super) kept_max: u64,
    /// Time for which changes are kept
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_duration)]
    pub(super) kept_for: Duration,
    /// Bytes of changes that may wait for a metalogger. One that does not keep up is disconnected
    #[arg(long, value_name = "BYTES", default_value = "16777216", value_parser = size())]
    pub(super) queue_max: u64,
    /// How often a new log of the changes begins
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub(super) rotate_every: Duration,
    /// How many older logs are kept in the folder
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) back_logs: u32,
    /// Password that clients have to have. Without it, any may open a session
    #[arg(long, value_name = "PASSWORD", env = "MFS_CLIENT_PASSWORD", hide_env_values = true)]
    pub(super) client_password: Option<OsString>,
    /// Number of sessions of clients. With more, the one that has had no connection for the longest time
    /// ends
    #[arg(long, value_name = "COUNT", default_value = "65536", value_parser = count(1, 1_000_000))]
    pub(super) sessions_max: usize,
    /// Time for which a session stays without a connection
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = parse_duration)]
    pub(super) session_kept_for: Duration,
    /// Number of requests of a session that wait for chunkservers or for other clients. Further ones have
    /// to try again
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = count(1, 1_000_000))]
    pub(super) requests_max: usize,
    /// Number of files, directories and others
    #[arg(long, value_name = "COUNT", default_value = "10000000", value_parser = clap::value_parser!(u32).range(1..=4_000_000_000))]
    pub(super) inodes_max: u32,
    /// Bytes of memory that the tree of files may take, counted generously
    #[arg(long, value_name = "BYTES", default_value = "4294967296", value_parser = size())]
    pub(super) tree_size_max: u64,
    /// Number of connections of all kinds. Further ones wait to be accepted
    #[arg(long, value_name = "COUNT", default_value = "65536", value_parser = count(1, 1_000_000))]
    pub(super) max_connections: usize,
    /// Mechanism that reports which connections are ready: epoll, epoll-lt, poll, select or uring
    #[arg(long, env = "REACTOR_BACKEND", default_value = "epoll")]
    pub(super) backend: BackendKind,
}

impl Args {
    pub(super) fn options(&self) -> Options {
        Options {
            queue_max: self.queue_max,
            kept_max: self.kept_max,
            kept_for: self.kept_for,
            timeout: self.timeout,
            goal: self.goal,
            auth_code: self.auth_code.clone().map(|code| code.into_encoded_bytes()),
            chunkservers_max: self.chunkservers_max,
            chunks_max: self.chunks_max,
            under_way_max: self.under_way_max,
            orders_max: self.orders_max,
            order_timeout: self.order_timeout,
            client_password: self.client_password.clone().map(|it| it.into_encoded_bytes()),
            sessions_max: self.sessions_max,
            session_kept_for: self.session_kept_for,
            requests_max: self.requests_max,
            tree: TreeLimits {
                inodes_max: self.inodes_max,
                memory_max: self.tree_size_max,
                ..TreeLimits::default()
            },
        }
    }
}

/// Returns what reads a number of things.
fn count(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}

/// Returns what reads a number of bytes: from 1 KiB to 1 TiB.
fn size() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(1 << 10..=1 << 40)
}

/// Returns the arguments, or ends the process with the help text or an error.
pub(super) fn parse() -> Args {
    Args::try_parse().unwrap_or_else(|message| ending::exit_with(SERVER.name, &message))
}
