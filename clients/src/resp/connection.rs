//! One connection: commands out, answers in, in order.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::Output;
use protocol::resp::{Item, Protocol, Value, Writer};

use super::driver::Driver;
use super::name::Name;
use super::socket::{Cutter, Patience, Socket};
use super::subscribe::is_unasked;
use super::{Answer, Cause, Error, Options};
use crate::resolve_all;

/// A connection to a server of RESP that waits for what it asks for.
///
/// Every command has exactly one result: an answer, an error of the server, or that the connection
/// was lost. A connection that was lost says so to everything it is asked afterwards, and is not
/// used again: an answer that comes too late must not be taken for another's.
///
/// ```no_run
/// use clients::resp::Connection;
///
/// let mut connection = Connection::connect("127.0.0.1:6379")?;
/// connection.call(["SET", "colour", "blue"])?;
/// let colour = connection.call(["GET", "colour"])?;
/// assert_eq!(colour.as_str(), Some("blue"));
/// // Looked at where it was received, without a copy.
/// let length = connection.call_with(["GET", "colour"], |value| value.text().len())?;
/// assert_eq!(length, 4);
/// # Ok::<(), clients::resp::Error>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    pub(super) driver: Driver,
    pub(super) address: String,
    pub(super) options: Options,
    /// The commands that have not been sent.
    output: Output,
    /// The commands that have not been answered, the oldest first.
    owed: VecDeque<Name>,
    /// What came unasked and was not taken, each with its size in bytes.
    pushes: VecDeque<(Answer, usize)>,
    pushes_size: usize,
    /// How many subscriptions there are, as the server has counted them.
    pub(super) subscriptions: i64,
    lost: Option<Cause>,
}

impl Connection {
    /// Connects with the default [`Options`].
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub fn connect(address: &str) -> Result<Self, Error> {
        Options::default().connect(address)
    }

    /// Connects, and says nothing yet: no version, no password, no database.
    ///
    /// # Errors
    /// When the address is none, or the connection cannot be made in time.
    pub fn open(address: &str, options: &Options) -> Result<Self, Error> {
        let fail = |cause| Error::new("connect", address, cause);
        let addresses =
            resolve_all(address).map_err(|failure| fail(Cause::Address(failure.to_string())))?;
        let socket = Socket::connect(&addresses, options.connect_timeout)
            .map_err(|error| fail(Cause::Connect(Arc::new(error))))?;
        Ok(Self {
            driver: Driver::new(socket, options.limits, options.answers_size_max),
            address: address.to_owned(),
            options: options.clone(),
            output: Output::new(),
            owed: VecDeque::new(),
            pushes: VecDeque::new(),
            pushes_size: 0,
            subscriptions: 0,
            lost: None,
        })
    }

    /// Says a command and waits for its answer.
    ///
    /// # Errors
    /// When the server answers with an error, or the connection is lost.
    ///
    /// # Panics
    /// When the command has no name, or commands that were [sent](Self::send) have answers that
    /// were not [received](Self::receive).
    pub fn call<T: AsRef<[u8]>>(
        &mut self,
        command: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) -> Result<Answer, Error> {
        self.call_with(command, |value| value.into())
    }

    /// Says a command, waits for its answer, and shows it to `look` where it was received.
    ///
    /// # Errors
    /// When the server answers with an error, or the connection is lost.
    ///
    /// # Panics
    /// As [`call`](Self::call).
    pub fn call_with<C: AsRef<[u8]>, T>(
        &mut self,
        command: impl IntoIterator<Item = C, IntoIter: ExactSizeIterator>,
        look: impl FnOnce(Value<'_>) -> T,
    ) -> Result<T, Error> {
        let owed = self.owed.len();
        assert!(owed == 0, "{owed} answers have to be received before a call");
        self.send(command);
        if let Err(error) = self.flush() {
            // It has been told, and is no answer that is still to be received.
            self.expect_no_answer();
            return Err(error);
        }
        self.receive_with(look)
    }

    /// Appends a command to what is to be sent. Nothing is sent before [`flush`](Self::flush).
    ///
    /// # Panics
    /// When the command has no name.
    pub fn send<T: AsRef<[u8]>>(
        &mut self,
        command: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    ) {
        let name = encode(command, &mut self.output);
        self.owed.push_back(name);
    }

    /// Appends commands that were encoded already.
    pub(super) fn adopt(&mut self, commands: Output, names: VecDeque<Name>) {
        let owed = self.owed.len();
        assert!(owed == 0, "{owed} answers have to be received before a pipeline");
        (self.output, self.owed) = (commands, names);
    }

    /// Sends what was appended. Answers are taken in meanwhile, so that a server that waits for
    /// them to be read does not wait forever.
    ///
    /// # Errors
    /// When the server takes nothing more in time, or the connection is lost. An error is told once
    /// more by each [`receive`](Self::receive).
    pub fn flush(&mut self) -> Result<(), Error> {
        self.try_flush().map_err(|cause| {
            let operation = self.owed.front().map_or("send".to_owned(), Name::text);
            self.error(operation, cause)
        })
    }

    fn try_flush(&mut self) -> Result<(), Cause> {
        if let Some(cause) = self.lost.clone() {
            self.output.clear();
            return Err(cause);
        }
        let sent = self.driver.send(&mut self.output, self.options.write_timeout);
        sent.map_err(|cause| self.lose(cause))
    }

    /// Waits for the answer to the oldest command that has none.
    ///
    /// # Errors
    /// When the server answers with an error, or the connection is lost.
    ///
    /// # Panics
    /// When all commands have their answers.
    pub fn receive(&mut self) -> Result<Answer, Error> {
        self.receive_with(|value| value.into())
    }

    /// [`receive`](Self::receive), which shows the answer to `look` where it was received.
    ///
    /// # Errors
    /// When the server answers with an error, or the connection is lost.
    ///
    /// # Panics
    /// When all commands have their answers.
    pub fn receive_with<T>(&mut self, look: impl FnOnce(Value<'_>) -> T) -> Result<T, Error> {
        enum Seen<T> {
            Answer(Result<T, Cause>),
            Push(Answer, usize),
        }
        let name = self.owed.pop_front().expect("no command waits for an answer");
        let mut patience = Patience::new(self.options.read_timeout);
        let mut look = Some(look);
        loop {
            let seen = self.next(&mut patience, |value, subscribed| {
                if is_unasked(value, subscribed) {
                    return Seen::Push(value.into(), value.encoded().len());
                }
                Seen::Answer(match value.item() {
                    Item::Error(words) | Item::BulkError(words) => {
                        Err(Cause::Server(words.to_vec()))
                    }
                    _ => look.take().map(|look| look(value)).ok_or(Cause::Unexpected),
                })
            });
            let seen = seen.map_err(|cause| {
                // The answer may still come, and must not be taken for that of another command.
                let cause = self.lose(cause);
                self.error(name.text(), cause)
            })?;
            match seen {
                Seen::Answer(answer) => {
                    return answer.map_err(|cause| self.error(name.text(), cause));
                }
                Seen::Push(push, size) => {
                    let kept = self.keep_push(push, size);
                    kept.map_err(|cause| self.error(name.text(), cause))?;
                }
            }
        }
    }

    /// Waits for whatever comes next, and shows it to `look`: an answer, an error, a push. None
    /// when nothing has come in `timeout`, which loses nothing; a timeout of None waits forever.
    ///
    /// For tools, and for commands that have no answer, or more than one, as `MONITOR` has.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn next_with<T>(
        &mut self,
        timeout: Option<Duration>,
        look: impl FnOnce(Value<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let seen = self
            .try_next(timeout, |value, subscribed| (look(value), is_unasked(value, subscribed)));
        match seen {
            Ok(Some((seen, is_unasked))) => {
                if !is_unasked {
                    self.owed.pop_front();
                }
                Ok(Some(seen))
            }
            Ok(None) => Ok(None),
            Err(cause) => {
                let operation = self.owed.front().map_or("receive".to_owned(), Name::text);
                Err(self.error(operation, cause))
            }
        }
    }

    /// [`next`](Self::next) for which silence is no failure.
    pub(super) fn try_next<T>(
        &mut self,
        timeout: Option<Duration>,
        look: impl FnOnce(Value<'_>, bool) -> T,
    ) -> Result<Option<T>, Cause> {
        match self.next(&mut Patience::new(timeout), look) {
            Ok(seen) => Ok(Some(seen)),
            Err(Cause::TimedOut) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Waits for the next value, and shows it to `look`, together with whether messages of
    /// subscriptions come as arrays.
    fn next<T>(
        &mut self,
        patience: &mut Patience,
        look: impl FnOnce(Value<'_>, bool) -> T,
    ) -> Result<T, Cause> {
        if let Some(cause) = self.lost.clone() {
            return Err(cause);
        }
        let subscribed = self.subscriptions > 0 && self.options.protocol == Protocol::Resp2;
        let (mut look, mut seen) = (Some(look), None);
        let received = self.driver.receive(patience, &mut |value| {
            seen = look.take().map(|look| look(value, subscribed));
        });
        match (received, seen) {
            (Ok(()), Some(seen)) => Ok(seen),
            // Whether that is a failure depends on what is waited for.
            (Err(Cause::TimedOut), _) => Err(Cause::TimedOut),
            (Err(cause), _) => Err(self.lose(cause)),
            (Ok(()), None) => Err(self.lose(Cause::Unexpected)),
        }
    }

    /// Keeps what came unasked until it is taken.
    pub(super) fn keep_push(&mut self, push: Answer, size: usize) -> Result<(), Cause> {
        self.pushes_size += size;
        if self.pushes_size > self.options.pushes_size_max {
            return Err(self.lose(Cause::Pushes));
        }
        self.pushes.push_back((push, size));
        Ok(())
    }

    /// The oldest of what came unasked while answers were waited for.
    pub(super) fn take_push(&mut self) -> Option<Answer> {
        let (push, size) = self.pushes.pop_front()?;
        self.pushes_size -= size;
        Some(push)
    }

    /// Forgets the answer that the newest command would have had: it is answered otherwise.
    pub(super) fn expect_no_answer(&mut self) {
        self.owed.pop_back();
    }

    /// How many answers have not been received.
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Where the server is, as it was named when connecting.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the connection was lost.
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Why the connection was lost, if it was.
    pub fn lost(&self) -> Option<&Cause> {
        self.lost.as_ref()
    }

    /// What cuts this connection from another thread.
    ///
    /// # Errors
    /// When no descriptor is free.
    pub fn cutter(&self) -> io::Result<Cutter> {
        self.driver.socket.cutter()
    }

    /// An error with this connection's address.
    pub(super) fn error(&self, operation: impl Into<String>, cause: Cause) -> Error {
        Error::new(operation, &self.address, cause)
    }

    pub(super) fn lose(&mut self, cause: Cause) -> Cause {
        self.output.clear();
        self.lost = Some(cause.clone());
        cause
    }
}

/// Appends the bytes of a command to `output`, and returns its name.
pub(super) fn encode<T: AsRef<[u8]>>(
    command: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    output: &mut Output,
) -> Name {
    let mut parts = command.into_iter().peekable();
    let name = Name::new(parts.peek().expect("a command has a name").as_ref());
    Writer::new(output, Protocol::Resp2).command(parts);
    name
}
