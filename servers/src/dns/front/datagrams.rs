//! Questions in datagrams.

use protocol::dns::{OverUdp, Received};
use protocol::{Context, Flow, Peer, Reason, Reply, Service};

use super::{Outcome, Transport, consider};
use crate::dns::app::Dns;
use crate::dns::upstream::Client;

/// The service of a socket to which clients send their questions.
#[derive(Debug, Default)]
pub struct DatagramFront {
    /// How many questions wait for an upstream.
    waiting: usize,
    /// The socket is another process's, or the loop winds down.
    is_stopping: bool,
}

impl DatagramFront {
    /// Says, once it matters, whether answers are still to be sent from this socket.
    fn tell_whether_busy(&self, context: &mut Context<'_, Dns>) {
        if self.is_stopping {
            context.effects.set_busy(self.waiting > 0);
        }
    }
}

impl Service<OverUdp, Dns> for DatagramFront {
    fn open(&mut self, _: &mut Reply<'_, OverUdp>, context: &mut Context<'_, Dns>) -> Flow {
        context.app.open_mailbox(context.me);
        Flow::Continue
    }

    fn call(
        &mut self,
        received: Received<'_>,
        reply: &mut Reply<'_, OverUdp>,
        context: &mut Context<'_, Dns>,
    ) -> Flow {
        let client = Client { source: context.me, peer: reply.peer().cloned() };
        let address = reply.peer().and_then(Peer::address).map(|it| it.ip());
        let app = &mut *context.app;
        match consider(&received, Transport::Datagram, client, address, app, context.now) {
            Outcome::Answer(bytes) => {
                reply.send(&bytes);
                app.spare = bytes;
            }
            Outcome::AnswerAndWork(bytes) => {
                reply.send(&bytes);
                app.settle(context.effects);
            }
            Outcome::Waits => {
                app.settle(context.effects);
                self.waiting += 1;
                self.tell_whether_busy(context);
            }
            Outcome::Nothing => {}
        }
        Flow::Continue
    }

    fn resume(&mut self, reply: &mut Reply<'_, OverUdp>, context: &mut Context<'_, Dns>) -> Flow {
        let letters = context.app.take_letters(context.me);
        self.waiting -= letters.len();
        for letter in letters {
            if let Some(peer) = &letter.peer {
                reply.to(peer).send(&letter.bytes);
            }
        }
        self.tell_whether_busy(context);
        Flow::Continue
    }

    fn stopping(&mut self, _: &mut Reply<'_, OverUdp>, context: &mut Context<'_, Dns>) -> Flow {
        self.is_stopping = true;
        self.tell_whether_busy(context);
        Flow::Continue
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, Dns>) {
        context.app.close_mailbox(context.me);
    }
}
