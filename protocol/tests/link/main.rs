//! The rules of a connection, without sockets and with a virtual clock: causes by states.

mod budgets;
mod cases;
mod driver;
mod effects;
mod endings;
mod files;
mod handover;
mod incomplete;
mod model;
mod probe;
mod property;
mod rests;
mod rows;
mod upgrade;

use std::collections::HashSet;

use cases::{
    CLOSING, FULL, HALF_CLOSED, HANDSHAKE, HANDSHAKE_LATER, IMPOSSIBLE, LINGERING, OPEN, OPENING,
    PAUSED, PEER_ENDED, TIMES,
};
use probe::{Case, Layered, play};
use rows::{Happens, State};

/// All cases, and where their links have a layer.
const TABLES: [(&[Case], Layered); 11] = [
    (OPENING, Layered::Nowhere),
    (HANDSHAKE, Layered::FromTheBeginning),
    (HANDSHAKE_LATER, Layered::Later),
    (OPEN, Layered::Nowhere),
    (PAUSED, Layered::Nowhere),
    (FULL, Layered::Nowhere),
    (PEER_ENDED, Layered::Nowhere),
    (HALF_CLOSED, Layered::Nowhere),
    (CLOSING, Layered::Nowhere),
    (LINGERING, Layered::Nowhere),
    (TIMES, Layered::Nowhere),
];

fn play_all(cases: &[Case]) {
    for case in cases {
        play(case, Layered::Nowhere);
    }
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
fn a_link_whose_peer_has_ended_its_stream() {
    play_all(PEER_ENDED);
}

#[test]
fn a_link_whose_layer_is_not_ready() {
    for case in HANDSHAKE {
        play(case, Layered::FromTheBeginning);
    }
    for case in HANDSHAKE_LATER {
        play(case, Layered::Later);
    }
}

#[test]
fn the_table_has_every_row() {
    let played: Vec<_> = TABLES
        .iter()
        .flat_map(|(cases, layered)| cases.iter().flat_map(|case| play(case, *layered)))
        .collect();
    let mut wrong = Vec::new();
    for cause in Happens::ALL {
        for state in State::ALL {
            let why = IMPOSSIBLE
                .iter()
                .find(|(other, states, _)| *other == cause && states.contains(&state))
                .map(|(.., why)| *why);
            match (played.contains(&(cause, state)), why) {
                (false, None) => wrong.push(format!("{cause:?}, {state:?}: no case")),
                (true, Some(why)) => wrong.push(format!("{cause:?}, {state:?}: played, but {why}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let names: HashSet<_> =
        TABLES.iter().flat_map(|(cases, _)| cases.iter().map(|it| it.name)).collect();
    assert_eq!(names.len(), TABLES.iter().map(|(cases, _)| cases.len()).sum::<usize>());
}
