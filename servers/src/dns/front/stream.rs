//! Questions on connections: many at once, answered in any order (RFC 7766).

use std::net::{IpAddr, SocketAddr};

use protocol::dns::{OverTcp, Received};
use protocol::{Context, Flow, Reason, Reply, Service};

use super::{Outcome, Transport, consider};
use crate::dns::app::Dns;
use crate::dns::upstream::Client;

/// The service of a connection.
#[derive(Debug)]
pub struct StreamFront {
    /// The address of the client.
    address: Option<IpAddr>,
    /// How many of its questions wait for an upstream, and how many may.
    waiting: u16,
    waiting_max: u16,
    /// The client sends nothing more.
    has_ended: bool,
}

impl StreamFront {
    /// Returns the service of a connection from `peer`, `None` for Unix sockets. At most `waiting_max`
    /// of its questions wait at the same time.
    pub fn new(peer: Option<SocketAddr>, waiting_max: u16) -> Self {
        Self { address: peer.map(|it| it.ip()), waiting: 0, waiting_max, has_ended: false }
    }

    /// Returns what follows, now that so many questions wait.
    fn flow(&self) -> Flow {
        match self.waiting {
            0 if self.has_ended => Flow::Close,
            waiting if waiting >= self.waiting_max => Flow::Pause,
            _ => Flow::Continue,
        }
    }
}

impl Service<OverTcp, Dns> for StreamFront {
    fn open(&mut self, _: &mut Reply<'_, OverTcp>, context: &mut Context<'_, Dns>) -> Flow {
        context.app.open_mailbox(context.me);
        Flow::Continue
    }

    fn call(
        &mut self,
        received: Received<'_>,
        reply: &mut Reply<'_, OverTcp>,
        context: &mut Context<'_, Dns>,
    ) -> Flow {
        let client = Client { source: context.me, peer: None };
        let app = &mut *context.app;
        match consider(&received, Transport::Stream, client, self.address, app, context.now) {
            Outcome::Answer(bytes) => {
                reply.send(&bytes);
                app.spare = bytes;
            }
            Outcome::AnswerAndWork(bytes) => {
                reply.send(&bytes);
                app.settle(context.effects);
            }
            Outcome::Waits => {
                self.waiting += 1;
                app.settle(context.effects);
            }
            Outcome::Nothing => {}
        }
        self.flow()
    }

    fn resume(&mut self, reply: &mut Reply<'_, OverTcp>, context: &mut Context<'_, Dns>) -> Flow {
        for letter in context.app.take_letters(context.me) {
            self.waiting -= 1;
            reply.send(&letter.bytes);
        }
        self.flow()
    }

    fn finish(&mut self, _: &mut Reply<'_, OverTcp>, _: &mut Context<'_, Dns>) -> Flow {
        self.has_ended = true;
        self.flow()
    }

    fn stopping(&mut self, _: &mut Reply<'_, OverTcp>, context: &mut Context<'_, Dns>) -> Flow {
        self.has_ended = true;
        context.effects.set_busy(self.waiting > 0);
        self.flow()
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, Dns>) {
        context.app.close_mailbox(context.me);
    }
}
