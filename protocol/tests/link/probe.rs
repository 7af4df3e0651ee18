//! A session that notes what it is told and does what a case says, and the cases' language.

use std::sync::Arc;
use std::time::Duration;

use protocol::link::{IdleLimit, Layer, Link, Plain};
use protocol::testing::Wire;
use protocol::{Buffer, Cause, Context, Flow, Limits, Output, Reason, Session};

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
    pub(crate) acts: &'static [(Cause, &'static [Act])],
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
                Act::Timeout(key, after) => {
                    context.effects.set_timeout(key, Some(Duration::from_millis(after)));
                }
                Act::NoTimeout(key) => context.effects.set_timeout(key, None),
                Act::AllowSilence => context.effects.allow_silence(true),
                Act::StartLayer => context.effects.start_layer(),
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

/// Plays a case, and checks what follows.
pub(crate) fn play(case: &Case) {
    let Case { name, acts, events, .. } = case;
    let link: Link<Probe, Plain> = Link::new(Probe { acts }, limits());
    let (mut wire, mut told) = (Wire::over(link), Told::default());
    for event in *events {
        happen(&mut wire, &mut told, *event);
    }
    assert_eq!(told.0.join(", "), case.told, "{name}: what the session is told");
    assert_eq!(wire.take_sent().len(), case.sent, "{name}: bytes sent");
    assert_eq!(ends(&wire), case.ends, "{name}: what the link waits for");
}
