//! Layers: whatever a link does, it does through a layer too.

use std::fs::File;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use protocol::codecs::{Bytes, Fixed, LengthField, LengthPrefixed, Lines};
use protocol::link::{Layer, Link, Opened};
use protocol::testing::{ToyCipher, Wire};
use protocol::{
    Buffer, Cause, Context, Conversation, FileRange, Flow, Limits, Output, Reason, Reply, Service,
    Session, resp,
};

/// The peer's side of a layer: seals what is fed, and opens what came.
#[derive(Default)]
struct Peer {
    layer: ToyCipher,
    came: Buffer,
    plain: Buffer,
    has_ended: bool,
}

impl Peer {
    /// What the peer sends first.
    fn hello(&mut self) -> Vec<u8> {
        let mut wire = Output::new();
        self.layer.start(&mut wire);
        wire.to_vec()
    }

    fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut wire = Output::new();
        self.layer.seal(bytes, &mut wire).expect("it can be sealed");
        wire.to_vec()
    }

    fn end(&mut self) -> Vec<u8> {
        let mut wire = Output::new();
        self.layer.finish(&mut wire);
        wire.to_vec()
    }

    /// Opens what came. Returns all that has been opened so far.
    fn open(&mut self, sealed: &[u8]) -> &[u8] {
        self.came.extend_from_slice(sealed);
        let opened = self.layer.open(&mut self.came, &mut self.plain, &mut Output::new());
        self.has_ended |= opened.expect("it can be opened") == Opened::Ended;
        self.plain.filled()
    }
}

/// Answers every message of a codec with itself.
struct Returns;

impl Service<Lines> for Returns {
    fn call(&mut self, it: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
        reply.send(it);
        Flow::Continue
    }
}

impl Service<Bytes> for Returns {
    fn call(&mut self, it: &mut [u8], reply: &mut Reply<'_, Bytes>, _: &mut Context<'_>) -> Flow {
        reply.send(it);
        Flow::Continue
    }
}

impl Service<Fixed> for Returns {
    fn call(&mut self, it: &mut [u8], reply: &mut Reply<'_, Fixed>, _: &mut Context<'_>) -> Flow {
        reply.send(it);
        Flow::Continue
    }
}

impl Service<LengthPrefixed> for Returns {
    fn call(
        &mut self,
        it: &mut [u8],
        reply: &mut Reply<'_, LengthPrefixed>,
        _: &mut Context<'_>,
    ) -> Flow {
        reply.send(it);
        Flow::Continue
    }
}

impl Service<resp::Server> for Returns {
    fn call(
        &mut self,
        request: resp::Request<'_>,
        reply: &mut Reply<'_, resp::Server>,
        _: &mut Context<'_>,
    ) -> Flow {
        reply.writer().bulk(request.name());
        Flow::Continue
    }
}

const PREFIXED: LengthPrefixed = LengthPrefixed::new(LengthField::Two, 1000);

/// Runs a session without a layer.
fn without<S: Session>(session: S, input: &[u8]) -> (Vec<u8>, String) {
    let mut wire = Wire::new(session);
    wire.feed(input, &mut ());
    wire.end_input(&mut ());
    (wire.take_sent(), reason(wire))
}

/// Runs a session with a layer, whose bytes come in two pieces.
fn with<S: Session>(session: S, input: &[u8], split: usize) -> (Vec<u8>, String) {
    let mut peer = Peer::default();
    let mut sealed = peer.hello();
    sealed.extend(peer.seal(input));
    sealed.extend(peer.end());
    let (one, two) = sealed.split_at(split.min(sealed.len()));
    let link = Link::with_layer(session, ToyCipher::default(), Limits::DEFAULT.into());
    let mut wire = Wire::over(link);
    wire.feed(one, &mut ());
    wire.feed(two, &mut ());
    wire.end_input(&mut ());
    let plain = peer.open(&wire.take_sent()).to_vec();
    (plain, reason(wire))
}

fn reason<S, L: Layer>(wire: Wire<S, L>) -> String {
    wire.into_reason().map_or("open".to_owned(), |reason| reason.to_string())
}

/// Checks that a session does the same with a layer, wherever the sealed stream is split.
fn check<S: Session>(make: impl Fn() -> S, input: &[u8]) {
    let expected = without(make(), input);
    for split in 0..=input.len() + 10 {
        assert_eq!(with(make(), input, split), expected, "split at sealed byte {split}");
    }
}

#[test]
fn every_codec_does_the_same_through_a_layer() {
    check(|| Conversation::new(Lines::default(), Returns), b"one\ntwo\r\n\nlast\n");
    check(|| Conversation::new(Lines::default(), Returns), b"one\nunfinished");
    check(|| Conversation::new(Bytes, Returns), b"anything at all");
    let fixed =
        || Conversation::new(Fixed::new(NonZeroUsize::new(4).expect("it is not zero")), Returns);
    check(fixed, b"onlyfourbytes!!!");
    check(fixed, b"onlyfive!");
    let prefixed = || Conversation::new(PREFIXED, Returns);
    let mut messages = Output::new();
    for message in [&b"one"[..], b"", b"three"] {
        protocol::Codec::encode(&mut { PREFIXED }, message, &mut messages);
    }
    check(prefixed, &messages.to_vec());
    let server = || Conversation::new(resp::Server::default(), Returns);
    check(server, b"PING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n");
    check(server, b"*1\r\n$-5\r\n");
}

/// Sends so many bytes at once, and reads what comes.
struct Sends(usize);

impl Session for Sends {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        input.clear();
        if context.cause == Cause::Opened {
            output.append(&vec![b'x'; self.0]);
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn the_plaintext_waits_and_no_more_than_a_little_is_sealed_ahead() {
    const SAID: usize = 1 << 20;
    let limits = Limits::DEFAULT;
    let link = Link::with_layer(Sends(SAID), ToyCipher::default(), limits.into());
    let (mut wire, mut peer) = (Wire::over(link), Peer::default());
    wire.set_room(4, &mut ());
    wire.feed(&peer.hello(), &mut ());
    assert_eq!(wire.take_sent(), b"toy1");
    let unsent = wire.unsent();
    assert!((SAID as u64..SAID as u64 + 200).contains(&unsent), "{unsent} bytes wait");
    wire.set_room(u64::MAX, &mut ());
    assert_eq!(peer.open(&[&b"toy1"[..], &wire.take_sent()].concat()).len(), SAID);
}

#[test]
fn a_full_output_stops_the_reading_through_a_layer_too() {
    let limits = Limits { output_high: 20_000, output_low: 5_000, ..Limits::DEFAULT };
    let session = Conversation::new(Bytes, Returns);
    let link = Link::with_layer(session, ToyCipher::default(), limits.into());
    let (mut wire, mut peer) = (Wire::over(link), Peer::default());
    wire.feed(&peer.hello(), &mut ());
    wire.set_room(0, &mut ());
    let message = vec![b'm'; 1 << 20];
    let sealed = peer.seal(&message);
    wire.feed(&sealed, &mut ());
    assert!(sealed.len() - wire.unread() < 150_000, "{} were left unread", wire.unread());
    wire.set_room(u64::MAX, &mut ());
    assert_eq!(peer.open(&wire.take_sent()), message);
}

/// Says so many bytes at once and pauses until they have drained.
struct Waits(usize);

impl Session for Waits {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        input.clear();
        if context.cause == Cause::Opened {
            output.append(&vec![b'x'; self.0]);
        }
        Ok(if context.cause == Cause::Drained { Flow::Close } else { Flow::Pause })
    }
}

#[test]
fn a_session_is_told_of_the_drain_although_sealing_makes_what_waits_longer() {
    // The first write leaves as much as the low mark, and takes all that one pass may write. What is
    // left is longer when it is sealed.
    let (said, sealed) = (100_000, 65_536);
    let limits = Limits { output_low: said - sealed, read_budget: 1, ..Limits::DEFAULT };
    let session = Waits(said as usize);
    let link = Link::with_layer(session, ToyCipher::default(), limits.into());
    let (mut wire, mut peer) = (Wire::over(link), Peer::default());
    wire.feed(&peer.hello(), &mut ());
    assert_eq!(peer.open(&wire.take_sent()).len() as u64, said);
    assert!(peer.has_ended && wire.is_shut_down(), "the session waits for ever");
}

/// Sends a file between two words, then ends its output.
struct SendsFile(FileRange);

impl Session for SendsFile {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        input.clear();
        if context.cause == Cause::Opened {
            output.append(b"<");
            output.file(self.0.clone());
            output.append(b">");
            context.effects.end_output();
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn ranges_of_files_are_sealed_piece_by_piece_and_the_end_comes_after() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/testing.rs");
    let file = Arc::new(File::open(path).expect("it is there"));
    let length = file.metadata().expect("it has a size").len() - 3;
    let text = std::fs::read(path).expect("it can be read");
    let session = SendsFile(FileRange { file, offset: 3, length });
    let link = Link::with_layer(session, ToyCipher::default(), Limits::DEFAULT.into());
    let (mut wire, mut peer) = (Wire::over(link), Peer::default());
    wire.feed(&peer.hello(), &mut ());
    let plain = peer.open(&wire.take_sent()).to_vec();
    assert_eq!(plain, [b"<", &text[3..], b">"].concat());
    assert!(peer.has_ended && wire.is_shut_down());
}

#[test]
fn a_file_that_is_too_short_ends_the_connection() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let file = Arc::new(File::open(path).expect("it is there"));
    let session = SendsFile(FileRange { file, offset: 0, length: 1 << 40 });
    let link = Link::with_layer(session, ToyCipher::default(), Limits::DEFAULT.into());
    let (mut wire, mut peer) = (Wire::over(link), Peer::default());
    wire.feed(&peer.hello(), &mut ());
    wire.end_input(&mut ());
    assert!(!reason(wire).contains("finished"));
}

#[test]
fn a_stream_that_is_cut_is_refused() {
    let link = Link::with_layer(Sends(0), ToyCipher::default(), Limits::DEFAULT.into());
    let (mut wire, mut peer) = (Wire::over(link), Peer::default());
    wire.feed(&peer.hello(), &mut ());
    wire.feed(&peer.seal(b"something")[..5], &mut ());
    wire.end_input(&mut ());
    let text = reason(wire);
    assert_eq!(text, "refused: the stream was cut short, with 5 bytes that cannot be opened");
}

#[test]
fn a_peer_that_does_not_speak_the_layer_is_told_and_refused_before_the_session_opens() {
    let link = Link::with_layer(Sends(9), ToyCipher::default(), Limits::DEFAULT.into());
    let mut wire = Wire::over(link);
    wire.feed(b"GET / HTTP/1.1\r\n", &mut ());
    wire.end_input(&mut ());
    assert_eq!(wire.take_sent(), b"toy1\xff\xff", "the greeting and an alert");
    assert_eq!(reason(wire), "refused: the peer does not greet as this layer does");
    let link = Link::with_layer(Sends(9), ToyCipher::default(), Limits::DEFAULT.into());
    let mut wire = Wire::over(link);
    wire.feed(b"toy", &mut ());
    wire.end_input(&mut ());
    assert!(reason(wire).contains("cut short"));
}

#[test]
fn a_session_that_closes_says_so_in_the_layer() {
    struct Closes;
    impl Session for Closes {
        fn advance(
            &mut self,
            _input: &mut Buffer,
            output: &mut Output,
            _context: &mut Context<'_>,
        ) -> Result<Flow, Reason> {
            output.append(b"bye");
            Ok(Flow::Close)
        }
    }
    let link = Link::with_layer(Closes, ToyCipher::default(), Limits::DEFAULT.into());
    let (mut wire, mut peer) = (Wire::over(link), Peer::default());
    wire.feed(&peer.hello(), &mut ());
    assert_eq!(peer.open(&wire.take_sent()), b"bye");
    assert!(peer.has_ended && wire.is_shut_down());
}

/// Speaks in the clear until it is told to start, and answers lines.
struct Starts;

impl Session for Starts {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        if input.filled().starts_with(b"start\n") {
            input.consume(6);
            output.append(b"go\n");
            context.effects.start_layer();
        } else {
            output.take_input(input);
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn a_layer_may_start_in_mid_connection() {
    let limits = Arc::new(Limits::DEFAULT);
    let layer = ToyCipher::default();
    let mut wire = Wire::over(Link::with_layer_later(Starts, layer, limits));
    let mut peer = Peer::default();
    wire.feed(b"in the clear\n", &mut ());
    assert_eq!(wire.take_sent(), b"in the clear\n");
    wire.feed(b"start\n", &mut ());
    let sent = wire.take_sent();
    assert_eq!(sent, b"go\ntoy1", "the answer is in the clear, and the layer starts behind it");
    wire.feed(&peer.hello(), &mut ());
    wire.feed(&peer.seal(b"secret"), &mut ());
    assert_eq!(peer.open(&[&b"toy1"[..], &wire.take_sent()].concat()), b"secret");
}

#[test]
fn what_is_injected_behind_the_start_of_a_layer_is_not_taken_for_plaintext() {
    let layer = ToyCipher::default();
    let mut wire = Wire::over(Link::with_layer_later(Starts, layer, Limits::DEFAULT.into()));
    wire.feed(b"start\ninjected\n", &mut ());
    wire.end_input(&mut ());
    let sent = wire.take_sent();
    assert!(!sent.windows(8).any(|bytes| bytes == b"injected"), "{sent:?}");
    assert!(reason(wire).contains("does not greet"));
}

/// Starts its layer at once, and gives its peer a second to greet.
struct Hurries;

impl Session for Hurries {
    fn advance(
        &mut self,
        _input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        match context.cause {
            Cause::Opened => {
                context.effects.start_layer();
                context.effects.set_timeout(0, Some(Duration::from_secs(1)));
            }
            Cause::Timeout(_) => return Err(Reason::refused("no handshake in time")),
            _ => output.append(b"waits for the handshake"),
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn a_session_is_called_and_its_timeouts_pass_during_a_handshake() {
    let layer = ToyCipher::default();
    let mut wire = Wire::over(Link::with_layer_later(Hurries, layer, Limits::DEFAULT.into()));
    wire.wake(&mut ());
    assert_eq!(wire.take_sent(), b"toy1");
    assert!(wire.wait().read && !wire.wait().write, "what cannot be sealed yet waits for nothing");
    wire.pass(Duration::from_secs(1), &mut ());
    assert_eq!(wire.take_sent(), [0, 0], "nothing of it is sent in the clear");
    wire.end_input(&mut ());
    assert_eq!(reason(wire), "refused: no handshake in time");
}

#[test]
fn a_link_whose_layer_has_ended_lingers_until_the_wire_has() {
    let session = Conversation::new(Lines::default(), Returns);
    let link = Link::with_layer(session, ToyCipher::default(), Limits::DEFAULT.into());
    let (mut wire, mut peer) = (Wire::over(link), Peer::default());
    let sealed = [peer.hello(), peer.seal(b"one\n"), peer.end()].concat();
    wire.feed(&sealed, &mut ());
    assert_eq!(peer.open(&wire.take_sent()), b"one\n");
    assert!(peer.has_ended && wire.is_shut_down() && wire.reason().is_none());
    // Closing with this unread would reset the connection, and the peer might lose the answer.
    wire.feed(b"what comes behind the end is ignored", &mut ());
    assert_eq!(wire.unread(), 0);
    assert!(wire.reason().is_none());
    wire.end_input(&mut ());
    assert_eq!(reason(wire), "peer closed");
}

/// Starts its layer when the wire has ended, and reads what came before through it.
struct StartsAtTheEnd {
    has_started: bool,
}

impl Session<Vec<u8>> for StartsAtTheEnd {
    fn advance(
        &mut self,
        input: &mut Buffer,
        _output: &mut Output,
        context: &mut Context<'_, Vec<u8>>,
    ) -> Result<Flow, Reason> {
        if self.has_started {
            context.app.extend_from_slice(input.filled());
            input.clear();
            return Ok(if context.input_ended { Flow::Close } else { Flow::Continue });
        }
        if context.input_ended {
            self.has_started = true;
            context.effects.start_layer();
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn a_stream_that_is_cut_before_its_layer_starts_is_refused() {
    let cut = "refused: the stream was cut short, with 0 bytes that cannot be opened";
    for (ends, expected, heard) in [(false, cut, &b""[..]), (true, "peer closed", b"secret")] {
        let session = StartsAtTheEnd { has_started: false };
        let layer = ToyCipher::default();
        let mut wire = Wire::over(Link::with_layer_later(session, layer, Limits::DEFAULT.into()));
        let (mut peer, mut app) = (Peer::default(), Vec::new());
        wire.feed(&[peer.hello(), peer.seal(b"secret")].concat(), &mut app);
        if ends {
            wire.feed(&peer.end(), &mut app);
        }
        wire.end_input(&mut app);
        assert_eq!((reason(wire).as_str(), app.as_slice()), (expected, heard));
    }
}
