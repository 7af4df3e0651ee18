//! Layers: whatever a link does, it does through a layer too.

mod codecs;
mod peer;

use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use codecs::{Heard, Returns};
use peer::{Peer, reason};
use protocol::codecs::{Bytes, Lines};
use protocol::link::{Layer, Link, Opened};
use protocol::testing::{ToyCipher, Wire};
use protocol::{
    Buffer, Cause, Context, Conversation, FileRange, Flow, Limits, Output, Reason, Session, Upgrade,
};

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

/// Says so many bytes at once, and tells why it is called.
struct Tells(usize);

impl Session<Vec<Cause>> for Tells {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Vec<Cause>>,
    ) -> Result<Flow, Reason> {
        input.clear();
        context.app.push(context.cause);
        if context.cause == Cause::Opened {
            output.append(&vec![b'x'; self.0]);
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn what_happens_before_the_handshake_is_told_after_it() {
    let link = Link::with_layer(Tells(1), ToyCipher::default(), Limits::DEFAULT.into());
    let (mut wire, mut peer, mut told) = (Wire::over(link), Peer::default(), Vec::new());
    wire.wake(&mut told);
    wire.stop(&mut told);
    assert_eq!(told, []);
    wire.feed(&peer.hello(), &mut told);
    assert_eq!(told, [Cause::Opened, Cause::Stopping, Cause::Woken]);
}

#[test]
fn what_is_sealed_and_not_sent_has_not_drained() {
    // All of it is sealed at once.
    let limits = Limits { output_high: 20_000, output_low: 10_000, ..Limits::DEFAULT };
    let link = Link::with_layer(Tells(50_000), ToyCipher::default(), limits.into());
    let (mut wire, mut peer, mut told) = (Wire::over(link), Peer::default(), Vec::new());
    wire.set_room(30_000, &mut told);
    wire.feed(&peer.hello(), &mut told);
    assert_eq!(told, [Cause::Opened], "20,000 bytes are left");
    wire.set_room(11_000, &mut told);
    assert_eq!(told, [Cause::Opened, Cause::Drained]);
}

/// Answers each byte with a thousand, as a layer does that is asked for more than it was sent.
struct Talks;

impl Layer for Talks {
    fn open(
        &mut self,
        sealed: &mut Buffer,
        _plain: &mut Buffer,
        wire: &mut Output,
    ) -> Result<Opened, Box<dyn Error + Send + Sync>> {
        wire.append(&vec![b'x'; 1000 * sealed.len()]);
        sealed.clear();
        Ok(Opened::GoesOn)
    }

    fn seal(
        &mut self,
        plain: &[u8],
        wire: &mut Output,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        wire.append(plain);
        Ok(())
    }
}

#[test]
fn what_a_layer_says_by_itself_is_bounded_too() {
    let limits = Limits { output_max: 300_000, ..Limits::DEFAULT };
    let mut wire = Wire::over(Link::with_layer(Sends(0), Talks, limits.into()));
    wire.set_room(0, &mut ());
    wire.feed(&[0; 299], &mut ());
    assert!(wire.reason().is_none());
    wire.feed(&[0; 2], &mut ());
    assert_eq!(reason(wire), "limit reached: output_max: the peer does not read");
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

/// A toy that does not mind where its stream ends.
#[derive(Default)]
struct Lenient(ToyCipher);

impl Layer for Lenient {
    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    fn open(
        &mut self,
        sealed: &mut Buffer,
        plain: &mut Buffer,
        wire: &mut Output,
    ) -> Result<Opened, Box<dyn Error + Send + Sync>> {
        self.0.open(sealed, plain, wire)
    }

    fn seal(
        &mut self,
        plain: &[u8],
        wire: &mut Output,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.seal(plain, wire)
    }

    fn cut(&mut self, _rest: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

#[test]
fn a_layer_that_may_be_cut_may_not_be_cut_in_its_handshake() {
    let handshake = "refused: the peer ended the stream during the handshake";
    for (fed, expected) in [(&b"to"[..], handshake), (b"toy1", "peer closed")] {
        let session = Conversation::new(Lines::default(), Returns);
        let link = Link::with_layer(session, Lenient::default(), Limits::DEFAULT.into());
        let mut wire = Wire::over(link);
        wire.feed(fed, &mut Heard::new());
        wire.end_input(&mut Heard::new());
        assert_eq!(reason(wire), expected);
    }
}

#[test]
fn what_was_not_sealed_before_an_alert_is_lost_and_the_stream_does_not_end_in_order() {
    const SAID: usize = 1 << 20;
    let link = Link::with_layer(Sends(SAID), ToyCipher::default(), Limits::DEFAULT.into());
    let (mut wire, mut peer) = (Wire::over(link), Peer::default());
    wire.set_room(0, &mut ());
    wire.feed(&peer.hello(), &mut ());
    wire.feed(&[0xf0, 0], &mut ());
    wire.set_room(u64::MAX, &mut ());
    let sent = wire.take_sent();
    let (sealed, alert) = sent.split_at(sent.len() - 2);
    assert_eq!(alert, [0xff, 0xff]);
    let opened = peer.open(sealed).len();
    assert!((1..100_000).contains(&opened), "{opened} bytes were still sealed");
    assert!(!peer.has_ended && wire.is_shut_down());
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

#[test]
fn a_silent_connection_that_is_closed_says_so_in_the_layer() {
    let silent = |room: u64| {
        let link = Link::with_layer(Sends(100), ToyCipher::default(), Limits::DEFAULT.into());
        let (mut wire, mut peer) = (Wire::over(link), Peer::default());
        wire.set_room(room, &mut ());
        wire.feed(&peer.hello(), &mut ());
        wire.idle(&mut ());
        let said = peer.open(&wire.take_sent());
        assert!(matches!(wire.reason(), Some(Reason::Idle)), "{:?}", wire.reason());
        (said.len(), peer.has_ended)
    };
    assert_eq!(silent(u64::MAX), (100, true));
    // What was said is not all there, and a handshake that has not ended has nothing to end.
    assert_eq!(silent(60), (0, false));
    let hello = Peer::default().hello();
    let link = Link::with_layer(Sends(0), ToyCipher::default(), Limits::DEFAULT.into());
    let mut wire = Wire::over(link);
    wire.feed(&hello[..hello.len() - 1], &mut ());
    wire.idle(&mut ());
    let mut peer = Peer::default();
    peer.open(&wire.take_sent());
    assert!(!peer.has_ended);
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
            context.effects.start_layer(output);
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
                context.effects.start_layer(output);
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
        output: &mut Output,
        context: &mut Context<'_, Vec<u8>>,
    ) -> Result<Flow, Reason> {
        if self.has_started {
            context.app.extend_from_slice(input.filled());
            input.clear();
            return Ok(if context.input_ended { Flow::Close } else { Flow::Continue });
        }
        if context.input_ended {
            self.has_started = true;
            context.effects.start_layer(output);
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

#[test]
fn a_handshake_has_a_limit_of_time_which_ends_with_it() {
    let limits = Limits { handshake: Duration::from_secs(3), ..Limits::DEFAULT };
    let connect = || {
        let session = Conversation::new(Bytes, Returns);
        Wire::over(Link::with_layer(session, ToyCipher::default(), limits.into()))
    };
    // A peer that says nothing, or a part of what it has to say.
    for said in [&b""[..], b"to"] {
        let mut wire = connect();
        wire.feed(said, &mut Heard::new());
        wire.pass(Duration::from_millis(2_900), &mut Heard::new());
        assert!(wire.reason().is_none());
        wire.pass(Duration::from_millis(200), &mut Heard::new());
        let reason = wire.into_reason().expect("it is over");
        assert!(matches!(reason, Reason::Limit(text) if text.contains("handshake")), "{reason}");
    }
    // What the process itself has lost does not count.
    let mut wire = connect();
    wire.run(&mut Heard::new());
    wire.lose(Duration::from_secs(60));
    wire.pass(Duration::from_millis(2_900), &mut Heard::new());
    assert!(wire.reason().is_none(), "{:?}", wire.reason());
    wire.pass(Duration::from_millis(200), &mut Heard::new());
    assert!(wire.reason().is_some());
    // After it, there is no such limit.
    let (mut wire, mut peer) = (connect(), Peer::default());
    wire.run(&mut Heard::new());
    wire.feed(&peer.hello(), &mut Heard::new());
    wire.pass(Duration::from_secs(600), &mut Heard::new());
    assert!(wire.reason().is_none(), "{:?}", wire.reason());
}

/// Says `.0` in parts: the first `.1` bytes before the start of its layer, the others after it, in the
/// same call.
struct Splits(&'static [u8], usize);

impl Session for Splits {
    fn advance(
        &mut self,
        _input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Result<Flow, Reason> {
        if context.cause == Cause::Opened {
            let (before, after) = self.0.split_at(self.1);
            output.append(before);
            context.effects.start_layer(output);
            output.append(after);
        }
        Ok(Flow::Continue)
    }
}

#[test]
fn what_is_said_behind_the_start_of_a_layer_in_the_same_call_is_sealed() {
    let text = b"clear and secret";
    for split in 0..=text.len() {
        let (layer, limits) = (ToyCipher::default(), Limits::DEFAULT.into());
        let mut wire = Wire::over(Link::with_layer_later(Splits(text, split), layer, limits));
        let mut peer = Peer::default();
        wire.run(&mut ());
        let clear = wire.take_sent();
        assert_eq!(clear, [&text[..split], b"toy1"].concat(), "split at {split}");
        wire.feed(&peer.hello(), &mut ());
        let sealed = [&b"toy1"[..], &wire.take_sent()].concat();
        assert_eq!(peer.open(&sealed), &text[split..], "split at {split}");
    }
}

/// Starts its layer at the first line, and hands over.
struct HandsOver;

impl Session<Heard> for HandsOver {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Heard>,
    ) -> Result<Flow, Reason> {
        let Some(end) = input.filled().iter().position(|byte| *byte == b'\n') else {
            return Ok(Flow::Continue);
        };
        input.consume(end + 1);
        output.append(b"go\n");
        context.effects.start_layer(output);
        Ok(Flow::Upgrade)
    }
}

/// Greets, and returns what it hears.
struct Greets;

impl Session<Heard> for Greets {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Heard>,
    ) -> Result<Flow, Reason> {
        if context.cause == Cause::Opened {
            assert!(input.is_empty() && !context.input_ended);
            output.append(b"welcome ");
        }
        output.take_input(input);
        Ok(if context.input_ended { Flow::Close } else { Flow::Continue })
    }
}

#[test]
fn a_session_that_follows_the_start_of_a_layer_hears_and_says_nothing_in_the_clear() {
    let mut peer = Peer::default();
    let sealed = [peer.hello(), peer.seal(b"secret"), peer.end()].concat();
    let stream = [&b"start\n"[..], &sealed].concat();
    for split in 0..=stream.len() {
        let (layer, limits) = (ToyCipher::default(), Limits::DEFAULT.into());
        let session = Upgrade::new(HandsOver, |_| Greets);
        let mut wire = Wire::over(Link::with_layer_later(session, layer, limits));
        let (mut far, mut heard) = (Peer::default(), Heard::new());
        let (front, back) = stream.split_at(split);
        wire.feed(front, &mut heard);
        // The end of the wire comes with the rest, and ends nothing before it.
        wire.arrive(back, true);
        wire.run(&mut heard);
        let sent = wire.take_sent();
        assert_eq!(sent[..7], *b"go\ntoy1", "split at {split}");
        assert_eq!(far.open(&sent[3..]), b"welcome secret", "split at {split}");
        assert_eq!(reason(wire), "peer closed", "split at {split}");
    }
    let session = Upgrade::new(HandsOver, |_| Greets);
    let link = Link::with_layer_later(session, ToyCipher::default(), Limits::DEFAULT.into());
    let mut wire = Wire::over(link);
    wire.feed(b"start\ninjected", &mut Heard::new());
    wire.end_input(&mut Heard::new());
    let sent = wire.take_sent();
    assert!(!sent.windows(7).any(|it| it == b"welcome" || it == b"injecte"), "{sent:?}");
    assert!(reason(wire).contains("does not greet"));
}

#[test]
fn a_cut_is_no_end_of_a_layer() {
    struct Cuts(bool);
    impl Session for Cuts {
        fn advance(
            &mut self,
            _input: &mut Buffer,
            output: &mut Output,
            context: &mut Context<'_>,
        ) -> Result<Flow, Reason> {
            if context.cause == Cause::Opened {
                output.append(b"a part");
                context.effects.set_incomplete(self.0);
            }
            Ok(if context.cause == Cause::Woken { Flow::Close } else { Flow::Continue })
        }
    }
    for is_cut in [true, false] {
        let link = Link::with_layer(Cuts(is_cut), ToyCipher::default(), Limits::DEFAULT.into());
        let (mut wire, mut peer) = (Wire::over(link), Peer::default());
        wire.feed(&peer.hello(), &mut ());
        wire.wake(&mut ());
        assert_eq!(peer.open(&wire.take_sent()), b"a part");
        assert_eq!((peer.has_ended, wire.is_shut_down()), (!is_cut, !is_cut));
        assert_eq!((wire.is_cut(), wire.reason().is_some()), (is_cut, is_cut));
        // Nor does a silent connection say that this was all.
        let link = Link::with_layer(Cuts(is_cut), ToyCipher::default(), Limits::DEFAULT.into());
        let (mut wire, mut peer) = (Wire::over(link), Peer::default());
        wire.feed(&peer.hello(), &mut ());
        wire.idle(&mut ());
        assert_eq!(peer.open(&wire.take_sent()), b"a part");
        assert_eq!((peer.has_ended, wire.is_cut()), (!is_cut, is_cut));
    }
}
