//! Connections that share a state, which go to the new program together with it: all or none.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use log::{info, warn};
use protocol::{SavedState, Session, StateError};
use reactor::{Accepted, Departure, LoopCx, Sender, Token};

use super::channel::Channel;
use super::loops::Loops;
use super::new::Home;
use super::order::{Answer, Order, Report};
use super::wire::Frame;
use crate::Share;
use crate::listening::Listening;

/// How many connections are asked for at a time. Their states wait in memory to be sent.
const ASKED_MAX: usize = 16;

/// How far the old program has given its state and its connections away.
pub(super) struct Together {
    /// Since when nothing is served.
    since: Instant,
    step: Step,
    /// How many bytes the pieces of the state have.
    bytes: usize,
    /// Words for what the state has.
    extent: String,
    /// How many answers of the loop are missing.
    asked: usize,
    /// How many connections were frozen, and how many of them the loop has not named.
    connections: usize,
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The loop is to freeze its connections.
    Freezing,
    /// The state is sent piece by piece.
    State,
    /// The connections are sent.
    Connections,
    /// The new program has everything, and is to say so.
    Loading,
    /// It has said so, and is told to begin.
    Loaded,
}

impl Together {
    /// Makes the loop freeze its connections.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn start(now: Instant, loops: &Loops, reports: &Sender<Report>) -> io::Result<Self> {
        loops.order_together(Order::Freeze, reports)?;
        let extent = String::new();
        let (bytes, asked, connections, left) = (0, 1, 0, 0);
        Ok(Self { since: now, step: Step::Freezing, bytes, extent, asked, connections, left })
    }

    /// Notes an answer of the loop.
    ///
    /// # Errors
    /// When the connections cannot be frozen.
    pub(super) fn heed(
        &mut self,
        answer: Answer,
        channel: &mut Channel,
        loops: &Loops,
    ) -> io::Result<()> {
        match answer {
            Answer::NotFrozen(error) => return Err(error),
            Answer::Departure(Departure::Frozen { connections }) => {
                (self.connections, self.left) = (connections, connections);
                self.step = Step::State;
            }
            Answer::Piece(bytes, extent) => {
                self.bytes += bytes.len();
                let is_last = extent.is_some();
                channel.say(&Frame::Piece { is_last, bytes }, None)?;
                if let Some(extent) = extent {
                    self.extent = extent;
                    self.step = Step::Connections;
                }
            }
            Answer::Departure(Departure::Connection { token, descriptor, state }) => {
                self.left -= 1;
                if let Err(error) = channel.give((0, token), descriptor, state) {
                    warn!("a connection cannot be handed over: {error}");
                    loops.stays(0, token);
                }
            }
            Answer::Departure(Departure::Unsaved { .. }) => self.left -= 1,
            _ => return Ok(()),
        }
        self.asked -= 1;
        Ok(())
    }

    /// Goes on, since all that was said has been sent: so nothing is saved faster than the new program
    /// reads.
    ///
    /// # Errors
    /// When the loop is gone.
    pub(super) fn go_on(
        &mut self,
        channel: &mut Channel,
        loops: &Loops,
        reports: &Sender<Report>,
    ) -> io::Result<()> {
        if self.asked > 0 {
            return Ok(());
        }
        match self.step {
            Step::State => {
                self.asked = 1;
                loops.order_together(Order::SavePiece, reports)
            }
            Step::Connections if self.left > 0 => {
                self.asked = self.left.min(ASKED_MAX);
                loops.order_together(|_| Order::GiveAway(self.asked), reports)
            }
            Step::Connections => {
                self.step = Step::Loading;
                channel.say(&Frame::AllConnections, None)
            }
            Step::Freezing | Step::Loading | Step::Loaded => Ok(()),
        }
    }

    /// Notes that the new program has everything. When it has been told to begin, there is no way back.
    ///
    /// # Errors
    /// When it says so at the wrong time.
    pub(super) fn loaded(&mut self, channel: &mut Channel) -> io::Result<()> {
        if self.step != Step::Loading {
            return Err(io::Error::other("it says at the wrong time that it has everything"));
        }
        self.step = Step::Loaded;
        channel.is_done = true;
        channel.say(&Frame::Begin, None)
    }

    /// Ends the connections here, since the new program goes on with them.
    pub(super) fn finish(
        &self,
        now: Instant,
        channel: &Channel,
        loops: &Loops,
        reports: &Sender<Report>,
    ) {
        if let Err(error) = loops.order_together(|_| Order::AllDeparted, reports) {
            warn!("{error}");
        }
        let departed = channel.away.len();
        let Self { extent, bytes, connections, .. } = self;
        let pause = now.saturating_duration_since(self.since);
        info!(
            "handed over: {extent} in {bytes} bytes, and {departed} connections; all stood still for \
             {pause:.1?}"
        );
        if departed < *connections {
            let left = connections - departed;
            warn!("{left} connections that could not be handed over are closed");
        }
    }
}

/// The state of this program, and what it listens on: where connections that share a state arrive.
/// If it is dropped before it is settled, they are left to the old program as they are.
pub(crate) struct Household<'a, 'cx, A: 'static, S: Session<A> + 'static> {
    shared: Share<A>,
    listening: &'a Listening<A, S>,
    cx: &'a mut LoopCx<'cx, A>,
    /// The last piece of the state came.
    is_whole: bool,
    connections: Vec<Token>,
    is_settled: bool,
}

impl<'a, 'cx, A: 'static, S: Session<A> + 'static> Household<'a, 'cx, A, S> {
    pub(crate) fn new(
        shared: Share<A>,
        listening: &'a Listening<A, S>,
        cx: &'a mut LoopCx<'cx, A>,
    ) -> Self {
        Self { shared, listening, cx, is_whole: false, connections: vec![], is_settled: false }
    }
}

impl<A: 'static, S: Session<A> + 'static> Home for Household<'_, '_, A, S> {
    fn restore_piece(&mut self, piece: &[u8], is_last: bool) -> io::Result<()> {
        if self.is_whole {
            return Err(io::Error::other("a piece of the state comes after the last"));
        }
        let invalid = |error: StateError| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the shared state: {error}"))
        };
        let state = (self.shared)(self.cx.app);
        state.restore(SavedState::new(piece)).map_err(invalid)?;
        if is_last {
            state.restored().map_err(invalid)?;
            self.is_whole = true;
        }
        Ok(())
    }

    fn restore_connection(&mut self, state: &[u8], descriptor: OwnedFd) -> io::Result<()> {
        self.check()?;
        // A client that has reset its connection meanwhile does not keep the others here.
        let gone = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let accepted = Accepted::from_fd(descriptor).map_err(gone)?;
        self.connections.push(self.listening.restore(accepted, state, self.cx)?);
        Ok(())
    }

    fn check(&self) -> io::Result<usize> {
        match self.is_whole {
            true => Ok(self.connections.len()),
            false => Err(io::Error::other("the state of the old program did not come")),
        }
    }

    fn settle(&mut self) {
        self.is_settled = true;
        self.connections.drain(..).for_each(|connection| self.cx.thaw(connection));
    }
}

impl<A: 'static, S: Session<A> + 'static> Drop for Household<'_, '_, A, S> {
    fn drop(&mut self) {
        if !self.is_settled {
            // Closing a connection with unsent output would reset it, which the old program has too.
            self.connections.iter().for_each(|connection| self.cx.release(*connection));
        }
    }
}
