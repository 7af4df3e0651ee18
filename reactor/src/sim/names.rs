//! The names of the simulated world, and how long it takes to resolve them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::net::resolver::ResolverOptions;
use crate::net::resolver::error::{ResolveError, ResolveErrorKind};
use crate::net::resolver::flights::{Flights, Joined, Waiter};
use crate::net::resolver::literal;
use crate::net::resolver::query::{Hints, IpFamily, Query};
use crate::net::resolver::resolved::Resolved;
use crate::sim::calls::Simulated;
use crate::sim::fault::Fault;
use crate::sim::world::{Happening, World};

const SECOND: u64 = 1_000_000_000;
/// The place of the random times of lookups, apart from those of ways between hosts.
const LOOKUPS: u32 = 0xFFFF_0000;

/// The services that every host knows (`services(5)`).
const SERVICES: [(&str, u16); 11] = [
    ("echo", 7),
    ("discard", 9),
    ("daytime", 13),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("http", 80),
    ("https", 443),
    ("redis", 6379),
];

/// The names that all hosts know.
pub(super) struct Names {
    addresses: BTreeMap<String, Vec<IpAddr>>,
}

impl Default for Names {
    fn default() -> Self {
        let loopback = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        Self { addresses: BTreeMap::from([("localhost".to_owned(), loopback)]) }
    }
}

/// Returns the form of a name by which it is found: case does not matter, nor the dot of the root.
fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Names {
    pub(super) fn set(&mut self, name: &str, addresses: Vec<IpAddr>) {
        self.addresses.insert(key(name), addresses);
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.addresses.remove(&key(name));
    }

    /// Returns the answer to a question, as `getaddrinfo(3)` would.
    fn look_up(&self, query: &Query) -> Result<Resolved, ResolveErrorKind> {
        let hints = &query.hints;
        if !literal::is_usual(hints) {
            return Err(ResolveErrorKind::Unsupported);
        }
        let port = port(query)?;
        let found = match &query.name {
            None if query.service.is_none() => return Err(ResolveErrorKind::UnknownName),
            None if hints.passive => {
                vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
            }
            None => vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
            Some(name) => match name.parse() {
                Ok(ip) => vec![ip],
                Err(_) if hints.numeric_host => return Err(ResolveErrorKind::UnknownName),
                Err(_) => {
                    let known = self.addresses.get(&key(name));
                    known.cloned().ok_or(ResolveErrorKind::UnknownName)?
                }
            },
        };
        let wanted = of_family(&found, hints);
        if wanted.is_empty() {
            return Err(ResolveErrorKind::NoAddress);
        }
        let canonical = query.name.as_deref().filter(|_| hints.canonical_name).map(key);
        Ok(Resolved::new(literal::entries(&wanted, port, hints), canonical))
    }
}

/// Returns the port of the service of a question.
fn port(query: &Query) -> Result<u16, ResolveErrorKind> {
    let Some(service) = query.service.as_deref() else { return Ok(0) };
    let known = || {
        let found = SERVICES.iter().find(|(name, _)| *name == service);
        found.filter(|_| !query.hints.numeric_service).map(|(_, port)| *port)
    };
    literal::port_of(service).or_else(known).ok_or(ResolveErrorKind::UnknownService)
}

/// Returns the addresses of the family that is asked for.
fn of_family(found: &[IpAddr], hints: &Hints) -> Vec<IpAddr> {
    let Some(family) = hints.family else { return found.to_vec() };
    let of = |family| found.iter().filter(move |ip| literal::family_of(**ip) == family);
    let mut wanted: Vec<IpAddr> = of(family).copied().collect();
    if family == IpFamily::V6 && hints.v4_mapped && (wanted.is_empty() || hints.all) {
        wanted.extend(of(IpFamily::V4).filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(IpAddr::V6(ip.to_ipv6_mapped())),
            IpAddr::V6(_) => None,
        }));
    }
    wanted
}

/// The lookups of the program of a host.
#[derive(Default)]
pub(super) struct Lookups {
    /// Those of each resolver, by its number.
    flights: BTreeMap<u64, Flights>,
    /// Those that are under way, with the number of their resolver.
    running: BTreeMap<u64, Running>,
}

/// A lookup under way.
struct Running {
    pool: u64,
    threads_max: usize,
    query: Query,
    /// It fails for now.
    fails: bool,
}

impl World {
    /// Starts lookups that wait, as far as the resolver has threads.
    fn start_lookups(&mut self, host: usize, pool: u64, threads_max: usize) {
        loop {
            let lookups = &mut self.hosts[host].lookups;
            if lookups.running.values().filter(|it| it.pool == pool).count() >= threads_max {
                return;
            }
            let next = lookups.flights.get_mut(&pool).and_then(Flights::start_next);
            let Some(query) = next else { return };
            let (low, high) = self.latency;
            let mut time = self.dice.bits(LOOKUPS | host as u32).between(2 * low, 2 * high);
            if let Some(mut bits) = self.strikes(Fault::NameSlow, host, host as u32) {
                time += bits.between(SECOND / 10, 60 * SECOND);
            }
            let fails = self.strikes(Fault::NameFails, host, host as u32).is_some();
            self.note(host, format_args!("looks {query} up"));
            let running = Running { pool, threads_max, query, fails };
            // Numbers of happenings are used once, so those of lookups are.
            let at = self.time_of(host).saturating_add(time);
            let lookup = self.later_with(at, |lookup| Happening::Answer { host, lookup });
            self.hosts[host].lookups.running.insert(lookup, running);
        }
    }

    /// Ends a lookup.
    pub(super) fn answer(&mut self, host: usize, lookup: u64) {
        let Some(running) = self.hosts[host].lookups.running.remove(&lookup) else { return };
        let Running { pool, threads_max, query, fails } = running;
        let found =
            if fails { Err(ResolveErrorKind::Temporary) } else { self.names.look_up(&query) };
        match &found {
            Ok(found) => {
                let count = found.addresses().len();
                self.note(host, format_args!("{query} has {count} addresses"));
            }
            Err(kind) => self.note(host, format_args!("{query}: {kind:?}")),
        }
        let answer = found.map(Arc::new).map_err(|kind| ResolveError::new(query.clone(), kind));
        let flights = self.hosts[host].lookups.flights.get_mut(&pool);
        for waiter in flights.map(|it| it.finish(&query)).unwrap_or_default() {
            waiter.answer(answer.clone());
        }
        self.start_lookups(host, pool, threads_max);
    }
}

impl Simulated {
    /// Looks a name up at once.
    pub(crate) fn look_up_now(&self, query: &Query) -> Result<Resolved, ResolveErrorKind> {
        self.world.lock().names.look_up(query)
    }

    /// Looks a name up for a source of this host, for the resolver with the number `pool`.
    pub(crate) fn look_up(
        &self,
        pool: u64,
        options: &ResolverOptions,
        query: &Query,
        waiter: Waiter,
    ) -> Result<(), ResolveErrorKind> {
        let world = &mut *self.world.lock();
        world.spend(self.host);
        let most = options.waiting_max;
        let flights = world.hosts[self.host].lookups.flights.entry(pool).or_default();
        match flights.join(query, waiter, most) {
            Joined::Full => return Err(ResolveErrorKind::TooManyWaiting(most)),
            Joined::Another => {}
            Joined::First => world.start_lookups(self.host, pool, options.threads_max),
        }
        Ok(())
    }

    /// Forgets a source that does not wait any more.
    pub(crate) fn stop_looking_up(&self, pool: u64, query: &Query, id: u64) {
        let world = &mut *self.world.lock();
        if let Some(flights) = world.hosts[self.host].lookups.flights.get_mut(&pool) {
            flights.leave(query, id);
        }
    }
}
