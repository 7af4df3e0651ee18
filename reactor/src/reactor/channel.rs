//! A typed, bounded channel into a loop.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError};

use crate::reactor::remote::PostError;
use crate::reactor::run_state::RunState;
use crate::reactor::trim::Table;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::{Cx, Forked, Handler, LoopCx, Reason, Token, Waker};

/// Returns the two sides of a channel into a loop, in which up to `capacity` messages wait. Any thread
/// sends; the loop on which the receiver is [registered](Receiver::register) calls a closure for each
/// message.
///
/// ```
/// use reactor::{Reactor, channel};
///
/// let mut reactor = Reactor::new(0)?;
/// let (sender, receiver) = channel(16)?;
/// receiver.register(&mut reactor.cx(), |number: Option<u32>, cx| match number {
///     Some(number) => *cx.app += number,
///     // All senders are gone.
///     None => cx.stop(),
/// })?;
/// let worker = std::thread::spawn(move || (1..=100).try_for_each(|number| sender.send(number)));
/// reactor.run()?;
/// worker.join().expect("it does not panic")?;
/// assert_eq!(reactor.app, 5050);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When `capacity` is zero: no message could be sent.
pub fn channel<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    if capacity == 0 {
        let text = "a channel needs a capacity of at least one message";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let state = State {
        messages: VecDeque::new(),
        capacity,
        senders: 1,
        blocked: 0,
        is_received: true,
        waker: None,
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), room: Condvar::new() });
    Ok((Sender { shared: Arc::clone(&shared) }, Receiver { shared }))
}

/// What the two sides share.
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Told when a blocked sender may go on.
    room: Condvar,
}

struct State<T> {
    messages: VecDeque<T>,
    capacity: usize,
    senders: usize,
    /// How many senders wait for room.
    blocked: usize,
    /// Whether the receiver is there.
    is_received: bool,
    /// Wakes the source of the receiver, once it is registered.
    waker: Option<Waker>,
}

impl<T> State<T> {
    /// Adds a message if there is room, and gives it back otherwise.
    fn add(&mut self, message: T) -> Result<(), SendError<T>> {
        let kind = if !self.is_received {
            SendErrorKind::Gone
        } else if self.messages.len() >= self.capacity {
            SendErrorKind::Full { capacity: self.capacity }
        } else {
            // The lock is held, so the loop finds the message.
            match self.waker.as_ref().map_or(Ok(()), Waker::wake) {
                Ok(()) => {
                    self.messages.push_back(message);
                    return Ok(());
                }
                Err(PostError::Forked) => SendErrorKind::Forked,
                Err(_) => SendErrorKind::Gone,
            }
        };
        Err(SendError { message, kind })
    }
}

impl<T> Shared<T> {
    /// Returns the state, also after a thread panicked: it is consistent between operations.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Next<T> {
        let mut state = self.lock();
        let Some(message) = state.messages.pop_front() else {
            state.messages.trim();
            return if state.senders == 0 { Next::Closed } else { Next::Nothing };
        };
        if state.blocked > 0 {
            self.room.notify_one();
        }
        Next::Message(message)
    }
}

/// What the loop finds in a channel.
enum Next<T> {
    Message(T),
    Nothing,
    /// Nothing waits, and all senders are gone.
    Closed,
}

/// Sends messages into a loop from any thread ([`channel`]). All clones send into the same channel. The
/// messages of one sender arrive in their order.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends a message, if there is room for it. It never blocks.
    ///
    /// # Errors
    /// When as many messages wait as the channel has capacity for, when the receiver is gone, and in a
    /// process that was forked from that of the loop. The error contains the message.
    pub fn try_send(&self, message: T) -> Result<(), SendError<T>> {
        self.shared.lock().add(message)
    }

    /// Sends a message, and blocks the calling thread until there is room for it. It is for other
    /// threads than that of the loop.
    ///
    /// # Errors
    /// As for [`try_send`](Self::try_send), but a full channel is an error only on the thread of the
    /// loop, which would wait for itself. If the receiver ends meanwhile, that is an error too. A
    /// receiver that is neither registered nor dropped keeps the thread waiting.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        let mut state = self.shared.lock();
        let mut message = message;
        loop {
            match state.add(message) {
                Err(SendError { message: kept, kind: SendErrorKind::Full { .. } })
                    if !state.waker.as_ref().is_some_and(Waker::is_on_own_thread) =>
                {
                    message = kept;
                }
                result => return result,
            }
            state.blocked += 1;
            state = self.shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.blocked -= 1;
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        if let Some(waker) = state.waker.as_ref().filter(|_| state.senders == 0) {
            // A loop that is gone needs no message.
            let _ = waker.wake();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Sender")
            .field("waiting", &state.messages.len())
            .field("capacity", &state.capacity)
            .field("gone", &!state.is_received)
            .finish()
    }
}

/// The side of a [`channel`] that a loop receives from. When it is dropped, or its source ends, the
/// messages that wait are dropped and the senders get an error.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T: 'static> Receiver<T> {
    /// Registers the receiver as a source of a loop, which calls `call` for each message, at most
    /// [`LoopLimits::remote_calls_per_turn`](crate::LoopLimits::remote_calls_per_turn) in a turn. When
    /// all senders are gone and every message has come, `call` gets `None`, and the source ends.
    /// Closing the token ends it earlier.
    ///
    /// # Errors
    /// A loop that is being dropped refuses. The senders learn that the receiver is gone.
    pub fn register<A: 'static, P>(
        self,
        cx: &mut Cx<'_, A, P>,
        call: impl FnMut(Option<T>, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        let shared = Arc::clone(&self.shared);
        let token = cx.spawn(Receives { receiver: self, call })?;
        let waker = cx.waker_of(token);
        shared.lock().waker = Some(waker);
        // For what was sent before.
        cx.wake(token);
        Ok(token)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_received = false;
        state.waker = None;
        let messages = std::mem::take(&mut state.messages);
        self.shared.room.notify_all();
        drop(state);
        // Outside of the lock: the drop of a message may send or panic.
        drop(messages);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Receiver")
            .field("waiting", &state.messages.len())
            .field("capacity", &state.capacity)
            .field("senders", &state.senders)
            .finish()
    }
}

/// The source of a receiver.
struct Receives<T, F> {
    receiver: Receiver<T>,
    call: F,
}

impl<A, T, F: FnMut(Option<T>, &mut LoopCx<'_, A>)> Handler<A> for Receives<T, F> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        for _ in 0..cx.core.limits.remote_calls_per_turn {
            match self.receiver.shared.next() {
                Next::Message(message) => (self.call)(Some(message), &mut cx.outside()),
                Next::Nothing => return Ok(()),
                Next::Closed => {
                    (self.call)(None, &mut cx.outside());
                    cx.end(Reason::Finished);
                    return Ok(());
                }
            }
            if !cx.core.lent.is_live {
                return Ok(());
            }
            if cx.core.run_state == RunState::StopNow || cx.core.is_copy() {
                break;
            }
        }
        // There may be more.
        let me = cx.me();
        cx.wake(me);
        Ok(())
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // For what the copy has waiting.
        let me = cx.me();
        cx.wake(me);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "reactor::Receiver"
    }
}

/// A message that was not sent, and why.
pub struct SendError<T> {
    /// The message.
    pub message: T,
    /// Why it was not sent.
    pub kind: SendErrorKind,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendErrorKind {
    /// Too many messages wait.
    Full {
        /// How many messages may wait.
        capacity: usize,
    },
    /// The receiver has ended, or its loop is gone.
    Gone,
    /// The loop is in the process that this one was forked from.
    Forked,
}

impl fmt::Display for SendErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { capacity } => {
                write!(f, "the channel has {capacity} messages waiting already, its capacity")
            }
            Self::Gone => f.write_str("the receiver of the channel is gone"),
            Self::Forked => Forked.fmt(f),
        }
    }
}

impl std::error::Error for SendErrorKind {}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl<T> std::error::Error for SendError<T> {}

impl<T> From<SendError<T>> for io::Error {
    fn from(error: SendError<T>) -> Self {
        let class = match error.kind {
            SendErrorKind::Full { .. } => io::ErrorKind::QuotaExceeded,
            SendErrorKind::Gone => io::ErrorKind::BrokenPipe,
            SendErrorKind::Forked => return Forked.into(),
        };
        Self::new(class, error.kind)
    }
}
