//! A session that notes what it is told and does what a case says, and the cases' language.

use std::sync::Arc;
use std::time::Duration;

use protocol::link::{IdleLimit, Layer, Link};
use protocol::testing::{ToyCipher, Wire};
use protocol::{Buffer, Cause, Context, Flow, Limits, Output, Reason, Session};

use crate::rows::{Happens, State, observe};

/// What the session does when it is told something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Appends so many bytes to the output.
    Say(usize),
    /// Leaves its input where it is.
    Keep,
    Pause,
    Close,
    Refuse,
    HandOver,
    EndOutput,
    Incomplete(bool),
    Timeout(u8, u64),
    NoTimeout(u8),
    AllowSilence,
    StartLayer,
}

/// What happens to the connection. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Run,
    Feed(usize),
    End,
    Wake,
    Stop,
    Room(u64),
    Pass(u64),
    Lose(u64),
    Idle,
    Unacknowledged(u32),
    /// The peer greets as the layer does.
    Greet,
    /// The peer resets the connection.
    Reset,
    /// Another connection closes this one.
    Cancel,
}

/// One case: what happens, and what follows from it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) acts: &'static [(Cause, &'static [Act])],
    pub(crate) events: &'static [Event],
    /// What the session is told, in order.
    pub(crate) told: &'static str,
    /// How many bytes the peer gets.
    pub(crate) sent: usize,
    /// What the link waits for in the end, or why it closed.
    pub(crate) ends: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Told(pub(crate) Vec<String>);

/// Does what its case says.
pub(crate) struct Probe {
    acts: &'static [(Cause, &'static [Act])],
    pub(crate) done: Done,
}

/// What a session has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) is_open: bool,
    pub(crate) is_paused: bool,
    pub(crate) has_closed: bool,
    pub(crate) has_ended_output: bool,
    pub(crate) has_timeout: bool,
    pub(crate) has_layer: bool,
    /// How many timeouts and drains it was told of.
    pub(crate) timeouts: usize,
    pub(crate) drains: usize,
}

impl Probe {
    pub(crate) fn new(acts: &'static [(Cause, &'static [Act])]) -> Self {
        Self { acts, done: Done::default() }
    }

    fn note(&mut self, acts: &[Act], cause: Cause) {
        let done = &mut self.done;
        done.is_open = true;
        done.is_paused = acts.contains(&Act::Pause);
        done.timeouts += usize::from(matches!(cause, Cause::Timeout(_)));
        done.drains += usize::from(cause == Cause::Drained);
        for act in acts {
            match act {
                Act::Close | Act::Refuse | Act::HandOver => done.has_closed = true,
                Act::EndOutput => done.has_ended_output = true,
                Act::Timeout(..) => done.has_timeout = true,
                Act::StartLayer => done.has_layer = true,
                _ => {}
            }
        }
    }
}

impl Session<Told> for Probe {
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, Told>,
    ) -> Result<Flow, Reason> {
        let end = if context.input_ended { " end" } else { "" };
        let told = match context.cause {
            Cause::Input => format!("input {}{end}", input.len()),
            other => format!("{other:?}").to_lowercase(),
        };
        context.app.0.push(told);
        let acts = self.acts.iter().find(|(cause, _)| *cause == context.cause);
        let acts = acts.map_or(&[][..], |(_, acts)| acts);
        self.note(acts, context.cause);
        if !acts.contains(&Act::Keep) {
            input.clear();
        }
        let mut flow = Ok(Flow::Continue);
        for act in acts {
            match *act {
                Act::Say(count) => output.append(&vec![b'x'; count]),
                Act::Keep => {}
                Act::Pause => flow = Ok(Flow::Pause),
                Act::Close => flow = Ok(Flow::Close),
                Act::HandOver => flow = Ok(Flow::Upgrade),
                Act::Refuse => flow = Err(Reason::refused("nonsense")),
                Act::EndOutput => context.effects.end_output(),
                Act::Incomplete(is_so) => context.effects.set_incomplete(is_so),
                Act::Timeout(key, after) => {
                    context.effects.set_timeout(key, Some(Duration::from_millis(after)));
                }
                Act::NoTimeout(key) => context.effects.set_timeout(key, None),
                Act::AllowSilence => context.effects.allow_silence(true),
                Act::StartLayer => context.effects.start_layer(output),
            }
        }
        flow
    }

    fn closed(&mut self, reason: &Reason, context: &mut Context<'_, Told>) {
        context.app.0.push(format!("closed: {reason}"));
    }
}

/// Small limits, so that cases need few bytes.
pub(crate) fn limits() -> Arc<Limits> {
    let limits = Limits {
        message_size_max: 1000,
        output_high: 100,
        output_low: 10,
        output_max: 1000,
        read_budget: 5000,
        stopping_quiet: Duration::from_millis(500),
        handshake: Duration::from_millis(2000),
        linger: Duration::from_millis(1000),
        linger_bytes_max: 6000,
    };
    limits.shared().expect("they are in order")
}

pub(crate) fn happen<S: Session<A>, L: Layer, A>(wire: &mut Wire<S, L>, app: &mut A, event: Event) {
    match event {
        Event::Run => wire.run(app),
        Event::Feed(count) => wire.feed(&vec![b'i'; count], app),
        Event::End => wire.end_input(app),
        Event::Wake => wire.wake(app),
        Event::Stop => wire.stop(app),
        Event::Room(count) => wire.set_room(count, app),
        Event::Pass(time) => wire.pass(Duration::from_millis(time), app),
        Event::Lose(time) => wire.lose(Duration::from_millis(time)),
        Event::Idle => drop(wire.idle(app)),
        Event::Unacknowledged(count) => wire.set_unacknowledged(count),
        Event::Greet => wire.feed(b"toy1", app),
        Event::Reset => wire.reset(app),
        Event::Cancel => wire.close(Reason::Cancelled, app),
    }
}

/// What the link waits for, or why it closed.
pub(crate) fn ends<S, L: Layer>(wire: &Wire<S, L>) -> String {
    if let Some(reason) = wire.reason() {
        return reason.to_string();
    }
    let wait = wire.wait();
    let mut words = Vec::new();
    for (is_so, word) in [
        (wait.read, "read"),
        (wait.write, "write"),
        (wait.hang_up, "hang-up"),
        (wire.is_shut_down(), "shut"),
        (wire.idle_limit() == IdleLimit::Never, "silent"),
    ] {
        if is_so {
            words.push(word);
        }
    }
    words.join(" ")
}

/// Where the layer of a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layered {
    Nowhere,
    FromTheBeginning,
    /// The session starts it.
    Later,
}

/// Plays a case, and checks what follows. Returns the rows of the table that it plays.
pub(crate) fn play(case: &Case, layered: Layered) -> Vec<(Happens, State)> {
    let mut probe = Probe::new(case.acts);
    probe.done.has_layer = layered == Layered::FromTheBeginning;
    let (layer, limits) = (ToyCipher::default(), limits());
    match layered {
        Layered::Nowhere => play_over(case, Link::new(probe, limits)),
        Layered::FromTheBeginning => play_over(case, Link::with_layer(probe, layer, limits)),
        Layered::Later => play_over(case, Link::with_layer_later(probe, layer, limits)),
    }
}

fn play_over<L: Layer>(case: &Case, link: Link<Probe, L>) -> Vec<(Happens, State)> {
    let Case { name, events, .. } = case;
    let (mut wire, mut told) = (Wire::over(link), Told::default());
    let rows = events
        .iter()
        .flat_map(|event| observe(&mut wire, *event, |wire| happen(wire, &mut told, *event)))
        .collect();
    assert_eq!(told.0.join(", "), case.told, "{name}: what the session is told");
    assert_eq!(wire.take_sent().len(), case.sent, "{name}: bytes sent");
    assert_eq!(ends(&wire), case.ends, "{name}: what the link waits for");
    rows
}
