//! The exchange of a client on the loop: which answer belongs to which command, and what a new
//! connection repeats.

use std::collections::{BTreeSet, VecDeque};

use protocol::exchange::{Exchange, Heard, Opening};
use protocol::resp::{self, Item, Protocol, Value};
use protocol::{Output, Reply};

use super::command::{Answers, Change, Command};
use super::connection::encode;
use super::name::Name;
use super::subscribe::{Seen, is_unasked};
use super::{Answer, Cause, Error, Message, Options};

/// What a command is answered with: an answer, or the words of an error.
pub(super) type Answered = Result<Answer, Vec<u8>>;

/// The client's side of RESP. It lives across connections.
pub(super) struct RespExchange {
    address: String,
    options: Options,
    /// The subscriptions that the server has confirmed, which a new connection restores.
    channels: BTreeSet<Vec<u8>>,
    patterns: BTreeSet<Vec<u8>>,
    /// The commands of the opening that have no answer.
    opening: VecDeque<Name>,
    /// How many confirmations are missing before the subscriptions are restored.
    unconfirmed: usize,
    /// How many answers or confirmations the oldest command has had.
    heard: usize,
    /// The number of subscriptions of this connection, as the server has reported it.
    subscriptions: i64,
}

impl RespExchange {
    pub(super) fn new(address: &str, options: &Options) -> Self {
        Self {
            address: address.to_owned(),
            options: options.clone(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            opening: VecDeque::new(),
            unconfirmed: 0,
            heard: 0,
            subscriptions: 0,
        }
    }

    fn is_opening(&self) -> bool {
        !self.opening.is_empty() || self.unconfirmed > 0
    }

    /// Handles a message while the connection is being opened.
    fn hear_opening(&mut self, value: Value<'_>) -> Heard<Answered, Message> {
        let words = match value.item() {
            Item::Error(words) | Item::BulkError(words) => Some(words.to_vec()),
            _ => None,
        };
        if let Some(words) = words {
            let name = self.opening.front().map_or("SUBSCRIBE".to_owned(), Name::text);
            // To PING, what loads its data set answers so. Other errors matter to commands alone.
            if name != "PING" || words.starts_with(b"LOADING") {
                return self.refuse(name, Cause::Server(words));
            }
        }
        if self.opening.is_empty() {
            let confirmed =
                [Change::Subscribe, Change::SubscribeToPatterns].into_iter().find_map(|change| {
                    match Seen::of(value, change.word()) {
                        Seen::Confirmed(count) => Some(count),
                        Seen::Refused(_) | Seen::Other(..) => None,
                    }
                });
            let Some(count) = confirmed else { return Heard::Push(Answer::from(value).into()) };
            self.subscriptions = count;
            self.unconfirmed -= 1;
        } else if is_unasked(value, false) {
            return Heard::Push(Answer::from(value).into());
        } else {
            let name = self.opening.pop_front().map(|name| name.text()).unwrap_or_default();
            if name == "HELLO" && !matches!(value.item(), Item::Map(_)) {
                return self.refuse(name, Cause::Unexpected);
            }
            if name == "ROLE" && !Answer::from(value).elements().first().is_some_and(is_master) {
                return self.refuse(name, Cause::NotMaster);
            }
        }
        if self.is_opening() { Heard::Nothing } else { Heard::Opened }
    }

    fn refuse(&self, operation: String, cause: Cause) -> Heard<Answered, Message> {
        Heard::Refused(Box::new(Error::new(operation, &self.address, cause)))
    }

    /// Handles a message while the oldest command changes subscriptions.
    fn hear_change(
        &mut self,
        value: Value<'_>,
        change: Change,
        names: &[Vec<u8>],
    ) -> Heard<Answered, Message> {
        match Seen::of(value, change.word()) {
            Seen::Confirmed(count) => {
                self.subscriptions = count;
                self.heard += 1;
                if self.heard < names.len() {
                    return Heard::Nothing;
                }
                self.heard = 0;
                self.remember(change, names);
                Heard::Reply(Ok(Answer::Integer(count)))
            }
            Seen::Refused(words) => {
                self.heard = 0;
                Heard::Reply(Err(words))
            }
            Seen::Other(push, _) => Heard::Push(push.into()),
        }
    }

    fn remember(&mut self, change: Change, names: &[Vec<u8>]) {
        let set = match change {
            Change::Subscribe | Change::Unsubscribe => &mut self.channels,
            Change::SubscribeToPatterns | Change::UnsubscribeFromPatterns => &mut self.patterns,
        };
        for name in names {
            match change {
                Change::Subscribe | Change::SubscribeToPatterns => _ = set.insert(name.clone()),
                Change::Unsubscribe | Change::UnsubscribeFromPatterns => _ = set.remove(name),
            }
        }
    }

    /// Appends the subscriptions of earlier connections.
    fn restore(&mut self, output: &mut Output) {
        let sets =
            [(Change::Subscribe, &self.channels), (Change::SubscribeToPatterns, &self.patterns)];
        for (change, names) in sets.into_iter().filter(|(_, names)| !names.is_empty()) {
            let command = Command::change(change, names.iter().cloned().collect());
            output.append(command.bytes());
        }
        self.unconfirmed = self.channels.len() + self.patterns.len();
    }
}

/// Returns whether the first part of the answer to `ROLE` is that of a master.
fn is_master(role: &Answer) -> bool {
    role.as_bytes() == Some(b"master")
}

impl Exchange for RespExchange {
    type Codec = resp::Client;
    type Request = Command;
    type Reply = Answered;
    type Push = Message;

    /// A server parses a whole command before it carries it out, and `EXEC` carries out the rest of
    /// its transaction.
    const WHOLE_ONLY: bool = true;

    fn codec(&self) -> resp::Client {
        resp::Client::with_limits(self.options.limits)
    }

    fn open(&mut self, reply: &mut Reply<'_, resp::Client>) -> Opening {
        let (_, output) = reply.parts();
        (self.heard, self.subscriptions) = (0, 0);
        self.opening = self.options.opening().iter().map(|it| encode(it, output)).collect();
        if self.options.only_master {
            self.opening.push_back(encode(["ROLE"], output));
        }
        if self.options.waits_for_data {
            self.opening.push_back(encode(["PING"], output));
        }
        self.restore(output);
        if self.is_opening() { Opening::Waits } else { Opening::Ready }
    }

    fn size(command: &Command) -> usize {
        command.bytes().len()
    }

    fn write(&mut self, command: &Command, _number: u64, reply: &mut Reply<'_, resp::Client>) {
        reply.parts().1.append(command.bytes());
    }

    fn hear(
        &mut self,
        value: Value<'_>,
        oldest: Option<&Command>,
        _reply: &mut Reply<'_, resp::Client>,
    ) -> Heard<Answered, Message> {
        if self.is_opening() {
            return self.hear_opening(value);
        }
        let wanted = match oldest.map(Command::answers) {
            Some(Answers::Confirmations(change, names)) => {
                return self.hear_change(value, *change, names);
            }
            Some(Answers::Values(wanted)) => *wanted,
            None => 1,
        };
        let is_resp2 = self.options.protocol == Protocol::Resp2;
        if is_unasked(value, is_resp2 && self.subscriptions > 0) {
            return Heard::Push(Answer::from(value).into());
        }
        self.heard += 1;
        if self.heard < wanted {
            return Heard::Nothing;
        }
        self.heard = 0;
        Heard::Reply(match value.item() {
            Item::Error(words) | Item::BulkError(words) => Err(words.to_vec()),
            _ => Ok(value.into()),
        })
    }

    fn health(&self) -> Option<Command> {
        Some(Command::new(["PING"]))
    }

    fn is_needed(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }
}
