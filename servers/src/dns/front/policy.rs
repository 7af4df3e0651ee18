//! Which clients are answered, and how often.

use std::net::IpAddr;
use std::time::Instant;

use clap::Args;

use super::networks::Network;
use super::rate::{Allowed, RateLimit};

/// The networks whose clients are answered unless others are given: of the loopback, of private use (RFC
/// 1918, RFC 6598, RFC 4193), and of the same link (RFC 3927, RFC 4291).
const LOCAL_NETWORKS: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// The arguments about clients.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Clients")]
pub struct PolicyArgs {
    /// Network whose clients are answered, such as 192.0.2.0/24 or 2001:db8::/32; others are told
    /// REFUSED. May be given several times. Without it: the loopback, and the addresses for private
    /// networks and of the same link; a public address of this host has to be given
    #[arg(long, value_name = "NETWORK")]
    pub(in crate::dns) allow: Vec<Network>,

    /// Answers in datagrams to the clients of one network, an IPv4 /24 or an IPv6 /56, in a second, up
    /// to 1000000; those of two seconds may come at once. Beyond it, every second answer is empty and makes the client
    /// ask over TCP, and the others are not sent. Clients with a cookie of this server are not counted.
    /// Without it, there is no limit
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(in crate::dns) rate_limit: Option<u32>,
}

/// Decides which clients are answered.
#[derive(Debug)]
pub(in crate::dns) struct Policy {
    allowed: Vec<Network>,
    rate: Option<RateLimit>,
}

/// What is known of the sender of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Sender {
    /// Its address may be forged: the question is in a datagram.
    Claimed,
    /// It receives what is sent to its address: it has a connection, or a cookie.
    Proven,
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Admission {
    /// Its answer.
    Admitted,
    /// REFUSED: it belongs to no network that is allowed.
    Refused,
    /// An empty answer with TC.
    Truncated,
    /// Nothing.
    Nothing,
}

impl Policy {
    /// Returns the policy that the arguments describe.
    pub(in crate::dns) fn new(args: &PolicyArgs, now: Instant) -> Self {
        let allowed = match args.allow.as_slice() {
            [] => LOCAL_NETWORKS.iter().filter_map(|network| network.parse().ok()).collect(),
            given => given.to_vec(),
        };
        Self { allowed, rate: args.rate_limit.map(|count| RateLimit::new(count, now)) }
    }

    /// Decides about a question. A client on a Unix socket has no address, and the permissions of its file
    /// have let it in.
    pub(in crate::dns) fn admit(
        &mut self,
        client: Option<IpAddr>,
        sender: Sender,
        now: Instant,
    ) -> Admission {
        let Some(client) = client else { return Admission::Admitted };
        if let (Some(rate), Sender::Claimed) = (&mut self.rate, sender) {
            match rate.check(client, now) {
                Allowed::Answer => {}
                Allowed::Truncated => return Admission::Truncated,
                Allowed::Nothing => return Admission::Nothing,
            }
        }
        match self.allowed.iter().any(|network| network.contains(client)) {
            true => Admission::Admitted,
            false => Admission::Refused,
        }
    }

    /// Returns how many answers the limit has held back.
    pub(in crate::dns) fn limited(&self) -> u64 {
        self.rate.as_ref().map_or(0, RateLimit::limited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(policy: &mut Policy, client: &str, sender: Sender) -> Admission {
        policy.admit(Some(client.parse().expect("an address")), sender, Instant::now())
    }

    #[test]
    fn without_networks_clients_of_private_ones_are_answered() {
        let mut policy =
            Policy::new(&PolicyArgs { allow: Vec::new(), rate_limit: None }, Instant::now());
        assert_eq!(policy.allowed.len(), LOCAL_NETWORKS.len());
        for client in ["127.0.0.1", "10.1.2.3", "::1", "fd00::1", "::ffff:192.168.1.1"] {
            assert_eq!(admitted(&mut policy, client, Sender::Claimed), Admission::Admitted);
        }
        for client in ["192.0.2.1", "2001:db8::1", "172.32.0.1"] {
            assert_eq!(admitted(&mut policy, client, Sender::Proven), Admission::Refused);
        }
        assert_eq!(policy.admit(None, Sender::Proven, Instant::now()), Admission::Admitted);
    }

    #[test]
    fn the_limit_of_answers_is_one_of_datagrams() {
        let allow = vec!["192.0.2.0/24".parse().expect("a network")];
        let mut policy = Policy::new(&PolicyArgs { allow, rate_limit: Some(1) }, Instant::now());
        let found: Vec<Admission> =
            (0..4).map(|_| admitted(&mut policy, "192.0.2.1", Sender::Claimed)).collect();
        use Admission::{Admitted, Nothing, Truncated};
        assert_eq!(found, [Admitted, Admitted, Truncated, Nothing]);
        assert_eq!(admitted(&mut policy, "192.0.2.1", Sender::Proven), Admitted);
        assert_eq!(admitted(&mut policy, "10.0.0.1", Sender::Claimed), Admission::Refused);
        assert_eq!(policy.limited(), 2);
    }
}
