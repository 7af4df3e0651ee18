//! The state of the network as `ip -j` tells it, and as a loop has followed it, in the same lines.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;

use protocol::netlink::{Address, Link, LinkFlags, Neighbour, NeighbourState, Network, Route};
use serde_json::Value;

/// A line for each link, address, route and neighbour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) links: BTreeSet<String>,
    pub(crate) addresses: BTreeSet<String>,
    pub(crate) routes: BTreeSet<String>,
    pub(crate) neighbours: BTreeSet<String>,
}

impl Lines {
    pub(crate) fn of(network: &Network) -> Self {
        Self {
            links: network.links().map(|it| link_line(&it)).collect(),
            addresses: network.addresses().map(|it| address_line(&it)).collect(),
            routes: network.routes().map(|it| route_line(&it)).collect(),
            neighbours: network
                .neighbours()
                .filter(is_shown)
                .map(|it| neighbour_line(&it))
                .collect(),
        }
    }

    /// Returns the links, the addresses, the routes and the neighbours, or some of these.
    pub(crate) fn only(&self, has: [bool; 4]) -> BTreeSet<String> {
        let all = [&self.links, &self.addresses, &self.routes, &self.neighbours];
        let chosen = all.into_iter().zip(has).filter(|(_, has)| *has);
        chosen.flat_map(|(lines, _)| lines).cloned().collect()
    }
}

/// Runs `ip` with some arguments.
pub(crate) fn run(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("it runs");
    assert!(status.success(), "ip {arguments}: {status}");
}

fn read(arguments: &[&str]) -> Vec<Value> {
    let output = Command::new("ip").args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    if output.stdout.is_empty() {
        return Vec::new();
    }
    let value: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    value.as_array().expect("it is a list").clone()
}

/// Returns the state as `ip` tells it.
pub(crate) fn state() -> Lines {
    let interfaces = read(&["-j", "addr"]);
    let index_of = |name: &Value| {
        let named = interfaces.iter().find(|it| it["ifname"] == *name);
        named.map_or(0, |it| it["ifindex"].as_u64().expect("it is a number"))
    };
    let mut lines = Lines::default();
    for interface in &interfaces {
        lines.links.insert(their_link(interface));
        for address in interface["addr_info"].as_array().expect("it is a list") {
            let (local, length) = (&address["local"], &address["prefixlen"]);
            let peer = address["address"].as_str().unwrap_or("-");
            let index = &interface["ifindex"];
            lines.addresses.insert(format!("address {index} {}/{length} {peer}", text(local)));
        }
    }
    for family in ["-4", "-6"] {
        for route in read(&["-j", "-N", family, "route", "show", "table", "all"]) {
            lines.routes.insert(their_route(&route, &index_of));
        }
    }
    for neighbour in read(&["-j", "neigh"]) {
        let state = neighbour["state"][0].as_str().unwrap_or("-");
        lines.neighbours.insert(format!(
            "neighbour {} {} {} {state}",
            index_of(&neighbour["dev"]),
            text(&neighbour["dst"]),
            text(&neighbour["lladdr"])
        ));
    }
    lines
}

/// Returns whether `ip` shows a neighbour: one that needs no address of hardware is not shown.
pub(crate) fn is_shown(neighbour: &Neighbour<'_>) -> bool {
    neighbour.state != NeighbourState::NO_ARP
}

pub(crate) fn neighbour_line(neighbour: &Neighbour<'_>) -> String {
    let bytes = neighbour.hardware_address.unwrap_or_default();
    let bytes: Vec<String> = bytes.iter().map(|it| format!("{it:02x}")).collect();
    let bytes = if bytes.is_empty() { "-".to_owned() } else { bytes.join(":") };
    let mut names = NeighbourState::NAMES.iter();
    let state = names.find(|(state, _)| *state == neighbour.state).map_or("-", |(_, name)| *name);
    format!("neighbour {} {} {bytes} {state}", neighbour.index, neighbour.address)
}

fn their_link(link: &Value) -> String {
    let flags = link["flags"].as_array().expect("it is a list");
    let has = |name| flags.iter().any(|it| it == name);
    let master = text(&link["master"]);
    format!(
        "link {} {} {} {} {} {} {master}",
        link["ifindex"],
        text(&link["ifname"]),
        link["mtu"],
        text(&link["address"]),
        has("UP"),
        text(&link["operstate"]),
    )
}

/// Returns the line of a link. A master is a name for `ip`, and there is one in the tests.
pub(crate) fn link_line(link: &Link<'_>) -> String {
    let name = String::from_utf8_lossy(link.name);
    let address = link.address.unwrap_or_default();
    let bytes: Vec<String> = address.iter().map(|it| format!("{it:02x}")).collect();
    let state = link.state.and_then(|it| it.name()).unwrap_or("-");
    let master = if link.master.is_some() { "b0" } else { "-" };
    let (mtu, is_up) = (link.mtu.unwrap_or(0), link.flags.contains(LinkFlags::UP));
    let bytes = bytes.join(":");
    format!("link {} {name} {mtu} {bytes} {is_up} {state} {master}", link.index)
}

pub(crate) fn address_line(address: &Address<'_>) -> String {
    let Address { index, local, prefix_length, peer, .. } = address;
    let peer = peer.map_or("-".to_owned(), |it| it.to_string());
    format!("address {index} {local}/{prefix_length} {peer}")
}

fn their_route(route: &Value, index_of: &dyn Fn(&Value) -> u64) -> String {
    let hops = route["nexthops"].as_array().cloned().unwrap_or_default();
    let hops: Vec<String> =
        hops.iter().map(|it| format!("{}*{}", text(&it["gateway"]), it["weight"])).collect();
    let table = route["table"].as_str().unwrap_or("254").to_owned();
    let is_down = route["flags"].as_array().is_some_and(|it| it.iter().any(|it| it == "linkdown"));
    let kind = route["type"].as_str().unwrap_or("1");
    let metric = route["metric"].as_u64().unwrap_or(0);
    let destination = match text(&route["dst"]).as_str() {
        "default" => "-".to_owned(),
        other => other.to_owned(),
    };
    let index = if route["dev"].is_null() { 0 } else { index_of(&route["dev"]) };
    format!(
        "route {kind} {destination} table {table} dev {index} via {} metric {metric} down {is_down} [{}]",
        text(&route["gateway"]),
        hops_text(hops)
    )
}

pub(crate) fn route_line(route: &Route<'_>) -> String {
    let whole = if route.family == protocol::netlink::FAMILY_IPV4 { 32 } else { 128 };
    let destination = match (route.destination, route.destination_length) {
        (None, 0) => "-".to_owned(),
        (None, length) => format!("0/{length}"),
        (Some(ip), length) if length == whole => ip.to_string(),
        (Some(ip), length) => format!("{ip}/{length}"),
    };
    let gateway = |it: Option<IpAddr>| it.map_or("-".to_owned(), |it| it.to_string());
    let hops: Vec<String> =
        route.hops().map(|it| format!("{}*{}", gateway(it.gateway), it.weight)).collect();
    let is_down = route.flags.0 & 0x10 != 0;
    let (index, metric) = (route.output.unwrap_or(0), route.metric.unwrap_or(0));
    format!(
        "route {} {destination} table {} dev {index} via {} metric {metric} down {is_down} [{}]",
        route.kind,
        route.table.0,
        gateway(route.gateway),
        hops_text(hops)
    )
}

/// Returns next hops in order. Those of IPv6 are in another one in the message about a change than in a dump,
/// as the kernel sends both.
fn hops_text(mut hops: Vec<String>) -> String {
    if hops.iter().any(|hop| hop.contains(':')) {
        hops.sort();
    }
    hops.join(",")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}
