//! The rules of a connection, without sockets and with a virtual clock: causes by states.

mod budgets;
mod driver;
mod effects;
mod endings;
mod files;
mod model;
mod probe;
mod property;
mod rests;
mod upgrade;

use probe::Act::{
    AllowSilence, Close, EndOutput, HandOver, Keep, NoTimeout, Pause, Refuse, Say, StartLayer,
    Timeout,
};
use probe::Event::{End, Feed, Idle, Lose, Pass, Room, Run, Stop, Unacknowledged, Wake};
use probe::{Act, Case, Event, play};
use protocol::Cause::{self, Drained, HungUp, Input, Opened, Stopping, Woken};

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

const OPENING: &[Case] = &[
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
];

const OPEN: &[Case] = &[
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
        &[Feed(60_000), Feed(10_000), End],
        "opened, input 4096, input 8192, input 12288, input 16384, input 20480, input 24576, \
         input 28672, input 32768, input 36864, input 40960, input 45056, input 49152, \
         input 53248, input 57344, input 60000, input 64096, input 68192, closed: limit reached: \
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
];

const PAUSED: &[Case] = &[
    case("nothing is read", PAUSES, &[Feed(3), Feed(9)], "opened, input 3", 0, "hang-up"),
    case(
        "a wake ends the pause",
        PAUSES,
        &[Feed(3), Feed(9), Wake],
        "opened, input 3, woken, input 9",
        0,
        "hang-up",
    ),
    case(
        "a wake that pauses again",
        &[(Input, &[Pause]), (Woken, &[Pause])],
        &[Feed(3), Feed(9), Wake],
        "opened, input 3, woken",
        0,
        "hang-up",
    ),
    case(
        "a timeout ends the pause",
        &[(Input, &[Pause, Timeout(1, 50)])],
        &[Feed(3), Feed(9), Pass(50)],
        "opened, input 3, timeout(1), input 9",
        0,
        "hang-up",
    ),
    case(
        "it may still speak",
        &[(Input, &[Pause]), (Woken, &[Say(4), Pause])],
        &[Feed(3), Wake],
        "opened, input 3, woken",
        4,
        "hang-up",
    ),
    case(
        "it is told once that its peer hung up",
        &[(Input, &[Pause]), (HungUp, &[Pause]), (Woken, &[Pause])],
        &[Feed(3), End, Wake, Run],
        "opened, input 3, hungup, woken",
        0,
        "",
    ),
    case(
        "it is not told of a hang-up behind input that it has not read",
        &[(Input, &[Pause]), (HungUp, &[Pause])],
        &[Feed(3), Feed(3), Run],
        "opened, input 3",
        0,
        "hang-up",
    ),
    case(
        "it may close when its peer hangs up",
        &[(Input, &[Pause]), (HungUp, &[Say(3), Close])],
        &[Feed(3), End],
        "opened, input 3, hungup, closed: finished",
        3,
        "finished",
    ),
    case(
        "a peer that has hung up may not be silent for ever",
        &[(Input, &[Pause, AllowSilence]), (HungUp, &[Pause, AllowSilence])],
        &[Feed(3), End],
        "opened, input 3, hungup",
        0,
        "",
    ),
    case(
        "a hang-up takes back that silence was allowed",
        &[(Input, &[Pause, AllowSilence]), (HungUp, &[Pause])],
        &[Feed(3), End],
        "opened, input 3, hungup",
        0,
        "",
    ),
    case(
        "silence may be allowed",
        &[(Input, &[Pause, AllowSilence])],
        &[Feed(3)],
        "opened, input 3",
        0,
        "hang-up silent",
    ),
    case(
        "idle",
        PAUSES,
        &[Feed(3), Idle],
        "opened, input 3, closed: idle for too long",
        0,
        "idle for too long",
    ),
    case(
        "a loop that stops waits for a session that pauses",
        &[(Input, &[Pause]), (Stopping, &[Pause])],
        &[Feed(3), Stop, Idle],
        "opened, input 3, stopping",
        0,
        "hang-up",
    ),
    case(
        "a stop may end the pause",
        PAUSES,
        &[Feed(3), Feed(2), Stop],
        "opened, input 3, stopping, input 2",
        0,
        "hang-up",
    ),
];

const FULL: &[Case] = &[
    case(
        "nothing is read until the output has drained",
        FILLS,
        &[Room(20), Feed(1), Feed(2)],
        "opened, input 1",
        20,
        "write hang-up",
    ),
    case(
        "above the low mark it is not told",
        FILLS,
        &[Room(139), Feed(1), Feed(2)],
        "opened, input 1",
        139,
        "write hang-up",
    ),
    case(
        "at the low mark it is",
        FILLS,
        &[Room(140), Feed(1), Feed(2)],
        "opened, input 1, drained, input 2",
        140,
        "write hang-up",
    ),
    case(
        "a session that goes on is read from however full its output is",
        &[(Input, &[Say(150)])],
        &[Room(0), Feed(1), Feed(2)],
        "opened, input 1, input 2",
        0,
        "read write",
    ),
    case(
        "unsent output is limited",
        &[(Input, &[Say(600)])],
        &[Room(0), Feed(1), Feed(1)],
        "opened, input 1, input 1, closed: limit reached: output_max: the peer does not read",
        0,
        "limit reached: output_max: the peer does not read",
    ),
    case(
        "output below the low mark never drains",
        &[(Input, &[Say(10)])],
        &[Room(0), Feed(1), Room(99)],
        "opened, input 1",
        10,
        "read",
    ),
    case(
        "output that came back above the mark drains again",
        &[(Input, &[Say(50), Pause]), (Woken, &[Say(50), Pause]), (Drained, &[Pause])],
        &[Feed(1), Wake],
        "opened, input 1, drained, woken, drained",
        100,
        "hang-up",
    ),
    case(
        "it may speak again when it has drained, until it has said all",
        &[(Opened, &[Say(50)]), (Drained, &[Say(5)])],
        &[Run],
        "opened, drained",
        55,
        "read",
    ),
    case(
        "a hang-up is told while the output is full",
        &[(Input, &[Say(150), Pause]), (HungUp, &[Pause])],
        &[Room(0), Feed(1), End],
        "opened, input 1, hungup",
        0,
        "write",
    ),
];

const HALF_CLOSED: &[Case] = &[
    case("the output ends once it is sent", HALF, &[Room(3)], "opened", 3, "read write"),
    case("and the input goes on", HALF, &[Run, Feed(2)], "opened, input 2", 5, "read shut"),
    case(
        "what is said after the end is dropped",
        &[(Opened, &[EndOutput]), (Woken, &[Say(9)])],
        &[Run, Wake],
        "opened, woken",
        0,
        "read shut",
    ),
    case(
        "and has drained, for a session that pauses since it is full",
        &[(Opened, &[EndOutput]), (Input, &[Say(150), Pause])],
        &[Run, Feed(1), Feed(2)],
        "opened, input 1, drained, input 2, drained",
        0,
        "read shut",
    ),
    case(
        "twice ended is ended",
        &[(Opened, &[EndOutput]), (Woken, &[EndOutput])],
        &[Run, Wake],
        "opened, woken",
        0,
        "read shut",
    ),
    case("both ends", HALF, &[Run, End], "opened, input 0 end", 5, "shut"),
    case(
        "a session that closes after its output has ended lingers at once",
        &[(Opened, &[EndOutput]), (Input, &[Close])],
        &[Run, Feed(1)],
        "opened, input 1",
        0,
        "read shut",
    ),
    case(
        "the peer ends first and gets every answer",
        &[(Input, &[Say(50)]), (Woken, &[Close])],
        &[Room(0), Feed(1), End, Room(200), Wake],
        "opened, input 1, input 0 end, drained, woken, closed: peer closed",
        100,
        "peer closed",
    ),
];

const CLOSING: &[Case] = &[
    case("what was said is sent first", LEAVES, &[Room(20)], "opened", 20, "write"),
    case("nothing more is told", LEAVES, &[Room(20), Wake, Feed(3), Stop], "opened", 20, "write"),
    case("then the peer is waited for", LEAVES, &[Room(99)], "opened", 50, "read shut"),
    case("until it ends", LEAVES, &[Run, End], "opened, closed: finished", 50, "finished"),
    case(
        "a peer that has ended is not waited for",
        CLOSES,
        &[End],
        "opened, input 0 end, closed: peer closed",
        5,
        "peer closed",
    ),
    case(
        "a peer that takes nothing has the linger's time",
        LEAVES,
        &[Room(20), Pass(999)],
        "opened",
        20,
        "write",
    ),
    case(
        "and no more",
        LEAVES,
        &[Unacknowledged(20), Room(20), Pass(1000)],
        "opened, closed: deadline passed",
        20,
        "deadline passed",
    ),
    case(
        "what it acknowledges is progress",
        LEAVES,
        &[Unacknowledged(20), Room(20), Unacknowledged(10), Pass(1999)],
        "opened",
        20,
        "write",
    ),
    case(
        "what it takes is progress",
        LEAVES,
        &[Unacknowledged(5), Room(20), Pass(900), Room(5), Pass(900)],
        "opened",
        25,
        "write",
    ),
    case(
        "the time that the loop has lost is made up",
        LEAVES,
        &[Unacknowledged(20), Room(20), Lose(800), Pass(999)],
        "opened",
        20,
        "write",
    ),
    case(
        "but once",
        LEAVES,
        &[Unacknowledged(20), Room(20), Lose(800), Pass(1000)],
        "opened, closed: deadline passed",
        20,
        "deadline passed",
    ),
    case(
        "idle in a closing link",
        LEAVES,
        &[Unacknowledged(20), Room(20), Idle],
        "opened, closed: idle for too long",
        20,
        "idle for too long",
    ),
    case(
        "idle in a loop that stops: the linger decides",
        LEAVES,
        &[Unacknowledged(20), Room(20), Stop, Idle],
        "opened",
        20,
        "write",
    ),
    case(
        "timeouts of the session are over",
        &[(Opened, &[Timeout(1, 10), Say(50), Close])],
        &[Room(20), Pass(900)],
        "opened",
        20,
        "write",
    ),
];

const LINGERING: &[Case] = &[
    case(
        "what the peer still sends is thrown away",
        LEAVES,
        &[Run, Feed(300)],
        "opened",
        50,
        "read shut",
    ),
    case(
        "up to a limit",
        LEAVES,
        &[Run, Feed(6000), Feed(1)],
        "opened, closed: finished",
        50,
        "finished",
    ),
    case("and not beyond it", LEAVES, &[Run, Feed(6000)], "opened", 50, "read shut"),
    case(
        "a link that said nothing lingers as long",
        &[(Opened, &[Close])],
        &[Run, Pass(1000)],
        "opened, closed: finished",
        0,
        "finished",
    ),
    case(
        "for the linger's time",
        LEAVES,
        &[Run, Pass(1000)],
        "opened, closed: finished",
        50,
        "finished",
    ),
    case(
        "which progress extends",
        LEAVES,
        &[Run, Unacknowledged(9), Pass(1999)],
        "opened",
        50,
        "read shut",
    ),
    case(
        "idle in a lingering link",
        LEAVES,
        &[Run, Idle],
        "opened, closed: finished",
        50,
        "finished",
    ),
    case("a wake is not heard", LEAVES, &[Run, Wake], "opened", 50, "read shut"),
    case(
        "a refusal is still the reason",
        &[(Input, &[Say(5), Refuse])],
        &[Feed(1), Pass(1000)],
        "opened, input 1, closed: refused: nonsense",
        5,
        "refused: nonsense",
    ),
];

const TIMES: &[Case] = &[
    case(
        "a timeout passes in time",
        &[(Opened, &[Timeout(7, 100)])],
        &[Run, Pass(100)],
        "opened, timeout(7)",
        0,
        "read",
    ),
    case("and not before", &[(Opened, &[Timeout(7, 100)])], &[Run, Pass(99)], "opened", 0, "read"),
    case(
        "and once",
        &[(Opened, &[Timeout(7, 100)])],
        &[Run, Pass(1000)],
        "opened, timeout(7)",
        0,
        "read",
    ),
    case(
        "those that pass together are told in order",
        &[(Opened, &[Timeout(1, 300), Timeout(2, 100), Timeout(3, 200)])],
        &[Run, Pass(300)],
        "opened, timeout(2), timeout(3), timeout(1)",
        0,
        "read",
    ),
    case(
        "the sooner of two comes alone",
        &[(Opened, &[Timeout(1, 300), Timeout(2, 100)])],
        &[Run, Pass(299)],
        "opened, timeout(2)",
        0,
        "read",
    ),
    case(
        "one that is set again is moved",
        &[(Opened, &[Timeout(1, 100), Timeout(1, 300)])],
        &[Run, Pass(299)],
        "opened",
        0,
        "read",
    ),
    case(
        "one that is removed does not pass",
        &[(Opened, &[Timeout(1, 100), NoTimeout(1)])],
        &[Run, Pass(300)],
        "opened",
        0,
        "read",
    ),
    case(
        "removing one leaves the others",
        &[(Opened, &[Timeout(1, 100), Timeout(2, 100), NoTimeout(1)])],
        &[Run, Pass(300)],
        "opened, timeout(2)",
        0,
        "read",
    ),
    case(
        "removing what was never set does nothing",
        &[(Opened, &[NoTimeout(1)])],
        &[Run, Pass(9)],
        "opened",
        0,
        "read",
    ),
    case(
        "a timeout may set itself again",
        &[(Opened, &[Timeout(1, 100)]), (Cause::Timeout(1), &[Timeout(1, 100)])],
        &[Run, Pass(350)],
        "opened, timeout(1), timeout(1), timeout(1)",
        0,
        "read",
    ),
    case(
        "a timeout may close",
        &[(Opened, &[Timeout(1, 9)]), (Cause::Timeout(1), &[Close])],
        &[Run, Pass(9)],
        "opened, timeout(1)",
        0,
        "read shut",
    ),
    case(
        "a timeout of zero passes at once",
        &[(Opened, &[Timeout(1, 0)])],
        &[Run, Pass(0)],
        "opened, timeout(1)",
        0,
        "read",
    ),
];

fn play_all(cases: &[Case]) {
    cases.iter().for_each(play);
}

#[test]
fn a_link_that_opens() {
    play_all(OPENING);
}

#[test]
fn an_open_link() {
    play_all(OPEN);
}

#[test]
fn a_link_whose_session_pauses() {
    play_all(PAUSED);
}

#[test]
fn a_link_whose_output_is_full() {
    play_all(FULL);
}

#[test]
fn a_link_whose_output_has_ended() {
    play_all(HALF_CLOSED);
}

#[test]
fn a_link_that_closes() {
    play_all(CLOSING);
}

#[test]
fn a_link_that_lingers() {
    play_all(LINGERING);
}

#[test]
fn timeouts_of_a_session() {
    play_all(TIMES);
}

#[test]
fn the_table_has_every_row() {
    let tables = [OPENING, OPEN, PAUSED, FULL, HALF_CLOSED, CLOSING, LINGERING, TIMES];
    let mut names: Vec<_> =
        tables.iter().flat_map(|cases| cases.iter().map(|it| it.name)).collect();
    assert!(names.len() >= 60, "{}", names.len());
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "two cases have one name");
}
