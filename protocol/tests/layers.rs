//! Layers: whatever a link does, it does through a layer too.

use std::fs::File;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use protocol::codecs::{
    Bytes, Fixed, LengthField, LengthPrefixed, Lines, Packet, PacketMessage, PacketView,
};
use protocol::link::{Layer, Link, Opened};
use protocol::testing::{ToyCipher, Wire};
use protocol::{
    Buffer, Cause, Codec, Context, Conversation, FileRange, Flow, Limits, Output, Reason, Reply,
    Service, Session, resp,
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

/// The messages that a session was sent, and the codecs whose messages it can say.
type Heard = Vec<Vec<u8>>;

/// A codec of whose messages a text can be made, and which says texts.
trait Speaks: Codec + Sized {
    fn text(message: Self::In<'_>) -> Vec<u8>;
    fn say(text: &[u8], reply: &mut Reply<'_, Self>);
}

macro_rules! speaks_bytes {
    ($($codec:ty),*) => {$(
        impl Speaks for $codec {
            fn text(message: &mut [u8]) -> Vec<u8> {
                message.to_vec()
            }

            fn say(text: &[u8], reply: &mut Reply<'_, Self>) {
                reply.send(text);
            }
        }
    )*};
}

speaks_bytes!(Bytes, Fixed, LengthPrefixed, Lines);

impl Speaks for Packet {
    fn text(packet: PacketView<'_>) -> Vec<u8> {
        [&packet.kind.to_be_bytes(), &*packet.body].concat()
    }

    fn say(text: &[u8], reply: &mut Reply<'_, Self>) {
        reply.send(PacketMessage { kind: text.len() as u32, body: text });
    }
}

impl Speaks for resp::Server {
    fn text(request: resp::Request<'_>) -> Vec<u8> {
        request.iter().collect::<Vec<_>>().join(&b' ')
    }

    fn say(text: &[u8], reply: &mut Reply<'_, Self>) {
        reply.writer().bulk(text);
    }
}

impl Speaks for resp::Client {
    fn text(value: resp::Value<'_>) -> Vec<u8> {
        value.encoded().to_vec()
    }

    fn say(text: &[u8], reply: &mut Reply<'_, Self>) {
        reply.command([b"ECHO", text]);
    }
}

/// A server: answers every message with itself.
struct Returns;

impl<C: Speaks> Service<C, Heard> for Returns {
    fn call(
        &mut self,
        message: C::In<'_>,
        reply: &mut Reply<'_, C>,
        context: &mut Context<'_, Heard>,
    ) -> Flow {
        let text = C::text(message);
        C::say(&text, reply);
        context.app.push(text);
        Flow::Continue
    }
}

/// A client: asks one question after the other, and leaves when all were answered.
struct Asks(std::slice::Iter<'static, &'static [u8]>);

impl Asks {
    fn ask<C: Speaks>(&mut self, reply: &mut Reply<'_, C>) -> Flow {
        let Some(question) = self.0.next() else { return Flow::Close };
        C::say(question, reply);
        Flow::Continue
    }
}

impl<C: Speaks> Service<C, Heard> for Asks {
    fn open(&mut self, reply: &mut Reply<'_, C>, _: &mut Context<'_, Heard>) -> Flow {
        self.ask(reply)
    }

    fn call(
        &mut self,
        message: C::In<'_>,
        reply: &mut Reply<'_, C>,
        context: &mut Context<'_, Heard>,
    ) -> Flow {
        context.app.push(C::text(message));
        self.ask(reply)
    }
}

const QUESTIONS: &[&[u8]] = &[b"one?", b"two?", b"more"];
const PREFIXED: LengthPrefixed = LengthPrefixed::new(LengthField::Two, 1000);

fn fixed() -> Fixed {
    Fixed::new(NonZeroUsize::new(4).expect("it is not zero"))
}

fn reason<S, L: Layer>(wire: Wire<S, L>) -> String {
    wire.into_reason().map_or("open".to_owned(), |reason| reason.to_string())
}

/// What a session said and heard, and why it ended.
type Outcome = (Vec<u8>, Heard, String);

/// Runs a session without a layer.
fn without<S: Session<Heard>>(session: S, input: &[u8]) -> Outcome {
    let (mut wire, mut heard) = (Wire::new(session), Heard::new());
    wire.feed(input, &mut heard);
    wire.end_input(&mut heard);
    (wire.take_sent(), heard, reason(wire))
}

/// Runs a session with a layer, whose sealed bytes come in pieces that end at the given places.
/// Returns none where the last place is beyond the end.
fn with<S: Session<Heard>>(session: S, input: &[u8], places: &[usize]) -> Option<Outcome> {
    let mut peer = Peer::default();
    let mut sealed = peer.hello();
    // Records that begin and end in the middle of messages, as well as between them.
    for piece in input.chunks(7) {
        sealed.extend(peer.seal(piece));
    }
    sealed.extend(peer.end());
    let link = Link::with_layer(session, ToyCipher::default(), Limits::DEFAULT.into());
    let (mut wire, mut heard, mut from) = (Wire::over(link), Heard::new(), 0);
    for place in places.iter().filter(|place| **place < sealed.len()) {
        wire.feed(&sealed[from..*place], &mut heard);
        from = *place;
    }
    wire.feed(&sealed[from..], &mut heard);
    wire.end_input(&mut heard);
    let plain = peer.open(&wire.take_sent()).to_vec();
    let is_beyond = places.last().is_some_and(|place| *place > sealed.len());
    (!is_beyond).then(|| (plain, heard, reason(wire)))
}

/// Checks that a session does the same with a layer, wherever the sealed stream is split.
fn check<S: Session<Heard>>(make: impl Fn() -> S, input: &[u8]) -> Outcome {
    let expected = without(make(), input);
    let check = |outcome: Outcome, what: &str| {
        let (said, heard, mut reason) = outcome;
        // The end of the layer may come with the last message, before the session has closed.
        if expected.2 == "finished" && reason == "peer closed" {
            reason = "finished".to_owned();
        }
        assert_eq!((said, heard, reason), expected, "{what}");
    };
    let mut splits = 0;
    while let Some(outcome) = with(make(), input, &[splits]) {
        check(outcome, &format!("split at sealed byte {splits}"));
        splits += 1;
    }
    assert!(splits > input.len() + 6, "it was split {splits} times");
    let everywhere: Vec<usize> = (0..splits).collect();
    check(with(make(), input, &everywhere).expect("that is all of it"), "byte by byte");
    expected
}

#[test]
fn every_server_does_the_same_through_a_layer() {
    let lines = || Conversation::new(Lines::default(), Returns);
    assert_eq!(check(lines, b"one\ntwo\r\n\nlast\n").0, b"one\ntwo\n\nlast\n");
    check(lines, b"one\nunfinished");
    // Where the stream is split, it may be heard as several messages.
    let said = |split| with(Conversation::new(Bytes, Returns), b"anything at all", &[split]);
    assert!((0..28).all(|split| said(split).is_some_and(|it| it.0 == b"anything at all")));
    assert_eq!(check(|| Conversation::new(fixed(), Returns), b"onlyfourbytes!!!").1.len(), 4);
    check(|| Conversation::new(fixed(), Returns), b"onlyfive!");
    let mut messages = Output::new();
    for message in [&b"one"[..], b"", b"three"] {
        PREFIXED.clone().encode(message, &mut messages);
    }
    let prefixed = || Conversation::new(PREFIXED, Returns);
    assert_eq!(check(prefixed, &messages.to_vec()).1.len(), 3);
    check(prefixed, &messages.to_vec()[..7]);
    let packets = || Conversation::new(Packet::with_size_max(10), Returns);
    let two = [Packet::encode_shared(1, b"abc"), Packet::encode_shared(2, b"")].concat();
    assert_eq!(check(packets, &two).1.len(), 2);
    check(packets, &two[..13]);
    check(packets, &[&two, &*Packet::encode_shared(3, &[0; 11])].concat());
    let server = || Conversation::new(resp::Server::default(), Returns);
    assert_eq!(check(server, b"PING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n").1.len(), 2);
    check(server, b"PING\r\n*1\r\n$-5\r\n");
}

#[test]
fn every_client_does_the_same_through_a_layer() {
    let asks = || Asks(QUESTIONS.iter());
    let lines = || Conversation::new(Lines::default(), asks());
    assert_eq!(check(lines, b"one!\ntwo!\nmore!\n").2, "finished");
    assert!(check(lines, b"one!\ntw").2.starts_with("refused"));
    assert_eq!(check(lines, b"one!\n").2, "peer closed");
    let fixed = || Conversation::new(fixed(), asks());
    assert_eq!(check(fixed, b"one!two!more").1.len(), 3);
    check(fixed, b"one!tw");
    let mut answers = Output::new();
    for answer in QUESTIONS {
        PREFIXED.clone().encode(answer, &mut answers);
    }
    let prefixed = || Conversation::new(PREFIXED, asks());
    assert_eq!(check(prefixed, &answers.to_vec()).1.len(), 3);
    let packets = || Conversation::new(Packet::with_size_max(10), asks());
    let answers: Vec<u8> = (0..3).flat_map(|it| Packet::encode_shared(it, b"!").to_vec()).collect();
    assert_eq!(check(packets, &answers).1.len(), 3);
    let client = || Conversation::new(resp::Client::default(), asks());
    assert_eq!(check(client, b"+OK\r\n$4\r\ntwo!\r\n*2\r\n:1\r\n$-1\r\n").1.len(), 3);
    check(client, b"+OK\r\n?what\r\n");
    check(client, b"+OK\r\n$4\r\ntw");
}

/// Connects a client and a server through their layers, and moves so many bytes at a time between
/// them. Returns what each of them heard.
fn converse<C: Speaks, D: Speaks>(client: C, server: D, size: usize) -> (Heard, Heard) {
    let limits = Arc::new(Limits::DEFAULT);
    let link = |_| ToyCipher::default();
    let client = Conversation::new(client, Asks(QUESTIONS.iter()));
    let mut near = Wire::over(Link::with_layer(client, link(()), Arc::clone(&limits)));
    let mut far =
        Wire::over(Link::with_layer(Conversation::new(server, Returns), link(()), limits));
    let (mut answers, mut questions) = (Heard::new(), Heard::new());
    near.run(&mut answers);
    far.run(&mut questions);
    for _ in 0..10 {
        near.take_sent().chunks(size).for_each(|piece| far.feed(piece, &mut questions));
        if near.is_shut_down() {
            far.end_input(&mut questions);
        }
        far.take_sent().chunks(size).for_each(|piece| near.feed(piece, &mut answers));
        if far.is_shut_down() || far.reason().is_some() {
            near.end_input(&mut answers);
        }
    }
    assert_eq!((reason(near).as_str(), reason(far).as_str()), ("finished", "peer closed"));
    (answers, questions)
}

#[test]
fn a_client_and_a_server_understand_each_other_through_their_layers() {
    let texts: Heard = QUESTIONS.iter().map(|it| it.to_vec()).collect();
    for size in [1, 2, 3, 5, 1000] {
        let same = (texts.clone(), texts.clone());
        assert_eq!(converse(Lines::default(), Lines::default(), size), same);
        assert_eq!(converse(fixed(), fixed(), size), same);
        assert_eq!(converse(PREFIXED, PREFIXED, size), same);
        // One record comes whole.
        assert_eq!(converse(Bytes, Bytes, size), same);
        let (answers, questions) = converse(Packet::default(), Packet::default(), size);
        assert_eq!((answers.len(), questions.len()), (3, 3));
        assert_eq!(questions[2], b"\0\0\0\x04more");
        let (answers, questions) = converse(resp::Client::default(), resp::Server::default(), size);
        assert_eq!(answers[2], b"$9\r\nECHO more\r\n");
        assert_eq!(questions[2], b"ECHO more");
    }
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
    wire.feed(&peer.hello(), &mut Heard::new());
    wire.set_room(0, &mut Heard::new());
    let message = vec![b'm'; 1 << 20];
    let sealed = peer.seal(&message);
    wire.feed(&sealed, &mut Heard::new());
    assert!(sealed.len() - wire.unread() < 150_000, "{} were left unread", wire.unread());
    wire.set_room(u64::MAX, &mut Heard::new());
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
    wire.feed(&sealed, &mut Heard::new());
    assert_eq!(peer.open(&wire.take_sent()), b"one\n");
    assert!(peer.has_ended && wire.is_shut_down() && wire.reason().is_none());
    // Closing with this unread would reset the connection, and the peer might lose the answer.
    wire.feed(b"what comes behind the end is ignored", &mut Heard::new());
    assert_eq!(wire.unread(), 0);
    assert!(wire.reason().is_none());
    wire.end_input(&mut Heard::new());
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
