//! Uppercase: whatever arrives goes back with its ASCII letters in upper case, as it arrives.

use protocol::codecs::Bytes;
use protocol::{Context, Conversation, Flow, Reply, Service};

/// The uppercase service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uppercase;

impl<A> Service<Bytes, A> for Uppercase {
    fn call(
        &mut self,
        bytes: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        bytes.make_ascii_uppercase();
        reply.send(bytes);
        Flow::Continue
    }
}

/// One connection's session.
pub fn session() -> Conversation<Bytes, Uppercase> {
    Conversation::new(Bytes, Uppercase)
}
