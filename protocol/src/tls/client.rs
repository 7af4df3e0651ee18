//! The side of a client.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;

use super::certificate::AcceptAll;
use super::{Identity, Roots, Tls, TlsError, Version, provider};

/// What makes a client trust a server.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Its certificate is issued by one of these authorities, is valid now, and has the name that
    /// the client has connected to.
    Roots(Roots),
    /// Nothing: any certificate is accepted. Whatever is between the two can read and change
    /// everything. For tests only.
    Anything,
}

/// The options of a [`TlsClient`].
#[derive(Clone, Debug)]
pub struct TlsClientOptions {
    /// What makes the client trust a server.
    pub trust: Trust,
    /// The certificate of the client, for servers that ask for one. None by default.
    pub identity: Option<Identity>,
    /// The protocols that the client speaks over TLS, in the order of preference (ALPN, RFC 7301).
    /// None by default.
    pub protocols: Vec<Vec<u8>>,
    /// The oldest version that is allowed. TLS 1.2 by default.
    pub version_min: Version,
    /// The newest version that is allowed. TLS 1.3 by default.
    pub version_max: Version,
}

impl TlsClientOptions {
    /// Returns the default options with this trust.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            identity: None,
            protocols: Vec::new(),
            version_min: Version::Tls12,
            version_max: Version::Tls13,
        }
    }
}

/// The side of a client: what its connections share. Copies share it too, and with it the sessions
/// that can be resumed.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// Returns the side of a client with these options.
    ///
    /// # Errors
    /// When the options contradict each other.
    pub fn new(options: TlsClientOptions) -> Result<Self, TlsError> {
        let verifier = match &options.trust {
            Trust::Roots(roots) => roots.server_verifier()?,
            Trust::Anything => Arc::new(AcceptAll),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(options.version_min.up_to(options.version_max)?)
            .map_err(TlsError::of)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match options.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = SingleCertAndKey::from(Arc::clone(identity.key()));
                builder.with_client_cert_resolver(Arc::new(key))
            }
        };
        config.alpn_protocols = options.protocols;
        Ok(Self(Arc::new(config)))
    }

    /// Returns the layer of a new connection to the server with this name, or IP address. The
    /// certificate has to be valid for it, and the server is told a name (SNI).
    ///
    /// # Errors
    /// When `name` can be neither.
    pub fn layer(&self, name: &str) -> Result<Tls, TlsError> {
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            TlsError::configuration(format!("{name:?} is no name of a host and no IP address"))
        })?;
        let asked = match &server {
            ServerName::DnsName(name) => Some(name.as_ref().to_ascii_lowercase().into()),
            _ => None,
        };
        UnbufferedClientConnection::new(Arc::clone(&self.0), server)
            .map(|state| Tls::client(state, asked))
            .map_err(TlsError::of)
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}
