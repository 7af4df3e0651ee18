//! The operations of many clients on single keys, and what they were told.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use protocol::resp::Item;

use super::linear::{self, CounterExample};
use super::{quoted, seconds};

/// When a key ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// When it did before.
    Kept,
    /// It does not.
    Never,
    /// This many milliseconds after the operation.
    In(u64),
    /// This many milliseconds after 1970, on the clock of the server.
    At(u64),
}

/// What a client asks for. Names of commands are those of Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `GET`: the value or nil.
    Get,
    /// `EXISTS`: 1 or 0.
    Exists,
    /// `PTTL`: the milliseconds left, -1 without an expiry, -2 without a key.
    TimeLeft,
    /// `SET`, also with `PX`, `PXAT`, `KEEPTTL` and `NX`: OK, or nil if `NX` finds the key.
    Set {
        /// The new value.
        value: Vec<u8>,
        /// The new expiry.
        expiry: Expiry,
        /// Whether only a key that does not exist is set (`NX`).
        only_new: bool,
    },
    /// `GETSET`: the old value or nil. The new one has no expiry.
    GetSet(Vec<u8>),
    /// `GETDEL`: the old value or nil.
    GetDelete,
    /// `DEL`: 1 or 0.
    Delete,
    /// `APPEND`: the new length. The expiry stays.
    Append(Vec<u8>),
    /// `INCRBY`: the sum, or an error if the value is no number or the sum is too large. The expiry
    /// stays.
    Add(i64),
    /// `PEXPIRE`: 1, or 0 without a key. The key ends after this many milliseconds.
    ExpireIn(u64),
    /// `PEXPIREAT`: 1, or 0 without a key. The key ends this many milliseconds after 1970.
    ExpireAt(u64),
    /// `PERSIST`: 1 if there was an expiry, or 0.
    Persist,
}

impl Action {
    /// Returns a plain `SET`.
    pub fn set(value: impl Into<Vec<u8>>) -> Self {
        Self::Set { value: value.into(), expiry: Expiry::Never, only_new: false }
    }

    /// Returns a `SET` with an expiry.
    pub fn set_until(value: impl Into<Vec<u8>>, expiry: Expiry) -> Self {
        Self::Set { value: value.into(), expiry, only_new: false }
    }

    /// Returns whether the operation changes nothing, whatever the key is.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Get | Self::Exists | Self::TimeLeft)
    }

    /// Returns the parts of the request.
    pub fn request(&self, key: &[u8]) -> Vec<Vec<u8>> {
        let (name, rest): (&str, Vec<Vec<u8>>) = match self {
            Self::Get => ("GET", vec![]),
            Self::Exists => ("EXISTS", vec![]),
            Self::TimeLeft => ("PTTL", vec![]),
            Self::Set { value, expiry, only_new } => {
                let mut rest = vec![value.clone()];
                rest.extend(only_new.then(|| b"NX".to_vec()));
                rest.extend(match expiry {
                    Expiry::Never => vec![],
                    Expiry::Kept => vec![b"KEEPTTL".to_vec()],
                    Expiry::In(left) => vec![b"PX".to_vec(), text(left)],
                    Expiry::At(at) => vec![b"PXAT".to_vec(), text(at)],
                });
                ("SET", rest)
            }
            Self::GetSet(value) => ("GETSET", vec![value.clone()]),
            Self::GetDelete => ("GETDEL", vec![]),
            Self::Delete => ("DEL", vec![]),
            Self::Append(more) => ("APPEND", vec![more.clone()]),
            Self::Add(amount) => ("INCRBY", vec![text(amount)]),
            Self::ExpireIn(left) => ("PEXPIRE", vec![text(left)]),
            Self::ExpireAt(at) => ("PEXPIREAT", vec![text(at)]),
            Self::Persist => ("PERSIST", vec![]),
        };
        [vec![name.into(), key.to_vec()], rest].concat()
    }
}

fn text(number: impl fmt::Display) -> Vec<u8> {
    number.to_string().into_bytes()
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.request(b"");
        write!(f, "{}", parts[0].escape_ascii())?;
        let is_text = matches!(self, Self::Set { .. } | Self::GetSet(_) | Self::Append(_));
        for (place, part) in parts[2..].iter().enumerate() {
            match place {
                0 if is_text => write!(f, " {}", quoted(part))?,
                _ => write!(f, " {}", part.escape_ascii())?,
            }
        }
        Ok(())
    }
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// OK.
    Done,
    /// A null.
    Nil,
    /// A value.
    Bytes(Vec<u8>),
    /// A number.
    Number(i64),
    /// An error. Its text is not compared.
    Refused(String),
}

impl Outcome {
    /// Returns the outcome that a reply tells; `None` if it is none that an [`Action`] has.
    pub fn of(reply: Item<'_>) -> Option<Self> {
        match reply {
            Item::Simple(b"OK") => Some(Self::Done),
            Item::Null => Some(Self::Nil),
            Item::Bulk(bytes) => Some(Self::Bytes(bytes.to_vec())),
            Item::Integer(number) => Some(Self::Number(number)),
            Item::Error(text) => Some(Self::Refused(String::from_utf8_lossy(text).into())),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "OK"),
            Self::Nil => write!(f, "nil"),
            Self::Bytes(bytes) => write!(f, "{}", quoted(bytes)),
            Self::Number(number) => write!(f, "{number}"),
            Self::Refused(text) => write!(f, "error {text}"),
        }
    }
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The connection. A client that connects again has another number.
    pub client: u64,
    /// The key.
    pub key: Vec<u8>,
    /// What it asked for.
    pub action: Action,
    /// When it began to send the request.
    pub invoked: u64,
    /// When it had the reply, and what that was. `None` if the connection was lost before: the
    /// operation may have taken effect at any time since, or never.
    pub returned: Option<(u64, Outcome)>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, invoked) = (self.client, seconds(self.invoked));
        match &self.returned {
            Some((at, outcome)) => {
                write!(
                    f,
                    "client {client} [{invoked}, {}] {} -> {outcome}",
                    seconds(*at),
                    self.action
                )
            }
            None => write!(f, "client {client} [{invoked}, lost] {}", self.action),
        }
    }
}

/// What is assumed about the server, and the limits of the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How far the clock of the server may be from that of the history at any time, in nanoseconds.
    /// If the time of day of its host is set during the run, the sum of the jumps belongs here.
    pub tolerance: u64,
    /// The step of the clock that the server judges expiry by, in nanoseconds.
    pub granularity: u64,
    /// The time of day of the server at time 0 of the history, in nanoseconds since 1970.
    /// [`Expiry::At`] counts from there.
    pub origin: u64,
    /// Operations on one key at most. Above it, the check fails with [`Failure::TooLong`].
    pub operations_max: usize,
    /// Possible orders that are kept at a time for one key. Above it, the check fails with
    /// [`Failure::TooHard`]. The number grows with the operations that overlap, exponentially at
    /// worst, and not with the length of the history.
    pub configurations_max: usize,
}

impl Rules {
    /// A clock that is right and counts milliseconds, as in Redis; 100,000 operations on a key;
    /// 200,000 orders, which take some hundred MB.
    pub const DEFAULT: Self = Self {
        tolerance: 0,
        granularity: 1_000_000,
        origin: 0,
        operations_max: 100_000,
        configurations_max: 200_000,
    };
}

/// What a check has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Keys.
    pub keys: usize,
    /// Operations, including those whose connection was lost.
    pub operations: usize,
    /// Possible orders that were kept at a time, at most.
    pub configurations: usize,
}

/// Why a history is not accepted.
#[derive(Clone, Debug)]
pub enum Failure {
    /// No order of the operations explains the replies.
    Unordered(Box<CounterExample>),
    /// The history contradicts itself, so its recorder is wrong.
    Malformed {
        /// The operation.
        operation: Box<Operation>,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing is known: a key has too many operations.
    TooLong {
        /// The key.
        key: Vec<u8>,
        /// Its operations.
        operations: usize,
        /// The limit.
        operations_max: usize,
    },
    /// Nothing is known: too many operations overlap.
    TooHard {
        /// The key.
        key: Vec<u8>,
        /// The limit.
        configurations_max: usize,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unordered(example) => example.fmt(f),
            Self::Malformed { operation, reason } => {
                let key = quoted(&operation.key);
                write!(f, "the history of key {key} is malformed: {reason}: {operation}")
            }
            Self::TooLong { key, operations, operations_max } => {
                let key = quoted(key);
                write!(
                    f,
                    "undecided: key {key} has {operations} operations of {operations_max} at most"
                )
            }
            Self::TooHard { key, configurations_max } => {
                let key = quoted(key);
                write!(f, "undecided: key {key} has more than {configurations_max} possible orders")
            }
        }
    }
}

impl Error for Failure {}

/// The operations of a run, in the order of their requests.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
}

impl History {
    /// Returns an empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that a client sends a request. Returns the number of the operation.
    ///
    /// A client may send several requests before it has the replies. They take effect in the order
    /// in which they are recorded.
    pub fn invoke(
        &mut self,
        client: u64,
        key: impl Into<Vec<u8>>,
        action: Action,
        at: u64,
    ) -> usize {
        let key = key.into();
        self.operations.push(Operation { client, key, action, invoked: at, returned: None });
        self.operations.len() - 1
    }

    /// Records the reply to an operation.
    ///
    /// # Panics
    /// Panics if there is no such operation, or if it has a reply.
    pub fn complete(&mut self, operation: usize, outcome: Outcome, at: u64) {
        let returned = &mut self.operations[operation].returned;
        assert!(returned.is_none(), "operation {operation} has two replies");
        *returned = Some((at, outcome));
    }

    /// Returns all operations.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Searches an order of the operations of each key that explains all replies.
    ///
    /// Each operation takes effect at one moment between its request and its reply, and those of
    /// one client in their order. Keys are independent, so each has an order of its own.
    ///
    /// # Errors
    /// Returns why the history is not accepted. A limit of [`Rules`] is an error too.
    pub fn check(&self, rules: &Rules) -> Result<Checked, Failure> {
        let mut keys: BTreeMap<&[u8], Vec<&Operation>> = BTreeMap::new();
        for operation in &self.operations {
            keys.entry(&operation.key).or_default().push(operation);
        }
        let mut checked = Checked { keys: keys.len(), ..Checked::default() };
        for operations in keys.values() {
            let configurations = linear::check(operations, rules)?;
            checked.operations += operations.len();
            checked.configurations = checked.configurations.max(configurations);
        }
        Ok(checked)
    }
}

impl FromIterator<Operation> for History {
    fn from_iter<T: IntoIterator<Item = Operation>>(operations: T) -> Self {
        Self { operations: operations.into_iter().collect() }
    }
}
