//! What the loop that talks to the other program asks of the loops that serve, and what they answer.
//!
//! That loop is the only one of a server, or the one that watches over several. Both ask through
//! channels, so one loop and several hand over in the same way.

use std::io;
use std::os::fd::OwnedFd;

use log::{debug, warn};
use protocol::{Session, State};
use reactor::{Accepted, Departure, LoopCx, Receiver, SendError, Sender, Token, channel};

use super::Given;
use crate::listening::Listening;
use crate::{Progress, Share};

/// How many orders, or reports, may wait at a loop. A few for each connection that is on its way do.
const WAITING_MAX: usize = 65_536;
/// How many connections of a loop wait for an answer of the new program at a time.
const AWAY_MAX: usize = 16;

/// Returns a channel for orders or reports.
///
/// # Errors
/// As for [`channel`].
pub(crate) fn line<T>() -> io::Result<(Sender<T>, Receiver<T>)> {
    channel(WAITING_MAX)
}

/// Where a loop answers, and which loop it is.
#[derive(Clone)]
pub(crate) struct ReplyTo {
    pub(super) index: usize,
    pub(super) to: Sender<Report>,
}

impl ReplyTo {
    fn say(&self, answer: Answer) {
        // If nothing receives it, the attempt to hand over has ended.
        let _ = self.to.try_send(Report { index: self.index, answer });
    }

    /// Passes on a connection, or that there are no more. A connection that cannot be passed on stays.
    fn pass_on<A: 'static>(&self, departure: Departure, cx: &mut LoopCx<'_, A>) {
        let report = Report { index: self.index, answer: Answer::Departure(departure) };
        if let Err(SendError { message: Report { answer, .. }, kind }) = self.to.try_send(report)
            && let Answer::Departure(Departure::Connection { token, .. }) = answer
        {
            debug!("a connection stays: {kind}");
            cx.stays(token);
        }
    }
}

/// What is asked of a loop about the sockets on which it listens.
pub(crate) struct SocketsOrder {
    ask: Ask,
    reply: ReplyTo,
}

impl SocketsOrder {
    pub(super) fn new(ask: Ask, reply: ReplyTo) -> Self {
        Self { ask, reply }
    }

    /// Carries the order out with what the loop listens on.
    fn carry_out<A: 'static>(&self, sockets: &mut impl Sockets<A>, cx: &mut LoopCx<'_, A>) {
        let answer = match self.ask {
            Ask::Duplicates => Answer::Duplicates(sockets.duplicates(cx)),
            Ask::Release => Answer::Released(sockets.release(cx)),
            Ask::Resume => {
                cx.stop_handing_over();
                sockets.resume(cx);
                Answer::Resumed
            }
            Ask::Forget => {
                sockets.forget();
                return;
            }
        };
        self.reply.say(answer);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// For duplicates of the sockets.
    Duplicates,
    /// To end the sockets, since another process goes on with them.
    Release,
    /// To go on with the sockets that were released.
    Resume,
    /// To close the duplicates of the sockets that were released: another process has them for good.
    Forget,
}

/// What a loop listens on.
pub(crate) trait Sockets<A> {
    /// Returns duplicates of the sockets.
    ///
    /// # Errors
    /// When the process has too few descriptors.
    fn duplicates(&mut self, cx: &mut LoopCx<'_, A>) -> io::Result<Vec<Given>>;

    /// Ends the sources of the sockets, of which it keeps duplicates. What waits to be accepted or
    /// received stays there.
    ///
    /// # Errors
    /// When the process has too few descriptors. Nothing has changed then.
    fn release(&mut self, cx: &mut LoopCx<'_, A>) -> io::Result<()>;

    /// Serves the sockets again that were released. Logs those that cannot be.
    fn resume(&mut self, cx: &mut LoopCx<'_, A>);

    /// Closes the duplicates of the sockets that were released. What waits there is the other
    /// process's.
    fn forget(&mut self);
}

/// What is asked of a loop that serves connections.
pub(crate) enum Order {
    Sockets(SocketsOrder),
    /// Hand the connections over.
    HandOver(ReplyTo),
    /// Freeze the connections, and their state.
    Freeze(ReplyTo),
    /// Write the next piece of the state.
    SavePiece(ReplyTo),
    /// Give so many of the frozen connections away.
    GiveAway(usize),
    /// The new program goes on with the state, and all connections that it has not refused.
    AllDeparted,
    /// The new program goes on with a connection.
    Departed(Token),
    /// The new program has not taken a connection.
    Stays(Token),
    /// Restore a connection of the old program, which does not go on yet.
    Restore(Arrival, Sender<Restored>),
    /// Go on with a connection that was restored.
    Thaw(Token),
}

/// A connection of the old program.
pub(crate) struct Arrival {
    pub(super) id: u64,
    /// The loop that gets it.
    pub(super) place: usize,
    pub(super) state: Vec<u8>,
    pub(super) descriptor: OwnedFd,
}

/// Whether a loop has restored a connection of the old program.
pub(crate) struct Restored {
    pub(super) id: u64,
    /// The loop.
    pub(super) place: usize,
    pub(super) result: io::Result<Token>,
}

/// What a loop answers.
pub(crate) struct Report {
    pub(super) index: usize,
    pub(super) answer: Answer,
}

pub(super) enum Answer {
    Duplicates(io::Result<Vec<Given>>),
    Released(io::Result<()>),
    Resumed,
    Departure(Departure),
    /// The connections cannot be frozen.
    NotFrozen(io::Error),
    /// A piece of the state. The last comes with words for what there is.
    Piece(Vec<u8>, Option<String>),
}

/// Carries out the orders that `orders` brings to a loop, for what it listens on and serves.
///
/// # Errors
/// As for [`Receiver::register`].
pub(crate) fn obey<A: 'static, S: Session<A> + 'static>(
    orders: Receiver<Order>,
    mut listening: Listening<A, S>,
    shared: Option<Share<A>>,
    cx: &mut LoopCx<'_, A>,
) -> io::Result<()> {
    let obey = move |order: Option<Order>, cx: &mut LoopCx<'_, A>| match order {
        Some(Order::Sockets(order)) => {
            if let (Ask::Resume, Some(shared)) = (order.ask, shared) {
                shared(cx.app).stays();
            }
            order.carry_out(&mut listening, cx);
        }
        Some(Order::HandOver(reply)) => hand_over(reply, cx),
        Some(Order::Freeze(reply)) => freeze(reply, shared, cx),
        Some(Order::SavePiece(reply)) => save_piece(&reply, shared, cx),
        Some(Order::GiveAway(count)) => cx.give_away(count),
        Some(Order::AllDeparted) => {
            shared.into_iter().for_each(|shared| shared(cx.app).departed());
            cx.finish_handing_over();
        }
        Some(Order::Departed(connection)) => cx.departed(connection),
        Some(Order::Stays(connection)) => cx.stays(connection),
        Some(Order::Restore(arrival, reply)) => restore(arrival, &reply, &listening, cx),
        Some(Order::Thaw(connection)) => cx.thaw(connection),
        None => {}
    };
    orders.register(cx, obey).map(drop)
}

/// Carries out the orders about sockets that `orders` brings to a loop that serves no connections.
///
/// # Errors
/// As for [`Receiver::register`].
pub(crate) fn obey_for_sockets<A: 'static>(
    orders: Receiver<SocketsOrder>,
    mut sockets: impl Sockets<A> + 'static,
    cx: &mut LoopCx<'_, A>,
) -> io::Result<()> {
    let obey = move |order: Option<SocketsOrder>, cx: &mut LoopCx<'_, A>| {
        if let Some(order) = order {
            order.carry_out(&mut sockets, cx);
        }
    };
    orders.register(cx, obey).map(drop)
}

fn hand_over<A: 'static>(reply: ReplyTo, cx: &mut LoopCx<'_, A>) {
    let to = reply.clone();
    if let Err(error) = cx.hand_over(AWAY_MAX, move |departure, cx| to.pass_on(departure, cx)) {
        warn!("the connections of loop {} stay: {error}", reply.index);
        let stayed = cx.connections();
        reply.say(Answer::Departure(Departure::Finished { departed: 0, stayed }));
    }
}

fn freeze<A: 'static>(reply: ReplyTo, shared: Option<Share<A>>, cx: &mut LoopCx<'_, A>) {
    let to = reply.clone();
    let frozen = cx.hand_over_together(move |departure, cx| {
        if let (Departure::Frozen { .. }, Some(shared)) = (&departure, shared) {
            shared(cx.app).freeze();
        }
        to.pass_on(departure, cx);
    });
    if let Err(error) = frozen {
        reply.say(Answer::NotFrozen(error));
    }
}

fn save_piece<A: 'static>(reply: &ReplyTo, shared: Option<Share<A>>, cx: &mut LoopCx<'_, A>) {
    let Some(shared) = shared else { return };
    let (mut piece, state) = (State::new(), shared(cx.app));
    let extent = match state.save(&mut piece) {
        Progress::More => None,
        Progress::Whole => Some(state.extent()),
    };
    reply.say(Answer::Piece(piece.into_bytes(), extent));
}

fn restore<A: 'static, S: Session<A> + 'static>(
    arrival: Arrival,
    reply: &Sender<Restored>,
    listening: &Listening<A, S>,
    cx: &mut LoopCx<'_, A>,
) {
    let Arrival { id, place, state, descriptor } = arrival;
    let result =
        Accepted::from_fd(descriptor).and_then(|accepted| listening.restore(accepted, &state, cx));
    if let Err(SendError { message: Restored { result: Ok(connection), .. }, .. }) =
        reply.try_send(Restored { id, place, result })
    {
        // Nothing receives it: the old program is gone, and this one goes on with the connection.
        cx.thaw(connection);
    }
}
