//! A link that opens, one that is open, and one whose peer has ended its stream.

use super::case;
use crate::probe::Act::{Close, HandOver, Keep, Pause, Refuse, Say, StartLayer, Timeout};
use crate::probe::Case;
use crate::probe::Event::{
    Cancel, End, Feed, Idle, Pass, Reset, Room, Run, Stop, Unacknowledged, Wake,
};
use protocol::Cause::{Drained, Input, Opened, Stopping, Woken};

pub(crate) const OPENING: &[Case] = &[
    case("the session is told first that it is open", &[], &[Run], "opened", 0, "read"),
    case("input that came with it comes after", &[], &[Feed(3)], "opened, input 3", 0, "read"),
    case("a wake that came before comes after", &[], &[Wake], "opened, woken", 0, "read"),
    case("a stop that came before comes after", &[], &[Stop], "opened, stopping", 0, "read"),
    case("an end at once", &[], &[End], "opened, input 0 end", 0, ""),
    case("it may close at once", &[(Opened, &[Close])], &[Feed(3)], "opened", 0, "read shut"),
    case(
        "it may refuse at once, and what it said is sent",
        &[(Opened, &[Say(4), Refuse])],
        &[Run, End],
        "opened, closed: refused: nonsense",
        4,
        "refused: nonsense",
    ),
    case("it may greet", &[(Opened, &[Say(9)])], &[Run], "opened", 9, "read"),
    case("it may pause at once", &[(Opened, &[Pause])], &[Feed(3)], "opened", 0, "hang-up"),
    case(
        "idle before anything was said",
        &[],
        &[Run, Idle],
        "opened, closed: idle for too long",
        0,
        "idle for too long",
    ),
    case(
        "idle before it was told",
        &[],
        &[Idle],
        "closed: idle for too long",
        0,
        "idle for too long",
    ),
    case(
        "a reset before it was told",
        &[],
        &[Reset],
        "closed: read: connection reset",
        0,
        "read: connection reset",
    ),
    case(
        "closed by another before it was told",
        &[],
        &[Cancel],
        "closed: cancelled",
        0,
        "cancelled",
    ),
];

pub(crate) const OPEN: &[Case] = &[
    case("input by input", &[], &[Feed(1), Feed(2)], "opened, input 1, input 2", 0, "read"),
    case("a wake", &[], &[Run, Wake], "opened, woken", 0, "read"),
    case("two wakes, two calls", &[], &[Run, Wake, Wake], "opened, woken, woken", 0, "read"),
    case("a stop", &[], &[Run, Stop], "opened, stopping", 0, "read"),
    case(
        "a stop, then silence",
        &[],
        &[Run, Stop, Idle],
        "opened, stopping, closed: stopped",
        0,
        "stopped",
    ),
    case(
        "silence while a stop waits for output to be taken",
        &[(Opened, &[Say(50)])],
        &[Room(0), Stop, Idle, Idle, Idle],
        "opened, stopping",
        0,
        "read write",
    ),
    case(
        "a stop, and silence once the output was taken",
        &[(Opened, &[Say(50)])],
        &[Room(0), Stop, Idle, Room(99), Idle],
        "opened, stopping, drained, closed: stopped",
        50,
        "stopped",
    ),
    case("the end of the input", &[], &[Run, End], "opened, input 0 end", 0, ""),
    case(
        "the end of the input while it may still speak",
        &[(Woken, &[Say(7)])],
        &[End, Wake],
        "opened, input 0 end, woken",
        7,
        "",
    ),
    case(
        "an end is answered and closes in order",
        &[(Input, &[Say(5), Close])],
        &[End],
        "opened, input 0 end, closed: peer closed",
        5,
        "peer closed",
    ),
    case(
        "silence while output is being taken is none",
        &[(Opened, &[Say(50)])],
        &[Room(20), Unacknowledged(7), Idle],
        "opened",
        20,
        "read write",
    ),
    case(
        "silence while what was sent since is being taken is none either",
        &[(Opened, &[Say(50)])],
        &[Unacknowledged(20), Room(20), Room(99), Idle],
        "opened, drained",
        50,
        "read",
    ),
    case(
        "silence when the peer takes nothing",
        &[(Opened, &[Say(50)])],
        &[Unacknowledged(20), Room(20), Idle],
        "opened, closed: idle for too long",
        20,
        "idle for too long",
    ),
    case(
        "input that is never consumed is limited",
        &[(Input, &[Keep])],
        &[Feed(60_000), Feed(14_000), End],
        "opened, input 4096, input 8192, input 12288, input 16384, input 20480, input 24576, \
         input 28672, input 32768, input 36864, input 40960, input 45056, input 49152, \
         input 53248, input 57344, input 60000, input 64096, input 68192, input 72288, closed: limit reached: \
         message_size_max: the session does not consume its input",
        0,
        "limit reached: message_size_max: the session does not consume its input",
    ),
    case(
        "a session with no other after it cannot hand over",
        &[(Input, &[HandOver])],
        &[Feed(1), End],
        "opened, input 1, closed: refused: bug in the session: it hands over, and no other comes \
         after it",
        0,
        "refused: bug in the session: it hands over, and no other comes after it",
    ),
    case(
        "a link without a layer cannot start one",
        &[(Input, &[StartLayer])],
        &[Feed(1), End],
        "opened, input 1, closed: refused: bug in the session: it starts a layer, and the link has \
         none to start",
        0,
        "refused: bug in the session: it starts a layer, and the link has none to start",
    ),
    case(
        "a reset",
        &[],
        &[Run, Reset],
        "opened, closed: read: connection reset",
        0,
        "read: connection reset",
    ),
    case("closed by another", &[], &[Run, Cancel], "opened, closed: cancelled", 0, "cancelled"),
];

pub(crate) const PEER_ENDED: &[Case] = &[
    case(
        "a timeout of a session whose peer has ended",
        &[(Opened, &[Timeout(1, 50)])],
        &[End, Pass(50)],
        "opened, input 0 end, timeout(1)",
        0,
        "",
    ),
    case(
        "a stop of a session whose peer has ended",
        &[(Stopping, &[Say(7), Close])],
        &[End, Stop],
        "opened, input 0 end, stopping, closed: peer closed",
        7,
        "peer closed",
    ),
    case(
        "idle behind the end of the input",
        &[],
        &[End, Idle],
        "opened, input 0 end, closed: idle for too long",
        0,
        "idle for too long",
    ),
    case(
        "the silence of a loop that stops, behind the end of the input",
        &[],
        &[End, Stop, Idle],
        "opened, input 0 end, stopping, closed: stopped",
        0,
        "stopped",
    ),
    case(
        "a drain behind the end of the input",
        &[(Opened, &[Say(50)]), (Drained, &[Say(7), Close])],
        &[Room(0), End, Room(99)],
        "opened, input 0 end, drained, closed: peer closed",
        57,
        "peer closed",
    ),
    case(
        "a reset behind the end of the input",
        &[],
        &[End, Reset],
        "opened, input 0 end, closed: read: connection reset",
        0,
        "read: connection reset",
    ),
    case(
        "closed by another behind the end of the input",
        &[],
        &[End, Cancel],
        "opened, input 0 end, closed: cancelled",
        0,
        "cancelled",
    ),
];
