//! The client's side of the handshake (RFC 6455 section 4.1).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Agreement, HandshakeError, accept_of};
use crate::http::{Fields, ResponseHead, Status};
use crate::websocket::{Options, extension};

/// How many characters a key has.
const KEY_SIZE: usize = 24;

/// The handshake of one client: the fields of its request, and the check of the answer. Each request
/// needs its own, since it has a random key.
#[derive(Debug)]
pub struct ClientHandshake {
    key: [u8; KEY_SIZE],
    options: Arc<Options>,
}

impl ClientHandshake {
    /// Returns a handshake with a new key.
    pub fn new(options: Arc<Options>) -> Self {
        // The hash with the random keys of the standard library (SipHash).
        let hash = RandomState::new();
        let (first, second) = (hash.hash_one(1), hash.hash_one(2));
        let bytes = (u128::from(first) << 64 | u128::from(second)).to_ne_bytes();
        let mut key = [0; KEY_SIZE];
        // 16 bytes always have 24 characters.
        let _ = STANDARD.encode_slice(bytes, &mut key);
        Self { key, options }
    }

    /// Returns the key. It is ASCII.
    fn key(&self) -> &str {
        str::from_utf8(&self.key).unwrap_or_default()
    }

    /// Returns the fields that the request needs besides `Host`, `Connection: Upgrade` and `Upgrade:
    /// websocket`. It is a `GET`.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("Sec-WebSocket-Key", self.key().to_owned()),
            ("Sec-WebSocket-Version", "13".to_owned()),
        ];
        if !self.options.subprotocols.is_empty() {
            fields.push(("Sec-WebSocket-Protocol", self.options.subprotocols.join(", ")));
        }
        if let Some(deflate) = &self.options.deflate {
            fields.push(("Sec-WebSocket-Extensions", extension::offer(deflate)));
        }
        fields
    }

    /// Checks the final answer of the server.
    ///
    /// # Errors
    /// When the server does not change to WebSocket, or to something that was not offered.
    pub fn check(&self, head: &ResponseHead<'_>) -> Result<Agreement, HandshakeError> {
        self.check_parts(head.status(), &head.fields())
    }

    fn check_parts(
        &self,
        status: Status,
        fields: &Fields<'_>,
    ) -> Result<Agreement, HandshakeError> {
        if status != Status::SWITCHING_PROTOCOLS {
            return Err(HandshakeError::Status(status.code()));
        }
        let is_upgraded = fields.contains_token("upgrade", "websocket")
            && fields.contains_token("connection", "upgrade");
        if !is_upgraded {
            return Err(HandshakeError::NoUpgrade);
        }
        let mut answers = fields.get_all("sec-websocket-accept");
        if answers.next() != Some(&accept_of(self.key())[..]) || answers.next().is_some() {
            return Err(HandshakeError::Accept);
        }
        let answers = fields.tokens("sec-websocket-extensions");
        let deflate = extension::check(answers, self.options.deflate.as_ref());
        let deflate = deflate.map_err(|()| HandshakeError::Extension)?;
        let subprotocol = self.chosen(fields)?;
        Ok(Agreement { options: Arc::clone(&self.options), subprotocol, deflate })
    }

    /// Returns which subprotocol the server has chosen: none or one of those offered.
    fn chosen(&self, fields: &Fields<'_>) -> Result<Option<u16>, HandshakeError> {
        let mut chosen = fields.get_all("sec-websocket-protocol");
        let Some(first) = chosen.next() else { return Ok(None) };
        let offered = self.options.subprotocols.iter().take(usize::from(u16::MAX));
        let place = offered.map(|own| own.as_bytes()).position(|own| own == first);
        match (place, chosen.next()) {
            (Some(place), None) => Ok(Some(place as u16)),
            _ => Err(HandshakeError::Subprotocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::OwnedRequestHead;
    use crate::websocket::Deflate;

    fn handshake(options: Options) -> ClientHandshake {
        ClientHandshake::new(options.shared().expect("no limit is zero"))
    }

    /// Checks an answer with these lines. `ACCEPT` stands for the answer to the key.
    fn checked(
        handshake: &ClientHandshake,
        status: Status,
        lines: &[&str],
    ) -> Result<Agreement, HandshakeError> {
        let accept = accept_of(handshake.key());
        let accept = str::from_utf8(&accept).expect("it is ASCII");
        let lines = lines.join("\r\n").replace("ACCEPT", accept);
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        let head = OwnedRequestHead::parse(text.as_bytes()).expect("it is valid");
        handshake.check_parts(status, &head.expect("it is whole").0.view().fields())
    }

    const LINES: [&str; 3] =
        ["Upgrade: WebSocket", "Connection: upgrade", "Sec-WebSocket-Accept: ACCEPT"];

    #[test]
    fn keys_are_16_bytes_and_never_the_same() {
        let keys: Vec<_> = (0..100).map(|_| handshake(Options::default()).key).collect();
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(STANDARD.decode(key).expect("it is Base64").len(), 16);
            assert!(!keys[..at].contains(key));
        }
    }

    #[test]
    fn each_line_of_the_answer_counts() {
        let handshake = handshake(Options::default());
        let status = Status::SWITCHING_PROTOCOLS;
        assert!(checked(&handshake, status, &LINES).is_ok());
        let refused = checked(&handshake, Status::OK, &LINES).err();
        assert_eq!(refused, Some(HandshakeError::Status(200)));
        for (at, line, expected) in [
            (0, "Upgrade: other", HandshakeError::NoUpgrade),
            (1, "Connection: close", HandshakeError::NoUpgrade),
            (2, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", HandshakeError::Accept),
            (2, "Other: ACCEPT", HandshakeError::Accept),
        ] {
            let mut lines = LINES;
            lines[at] = line;
            assert_eq!(checked(&handshake, status, &lines).err(), Some(expected), "{line}");
        }
        for (line, expected) in [
            ("Sec-WebSocket-Accept: ACCEPT", HandshakeError::Accept),
            ("Sec-WebSocket-Protocol: chat", HandshakeError::Subprotocol),
            ("Sec-WebSocket-Extensions: permessage-deflate", HandshakeError::Extension),
        ] {
            let lines = [&LINES[..], &[line]].concat();
            assert_eq!(checked(&handshake, status, &lines).err(), Some(expected), "{line}");
        }
    }

    #[test]
    fn the_server_chooses_what_was_offered() {
        let handshake = handshake(Options {
            subprotocols: vec!["v2".into(), "v1".into()],
            deflate: Some(Deflate::default()),
            ..Options::default()
        });
        let fields = handshake.fields();
        assert!(fields.contains(&("Sec-WebSocket-Protocol", "v2, v1".into())));
        let extension = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover";
        let lines = [&LINES[..], &["Sec-WebSocket-Protocol: v1", extension]].concat();
        let status = Status::SWITCHING_PROTOCOLS;
        let agreement = checked(&handshake, status, &lines).expect("it fits");
        assert_eq!((agreement.subprotocol(), agreement.is_compressed()), (Some("v1"), true));
        for lines in [
            &["Sec-WebSocket-Protocol: v3"][..],
            &["Sec-WebSocket-Protocol: v1", "Sec-WebSocket-Protocol: v2"],
            &["Sec-WebSocket-Protocol: v1, v2"],
        ] {
            let lines = [&LINES[..], lines].concat();
            let refused = checked(&handshake, status, &lines).err();
            assert_eq!(refused, Some(HandshakeError::Subprotocol));
        }
    }
}
