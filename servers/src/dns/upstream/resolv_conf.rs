//! The upstreams that the system names.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::super::args::parse_upstream;

/// Returns the addresses of the `nameserver` lines of a file (`resolv.conf(5)`), in order. Lines that
/// name no usable address are left out, as the C library does: also one of an interface that there is not.
/// The log names each of them.
///
/// # Errors
/// When the file cannot be read.
pub(in crate::dns) fn name_servers(path: &Path) -> io::Result<Vec<SocketAddr>> {
    let text = fs::read(path).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
    })?;
    let left_out = |name: &str, why: String| {
        log::warn!("{}: the line nameserver {name:?} is left out: {why}", path.display());
    };
    Ok(usable(&String::from_utf8_lossy(&text), left_out))
}

fn usable(text: &str, mut left_out: impl FnMut(&str, String)) -> Vec<SocketAddr> {
    let parse = |name| parse_upstream(name).inspect_err(|why| left_out(name, why.clone())).ok();
    protocol::dns::name_servers(text).filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_without_a_usable_address_are_left_out() {
        let text = "search example.org\nnameserver 192.0.2.1\nnameserver 2001:db8::1 # second\n\
                    nameserver nonsense\nnameserver fe80::1%there-is-none\nnameserver 0.0.0.0\n\
                    nameserver fe80::2%7";
        let mut left_out = Vec::new();
        let found = usable(text, |name, _| left_out.push(name.to_owned()));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::2%7]:53"]);
        assert_eq!(left_out, ["nonsense", "fe80::1%there-is-none", "0.0.0.0"]);
    }
}
