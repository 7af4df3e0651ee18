//! Judges queues: each element that was pushed is popped by one client, once.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;

use super::{quoted, seconds};

/// How a client's wait for an element ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It got an element.
    Got {
        /// When.
        at: u64,
        /// From this list.
        key: Vec<u8>,
        /// The element.
        element: Vec<u8>,
    },
    /// It was told that there is none.
    Nothing {
        /// When.
        at: u64,
    },
    /// Its connection was lost, with an element that it may have been sent.
    Lost,
    /// It still waits at the end of the run.
    Waiting,
}

#[derive(Clone, Debug)]
struct Push {
    client: u64,
    key: Vec<u8>,
    element: Vec<u8>,
    invoked: u64,
    returned: Option<u64>,
}

#[derive(Clone, Debug)]
struct Pop {
    client: u64,
    keys: Vec<Vec<u8>>,
    invoked: u64,
    end: End,
}

/// What is wrong with a queue. Messages name elements, clients and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Two pushes have the same element, so the recorder is wrong.
    Ambiguous(String),
    /// An element appeared that was not pushed to that list, or before it was.
    Strange(String),
    /// An element was popped twice, or was popped and is still there.
    Twice(String),
    /// An element is neither popped nor there, and no lost client can have it.
    Missing(String),
    /// A client waits for a list that has an element.
    Stuck(String),
    /// A client was told that there is nothing, while there was an element.
    Overlooked(String),
    /// An element was popped after one that had been pushed later.
    Disordered(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, text) = match self {
            Self::Ambiguous(text) => ("ambiguous", text),
            Self::Strange(text) => ("strange", text),
            Self::Twice(text) => ("twice", text),
            Self::Missing(text) => ("missing", text),
            Self::Stuck(text) => ("stuck", text),
            Self::Overlooked(text) => ("overlooked", text),
            Self::Disordered(text) => ("disordered", text),
        };
        write!(f, "{name}: {text}")
    }
}

impl Error for Fault {}

/// The elements that are in the lists at the end, by key.
pub type Rest = BTreeMap<Vec<u8>, Vec<Vec<u8>>>;

/// The pushes and pops of a run. Each element is pushed once, to one list.
#[derive(Clone, Debug, Default)]
pub struct Queues {
    pushes: Vec<Push>,
    pops: Vec<Pop>,
    is_ordered: bool,
}

/// Where an element went.
enum Fate {
    Popped(usize),
    Left,
}

impl Queues {
    /// Returns queues whose elements may be popped in any order.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns queues whose elements are pushed to one end and popped from the other.
    pub fn ordered() -> Self {
        Self { is_ordered: true, ..Self::default() }
    }

    /// Records that a client pushes an element. Returns the number of the push.
    pub fn push(
        &mut self,
        client: u64,
        key: impl Into<Vec<u8>>,
        element: impl Into<Vec<u8>>,
        at: u64,
    ) -> usize {
        let (key, element) = (key.into(), element.into());
        self.pushes.push(Push { client, key, element, invoked: at, returned: None });
        self.pushes.len() - 1
    }

    /// Records that a push was acknowledged. One that never is may have taken effect or not.
    ///
    /// # Panics
    /// Panics if there is no such push.
    pub fn pushed(&mut self, push: usize, at: u64) {
        self.pushes[push].returned = Some(at);
    }

    /// Records that a client asks for one element of the first of `keys` that has one. Returns the
    /// number of the pop, which waits until [`end`](Self::end) is called.
    pub fn pop(&mut self, client: u64, keys: Vec<Vec<u8>>, at: u64) -> usize {
        self.pops.push(Pop { client, keys, invoked: at, end: End::Waiting });
        self.pops.len() - 1
    }

    /// Records how a pop ended.
    ///
    /// # Panics
    /// Panics if there is no such pop.
    pub fn end(&mut self, pop: usize, end: End) {
        self.pops[pop].end = end;
    }

    /// Judges the run. `rest` has what the lists contain at its end, when all requests have been
    /// answered.
    ///
    /// # Errors
    /// Returns the first fault.
    pub fn check(&self, rest: &Rest) -> Result<(), Fault> {
        let fates = self.fates(rest)?;
        self.find_missing(&fates)?;
        self.find_stuck(rest)?;
        self.find_overlooked(&fates)?;
        if self.is_ordered { self.find_disorder(&fates) } else { Ok(()) }
    }

    /// Returns where each element went, by the number of its push.
    fn fates(&self, rest: &Rest) -> Result<Vec<Option<Fate>>, Fault> {
        let mut places = HashMap::new();
        for (number, push) in self.pushes.iter().enumerate() {
            if places.insert(&*push.element, number).is_some() {
                return Err(Fault::Ambiguous(push.to_string()));
            }
        }
        let mut fates: Vec<Option<Fate>> = self.pushes.iter().map(|_| None).collect();
        let mut note = |key: &[u8], element: &[u8], until: u64, fate: Fate, what: String| {
            let pushed = places.get(element).map(|number| (*number, &self.pushes[*number]));
            let Some((number, push)) = pushed else {
                let element = quoted(element);
                return Err(Fault::Strange(format!("{what}: {element} was never pushed")));
            };
            if *push.key != *key || until < push.invoked {
                return Err(Fault::Strange(format!("{what}, but {push}")));
            }
            match fates[number].replace(fate) {
                None => Ok(()),
                Some(Fate::Popped(other)) => {
                    Err(Fault::Twice(format!("{push}; {}; {what}", self.pops[other])))
                }
                Some(Fate::Left) => Err(Fault::Twice(format!("{push}; it is left twice"))),
            }
        };
        for (number, pop) in self.pops.iter().enumerate() {
            if let End::Got { at, key, element } = &pop.end {
                if !pop.keys.contains(key) {
                    return Err(Fault::Strange(format!("{pop}, for which it did not ask")));
                }
                note(key, element, *at, Fate::Popped(number), pop.to_string())?;
            }
        }
        for (key, elements) in rest {
            for element in elements {
                let what = format!("{} is left in {}", quoted(element), quoted(key));
                note(key, element, u64::MAX, Fate::Left, what)?;
            }
        }
        Ok(fates)
    }

    /// Finds elements that are gone, of which each lost pop explains one.
    fn find_missing(&self, fates: &[Option<Fate>]) -> Result<(), Fault> {
        let pushes = self.pushes.iter().enumerate();
        let missing =
            pushes.filter(|(number, it)| fates[*number].is_none() && it.returned.is_some());
        let missing: Vec<usize> = missing.map(|(number, _)| number).collect();
        let lost: Vec<&Pop> = self.pops.iter().filter(|pop| pop.end == End::Lost).collect();
        let mut takers: Vec<Option<usize>> = vec![None; lost.len()];
        for push in &missing {
            let mut seen = vec![false; lost.len()];
            if !self.find_taker(*push, &lost, &mut takers, &mut seen) {
                let push = &self.pushes[*push];
                let others = missing.len();
                return Err(Fault::Missing(format!(
                    "{push}; it is one of {others} that are gone, and {} pops were lost",
                    lost.len()
                )));
            }
        }
        Ok(())
    }

    /// Finds a lost pop for a push, which others may have to exchange for another (Kuhn's
    /// algorithm). Returns whether there is one.
    fn find_taker(
        &self,
        push: usize,
        lost: &[&Pop],
        takers: &mut [Option<usize>],
        seen: &mut [bool],
    ) -> bool {
        for (number, pop) in lost.iter().enumerate() {
            if seen[number] || !pop.keys.contains(&self.pushes[push].key) {
                continue;
            }
            seen[number] = true;
            let is_free = match takers[number] {
                None => true,
                Some(other) => self.find_taker(other, lost, takers, seen),
            };
            if is_free {
                takers[number] = Some(push);
                return true;
            }
        }
        false
    }

    fn find_stuck(&self, rest: &Rest) -> Result<(), Fault> {
        for pop in self.pops.iter().filter(|pop| pop.end == End::Waiting) {
            let full = pop.keys.iter().find(|key| rest.get(*key).is_some_and(|it| !it.is_empty()));
            if let Some(key) = full {
                return Err(Fault::Stuck(format!("{pop}; {} has elements", quoted(key))));
            }
        }
        Ok(())
    }

    /// Returns when an element may have left its list at the earliest; `None` if that is unknown.
    fn taken(&self, fate: Option<&Fate>) -> Option<u64> {
        match fate? {
            Fate::Popped(pop) => Some(self.pops[*pop].invoked),
            Fate::Left => Some(u64::MAX),
        }
    }

    /// Finds clients that were told that there is nothing, although an element was there all the
    /// time.
    fn find_overlooked(&self, fates: &[Option<Fate>]) -> Result<(), Fault> {
        for pop in &self.pops {
            let End::Nothing { at } = pop.end else { continue };
            let was_there = |(push, fate): &(&Push, &Option<Fate>)| {
                pop.keys.contains(&push.key)
                    && push.returned.is_some_and(|returned| returned < pop.invoked)
                    && self.taken(fate.as_ref()).is_some_and(|taken| taken > at)
            };
            if let Some((push, _)) = self.pushes.iter().zip(fates).find(was_there) {
                return Err(Fault::Overlooked(format!("{pop}; {push}")));
            }
        }
        Ok(())
    }

    /// Finds elements that were popped before others that had been pushed earlier.
    fn find_disorder(&self, fates: &[Option<Fate>]) -> Result<(), Fault> {
        let mut queues: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (number, push) in self.pushes.iter().enumerate() {
            queues.entry(&push.key).or_default().push(number);
        }
        for queue in queues.values_mut() {
            let mut earlier: Vec<usize> = queue.clone();
            earlier.retain(|it| self.pushes[*it].returned.is_some());
            earlier.sort_by_key(|it| self.pushes[*it].returned);
            queue.sort_by_key(|it| self.pushes[*it].invoked);
            let mut earlier = earlier.into_iter().peekable();
            // The one that was taken last among those that had been pushed before.
            let mut last: Option<(u64, usize)> = None;
            for number in queue {
                let push = &self.pushes[*number];
                while let Some(before) =
                    earlier.next_if(|it| self.pushes[*it].returned < Some(push.invoked))
                {
                    let taken = self.taken(fates[before].as_ref());
                    last = last.max(taken.map(|taken| (taken, before)));
                }
                let (Some(Fate::Popped(pop)), Some((taken, before))) = (&fates[*number], last)
                else {
                    continue;
                };
                let pop = &self.pops[*pop];
                if matches!(pop.end, End::Got { at, .. } if at < taken) {
                    let before = &self.pushes[before];
                    return Err(Fault::Disordered(format!("{before}; {push}; {pop}")));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, element) = (quoted(&self.key), quoted(&self.element));
        let returned = self.returned.map_or("lost".to_owned(), seconds);
        let (client, invoked) = (self.client, seconds(self.invoked));
        write!(f, "client {client} [{invoked}, {returned}] pushed {element} to {key}")
    }
}

impl fmt::Display for Pop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys.iter().map(|key| quoted(key)).collect();
        let (client, invoked, keys) = (self.client, seconds(self.invoked), keys.join(" "));
        match &self.end {
            End::Got { at, key, element } => {
                let (at, key, element) = (seconds(*at), quoted(key), quoted(element));
                write!(f, "client {client} [{invoked}, {at}] popped {element} from {key}")
            }
            End::Nothing { at } => {
                write!(f, "client {client} [{invoked}, {}] got nothing from {keys}", seconds(*at))
            }
            End::Lost => write!(f, "client {client} [{invoked}, lost] waited for {keys}"),
            End::Waiting => write!(f, "client {client} [{invoked}, ...] waits for {keys}"),
        }
    }
}
