//! Feeds each side of TLS with the bytes of the input, and both with a connection that the input
//! alters. Neither side panics or spins. What a session hears is the beginning of what the other has
//! said, and all of it if the stream has ended in order.

#![no_main]

use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{LazyLock, Once};

use libfuzzer_sys::fuzz_target;
use protocol::link::Link;
use protocol::testing::Wire;
use protocol::tls::{
    Identity, Tls, TlsClient, TlsClientOptions, TlsServer, TlsServerOptions, Trust, Version,
};
use protocol::{Buffer, Cause, Context, Flow, Limits, Output, Reason, Session};

/// A certificate for `one.example` and its key, which nothing trusts.
const PEM: &str = include_str!("tls.pem");
const TO_SERVER: &[u8] = b"what the client says";
const TO_CLIENT: &[u8] = b"what the server says, which is a little longer";
/// More flights than an exchange of both versions has.
const FLIGHTS_MAX: usize = 40;

/// Both sides, for each version.
static SIDES: LazyLock<[(TlsClient, TlsServer); 2]> =
    LazyLock::new(|| [Version::Tls12, Version::Tls13].map(sides));

fn sides(version: Version) -> (TlsClient, TlsServer) {
    let identity = Identity::from_pem(PEM.as_bytes(), PEM.as_bytes()).expect("it is whole");
    let mut server = TlsServerOptions::new(vec![identity]);
    server.protocols = vec![b"fuzz".to_vec()];
    (server.version_min, server.version_max) = (version, version);
    let mut client = TlsClientOptions::new(Trust::Anything);
    client.protocols = vec![b"fuzz".to_vec()];
    let client = TlsClient::new(client).expect("they fit");
    (client, TlsServer::new(server).expect("they fit"))
}

/// Says something, ends its stream, and remembers what it hears.
struct Talk {
    says: &'static [u8],
    heard: Vec<u8>,
    has_ended: bool,
}

impl Session for Talk {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        if context.cause == Cause::Opened {
            output.append(self.says);
            context.effects.end_output();
        }
        self.heard.extend_from_slice(input.filled());
        input.clear();
        self.has_ended |= context.input_ended;
        Ok(if context.input_ended { Flow::Close } else { Flow::Continue })
    }
}

type End = Wire<Talk, Tls>;

fn end(layer: Tls, says: &'static [u8]) -> End {
    let talk = Talk { says, heard: Vec::new(), has_ended: false };
    Wire::over(Link::with_layer(talk, layer, Limits::DEFAULT.into()))
}

/// Takes choices from the input, zeros after its end.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn place(&mut self, length: usize) -> usize {
        usize::from(u16::from_be_bytes([self.byte(), self.byte()])) % length.max(1)
    }

    fn piece(&mut self) -> &'a [u8] {
        let size = usize::from(self.byte()).min(self.0.len());
        let (piece, rest) = self.0.split_at(size);
        self.0 = rest;
        piece
    }
}

/// Feeds one side with the input, in the pieces that the input says.
fn feed_alone(mut end: End, mut choices: Choices<'_>) {
    end.run(&mut ());
    while !choices.0.is_empty() {
        end.feed(choices.piece(), &mut ());
        end.take_sent();
    }
    end.end_input(&mut ());
    let talk = end.session_mut();
    assert!(talk.heard.is_empty() && !talk.has_ended, "there was no handshake");
}

/// What becomes of one flight of bytes. Returns whether it is altered.
fn alter(flight: &mut Vec<u8>, choices: &mut Choices<'_>) -> bool {
    let at = match flight.len() {
        0 => return false,
        length => choices.place(length),
    };
    match choices.byte() % 8 {
        0 => flight[at] ^= choices.byte() | 1,
        1 => drop(flight.splice(at..at, choices.piece().iter().copied())),
        2 => drop(flight.drain(at..flight.len().min(at + 1 + usize::from(choices.byte())))),
        3 => flight.truncate(at),
        4 => flight.extend_from_within(at..),
        5 => flight[at..].reverse(),
        _ => return false,
    }
    true
}

/// Moves a flight of bytes, as the input says. Returns whether it was altered.
fn pass(from: &mut End, to: &mut End, choices: &mut Choices<'_>) -> bool {
    let mut flight = from.take_sent();
    let is_altered = choices.byte() % 4 == 3 && alter(&mut flight, choices);
    let piece = match choices.byte() {
        0 => usize::MAX,
        size => usize::from(size),
    };
    flight.chunks(piece.min(flight.len().max(1))).for_each(|it| to.feed(it, &mut ()));
    if from.is_shut_down() {
        to.end_input(&mut ());
    }
    is_altered
}

/// Moves bytes between both sides over a wire that the input may alter.
fn talk(client: &TlsClient, server: &TlsServer, mut choices: Choices<'_>) {
    let mut client = end(client.layer("one.example").expect("a name"), TO_SERVER);
    let mut server = end(server.layer().expect("a layer"), TO_CLIENT);
    let mut is_altered = false;
    client.run(&mut ());
    for _ in 0..FLIGHTS_MAX {
        is_altered |= pass(&mut client, &mut server, &mut choices);
        is_altered |= pass(&mut server, &mut client, &mut choices);
    }
    for (heard, says) in [(client, TO_CLIENT), (server, TO_SERVER)] {
        let reason = heard.reason().map(|reason| reason.to_string());
        let talk = heard.into_session();
        assert!(says.starts_with(&talk.heard), "what was heard was not said: {:?}", talk.heard);
        assert!(!talk.has_ended || talk.heard == says, "the end hides something: {reason:?}");
        assert!(is_altered || talk.has_ended, "a connection that was left alone fails: {reason:?}");
    }
}

/// Returns whether a panic is the assertion of rustls that no alert follows its own `close_notify`. An
/// invalid record of the peer contradicts it (rustls/rustls#959), and builds without debug assertions,
/// which a fuzzer has, send the alert.
fn is_known(panic: &PanicHookInfo<'_>) -> bool {
    let is_assertion = panic.payload_as_str().is_some_and(|it| it.contains("sent_fatal_alert"));
    is_assertion && panic.location().is_some_and(|it| it.file().contains("rustls"))
}

/// Runs an input. Every other panic ends the program, in the hook of the fuzzer.
fn run(input: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let end = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !is_known(panic) {
                end(panic);
            }
        }));
    });
    // What is caught was known.
    let _ = panic::catch_unwind(AssertUnwindSafe(|| play(input)));
}

fuzz_target!(|input: &[u8]| run(input));

fn play(input: &[u8]) {
    let mut choices = Choices(input);
    let kind = choices.byte();
    let (client, server) = &SIDES[usize::from(kind & 1)];
    match kind >> 1 & 3 {
        0 => feed_alone(end(server.layer().expect("a layer"), TO_CLIENT), choices),
        1 => feed_alone(end(client.layer("one.example").expect("a name"), TO_SERVER), choices),
        _ => talk(client, server, choices),
    }
}
