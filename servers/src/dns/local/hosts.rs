//! Hosts files (`hosts(5)`): an address and its names in each line.

use std::io::BufRead;
use std::net::IpAddr;
use std::path::Path;

use protocol::dns::Name;

use super::lines::{FileError, each_line};

/// A line of a hosts file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// The address.
    pub(super) address: IpAddr,
    /// Its names. The first is the canonical one.
    pub(super) names: Vec<Name>,
}

/// Calls `each` with each line of a hosts file. `file` names it in errors.
///
/// Addresses with a zone, such as `fe80::1%lo0`, mean something on one machine only, so they are left
/// out.
///
/// # Errors
/// When a line is wrong, or the input cannot be read.
pub(super) fn read(
    input: impl BufRead,
    file: &Path,
    mut each: impl FnMut(u64, Host) -> Result<(), FileError>,
) -> Result<(), FileError> {
    each_line(input, file, |number, line| {
        let fail = |what: String| FileError::new(file, number, what);
        match line.and_then(parse).map_err(fail)? {
            Some(host) => each(number, host),
            None => Ok(()),
        }
    })
}

/// Reads a line without its comment. Returns `None` if its address has a zone.
fn parse(line: &str) -> Result<Option<Host>, String> {
    let mut words = line.split_ascii_whitespace();
    let text = words.next().unwrap_or_default();
    if let Some((front, _)) = text.split_once('%')
        && front.parse::<IpAddr>().is_ok()
    {
        return Ok(None);
    }
    let address: IpAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is no address; a line is an address and its names"))?;
    let names = words.map(parse_name).collect::<Result<Vec<Name>, String>>()?;
    if names.is_empty() {
        return Err(format!("the address {address} has no name"));
    }
    Ok(Some(Host { address, names }))
}

/// Reads a name of a file, whose letters are of ASCII.
pub(super) fn parse_name(text: &str) -> Result<Name, String> {
    if !text.is_ascii() {
        return Err(format!("the name {text:?} has other letters than ASCII; write its xn-- form"));
    }
    text.parse().map_err(|error| format!("{text:?} is no name: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        let result = read(text.as_bytes(), Path::new("/etc/hosts"), |_, host| {
            found.push(format!("{} {:?}", host.address, host.names));
            Ok(())
        });
        result.map(|()| found).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_have_an_address_and_names() {
        let text = "127.0.0.1\tlocalhost lo # comment\nfe80::1%lo0 localhost\n::1 Six.\n";
        let expected = ["127.0.0.1 [localhost., lo.]", "::1 [Six.]"].map(str::to_owned);
        assert_eq!(all(text).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn a_wrong_line_is_named_by_its_file_and_number() {
        let cases = [
            ("\n1.2.3 a", "2: \"1.2.3\" is no address; a line is an address and its names"),
            ("1.2.3.4 # a", "1: the address 1.2.3.4 has no name"),
            (
                "1.2.3.4 a..b",
                "1: \"a..b\" is no name: a label of the name is empty: there is a dot too many, or no \
                 name",
            ),
            (
                "1.2.3.4 bücher",
                "1: the name \"bücher\" has other letters than ASCII; write its xn-- form",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(all(text), Err(format!("/etc/hosts:{expected}")), "{text}");
        }
    }
}
