//! TLS for the tools: the arguments for addresses of `tls://`, and what encrypts connections.

use std::fs;
use std::path::PathBuf;

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
    ca: Option<PathBuf>,
    /// Accept any certificate: whatever is between this host and the server can read and change
    /// everything. For tests only
    #[arg(long)]
    insecure: bool,
    /// Name that the certificate has to have, and that the server is told (SNI), instead of the host
    /// of the address
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// File with a certificate for servers that ask for one, in PEM
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// File with the private key of that certificate, in PEM, if it is not in the same file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// What encrypts the connections to one server.
#[derive(Clone, Debug)]
pub struct Encryption {
    client: TlsClient,
    name: String,
}

impl Encryption {
    /// Returns the layer of a new connection.
    ///
    /// # Errors
    /// Fails if the name of the server can be none.
    pub fn layer(&self) -> Result<Tls, TlsError> {
        self.client.layer(&self.name)
    }
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
        let name = self.server_name.clone().unwrap_or_else(|| host(&location));
        if self.insecure {
            complain(format_args!(
                "{tool}: --insecure: {name} is not verified, so anything can read and change what is \
                 sent"
            ));
        }
        let mut options = TlsClientOptions::new(self.trust()?);
        options.identity = self.identity()?;
        let client = TlsClient::new(options).map_err(|error| Failure::new(error.to_string()))?;
        let encryption = Encryption { client, name };
        encryption.layer().map_err(|error| Failure::new(error.to_string()))?;
        Ok(Endpoint { location, encryption: Some(encryption) })
    }

    /// Returns an option that was given.
    fn given(&self) -> Option<&'static str> {
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
        let roots = match &self.ca {
            Some(path) => Roots::from_pem(&contents(path)?).map_err(|error| about(path, &error))?,
            None => system_roots()?,
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

fn contents(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn about(path: &std::path::Path, error: &TlsError) -> Failure {
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
            assert_eq!(endpoint.encryption.expect("it is encrypted").name, name);
        }
        assert!(args.endpoint("talk", "tls://unix:/x").is_err());
        let path = PathBuf::from("/nonexistent/ca.pem");
        let args = TlsArgs { ca: Some(path), ..TlsArgs::default() };
        let error = args.endpoint("talk", "tls://127.0.0.1:1").expect_err("refused").to_string();
        assert!(error.starts_with("/nonexistent/ca.pem: "), "{error}");
    }
}
