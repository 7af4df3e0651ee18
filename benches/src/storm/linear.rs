//! The search for an order of the operations of one key.
//!
//! Wing and Gong's search (1993), as Lowe describes it (2017, "just in time" with memory): the
//! history is followed from event to event, with all configurations that are possible so far. A
//! configuration is the state of the key and which of the pending operations have taken effect. An
//! operation takes effect when a reply needs it: when it returns, each configuration in which it has
//! not taken effect is continued with every order of pending operations that ends with it. If none
//! is left, no order explains the history up to there.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fmt;
use std::hash::BuildHasherDefault;

use super::history::{Action, Failure, Operation, Rules};
use super::model::{self, State};
use super::zone::{Range, Zone, time};
use super::{quoted, seconds, smaller};

/// Operations of a counter-example that are shown, the last ones.
const SHOWN: usize = 60;
/// Possible states that are shown.
const STATES_SHOWN: usize = 8;

/// The operations of one key that no order explains.
#[derive(Clone, Debug)]
pub struct CounterExample {
    /// The key.
    pub key: Vec<u8>,
    /// The operations whose requests came before the reply that cannot be explained, without those
    /// that do not matter.
    pub operations: Vec<Operation>,
    /// Which of them has that reply.
    pub last: usize,
    /// How many operations on the key were requested before that reply.
    pub prefix: usize,
    /// What the key could be before that operation took effect.
    pub states: Vec<String>,
}

impl fmt::Display for CounterExample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, count) = (quoted(&self.key), self.operations.len());
        writeln!(
            f,
            "key {key}: no order explains these {count} operations of the {}:",
            self.prefix
        )?;
        if count > SHOWN {
            writeln!(f, "  ... {} operations before", count - SHOWN)?;
        }
        for (number, operation) in self.operations.iter().enumerate() {
            if number == self.last {
                writeln!(f, "> {operation}")?;
            } else if number + SHOWN >= count {
                writeln!(f, "  {operation}")?;
            }
        }
        write!(f, "  before the marked reply, the key could be {}", self.states.join(", or "))
    }
}

/// A configuration: the state, and the operations that have taken effect before their return.
#[derive(Clone, Debug)]
struct Configuration {
    state: State,
    zone: Zone,
    /// Those that return later or matter later, in ascending order.
    early: Vec<u32>,
    /// Those that never return and after which their client asks for nothing, in ascending order.
    lost: Vec<u32>,
    /// How many of those the current step has used.
    used: usize,
}

/// What makes two configurations comparable.
type Class = (State, Vec<u32>);

/// What decides which of those includes the other: the lost operations and the zone.
type Rival = (Vec<u32>, Zone);

/// Configurations without those that others include.
///
/// One includes another if it allows more times and has used fewer lost operations, which it may
/// still use.
#[derive(Default)]
struct Configurations {
    /// Hashed without random keys, so that a check can be repeated.
    classes: HashMap<Class, Vec<Rival>, BuildHasherDefault<DefaultHasher>>,
    len: usize,
}

impl Configurations {
    /// Adds a configuration. Returns whether it was not included in another.
    fn add(&mut self, new: &Configuration) -> bool {
        let class = (new.state.clone(), new.early.clone());
        let others = match self.classes.entry(class) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => place.insert(Vec::new()),
        };
        if others.iter().any(|(lost, zone)| is_subset(lost, &new.lost) && zone.includes(new.zone)) {
            return false;
        }
        let before = others.len();
        others.retain(|(lost, zone)| !(is_subset(&new.lost, lost) && new.zone.includes(*zone)));
        others.push((new.lost.clone(), new.zone));
        self.len = self.len + others.len() - before;
        true
    }

    fn into_vec(self) -> Vec<Configuration> {
        let mut all = Vec::with_capacity(self.len);
        for ((state, early), others) in self.classes {
            all.extend(others.into_iter().map(|(lost, zone)| Configuration {
                state: state.clone(),
                zone,
                early: early.clone(),
                lost,
                used: 0,
            }));
        }
        all
    }
}

/// Returns whether all numbers of `few` are in `many`. Both are in ascending order.
fn is_subset(few: &[u32], many: &[u32]) -> bool {
    few.len() <= many.len() && few.iter().all(|number| many.binary_search(number).is_ok())
}

fn insert(numbers: &mut Vec<u32>, number: u32) {
    if let Err(place) = numbers.binary_search(&number) {
        numbers.insert(place, number);
    }
}

/// What is known about an operation from the whole history.
struct Plan {
    window: Range,
    /// Operations that have to take effect before: the previous one of the client, and a lost one
    /// that does the same and was requested earlier, so that it may stand for this one.
    after: Vec<u32>,
    /// Whether it never returns and its client asks for nothing after it.
    is_last_lost: bool,
}

/// Returns the plan of each operation.
fn plan(operations: &[&Operation]) -> Result<Vec<Plan>, Failure> {
    let mut last: HashMap<u64, u32> = HashMap::new();
    let mut plans: Vec<Plan> = Vec::with_capacity(operations.len());
    for (operation, number) in operations.iter().zip(0..) {
        let returned = operation.returned.as_ref().map(|(at, _)| *at);
        let malformed =
            |reason| Failure::Malformed { operation: Box::new((*operation).clone()), reason };
        if returned.is_some_and(|at| at < operation.invoked) {
            return Err(malformed("it returns before it is requested"));
        }
        let previous = last.insert(operation.client, number);
        if let Some(previous) = previous {
            let before = operations[previous as usize];
            plans[previous as usize].is_last_lost = false;
            let is_back = match (&before.returned, returned) {
                (None, Some(_)) => return Err(malformed("its client had lost its connection")),
                (Some((before, _)), Some(at)) => at < *before,
                _ => false,
            };
            if is_back || operation.invoked < before.invoked {
                return Err(malformed("it overtakes another of its client"));
            }
        }
        plans.push(Plan {
            window: Range::new(time(operation.invoked), returned.map_or(i64::MAX, time)),
            after: previous.into_iter().collect(),
            is_last_lost: returned.is_none(),
        });
    }
    pair_twins(operations, &mut plans);
    Ok(plans)
}

/// Makes lost operations that do the same take effect in the order of their requests.
fn pair_twins(operations: &[&Operation], plans: &mut [Plan]) {
    let mut twins: HashMap<&Action, (u32, u64)> = HashMap::new();
    let mut lost: Vec<usize> = (0..plans.len()).filter(|at| plans[*at].is_last_lost).collect();
    lost.sort_by_key(|number| operations[*number].invoked);
    for number in lost {
        let operation = operations[number];
        // The time from which it could stand for another: it may have to wait for its client.
        let previous = plans[number].after.first().map(|it| &operations[*it as usize].returned);
        let free = previous.map_or(Some(0), |it| it.as_ref().map(|(at, _)| *at));
        let twin = twins.get(&operation.action).filter(|(_, free)| *free < operation.invoked);
        plans[number].after.extend(twin.map(|(twin, _)| *twin));
        if let Some(free) = free {
            twins.insert(&operation.action, (number as u32, free));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request,
    Return,
}

/// How a search ends without an order.
pub(super) enum End {
    /// At this operation, before which the key could be in these states.
    Unordered(usize, Vec<String>),
    TooHard,
    Malformed(Failure),
}

struct Search<'a> {
    operations: &'a [&'a Operation],
    plans: Vec<Plan>,
    rules: &'a Rules,
    /// How many lost operations one step may use.
    used_max: usize,
    /// Operations that have been requested and have not returned.
    pending: Vec<u32>,
    is_pending: Vec<bool>,
    configurations: Vec<Configuration>,
}

impl Search<'_> {
    /// Returns how many configurations there were at most.
    fn run(&mut self) -> Result<usize, End> {
        let mut events = Vec::with_capacity(self.operations.len() * 2);
        for (number, operation) in self.operations.iter().enumerate() {
            events.push((operation.invoked, Event::Request, number));
            events.extend(operation.returned.as_ref().map(|it| (it.0, Event::Return, number)));
        }
        events.sort_unstable();
        let mut most = 1;
        for (_, event, number) in events {
            if event == Event::Request {
                self.pending.push(number as u32);
                self.is_pending[number] = true;
                continue;
            }
            let next = self.returned(number)?;
            if next.is_empty() {
                return Err(End::Unordered(number, self.states()));
            }
            most = most.max(next.len());
            self.configurations = next;
            self.pending.retain(|it| *it != number as u32);
            self.is_pending[number] = false;
        }
        Ok(most)
    }

    /// Returns the configurations after the return of an operation.
    fn returned(&self, number: usize) -> Result<Vec<Configuration>, End> {
        let (mut next, mut seen) = (Configurations::default(), Configurations::default());
        let mut work = self.configurations.clone();
        while let Some(mut configuration) = work.pop() {
            if let Ok(place) = configuration.early.binary_search(&(number as u32)) {
                configuration.early.remove(place);
                next.add(&configuration);
                continue;
            }
            for pending in &self.pending {
                let is_lost = self.plans[*pending as usize].is_last_lost;
                let is_allowed = !is_lost || configuration.used < self.used_max;
                if is_allowed && self.may_take_effect(*pending, &configuration) {
                    let followers = self.followers(*pending as usize, &configuration);
                    work.extend(followers.into_iter().filter(|it| seen.add(it)));
                }
            }
            if next.len + seen.len > self.rules.configurations_max {
                return Err(End::TooHard);
            }
        }
        Ok(next.into_vec())
    }

    fn may_take_effect(&self, number: u32, configuration: &Configuration) -> bool {
        let is_done = |number: &u32| {
            configuration.early.binary_search(number).is_ok()
                || configuration.lost.binary_search(number).is_ok()
        };
        let is_past = |number: &u32| !self.is_pending[*number as usize] || is_done(number);
        !is_done(&number) && self.plans[number as usize].after.iter().all(is_past)
    }

    /// Returns what may be after an operation has taken effect.
    fn followers(&self, number: usize, configuration: &Configuration) -> Vec<Configuration> {
        let (operation, plan) = (self.operations[number], &self.plans[number]);
        let outcome = operation.returned.as_ref().map(|(_, outcome)| outcome);
        let from = (&configuration.state, configuration.zone);
        let states = model::apply(&operation.action, outcome, plan.window, from, self.rules);
        let follow = |(state, zone)| {
            let mut next = Configuration { state, zone, ..configuration.clone() };
            next.used += usize::from(plan.is_last_lost);
            let done = if plan.is_last_lost { &mut next.lost } else { &mut next.early };
            insert(done, number as u32);
            next
        };
        states.into_iter().map(follow).collect()
    }

    /// Returns the states that were possible before the operation that cannot be explained.
    fn states(&self) -> Vec<String> {
        let mut all: Vec<String> = self.configurations.iter().map(describe).collect();
        all.sort_unstable();
        all.dedup();
        let more = all.len().saturating_sub(STATES_SHOWN);
        all.truncate(STATES_SHOWN);
        all.extend((more > 0).then(|| format!("one of {more} others")));
        all
    }
}

fn describe(configuration: &Configuration) -> String {
    let Some(value) = &configuration.state.value else { return "nil".to_owned() };
    let ends = configuration.zone.deadline();
    let of = |at: i64| seconds(u64::try_from(at).unwrap_or(0));
    match configuration.state.expires {
        false => quoted(value),
        true if ends.low == ends.high => format!("{} until {}", quoted(value), of(ends.low)),
        true => format!("{} until {} to {}", quoted(value), of(ends.low), of(ends.high)),
    }
}

/// Searches an order that uses up to `used_max` lost operations before the next reply. Operations are
/// in the order of their requests.
fn search_within(operations: &[&Operation], rules: &Rules, used_max: usize) -> Result<usize, End> {
    let plans = plan(operations).map_err(End::Malformed)?;
    let start = Configuration {
        state: State::ABSENT,
        zone: Zone::START,
        early: Vec::new(),
        lost: Vec::new(),
        used: 0,
    };
    let (pending, is_pending) = (Vec::new(), vec![false; operations.len()]);
    let configurations = vec![start];
    Search { operations, plans, rules, used_max, pending, is_pending, configurations }.run()
}

/// Searches an order, first one with few lost operations in a row: there are many orders of lost
/// operations, and most histories need few of them.
pub(super) fn search(operations: &[&Operation], rules: &Rules) -> Result<usize, End> {
    let lost = operations.iter().filter(|it| it.returned.is_none()).count();
    for used_max in [1, 3] {
        if used_max < lost
            && let Ok(most) = search_within(operations, rules, used_max)
        {
            return Ok(most);
        }
    }
    search_within(operations, rules, lost)
}

/// Searches an order of the operations of one key. Returns how many configurations there were at
/// most.
pub(super) fn check(operations: &[&Operation], rules: &Rules) -> Result<usize, Failure> {
    let key = || operations.first().map_or_else(Vec::new, |it| it.key.clone());
    if operations.len() > rules.operations_max {
        let (operations, operations_max) = (operations.len(), rules.operations_max);
        return Err(Failure::TooLong { key: key(), operations, operations_max });
    }
    // A lost operation that changes nothing explains nothing.
    let matters = |it: &&&Operation| it.returned.is_some() || !it.action.is_read();
    let matter: Vec<&Operation> = operations.iter().filter(matters).copied().collect();
    plan(operations)?;
    match search(&matter, rules) {
        Ok(most) => Ok(most),
        Err(End::Malformed(failure)) => Err(failure),
        Err(End::TooHard) => {
            Err(Failure::TooHard { key: key(), configurations_max: rules.configurations_max })
        }
        Err(End::Unordered(last, states)) => {
            let prefix = requested_before(&matter, last).count();
            let (operations, last, states) = smaller::smaller(matter, last, states, rules);
            let operations = operations.into_iter().cloned().collect();
            let example = CounterExample { key: key(), operations, last, prefix, states };
            Err(Failure::Unordered(Box::new(example)))
        }
    }
}

/// Returns the operations that were requested before operation `last` returned.
pub(super) fn requested_before<'a>(
    operations: &[&'a Operation],
    last: usize,
) -> impl Iterator<Item = &'a Operation> {
    let end = operations[last].returned.as_ref().map_or(u64::MAX, |(at, _)| *at);
    operations.iter().filter(move |it| it.invoked <= end).copied()
}
