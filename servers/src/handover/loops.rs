//! The loops of a server, from the one that talks to the new program.

use std::io;
use std::time::Duration;

use log::{debug, warn};
use reactor::{LoopCx, Sender, Token};

use super::order::{Ask, Order, ReplyTo, Report, SocketsOrder};

/// A server as a whole, from the loop that talks to the new program, whose state is `B`.
pub(crate) trait Whole<B> {
    /// Returns whether the server was told to stop.
    fn is_stopping(&self, cx: &LoopCx<'_, B>) -> bool;

    /// Stops all loops gracefully.
    fn stop_gracefully(&self, patience: Duration, cx: &mut LoopCx<'_, B>);

    /// Is called when all loops have taken their sockets back, as far as they can, after a failure.
    fn resumed(&self, cx: &mut LoopCx<'_, B>);
}

/// The loops of a server, which get orders.
pub(crate) struct Loops {
    /// Those that serve connections.
    pub(crate) serving: Vec<Sender<Order>>,
    /// That which accepts for the others, if there is one.
    pub(crate) acceptor: Option<Sender<SocketsOrder>>,
    /// How the connections go to the new program.
    pub(crate) manner: Manner,
}

/// How connections go to the new program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One by one, while the others are served.
    Each,
    /// Together with a state that they share. There is one loop.
    Together,
}

impl Loops {
    /// Returns where the loop with a number answers. That which accepts for the others has the number
    /// after the last.
    fn reply(index: usize, reports: &Sender<Report>) -> ReplyTo {
        ReplyTo { index, to: reports.clone() }
    }

    fn send(&self, index: usize, order: Order) -> io::Result<()> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("loop {index} cannot be asked: {error}"))
        };
        match self.serving.get(index) {
            Some(line) => line.try_send(order).map_err(|error| named(error.into())),
            None => Ok(()),
        }
    }

    /// Asks the loop that accepts for the others, if there is one. Returns how many were asked.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn ask_acceptor(&self, ask: Ask, reports: &Sender<Report>) -> io::Result<usize> {
        let Some(acceptor) = &self.acceptor else { return Ok(0) };
        let reply = Self::reply(self.serving.len(), reports);
        acceptor.try_send(SocketsOrder::new(ask, reply))?;
        Ok(1)
    }

    /// Asks the loops that serve connections. Returns how many were asked.
    ///
    /// # Errors
    /// When one is gone.
    pub(super) fn ask_serving(&self, ask: Ask, reports: &Sender<Report>) -> io::Result<usize> {
        for index in 0..self.serving.len() {
            let order = SocketsOrder::new(ask, Self::reply(index, reports));
            self.send(index, Order::Sockets(order))?;
        }
        Ok(self.serving.len())
    }

    /// Asks all loops. Returns how many were asked.
    ///
    /// # Errors
    /// When one is gone.
    pub(super) fn ask_all(&self, ask: Ask, reports: &Sender<Report>) -> io::Result<usize> {
        Ok(self.ask_acceptor(ask, reports)? + self.ask_serving(ask, reports)?)
    }

    /// Makes all loops go on with their sockets and their connections. Returns how many will answer.
    pub(super) fn resume(&self, reports: &Sender<Report>) -> usize {
        let loops = (0..self.serving.len()).map(|index| {
            let order = SocketsOrder::new(Ask::Resume, Self::reply(index, reports));
            self.send(index, Order::Sockets(order)).map(|()| 1)
        });
        let acceptor = self.ask_acceptor(Ask::Resume, reports);
        let asked = loops.chain([acceptor]).map(|asked| {
            asked.unwrap_or_else(|error| {
                warn!("{error}");
                0
            })
        });
        asked.sum()
    }

    /// Makes all loops close what they keep of their sockets, which are the new program's for good.
    pub(super) fn forget(&self, reports: &Sender<Report>) {
        let asked = self.ask_all(Ask::Forget, reports);
        if let Err(error) = asked {
            debug!("its sockets are closed already: {error}");
        }
    }

    /// Makes the loops hand their connections over. Returns how many do.
    ///
    /// # Errors
    /// When one is gone.
    pub(super) fn hand_over(&self, reports: &Sender<Report>) -> io::Result<usize> {
        for index in 0..self.serving.len() {
            self.send(index, Order::HandOver(Self::reply(index, reports)))?;
        }
        Ok(self.serving.len())
    }

    /// Gives an order to the only loop, whose connections share a state.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn order_together(
        &self,
        order: impl FnOnce(ReplyTo) -> Order,
        reports: &Sender<Report>,
    ) -> io::Result<()> {
        self.send(0, order(Self::reply(0, reports)))
    }

    /// Tells a loop that the new program goes on with its connection.
    pub(super) fn departed(&self, index: usize, connection: Token) {
        self.tell(index, Order::Departed(connection));
    }

    /// Tells a loop that it keeps its connection.
    pub(super) fn stays(&self, index: usize, connection: Token) {
        self.tell(index, Order::Stays(connection));
    }

    fn tell(&self, index: usize, order: Order) {
        if let Err(error) = self.send(index, order) {
            warn!("{error}");
        }
    }
}
