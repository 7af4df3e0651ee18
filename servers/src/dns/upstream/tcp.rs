//! Questions over TCP, many at once on the connection of each upstream (RFC 7766).

use std::time::Duration;

use protocol::dns::{OverTcp, Received};
use protocol::exchange::{Exchange, Heard};
use protocol::{Limits, Reply};
use reactor::{ClientOptions, ConnectOptions, WhenIdle, WhenStopping};

/// How long a connection without a question is kept (RFC 7766 section 6.2.3 recommends a few seconds).
const KEPT: Duration = Duration::from_secs(5);

/// The protocol of a connection to an upstream.
pub(in crate::dns) struct OverConnection;

/// A question, whose number the connection replaces by one of its own.
pub(in crate::dns) struct Ask(pub(in crate::dns) Vec<u8>);

impl Exchange for OverConnection {
    type Codec = OverTcp;
    type Request = Ask;
    /// The bytes of the answer.
    type Reply = Vec<u8>;
    type Push = ();

    const WHOLE_ONLY: bool = true;
    const NUMBER_MAX: u64 = u16::MAX as u64;

    fn codec(&self) -> OverTcp {
        OverTcp::new()
    }

    fn size(request: &Ask) -> usize {
        request.0.len() + 2
    }

    fn write(&mut self, request: &Ask, number: u64, reply: &mut Reply<'_, OverTcp>) {
        let mut bytes = request.0.clone();
        bytes[..2].copy_from_slice(&(number as u16).to_be_bytes());
        reply.send(&bytes);
    }

    fn hear(
        &mut self,
        received: Received<'_>,
        _: Option<&Ask>,
        _: &mut Reply<'_, OverTcp>,
    ) -> Heard<Vec<u8>, ()> {
        match received {
            Received::Message(message) => {
                Heard::Numbered(message.header().id.into(), message.as_bytes().to_vec())
            }
            Received::Malformed { error, .. } => Heard::Refused(Box::new(error)),
        }
    }
}

/// Returns the options of the connection to an upstream.
pub(in crate::dns) fn client_options(deadline: Duration) -> ClientOptions {
    ClientOptions {
        connect: ConnectOptions { timeout: deadline, ..ConnectOptions::DEFAULT },
        limits: Limits {
            message_size_max: 2 + u16::MAX as usize,
            output_max: u64::MAX,
            ..Limits::DEFAULT
        },
        timeout: deadline,
        waits: false,
        when_idle: WhenIdle::LetGo(KEPT),
        // What was asked before is answered, and may come truncated.
        when_stopping: WhenStopping::GoOn,
        pause_min: Duration::from_millis(100),
        pause_max: Duration::from_secs(1),
        ..ClientOptions::DEFAULT
    }
}
