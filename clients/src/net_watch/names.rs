//! The names that `ip` gives to numbers.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use protocol::netlink::{AddressFlags, Network, Scope, Table};

/// Returns the name that a table has for a number, or the number.
fn name_of(number: u32, names: &[(u32, &'static str)]) -> Cow<'static, str> {
    let found = names.iter().find(|(it, _)| *it == number);
    found.map_or_else(|| number.to_string().into(), |(_, name)| (*name).into())
}

/// Returns the name of a scope (`ip-address(8)`).
pub(super) fn scope(scope: Scope) -> Cow<'static, str> {
    let names = [(0, "global"), (200, "site"), (253, "link"), (254, "host"), (255, "nowhere")];
    name_of(scope.0.into(), &names)
}

/// Returns the name of a routing table (`ip-route(8)`).
pub(super) fn table(table: Table) -> Cow<'static, str> {
    name_of(table.0, &[(253, "default"), (254, "main"), (255, "local")])
}

/// Returns the name of a realm (`/etc/iproute2/rt_realms`).
pub(super) fn realm(number: u16) -> Cow<'static, str> {
    name_of(number.into(), &[(0, "cosmos")])
}

/// Returns the name of what has made a route (`/etc/iproute2/rt_protos`).
pub(super) fn protocol(number: u8) -> Cow<'static, str> {
    let names = [
        (0, "unspec"),
        (1, "redirect"),
        (2, "kernel"),
        (3, "boot"),
        (4, "static"),
        (8, "gated"),
        (9, "ra"),
        (10, "mrt"),
        (11, "zebra"),
        (12, "bird"),
        (13, "dnrouted"),
        (14, "xorp"),
        (15, "ntk"),
        (16, "dhcp"),
        (18, "keepalived"),
        (42, "babel"),
        (99, "openr"),
        (186, "bgp"),
        (187, "isis"),
        (188, "ospf"),
        (189, "rip"),
        (192, "eigrp"),
    ];
    name_of(number.into(), &names)
}

/// Returns the name of the type of a route (`ip-route(8)`).
pub(super) fn route_type(number: u8) -> Cow<'static, str> {
    let names = [
        "none",
        "unicast",
        "local",
        "broadcast",
        "anycast",
        "multicast",
        "blackhole",
        "unreachable",
        "prohibit",
        "throw",
        "nat",
        "xresolve",
    ];
    let name = names.get(usize::from(number)).copied();
    name.map_or_else(|| number.to_string().into(), Cow::Borrowed)
}

/// Returns the name of the preference of a router (RFC 4191).
pub(super) fn preference(number: u8) -> Cow<'static, str> {
    name_of(number.into(), &[(0, "medium"), (1, "high"), (3, "low")])
}

/// Returns the name of a group of links.
pub(super) fn group(number: u32) -> Cow<'static, str> {
    name_of(number, &[(0, "default")])
}

/// Returns the name of the reason for a message about a link, or `None` if there is none.
pub(super) fn link_event(number: u32) -> Option<Cow<'static, str>> {
    let names = [
        (1, "REBOOT"),
        (2, "FEATURE CHANGE"),
        (3, "BONDING FAILOVER"),
        (4, "NOTIFY PEERS"),
        (5, "RESEND IGMP"),
        (6, "BONDING OPTION"),
    ];
    (number != 0).then(|| name_of(number, &names))
}

/// Returns the name of a property of connections (`RTAX_MTU` and others, `linux/rtnetlink.h`).
pub(super) fn metric(number: u16) -> Cow<'static, str> {
    let names = [
        (2, "mtu"),
        (3, "window"),
        (4, "rtt"),
        (5, "rttvar"),
        (6, "ssthresh"),
        (7, "cwnd"),
        (8, "advmss"),
        (9, "reordering"),
        (10, "hoplimit"),
        (11, "initcwnd"),
        (12, "features"),
        (13, "rto_min"),
        (14, "initrwnd"),
        (15, "quickack"),
        (16, "congctl"),
        (17, "fastopen_no_cookie"),
    ];
    name_of(number.into(), &names)
}

/// Returns the names of the flags of an address, in the order of `ip-address(8)`.
pub(super) fn address_flags(flags: AddressFlags, is_ipv6: bool) -> Vec<&'static str> {
    let names = [
        (0x01, if is_ipv6 { "temporary" } else { "secondary" }),
        (0x02, "nodad"),
        (0x04, "optimistic"),
        (0x08, "dadfailed"),
        (0x10, "home"),
        (0x20, "deprecated"),
        (0x40, "tentative"),
        (0x100, "mngtmpaddr"),
        (0x200, "noprefixroute"),
        (0x400, "autojoin"),
        (0x800, "stable-privacy"),
    ];
    let is_set = |mask: u32| flags.contains(AddressFlags(mask));
    let mut found: Vec<_> =
        names.iter().filter(|(mask, _)| is_set(*mask)).map(|(_, name)| *name).collect();
    if !flags.contains(AddressFlags::PERMANENT) {
        // It stands where `permanent` would: after those of the eight lower bits.
        let low = names.iter().filter(|(mask, _)| *mask < 0x80 && is_set(*mask)).count();
        found.insert(low, "dynamic");
    }
    found
}

/// Returns the name of a kind of hardware (`linux/if_arp.h`).
pub(super) fn hardware(number: u16) -> Cow<'static, str> {
    let names = [
        (1, "ether"),
        (24, "ieee1394"),
        (32, "infiniband"),
        (256, "slip"),
        (280, "can"),
        (512, "ppp"),
        (768, "ipip"),
        (769, "tunnel6"),
        (772, "loopback"),
        (776, "sit"),
        (778, "gre"),
        (801, "ieee802.11"),
        (802, "ieee802.11/prism"),
        (803, "ieee802.11/radiotap"),
        (804, "ieee802.15.4"),
        (820, "phonet"),
        (822, "caif"),
        (823, "gre6"),
        (824, "netlink"),
        (825, "6lowpan"),
        (65_534, "none"),
        (65_535, "void"),
    ];
    let found = names.iter().find(|(it, _)| *it == number);
    found.map_or_else(|| format!("[{number}]").into(), |(_, name)| (*name).into())
}

/// Returns an address of hardware as text. Tunnels have IP addresses.
pub(super) fn hardware_address(bytes: &[u8], hardware: u16) -> String {
    match (bytes.len(), hardware) {
        (4, 768 | 776 | 778) => {
            bytes.first_chunk::<4>().map_or_else(String::new, |it| Ipv4Addr::from(*it).to_string())
        }
        (16, 769 | 823) => {
            bytes.first_chunk::<16>().map_or_else(String::new, |it| Ipv6Addr::from(*it).to_string())
        }
        _ => bytes.iter().map(|it| format!("{it:02x}")).collect::<Vec<_>>().join(":"),
    }
}

/// Returns the name of the link with this number, or what stands for it. The system is asked about a link
/// that is not known yet: the kernel tells what a new bridge knows before it tells of the bridge.
pub(super) fn link(index: u32, network: &Network) -> String {
    if let Some(link) = network.link(index) {
        return String::from_utf8_lossy(link.name).into_owned();
    }
    match nix::net::if_::if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("if{index}"),
    }
}
