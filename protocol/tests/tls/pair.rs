//! The two ends of one connection, and what is between them.

use protocol::link::Link;
use protocol::testing::Wire;
use protocol::tls::{
    Identity, Roots, Tls, TlsClient, TlsClientOptions, TlsError, TlsServer, TlsServerOptions, Trust,
};
use protocol::{Buffer, Cause, Context, Flow, Limits, Output, Reason, Secured, Session};
use testkit::authority::{Authority, Issued};

/// Says something once the connection is open, and remembers what it hears.
#[derive(Default)]
pub(crate) struct Talk {
    pub(crate) to_say: Vec<u8>,
    pub(crate) heard: Vec<u8>,
    /// Whether it sends back what it hears.
    pub(crate) echoes: bool,
    /// Whether it ends the connection after so many bytes.
    pub(crate) enough: Option<usize>,
    /// Whether it ends its output at once, and goes on reading.
    pub(crate) ends_at_once: bool,
    pub(crate) input_ended: bool,
    /// The encryption, as the last call has seen it.
    pub(crate) seen: Option<Seen>,
}

/// The encryption of a connection, as its session sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) version: String,
    pub(crate) cipher: String,
    pub(crate) protocol: Option<Vec<u8>>,
    pub(crate) server_name: Option<String>,
    pub(crate) is_resumed: bool,
    pub(crate) certificates: usize,
    pub(crate) subject: Option<String>,
}

impl Seen {
    fn of(secured: &dyn Secured) -> Self {
        Self {
            version: secured.version().to_owned(),
            cipher: secured.cipher().to_owned(),
            protocol: secured.protocol().map(<[u8]>::to_vec),
            server_name: secured.server_name().map(str::to_owned),
            is_resumed: secured.is_resumed(),
            certificates: secured.peer_certificates().len(),
            subject: secured.peer_subject(),
        }
    }
}

impl Session for Talk {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        if context.cause == Cause::Opened {
            output.append(&std::mem::take(&mut self.to_say));
            if self.ends_at_once {
                context.effects.end_output();
            }
        }
        self.heard.extend_from_slice(input.filled());
        if self.echoes {
            output.append(input.filled());
        }
        input.clear();
        self.input_ended = context.input_ended;
        self.seen = context.secured.map(Seen::of);
        let is_enough = self.enough.is_some_and(|enough| self.heard.len() >= enough);
        Ok(if is_enough || context.input_ended { Flow::Close } else { Flow::Continue })
    }
}

pub(crate) type End = Wire<Talk, Tls>;

/// Both ends of a connection.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
}

pub(crate) fn end(layer: Tls, session: Talk) -> End {
    Wire::over(Link::with_layer(session, layer, Limits::DEFAULT.into()))
}

impl Pair {
    /// Connects a client that says `to_say` with a server that echoes.
    pub(crate) fn new(client: &TlsClient, server: &TlsServer, to_say: &[u8]) -> Self {
        let to_say = to_say.to_vec();
        Self {
            client: end(
                client.layer("one.example").expect("a name"),
                Talk { enough: Some(to_say.len()), to_say, ..Talk::default() },
            ),
            server: end(server.layer().expect("a layer"), Talk { echoes: true, ..Talk::default() }),
        }
    }

    /// Moves bytes between both, at most `piece` at a time, until neither has any.
    pub(crate) fn exchange(&mut self, piece: usize) {
        self.client.run(&mut ());
        loop {
            let (to_server, to_client) = (self.client.take_sent(), self.server.take_sent());
            if to_server.is_empty() && to_client.is_empty() {
                break;
            }
            to_server.chunks(piece).for_each(|bytes| self.server.feed(bytes, &mut ()));
            to_client.chunks(piece).for_each(|bytes| self.client.feed(bytes, &mut ()));
        }
    }

    /// Exchanges everything, ends both streams in order, and returns what the client has heard.
    pub(crate) fn finish(mut self, piece: usize) -> Vec<u8> {
        self.exchange(piece);
        assert!(self.client.is_shut_down(), "{:?}", self.client.reason());
        self.server.end_input(&mut ());
        self.exchange(piece);
        self.client.end_input(&mut ());
        for end in [&self.client, &self.server] {
            assert!(end.reason().is_some_and(Reason::is_orderly), "{:?}", end.reason());
        }
        self.client.into_session().heard
    }

    /// Exchanges everything, and returns the error of each end.
    pub(crate) fn errors(mut self) -> (Option<TlsError>, Option<TlsError>) {
        self.exchange(usize::MAX);
        self.client.end_input(&mut ());
        self.server.end_input(&mut ());
        (error_of(self.client), error_of(self.server))
    }
}

/// Returns the error that has ended a connection.
pub(crate) fn error_of(mut end: End) -> Option<TlsError> {
    if end.reason().is_none() {
        end.end_input(&mut ());
    }
    match end.into_reason()? {
        Reason::Refused(error) => Some(*error.downcast().expect("an error of TLS")),
        other => panic!("it ended otherwise: {other}"),
    }
}

pub(crate) fn identity(issued: &Issued) -> Identity {
    Identity::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes()).expect("it is whole")
}

pub(crate) fn roots(authority: &Authority) -> Roots {
    Roots::from_pem(authority.certificate().as_bytes()).expect("it is an authority")
}

/// Returns options of both sides that fit.
pub(crate) fn options() -> (TlsClientOptions, TlsServerOptions, Authority) {
    let authority = Authority::new("Test Authority");
    let server = TlsServerOptions::new(vec![identity(&authority.server(&["one.example"]))]);
    (TlsClientOptions::new(Trust::Roots(roots(&authority))), server, authority)
}

/// Returns both sides with these options.
pub(crate) fn sides(client: TlsClientOptions, server: TlsServerOptions) -> (TlsClient, TlsServer) {
    (TlsClient::new(client).expect("they fit"), TlsServer::new(server).expect("they fit"))
}
