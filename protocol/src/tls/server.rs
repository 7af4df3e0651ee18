//! The side of a server.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, NoClientAuth, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
    StoresServerSessions, UnbufferedServerConnection,
};
use rustls::sign::CertifiedKey;

use super::{Identity, Roots, Tls, TlsError, Version, provider};

/// How many sessions of TLS 1.2 are kept for clients that cannot keep a ticket. Each takes less
/// than 1 KiB.
const SESSIONS_KEPT: usize = 1024;

/// What a server asks of its clients' certificates.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// It does not ask for one.
    #[default]
    Ignored,
    /// A client may show one, which has to be issued by one of these authorities.
    Optional(Roots),
    /// A client has to show one, which has to be issued by one of these authorities.
    Required(Roots),
}

/// The options of a [`TlsServer`].
#[derive(Clone, Debug)]
pub struct TlsServerOptions {
    /// The certificates. A client gets the first that has the name that it asks for (SNI) and a key
    /// that it can verify; or the first of all that it can verify if none has the name.
    pub identities: Vec<Identity>,
    /// What is asked of the clients. Nothing by default.
    pub clients: ClientCertificates,
    /// The protocols that the server speaks over TLS, in the order of preference, such as
    /// `http/1.1` (ALPN, RFC 7301). If there are any, a client that offers only others is refused.
    /// None by default.
    pub protocols: Vec<Vec<u8>>,
    /// The oldest version that is allowed. TLS 1.2 by default.
    pub version_min: Version,
    /// The newest version that is allowed. TLS 1.3 by default.
    pub version_max: Version,
}

impl TlsServerOptions {
    /// Returns the default options with these certificates.
    pub fn new(identities: Vec<Identity>) -> Self {
        Self {
            identities,
            clients: ClientCertificates::default(),
            protocols: Vec::new(),
            version_min: Version::Tls12,
            version_max: Version::Tls13,
        }
    }
}

/// The side of a server: what its connections share. Copies share it too.
///
/// Sessions can be resumed, also after the options were replaced. Tickets (RFC 8446 section 4.6.1)
/// are encrypted with a key that is replaced every six hours and used for twelve.
#[derive(Clone)]
pub struct TlsServer(Arc<Shared>);

struct Shared {
    config: RwLock<Arc<ServerConfig>>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl TlsServer {
    /// Returns the side of a server with these options.
    ///
    /// # Errors
    /// When there is no certificate, or the options contradict each other.
    pub fn new(options: TlsServerOptions) -> Result<Self, TlsError> {
        let tickets = Ticketer::new().map_err(TlsError::of)?;
        let sessions: Arc<dyn StoresServerSessions> = ServerSessionMemoryCache::new(SESSIONS_KEPT);
        let config = configure(options, &tickets, &sessions)?;
        Ok(Self(Arc::new(Shared { config: RwLock::new(config), tickets, sessions })))
    }

    /// Replaces the options, such as certificates that expire. Connections that exist keep theirs.
    ///
    /// # Errors
    /// As for [`new`](Self::new). Then the present options stay.
    pub fn replace(&self, options: TlsServerOptions) -> Result<(), TlsError> {
        let config = configure(options, &self.0.tickets, &self.0.sessions)?;
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Returns the layer of a new connection.
    ///
    /// # Errors
    /// When the options turn out to be unusable.
    pub fn layer(&self) -> Result<Tls, TlsError> {
        let config = self.0.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        UnbufferedServerConnection::new(config).map(Tls::server).map_err(TlsError::of)
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

fn configure(
    options: TlsServerOptions,
    tickets: &Arc<dyn ProducesTickets>,
    sessions: &Arc<dyn StoresServerSessions>,
) -> Result<Arc<ServerConfig>, TlsError> {
    if options.identities.is_empty() {
        return Err(TlsError::configuration("a server needs a certificate and its private key"));
    }
    let verifier = match &options.clients {
        ClientCertificates::Ignored => Arc::new(NoClientAuth),
        ClientCertificates::Optional(roots) => roots.client_verifier(false)?,
        ClientCertificates::Required(roots) => roots.client_verifier(true)?,
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(options.version_min.up_to(options.version_max)?)
        .map_err(TlsError::of)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(ByName(options.identities)));
    config.alpn_protocols = options.protocols;
    config.ticketer = Arc::clone(tickets);
    config.session_storage = Arc::clone(sessions);
    Ok(Arc::new(config))
}

thread_local! {
    /// The name that was asked for last on this thread. rustls tells it only to what chooses the
    /// certificate, which connections share. The layer takes it within the same call.
    static ASKED: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// Takes the name that was just asked for.
pub(super) fn take_asked() -> Option<Box<str>> {
    ASKED.take()
}

/// Chooses the certificate for the name that a client asks for.
#[derive(Debug)]
struct ByName(Vec<Identity>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED.set(hello.server_name().map(|name| name.to_ascii_lowercase().into()));
        let usable =
            |it: &&Identity| it.key().key.choose_scheme(hello.signature_schemes()).is_some();
        let usable = || self.0.iter().filter(usable);
        let named = hello.server_name().and_then(|name| usable().find(|it| it.has_name(name)));
        named.or_else(|| usable().next()).map(|identity| Arc::clone(identity.key()))
    }
}
