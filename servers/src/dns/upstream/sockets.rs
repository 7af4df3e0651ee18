//! The services of the sockets that are connected to upstreams.

use std::time::Duration;

use protocol::dns::{OverUdp, Received};
use protocol::{Context, DatagramFailure, Flow, Reason, Reply, Service};

use super::flight::Done;
use super::ports::PortId;
use crate::dns::app::Dns;

/// The timeout of a port while the loop winds down, and how often it looks whether it is still needed.
const WIND_DOWN: u8 = 0;
const WIND_DOWN_INTERVAL: Duration = Duration::from_millis(50);

/// The service of a port: sends the questions that wait for it, and passes on what arrives.
pub(super) struct UpstreamSocket {
    port: PortId,
}

impl UpstreamSocket {
    pub(super) fn new(port: PortId) -> Self {
        Self { port }
    }

    /// Ends the port once it expects no answer, since the loop winds down. Others may be silent until the
    /// deadline of their questions.
    fn wind_down(&self, context: &mut Context<'_, Dns>) -> Flow {
        if context.app.engine.ports.is_quiet(self.port) {
            return Flow::Close;
        }
        context.effects.set_busy(true);
        context.effects.set_timeout(WIND_DOWN, Some(WIND_DOWN_INTERVAL));
        Flow::Continue
    }

    /// Tells the clients that their questions have failed, and sends what follows for others.
    fn tell(&self, done: Vec<Done>, context: &mut Context<'_, Dns>) {
        done.into_iter().for_each(|it| context.app.answer(it, None, context.now));
        context.app.settle(context.effects);
    }
}

impl Service<OverUdp, Dns> for UpstreamSocket {
    fn open(&mut self, _: &mut Reply<'_, OverUdp>, context: &mut Context<'_, Dns>) -> Flow {
        // It is replaced when it was used often, not when it is silent.
        context.effects.allow_silence(true);
        Flow::Continue
    }

    fn call(
        &mut self,
        received: Received<'_>,
        _: &mut Reply<'_, OverUdp>,
        context: &mut Context<'_, Dns>,
    ) -> Flow {
        match received {
            Received::Message(message) => {
                let done = context.app.engine.hear(self.port, &message, context.now);
                if let Some(done) = done {
                    context.app.answer(done, Some(&message), context.now);
                }
            }
            Received::Malformed { .. } => context.app.engine.counts.malformed += 1,
        }
        context.app.settle(context.effects);
        Flow::Continue
    }

    fn resume(&mut self, reply: &mut Reply<'_, OverUdp>, context: &mut Context<'_, Dns>) -> Flow {
        for question in context.app.engine.ports.take_queue(self.port) {
            reply.send(&question);
        }
        Flow::Continue
    }

    fn stopping(&mut self, _: &mut Reply<'_, OverUdp>, context: &mut Context<'_, Dns>) -> Flow {
        self.wind_down(context)
    }

    fn timeout(
        &mut self,
        _: u8,
        _: &mut Reply<'_, OverUdp>,
        context: &mut Context<'_, Dns>,
    ) -> Flow {
        self.wind_down(context)
    }

    fn failed(
        &mut self,
        failure: &DatagramFailure,
        _: &mut Reply<'_, OverUdp>,
        context: &mut Context<'_, Dns>,
    ) -> Flow {
        match failure {
            DatagramFailure::Undelivered(error) => {
                let done = context.app.engine.refused(self.port, error.kind(), context.now);
                self.tell(done, context);
            }
            DatagramFailure::Truncated { .. } | DatagramFailure::Malformed(_) => {
                context.app.engine.counts.malformed += 1;
            }
            DatagramFailure::Unsent | DatagramFailure::Missed { .. } => {}
        }
        Flow::Continue
    }

    fn closed(&mut self, _: &Reason, context: &mut Context<'_, Dns>) {
        let done = context.app.engine.port_closed(self.port, context.now);
        self.tell(done, context);
    }
}
