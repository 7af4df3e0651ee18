//! What messages change in the known state.

use std::ops::Bound;
use std::time::Instant;

use super::super::event::{Change, Event};
use super::super::message::{Flags, Message};
use super::super::network::{
    Entry, Network, OVERHEAD, address_key, link_key, neighbour_key, route_key,
};
use super::super::plan::{Presence, Topic};
use super::super::{
    Address, BridgeEntry, FAMILY_ANY, Link, LinkFlags, MessageError, Neighbour, NeighbourFlags,
    Route, RouteFlags,
};
use super::{Flaw, FollowError, Follower};

/// How many others of the place of a new route are looked at during a dump. With more, the route waits for
/// the end of the dump.
const OTHERS_MAX: usize = 8;

/// What a message is about.
struct Subject {
    key: Vec<u8>,
    /// How many bytes of the key others of the same place share; of a route, those that say which packets
    /// it is for.
    place_size: usize,
}

/// Returns what a message is about, or `None` if it is not followed: another family, a route that was made
/// from another one, or a neighbour in whose place this machine answers.
fn subject_of(topic: Topic, body: &[u8]) -> Result<Option<Subject>, MessageError> {
    let key = match topic {
        Topic::Links => {
            let link = Link::parse(body)?;
            // Other families tell what a link takes part in.
            (link.family == FAMILY_ANY).then(|| link_key(link.index).to_vec())
        }
        Topic::Addresses => Address::parse(body)?.map(|it| address_key(&it)),
        Topic::Neighbours => Neighbour::parse(body)?
            .filter(|it| !it.flags.contains(NeighbourFlags::PROXY))
            .map(|it| neighbour_key(&it)),
        Topic::Routes => {
            let route = Route::parse(body)?.filter(|it| !it.flags.contains(RouteFlags::CLONED));
            let Some((key, place_size)) = route.map(|it| route_key(&it)) else { return Ok(None) };
            return Ok(Some(Subject { key, place_size }));
        }
    };
    Ok(key.map(|key| Subject { place_size: key.len(), key }))
}

/// Returns what is stored of a message.
fn stored(topic: Topic, body: &[u8]) -> Box<[u8]> {
    match topic {
        Topic::Links => Link::essential(body),
        Topic::Addresses | Topic::Routes | Topic::Neighbours => body.into(),
    }
}

/// Makes a change of two views of the same thing.
fn change<T: PartialEq>(before: Option<T>, now: T) -> Change<T> {
    match before {
        None => Change::Added(now),
        Some(before) if before == now => Change::Repeated(now),
        Some(before) => Change::Changed { before, now },
    }
}

/// Returns the event of a message about something that is there.
fn event_of<'a>(topic: Topic, before: Option<&'a [u8]>, now: &'a [u8]) -> Option<Event<'a>> {
    Some(match topic {
        Topic::Links => {
            let before = before.and_then(|it| Link::parse(it).ok());
            Event::Link(change(before, Link::parse(now).ok()?))
        }
        Topic::Addresses => {
            let before = before.and_then(|it| Address::parse(it).ok().flatten());
            Event::Address(change(before, Address::parse(now).ok().flatten()?))
        }
        Topic::Routes => {
            let before = before.and_then(|it| Route::parse(it).ok().flatten());
            Event::Route(change(before, Route::parse(now).ok().flatten()?))
        }
        Topic::Neighbours => {
            let before = before.and_then(|it| Neighbour::parse(it).ok().flatten());
            Event::Neighbour(change(before, Neighbour::parse(now).ok().flatten()?))
        }
    })
}

/// Makes a change of something that is gone.
const fn end<T>(it: T, is_known: bool) -> Change<T> {
    if is_known { Change::Removed(it) } else { Change::Unannounced(it) }
}

/// Returns the event of something that is gone, as `last` describes it.
fn end_of(topic: Topic, last: &[u8], is_known: bool) -> Option<Event<'_>> {
    Some(match topic {
        Topic::Links => Event::Link(end(Link::parse(last).ok()?, is_known)),
        Topic::Addresses => Event::Address(end(Address::parse(last).ok().flatten()?, is_known)),
        Topic::Routes => Event::Route(end(Route::parse(last).ok().flatten()?, is_known)),
        Topic::Neighbours => {
            Event::Neighbour(end(Neighbour::parse(last).ok().flatten()?, is_known))
        }
    })
}

/// Returns whether a change of a link may end routes or change their flags.
fn moves_routes(event: &Event<'_>) -> bool {
    match event {
        Event::Link(Change::Changed { before, now }) => {
            const CARRIER: u32 = LinkFlags::UP.0 | LinkFlags::RUNNING.0 | 1 << 16;
            (before.flags.0 ^ now.flags.0) & CARRIER != 0
        }
        Event::Link(Change::Removed(_)) | Event::Address(Change::Removed(_)) => true,
        _ => false,
    }
}

impl Follower {
    /// Takes what a dump says about something.
    pub(super) fn dumped(
        &mut self,
        message: &Message<'_>,
        call: &mut impl FnMut(Event<'_>, &Network),
    ) -> Result<(), FollowError> {
        let Some(dump) = &self.dump else { return Ok(()) };
        let (topic, sequence) = (dump.topic, dump.sequence);
        let Some(subject) = subject_of(topic, message.body)? else { return Ok(()) };
        let known = self.network.get(&subject.key);
        // A notification since the beginning of the dump is newer.
        if dump.removed.contains(&*subject.key) || known.is_some_and(|it| it.seen == sequence) {
            return Ok(());
        }
        let is_same = known.is_some_and(|it| {
            matches!(
                event_of(topic, Some(&it.body), message.body),
                Some(
                    Event::Link(Change::Repeated(_))
                        | Event::Address(Change::Repeated(_))
                        | Event::Route(Change::Repeated(_))
                        | Event::Neighbour(Change::Repeated(_))
                )
            )
        });
        if is_same {
            self.network.confirm(&subject.key, sequence);
        } else if known.is_none() && self.may_lose_others(&subject, sequence) {
            self.hold_back(subject.key.into(), message.body.into());
        } else {
            let before = self.store(topic, subject.key.into(), message.body);
            if let Some(event) = event_of(topic, before.as_ref().map(|it| &*it.body), message.body)
            {
                call(event, &self.network);
            }
        }
        Ok(())
    }

    /// Returns whether the end of the dump may remove others of the same place.
    fn may_lose_others(&self, subject: &Subject, sequence: u32) -> bool {
        let others = self.network.after(&subject.key[..subject.place_size]);
        let mut others = others.map(|(_, it)| it.seen);
        others.by_ref().take(OTHERS_MAX).any(|seen| seen != sequence) || others.next().is_some()
    }

    /// Keeps what a dump says until its end.
    fn hold_back(&mut self, key: Box<[u8]>, body: Box<[u8]>) {
        let Some(dump) = &mut self.dump else { return };
        let key_size = key.len();
        dump.late_size += key_size + body.len() + OVERHEAD;
        if let Some(before) = dump.late.insert(key, body) {
            dump.late_size -= key_size + before.len() + OVERHEAD;
        }
    }

    /// Stores and reports up to `count` of those that were held back, whose keys begin with `prefix`. Returns
    /// whether there are no more.
    pub(super) fn add_late(
        &mut self,
        topic: Topic,
        prefix: &[u8],
        count: usize,
        call: &mut impl FnMut(Event<'_>, &Network),
    ) -> bool {
        for _ in 0..count {
            let Some(dump) = self.dump.as_mut().filter(|it| it.topic == topic) else { return true };
            let from = (Bound::Included(prefix), Bound::Unbounded);
            let first = dump.late.range::<[u8], _>(from).next().map(|(key, _)| key.clone());
            let Some(key) = first.filter(|it| it.starts_with(prefix)) else { return true };
            let Some(body) = dump.late.remove(&key) else { return true };
            dump.late_size -= key.len() + body.len() + OVERHEAD;
            let before = self.store(topic, key, &body);
            if let Some(event) = event_of(topic, before.as_ref().map(|it| &*it.body), &body) {
                call(event, &self.network);
            }
        }
        false
    }

    /// Takes a message that the kernel has sent by itself.
    pub(super) fn notify(
        &mut self,
        topic: Topic,
        presence: Presence,
        message: &Message<'_>,
        now: Instant,
        call: &mut impl FnMut(Event<'_>, &Network),
    ) -> Result<(), FollowError> {
        if !self.selection.has(topic) {
            // It was asked for as a hint to routes that have ended.
            self.doubt_routes(now);
            return Ok(());
        }
        if !self.topics[topic as usize].is_begun {
            // The dump, which begins later, has it.
            return Ok(());
        }
        let Some(subject) = subject_of(topic, message.body)? else {
            let event = match topic {
                Topic::Links => Some(Event::Part(Link::parse(message.body)?, presence)),
                Topic::Neighbours => BridgeEntry::parse(message.body)?
                    .map(|entry| Event::BridgeEntry(entry, presence)),
                Topic::Addresses | Topic::Routes => None,
            };
            event.into_iter().for_each(|event| call(event, &self.network));
            return Ok(());
        };
        // What the dump has said of the place is older than the message, which may change it.
        self.add_late(topic, &subject.key[..subject.place_size], usize::MAX, call);
        match presence {
            Presence::Here => self.arrive(topic, subject, message, now, call),
            Presence::Gone => self.leave(topic, &subject, message.body, now, call),
        }
        Ok(())
    }

    /// Something is there.
    fn arrive(
        &mut self,
        topic: Topic,
        Subject { key, place_size }: Subject,
        message: &Message<'_>,
        now: Instant,
        call: &mut impl FnMut(Event<'_>, &Network),
    ) {
        let mut replaced = self.replace_shared(topic, &key[..place_size], message, call);
        if self.network.get(&key).is_none() {
            let mut others = self.network.after(&key[..place_size]).map(|(key, _)| key.to_vec());
            match (others.next(), others.next()) {
                (Some(other), None)
                    if message.flags.contains(Flags::REPLACE) && replaced.is_none() =>
                {
                    drop(others);
                    replaced = self.forget(topic, &other);
                }
                (None, _) => {}
                // Which of them it joins or replaces depends on the family and the flags.
                _ => {
                    drop(others);
                    self.doubt_routes(now);
                }
            }
        }
        let before = self.store(topic, key.into(), message.body).or(replaced);
        let Some(event) = event_of(topic, before.as_ref().map(|it| &*it.body), message.body) else {
            return;
        };
        if moves_routes(&event) {
            self.doubt_routes(now);
        }
        call(event, &self.network);
    }

    /// Forgets the routes of IPv6 that a message replaces: it has all next hops of its place, or all of them
    /// were replaced by its own. Returns one of them, and reports that the others are gone.
    fn replace_shared(
        &mut self,
        topic: Topic,
        place: &[u8],
        message: &Message<'_>,
        call: &mut impl FnMut(Event<'_>, &Network),
    ) -> Option<Entry> {
        if topic != Topic::Routes {
            return None;
        }
        let route = Route::parse(message.body).ok().flatten()?;
        let is_whole = route.has_hops() || message.flags.contains(Flags::REPLACE);
        if !(route.shares_place() && is_whole) {
            return None;
        }
        let (own, _) = route_key(&route);
        let shares =
            |it: &Entry| Route::parse(&it.body).ok().flatten().is_some_and(|it| it.shares_place());
        let others = self.network.after(place).filter(|(key, it)| *key != own && shares(it));
        let mut others: Vec<Vec<u8>> = others.map(|(key, _)| key.to_vec()).collect();
        let last = others.pop()?;
        others.iter().for_each(|key| self.remove(topic, key, None, call));
        // What is known already is no change of another one.
        if self.network.get(&own).is_some() {
            self.remove(topic, &last, None, call);
            return None;
        }
        self.forget(topic, &last)
    }

    /// Something is gone.
    fn leave(
        &mut self,
        topic: Topic,
        Subject { key, place_size }: &Subject,
        body: &[u8],
        now: Instant,
        call: &mut impl FnMut(Event<'_>, &Network),
    ) {
        if self.network.get(key).is_none()
            && self.network.after(&key[..*place_size]).next().is_some()
        {
            // It was one next hop of several.
            self.doubt_routes(now);
        }
        self.remove(topic, key, Some(body), call);
        if topic.may_end_routes() {
            self.doubt_routes(now);
        }
    }

    /// Removes something and reports it, as `last` describes it, or as it was known.
    pub(super) fn remove(
        &mut self,
        topic: Topic,
        key: &[u8],
        last: Option<&[u8]>,
        call: &mut impl FnMut(Event<'_>, &Network),
    ) {
        let known = self.forget(topic, key);
        let Some(body) = last.or(known.as_ref().map(|it| &*it.body)) else { return };
        if let Some(event) = end_of(topic, body, known.is_some()) {
            call(event, &self.network);
        }
    }

    /// Removes something without a report. A dump that is running does not bring it back.
    fn forget(&mut self, topic: Topic, key: &[u8]) -> Option<Entry> {
        if let Some(dump) = self.dump.as_mut().filter(|it| it.topic == topic && it.swept.is_none())
        {
            if dump.removed.len() < self.limits.removals_max {
                dump.removed.insert(key.into());
            } else {
                dump.flaw = Flaw::Outdated;
            }
        }
        self.network.take(key)
    }

    /// Stores what a message says. A dump that is running does not remove or change it, nor do those that
    /// repeat one.
    fn store(&mut self, topic: Topic, key: Box<[u8]>, body: &[u8]) -> Option<Entry> {
        let is_repeated = self.topics[topic as usize].interrupted > 0;
        let mut seen = if is_repeated { self.sequence } else { 0 };
        if let Some(dump) = self.dump.as_mut().filter(|it| it.topic == topic) {
            dump.removed.remove(&key);
            seen = dump.sequence;
        }
        self.network.put(key, stored(topic, body), seen)
    }
}
