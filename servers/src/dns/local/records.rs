//! Records that the server has of its own: of hosts files and of `--record`, and the PTR records that
//! follow from them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use protocol::dns::{Name, NameView, Record, RecordData, RecordType, reverse_name};

use crate::dns::lower_name::LowerName;

/// The number of records of hosts files and of `--record` together, without their PTR records. A file of
/// that many names takes some 200 MB; a block list is the smaller form if it is all about refusing names.
pub(super) const RECORDS_MAX: usize = 1_000_000;

/// Records by their names.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Ordered by name in lower case, and by type.
    all: Vec<Record>,
    /// Where the records of each name are in `all`.
    places: HashMap<Box<[u8]>, (u32, u32)>,
}

/// Collects records.
#[derive(Debug, Default)]
pub(super) struct Collector {
    records: Vec<(Box<[u8]>, Record)>,
    /// PTR records that follow from addresses. The first of each address counts, unless one was given.
    reverse: Vec<(Box<[u8]>, Record)>,
}

/// More records than [`RECORDS_MAX`].
#[derive(Debug)]
pub(super) struct TooMany;

impl Collector {
    /// Adds a record. One with an address makes a PTR record, too.
    pub(super) fn add(&mut self, record: Record) -> Result<(), TooMany> {
        if let Some(address) = record.data.view().address() {
            self.add_reverse(address, &record.name, record.ttl);
        }
        self.add_alone(record)
    }

    /// Adds a record, but no PTR record for it.
    pub(super) fn add_alone(&mut self, record: Record) -> Result<(), TooMany> {
        if self.records.len() >= RECORDS_MAX {
            return Err(TooMany);
        }
        self.records.push((LowerName::new(record.name.view())[..].into(), record));
        Ok(())
    }

    /// Adds the PTR record of an address.
    fn add_reverse(&mut self, address: IpAddr, name: &Name, ttl: u32) {
        let owner = reverse_name(address);
        let key = LowerName::new(owner.view())[..].into();
        self.reverse.push((key, Record { name: owner, ttl, data: RecordData::pointer(name) }));
    }

    /// Returns the records by their names. Equal ones are one.
    ///
    /// # Errors
    /// When an alias has other records beside it, or leads to a name without records, or in a circle.
    pub(super) fn finish(self) -> Result<Records, String> {
        let Self { mut records, mut reverse } = self;
        let mut known: HashSet<Box<[u8]>> = records
            .iter()
            .filter(|(_, record)| kind(record) == RecordType::PTR)
            .map(|(key, _)| key.clone())
            .collect();
        reverse.retain(|(key, _)| known.insert(key.clone()));
        records.append(&mut reverse);
        // Records of a name and a type keep the order in which they were given.
        records
            .sort_by(|(a, left), (b, right)| a.cmp(b).then_with(|| kind(left).cmp(&kind(right))));
        let mut found = Records::default();
        for group in records.chunk_by(|(a, _), (b, _)| a == b) {
            let start = found.all.len();
            for (_, record) in group {
                if !found.all[start..].iter().any(|known| known.data == record.data) {
                    found.all.push(record.clone());
                }
            }
            found.places.insert(group[0].0.clone(), (start as u32, found.all.len() as u32));
        }
        found.all.shrink_to_fit();
        found.check_aliases()?;
        Ok(found)
    }
}

fn kind(record: &Record) -> RecordType {
    record.data.view().kind()
}

impl Records {
    /// Returns the records of a name in lower case, ordered by type, if it has some.
    pub(super) fn of(&self, name: &[u8]) -> Option<&[Record]> {
        if self.places.is_empty() {
            return None;
        }
        let &(start, end) = self.places.get(name)?;
        self.all.get(start as usize..end as usize)
    }

    /// Returns how many records there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Checks that each alias leads to records. A stub resolver does not follow an alias itself.
    fn check_aliases(&self) -> Result<(), String> {
        self.all.iter().filter(|record| kind(record) == RecordType::CNAME).try_for_each(|alias| {
            let name = &alias.name;
            if self.of(&LowerName::new(name.view())).is_some_and(|all| all.len() > 1) {
                return Err(format!("{name} is an alias, so it can have no other record"));
            }
            let mut target = alias.data.view().name();
            for _ in 0..ALIASES_MAX {
                let Some(own) = target else { return Ok(()) };
                let Some(records) = self.of(&LowerName::new(own)) else {
                    return Err(format!(
                        "{name} is an alias of {own}, which has no record here: give it one by --record \
                         or in a hosts file, since clients do not follow an alias themselves"
                    ));
                };
                target = alias_target(records);
            }
            match target {
                None => Ok(()),
                Some(_) => Err(format!(
                    "the aliases that begin with {name} are a circle, or more than {ALIASES_MAX}"
                )),
            }
        })
    }
}

/// The longest chain of aliases.
pub(super) const ALIASES_MAX: usize = 8;

/// Returns the name that records of one name make it an alias of.
pub(super) fn alias_target(records: &[Record]) -> Option<NameView<'_>> {
    of_kind(records, RecordType::CNAME).first().and_then(|record| record.data.view().name())
}

/// Returns the records of a type, of the records of a name. ANY stands for all.
pub(super) fn of_kind(records: &[Record], wanted: RecordType) -> &[Record] {
    if wanted == RecordType::ANY {
        return records;
    }
    let start = records.partition_point(|record| kind(record) < wanted);
    let end = records.partition_point(|record| kind(record) <= wanted);
    &records[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(lines: &[&str]) -> Result<Records, String> {
        let mut all = Collector::default();
        for line in lines {
            all.add(line.parse().expect("a record")).expect("there is room");
        }
        all.finish()
    }

    fn found(records: &Records, name: &str, wanted: RecordType) -> Vec<String> {
        let name: Name = name.parse().expect("a name");
        let own = records.of(&LowerName::new(name.view())).unwrap_or_default();
        of_kind(own, wanted).iter().map(|record| record.data.to_string()).collect()
    }

    #[test]
    fn records_are_found_by_name_in_any_case_and_by_type() {
        let lines = [
            "a.test 1 A 192.0.2.2",
            "a.test 1 TXT x",
            "A.test 1 A 192.0.2.1",
            "a.test 1 A 192.0.2.2",
            "b.test 1 AAAA 2001:db8::1",
        ];
        let records = records(&lines).expect("they are right");
        assert_eq!(found(&records, "a.TEST", RecordType::A), ["192.0.2.2", "192.0.2.1"]);
        assert_eq!(found(&records, "a.test", RecordType::TXT), ["\"x\""]);
        assert_eq!(found(&records, "a.test", RecordType::ANY).len(), 3);
        assert_eq!(found(&records, "a.test", RecordType::MX), [""; 0]);
        assert_eq!(found(&records, "test", RecordType::ANY), [""; 0]);
        assert_eq!(found(&records, "2.2.0.192.in-addr.arpa", RecordType::PTR), ["a.test."]);
    }

    #[test]
    fn an_address_has_the_first_name_as_its_pointer_unless_one_is_given() {
        let lines = [
            "a.test 1 A 192.0.2.1",
            "b.test 1 A 192.0.2.1",
            "b.test 1 A 192.0.2.3",
            "3.2.0.192.in-addr.arpa 1 PTR given.test",
        ];
        let records = records(&lines).expect("they are right");
        assert_eq!(found(&records, "1.2.0.192.in-addr.arpa", RecordType::PTR), ["a.test."]);
        assert_eq!(found(&records, "3.2.0.192.in-addr.arpa", RecordType::PTR), ["given.test."]);
    }

    #[test]
    fn an_alias_leads_to_records() {
        let error = |lines: &[&str]| records(lines).expect_err("it is wrong");
        assert!(records(&["a 1 CNAME b", "b 1 CNAME c", "c 1 A 192.0.2.1"]).is_ok());
        assert!(error(&["a 1 CNAME b"]).starts_with("a. is an alias of b., which has no record"));
        let circle = error(&["a 1 CNAME b", "b 1 CNAME a"]);
        assert_eq!(circle, "the aliases that begin with a. are a circle, or more than 8");
        let two = error(&["a 1 CNAME b", "b 1 A 192.0.2.1", "a 1 A 192.0.2.1"]);
        assert_eq!(two, "a. is an alias, so it can have no other record");
    }
}
