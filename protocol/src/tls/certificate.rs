//! Certificates: those of this side, those that it trusts, and what a message says of one.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{TlsError, provider};

/// A certificate of this side, with those of the authorities between it and one that peers trust,
/// and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    names: Arc<[String]>,
}

impl Identity {
    /// Reads a certificate chain and a private key, each in PEM. The certificate of this side comes
    /// first. The key may be in PKCS #8, SEC 1 or PKCS #1, and is not encrypted. Both may be in the
    /// same file.
    ///
    /// # Errors
    /// When there is no certificate or no key, one cannot be read, or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain)?;
        let key = private_key(key)?;
        let (names, has_more) = (names(&chain[0])?, chain.len() > 1);
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) if has_more => TlsError::configuration(
                "the private key does not belong to the first certificate: that of this side comes \
                 first, then those of authorities",
            ),
            error => TlsError::of(error),
        })?;
        Ok(Self { key: Arc::new(key), names: names.into() })
    }

    /// Returns the names that the certificate is valid for. One may begin with `*.`, which stands
    /// for one label (RFC 6125 section 6.4.3).
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// Returns whether the certificate is valid for a name. Case is ignored.
    pub(super) fn has_name(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names().any(|it| match it.strip_prefix("*.") {
            Some(rest) => parent.is_some_and(|parent| parent.eq_ignore_ascii_case(rest)),
            None => it.eq_ignore_ascii_case(name),
        })
    }
}

/// The certificates of the authorities that are trusted.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads certificates in PEM.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn from_pem(text: &[u8]) -> Result<Self, TlsError> {
        Self::from_der(certificates(text)?.iter().map(|it| it.as_ref()))
    }

    /// Takes certificates in DER.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn from_der<'a>(
        certificates: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for bytes in certificates {
            let certificate = CertificateDer::from(bytes);
            store.add(certificate.into_owned()).map_err(|error| {
                let summary = Summary::of(bytes);
                TlsError::configuration(format!(
                    "the certificate {summary} is no authority: {error}"
                ))
            })?;
        }
        if store.is_empty() {
            return Err(TlsError::configuration("there is no certificate of an authority"));
        }
        Ok(Self(Arc::new(store)))
    }

    /// Returns how many certificates there are.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns what verifies the certificates of servers.
    pub(super) fn server_verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let inner = WebPkiServerVerifier::builder_with_provider(self.0.clone(), provider()).build();
        let inner = inner.map_err(|error| TlsError::configuration(error.to_string()))?;
        Ok(Arc::new(Naming(inner)))
    }

    /// Returns what verifies the certificates of clients.
    pub(super) fn client_verifier(
        &self,
        is_required: bool,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let builder = WebPkiClientVerifier::builder_with_provider(self.0.clone(), provider());
        let builder = if is_required { builder } else { builder.allow_unauthenticated() };
        let inner = builder.build().map_err(|error| TlsError::configuration(error.to_string()))?;
        Ok(Arc::new(Naming(inner)))
    }
}

/// Reads a private key in PEM.
fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    // PKCS #8 says so in the name of its section, and the traditional form in a field (RFC 1421).
    let is_encrypted = text.windows(9).any(|it| it == b"ENCRYPTED");
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        TlsError::configuration(match error {
            _ if is_encrypted => {
                "the private key is encrypted: decrypt it first, such as with openssl pkey"
                    .to_owned()
            }
            pem::Error::NoItemsFound => {
                "there is no private key in PEM (BEGIN PRIVATE KEY)".to_owned()
            }
            error => format!("the private key in PEM cannot be read: {}", explained(&error)),
        })
    })
}

/// Explains an error of PEM without the bytes of the file.
fn explained(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "the line with END is missing".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a line with BEGIN has no name".to_owned(),
        error => error.to_string(),
    }
}

/// Reads at least one certificate in PEM.
fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(|error| {
        TlsError::configuration(format!(
            "a certificate in PEM cannot be read: {}",
            explained(&error)
        ))
    })?;
    if all.is_empty() {
        return Err(TlsError::configuration("there is no certificate in PEM (BEGIN CERTIFICATE)"));
    }
    Ok(all)
}

/// Returns the names of a certificate: those of hosts, and IP addresses.
fn names(certificate: &[u8]) -> Result<Vec<String>, TlsError> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| {
        TlsError::configuration(format!("the certificate cannot be read: {error}"))
    })?;
    Ok(names_of(&certificate))
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|it| &it.value.general_names);
    names.filter_map(name_of).collect()
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(ip) => Some(std::net::Ipv4Addr::from(ip).to_string()),
            Err(_) => {
                <[u8; 16]>::try_from(*bytes).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string())
            }
        },
        _ => None,
    }
}

/// Returns the subject of a certificate in DER, if it can be read.
pub(super) fn subject_of(certificate: &[u8]) -> Option<String> {
    X509Certificate::from_der(certificate).ok().map(|(_, it)| it.subject().to_string())
}

/// What a message says of a certificate.
#[derive(Debug)]
pub(super) struct Summary(String);

impl Summary {
    /// Reads a certificate in DER.
    pub(super) fn of(certificate: &[u8]) -> Self {
        let Ok((_, it)) = X509Certificate::from_der(certificate) else {
            return Self(format!("of {} bytes that cannot be read", certificate.len()));
        };
        let names = names_of(&it);
        let names =
            if names.is_empty() { String::new() } else { format!(" for {}", names.join(", ")) };
        let day = |time: &x509_parser::time::ASN1Time| time.to_datetime().date();
        let (from, until) = (day(&it.validity().not_before), day(&it.validity().not_after));
        let (subject, issuer) = (it.subject(), it.issuer());
        Self(format!("\"{subject}\"{names} by \"{issuer}\", valid from {from} to {until},"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

thread_local! {
    /// The certificate that was refused last on this thread. A verifier is shared by connections,
    /// and its error has no room for it. The layer takes it within the same call.
    static REFUSED: Cell<Option<Summary>> = const { Cell::new(None) };
}

/// Takes the summary of the certificate that was just refused.
pub(super) fn take_refused() -> Option<Summary> {
    REFUSED.take()
}

/// Remembers the certificate that is refused.
fn note_refused<T>(
    result: Result<T, rustls::Error>,
    certificate: &CertificateDer<'_>,
) -> Result<T, rustls::Error> {
    if result.is_err() {
        REFUSED.set(Some(Summary::of(certificate)));
    }
    result
}

/// A verifier that remembers which certificate it has refused.
#[derive(Debug)]
struct Naming<V: ?Sized>(Arc<V>);

impl ServerCertVerifier for Naming<WebPkiServerVerifier> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        note_refused(self.0.verify_server_cert(certificate, others, name, ocsp, now), certificate)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        note_refused(self.0.verify_tls12_signature(message, certificate, signed), certificate)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        note_refused(self.0.verify_tls13_signature(message, certificate, signed), certificate)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Naming<dyn ClientCertVerifier> {
    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        note_refused(self.0.verify_client_cert(certificate, others, now), certificate)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        note_refused(self.0.verify_tls12_signature(message, certificate, signed), certificate)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        note_refused(self.0.verify_tls13_signature(message, certificate, signed), certificate)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts every certificate. The connection is encrypted, but anything may be the peer.
#[derive(Debug)]
pub(super) struct AcceptAll;

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
