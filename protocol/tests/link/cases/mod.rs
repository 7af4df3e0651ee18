//! The table of cases, and the pairs of cause and state that there cannot be.

mod ending;
mod handshake;
mod open;
mod paused;
mod times;

use crate::probe::Act::{Close, EndOutput, Pause, Say};
use crate::probe::{Act, Case, Event};
use crate::rows::{Happens, State};
use protocol::Cause::{self, Drained, Input, Opened};

pub(crate) use ending::{CLOSING, HALF_CLOSED, LINGERING};
pub(crate) use handshake::{HANDSHAKE, HANDSHAKE_LATER};
pub(crate) use open::{OPEN, OPENING, PEER_ENDED};
pub(crate) use paused::{FULL, PAUSED};
pub(crate) use times::TIMES;

/// A row of the table.
const fn case(
    name: &'static str,
    acts: &'static [(Cause, &'static [Act])],
    events: &'static [Event],
    told: &'static str,
    sent: usize,
    ends: &'static str,
) -> Case {
    Case { name, acts, events, told, sent, ends }
}

const CLOSES: &[(Cause, &[Act])] = &[(Input, &[Say(5), Close])];
const PAUSES: &[(Cause, &[Act])] = &[(Input, &[Pause])];
const HALF: &[(Cause, &[Act])] = &[(Opened, &[Say(5), EndOutput])];
const FILLS: &[(Cause, &[Act])] = &[(Input, &[Say(150), Pause]), (Drained, &[])];
const LEAVES: &[(Cause, &[Act])] = &[(Opened, &[Say(50), Close])];

/// What cannot happen in a state, and why.
pub(crate) const IMPOSSIBLE: &[(Happens, &[State], &str)] = &[
    (
        Happens::Opened,
        &[
            State::Open,
            State::Paused,
            State::Full,
            State::PeerEnded,
            State::HalfClosed,
            State::Closing,
            State::Lingering,
        ],
        "the session is told once, before anything else",
    ),
    (Happens::Input, &[State::PeerEnded], "nothing comes behind the end of a stream"),
    (
        Happens::InputEnd,
        &[State::Paused, State::Full, State::Closing],
        "nothing is read: the end is known as a hang-up, or later",
    ),
    (Happens::InputEnd, &[State::PeerEnded], "a stream ends once"),
    (Happens::HungUp, &[State::PeerEnded], "a stream ends once"),
    (
        Happens::HungUp,
        &[State::Opening, State::Open, State::Lingering],
        "it reads: the end is known by reading",
    ),
    (Happens::Drained, &[State::Opening], "the session has said nothing"),
    (Happens::Drained, &[State::Paused], "its output is below the low mark: otherwise it is full"),
    (Happens::Drained, &[State::Lingering], "everything was sent"),
    (Happens::Timeout, &[State::Opening], "the session has set none"),
    (
        Happens::Deadline,
        &[
            State::Opening,
            State::Handshake,
            State::Open,
            State::Paused,
            State::Full,
            State::PeerEnded,
            State::HalfClosed,
        ],
        "the time of the linger begins when the session has closed",
    ),
];
