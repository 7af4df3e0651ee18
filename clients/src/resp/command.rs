//! Commands that are encoded once, for a client that may have to send them again.

use std::fmt;

use protocol::Output;

use super::connection::encode;
use super::name::Name;

/// A command, or several that belong together, for a [`Client`](super::Client).
///
/// ```
/// use clients::resp::Command;
///
/// let command = Command::new(["SET", "colour", "blue"]);
/// assert_eq!(command.name(), "SET");
/// // Arguments do not get into logs: they may be secret or long.
/// assert!(!format!("{command:?}").contains("blue"));
/// ```
#[derive(Clone)]
pub struct Command {
    bytes: Vec<u8>,
    name: Name,
    answers: Answers,
}

/// What the server answers.
#[derive(Clone, Debug)]
pub(super) enum Answers {
    /// This many values, of which the last is the result.
    Values(usize),
    /// A confirmation for each name.
    Confirmations(Change, Vec<Vec<u8>>),
}

/// A change of the subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Subscribe,
    SubscribeToPatterns,
    Unsubscribe,
    UnsubscribeFromPatterns,
}

impl Change {
    /// Returns the name of the command, as confirmations have it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::SubscribeToPatterns => "psubscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::UnsubscribeFromPatterns => "punsubscribe",
        }
    }
}

impl Command {
    /// Returns a command with one answer. Commands that change the connection itself (`HELLO`,
    /// `AUTH`, `SELECT`, `SUBSCRIBE`, `MONITOR`, `CLIENT REPLY`, `CLIENT TRACKING`) do not belong here:
    /// [`Options`](super::Options) and the methods of [`Client`](super::Client) have them, and
    /// repeat them on each new connection.
    ///
    /// # Panics
    /// When it has no name.
    pub fn new<T: AsRef<[u8]>>(
        parts: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) -> Self {
        let mut output = Output::new();
        let name = encode(parts, &mut output);
        Self { bytes: output.to_vec(), name, answers: Answers::Values(1) }
    }

    /// Returns commands between `MULTI` and `EXEC`, which no other command comes between. The result
    /// is the answer to `EXEC`: an array with the results of the commands, among them errors.
    ///
    /// ```
    /// use clients::resp::Command;
    ///
    /// let counted = Command::transaction([
    ///     Command::new(["INCR", "requests"]),
    ///     Command::new(["EXPIRE", "requests", "60"]),
    /// ]);
    /// assert_eq!(counted.name(), "EXEC");
    /// ```
    ///
    /// # Panics
    /// When a command changes subscriptions, or is a transaction itself.
    pub fn transaction(commands: impl IntoIterator<Item = Self>) -> Self {
        let (exec, mut bytes, mut answers) = (Self::new(["EXEC"]), Self::new(["MULTI"]).bytes, 2);
        for command in commands {
            let is_one = matches!(command.answers, Answers::Values(1));
            assert!(is_one, "{command:?} cannot be a part of a transaction");
            bytes.extend(command.bytes);
            answers += 1;
        }
        bytes.extend(exec.bytes);
        Self { bytes, name: exec.name, answers: Answers::Values(answers) }
    }

    /// Returns a change of the subscriptions. There has to be a name.
    pub(super) fn change(change: Change, names: Vec<Vec<u8>>) -> Self {
        let mut parts = vec![change.word().as_bytes()];
        parts.extend(names.iter().map(Vec::as_slice));
        let command = Self::new(parts);
        Self { answers: Answers::Confirmations(change, names), ..command }
    }

    /// Returns the name of the command, in upper case. A long name is cut.
    pub fn name(&self) -> String {
        self.name.text()
    }

    pub(super) fn short_name(&self) -> Name {
        self.name
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command {} of {} bytes", self.name.text(), self.bytes.len())
    }
}
