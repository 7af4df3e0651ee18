//! Errors of TLS, for users: what failed, where, and what to do.

use std::error::Error;
use std::fmt;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

use super::certificate::{self, Summary};

/// The kind of a [`TlsError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsErrorKind {
    /// A certificate or a key of this side cannot be used.
    Configuration,
    /// The certificate of the peer was refused.
    Certificate,
    /// The peer has refused the connection, and has sent an alert (RFC 8446 section 6.2).
    Alert,
    /// The two sides have nothing in common: a version, a cipher suite, a protocol (ALPN).
    Incompatible,
    /// The peer has sent something that is not TLS.
    NotTls,
    /// The wire has ended without `close_notify`, so the stream may be incomplete (RFC 8446
    /// section 6.1).
    Cut,
    /// The peer has broken the rules of TLS, or a record has been altered.
    Broken,
}

/// The reason why a connection over TLS failed, or a configuration is not usable.
#[derive(Clone, Debug)]
pub struct TlsError {
    kind: TlsErrorKind,
    text: String,
}

impl TlsError {
    pub(super) fn new(kind: TlsErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    pub(super) fn configuration(text: impl Into<String>) -> Self {
        Self::new(TlsErrorKind::Configuration, text)
    }

    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self::new(TlsErrorKind::Broken, text)
    }

    pub(super) fn cut(is_ready: bool, rest: usize) -> Self {
        Self::new(
            TlsErrorKind::Cut,
            match (is_ready, rest) {
                (false, _) => "the peer ended the stream during the TLS handshake".to_owned(),
                (true, 0) => "the peer ended the stream without close_notify, so it may be \
                              incomplete"
                    .to_owned(),
                (true, rest) => {
                    format!("the stream was cut within a TLS record, after {rest} bytes")
                }
            },
        )
    }

    /// Explains an error of rustls.
    pub(super) fn of(error: rustls::Error) -> Self {
        use TlsErrorKind as Kind;
        use rustls::Error as It;
        let (kind, text) = match &error {
            It::InvalidCertificate(check) => (Kind::Certificate, refused(check)),
            It::NoCertificatesPresented => (
                Kind::Certificate,
                "the peer has shown no certificate, and one is required: the client needs a \
                 certificate and its key"
                    .to_owned(),
            ),
            It::AlertReceived(alert) => (Kind::Alert, alerted(*alert)),
            It::PeerIncompatible(what) => (Kind::Incompatible, incompatible(what)),
            It::NoApplicationProtocol => {
                (Kind::Incompatible, "the two sides have no protocol in common (ALPN)".to_owned())
            }
            It::InvalidMessage(what) => (
                Kind::NotTls,
                format!("the peer has sent something that is not TLS ({what:?}): check its port"),
            ),
            It::DecryptError => {
                (Kind::Broken, "a record cannot be decrypted: it was altered on its way".to_owned())
            }
            It::InconsistentKeys(_) => (
                Kind::Configuration,
                "the private key does not belong to the certificate".to_owned(),
            ),
            other => (Kind::Broken, other.to_string()),
        };
        Self { kind, text }
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> TlsErrorKind {
        self.kind
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS: {}", self.text)
    }
}

impl Error for TlsError {}

impl From<TlsError> for std::io::Error {
    fn from(error: TlsError) -> Self {
        let kind = match error.kind {
            TlsErrorKind::Configuration => std::io::ErrorKind::InvalidInput,
            _ => std::io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Explains why the certificate of the peer was refused, and names it.
fn refused(check: &CertificateError) -> String {
    use CertificateError as It;
    let summary = certificate::take_refused();
    let which = summary.as_ref().map_or_else(|| "of the peer".to_owned(), Summary::to_string);
    let (check, hint) = match check {
        It::Expired | It::ExpiredContext { .. } => {
            ("it has expired", "renew it, or check the clock of this host")
        }
        It::NotValidYet | It::NotValidYetContext { .. } => {
            ("it is not valid yet", "check the clock of this host")
        }
        It::Revoked => ("it is revoked", "the peer needs a new one"),
        It::UnknownIssuer => (
            "no authority that is trusted here has issued it",
            "trust its authority, or let the peer send the certificates between both",
        ),
        It::NotValidForName | It::NotValidForNameContext { .. } => {
            ("it does not have the name that was asked for", "connect with one of its names")
        }
        It::InvalidPurpose | It::InvalidPurposeContext { .. } => (
            "it may not be used for this side of a connection",
            "it needs the extended key usage serverAuth or clientAuth",
        ),
        It::BadEncoding | It::UnhandledCriticalExtension => {
            ("it cannot be read", "the peer needs a certificate as in RFC 5280")
        }
        It::BadSignature => ("its signature is wrong", "it was altered, or its issuer is another"),
        It::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            ("it is that of an authority", "the peer needs one with basicConstraints=CA:FALSE")
        }
        other => return format!("the certificate {which} is refused: {other}"),
    };
    format!("the certificate {which} is refused: {check}; {hint}")
}

/// Explains an alert of the peer.
fn alerted(alert: AlertDescription) -> String {
    use AlertDescription as It;
    let hint = match alert {
        It::HandshakeFailure => "it has no version or cipher suite in common with this side",
        It::ProtocolVersion => "it does not speak a version that this side allows",
        It::CertificateRequired => "it requires a certificate of this side",
        It::UnknownCA => "it does not trust the authority of this side's certificate",
        It::CertificateExpired => "the certificate of this side has expired",
        It::CertificateRevoked => "the certificate of this side is revoked",
        It::BadCertificate | It::UnsupportedCertificate | It::CertificateUnknown => {
            "it does not accept the certificate of this side"
        }
        It::UnrecognisedName => "it has no certificate for the name that was asked for",
        It::NoApplicationProtocol => "it speaks none of the protocols that were offered (ALPN)",
        It::AccessDenied => "it does not let this side in",
        It::DecryptError => "it could not verify what this side has signed",
        _ => "it does not say more",
    };
    format!("the peer has refused the connection ({alert:?}): {hint}")
}

fn incompatible(what: &PeerIncompatible) -> String {
    use PeerIncompatible as It;
    let why = match what {
        It::NoCipherSuitesInCommon => "they have no cipher suite in common",
        It::NoKxGroupsInCommon => "they have no key exchange in common",
        It::NoSignatureSchemesInCommon => "they have no signature algorithm in common",
        It::ServerDoesNotSupportTls12Or13 => "the server has neither TLS 1.2 nor TLS 1.3",
        It::ServerTlsVersionIsDisabledByOurConfig
        | It::Tls12NotOffered
        | It::Tls12NotOfferedOrEnabled
        | It::SupportedVersionsExtensionRequired => "the peer wants a version that is not allowed",
        _ => return format!("the two sides cannot agree: {what:?}"),
    };
    format!("the two sides cannot agree: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let texts = [
            (rustls::Error::NoCertificatesPresented, "needs a certificate and its key"),
            (rustls::Error::AlertReceived(AlertDescription::UnknownCA), "does not trust"),
            (rustls::Error::NoApplicationProtocol, "ALPN"),
            (rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "port"),
            (rustls::PeerIncompatible::NoCipherSuitesInCommon.into(), "no cipher suite"),
        ];
        for (error, part) in texts {
            let text = TlsError::of(error).to_string();
            assert!(text.starts_with("TLS: ") && text.contains(part), "{text}");
        }
    }
}
