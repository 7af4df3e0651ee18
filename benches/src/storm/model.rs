//! What an operation does to a key, and which replies that allows: the part of Redis that histories
//! use.

use std::rc::Rc;

use protocol::resp::parse_integer;

use super::history::{Action, Expiry, Outcome, Rules};
use super::zone::{Range, Zone, time};

const MILLISECOND: i64 = 1_000_000;

/// What a key may be: its value, and whether it has a deadline, which the zone knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) value: Option<Rc<[u8]>>,
    pub(super) expires: bool,
}

impl State {
    pub(super) const ABSENT: Self = Self { value: None, expires: false };
}

/// The reply that an operation must have.
enum Reply {
    Exactly(Outcome),
    /// The time that is left, in milliseconds.
    TimeLeft,
}

/// What an operation does: its reply, the value, and the deadline.
type Effect = (Reply, Option<Rc<[u8]>>, Expiry);

/// Returns what may be after an operation within `window`: nothing if its outcome is impossible. An
/// operation without an outcome may have any.
pub(super) fn apply(
    action: &Action,
    outcome: Option<&Outcome>,
    window: Range,
    (state, zone): (&State, Zone),
    rules: &Rules,
) -> Vec<(State, Zone)> {
    let Some(zone) = zone.step(window) else { return Vec::new() };
    let tolerance = time(rules.tolerance);
    let mut cases = Vec::with_capacity(2);
    if !state.expires || is_blind(action) {
        cases.push((state.clone(), Some(zone)));
    } else {
        cases.push((state.clone(), zone.leaving(Range::from(1 - tolerance))));
        let ended = zone.leaving(Range::up_to(tolerance));
        cases.push((State::ABSENT, ended.map(Zone::unlimited)));
    }
    let next = |(state, zone): (State, Option<Zone>)| {
        let (reply, value, expiry) = effect(action, &state);
        let zone = accept(&reply, outcome, zone?, rules)?;
        let expires = match expiry {
            Expiry::Kept => state.expires,
            Expiry::Never => false,
            Expiry::In(_) | Expiry::At(_) => true,
        };
        Some((State { value, expires }, end(expiry, zone, rules)?))
    };
    cases.into_iter().filter_map(next).collect()
}

/// Returns whether the value and the expiry after an operation are the same, whatever they were.
pub(super) fn is_blind(action: &Action) -> bool {
    matches!(action, Action::Set { only_new: false, expiry, .. } if *expiry != Expiry::Kept)
}

/// Returns the zone in which the reply is what it was.
fn accept(reply: &Reply, outcome: Option<&Outcome>, zone: Zone, rules: &Rules) -> Option<Zone> {
    match (reply, outcome) {
        (_, None) => Some(zone),
        (Reply::Exactly(Outcome::Refused(_)), Some(Outcome::Refused(_))) => Some(zone),
        (Reply::Exactly(reply), Some(outcome)) => (reply == outcome).then_some(zone),
        (Reply::TimeLeft, Some(Outcome::Number(left @ 1..))) => {
            zone.leaving(around(left.saturating_mul(MILLISECOND), rules))
        }
        (Reply::TimeLeft, Some(_)) => None,
    }
}

/// Returns the times that may be left if a clock that counts in steps says `left`.
fn around(left: i64, rules: &Rules) -> Range {
    let (step, tolerance) = (time(rules.granularity.max(1)) - 1, time(rules.tolerance));
    Range::new(left - step - tolerance, left + tolerance)
}

/// Returns the zone with the deadline that an operation has set.
fn end(expiry: Expiry, zone: Zone, rules: &Rules) -> Option<Zone> {
    match expiry {
        Expiry::Kept => Some(zone),
        Expiry::Never => Some(zone.unlimited()),
        Expiry::In(left) => zone.ending_in(around(milliseconds(left, 0), rules)),
        Expiry::At(at) => zone.ending_at(milliseconds(at, rules.origin)),
    }
}

/// Returns a number of milliseconds in nanoseconds after `origin`.
fn milliseconds(count: u64, origin: u64) -> i64 {
    let nanoseconds = i128::from(count) * i128::from(MILLISECOND) - i128::from(origin);
    time(u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX))
}

fn effect(action: &Action, state: &State) -> Effect {
    let old = state.value.as_ref();
    let (is_there, kept) = (old.is_some(), old.cloned());
    let bytes = |value: Option<&Rc<[u8]>>| match value {
        Some(value) => Outcome::Bytes(value.to_vec()),
        None => Outcome::Nil,
    };
    let number = |number: i64| Reply::Exactly(Outcome::Number(number));
    let new = |value: &[u8]| Some(Rc::from(value));
    match action {
        Action::Get => (Reply::Exactly(bytes(old)), kept, Expiry::Kept),
        Action::Exists => (number(i64::from(is_there)), kept, Expiry::Kept),
        Action::TimeLeft if state.expires => (Reply::TimeLeft, kept, Expiry::Kept),
        Action::TimeLeft => (number(if is_there { -1 } else { -2 }), kept, Expiry::Kept),
        Action::Set { only_new: true, .. } if is_there => {
            (Reply::Exactly(Outcome::Nil), kept, Expiry::Kept)
        }
        Action::Set { value, expiry, .. } => (Reply::Exactly(Outcome::Done), new(value), *expiry),
        Action::GetSet(value) => (Reply::Exactly(bytes(old)), new(value), Expiry::Never),
        Action::GetDelete => (Reply::Exactly(bytes(old)), None, Expiry::Never),
        Action::Delete => (number(i64::from(is_there)), None, Expiry::Never),
        Action::Append(more) => {
            let value = [old.map_or(&[][..], |old| old), more].concat();
            (number(value.len() as i64), new(&value), Expiry::Kept)
        }
        Action::Add(amount) => match old.map_or(Some(0), |old| parse_integer(old)) {
            Some(old) if old.checked_add(*amount).is_some() => {
                let sum = old + amount;
                (number(sum), new(sum.to_string().as_bytes()), Expiry::Kept)
            }
            _ => (Reply::Exactly(Outcome::Refused(String::new())), kept, Expiry::Kept),
        },
        Action::ExpireIn(left) if is_there => (number(1), kept, Expiry::In(*left)),
        Action::ExpireAt(at) if is_there => (number(1), kept, Expiry::At(*at)),
        Action::ExpireIn(_) | Action::ExpireAt(_) => (number(0), None, Expiry::Never),
        Action::Persist => {
            let had = is_there && state.expires;
            (number(i64::from(had)), kept, Expiry::Never)
        }
    }
}
