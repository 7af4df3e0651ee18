//! Resolves a name and a service as a program would, and prints every field of the answer.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clients::output::{arguments, print};
use clients::resolve::{json, resolve, table};
use reactor::{Hints, IpFamily, IpProtocol, Query, SocketType};

/// Resolves a name and a service, and prints every address with its kind of socket
#[derive(Parser)]
#[command(
    name = "resolve",
    version,
    after_help = "The system answers as it answers any program: from the hosts file and the name \
    servers, in the order of /etc/nsswitch.conf. Each line has the address, the port, the family, the \
    type and the protocol of a socket; without options, there is one for each type. The first line \
    also has the canonical name, if it is asked for. With --json, the object has canonical_name, and \
    entries with address, port, family, socket_type and protocol, and the numbers of the last two.\n\n\
    Examples:\n  resolve localhost http\n  resolve -4 --socket-type stream localhost 80\n  \
    resolve --passive \"\" 8080\n  resolve --canonical --address-config --v4-mapped localhost\n\n\
    The last one finds what getent ahosts localhost finds.\n\nExit codes: 0 when there is an answer; 1 when \
    there is none, or standard output failed; 2 on wrong arguments; 141 without a message, as after \
    SIGPIPE, when standard output is closed."
)]
struct Cli {
    /// Name of a host, or an IP address; "" stands for this host itself, and needs a service
    name: String,
    /// Name of a service, or a port
    #[arg(required_if_eq("name", ""))]
    service: Option<String>,
    /// Only IPv4 addresses
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6 addresses
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Only sockets of this type: stream, datagram, raw, or a number
    #[arg(long, value_name = "TYPE", value_parser = socket_type)]
    socket_type: Option<SocketType>,
    /// Only this protocol: tcp, udp, or a number
    #[arg(long, value_name = "PROTOCOL", value_parser = ip_protocol)]
    protocol: Option<IpProtocol>,
    /// For the name "": the addresses to listen on, not those of the loopback (AI_PASSIVE)
    #[arg(long)]
    passive: bool,
    /// Print the canonical name too (AI_CANONNAME)
    #[arg(long)]
    canonical: bool,
    /// The name has to be an IP address (AI_NUMERICHOST)
    #[arg(long)]
    numeric_host: bool,
    /// The service has to be a port (AI_NUMERICSERV)
    #[arg(long)]
    numeric_service: bool,
    /// With --ipv6: IPv4 addresses in IPv6 form where there are no others (AI_V4MAPPED)
    #[arg(long)]
    v4_mapped: bool,
    /// With --v4-mapped: both kinds of addresses (AI_ALL)
    #[arg(long)]
    all: bool,
    /// Only families of which this host has an address (AI_ADDRCONFIG)
    #[arg(long)]
    address_config: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Seconds to wait for an answer
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = at_least_one)]
    timeout: u64,
}

fn at_least_one(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(seconds),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

fn socket_type(text: &str) -> Result<SocketType, String> {
    match text {
        "stream" => Ok(SocketType::STREAM),
        "datagram" => Ok(SocketType::DATAGRAM),
        "raw" => Ok(SocketType::RAW),
        number => number
            .parse()
            .map(SocketType::from_number)
            .map_err(|_| "expected stream, datagram, raw or a number".to_owned()),
    }
}

fn ip_protocol(text: &str) -> Result<IpProtocol, String> {
    match text {
        "tcp" => Ok(IpProtocol::TCP),
        "udp" => Ok(IpProtocol::UDP),
        number => number
            .parse()
            .map(IpProtocol::from_number)
            .map_err(|_| "expected tcp, udp or a number".to_owned()),
    }
}

impl Cli {
    fn query(&self) -> Query {
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => Some(IpFamily::V4),
            (_, true) => Some(IpFamily::V6),
            _ => None,
        };
        let hints = Hints {
            passive: self.passive,
            canonical_name: self.canonical,
            numeric_host: self.numeric_host,
            numeric_service: self.numeric_service,
            v4_mapped: self.v4_mapped,
            all: self.all,
            address_config: self.address_config,
            family,
            socket_type: self.socket_type,
            ip_protocol: self.protocol,
        };
        let query = match (self.name.as_str(), &self.service) {
            ("", Some(service)) => Query::of_this_host(service),
            (name, None) => Query::new(name),
            (name, Some(service)) => Query::new(name).service(service),
        };
        query.hints(hints)
    }
}

fn main() -> ExitCode {
    env_logger::init();
    let cli: Cli = match arguments("resolve") {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let found = resolve(&cli.query(), Duration::from_secs(cli.timeout));
    let printed = found.and_then(|found| {
        let text = if cli.json { json(&found) } else { table(&found) };
        print(text.as_bytes())
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report("resolve").into(),
    }
}
