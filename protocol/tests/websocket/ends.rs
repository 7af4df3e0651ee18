//! The two ends of a connection, frames made by hand, and a service that remembers.

use std::sync::Arc;

use protocol::http::{self, RequestHead, Response};
use protocol::testing::Wire;
use protocol::websocket::{
    Agreement, Broadcast, Client, CloseCode, Connection, Kind, Message, Options, Piece, Sender,
    Service, accept,
};
use protocol::{Context, Flow, Reason};

/// What a service was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// Remembers what it is told, and answers if it is to.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) heard: Vec<Heard>,
    /// A message in pieces that has begun.
    pub(crate) begun: Vec<u8>,
    pub(crate) pieces: usize,
    pub(crate) echoes: bool,
    pub(crate) pauses: bool,
    /// What it sends when it is woken.
    pub(crate) to_send: Vec<Heard>,
    /// What it shares then.
    pub(crate) to_share: Option<Broadcast>,
    /// What it returns then.
    pub(crate) then: Option<Flow>,
    pub(crate) ended: Option<String>,
}

impl Log {
    pub(crate) fn echo() -> Self {
        Self { echoes: true, ..Self::default() }
    }

    fn message(&mut self, message: Heard, sender: &mut Sender<'_>) -> Flow {
        if self.echoes {
            send(&message, sender);
        }
        self.heard.push(message);
        if self.pauses { Flow::Pause } else { Flow::Continue }
    }
}

pub(crate) fn send(what: &Heard, sender: &mut Sender<'_>) {
    match what {
        Heard::Text(text) => sender.text(text),
        Heard::Binary(bytes) => sender.binary(bytes),
        Heard::Pong(payload) => sender.ping(payload),
        Heard::Close(code, reason) => {
            let code = code.and_then(CloseCode::new).expect("a code that may be sent");
            sender.close(code, reason);
        }
    }
}

impl Service for Log {
    fn message(
        &mut self,
        message: Message<'_>,
        sender: &mut Sender<'_>,
        _: &mut Context<'_>,
    ) -> Flow {
        let message = match message {
            Message::Text(text) => Heard::Text(text.to_owned()),
            Message::Binary(bytes) => Heard::Binary(bytes.to_vec()),
        };
        self.message(message, sender)
    }

    fn piece(&mut self, piece: Piece<'_>, sender: &mut Sender<'_>, _: &mut Context<'_>) -> Flow {
        self.begun.extend_from_slice(piece.bytes);
        self.pieces += 1;
        if !piece.is_last {
            return Flow::Continue;
        }
        let bytes = std::mem::take(&mut self.begun);
        let message = match piece.kind {
            Kind::Text => Heard::Text(String::from_utf8(bytes).expect("it was checked")),
            Kind::Binary => Heard::Binary(bytes),
        };
        self.message(message, sender)
    }

    fn pong(&mut self, payload: &[u8], _: &mut Sender<'_>, _: &mut Context<'_>) -> Flow {
        self.heard.push(Heard::Pong(payload.to_vec()));
        Flow::Continue
    }

    fn close(
        &mut self,
        code: Option<CloseCode>,
        reason: &str,
        _: &mut Sender<'_>,
        _: &mut Context<'_>,
    ) {
        self.heard.push(Heard::Close(code.map(CloseCode::number), reason.to_owned()));
    }

    fn resume(&mut self, sender: &mut Sender<'_>, _: &mut Context<'_>) -> Flow {
        for message in std::mem::take(&mut self.to_send) {
            send(&message, sender);
        }
        if let Some(news) = self.to_share.take() {
            sender.share(&news);
        }
        self.then.take().unwrap_or(Flow::Continue)
    }

    fn closed(&mut self, reason: &Reason, _: &mut Context<'_>) {
        self.ended = Some(reason.to_string());
    }
}

pub(crate) type End = Wire<Connection<Log>>;

/// Returns options without pings, so that a test has to wait for nothing.
pub(crate) fn options() -> Options {
    Options { ping_interval: None, ..Options::default() }
}

pub(crate) fn shared(options: Options) -> Arc<Options> {
    options.shared().expect("no limit is zero")
}

pub(crate) fn plain(options: Options) -> Agreement {
    Agreement::plain(shared(options))
}

pub(crate) fn server(service: Log, options: Options) -> End {
    opened(Connection::server(service, plain(options)))
}

pub(crate) fn client(service: Log, options: Options) -> End {
    opened(Connection::client(service, plain(options)))
}

pub(crate) fn opened(connection: Connection<Log>) -> End {
    let mut end = Wire::new(connection);
    end.run(&mut ());
    end
}

pub(crate) fn log(end: &mut End) -> &mut Log {
    end.session_mut().service_mut()
}

/// Moves bytes between both, until neither has any.
pub(crate) fn exchange(client: &mut End, server: &mut End) {
    loop {
        let (to_server, to_client) = (client.take_sent(), server.take_sent());
        if to_server.is_empty() && to_client.is_empty() {
            return;
        }
        server.feed(&to_server, &mut ());
        client.feed(&to_client, &mut ());
    }
}

/// The key of frames that are made by hand.
pub(crate) const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Makes a frame as a client does: `first` has the opcode and the bits.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len(), 0x80);
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Makes a frame as a server does.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len(), 0), payload.to_vec()].concat()
}

fn head(first: u8, length: usize, mask: u8) -> Vec<u8> {
    match length {
        0..=125 => vec![first, mask | length as u8],
        126..=0xFFFF => {
            let [high, low] = (length as u16).to_be_bytes();
            vec![first, mask | 126, high, low]
        }
        _ => [&[first, mask | 127][..], &(length as u64).to_be_bytes()].concat(),
    }
}

/// Returns the payload of a close frame.
pub(crate) fn closing(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// What came of feeding bytes to an end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) heard: Vec<Heard>,
    pub(crate) sent: Vec<u8>,
    /// Why the connection ended, after the end of its input.
    pub(crate) ended: Option<String>,
}

/// Feeds pieces to an end, and then the end of its input.
pub(crate) fn fed(mut end: End, pieces: &[&[u8]]) -> Outcome {
    for piece in pieces {
        end.feed(piece, &mut ());
    }
    end.end_input(&mut ());
    let sent = end.take_sent();
    let log = log(&mut end);
    Outcome { heard: std::mem::take(&mut log.heard), sent, ended: log.ended.take() }
}

/// Connects both ends through the handshake of HTTP.
pub(crate) fn connect(
    client: Log,
    client_options: Options,
    server: Log,
    server_options: Options,
) -> (Wire<Client<Log>>, End) {
    let http_options = http::ClientOptions::default().shared().expect("no limit is zero");
    let options = shared(client_options);
    let mut client = Wire::new(Client::new(client, "a.example", "/", options, http_options));
    client.run(&mut ());
    let (options, mut agreement) = (shared(server_options), None);
    let gate = |head: &RequestHead<'_>, response: &mut Response<'_>, _: &mut Context<'_>| {
        let accepted = accept(head, &options).expect("it is a handshake");
        accepted.respond(response);
        agreement = Some(accepted.into_agreement());
        Flow::Upgrade
    };
    let http_options = http::Options::default().shared().expect("no limit is zero");
    let mut gate = Wire::new(http::Server::new(gate, http_options));
    gate.feed(&client.take_sent(), &mut ());
    client.feed(&gate.take_sent(), &mut ());
    drop(gate);
    assert!(client.session_mut().is_open(), "{:?}", client.reason());
    (client, opened(Connection::server(server, agreement.expect("it was asked"))))
}
