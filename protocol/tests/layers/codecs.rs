//! Every codec, both sides: a session does the same through a layer, wherever its bytes are split.

use std::num::NonZeroUsize;
use std::sync::Arc;

use protocol::codecs::{
    Bytes, Fixed, LengthField, LengthPrefixed, Lines, Packet, PacketMessage, PacketView,
};
use protocol::link::Link;
use protocol::testing::{ToyCipher, Wire};
use protocol::{Codec, Context, Conversation, Flow, Limits, Output, Reply, Service, Session, resp};

use crate::peer::{Peer, reason};

/// The messages that a session was sent, and the codecs whose messages it can say.
pub(crate) type Heard = Vec<Vec<u8>>;

/// A codec of whose messages a text can be made, and which says texts.
pub(crate) trait Speaks: Codec + Sized {
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
pub(crate) struct Returns;

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
    let two = [packet(1, b"abc"), packet(2, b"")].concat();
    assert_eq!(check(packets, &two).1.len(), 2);
    check(packets, &two[..13]);
    check(packets, &[&two, &*packet(3, &[0; 11])].concat());
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
    // Each piece is an answer, and each answer but the last leads to a question.
    let text = b"anything at all";
    for split in 0..28 {
        let outcome = with(Conversation::new(Bytes, asks()), text, &[split]);
        let (said, heard, reason) = outcome.expect("it is no longer");
        assert_eq!((heard.concat(), reason.as_str()), (text.to_vec(), "peer closed"));
        assert_eq!(said, QUESTIONS[..=heard.len()].concat(), "split at sealed byte {split}");
    }
    let everywhere: Vec<usize> = (0..28).collect();
    let (said, heard, reason) =
        with(Conversation::new(Bytes, asks()), text, &everywhere).expect("that is all of it");
    assert_eq!((said, reason.as_str()), (QUESTIONS.concat(), "finished"));
    assert_eq!(heard, [&text[..7], &text[7..14], &text[14..]], "a record at a time");
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
    let answers: Vec<u8> = (0..3).flat_map(|it| packet(it, b"!").to_vec()).collect();
    assert_eq!(check(packets, &answers).1.len(), 3);
    let client = || Conversation::new(resp::Client::default(), asks());
    assert_eq!(check(client, b"+OK\r\n$4\r\ntwo!\r\n*2\r\n:1\r\n$-1\r\n").1.len(), 3);
    check(client, b"+OK\r\n?what\r\n");
    check(client, b"+OK\r\n$4\r\ntw");
}

fn packet(kind: u32, body: &[u8]) -> Arc<[u8]> {
    Packet::default().encode_shared(PacketMessage { kind, body })
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
