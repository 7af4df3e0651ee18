//! The commands of channels, and the channels. A message is encoded once for each version of RESP,
//! however many clients receive it.

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use protocol::resp::{Item, Protocol, Writer, shared};

use crate::kv::app::App;
use crate::kv::call::{Call, bulk_or_null};
use crate::kv::client::Replies;
use crate::kv::error::Done;
use crate::kv::glob;
use crate::kv::room::GiveBack;
use crate::kv::text::wrong_subcommand;
use crate::kv::value::Bytes;

/// The subscribers of each channel and pattern, by their numbers. A message goes to the patterns in
/// this order, so that a run can be repeated.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    names: IndexMap<Bytes, IndexSet<usize>>,
    patterns: IndexMap<Bytes, IndexSet<usize>>,
}

impl Channels {
    fn of(&mut self, kind: Kind) -> &mut IndexMap<Bytes, IndexSet<usize>> {
        match kind {
            Kind::Channel => &mut self.names,
            Kind::Pattern => &mut self.patterns,
        }
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.names.len(), self.patterns.len())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Channel,
    Pattern,
}

/// One message in both versions of RESP, each encoded when it is first needed.
struct Encoded<F> {
    write: F,
    resp2: Option<Arc<[u8]>>,
    resp3: Option<Arc<[u8]>>,
}

impl<F: Fn(&mut Writer<'_>)> Encoded<F> {
    fn new(write: F) -> Self {
        Self { write, resp2: None, resp3: None }
    }

    fn in_version(&mut self, protocol: Protocol) -> Arc<[u8]> {
        let place = match protocol {
            Protocol::Resp2 => &mut self.resp2,
            Protocol::Resp3 => &mut self.resp3,
        };
        Arc::clone(place.get_or_insert_with(|| shared(protocol, &self.write)))
    }
}

pub(crate) fn publish(call: &mut Call<'_>) -> Done {
    let (channel, message) = (call.args[1], call.args[2]);
    let mut receivers = 0;
    // Taken out for the loop and put back below; no client subscribes in between.
    let channels = std::mem::take(&mut call.app.channels);
    if let Some(subscribers) = channels.names.get(channel) {
        let mut encoded = Encoded::new(|out: &mut Writer<'_>| {
            out.push(3);
            [b"message", channel, message].iter().for_each(|part| out.bulk(part));
        });
        receivers += deliver(call, subscribers, &mut encoded);
    }
    for (pattern, subscribers) in &channels.patterns {
        if glob::matches(pattern, channel) {
            let mut encoded = Encoded::new(|out: &mut Writer<'_>| {
                out.push(4);
                [b"pmessage", &**pattern, channel, message].iter().for_each(|part| out.bulk(part));
            });
            receivers += deliver(call, subscribers, &mut encoded);
        }
    }
    call.app.channels = channels;
    call.reply_count(receivers);
    Ok(())
}

fn deliver(
    call: &mut Call<'_>,
    subscribers: &IndexSet<usize>,
    encoded: &mut Encoded<impl Fn(&mut Writer<'_>)>,
) -> usize {
    for number in subscribers {
        let message = encoded.in_version(call.app.clients[*number].protocol);
        if *number == call.me {
            // Like Redis, a client that publishes to itself gets the message before the reply.
            push(call, message);
        } else {
            call.app.post(*number, message);
        }
    }
    subscribers.len()
}

pub(crate) fn subscribe(call: &mut Call<'_>) -> Done {
    subscribe_to(call, Kind::Channel, b"subscribe")
}

pub(crate) fn psubscribe(call: &mut Call<'_>) -> Done {
    subscribe_to(call, Kind::Pattern, b"psubscribe")
}

pub(crate) fn unsubscribe(call: &mut Call<'_>) -> Done {
    unsubscribe_from(call, Kind::Channel, b"unsubscribe")
}

pub(crate) fn punsubscribe(call: &mut Call<'_>) -> Done {
    unsubscribe_from(call, Kind::Pattern, b"punsubscribe")
}

fn subscribe_to(call: &mut Call<'_>, kind: Kind, word: &[u8]) -> Done {
    for name in &call.args[1..] {
        let me = call.me;
        let client = call.client();
        let own = if kind == Kind::Channel { &mut client.channels } else { &mut client.patterns };
        own.insert(Bytes::from(*name));
        call.app.channels.of(kind).entry(Bytes::from(*name)).or_default().insert(me);
        confirm(call, word, Some(name));
    }
    Ok(())
}

fn unsubscribe_from(call: &mut Call<'_>, kind: Kind, word: &[u8]) -> Done {
    let (me, args) = (call.me, call.args);
    let client = call.client();
    let own = if kind == Kind::Channel { &client.channels } else { &client.patterns };
    let names: Vec<Bytes> = match args.len() {
        1 => own.iter().cloned().collect(),
        _ => args[1..].iter().map(|name| Bytes::from(*name)).collect(),
    };
    for name in &names {
        leave(call.app, me, kind, name);
        confirm(call, word, Some(name));
    }
    if names.is_empty() {
        confirm(call, word, None);
    }
    Ok(())
}

fn leave(app: &mut App, number: usize, kind: Kind, name: &[u8]) {
    let client = &mut app.clients[number];
    let own = if kind == Kind::Channel { &mut client.channels } else { &mut client.patterns };
    own.swap_remove(name);
    own.give_back();
    let table = app.channels.of(kind);
    if let Some(subscribers) = table.get_mut(name) {
        subscribers.swap_remove(&number);
        subscribers.give_back();
        if subscribers.is_empty() {
            table.swap_remove(name);
            table.give_back();
        }
    }
}

fn confirm(call: &mut Call<'_>, word: &[u8], name: Option<&[u8]>) {
    let (count, protocol) = (call.client().subscriptions(), call.client().protocol);
    let encoded = shared(protocol, |out| {
        out.push(3);
        out.bulk(word);
        bulk_or_null(out, name);
        out.integer(count as i64);
    });
    push(call, encoded);
}

/// Writes a message to the client of the call, unless it wants no replies.
fn push(call: &mut Call<'_>, encoded: Arc<[u8]>) {
    if call.client().replies != Replies::On {
        call.app.post(call.me, encoded);
    } else if !call.is_over_limit() {
        call.out.share(encoded);
    }
}

/// Enters the subscriptions of a client that another program has had.
pub(crate) fn enter(
    app: &mut App,
    number: usize,
    channels: IndexSet<Bytes>,
    patterns: IndexSet<Bytes>,
) {
    for (kind, names) in [(Kind::Channel, &channels), (Kind::Pattern, &patterns)] {
        for name in names {
            app.channels.of(kind).entry(name.clone()).or_default().insert(number);
        }
    }
    let client = &mut app.clients[number];
    (client.channels, client.patterns) = (channels, patterns);
}

/// Ends all subscriptions of a client.
pub(crate) fn forget(app: &mut App, number: usize) {
    let client = &mut app.clients[number];
    let (channels, patterns) =
        (std::mem::take(&mut client.channels), std::mem::take(&mut client.patterns));
    channels.iter().for_each(|name| leave(app, number, Kind::Channel, name));
    patterns.iter().for_each(|name| leave(app, number, Kind::Pattern, name));
}

pub(crate) fn channels(call: &mut Call<'_>) -> Done {
    let pattern = match &call.args[2..] {
        [] => None,
        [pattern] => Some(pattern),
        _ => return Err(wrong_subcommand(call.args)),
    };
    let names = call.app.channels.names.keys();
    call.out.counted(Item::Array, |out| {
        let found = names.filter(|it| pattern.is_none_or(|pattern| glob::matches(pattern, it)));
        found.map(|name| out.bulk(name)).count()
    });
    Ok(())
}

pub(crate) fn numsub(call: &mut Call<'_>) -> Done {
    let names = &call.args[2..];
    call.out.array(names.len() * 2);
    for name in names {
        let subscribers = call.app.channels.names.get(*name).map_or(0, IndexSet::len);
        call.out.bulk(name);
        call.reply_count(subscribers);
    }
    Ok(())
}

pub(crate) fn numpat(call: &mut Call<'_>) -> Done {
    let (_, patterns) = call.app.channels.counts();
    call.reply_count(patterns);
    Ok(())
}
