//! The layer: records of TLS between a link and the wire.

use std::error::Error;
use std::fmt;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus, WriteTraffic,
};
use rustls::{CipherSuite, CommonState, HandshakeKind};

use super::error::TlsError;
use super::{Version, certificate, server};
use crate::link::{Layer, Opened};
use crate::{Buffer, Output, Secured};

/// How many bytes a record has more than what it seals, at most: its header, the nonce of TLS 1.2,
/// the content type and the tag (RFC 8446 section 5.2, RFC 5288 section 3).
const RECORD_OVERHEAD: usize = 5 + 8 + 1 + 16;

/// TLS 1.3 or 1.2 on one connection (RFC 8446, RFC 5246), as a layer of a
/// [`Link`](crate::link::Link). [`TlsServer::layer`](super::TlsServer::layer) and
/// [`TlsClient::layer`](super::TlsClient::layer) return one.
///
/// An end of the wire without `close_notify` is an error, since an attacker may have cut the stream
/// (RFC 8446 section 6.1). Early data (0-RTT) is neither sent nor accepted, since an attacker may
/// repeat it (section 8).
pub struct Tls {
    side: Side,
    is_ready: bool,
    /// Records that are a part of a message of the handshake, until the rest of it has come. rustls
    /// refers to their place, so it gets them again with each step. Usually there are none.
    held: Vec<u8>,
    /// The name that the client has asked for (SNI).
    server_name: Option<Box<str>>,
}

/// The state of rustls, for one of the two sides. It is large.
enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What the layer is to do when the state of rustls allows it.
#[derive(Clone, Copy)]
enum Task<'a> {
    /// Nothing besides opening what was received.
    Open,
    Seal(&'a [u8]),
    /// Send `close_notify`.
    Finish,
}

/// What one step of rustls came to.
enum Progress {
    /// There is a next step.
    GoesOn,
    /// The peer has sent `close_notify`.
    PeerClosed,
    /// More input is needed for whatever comes next.
    NeedsInput,
    /// The task is done.
    Done,
}

impl Tls {
    pub(super) fn server(state: UnbufferedServerConnection) -> Self {
        Self::new(Side::Server(Box::new(state)), None)
    }

    pub(super) fn client(state: UnbufferedClientConnection, asked: Option<Box<str>>) -> Self {
        Self::new(Side::Client(Box::new(state)), asked)
    }

    fn new(side: Side, server_name: Option<Box<str>>) -> Self {
        Self { side, is_ready: false, held: Vec::new(), server_name }
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(state) => state,
            Side::Client(state) => state,
        }
    }

    /// Returns the version that both sides use, once they have agreed on it.
    pub fn version(&self) -> Option<Version> {
        self.common().protocol_version().and_then(Version::of)
    }

    /// Returns the protocol that both sides use over TLS, if they have agreed on one (ALPN,
    /// RFC 7301).
    pub fn protocol(&self) -> Option<&[u8]> {
        self.common().alpn_protocol()
    }

    /// Returns whether this connection has resumed an earlier session, once that is known.
    pub fn is_resumed(&self) -> Option<bool> {
        self.common().handshake_kind().map(|kind| kind == HandshakeKind::Resumed)
    }

    /// Returns the certificates that the peer has shown, in DER, its own first.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.common().peer_certificates().unwrap_or_default().iter().map(|it| it.as_ref())
    }

    /// Performs `task` as soon as everything before it is done. Returns whether the peer has ended
    /// its stream.
    fn perform(
        &mut self,
        task: Task<'_>,
        sealed: &mut Buffer,
        plain: &mut Buffer,
        wire: &mut Output,
    ) -> Result<Opened, TlsError> {
        if !self.held.is_empty() {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(sealed.filled());
            sealed.clear();
            sealed.extend_from_slice(&all);
        }
        let mut opened = Opened::GoesOn;
        loop {
            match self.step(task, sealed, plain, wire) {
                Ok(Progress::GoesOn) => {}
                Ok(Progress::PeerClosed) => opened = Opened::Ended,
                Ok(Progress::NeedsInput | Progress::Done) => break,
                Err(error) => {
                    // What waits ends with the alert that tells the peer. A further step would open
                    // the same record again.
                    while self.common().wants_write()
                        && self.step(task, sealed, plain, wire).is_ok()
                    {}
                    return Err(error);
                }
            }
        }
        self.is_ready = !self.common().is_handshaking();
        if has_record(sealed.filled()) {
            if sealed.len() > HELD_MAX {
                return Err(TlsError::internal(
                    "a message of the handshake is in too many records",
                ));
            }
            self.held = sealed.filled().to_vec();
            sealed.clear();
        }
        Ok(opened)
    }

    fn step(
        &mut self,
        task: Task<'_>,
        sealed: &mut Buffer,
        plain: &mut Buffer,
        wire: &mut Output,
    ) -> Result<Progress, TlsError> {
        let bytes = sealed.filled_mut();
        let (consumed, progress) = match &mut self.side {
            Side::Server(state) => step(state.process_tls_records(bytes), task, plain, wire),
            Side::Client(state) => step(state.process_tls_records(bytes), task, plain, wire),
        };
        sealed.consume(consumed);
        if !self.is_ready
            && let Some(name) = server::take_asked()
        {
            self.server_name = Some(name);
        }
        progress
    }

    /// Performs a task that needs no input.
    fn perform_now(&mut self, task: Task<'_>, wire: &mut Output) -> Result<(), TlsError> {
        let (mut sealed, mut plain) = (Buffer::default(), Buffer::default());
        self.perform(task, &mut sealed, &mut plain, wire).map(drop)
    }
}

/// How many bytes of records are held at most. A message of the handshake has up to 64 KiB.
const HELD_MAX: usize = 128 * 1024;

/// Returns whether there is a whole record (RFC 8446 section 5.1). One that rustls does not consume
/// is a part of a message of the handshake.
fn has_record(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, high, low, rest @ ..]
        if rest.len() >= usize::from(u16::from_be_bytes([*high, *low])))
}

/// Does what the state of rustls asks for next, or `task` if it asks for nothing. Returns how many
/// bytes of the input are used up, and what it came to.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    task: Task<'_>,
    plain: &mut Buffer,
    wire: &mut Output,
) -> (usize, Result<Progress, TlsError>) {
    let mut consumed = status.discard;
    let progress = match status.state {
        Err(error) => Err(TlsError::of(error)),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    consumed += record.discard;
                    plain.extend_from_slice(record.payload);
                }
                Some(Err(error)) => break Err(TlsError::of(error)),
                None => break Ok(Progress::GoesOn),
            }
        },
        Ok(ConnectionState::EncodeTlsData(data)) => encode(data, wire).map(|()| Progress::GoesOn),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Progress::GoesOn)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Progress::PeerClosed),
        Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Ok(Progress::NeedsInput),
        Ok(ConnectionState::WriteTraffic(traffic)) => {
            write(traffic, task, wire).map(|()| Progress::Done)
        }
        // Early data is never accepted, and there are no other states.
        Ok(_) => Err(TlsError::internal("rustls is in a state that was not asked for")),
    };
    (consumed, progress)
}

/// Appends a part of the handshake, or an alert.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, wire: &mut Output) -> Result<(), TlsError> {
    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else { return Ok(()) };
    wire.append_with(size.required_size, |room| data.encode(room))
        .map_err(|error| TlsError::internal(error.to_string()))
}

fn write<Data>(
    mut traffic: WriteTraffic<'_, Data>,
    task: Task<'_>,
    wire: &mut Output,
) -> Result<(), TlsError> {
    let result = match task {
        Task::Open => return Ok(()),
        Task::Seal(plain) => {
            let size = plain.len() + RECORD_OVERHEAD;
            match wire.append_with(size, |room| traffic.encrypt(plain, room)) {
                // A key update comes before the record (RFC 8446 section 4.6.3).
                Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    wire.append_with(required_size, |room| traffic.encrypt(plain, room))
                }
                result => result,
            }
        }
        Task::Finish => wire.append_with(ALERT_ROOM, |room| traffic.queue_close_notify(room)),
    };
    result.map_err(|error| TlsError::internal(error.to_string()))
}

/// Room for an alert, which has two bytes, and for a key update before it.
const ALERT_ROOM: usize = 128;

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("version", &self.version()).finish_non_exhaustive()
    }
}

impl Secured for Tls {
    fn version(&self) -> &str {
        match Tls::version(self) {
            Some(Version::Tls12) => "TLSv1.2",
            Some(Version::Tls13) => "TLSv1.3",
            None => "unknown",
        }
    }

    fn cipher(&self) -> &str {
        match self.common().negotiated_cipher_suite().map(|it| it.suite()) {
            // rustls has names of its own for those of TLS 1.3.
            Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
            Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
            Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
            other => other.and_then(|it| it.as_str()).unwrap_or("unknown"),
        }
    }

    fn protocol(&self) -> Option<&[u8]> {
        Tls::protocol(self)
    }

    fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    fn is_resumed(&self) -> bool {
        Tls::is_resumed(self) == Some(true)
    }

    fn peer_certificates(&self) -> Vec<&[u8]> {
        Tls::peer_certificates(self).collect()
    }

    fn peer_subject(&self) -> Option<String> {
        Tls::peer_certificates(self).next().and_then(certificate::subject_of)
    }
}

impl Layer for Tls {
    fn start(&mut self, wire: &mut Output) {
        // An error of the first step is one of all that follow, which report it.
        _ = self.perform_now(Task::Open, wire);
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn secured(&self) -> Option<&dyn Secured> {
        self.is_ready.then_some(self as &dyn Secured)
    }

    fn open(
        &mut self,
        sealed: &mut Buffer,
        plain: &mut Buffer,
        wire: &mut Output,
    ) -> Result<Opened, Box<dyn Error + Send + Sync>> {
        Ok(self.perform(Task::Open, sealed, plain, wire)?)
    }

    fn seal(
        &mut self,
        plain: &[u8],
        wire: &mut Output,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.perform_now(Task::Seal(plain), wire)?)
    }

    fn finish(&mut self, wire: &mut Output) {
        // Without keys there is nothing that could be ended.
        _ = self.perform_now(Task::Finish, wire);
    }

    fn cut(&mut self, rest: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Err(Box::new(TlsError::cut(self.is_ready, rest.len())))
    }
}
