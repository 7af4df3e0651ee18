//! What a source does when the loop calls it, and how it ends.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::{ConnectError, Cx, Found, LoopCx, TimerId};

/// The limit of time that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// The idle limit: nothing happened for that long.
    Idle,
    /// The deadline set with [`Cx::set_timeout`] has passed.
    Deadline,
}

/// A timer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The timer, as returned by [`Cx::set_timer`]. A one-shot timer has been removed.
    pub id: TimerId,
    /// The key that its owner gave it.
    pub key: u64,
    /// How many periods have passed since the last call: more than one when the loop was late. The
    /// deadlines stay on their grid. Always 1 for one-shot timers.
    pub ticks: u64,
}

/// Handles the events of one source: its descriptor, its timers and its end.
///
/// The loop owns the descriptor and the handler. A call lends the handler itself, the loop (through
/// [`Cx`]) and the application state `A`, all mutably and at once (law 4). Any call may register,
/// wake or close any source, including its own.
///
/// A panic of a handler passes through the loop to its caller. If it is caught, the source ends
/// with [`Reason::Panicked`] in the next turn. A panic in [`closed`](Self::closed) has no further
/// effect.
pub trait Handler<A = ()> {
    /// Called when the descriptor is ready for a part of the source's interest, or the source was
    /// woken.
    ///
    /// # Errors
    /// An error ends this source with [`Reason::Failed`], never the loop (law 7).
    fn ready(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()>;

    /// Called when a limit of time has passed. The default ends the source.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    fn timeout(&mut self, timeout: Timeout, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let _ = cx;
        cx.end(Reason::TimedOut(timeout));
        Ok(())
    }

    /// Called when a timer of [`Cx::set_timer`] is due.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    fn timer(&mut self, timer: Expired, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let _ = (timer, cx);
        Ok(())
    }

    /// Called before the loop waits for events, if the source has
    /// [`Hook::Prepare`](crate::Hook::Prepare). `wait` is how long the loop would wait, and `None` if
    /// until the first event. Returns how long it may wait, counted from [`Cx::now`]; `None` if as long
    /// as it likes. What this call makes ready, such as a source that it wakes, is not waited for.
    ///
    /// When the loop runs in another one ([`Reactor::run_once`](crate::Reactor::run_once)), this is
    /// called at the end of a turn, and
    /// [`next_deadline`](crate::Reactor::next_deadline) tells the host.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    fn prepare(
        &mut self,
        wait: Option<Duration>,
        cx: &mut Cx<'_, A>,
    ) -> io::Result<Option<Duration>> {
        let _ = (wait, cx);
        Ok(None)
    }

    /// Called after the loop has waited, before the handlers of what it has found, if the source has
    /// [`Hook::Check`](crate::Hook::Check).
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    fn check(&mut self, found: Found, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let _ = (found, cx);
        Ok(())
    }

    /// Called when the loop has nothing else to do, if the source has
    /// [`Hook::Idle`](crate::Hook::Idle): no source is ready, no timer is due, and nothing is left
    /// over. The loop does not sleep while there is such a source.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    fn idle(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let _ = cx;
        Ok(())
    }

    /// Called when the loop winds down ([`Cx::stop_gracefully`]). The source should finish its work
    /// and begin nothing new.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    fn stopping(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let _ = cx;
        Ok(())
    }

    /// Called when another process goes on with the descriptor ([`Cx::retire`]): this source receives
    /// nothing more from it. It may finish what it has begun. The default ends the source with
    /// [`Reason::HandedOver`].
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    fn retired(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        cx.end(Reason::HandedOver);
        Ok(())
    }

    /// Returns the state of this connection as bytes, for another process that is to go on with it
    /// ([`Cx::hand_over`]). From then on, the handler touches neither its descriptor nor its state
    /// until [`stays`](Self::stays) is called, or [`closed`](Self::closed) with
    /// [`Reason::HandedOver`]. It sets its interest to [`NONE`](crate::Interest::NONE). The default
    /// returns `None`: the connection stays in this process.
    fn save(&mut self, cx: &mut Cx<'_, A>) -> Option<Vec<u8>> {
        let _ = cx;
        None
    }

    /// Freezes this connection: the handler touches neither its descriptor nor its state until
    /// [`stays`](Self::stays) or [`closed`](Self::closed) is called, except that
    /// [`save`](Self::save) may be called in between ([`Cx::hand_over_together`]). It sets its
    /// interest to [`NONE`](crate::Interest::NONE). The default returns `false`: the connection goes
    /// on, for it concerns no other one.
    fn freeze(&mut self, cx: &mut Cx<'_, A>) -> bool {
        let _ = cx;
        false
    }

    /// Called after [`save`](Self::save) or [`freeze`](Self::freeze) when no other process has taken
    /// the connection: it goes on here.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    fn stays(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let _ = cx;
        Ok(())
    }

    /// Called in a forked process whose copy of the loop was rebuilt
    /// ([`Reactor::rebuild`](crate::Reactor::rebuild)). The descriptor is shared with the other
    /// process, which may go on with it. The default goes on with it here too.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    fn rebuilt(&mut self, cx: &mut Cx<'_, A>) -> io::Result<()> {
        let _ = cx;
        Ok(())
    }

    /// Called when the source has ended: its descriptor is closed, and its token is no longer
    /// valid. It is called exactly once, and nothing is called after it (law 2).
    fn closed(self: Box<Self>, reason: Reason, cx: &mut LoopCx<'_, A>) {
        let _ = (reason, cx);
    }

    /// Returns the name of this kind of handler in logs. The default is the name of its type.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}

/// Why a source ended. A session is told the same as `protocol::Reason`, which knows no loop. They are
/// two types since raw handlers do not need `protocol`.
#[derive(Debug)]
pub enum Reason {
    /// This side was done.
    Finished,
    /// The peer ended its stream, and everything that it had sent was handled.
    PeerClosed,
    /// A system call failed.
    Failed {
        /// The system call.
        operation: &'static str,
        /// The error of the kernel.
        error: io::Error,
    },
    /// The peer sent what cannot be accepted.
    Refused(Box<dyn Error + Send + Sync>),
    /// A limit of time passed.
    TimedOut(Timeout),
    /// A limit of size was reached. The text names the limit.
    Limit(&'static str),
    /// Other code closed it with [`Cx::close`].
    Cancelled,
    /// Another process goes on with it ([`Cx::hand_over`]).
    HandedOver,
    /// The loop stopped.
    Stopped,
    /// Its handler panicked, and the program caught the panic. A loop that is turned again
    /// continues without the source.
    Panicked,
}

impl Reason {
    /// The names of the reasons, in the order of [`Counters::closes`](crate::Counters::closes).
    pub const NAMES: [&'static str; 10] = [
        "finished",
        "peer closed",
        "failed",
        "refused",
        "timed out",
        "limit",
        "cancelled",
        "stopped",
        "panicked",
        "handed over",
    ];

    /// Returns the index of this reason in [`NAMES`](Self::NAMES).
    pub fn index(&self) -> usize {
        match self {
            Self::Finished => 0,
            Self::PeerClosed => 1,
            Self::Failed { .. } => 2,
            Self::Refused(_) => 3,
            Self::TimedOut(_) => 4,
            Self::Limit(_) => 5,
            Self::Cancelled => 6,
            Self::Stopped => 7,
            Self::Panicked => 8,
            Self::HandedOver => 9,
        }
    }

    /// Returns whether both sides were done, so that nothing was cut short.
    pub fn is_orderly(&self) -> bool {
        matches!(self, Self::Finished | Self::PeerClosed)
    }
}

/// Returns which resource is exhausted, and what to do about it.
pub(crate) fn exhaustion(error: &io::Error) -> Option<&'static str> {
    Some(match error.raw_os_error()? {
        libc::EMFILE => "this process has reached its limit of descriptors (ulimit -n)",
        libc::ENFILE => "the system has reached its limit of descriptors (sysctl fs.file-max)",
        libc::ENOBUFS | libc::ENOMEM => "the kernel has no memory left for it",
        libc::ETOOMANYREFS => {
            "this user has as many descriptors on their way as a process may open (ulimit -n)"
        }
        _ => return None,
    })
}

/// Returns an error of the kernel with the name of the call and what to do about it. An error with
/// its own text is returned unchanged.
pub(crate) fn explained(operation: &str, error: io::Error) -> io::Error {
    if error.raw_os_error().is_none() {
        return error;
    }
    let hint = exhaustion(&error).map(|hint| format!(": {hint}")).unwrap_or_default();
    io::Error::new(error.kind(), format!("{operation}: {error}{hint}"))
}

/// Returns the usual cause of an error of a connection. It is empty if the error says it already.
pub(crate) fn hint(error: &io::Error) -> &'static str {
    if let Some(exhaustion) = exhaustion(error) {
        return exhaustion;
    }
    if error.get_ref().is_some_and(|it| it.is::<ConnectError>()) {
        return "";
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there; is the server running?",
        io::ErrorKind::NotFound => "there is no such socket; is the server running?",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the peer cut the connection",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "there is no route to it"
        }
        io::ErrorKind::TimedOut => "the peer does not answer",
        io::ErrorKind::PermissionDenied => "this user has no permission",
        io::ErrorKind::AddrNotAvailable => {
            "no local port is left for it (net.ipv4.ip_local_port_range)"
        }
        io::ErrorKind::WouldBlock => "its backlog is full",
        _ => "",
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { operation, error } => {
                let hint = hint(error);
                let separator = if hint.is_empty() { "" } else { ": " };
                write!(f, "{operation}: {error}{separator}{hint}")
            }
            Self::Refused(refusal) => write!(f, "refused: {refusal}"),
            Self::TimedOut(Timeout::Idle) => f.write_str("idle for too long"),
            Self::TimedOut(Timeout::Deadline) => f.write_str("deadline passed"),
            Self::Limit(what) => write!(f, "limit reached: {what}"),
            plain => f.write_str(Self::NAMES[plain.index()]),
        }
    }
}

impl Error for Reason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { error, .. } => Some(error),
            Self::Refused(refusal) => Some(refusal.as_ref()),
            _ => None,
        }
    }
}
