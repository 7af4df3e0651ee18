//! Handshakes of TLS, whole and resumed, and what all clients with TLS agree on.
//!
//! All servers are offered TLS 1.3, X25519 and AES-256-GCM alone, so all do the same work.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientConfig, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup, SignatureScheme, version,
};

use super::connections::CHURN_BATCH;
use super::meter::Meter;
use super::{Load, PATIENCE, wire};
use crate::net;

/// Accepts any certificate, and does not check the signature of the handshake: that would cost the
/// client more than the whole handshake costs the server. That both have the same keys is checked
/// (`Finished`).
#[derive(Debug)]
struct Accepting;

impl ServerCertVerifier for Accepting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// The tickets of one server, as many as it sends: that of the client library keeps a few.
#[derive(Debug, Default)]
struct Tickets(Mutex<VecDeque<Tls13ClientSessionValue>>);

/// The number of tickets that are kept, more than connections are open.
const TICKETS_MAX: usize = 4 * CHURN_BATCH;

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _server_name: ServerName<'static>, _group: NamedGroup) {}

    fn kx_hint(&self, _server_name: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _value: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server_name: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.push_back(value);
        if tickets.len() > TICKETS_MAX {
            tickets.pop_front();
        }
    }

    fn take_tls13_ticket(&self, _name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// Returns what clients with TLS agree on. `is_resuming` says whether sessions are resumed.
///
/// # Errors
/// Fails if the library of TLS has no such parameters.
pub(super) fn config(is_resuming: bool) -> io::Result<Arc<ClientConfig>> {
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(io::Error::other)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Accepting));
    let mut config = builder.with_no_client_auth();
    config.resumption = match is_resuming {
        true => Resumption::store(Arc::new(Tickets::default())),
        false => Resumption::disabled(),
    };
    Ok(Arc::new(config))
}

/// A connection with its handshake.
type Handshake = (TcpStream, ClientConnection);

/// Connects, and sends the first message of the handshake.
fn begin(number: usize, server: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Handshake> {
    let mut socket = TcpStream::from(net::connect_from(number, server)?);
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut tls = wire::client(config)?;
    while tls.wants_write() {
        tls.write_tls(&mut socket)?;
    }
    Ok((socket, tls))
}

/// Ends the handshake, and says that nothing else follows.
fn complete((socket, tls): &mut Handshake, kind: HandshakeKind) -> io::Result<()> {
    while tls.is_handshaking() {
        tls.complete_io(socket)?;
    }
    if tls.handshake_kind() != Some(kind) {
        return Err(io::Error::other(format!("a handshake was {:?}", tls.handshake_kind())));
    }
    tls.send_close_notify();
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}

/// Reads the tickets of the server until it ends its side.
fn end((mut socket, mut tls): Handshake) -> io::Result<()> {
    while tls.read_tls(&mut socket)? > 0 {
        tls.process_new_packets().map_err(io::Error::other)?;
    }
    match tls.reader().read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(io::Error::other("the server sent something")),
        // nginx does not answer `close_notify`.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error),
    }
}

/// Measures handshakes of the process `pid`, in batches: all connections of a batch are opened,
/// then their handshakes end, then they are closed.
///
/// # Errors
/// Fails if a connection or a handshake fails, or a handshake is not of the requested kind.
pub fn run(load: Load, is_resuming: bool, server: SocketAddr, pid: u32) -> io::Result<String> {
    let config = config(is_resuming)?;
    let mut number = 0;
    let mut batch = |kind: HandshakeKind| -> io::Result<()> {
        let begin = |count| begin(number + count, server, &config);
        let mut handshakes = (0..CHURN_BATCH).map(begin).collect::<io::Result<Vec<_>>>()?;
        handshakes.iter_mut().try_for_each(|it| complete(it, kind))?;
        handshakes.into_iter().try_for_each(end)?;
        number += CHURN_BATCH;
        Ok(())
    };
    // The first handshakes cannot be resumed: their tickets are for the others.
    batch(HandshakeKind::Full)?;
    let kind = if is_resuming { HandshakeKind::Resumed } else { HandshakeKind::Full };
    let mut batches = |duration: Duration| -> io::Result<u64> {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < duration {
            batch(kind)?;
            count += CHURN_BATCH as u64;
        }
        Ok(count)
    };
    batches(load.warm_up)?;
    let meter = Meter::start(pid)?;
    let count = batches(load.duration)?;
    meter.lines(count)
}
