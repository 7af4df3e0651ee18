//! What a session requests from its driver besides bytes.

use std::time::Duration;

use crate::{ConnectionId, Output};

/// How the loop is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As soon as the sources that are ready have run.
    Soon,
    /// Gracefully: every session is told ([`Cause::Stopping`](crate::Cause::Stopping)), and
    /// connections have this much time to finish.
    Gracefully(Duration),
}

/// How long a peer may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleLimit {
    /// As long as the loop allows every connection. This is the default.
    ByLoop,
    /// For ever, until the loop winds down.
    Never,
    /// For ever, also while the loop winds down: the session has an answer to give that it waits for.
    Busy,
}

/// What a session requests from its driver besides bytes. The driver carries it out after the call.
///
/// It is a field of [`Context`](crate::Context) beside the application's state, so that a session
/// can wake connections while it iterates over a list in that state.
///
/// ```
/// use protocol::{ConnectionId, Context};
///
/// struct Room {
///     members: Vec<ConnectionId>,
/// }
///
/// fn announce(context: &mut Context<'_, Room>) {
///     for member in &context.app.members {
///         context.effects.wake(*member);
///     }
/// }
/// # let _ = announce;
/// ```
#[derive(Debug, Default)]
pub struct Effects {
    /// Something was requested. If not, the driver need not look at the other fields.
    pub(crate) is_asked: bool,
    pub(crate) output_ended: bool,
    pub(crate) incomplete: Option<bool>,
    /// How many bytes of output come before the layer that is started.
    pub(crate) layer_started: Option<u64>,
    pub(crate) idle_limit: Option<IdleLimit>,
    pub(crate) stop: Option<Stop>,
    pub(crate) wakes: Vec<ConnectionId>,
    pub(crate) closes: Vec<ConnectionId>,
    pub(crate) timeouts: Vec<(u8, Option<Duration>)>,
}

impl Effects {
    /// Calls the session of `connection` with [`Cause::Woken`](crate::Cause::Woken) soon. Wakes
    /// coalesce: a session that is woken several times before it runs is called once. Waking a
    /// connection that is gone does nothing.
    pub fn wake(&mut self, connection: ConnectionId) {
        self.is_asked = true;
        self.wakes.push(connection);
    }

    /// Closes another connection, whose session is told [`Reason::Cancelled`](crate::Reason). Its
    /// unsent output is lost. Closing a connection that is gone does nothing. To end its own
    /// connection, a session returns [`Flow::Close`](crate::Flow::Close). It may close it like another
    /// one too, when nothing of its output is worth waiting for.
    pub fn close(&mut self, connection: ConnectionId) {
        self.is_asked = true;
        self.closes.push(connection);
    }

    /// Calls this session with [`Cause::Timeout`](crate::Cause::Timeout) and `key` after this time,
    /// never earlier. `None` removes the timeout. A session has one timeout for each key; setting
    /// it again replaces it.
    pub fn set_timeout(&mut self, key: u8, after: Option<Duration>) {
        self.is_asked = true;
        self.timeouts.push((key, after));
    }

    /// Ends the sending side of the connection once the output has been sent, and goes on reading.
    /// What is appended to the output after that is dropped.
    /// To end both sides, return [`Flow::Close`](crate::Flow::Close).
    pub fn end_output(&mut self) {
        self.is_asked = true;
        self.output_ended = true;
    }

    /// Says whether the output is incomplete in a way that the peer cannot notice: only the end of
    /// the connection shows that nothing more comes. A body of HTTP/1.0 without a length is an
    /// example.
    ///
    /// A connection whose output is incomplete does not end in order, whatever ends it:
    /// [`Flow::Close`](crate::Flow::Close), an error, a limit, or other code. The output is sent,
    /// and then the connection is reset, without the message with which a layer ends the stream
    /// (`close_notify` of TLS). What the system has taken and the peer has not received may be lost.
    /// A session says `false` when its output is complete. [`end_output`](Self::end_output) completes
    /// it too. A Unix socket cannot be reset.
    pub fn set_incomplete(&mut self, is_incomplete: bool) {
        self.is_asked = true;
        self.incomplete = Some(is_incomplete);
    }

    /// Exempts the peer from the idle limit, or ends the exemption. A peer that only waits for
    /// messages sends nothing. The limit holds again for a peer that has ended its stream while the
    /// session pauses ([`Cause::HungUp`](crate::Cause::HungUp)).
    pub fn allow_silence(&mut self, is_allowed: bool) {
        self.is_asked = true;
        self.idle_limit = Some(if is_allowed { IdleLimit::Never } else { IdleLimit::ByLoop });
    }

    /// Says whether this session waits for something that it owes its peer, such as an answer that it
    /// has from another server. The peer is exempt from the idle limit meanwhile, as with
    /// [`allow_silence`](Self::allow_silence): the later call of the two counts.
    ///
    /// A session that is busy is not ended for silence while the loop winds down, if it says so when it
    /// is told ([`Cause::Stopping`](crate::Cause::Stopping)) or later. A socket of datagrams that many
    /// peers send to receives nothing more then, and ends once the service is busy no more.
    pub fn set_busy(&mut self, is_busy: bool) {
        self.is_asked = true;
        self.idle_limit = Some(if is_busy { IdleLimit::Busy } else { IdleLimit::ByLoop });
    }

    /// Starts the layer of a link that was made with
    /// [`Link::with_layer_later`](crate::link::Link::with_layer_later). `STARTTLS` (RFC 3207) works
    /// like this.
    ///
    /// `output` is that of the session. What is in it is sent unchanged. What is appended later, even
    /// in the same call, passes through the layer. The rest of the input goes to the layer, so the
    /// session must not take more of it in this call; [`Upgrade`](crate::Upgrade) gives none of it to
    /// the next session.
    pub fn start_layer(&mut self, output: &Output) {
        self.is_asked = true;
        self.layer_started = Some(output.len());
    }

    /// Returns whether a layer was started in this call.
    pub(crate) fn starts_layer(&self) -> bool {
        self.layer_started.is_some()
    }

    /// Stops the loop as soon as the sources that are ready have run.
    pub fn stop(&mut self) {
        self.is_asked = true;
        self.stop = Some(Stop::Soon);
    }

    /// Stops the loop gracefully: every session is told
    /// ([`Cause::Stopping`](crate::Cause::Stopping)), and connections have `patience` to finish.
    pub fn stop_gracefully(&mut self, patience: Duration) {
        self.is_asked = true;
        self.stop = Some(Stop::Gracefully(patience));
    }

    /// Drops what a session has asked for its own connection, which is gone.
    pub(crate) fn forget_own(&mut self) {
        self.output_ended = false;
        self.incomplete = None;
        self.layer_started = None;
        self.idle_limit = None;
        self.timeouts.clear();
    }

    /// Returns whether anything was requested since the last call: for drivers.
    #[inline]
    pub fn take_asked(&mut self) -> bool {
        std::mem::take(&mut self.is_asked)
    }

    /// Takes the connections to wake, in order: for drivers.
    pub fn take_wakes(&mut self) -> impl Iterator<Item = ConnectionId> {
        self.wakes.drain(..)
    }

    /// Takes the connections to close, in order: for drivers.
    pub fn take_closes(&mut self) -> impl Iterator<Item = ConnectionId> {
        self.closes.drain(..)
    }

    /// Takes the timeouts to set or remove, in order: for drivers of sessions without a
    /// [`Link`](crate::link::Link).
    pub fn take_timeouts(&mut self) -> impl Iterator<Item = (u8, Option<Duration>)> {
        self.timeouts.drain(..)
    }

    /// Takes the new idle limit, if it was changed: for drivers.
    pub fn take_idle_limit(&mut self) -> Option<IdleLimit> {
        self.idle_limit.take()
    }

    /// Takes the request to stop the loop, if there is one: for drivers.
    pub fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    /// Returns the number of wakes, closes and timeouts for which memory is allocated: for drivers
    /// that free memory.
    pub fn room(&self) -> usize {
        self.wakes.capacity() + self.closes.capacity() + self.timeouts.capacity()
    }

    /// Frees memory for more than about `room` of each: for drivers.
    pub fn shrink_to(&mut self, room: usize) {
        self.wakes.shrink_to(room);
        self.closes.shrink_to(room);
        self.timeouts.shrink_to(room);
    }
}
