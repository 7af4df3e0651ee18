//! TLS 1.3 and 1.2 as a layer of a connection (feature `tls`).
//!
//! The protocol itself is that of the library `rustls`, with the cryptography of AWS-LC. Here is
//! what makes it a [`Layer`](crate::link::Layer): any session, of a server or a client, runs over
//! it unchanged.
//!
//! - A [`TlsServer`] has the certificates, several by name, and can replace them while connections
//!   go on. A [`TlsClient`] has what it trusts.
//! - [`Identity`] and [`Roots`] are read from PEM, which the program has read from its files.
//! - [`Tls`] is the layer of one connection.
//! - A [`TlsError`] names what was checked, the certificate, and what to do.

mod certificate;
mod client;
mod error;
mod layer;
mod server;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ProtocolVersion, SupportedProtocolVersion, version};

pub use certificate::{Identity, Roots};
pub use client::{TlsClient, TlsClientOptions, Trust};
pub use error::{TlsError, TlsErrorKind};
pub use layer::Tls;
pub use server::{ClientCertificates, TlsServer, TlsServerOptions};

/// A version of TLS. Older ones are not there, since they are broken (RFC 8996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    fn of(version: ProtocolVersion) -> Option<Self> {
        match version {
            ProtocolVersion::TLSv1_2 => Some(Self::Tls12),
            ProtocolVersion::TLSv1_3 => Some(Self::Tls13),
            _ => None,
        }
    }

    /// Returns the versions from this one to `newest`.
    fn up_to(self, newest: Self) -> Result<&'static [&'static SupportedProtocolVersion], TlsError> {
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        match (self, newest) {
            (Self::Tls12, Self::Tls13) => Ok(BOTH),
            (Self::Tls13, Self::Tls13) => Ok(&BOTH[..1]),
            (Self::Tls12, Self::Tls12) => Ok(&BOTH[1..]),
            (Self::Tls13, Self::Tls12) => Err(TlsError::configuration(
                "no version of TLS is allowed: the oldest is newer than the newest",
            )),
        }
    }
}

/// Returns the cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
