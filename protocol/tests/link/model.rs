//! A property: whatever the splits, marks, causes and ends, a link does what a simple model says.

use protocol::link::Link;
use protocol::testing::{Random, Wire};
use protocol::{Buffer, Cause, Context, Flow, Limits, Output, Reason, Session};

/// How many connections are played.
const ROUNDS: u64 = 400;

/// What the session has seen and done, for the model to judge.
#[derive(Debug, Default)]
struct Seen {
    calls: Vec<Cause>,
    /// All input, and all output, in order.
    heard: Vec<u8>,
    said: Vec<u8>,
    /// What it wants, and whether it has ended its own part.
    flow: Option<Flow>,
    is_done: bool,
    ended_output: bool,
    closes: u32,
    /// Something that must never happen.
    wrong: Option<String>,
    random: Option<Random>,
}

/// Hears some of its input, answers it, and pauses, ends or closes as chance has it.
struct Chance;

impl Session<Seen> for Chance {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Seen>,
    ) -> Result<Flow, Reason> {
        let (cause, limits) = (context.cause, context.limits);
        let Seen { calls, heard, said, flow, is_done, ended_output, closes, wrong, random } =
            &mut *context.app;
        let Some(random) = random else { return Ok(Flow::Continue) };
        if calls.is_empty() != (cause == Cause::Opened) {
            wrong.get_or_insert(format!("{cause:?} after {calls:?}"));
        }
        if *is_done || *closes > 0 {
            wrong.get_or_insert(format!("{cause:?} after the end"));
        }
        if cause == Cause::Input && *flow == Some(Flow::Pause) {
            wrong.get_or_insert("input while the session pauses".to_owned());
        }
        if cause == Cause::Drained && output.len() > limits.output_low {
            wrong.get_or_insert(format!("drained, and {} bytes wait", output.len()));
        }
        calls.push(cause);
        let count = random.index(input.len() + 1);
        heard.extend_from_slice(&input.filled()[..count]);
        if !*ended_output {
            output.append(&input.filled()[..count]);
            said.extend_from_slice(&input.filled()[..count]);
        }
        input.consume(count);
        if random.one_in(20) && !*ended_output {
            *ended_output = true;
            context.effects.end_output();
        }
        let wanted = match () {
            () if context.input_ended && input.is_empty() && random.one_in(2) => Flow::Close,
            () if random.one_in(100) => Flow::Close,
            () if random.one_in(10) || output.len() >= limits.output_high => Flow::Pause,
            () => Flow::Continue,
        };
        *is_done = wanted == Flow::Close;
        *flow = Some(wanted);
        Ok(wanted)
    }

    fn closed(&mut self, _reason: &Reason, context: &mut Context<'_, Seen>) {
        context.app.closes += 1;
    }
}

/// Plays one connection. Returns how it ended, if it did.
fn play(seed: u64) -> Option<String> {
    let mut random = Random::new(seed);
    let low = 1 + random.below(2000);
    let high = low + 1 + random.below(4000);
    let limits = Limits {
        output_low: low,
        output_high: high,
        output_max: 1 << 20,
        read_budget: 1 + random.index(20_000),
        ..Limits::DEFAULT
    };
    let mut seen = Seen { random: Some(Random::new(seed + 1_000_000)), ..Seen::default() };
    let mut wire = Wire::over(Link::new(Chance, limits.shared().expect("they are in order")));
    let (mut fed, mut sent) = (Vec::new(), Vec::new());
    for step in 0..40 {
        match random.below(8) {
            0..4 => {
                let piece: Vec<u8> = (0..random.index(6000)).map(|it| (it + step) as u8).collect();
                fed.extend_from_slice(&piece);
                wire.feed(&piece, &mut seen);
            }
            4 => wire.set_room(random.below(5000), &mut seen),
            5 => wire.set_room(u64::MAX, &mut seen),
            6 => wire.wake(&mut seen),
            _ if random.one_in(10) => wire.end_input(&mut seen),
            _ => wire.run(&mut seen),
        }
        sent.extend(wire.take_sent());
        judge(seed, &mut wire, &seen, &sent, &fed);
        // No more than the mark, and what one call answers, is unsent while the session pauses.
        let unsent = wire.unsent();
        assert!(unsent <= high + 70_000, "{seed}: {unsent} bytes unsent");
    }
    // In the end, the peer takes everything and ends.
    wire.end_input(&mut seen);
    for _ in 0..200 {
        if wire.reason().is_some() {
            break;
        }
        wire.set_room(u64::MAX, &mut seen);
        wire.wake(&mut seen);
    }
    sent.extend(wire.take_sent());
    judge(seed, &mut wire, &seen, &sent, &fed);
    if let Some(reason) = wire.reason() {
        assert_eq!(seen.closes, 1, "{seed}: told its end once");
        assert!(reason.is_orderly(), "{seed}: {reason}");
        assert_eq!(sent, seen.said, "{seed}: everything that was said was sent");
    }
    wire.reason().map(ToString::to_string)
}

fn judge(seed: u64, wire: &mut Wire<Chance>, seen: &Seen, sent: &[u8], fed: &[u8]) {
    assert_eq!(seen.wrong, None, "{seed}");
    assert!(seen.said.starts_with(sent), "{seed}: sent what was not said, or in another order");
    assert!(
        fed.iter().zip(&seen.heard).all(|(fed, heard)| fed == heard),
        "{seed}: heard otherwise"
    );
    assert!(seen.heard.len() <= fed.len(), "{seed}: heard more than was fed");
    let wait = wire.wait();
    if wire.reason().is_none() && seen.flow == Some(Flow::Pause) && !seen.is_done {
        assert!(!wait.read, "{seed}: reads while the session pauses");
    }
    let flushed = sent.len() == seen.said.len();
    if wire.reason().is_none() {
        assert_eq!(wait.is_unsent, !flushed, "{seed}: unsent");
        assert!(wait.write || flushed, "{seed}: does not wait to write what is unsent");
        assert!(!wire.is_shut_down() || flushed, "{seed}: shut down with output unsent");
    }
}

#[test]
fn a_link_does_what_its_model_says() {
    let ends = (0..ROUNDS).filter_map(play).count() as u64;
    // Nearly all come to an end: chance closes them.
    assert!(ends > ROUNDS * 9 / 10, "{ends} of {ROUNDS} ended");
}
