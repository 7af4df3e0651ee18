//! Timers by the clock of the wall, and by the clock that counts while the machine is suspended.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::planted::{self, Planted};
use crate::source::handler::explained;
use crate::{
    Cx, Handler, Interest, LoopCx, Reason, Registration, Schedule, Tag, Timeout, Token, kernel,
};

/// A clock for which a timer may be set ([`Cx::after_on`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The clock of all other timers of a loop (`CLOCK_MONOTONIC`). It stops while the machine is
    /// suspended.
    #[default]
    Monotonic,
    /// The same with the time that the machine is suspended (`CLOCK_BOOTTIME`). A timer that passes
    /// meanwhile fires when the machine resumes; it does not wake it.
    Boottime,
}

/// A call of [`Cx::on_schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The time for which the call is made. The clock shows this or later. If several have passed
    /// since the last call, there is one call, with the first of them.
    pub due: SystemTime,
}

/// The longest time until a timer looks at the clock of the wall again.
const LOOK_MAX: Duration = Duration::from_secs(3600);
/// With less time than this left, a timer is set to the end of it. With more, it looks again shortly
/// before, since the clock may be adjusted slowly meanwhile (`adjtimex(2)`), by up to a thousandth.
const CLOSE: Duration = Duration::from_secs(1);
/// When the clock is put back by more than this, it was wrong before, and schedules begin anew.
/// `cron(8)` has the same limit.
const STEP_BACK_MAX: Duration = Duration::from_secs(3 * 3600);

/// The timers of a loop that go by the clock of the wall.
pub(crate) struct Wall {
    /// The source that learns when the clock is set.
    watch: Tag,
    timers: BTreeSet<u64>,
}

/// Returns how long a timer that is due at a time since 1970 sleeps before it looks at the clock.
fn sleep_until(due: Duration) -> Duration {
    let left = due.saturating_sub(kernel::time_of_day());
    let early = if left > CLOSE { left / 512 } else { Duration::ZERO };
    (left - early).min(LOOK_MAX)
}

/// A closure that is called once.
struct At<F> {
    due: Duration,
    call: Option<F>,
}

impl<A: 'static, F: FnOnce(&mut LoopCx<'_, A>)> Handler<A> for At<F> {
    /// The clock was set.
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        cx.set_timeout(Some(sleep_until(self.due)));
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        if kernel::time_of_day() < self.due {
            return self.ready(cx);
        }
        if let Some(call) = self.call.take() {
            call(&mut cx.outside());
        }
        cx.end(Reason::Finished);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, A>) {
        cx.forget_wall_timer();
    }

    fn name(&self) -> &'static str {
        "reactor::Cx::at"
    }
}

/// A closure that is called whenever a schedule is due.
struct Scheduled<F> {
    schedule: Schedule,
    /// The next time, since 1970; `None` if there is none any more.
    due: Option<Duration>,
    /// The time of the clock at the last call, or zero.
    last: Duration,
    call: F,
}

impl<F> Scheduled<F> {
    /// Computes the next time anew, after a call or when the clock was set. What has passed before the
    /// last call does not come again, unless the clock was far ahead then.
    fn reckon<A>(&mut self, cx: &mut Cx<'_, A>) {
        let now = kernel::time_of_day();
        if self.last > now.saturating_add(STEP_BACK_MAX) || planted::is(Planted::DueTwice) {
            self.last = Duration::ZERO;
        }
        let next = self.schedule.next(now.max(self.last));
        // What has become due by the step itself is not passed over.
        let is_due = self.due.is_some_and(|due| due <= now && due > self.last);
        self.due = if is_due { self.due } else { next };
        cx.set_timeout(self.due.map(sleep_until));
    }
}

impl<A, F> Handler<A> for Scheduled<F>
where
    A: 'static,
    F: FnMut(Occurrence, &mut LoopCx<'_, A>),
{
    /// The clock was set.
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        self.reckon(cx);
        Ok(())
    }

    fn timeout(&mut self, _timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let now = kernel::time_of_day();
        if let Some(due) = self.due.filter(|due| *due <= now) {
            self.last = now;
            (self.call)(Occurrence { due: UNIX_EPOCH + due }, &mut cx.outside());
            // What has become due during the call is called for at once.
            self.due = self.schedule.next(now);
        }
        self.reckon(cx);
        Ok(())
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, A>) {
        cx.forget_wall_timer();
    }

    fn name(&self) -> &'static str {
        "reactor::Schedule"
    }
}

/// Learns when the clock of the wall is set, and has the timers look at it.
struct StepWatch;

impl<A: 'static> Handler<A> for StepWatch {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        while cx.try_io("read", Interest::READ, kernel::read_step)?.is_some() {}
        cx.try_io("timerfd_settime", Interest::NONE, |fd| kernel::watch_steps(fd).map(Some))?;
        if planted::is(Planted::StepIgnored) {
            return Ok(());
        }
        // The watch is set first: a step after the look at the clock is another one.
        let timers = cx.core.wall.as_ref().map(|wall| wall.timers.clone()).unwrap_or_default();
        for timer in timers {
            cx.core.wake(Tag::from_bits(timer));
        }
        Ok(())
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        // The other process reads the old one too.
        cx.replace_fd(kernel::step_watch()?)
    }

    fn closed(self: Box<Self>, _reason: Reason, cx: &mut LoopCx<'_, A>) {
        let me = cx.me;
        cx.core.wall.take_if(|wall| wall.watch == me);
    }

    fn name(&self) -> &'static str {
        "reactor::StepWatch"
    }
}

/// A closure that is called when its descriptor is readable.
struct AfterBoot<F> {
    /// By the clock of [`kernel::boottime`].
    due: Duration,
    call: Option<F>,
}

impl<A, F: FnOnce(&mut LoopCx<'_, A>)> Handler<A> for AfterBoot<F> {
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        if cx.read(&mut [0; 8])?.is_none() {
            return Ok(());
        }
        if let Some(call) = self.call.take() {
            call(&mut cx.outside());
        }
        cx.end(Reason::Finished);
        Ok(())
    }

    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        cx.replace_fd(kernel::boottime_timer(self.due)?)
    }

    fn name(&self) -> &'static str {
        "reactor::Cx::after_on"
    }
}

impl<A: 'static, P> Cx<'_, A, P> {
    /// Calls `call` once, when the clock of the wall shows `when` or later, never early. A time that has
    /// passed is due at once. Closing the token cancels it.
    ///
    /// The clock may be set meanwhile: the loop notices (`TFD_TIMER_CANCEL_ON_SET`,
    /// `timerfd_create(2)`), and the time left is computed anew. If the clock is put forward past `when`,
    /// `call` is made then; if it is put back, `call` is made later. A loop has one descriptor for this,
    /// however many such timers there are, and none without them.
    ///
    /// ```
    /// use reactor::Reactor;
    /// use std::time::{Duration, SystemTime};
    ///
    /// let mut reactor = Reactor::new(None)?;
    /// let when = SystemTime::now() + Duration::from_millis(2);
    /// reactor.cx().at(when, |cx| *cx.app = Some(SystemTime::now()))?;
    /// reactor.run_until(|at| at.is_some())?;
    /// assert!(reactor.app >= Some(when));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the kernel gives no descriptor. A loop that is being dropped refuses.
    pub fn at(
        &mut self,
        when: SystemTime,
        call: impl FnOnce(&mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        let due = when.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.spawn_wall_timer(At { due, call: Some(call) }, Some(due))
    }

    /// Calls `call` whenever `schedule` is due by the clock of the wall, never early. Closing the token
    /// cancels it. See [`at`](Self::at) for how a change of the clock is noticed, and [`Schedule`] for
    /// cron expressions.
    ///
    /// - A loop that is late, or a clock that is put forward, may pass over several times: `call` is made
    ///   once for all of them.
    /// - A clock that is put back may show a time again: `call` is not made again for it. If it is put
    ///   back by more than three hours, it was wrong before, and the schedule begins anew.
    ///
    /// ```
    /// use reactor::{Reactor, Schedule};
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let mut reactor = Reactor::new(Vec::new())?;
    /// let mut cx = reactor.cx();
    /// // Every 2 ms of the clock, aligned to it.
    /// let often = Schedule::every(Duration::from_millis(2), Duration::ZERO);
    /// cx.on_schedule(often, |occurrence, cx| cx.app.push(occurrence.due))?;
    /// cx.on_schedule("30 4 * * *".parse().expect("it is valid"), |_, _| println!("good night"))?;
    /// reactor.run_until(|due| due.len() == 3)?;
    /// for due in &reactor.app {
    ///     let since = due.duration_since(UNIX_EPOCH).expect("it is later");
    ///     assert_eq!(since.as_nanos() % 2_000_000, 0);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the interval of the schedule is zero, or the kernel gives no descriptor. A loop that is
    /// being dropped refuses.
    pub fn on_schedule(
        &mut self,
        schedule: Schedule,
        call: impl FnMut(Occurrence, &mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        if !schedule.is_valid() {
            let text = "a schedule needs an interval longer than zero";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.watch_wall()?;
        let due = schedule.next(kernel::time_of_day());
        self.spawn_wall_timer(Scheduled { schedule, due, last: Duration::ZERO, call }, due)
    }

    /// Calls `call` once, when `delay` has passed on `clock`, never early. Closing the token cancels it.
    /// For [`Clock::Monotonic`] it is [`after`](Self::after). A timer of [`Clock::Boottime`] has a
    /// descriptor of its own. A simulated host is never suspended, and both clocks are the same there.
    ///
    /// ```
    /// use reactor::{Clock, Reactor};
    /// use std::time::Duration;
    ///
    /// let mut reactor = Reactor::new(false)?;
    /// // A lease of 2 ms, which goes on while the machine is suspended.
    /// reactor.cx().after_on(Clock::Boottime, Duration::from_millis(2), |cx| *cx.app = true)?;
    /// reactor.run_until(|is_over| *is_over)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the kernel gives no descriptor. A loop that is being dropped refuses.
    pub fn after_on(
        &mut self,
        clock: Clock,
        delay: Duration,
        call: impl FnOnce(&mut LoopCx<'_, A>) + 'static,
    ) -> io::Result<Token> {
        if clock == Clock::Monotonic || kernel::is_simulated() {
            return self.after(delay, call);
        }
        let due = kernel::boottime().saturating_add(delay);
        let fd = kernel::boottime_timer(due).map_err(|error| explained("timerfd", error))?;
        let registration = Registration::new(Interest::READ).known_nonblocking();
        self.register(fd, registration, AfterBoot { due, call: Some(call) })
    }

    /// Makes the loop learn when the clock of the wall is set. It does so until the last timer by that
    /// clock has ended.
    fn watch_wall(&mut self) -> io::Result<()> {
        if self.core.wall.is_none() {
            let fd = kernel::step_watch().map_err(|error| explained("timerfd", error))?;
            let registration = Registration::new(Interest::READ).known_nonblocking();
            let watch = self.register(fd, registration, StepWatch)?.tag_in(self.core.home);
            self.core.wall = Some(Box::new(Wall { watch, timers: BTreeSet::new() }));
        }
        Ok(())
    }

    fn spawn_wall_timer(
        &mut self,
        handler: impl Handler<A> + 'static,
        due: Option<Duration>,
    ) -> io::Result<Token> {
        self.watch_wall()?;
        let token = self.spawn(handler)?;
        let tag = token.tag_in(self.core.home);
        if let Some(wall) = &mut self.core.wall {
            wall.timers.insert(tag.to_bits());
        }
        if let Some(due) = due {
            self.set_timeout_of(token, sleep_until(due));
        }
        Ok(token)
    }
}

impl<A> LoopCx<'_, A> {
    /// Records that the timer that has just ended goes by the clock of the wall no more.
    fn forget_wall_timer(&mut self) {
        let me = self.me;
        let Some(wall) = &mut self.core.wall else { return };
        wall.timers.remove(&me.to_bits());
        if wall.timers.is_empty() {
            let watch = wall.watch;
            self.core.wall = None;
            self.core.end(watch, Reason::Finished);
        }
    }
}
