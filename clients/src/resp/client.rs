//! A client on the loop, which outlives its connections.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::tls::Tls;
use reactor::{ClientOptions, ClientState, Cx, Location, LoopCx, NotSent, Reason, Unanswered};

use super::command::{Change, Command};
use super::exchange::{Answered, RespExchange};
use super::name::Name;
use super::{Answer, Cause, Error, Message, Options};
use crate::tls::Encryption;

/// A client of a server of RESP on the loop: no call blocks, and it connects again when its
/// connection ends. Every new connection requests the version of RESP, sends the password, selects
/// the database, sets the name and requests reports of changed keys ([`Options`]), and restores the
/// subscriptions. What other commands have changed of a connection is not restored.
///
/// It is a handle, which any thread may clone and use. When the last one is dropped, the client
/// finishes what it has accepted and ends. `A` is the application state of the loop.
///
/// Each command that is accepted completes exactly once, on the loop: with its answer, with an error
/// of the server, or with [`Cause::Unanswered`], which says whether the command may have been
/// carried out. Commands are sent in the order of the calls, many at a time (pipelining).
///
/// ```no_run
/// use clients::resp::{Client, Options};
/// use reactor::{ClientOptions, Reactor};
///
/// let mut reactor = Reactor::new(())?;
/// let options = Options::default();
/// let client =
///     Client::open("127.0.0.1:6379", &options, ClientOptions::DEFAULT, &mut reactor.cx())?;
/// client.call(["INCR", "visits"], |result, cx| {
///     match result {
///         Ok(answer) => println!("visit {:?}", answer.as_integer()),
///         Err(error) if error.may_be_done() => println!("it may have been counted: {error}"),
///         Err(error) => println!("it was not counted: {error}"),
///     }
///     cx.stop();
/// })?;
/// reactor.run()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client<A> {
    inner: reactor::Client<A, RespExchange>,
    address: Arc<str>,
}

impl<A: 'static> Client<A> {
    /// Starts a client of the server at `address`: `127.0.0.1:6379`, `tcp://[::1]:6379`,
    /// `host:6379` or `unix:/run/redis.sock`. A server that cannot be reached, or that refuses the
    /// password, is no error here: the client tries again, and [`failure`](Self::failure) says why.
    ///
    /// Of `options`, the encryption, the version, the credentials, the database, the name, the tracking
    /// and the limits count.
    /// Times are those of `client`.
    ///
    /// # Errors
    /// When the address is not valid, the options cannot be worked with, or the loop is being
    /// dropped.
    pub fn open<P>(
        address: &str,
        options: &Options,
        client: ClientOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> Result<Self, Error> {
        Self::build(Some(location(address)?), address, options, client, cx)
    }

    /// Starts a client whose server is not known yet. Commands wait until
    /// [`set_target`](Self::set_target) is called. Errors call the server `name`.
    ///
    /// # Errors
    /// When the options cannot be worked with, or the loop is being dropped.
    pub fn open_later<P>(
        name: &str,
        options: &Options,
        client: ClientOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> Result<Self, Error> {
        Self::build(None, name, options, client, cx)
    }

    fn build<P>(
        target: Option<Location>,
        address: &str,
        options: &Options,
        client: ClientOptions,
        cx: &mut Cx<'_, A, P>,
    ) -> Result<Self, Error> {
        options.check(address)?;
        let (client, exchange) = (bounded(client, options), RespExchange::new(address, options));
        let opened = match (&options.encryption, target) {
            (Some(encryption), target) => {
                let layers = layers(encryption);
                reactor::Client::open_over(target, layers, exchange, client, cx)
            }
            (None, Some(target)) => reactor::Client::open(target, exchange, client, cx),
            (None, None) => reactor::Client::open_later(exchange, client, cx),
        };
        opened.map(|inner| Self::of(inner, address)).map_err(|error| failed(address, error))
    }

    /// Sends a command, and calls `completion` on the loop with the result: exactly once, never
    /// before this call has returned to the loop. The answer may take
    /// [`ClientOptions::timeout`](reactor::ClientOptions::timeout).
    ///
    /// # Errors
    /// When the command is not accepted: the client is closed, or too many commands wait. It is not
    /// sent, and `completion` is dropped without being called.
    ///
    /// # Panics
    /// When the command has no name.
    pub fn call<T: AsRef<[u8]>>(
        &self,
        command: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        completion: impl FnOnce(Result<Answer, Error>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), Error> {
        self.execute(Command::new(command), None, completion)
    }

    /// Sends a command as [`call`](Self::call) does. The answer may take `timeout`, or as long as
    /// the options say. [`Duration::MAX`] is for ever, which blocking commands need.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    pub fn execute(
        &self,
        command: Command,
        timeout: Option<Duration>,
        completion: impl FnOnce(Result<Answer, Error>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), Error> {
        let (name, address) = (command.short_name(), Arc::clone(&self.address));
        let done = move |result: Result<Answered, Unanswered>, cx: &mut LoopCx<'_, A>| {
            completion(told(result, name, &address), cx);
        };
        let accepted = match timeout {
            Some(timeout) => self.inner.call_within(timeout, command, done),
            None => self.inner.call(command, done),
        };
        accepted.map_err(|why| self.refused(name, why))
    }

    /// Sends commands together, and calls `completion` once all of them have their results, with one
    /// for each, in order. Each command completes for itself: if the connection is lost, some may be
    /// answered and others not.
    ///
    /// # Errors
    /// When the first command is not accepted: nothing is sent. Further ones that are not accepted
    /// have that in their results.
    ///
    /// # Panics
    /// When there is no command.
    pub fn pipeline(
        &self,
        commands: impl IntoIterator<Item = Command>,
        completion: impl FnOnce(Vec<Result<Answer, Error>>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), Error> {
        let commands: Vec<Command> = commands.into_iter().collect();
        assert!(!commands.is_empty(), "a pipeline has commands");
        let results = commands.iter().map(|_| None).collect();
        let completion: Collector<A> = Box::new(completion);
        let collected = Collected { results, left: commands.len(), completion: Some(completion) };
        let shared = Arc::new(Mutex::new(collected));
        // No result is taken before all commands were passed on, so the last is one of the loop.
        let mut collected = lock(&shared);
        for (place, command) in commands.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            let done = move |result, cx: &mut LoopCx<'_, A>| collect(&shared, place, result, cx);
            match self.execute(command, None, done) {
                Ok(()) => {}
                Err(error) if place == 0 => return Err(error),
                Err(error) => {
                    collected.results[place] = Some(Err(error));
                    collected.left -= 1;
                }
            }
        }
        Ok(())
    }

    /// Sends a command from another thread than that of the loop, and blocks until it has its
    /// result. On the thread of the loop it would wait for ever.
    ///
    /// # Errors
    /// When the server answers with an error, or the command has no answer.
    pub fn wait(&self, command: Command) -> Result<Answer, Error> {
        let name = command.short_name();
        told(self.inner.wait(command), name, &self.address)
    }

    /// Subscribes to channels, and calls `completion` once the server has confirmed all of them. From
    /// then on, each new connection subscribes again. Messages go to
    /// [`on_message`](Self::on_message).
    ///
    /// In RESP2, only a few commands are allowed on a connection with subscriptions; in RESP3 all
    /// are.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Panics
    /// When there is no channel.
    pub fn subscribe<T: AsRef<[u8]>>(
        &self,
        channels: impl IntoIterator<Item = T>,
        completion: impl FnOnce(Result<(), Error>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), Error> {
        self.change(Change::Subscribe, channels, completion)
    }

    /// Subscribes to all channels that match patterns, as [`subscribe`](Self::subscribe) does.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Panics
    /// When there is no pattern.
    pub fn subscribe_to_patterns<T: AsRef<[u8]>>(
        &self,
        patterns: impl IntoIterator<Item = T>,
        completion: impl FnOnce(Result<(), Error>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), Error> {
        self.change(Change::SubscribeToPatterns, patterns, completion)
    }

    /// Ends subscriptions to channels.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Panics
    /// When there is no channel.
    pub fn unsubscribe<T: AsRef<[u8]>>(
        &self,
        channels: impl IntoIterator<Item = T>,
        completion: impl FnOnce(Result<(), Error>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), Error> {
        self.change(Change::Unsubscribe, channels, completion)
    }

    /// Ends subscriptions to patterns.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Panics
    /// When there is no pattern.
    pub fn unsubscribe_from_patterns<T: AsRef<[u8]>>(
        &self,
        patterns: impl IntoIterator<Item = T>,
        completion: impl FnOnce(Result<(), Error>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), Error> {
        self.change(Change::UnsubscribeFromPatterns, patterns, completion)
    }

    fn change<T: AsRef<[u8]>>(
        &self,
        change: Change,
        names: impl IntoIterator<Item = T>,
        completion: impl FnOnce(Result<(), Error>, &mut LoopCx<'_, A>) + Send + 'static,
    ) -> Result<(), Error> {
        let names: Vec<Vec<u8>> = names.into_iter().map(|name| name.as_ref().to_vec()).collect();
        // Without names, the server would end all subscriptions.
        assert!(!names.is_empty(), "{} needs names", change.word());
        let done = |result: Result<Answer, Error>, cx: &mut LoopCx<'_, A>| {
            completion(result.map(drop), cx);
        };
        self.execute(Command::change(change, names), None, done)
    }

    /// Calls `hook` with each message of a subscription and every other push of RESP3, in place of an
    /// earlier hook. Messages that come while there is no hook are dropped.
    pub fn on_message(&self, hook: impl FnMut(Message, &mut LoopCx<'_, A>) + Send + 'static) {
        self.inner.on_push(hook);
    }

    /// Calls `hook` each time a connection is open for commands, with the subscriptions restored, in
    /// place of an earlier hook.
    pub fn on_connect(&self, hook: impl FnMut(&mut LoopCx<'_, A>) + Send + 'static) {
        self.inner.on_connect(hook);
    }

    /// Calls `hook` each time such a connection has ended, in place of an earlier hook.
    pub fn on_disconnect(&self, hook: impl FnMut(&Reason, &mut LoopCx<'_, A>) + Send + 'static) {
        self.inner.on_disconnect(hook);
    }

    /// Returns the state.
    pub fn state(&self) -> ClientState {
        self.inner.state()
    }

    /// Returns how many commands were accepted and are not completed.
    pub fn pending(&self) -> usize {
        self.inner.pending()
    }

    /// Returns why the last connection or attempt failed, unless there is a connection.
    pub fn failure(&self) -> Option<Arc<Reason>> {
        self.inner.failure()
    }

    /// Changes the server to which it connects. Commands in flight complete as when the connection
    /// is lost, and those that were not sent go to the new server
    /// ([`reactor::Client::set_target`]).
    pub fn set_target(&self, target: Option<Location>) {
        self.inner.set_target(target);
    }

    /// Returns the server to which it connects, if it is known.
    pub fn target(&self) -> Option<Arc<Location>> {
        self.inner.target()
    }

    /// Returns the address of the server, as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends the client gracefully: it takes no more commands, waits for the answers to those that it
    /// has accepted, and closes the connection.
    pub fn stop_gracefully(&self) {
        self.inner.stop_gracefully();
    }

    /// Ends the client at once. Its commands complete as when the connection is lost.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Returns a client whose errors call the server `address`.
    pub(super) fn of(inner: reactor::Client<A, RespExchange>, address: &str) -> Self {
        Self { inner, address: address.into() }
    }

    fn refused(&self, name: Name, why: NotSent) -> Error {
        Error::new(name.text(), &self.address, Cause::Unanswered(why.into()))
    }
}

impl<A> Clone for Client<A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), address: Arc::clone(&self.address) }
    }
}

impl<A> fmt::Debug for Client<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

/// Returns the server at an address.
pub(super) fn location(address: &str) -> Result<Location, Error> {
    address
        .parse()
        .map_err(|error| Error::new("connect", address, Cause::Address(format!("{error}"))))
}

/// Returns the options of a client whose answers have the limit of `options`.
pub(super) fn bounded(mut client: ClientOptions, options: &Options) -> ClientOptions {
    let size_max = client.limits.message_size_max.max(options.answers_size_max);
    client.limits.message_size_max = size_max;
    client
}

/// Returns what makes the layers of encrypted connections.
pub(super) fn layers(
    encryption: &Encryption,
) -> impl FnMut(&Location) -> io::Result<Tls> + Clone + 'static + use<> {
    let encryption = encryption.clone();
    move |location| Ok(encryption.layer(location)?)
}

/// Returns the error of a client that could not be started.
pub(super) fn failed(address: &str, error: io::Error) -> Error {
    Error::new("connect", address, Cause::Io(Arc::new(error)))
}

/// Returns a result as the caller is told it.
fn told(result: Result<Answered, Unanswered>, name: Name, address: &str) -> Result<Answer, Error> {
    let cause = match result {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(words)) => Cause::Server(words),
        Err(unanswered) => Cause::Unanswered(unanswered),
    };
    Err(Error::new(name.text(), address, cause))
}

type Collector<A> = Box<dyn FnOnce(Vec<Result<Answer, Error>>, &mut LoopCx<'_, A>) + Send>;

/// The results of a pipeline as they come.
struct Collected<A> {
    results: Vec<Option<Result<Answer, Error>>>,
    /// How many are missing.
    left: usize,
    /// `None` once it was called.
    completion: Option<Collector<A>>,
}

fn lock<A>(shared: &Mutex<Collected<A>>) -> MutexGuard<'_, Collected<A>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stores a result. Calls the completion if it was the last.
fn collect<A>(
    shared: &Mutex<Collected<A>>,
    place: usize,
    result: Result<Answer, Error>,
    cx: &mut LoopCx<'_, A>,
) {
    let mut collected = lock(shared);
    collected.results[place] = Some(result);
    collected.left -= 1;
    if collected.left > 0 {
        return;
    }
    let results = std::mem::take(&mut collected.results).into_iter().flatten().collect();
    let completion = collected.completion.take();
    drop(collected);
    if let Some(completion) = completion {
        completion(results, cx);
    }
}
