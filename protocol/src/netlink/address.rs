//! Addresses of links.

use std::net::IpAddr;

use super::attributes::{Attribute, Attributes};
use super::error::{Fault, MessageError};
use super::message::word;
use super::route::{Scope, bits_of};
use super::{FAMILY_IPV4, FAMILY_IPV6};

/// The size of the header of a message about an address, in bytes (`struct ifaddrmsg`, `rtnetlink(7)`).
const HEADER_SIZE: usize = 8;
/// The time of an address that does not expire.
const FOR_EVER: u32 = u32::MAX;

/// The attributes that a view has (`linux/if_addr.h`).
mod number {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LOCAL: u16 = 2;
    pub(super) const LABEL: u16 = 3;
    pub(super) const BROADCAST: u16 = 4;
    pub(super) const ANYCAST: u16 = 5;
    pub(super) const LIFETIMES: u16 = 6;
    pub(super) const FLAGS: u16 = 8;
    pub(super) const METRIC: u16 = 9;
}

/// The flags of an address (`linux/if_addr.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressFlags(pub u32);

impl AddressFlags {
    /// Another address of the same network is preferred; of IPv6: it is temporary (RFC 8981).
    pub const SECONDARY: Self = Self(0x01);
    /// The system does not check whether other machines have it (`IFA_F_NODAD`).
    pub const NO_CHECK: Self = Self(0x02);
    /// Another machine has it.
    pub const DUPLICATE: Self = Self(0x08);
    /// It must not be used for new connections (RFC 4862 section 5.5.4).
    pub const DEPRECATED: Self = Self(0x20);
    /// It must not be used yet: whether another machine has it is still being checked.
    pub const TENTATIVE: Self = Self(0x40);
    /// It does not expire.
    pub const PERMANENT: Self = Self(0x80);

    /// Returns whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether a socket can be bound to the address now: it is not being checked, and no other
    /// machine has it.
    pub const fn is_usable(self) -> bool {
        self.0 & (Self::TENTATIVE.0 | Self::DUPLICATE.0) == 0
    }
}

/// How long an address is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long it is used for new connections, in seconds; `None` is for ever. It may have ended.
    pub preferred: Option<u32>,
    /// How long it exists, in seconds; `None` is for ever.
    pub valid: Option<u32>,
}

/// A view of what a message says about an address (`RTM_NEWADDR`, `rtnetlink(7)`).
///
/// Two views are equal if the address is the same, though some of its time may have passed.
#[derive(Clone, Debug)]
pub struct Address<'a> {
    /// The number of its link.
    pub index: u32,
    /// The address of this machine.
    pub local: IpAddr,
    /// The address of the other machine, of a link with two ends.
    pub peer: Option<IpAddr>,
    /// How many bits the addresses of its network have in common.
    pub prefix_length: u8,
    /// How far it is valid.
    pub scope: Scope,
    /// Its flags.
    pub flags: AddressFlags,
    /// The address of all machines of its network.
    pub broadcast: Option<IpAddr>,
    /// The address of any of several machines.
    pub anycast: Option<IpAddr>,
    /// Its name: that of its link, or with more after a colon.
    pub label: Option<&'a [u8]>,
    /// The metric of the route to its network.
    pub metric: Option<u32>,
    /// How long it is valid.
    pub lifetimes: Option<Lifetimes>,
}

/// What the attributes say, before it is known that there is an address.
#[derive(Default)]
struct Found<'a> {
    address: Option<IpAddr>,
    local: Option<IpAddr>,
    label: Option<&'a [u8]>,
    broadcast: Option<IpAddr>,
    anycast: Option<IpAddr>,
    lifetimes: Option<Lifetimes>,
    flags: Option<u32>,
    metric: Option<u32>,
}

impl<'a> Found<'a> {
    fn take(&mut self, attribute: &Attribute<'a>, family: u8) -> Result<(), MessageError> {
        match attribute.number {
            number::ADDRESS => self.address = Some(attribute.ip(family)?),
            number::LOCAL => self.local = Some(attribute.ip(family)?),
            number::LABEL => self.label = Some(attribute.text()),
            number::BROADCAST => self.broadcast = Some(attribute.ip(family)?),
            number::ANYCAST => self.anycast = Some(attribute.ip(family)?),
            number::LIFETIMES => {
                let two = attribute.content.first_chunk::<8>().ok_or(attribute.wrong())?;
                let time = |at| Some(word(two, at)).filter(|it| *it != FOR_EVER);
                self.lifetimes = Some(Lifetimes { preferred: time(0), valid: time(4) });
            }
            number::FLAGS => self.flags = Some(attribute.u32()?),
            number::METRIC => self.metric = Some(attribute.u32()?),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Address<'a> {
    /// Reads what a message about an address says ([`Message::body`](super::Message::body)). Returns
    /// `None` if it is neither of IPv4 nor of IPv6.
    ///
    /// # Errors
    /// When the body or an attribute has a wrong length, or there is no address in it.
    pub fn parse(body: &'a [u8]) -> Result<Option<Self>, MessageError> {
        let Some(header) = body.first_chunk::<HEADER_SIZE>() else {
            return Err(MessageError::new(body.len(), Fault::Truncated));
        };
        let [family, prefix_length, flags, scope, ..] = *header;
        if !matches!(family, FAMILY_IPV4 | FAMILY_IPV6) {
            return Ok(None);
        }
        if prefix_length > bits_of(family) {
            return Err(MessageError::new(1, Fault::PrefixLength));
        }
        let mut found = Found::default();
        for attribute in Attributes::new(body, HEADER_SIZE) {
            found.take(&attribute?, family)?;
        }
        // With two ends, `address` is the other one.
        let Some(local) = found.local.or(found.address) else {
            return Err(MessageError::new(body.len(), Fault::Truncated));
        };
        Ok(Some(Self {
            index: word(header, 4),
            local,
            peer: found.address.filter(|it| *it != local),
            prefix_length,
            scope: Scope(scope),
            flags: AddressFlags(found.flags.unwrap_or(u32::from(flags))),
            broadcast: found.broadcast,
            anycast: found.anycast,
            label: found.label,
            metric: found.metric,
            lifetimes: found.lifetimes,
        }))
    }

    /// Returns the names of what is different from an earlier view of the same address. Lifetimes are
    /// the same unless one of them does not end.
    pub fn differences(&self, before: &Address<'_>) -> impl Iterator<Item = &'static str> + use<> {
        let ends =
            |it: &Address<'_>| it.lifetimes.map(|it| (it.preferred.is_some(), it.valid.is_some()));
        let pairs = [
            ("peer", self.peer != before.peer),
            ("prefix length", self.prefix_length != before.prefix_length),
            ("scope", self.scope != before.scope),
            ("flags", self.flags != before.flags),
            ("broadcast address", self.broadcast != before.broadcast),
            ("anycast address", self.anycast != before.anycast),
            ("label", self.label != before.label),
            ("metric", self.metric != before.metric),
            ("lifetimes", ends(self) != ends(before)),
        ];
        pairs.into_iter().filter(|(_, is_different)| *is_different).map(|(name, _)| name)
    }
}

impl PartialEq for Address<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.index, self.local) == (other.index, other.local)
            && self.differences(other).next().is_none()
    }
}
