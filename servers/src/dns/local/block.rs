//! Block lists: names that are answered as if they did not exist.
//!
//! A list may have a million names, so it keeps a number of 64 bits for each name, which a secret of the
//! process makes of it, and not the name: 8 bytes a name. The numbers are in order. An index finds the
//! few that begin like the one that is looked for. A name that is on no list is taken for one that is
//! with a chance of one in 2^44, if the lists have 2^20 names.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::BufRead;
use std::net::IpAddr;
use std::path::Path;

use protocol::dns::Name;

use super::hosts::parse_name;
use super::lines::{FileError, each_line};
use crate::dns::lower_name::{LowerName, suffixes};

/// The number of names of all block lists together. They take 64 MB.
const BLOCKED_MAX: usize = 8_000_000;
/// The wrong lines of a list that are reported one by one.
const REPORTS_MAX: usize = 3;
/// How many numbers the index leaves for a search in a row, on average.
const RUN: usize = 8;

/// Names that are blocked.
#[derive(Debug)]
pub(super) struct Blocked {
    /// The numbers of the names, in order.
    numbers: Box<[u64]>,
    /// Where the numbers begin that have the same upper bits: one place for each value of these bits, and
    /// the end.
    index: Box<[u32]>,
    /// How many bits are not upper ones.
    shift: u32,
    hasher: RandomState,
}

/// What a line of a list blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Extent {
    /// The name alone, as a line of a hosts file says.
    Name,
    /// The name and all names below it.
    Domain,
}

/// Collects names.
#[derive(Debug, Default)]
pub(super) struct Collector {
    numbers: Vec<u64>,
    hasher: RandomState,
}

/// What was read of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::dns) struct Read {
    /// How many names it has.
    pub(in crate::dns) names: usize,
    /// How many lines were left out, since they are wrong.
    pub(in crate::dns) wrong: usize,
    /// What is wrong with the first of them.
    pub(in crate::dns) reports: Vec<String>,
}

impl Collector {
    /// Adds the names of a list: a name in each line, which stands for all names below it too, or an
    /// address and names like in a hosts file, which stand for themselves. Lines that are wrong are left
    /// out and counted: lists come from others, and a mistake is no reason to block nothing.
    ///
    /// # Errors
    /// When the list cannot be read, or there are more than [`BLOCKED_MAX`] names.
    pub(super) fn read(&mut self, input: impl BufRead, file: &Path) -> Result<Read, FileError> {
        let mut read = Read::default();
        each_line(input, file, |number, line| {
            let (names, wrong, reports) = (&mut read.names, &mut read.wrong, &mut read.reports);
            let mut leave_out = |what: String| {
                *wrong += 1;
                if reports.len() < REPORTS_MAX {
                    reports.push(FileError::new(file, number, what).to_string());
                }
            };
            let mut add = |extent, name: &str| match host_name(name.trim_start_matches("*.")) {
                Ok(name) => {
                    *names += 1;
                    let number = number_of(&self.hasher, extent, &LowerName::new(name.view()));
                    self.numbers.push(number);
                }
                Err(what) => leave_out(what),
            };
            match line {
                Ok(line) => each_name(line, &mut add),
                Err(what) => leave_out(what),
            }
            if self.numbers.len() > BLOCKED_MAX {
                let what = format!("the block lists have more than {BLOCKED_MAX} names");
                return Err(FileError::new(file, number, what));
            }
            Ok(())
        })?;
        Ok(read)
    }

    /// Returns the names.
    pub(super) fn finish(self) -> Blocked {
        let Self { mut numbers, hasher } = self;
        numbers.sort_unstable();
        numbers.dedup();
        let bits = (numbers.len() / RUN).max(2).ilog2();
        let shift = u64::BITS - bits;
        let mut index = Vec::with_capacity((1 << bits) + 1);
        for upper in 0..1u64 << bits {
            index.push(numbers.partition_point(|number| number >> shift < upper) as u32);
        }
        index.push(numbers.len() as u32);
        Blocked { numbers: numbers.into(), index: index.into(), shift, hasher }
    }
}

/// Reads a name of letters, digits, `-` and `_`. Others are lines of lists in another form, such as
/// `||ads.example^`, and would block nothing.
pub(super) fn host_name(text: &str) -> Result<Name, String> {
    match text.bytes().find(|byte| !byte.is_ascii_alphanumeric() && !b"-_.".contains(byte)) {
        Some(byte) if byte.is_ascii() => Err(format!(
            "{text:?} is no name of a host because of its {:?}: expected a name in each line",
            char::from(byte)
        )),
        _ => parse_name(text),
    }
}

/// Calls `add` with each name of a line of a list.
fn each_name(line: &str, add: &mut impl FnMut(Extent, &str)) {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let address = first.split('%').next().unwrap_or_default();
    if address.parse::<IpAddr>().is_err() {
        return [first].into_iter().chain(words).for_each(|name| add(Extent::Domain, name));
    }
    for name in words {
        // Lists in the form of a hosts file begin with the names of the host itself, which have no dot:
        // localhost, broadcasthost, ip6-allnodes. And some block "0.0.0.0".
        let is_own = !name.contains('.') || name.starts_with("localhost.");
        if !is_own && name.parse::<IpAddr>().is_err() {
            add(Extent::Name, name);
        }
    }
}

/// Returns the number of a name in lower case.
fn number_of(hasher: &RandomState, extent: Extent, name: &[u8]) -> u64 {
    hasher.hash_one((extent, name))
}

impl Blocked {
    /// Returns whether a name is blocked.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        if self.numbers.is_empty() {
            return false;
        }
        self.has(number_of(&self.hasher, Extent::Name, name))
            || suffixes(name).any(|it| self.has(number_of(&self.hasher, Extent::Domain, it)))
    }

    fn has(&self, number: u64) -> bool {
        let upper = (number >> self.shift) as usize;
        let (start, end) = (self.index[upper] as usize, self.index[upper + 1] as usize);
        self.numbers[start..end].binary_search(&number).is_ok()
    }

    /// Returns how many names there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Returns the memory that the names take, in bytes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.numbers) + size_of_val(&*self.index)
    }
}

impl Default for Blocked {
    fn default() -> Self {
        Collector::default().finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use protocol::dns::Name;

    use super::*;

    fn lower(name: &str) -> LowerName {
        LowerName::new(name.parse::<Name>().expect("a name").view())
    }

    fn blocked(text: &str) -> (Blocked, Read) {
        let mut all = Collector::default();
        let read = all.read(text.as_bytes(), Path::new("list")).expect("it can be read");
        (all.finish(), read)
    }

    #[test]
    fn a_plain_name_blocks_what_is_below_and_a_line_of_hosts_itself() {
        let text =
            "# a list\nAds.example\n*.stars.example\n0.0.0.0 one.example two.example # both\n";
        let (blocked, read) = blocked(text);
        assert_eq!(read, Read { names: 4, wrong: 0, reports: Vec::new() });
        for name in
            ["ads.example", "x.y.ADS.example", "stars.example", "one.example", "two.example"]
        {
            assert!(blocked.contains(&lower(name)), "{name}");
        }
        for name in ["example", "bads.example", "x.one.example", "ads.example.org", "."] {
            assert!(!blocked.contains(&lower(name)), "{name}");
        }
    }

    #[test]
    fn names_of_the_host_itself_are_not_blocked() {
        let (blocked, read) = blocked(
            "127.0.0.1 localhost localhost.localdomain\n::1 ip6-loopback\nfe80::1%lo0 localhost\n\
             255.255.255.255 broadcasthost\n0.0.0.0 0.0.0.0\n",
        );
        assert_eq!((read.names, blocked.len()), (0, 0));
        assert!(!blocked.contains(&lower("localhost")));
    }

    #[test]
    fn wrong_lines_are_counted_and_the_first_named() {
        let (blocked, read) = blocked("a..b\nright.example\nb..c\n||c^\nd..e\n");
        assert_eq!((read.names, read.wrong, read.reports.len()), (1, 4, 3));
        assert!(read.reports[1].starts_with("list:3: \"b..c\" is no name: "), "{read:?}");
        let other = "list:4: \"||c^\" is no name of a host because of its '|'";
        assert!(read.reports[2].starts_with(other), "{read:?}");
        assert!(blocked.contains(&lower("right.example")));
    }

    #[test]
    fn a_line_of_any_bytes_is_left_out_and_named_and_the_others_count() {
        let text = b"first.example\n\xff.example\nlast.example # caf\xe9\n";
        let mut all = Collector::default();
        let read = all.read(&text[..], Path::new("list")).expect("it can be read");
        assert_eq!((read.names, read.wrong), (2, 1));
        assert!(read.reports[0].starts_with("list:2: the line is no UTF-8"), "{read:?}");
        assert!(all.finish().contains(&lower("last.example")));
    }

    #[test]
    fn a_million_names_take_less_than_ten_megabytes() {
        let mut text = String::new();
        for number in 0..1_000_000 {
            let _ = writeln!(text, "host{number}.some-advertiser{}.example", number % 1000);
        }
        let (blocked, read) = blocked(&text);
        assert_eq!((read.names, blocked.len()), (1_000_000, 1_000_000));
        assert!(blocked.memory() < 10_000_000, "{} bytes", blocked.memory());
        for number in (0..1_000_000).step_by(997) {
            let name = format!("host{number}.some-advertiser{}.example", number % 1000);
            assert!(blocked.contains(&lower(&name)), "{name}");
            assert!(!blocked.contains(&lower(&format!("no-{name}"))), "{name}");
        }
    }
}
