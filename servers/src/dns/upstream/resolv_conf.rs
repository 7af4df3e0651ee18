//! The upstreams that the system names.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::super::args::parse_upstream;

/// Returns the addresses of the `nameserver` lines of a file (`resolv.conf(5)`), in order. Lines that
/// name no usable address are left out, as the C library does.
///
/// # Errors
/// When the file cannot be read.
pub(in crate::dns) fn name_servers(path: &Path) -> io::Result<Vec<SocketAddr>> {
    let text = fs::read(path).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
    })?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        parse_upstream(address).ok()
    });
    addresses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_and_other_lines_are_left_out() {
        let text = "# nameserver 1.1.1.1\n; x\nsearch example.org\nnameserver 192.0.2.1\n\
                    nameserver\t2001:db8::1 # second\nnameserver\nnameserver nonsense\n\
                    options edns0\nnameserver 0.0.0.0";
        let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }
}
