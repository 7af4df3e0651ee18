//! Messages of channels.

use std::time::Duration;

use protocol::resp::{Item, Value};

use super::{Answer, Cause, Connection, Error};

/// A message to a subscriber.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A message that was published to a channel.
    Published {
        /// The channel that it was published to.
        channel: Vec<u8>,
        /// The pattern that the channel matches, if the subscription is to a pattern.
        pattern: Option<Vec<u8>>,
        /// The published bytes.
        payload: Vec<u8>,
    },
    /// Keys have changed whose changes are reported ([`Options::tracking`](super::Options)): what was
    /// kept of them is no longer valid. `None` means all keys, for example since the database was
    /// emptied.
    Invalidated(Option<Vec<Vec<u8>>>),
    /// Another push of RESP3.
    Other(Answer),
}

impl From<Answer> for Message {
    fn from(answer: Answer) -> Self {
        if let [kind, keys] = answer.elements()
            && kind.as_bytes() == Some(b"invalidate")
        {
            let bytes = |key: &Answer| key.as_bytes().map(<[u8]>::to_vec);
            let all = keys.elements().iter().filter_map(bytes).collect();
            return Self::Invalidated((!keys.is_null()).then_some(all));
        }
        let parts: Vec<_> = answer.elements().iter().map(Answer::as_bytes).collect();
        let (pattern, channel, payload) = match parts[..] {
            [Some(b"message" | b"smessage"), Some(channel), Some(payload)] => {
                (None, channel, payload)
            }
            [Some(b"pmessage"), Some(pattern), Some(channel), Some(payload)] => {
                (Some(pattern.to_vec()), channel, payload)
            }
            _ => return Self::Other(answer),
        };
        Self::Published { channel: channel.to_vec(), pattern, payload: payload.to_vec() }
    }
}

impl Connection {
    /// Subscribes to channels, and waits until the server has confirmed each.
    ///
    /// In RESP2, only a few commands are allowed while there are subscriptions; in RESP3 all are.
    ///
    /// ```no_run
    /// use clients::resp::{Connection, Message};
    ///
    /// let mut connection = Connection::connect("127.0.0.1:6379")?;
    /// connection.subscribe(["news"])?;
    /// while let Some(message) = connection.message(None)? {
    ///     if let Message::Published { payload, .. } = message {
    ///         println!("{}", String::from_utf8_lossy(&payload));
    ///     }
    /// }
    /// # Ok::<(), clients::resp::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the server refuses, or the connection is lost.
    pub fn subscribe<T: AsRef<[u8]>>(
        &mut self,
        channels: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        self.change("subscribe", channels)
    }

    /// Subscribes to all channels that match patterns: `*`, `?`, `[a-z]`.
    ///
    /// # Errors
    /// When the server refuses, or the connection is lost.
    pub fn subscribe_to_patterns<T: AsRef<[u8]>>(
        &mut self,
        patterns: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        self.change("psubscribe", patterns)
    }

    /// Ends subscriptions to channels. Messages that arrived before can still be taken.
    ///
    /// # Errors
    /// When the server refuses, or the connection is lost.
    pub fn unsubscribe<T: AsRef<[u8]>>(
        &mut self,
        channels: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        self.change("unsubscribe", channels)
    }

    /// Ends subscriptions to patterns.
    ///
    /// # Errors
    /// When the server refuses, or the connection is lost.
    pub fn unsubscribe_from_patterns<T: AsRef<[u8]>>(
        &mut self,
        patterns: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        self.change("punsubscribe", patterns)
    }

    /// Returns the next message or other push. Those that arrived while the caller waited for
    /// answers come first. Returns `None` if nothing arrives in `timeout`; the connection stays
    /// usable. A timeout of `None` waits for ever.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn message(&mut self, timeout: Option<Duration>) -> Result<Option<Message>, Error> {
        if let Some(push) = self.take_push() {
            return Ok(Some(push.into()));
        }
        let next = self.next_with(timeout, |value| Answer::from(value))?;
        Ok(next.map(Message::from))
    }

    /// Sends `command`, and waits for one confirmation for each name. Without names, nothing is
    /// sent, since the server would end all subscriptions.
    fn change<T: AsRef<[u8]>>(
        &mut self,
        command: &str,
        names: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        let mut parts = vec![command.as_bytes().to_vec()];
        parts.extend(names.into_iter().map(|name| name.as_ref().to_vec()));
        let fail = |this: &Self, cause| this.error(command.to_uppercase(), cause);
        let mut left = parts.len() - 1;
        if left == 0 {
            return Ok(());
        }
        self.send(&parts);
        let sent = self.flush();
        self.expect_no_answer();
        sent?;
        while left > 0 {
            let timeout = self.options.read_timeout;
            let seen = self.try_next(timeout, |value, _| Seen::of(value, command));
            match seen.map_err(|cause| fail(self, cause))? {
                Some(Seen::Confirmed(count)) => {
                    self.subscriptions = count;
                    left -= 1;
                }
                Some(Seen::Refused(words)) => return Err(fail(self, Cause::Server(words))),
                Some(Seen::Other(push, size)) => {
                    self.keep_push(push, size).map_err(|cause| fail(self, cause))?;
                }
                None => {
                    let cause = self.lose(Cause::TimedOut);
                    return Err(fail(self, cause));
                }
            }
        }
        Ok(())
    }
}

/// Returns whether `value` answers no command: a push, or in RESP2 a message to a subscriber.
pub(super) fn is_unasked(value: Value<'_>, subscribed: bool) -> bool {
    value.is_push()
        || subscribed
            && matches!(value.item(), Item::Array(3 | 4))
            && value.elements().next().is_some_and(|kind| {
                matches!(kind.item(), Item::Bulk(b"message" | b"pmessage" | b"smessage"))
            })
}

/// A value that arrives while subscriptions change.
pub(super) enum Seen {
    /// A change is made, and this is the number of subscriptions now.
    Confirmed(i64),
    Refused(Vec<u8>),
    Other(Answer, usize),
}

impl Seen {
    pub(super) fn of(value: Value<'_>, command: &str) -> Self {
        if let Item::Error(words) | Item::BulkError(words) = value.item() {
            return Self::Refused(words.to_vec());
        }
        let mut elements = value.elements();
        let kind = elements.next().map(|kind| kind.text().to_vec());
        match elements.nth(1).map(|count| count.item()) {
            Some(Item::Integer(count)) if kind.as_deref() == Some(command.as_bytes()) => {
                Self::Confirmed(count)
            }
            _ => Self::Other(value.into(), value.encoded().len()),
        }
    }
}
