//! What is printed of a link, an address, a route, a neighbour and an entry of a bridge.

use std::net::IpAddr;

use protocol::netlink::{
    Address, BridgeEntry, FAMILY_IPV4, Lifetimes, Link, LinkFlags, Metric, Neighbour,
    NeighbourFlags, NeighbourState, Network, NextHop, Presence, Realms, Route, RouteFlags, Scope,
    Table,
};

use super::names;
use super::sheet::{Form, Sheet, Value};

/// The ticks of a second in which the kernel tells times of routes (`USER_HZ`).
const TICKS: i32 = 100;
/// An ever-lasting lifetime in JSON.
const FOR_EVER: u32 = u32::MAX;
/// The metrics with other units than their text.
const ROUND_TRIP: u16 = 4;
const ROUND_TRIP_VARIANCE: u16 = 5;
const HOP_LIMIT: u16 = 10;
const FEATURES: u16 = 12;
/// The feature that `ip` has a name for (`RTAX_FEATURE_ECN`, `linux/rtnetlink.h`).
const FEATURE_ECN: u32 = 1;
const RETRANSMISSION_MIN: u16 = 13;
const CONGESTION_CONTROL: u16 = 16;

fn begin(form: Form, presence: Presence) -> Sheet {
    let mut sheet = Sheet::new(form);
    if presence == Presence::Gone {
        sheet.word("deleted", "Deleted ");
    }
    sheet
}

/// Returns the line of a link.
pub(super) fn link(link: &Link<'_>, network: &Network, form: Form, presence: Presence) -> Vec<u8> {
    let mut sheet = begin(form, presence);
    sheet.field("ifindex", link.index, "", ": ");
    let is_peer_down = link_name(&mut sheet, link, network);
    link_flags(&mut sheet, link.flags, is_peer_down);
    if let Some(mtu) = link.mtu {
        sheet.field("mtu", mtu, "mtu ", " ");
    }
    if let Some(qdisc) = link.qdisc {
        sheet.field("qdisc", &*String::from_utf8_lossy(qdisc), "qdisc ", " ");
    }
    if let Some(master) = link.master {
        sheet.field("master", &*names::link(master, network), "master ", " ");
    }
    match link.state.map(|it| (it, it.name())) {
        Some((_, Some(name))) => sheet.field("operstate", name, "state ", " "),
        Some((state, None)) => {
            sheet.text(&format!("state {:#x}", state.0));
            sheet.json("operstate_index", state.0);
        }
        None => {}
    }
    match link.mode {
        Some(0) => sheet.json("linkmode", "DEFAULT"),
        Some(1) => sheet.json("linkmode", "DORMANT"),
        Some(mode) => sheet.json("linkmode_index", mode),
        None => {}
    }
    if let Some(group) = link.group {
        sheet.field("group", &*names::group(group), "group ", " ");
    }
    if let Some(length) = link.queue_length.filter(|it| *it != 0) {
        sheet.json("txqlen", length);
    }
    if let Some(event) = link.event.and_then(names::link_event) {
        sheet.field("event", &*event, "event ", " ");
    }
    sheet.text("\n");
    sheet.field("link_type", &*names::hardware(link.hardware), "    link/", " ");
    link_addresses(&mut sheet, link);
    link_places(&mut sheet, link);
    if let Some(alias) = link.alias {
        sheet.json("ifalias", &*String::from_utf8_lossy(alias));
    }
    let others: Vec<_> = link.alternative_names().map(String::from_utf8_lossy).collect();
    if !others.is_empty() {
        sheet.names("altnames", others.iter().map(|it| &**it), "\n    altname ", "");
    }
    sheet.end()
}

/// Writes the name of a link, and what it is built on. Returns whether that is switched off.
fn link_name(sheet: &mut Sheet, link: &Link<'_>, network: &Network) -> bool {
    let name = String::from_utf8_lossy(link.name);
    let mut is_peer_down = false;
    let below = match (link.link, link.link_namespace) {
        (None, _) => None,
        (Some(0), _) => {
            sheet.json("link", Value::Null);
            Some("NONE".to_owned())
        }
        (Some(index), Some(_)) => {
            sheet.json("link_index", index);
            Some(format!("if{index}"))
        }
        (Some(index), None) => {
            let peer = network.link(index);
            is_peer_down = peer.is_some_and(|it| !it.flags.contains(LinkFlags::UP));
            let below = names::link(index, network);
            sheet.json("link", &*below);
            Some(below)
        }
    };
    sheet.text(&name);
    if let Some(below) = below {
        sheet.text(&format!("@{below}"));
    }
    sheet.text(": ");
    sheet.json("ifname", &*name);
    is_peer_down
}

fn link_flags(sheet: &mut Sheet, flags: LinkFlags, is_peer_down: bool) {
    let has_no_carrier = flags.contains(LinkFlags::UP) && !flags.contains(LinkFlags::RUNNING);
    let mut words: Vec<String> = Vec::new();
    words.extend(has_no_carrier.then(|| "NO-CARRIER".to_owned()));
    let set = LinkFlags::NAMES.iter().filter(|(flag, _)| flags.contains(*flag));
    words.extend(set.map(|(_, name)| (*name).to_owned()));
    let named = LinkFlags::NAMES.iter().fold(LinkFlags::RUNNING.0, |all, (flag, _)| all | flag.0);
    let rest = flags.0 & !named;
    words.extend((rest != 0).then(|| format!("{rest:x}")));
    words.extend(is_peer_down.then(|| "M-DOWN".to_owned()));
    sheet.text(&format!("<{}> ", words.join(",")));
    sheet.json_names("flags", words.iter().map(|it| &**it));
}

fn link_addresses(sheet: &mut Sheet, link: &Link<'_>) {
    let text = |bytes| names::hardware_address(bytes, link.hardware);
    if let Some(address) = link.address {
        sheet.field("address", &*text(address), "", "");
    }
    if let Some(broadcast) = link.broadcast {
        match link.flags.contains(LinkFlags::POINT_TO_POINT) {
            true => sheet.word("link_pointtopoint", " peer "),
            false => sheet.text(" brd "),
        }
        sheet.field("broadcast", &*text(broadcast), "", "");
    }
    if let Some(permanent) = link.permanent_address.filter(|it| Some(*it) != link.address) {
        sheet.field("permaddr", &*text(permanent), " permaddr ", "");
    }
}

/// Writes in which namespaces there is more of a link.
fn link_places(sheet: &mut Sheet, link: &Link<'_>) {
    match link.link_namespace {
        Some(id @ 0..) => sheet.field("link_netnsid", id, " link-netnsid ", ""),
        Some(id) => {
            sheet.text(" link-netnsid unknown");
            sheet.json("link_netnsid", id);
        }
        None => {}
    }
    if let Some(id) = link.new_namespace {
        sheet.text(&format!(" new-netnsid {id}"));
    }
    if let Some(id) = link.new_index {
        sheet.text(&format!(" new-ifindex {id}"));
    }
    if link.protocol_down == Some(true) {
        sheet.word("proto_down", " protodown on ");
    }
}

/// Returns the line of an address.
pub(super) fn address(
    address: &Address<'_>,
    network: &Network,
    form: Form,
    presence: Presence,
) -> Vec<u8> {
    let mut sheet = begin(form, presence);
    sheet.field("index", address.index, "", ": ");
    sheet.field("dev", &*names::link(address.index, network), "", "");
    sheet.field("family", family_of(address.local), "    ", " ");
    sheet.field("local", &*address.local.to_string(), "", "");
    if let Some(peer) = address.peer {
        sheet.field("address", &*peer.to_string(), " peer ", "");
    }
    sheet.field("prefixlen", address.prefix_length, "/", " ");
    if let Some(metric) = address.metric {
        sheet.field("metric", metric, "metric ", " ");
    }
    if let Some(broadcast) = address.broadcast {
        sheet.field("broadcast", &*broadcast.to_string(), "brd ", " ");
    }
    if let Some(anycast) = address.anycast {
        sheet.field("anycast", &*anycast.to_string(), "any ", " ");
    }
    sheet.field("scope", &*names::scope(address.scope), "scope ", " ");
    for flag in names::address_flags(address.flags, address.local.is_ipv6()) {
        sheet.word(flag, &format!("{flag} "));
    }
    if let Some(label) = address.label {
        sheet.field("label", &*String::from_utf8_lossy(label), "", "");
    }
    if let Some(lifetimes) = address.lifetimes {
        address_times(&mut sheet, lifetimes);
    }
    sheet.end()
}

fn address_times(sheet: &mut Sheet, lifetimes: Lifetimes) {
    let time = |it: Option<u32>| it.map_or("forever".to_owned(), |it| format!("{it}sec"));
    sheet.text(&format!("\n       valid_lft {}", time(lifetimes.valid)));
    sheet.json("valid_life_time", lifetimes.valid.unwrap_or(FOR_EVER));
    sheet.text(&format!(" preferred_lft {}", time(lifetimes.preferred)));
    sheet.json("preferred_life_time", lifetimes.preferred.unwrap_or(FOR_EVER));
}

fn family_of(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "inet" } else { "inet6" }
}

/// Returns the line of a neighbour.
pub(super) fn neighbour(
    neighbour: &Neighbour<'_>,
    network: &Network,
    form: Form,
    presence: Presence,
) -> Vec<u8> {
    let mut sheet = begin(form, presence);
    sheet.field("dst", &*neighbour.address.to_string(), "", " ");
    let Neighbour { index, hardware_address, flags, state, protocol, .. } = *neighbour;
    station(&mut sheet, (index, hardware_address), network);
    station_state(&mut sheet, flags, state, protocol);
    sheet.end()
}

/// Returns the line of an entry of a bridge.
pub(super) fn bridge_entry(
    entry: &BridgeEntry<'_>,
    network: &Network,
    form: Form,
    presence: Presence,
) -> Vec<u8> {
    let mut sheet = begin(form, presence);
    if let Some(destination) = entry.destination {
        sheet.field("dst", &*destination.to_string(), "", " ");
    }
    let BridgeEntry { index, hardware_address, flags, state, protocol, .. } = *entry;
    station(&mut sheet, (index, hardware_address), network);
    station_state(&mut sheet, flags, state, protocol);
    sheet.end()
}

/// Writes on which link an address of hardware is.
fn station(sheet: &mut Sheet, (index, address): (u32, Option<&[u8]>), network: &Network) {
    sheet.field("dev", &*names::link(index, network), "dev ", " ");
    if let Some(bytes) = address {
        let hardware = network.link(index).map_or(0, |link| link.hardware);
        sheet.field("lladdr", &*names::hardware_address(bytes, hardware), "lladdr ", " ");
    }
}

/// Writes how that is known.
fn station_state(
    sheet: &mut Sheet,
    flags: NeighbourFlags,
    state: NeighbourState,
    protocol: Option<u8>,
) {
    for (flag, name) in NeighbourFlags::NAMES {
        if flags.contains(flag) {
            sheet.field(name, Value::Null, &format!("{name} "), "");
        }
    }
    let set = NeighbourState::NAMES.iter().filter(|(it, _)| state.contains(*it));
    if state != NeighbourState::default() {
        sheet.names("state", set.map(|(_, name)| *name), "", " ");
    }
    if let Some(protocol) = protocol.filter(|it| *it != 0) {
        sheet.field("protocol", &*names::protocol(protocol), "proto ", " ");
    }
}

/// Returns the line of a route.
pub(super) fn route(
    route: &Route<'_>,
    network: &Network,
    form: Form,
    presence: Presence,
) -> Vec<u8> {
    let mut sheet = begin(form, presence);
    if route.kind != 1 {
        sheet.field("type", &*names::route_type(route.kind), "", " ");
    }
    let whole = if route.family == FAMILY_IPV4 { 32 } else { 128 };
    let network_of = |ip: Option<IpAddr>, length: u8| match ip {
        Some(ip) if length == whole => Some(ip.to_string()),
        Some(ip) => Some(format!("{ip}/{length}")),
        None if length > 0 => Some(format!("0/{length}")),
        None => None,
    };
    let destination = network_of(route.destination, route.destination_length);
    sheet.field("dst", destination.as_deref().unwrap_or("default"), "", " ");
    if let Some(source) = network_of(route.source, route.source_length) {
        sheet.field("from", &*source, "from ", " ");
    }
    if let Some(next_hop) = route.next_hop {
        sheet.field("nhid", next_hop, "nhid ", " ");
    }
    if route.tos != 0 {
        sheet.field("tos", &*format!("{:#04x}", route.tos), "tos ", " ");
    }
    gateway(&mut sheet, route.family, route.gateway);
    if let Some(output) = route.output {
        sheet.field("dev", &*names::link(output, network), "dev ", " ");
    }
    if !matches!(route.table, Table(0) | Table::MAIN) {
        sheet.field("table", &*names::table(route.table), "table ", " ");
    }
    if route.protocol != 3 {
        sheet.field("protocol", &*names::protocol(route.protocol), "proto ", " ");
    }
    if route.scope != Scope::GLOBAL {
        sheet.field("scope", &*names::scope(route.scope), "scope ", " ");
    }
    if let Some(source) = route.preferred_source {
        sheet.field("prefsrc", &*source.to_string(), "src ", " ");
    }
    if let Some(metric) = route.metric {
        sheet.field("metric", metric, "metric ", " ");
    }
    route_flags(&mut sheet, route.flags);
    realms(&mut sheet, route.realms);
    route_rest(&mut sheet, route, network);
    sheet.end()
}

/// Writes what `ip` writes behind the flags of a route.
fn route_rest(sheet: &mut Sheet, route: &Route<'_>, network: &Network) {
    if let Some(expires) = route.expires {
        sheet.text(&format!("expires {}sec ", expires / TICKS));
        sheet.json("expires", expires / TICKS);
    }
    if let Some(error) = route.error {
        sheet.field("error", error, "error ", " ");
    }
    if route.metrics().next().is_some() {
        let locked = route.metrics().find(|it| it.number == 1).map_or(0, |it| it.value());
        let all = std::iter::once(route);
        sheet.objects("metrics", all, |sheet, route| {
            route.metrics().filter(|it| it.number > 1).for_each(|it| metric(sheet, &it, locked));
        });
    }
    if let Some(input) = route.input {
        sheet.field("iif", &*names::link(input, network), "iif ", " ");
    }
    if let Some(preference) = route.preference {
        sheet.field("pref", &*names::preference(preference), "pref ", "");
    }
    if route.hops().next().is_some() {
        sheet.objects("nexthops", route.hops(), |sheet, hop| {
            next_hop(sheet, &hop, route.family, network);
        });
    }
}

fn gateway(sheet: &mut Sheet, family: u8, gateway: Option<IpAddr>) {
    let Some(ip) = gateway else { return };
    if ip.is_ipv4() == (family == FAMILY_IPV4) {
        return sheet.field("gateway", &*ip.to_string(), "via ", " ");
    }
    sheet.object("via", |sheet| {
        sheet.field("family", family_of(ip), "via ", " ");
        sheet.field("host", &*ip.to_string(), "", " ");
    });
}

fn route_flags(sheet: &mut Sheet, flags: RouteFlags) {
    let set = RouteFlags::NAMES.iter().filter(|(flag, _)| flags.contains(*flag));
    sheet.names("flags", set.map(|(_, name)| *name), "", " ");
}

fn realms(sheet: &mut Sheet, realms: Option<Realms>) {
    let Some(Realms { from, to }) = realms else { return };
    sheet.text(if from == 0 { "realm " } else { "realms " });
    sheet.object("flow", |sheet| {
        if from != 0 {
            sheet.field("from", &*names::realm(from), "", "/");
        }
        sheet.field("to", &*names::realm(to), "", " ");
    });
}

fn next_hop(sheet: &mut Sheet, hop: &NextHop, family: u8, network: &Network) {
    sheet.text("\n\tnexthop ");
    gateway(sheet, family, hop.gateway);
    realms(sheet, hop.realms);
    sheet.field("dev", &*names::link(hop.output, network), "dev ", " ");
    sheet.field("weight", u32::from(hop.weight), "weight ", " ");
    route_flags(sheet, hop.flags);
}

fn metric(sheet: &mut Sheet, metric: &Metric<'_>, locked: u32) {
    let value = match metric.number {
        // It is the default of the system.
        HOP_LIMIT if metric.value() == u32::MAX => return,
        ROUND_TRIP => metric.value() / 8,
        ROUND_TRIP_VARIANCE => metric.value() / 4,
        _ => metric.value(),
    };
    let name = names::metric(metric.number);
    let is_locked = locked.checked_shr(metric.number.into()).is_some_and(|it| it & 1 == 1);
    sheet.text(&format!("{name} {}", if is_locked { "lock " } else { "" }));
    match metric.number {
        CONGESTION_CONTROL => {
            let end = metric.content.iter().position(|it| *it == 0);
            let algorithm = &metric.content[..end.unwrap_or(metric.content.len())];
            sheet.field("congestion", &*String::from_utf8_lossy(algorithm), "", " ");
        }
        FEATURES => {
            if value & FEATURE_ECN != 0 {
                sheet.field("ecn", Value::Null, "ecn ", "");
            }
            if value & !FEATURE_ECN != 0 {
                sheet.field(&name, &*format!("{value:#x}"), "", " ");
            }
        }
        ROUND_TRIP | ROUND_TRIP_VARIANCE | RETRANSMISSION_MIN => {
            let text = match value {
                1000.. => format!("{}s ", f64::from(value) / 1e3),
                _ => format!("{value}ms "),
            };
            sheet.text(&text);
            sheet.json(&name, value);
        }
        _ => sheet.field(&name, value, "", " "),
    }
}
