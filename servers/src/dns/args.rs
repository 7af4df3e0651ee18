//! The arguments of the server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use clap::Args;
use protocol::dns::Name;

use super::cache::CacheArgs;
use super::front::PolicyArgs;
use super::local::{LocalArgs, split_domains};
use super::process_secrets::ProcessSecrets;
use crate::args::parse_duration;

/// The port of a server (RFC 1035 section 4.2).
const PORT: u16 = 53;
/// The largest datagram to clients and from upstreams that is never divided by a network of 1,280 bytes,
/// the least that IPv6 allows: what DNS Flag Day 2020 recommends.
const UDP_SIZE: u16 = 1232;

/// The least number of ports from which upstreams are asked: fewer are found by guessing.
const PORTS_MIN: usize = 256;

/// The arguments that only this server takes.
#[derive(Clone, Debug, Args)]
pub struct DnsArgs {
    /// Server that is asked, such as 9.9.9.9, 9.9.9.9:5353 or 2620:fe::fe; may be given several
    /// times. Without any, those of --resolv-conf are asked
    #[arg(long, value_name = "ADDRESS", help_heading = "Upstreams", value_parser = parse_upstream)]
    pub upstream: Vec<SocketAddr>,

    /// Servers that are asked about a domain and what is below it, such as /corp.example/10.0.0.1 or
    /// /a.example/b.example/10.0.0.1:5353; /DOMAIN/# stands for those of all other names, and /DOMAIN/
    /// for none: then names that are not known here do not exist. May be given several times; the
    /// longest domain that fits is taken, with all of its servers
    #[arg(long, value_name = "/DOMAIN/ADDRESS", help_heading = "Upstreams",
          value_parser = parse_server)]
    pub server: Vec<ServerRule>,

    /// File whose nameserver lines are the upstreams if no --upstream is given (resolv.conf(5))
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Upstreams",
        default_value = "/etc/resolv.conf"
    )]
    pub resolv_conf: PathBuf,

    /// Time for an answer to be found; then the client is told SERVFAIL
    #[arg(long, value_name = "TIME", help_heading = "Upstreams", default_value = "4s",
          value_parser = parse_duration)]
    pub deadline: Duration,

    /// How often a question is sent at most before its deadline, over all upstreams: 1 to 64
    #[arg(long, value_name = "COUNT", help_heading = "Upstreams", default_value_t = 8,
          value_parser = clap::value_parser!(u8).range(1..=64))]
    pub tries: u8,

    /// Questions of clients that wait for upstreams at most, up to 1000000; further ones are told SERVFAIL
    #[arg(long, value_name = "COUNT", help_heading = "Upstreams", default_value_t = 16_384,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub waiting_max: u32,

    /// Sockets with random ports that are open for each upstream: 1 to 1024
    #[arg(long, value_name = "COUNT", help_heading = "Upstreams", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub ports: u16,

    /// Questions after which such a socket is replaced by one with another port, up to 1000000
    #[arg(long, value_name = "COUNT", help_heading = "Upstreams", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub port_questions: u32,

    /// Ports of these sockets, 256 at least. Each is drawn at random, again if another program has it
    #[arg(long, value_name = "FIRST-LAST", help_heading = "Upstreams", default_value = "1024-65535",
          value_parser = parse_port_range)]
    pub port_range: PortRange,

    /// Do not vary the case of letters in questions. Answers are checked for the same case, which makes
    /// them harder to forge
    #[arg(long, help_heading = "Upstreams")]
    pub keep_case: bool,

    /// Network interface on whose addresses clients may ask too, besides those of --listen, such as eth0
    /// or eth0:5353 (port 53 by default); may be given several times. Sockets are opened and closed as
    /// addresses come and go, for 256 addresses at most
    #[arg(long, value_name = "NAME[:PORT]", help_heading = "Clients",
          value_parser = parse_interface)]
    pub interface: Vec<InterfaceRule>,

    /// Largest datagram that upstreams may send and that is sent to clients, 512 to 4096 bytes; longer
    /// answers go over TCP
    #[arg(long, value_name = "BYTES", help_heading = "Clients", default_value_t = UDP_SIZE,
          value_parser = clap::value_parser!(u16).range(512..=4096))]
    pub udp_size: u16,

    /// Questions of one connection that are answered at the same time, up to 65535; further ones wait
    #[arg(long, value_name = "COUNT", help_heading = "Clients", default_value_t = 100,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub pipelined_max: u16,

    /// File with the secret of the cookies by which clients are known (RFC 7873, RFC 9018), 32 hexadecimal
    /// digits. Clients keep their cookies over a restart, and at another server with the same secret.
    /// Without it, the secret is random
    #[arg(long, value_name = "FILE", help_heading = "Clients")]
    pub cookie_secret: Option<PathBuf>,

    /// The secrets of the process, once a loop needs them.
    #[arg(skip)]
    pub(in crate::dns) secrets: OnceLock<ProcessSecrets>,

    /// Those about clients.
    #[command(flatten)]
    pub policy: PolicyArgs,

    /// Those for answers that need no upstream.
    #[command(flatten)]
    pub local: LocalArgs,

    /// Those for the cache.
    #[command(flatten)]
    pub cache: CacheArgs,
}

impl DnsArgs {
    /// Returns the secrets of the process, the same for each of its loops.
    ///
    /// # Errors
    /// When there are none: see [`ProcessSecrets::new`].
    pub(in crate::dns) fn secrets(&self) -> io::Result<&ProcessSecrets> {
        if self.secrets.get().is_none() {
            // Another loop may have been quicker. Then its secrets count.
            let _ = self.secrets.set(ProcessSecrets::new(self.cookie_secret.as_deref())?);
        }
        self.secrets.get().ok_or_else(|| io::Error::other("there are no secrets"))
    }
}

/// A network interface on whose addresses clients may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceRule {
    /// Its name.
    pub name: String,
    /// The port, of UDP and TCP.
    pub port: u16,
}

/// Reads `NAME` or `NAME:PORT`.
fn parse_interface(text: &str) -> Result<InterfaceRule, String> {
    let (name, port) = match text.split_once(':') {
        None => (text, Some(PORT)),
        Some((name, port)) => (name, port.parse().ok().filter(|port| *port != 0)),
    };
    // What the kernel accepts as a name (`dev_valid_name`): 15 bytes at most.
    let is_name =
        matches!(name.len(), 1..=15) && !name.contains(|it: char| it == '/' || it.is_whitespace());
    match port {
        Some(port) if is_name => Ok(InterfaceRule { name: name.to_owned(), port }),
        _ => {
            let text =
                "expected the name of an interface with or without a port, such as eth0:5353";
            Err(text.to_owned())
        }
    }
}

/// The ports from which upstreams are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl PortRange {
    /// Returns how many there are.
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }
}

/// Reads `FIRST-LAST`.
fn parse_port_range(text: &str) -> Result<PortRange, String> {
    let ends = text.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (0 < first && first <= last).then_some(PortRange { first, last })
    });
    ends.filter(|range| range.count() >= PORTS_MIN).ok_or_else(|| {
        format!("expected the first and the last of {PORTS_MIN} ports or more, such as 1024-65535")
    })
}

/// An upstream for some domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRule {
    /// The domains. The root stands for all.
    pub domains: Vec<Name>,
    /// The upstream.
    pub target: RuleTarget,
}

/// Where questions about some domains go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleTarget {
    /// To this upstream.
    Address(SocketAddr),
    /// To those of names that no rule names.
    Default,
    /// Nowhere.
    Nowhere,
}

/// Reads the address of an upstream, with or without its port. An address that is valid on the network of
/// one interface alone has the name or the number of that as its zone (RFC 4007 section 11).
pub(super) fn parse_upstream(text: &str) -> Result<SocketAddr, String> {
    let Some((front, rest)) = text.split_once('%') else {
        return match parse_without_zone(text)? {
            SocketAddr::V6(address) if address.ip().is_unicast_link_local() => Err(format!(
                "{0} is valid on one network alone: write {0}%eth0 for that of the interface eth0",
                address.ip()
            )),
            address => Ok(address),
        };
    };
    let (zone, back) = rest.split_at(rest.find(']').unwrap_or(rest.len()));
    match parse_without_zone(&format!("{front}{back}"))? {
        SocketAddr::V6(mut address) if address.ip().is_unicast_link_local() => {
            address.set_scope_id(interface_number(zone)?);
            Ok(address.into())
        }
        address => Err(format!("{} has no zone: it is valid on all networks", address.ip())),
    }
}

/// Returns the number of the network interface with this name or number.
fn interface_number(zone: &str) -> Result<u32, String> {
    let number = zone.parse().ok().filter(|number| *number > 0);
    let number = number.or_else(|| nix::net::if_::if_nametoindex(zone).ok());
    number.ok_or_else(|| format!("there is no network interface {zone:?}"))
}

fn parse_without_zone(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    let address = match bare.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, PORT),
        Err(_) => text.parse().map_err(|_| {
            "expected an IP address with or without a port, such as 9.9.9.9 or [2620:fe::fe]:53"
        })?,
    };
    if address.port() == 0 || address.ip().is_unspecified() {
        return Err(format!("{address} is no address of a server"));
    }
    Ok(address)
}

/// Reads `/DOMAIN/ADDRESS`, with one domain or several.
fn parse_server(text: &str) -> Result<ServerRule, String> {
    let (domains, value) = split_domains(text)?;
    let target = match value {
        "" => RuleTarget::Nowhere,
        "#" => RuleTarget::Default,
        _ => RuleTarget::Address(parse_upstream(value)?),
    };
    Ok(ServerRule { domains, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_may_lack_its_port() {
        for (text, shown) in [
            ("9.9.9.9", "9.9.9.9:53"),
            ("9.9.9.9:5353", "9.9.9.9:5353"),
            ("2620:fe::fe", "[2620:fe::fe]:53"),
            ("[2620:fe::fe]", "[2620:fe::fe]:53"),
            ("[2620:fe::fe]:5353", "[2620:fe::fe]:5353"),
            ("fe80::1%7", "[fe80::1%7]:53"),
            ("[fe80::1%7]", "[fe80::1%7]:53"),
            ("[fe80::1%7]:5353", "[fe80::1%7]:5353"),
        ] {
            assert_eq!(parse_upstream(text).map(|it| it.to_string()), Ok(shown.to_owned()));
        }
        for wrong in
            ["", "dns.quad9.net", "9.9.9.9:", "9.9.9.9:70000", "9.9.9.9:0", "0.0.0.0", "::"]
        {
            assert!(parse_upstream(wrong).is_err(), "{wrong} was accepted");
        }
        let lo = parse_upstream("fe80::1%lo").expect("there is always one");
        assert!(matches!(lo, SocketAddr::V6(it) if it.scope_id() > 0));
        for (wrong, why) in [
            ("fe80::1%", "there is no network interface \"\""),
            ("fe80::1%0", "there is no network interface \"0\""),
            ("fe80::1%there-is-none", "there is no network interface \"there-is-none\""),
            ("2620:fe::fe%lo", "2620:fe::fe has no zone: it is valid on all networks"),
            ("9.9.9.9%lo", "9.9.9.9 has no zone: it is valid on all networks"),
        ] {
            assert_eq!(parse_upstream(wrong), Err(why.to_owned()));
        }
    }

    #[test]
    fn an_interface_may_lack_its_port() {
        let read = |text| parse_interface(text).map(|it| (it.name, it.port));
        assert_eq!(read("eth0"), Ok(("eth0".to_owned(), 53)));
        assert_eq!(read("eth0.7:5353"), Ok(("eth0.7".to_owned(), 5353)));
        for wrong in ["", ":53", "eth0:", "eth0:0", "eth0:70000", "a/b", "a b", "sixteen-letters-"]
        {
            assert!(read(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn a_range_of_ports_is_not_small() {
        let read = |text| parse_port_range(text).map(|it| (it.first, it.last, it.count()));
        assert_eq!(read("1024-65535"), Ok((1024, 65_535, 64_512)));
        assert_eq!(read("1-65535"), Ok((1, 65_535, 65_535)));
        assert_eq!(read("5000-5255"), Ok((5000, 5255, 256)));
        for wrong in ["", "-", "1024", "1024-", "0-65535", "5000-5254", "9000-8000", "1-70000"] {
            assert!(read(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn a_rule_has_one_domain_or_several() {
        let rule = parse_server("/a.example/b.example/10.0.0.1").expect("it is right");
        assert_eq!(rule.domains.len(), 2);
        let address = "10.0.0.1:53".parse().expect("an address");
        assert_eq!(rule.target, RuleTarget::Address(address));
        let target = |text| parse_server(text).expect("it is right").target;
        assert_eq!(target("/a.example/#"), RuleTarget::Default);
        assert_eq!(target("/a.example/"), RuleTarget::Nowhere);
        for wrong in ["", "/", "a.example/10.0.0.1", "//10.0.0.1", "/a..b/10.0.0.1", "/a.example"] {
            assert!(parse_server(wrong).is_err(), "{wrong} was accepted");
        }
    }
}
