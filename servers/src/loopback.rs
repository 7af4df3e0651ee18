//! The shared session of echo and uppercase: sends back all input, changed in place.

use protocol::codecs::Bytes;
use protocol::{
    Buffer, Context, Flow, NotSaved, Output, Reason, Reply, SavedState, Service, Session, State,
    StateError,
};

/// Sends back what it receives, changed in place: the bytes of a connection, of which large pieces
/// are not copied ([`Output::take_input`]), and each datagram to its sender.
#[derive(Clone, Copy, Debug)]
pub struct Loopback {
    change: fn(&mut [u8]),
}

impl Loopback {
    /// Returns a session that sends back what `change` makes of the bytes received. It is called once
    /// for each byte, with as many at a time as there are.
    pub const fn new(change: fn(&mut [u8])) -> Self {
        Self { change }
    }
}

impl<A> Session<A> for Loopback {
    #[inline(always)] // Two drivers call it, with TLS and without: 18 instructions a message.
    fn advance(
        &mut self,
        input: &mut Buffer,
        output: &mut Output,
        context: &mut Context<'_, A>,
    ) -> Result<Flow, Reason> {
        (self.change)(input.filled_mut());
        output.take_input(input);
        Ok(match output.len() {
            _ if context.input_ended => Flow::Close,
            unsent if unsent >= context.limits.output_high => Flow::Pause,
            _ => Flow::Continue,
        })
    }

    /// All that it knows is in its code.
    fn save(&self, _app: &A, _state: &mut State) -> Result<(), NotSaved> {
        Ok(())
    }

    fn restore(&mut self, _app: &mut A, _state: &mut SavedState<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

impl<A> Service<Bytes, A> for Loopback {
    fn call(
        &mut self,
        datagram: &mut [u8],
        reply: &mut Reply<'_, Bytes>,
        _context: &mut Context<'_, A>,
    ) -> Flow {
        (self.change)(datagram);
        reply.send(datagram);
        Flow::Continue
    }
}

#[cfg(test)]
mod tests {
    use protocol::Limits;
    use protocol::link::Link;
    use protocol::testing::Wire;

    use super::*;

    #[test]
    fn all_input_comes_back_once_and_changed() {
        let mut wire = Wire::new(Loopback::new(|bytes| bytes.make_ascii_uppercase()));
        wire.feed(b"one ", &mut ());
        wire.feed(&[b'x'; 100_000], &mut ());
        wire.end_input(&mut ());
        let sent = wire.take_sent();
        assert_eq!(sent.len(), 100_004);
        assert!(sent.starts_with(b"ONE ") && sent[4..].iter().all(|byte| *byte == b'X'));
        assert!(wire.reason().is_some_and(Reason::is_orderly));
    }

    #[test]
    fn a_peer_that_does_not_read_is_not_read() {
        let limits = Limits { output_high: 20_000, output_low: 5_000, ..Limits::DEFAULT };
        let mut wire = Wire::over(Link::new(Loopback::new(|_| {}), limits.into()));
        wire.set_room(0, &mut ());
        wire.feed(&[7; 1 << 20], &mut ());
        let read = (1 << 20) - wire.unread();
        assert!((20_000..40_000).contains(&read), "{read} bytes were read");
        wire.set_room(u64::MAX, &mut ());
        wire.end_input(&mut ());
        assert_eq!(wire.take_sent(), [7; 1 << 20]);
    }
}
