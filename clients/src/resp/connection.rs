//! One connection: it sends commands and receives their answers in order.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use protocol::Output;
use protocol::resp::{Item, Protocol, Value, Writer};

use super::name::Name;
use super::session::{self, ClientSession, Wired};
use super::subscribe::is_unasked;
use super::{Answer, Cause, Error, Options};
use crate::blocking::{Cutter, Deadline, Socket};
use crate::{location, tls};

/// A blocking connection to a server of RESP.
///
/// Every command has exactly one result: an answer, an error of the server, or the loss of the
/// connection. After a loss, every operation returns the same error. A lost connection is not used
/// again, since a late answer could be taken for that of another command.
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
    driver: Wired,
    pub(super) address: String,
    pub(super) options: Options,
    /// The commands that have not been sent.
    output: Output,
    /// The commands that have not been answered, the oldest first.
    owed: VecDeque<Name>,
    /// Pushes and messages that were not taken, each with its size in bytes.
    pushes: VecDeque<(Answer, usize)>,
    pushes_size: usize,
    /// The number of subscriptions, as the server has reported it.
    pub(super) subscriptions: i64,
    lost: Option<Cause>,
}

impl Connection {
    /// Connects with the default [`Options`].
    ///
    /// # Errors
    /// The same as those of [`Options::connect`].
    pub fn connect(address: &str) -> Result<Self, Error> {
        Options::default().connect(address)
    }

    /// Connects and sends nothing: no version, no password, no database. The handshake of TLS, if the
    /// options ask for it, is over then.
    ///
    /// # Errors
    /// When the address is not valid, or the connection cannot be made in time or encrypted.
    pub fn open(address: &str, options: &Options) -> Result<Self, Error> {
        let fail = |cause| Error::new("connect", address, cause);
        let target =
            location(address).map_err(|failure| fail(Cause::Address(failure.to_string())))?;
        let layer = tls::layer(options.encryption.as_ref(), &target)
            .map_err(|error| fail(Cause::of_connecting(error)))?;
        let is_encrypted = layer.is_some();
        let timeout = options.connect_timeout;
        let socket =
            Socket::connect(target, timeout).map_err(|error| fail(Cause::of_connecting(error)))?;
        let mut driver =
            ClientSession::drive(socket, layer, options.limits, options.answers_size_max);
        if is_encrypted {
            session::shake_hands(&mut driver, timeout)
                .map_err(|cause| fail(cause.of_handshake()))?;
        }
        Ok(Self {
            driver,
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

    /// Sends a command and waits for its answer.
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

    /// Sends a command, waits for its answer, and calls `look` with a view of it in the input.
    ///
    /// # Errors
    /// When the server answers with an error, or the connection is lost.
    ///
    /// # Panics
    /// In the same cases as [`call`](Self::call).
    pub fn call_with<C: AsRef<[u8]>, T>(
        &mut self,
        command: impl IntoIterator<Item = C, IntoIter: ExactSizeIterator>,
        look: impl FnOnce(Value<'_>) -> T,
    ) -> Result<T, Error> {
        let owed = self.owed.len();
        assert!(owed == 0, "{owed} answers have to be received before a call");
        self.send(command);
        if let Err(error) = self.flush() {
            // The error was returned here, so the command has no answer to receive.
            self.expect_no_answer();
            return Err(error);
        }
        self.receive_with(look)
    }

    /// Appends a command to the output. [`flush`](Self::flush) sends it.
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

    /// Sends the appended commands. Reads answers meanwhile, so that a server which waits until
    /// they are read does not wait for ever.
    ///
    /// # Errors
    /// When the server accepts nothing more in time, or the connection is lost. Each
    /// [`receive`](Self::receive) returns the error again.
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
        let timeout = self.options.write_timeout;
        let sent = session::send(&mut self.driver, &mut self.output, timeout);
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

    /// Waits for the same answer as [`receive`](Self::receive), and calls `look` with a view of it
    /// in the input.
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
        let mut deadline = Deadline::after(self.options.read_timeout);
        let mut look = Some(look);
        loop {
            let seen = self.next(&mut deadline, |value, subscribed| {
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

    /// Waits for the next value of any kind, and calls `look` with a view of it: an answer, an
    /// error or a push. Returns `None` if nothing arrives in `timeout`; the connection stays
    /// usable. A timeout of `None` waits for ever.
    ///
    /// This is for tools, and for commands that have no answer or more than one, such as `MONITOR`.
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

    /// Waits as [`next`](Self::next) does. Silence is not an error.
    pub(super) fn try_next<T>(
        &mut self,
        timeout: Option<Duration>,
        look: impl FnOnce(Value<'_>, bool) -> T,
    ) -> Result<Option<T>, Cause> {
        match self.next(&mut Deadline::after(timeout), look) {
            Ok(seen) => Ok(Some(seen)),
            Err(Cause::TimedOut) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Waits for the next value. Calls `look` with it, and with whether messages of subscriptions
    /// arrive as arrays.
    fn next<T>(
        &mut self,
        deadline: &mut Deadline,
        look: impl FnOnce(Value<'_>, bool) -> T,
    ) -> Result<T, Cause> {
        if let Some(cause) = self.lost.clone() {
            return Err(cause);
        }
        let subscribed = self.subscriptions > 0 && self.options.protocol == Protocol::Resp2;
        let (mut look, mut seen) = (Some(look), None);
        let received = session::receive(&mut self.driver, deadline, &mut |value| {
            seen = look.take().map(|look| look(value, subscribed));
        });
        match (received, seen) {
            (Ok(()), Some(seen)) => Ok(seen),
            // The caller decides whether a timeout is a failure.
            (Err(Cause::TimedOut), _) => Err(Cause::TimedOut),
            (Err(cause), _) => Err(self.lose(cause)),
            (Ok(()), None) => Err(self.lose(Cause::Unexpected)),
        }
    }

    /// Keeps a push or a message until it is taken.
    pub(super) fn keep_push(&mut self, push: Answer, size: usize) -> Result<(), Cause> {
        self.pushes_size += size;
        if self.pushes_size > self.options.pushes_size_max {
            return Err(self.lose(Cause::Pushes));
        }
        self.pushes.push_back((push, size));
        Ok(())
    }

    /// Takes the oldest push or message that arrived while the caller waited for answers.
    pub(super) fn take_push(&mut self) -> Option<Answer> {
        let (push, size) = self.pushes.pop_front()?;
        self.pushes_size -= size;
        Some(push)
    }

    /// Removes the newest command from those that wait for an answer.
    pub(super) fn expect_no_answer(&mut self) {
        self.owed.pop_back();
    }

    /// Returns how many answers have not been received.
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Returns the address of the server, as it was given when connecting.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns whether the connection was lost.
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Returns why the connection was lost, if it was.
    pub fn lost(&self) -> Option<&Cause> {
        self.lost.as_ref()
    }

    /// Returns a handle that cuts this connection from another thread.
    pub fn cutter(&self) -> Cutter {
        self.driver.cutter()
    }

    /// Returns an error with this connection's address.
    pub(super) fn error(&self, operation: impl Into<String>, cause: Cause) -> Error {
        Error::new(operation, &self.address, cause)
    }

    pub(super) fn lose(&mut self, cause: Cause) -> Cause {
        self.output.clear();
        self.lost = Some(cause.clone());
        cause
    }
}

impl Drop for Connection {
    /// Ends the stream of TLS: without that, the server could not tell the end from an attack.
    fn drop(&mut self) {
        if self.lost.is_none() && self.options.encryption.is_some() {
            session::end(&mut self.driver);
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.driver.as_fd()
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
