//! Links: the network interfaces of this machine.

use super::attributes::{Attribute, Attributes};
use super::error::{Fault, MessageError};
use super::message::word;

/// The size of the header of a message about a link, in bytes (`struct ifinfomsg`, `rtnetlink(7)`).
const HEADER_SIZE: usize = 16;

/// The attributes that a view has (`linux/if_link.h`).
mod number {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const BROADCAST: u16 = 2;
    pub(super) const NAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const LINK: u16 = 5;
    pub(super) const QDISC: u16 = 6;
    pub(super) const MASTER: u16 = 10;
    pub(super) const QUEUE_LENGTH: u16 = 13;
    pub(super) const OPERATIONAL_STATE: u16 = 16;
    pub(super) const MODE: u16 = 17;
    pub(super) const ALIAS: u16 = 20;
    pub(super) const GROUP: u16 = 27;
    pub(super) const LINK_NAMESPACE: u16 = 37;
    pub(super) const PROTOCOL_DOWN: u16 = 39;
    pub(super) const EVENT: u16 = 44;
    pub(super) const NEW_NAMESPACE: u16 = 45;
    pub(super) const NEW_INDEX: u16 = 49;
    pub(super) const PROPERTIES: u16 = 52;
    pub(super) const ALTERNATIVE_NAME: u16 = 53;
    pub(super) const PERMANENT_ADDRESS: u16 = 54;

    /// Those that are kept of a link.
    pub(super) const STORED: [u16; 16] = [
        ADDRESS,
        BROADCAST,
        NAME,
        MTU,
        LINK,
        QDISC,
        MASTER,
        QUEUE_LENGTH,
        OPERATIONAL_STATE,
        MODE,
        ALIAS,
        GROUP,
        LINK_NAMESPACE,
        PROTOCOL_DOWN,
        PROPERTIES,
        PERMANENT_ADDRESS,
    ];
}

/// The flags of a link (`SIOCGIFFLAGS`, `netdevice(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFlags(pub u32);

impl LinkFlags {
    /// It is switched on (`IFF_UP`).
    pub const UP: Self = Self(1);
    /// It is of this machine alone (`IFF_LOOPBACK`).
    pub const LOOPBACK: Self = Self(1 << 3);
    /// It has two ends (`IFF_POINTOPOINT`).
    pub const POINT_TO_POINT: Self = Self(1 << 4);
    /// It can carry packets now (`IFF_RUNNING`).
    pub const RUNNING: Self = Self(1 << 6);

    /// The names of the flags but `RUNNING`, in the order in which `ip-link(8)` prints them.
    pub const NAMES: [(Self, &'static str); 18] = [
        (Self::LOOPBACK, "LOOPBACK"),
        (Self(1 << 1), "BROADCAST"),
        (Self::POINT_TO_POINT, "POINTOPOINT"),
        (Self(1 << 12), "MULTICAST"),
        (Self(1 << 7), "NOARP"),
        (Self(1 << 9), "ALLMULTI"),
        (Self(1 << 8), "PROMISC"),
        (Self(1 << 10), "MASTER"),
        (Self(1 << 11), "SLAVE"),
        (Self(1 << 2), "DEBUG"),
        (Self(1 << 15), "DYNAMIC"),
        (Self(1 << 14), "AUTOMEDIA"),
        (Self(1 << 13), "PORTSEL"),
        (Self(1 << 5), "NOTRAILERS"),
        (Self::UP, "UP"),
        (Self(1 << 16), "LOWER_UP"),
        (Self(1 << 17), "DORMANT"),
        (Self(1 << 18), "ECHO"),
    ];

    /// Returns whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a link can do now (RFC 2863 section 3.1.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationalState(pub u8);

impl OperationalState {
    /// It carries packets.
    pub const UP: Self = Self(6);

    /// Returns its name, as `ip-link(8)` prints it, or `None` for a number that has none.
    pub fn name(self) -> Option<&'static str> {
        let names = ["UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP"];
        names.get(usize::from(self.0)).copied()
    }
}

/// A view of what a message says about a link (`RTM_NEWLINK`, `rtnetlink(7)`).
///
/// Two views are equal if the link is the same: what only describes one message is not compared.
#[derive(Clone, Debug)]
pub struct Link<'a> {
    /// Its number, which no other link of the namespace has at the same time.
    pub index: u32,
    /// The family whose message it is: 0 for the link itself. Others, such as `AF_BRIDGE`, tell how the
    /// link takes part in something, and their end is not that of the link.
    pub family: u8,
    /// The kind of hardware (`ARPHRD_ETHER` is 1, `linux/if_arp.h`).
    pub hardware: u16,
    /// Its flags.
    pub flags: LinkFlags,
    /// Its name: up to 15 bytes, which need not be UTF-8.
    pub name: &'a [u8],
    /// The most bytes of a packet.
    pub mtu: Option<u32>,
    /// The name of its queueing discipline.
    pub qdisc: Option<&'a [u8]>,
    /// The number of the bridge, bond or the like that it belongs to.
    pub master: Option<u32>,
    /// What it can do now.
    pub state: Option<OperationalState>,
    /// Its mode: 0 is the default, 1 dormant.
    pub mode: Option<u8>,
    /// The number of its group.
    pub group: Option<u32>,
    /// How many packets may wait to be sent.
    pub queue_length: Option<u32>,
    /// Its address, as the hardware has it.
    pub address: Option<&'a [u8]>,
    /// The address of all, or of the other end ([`LinkFlags::POINT_TO_POINT`]).
    pub broadcast: Option<&'a [u8]>,
    /// The address that it was made with.
    pub permanent_address: Option<&'a [u8]>,
    /// The number of the link that it is built on, or that is its other end.
    pub link: Option<u32>,
    /// The number of the namespace that has [`link`](Self::link), if that is another one.
    pub link_namespace: Option<i32>,
    /// Whether a protocol has switched it off.
    pub protocol_down: Option<bool>,
    /// The text that an operator gave it.
    pub alias: Option<&'a [u8]>,
    /// Why the message was sent (`IFLA_EVENT`). It is not compared.
    pub event: Option<u32>,
    /// The number of the namespace that it moves to. It is not compared.
    pub new_namespace: Option<i32>,
    /// The number that it gets there. It is not compared.
    pub new_index: Option<i32>,
    properties: Attributes<'a>,
}

impl<'a> Link<'a> {
    /// Reads what a message about a link says ([`Message::body`](super::Message::body)).
    ///
    /// # Errors
    /// When the body or an attribute has a wrong length.
    pub fn parse(body: &'a [u8]) -> Result<Self, MessageError> {
        let Some(header) = body.first_chunk::<HEADER_SIZE>() else {
            return Err(MessageError::new(body.len(), Fault::Truncated));
        };
        let mut link = Self {
            index: word(header, 4),
            family: header[0],
            hardware: u16::from_ne_bytes([header[2], header[3]]),
            flags: LinkFlags(word(header, 8)),
            name: &[],
            mtu: None,
            qdisc: None,
            master: None,
            state: None,
            mode: None,
            group: None,
            queue_length: None,
            address: None,
            broadcast: None,
            permanent_address: None,
            link: None,
            link_namespace: None,
            protocol_down: None,
            alias: None,
            event: None,
            new_namespace: None,
            new_index: None,
            properties: Attributes::none(),
        };
        for attribute in Attributes::new(body, HEADER_SIZE) {
            link.take(&attribute?)?;
        }
        Ok(link)
    }

    fn take(&mut self, attribute: &Attribute<'a>) -> Result<(), MessageError> {
        let signed = || attribute.u32().map(|it| Some(it.cast_signed()));
        match attribute.number {
            number::ADDRESS => self.address = Some(attribute.content),
            number::BROADCAST => self.broadcast = Some(attribute.content),
            number::NAME => self.name = attribute.text(),
            number::MTU => self.mtu = Some(attribute.u32()?),
            number::LINK => self.link = Some(attribute.u32()?),
            number::QDISC => self.qdisc = Some(attribute.text()),
            number::MASTER => self.master = Some(attribute.u32()?),
            number::QUEUE_LENGTH => self.queue_length = Some(attribute.u32()?),
            number::OPERATIONAL_STATE => self.state = Some(OperationalState(attribute.u8()?)),
            number::MODE => self.mode = Some(attribute.u8()?),
            number::ALIAS => self.alias = Some(attribute.text()),
            number::GROUP => self.group = Some(attribute.u32()?),
            number::LINK_NAMESPACE => self.link_namespace = signed()?,
            number::PROTOCOL_DOWN => self.protocol_down = Some(attribute.u8()? != 0),
            number::EVENT => self.event = Some(attribute.u32()?),
            number::NEW_NAMESPACE => self.new_namespace = signed()?,
            number::NEW_INDEX => self.new_index = signed()?,
            number::PROPERTIES => self.properties = attribute.nested()?,
            number::PERMANENT_ADDRESS => self.permanent_address = Some(attribute.content),
            _ => {}
        }
        Ok(())
    }

    /// Returns the body of a message, checked before, without what a view does not have: statistics, for
    /// example, which are most of it.
    pub(super) fn essential(body: &[u8]) -> Box<[u8]> {
        let (header, _) = body.split_at_checked(HEADER_SIZE).unwrap_or((body, &[]));
        let mut kept = header.to_vec();
        for attribute in Attributes::new(body, HEADER_SIZE).flatten() {
            if number::STORED.contains(&attribute.number) {
                attribute.append_to(&mut kept);
            }
        }
        kept.into()
    }

    /// Returns its other names, each up to 127 bytes.
    pub fn alternative_names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let attributes = self.properties.clone().flatten();
        attributes.filter(|it| it.number == number::ALTERNATIVE_NAME).map(|it| it.text())
    }

    /// Returns the names of what is different from an earlier view of the same link.
    pub fn differences(&self, before: &Link<'_>) -> impl Iterator<Item = &'static str> + use<> {
        let pairs = [
            ("name", self.name != before.name),
            ("flags", self.flags != before.flags),
            ("hardware", self.hardware != before.hardware),
            ("mtu", self.mtu != before.mtu),
            ("qdisc", self.qdisc != before.qdisc),
            ("master", self.master != before.master),
            ("state", self.state != before.state),
            ("mode", self.mode != before.mode),
            ("group", self.group != before.group),
            ("queue length", self.queue_length != before.queue_length),
            ("address", self.address != before.address),
            ("broadcast address", self.broadcast != before.broadcast),
            ("permanent address", self.permanent_address != before.permanent_address),
            ("link", (self.link, self.link_namespace) != (before.link, before.link_namespace)),
            ("protocol down", self.protocol_down != before.protocol_down),
            ("alias", self.alias != before.alias),
            ("alternative names", !self.alternative_names().eq(before.alternative_names())),
        ];
        pairs.into_iter().filter(|(_, is_different)| *is_different).map(|(name, _)| name)
    }
}

impl PartialEq for Link<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.index, self.family) == (other.index, other.family)
            && self.differences(other).next().is_none()
    }
}
