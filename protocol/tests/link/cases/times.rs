//! Timeouts of a session.

use super::case;
use crate::probe::Act::{Close, NoTimeout, Timeout};
use crate::probe::Case;
use crate::probe::Event::{Pass, Run};
use protocol::Cause::{self, Opened};

pub(crate) const TIMES: &[Case] = &[
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
