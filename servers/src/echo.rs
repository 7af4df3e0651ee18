//! Echo (RFC 862): whatever arrives goes back.

use protocol::codecs::Bytes;
use protocol::{Context, Conversation, Flow, Reply, Service};

/// The echo service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl<A> Service<Bytes, A> for Echo {
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        reply.send(bytes);
        Flow::Continue
    }
}

/// One connection's session.
pub fn session() -> Conversation<Bytes, Echo> {
    Conversation::new(Bytes, Echo)
}
