//! The client's side of the handshake (RFC 6455 section 4.1).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Agreement, HandshakeError, accept_of};
use crate::http::{self, Fields, Request, Requester, ResponseHead, Status};
use crate::websocket::{Connection, Options, Service, extension};
use crate::{Buffer, Cause, Context, Flow, Output, Reason, Session};

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

/// What a client requests.
#[derive(Debug)]
struct Asking {
    handshake: ClientHandshake,
    host: String,
    target: String,
    fields: Vec<(String, String)>,
    answer: Option<Result<Agreement, HandshakeError>>,
}

impl<A> Requester<A> for Asking {
    fn ready(&mut self, request: &mut Request<'_>, _: &mut Context<'_, A>) -> Flow {
        if request.is_begun() || self.answer.is_some() {
            return Flow::Continue;
        }
        let mut head = request.head("GET", &self.target, &self.host).upgrade("websocket");
        for (name, value) in self.handshake.fields() {
            head = head.field(name, value);
        }
        for (name, value) in &self.fields {
            head = head.field(name, value);
        }
        head.empty();
        Flow::Continue
    }

    fn response(
        &mut self,
        head: &ResponseHead<'_>,
        _: &mut Request<'_>,
        _: &mut Context<'_, A>,
    ) -> Flow {
        let answer = self.handshake.check(head);
        let flow = if answer.is_ok() { Flow::Upgrade } else { Flow::Close };
        self.answer = Some(answer);
        flow
    }
}

/// The session of a client from its request on: asks a server to change to WebSocket, and is a
/// [`Connection`] when it has.
///
/// If the server does not change, the connection ends with a [`HandshakeError`] as its reason, which
/// [`Service::closed`] gets.
///
/// ```
/// use protocol::websocket::{self, Client, Message, Options, Sender, Service};
/// use protocol::{Context, Flow, http, testing::Wire};
///
/// struct Prints;
/// impl Service for Prints {
///     fn open(&mut self, sender: &mut Sender<'_>, _: &mut Context<'_>) -> Flow {
///         sender.text("subscribe");
///         Flow::Continue
///     }
///     fn message(&mut self, message: Message<'_>, _: &mut Sender<'_>, _: &mut Context<'_>) -> Flow {
///         println!("{message:?}");
///         Flow::Continue
///     }
/// }
///
/// let (options, http) = (Options::default().shared()?, http::ClientOptions::default().shared()?);
/// let client = Client::new(Prints, "example.org", "/news", options, http)
///     .field("Authorization", "Bearer abc");
/// let mut wire = Wire::new(client);
/// wire.run(&mut ());
/// assert!(wire.take_sent().starts_with(b"GET /news HTTP/1.1\r\nHost: example.org\r\n"));
/// # Ok::<(), protocol::LimitsError>(())
/// ```
#[derive(Debug)]
pub struct Client<S> {
    state: State<S>,
}

#[derive(Debug)]
enum State<S> {
    Asking(Box<http::Client<Asking>>, S),
    Open(Connection<S>),
    /// A call has panicked.
    Lost,
}

impl<S> Client<S> {
    /// Returns the session of a connection that has not begun. `host` is the name of the server, with
    /// its port unless that is the usual one; `target` is the path, with its query.
    pub fn new(
        service: S,
        host: &str,
        target: &str,
        options: Arc<Options>,
        http: Arc<http::ClientOptions>,
    ) -> Self {
        let asking = Asking {
            handshake: ClientHandshake::new(options),
            host: host.to_owned(),
            target: target.to_owned(),
            fields: Vec::new(),
            answer: None,
        };
        Self { state: State::Asking(Box::new(http::Client::new(asking, http)), service) }
    }

    /// Adds a field to the request, such as `Origin`, `Authorization` or `Cookie`.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        if let State::Asking(client, _) = &mut self.state {
            client.requester_mut().fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Returns whether the server has changed to WebSocket.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Returns the service. `None` after a panic.
    pub fn service_mut(&mut self) -> Option<&mut S> {
        match &mut self.state {
            State::Asking(_, service) => Some(service),
            State::Open(connection) => Some(connection.service_mut()),
            State::Lost => None,
        }
    }

    /// Becomes a connection if the server has agreed.
    fn open(&mut self) -> Result<(), Reason> {
        let State::Asking(client, service) = std::mem::replace(&mut self.state, State::Lost) else {
            return Ok(());
        };
        match client.into_requester().answer {
            Some(Ok(agreement)) => {
                self.state = State::Open(Connection::client(service, agreement));
                Ok(())
            }
            _ => Err(Reason::refused("bug in the client of HTTP: it upgrades without an answer")),
        }
    }
}

impl<A, S: Service<A>> Session<A> for Client<S> {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        let flow = match &mut self.state {
            State::Asking(client, _) => {
                let flow = client.advance(input, output, context)?;
                if let Some(Err(error)) = client.requester().answer {
                    return Err(Reason::refused(error));
                }
                flow
            }
            State::Open(connection) => return connection.advance(input, output, context),
            State::Lost => return Ok(Flow::Close),
        };
        if flow != Flow::Upgrade {
            return Ok(flow);
        }
        self.open()?;
        context.cause = Cause::Opened;
        self.advance(input, output, context)
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, A>) {
        match &mut self.state {
            State::Asking(_, service) => service.closed(reason, context),
            State::Open(connection) => connection.closed(reason, context),
            State::Lost => {}
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
