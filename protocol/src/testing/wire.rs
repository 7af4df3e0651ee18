//! A driver in memory, with a virtual clock.

mod handover;

use std::io;
use std::time::{Duration, Instant};

use super::{append_front, read_file};
use crate::link::{
    Event, IdleLimit, Layer, Link, Moment, Passed, Plain, Scratch, Step, Stop, Wait,
};
use crate::{ConnectionId, Limits, Reason, Session};

/// How many passes in a row may move no byte although the link could read or write. One is normal:
/// a session is told in a separate pass that its output has drained.
const IDLE_PASSES_MAX: usize = 16;
/// How many steps in a row may move no byte: far more than a link takes when all timeouts pass at once.
const IDLE_STEPS_MAX: usize = 1000;

/// A connection in memory, in which a test is the peer of a [`Link`]. The clock stands still except
/// in [`pass`](Self::pass) and [`lose`](Self::lose).
///
/// ```
/// use protocol::codecs::Lines;
/// use protocol::testing::Wire;
/// use protocol::{Context, Conversation, Flow, Reply, Service};
/// use std::time::Duration;
///
/// /// Answers lines, and ends after a second.
/// struct Patient;
/// impl Service<Lines> for Patient {
///     fn open(&mut self, _: &mut Reply<'_, Lines>, context: &mut Context<'_>) -> Flow {
///         context.effects.set_timeout(0, Some(Duration::from_secs(1)));
///         Flow::Continue
///     }
///     fn call(&mut self, line: &mut [u8], reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
///         reply.send(line);
///         Flow::Continue
///     }
///     fn timeout(&mut self, _: u8, reply: &mut Reply<'_, Lines>, _: &mut Context<'_>) -> Flow {
///         reply.send(b"too late");
///         Flow::Close
///     }
/// }
///
/// let mut wire = Wire::new(Conversation::new(Lines::default(), Patient));
/// wire.feed(b"one\ntw", &mut ());
/// assert_eq!(wire.take_sent(), b"one\n");
/// wire.pass(Duration::from_secs(1), &mut ());
/// assert_eq!(wire.take_sent(), b"too late\n");
/// assert!(wire.is_shut_down() && wire.reason().is_none(), "it waits for the peer to end too");
/// wire.end_input(&mut ());
/// assert!(wire.reason().is_some_and(|reason| reason.is_orderly()));
/// ```
#[derive(Debug)]
pub struct Wire<S, L = Plain> {
    link: Link<S, L>,
    scratch: Scratch,
    me: ConnectionId,
    now: Instant,
    lost: Duration,
    incoming: Vec<u8>,
    incoming_ended: bool,
    sent: Vec<u8>,
    /// How many more bytes the peer accepts.
    room: u64,
    /// How many bytes the peer has accepted and not acknowledged.
    unacknowledged: u32,
    wait: Wait,
    is_shut_down: bool,
    reason: Option<Reason>,
    woken: Vec<ConnectionId>,
    closed: Vec<ConnectionId>,
    idle_limit: IdleLimit,
    stop: Option<Stop>,
}

impl<S> Wire<S> {
    /// Returns a connection that drives `session` with the default limits.
    pub fn new(session: S) -> Self {
        Self::over(Link::new(session, Limits::DEFAULT.into()))
    }
}

impl<S, L: Layer> Wire<S, L> {
    /// Returns a connection for a link.
    pub fn over(link: Link<S, L>) -> Self {
        let now = Instant::now();
        Self {
            link,
            scratch: Scratch::new(now),
            me: ConnectionId(0),
            now,
            lost: Duration::ZERO,
            incoming: Vec::new(),
            incoming_ended: false,
            sent: Vec::new(),
            room: u64::MAX,
            unacknowledged: 0,
            wait: Wait::default(),
            is_shut_down: false,
            reason: None,
            woken: Vec::new(),
            closed: Vec::new(),
            idle_limit: IdleLimit::ByLoop,
            stop: None,
        }
    }

    /// Runs the link until it waits for the peer.
    ///
    /// # Panics
    /// When the link spins: it waits for what is there, and does nothing with it.
    pub fn run<A>(&mut self, app: &mut A)
    where
        S: Session<A>,
    {
        self.pass_with(app, |_, _| Passed::GoesOn);
        // What exceeds the budget of one pass is done in further passes.
        let mut idle_passes = 0;
        while self.reason.is_none() && (self.may_read() || self.may_write()) {
            let before = (self.incoming.len(), self.sent.len());
            self.pass_with(app, |_, _| Passed::GoesOn);
            let has_moved = before != (self.incoming.len(), self.sent.len());
            idle_passes = if has_moved { 0 } else { idle_passes + 1 };
            assert!(idle_passes <= IDLE_PASSES_MAX, "the link spins: {:?}", self.wait);
        }
    }

    /// Sends `bytes` from the peer.
    pub fn feed<A>(&mut self, bytes: &[u8], app: &mut A)
    where
        S: Session<A>,
    {
        self.incoming.extend_from_slice(bytes);
        self.run(app);
    }

    /// Makes bytes of the peer arrive, and the end of its stream if it has `ended`. They are read when
    /// the link runs next, in the pass in which it learns of what else happens.
    pub fn arrive(&mut self, bytes: &[u8], ended: bool) {
        self.incoming.extend_from_slice(bytes);
        self.incoming_ended |= ended;
    }

    /// Ends the stream of the peer.
    pub fn end_input<A>(&mut self, app: &mut A)
    where
        S: Session<A>,
    {
        self.incoming_ended = true;
        self.run(app);
    }

    /// Wakes the session, as another connection does.
    pub fn wake<A>(&mut self, app: &mut A)
    where
        S: Session<A>,
    {
        self.link.tell(Event::Woken);
        self.run(app);
    }

    /// Tells the session that the loop stops gracefully.
    pub fn stop<A>(&mut self, app: &mut A)
    where
        S: Session<A>,
    {
        self.link.tell(Event::Stopping);
        self.run(app);
    }

    /// Sets how many more bytes the peer accepts. The default is no limit.
    pub fn set_room<A>(&mut self, room: u64, app: &mut A)
    where
        S: Session<A>,
    {
        self.room = room;
        self.run(app);
    }

    /// Sets how many sent bytes the peer has not acknowledged.
    pub fn set_unacknowledged(&mut self, count: u32) {
        self.unacknowledged = count;
    }

    /// Advances the clock. Reports each deadline at its time.
    ///
    /// # Panics
    /// When a timeout that passes at once sets itself again for ever: the clock would stand still.
    pub fn pass<A>(&mut self, time: Duration, app: &mut A)
    where
        S: Session<A>,
    {
        let end = self.now + time;
        let mut reports = 0;
        while self.reason.is_none()
            && let Some(at) = self.link.deadline().filter(|at| *at <= end)
        {
            reports = if at > self.now { 0 } else { reports + 1 };
            assert!(reports <= IDLE_STEPS_MAX, "a timeout of the session lets no time pass");
            self.now = self.now.max(at);
            let unacknowledged = self.unacknowledged;
            self.pass_with(app, |link, scratch| link.deadline_passed(scratch, || unacknowledged));
            self.run(app);
        }
        self.now = end;
    }

    /// Advances the clock as if the process had been stopped: the time counts as lost, and no
    /// deadline is reported.
    pub fn lose(&mut self, time: Duration) {
        self.now += time;
        self.lost += time;
    }

    /// Reports that the idle limit has passed. Returns whether the link found that its peer was not
    /// silent.
    pub fn idle<A>(&mut self, app: &mut A) -> bool
    where
        S: Session<A>,
    {
        let mut has_progressed = false;
        let unacknowledged = self.unacknowledged;
        self.pass_with(app, |link, scratch| {
            let passed = link.idle_passed(scratch, || unacknowledged);
            has_progressed = matches!(passed, Passed::Progress);
            passed
        });
        has_progressed
    }

    /// Resets the connection, as a peer that has vanished does: reading fails. A link that lingers
    /// has sent all its output, and keeps its own reason.
    pub fn reset<A>(&mut self, app: &mut A)
    where
        S: Session<A>,
    {
        let error = io::ErrorKind::ConnectionReset.into();
        self.pass_with(app, |link, _| {
            Passed::Over(match link.is_lingering() {
                true => link.take_reason(),
                false => Reason::Failed { operation: "read", error, hint: "" },
            })
        });
    }

    /// Closes the connection for `reason`, as other code does. What is unsent is lost.
    pub fn close<A>(&mut self, reason: Reason, app: &mut A)
    where
        S: Session<A>,
    {
        self.pass_with(app, |_, _| Passed::Over(reason));
    }

    fn may_read(&self) -> bool {
        self.wait.read && (self.incoming_ended || !self.incoming.is_empty())
    }

    fn may_write(&self) -> bool {
        // Nothing has to be taken once the sending side has ended.
        self.wait.write && (self.room > 0 || self.is_shut_down)
    }

    /// Runs a pass, which begins with `before`.
    fn pass_with<A>(
        &mut self,
        app: &mut A,
        before: impl FnOnce(&mut Link<S, L>, &mut Scratch) -> Passed,
    ) where
        S: Session<A>,
    {
        if self.reason.is_some() {
            return;
        }
        let moment = Moment { now: self.now, lost: self.lost };
        self.link.begin(&mut self.scratch, moment);
        let reason = match before(&mut self.link, &mut self.scratch) {
            Passed::Over(reason) => {
                // Other reasons come from outside, and leave no time.
                let is_own = matches!(reason, Reason::Idle | Reason::Stopped | Reason::Deadline);
                if is_own && self.link.take_leave(&mut self.scratch) {
                    let output = self.link.output(&self.scratch);
                    let before = self.sent.len();
                    let _ = append_front(output.front(), output, self.room, &mut self.sent);
                    let count = (self.sent.len() - before) as u64;
                    self.link.sent(&mut self.scratch, count, false);
                }
                Some(reason)
            }
            Passed::GoesOn | Passed::Progress => self.steps(app),
        };
        self.link.end(&mut self.scratch);
        if let Some(reason) = reason {
            self.link.closed(&reason, &mut self.scratch, moment, self.me, app);
            self.reason = Some(reason);
        }
        let effects = self.scratch.effects_mut();
        self.woken.extend(effects.take_wakes());
        self.closed.extend(effects.take_closes());
        self.stop = effects.take_stop().or(self.stop);
        self.idle_limit = effects.take_idle_limit().unwrap_or(self.idle_limit);
    }

    /// Carries out the steps of the link until it waits. Returns the reason if it closes.
    fn steps<A>(&mut self, app: &mut A) -> Option<Reason>
    where
        S: Session<A>,
    {
        let Self { link, scratch, .. } = self;
        if self.incoming_ended && self.incoming.is_empty() {
            link.hung_up(scratch);
        }
        let (mut idle_steps, mut before) = (0, (self.incoming.len(), self.sent.len()));
        loop {
            let now = (self.incoming.len(), self.sent.len());
            idle_steps =
                if std::mem::replace(&mut before, now) == now { idle_steps + 1 } else { 0 };
            assert!(idle_steps <= IDLE_STEPS_MAX, "the link spins in a pass");
            match link.step(scratch) {
                Step::Call => link.call(scratch, self.me, app),
                Step::Read(room) => {
                    let count = room.len().min(self.incoming.len());
                    if count == 0 && !self.incoming_ended {
                        link.read_blocked(scratch);
                        continue;
                    }
                    room[..count].copy_from_slice(&self.incoming[..count]);
                    self.incoming.drain(..count);
                    link.received(scratch, count, true);
                }
                Step::Write if self.room == 0 => link.write_blocked(scratch),
                Step::Write => {
                    let (output, before) = (link.output(scratch), self.sent.len());
                    let result =
                        append_front(link.front(scratch), output, self.room, &mut self.sent);
                    if let Err(error) = result {
                        return Some(Reason::Failed { operation: "read", error, hint: "" });
                    }
                    let count = (self.sent.len() - before) as u64;
                    self.room -= if self.room == u64::MAX { 0 } else { count };
                    link.sent(scratch, count, true);
                }
                Step::ReadFile => {
                    let file = link.file(scratch);
                    match file.map_or(Ok(0), |(range, room)| read_file(&range, room)) {
                        Ok(count) => link.file_read(scratch, count),
                        Err(error) => {
                            return Some(Reason::Failed { operation: "read", error, hint: "" });
                        }
                    }
                }
                Step::ShutDown => self.is_shut_down = true,
                Step::Close => return Some(link.take_reason()),
                Step::Wait(wait) => {
                    self.wait = wait;
                    if wait.is_full {
                        link.unacknowledged(self.unacknowledged);
                    }
                    return None;
                }
            }
        }
    }

    /// Returns the link.
    pub fn link(&self) -> &Link<S, L> {
        &self.link
    }

    /// Returns the session.
    pub fn session_mut(&mut self) -> &mut S {
        self.link.session_mut()
    }

    /// Returns the session, after the connection has ended.
    pub fn into_session(self) -> S {
        self.link.into_session()
    }

    /// Takes the bytes that were sent to the peer.
    pub fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    /// Returns what the link waits for.
    pub fn wait(&self) -> Wait {
        self.wait
    }

    /// Returns how many bytes the peer has sent that the link has not read.
    pub fn unread(&self) -> usize {
        self.incoming.len()
    }

    /// Returns how many bytes of output the link keeps, sealed or not.
    pub fn unsent(&self) -> u64 {
        self.link.unsent_kept()
    }

    /// Returns whether the link has ended its sending side.
    pub fn is_shut_down(&self) -> bool {
        self.is_shut_down
    }

    /// Returns whether the peer notices that the output was cut, if the connection has ended, or
    /// would notice it if it ended now: a driver resets it.
    pub fn is_cut(&self) -> bool {
        self.link.unsent_kept() > 0 || self.link.is_incomplete()
    }

    /// Returns why the connection was closed, if it was.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// Returns why the connection was closed, if it was.
    pub fn into_reason(self) -> Option<Reason> {
        self.reason
    }

    /// Takes the connections that the session has woken.
    pub fn take_woken(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.woken)
    }

    /// Takes the connections that the session has closed.
    pub fn take_closed(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.closed)
    }

    /// Returns how long the peer may be silent.
    pub fn idle_limit(&self) -> IdleLimit {
        self.idle_limit
    }

    /// Returns how the session has stopped the loop, if it did.
    pub fn stopped(&self) -> Option<Stop> {
        self.stop
    }
}
