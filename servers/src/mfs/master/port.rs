//! What the three ports have in common.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use log::{debug, info, log_enabled};
use protocol::codecs::Packet;
use protocol::mfs::{
    ConfigValue, GetConfig, GetVersion, Ip, Kind, Message, MessageError, Name, Numbered, Rest,
    Version, VersionAnswer, describe,
};
use protocol::{Context, Flow, Reply};

use super::app::Master;

/// What we announce besides our version.
const VERSION_TEXT: &[u8] = b"3.0.117-myevent";
/// The largest packet of a peer that has not registered, in bytes. What it registers with is far smaller.
pub(super) const UNREGISTERED_SIZE_MAX: u32 = 100_000;

/// Why a connection is ended.
#[derive(Debug)]
pub(super) struct Refused(String);

impl Refused {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// Returns the reason for a packet that is not expected.
    pub(super) fn unexpected(kind: Kind, body: &[u8]) -> Self {
        let mut text = describe(kind, body);
        if let Some((place, _)) = text.char_indices().nth(200) {
            text.truncate(place);
        }
        Self(format!("unexpected {text}"))
    }
}

impl From<MessageError> for Refused {
    fn from(error: MessageError) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a peer in logs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    kind: &'static str,
    address: Option<SocketAddr>,
}

impl Peer {
    pub(super) const fn new(kind: &'static str, address: Option<SocketAddr>) -> Self {
        Self { kind, address }
    }

    /// Returns its IPv4 address, or 0 if it has none: the protocol has no others.
    pub(super) fn ip(&self) -> Ip {
        match self.address.map(|address| address.ip().to_canonical()) {
            Some(IpAddr::V4(ip)) => ip.into(),
            _ => Ip(0),
        }
    }

    /// Logs a packet of the peer.
    pub(super) fn log(&self, kind: Kind, body: &[u8]) {
        if log_enabled!(log::Level::Debug) {
            debug!("{self}: {}", describe(kind, body));
        }
    }

    /// Ends the connection of the peer, and does not wait until it has read what was sent to it. The
    /// reason is logged, unless others were a moment ago.
    pub(super) fn cut(&self, why: &Refused, context: &mut Context<'_, Master>) -> Flow {
        context.app.counts.refused += 1;
        if let Some(folded) = context.app.refused_log.admit(context.now) {
            info!("{self}: closed: {why}{folded}");
        }
        context.effects.close(context.me);
        Flow::Pause
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{} {address}", self.kind),
            None => write!(f, "{} on a Unix socket", self.kind),
        }
    }
}

/// Answers the questions that every port takes: for our version, or for an option of the configuration, of
/// which we have none with that name.
pub(super) fn introduce(
    kind: Kind,
    body: &[u8],
    reply: &mut Reply<'_, Packet>,
) -> Result<(), MessageError> {
    if kind == Kind::GET_CONFIG {
        let GetConfig { number, .. } = GetConfig::parse(body)?;
        ConfigValue { number, value: Name::default() }.send(reply);
        return Ok(());
    }
    let message = VersionAnswer { version: Version::OURS, text: Rest(VERSION_TEXT) };
    match GetVersion::parse(body)?.number {
        Some(number) => Numbered { number, message }.send(reply),
        None => message.send(reply),
    }
    Ok(())
}
