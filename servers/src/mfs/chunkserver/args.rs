//! The arguments of the chunkserver.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use reactor::{BackendKind, Location};

use super::SERVER;
use crate::ending;
use crate::mfs::arguments::{parse_location, parse_timeout};

/// Keeps chunks of files of a MooseFS master, and serves them
#[derive(Clone, Debug, Parser)]
#[command(
    name = "mfs-chunkserver",
    version,
    after_help = "This program proves a framework on the protocol of MooseFS 3.0.117. It is not meant \
    for a file system to keep data in: use the mfschunkserver of the real MooseFS for that. It does not \
    wait until the disk has what was written, so a crash of the machine may lose it.\n\nThe form of the \
    chunks on disk is that of the real one: mfschunktool checks them, and mfschunkserver serves \
    them.\n\nEach disk has threads of its own. A disk that is slow stops neither the others nor the \
    connections. A connection has 64 KiB to 4 MiB of data in memory. A client that neither sends nor \
    takes anything is closed after 5 s, or 10 s in the middle of a command.\n\nSIGTERM, SIGINT and \
    SIGHUP stop it once connections have finished, in 5 s; the master is told. A second SIGTERM or \
    SIGINT stops it at once. SIGUSR1 logs its counters. The service manager is told when it is ready \
    and stops (Type=notify).\n\nIt logs to standard error, filtered by RUST_LOG: RUST_LOG=servers=debug \
    shows each message.\n\nExit codes: 0 after a signal to stop; 1 when it cannot run; 2 on wrong \
    arguments."
)]
pub(super) struct Args {
    /// Address of the master for chunkservers: 10.0.0.1:9420 or host:9420
    #[arg(long, value_name = "ADDRESS", value_parser = parse_location)]
    pub(super) master: Location,
    /// Address of the data port, which the master gives to clients: 10.0.0.2:9422. With the address
    /// 0.0.0.0, the master takes that of the connection
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:9422", value_parser = parse_place)]
    pub(super) listen: SocketAddrV4,
    /// Folder of what the master has said: the number of this chunkserver. It must exist
    #[arg(long, value_name = "FOLDER")]
    pub(super) dir: PathBuf,
    /// Folder of chunks. It must exist. Give it several times for several disks
    #[arg(long = "disk", value_name = "FOLDER", required = true)]
    pub(super) disks: Vec<PathBuf>,
    /// What is left free of each disk, in MiB
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u64).range(0..=1 << 40))]
    pub(super) space_reserve: u64,
    /// Labels, letters from A to Z: AB
    #[arg(long, value_name = "LETTERS", default_value = "", value_parser = parse_labels)]
    pub(super) labels: u32,
    /// File with the code that the master wants (AUTH_CODE)
    #[arg(long, value_name = "FILE")]
    pub(super) auth_code: Option<PathBuf>,
    /// Silence after which either side closes the connection to the master, in whole seconds from 10s
    /// to 65535s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_timeout)]
    pub(super) timeout: Duration,
    /// How many connections to the data port there are at most
    #[arg(long, value_name = "COUNT", default_value = "4096", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) max_connections: u32,
    /// How many files of chunks stay open at most
    #[arg(long, value_name = "COUNT", default_value = "1024", value_parser = clap::value_parser!(u32).range(8..=1_000_000))]
    pub(super) open_files: u32,
    /// How many threads each disk has at most
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) threads: u32,
    /// Mechanism that reports which connections are ready: epoll, epoll-lt, poll, select or uring
    #[arg(long, env = "REACTOR_BACKEND", default_value = "epoll")]
    pub(super) backend: BackendKind,
}

/// Returns the arguments, or ends the process with the help text or an error.
pub(super) fn parse() -> Args {
    Args::try_parse().unwrap_or_else(|message| ending::exit_with(SERVER.name, &message))
}

fn parse_place(text: &str) -> Result<SocketAddrV4, String> {
    let place: SocketAddrV4 =
        text.parse().map_err(|_| "expected an IPv4 address and a port".to_owned())?;
    // The scripted masters of the tests are on the loopback. A real one refuses it.
    match *place.ip() {
        Ipv4Addr::BROADCAST => Err("this address is that of no single machine".to_owned()),
        _ => Ok(place),
    }
}

fn parse_labels(text: &str) -> Result<u32, String> {
    text.bytes().try_fold(0, |mask, letter| match letter {
        b'A'..=b'Z' => Ok(mask | 1 << (letter - b'A')),
        _ => Err("expected letters from A to Z, such as AB".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(parse_labels("AC"), Ok(0b101));
        assert_eq!(parse_labels(""), Ok(0));
        assert!(parse_labels("a").is_err() && parse_labels("A,B").is_err());
        assert!(parse_place("10.0.0.1:9422").is_ok() && parse_place("0.0.0.0:0").is_ok());
        assert!(parse_place("host:9422").is_err() && parse_place("[::1]:9422").is_err());
    }
}
