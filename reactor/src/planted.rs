//! Planted faults: mistakes that event loops have made. A test plants them one at a time, to show
//! that it would notice each.
//!
//! Only a build with `--cfg planted` contains them (`.ci/rustc-planted`). In every other build [`is`] is
//! the constant `false`, and the compiler removes what depends on it.

#![cfg_attr(not(planted), allow(unreachable_pub))] // Such a build exports nothing of this.

/// A fault that can be planted. The number of each is that of the requirement that it breaks
/// (`docs/src/requirements.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// P1: the loop sleeps although sources are queued, those that have used up their budget among
    /// them.
    SleepsBehind,
    /// P1: the run queue is cleared at the end of a turn. The sources in it are never queued again.
    QueueDropped,
    /// P1: no call of a turn is kept for a level below the highest that has more to call.
    LevelStarves,
    /// P1: sources are called in the order in which they were queued, whatever their priority.
    PriorityIgnored,
    /// P2: a call consumes the readiness to read that it was told of, even if it has not read
    /// everything.
    EdgeConsumed,
    /// P2: a would-block is believed at once on an edge-triggered descriptor, even if the kernel
    /// reports the descriptor as ready.
    BlockBelieved,
    /// P2: an operation that blocks twice although the kernel reports the descriptor as ready is not
    /// tried again.
    DisputeForgotten,
    /// P3: the last event of a wait that filled its array is dropped.
    LastEventDropped,
    /// P3: a wait that was interrupted, or that filled its array, counts as complete.
    PartialIsComplete,
    /// P4: the generation of a tag is not checked. A token, timer or event of a source that has
    /// ended reaches the next source in its slot.
    GenerationIgnored,
    /// P5: a connection is closed when its peer ends its stream, without reading what came before.
    CloseBeforeData,
    /// P5: a source that does not read is told of the end of its peer's stream in every turn.
    HangUpSpins,
    /// P5: a short read counts as proof that there is no more, although the end of the stream is
    /// known to follow.
    EndHidden,
    /// P5: a level-triggered backend is not told that an interest was removed. It reports what
    /// nothing waits for at every wait.
    InterestKept,
    /// P5: a level-triggered backend is not told that an interest was added.
    InterestUntold,
    /// P7: a notification that arrives while calls of other threads are left over is read, but not
    /// acknowledged. No later call notifies the loop.
    NotificationStuck,
    /// P7: a wake of a source that is queued is dropped, since it runs anyway.
    WakeMerged,
    /// P8: accepting does not pause when descriptors run out.
    AcceptSpins,
    /// P8: the end of a pause does not resume accepting.
    AcceptStaysPaused,
    /// P8: a listener at a limit is not woken when a source ends.
    RoomUnannounced,
    /// P9: a listener accepts everything that waits in one turn.
    AcceptsUnbounded,
    /// P12: a deadline is counted from the whole millisecond before now.
    TimerEarly,
    /// P13: timers that are armed while others fire are fired in the same turn.
    TimersInOneTurn,
    /// P15: the next period of a periodic timer is counted from now.
    PeriodDrifts,
    /// P15: timers by the clock of the wall are not computed anew when it is set.
    StepIgnored,
    /// P15: a time that the clock shows again, since it was put back, is due again.
    DueTwice,
    /// P20: a connection counts as established when its descriptor becomes writable, without asking
    /// for its error.
    ConnectAssumed,
    /// P20: the addresses of a name are tried family after family, not in turns.
    FamiliesInRow,
    /// P20: an attempt that fails does not start the next one, which begins when its time comes.
    FailureWaits,
    /// P20: attempts under way are not closed when another one has won.
    LosersKept,
    /// P20: an attempt that failed is not in the error of its connection.
    AttemptsForgotten,
    /// P21: a request that was sent before its connection ended is sent again on the next.
    SentRepeated,
    /// P21: a request that was not sent before its connection ended is forgotten.
    UnsentForgotten,
    /// P21: a request that was sent before its connection ended is reported as not sent.
    SentDenied,
    /// P21: replies that are read in the pass in which the connection ends are dropped.
    AnswersDropped,
    /// P21: what waits when a client ends is dropped without being completed.
    WaitingDropped,
    /// P21: once the deadline of a request in flight has passed, later ones pass unnoticed.
    DeadlineForgotten,
    /// P21: pauses between attempts to connect grow without a bound.
    PauseUnbounded,
    /// P21: there is no pause between attempts to connect.
    PauseMissing,
    /// P21: a connection that the protocol needs is not made again.
    NeedForgotten,
    /// P21: a client whose server changes keeps its connection to the earlier one.
    MoveIgnored,
    /// P21: a pool chooses a client without asking whether it has a connection.
    StateIgnored,
    /// P22: sources that end while others are being reaped, or beyond the budget, are never reaped.
    EndsForgotten,
    /// P22: a hook that was removed is still called.
    HookKept,
    /// P24: an idle limit that has moved before its timer fires is not armed again.
    IdleDisarmed,
    /// P32: the loop waits longer than a hook has allowed.
    WaitUnbounded,
    /// P33: time that the loop itself has lost counts as silence of its peers.
    LostTimeCharged,
    /// P37: limits of time pass without asking the kernel for what it holds.
    SilenceUnasked,
    /// P38: a short write counts as a whole one.
    ShortWriteWhole,
    /// P38: a connection is closed when its output was sent, without reading until its peer ends
    /// its stream.
    NoLinger,
    /// P38: a connection that ends with output unsent ends in order.
    CutInOrder,
    /// P41: all sources that have ended are reaped in one turn.
    EndsUnbounded,
}

#[cfg(planted)]
impl Planted {
    /// All faults.
    pub const ALL: &[Self] = &[
        Self::SleepsBehind,
        Self::QueueDropped,
        Self::LevelStarves,
        Self::PriorityIgnored,
        Self::EdgeConsumed,
        Self::BlockBelieved,
        Self::DisputeForgotten,
        Self::LastEventDropped,
        Self::PartialIsComplete,
        Self::GenerationIgnored,
        Self::CloseBeforeData,
        Self::HangUpSpins,
        Self::EndHidden,
        Self::InterestKept,
        Self::InterestUntold,
        Self::NotificationStuck,
        Self::WakeMerged,
        Self::AcceptSpins,
        Self::AcceptStaysPaused,
        Self::RoomUnannounced,
        Self::AcceptsUnbounded,
        Self::TimerEarly,
        Self::TimersInOneTurn,
        Self::PeriodDrifts,
        Self::StepIgnored,
        Self::DueTwice,
        Self::ConnectAssumed,
        Self::FamiliesInRow,
        Self::FailureWaits,
        Self::LosersKept,
        Self::AttemptsForgotten,
        Self::SentRepeated,
        Self::UnsentForgotten,
        Self::SentDenied,
        Self::AnswersDropped,
        Self::WaitingDropped,
        Self::DeadlineForgotten,
        Self::PauseUnbounded,
        Self::PauseMissing,
        Self::NeedForgotten,
        Self::MoveIgnored,
        Self::StateIgnored,
        Self::EndsForgotten,
        Self::HookKept,
        Self::IdleDisarmed,
        Self::WaitUnbounded,
        Self::LostTimeCharged,
        Self::SilenceUnasked,
        Self::ShortWriteWhole,
        Self::NoLinger,
        Self::CutInOrder,
        Self::EndsUnbounded,
    ];

    /// Returns the number of the requirement that the fault breaks: 1 for P1.
    pub const fn requirement(self) -> u8 {
        match self {
            Self::SleepsBehind
            | Self::QueueDropped
            | Self::LevelStarves
            | Self::PriorityIgnored => 1,
            Self::EdgeConsumed | Self::BlockBelieved | Self::DisputeForgotten => 2,
            Self::LastEventDropped | Self::PartialIsComplete => 3,
            Self::GenerationIgnored => 4,
            Self::CloseBeforeData
            | Self::HangUpSpins
            | Self::EndHidden
            | Self::InterestKept
            | Self::InterestUntold => 5,
            Self::NotificationStuck | Self::WakeMerged => 7,
            Self::AcceptSpins | Self::AcceptStaysPaused | Self::RoomUnannounced => 8,
            Self::AcceptsUnbounded => 9,
            Self::TimerEarly => 12,
            Self::TimersInOneTurn => 13,
            Self::PeriodDrifts | Self::StepIgnored | Self::DueTwice => 15,
            Self::ConnectAssumed
            | Self::FamiliesInRow
            | Self::FailureWaits
            | Self::LosersKept
            | Self::AttemptsForgotten => 20,
            Self::SentRepeated
            | Self::UnsentForgotten
            | Self::SentDenied
            | Self::AnswersDropped
            | Self::WaitingDropped
            | Self::DeadlineForgotten
            | Self::PauseUnbounded
            | Self::PauseMissing
            | Self::NeedForgotten
            | Self::MoveIgnored
            | Self::StateIgnored => 21,
            Self::EndsForgotten | Self::HookKept => 22,
            Self::IdleDisarmed => 24,
            Self::WaitUnbounded => 32,
            Self::LostTimeCharged => 33,
            Self::SilenceUnasked => 37,
            Self::ShortWriteWhole | Self::NoLinger | Self::CutInOrder => 38,
            Self::EndsUnbounded => 41,
        }
    }
}

#[cfg(planted)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault in the loops of this thread, in place of any other, or removes it.
#[cfg(planted)]
pub fn plant(fault: Option<Planted>) {
    PLANTED.set(fault);
}

/// Returns whether this fault is planted on this thread.
#[cfg(planted)]
pub(crate) fn is(fault: Planted) -> bool {
    PLANTED.get() == Some(fault)
}

/// Returns `false`: this build has no planted faults.
#[cfg(not(planted))]
#[inline(always)]
pub(crate) const fn is(_fault: Planted) -> bool {
    false
}
