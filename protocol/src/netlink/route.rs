//! Routes: where packets go.

use std::net::IpAddr;

use super::attributes::{Attribute, Attributes};
use super::error::{Fault, MessageError};
use super::message::{aligned, word};
use super::{FAMILY_IPV4, FAMILY_IPV6};

/// The size of the header of a message about a route, in bytes (`struct rtmsg`, `rtnetlink(7)`).
const HEADER_SIZE: usize = 12;
/// The size of the header of one of several next hops (`struct rtnexthop`, `rtnetlink(7)`).
const HOP_SIZE: usize = 8;

/// The attributes that a view has (`linux/rtnetlink.h`).
mod number {
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const SOURCE: u16 = 2;
    pub(super) const INPUT: u16 = 3;
    pub(super) const OUTPUT: u16 = 4;
    pub(super) const GATEWAY: u16 = 5;
    pub(super) const METRIC: u16 = 6;
    pub(super) const PREFERRED_SOURCE: u16 = 7;
    pub(super) const METRICS: u16 = 8;
    pub(super) const MULTIPATH: u16 = 9;
    pub(super) const FLOW: u16 = 11;
    pub(super) const CACHE: u16 = 12;
    pub(super) const TABLE: u16 = 15;
    pub(super) const VIA: u16 = 18;
    pub(super) const PREFERENCE: u16 = 20;
    pub(super) const NEXT_HOP: u16 = 30;
}

/// How far a route or an address is valid (`rtm_scope`, `rtnetlink(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope(pub u8);

impl Scope {
    /// Everywhere.
    pub const GLOBAL: Self = Self(0);
    /// On the network of one link.
    pub const LINK: Self = Self(253);
    /// On this machine.
    pub const HOST: Self = Self(254);
}

/// The number of a routing table (`rtm_table`, `rtnetlink(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table(pub u32);

impl Table {
    /// The one that is used unless another one is named.
    pub const MAIN: Self = Self(254);
    /// The one of this machine's own addresses, which the kernel maintains.
    pub const LOCAL: Self = Self(255);
}

/// The flags of a route and of its next hops (`rtm_flags`, `rtnetlink(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteFlags(pub u32);

impl RouteFlags {
    /// It was made from another route, for one destination (`RTM_F_CLONED`).
    pub const CLONED: Self = Self(0x200);

    /// The names of flags, in the order in which `ip-route(8)` prints them.
    pub const NAMES: [(Self, &'static str); 11] = [
        (Self(0x1), "dead"),
        (Self(0x4), "onlink"),
        (Self(0x2), "pervasive"),
        (Self(0x8), "offload"),
        (Self(0x40), "trap"),
        (Self(0x100), "notify"),
        (Self(0x10), "linkdown"),
        (Self(0x20), "unresolved"),
        (Self(0x4000), "rt_offload"),
        (Self(0x8000), "rt_trap"),
        (Self(0x2000_0000), "rt_offload_failed"),
    ];

    /// Returns whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A property of the connections that use a route (`RTA_METRICS`, `rtnetlink(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric<'a> {
    /// Which property: 1 tells which ones may not be changed, 2 is the MTU (`RTAX_MTU`,
    /// `linux/rtnetlink.h`).
    pub number: u16,
    /// Its value; the name of an algorithm is longer than a number and ends with a zero byte.
    pub content: &'a [u8],
}

impl Metric<'_> {
    /// Returns the value as a number; 0 if it is none.
    pub fn value(&self) -> u32 {
        word(self.content, 0)
    }
}

/// The realms of packets, by which rules and statistics of IPv4 group routes (`RTA_FLOW`, `ip-route(8)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realms {
    /// The one that they come from; 0 if none is set.
    pub from: u16,
    /// The one that they go to.
    pub to: u16,
}

impl Realms {
    fn read(attribute: &Attribute<'_>) -> Result<Self, MessageError> {
        let both = attribute.u32()?;
        Ok(Self { from: (both >> 16) as u16, to: both as u16 })
    }
}

/// Where packets go next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The number of the link that they leave by.
    pub output: u32,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// Its share, compared with the others.
    pub weight: u16,
    /// Its flags.
    pub flags: RouteFlags,
    /// The realms of its packets.
    pub realms: Option<Realms>,
}

/// A view of what a message says about a route (`RTM_NEWROUTE`, `rtnetlink(7)`).
///
/// Two views are equal if the route is the same, though some of its time may have passed.
#[derive(Clone, Debug)]
pub struct Route<'a> {
    /// The family of its addresses: [`FAMILY_IPV4`] or [`FAMILY_IPV6`].
    pub family: u8,
    /// The network that it leads to, without the length of its prefix; `None` is everywhere.
    pub destination: Option<IpAddr>,
    /// How many bits of a destination are compared.
    pub destination_length: u8,
    /// The network that packets have to come from.
    pub source: Option<IpAddr>,
    /// How many bits of a source are compared.
    pub source_length: u8,
    /// The type of service of its packets.
    pub tos: u8,
    /// Its table.
    pub table: Table,
    /// What has made it: 2 is the kernel, 3 a start-up script, 4 an operator (`rtm_protocol`).
    pub protocol: u8,
    /// How far its destinations are.
    pub scope: Scope,
    /// What happens to packets: 1 sends them on (`rtm_type`).
    pub kind: u8,
    /// Its flags.
    pub flags: RouteFlags,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// The number of the link that packets leave by.
    pub output: Option<u32>,
    /// The number of the link that packets have to come by.
    pub input: Option<u32>,
    /// The source address of this machine's own packets.
    pub preferred_source: Option<IpAddr>,
    /// Its metric: of several routes with the same destination, the lowest is used.
    pub metric: Option<u32>,
    /// The realms of its packets.
    pub realms: Option<Realms>,
    /// The number of a next hop that is an object of its own.
    pub next_hop: Option<u32>,
    /// The preference that a router has announced (RFC 4191): 0 medium, 1 high, 3 low.
    pub preference: Option<u8>,
    /// In how many ticks it expires (`USER_HZ`, 100 a second). It is not compared.
    pub expires: Option<i32>,
    /// The error that packets get (`errno(3)`).
    pub error: Option<u32>,
    metrics: Attributes<'a>,
    hops: &'a [u8],
}

impl<'a> Route<'a> {
    /// Reads what a message about a route says ([`Message::body`](super::Message::body)). Returns
    /// `None` if it is neither of IPv4 nor of IPv6.
    ///
    /// # Errors
    /// When the body or an attribute has a wrong length.
    pub fn parse(body: &'a [u8]) -> Result<Option<Self>, MessageError> {
        let Some(header) = body.first_chunk::<HEADER_SIZE>() else {
            return Err(MessageError::new(body.len(), Fault::Truncated));
        };
        let [family, destination_length, source_length, tos, table, protocol, scope, kind, ..] =
            *header;
        if !matches!(family, FAMILY_IPV4 | FAMILY_IPV6) {
            return Ok(None);
        }
        if destination_length.max(source_length) > bits_of(family) {
            return Err(MessageError::new(1, Fault::PrefixLength));
        }
        let mut route = Self {
            family,
            destination: None,
            destination_length,
            source: None,
            source_length,
            tos,
            table: Table(u32::from(table)),
            protocol,
            scope: Scope(scope),
            kind,
            flags: RouteFlags(word(header, 8)),
            gateway: None,
            output: None,
            input: None,
            preferred_source: None,
            metric: None,
            realms: None,
            next_hop: None,
            preference: None,
            expires: None,
            error: None,
            metrics: Attributes::none(),
            hops: &[],
        };
        for attribute in Attributes::new(body, HEADER_SIZE) {
            route.take(&attribute?)?;
        }
        Ok(Some(route))
    }

    fn take(&mut self, attribute: &Attribute<'a>) -> Result<(), MessageError> {
        let ip = || attribute.ip(self.family).map(Some);
        match attribute.number {
            number::DESTINATION => self.destination = ip()?,
            number::SOURCE => self.source = ip()?,
            number::INPUT => self.input = Some(attribute.u32()?),
            number::OUTPUT => self.output = Some(attribute.u32()?),
            number::GATEWAY => self.gateway = ip()?,
            number::METRIC => self.metric = Some(attribute.u32()?),
            number::PREFERRED_SOURCE => self.preferred_source = ip()?,
            number::METRICS => self.metrics = attribute.nested()?,
            number::MULTIPATH => self.hops = checked_hops(attribute, self.family)?,
            number::FLOW => self.realms = Some(Realms::read(attribute)?),
            number::CACHE => {
                let four = attribute.content.first_chunk::<16>().ok_or(attribute.wrong())?;
                let expires = word(four, 8).cast_signed();
                self.expires = Some(expires).filter(|it| *it != 0);
                self.error = Some(word(four, 12)).filter(|it| *it != 0);
            }
            number::TABLE => self.table = Table(attribute.u32()?),
            number::VIA => self.gateway = Some(via(attribute)?),
            number::PREFERENCE => self.preference = Some(attribute.u8()?),
            number::NEXT_HOP => self.next_hop = Some(attribute.u32()?),
            _ => {}
        }
        Ok(())
    }

    /// Returns the properties of connections that use it.
    pub fn metrics(&self) -> impl Iterator<Item = Metric<'a>> + use<'a> {
        let attributes = self.metrics.clone().flatten();
        attributes.map(|it| Metric { number: it.number, content: it.content })
    }

    /// Returns its next hops, if it has several.
    pub fn hops(&self) -> impl Iterator<Item = NextHop> + use<'a> {
        Hops { rest: self.hops, at: 0, family: self.family }.flatten()
    }

    /// Returns its next hops in an order that does not depend on the message. A notification of IPv6 begins
    /// with the newest of them, and a dump with the oldest. The order of IPv4 is part of a route.
    pub(super) fn sorted_hops(&self) -> Vec<NextHop> {
        let mut hops: Vec<_> = self.hops().collect();
        if self.family != FAMILY_IPV4 {
            hops.sort_by_key(|it| (it.output, it.gateway, it.weight));
        }
        hops
    }

    /// Returns whether it is one of the next hops of IPv6 that share a place with all others that have a
    /// router, or several of them. The kernel keeps apart what routers have announced (`RTPROT_REDIRECT`,
    /// `RTPROT_RA`).
    pub(super) fn shares_place(&self) -> bool {
        let is_announced = matches!(self.protocol, 1 | 9);
        self.family == FAMILY_IPV6
            && (!self.hops.is_empty() || self.gateway.is_some() && !is_announced)
    }

    /// Returns whether it has several next hops.
    pub(super) const fn has_hops(&self) -> bool {
        !self.hops.is_empty()
    }

    /// Returns the names of what is different from an earlier view of the same route.
    pub fn differences(&self, before: &Route<'_>) -> impl Iterator<Item = &'static str> + use<> {
        let pairs = [
            ("type", self.kind != before.kind),
            ("protocol", self.protocol != before.protocol),
            ("scope", self.scope != before.scope),
            ("flags", self.flags != before.flags),
            ("gateway", self.gateway != before.gateway),
            ("output", self.output != before.output),
            ("input", self.input != before.input),
            ("preferred source", self.preferred_source != before.preferred_source),
            ("realms", self.realms != before.realms),
            ("next hop", self.next_hop != before.next_hop),
            ("next hops", self.sorted_hops() != before.sorted_hops()),
            ("preference", self.preference != before.preference),
            ("error", self.error != before.error),
            ("metrics", !self.metrics().eq(before.metrics())),
        ];
        pairs.into_iter().filter(|(_, is_different)| *is_different).map(|(name, _)| name)
    }

    /// Returns what tells which packets it is for, and in which order it is considered.
    fn place(&self) -> impl PartialEq {
        let to = (self.destination, self.destination_length);
        let from = (self.source, self.source_length);
        (self.family, self.table.0, to, from, self.tos, self.metric)
    }
}

impl PartialEq for Route<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place() && self.differences(other).next().is_none()
    }
}

/// Next hops one after the other. After an error, there are no more.
struct Hops<'a> {
    rest: &'a [u8],
    at: usize,
    family: u8,
}

impl Hops<'_> {
    fn parse(&mut self) -> Result<NextHop, MessageError> {
        let Some(header) = self.rest.first_chunk::<HOP_SIZE>() else {
            return Err(MessageError::new(self.at, Fault::Truncated));
        };
        let size = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        if size < HOP_SIZE {
            return Err(MessageError::new(self.at, Fault::TooShort));
        }
        let Some(hop) = self.rest.get(..size) else {
            return Err(MessageError::new(self.at, Fault::Truncated));
        };
        let (mut gateway, mut realms) = (None, None);
        for attribute in Attributes::new(hop, HOP_SIZE) {
            let attribute = attribute?;
            match attribute.number {
                number::GATEWAY => gateway = Some(attribute.ip(self.family)?),
                number::VIA => gateway = Some(via(&attribute)?),
                number::FLOW => realms = Some(Realms::read(&attribute)?),
                _ => {}
            }
        }
        let next = aligned(size).min(self.rest.len());
        self.at += next;
        self.rest = &self.rest[next..];
        Ok(NextHop {
            output: word(header, 4),
            gateway,
            weight: u16::from(header[3]) + 1,
            flags: RouteFlags(u32::from(header[2])),
            realms,
        })
    }
}

impl Iterator for Hops<'_> {
    type Item = Result<NextHop, MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let hop = self.parse();
        if hop.is_err() {
            self.rest = &[];
        }
        Some(hop)
    }
}

/// Returns the bytes of several next hops, once all of them are checked.
fn checked_hops<'a>(attribute: &Attribute<'a>, family: u8) -> Result<&'a [u8], MessageError> {
    let rest = attribute.content;
    Hops { rest, at: attribute.at, family }.try_for_each(|it| it.map(drop))?;
    Ok(rest)
}

/// Reads a router of another family than the route (`struct rtvia`).
fn via(attribute: &Attribute<'_>) -> Result<IpAddr, MessageError> {
    let wrong = attribute.wrong();
    let (family, bytes) = attribute.content.split_first_chunk().ok_or(wrong)?;
    let family = u8::try_from(u16::from_ne_bytes(*family)).map_err(|_| wrong)?;
    super::ip_address(family, bytes).ok_or(wrong)
}

/// Returns how many bits an address of a family has.
pub(super) const fn bits_of(family: u8) -> u8 {
    if family == FAMILY_IPV4 { 32 } else { 128 }
}
