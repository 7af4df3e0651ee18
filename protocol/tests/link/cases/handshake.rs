//! A link whose layer is not ready: it is there from the beginning, or the session starts it.

use super::case;
use crate::probe::Act::{Pause, Say, StartLayer, Timeout};
use crate::probe::Case;
use crate::probe::Event::{Cancel, End, Feed, Greet, Idle, Pass, Reset, Room, Run, Stop, Wake};
use protocol::Cause::{Drained, HungUp, Opened, Woken};

/// What the link sends first is four bytes, and each record of the layer has two before its bytes.
pub(crate) const HANDSHAKE: &[Case] = &[
    case("the layer greets first", &[(Opened, &[Say(9)])], &[Run], "", 4, "read"),
    case(
        "the session is told once it is ready",
        &[(Opened, &[Say(9)])],
        &[Run, Greet],
        "opened",
        4 + 2 + 9,
        "read",
    ),
    case(
        "what is no greeting is refused with an alert",
        &[],
        &[Run, Feed(3), Pass(1000)],
        "closed: refused: the peer does not greet as this layer does",
        4 + 2,
        "refused: the peer does not greet as this layer does",
    ),
    case(
        "the end of the stream before the greeting",
        &[],
        &[Run, End],
        "closed: refused: the stream was cut short, with 0 bytes that cannot be opened",
        4,
        "refused: the stream was cut short, with 0 bytes that cannot be opened",
    ),
    case("a wake waits for the greeting", &[], &[Run, Wake, Greet], "opened, woken", 4, "read"),
    case("a stop waits for the greeting", &[], &[Run, Stop, Greet], "opened, stopping", 4, "read"),
    case(
        "idle without a greeting",
        &[],
        &[Run, Idle],
        "closed: idle for too long",
        4,
        "idle for too long",
    ),
    case(
        "idle without a greeting in a loop that stops",
        &[],
        &[Run, Stop, Idle],
        "closed: stopped",
        4,
        "stopped",
    ),
    case(
        "a reset before the greeting",
        &[],
        &[Run, Reset],
        "closed: read: connection reset",
        4,
        "read: connection reset",
    ),
    case(
        "closed by another before the greeting",
        &[],
        &[Run, Cancel],
        "closed: cancelled",
        4,
        "cancelled",
    ),
];

pub(crate) const HANDSHAKE_LATER: &[Case] = &[
    case(
        "what a session says that has started its layer waits",
        &[(Opened, &[Say(3), StartLayer]), (Woken, &[Say(7)])],
        &[Run, Wake],
        "opened, woken",
        3 + 4,
        "read",
    ),
    case(
        "until the peer greets",
        &[(Opened, &[Say(3), StartLayer]), (Woken, &[Say(7)])],
        &[Run, Wake, Greet],
        "opened, woken",
        3 + 4 + 2 + 7,
        "read",
    ),
    case(
        "what was said in the clear drains before the greeting",
        &[(Opened, &[Say(50), StartLayer]), (Drained, &[Say(7)])],
        &[Room(0), Room(200)],
        "opened, drained",
        50 + 4,
        "read",
    ),
    case(
        "a timeout passes before the greeting",
        &[(Opened, &[StartLayer, Timeout(1, 50)])],
        &[Run, Pass(50)],
        "opened, timeout(1)",
        4,
        "read",
    ),
    case(
        "a stop is told before the greeting",
        &[(Opened, &[StartLayer])],
        &[Run, Stop],
        "opened, stopping",
        4,
        "read",
    ),
    case(
        "a session that pauses is told of a hang-up before the greeting",
        &[(Opened, &[StartLayer, Pause]), (HungUp, &[Pause])],
        &[Run, End],
        "opened, hungup",
        4,
        "",
    ),
    case(
        "and refuses the end once it reads",
        &[(Opened, &[StartLayer, Pause]), (HungUp, &[Pause])],
        &[Run, End, Wake],
        "opened, hungup, woken, closed: refused: the stream was cut short, with 0 bytes that \
         cannot be opened",
        4,
        "refused: the stream was cut short, with 0 bytes that cannot be opened",
    ),
];
