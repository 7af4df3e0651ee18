//! The arguments that every server takes.

use std::ffi::OsString;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use reactor::{AddressError, BackendKind, LoopLimits};

use crate::listen::Endpoint;
use crate::loops::LoopArgs;
use crate::tls::TlsArgs;
use crate::{Server, ending};

const LISTEN_HELP: &str = "Address to listen on: 127.0.0.1:8080, tcp://[::1]:8080, localhost:8080 \
                           (all addresses of that name), tls://localhost:8443 (encrypted) or \
                           unix:/run/x.sock; unix:@name is an abstract name. May be given \
                           several times";

const DATAGRAMS_HELP: &str = "Address to listen on: 127.0.0.1:8080, tcp://[::1]:8080, \
                              localhost:8080 (all addresses of that name), tls://localhost:8443 \
                              (encrypted) or unix:/run/x.sock; for datagrams, udp://127.0.0.1:8080 \
                              or unix-dgram:/run/x.sock; @name instead of a path is an abstract \
                              name. May be given several times";

/// The longest time of silence before a probe that the kernel allows, in seconds.
const KEEPALIVE_MAX: u64 = 32_767;

/// The arguments that every server takes.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// The addresses to listen on. Without any, the server listens on its default address.
    #[arg(long, value_name = "ADDRESS", help = LISTEN_HELP)]
    pub listen: Vec<Endpoint>,

    /// Accept IPv4 connections on IPv6 addresses that cover them, such as the wildcard ::
    #[arg(long)]
    pub dual_stack: bool,

    /// Mechanism that reports which connections are ready: epoll, epoll-lt, poll, select or uring
    #[arg(long, env = "REACTOR_BACKEND", default_value = "epoll")]
    pub backend: BackendKind,

    /// Close connections that are silent for this long, such as 500ms, 60s, 5m, 1h30m or 1d; off
    /// disables the limit
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_idle)]
    pub idle_timeout: IdleTimeout,

    /// Time of silence after which the kernel asks whether the peer of a TCP connection is still
    /// there, such as 300s, in whole seconds; ten questions without an answer close the connection.
    /// It finds dead peers that the idle limit exempts; off disables it
    #[arg(long, value_name = "TIME", default_value = "300s", value_parser = parse_keepalive)]
    pub keepalive: IdleTimeout,

    /// Maximum number of open connections, 65536 by default; further ones wait to be accepted. Several
    /// threads have equal shares
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub max_connections: Option<usize>,

    /// Time for a new program, which SIGUSR2 starts, to be ready; then it is ended, and this one goes
    /// on
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub handover_timeout: Duration,

    /// Permission bits of the files of Unix sockets, in octal, such as 660; the default depends on
    /// the umask
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    pub unix_mode: Option<u32>,

    /// The arguments for several loops.
    #[command(flatten)]
    pub loops: LoopArgs,

    /// The arguments for addresses of `tls://`.
    #[command(flatten)]
    pub tls: TlsArgs,
}

impl ServerArgs {
    /// Returns the number of connections that may be held at once.
    pub fn connections_max(&self) -> usize {
        self.max_connections.unwrap_or(LoopLimits::DEFAULT.connections_max)
    }
}

/// How long a connection may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleTimeout {
    /// No limit.
    Off,
    /// This long.
    After(Duration),
}

impl IdleTimeout {
    /// Returns the limit, if there is one.
    pub fn limit(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::After(limit) => Some(limit),
        }
    }
}

/// Reads an address to listen on. One of UDP may lack its port if there is a default.
fn parse_endpoint(text: &str, port: Option<u16>) -> Result<Endpoint, AddressError> {
    let error = match text.parse() {
        Ok(endpoint) => return Ok(endpoint),
        Err(error) => error,
    };
    let with_port =
        port.filter(|_| text.starts_with("udp://")).map(|port| format!("{text}:{port}"));
    with_port.and_then(|text| text.parse().ok()).ok_or(error)
}

/// Reads a time such as `500ms`, `60s` or `1h30m`, or `off`.
fn parse_idle(text: &str) -> Result<IdleTimeout, String> {
    if text == "off" {
        return Ok(IdleTimeout::Off);
    }
    let limit = parse_duration(text).map(IdleTimeout::After);
    limit.map_err(|error| format!("{error}, or off"))
}

/// Reads a time such as `500ms`, `60s` or `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let time = parse_time(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "expected a positive time such as 500ms, 60s, 5m, 1h30m or 1d".to_owned())
}

/// Reads the time of silence before a probe, as the kernel takes it (`TCP_KEEPIDLE`, `tcp(7)`).
fn parse_keepalive(text: &str) -> Result<IdleTimeout, String> {
    let time = parse_idle(text)?;
    match time.limit() {
        Some(limit) if limit.subsec_nanos() > 0 || limit.as_secs() > KEEPALIVE_MAX => {
            Err(format!("expected whole seconds, at most {KEEPALIVE_MAX}s, or off"))
        }
        _ => Ok(time),
    }
}

/// Reads a number of seconds, or a sum of numbers with one unit each.
fn parse_time(text: &str) -> Option<Duration> {
    let is_digit = |character: char| character.is_ascii_digit();
    if text.chars().all(is_digit) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let (mut rest, mut milliseconds) = (text, 0_u64);
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|character| !is_digit(character))?);
        let (unit, behind) = behind.split_at(behind.find(is_digit).unwrap_or(behind.len()));
        let scale = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(scale)?;
        milliseconds = milliseconds.checked_add(part)?;
        rest = behind;
    }
    Some(Duration::from_millis(milliseconds))
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected permission bits in octal, from 0 to 777".to_owned()),
    }
}

/// No arguments besides those that every server takes.
#[derive(Clone, Copy, Debug, Args)]
pub struct NoArgs {}

#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli<E: Args> {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) own: E,
    /// The names of the arguments that are on the command line.
    #[arg(skip)]
    pub(crate) given: Vec<String>,
}

const NOTES: &str =
    "SIGTERM, SIGINT and SIGHUP stop the server gracefully: it accepts no new connections, and open \
     connections have 5 s to finish. A second SIGTERM or SIGINT stops it at once. If SIGHUP is \
     ignored at the start, as under nohup, it stays ignored. SIGUSR1 logs the counters.

With --cert, SIGHUP reads the certificates again and stops nothing; dns reads its hosts files and \
     block lists again. SIGUSR2 starts the program of \
     this server again, with the same arguments, and gives it the listening sockets and the \
     connections: no client notices. Connections that cannot be given away, such as those of TLS, \
     have 5 minutes to finish. kv gives its keys along, and closes the connections that cannot be \
     given away.

Sockets of the service manager (systemd.socket(5)) are listened on, instead of the default address; \
     one with the name tls is encrypted. The service manager is told when the server is ready, reads \
     its certificates again and stops (Type=notify).

The server logs to standard error, filtered by RUST_LOG. If standard error does not accept a line, \
     the line is dropped and counted.

Exit codes: 0 after a signal to stop; 1 when the server cannot run or its last listener has ended; 2 \
     on wrong arguments.";

/// Returns the arguments, or ends the process with the help text or an error.
pub(crate) fn parse<E: Args>(server: Server, args: impl IntoIterator<Item = OsString>) -> Cli<E> {
    read(server, args).unwrap_or_else(|message| ending::exit_with(server.name, &message))
}

/// Returns the arguments, of which the first is the name of the program.
///
/// # Errors
/// The help text, or what is wrong with them.
pub(crate) fn read<E: Args>(
    server: Server,
    args: impl IntoIterator<Item = OsString>,
) -> Result<Cli<E>, clap::Error> {
    let addresses = server.address.replace(' ', " and ");
    let mut default = format!("The server listens on {addresses} unless --listen is given.");
    let help = match server.datagram_port {
        Some(port) => {
            let example = "An address of UDP without a port, such as udp://127.0.0.1,";
            default = format!("{default} {example} has port {port}.");
            DATAGRAMS_HELP
        }
        None => LISTEN_HELP,
    };
    let command = Cli::<E>::command()
        .name(server.name)
        .bin_name(server.name)
        .about(server.about)
        .mut_arg("listen", |arg| {
            arg.help(help)
                .value_parser(move |text: &str| parse_endpoint(text, server.datagram_port))
        })
        .after_help(format!("{default}\n\n{NOTES}"));
    let matches = command.try_get_matches_from(args)?;
    let is_given =
        |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    let given = matches.ids().filter(is_given).map(ToString::to_string).collect();
    Ok(Cli { given, ..Cli::from_arg_matches(&matches)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        let after = |milliseconds| Ok(IdleTimeout::After(Duration::from_millis(milliseconds)));
        assert_eq!(parse_idle("off"), Ok(IdleTimeout::Off));
        for (text, milliseconds) in [
            ("500ms", 500),
            ("60s", 60_000),
            ("60", 60_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1d1h1m1s1ms", 90_061_001),
            ("0m1s", 1000),
        ] {
            assert_eq!(parse_idle(text), after(milliseconds), "{text}");
        }
        for wrong in [
            "",
            "0",
            "0s",
            "0h0m",
            "-1s",
            "+1s",
            "5w",
            "s",
            "1h30",
            "1.5h",
            "1h 30m",
            "1hh",
            "5M",
            "99999999999999999999s",
            "999999999999999999d",
            "off1s",
        ] {
            assert!(parse_idle(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn an_address_of_udp_may_lack_its_port() {
        for (text, shown) in [
            ("udp://127.0.0.1", "udp://127.0.0.1:8000"),
            ("udp://[::1]", "udp://[::1]:8000"),
            ("udp://localhost", "udp://localhost:8000"),
            ("udp://127.0.0.1:7", "udp://127.0.0.1:7"),
            ("127.0.0.1:7", "127.0.0.1:7"),
        ] {
            let endpoint = parse_endpoint(text, Some(8000)).expect(text);
            assert_eq!(endpoint.location.to_string(), shown);
        }
        for (text, port) in [
            ("127.0.0.1", Some(8000)),
            ("udp://127.0.0.1", None),
            ("udp://127.0.0.1:70000", Some(8000)),
            ("udp://127.0.0.1:", Some(8000)),
            ("udp://::1", Some(8000)),
            ("udp://", Some(8000)),
            ("tls://127.0.0.1", Some(8000)),
            ("tls://unix:/run/x.sock", None),
            ("tls://udp://127.0.0.1:7", None),
            ("tls://", None),
        ] {
            assert!(parse_endpoint(text, port).is_err(), "{text}");
        }
    }

    #[test]
    fn an_encrypted_address_is_one_of_tcp() {
        for (text, shown) in [
            ("tls://127.0.0.1:7", "127.0.0.1:7"),
            ("tls://[::1]:7", "[::1]:7"),
            ("tls://localhost:https", "localhost:https"),
        ] {
            let endpoint = parse_endpoint(text, None).expect(text);
            assert!(endpoint.is_encrypted);
            assert_eq!(endpoint.location.to_string(), shown);
            assert_eq!(endpoint.to_string(), format!("tls://{shown}"));
        }
    }

    #[test]
    fn keepalive_is_in_whole_seconds() {
        let after = |seconds| Ok(IdleTimeout::After(Duration::from_secs(seconds)));
        assert_eq!(parse_keepalive("300s"), after(300));
        assert_eq!(parse_keepalive("off"), Ok(IdleTimeout::Off));
        for wrong in ["500ms", "1s500ms", "10h", "0", "soon"] {
            assert!(parse_keepalive(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn modes_and_counts_out_of_range_are_refused() {
        assert_eq!(parse_mode("660"), Ok(0o660));
        assert!(parse_mode("1777").is_err() && parse_mode("8").is_err());
        assert_eq!(parse_count("1"), Ok(1));
        assert!(parse_count("0").is_err() && parse_count("many").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::<NoArgs>::command().debug_assert();
    }
}
