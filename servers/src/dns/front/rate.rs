//! The limit of answers to one network of clients.
//!
//! Questions with a forged source make a server send answers to a victim. So each network, as of
//! a victim or its neighbours, gets a limited number of answers a second. Of what is beyond it, every
//! second answer is replaced by an empty one with TC: a client that is no victim then asks over TCP,
//! where a source cannot be forged.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::networks::first_of;

/// The bits of an address that name a network, as with BIND and Knot Resolver: neighbours often share
/// the line that is to be flooded.
const IPV4_PREFIX: u8 = 24;
const IPV6_PREFIX: u8 = 56;
/// The answers that a network may get at once: those of this time, in nanoseconds.
const BURST: u64 = 2_000_000_000;
/// How many networks with the same place are known at the same time.
const WAYS: usize = 4;
/// The number of networks that are known at the same time. They take 1 MB.
const NETWORKS: usize = 65_536;

/// Limits the answers to each network.
#[derive(Debug)]
pub(in crate::dns) struct RateLimit {
    /// The time that an answer counts for.
    interval: Duration,
    start: Instant,
    networks: Box<[[Account; WAYS]]>,
    hasher: RandomState,
    limited: u64,
}

/// The account of a network.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// The hash of the network. Zero stands for none.
    network: u64,
    /// When the answers so far are paid, in nanoseconds since the start.
    paid_at: u64,
}

/// What is to be done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum Allowed {
    /// It is sent.
    Answer,
    /// An empty answer with TC is sent.
    Truncated,
    /// Nothing is sent.
    Nothing,
}

impl RateLimit {
    /// Returns a limit of this many answers a second for each network, at least one.
    pub(in crate::dns) fn new(per_second: u32, now: Instant) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            start: now,
            networks: vec![[Account::default(); WAYS]; NETWORKS / WAYS].into(),
            hasher: RandomState::new(),
            limited: 0,
        }
    }

    /// Decides about an answer in a datagram to a client, and counts it.
    pub(in crate::dns) fn check(&mut self, client: IpAddr, now: Instant) -> Allowed {
        let client = client.to_canonical();
        let prefix = if client.is_ipv4() { IPV4_PREFIX } else { IPV6_PREFIX };
        let hash = self.hasher.hash_one(first_of(client, prefix)).max(1);
        let now = nanoseconds(now.saturating_duration_since(self.start));
        let interval = nanoseconds(self.interval);
        let account = self.account(hash);
        let paid_at = account.paid_at.max(now) + interval;
        if paid_at - now <= BURST {
            account.paid_at = paid_at;
            return Allowed::Answer;
        }
        self.limited += 1;
        if self.limited.is_multiple_of(2) { Allowed::Nothing } else { Allowed::Truncated }
    }

    /// Returns how many answers were not sent as they were.
    pub(in crate::dns) fn limited(&self) -> u64 {
        self.limited
    }

    /// Returns the account of a network. One that is not known takes the account that is paid first.
    fn account(&mut self, hash: u64) -> &mut Account {
        // The lower bits choose the place.
        let index = hash as usize % self.networks.len();
        let ways = &mut self.networks[index];
        let known = ways.iter().position(|account| account.network == hash);
        let place = known.unwrap_or_else(|| {
            let first = (0..WAYS).min_by_key(|&way| ways[way].paid_at).unwrap_or_default();
            ways[first] = Account { network: hash, paid_at: 0 };
            first
        });
        &mut ways[place]
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Returns how many of `count` answers at one time are sent.
    fn sent(limit: &mut RateLimit, address: &str, count: u32, now: Instant) -> u32 {
        let checks = (0..count).map(|_| limit.check(client(address), now));
        checks.filter(|it| *it == Allowed::Answer).count() as u32
    }

    #[test]
    fn a_network_gets_its_rate_and_others_theirs() {
        let start = Instant::now();
        let mut limit = RateLimit::new(10, start);
        assert_eq!(sent(&mut limit, "192.0.2.1", 100, start), 20);
        assert_eq!(sent(&mut limit, "192.0.2.200", 100, start), 0);
        assert_eq!(sent(&mut limit, "::ffff:192.0.2.3", 100, start), 0);
        assert_eq!(sent(&mut limit, "192.0.3.1", 100, start), 20);
        assert_eq!(sent(&mut limit, "2001:db8::1", 15, start), 15);
        assert_eq!(sent(&mut limit, "2001:db8:0:ff::1", 15, start), 5);
        assert_eq!(sent(&mut limit, "2001:db8:0:100::1", 15, start), 15);
        let later = start + Duration::from_millis(1500);
        assert_eq!(sent(&mut limit, "192.0.2.1", 100, later), 15);
        let after = start + Duration::from_secs(3600);
        assert_eq!(sent(&mut limit, "192.0.2.1", 100, after), 20);
    }

    #[test]
    fn every_second_answer_beyond_the_limit_says_to_use_tcp() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1, start);
        assert_eq!(sent(&mut limit, "192.0.2.1", 2, start), 2);
        let next: Vec<Allowed> = (0..4).map(|_| limit.check(client("192.0.2.1"), start)).collect();
        use Allowed::{Nothing, Truncated};
        assert_eq!(next, [Truncated, Nothing, Truncated, Nothing]);
        assert_eq!(limit.limited(), 4);
    }

    #[test]
    fn over_any_time_a_network_gets_its_rate_and_a_burst_at_most() {
        let (start, rate) = (Instant::now(), 50);
        let mut limit = RateLimit::new(rate, start);
        let mut random = fastrand::Rng::with_seed(7);
        let (mut now, mut sent) = (start, 0);
        for _ in 0..20_000 {
            now += Duration::from_micros(random.u64(0..4000));
            sent += u32::from(limit.check(client("192.0.2.1"), now) == Allowed::Answer);
        }
        let seconds = now.duration_since(start).as_secs_f64();
        let (least, most) = (f64::from(rate) * seconds, f64::from(rate) * (seconds + 2.0));
        assert!((least - 1.0..=most).contains(&f64::from(sent)), "{sent} in {seconds} s");
    }

    #[test]
    fn many_networks_do_not_displace_one_that_is_over_its_limit() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1, start);
        assert_eq!(sent(&mut limit, "192.0.2.1", 10, start), 2);
        for number in 0..100_000_u32 {
            limit.check(IpAddr::V4((10 << 24 | number << 8).into()), start);
        }
        // The others owe less, so theirs are the accounts that are given away.
        assert_eq!(sent(&mut limit, "192.0.2.1", 10, start), 0);
    }
}
