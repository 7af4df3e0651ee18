//! What has to hold for any file of hosts and any block list. The fuzz target `local_files` checks the same.

use std::net::IpAddr;
use std::path::Path;

use super::block::{Collector, host_name};
use super::hosts;
use super::lines::FileError;
use crate::dns::lower_name::LowerName;

/// The name of the file in errors.
const FILE: &str = "list";

/// Reads any bytes as a hosts file and as a block list.
///
/// # Panics
/// When an error does not name a line that exists, a name that was read is not blocked, or a line that is
/// left out is not counted.
fn check(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    let is_placed = |error: &str| {
        let place = error.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':'));
        let number = place.and_then(|place| place.split(':').next()?.parse::<u64>().ok());
        number.is_some_and(|number| (1..=lines).contains(&number))
    };
    let mut hosts = Vec::new();
    let mut last = 0;
    let read = hosts::read(bytes, Path::new(FILE), |number, host| {
        assert!(number > last && number <= lines, "line {number} of {lines} after {last}");
        last = number;
        assert!(!host.names.is_empty(), "line {number} has no name");
        hosts.push(host);
        Ok::<(), FileError>(())
    });
    if let Err(error) = read {
        assert!(is_placed(&error.to_string()), "{error}");
    }
    let mut collector = Collector::default();
    match collector.read(bytes, Path::new(FILE)) {
        Ok(read) => {
            assert_eq!(read.wrong > 0, !read.reports.is_empty(), "{} are left out", read.wrong);
            assert!(read.reports.iter().all(|report| is_placed(report)), "{:?}", read.reports);
            let blocked = collector.finish();
            assert!(blocked.len() <= read.names, "{} of {} names", blocked.len(), read.names);
            // A hosts file is a block list too, whose names of hosts with a dot are blocked.
            for name in hosts.iter().flat_map(|host| &host.names) {
                let text = name.to_string();
                let plain = text.trim_end_matches('.');
                let is_own = !plain.contains('.')
                    || host_name(plain).is_err()
                    || text.starts_with("localhost.")
                    || text.starts_with("*.")
                    || plain.parse::<IpAddr>().is_ok();
                let lower = LowerName::new(name.view());
                assert!(is_own || blocked.contains(&lower), "{text} is not blocked");
            }
        }
        Err(error) => assert!(is_placed(&error.to_string()), "{error}"),
    }
}

/// Checks any bytes for the fuzz target.
///
/// # Panics
/// When something does not hold.
#[cfg(fuzzing)]
pub fn check_local_files(bytes: &[u8]) {
    check(bytes);
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;

    #[test]
    fn any_file_is_read_or_refused_with_its_line() {
        const WORDS: [&[u8]; 16] = [
            b"127.0.0.1",
            b"::1",
            b"fe80::1%lo",
            b"0.0.0.0",
            b"ads.example",
            b"*.ads.example",
            b"localhost",
            b"a..b",
            b"#",
            b"\n",
            b"\n",
            b" ",
            b"\t",
            b"\xff\xfe",
            b"\xc3\xbc.example",
            b"example.",
        ];
        let mut random = Random::new(5);
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..random.below(30) {
                match random.one_in(12) {
                    true => text.extend_from_slice(&random.bytes(3)),
                    false => text.extend_from_slice(WORDS[random.index(WORDS.len())]),
                }
                if random.one_in(2) {
                    text.push(b' ');
                }
            }
            check(&text);
        }
    }
}
