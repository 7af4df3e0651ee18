//! Which rows of the table a case plays: what happens, and how far the link is when it does.

use protocol::link::{Layer, Link};
use protocol::testing::Wire;

use crate::probe::{Event, Probe};

/// What happens to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happens {
    /// The session is told that the connection is open.
    Opened,
    /// The peer sends.
    Input,
    /// The peer ends its stream, and the link reads.
    InputEnd,
    /// The peer ends its stream, and the link does not read.
    HungUp,
    /// The output falls to its low mark.
    Drained,
    Woken,
    /// A timeout of the session passes.
    Timeout,
    Stopping,
    /// The idle limit passes.
    Idle,
    /// The time of the linger passes.
    Deadline,
    /// The peer resets the connection: reading fails.
    Reset,
    /// Another connection closes this one.
    Closed,
}

impl Happens {
    pub(crate) const ALL: [Self; 12] = [
        Self::Opened,
        Self::Input,
        Self::InputEnd,
        Self::HungUp,
        Self::Drained,
        Self::Woken,
        Self::Timeout,
        Self::Stopping,
        Self::Idle,
        Self::Deadline,
        Self::Reset,
        Self::Closed,
    ];
}

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The session was told nothing yet.
    Opening,
    /// The layer is not ready.
    Handshake,
    /// The session takes whatever comes, and may speak.
    Open,
    /// The session pauses, and its output is below the low mark.
    Paused,
    /// The session pauses, and its output has not fallen to the low mark.
    Full,
    /// The peer has ended its stream, and the session may still speak.
    PeerEnded,
    /// The session has ended its output.
    HalfClosed,
    /// The session has closed, and what it said is unsent.
    Closing,
    /// Everything was sent, and the peer has not ended its stream.
    Lingering,
}

impl State {
    pub(crate) const ALL: [Self; 9] = [
        Self::Opening,
        Self::Handshake,
        Self::Open,
        Self::Paused,
        Self::Full,
        Self::PeerEnded,
        Self::HalfClosed,
        Self::Closing,
        Self::Lingering,
    ];

    /// Returns how far a link is, `None` if it was closed.
    fn of<L: Layer>(wire: &Wire<Probe, L>) -> Option<Self> {
        let link = wire.link();
        let done = &link.session().done;
        let state = match () {
            () if wire.reason().is_some() => return None,
            () if link.is_lingering() => Self::Lingering,
            () if done.has_closed => Self::Closing,
            () if done.has_layer && !link.layer().is_ready() => Self::Handshake,
            () if !done.is_open => Self::Opening,
            () if done.has_ended_output => Self::HalfClosed,
            () if link.input_ended() => Self::PeerEnded,
            () if done.is_paused && is_above(link) => Self::Full,
            () if done.is_paused => Self::Paused,
            () => Self::Open,
        };
        Some(state)
    }
}

fn is_above<L: Layer>(link: &Link<Probe, L>) -> bool {
    link.unsent_kept() > link.limits().output_low
}

/// Lets `event` happen, and returns what that is, in which state. An event may be nothing of this.
pub(crate) fn observe<L: Layer>(
    wire: &mut Wire<Probe, L>,
    event: Event,
    happen: impl FnOnce(&mut Wire<Probe, L>),
) -> Vec<(Happens, State)> {
    let Some(state) = State::of(wire) else { return Vec::new() };
    let (link, before) = (wire.link(), wire.link().session().done);
    let (reads, was_above, deadline) = (link.reads(), is_above(link), link.deadline());
    happen(wire);
    let (link, after) = (wire.link(), wire.link().session().done);
    let is_ending = matches!(state, State::Closing | State::Lingering);
    let has_passed = deadline.is_some() && (deadline != link.deadline() || wire.reason().is_some());
    let passes = matches!(event, Event::Pass(_));
    let found = match event {
        Event::Feed(_) => Some(Happens::Input),
        Event::End if reads => Some(Happens::InputEnd),
        Event::End => Some(Happens::HungUp),
        // A session that is told so may have said more.
        Event::Room(_) if was_above && (before.drains < after.drains || !is_above(link)) => {
            Some(Happens::Drained)
        }
        Event::Wake => Some(Happens::Woken),
        Event::Stop => Some(Happens::Stopping),
        Event::Idle => Some(Happens::Idle),
        Event::Reset => Some(Happens::Reset),
        Event::Cancel => Some(Happens::Closed),
        _ => None,
    };
    [
        found,
        (!before.is_open && after.is_open).then_some(Happens::Opened),
        // A link that ends has removed those of its session, which is told of none.
        (passes && before.has_timeout && (is_ending || before.timeouts < after.timeouts))
            .then_some(Happens::Timeout),
        (passes && is_ending && has_passed).then_some(Happens::Deadline),
    ]
    .into_iter()
    .flatten()
    .map(|it| (it, state))
    .collect()
}
