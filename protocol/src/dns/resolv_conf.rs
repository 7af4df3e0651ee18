//! The name servers that a host asks.

/// Returns the addresses of the lines `nameserver` of a text (`resolv.conf(5)`), in order: IP addresses, of
/// which those of IPv6 may have a scope (`fe80::1%eth0`, RFC 4007). They are not checked. A comment begins
/// with a semicolon or a number sign in the first column, and what follows the address of a line is
/// ignored.
///
/// ```
/// use protocol::dns::name_servers;
///
/// let text = "# local\nsearch example.org\nnameserver 192.0.2.1\nnameserver\tfe80::1%eth0 # second\n";
/// assert!(name_servers(text).eq(["192.0.2.1", "fe80::1%eth0"]));
/// ```
pub fn name_servers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        // The keyword has to begin in the first column.
        let rest = line.strip_prefix("nameserver")?;
        rest.starts_with([' ', '\t']).then(|| rest.split_whitespace().next()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_forms_name_no_server() {
        let text = "#nameserver 1.1.1.1\n;nameserver 1.1.1.2\n nameserver 1.1.1.3\nnameserver\n\
                    nameserver \nnameservers 1.1.1.4\nnameserver 1.1.1.5\r\noptions timeout:1";
        assert!(name_servers(text).eq(["1.1.1.5"]));
        assert_eq!(name_servers("").count(), 0);
    }
}
