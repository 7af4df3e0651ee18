//! Judges messages: each subscriber receives those of each publisher in order and without gaps.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;

use super::{quoted, seconds};

/// A message: its publisher, and its number among those of this publisher on this channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// The connection. A publisher that connects again has another number.
    pub publisher: u64,
    /// From 0 on.
    pub number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Publication {
    invoked: u64,
    /// When it was acknowledged, and how many subscribers it was said to have.
    returned: Option<(u64, u64)>,
}

/// How a subscription ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Not at all: everything has been delivered when the run ends.
    Open,
    /// The client has asked for it at this time, and has received everything until the answer.
    Left(u64),
    /// With the connection: some messages may have been underway.
    Lost,
}

#[derive(Clone, Debug)]
struct Subscription {
    client: u64,
    channel: Vec<u8>,
    invoked: u64,
    confirmed: Option<u64>,
    end: End,
    received: Vec<(u64, Message)>,
}

/// What is wrong with a channel. Messages name clients, messages and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A message was received that was not published, or before it was.
    Strange(String),
    /// A message was received twice, or after a later one.
    Disordered(String),
    /// A message is missing.
    Gap(String),
    /// Two subscribers received messages in different orders.
    Contradiction(String),
    /// A publisher was told a number of receivers that cannot be.
    Miscounted(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, text) = match self {
            Self::Strange(text) => ("strange", text),
            Self::Disordered(text) => ("disordered", text),
            Self::Gap(text) => ("gap", text),
            Self::Contradiction(text) => ("contradiction", text),
            Self::Miscounted(text) => ("miscounted", text),
        };
        write!(f, "{name}: {text}")
    }
}

impl Error for Fault {}

/// The messages of each publisher.
type Published = BTreeMap<u64, Vec<Publication>>;

/// The messages and subscriptions of a run, without patterns. A client has one subscription to a
/// channel at a time.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    published: BTreeMap<Vec<u8>, Published>,
    subscriptions: Vec<Subscription>,
}

impl Channels {
    /// Returns a run without messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that a client publishes its next message on a channel. Returns the message, by which
    /// its text has to tell it from others.
    pub fn publish(&mut self, publisher: u64, channel: impl Into<Vec<u8>>, at: u64) -> Message {
        let all = self.published.entry(channel.into()).or_default().entry(publisher).or_default();
        all.push(Publication { invoked: at, returned: None });
        Message { publisher, number: all.len() as u64 - 1 }
    }

    /// Records the reply to a message. A message without one may have been delivered or not.
    ///
    /// # Panics
    /// Panics if there is no such message.
    pub fn published(&mut self, channel: &[u8], message: Message, receivers: u64, at: u64) {
        let publication = self
            .published
            .get_mut(channel)
            .and_then(|all| all.get_mut(&message.publisher)?.get_mut(message.number as usize))
            .expect("the message was published");
        publication.returned = Some((at, receivers));
    }

    /// Records that a client subscribes to a channel. Returns the number of the subscription.
    pub fn subscribe(&mut self, client: u64, channel: impl Into<Vec<u8>>, at: u64) -> usize {
        self.subscriptions.push(Subscription {
            client,
            channel: channel.into(),
            invoked: at,
            confirmed: None,
            end: End::Open,
            received: Vec::new(),
        });
        self.subscriptions.len() - 1
    }

    /// Records the confirmation of a subscription.
    ///
    /// # Panics
    /// Panics if there is no such subscription.
    pub fn confirmed(&mut self, subscription: usize, at: u64) {
        self.subscriptions[subscription].confirmed = Some(at);
    }

    /// Records that a subscriber has received a message.
    ///
    /// # Panics
    /// Panics if there is no such subscription.
    pub fn received(&mut self, subscription: usize, message: Message, at: u64) {
        self.subscriptions[subscription].received.push((at, message));
    }

    /// Records that a subscriber asks for the end of its subscription. Messages that it receives
    /// before the answer are recorded as before.
    ///
    /// # Panics
    /// Panics if there is no such subscription.
    pub fn left(&mut self, subscription: usize, at: u64) {
        self.subscriptions[subscription].end = End::Left(at);
    }

    /// Records that the connection of a subscriber was lost.
    ///
    /// # Panics
    /// Panics if there is no such subscription.
    pub fn lost(&mut self, subscription: usize) {
        self.subscriptions[subscription].end = End::Lost;
    }

    /// Judges the run, when all messages have been delivered to the subscribers that are left.
    ///
    /// # Errors
    /// Returns the first fault.
    pub fn check(&self) -> Result<(), Fault> {
        let none = Published::new();
        for subscription in &self.subscriptions {
            let published = self.published.get(&subscription.channel).unwrap_or(&none);
            subscription.find_disorder(published)?;
            subscription.find_gap(published)?;
        }
        for (channel, published) in &self.published {
            let all = self.subscriptions.iter().filter(|it| it.channel == *channel);
            let all: Vec<&Subscription> = all.collect();
            find_contradiction(&all)?;
            find_miscount(published, &all)?;
        }
        Ok(())
    }
}

impl Subscription {
    /// Finds messages that do not follow the ones before.
    fn find_disorder(&self, published: &Published) -> Result<(), Fault> {
        let mut next: HashMap<u64, u64> = HashMap::new();
        // The message before that was published last.
        let mut latest: Option<(u64, Message)> = None;
        for (at, message) in &self.received {
            let what = || format!("{self} received {message} at {}", seconds(*at));
            let all = published.get(&message.publisher);
            let publication = all.and_then(|all| all.get(message.number as usize));
            let Some(publication) = publication.filter(|it| it.invoked <= *at) else {
                return Err(Fault::Strange(format!("{}, which was not published", what())));
            };
            let expected = next.insert(message.publisher, message.number + 1);
            match expected {
                Some(expected) if message.number < expected => {
                    return Err(Fault::Disordered(format!("{} again or late", what())));
                }
                Some(expected) if message.number > expected => {
                    return Err(Fault::Gap(format!("{} and not number {expected}", what())));
                }
                _ => {}
            }
            if let (Some((invoked, before)), Some((returned, _))) = (latest, publication.returned)
                && returned < invoked
            {
                let why = format!("{before}, which was published after it");
                return Err(Fault::Disordered(format!("{} after {why}", what())));
            }
            latest = latest.max(Some((publication.invoked, *message)));
        }
        Ok(())
    }

    /// Finds messages that are missing before the first one received, or after the last.
    fn find_gap(&self, published: &Published) -> Result<(), Fault> {
        let Some(confirmed) = self.confirmed else { return Ok(()) };
        let mut ends: HashMap<u64, (u64, u64)> = HashMap::new();
        for (_, Message { publisher, number }) in &self.received {
            ends.entry(*publisher).or_insert((*number, *number)).1 = *number;
        }
        for (publisher, all) in published {
            let got = ends.get(publisher);
            for (publication, number) in all.iter().zip(0..) {
                let is_due = match (self.end, publication.returned) {
                    (_, None) => false,
                    (End::Open, Some(_)) => true,
                    (End::Left(at), Some((returned, _))) => returned < at,
                    (End::Lost, Some(_)) => got.is_some_and(|(_, last)| number <= *last),
                };
                let is_there = got.is_some_and(|(first, last)| (*first..=*last).contains(&number));
                if is_due && publication.invoked > confirmed && !is_there {
                    let message = Message { publisher: *publisher, number };
                    let at = seconds(publication.invoked);
                    return Err(Fault::Gap(format!("{self} did not receive {message}, of {at}")));
                }
            }
        }
        Ok(())
    }
}

/// Finds two messages that two subscribers received in different orders: all orders together must
/// have one order.
fn find_contradiction(subscriptions: &[&Subscription]) -> Result<(), Fault> {
    let mut after: BTreeMap<Message, Vec<Message>> = BTreeMap::new();
    let mut before: BTreeMap<Message, usize> = BTreeMap::new();
    for subscription in subscriptions {
        let all = &subscription.received;
        all.iter().for_each(|(_, message)| *before.entry(*message).or_default() += 0);
        for ((_, first), (_, second)) in all.iter().zip(all.iter().skip(1)) {
            after.entry(*first).or_default().push(*second);
            *before.entry(*second).or_default() += 1;
        }
    }
    let free = |(message, count): (&Message, &usize)| (*count == 0).then_some(*message);
    let mut work: Vec<Message> = before.iter().filter_map(free).collect();
    while let Some(message) = work.pop() {
        before.remove(&message);
        for next in after.get(&message).into_iter().flatten() {
            if let Some(count) = before.get_mut(next) {
                *count -= 1;
                work.extend((*count == 0).then_some(*next));
            }
        }
    }
    if before.is_empty() {
        return Ok(());
    }
    let messages: Vec<String> = before.keys().take(10).map(Message::to_string).collect();
    let what: Vec<String> = subscriptions
        .iter()
        .filter(|it| it.received.iter().any(|(_, message)| before.contains_key(message)))
        .map(|it| it.to_string())
        .collect();
    let (count, messages, what) = (before.len(), messages.join(", "), what.join("; "));
    Err(Fault::Contradiction(format!("the order of {count} messages ({messages}): {what}")))
}

/// Finds counts of receivers that no moment between request and reply explains.
fn find_miscount(published: &Published, subscriptions: &[&Subscription]) -> Result<(), Fault> {
    for (publisher, all) in published {
        for (publication, number) in all.iter().zip(0..) {
            let Some((returned, receivers)) = publication.returned else { continue };
            let is_certain = |it: &&&Subscription| {
                it.confirmed.is_some_and(|at| at < publication.invoked)
                    && match it.end {
                        End::Open => true,
                        End::Left(at) => at > returned,
                        End::Lost => false,
                    }
            };
            let least = subscriptions.iter().filter(is_certain).count() as u64;
            let most = subscriptions.iter().filter(|it| it.invoked <= returned).count() as u64;
            if !(least..=most).contains(&receivers) {
                let message = Message { publisher: *publisher, number };
                return Err(Fault::Miscounted(format!(
                    "{message} had {receivers} receivers, and {least} to {most} are possible"
                )));
            }
        }
    }
    Ok(())
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of client {}", self.number, self.publisher)
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}, subscribed to {},", self.client, quoted(&self.channel))
    }
}
