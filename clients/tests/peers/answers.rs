//! What sentinels and servers may say: any bytes are read as answers of RESP, and these and the bytes
//! themselves as everything that a sentinel or a server is asked for. The fuzz target `sentinel` does
//! the same.

use std::time::{Duration, Instant};

use clients::resp::Answer;
use clients::sentinel::{
    Claim, Election, Event, Hello, Place, Replication, Report, Role, Switch, View, parse_address,
};
use protocol::resp::{Client, Limits};
use protocol::{Codec, Decoded, Output};

/// What was valid.
#[derive(Debug, Default)]
pub(crate) struct Valid {
    pub(crate) reports: usize,
    pub(crate) addresses: usize,
    pub(crate) roles: usize,
    pub(crate) replications: usize,
    pub(crate) hellos: usize,
    pub(crate) switches: usize,
    pub(crate) events: usize,
}

impl Valid {
    /// Returns all counts.
    pub(crate) fn counts(&self) -> [usize; 7] {
        let Self { reports, addresses, roles, replications, hellos, switches, events } = *self;
        [reports, addresses, roles, replications, hellos, switches, events]
    }
}

/// Reads `bytes` in every way, and adds what is valid. Nothing may panic, and each place is parsed
/// again from what is shown of it.
pub(crate) fn check(bytes: &[u8], valid: &mut Valid) {
    let sentinel: Place = "127.0.0.1:26379".parse().expect("it is valid");
    let mut view = View::new(None, [sentinel.clone()]);
    for answer in answers(bytes) {
        check_answer(&answer, &sentinel, &mut view, valid);
    }
    let text = String::from_utf8_lossy(bytes);
    check_text(&text, &sentinel, &mut view, valid);
    for row in view.rows(Instant::now() + Duration::from_secs(1)) {
        assert!(row.status.down_for.len() <= view.sentinel_places().count(), "{row:?}");
    }
}

/// Returns the values in `bytes`, up to the first that is not valid.
fn answers(bytes: &[u8]) -> Vec<Answer> {
    let mut codec = Client::with_limits(Limits { elements_max: 1000, ..Limits::DEFAULT });
    let (mut rest, mut answers) = (bytes.to_vec(), Vec::new());
    while !rest.is_empty() {
        let consumed = match codec.decode(&mut rest, &mut Output::new()) {
            Ok(Decoded::Message { message, consumed }) => {
                answers.push(Answer::from(message));
                consumed
            }
            Ok(Decoded::Skip { consumed }) => consumed,
            Ok(Decoded::Incomplete { .. }) | Err(_) => break,
        };
        rest.drain(..consumed);
    }
    answers
}

fn check_answer(answer: &Answer, sentinel: &Place, view: &mut View, valid: &mut Valid) {
    if let Ok(Some(place)) = parse_address(answer) {
        valid.addresses += 1;
        check_place(&place);
        let mut election = Election::new(3, 2);
        for index in 0..3 {
            election.claim(index, Some(Claim { place: place.clone(), epoch: index as u64 }));
        }
        assert_eq!(election.candidate().map(|it| it.place), Some(place));
    }
    let one = Report::parse(answer).into_iter();
    let all = Report::parse_all(answer).unwrap_or_default();
    for reports in one.map(|it| vec![it]).chain([all]).filter(|all| !all.is_empty()) {
        valid.reports += 1;
        reports.iter().for_each(|it| check_place(&it.place));
        let master = reports[0].name.clone();
        view.masters(sentinel, reports.clone());
        view.replicas(sentinel, &master, reports.clone());
        view.sentinels(sentinel, &master, reports);
    }
    if let Ok(role) = Role::parse(answer) {
        valid.roles += 1;
        if let Role::Replica { master: Some(place), .. } = &role {
            check_place(place);
        }
        assert_eq!(role.is_master(), role.name() == "master");
    }
    if let Some(text) = answer.as_str() {
        check_text(text, sentinel, view, valid);
    }
}

fn check_text(text: &str, sentinel: &Place, view: &mut View, valid: &mut Valid) {
    if let Ok(replication) = Replication::parse(text) {
        valid.replications += 1;
        replication.replicas.iter().for_each(|it| check_place(&it.place));
        view.replication(sentinel, replication);
    }
    if let Ok(hello) = Hello::parse(text) {
        valid.hellos += 1;
        check_place(&hello.sentinel);
        check_place(&hello.master);
        view.hello(&hello, Instant::now());
    }
    if let Ok(switch) = Switch::parse(text) {
        valid.switches += 1;
        check_place(&switch.from);
        check_place(&switch.to);
    }
    if let Ok(event) = Event::parse("+sdown", text) {
        valid.events += 1;
        check_place(&event.place);
    }
}

fn check_place(place: &Place) {
    let shown = place.to_string();
    assert_eq!(shown.parse().as_ref(), Ok(place), "{place:?} is shown as {shown}");
}
