//! What a server serves: built once from its arguments.

use std::io;
use std::path::Path;

use super::args::WebArgs;
use super::path::RequestPath;
use super::root::{Links, Root};

/// What a server serves.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) roots: Vec<Root>,
    /// Names of hosts in lower case, each with the number of its root.
    hosts: Vec<(String, usize)>,
    default_root: Option<usize>,
    pub(crate) index: Vec<String>,
    pub(crate) has_listing: bool,
    shows_dotfiles: bool,
    /// Fields that are added to responses with files.
    pub(crate) fields: Vec<(String, String)>,
    /// Paths of the bodies of errors, by status.
    error_pages: Vec<(u16, RequestPath)>,
    health: Option<String>,
    echo: Vec<String>,
}

impl Config {
    /// Opens the folders.
    ///
    /// # Errors
    /// One sentence: a folder cannot be served, or there is nothing to serve at all.
    pub(crate) fn new(args: &WebArgs) -> io::Result<Self> {
        let refused = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let serves_paths = args.health.is_some() || !args.echo.is_empty() || !args.proxy.is_empty();
        if args.root.is_none() && args.host.is_empty() && !serves_paths {
            let text = "there is nothing to serve: give a folder with --root, or --proxy";
            return Err(refused(text.to_owned()));
        }
        one_purpose_each(args).map_err(refused)?;
        if args.root.is_none() && !args.error_page.is_empty() {
            return Err(refused("the files of --error-page are below --root: give it".to_owned()));
        }
        let links = if args.follow_links { Links::Anywhere } else { Links::Inside };
        let mut config = Self {
            roots: Vec::new(),
            hosts: Vec::new(),
            default_root: None,
            index: args.index.clone(),
            has_listing: args.listing,
            shows_dotfiles: args.dotfiles,
            fields: args.fields.clone(),
            error_pages: Vec::new(),
            health: args.health.clone(),
            echo: args.echo.clone(),
        };
        if let Some(folder) = &args.root {
            config.default_root = Some(config.add_root(folder, links)?);
        }
        for (name, folder) in &args.host {
            if config.hosts.iter().any(|(other, _)| other == name) {
                return Err(refused(format!("--host names {name} more than once")));
            }
            let number = config.add_root(folder, links)?;
            config.hosts.push((name.clone(), number));
        }
        for (status, path) in &args.error_page {
            // It was read before, when the arguments were.
            let path = RequestPath::parse(path).map_err(|error| refused(error.to_string()))?;
            config.error_pages.push((*status, path));
        }
        Ok(config)
    }

    fn add_root(&mut self, folder: &Path, links: Links) -> io::Result<usize> {
        if let Some(number) = self.roots.iter().position(|root| root.path() == folder) {
            return Ok(number);
        }
        self.roots.push(Root::open(folder, links)?);
        Ok(self.roots.len() - 1)
    }

    /// Returns the number of the root for a host, which may have a port.
    pub(crate) fn root_of(&self, host: &str) -> Option<usize> {
        if self.hosts.is_empty() {
            return self.default_root;
        }
        let name = name_of(host);
        let own = self.hosts.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, number)| *number).or(self.default_root)
    }

    /// Returns the root of the pages of errors, and the path of the one for a status.
    pub(crate) fn error_page(&self, status: u16) -> Option<(usize, &RequestPath)> {
        let page = self.error_pages.iter().find(|(of, _)| *of == status);
        Some((self.default_root?, &page?.1))
    }

    /// Returns whether a path may be a file that is served.
    pub(crate) fn shows(&self, path: &RequestPath) -> bool {
        path.can_be_file() && (self.shows_dotfiles || !path.is_hidden())
    }

    /// Returns whether a list shows a name.
    pub(crate) fn lists(&self, name: &str) -> bool {
        self.shows_dotfiles || !name.starts_with('.')
    }

    pub(crate) fn is_health(&self, path: &RequestPath) -> bool {
        self.health.as_deref() == Some(path.text())
    }

    pub(crate) fn is_echo(&self, path: &RequestPath) -> bool {
        self.echo.iter().any(|own| own == path.text())
    }
}

/// Returns the name in a host that may have a port (RFC 9110, section 7.2), without a final dot.
fn name_of(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Checks that no path is given twice to options of which only one could have it. `--health` and `--echo`
/// have exactly their path, so they may be below or at the path of a `--proxy`.
fn one_purpose_each(args: &WebArgs) -> Result<(), String> {
    let exact = args.health.iter().map(|path| ("--health", path.as_str()));
    let exact = exact.chain(args.echo.iter().map(|path| ("--echo", path.as_str())));
    let proxies = args.proxy.iter().map(|(path, _)| ("--proxy", path.trim_end_matches('/')));
    for options in [exact.collect::<Vec<_>>(), proxies.collect()] {
        for (index, (option, path)) in options.iter().enumerate() {
            if let Some((other, _)) = options[..index].iter().find(|(_, known)| known == path) {
                let path = if path.is_empty() { "/" } else { path };
                return Err(format!(
                    "{path} is given to {other} and to {option}: only one of them can have it"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_host_has_no_port() {
        for (host, name) in [
            ("www.example", "www.example"),
            ("www.example:80", "www.example"),
            ("www.example:", "www.example"),
            ("www.example.:80", "www.example"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]:80", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("", ""),
        ] {
            assert_eq!(name_of(host), name, "{host}");
        }
    }
}
