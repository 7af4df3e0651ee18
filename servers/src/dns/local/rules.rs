//! Rules for whole domains: `--address /domain/IP`, and the upstreams of `--server /domain/ADDRESS`.

use std::collections::HashMap;
use std::net::IpAddr;

use protocol::dns::{Name, RecordData};

use super::NULL;
use super::hosts::parse_name;
use crate::dns::lower_name::{LowerName, suffixes};

/// `--address /domain/IP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dns) struct AddressRule {
    /// The domains. The root stands for every name.
    pub(in crate::dns) domains: Vec<Name>,
    /// What their names have.
    pub(in crate::dns) target: AddressTarget,
}

/// What names of a domain have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum AddressTarget {
    /// This address, and none of the other family.
    Address(IpAddr),
    /// The addresses 0.0.0.0 and ::, which lead nowhere.
    Null,
    /// Nothing: they do not exist.
    NoName,
}

/// Where questions about names of a domain go: of `--server /domain/ADDRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dns) enum ServerTarget {
    /// To the upstreams of the group with this index.
    Group(usize),
    /// Nowhere: what is not known here does not exist.
    Nowhere,
}

/// The rules by their domains.
#[derive(Debug, Default)]
pub(super) struct Rules(HashMap<Box<[u8]>, Rule>);

#[derive(Debug, Default)]
struct Rule {
    addresses: Option<Vec<RecordData>>,
    server: Option<ServerTarget>,
}

/// What the rules say about a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision<'a> {
    /// The name has these addresses, of both families, and no other record.
    Addresses(&'a [RecordData]),
    /// The name does not exist.
    NoName,
    /// The question goes to these upstreams.
    Forward(Option<usize>),
}

impl Rules {
    /// Adds a rule of `--address`.
    pub(super) fn add_address(&mut self, rule: &AddressRule) {
        for domain in &rule.domains {
            let own = &mut self.of(domain).addresses;
            let added: &[IpAddr] = match &rule.target {
                AddressTarget::Address(address) => &[*address],
                AddressTarget::Null => &NULL,
                AddressTarget::NoName => &[],
            };
            // Without an address, the names do not exist.
            own.get_or_insert_default().extend(added.iter().copied().map(RecordData::address));
        }
    }

    /// Adds a rule of `--server`.
    pub(super) fn add_server(&mut self, domain: &Name, target: ServerTarget) {
        self.of(domain).server = Some(target);
    }

    fn of(&mut self, domain: &Name) -> &mut Rule {
        self.0.entry(LowerName::new(domain.view())[..].into()).or_default()
    }

    /// Returns what the rule with the longest domain says about a name. Names of `--address` are answered
    /// for every type, so that no answer contradicts another.
    pub(super) fn decide(&self, name: &[u8]) -> Decision<'_> {
        if self.0.is_empty() {
            return Decision::Forward(None);
        }
        let Some(rule) = suffixes(name).find_map(|suffix| self.0.get(suffix)) else {
            return Decision::Forward(None);
        };
        match (rule.addresses.as_deref(), rule.server) {
            (Some([]), _) | (None, Some(ServerTarget::Nowhere)) => Decision::NoName,
            (Some(all), _) => Decision::Addresses(all),
            (None, Some(ServerTarget::Group(index))) => Decision::Forward(Some(index)),
            (None, None) => Decision::Forward(None),
        }
    }
}

/// Reads `/domain/.../rest`: the domains, and what follows them. `#` stands for every name.
///
/// # Errors
/// What is wrong.
pub(in crate::dns) fn split_domains(text: &str) -> Result<(Vec<Name>, &str), String> {
    let wrong = || format!("expected /DOMAIN/VALUE or /DOMAIN/DOMAIN/VALUE, found {text:?}");
    let inner = text.strip_prefix('/').ok_or_else(wrong)?;
    let (domains, value) = inner.rsplit_once('/').ok_or_else(wrong)?;
    let read = |domain: &str| match domain {
        "#" => Ok(Name::root()),
        _ => parse_name(domain.trim_start_matches("*.")),
    };
    Ok((domains.split('/').map(read).collect::<Result<_, _>>()?, value))
}

/// Reads the value of `--address`.
///
/// # Errors
/// What is wrong.
pub(in crate::dns) fn parse_address_rule(text: &str) -> Result<AddressRule, String> {
    let (domains, value) = split_domains(text)?;
    let target = match value {
        "" => AddressTarget::NoName,
        "#" => AddressTarget::Null,
        _ => AddressTarget::Address(value.parse().map_err(|_| {
            format!("{value:?} is no address; /DOMAIN/# answers with 0.0.0.0 and ::, /DOMAIN/ with no name")
        })?),
    };
    Ok(AddressRule { domains, target })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(name: &str) -> LowerName {
        LowerName::new(name.parse::<Name>().expect("a name").view())
    }

    fn rules(addresses: &[&str], servers: &[(&str, ServerTarget)]) -> Rules {
        let mut rules = Rules::default();
        for text in addresses {
            rules.add_address(&parse_address_rule(text).expect("a rule"));
        }
        for (domain, target) in servers {
            rules.add_server(&domain.parse().expect("a name"), *target);
        }
        rules
    }

    /// Returns what the rules say, in short.
    fn said(rules: &Rules, name: &str) -> String {
        match rules.decide(&lower(name)) {
            Decision::Addresses(all) => {
                all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            Decision::NoName => "no name".to_owned(),
            Decision::Forward(None) => "default".to_owned(),
            Decision::Forward(Some(group)) => format!("group {group}"),
        }
    }

    #[test]
    fn the_longest_domain_counts() {
        let addresses =
            ["/a.test/192.0.2.1", "/a.test/2001:db8::1", "/x.a.test/b.test/#", "/no.a.test/"];
        let servers = [
            ("test", ServerTarget::Group(3)),
            ("y.a.test", ServerTarget::Group(1)),
            ("a.test", ServerTarget::Group(2)),
            ("z.test", ServerTarget::Group(0)),
            ("here.test", ServerTarget::Nowhere),
        ];
        let rules = rules(&addresses, &servers);
        for (name, expected) in [
            ("A.test", "192.0.2.1 2001:db8::1"),
            ("w.a.test", "192.0.2.1 2001:db8::1"),
            ("x.a.test", "0.0.0.0 ::"),
            ("v.b.test", "0.0.0.0 ::"),
            ("y.a.test", "group 1"),
            ("q.no.a.test", "no name"),
            ("other.z.test", "group 0"),
            ("other.here.test", "no name"),
            ("ba.test", "group 3"),
            ("example", "default"),
        ] {
            assert_eq!(said(&rules, name), expected, "{name}");
        }
        assert_eq!(said(&Rules::default(), "a.test"), "default");
    }

    #[test]
    fn a_rule_for_every_name_has_the_shortest_domain() {
        let rules = rules(&["/#/192.0.2.9"], &[("a.test", ServerTarget::Group(0))]);
        assert_eq!(said(&rules, "b.test"), "192.0.2.9");
        assert_eq!(said(&rules, "a.test"), "group 0");
    }

    #[test]
    fn a_wrong_rule_says_what_is_wrong() {
        let error = |text| parse_address_rule(text).expect_err("it is wrong");
        assert!(error("a.test").starts_with("expected /DOMAIN/VALUE"));
        assert!(error("/a.test").starts_with("expected /DOMAIN/VALUE"));
        assert!(error("/a.test/192.0.2").starts_with("\"192.0.2\" is no address; "));
        assert!(error("/a..test/::").starts_with("\"a..test\" is no name: "));
        assert!(error("//192.0.2.1").starts_with("\"\" is no name: "));
    }
}
