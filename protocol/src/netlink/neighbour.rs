//! Neighbours: which address of hardware another machine of the same network has.

use std::net::IpAddr;

use super::attributes::Attributes;
use super::error::{Fault, MessageError};
use super::message::word;
use super::{FAMILY_BRIDGE, FAMILY_IPV4, FAMILY_IPV6};

/// The size of the header of a message about a neighbour, in bytes (`struct ndmsg`, `rtnetlink(7)`).
const HEADER_SIZE: usize = 12;

/// The attributes that a view has (`linux/neighbour.h`).
mod number {
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const HARDWARE_ADDRESS: u16 = 2;
    pub(super) const VLAN: u16 = 5;
    pub(super) const MASTER: u16 = 9;
    pub(super) const PROTOCOL: u16 = 12;
}

/// How much is known of a neighbour (`NUD_...`, `linux/neighbour.h`): one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighbourState(pub u16);

impl NeighbourState {
    /// It is being asked for its address of hardware. The kernel does not tell that this begins, only how it
    /// ends.
    pub const INCOMPLETE: Self = Self(0x01);
    /// It has answered a moment ago.
    pub const REACHABLE: Self = Self(0x02);
    /// It has not been heard of for a while, and is asked when a packet is sent to it.
    pub const STALE: Self = Self(0x04);
    /// A packet was sent to it, and it will be asked soon. The kernel does not tell this change, so it is seen
    /// in a dump alone.
    pub const DELAY: Self = Self(0x08);
    /// It is being asked whether it is still there.
    pub const PROBE: Self = Self(0x10);
    /// It has not answered.
    pub const FAILED: Self = Self(0x20);
    /// It has no address of hardware to ask for, such as a multicast group.
    pub const NO_ARP: Self = Self(0x40);
    /// An administrator has set it.
    pub const PERMANENT: Self = Self(0x80);

    /// All of them with the names that `ip` gives them.
    pub const NAMES: [(Self, &'static str); 8] = [
        (Self::INCOMPLETE, "INCOMPLETE"),
        (Self::REACHABLE, "REACHABLE"),
        (Self::STALE, "STALE"),
        (Self::DELAY, "DELAY"),
        (Self::PROBE, "PROBE"),
        (Self::FAILED, "FAILED"),
        (Self::NO_ARP, "NOARP"),
        (Self::PERMANENT, "PERMANENT"),
    ];

    /// Returns whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The flags of a neighbour (`NTF_...`, `linux/neighbour.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighbourFlags(pub u8);

impl NeighbourFlags {
    /// This machine answers in its place. Such entries are no part of a dump.
    pub const PROXY: Self = Self(0x08);
    /// A program keeps it up to date.
    pub const LEARNED: Self = Self(0x10);
    /// The hardware knows it.
    pub const OFFLOADED: Self = Self(0x20);
    /// It is a router (IPv6).
    pub const ROUTER: Self = Self(0x80);

    /// Those with a name that `ip` gives them, in its order.
    pub const NAMES: [(Self, &'static str); 4] = [
        (Self::ROUTER, "router"),
        (Self::PROXY, "proxy"),
        (Self::LEARNED, "extern_learn"),
        (Self::OFFLOADED, "offload"),
    ];

    /// Returns whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A view of what a message says about a neighbour (`RTM_NEWNEIGH`, `rtnetlink(7)`).
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour<'a> {
    /// The number of the link on which it is.
    pub index: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its address of hardware, if it is known.
    pub hardware_address: Option<&'a [u8]>,
    /// How much is known of it. It is empty if the kernel has not asked for its address yet.
    pub state: NeighbourState,
    /// Its flags.
    pub flags: NeighbourFlags,
    /// Who has made the entry, as of a route (`RTPROT_...`).
    pub protocol: Option<u8>,
}

impl<'a> Neighbour<'a> {
    /// Reads what a message about a neighbour says ([`Message::body`](super::Message::body)). Returns
    /// `None` if it is neither of IPv4 nor of IPv6, such as an entry of a bridge ([`BridgeEntry`]).
    ///
    /// # Errors
    /// When the body or an attribute has a wrong length, or there is no address in it.
    pub fn parse(body: &'a [u8]) -> Result<Option<Self>, MessageError> {
        let Some(header) = body.first_chunk::<HEADER_SIZE>() else {
            return Err(MessageError::new(body.len(), Fault::Truncated));
        };
        let [family, _, _, _, _, _, _, _, state_low, state_high, flags, _] = *header;
        if !matches!(family, FAMILY_IPV4 | FAMILY_IPV6) {
            return Ok(None);
        }
        let (mut address, mut hardware_address, mut protocol) = (None, None, None);
        for attribute in Attributes::new(body, HEADER_SIZE) {
            let attribute = attribute?;
            match attribute.number {
                number::DESTINATION => address = Some(attribute.ip(family)?),
                number::HARDWARE_ADDRESS => hardware_address = Some(attribute.content),
                number::PROTOCOL => {
                    protocol = Some(*attribute.content.first().ok_or(attribute.wrong())?);
                }
                _ => {}
            }
        }
        let address = address.ok_or(MessageError::new(body.len(), Fault::Truncated))?;
        Ok(Some(Self {
            index: word(header, 4),
            address,
            hardware_address,
            state: NeighbourState(u16::from_ne_bytes([state_low, state_high])),
            flags: NeighbourFlags(flags),
            protocol,
        }))
    }
}

/// A view of what a message says about an entry of a bridge (`RTM_NEWNEIGH` of `AF_BRIDGE`): behind which
/// of its ports an address of hardware is. A device that knows where its peers are, such as one of VXLAN,
/// has such entries too.
#[derive(Clone, Debug, PartialEq)]
pub struct BridgeEntry<'a> {
    /// The number of the link: the port, or the bridge or the device itself.
    pub index: u32,
    /// The address of hardware.
    pub hardware_address: Option<&'a [u8]>,
    /// The address of the machine behind which it is (VXLAN, RFC 7348). A device may have several entries
    /// that differ in this alone.
    pub destination: Option<IpAddr>,
    /// How it is known: [`REACHABLE`](NeighbourState::REACHABLE) and [`STALE`](NeighbourState::STALE) if the
    /// bridge has learned it, otherwise [`NO_ARP`](NeighbourState::NO_ARP) or
    /// [`PERMANENT`](NeighbourState::PERMANENT).
    pub state: NeighbourState,
    /// Its flags.
    pub flags: NeighbourFlags,
    /// The number of its virtual network (IEEE 802.1Q), if it has one.
    pub vlan: Option<u16>,
    /// The number of the bridge.
    pub master: Option<u32>,
    /// Who has made the entry, as of a route (`RTPROT_...`).
    pub protocol: Option<u8>,
}

impl<'a> BridgeEntry<'a> {
    /// Reads what a message about an entry of a bridge says ([`Message::body`](super::Message::body)).
    /// Returns `None` if it is of another family.
    ///
    /// # Errors
    /// When the body or an attribute has a wrong length.
    pub fn parse(body: &'a [u8]) -> Result<Option<Self>, MessageError> {
        let Some(header) = body.first_chunk::<HEADER_SIZE>() else {
            return Err(MessageError::new(body.len(), Fault::Truncated));
        };
        let [family, _, _, _, _, _, _, _, state_low, state_high, flags, _] = *header;
        if family != FAMILY_BRIDGE {
            return Ok(None);
        }
        let mut entry = Self {
            index: word(header, 4),
            hardware_address: None,
            destination: None,
            state: NeighbourState(u16::from_ne_bytes([state_low, state_high])),
            flags: NeighbourFlags(flags),
            vlan: None,
            master: None,
            protocol: None,
        };
        for attribute in Attributes::new(body, HEADER_SIZE) {
            let attribute = attribute?;
            match attribute.number {
                number::DESTINATION => {
                    let of_four = attribute.content.len() == 4;
                    let family = if of_four { FAMILY_IPV4 } else { FAMILY_IPV6 };
                    entry.destination = Some(attribute.ip(family)?);
                }
                number::HARDWARE_ADDRESS => entry.hardware_address = Some(attribute.content),
                number::VLAN => {
                    let bytes = attribute.content.first_chunk().ok_or(attribute.wrong())?;
                    entry.vlan = Some(u16::from_ne_bytes(*bytes));
                }
                number::MASTER => entry.master = Some(attribute.u32()?),
                number::PROTOCOL => entry.protocol = Some(attribute.u8()?),
                _ => {}
            }
        }
        Ok(Some(entry))
    }
}
