//! TLS for clients: what encrypts their connections, and the arguments of the tools.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use protocol::tls::{Identity, Roots, Tls, TlsClient, TlsClientOptions, TlsError, Trust};
use reactor::{Address, Location};

use crate::output::complain;
use crate::{Failure, location};

/// The arguments for an address of `tls://`.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// File with the authorities that are trusted, in PEM, instead of those of this system
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,
    /// A folder of such files.
    #[arg(skip)]
    pub(crate) ca_folder: Option<PathBuf>,
    /// Accept any certificate: whatever is between this host and the server can read and change
    /// everything. For tests only
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Name that the certificate has to have, and that the server is told (SNI), instead of the host
    /// of the address
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// File with a certificate for servers that ask for one, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// File with the private key of that certificate, in PEM, if it is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
}

/// What encrypts the connections of a client. Copies share the sessions that can be resumed.
///
/// ```
/// use clients::resp::Options;
/// use clients::tls::Encryption;
/// use protocol::tls::{TlsClient, TlsClientOptions, Trust};
///
/// // For a test: any certificate is accepted. Other programs have `Trust::Roots`.
/// let tls = TlsClient::new(TlsClientOptions::new(Trust::Anything))?;
/// let encryption = Some(Encryption::new(tls).name("cache.example"));
/// let options = Options { encryption, ..Options::default() };
/// # Ok::<(), protocol::tls::TlsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Encryption {
    client: TlsClient,
    name: Option<Arc<str>>,
}

impl Encryption {
    /// Returns what encrypts connections as `client` says. The certificate of a server has to have the
    /// host of the address that the client connects to.
    pub fn new(client: TlsClient) -> Self {
        Self { client, name: None }
    }

    /// Sets the name that the certificate has to have, and that the server is told (SNI), instead of
    /// the host of its address. A Unix socket has no host, so it needs one.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Returns the layer of a new connection to a server at `location`.
    ///
    /// # Errors
    /// Fails if the name of the server can be none.
    pub fn layer(&self, location: &Location) -> Result<Tls, TlsError> {
        match &self.name {
            Some(name) => self.client.layer(name),
            None => self.client.layer(&host(location)),
        }
    }
}

/// Returns the layer of a new connection, if it is encrypted.
pub(crate) fn layer(
    encryption: Option<&Encryption>,
    location: &Location,
) -> io::Result<Option<Tls>> {
    Ok(encryption.map(|it| it.layer(location)).transpose()?)
}

/// A server that a user has named: its location, and what encrypts the connections to it, if its
/// address begins with `tls://`.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where the server is.
    pub location: Location,
    /// What encrypts the connections to it.
    pub encryption: Option<Encryption>,
}

impl TlsArgs {
    /// Parses the address of a server. `tool` is the name of the program, for its warnings.
    ///
    /// # Errors
    /// Fails if the address is none, a file cannot be used, or there are arguments for TLS and the
    /// address does not begin with `tls://`.
    pub fn endpoint(&self, tool: &str, address: &str) -> Result<Endpoint, Failure> {
        let Some(rest) = address.strip_prefix("tls://") else {
            return match self.given() {
                None => Ok(Endpoint { location: location(address)?, encryption: None }),
                Some(option) => Err(Failure::new(format!(
                    "{option} is for an address of tls://, and {address} is none"
                ))),
            };
        };
        let location = location(&format!("tcp://{rest}"))?;
        let encryption = self.encryption(tool, &location)?;
        Ok(Endpoint { location, encryption: Some(encryption) })
    }

    /// Returns what encrypts the connections to the server at `location`. `tool` is the name of the
    /// program, for its warnings.
    ///
    /// # Errors
    /// Fails if a file cannot be used, or the server has no name that could be verified.
    pub fn encryption(&self, tool: &str, location: &Location) -> Result<Encryption, Failure> {
        let name = self.server_name.clone().unwrap_or_else(|| host(location));
        let encryption = self.encryption_of_any(tool)?.name(name);
        encryption.layer(location).map_err(|error| Failure::new(error.to_string()))?;
        Ok(encryption)
    }

    /// Returns what encrypts the connections to any server: the host of each address is its name,
    /// unless the arguments name one for all.
    ///
    /// # Errors
    /// Fails if a file cannot be used.
    pub fn encryption_of_any(&self, tool: &str) -> Result<Encryption, Failure> {
        if self.insecure {
            complain(format_args!(
                "{tool}: --insecure: the server is not verified, so anything can read and change what \
                 is sent"
            ));
        }
        let client = self.client_for(Vec::new())?;
        let encryption = Encryption::new(client);
        Ok(match &self.server_name {
            Some(name) => encryption.name(name.as_str()),
            None => encryption,
        })
    }

    /// Returns what encrypts the connections to any server, if `is_wanted`, which is whether `--tls`
    /// was given.
    ///
    /// # Errors
    /// Fails if a file cannot be used, or there are arguments for TLS without `--tls`.
    pub fn encryption_if(
        &self,
        is_wanted: bool,
        tool: &str,
    ) -> Result<Option<Encryption>, Failure> {
        match self.given() {
            _ if is_wanted => self.encryption_of_any(tool).map(Some),
            Some(option) => {
                Err(Failure::new(format!("{option} is for encrypted connections: give --tls too")))
            }
            None => Ok(None),
        }
    }

    /// Checks the arguments of a tool that takes URLs, and warns of `--insecure`. The names of the
    /// servers are those of the URLs.
    ///
    /// # Errors
    /// Fails if `--server-name` was given.
    pub fn check(&self, tool: &str) -> Result<(), Failure> {
        if self.server_name.is_some() {
            let text = "--server-name is that of the URL: give --resolve for another address";
            return Err(Failure::new(text));
        }
        if self.insecure {
            complain(format_args!(
                "{tool}: --insecure: servers are not verified, so anything can read and change what \
                 is sent"
            ));
        }
        Ok(())
    }

    /// Returns what encrypts connections to servers of HTTP/1.1.
    ///
    /// # Errors
    /// Fails if a file cannot be used.
    pub fn client(&self) -> Result<TlsClient, Failure> {
        self.client_for(vec![b"http/1.1".to_vec()])
    }

    /// Returns what encrypts connections over which these protocols are spoken (ALPN).
    fn client_for(&self, protocols: Vec<Vec<u8>>) -> Result<TlsClient, Failure> {
        let mut options = TlsClientOptions::new(self.trust()?);
        options.identity = self.identity()?;
        options.protocols = protocols;
        TlsClient::new(options).map_err(|error| Failure::new(error.to_string()))
    }

    /// Returns an option that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let options = [
            ("--ca", self.ca.is_some()),
            ("--insecure", self.insecure),
            ("--server-name", self.server_name.is_some()),
            ("--cert", self.cert.is_some()),
        ];
        options.into_iter().find_map(|(name, is_given)| is_given.then_some(name))
    }

    fn trust(&self) -> Result<Trust, Failure> {
        if self.insecure {
            return Ok(Trust::Anything);
        }
        let roots = match (&self.ca, &self.ca_folder) {
            (Some(path), _) => {
                Roots::from_pem(&contents(path)?).map_err(|error| about(path, &error))?
            }
            (None, Some(folder)) => folder_roots(folder)?,
            (None, None) => system_roots()?,
        };
        Ok(Trust::Roots(roots))
    }

    fn identity(&self) -> Result<Option<Identity>, Failure> {
        let Some(path) = &self.cert else { return Ok(None) };
        let key = contents(self.key.as_ref().unwrap_or(path))?;
        let identity = Identity::from_pem(&contents(path)?, &key);
        identity.map(Some).map_err(|error| about(path, &error))
    }
}

/// Returns the host of a location of TCP.
fn host(location: &Location) -> String {
    match location {
        Location::Host { name, .. } => name.clone(),
        Location::Address(Address::Tcp(address)) => address.ip().to_string(),
        Location::Address(other) => other.to_string(),
    }
}

/// Returns the authorities that this system trusts. Those that cannot be read are left out.
fn system_roots() -> Result<Roots, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let usable = found.certs.iter().map(|it| it.as_ref());
    let usable = usable.filter(|it: &&[u8]| Roots::from_der([*it]).is_ok());
    Roots::from_der(usable).map_err(|_| {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        Failure::new(format!("this system has no authorities that it trusts{why}; give --ca FILE"))
    })
}

/// Returns the authorities in the files of a folder. Other files may be there too.
fn folder_roots(folder: &Path) -> Result<Roots, Failure> {
    let fail = |error: io::Error| Failure::new(format!("{}: {error}", folder.display()));
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_file() {
            all.extend(contents(&path)?);
            all.push(b'\n');
        }
    }
    Roots::from_pem(&all).map_err(|error| about(folder, &error))
}

fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn about(path: &Path, error: &TlsError) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_tls_need_an_address_of_tls() {
        let args = TlsArgs { insecure: true, ..TlsArgs::default() };
        let error = args.endpoint("talk", "127.0.0.1:1").expect_err("refused").to_string();
        assert!(error.contains("--insecure") && error.contains("tls://"), "{error}");
        assert!(TlsArgs::default().endpoint("talk", "127.0.0.1:1").is_ok());
    }

    #[test]
    fn the_name_is_the_host_of_the_address() {
        let args = TlsArgs { insecure: true, ..TlsArgs::default() };
        for (address, name) in [
            ("tls://127.0.0.1:1", "127.0.0.1"),
            ("tls://[::1]:1", "::1"),
            ("tls://one.example:https", "one.example"),
        ] {
            let endpoint = args.endpoint("talk", address).expect(address);
            let encryption = endpoint.encryption.expect("it is encrypted");
            assert_eq!(encryption.name.as_deref(), Some(name));
        }
        assert!(args.endpoint("talk", "tls://unix:/x").is_err());
        let path = PathBuf::from("/nonexistent/ca.pem");
        let args = TlsArgs { ca: Some(path), ..TlsArgs::default() };
        let error = args.endpoint("talk", "tls://127.0.0.1:1").expect_err("refused").to_string();
        assert!(error.starts_with("/nonexistent/ca.pem: "), "{error}");
    }
}
