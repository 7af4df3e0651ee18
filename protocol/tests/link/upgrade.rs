//! Changing protocols: what each session of a chain gets, and which one is told what.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use protocol::codecs::{Bytes, Fixed, Lines};
use protocol::testing::{Wire, drive};
use protocol::{
    Buffer, Cause, Context, Conversation, Flow, Output, Reason, Reply, Service, Session, Upgrade,
};

/// What the sessions of a chain were told, in order.
type Told = Vec<String>;

/// Notes what it is told under its name, and answers what it hears in angle brackets. `!` ends its
/// part: the next session has what comes after it.
#[derive(Debug)]
struct Part(&'static str);

impl Session<Told> for Part {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Told>,
    ) -> Result<Flow, Reason> {
        let Part(name) = self;
        let heard = input.filled();
        let end = heard.iter().position(|byte| *byte == b'!');
        let heard = &heard[..end.unwrap_or(heard.len())];
        if context.cause != Cause::Input {
            context.app.push(format!("{name}: {:?}", context.cause).to_lowercase());
        }
        for byte in heard {
            output.append(&[name.as_bytes()[0], *byte]);
        }
        let (count, has_ended) = (heard.len(), context.input_ended);
        input.consume(count + usize::from(end.is_some()));
        if context.cause == Cause::Opened {
            context.effects.set_timeout(1, Some(Duration::from_secs(1)));
        }
        Ok(match end {
            Some(_) => Flow::Upgrade,
            None if has_ended => Flow::Close,
            None => Flow::Continue,
        })
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Told>) {
        let Part(name) = self;
        context.app.push(format!("{name}: closed: {reason}"));
    }
}

/// Three sessions, one after another.
fn chain() -> impl Session<Told> {
    let second = |_: Part| Upgrade::new(Part("b"), |_| Part("c"));
    Upgrade::new(Part("a"), second)
}

#[test]
fn each_session_gets_its_own_input_wherever_the_stream_is_split() {
    let input = b"12!345!67";
    for one in 0..=input.len() {
        for two in one..=input.len() {
            let pieces = [&input[..one], &input[one..two], &input[two..]];
            let (mut session, mut told) = (chain(), Told::new());
            let said = drive(&mut session, &mut told, &pieces).expect("it ends in order");
            assert_eq!(said, b"a1a2b3b4b5c6c7", "split at {one} and {two}");
            let expected = ["a: opened", "b: opened", "c: opened", "c: closed: peer closed"];
            assert_eq!(told, expected, "split at {one} and {two}");
        }
    }
}

#[test]
fn sessions_that_follow_at_once_are_all_opened() {
    let (mut wire, mut told) = (Wire::new(chain()), Told::new());
    wire.feed(b"!!", &mut told);
    assert_eq!(told, ["a: opened", "b: opened", "c: opened"]);
    assert_eq!(wire.take_sent(), b"");
    wire.feed(b"x", &mut told);
    assert_eq!(wire.take_sent(), b"cx");
}

#[test]
fn the_session_that_is_current_is_told_everything_and_alone() {
    let chain_of = [(&b""[..], "a"), (b"1!", "b"), (b"1!2!3", "c")];
    for (input, name) in chain_of {
        let (mut wire, mut told) = (Wire::new(chain()), Told::new());
        wire.feed(input, &mut told);
        told.clear();
        wire.wake(&mut told);
        wire.stop(&mut told);
        wire.pass(Duration::from_secs(1), &mut told);
        wire.idle(&mut told);
        let expected = ["woken", "stopping", "timeout(1)", "closed: stopped"]
            .map(|it| format!("{name}: {it}"));
        assert_eq!(told, expected);
    }
}

#[test]
fn the_end_of_the_input_ends_the_session_that_has_just_taken_over() {
    let (mut session, mut told) = (chain(), Told::new());
    let said = drive(&mut session, &mut told, &[b"1!2!"]).expect("it ends in order");
    assert_eq!(said, b"a1b2");
    assert_eq!(told.last().map(String::as_str), Some("c: closed: peer closed"));
}

#[test]
fn the_last_session_of_a_chain_cannot_hand_over() {
    let (mut session, mut told) = (chain(), Told::new());
    let reason = drive(&mut session, &mut told, &[b"!!3!"]).expect_err("it is refused");
    let text = "refused: bug in the session: it hands over, and no other comes after it";
    assert_eq!(reason.to_string(), text);
    assert_eq!(told.last(), Some(&format!("c: closed: {text}")));
}

#[test]
fn a_session_may_hand_over_for_any_cause_and_the_next_is_opened() {
    /// Hands over when it is told this.
    struct Until(Cause);
    impl Session<Told> for Until {
        fn advance(
            &mut self,
            _input: &mut Buffer,
            _output: &mut Output,
            context: &mut Context<'_, Told>,
        ) -> Result<Flow, Reason> {
            context.effects.set_timeout(7, Some(Duration::from_secs(1)));
            Ok(if context.cause == self.0 { Flow::Upgrade } else { Flow::Continue })
        }
    }
    for cause in [Cause::Opened, Cause::Woken, Cause::Stopping, Cause::Timeout(7), Cause::Input] {
        let mut wire = Wire::new(Upgrade::new(Until(cause), |_| Part("b")));
        let mut told = Told::new();
        match cause {
            Cause::Woken => wire.wake(&mut told),
            Cause::Stopping => wire.stop(&mut told),
            Cause::Timeout(_) => {
                wire.run(&mut told);
                wire.pass(Duration::from_secs(1), &mut told);
            }
            Cause::Input => wire.feed(b"x", &mut told),
            _ => wire.run(&mut told),
        }
        assert_eq!(told, ["b: opened"], "{cause:?}");
        let heard: &[u8] = if cause == Cause::Input { b"bx" } else { b"" };
        assert_eq!(wire.take_sent(), heard, "{cause:?}");
    }
}

#[test]
fn a_panic_between_two_sessions_is_told_to_neither() {
    /// What the first session becomes, and does not.
    fn fails(_: Part) -> Part {
        panic!("the next session cannot be made")
    }
    let mut wire = Wire::new(Upgrade::new(Part("a"), fails));
    let mut told = Told::new();
    let result = catch_unwind(AssertUnwindSafe(|| wire.feed(b"!", &mut told)));
    assert!(result.is_err(), "the panic goes on to the driver");
    wire.wake(&mut told);
    wire.end_input(&mut told);
    assert_eq!(told, ["a: opened"]);
    assert!(wire.reason().is_some());
}

/// Answers each message with itself, and hands over after one that says so.
struct Echo;

impl Service<Lines> for Echo {
    fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
        reply.send(line);
        if line == b"fixed" { Flow::Upgrade } else { Flow::Continue }
    }
}

impl Service<Fixed> for Echo {
    fn call(&mut self, it: &mut [u8], reply: &mut Reply<'_, Fixed>, _: &mut Context<'_>) -> Flow {
        reply.send(it);
        if it == b"raw!" { Flow::Upgrade } else { Flow::Continue }
    }
}

impl Service<Bytes> for Echo {
    fn call(&mut self, it: &mut [u8], reply: &mut Reply<'_, Bytes>, _: &mut Context<'_>) -> Flow {
        it.make_ascii_uppercase();
        reply.send(it);
        Flow::Continue
    }
}

#[test]
fn codecs_follow_one_another_wherever_the_stream_is_split() {
    const FOUR: NonZeroUsize = NonZeroUsize::new(4).expect("it is not zero");
    let input = b"one\nfixed\nonlyraw!the rest\n";
    let expected = b"one\nfixed\nonlyraw!THE REST\n";
    let make = || {
        Upgrade::new(Conversation::new(Lines::default(), Echo), |lines| {
            let (_, echo) = lines.into_parts();
            Upgrade::new(Conversation::new(Fixed::new(FOUR), echo), |fixed| {
                let (_, echo) = fixed.into_parts();
                Conversation::new(Bytes, echo)
            })
        })
    };
    for split in 0..=input.len() {
        let (front, back) = input.split_at(split);
        let said = drive(&mut make(), &mut (), &[front, back]).expect("it ends in order");
        assert_eq!(said, expected, "split at byte {split}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(drive(&mut make(), &mut (), &bytes).expect("it ends in order"), expected);
}
